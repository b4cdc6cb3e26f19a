#include "common/cancel.h"

#include "common/thread.h"

#include <poll.h>
#include <unistd.h>

static void *
fire(void *data)
{
    sl_cancel_fire(data);
    return NULL;
}

static void
test_firing_ends_a_wait(void)
{
    g_autoptr(SlCancel) cancel = sl_cancel_new();
    g_autoptr(GError) error = NULL;
    pthread_t thread;

    g_assert_true(sl_thread_start("fire", fire, cancel, &thread, NULL));
    g_assert_false(sl_cancel_wait_fd(cancel, -1, 0, -1, &error));
    g_assert_error(error, SL_ERROR, SL_ERROR_CANCELLED);
    pthread_join(thread, NULL);
    g_assert_true(sl_cancel_is_fired(cancel));
}

static void
test_a_descriptor_asked_for_later_is_readable(void)
{
    g_autoptr(SlCancel) cancel = sl_cancel_new();
    struct pollfd wait = { .events = POLLIN };

    sl_cancel_fire(cancel);
    wait.fd = sl_cancel_fd(cancel);
    g_assert_cmpint(poll(&wait, 1, 0), ==, 1);
}

static void
test_nothing_comes_within_the_time(void)
{
    g_autoptr(SlCancel) cancel = sl_cancel_new();
    g_autoptr(GError) error = NULL;

    g_assert_false(sl_cancel_wait_fd(cancel, -1, 0, 1, &error));
    g_assert_error(error, SL_ERROR, SL_ERROR_DEADLINE);
    g_assert_true(sl_cancel_sleep(cancel, 1, NULL));
    sl_cancel_fire(cancel);
    g_assert_false(sl_cancel_sleep(cancel, 10000, NULL));
}

static void
test_a_ready_descriptor_is_seen_without_a_cancel(void)
{
    int ends[2];

    g_assert_cmpint(pipe(ends), ==, 0);
    g_assert_cmpint(write(ends[1], "x", 1), ==, 1);
    g_assert_true(sl_cancel_wait_fd(NULL, ends[0], POLLIN, -1, NULL));
    close(ends[0]);
    close(ends[1]);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/common/cancel/firing-ends-a-wait", test_firing_ends_a_wait);
    g_test_add_func("/common/cancel/a-descriptor-asked-for-later-is-readable",
                    test_a_descriptor_asked_for_later_is_readable);
    g_test_add_func("/common/cancel/nothing-comes-within-the-time", test_nothing_comes_within_the_time);
    g_test_add_func("/common/cancel/a-ready-descriptor-is-seen-without-a-cancel",
                    test_a_ready_descriptor_is_seen_without_a_cancel);
    return g_test_run();
}
