/* Identifiers and secrets, from getrandom(2). */
#pragma once

#include <glib.h>
#include <stdbool.h>

enum {
    SL_ID_CHARS = 64,       /* container, network, exec and image ids: 256 bits in lower-case hex */
    SL_ID_SHORT_CHARS = 12, /* what `docker ps` shows and what a hostname defaults to */
};

/* Caller frees. */
char *sl_id_new(void);
/* n_bytes random bytes in hex. Caller frees. */
char *sl_id_random_hex(size_t n_bytes);
/* Lower-case hex, 1 to SL_ID_CHARS characters: can be a prefix of an id. */
bool sl_id_is_prefix(const char *text);
/* Compares in time that does not depend on where they differ; for tokens. */
bool sl_secret_equal(const char *a, const char *b);
