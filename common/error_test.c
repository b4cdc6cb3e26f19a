#include "common/error.h"

#include <errno.h>

static void
test_every_code_has_one_status(void)
{
    for (int code = SL_ERROR_INVALID; code <= SL_ERROR_CANCELLED; code++) {
        g_autoptr(GError) error = NULL;

        g_assert_false(sl_fail(&error, (SlErrorCode)code, "no %s", "way"));
        g_assert_cmpstr(error->message, ==, "no way");
        g_assert_cmpint(sl_error_code_from_http(sl_error_http_status(error)), ==, code);
    }
}

static void
test_other_domains_are_500(void)
{
    g_autoptr(GError) error = g_error_new(G_FILE_ERROR, G_FILE_ERROR_NOENT, "x");

    g_assert_cmpuint(sl_error_http_status(error), ==, 500);
    g_assert_cmpint(sl_error_code_from_http(418), ==, SL_ERROR_INVALID);
    g_assert_cmpint(sl_error_code_from_http(599), ==, SL_ERROR_SYSTEM);
}

static void
test_errno_is_put_into_words(void)
{
    g_autoptr(GError) error = NULL;

    g_assert_false(sl_fail_errno(&error, ENOSPC, "writing %s", "log"));
    g_assert_cmpstr(error->message, ==, "writing log: No space left on device");
    g_assert_false(sl_fail(NULL, SL_ERROR_INVALID, "nobody asks"));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/common/error/every-code-has-one-status", test_every_code_has_one_status);
    g_test_add_func("/common/error/other-domains-are-500", test_other_domains_are_500);
    g_test_add_func("/common/error/errno-is-put-into-words", test_errno_is_put_into_words);
    return g_test_run();
}
