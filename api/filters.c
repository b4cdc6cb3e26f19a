#include "api/filters.h"

#include "common/json_fields.h"

#include <string.h>

struct DkFilters {
    GHashTable *values; /* key → GPtrArray of strings, NULL-ended */
};

void
dk_filters_free(DkFilters *filters)
{
    if (!filters)
        return;
    g_hash_table_unref(filters->values);
    g_free(filters);
}

static bool
is_known(const char *key, const char *const *known)
{
    return !known || g_strv_contains(known, key);
}

/* One key's values: a list of strings, or an object whose keys are the values. */
static bool
add_values(GPtrArray *values, const char *key, json_t *json, GError **error)
{
    size_t i;
    json_t *item;
    const char *value;

    if (json_is_array(json)) {
        json_array_foreach(json, i, item) {
            if (!json_is_string(item))
                return sl_fail(error, SL_ERROR_INVALID, "invalid filter '%s': its values must be strings",
                               key);
            g_ptr_array_add(values, g_strdup(json_string_value(item)));
        }
        return true;
    }
    if (!json_is_object(json))
        return sl_fail(error, SL_ERROR_INVALID, "invalid filter '%s': it must be a list or an object", key);
    json_object_foreach(json, value, item) {
        if (!json_is_boolean(item))
            return sl_fail(error, SL_ERROR_INVALID, "invalid filter '%s': '%s' must be true or false", key,
                           value);
        if (json_is_true(item))
            g_ptr_array_add(values, g_strdup(value));
    }
    return true;
}

DkFilters *
dk_filters_parse(const char *text, const char *const *known, GError **error)
{
    g_autoptr(DkFilters) filters = g_new0(DkFilters, 1);
    g_autoptr(json_t) json = NULL;
    const char *key;
    json_t *item;

    filters->values =
        g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)g_ptr_array_unref);
    if (!text || !*text)
        return g_steal_pointer(&filters);
    json = sl_json_parse(text, strlen(text), "invalid filters", error);
    if (!json)
        return NULL;
    if (json_is_null(json))
        return g_steal_pointer(&filters);
    if (!json_is_object(json)) {
        sl_fail(error, SL_ERROR_INVALID, "invalid filters: they must be an object");
        return NULL;
    }
    json_object_foreach(json, key, item) {
        GPtrArray *values;

        if (!is_known(key, known)) {
            sl_fail(error, SL_ERROR_INVALID, "invalid filter '%s'", key);
            return NULL;
        }
        values = g_ptr_array_new_with_free_func(g_free);
        g_hash_table_replace(filters->values, g_strdup(key), values);
        if (!add_values(values, key, item, error))
            return NULL;
        /* {"k": []} asks nothing: Docker treats it as an absent key. */
        if (values->len == 0)
            g_hash_table_remove(filters->values, key);
        else
            g_ptr_array_add(values, NULL);
    }
    return g_steal_pointer(&filters);
}

const char *const *
dk_filters_get(const DkFilters *filters, const char *key)
{
    GPtrArray *values = g_hash_table_lookup(filters->values, key);

    return values ? (const char *const *)values->pdata : NULL;
}

bool
dk_filters_is_empty(const DkFilters *filters)
{
    return g_hash_table_size(filters->values) == 0;
}

bool
dk_filters_match_exact(const DkFilters *filters, const char *key, const char *text)
{
    const char *const *values = dk_filters_get(filters, key);

    return !values || g_strv_contains(values, text);
}

bool
dk_filters_match_prefix(const DkFilters *filters, const char *key, const char *text)
{
    const char *const *values = dk_filters_get(filters, key);

    if (!values)
        return true;
    for (; *values; values++)
        if (g_str_has_prefix(text, *values))
            return true;
    return false;
}

/* A user's expression: one that GLib refuses, or gives up on, is looked for as plain text. */
static bool
matches_regex(const char *pattern, const char *text)
{
    g_autoptr(GError) problem = NULL;
    g_autoptr(GRegex) regex = NULL;
    bool is_match;

    /* Most filters are names: no need to compile those. */
    if (!strpbrk(pattern, "\\^$.|?*+()[]{}"))
        return strstr(text, pattern) != NULL;
    regex = g_regex_new(pattern, G_REGEX_RAW, 0, NULL);
    if (!regex)
        return strstr(text, pattern) != NULL;
    is_match = g_regex_match_full(regex, text, -1, 0, 0, NULL, &problem);
    return problem ? strstr(text, pattern) != NULL : is_match;
}

bool
dk_filters_match_regex(const DkFilters *filters, const char *key, const char *text)
{
    const char *const *values = dk_filters_get(filters, key);

    if (!values)
        return true;
    for (; *values; values++)
        if (matches_regex(*values, text))
            return true;
    return false;
}

static bool
has_label(const json_t *labels, const char *wanted)
{
    const char *equals = strchr(wanted, '=');
    g_autofree char *name = equals ? g_strndup(wanted, (gsize)(equals - wanted)) : g_strdup(wanted);
    const json_t *value = json_object_get(labels, name);

    return value && (!equals || g_strcmp0(json_string_value(value), equals + 1) == 0);
}

bool
dk_filters_match_labels(const DkFilters *filters, const char *key, const json_t *labels)
{
    const char *const *values = dk_filters_get(filters, key);

    for (; values && *values; values++)
        if (!has_label(labels, *values))
            return false;
    return true;
}

char *
dk_filters_format(const DkFilters *filters)
{
    g_autoptr(GList) keys =
        g_list_sort(g_hash_table_get_keys(filters->values), (GCompareFunc)(void (*)(void))strcmp);
    g_autoptr(json_t) json = json_object();

    for (GList *key = keys; key; key = key->next) {
        json_t *list = json_array();

        for (const char *const *value = dk_filters_get(filters, key->data); *value; value++)
            json_array_append_new(list, json_string(*value));
        json_object_set_new(json, key->data, list);
    }
    return sl_json_dump(json);
}
