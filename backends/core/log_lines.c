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
    SlLogFind find;
    void *find_user;
    SlLogPart part; /* fd -1: none; at lies in it */
    SlLogIndex index;
    uint64_t at;
    uint32_t n_left; /* of the frame, from at on */
    SlStdStream stream;
    int64_t time_ns; /* of the chunk at at */
    bool is_damaged, is_finished;
    size_t input_at, n_input; /* input[input_at] is the byte at at */
    uint8_t *input;           /* SL_LOG_BLOCK bytes, or NULL at rest */
};

SlLogLines *
sl_log_lines_new(const SlLogQuery *query, bool has_tty)
{
    SlLogLines *lines = g_new0(SlLogLines, 1);

    sl_log_format_init(&lines->format, query, has_tty);
    lines->part.fd = -1;
    return lines;
}

/* Nothing may come for long. */
static void
rest(SlLogLines *lines)
{
    g_clear_pointer(&lines->input, g_free);
    lines->input_at = lines->n_input = 0;
    sl_log_index_rest(&lines->index);
    sl_log_format_rest(&lines->format);
}

void
sl_log_lines_free(SlLogLines *lines)
{
    rest(lines);
    sl_log_format_clear(&lines->format);
    g_free(lines);
}

void
sl_log_lines_set_source(SlLogLines *lines, SlLogFind find, void *user)
{
    lines->find = find;
    lines->find_user = user;
}

uint64_t
sl_log_lines_at(const SlLogLines *lines)
{
    return lines->at;
}

static size_t
n_out(const SlLogLines *lines)
{
    return lines->format.out ? lines->format.out->len : 0;
}

static void
stand_at(SlLogLines *lines, uint64_t offset)
{
    lines->at = offset;
    lines->n_left = 0;
    lines->input_at = lines->n_input = 0;
}

static void
go_to(SlLogLines *lines, uint64_t offset)
{
    stand_at(lines, offset);
    lines->is_damaged = lines->is_finished = false;
    lines->part.fd = -1;
    sl_log_format_reset(&lines->format);
}

/* ---- walking through the segments ---- */

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
    if (lines->is_damaged)
        return false;
    lines->is_damaged = true;
    sl_warn("the log is damaged, its readers end offset=%" G_GUINT64_FORMAT " how=\"%s\"", lines->at, how);
    if (!lines->format.is_counting) {
        g_autofree char *sentence = g_strdup_printf(
            "error grabbing logs: the log is damaged at byte %" G_GUINT64_FORMAT ": it %s", lines->at, how);

        sl_log_format_say(&lines->format, sentence);
    }
    return false;
}

static bool
lost(SlLogLines *lines, uint64_t next)
{
    lines->is_damaged = true;
    if (!lines->format.is_counting) {
        g_autofree char *sentence = g_strdup_printf("error grabbing logs: %" G_GUINT64_FORMAT
                                                    " bytes are no longer there: rotated away, or damaged",
                                                    next - lines->at);

        sl_log_format_say(&lines->format, sentence);
    }
    return false;
}

/* Finds the segment that at lies in, which may be the next. False: none is there. */
static bool
enter_part(SlLogLines *lines)
{
    SlLogPart part;
    uint64_t offset;

    switch (lines->find(lines->find_user, lines->at, &part, &offset)) {
    case SL_LOG_PLACE_FOUND:
        break;
    case SL_LOG_PLACE_LOST:
        return lost(lines, offset);
    case SL_LOG_PLACE_NONE:
        return false;
    }
    if (lines->part.fd < 0 || lines->part.base != part.base) {
        sl_log_index_rest(&lines->index);
        sl_log_index_init(&lines->index, part.index_fd);
    }
    lines->part = part;
    if (offset != lines->at)
        stand_at(lines, offset);
    return true;
}

