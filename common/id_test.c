#include "common/id.h"

#include <string.h>

static void
test_ids_are_long_and_differ(void)
{
    g_autofree char *a = sl_id_new();
    g_autofree char *b = sl_id_new();

    g_assert_cmpuint(strlen(a), ==, SL_ID_CHARS);
    g_assert_true(sl_id_is_prefix(a));
    g_assert_cmpstr(a, !=, b);
}

static void
test_what_can_be_a_prefix(void)
{
    g_autofree char *too_long = g_strnfill(SL_ID_CHARS + 1, 'a');

    g_assert_true(sl_id_is_prefix("0af"));
    g_assert_false(sl_id_is_prefix(""));
    g_assert_false(sl_id_is_prefix("0AF"));
    g_assert_false(sl_id_is_prefix("web"));
    g_assert_false(sl_id_is_prefix(too_long));
}

static void
test_secrets_are_equal_only_whole(void)
{
    g_assert_true(sl_secret_equal("abc", "abc"));
    g_assert_true(sl_secret_equal("", ""));
    g_assert_false(sl_secret_equal("abc", "abd"));
    g_assert_false(sl_secret_equal("abc", "ab"));
    g_assert_false(sl_secret_equal("ab", "abc"));
    g_assert_false(sl_secret_equal("abab", "ab"));
    g_assert_false(sl_secret_equal("abc", ""));
    g_assert_false(sl_secret_equal("", "abc"));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/common/id/ids-are-long-and-differ", test_ids_are_long_and_differ);
    g_test_add_func("/common/id/what-can-be-a-prefix", test_what_can_be_a_prefix);
    g_test_add_func("/common/id/secrets-are-equal-only-whole", test_secrets_are_equal_only_whole);
    return g_test_run();
}
