#include "net/http_internal.h"

#include <string.h>

enum { FORM_MAX = 1024 * 1024 };

/* Splits text at "&" into decoded pairs. Pairs with a bad escape are dropped: those of the target were
 * refused before. */
static void
pairs_add(GPtrArray *pairs, const char *text, size_t n)
{
    for (const char *at = text, *end = text + n; at < end;) {
        const char *stop = memchr(at, '&', (size_t)(end - at));
        const char *equals;
        g_autoptr(GString) name = g_string_new(NULL);
        g_autoptr(GString) value = g_string_new(NULL);

        stop = stop ? stop : end;
        equals = memchr(at, '=', (size_t)(stop - at));
        if (stop > at && sl_url_decode(at, (size_t)((equals ? equals : stop) - at), true, name) &&
            (!equals || sl_url_decode(equals + 1, (size_t)(stop - equals - 1), true, value))) {
            g_ptr_array_add(pairs, g_string_free(g_steal_pointer(&name), FALSE));
            g_ptr_array_add(pairs, g_string_free(g_steal_pointer(&value), FALSE));
        }
        at = stop + 1;
    }
}

static bool
has_form(SlCall *call)
{
    const char *type = sl_call_header(call, "Content-Type");

    return type && g_ascii_strncasecmp(type, "application/x-www-form-urlencoded", 33) == 0 &&
           sl_call_has_body(call) && sl_call_content_length(call) <= FORM_MAX && !call->body.is_done &&
           !call->on_loop;
}

static GPtrArray *
query_pairs(SlCall *call)
{
    const char *query = strchr(call->head->target, '?');
    g_autofree char *form = NULL;
    size_t n = 0;

    if (call->query)
        return call->query;
    call->query = g_ptr_array_new_with_free_func(g_free);
    if (query)
        pairs_add(call->query, query + 1, strcspn(query + 1, "#"));
    if (has_form(call) && sl_call_read_all(call, &form, &n, NULL))
        pairs_add(call->query, form, n);
    return call->query;
}

const char *
sl_call_query(SlCall *call, const char *name)
{
    GPtrArray *pairs = query_pairs(call);

    for (guint i = 0; i < pairs->len; i += 2)
        if (strcmp(pairs->pdata[i], name) == 0)
            return pairs->pdata[i + 1];
    return NULL;
}

const char *const *
sl_call_query_all(SlCall *call, const char *name)
{
    GPtrArray *pairs = query_pairs(call);
    GPtrArray *values = g_ptr_array_new();

    for (guint i = 0; i < pairs->len; i += 2)
        if (strcmp(pairs->pdata[i], name) == 0)
            g_ptr_array_add(values, pairs->pdata[i + 1]);
    g_ptr_array_add(values, NULL);
    if (!call->lists)
        call->lists = g_ptr_array_new_with_free_func((GDestroyNotify)g_ptr_array_unref);
    g_ptr_array_add(call->lists, values);
    return (const char *const *)values->pdata;
}

bool
sl_call_query_bool(SlCall *call, const char *name, bool otherwise)
{
    static const char *const falses[] = { "", "0", "no", "false", "none" };
    const char *value = sl_call_query(call, name);
    g_autofree char *trimmed = NULL;

    if (!value)
        return otherwise;
    trimmed = g_strstrip(g_strdup(value));
    for (size_t i = 0; i < G_N_ELEMENTS(falses); i++)
        if (g_ascii_strcasecmp(trimmed, falses[i]) == 0)
            return false;
    return true;
}

bool
sl_call_query_int(SlCall *call, const char *name, int64_t otherwise, int64_t *ret_value, GError **error)
{
    const char *value = sl_call_query(call, name);
    gint64 number;

    if (!value || !*value) {
        *ret_value = otherwise;
        return true;
    }
    if (!g_ascii_string_to_signed(value, 10, G_MININT64, G_MAXINT64, &number, NULL))
        return sl_fail(error, SL_ERROR_INVALID, "invalid value for %s: \"%s\" is not a number", name, value);
    *ret_value = number;
    return true;
}
