#include "backends/core/log_segments.h"

#include "agent/protocol.h"
#include "backends/core/log_index.h"
#include "common/fd.h"
#include "common/log.h"
#include "net/stdcopy.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

static SlLogSegment *
segment_ref(SlLogSegment *segment)
{
    atomic_fetch_add(&segment->refs, 1);
    return segment;
}

void
sl_log_segment_unref(SlLogSegment *segment)
{
    if (!segment || atomic_fetch_sub(&segment->refs, 1) != 1)
        return;
    sl_fd_clear(&segment->fd);
    sl_fd_clear(&segment->index_fd);
    g_free(segment);
}

static void
segment_unref(gpointer data)
{
    sl_log_segment_unref(data);
}

static SlLogSegment *
segment_at(const SlLogSegments *segments, unsigned i)
{
    return segments->list->pdata[i];
}

static unsigned
count(const SlLogSegments *segments)
{
    return segments->list ? segments->list->len : 0;
}

/* How many segments begin at or before offset. */
static unsigned
count_up_to(const SlLogSegments *segments, uint64_t offset)
{
    unsigned low = 0, high = count(segments);

    while (low < high) {
        unsigned middle = low + (high - low) / 2;

        if (segment_at(segments, middle)->base <= offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static SlLogSegment *
segment_with_base(const SlLogSegments *segments, uint64_t base)
{
    unsigned n = count_up_to(segments, base);

    return n > 0 && segment_at(segments, n - 1)->base == base ? segment_at(segments, n - 1) : NULL;
}

static void
insert(SlLogSegments *segments, SlLogSegment *segment /* taken */)
{
    if (!segments->list)
        segments->list = g_ptr_array_new_full(1, segment_unref);
    g_ptr_array_insert(segments->list, (gint)count_up_to(segments, segment->base), segment);
}

void
sl_log_segments_clear(SlLogSegments *segments)
{
    g_clear_pointer(&segments->list, g_ptr_array_unref);
}

SlLogSegments
sl_log_segments_copy(const SlLogSegments *segments)
{
    SlLogSegments copy = { 0 };

    for (unsigned i = 0; i < count(segments); i++)
        insert(&copy, segment_ref(segment_at(segments, i)));
    return copy;
}

/* ---- the folder ---- */

/* *ret_fd -1 when it is not there: deleted just now, or not made yet. */
static bool
open_file(int folder_fd, const char *name, int *ret_fd, GError **error)
{
    *ret_fd = openat(folder_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (*ret_fd < 0 && errno != ENOENT)
        return sl_fail_errno(error, errno, "opening %s", name);
    return true;
}

static bool
open_segment(int folder_fd, uint64_t base, SlLogSegments *segments, GError **error)
{
    char name[SL_LOG_NAME_MAX], index_name[SL_LOG_NAME_MAX];
    sl_autofd int fd = -1;
    int index_fd;
    SlLogSegment *segment;

    sl_log_name(base, false, name);
    sl_log_name(base, true, index_name);
    if (!open_file(folder_fd, name, &fd, error))
        return false;
    if (fd < 0)
        return true;
    if (!open_file(folder_fd, index_name, &index_fd, error))
        return false;
    segment = g_new(SlLogSegment, 1);
    *segment = (SlLogSegment){ .refs = 1, .fd = sl_fd_steal(&fd), .index_fd = index_fd, .base = base };
    insert(segments, segment);
    return true;
}

bool
sl_log_segments_open(const char *path, const SlLogSegments *known, SlLogSegments *ret_segments,
                     GError **error)
{
    g_auto(SlLogSegments) segments = { 0 };
    DIR *folder = opendir(path);
    bool ok = true;

    if (!folder && errno != ENOENT)
        return sl_fail_errno(error, errno, "opening %s", path);
    for (struct dirent *entry; ok && folder && (entry = readdir(folder));) {
        SlLogSegment *segment;
        uint64_t base;

        if (!sl_log_name_parse(entry->d_name, &base))
            continue;
        segment = segment_with_base(known, base);
        if (segment && segment->index_fd >= 0)
            insert(&segments, segment_ref(segment));
        else
            ok = open_segment(dirfd(folder), base, &segments, error);
    }
    if (folder)
        closedir(folder);
    if (!ok)
        return false;
    *ret_segments = segments;
    segments = (SlLogSegments){ 0 };
    return true;
}

/* ---- what is open ---- */

static void
drop_held(SlLogSegments *segments, uint64_t oldest)
{
    unsigned n = 0;

    while (n + 1 < count(segments) && segment_at(segments, n)->base < oldest &&
           oldest - segment_at(segments, n)->base > SL_LOG_HELD_MAX)
        n++;
    if (n == 0)
        return;
    sl_warn("readers of a rotated log are too slow, segments go segments=%u", n);
    g_ptr_array_remove_range(segments->list, 0, n);
}

void
sl_log_segments_merge(SlLogSegments *segments, const SlLogSegments *from, bool is_gap_agreed)
{
    for (unsigned i = 0; i < count(from); i++) {
        SlLogSegment *segment = segment_at(from, i), *old = segment_with_base(segments, segment->base);

        if (old && (old == segment || old->index_fd >= 0 || segment->index_fd < 0))
            continue;
        if (old)
            g_ptr_array_remove(segments->list, old); /* it had no index yet */
        segment->is_gap_agreed |= is_gap_agreed;
        insert(segments, segment_ref(segment));
    }
    if (count(from) > 0)
        drop_held(segments, segment_at(from, 0)->base);
}

void
sl_log_segments_drop_before(SlLogSegments *segments, uint64_t offset)
{
    unsigned n = count_up_to(segments, offset);

    if (n > 1)
        g_ptr_array_remove_range(segments->list, 0, n - 1);
}

static uint64_t
file_size(int fd)
{
    struct stat info;

    return fstat(fd, &info) == 0 ? (uint64_t)info.st_size : 0;
}

uint64_t
sl_log_segments_last(const SlLogSegments *segments)
{
    return count(segments) > 0 ? segment_at(segments, count(segments) - 1)->base : 0;
}

bool
sl_log_segments_are_behind(const SlLogSegments *segments, uint64_t length)
{
    const SlLogSegment *last;

    if (count(segments) == 0)
        return true;
    last = segment_at(segments, count(segments) - 1);
    return last->base + file_size(last->fd) < length;
}

SlLogPlace
sl_log_segments_find(const SlLogSegments *segments, uint64_t offset, bool has_begun,
                     SlLogSegment **ret_segment, SlLogPart *ret_part, uint64_t *ret_offset)
{
    unsigned n = count_up_to(segments, offset);
    SlLogSegment *segment = n > 0 ? segment_at(segments, n - 1) : NULL;
    SlLogSegment *next = n < count(segments) ? segment_at(segments, n) : NULL;
    uint64_t end = UINT64_MAX;

    if (!segment && !next)
        return SL_LOG_PLACE_NONE;
    if (segment && next)
        end = MIN(next->base, segment->base + file_size(segment->fd));
    *ret_offset = offset;
    if (!segment || offset >= end) {
        *ret_offset = next->base;
        if (has_begun && !next->is_gap_agreed)
            return SL_LOG_PLACE_LOST;
        return sl_log_segments_find(segments, next->base, false, ret_segment, ret_part, ret_offset);
    }
    *ret_segment = segment_ref(segment);
    *ret_part =
        (SlLogPart){ .fd = segment->fd, .index_fd = segment->index_fd, .base = segment->base, .end = end };
    return SL_LOG_PLACE_FOUND;
}

/* ---- how far it goes ---- */

static bool
frame_end(const SlLogSegment *segment, uint64_t size, uint64_t at, uint64_t *ret_end)
{
    uint8_t header[SL_STDCOPY_HEADER];
    SlStdStream stream;
    uint32_t n;

    if (at + sizeof header > size ||
        pread(segment->fd, header, sizeof header, (off_t)at) != (ssize_t)sizeof header ||
        !sl_stdcopy_get_header(header, &stream, &n) || at + sizeof header + n > size)
        return false;
    *ret_end = at + sizeof header + n;
    return true;
}

/* Without an index that leads to a frame, the frames are counted. */
static uint64_t
walk_frames(const SlLogSegment *segment, uint64_t size)
{
    uint64_t at = 0;

    while (frame_end(segment, size, at, &at))
        continue;
    return at;
}

uint64_t
sl_log_segments_measure(const SlLogSegments *segments, bool has_tty)
{
    const SlLogSegment *last = count(segments) > 0 ? segment_at(segments, count(segments) - 1) : NULL;
    g_auto(SlLogIndex) index;
    SlLogMark mark;
    uint64_t size, end, n;

    sl_log_index_init(&index, last ? last->index_fd : -1);
    if (!last)
        return 0;
    size = file_size(last->fd);
    if (has_tty)
        return last->base + size;
    n = sl_log_index_count(&index);
    if (n == 0 && last->index_fd >= 0 && size <= SL_STDCOPY_HEADER + SL_LOG_CHUNK_MAX)
        return last->base; /* the first chunk is on its way */
    if (n == 0 || !sl_log_index_get(&index, n - 1, &mark) || mark.offset < last->base ||
        mark.offset - last->base >= size)
        return last->base + walk_frames(last, size);
    if (frame_end(last, size, mark.offset - last->base, &end))
        return last->base + end;
    return last->base + MIN(walk_frames(last, size), mark.offset - last->base);
}
