#include "backends/core/exec.h"

#include "backends/core/fake_agent.h"

static SlExec *
create(SlContainer *container, GError **error)
{
    DkExecCreate config = { .cmd = g_strsplit("echo x", " ", -1), .attach_stdout = true };
    SlExec *exec = sl_exec_create(container, &config, error);

    dk_exec_create_clear(&config);
    return exec;
}

static bool
is_running(SlExec *exec)
{
    SL_LOCK_GUARD(&exec->lock);

    return exec->is_running;
}

static bool
has_ended(void *user)
{
    return !is_running(user);
}

static json_int_t
exit_code(SlExec *exec)
{
    g_autoptr(json_t) json = sl_exec_inspect(exec);

    return json_integer_value(json_object_get(json, "ExitCode"));
}

static void
test_it_runs_beside_the_first_process(void)
{
    g_autoptr(FakeCore) fake = fake_core_new();
    g_autoptr(SlContainer) container = fake_container_new(fake, NULL);
    g_autoptr(SlExec) exec = NULL;
    g_autoptr(GError) error = NULL;
    int code;

    fake_container_start(container);
    exec = create(container, NULL);
    g_assert_true(sl_exec_start(exec, NULL, &code, NULL));
    fake_agent_expect(fake->agent, "exec 1");
    g_assert_true(is_running(exec));
    g_assert_false(sl_exec_start(exec, NULL, &code, &error));
    g_assert_error(error, SL_ERROR, SL_ERROR_CONFLICT);
    fake_agent_exit(fake->agent, 1, 4);
    fake_until(has_ended, exec);
    g_assert_cmpint(exit_code(exec), ==, 4);
    g_assert_true(sl_container_is_running(container));
}

static void
test_one_that_cannot_start_has_ended_with_its_code(void)
{
    g_autoptr(FakeCore) fake = fake_core_new();
    g_autoptr(SlContainer) container = fake_container_new(fake, NULL);
    g_autoptr(SlExec) exec = NULL;
    int code;

    fake_container_start(container);
    exec = create(container, NULL);
    fake_agent_fail_next(fake->agent, 127, "not found");
    g_assert_false(sl_exec_start(exec, NULL, &code, NULL));
    g_assert_cmpint(code, ==, 127);
    g_assert_false(is_running(exec));
    g_assert_cmpint(exit_code(exec), ==, 127);
}

static void
test_it_needs_a_container_that_takes_processes(void)
{
    g_autoptr(FakeCore) fake = fake_core_new();
    g_autoptr(SlContainer) container = fake_container_new(fake, NULL);
    g_autoptr(SlExec) exec = NULL;
    int code;

    for (int round = 0; round < 2; round++) {
        g_autoptr(GError) error = NULL;

        g_assert_null(create(container, &error));
        g_assert_error(error, SL_ERROR, SL_ERROR_CONFLICT);
        g_assert_nonnull(
            g_strstr_len(error->message, -1, round == 0 ? "is not running" : "is paused, unpause"));
        if (round == 1)
            break;
        fake_container_start(container);
        exec = create(container, NULL);
        sl_container_act(container, &(SlEvent){ .kind = SL_EVENT_PAUSE }, NULL);
    }
    g_assert_false(sl_exec_start(exec, NULL, &code, NULL));
    sl_container_act(container, &(SlEvent){ .kind = SL_EVENT_UNPAUSE }, NULL);
    g_assert_true(sl_exec_start(exec, NULL, &code, NULL));
}

static void
test_one_whose_agent_is_lost_ends_with_255(void)
{
    g_autoptr(FakeCore) fake = fake_core_new();
    g_autoptr(SlContainer) container = fake_container_new(fake, NULL);
    g_autoptr(SlExec) exec = NULL;
    int code;

    fake_container_start(container);
    exec = create(container, NULL);
    sl_exec_start(exec, NULL, &code, NULL);
    fake_agent_break(fake->agent, true, 0);
    fake_until(has_ended, exec);
    g_assert_cmpint(exit_code(exec), ==, 255);
}

static void
test_ended_ones_are_forgotten_the_oldest_first(void)
{
    g_autoptr(FakeCore) fake = fake_core_new();
    g_autoptr(SlContainer) container = fake_container_new(fake, NULL);
    g_autoptr(SlExec) running = NULL;
    g_autofree char *first = NULL;
    int code;

    fake_container_start(container);
    running = create(container, NULL);
    sl_exec_start(running, NULL, &code, NULL);
    for (uint32_t channel = 2; channel < SL_EXEC_MAX_ENDED + 4; channel++) {
        g_autoptr(SlExec) exec = create(container, NULL);
        g_autoptr(SlExec) found = NULL;

        g_assert_true(sl_exec_start(exec, NULL, &code, NULL));
        fake_agent_exit(fake->agent, channel, 0);
        fake_until(has_ended, exec);
        found = sl_exec_find(fake->core, exec->id, NULL);
        g_assert_true(found == exec);
        if (!first)
            first = g_strdup(exec->id);
    }
    g_assert_null(sl_exec_find(fake->core, first, NULL));
    g_assert_true(is_running(running));
    {
        g_autoptr(SlExec) found = sl_exec_find(fake->core, running->id, NULL);

        g_assert_true(found == running);
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/core/exec/it-runs-beside-the-first-process", test_it_runs_beside_the_first_process);
    g_test_add_func("/core/exec/one-that-cannot-start-has-ended-with-its-code",
                    test_one_that_cannot_start_has_ended_with_its_code);
    g_test_add_func("/core/exec/it-needs-a-container-that-takes-processes",
                    test_it_needs_a_container_that_takes_processes);
    g_test_add_func("/core/exec/one-whose-agent-is-lost-ends-with-255",
                    test_one_whose_agent_is_lost_ends_with_255);
    g_test_add_func("/core/exec/ended-ones-are-forgotten-the-oldest-first",
                    test_ended_ones_are_forgotten_the_oldest_first);
    return g_test_run();
}
