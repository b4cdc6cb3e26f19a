#include "agent/log_repair.h"

#include "agent/protocol.h"
#include "common/fd.h"
#include "common/log.h"
#include "net/stdcopy.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

#define DAMAGED_PREFIX SL_AGENT_LOG_NAME ".damaged."

enum { DAMAGED_NAME_MAX = 64 };

/* ---- files ---- */

static bool
open_file(const char *name, int more_flags, int *ret_fd, GError **error)
{
    int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | more_flags, 0600);

    if (fd < 0)
        return sl_fail_errno(error, errno, "opening %s", name);
    *ret_fd = fd;
    return true;
}

/* The index first: a segment without one would have lost its times. */
static bool
open_segment(uint64_t base, int more_flags, SlLogTail *tail, GError **error)
{
    char name[SL_LOG_NAME_MAX], index_name[SL_LOG_NAME_MAX];
    sl_autofd int index_fd = -1;
    int fd;

    sl_log_name(base, false, name);
    sl_log_name(base, true, index_name);
    if (!open_file(index_name, more_flags, &index_fd, error) || !open_file(name, more_flags, &fd, error))
        return false;
    *tail = (SlLogTail){ .fd = fd, .index_fd = sl_fd_steal(&index_fd), .base = base, .length = base };
    return true;
}

bool
sl_log_tail_make(uint64_t base, SlLogTail *tail, GError **error)
{
    return open_segment(base, O_TRUNC, tail, error);
}

void
sl_log_tail_close(SlLogTail *tail)
{
    sl_fd_clear(&tail->fd);
    sl_fd_clear(&tail->index_fd);
}

bool
sl_log_tail_append_mark(SlLogTail *tail, uint64_t offset, uint64_t time_ns)
{
    SlLogMark mark = { .offset = offset, .time_ns = time_ns };
    ssize_t n = pwrite(tail->index_fd, &mark, sizeof mark, (off_t)tail->index_length);

    if (n >= 0 && n < (ssize_t)sizeof mark)
        errno = ENOSPC;
    if (n < (ssize_t)sizeof mark)
        return false;
    tail->index_length += sizeof mark;
    return true;
}

/* ---- what is there ---- */

