/* Names and small grammars of the Engine API. No I/O. */
#pragma once

#include "common/error.h"

#include <stdint.h>

/* [a-zA-Z0-9][a-zA-Z0-9_.-]+, a leading slash is dropped. ret_name: caller frees. Errors: SL_ERROR_INVALID in
 * Docker's words: "Invalid container name (x), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed". */
bool dk_container_name_parse(const char *text, char **ret_name, GError **error);
/* "adjective_noun", as Docker makes one up for a nameless container (our own words). attempt > 0 adds a
 * digit. Caller frees. */
char *dk_container_name_make(unsigned attempt);
/* "SIGTERM", "TERM", "term", "15" → 15. Errors: SL_ERROR_INVALID "Invalid signal: x". */
bool dk_signal_parse(const char *text, int *ret_signal, GError **error);
/* "15" → "TERM"; for messages. NULL when unknown. Static. */
const char *dk_signal_name(int signal_number);
/* API version "1.44" → 1044; 0 when it is not one. */
int dk_version_parse(const char *text);
/* since/until parameters: unix seconds with optional fraction, RFC 3339, or a Go duration back from now
 * ("10m"). 0 for NULL and "". Errors: SL_ERROR_INVALID naming what. */
bool dk_time_parse(const char *text, const char *what, int64_t now_ns, int64_t *ret_ns, GError **error);
/* Replaces or appends NAME=VALUE in env (NULL-ended, taken); a NAME without "=" removes it. Returns the new
 * vector. */
char **dk_env_merge(char **base /* taken */, const char *const *over);

enum { DK_API_VERSION = 1044, DK_API_VERSION_MIN = 1024 };
#define DK_API_VERSION_TEXT     "1.44"
#define DK_API_VERSION_MIN_TEXT "1.24"
