#include "common/json_fields.h"

#include <limits.h>
#include <stdint.h>
#include <string.h>

enum {
    /* jansson recurses, and our threads have small stacks. No document of Docker's comes near. */
    MAX_DEPTH = 64,
    MAX_BYTES = 64 * 1024 * 1024,
};

/* Where we are in the document, for messages; on the stack. */
typedef struct Path {
    const struct Path *up;
    const char *key; /* NULL: an element of a list */
    size_t index;
} Path;

typedef struct Reader {
    const char *context;
    GError **error;
} Reader;

/* jansson's iterators take no const. */
static json_t *
iterable(const json_t *json)
{
    return (json_t *)(uintptr_t)json;
}

static bool read_record(Reader *reader, const Path *path, const json_t *json, const SlJsonField *fields,
                        void *record);

static void *
member_of(const SlJsonField *field, void *record)
{
    return (char *)record + field->offset;
}

static const void *
const_member_of(const SlJsonField *field, const void *record)
{
    return (const char *)record + field->offset;
}

static void
path_append(GString *text, const Path *path)
{
    if (path->up)
        path_append(text, path->up);
    if (!path->key)
        g_string_append_printf(text, "[%zu]", path->index);
    else
        g_string_append_printf(text, "%s%s", path->up ? "." : "", path->key);
}

static bool
fail_at(Reader *reader, const Path *path, const char *what)
{
    g_autoptr(GString) text = g_string_new(NULL);

    if (path)
        path_append(text, path);
    else
        g_string_append(text, "it");
    return sl_fail(reader->error, SL_ERROR_INVALID, "%s: %s %s", reader->context, text->str, what);
}

/* ---- clearing ---- */

static void
clear_array(const SlJsonField *field, SlJsonArray *array)
{
    for (size_t i = 0; i < array->n; i++)
        sl_json_clear(field->nested, (char *)array->items + i * field->nested_size);
    g_free(array->items);
    *array = (SlJsonArray){ 0 };
}

static void
clear_member(const SlJsonField *field, void *member)
{
    switch (field->kind) {
    case SL_JSON_STRING:
        g_clear_pointer((char **)member, g_free);
        break;
    case SL_JSON_BOOL:
        *(bool *)member = false;
        break;
    case SL_JSON_INT:
        *(int *)member = 0;
        break;
    case SL_JSON_INT64:
        *(int64_t *)member = 0;
        break;
    case SL_JSON_DOUBLE:
        *(double *)member = 0;
        break;
    case SL_JSON_STRV:
        g_clear_pointer((char ***)member, g_strfreev);
        break;
    case SL_JSON_OBJECT:
        sl_json_clear(field->nested, member);
        break;
    case SL_JSON_ARRAY:
        clear_array(field, member);
        break;
    case SL_JSON_MAP:
    case SL_JSON_ANY:
        g_clear_pointer((json_t **)member, json_decref);
        break;
    case SL_JSON_INT_PAIR:
        memset(member, 0, 2 * sizeof(int));
        break;
    }
}

void
sl_json_clear(const SlJsonField *fields, void *record)
{
    for (const SlJsonField *field = fields; field->key; field++) {
        clear_member(field, member_of(field, record));
        if (field->flags & SL_JSON_PRESENCE)
            *(bool *)((char *)record + field->present) = false;
    }
}

/* ---- reading ---- */

static bool
read_int(Reader *reader, const Path *path, const json_t *json, int64_t min, int64_t max, int64_t *ret_value)
{
    g_autofree char *what = NULL;

    if (!json_is_integer(json))
        return fail_at(reader, path, "must be an integer");
    if (json_integer_value(json) < min || json_integer_value(json) > max) {
        what = g_strdup_printf("must be between %" G_GINT64_FORMAT " and %" G_GINT64_FORMAT, min, max);
        return fail_at(reader, path, what);
    }
    *ret_value = json_integer_value(json);
    return true;
}

