#include "backends/core/fake_agent.h"

#include <signal.h>
#include <string.h>

static bool
act(SlContainer *container, SlEvent event, GError **error)
{
    return sl_container_act(container, &event, error);
}

static SlState
state_of(SlContainer *container)
{
    return sl_container_get_state(container, NULL);
}

static void
test_start_returns_when_the_process_runs(void)
{
    g_autoptr(FakeCore) fake = fake_core_new();
    g_autoptr(SlContainer) container = fake_container_new(fake, NULL);

    g_assert_true(fake_container_start(container));
    fake_agent_expect(fake->agent, "start");
    g_assert_cmpint(state_of(container).phase, ==, SL_PHASE_RUNNING);
    g_assert_cmpint(state_of(container).pid, ==, 4242);
    fake_agent_exit(fake->agent, 0, 3);
    g_assert_true(sl_container_wait_blocking(container, SL_WAIT_NOT_RUNNING, NULL, 10000, NULL));
    g_assert_cmpint(state_of(container).exit_code, ==, 3);
    fake_agent_expect(fake->agent, "shutdown");
}

static void
test_a_start_that_failed_says_why_and_can_be_tried_again(void)
{
    g_autoptr(FakeCore) fake = fake_core_new();
    g_autoptr(SlContainer) container = fake_container_new(fake, NULL);
    g_autoptr(GError) error = NULL;
    g_autofree char *message = NULL;

    fake_agent_fail_next(fake->agent, 127, "exec: \"x\": executable file not found in $PATH");
    g_assert_false(act(container, (SlEvent){ .kind = SL_EVENT_START }, &error));
    g_assert_error(error, SL_ERROR, SL_ERROR_INVALID);
    g_assert_cmpint(sl_container_get_state(container, &message).exit_code, ==, 127);
    g_assert_nonnull(strstr(message, "executable file not found in $PATH"));
    g_assert_cmpint(state_of(container).phase, ==, SL_PHASE_CREATED);
    g_assert_true(fake_container_start(container));
}

static void
test_an_agent_that_is_not_there_fails_the_start(void)
{
    g_autoptr(FakeCore) fake = fake_core_new();
    g_autoptr(SlContainer) container = fake_container_new(fake, NULL);

    fake_agent_refuse_next(fake->agent);
    g_assert_false(fake_container_start(container));
    g_assert_cmpint(state_of(container).exit_code, ==, SL_EXIT_NOT_STARTED);
    g_assert_true(fake_container_start(container));
}

static void
test_a_stop_signals_and_kills_when_the_grace_is_over(void)
{
    g_autoptr(FakeCore) fake = fake_core_new();
    g_autoptr(SlContainer) container = fake_container_new(fake, NULL);

    fake_container_start(container);
    g_assert_true(
        act(container, (SlEvent){ .kind = SL_EVENT_STOP, .signal = SIGTERM, .grace_ms = 20 }, NULL));
    fake_agent_expect(fake->agent, "signal 15");
    fake_agent_expect(fake->agent, "signal 9");
    fake_until_phase(container, SL_PHASE_EXITED);
    g_assert_cmpint(state_of(container).exit_code, ==, 137);
}

static void
test_a_stop_in_time_needs_no_kill(void)
{
    g_autoptr(FakeCore) fake = fake_core_new();
    g_autoptr(SlContainer) container = fake_container_new(fake, NULL);

    fake_container_start(container);
    act(container, (SlEvent){ .kind = SL_EVENT_STOP, .signal = SIGTERM, .grace_ms = 60000 }, NULL);
    fake_agent_exit(fake->agent, 0, 143);
    fake_until_phase(container, SL_PHASE_EXITED);
    g_assert_cmpint(state_of(container).exit_code, ==, 143);
    g_assert_false(fake_agent_heard(fake->agent, "signal 9"));
}

static void
test_force_removes_a_running_one(void)
{
    g_autoptr(FakeCore) fake = fake_core_new();
    g_autoptr(SlContainer) container = fake_container_new(fake, NULL);

    fake_container_start(container);
    g_assert_true(act(container, (SlEvent){ .kind = SL_EVENT_REMOVE, .is_forced = true }, NULL));
    g_assert_true(sl_container_wait_blocking(container, SL_WAIT_REMOVED, NULL, 10000, NULL));
    g_assert_null(sl_core_find(fake->core, container->id, NULL));
}

static void
test_a_link_that_broke_is_made_again(void)
{
    g_autoptr(FakeCore) fake = fake_core_new();
    g_autoptr(SlContainer) container = fake_container_new(fake, NULL);

    fake_container_start(container);
    fake_agent_break(fake->agent, false, -1);
    for (bool is_linked = false; !is_linked;) {
        g_autoptr(SlLink) link = sl_container_dup_link(container, NULL);

        is_linked =
            link && sl_link_request(link, json_pack("{s:s}", "type", "top"), NULL, 10000, NULL, NULL, NULL);
    }
    g_assert_cmpint(state_of(container).phase, ==, SL_PHASE_RUNNING);
    g_assert_cmpint(fake_agent_n_launches(fake->agent), ==, 1);
}

static void
test_a_lost_agent_is_an_exit_that_the_driver_knows_or_255(void)
{
    static const int known[] = { 5, -1 };

    for (size_t i = 0; i < G_N_ELEMENTS(known); i++) {
        g_autoptr(FakeCore) fake = fake_core_new();
        g_autoptr(SlContainer) container = fake_container_new(fake, NULL);
        g_autofree char *message = NULL;

        fake_container_start(container);
        fake_agent_break(fake->agent, true, known[i]);
        fake_until_phase(container, SL_PHASE_EXITED);
        g_assert_cmpint(sl_container_get_state(container, &message).exit_code, ==, known[i] >= 0 ? 5 : 255);
        g_assert_cmpint(message != NULL, ==, known[i] < 0);
    }
}

