#include "backends/core/options.h"

#include "common/error.h"

#include <string.h>

bool
sl_option_is_given(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return json_object_size(value) > 0;
    case JSON_ARRAY:
        return json_array_size(value) > 0;
    case JSON_STRING:
        return json_string_length(value) > 0;
    case JSON_INTEGER:
        return json_integer_value(value) != 0;
    case JSON_REAL:
        return json_real_value(value) != 0;
    case JSON_TRUE:
        return true;
    case JSON_FALSE:
    case JSON_NULL:
        break;
    }
    return false;
}

static const json_t *
value_at(const json_t *body, const char *path, size_t n)
{
    g_autofree char *text = g_strndup(path, n);
    g_auto(GStrv) keys = g_strsplit(text, ".", -1);

    for (char **key = keys; *key && body; key++)
        body = json_object_get(body, *key);
    return body;
}

static bool
is_one_of(const json_t *value, const char *choices)
{
    g_auto(GStrv) list = g_strsplit(choices, "|", -1);

    return json_is_string(value) && g_strv_contains((const char *const *)list, json_string_value(value));
}

static bool
matches(const SlOption *option, const json_t *body, size_t *ret_path_chars)
{
    size_t n = strcspn(option->name, "!=");
    const json_t *value = value_at(body, option->name, n);

    *ret_path_chars = n;
    if (!value || !sl_option_is_given(value))
        return false;
    if (option->name[n] == '=')
        return is_one_of(value, option->name + n + 1);
    return option->name[n] != '!' || !is_one_of(value, option->name + n + 2);
}

bool
sl_options_check(const SlDriver *driver, const json_t *body, json_t *warnings, GError **error)
{
    /* The slot takes a mutable driver, as all slots do; the table itself is constant. */
    const SlOption *options = driver->ops.options((SlDriver *)(uintptr_t)driver);

    for (const SlOption *option = options; option->name; option++) {
        size_t n;

        if (option->verdict == SL_OPTION_HONOURED || !matches(option, body, &n))
            continue;
        if (option->verdict == SL_OPTION_REFUSED)
            return sl_fail(error, SL_ERROR_UNSUPPORTED, "%.*s is not supported by the %s backend: %s", (int)n,
                           option->name, driver->ops.name, option->advice);
        json_array_append_new(warnings, json_sprintf("%.*s: %s", (int)n, option->name, option->advice));
    }
    return true;
}