static bool
read_strv(Reader *reader, const Path *path, const SlJsonField *field, const json_t *json, char ***member)
{
    g_auto(GStrv) values = NULL;
    size_t n = json_array_size(json);

    if (json_is_string(json) && field->flags & SL_JSON_STRING_OR_LIST) {
        g_strfreev(*member);
        *member = g_new0(char *, 2);
        (*member)[0] = g_strdup(json_string_value(json));
        return true;
    }
    if (!json_is_array(json))
        return fail_at(reader, path, "must be a list of strings");
    values = g_new0(char *, n + 1);
    for (size_t i = 0; i < n; i++) {
        const json_t *item = json_array_get(json, i);
        Path here = { .up = path, .index = i };

        /* null is "" to Go */
        if (!json_is_string(item) && !json_is_null(item))
            return fail_at(reader, &here, "must be a string");
        values[i] = g_strdup(json_is_null(item) ? "" : json_string_value(item));
    }
    g_strfreev(*member);
    *member = g_steal_pointer(&values);
    return true;
}

static bool
read_array(Reader *reader, const Path *path, const SlJsonField *field, const json_t *json,
           SlJsonArray *member)
{
    SlJsonArray array = { .n = json_array_size(json) };

    if (!json_is_array(json))
        return fail_at(reader, path, "must be a list");
    array.items =
        g_malloc0_n(MAX(array.n, 1), field->nested_size); /* never NULL: an empty list is not null */
    for (size_t i = 0; i < array.n; i++) {
        const json_t *item = json_array_get(json, i);
        Path here = { .up = path, .index = i };

        if (!json_is_null(item) &&
            !read_record(reader, &here, item, field->nested, (char *)array.items + i * field->nested_size)) {
            clear_array(field, &array);
            return false;
        }
    }
    clear_array(field, member);
    *member = array;
    return true;
}

/* Reads json by the nested table and gives its written form. */
static bool
canonical_value(Reader *reader, const Path *path, const SlJsonField *field, const json_t *json,
                json_t **ret_json)
{
    g_autofree char *record = g_malloc0(field->nested_size);

    if (!json_is_null(json) && !read_record(reader, path, json, field->nested, record))
        return false;
    *ret_json = sl_json_write(field->nested, record);
    sl_json_clear(field->nested, record);
    return true;
}

static bool
canonical_list(Reader *reader, const Path *path, const SlJsonField *field, const json_t *json,
               json_t **ret_json)
{
    g_autoptr(json_t) list = json_array();

    if (!json_is_array(json) && !json_is_null(json))
        return fail_at(reader, path, "must be a list");
    for (size_t i = 0; i < json_array_size(json); i++) {
        Path here = { .up = path, .index = i };
        json_t *value;

        if (!canonical_value(reader, &here, field, json_array_get(json, i), &value))
            return false;
        json_array_append_new(list, value);
    }
    *ret_json = g_steal_pointer(&list);
    return true;
}

static bool
read_map_value(Reader *reader, const Path *path, const SlJsonField *field, json_t *json, json_t **ret_json)
{
    if (field->flags & SL_JSON_STRING_VALUES) {
        if (!json_is_string(json) && !json_is_null(json))
            return fail_at(reader, path, "must be a string");
        *ret_json = json_is_null(json) ? json_string("") : json_incref(json);
        return true;
    }
    if (!field->nested) {
        *ret_json = json_incref(json);
        return true;
    }
    return field->flags & SL_JSON_LIST_VALUES ? canonical_list(reader, path, field, json, ret_json)
                                              : canonical_value(reader, path, field, json, ret_json);
}

static bool
read_map(Reader *reader, const Path *path, const SlJsonField *field, const json_t *json, json_t **member)
{
    g_autoptr(json_t) map = NULL;
    json_t *object = iterable(json);

    if (!json_is_object(json))
        return fail_at(reader, path, "must be an object");
    map = json_object();
    for (void *i = json_object_iter(object); i; i = json_object_iter_next(object, i)) {
        Path here = { .up = path, .key = json_object_iter_key(i) };
        json_t *value;

        if (!read_map_value(reader, &here, field, json_object_iter_value(i), &value))
            return false;
        json_object_set_new_nocheck(map, here.key, value);
    }
    json_decref(*member);
    *member = g_steal_pointer(&map);
    return true;
}