static void
test_a_policy_starts_again_and_a_stop_ends_it(void)
{
    g_autoptr(FakeCore) fake = fake_core_new();
    g_autoptr(SlContainer) container =
        fake_container_new(fake, "{\"HostConfig\":{\"RestartPolicy\":{\"Name\":\"always\"}}}");

    fake_container_start(container);
    fake_agent_expect(fake->agent, "start");
    fake_agent_exit(fake->agent, 0, 1);
    fake_agent_expect(fake->agent, "start");
    fake_until_phase(container, SL_PHASE_RUNNING);
    g_assert_cmpint(state_of(container).restart_count, ==, 1);
    fake_agent_exit(fake->agent, 0, 1);
    fake_until_phase(container, SL_PHASE_RESTARTING);
    g_assert_true(act(container, (SlEvent){ .kind = SL_EVENT_STOP, .signal = SIGTERM }, NULL));
    g_assert_cmpint(state_of(container).phase, ==, SL_PHASE_EXITED);
    g_assert_cmpint(fake_agent_n_launches(fake->agent), ==, 2);
}

static void
test_a_policy_goes_on_in_the_next_daemon(void)
{
    g_autoptr(FakeCore) fake = fake_core_new();
    g_autoptr(SlContainer) before =
        fake_container_new(fake, "{\"HostConfig\":{\"RestartPolicy\":{\"Name\":\"always\"}}}");
    g_autofree char *id = g_strdup(before->id);
    g_autoptr(SlContainer) after = NULL;

    fake_container_start(before);
    fake_agent_exit(fake->agent, 0, 1);
    fake_until_phase(before, SL_PHASE_RESTARTING);
    g_clear_pointer(&before, sl_container_unref);
    fake_agent_break(fake->agent, true, -1);
    fake_core_restart(fake);
    after = sl_core_find(fake->core, id, NULL);
    fake_until_phase(after, SL_PHASE_RUNNING);
    g_assert_cmpint(state_of(after).restart_count, ==, 1);
}

static void
test_a_pause_is_the_agents_and_outlives_the_daemon(void)
{
    g_autoptr(FakeCore) fake = fake_core_new();
    g_autoptr(SlContainer) before = fake_container_new(fake, NULL);
    g_autofree char *id = g_strdup(before->id);
    g_autoptr(SlContainer) after = NULL;
    g_autoptr(GError) error = NULL;

    fake_container_start(before);
    g_assert_true(act(before, (SlEvent){ .kind = SL_EVENT_PAUSE }, NULL));
    fake_agent_expect(fake->agent, "pause");
    g_assert_true(state_of(before).is_paused);
    g_clear_pointer(&before, sl_container_unref);
    fake_core_restart(fake);
    after = sl_core_find(fake->core, id, NULL);
    g_assert_false(act(after, (SlEvent){ .kind = SL_EVENT_PAUSE }, &error));
    g_assert_error(error, SL_ERROR, SL_ERROR_CONFLICT);
    g_assert_true(act(after, (SlEvent){ .kind = SL_EVENT_UNPAUSE }, NULL));
    fake_agent_expect(fake->agent, "unpause");
    g_assert_false(state_of(after).is_paused);
}

static void
test_a_stop_of_a_paused_one_signals_then_unpauses(void)
{
    g_autoptr(FakeCore) fake = fake_core_new();
    g_autoptr(SlContainer) container = fake_container_new(fake, NULL);

    fake_container_start(container);
    act(container, (SlEvent){ .kind = SL_EVENT_PAUSE }, NULL);
    act(container, (SlEvent){ .kind = SL_EVENT_STOP, .signal = SIGTERM, .grace_ms = -1 }, NULL);
    fake_agent_expect(fake->agent, "signal 15");
    fake_agent_expect(fake->agent, "unpause");
    g_assert_false(state_of(container).is_paused);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/core/run/start-returns-when-the-process-runs",
                    test_start_returns_when_the_process_runs);
    g_test_add_func("/core/run/a-start-that-failed-says-why-and-can-be-tried-again",
                    test_a_start_that_failed_says_why_and_can_be_tried_again);
    g_test_add_func("/core/run/an-agent-that-is-not-there-fails-the-start",
                    test_an_agent_that_is_not_there_fails_the_start);
    g_test_add_func("/core/run/a-stop-signals-and-kills-when-the-grace-is-over",
                    test_a_stop_signals_and_kills_when_the_grace_is_over);
    g_test_add_func("/core/run/a-stop-in-time-needs-no-kill", test_a_stop_in_time_needs_no_kill);
    g_test_add_func("/core/run/force-removes-a-running-one", test_force_removes_a_running_one);
    g_test_add_func("/core/run/a-link-that-broke-is-made-again", test_a_link_that_broke_is_made_again);
    g_test_add_func("/core/run/a-lost-agent-is-an-exit-that-the-driver-knows-or-255",
                    test_a_lost_agent_is_an_exit_that_the_driver_knows_or_255);
    g_test_add_func("/core/run/a-policy-starts-again-and-a-stop-ends-it",
                    test_a_policy_starts_again_and_a_stop_ends_it);
    g_test_add_func("/core/run/a-policy-goes-on-in-the-next-daemon",
                    test_a_policy_goes_on_in_the_next_daemon);
    g_test_add_func("/core/run/a-pause-is-the-agents-and-outlives-the-daemon",
                    test_a_pause_is_the_agents_and_outlives_the_daemon);
    g_test_add_func("/core/run/a-stop-of-a-paused-one-signals-then-unpauses",
                    test_a_stop_of_a_paused_one_signals_then_unpauses);
    return g_test_run();
}
