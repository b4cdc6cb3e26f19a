#include "backends/core/lifecycle.h"

#include <glib.h>
#include <signal.h>

#define A(name)      SL_ACTION_##name
#define EXIT_ACTIONS (A(COMMIT) | A(DISARM_GRACE) | A(END_READERS) | A(RELEASE) | A(TELL_WAITERS))

/* One row: what happens in a phase, and what comes of it. */
typedef struct Row {
    const char *promise;
    SlState before;
    SlEvent event;
    SlPhase after;
    unsigned actions;
} Row;

static const Row rows[] = {
    { "a created container starts",
      { .phase = SL_PHASE_CREATED },
      { .kind = SL_EVENT_START },
      SL_PHASE_STARTING,
      A(LAUNCH) },
    { "an exited one starts again",
      { .phase = SL_PHASE_EXITED, .started_ns = 1 },
      { .kind = SL_EVENT_START },
      SL_PHASE_STARTING,
      A(LAUNCH) },
    { "a running one is not started twice",
      { .phase = SL_PHASE_RUNNING },
      { .kind = SL_EVENT_START },
      SL_PHASE_RUNNING,
      A(REFUSE_RUNNING) },
    { "one that goes is not started",
      { .phase = SL_PHASE_REMOVING },
      { .kind = SL_EVENT_START },
      SL_PHASE_REMOVING,
      A(REFUSE_REMOVING) },
    { "a start that succeeded is stored",
      { .phase = SL_PHASE_STARTING },
      { .kind = SL_EVENT_STARTED, .pid = 7, .time_ns = 5 },
      SL_PHASE_RUNNING,
      A(COMMIT) },
    { "a first start that failed leaves it created",
      { .phase = SL_PHASE_STARTING },
      { .kind = SL_EVENT_START_FAILED, .exit_code = 127 },
      SL_PHASE_CREATED,
      A(COMMIT) | A(END_READERS) | A(RELEASE) | A(TELL_WAITERS) },
    { "a later start that failed leaves it exited",
      { .phase = SL_PHASE_STARTING, .started_ns = 1 },
      { .kind = SL_EVENT_START_FAILED, .exit_code = 126 },
      SL_PHASE_EXITED,
      A(COMMIT) | A(END_READERS) | A(RELEASE) | A(TELL_WAITERS) },
    { "a failed start removes with AutoRemove",
      { .phase = SL_PHASE_STARTING, .auto_remove = true },
      { .kind = SL_EVENT_START_FAILED, .exit_code = 127 },
      SL_PHASE_REMOVING,
      A(COMMIT) | A(END_READERS) | A(RELEASE) | A(TELL_WAITERS) | A(DELETE) },
    { "an exit is stored before readers and waiters hear of it",
      { .phase = SL_PHASE_RUNNING },
      { .kind = SL_EVENT_EXITED, .exit_code = 3 },
      SL_PHASE_EXITED,
      EXIT_ACTIONS },
    { "an exit removes with AutoRemove",
      { .phase = SL_PHASE_RUNNING, .auto_remove = true },
      { .kind = SL_EVENT_EXITED },
      SL_PHASE_REMOVING,
      EXIT_ACTIONS | A(DELETE) },
    { "an exit ends a forced removal",
      { .phase = SL_PHASE_RUNNING, .is_remove_wanted = true },
      { .kind = SL_EVENT_EXITED },
      SL_PHASE_REMOVING,
      EXIT_ACTIONS | A(DELETE) },
    { "an exit that is told twice changes nothing",
      { .phase = SL_PHASE_EXITED, .exit_code = 3 },
      { .kind = SL_EVENT_EXITED, .exit_code = 255 },
      SL_PHASE_EXITED,
      0 },
    { "a stop signals and arms the grace",
      { .phase = SL_PHASE_RUNNING },
      { .kind = SL_EVENT_STOP, .signal = SIGTERM, .grace_ms = 10 },
      SL_PHASE_RUNNING,
      A(SIGNAL) | A(ARM_GRACE) },
    { "a stop without a limit never kills",
      { .phase = SL_PHASE_RUNNING },
      { .kind = SL_EVENT_STOP, .signal = SIGTERM, .grace_ms = -1 },
      SL_PHASE_RUNNING,
      A(SIGNAL) },
    { "a stop of a stopped one is not modified",
      { .phase = SL_PHASE_EXITED },
      { .kind = SL_EVENT_STOP, .signal = SIGTERM },
      SL_PHASE_EXITED,
      A(REFUSE_NOT_RUNNING) },
    { "a kill of a created one is refused",
      { .phase = SL_PHASE_CREATED },
      { .kind = SL_EVENT_KILL, .signal = SIGKILL },
      SL_PHASE_CREATED,
      A(REFUSE_NOT_RUNNING) },
    { "a grace that is over kills",
      { .phase = SL_PHASE_RUNNING },
      { .kind = SL_EVENT_GRACE_OVER },
      SL_PHASE_RUNNING,
      A(SIGNAL) },
    { "a grace that is over after the exit does nothing",
      { .phase = SL_PHASE_EXITED },
      { .kind = SL_EVENT_GRACE_OVER },
      SL_PHASE_EXITED,
      0 },
    { "a running one is not removed without force",
      { .phase = SL_PHASE_RUNNING },
      { .kind = SL_EVENT_REMOVE },
      SL_PHASE_RUNNING,
      A(REFUSE_REMOVE) },
    { "force kills first",
      { .phase = SL_PHASE_RUNNING },
      { .kind = SL_EVENT_REMOVE, .is_forced = true },
      SL_PHASE_RUNNING,
      A(SIGNAL) },
    { "an exited one is removed",
      { .phase = SL_PHASE_EXITED },
      { .kind = SL_EVENT_REMOVE },
      SL_PHASE_REMOVING,
      A(COMMIT) | A(END_READERS) | A(RELEASE) | A(DELETE) },
    { "a removal is not begun twice",
      { .phase = SL_PHASE_REMOVING },
      { .kind = SL_EVENT_REMOVE },
      SL_PHASE_REMOVING,
      A(REFUSE_REMOVING) },
    /* ---- policies ---- */
    { "always starts again after an exit",
      { .phase = SL_PHASE_RUNNING, .restart = { SL_RESTART_ALWAYS, 0 } },
      { .kind = SL_EVENT_EXITED },
      SL_PHASE_RESTARTING,
      EXIT_ACTIONS | A(ARM_RESTART) },
    { "on-failure leaves a success alone",
      { .phase = SL_PHASE_RUNNING, .restart = { SL_RESTART_ON_FAILURE, 0 } },
      { .kind = SL_EVENT_EXITED },
      SL_PHASE_EXITED,
      EXIT_ACTIONS },
    { "on-failure starts a failure again",
      { .phase = SL_PHASE_RUNNING, .restart = { SL_RESTART_ON_FAILURE, 2 }, .restart_count = 1 },
      { .kind = SL_EVENT_EXITED, .exit_code = 1 },
      SL_PHASE_RESTARTING,
      EXIT_ACTIONS | A(ARM_RESTART) },
    { "on-failure gives up after so many",
      { .phase = SL_PHASE_RUNNING, .restart = { SL_RESTART_ON_FAILURE, 2 }, .restart_count = 2 },
      { .kind = SL_EVENT_EXITED, .exit_code = 1 },
      SL_PHASE_EXITED,
      EXIT_ACTIONS },
    { "unless-stopped does not start what was stopped",
      { .phase = SL_PHASE_RUNNING, .restart = { SL_RESTART_UNLESS_STOPPED, 0 }, .is_user_stopped = true },
      { .kind = SL_EVENT_EXITED },
      SL_PHASE_EXITED,
      EXIT_ACTIONS },
    { "a last run is the last even with always",
      { .phase = SL_PHASE_RUNNING, .restart = { SL_RESTART_ALWAYS, 0 }, .is_last_run = true },
      { .kind = SL_EVENT_EXITED },
      SL_PHASE_EXITED,
      EXIT_ACTIONS },
    { "a forced removal wins over the policy",
      { .phase = SL_PHASE_RUNNING, .restart = { SL_RESTART_ALWAYS, 0 }, .is_remove_wanted = true },
      { .kind = SL_EVENT_EXITED },
      SL_PHASE_REMOVING,
      EXIT_ACTIONS | A(DELETE) },
    { "a stop is stored before the signal when there is a policy",
      { .phase = SL_PHASE_RUNNING, .restart = { SL_RESTART_ALWAYS, 0 } },
      { .kind = SL_EVENT_STOP, .signal = SIGTERM, .grace_ms = -1 },
      SL_PHASE_RUNNING,
      A(COMMIT) | A(SIGNAL) },
    { "a back-off that is over launches",
      { .phase = SL_PHASE_RESTARTING },
      { .kind = SL_EVENT_RESTART_DUE },
      SL_PHASE_STARTING,
      A(LAUNCH) },
    { "a back-off that is over after a stop does nothing",
      { .phase = SL_PHASE_EXITED },
      { .kind = SL_EVENT_RESTART_DUE },
      SL_PHASE_EXITED,
      0 },
    { "a stop between two runs calls the next off",
      { .phase = SL_PHASE_RESTARTING },
      { .kind = SL_EVENT_STOP, .signal = SIGTERM },
      SL_PHASE_EXITED,
      A(COMMIT) | A(DISARM_RESTART) | A(TELL_WAITERS) },
    { "a signal that stops nothing leaves the back-off alone",
      { .phase = SL_PHASE_RESTARTING },
      { .kind = SL_EVENT_KILL, .signal = SIGHUP },
      SL_PHASE_RESTARTING,
      A(COMMIT) },
    { "a start between two runs is not modified",
      { .phase = SL_PHASE_RESTARTING },
      { .kind = SL_EVENT_START },
      SL_PHASE_RESTARTING,
      A(REFUSE_RUNNING) },
    { "one between two runs is not removed without force",
      { .phase = SL_PHASE_RESTARTING },
      { .kind = SL_EVENT_REMOVE },
      SL_PHASE_RESTARTING,
      A(REFUSE_REMOVE) },
    { "force removes one between two runs at once",
      { .phase = SL_PHASE_RESTARTING },
      { .kind = SL_EVENT_REMOVE, .is_forced = true },
      SL_PHASE_REMOVING,
      A(COMMIT) | A(END_READERS) | A(RELEASE) | A(DISARM_RESTART) | A(TELL_WAITERS) | A(DELETE) },
    { "a policy's start that found no program ends the policy",
      { .phase = SL_PHASE_STARTING,
        .is_policy_start = true,
        .started_ns = 1,
        .restart = { SL_RESTART_ALWAYS, 0 } },
      { .kind = SL_EVENT_START_FAILED, .exit_code = 127 },
      SL_PHASE_EXITED,
      A(COMMIT) | A(END_READERS) | A(RELEASE) | A(TELL_WAITERS) },
    { "a policy's start that found no room tries again",
      { .phase = SL_PHASE_STARTING,
        .is_policy_start = true,
        .started_ns = 1,
        .restart = { SL_RESTART_ALWAYS, 0 } },
      { .kind = SL_EVENT_START_FAILED, .exit_code = SL_EXIT_NOT_STARTED },
      SL_PHASE_RESTARTING,
      A(COMMIT) | A(END_READERS) | A(RELEASE) | A(TELL_WAITERS) | A(ARM_RESTART) },
    { "a user's start that found no room is the user's to repeat",
      { .phase = SL_PHASE_STARTING, .started_ns = 1, .restart = { SL_RESTART_ALWAYS, 0 } },
      { .kind = SL_EVENT_START_FAILED, .exit_code = SL_EXIT_NOT_STARTED },
      SL_PHASE_EXITED,
      A(COMMIT) | A(END_READERS) | A(RELEASE) | A(TELL_WAITERS) },
    { "AutoRemove leaves a user's restart alone",
      { .phase = SL_PHASE_RUNNING, .auto_remove = true, .is_kept = true },
      { .kind = SL_EVENT_EXITED },
      SL_PHASE_EXITED,
      EXIT_ACTIONS },
    { "AutoRemove takes no policy",
      { .phase = SL_PHASE_RUNNING, .auto_remove = true },
      { .kind = SL_EVENT_UPDATE, .has_restart = true, .restart = { SL_RESTART_ALWAYS, 0 } },
      SL_PHASE_RUNNING,
      A(REFUSE_POLICY) },
    { "an update is stored",
      { .phase = SL_PHASE_RESTARTING },
      { .kind = SL_EVENT_UPDATE, .has_restart = true },
      SL_PHASE_RESTARTING,
      A(COMMIT) },
    /* ---- pauses ---- */
    { "a running one pauses",
      { .phase = SL_PHASE_RUNNING },
      { .kind = SL_EVENT_PAUSE },
      SL_PHASE_RUNNING,
      A(PAUSE) },
    { "a paused one is not paused twice",
      { .phase = SL_PHASE_RUNNING, .is_paused = true },
      { .kind = SL_EVENT_PAUSE },
      SL_PHASE_RUNNING,
      A(REFUSE_PAUSED) },
    { "a stopped one is not paused",
      { .phase = SL_PHASE_EXITED },
      { .kind = SL_EVENT_PAUSE },
      SL_PHASE_EXITED,
      A(REFUSE_NOT_RUNNING) },
    { "one between two runs is not paused",
      { .phase = SL_PHASE_RESTARTING },
      { .kind = SL_EVENT_PAUSE },
      SL_PHASE_RESTARTING,
      A(REFUSE_RESTARTING) },
    { "a pause is stored",
      { .phase = SL_PHASE_RUNNING },
      { .kind = SL_EVENT_PAUSED },
      SL_PHASE_RUNNING,
      A(COMMIT) },
    { "a pause that is told after the exit does nothing",
      { .phase = SL_PHASE_EXITED },
      { .kind = SL_EVENT_PAUSED },
      SL_PHASE_EXITED,
      0 },
    { "a paused one is not started",
      { .phase = SL_PHASE_RUNNING, .is_paused = true },
      { .kind = SL_EVENT_START },
      SL_PHASE_RUNNING,
      A(REFUSE_PAUSED) },
    { "an unpause needs a pause",
      { .phase = SL_PHASE_RUNNING },
      { .kind = SL_EVENT_UNPAUSE },
      SL_PHASE_RUNNING,
      A(REFUSE_NOT_PAUSED) },
    { "a stop lets a paused one go on to its signal",
      { .phase = SL_PHASE_RUNNING, .is_paused = true },
      { .kind = SL_EVENT_STOP, .signal = SIGTERM, .grace_ms = 5 },
      SL_PHASE_RUNNING,
      A(SIGNAL) | A(UNPAUSE) | A(ARM_GRACE) },
    { "a SIGKILL needs no unpause",
      { .phase = SL_PHASE_RUNNING, .is_paused = true },
      { .kind = SL_EVENT_KILL, .signal = SIGKILL, .ends_policy = true },
      SL_PHASE_RUNNING,
      A(SIGNAL) },
    { "a removal that failed can be tried again",
      { .phase = SL_PHASE_REMOVING, .started_ns = 1 },
      { .kind = SL_EVENT_REMOVE_FAILED },
      SL_PHASE_EXITED,
      A(COMMIT) },
};

