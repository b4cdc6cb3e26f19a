#include "backends/core/log_format.h"

#include "common/clock.h"

#include <string.h>

void
sl_log_format_init(SlLogFormat *format, const SlLogQuery *query, bool has_tty)
{
    *format = (SlLogFormat){ .query = *query, .has_tty = has_tty, .stamp_ns = -1 };
    format->query.details_text = g_strdup(query->details_text ? query->details_text : "");
    format->out = g_byte_array_sized_new(2 * SL_LOG_BLOCK);
    for (size_t i = 0; i < G_N_ELEMENTS(format->open_lines); i++)
        format->open_lines[i] = g_byte_array_new();
}

void
sl_log_format_clear(SlLogFormat *format)
{
    g_free((void *)(uintptr_t)format->query.details_text);
    g_byte_array_unref(format->out);
    for (size_t i = 0; i < G_N_ELEMENTS(format->open_lines); i++)
        g_byte_array_unref(format->open_lines[i]);
}

void
sl_log_format_reset(SlLogFormat *format)
{
    format->n_entries = format->n_lines = 0;
    format->is_past = false;
    g_byte_array_set_size(format->out, 0);
    for (size_t i = 0; i < G_N_ELEMENTS(format->open_lines); i++)
        g_byte_array_set_size(format->open_lines[i], 0);
}

bool
sl_log_format_wants(const SlLogFormat *format, SlStdStream stream)
{
    return stream == SL_STD_ERR ? format->query.stderr_ : stream == SL_STD_OUT && format->query.stdout_;
}

static void
append(SlLogFormat *format, const void *data, size_t n)
{
    g_byte_array_append(format->out, data, (guint)n);
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
        if (!format->has_tty) {
            uint8_t header[SL_STDCOPY_HEADER];

            sl_stdcopy_put_header(header, stream, (uint32_t)(n_stamp + n_details + open_line->len + n));
            append(format, header, sizeof header);
        }
        if (n_stamp) {
            append(format, stamp_of(format, time_ns), SL_CLOCK_LOG_CHARS);
            append(format, " ", 1);
        }
        if (n_details) {
            append(format, query->details_text, n_details - 1);
            append(format, " ", 1);
        }
        append(format, open_line->data, open_line->len);
        append(format, data, n);
    }
    if (open_line->len > 0)
        g_byte_array_set_size(open_line, 0);
}

size_t
sl_log_format_add(SlLogFormat *format, SlStdStream stream, const uint8_t *data, size_t n, int64_t time_ns)
{
    GByteArray *open_line = format->open_lines[stream];
    size_t at = 0;

    while (at < n && format->out->len < SL_LOG_BLOCK && !format->is_past) {
        size_t room = MIN(n - at, SL_LOG_ENTRY_MAX - open_line->len);
        const uint8_t *line_break = memchr(data + at, '\n', room);
        size_t taken = line_break ? (size_t)(line_break + 1 - (data + at)) : room;

        if (line_break || open_line->len + taken == SL_LOG_ENTRY_MAX) {
            put_entry(format, stream, data + at, taken, time_ns);
        } else {
            g_byte_array_append(open_line, data + at, (guint)taken);
            format->open_ns[stream] = time_ns;
        }
        at += taken;
    }
    return at;
}

void
sl_log_format_finish(SlLogFormat *format)
{
    for (int stream = SL_STD_OUT; stream <= SL_STD_ERR; stream++) {
        if (format->open_lines[stream]->len > 0 && !format->is_past)
            put_entry(format, (SlStdStream)stream, NULL, 0, format->open_ns[stream]);
    }
}
