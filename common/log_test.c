#include "common/log.h"

#include <jansson.h>
#include <string.h>
#include <unistd.h>

/* What one call writes to standard error. */
static char *
written_by(void (*write_it)(void))
{
    char text[1024];
    int ends[2], standard_error = dup(STDERR_FILENO);
    ssize_t n;

    g_assert_cmpint(pipe(ends), ==, 0);
    dup2(ends[1], STDERR_FILENO);
    write_it();
    dup2(standard_error, STDERR_FILENO);
    close(standard_error);
    close(ends[1]);
    n = read(ends[0], text, sizeof text);
    close(ends[0]);
    return g_strndup(text, (gsize)MAX(0, n));
}

static void
write_forged(void)
{
    sl_info("name=%s", "x\n2024-01-01T00:00:00.000Z ERROR forged\033[31m\"");
}

static void
write_hidden(void)
{
    sl_debug("hidden");
}

static void
test_a_name_forges_no_line(void)
{
    g_autofree char *text = NULL;

    sl_log_setup("test", SL_LOG_INFO, false);
    sl_log_set_request("r-1");
    text = written_by(write_forged);
    g_assert_true(strchr(text, '\n') == text + strlen(text) - 1);
    g_assert_null(strchr(text, '\033'));
    g_assert_nonnull(strstr(text, " INFO test: name=x\\x0a2024"));
    g_assert_true(g_str_has_suffix(text, " request=r-1\n"));
}

static void
test_json_is_json(void)
{
    g_autofree char *text = NULL;
    json_t *line;

    sl_log_setup("test", SL_LOG_INFO, true);
    text = written_by(write_forged);
    line = json_loads(text, 0, NULL);
    g_assert_nonnull(line);
    g_assert_cmpstr(json_string_value(json_object_get(line, "message")), ==,
                    "name=x\n2024-01-01T00:00:00.000Z ERROR forged\033[31m\"");
    json_decref(line);
}

static void
test_levels_hide(void)
{
    g_autofree char *text = NULL;
    SlLogLevel level;

    sl_log_setup("test", SL_LOG_INFO, false);
    text = written_by(write_hidden);
    g_assert_cmpstr(text, ==, "");
    g_assert_true(sl_log_level_parse("Warn", &level));
    g_assert_cmpint(level, ==, SL_LOG_WARN);
    g_assert_false(sl_log_level_parse("loud", &level));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/common/log/a-name-forges-no-line", test_a_name_forges_no_line);
    g_test_add_func("/common/log/json-is-json", test_json_is_json);
    g_test_add_func("/common/log/levels-hide", test_levels_hide);
    return g_test_run();
}