static void
test_row(gconstpointer data)
{
    const Row *row = data;
    SlState state = row->before;
    SlActions actions = sl_lifecycle_step(&state, &row->event);

    g_assert_cmpint(state.phase, ==, row->after);
    g_assert_cmphex(actions.flags, ==, row->actions);
}

static void
test_exit_code_never_changes_once_stored(void)
{
    SlState state = { .phase = SL_PHASE_RUNNING };

    sl_lifecycle_step(&state, &(SlEvent){ .kind = SL_EVENT_EXITED, .exit_code = 3, .time_ns = 9 });
    sl_lifecycle_step(&state, &(SlEvent){ .kind = SL_EVENT_EXITED, .exit_code = 255, .time_ns = 10 });
    g_assert_cmpint(state.exit_code, ==, 3);
    g_assert_cmpint(state.finished_ns, ==, 9);
}

static void
test_kill_is_the_grace_signal(void)
{
    SlState state = { .phase = SL_PHASE_RUNNING };

    g_assert_cmpint(sl_lifecycle_step(&state, &(SlEvent){ .kind = SL_EVENT_GRACE_OVER }).signal, ==, SIGKILL);
}

static void
test_every_launch_is_another_attempt(void)
{
    SlState state = { .phase = SL_PHASE_CREATED };

    for (int attempt = 1; attempt <= 3; attempt++) {
        sl_lifecycle_step(&state, &(SlEvent){ .kind = SL_EVENT_START });
        g_assert_cmpint(state.attempt, ==, attempt);
        sl_lifecycle_step(&state, &(SlEvent){ .kind = SL_EVENT_STARTED, .pid = 1, .time_ns = 1 });
        sl_lifecycle_step(&state, &(SlEvent){ .kind = SL_EVENT_EXITED });
    }
}

