#include "backends/core/log_format.h"

#include "common/clock.h"

#include <string.h>

void
sl_log_format_init(SlLogFormat *format, const SlLogQuery *query, bool has_tty)
{
    *format = (SlLogFormat){ .query = *query, .has_tty = has_tty, .stamp_ns = -1 };
    format->query.details_text = g_strdup(query->details_text ? query->details_text : "");
}

void
sl_log_format_clear(SlLogFormat *format)
{
    g_free((void *)(uintptr_t)format->query.details_text);
    g_clear_pointer(&format->out, g_byte_array_unref);
    for (size_t i = 0; i < G_N_ELEMENTS(format->open_lines); i++)
        g_clear_pointer(&format->open_lines[i], g_byte_array_unref);
}

void
sl_log_format_reset(SlLogFormat *format)
{
    format->n_entries = format->n_lines = 0;
    format->is_past = false;
    g_clear_pointer(&format->out, g_byte_array_unref);
    for (size_t i = 0; i < G_N_ELEMENTS(format->open_lines); i++)
        g_clear_pointer(&format->open_lines[i], g_byte_array_unref);
}

static size_t
size_of(const GByteArray *array)
{
    return array ? array->len : 0;
}

void
sl_log_format_rest(SlLogFormat *format)
{
    if (size_of(format->out) == 0)
        g_clear_pointer(&format->out, g_byte_array_unref);
    for (size_t i = 0; i < G_N_ELEMENTS(format->open_lines); i++)
        if (size_of(format->open_lines[i]) == 0)
            g_clear_pointer(&format->open_lines[i], g_byte_array_unref);
}

bool
sl_log_format_wants(const SlLogFormat *format, SlStdStream stream)
{
    return stream == SL_STD_ERR ? format->query.stderr_ : stream == SL_STD_OUT && format->query.stdout_;
}

static void
append(SlLogFormat *format, const void *data, size_t n)
{
    if (!format->out)
        format->out = g_byte_array_new();
    g_byte_array_append(format->out, data, (guint)n);
}

static void
append_header(SlLogFormat *format, SlStdStream stream, size_t n)
{
    uint8_t header[SL_STDCOPY_HEADER];

    if (format->has_tty)
        return;
    sl_stdcopy_put_header(header, stream, (uint32_t)n);
    append(format, header, sizeof header);
}

void
sl_log_format_say(SlLogFormat *format, const char *sentence)
{
    append_header(format, SL_STD_SYSTEM, strlen(sentence) + 1);
    append(format, sentence, strlen(sentence));
    append(format, "\n", 1);
}

static const char *
stamp_of(SlLogFormat *format, int64_t time_ns)
{
    if (format->stamp_ns != time_ns) {
        sl_clock_format_log(time_ns, format->stamp);
        format->stamp_ns = time_ns;
    }
    return format->stamp;
}

/* Whether the entry is among those that are shown. */
static bool
is_shown(SlLogFormat *format, int64_t time_ns)
{
    if (format->is_counting)
        return false;
    if (format->skip > 0) {
        format->skip--;
        return false;
    }
    format->is_past = format->query.until_ns && time_ns > format->query.until_ns;
    return !format->is_past && time_ns >= format->query.since_ns;
}

/* An entry: what was open of the line, then n bytes of data. */
static void
put_entry(SlLogFormat *format, SlStdStream stream, const uint8_t *data, size_t n, int64_t time_ns)
{
    const SlLogQuery *query = &format->query;
    GByteArray *open_line = format->open_lines[stream];
    size_t n_details = query->details ? strlen(query->details_text) + 1 : 0;
    size_t n_stamp = query->timestamps ? SL_CLOCK_LOG_CHARS + 1 : 0;

    format->n_entries++;
    format->n_lines += n > 0 && data[n - 1] == '\n';
    if (is_shown(format, time_ns)) {
        append_header(format, stream, n_stamp + n_details + size_of(open_line) + n);
        if (n_stamp) {
            append(format, stamp_of(format, time_ns), SL_CLOCK_LOG_CHARS);
            append(format, " ", 1);
        }
        if (n_details) {
            append(format, query->details_text, n_details - 1);
            append(format, " ", 1);
        }
        if (open_line)
            append(format, open_line->data, open_line->len);
        append(format, data, n);
    }
    if (open_line)
        g_byte_array_set_size(open_line, 0);
}

static void
keep_open(SlLogFormat *format, SlStdStream stream, const uint8_t *data, size_t n, int64_t time_ns)
{
    if (!format->open_lines[stream])
        format->open_lines[stream] = g_byte_array_new();
    g_byte_array_append(format->open_lines[stream], data, (guint)n);
    format->open_ns[stream] = time_ns;
}

size_t
sl_log_format_add(SlLogFormat *format, SlStdStream stream, const uint8_t *data, size_t n, int64_t time_ns)
{
    size_t at = 0;

    while (at < n && size_of(format->out) < SL_LOG_BLOCK && !format->is_past) {
        size_t n_open = size_of(format->open_lines[stream]);
        size_t room = MIN(n - at, SL_LOG_ENTRY_MAX - n_open);
        const uint8_t *line_break = memchr(data + at, '\n', room);
        size_t taken = line_break ? (size_t)(line_break + 1 - (data + at)) : room;

        if (line_break || n_open + taken == SL_LOG_ENTRY_MAX)
            put_entry(format, stream, data + at, taken, time_ns);
        else
            keep_open(format, stream, data + at, taken, time_ns);
        at += taken;
    }
    return at;
}

void
sl_log_format_finish(SlLogFormat *format)
{
    for (int stream = SL_STD_OUT; stream <= SL_STD_ERR; stream++) {
        if (size_of(format->open_lines[stream]) > 0 && !format->is_past)
            put_entry(format, (SlStdStream)stream, NULL, 0, format->open_ns[stream]);
    }
}
