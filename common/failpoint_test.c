#include "common/failpoint.h"

#include <glib.h>
#include <glib/gstdio.h>

#include <errno.h>
#include <signal.h>
#include <stdlib.h>

/* The variable is read once a process: each case is one. */
static void
in_process(const char *value)
{
    g_setenv("SOCKERLESS_FAILPOINT", value, TRUE);
    g_test_trap_subprocess(NULL, G_TIME_SPAN_SECOND * 20, G_TEST_SUBPROCESS_INHERIT_STDERR);
}

static void
test_nothing_happens_unless_asked(void)
{
    for (const char *const *name = sl_failpoint_names; *name; name++)
        g_assert_true(sl_failpoint(*name));
}

#ifdef SL_FAILPOINTS
static void
test_the_nth_passing_fails(void)
{
    if (g_test_subprocess()) {
        g_assert_true(sl_failpoint("store.commit.before"));
        g_assert_true(sl_failpoint("store.begin.before"));
        errno = 0;
        g_assert_false(sl_failpoint("store.commit.before"));
        g_assert_cmpint(errno, ==, ENOSPC);
        g_assert_true(sl_failpoint("store.commit.before"));
        return;
    }
    in_process("store.commit.before:2=ENOSPC");
    g_test_trap_assert_passed();
}

static void
test_the_process_is_killed(void)
{
    if (g_test_subprocess()) {
        sl_failpoint("store.begin.before");
        g_assert_true(sl_failpoint("store.begin.after"));
        exit(0);
    }
    in_process("store.begin.after");
    g_assert_false(g_test_trap_has_passed());
    g_assert_false(g_test_trap_reached_timeout());
}

static void
test_a_file_arms_a_running_program_once(void)
{
    g_autofree char *path = NULL;

    if (g_test_subprocess()) {
        const char *file = g_getenv("SOCKERLESS_FAILPOINT");

        g_assert_true(sl_failpoint("driver.root.made"));
        g_assert_true(g_file_set_contents(file, "driver.root.made=EIO\n", -1, NULL));
        g_assert_true(sl_failpoint("driver.folder.made"));
        g_assert_false(sl_failpoint("driver.root.made"));
        g_assert_cmpint(errno, ==, EIO);
        g_assert_false(g_file_test(file, G_FILE_TEST_EXISTS));
        g_assert_true(sl_failpoint("driver.root.made"));
        g_assert_true(g_file_set_contents(file, "no.such.point", -1, NULL));
        g_assert_true(sl_failpoint("driver.root.made"));
        g_remove(file);
        return;
    }
    path = g_strdup_printf("%s/sl-failpoint-%08x", g_get_tmp_dir(), g_random_int());
    in_process(path);
    g_test_trap_assert_passed();
}
#endif

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/failpoint/nothing-happens-unless-asked", test_nothing_happens_unless_asked);
#ifdef SL_FAILPOINTS
    g_test_add_func("/failpoint/the-nth-passing-fails", test_the_nth_passing_fails);
    g_test_add_func("/failpoint/the-process-is-killed", test_the_process_is_killed);
    g_test_add_func("/failpoint/a-file-arms-a-running-program-once", test_a_file_arms_a_running_program_once);
#endif
    return g_test_run();
}