/* Has at least n (≤ 8) bytes in input, of those before limit. */
static bool
fill(SlLogLines *lines, uint64_t limit, size_t n)
{
    ssize_t got;

    if (lines->n_input - lines->input_at >= n)
        return true;
    if (!lines->input)
        lines->input = g_malloc(SL_LOG_BLOCK);
    do
        got = pread(lines->part.fd, lines->input, MIN(SL_LOG_BLOCK, limit - lines->at),
                    (off_t)(lines->at - lines->part.base));
    while (got < 0 && errno == EINTR);
    if (got < (ssize_t)n)
        return damaged(lines, got < 0 ? "cannot be read" : "is shorter than it was");
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
        return damaged(lines, "has no frame there");
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
    uint64_t end;
    size_t n;

    if (lines->at >= limit)
        return false;
    if (lines->part.fd < 0 || lines->at >= lines->part.end)
        return enter_part(lines);
    end = MIN(limit, lines->part.end);
    if (lines->n_left == 0 && !(lines->format.has_tty ? enter_chunk : enter_frame)(lines, end))
        return end < limit && damaged(lines, "ends inside a frame");
    if (!sl_log_format_wants(&lines->format, lines->stream)) {
        n = lines->n_left;
    } else {
        if (lines->n_left > 0 && !fill(lines, end, 1))
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
    uint64_t begin = lines->at;
    bool has_more = true;

    if (lines->format.out)
        g_byte_array_set_size(lines->format.out, 0);
    if (lines->is_finished)
        return SL_LOG_STEP_END;
    if (lines->at < limit && lines->part.end == UINT64_MAX)
        has_more = enter_part(lines); /* the last segment may not be the last any more */
    while (has_more && n_out(lines) < SL_LOG_BLOCK && !lines->format.is_past && lines->at - begin < LOOK_MAX)
        has_more = walk(lines, limit);

    lines->is_finished = lines->format.is_past || lines->is_damaged || (is_final && !has_more);
    if (lines->is_finished) {
        if (!lines->is_damaged && !lines->format.is_past && lines->at < limit && lines->part.fd >= 0)
            damaged(lines, "ends inside a frame");
        sl_log_format_finish(&lines->format);
    }
    if (n_out(lines) > 0) {
        *ret_data = lines->format.out->data;
        *ret_n = lines->format.out->len;
        return SL_LOG_STEP_BLOCK;
    }
    if (!lines->is_finished && has_more)
        return SL_LOG_STEP_MORE;
    rest(lines);
    return lines->is_finished ? SL_LOG_STEP_END : SL_LOG_STEP_WAIT;
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

/* Goes to the last mark at or before offset. One that leads to no frame is not believed. */
static void
go_to_mark(SlLogLines *lines, uint64_t offset, uint64_t limit)
{
    uint64_t mark;

    go_to(lines, offset);
    if (!enter_part(lines))
        return;
    mark = sl_log_index_floor(&lines->index, lines->at);
    stand_at(lines, CLAMP(mark, lines->part.base, lines->at));
    if (lines->format.has_tty)
        return;
    lines->format.is_counting = true; /* nothing is said about a guess */
    if (lines->at >= limit || !enter_frame(lines, MIN(limit, lines->part.end)))
        lines->at = lines->part.base;
    else
        lines->at -= SL_STDCOPY_HEADER;
    lines->format.is_counting = false;
    lines->is_damaged = false;
    stand_at(lines, lines->at);
}

/* Looks at a window at the end, doubled until it holds more lines than wanted: the first entry shown then begins inside it. */
static void
seek_tail(SlLogLines *lines, uint64_t limit, bool is_final)
{
    uint64_t tail = (uint64_t)lines->format.query.tail, begin;

    for (uint64_t window = SL_LOG_BLOCK;; window *= 2) {
        if (limit > window)
            go_to_mark(lines, limit - window, limit);
        else
            go_to(lines, 0);
        begin = lines->at;
        count_from(lines, begin, limit, is_final);
        if (limit <= window || begin > limit - window || lines->format.n_lines > tail)
            break;
    }
    lines->format.skip = lines->format.n_entries > tail ? (int64_t)(lines->format.n_entries - tail) : 0;
    go_to(lines, begin);
}

/* The last segment that begins before `since`, or the first one. */
static void
find_part_of_since(SlLogLines *lines, uint64_t limit)
{
    SlLogMark first;

    go_to(lines, limit - 1);
    while (enter_part(lines) && lines->part.base > 0 && sl_log_index_get(&lines->index, 0, &first) &&
           first.time_ns >= (uint64_t)lines->format.query.since_ns) {
        uint64_t base = lines->part.base;

        stand_at(lines, base - 1);
        if (!enter_part(lines) || lines->part.base >= base)
            break;
    }
}

/* A line that ended after `since` may have begun before: the reading begins a block earlier, and entries are looked at one by one. */
static void
seek_since(SlLogLines *lines, uint64_t limit)
{
    uint64_t found;

    find_part_of_since(lines, limit);
    found = MIN(sl_log_index_find_time(&lines->index, lines->format.query.since_ns), limit);
    if (found > SL_LOG_BLOCK)
        go_to_mark(lines, found - SL_LOG_BLOCK, limit);
    else
        go_to(lines, 0);
}

void
sl_log_lines_seek(SlLogLines *lines, uint64_t limit, bool is_final)
{
    if (limit == 0)
        return;
    if (lines->format.query.tail >= 0)
        seek_tail(lines, limit, is_final);
    else if (lines->format.query.since_ns > 0)
        seek_since(lines, limit);
}
