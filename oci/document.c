#include "oci/document.h"

#include <string.h>

enum {
    MAX_DEPTH = 64, /* jansson recurses, and our threads have small stacks */
};

/* Counts brackets outside of strings; what is not JSON is left to the parser. */
static bool
depth_is_bounded(const char *text, size_t n)
{
    bool is_string = false;
    int depth = 0;

    for (size_t i = 0; i < n; i++) {
        if (is_string && text[i] == '\\')
            i++;
        else if (text[i] == '"')
            is_string = !is_string;
        else if (!is_string && (text[i] == '{' || text[i] == '['))
            depth++;
        else if (!is_string && (text[i] == '}' || text[i] == ']'))
            depth--;
        if (depth > MAX_DEPTH)
            return false;
    }
    return true;
}

json_t *
sl_document_parse(const char *text, size_t n, const char *what, GError **error)
{
    json_error_t problem;
    json_t *json;

    if (!depth_is_bounded(text, n)) {
        sl_fail(error, SL_ERROR_INVALID, "%s: nested more than %d deep", what, MAX_DEPTH);
        return NULL;
    }
    json = json_loadb(text, n, JSON_REJECT_DUPLICATES, &problem);
    if (!json) {
        sl_fail(error, SL_ERROR_INVALID, "%s: not JSON: %s", what, problem.text);
        return NULL;
    }
    if (!json_is_object(json)) {
        json_decref(json);
        sl_fail(error, SL_ERROR_INVALID, "%s: not a JSON object", what);
        return NULL;
    }
    return json;
}

static bool
fail_type(const char *what, const char *key, const char *type, GError **error)
{
    return sl_fail(error, SL_ERROR_INVALID, "%s: \"%s\" must be %s", what, key, type);
}

bool
sl_document_string(const json_t *json, const char *key, const char *what, const char **ret, GError **error)
{
    const json_t *value = json_object_get(json, key);

    if (!value || json_is_null(value))
        return true;
    if (!json_is_string(value))
        return fail_type(what, key, "a string", error);
    *ret = json_string_value(value);
    return true;
}

bool
sl_document_size(const json_t *json, const char *key, const char *what, int64_t *ret, GError **error)
{
    const json_t *value = json_object_get(json, key);

    if (!value || json_is_null(value))
        return true;
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return fail_type(what, key, "a size in bytes", error);
    *ret = json_integer_value(value);
    return true;
}

bool
sl_document_object(const json_t *json, const char *key, const char *what, json_t **ret, GError **error)
{
    json_t *value = json_object_get(json, key);

    if (!value || json_is_null(value))
        return true;
    if (!json_is_object(value))
        return fail_type(what, key, "an object", error);
    *ret = value;
    return true;
}

bool
sl_document_array(const json_t *json, const char *key, const char *what, json_t **ret, GError **error)
{
    json_t *value = json_object_get(json, key);

    if (!value || json_is_null(value))
        return true;
    if (!json_is_array(value))
        return fail_type(what, key, "a list", error);
    *ret = value;
    return true;
}

bool
sl_document_strings(const json_t *json, const char *key, const char *what, json_t **ret, GError **error)
{
    json_t *list = NULL;
    size_t index;
    json_t *value;

    if (!sl_document_array(json, key, what, &list, error))
        return false;
    json_array_foreach(list, index, value)
        if (!json_is_string(value))
            return fail_type(what, key, "a list of strings", error);
    if (list)
        *ret = list;
    return true;
}
