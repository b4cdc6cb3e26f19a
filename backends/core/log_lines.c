#include "backends/core/log_lines.h"

#include "backends/core/log_index.h"
#include "common/log.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum {
    LOOK_MAX = 16 * SL_LOG_BLOCK, /* read in one step that finds nothing to show */
};

struct SlLogLines {
    SlLogFormat format;
    SlLogIndex index;
    int fd; /* -1: not there yet */
    uint64_t at;
    uint32_t n_left; /* of the frame, from at on */
    SlStdStream stream;
    int64_t time_ns; /* of the chunk at at */
    bool is_damaged, is_finished;
    size_t input_at, n_input; /* input[input_at] is the byte at at */
    uint8_t input[SL_LOG_BLOCK];
};

SlLogLines *
sl_log_lines_new(const SlLogQuery *query, bool has_tty)
{
    SlLogLines *lines = g_new0(SlLogLines, 1);

    sl_log_format_init(&lines->format, query, has_tty);
    sl_log_index_init(&lines->index, -1);
    lines->fd = -1;
    return lines;
}

void
sl_log_lines_free(SlLogLines *lines)
{
    sl_log_format_clear(&lines->format);
    g_free(lines);
}

void
sl_log_lines_set_files(SlLogLines *lines, int fd, int index_fd)
{
    lines->fd = fd;
    sl_log_index_init(&lines->index, index_fd);
}

bool
sl_log_lines_has_files(const SlLogLines *lines)
{
    return lines->fd >= 0;
}

static void
go_to(SlLogLines *lines, uint64_t offset)
{
    lines->at = offset;
    lines->n_left = 0;
    lines->input_at = lines->n_input = 0;
    lines->is_damaged = lines->is_finished = false;
    lines->index.at = 0;
    sl_log_format_reset(&lines->format);
}

/* ---- walking through the file ---- */

static void
advance(SlLogLines *lines, uint64_t n)
{
    lines->at += n;
    if (n <= lines->n_input - lines->input_at)
        lines->input_at += n;
    else
        lines->input_at = lines->n_input = 0;
}

static bool
damaged(SlLogLines *lines, const char *how)
{
    if (!lines->is_damaged)
        sl_warn("the log is damaged, its readers end offset=%" G_GUINT64_FORMAT " how=\"%s\"", lines->at,
                how);
    lines->is_damaged = true;
    return false;
}

/* Has at least n (≤ 8) bytes in input, of those before limit. */
static bool
fill(SlLogLines *lines, uint64_t limit, size_t n)
{
    ssize_t got;

    if (lines->n_input - lines->input_at >= n)
        return true;
    do
        got = pread(lines->fd, lines->input, MIN(sizeof lines->input, limit - lines->at), (off_t)lines->at);
    while (got < 0 && errno == EINTR);
    if (got < (ssize_t)n)
        return damaged(lines, got < 0 ? "cannot be read" : "shorter than it was");
    lines->input_at = 0;
    lines->n_input = (size_t)got;
    return true;
}

/* Stands at a frame: goes into it. False: it is not wholly there, or damaged. */
static bool
enter_frame(SlLogLines *lines, uint64_t limit)
{
    uint64_t next;
    uint32_t n;

    if (limit - lines->at < SL_STDCOPY_HEADER || !fill(lines, limit, SL_STDCOPY_HEADER))
        return false;
    if (!sl_stdcopy_get_header(lines->input + lines->input_at, &lines->stream, &n))
        return damaged(lines, "no frame");
    if (limit - lines->at - SL_STDCOPY_HEADER < n)
        return false;
    lines->time_ns = sl_log_index_time_at(&lines->index, lines->at, &next);
    lines->n_left = n;
    advance(lines, SL_STDCOPY_HEADER);
    return true;
}

/* With a tty there are no frames: what lies between two marks is one. */
static bool
enter_chunk(SlLogLines *lines, uint64_t limit)
{
    uint64_t next;

    lines->stream = SL_STD_OUT;
    lines->time_ns = sl_log_index_time_at(&lines->index, lines->at, &next);
    lines->n_left = (uint32_t)MIN(MIN(limit, next) - lines->at, SL_LOG_BLOCK);
    return true;
}

