/* Image references, normalised as Docker does: "alpine" is docker.io/library/alpine:latest. */
#pragma once

#include "common/error.h"

typedef struct SlReference {
    char *domain; /* "docker.io", "localhost:5000" */
    char *path;   /* "library/alpine" */
    char *tag;    /* or NULL when there is a digest only */
    char *digest; /* "sha256:…" or NULL */
} SlReference;

/* No tag and no digest: ":latest" when default_tag. Errors: SL_ERROR_INVALID, in Docker's words ("invalid
 * reference format", "repository name must be lowercase"). */
bool sl_reference_parse(const char *text, bool default_tag, SlReference *ret_reference, GError **error);
void sl_reference_clear(SlReference *reference);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(SlReference, sl_reference_clear)
/* Caller frees all of these. Familiar: without docker.io/ and library/. */
char *sl_reference_name(const SlReference *reference);          /* docker.io/library/alpine */
char *sl_reference_familiar_name(const SlReference *reference); /* alpine */
char *sl_reference_format(const SlReference *reference);        /* docker.io/library/alpine:latest[@digest] */
char *sl_reference_familiar(const SlReference *reference);      /* alpine:latest */
/* "sha256:" and 64 lower-case hex digits. */
bool sl_digest_is_valid(const char *text);
/* Docker's filter "reference=": shell pattern against familiar name, with or without tag. */
bool sl_reference_matches(const SlReference *reference, const char *pattern);
