#include "backends/core/top.h"

#include "common/clock.h"
#include "common/json_fields.h"

#include <string.h>

static json_t *
processes_new(void)
{
    int64_t now_ms = sl_clock_now_ns() / 1000000;

    return json_pack("[{s:i, s:i, s:i, s:s, s:I, s:i, s:s, s:s}, {s:i, s:i, s:i, s:s, s:I, s:i, s:s, s:s}]",
                     "pid", 1, "ppid", 0, "uid", 0, "user", "root", "started_ms",
                     (json_int_t)now_ms - 3 * 86400000 - 10000, "cpu_ms", 3723000, "tty", "?", "command",
                     "/bin/sh -c sleep 9", "pid", 7, "ppid", 1, "uid", 1000, "user", "", "started_ms",
                     (json_int_t)now_ms - 100 * 1000, "cpu_ms", 12500, "tty", "pts/0", "command", "sleep 9");
}

static char *
format(const char *ps_args)
{
    g_autoptr(json_t) processes = processes_new();
    g_autoptr(json_t) reply = NULL;
    g_autoptr(GError) error = NULL;

    sl_top_format(processes, ps_args, &reply, &error);
    g_assert_no_error(error);
    return sl_json_dump(reply);
}

static void
assert_refused(const char *ps_args, const char *named)
{
    g_autoptr(json_t) processes = processes_new();
    g_autoptr(GError) error = NULL;
    json_t *reply = NULL;

    g_assert_false(sl_top_format(processes, ps_args, &reply, &error));
    g_assert_error(error, SL_ERROR, SL_ERROR_INVALID);
    g_assert_nonnull(strstr(error->message, named));
    g_assert_null(reply);
}

static void
test_default_is_ef(void)
{
    static const char *const same[] = { "", "-ef", "-e -f", "ef" };
    g_autofree char *by_default = format(NULL);

    g_assert_true(g_str_has_prefix(
        by_default, "{\"Titles\":[\"UID\",\"PID\",\"PPID\",\"C\",\"STIME\",\"TTY\",\"TIME\",\"CMD\"],"
                    "\"Processes\":[[\"root\",\"1\",\"0\",\"1\",\""));
    g_assert_nonnull(strstr(by_default, "\"?\",\"01:02:03\",\"/bin/sh -c sleep 9\"]"));
    g_assert_nonnull(strstr(by_default, "[\"1000\",\"7\",\"1\",\"12\",\""));
    for (size_t i = 0; i < G_N_ELEMENTS(same); i++) {
        g_autofree char *text = format(same[i]);

        g_assert_cmpstr(text, ==, by_default);
    }
}

static void
test_aux(void)
{
    g_autofree char *text = format("aux");

    g_assert_true(g_str_has_prefix(
        text, "{\"Titles\":[\"USER\",\"PID\",\"%CPU\",\"TTY\",\"START\",\"TIME\",\"COMMAND\"],"));
    g_assert_nonnull(strstr(text, "\"62:03\",\"/bin/sh -c sleep 9\""));
}

static void
test_chosen_columns(void)
{
    static const char *const same[] = { "-o pid,comm,etime", "-eo pid,comm,etime", "-opid,comm,etime",
                                        "-o pid -o comm,etime", "axo pid,comm,etime" };

    for (size_t i = 0; i < G_N_ELEMENTS(same); i++) {
        g_autofree char *text = format(same[i]);

        g_assert_cmpstr(
            text, ==,
            "{\"Titles\":[\"PID\",\"COMMAND\",\"ELAPSED\"],\"Processes\":[[\"1\",\"sh\",\"3-00:00:10\"],"
            "[\"7\",\"sleep\",\"01:40\"]]}");
    }
}

static void
test_refusals(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(json_t) odd = json_pack("[{s:s}]", "pid", "one");
    json_t *reply = NULL;

    assert_refused("-o pid,wchan", "wchan");
    assert_refused("--forest", "--forest");
    assert_refused("-o", "-o");
    g_assert_false(sl_top_format(odd, NULL, &reply, &error));
    g_assert_error(error, SL_ERROR, SL_ERROR_SYSTEM);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/core/top/default-is-ef", test_default_is_ef);
    g_test_add_func("/core/top/aux", test_aux);
    g_test_add_func("/core/top/chosen-columns", test_chosen_columns);
    g_test_add_func("/core/top/names-what-it-does-not-know", test_refusals);
    return g_test_run();
}
