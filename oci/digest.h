/* SHA-256 as registries write it; the only home of OpenSSL in this room. One thread at a time an object. */
#pragma once

#include <glib.h>
#include <stddef.h>

enum {
    SL_DIGEST_HEX_CHARS = 64,
    SL_DIGEST_CHARS = 7 + SL_DIGEST_HEX_CHARS, /* "sha256:" and the hex digits */
};

typedef struct SlDigester SlDigester;

SlDigester *sl_digester_new(void);
void sl_digester_update(SlDigester *digester, const void *data, size_t n);
/* "sha256:HEX" of what came so far; the digester is used up. Caller frees. */
char *sl_digester_finish(SlDigester *digester);
void sl_digester_free(SlDigester *digester);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SlDigester, sl_digester_free)

/* The hex part of a valid digest; borrowed. */
const char *sl_digest_hex(const char *digest);
