/* JSON from registries and images: parsed with bounds, read with types checked. Inside oci/. */
#pragma once

#include "common/json_fields.h" /* and jansson with its cleanup */

#include <stddef.h>
#include <stdint.h>

/* An object; bounded depth; an object with the same key twice is refused, since two readers could see two
 * documents. what begins the message. */
json_t *sl_document_parse(const char *text, size_t n, const char *what, GError **error);

/* Members by exact key. Absent and null are success and leave *ret as it is; a wrong type is
 * SL_ERROR_INVALID. ret is borrowed from json. */
bool sl_document_string(const json_t *json, const char *key, const char *what, const char **ret,
                        GError **error);
bool sl_document_size(const json_t *json, const char *key, const char *what, int64_t *ret, GError **error);
bool sl_document_object(const json_t *json, const char *key, const char *what, json_t **ret, GError **error);
bool sl_document_array(const json_t *json, const char *key, const char *what, json_t **ret, GError **error);
/* A list of strings. */
bool sl_document_strings(const json_t *json, const char *key, const char *what, json_t **ret, GError **error);
