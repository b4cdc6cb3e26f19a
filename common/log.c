#include "common/log.h"

#include "common/clock.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct {
    const char *program;
    SlLogLevel level;
    bool as_json;
} log_setup = { .program = "sockerless", .level = SL_LOG_INFO };

static _Thread_local char thread_request[64];

static const char *const level_names[] = { "DEBUG", "INFO", "WARN", "ERROR" };

void
sl_log_setup(const char *program, SlLogLevel level, bool as_json)
{
    log_setup.program = program;
    log_setup.level = level;
    log_setup.as_json = as_json;
}

bool
sl_log_level_parse(const char *text, SlLogLevel *ret_level)
{
    for (size_t i = 0; i < G_N_ELEMENTS(level_names); i++) {
        if (g_ascii_strcasecmp(text, level_names[i]) == 0) {
            *ret_level = (SlLogLevel)i;
            return true;
        }
    }
    return false;
}

bool
sl_log_enabled(SlLogLevel level)
{
    return level >= log_setup.level;
}

void
sl_log_set_request(const char *request_id)
{
    g_strlcpy(thread_request, request_id ? request_id : "", sizeof thread_request);
}

const char *
sl_log_get_request(void)
{
    return thread_request[0] ? thread_request : NULL;
}

static void
append_escaped(GString *line, const char *text, bool as_json)
{
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        if (*c < 0x20 || *c == 0x7f)
            g_string_append_printf(line, as_json ? "\\u%04x" : "\\x%02x", *c);
        else if (as_json && (*c == '"' || *c == '\\'))
            g_string_append_printf(line, "\\%c", *c);
        else
            g_string_append_c(line, (char)*c);
    }
}

void
sl_log(SlLogLevel level, const char *format, ...)
{
    g_autoptr(GString) line = NULL;
    g_autofree char *message = NULL;
    g_autofree char *valid = NULL;
    char time[SL_CLOCK_LOG_CHARS + 1];
    va_list args;

    if (!sl_log_enabled(level))
        return;
    va_start(args, format);
    message = g_strdup_vprintf(format, args);
    va_end(args);
    valid = g_utf8_make_valid(message, -1);
    sl_clock_format_log(sl_clock_now_ns(), time);

    line = g_string_sized_new(256);
    if (log_setup.as_json) {
        g_string_append_printf(line,
                               "{\"time\":\"%.23sZ\",\"level\":\"%s\",\"program\":\"%s\",\"message\":\"",
                               time, level_names[level], log_setup.program);
        append_escaped(line, valid, true);
        if (thread_request[0])
            g_string_append_printf(line, "\",\"request\":\"%s", thread_request);
        g_string_append(line, "\"}\n");
    } else {
        g_string_append_printf(line, "%.23sZ %s %s: ", time, level_names[level], log_setup.program);
        append_escaped(line, valid, false);
        if (thread_request[0])
            g_string_append_printf(line, " request=%s", thread_request);
        g_string_append_c(line, '\n');
    }
    if (write(STDERR_FILENO, line->str, line->len) < 0)
        return; /* nobody left to tell */
}