static int
compare_bases(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static bool
list_segments(GArray *bases, GError **error)
{
    DIR *folder = opendir(".");
    uint64_t base;

    if (!folder)
        return sl_fail_errno(error, errno, "looking for the log");
    for (struct dirent *entry; (entry = readdir(folder));)
        if (sl_log_name_parse(entry->d_name, &base))
            g_array_append_val(bases, base);
    closedir(folder);
    g_array_sort(bases, compare_bases);
    return true;
}

/* ---- what is damaged ---- */

static void
remove_damaged(void)
{
    DIR *folder = opendir(".");

    if (!folder)
        return;
    for (struct dirent *entry; (entry = readdir(folder));)
        if (g_str_has_prefix(entry->d_name, DAMAGED_PREFIX))
            unlink(entry->d_name);
    closedir(folder);
}

static void
name_damaged(uint64_t offset, const char *suffix, char name[DAMAGED_NAME_MAX])
{
    g_snprintf(name, DAMAGED_NAME_MAX, DAMAGED_PREFIX "%016" G_GINT64_MODIFIER "x%s", offset, suffix);
}

/* Copies what follows offset at of a file. */
static bool
put_aside(int from, off_t at, off_t end, const char *name, GError **error)
{
    sl_autofd int to = -1;

    if (!open_file(name, O_TRUNC, &to, error))
        return false;
    while (at < end) {
        ssize_t n = sendfile(to, from, &at, (size_t)(end - at));

        if (n < 0)
            return sl_fail_errno(error, errno, "putting a damaged log aside as %s", name);
        if (n == 0)
            break;
    }
    return true;
}

/* ---- repair ---- */

typedef struct Repair {
    SlLogTail *tail;
    uint64_t size, index_size; /* of the files */
    uint64_t time_ns;          /* for what has lost its time */
    bool is_foreign;           /* the last walk met what is no frame */
} Repair;

/* The last mark that lies inside the segment; cuts the index behind it. False: there is none. */
static bool
find_last_mark(Repair *repair, SlLogMark *ret_mark)
{
    SlLogTail *tail = repair->tail;

    for (; tail->index_length > 0; tail->index_length -= sizeof *ret_mark) {
        off_t at = (off_t)(tail->index_length - sizeof *ret_mark);

        if (!sl_fd_read_at(tail->index_fd, ret_mark, sizeof *ret_mark, at, "the log's index", NULL))
            return false;
        if (ret_mark->offset >= tail->base && ret_mark->offset < tail->base + repair->size)
            return true;
    }
    return false;
}

/* Walks the frames from at on, whose mark is the index's last if is_marked. A whole frame without a mark gets one.
 * Returns where the last whole one ends. */
static uint64_t
walk_frames(Repair *repair, uint64_t at, bool is_marked)
{
    SlLogTail *tail = repair->tail;
    uint64_t end = tail->base + repair->size;
    uint8_t header[SL_STDCOPY_HEADER];
    SlStdStream stream;
    uint32_t n;

    repair->is_foreign = false;
    for (; at + sizeof header <= end; at += sizeof header + n, is_marked = false) {
        if (!sl_fd_read_at(tail->fd, header, sizeof header, (off_t)(at - tail->base), "the log", NULL))
            break;
        repair->is_foreign = !sl_stdcopy_get_header(header, &stream, &n);
        if (repair->is_foreign || at + sizeof header + n > end)
            break;
        if (!is_marked && !sl_log_tail_append_mark(tail, at, repair->time_ns))
            break;
    }
    return at;
}

static bool
is_torn_only(const Repair *repair, uint64_t end)
{
    return repair->tail->base + repair->size - end <= SL_STDCOPY_HEADER + SL_LOG_CHUNK_MAX;
}

/* An index that does not lead to frames is made anew from them. Their times are lost: it is put aside. */
static bool
rebuild_index(Repair *repair, uint64_t *ret_end, GError **error)
{
    SlLogTail *tail = repair->tail;
    char name[DAMAGED_NAME_MAX];

    name_damaged(tail->base, ".idx", name);
    remove_damaged();
    if (!put_aside(tail->index_fd, 0, (off_t)repair->index_size, name, error))
        return false;
    tail->index_length = 0;
    if (ftruncate(tail->index_fd, 0) < 0)
        return sl_fail_errno(error, errno, "repairing the log's index");
    *ret_end = walk_frames(repair, tail->base, false);
    sl_warn("damaged log index made anew, times before now are lost put_aside=%s", name);
    return true;
}

static bool
repair_frames(Repair *repair, GError **error)
{
    SlLogTail *tail = repair->tail;
    SlLogMark mark;
    bool is_marked = find_last_mark(repair, &mark);
    uint64_t begin = is_marked ? mark.offset : tail->base, end = walk_frames(repair, begin, is_marked);

    /* A torn frame at its mark is usual; a mark that points at none is not. */
    if (is_marked && (repair->is_foreign || !is_torn_only(repair, end))) {
        if (!rebuild_index(repair, &end, error))
            return false;
        is_marked = false;
    }
    tail->length = end;
    if (is_marked && end == begin)
        tail->index_length -= sizeof mark;
    return true;
}

/* What a crash cannot have left is kept beside the log, which goes on behind the offsets that are gone. */
static bool
leave_damaged(Repair *repair, GArray *sealed, GError **error)
{
    SlLogTail *tail = repair->tail;
    uint64_t end = tail->base + repair->size;
    char name[DAMAGED_NAME_MAX];
    SlLogTail next;

    name_damaged(tail->length, "", name);
    if (!put_aside(tail->fd, (off_t)(tail->length - tail->base), (off_t)repair->size, name, error) ||
        !sl_log_tail_make(end, &next, error))
        return false;
    sl_error("log is damaged, part of it is put aside offset=%" G_GUINT64_FORMAT " bytes=%" G_GUINT64_FORMAT
             " put_aside=%s",
             tail->length, end - tail->length, name);
    if (ftruncate(tail->fd, (off_t)(tail->length - tail->base)) < 0 ||
        ftruncate(tail->index_fd, (off_t)tail->index_length) < 0) {
        sl_log_tail_close(&next);
        return sl_fail_errno(error, errno, "repairing the log");
    }
    g_array_append_val(sealed, tail->base);
    sl_log_tail_close(tail);
    *tail = next;
    return true;
}

static bool
repair_tail(SlLogTail *tail, bool has_tty, GArray *sealed, GError **error)
{
    struct stat log, index;
    Repair repair = { .tail = tail };
    SlLogMark mark;

    if (fstat(tail->fd, &log) < 0 || fstat(tail->index_fd, &index) < 0)
        return sl_fail_errno(error, errno, "looking at the log");
    repair.size = (uint64_t)log.st_size;
    repair.index_size = (uint64_t)index.st_size;
    repair.time_ns = (uint64_t)log.st_mtim.tv_sec * UINT64_C(1000000000) + (uint64_t)log.st_mtim.tv_nsec;
    tail->length = tail->base + repair.size;
    tail->index_length = repair.index_size / sizeof(SlLogMark) * sizeof(SlLogMark);
    if (repair.size == 0 && repair.index_size == 0)
        return true;

    if (has_tty)
        find_last_mark(&repair, &mark);
    else if (!repair_frames(&repair, error))
        return false;
    if (!is_torn_only(&repair, tail->length))
        return leave_damaged(&repair, sealed, error);
    if (tail->length < tail->base + repair.size)
        sl_warn("torn log repaired cut_bytes=%" G_GUINT64_FORMAT, tail->base + repair.size - tail->length);
    if (ftruncate(tail->fd, (off_t)(tail->length - tail->base)) < 0 ||
        ftruncate(tail->index_fd, (off_t)tail->index_length) < 0)
        return sl_fail_errno(error, errno, "repairing the log");
    return true;
}

bool
sl_log_tail_open(bool has_tty, SlLogTail *tail, GArray *sealed, GError **error)
{
    uint64_t base = 0;

    if (!list_segments(sealed, error))
        return false;
    if (sealed->len > 0) {
        base = g_array_index(sealed, uint64_t, sealed->len - 1);
        g_array_set_size(sealed, sealed->len - 1);
    }
    if (!open_segment(base, 0, tail, error))
        return false;
    if (repair_tail(tail, has_tty, sealed, error))
        return true;
    sl_log_tail_close(tail);
    return false;
}
