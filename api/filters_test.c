#include "api/filters.h"

#include "common/json_fields.h"

#include <string.h>

static const char *const known[] = { "label", "name", "id", "status", NULL };

static char *
format(const char *text)
{
    g_autoptr(DkFilters) filters = dk_filters_parse(text, known, NULL);

    return filters ? dk_filters_format(filters) : NULL;
}

static void
test_both_spellings(void)
{
    static const struct {
        const char *in, *out;
    } cases[] = {
        { NULL, "{}" },
        { "", "{}" },
        { "null", "{}" },
        { "{\"name\":[\"a\",\"b\"],\"label\":[\"x=y\"]}", "{\"label\":[\"x=y\"],\"name\":[\"a\",\"b\"]}" },
        { "{\"name\":{\"a\":true,\"b\":false}}", "{\"name\":[\"a\"]}" },
        { "{\"name\":[]}", "{}" },
        { "[]", NULL },
        { "{\"name\":\"a\"}", NULL },
        { "{\"name\":[1]}", NULL },
        { "{\"name\":{\"a\":1}}", NULL },
        { "{\"name\"", NULL },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *out = format(cases[i].in);

        g_assert_cmpstr(out, ==, cases[i].out);
    }
}

static void
test_unknown_keys_are_named(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(DkFilters) any = dk_filters_parse("{\"whatever\":[\"a\"]}", NULL, NULL);

    g_assert_nonnull(any);
    g_assert_null(dk_filters_parse("{\"nope\":[\"a\"]}", known, &error));
    g_assert_error(error, SL_ERROR, SL_ERROR_INVALID);
    g_assert_cmpstr(error->message, ==, "invalid filter 'nope'");
}

static void
test_matching(void)
{
    g_autoptr(DkFilters) filters = dk_filters_parse(
        "{\"name\":[\"^/web_[0-9]$\",\"db\",\"[\"],\"id\":[\"abc\"],\"status\":[\"exited\",\"dead\"]}", known,
        NULL);

    g_assert_false(dk_filters_is_empty(filters));
    g_assert_true(dk_filters_match_exact(filters, "status", "dead"));
    g_assert_false(dk_filters_match_exact(filters, "status", "running"));
    g_assert_true(dk_filters_match_exact(filters, "health", "none"));
    g_assert_true(dk_filters_match_prefix(filters, "id", "abcdef"));
    g_assert_false(dk_filters_match_prefix(filters, "id", "ab"));
    g_assert_true(dk_filters_match_regex(filters, "name", "/web_1"));
    g_assert_false(dk_filters_match_regex(filters, "name", "/web_12"));
    g_assert_true(dk_filters_match_regex(filters, "name", "/my-db-1"));
    g_assert_true(dk_filters_match_regex(filters, "name", "a[b"));
    g_assert_cmpstr(dk_filters_get(filters, "id")[0], ==, "abc");
    g_assert_null(dk_filters_get(filters, "id")[1]);
    g_assert_null(dk_filters_get(filters, "label"));
}

static void
test_labels_must_all_be_there(void)
{
    static const struct {
        const char *filters;
        bool matches;
    } cases[] = {
        { "{}", true },
        { "{\"label\":[\"a\"]}", true },
        { "{\"label\":[\"a=1\",\"b\"]}", true },
        { "{\"label\":[\"a=2\"]}", false },
        { "{\"label\":[\"a\",\"c\"]}", false },
        { "{\"label\":[\"b=\"]}", true },
        { "{\"label\":[\"d=x=y\"]}", true },
    };
    g_autoptr(json_t) labels = json_pack("{s:s, s:s, s:s}", "a", "1", "b", "", "d", "x=y");

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(DkFilters) filters = dk_filters_parse(cases[i].filters, known, NULL);

        g_assert_cmpint(dk_filters_match_labels(filters, "label", labels), ==, cases[i].matches);
    }
    {
        g_autoptr(DkFilters) filters = dk_filters_parse("{\"label\":[\"a\"]}", known, NULL);

        g_assert_false(dk_filters_match_labels(filters, "label", NULL));
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    sl_json_setup();
    g_test_add_func("/api/filters/go-and-python-spellings-are-one", test_both_spellings);
    g_test_add_func("/api/filters/unknown-keys-are-named", test_unknown_keys_are_named);
    g_test_add_func("/api/filters/values-match-exactly-by-prefix-by-regex", test_matching);
    g_test_add_func("/api/filters/labels-must-all-be-there", test_labels_must_all_be_there);
    return g_test_run();
}
