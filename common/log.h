/*
 * The programs' own log: one line an event on standard error, a fixed phrase, then key=value.
 *
 *     sl_info("container started container=%s took_ms=%d", id, ms);
 *
 * Text: `2024-01-02T03:04:05.678Z INFO container started container=… request=…`; JSON: one object a line with time, level,
 * message, request. Control characters are escaped in both, so a name can forge no line. The thread's request id is added.
 * info = the operator's diary, warn = we coped, error = a human must act, debug = for us. Never a secret.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

typedef enum SlLogLevel { SL_LOG_DEBUG, SL_LOG_INFO, SL_LOG_WARN, SL_LOG_ERROR } SlLogLevel;

/* Once, in main, before threads. */
void sl_log_setup(const char *program, SlLogLevel level, bool as_json);
/* "debug", "info", "warn", "error". */
bool sl_log_level_parse(const char *text, SlLogLevel *ret_level);

void sl_log(SlLogLevel level, const char *format, ...) G_GNUC_PRINTF(2, 3);
bool sl_log_enabled(SlLogLevel level);

/* The id of the request this thread works on, or NULL. Copied; 63 bytes kept. */
void sl_log_set_request(const char *request_id);
const char *sl_log_get_request(void);

#define sl_debug(...) (sl_log_enabled(SL_LOG_DEBUG) ? sl_log(SL_LOG_DEBUG, __VA_ARGS__) : (void)0)
#define sl_info(...)  sl_log(SL_LOG_INFO, __VA_ARGS__)
#define sl_warn(...)  sl_log(SL_LOG_WARN, __VA_ARGS__)
#define sl_error(...) sl_log(SL_LOG_ERROR, __VA_ARGS__)
