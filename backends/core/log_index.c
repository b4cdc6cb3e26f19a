#include "backends/core/log_index.h"

#include <glib.h>
#include <sys/stat.h>
#include <unistd.h>

void
sl_log_index_init(SlLogIndex *index, int fd)
{
    *index = (SlLogIndex){ .fd = fd };
}

void
sl_log_index_rest(SlLogIndex *index)
{
    g_clear_pointer(&index->marks, g_free);
    index->n = 0;
}

uint64_t
sl_log_index_count(const SlLogIndex *index)
{
    struct stat info;

    return index->fd >= 0 && fstat(index->fd, &info) == 0 ? (uint64_t)info.st_size / sizeof(SlLogMark) : 0;
}

bool
sl_log_index_get(SlLogIndex *index, uint64_t number, SlLogMark *ret_mark)
{
    const SlLogMark *mark;

    if (number < index->first || number - index->first >= index->n) {
        size_t n_buffer = SL_LOG_INDEX_BUFFER * sizeof *mark;
        ssize_t got;

        if (index->fd < 0 || number > INT64_MAX / sizeof *mark)
            return false;
        if (!index->marks)
            index->marks = g_malloc(n_buffer);
        got = pread(index->fd, index->marks, n_buffer, (off_t)(number * sizeof *mark));
        index->first = number;
        index->n = got > 0 ? (unsigned)((size_t)got / sizeof *mark) : 0;
        if (index->n == 0)
            return false;
    }
    mark = &index->marks[number - index->first];
    *ret_mark =
        (SlLogMark){ .offset = GUINT64_FROM_LE(mark->offset), .time_ns = GUINT64_FROM_LE(mark->time_ns) };
    return true;
}

/* The number of marks in front of the first that is behind offset, or not before time_ns. */
static uint64_t
search(SlLogIndex *index, bool by_time, uint64_t wanted)
{
    uint64_t low = 0, high = sl_log_index_count(index);

    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        SlLogMark mark;
        bool is_before;

        if (!sl_log_index_get(index, middle, &mark))
            return low;
        is_before = by_time ? mark.time_ns < wanted : mark.offset <= wanted;
        if (is_before)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

uint64_t
sl_log_index_floor(SlLogIndex *index, uint64_t offset)
{
    uint64_t n = search(index, false, offset);
    SlLogMark mark;

    return n > 0 && sl_log_index_get(index, n - 1, &mark) && mark.offset <= offset ? mark.offset : 0;
}

uint64_t
sl_log_index_find_time(SlLogIndex *index, int64_t time_ns)
{
    SlLogMark mark;

    return sl_log_index_get(index, search(index, true, (uint64_t)time_ns), &mark) ? mark.offset : UINT64_MAX;
}

int64_t
sl_log_index_time_at(SlLogIndex *index, uint64_t offset, uint64_t *ret_next)
{
    SlLogMark mark, next;

    *ret_next = UINT64_MAX;
    if (!sl_log_index_get(index, index->at, &mark))
        return 0;
    if (index->at == 0 && offset > mark.offset) {
        /* The first question may be far into the log. */
        uint64_t n = search(index, false, offset);

        index->at = n > 0 ? n - 1 : 0;
        if (!sl_log_index_get(index, index->at, &mark))
            return 0;
    }
    while (sl_log_index_get(index, index->at + 1, &next)) {
        if (next.offset > offset) {
            *ret_next = next.offset;
            break;
        }
        mark = next;
        index->at++;
    }
    return mark.time_ns > INT64_MAX ? 0 : (int64_t)mark.time_ns;
}
