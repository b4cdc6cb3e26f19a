/* Docker's `filters` parameter: key → values. A key matches when one of its values does; all keys must. */
#pragma once

#include "common/error.h"

#include <jansson.h>
#include <stddef.h>

typedef struct DkFilters DkFilters;

/*
 * text: JSON, {"k":["v"]} or {"k":{"v":true}} (Go's form; values with false are left out), NULL or "" for
 * none. known: NULL-ended list of accepted keys, or NULL for any. Errors: SL_ERROR_INVALID, "invalid filter
 * 'x'" for a key that is not known, as Docker words it.
 */
DkFilters *dk_filters_parse(const char *text, const char *const *known, GError **error);
void dk_filters_free(DkFilters *filters);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DkFilters, dk_filters_free)

/* Values of a key, NULL-ended; NULL when the key is absent. Borrowed. */
const char *const *dk_filters_get(const DkFilters *filters, const char *key);
bool dk_filters_is_empty(const DkFilters *filters);
/* Absent key, or a value equal to text. */
bool dk_filters_match_exact(const DkFilters *filters, const char *key, const char *text);
/* Absent key, or a value that is a prefix of text (ids). */
bool dk_filters_match_prefix(const DkFilters *filters, const char *key, const char *text);
/* Absent key, or a value that, as a regular expression (Docker's name filter; a bad one matches as plain
 * text), is found in text. */
bool dk_filters_match_regex(const DkFilters *filters, const char *key, const char *text);
/* Labels: every value "name" or "name=value" must be in the JSON object labels (strings). labels may be
 * NULL. */

bool dk_filters_match_labels(const DkFilters *filters, const char *key, const json_t *labels);
/* The normal form {"k":["v",…]}, keys sorted. Caller frees. */
char *dk_filters_format(const DkFilters *filters);