static int
back_off_after(SlState *state, int ran_ms)
{
    state->phase = SL_PHASE_RUNNING;
    state->started_ns = 1;
    sl_lifecycle_step(
        state,
        &(SlEvent){ .kind = SL_EVENT_EXITED, .exit_code = 1, .time_ns = 1 + (int64_t)ran_ms * 1000000 });
    return state->back_off_ms;
}

static void
test_back_off_doubles_to_a_minute_and_begins_anew(void)
{
    SlState state = { .restart = { SL_RESTART_ALWAYS, 0 } };

    for (int expected = 100; expected < 60000; expected *= 2)
        g_assert_cmpint(back_off_after(&state, 5), ==, expected);
    g_assert_cmpint(back_off_after(&state, 10000), ==, 60000);
    g_assert_cmpint(back_off_after(&state, 10001), ==, 100);
    g_assert_cmpint(state.restart_count, ==, 12);
}

static void
test_a_start_by_hand_forgets_the_count(void)
{
    SlState state = {
        .phase = SL_PHASE_EXITED, .restart_count = 3, .back_off_ms = 800, .is_user_stopped = true
    };

    sl_lifecycle_step(&state, &(SlEvent){ .kind = SL_EVENT_START });
    g_assert_cmpint(state.restart_count, ==, 0);
    g_assert_cmpint(state.back_off_ms, ==, 0);
    g_assert_false(state.is_user_stopped);
}