static bool
read_pair(Reader *reader, const Path *path, const json_t *json, int *member)
{
    int64_t values[2];

    if (!json_is_array(json) || json_array_size(json) != 2)
        return fail_at(reader, path, "must be a list of two integers");
    for (size_t i = 0; i < 2; i++) {
        Path here = { .up = path, .index = i };

        if (!read_int(reader, &here, json_array_get(json, i), 0, INT_MAX, &values[i]))
            return false;
    }
    member[0] = (int)values[0];
    member[1] = (int)values[1];
    return true;
}

static bool
read_member(Reader *reader, const Path *path, const SlJsonField *field, json_t *json, void *member)
{
    int64_t number = 0;

    switch (field->kind) {
    case SL_JSON_STRING:
        if (!json_is_string(json))
            return fail_at(reader, path, "must be a string");
        g_free(*(char **)member);
        *(char **)member = g_strdup(json_string_value(json));
        return true;
    case SL_JSON_BOOL:
        if (!json_is_boolean(json))
            return fail_at(reader, path, "must be true or false");
        *(bool *)member = json_is_true(json);
        return true;
    case SL_JSON_INT:
        if (!read_int(reader, path, json, INT_MIN, INT_MAX, &number))
            return false;
        *(int *)member = (int)number;
        return true;
    case SL_JSON_INT64:
        return read_int(reader, path, json, INT64_MIN, INT64_MAX, member);
    case SL_JSON_DOUBLE:
        if (!json_is_number(json))
            return fail_at(reader, path, "must be a number");
        *(double *)member = json_number_value(json);
        return true;
    case SL_JSON_STRV:
        return read_strv(reader, path, field, json, member);
    case SL_JSON_OBJECT:
        return read_record(reader, path, json, field->nested, member);
    case SL_JSON_ARRAY:
        return read_array(reader, path, field, json, member);
    case SL_JSON_MAP:
        return read_map(reader, path, field, json, member);
    case SL_JSON_ANY:
        json_decref(*(json_t **)member);
        *(json_t **)member = json_incref(json);
        return true;
    case SL_JSON_INT_PAIR:
        return read_pair(reader, path, json, member);
    }
    g_assert_not_reached();
}

static json_t *
find_ignoring_case(const json_t *json, const char *key)
{
    json_t *object = iterable(json);

    for (void *i = json_object_iter(object); i; i = json_object_iter_next(object, i))
        if (g_ascii_strcasecmp(json_object_iter_key(i), key) == 0)
            return json_object_iter_value(i);
    return NULL;
}

/* Whether some key is not one of the table's as written: only then other spellings are looked for. */
static bool
has_other_keys(const json_t *json, const SlJsonField *fields)
{
    size_t n_found = 0;

    for (const SlJsonField *field = fields; field->key; field++)
        n_found += json_object_get(json, field->key) != NULL;
    return n_found < json_object_size(json);
}

static bool
is_missing(const json_t *value)
{
    return !value || json_is_null(value) || (json_is_string(value) && !*json_string_value(value));
}

static bool
read_record(Reader *reader, const Path *path, const json_t *json, const SlJsonField *fields, void *record)
{
    bool look_further;

    if (!json_is_object(json))
        return fail_at(reader, path, "must be an object");
    look_further = has_other_keys(json, fields);
    for (const SlJsonField *field = fields; field->key; field++) {
        Path here = { .up = path, .key = field->key };
        json_t *value = json_object_get(json, field->key);

        if (field->flags & SL_JSON_READ_ONLY)
            continue;
        if (!value && look_further)
            value = find_ignoring_case(json, field->key);
        if (field->flags & SL_JSON_REQUIRED && is_missing(value)) {
            sl_json_clear(fields, record);
            return fail_at(reader, &here, "is required");
        }
        if (!value || json_is_null(value))
            continue;
        if (!read_member(reader, &here, field, value, member_of(field, record))) {
            sl_json_clear(fields, record);
            return false;
        }
        if (field->flags & SL_JSON_PRESENCE)
            *(bool *)((char *)record + field->present) = true;
    }
    return true;
}

