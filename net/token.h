/* A secret in a file that callers of the internal API have to know. Any thread. */
#pragma once

#include "common/error.h"

typedef struct SlToken SlToken;

/* The first line of the file, 16 to 1024 visible characters. flag names the setting in errors (SL_ERROR_INVALID). */
SlToken *sl_token_open(const char *flag, const char *path, GError **error);
/* Reads the file again. On false the old one stays. */
bool sl_token_reload(SlToken *token, GError **error);
void sl_token_free(SlToken *token);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SlToken, sl_token_free)

/* "Bearer …" for an Authorization header. Caller frees. */
char *sl_token_format(SlToken *token);
/* Whether a header's value (may be NULL) holds it; takes as long for a wrong one as for the right one. */
bool sl_token_matches(SlToken *token, const char *authorization);