static void
test_who_starts_with_the_daemon(void)
{
    g_assert_true(sl_lifecycle_starts_with_daemon(&(SlState){
        .phase = SL_PHASE_EXITED, .restart = { SL_RESTART_ALWAYS, 0 }, .is_user_stopped = true }));
    g_assert_false(sl_lifecycle_starts_with_daemon(&(SlState){
        .phase = SL_PHASE_EXITED, .restart = { SL_RESTART_UNLESS_STOPPED, 0 }, .is_user_stopped = true }));
    g_assert_true(sl_lifecycle_starts_with_daemon(
        &(SlState){ .phase = SL_PHASE_EXITED, .restart = { SL_RESTART_UNLESS_STOPPED, 0 } }));
    g_assert_false(sl_lifecycle_starts_with_daemon(
        &(SlState){ .phase = SL_PHASE_EXITED, .exit_code = 1, .restart = { SL_RESTART_ON_FAILURE, 0 } }));
    g_assert_false(sl_lifecycle_starts_with_daemon(
        &(SlState){ .phase = SL_PHASE_CREATED, .restart = { SL_RESTART_ALWAYS, 0 } }));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *path =
            g_strdelimit(g_strdup_printf("/core/lifecycle/%s", rows[i].promise), " ", '-');

        g_test_add_data_func(path, &rows[i], test_row);
    }
    g_test_add_func("/core/lifecycle/exit-code-never-changes-once-stored",
                    test_exit_code_never_changes_once_stored);
    g_test_add_func("/core/lifecycle/the-grace-ends-with-a-kill", test_kill_is_the_grace_signal);
    g_test_add_func("/core/lifecycle/every-launch-is-another-attempt", test_every_launch_is_another_attempt);
    g_test_add_func("/core/lifecycle/back-off-doubles-to-a-minute-and-begins-anew",
                    test_back_off_doubles_to_a_minute_and_begins_anew);
    g_test_add_func("/core/lifecycle/a-start-by-hand-forgets-the-count",
                    test_a_start_by_hand_forgets_the_count);
    g_test_add_func("/core/lifecycle/who-starts-with-the-daemon", test_who_starts_with_the_daemon);
    return g_test_run();
}