/* Formats the next piece of the log. False: there is none before limit. */
static bool
walk(SlLogLines *lines, uint64_t limit)
{
    size_t n;

    if (lines->at >= limit)
        return false;
    if (lines->n_left == 0)
        return lines->format.has_tty ? enter_chunk(lines, limit) : enter_frame(lines, limit);
    if (!sl_log_format_wants(&lines->format, lines->stream)) {
        n = lines->n_left;
    } else {
        if (!fill(lines, limit, 1))
            return false;
        n = sl_log_format_add(&lines->format, lines->stream, lines->input + lines->input_at,
                              MIN(lines->n_left, lines->n_input - lines->input_at), lines->time_ns);
    }
    lines->n_left -= (uint32_t)n;
    advance(lines, n);
    return true;
}

SlLogStep
sl_log_lines_next(SlLogLines *lines, uint64_t limit, bool is_final, const void **ret_data, size_t *ret_n)
{
    GByteArray *out = lines->format.out;
    uint64_t begin = lines->at;
    bool has_more = true;

    g_byte_array_set_size(out, 0);
    if (lines->is_finished)
        return SL_LOG_STEP_END;
    while (has_more && out->len < SL_LOG_BLOCK && !lines->format.is_past && lines->at - begin < LOOK_MAX)
        has_more = walk(lines, limit);

    lines->is_finished = lines->format.is_past || lines->is_damaged || (is_final && !has_more);
    if (lines->is_finished) {
        if (!lines->is_damaged && !lines->format.is_past && lines->at < limit)
            damaged(lines, "ends inside a frame");
        sl_log_format_finish(&lines->format);
    }
    if (out->len > 0) {
        *ret_data = out->data;
        *ret_n = out->len;
        return SL_LOG_STEP_BLOCK;
    }
    if (lines->is_finished)
        return SL_LOG_STEP_END;
    return has_more ? SL_LOG_STEP_MORE : SL_LOG_STEP_WAIT;
}

/* ---- finding the beginning ---- */

/* Counts the entries from offset on. */
static void
count_from(SlLogLines *lines, uint64_t offset, uint64_t limit, bool is_final)
{
    go_to(lines, offset);
    lines->format.is_counting = true;
    while (walk(lines, limit))
        continue;
    if (is_final)
        sl_log_format_finish(&lines->format);
    lines->format.is_counting = false;
}

/* Looks at a window at the end, doubled until it holds more lines than wanted: the first entry shown then begins inside it. */
static void
seek_tail(SlLogLines *lines, uint64_t limit, bool is_final)
{
    uint64_t tail = (uint64_t)lines->format.query.tail, begin;

    for (uint64_t window = SL_LOG_BLOCK;; window *= 2) {
        begin = limit > window ? sl_log_index_floor(&lines->index, limit - window) : 0;
        count_from(lines, begin, limit, is_final);
        if (begin == 0 || lines->format.n_lines > tail)
            break;
    }
    lines->format.skip = lines->format.n_entries > tail ? (int64_t)(lines->format.n_entries - tail) : 0;
    go_to(lines, begin);
}

/* A line that ended after `since` may have begun before: the reading begins a block earlier, and entries are looked at one by one. */
static void
seek_since(SlLogLines *lines, uint64_t limit)
{
    uint64_t found = MIN(sl_log_index_find_time(&lines->index, lines->format.query.since_ns), limit);

    go_to(lines, found > SL_LOG_BLOCK ? sl_log_index_floor(&lines->index, found - SL_LOG_BLOCK) : 0);
}

void
sl_log_lines_seek(SlLogLines *lines, uint64_t limit, bool is_final)
{
    if (lines->fd < 0)
        return;
    if (lines->format.query.tail >= 0)
        seek_tail(lines, limit, is_final);
    else if (lines->format.query.since_ns > 0)
        seek_since(lines, limit);
}
