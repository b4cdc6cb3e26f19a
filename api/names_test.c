#include "api/names.h"

#include <signal.h>
#include <string.h>

static void
test_container_names(void)
{
    static const char *const good[] = { "web", "/web", "a1", "0.-_", "Web_1.x-y" };
    static const char *const bad[] = {
        "", "/", "a", "/a", "_web", "-x", "we b", "web/", "//web", "w\xc3\xa9"
    };

    for (size_t i = 0; i < G_N_ELEMENTS(good); i++) {
        g_autofree char *name = NULL;

        g_assert_true(dk_container_name_parse(good[i], &name, NULL));
        g_assert_cmpstr(name, ==, good[i] + (good[i][0] == '/'));
    }
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) error = NULL;
        g_autofree char *name = NULL;
        g_autofree char *message = g_strdup_printf(
            "Invalid container name (%s), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed", bad[i]);

        g_assert_false(dk_container_name_parse(bad[i], &name, &error));
        g_assert_error(error, SL_ERROR, SL_ERROR_INVALID);
        g_assert_cmpstr(error->message, ==, message);
    }
}

static void
test_made_names_are_names(void)
{
    for (unsigned attempt = 0; attempt < 100; attempt++) {
        g_autofree char *made = dk_container_name_make(attempt);
        g_autofree char *name = NULL;

        g_assert_true(dk_container_name_parse(made, &name, NULL));
        g_assert_nonnull(strchr(made, '_'));
        g_assert_true(g_ascii_isdigit(made[strlen(made) - 1]) == (attempt > 0));
    }
}

static void
test_signals(void)
{
    static const struct {
        const char *text;
        int number;
    } cases[] = { { "SIGTERM", SIGTERM },
                  { "TERM", SIGTERM },
                  { "term", SIGTERM },
                  { "15", 15 },
                  { "sigkill", 9 },
                  { "USR1", SIGUSR1 },
                  { "64", 64 },
                  { "RTMIN+3", 37 },
                  { "SIGRTMIN", 34 },
                  { "RTMAX-2", 62 },
                  { "", 0 },
                  { "0", 0 },
                  { "65", 0 },
                  { "-9", 0 },
                  { "SIGNOPE", 0 },
                  { "RTMIN+31", 0 },
                  { "RTMIN-1", 0 },
                  { "9x", 0 },
                  { "SIG9", 0 } };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *message = g_strdup_printf("Invalid signal: %s", cases[i].text);
        g_autoptr(GError) error = NULL;
        int number = 0;

        g_assert_cmpint(dk_signal_parse(cases[i].text, &number, &error), ==, cases[i].number != 0);
        g_assert_cmpint(number, ==, cases[i].number);
        if (!number)
            g_assert_cmpstr(error->message, ==, message);
    }
    g_assert_cmpstr(dk_signal_name(15), ==, "TERM");
    g_assert_null(dk_signal_name(63));
}

static void
test_versions(void)
{
    g_assert_cmpint(dk_version_parse("1.44"), ==, 1044);
    g_assert_cmpint(dk_version_parse("1.9"), ==, 1009);
    g_assert_cmpint(dk_version_parse("2.0"), ==, 2000);
    g_assert_cmpint(dk_version_parse("1"), ==, 0);
    g_assert_cmpint(dk_version_parse("1."), ==, 0);
    g_assert_cmpint(dk_version_parse("1.44x"), ==, 0);
    g_assert_cmpint(dk_version_parse(".44"), ==, 0);
    g_assert_cmpint(dk_version_parse("1.4444"), ==, 0);
    g_assert_cmpint(dk_version_parse(""), ==, 0);
}

static void
test_times(void)
{
    enum { NOW_S = 1700000000 };
    static const struct {
        const char *text;
        int64_t ns;
    } good[] = {
        { NULL, 0 },
        { "", 0 },
        { "0", 0 },
        { "1700000000", INT64_C(1700000000000000000) },
        { "1700000000.000000001", INT64_C(1700000000000000001) },
        { "1700000000.5", INT64_C(1700000000500000000) },
        { "2023-11-14T22:13:20Z", INT64_C(1700000000000000000) },
        { "2023-11-14T22:13:20.123456789Z", INT64_C(1700000000123456789) },
        { "2023-11-15T00:13:20+02:00", INT64_C(1700000000000000000) },
        { "2023-11-14T22:13:20", INT64_C(1700000000000000000) },
        { "2023-11-14", INT64_C(1699920000000000000) },
        { "10m", INT64_C(1699999400000000000) },
        { "1h30m", INT64_C(1699994600000000000) },
        { "-1.5s", INT64_C(1700000001500000000) },
    };
    static const char *const bad[] = {
        "x",    "1.2.3",    "10q", "-", "m", "2023-13-14", "9999-01-01T00:00:00Z", "99999999999999999999",
        "1e9h", "yesterday"
    };

    for (size_t i = 0; i < G_N_ELEMENTS(good); i++) {
        int64_t ns = -1;

        g_assert_true(dk_time_parse(good[i].text, "since", NOW_S * INT64_C(1000000000), &ns, NULL));
        g_assert_cmpint(ns, ==, good[i].ns);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) error = NULL;
        int64_t ns;

        g_assert_false(dk_time_parse(bad[i], "since", 0, &ns, &error));
        g_assert_error(error, SL_ERROR, SL_ERROR_INVALID);
        g_assert_nonnull(strstr(error->message, "for since"));
    }
}

static void
test_environment(void)
{
    static const char *const over[] = { "B=2", "NEW=x", "GONE", "MISSING", "PATH=/bin", NULL };
    char **env = g_strsplit("PATH=/usr/bin,A=1,B=,GONE=now,BB=3", ",", -1);
    g_auto(GStrv) merged = dk_env_merge(env, over);
    g_autofree char *text = g_strjoinv(",", merged);
    g_auto(GStrv) fresh = dk_env_merge(NULL, over);

    g_assert_cmpstr(text, ==, "PATH=/bin,A=1,B=2,BB=3,NEW=x");
    g_assert_cmpuint(g_strv_length(fresh), ==, 3);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/api/names/container-names-as-docker", test_container_names);
    g_test_add_func("/api/names/made-names-are-names", test_made_names_are_names);
    g_test_add_func("/api/names/signals-in-every-spelling", test_signals);
    g_test_add_func("/api/names/versions", test_versions);
    g_test_add_func("/api/names/times-to-the-nanosecond", test_times);
    g_test_add_func("/api/names/environment-is-merged-by-name", test_environment);
    return g_test_run();
}
