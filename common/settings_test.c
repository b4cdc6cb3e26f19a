#include "common/settings.h"

#include <stdint.h>
#include <string.h>
#include <glib/gstdio.h>

typedef struct Config {
    char *data, *level;
    char **addresses;
    bool verbose, help;
    int64_t count, size, wait;
} Config;

static const SlSetting table[] = {
    SL_SETTING(Config, data, "data-dir", SL_SETTING_STRING, "DIR", "where state is kept"),
    SL_SETTING(Config, addresses, "addr", SL_SETTING_STRV, "ADDR", "where to listen; may repeat"),
    SL_SETTING(Config, verbose, "verbose", SL_SETTING_BOOL, NULL, "say more"),
    SL_SETTING(Config, count, "count", SL_SETTING_INT, "N", "how many"),
    SL_SETTING(Config, size, "size", SL_SETTING_SIZE, "BYTES", "how much"),
    SL_SETTING(Config, wait, "wait", SL_SETTING_DURATION, "TIME",
               "how long, with a help text that is so long that it does "
               "not fit into one line of eighty columns and goes on in the next"),
    { .name = "log-level",
      .kind = SL_SETTING_CHOICE,
      .offset = offsetof(Config, level),
      .value_name = "LEVEL",
      .help = "what to log",
      .choices = "debug|info" },
    SL_SETTING(Config, help, "help", SL_SETTING_BOOL, NULL, "print this"),
    { 0 },
};

static void
config_clear(Config *config)
{
    sl_settings_clear(table, config);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Config, config_clear)