bool
sl_json_read(const json_t *json, const SlJsonField *fields, void *record, const char *context, GError **error)
{
    Reader reader = { .context = context, .error = error };

    if (read_record(&reader, NULL, json, fields, record))
        return true;
    sl_json_clear(fields, record);
    return false;
}

/* ---- writing ---- */

static json_t *
write_string(const char *text)
{
    json_t *json = json_string(text ? text : "");
    g_autofree char *valid = NULL;

    if (json)
        return json;
    /* Not UTF-8: cannot have come from JSON, but from a file name or a process. */
    valid = g_utf8_make_valid(text, -1);
    return json_string(valid);
}

static json_t *
write_strv(char *const *values)
{
    json_t *list = json_array();

    for (; values && *values; values++)
        json_array_append_new(list, write_string(*values));
    return list;
}

static json_t *
write_array(const SlJsonField *field, const SlJsonArray *array)
{
    json_t *list = json_array();
    const char *items = array->items;

    for (size_t i = 0; i < array->n; i++)
        json_array_append_new(list, sl_json_write(field->nested, items + i * field->nested_size));
    return list;
}

/* The value, never NULL; ret_is_null: the member is a NULL pointer or a pair of zeros. */
static json_t *
write_member(const SlJsonField *field, const void *member, bool *ret_is_null)
{
    const int *pair = member;

    *ret_is_null = false;
    switch (field->kind) {
    case SL_JSON_STRING:
        *ret_is_null = !*(char *const *)member;
        return write_string(*(char *const *)member);
    case SL_JSON_BOOL:
        return json_boolean(*(const bool *)member);
    case SL_JSON_INT:
        return json_integer(*(const int *)member);
    case SL_JSON_INT64:
        return json_integer(*(const int64_t *)member);
    case SL_JSON_DOUBLE:
        return json_real(*(const double *)member);
    case SL_JSON_STRV:
        *ret_is_null = !*(char **const *)member;
        return write_strv(*(char **const *)member);
    case SL_JSON_OBJECT:
        return sl_json_write(field->nested, member);
    case SL_JSON_ARRAY:
        *ret_is_null = !((const SlJsonArray *)member)->items;
        return write_array(field, member);
    case SL_JSON_MAP:
        *ret_is_null = !*(json_t *const *)member;
        return *ret_is_null ? json_object() : json_incref(*(json_t *const *)member);
    case SL_JSON_ANY:
        *ret_is_null = !*(json_t *const *)member;
        return *ret_is_null ? json_null() : json_incref(*(json_t *const *)member);
    case SL_JSON_INT_PAIR:
        *ret_is_null = pair[0] == 0 && pair[1] == 0;
        return json_pack("[i,i]", pair[0], pair[1]);
    }
    g_assert_not_reached();
}

static bool
is_empty(const json_t *json)
{
    switch (json_typeof(json)) {
    case JSON_OBJECT:
        return json_object_size(json) == 0;
    case JSON_ARRAY:
        return json_array_size(json) == 0;
    case JSON_STRING:
        return !*json_string_value(json);
    case JSON_INTEGER:
        return json_integer_value(json) == 0;
    case JSON_REAL:
        return json_real_value(json) == 0;
    case JSON_FALSE:
    case JSON_NULL:
        return true;
    case JSON_TRUE:
        return false;
    }
    return false;
}

static json_t *
write_field(const SlJsonField *field, const void *record)
{
    bool omits = field->flags & SL_JSON_OMIT_EMPTY;
    g_autoptr(json_t) value = NULL;
    bool is_null;

    if (field->flags & SL_JSON_PRESENCE && !*((const bool *)record + field->present))
        return omits ? NULL : json_null();
    value = write_member(field, const_member_of(field, record), &is_null);
    /* A value that was given is written, be it 0. */
    if (omits && !(field->flags & SL_JSON_PRESENCE) && (is_null || is_empty(value)))
        return NULL;
    if (is_null && field->flags & SL_JSON_NULL_EMPTY)
        return json_null();
    return g_steal_pointer(&value);
}

