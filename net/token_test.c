#include "net/token.h"

#include <glib/gstdio.h>

static char *
make_file(const char *text)
{
    char *path = NULL;
    int fd = g_file_open_tmp("sl-token-XXXXXX", &path, NULL);

    g_assert_cmpint(fd, >=, 0);
    g_close(fd, NULL);
    g_assert_true(g_file_set_contents(path, text, -1, NULL));
    return path;
}

static void
test_only_the_whole_token_matches(void)
{
    g_autofree char *path = make_file("0123456789abcdef\nsecond line\n");
    g_autoptr(GError) error = NULL;
    g_autoptr(SlToken) token = sl_token_open("--t", path, &error);
    g_autofree char *header = NULL;

    g_assert_no_error(error);
    header = sl_token_format(token);
    g_assert_cmpstr(header, ==, "Bearer 0123456789abcdef");
    g_assert_true(sl_token_matches(token, header));
    g_assert_true(sl_token_matches(token, "bearer 0123456789abcdef"));
    g_assert_false(sl_token_matches(token, NULL));
    g_assert_false(sl_token_matches(token, ""));
    g_assert_false(sl_token_matches(token, "Bearer "));
    g_assert_false(sl_token_matches(token, "Bearer 0123456789abcde"));
    g_assert_false(sl_token_matches(token, "Bearer 0123456789abcdef0"));
    g_assert_false(sl_token_matches(token, "Bearer 0123456789abcdef0123456789abcdef"));
    g_assert_false(sl_token_matches(token, "Bearer 0123456789abcdeF"));
    g_assert_false(sl_token_matches(token, "Basic 0123456789abcdef"));
    g_unlink(path);
}

static void
test_reload_takes_a_good_file_only(void)
{
    g_autofree char *path = make_file("0123456789abcdef\n");
    g_autoptr(SlToken) token = sl_token_open("--t", path, NULL);
    g_autoptr(GError) error = NULL;

    g_assert_true(g_file_set_contents(path, "short", -1, NULL));
    g_assert_false(sl_token_reload(token, &error));
    g_assert_error(error, SL_ERROR, SL_ERROR_INVALID);
    g_assert_true(sl_token_matches(token, "Bearer 0123456789abcdef"));
    g_assert_true(g_file_set_contents(path, "fedcba9876543210", -1, NULL));
    g_assert_true(sl_token_reload(token, NULL));
    g_assert_true(sl_token_matches(token, "Bearer fedcba9876543210"));
    g_assert_false(sl_token_matches(token, "Bearer 0123456789abcdef"));
    g_unlink(path);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/net/token-matches-whole", test_only_the_whole_token_matches);
    g_test_add_func("/net/token-reload-takes-a-good-file-only", test_reload_takes_a_good_file_only);
    return g_test_run();
}