/* flags and variables are separated by spaces; file is the text of one, or NULL. */
static bool
read_all(const char *flags, const char *variables, const char *file, Config *config, char ***ret_rest,
         GError **error)
{
    g_autofree char *line = g_strconcat("program ", flags, NULL);
    g_auto(GStrv) argv = g_strsplit(*flags ? line : "program", " ", -1);
    g_auto(GStrv) environ_ = g_strsplit(variables, " ", -1);
    g_autofree char *folder = g_dir_make_tmp("settings-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(folder, "test.conf", NULL);
    bool ok;

    if (file)
        g_file_set_contents(path, file, -1, NULL);
    ok = sl_settings_read(table, "serve", config, argv, environ_, file ? path : NULL, ret_rest, error);
    g_unlink(path);
    g_rmdir(folder);
    return ok;
}

static void
test_precedence(void)
{
    static const char file[] =
        "[sockerless]\ndata-dir=/common\ncount=1\nlog-level=info\nnot-ours=x\naddr=:1, :2\n"
        "[serve]\ncount=2\nsize=3k\n";
    g_auto(Config) config = { .data = g_strdup("/default"), .wait = 7 };
    g_autoptr(GError) error = NULL;

    g_assert_true(read_all("--size=5 --addr :9 --addr unix:///a,b",
                           "SOCKERLESS_SIZE=4 SOCKERLESS_LOG_LEVEL=debug X=y", file, &config, NULL, &error));
    g_assert_no_error(error);
    g_assert_cmpstr(config.data, ==, "/common");
    g_assert_cmpint(config.count, ==, 2);
    g_assert_cmpint(config.size, ==, 5);
    g_assert_cmpint(config.wait, ==, 7);
    g_assert_cmpstr(config.level, ==, "debug");
    g_assert_cmpuint(g_strv_length(config.addresses), ==, 2);
    g_assert_cmpstr(config.addresses[1], ==, "unix:///a,b");
}

static void
test_lists_in_variables(void)
{
    g_auto(Config) config = { 0 };

    g_assert_true(read_all("", "SOCKERLESS_ADDR=:1,,:2 SOCKERLESS_COUNT=", NULL, &config, NULL, NULL));
    g_assert_cmpuint(g_strv_length(config.addresses), ==, 2);
    g_assert_cmpstr(config.addresses[1], ==, ":2");
}

static void
test_values(void)
{
    g_auto(Config) config = { .verbose = true };

    g_assert_true(read_all("--no-verbose --size 2m --wait 500ms --count -3", "", NULL, &config, NULL, NULL));
    g_assert_false(config.verbose);
    g_assert_cmpint(config.size, ==, 2 << 20);
    g_assert_cmpint(config.wait, ==, 500);
    g_assert_cmpint(config.count, ==, -3);
    g_assert_true(read_all("--verbose --size 1G --wait 2 -h", "", NULL, &config, NULL, NULL));
    g_assert_true(config.verbose);
    g_assert_true(config.help);
    g_assert_cmpint(config.size, ==, 1 << 30);
    g_assert_cmpint(config.wait, ==, 2000);
    g_assert_true(read_all("--verbose=off --wait=1h", "", NULL, &config, NULL, NULL));
    g_assert_false(config.verbose);
    g_assert_cmpint(config.wait, ==, 3600000);
}

static void
test_the_rest(void)
{
    g_auto(Config) config = { 0 };
    g_auto(GStrv) rest = NULL;
    g_autofree char *text = NULL;

    g_assert_true(read_all("one --count 1 - -- --two -x", "", NULL, &config, &rest, NULL));
    text = g_strjoinv("|", rest);
    g_assert_cmpstr(text, ==, "one|-|--two|-x");
}

static void
test_wrong_values_are_named(void)
{
    static const struct {
        const char *flags, *variables, *file, *message;
    } cases[] = {
        { "--nope", "", NULL, "unknown option --nope" },
        { "-x", "", NULL, "unknown option -x" },
        { "--no-count", "", NULL, "unknown option --no-count" },
        { "x", "", NULL, "unexpected argument \"x\"" },
        { "--data-dir", "", NULL, "--data-dir: a value is missing" },
        { "--count 1x", "", NULL, "--count: \"1x\" is not a whole number" },
        { "--size -1k", "", NULL, "--size: \"-1k\" is below zero" },
        { "--size 9999999999t", "", NULL,
          "--size: \"9999999999t\" is not a size such as 512, 16k, 2m or 1g" },
        { "--wait 3d", "", NULL, "--wait: \"3d\" is not a duration such as 500ms, 10s, 2m or 1h" },
        { "--verbose=maybe", "", NULL, "--verbose: \"maybe\" is neither true nor false" },
        { "", "SOCKERLESS_LOG_LEVEL=loud", NULL, "SOCKERLESS_LOG_LEVEL: \"loud\" is not one of debug, info" },
        { "", "", "[serve]\ncuont=1\n", "test.conf: there is no setting \"cuont\" for [serve]" },
        { "", "", "[serve]\ncount=many\n", "test.conf: count: \"many\" is not a whole number" },
        { "", "", "count=1\n", "test.conf: " },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_auto(Config) config = { 0 };
        g_autoptr(GError) error = NULL;

        g_assert_false(read_all(cases[i].flags, cases[i].variables, cases[i].file, &config, NULL, &error));
        g_assert_error(error, SL_ERROR, SL_ERROR_INVALID);
        if (cases[i].file)
            g_assert_nonnull(strstr(error->message, cases[i].message));
        else
            g_assert_cmpstr(error->message, ==, cases[i].message);
    }
}

static void
test_files_are_found(void)
{
    char *named[] = { (char[]){ "p" }, (char[]){ "--config" }, (char[]){ "/a" }, NULL };
    char *joined[] = { (char[]){ "p" }, (char[]){ "--config=/b" }, NULL };
    char *after[] = { (char[]){ "p" }, (char[]){ "--" }, (char[]){ "--config=/b" }, NULL };
    char *variables[] = { (char[]){ "SOCKERLESS_CONFIG=/c" }, NULL };
    g_autofree char *first = sl_settings_find_file(named, variables);
    g_autofree char *second = sl_settings_find_file(joined, variables);
    g_autofree char *third = sl_settings_find_file(after, variables);
    g_auto(Config) config = { 0 };
    g_autoptr(GError) error = NULL;

    g_assert_cmpstr(first, ==, "/a");
    g_assert_cmpstr(second, ==, "/b");
    g_assert_cmpstr(third, ==, "/c");
    g_assert_false(
        sl_settings_read(table, "serve", &config, after, variables, "/nonexistent/x.conf", NULL, &error));
    g_assert_true(g_str_has_prefix(error->message, "settings file /nonexistent/x.conf: "));
}

static void
test_help_fits_the_screen(void)
{
    g_autofree char *help = sl_settings_help(table);
    g_auto(GStrv) lines = g_strsplit(help, "\n", -1);

    for (char **line = lines; *line; line++)
        g_assert_cmpint(g_utf8_strlen(*line, -1), <=, 80);
    g_assert_nonnull(strstr(help, "  --log-level LEVEL         what to log (debug|info)\n"));
    g_assert_nonnull(strstr(help, "\n                            "));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/common/settings/flag-variable-own-group-common-group", test_precedence);
    g_test_add_func("/common/settings/lists-in-variables-have-commas", test_lists_in_variables);
    g_test_add_func("/common/settings/values-with-units", test_values);
    g_test_add_func("/common/settings/the-rest-is-kept", test_the_rest);
    g_test_add_func("/common/settings/wrong-values-are-named", test_wrong_values_are_named);
    g_test_add_func("/common/settings/files-are-found", test_files_are_found);
    g_test_add_func("/common/settings/help-fits-the-screen", test_help_fits_the_screen);
    return g_test_run();
}