json_t *
sl_json_write(const SlJsonField *fields, const void *record)
{
    json_t *object = json_object();

    for (const SlJsonField *field = fields; field->key; field++) {
        json_t *value = write_field(field, record);

        if (value)
            json_object_set_new_nocheck(object, field->key, value);
    }
    return object;
}

/* Whether the member is as in a cleared struct. */
static bool
is_clear(const SlJsonField *field, const void *record)
{
    const void *member = const_member_of(field, record);
    const int *pair = member;

    if (field->flags & SL_JSON_PRESENCE)
        return !*((const bool *)record + field->present);
    switch (field->kind) {
    case SL_JSON_STRING:
    case SL_JSON_STRV:
    case SL_JSON_MAP:
    case SL_JSON_ANY:
        return !*(void *const *)member;
    case SL_JSON_BOOL:
        return !*(const bool *)member;
    case SL_JSON_INT:
        return *(const int *)member == 0;
    case SL_JSON_INT64:
        return *(const int64_t *)member == 0;
    case SL_JSON_DOUBLE:
        return *(const double *)member == 0;
    case SL_JSON_ARRAY:
        return !((const SlJsonArray *)member)->items;
    case SL_JSON_INT_PAIR:
        return pair[0] == 0 && pair[1] == 0;
    case SL_JSON_OBJECT:
        return false;
    }
    g_assert_not_reached();
}

json_t *
sl_json_write_sparse(const SlJsonField *fields, const void *record)
{
    json_t *object = json_object();

    for (const SlJsonField *field = fields; field->key; field++) {
        bool is_null;
        json_t *value;

        if ((field->flags & SL_JSON_READ_ONLY) || is_clear(field, record))
            continue;
        if (field->kind == SL_JSON_OBJECT)
            value = sl_json_write_sparse(field->nested, const_member_of(field, record));
        else
            value = write_member(field, const_member_of(field, record), &is_null);
        if (field->kind == SL_JSON_OBJECT && json_object_size(value) == 0)
            json_decref(value);
        else
            json_object_set_new_nocheck(object, field->key, value);
    }
    return object;
}

/* ---- text ---- */

static bool
is_too_deep(const char *text, size_t n)
{
    bool in_string = false;
    int depth = 0;

    for (size_t i = 0; i < n; i++) {
        if (in_string) {
            if (text[i] == '\\')
                i++;
            else if (text[i] == '"')
                in_string = false;
        } else if (text[i] == '"') {
            in_string = true;
        } else if (text[i] == '{' || text[i] == '[') {
            if (++depth > MAX_DEPTH)
                return true;
        } else if (text[i] == '}' || text[i] == ']') {
            depth--;
        }
    }
    return false;
}

json_t *
sl_json_parse(const char *text, size_t n, const char *context, GError **error)
{
    json_error_t problem;
    json_t *json;

    if (n > MAX_BYTES) {
        sl_fail(error, SL_ERROR_TOO_LARGE, "%s: more than %d bytes", context, MAX_BYTES);
        return NULL;
    }
    if (is_too_deep(text, n)) {
        sl_fail(error, SL_ERROR_INVALID, "%s: nested deeper than %d levels", context, MAX_DEPTH);
        return NULL;
    }
    json = json_loadb(text, n, JSON_DECODE_ANY, &problem);
    if (!json)
        sl_fail(error, SL_ERROR_INVALID, "%s: not valid JSON at line %d, column %d: %s", context,
                problem.line, problem.column, problem.text);
    return json;
}

char *
sl_json_dump(const json_t *json)
{
    return json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY);
}

void
sl_json_setup(void)
{
    json_set_alloc_funcs(g_malloc, g_free);
    json_object_seed(0);
}
