#include "backends/core/lifecycle.h"

#include <signal.h>

/* ---- the policy ---- */

static bool
policy_wants(const SlState *state, int exit_code)
{
    const SlRestartPolicy *policy = &state->restart;

    if (state->is_last_run || state->is_remove_wanted || state->auto_remove)
        return false;
    switch (policy->kind) {
    case SL_RESTART_NO:
        break;
    case SL_RESTART_ON_FAILURE:
        return exit_code != 0 && (policy->max_retries == 0 || state->restart_count < policy->max_retries);
    case SL_RESTART_ALWAYS:
        return true;
    case SL_RESTART_UNLESS_STOPPED:
        return !state->is_user_stopped;
    }
    return false;
}

/* The next run comes after twice the last wait. */
static void
begin_back_off(SlState *state, int64_t ran_ns)
{
    if (ran_ns > (int64_t)SL_BACK_OFF_RESET_MS * 1000000)
        state->back_off_ms = 0;
    state->back_off_ms = state->back_off_ms == 0 ? SL_BACK_OFF_FIRST_MS : state->back_off_ms * 2;
    if (state->back_off_ms > SL_BACK_OFF_MAX_MS)
        state->back_off_ms = SL_BACK_OFF_MAX_MS;
    state->restart_count++;
    state->phase = SL_PHASE_RESTARTING;
}

bool
sl_lifecycle_starts_with_daemon(const SlState *state)
{
    return state->phase == SL_PHASE_EXITED &&
           (state->restart.kind == SL_RESTART_ALWAYS ||
            (state->restart.kind == SL_RESTART_UNLESS_STOPPED && !state->is_user_stopped));
}

bool
sl_lifecycle_is_up(const SlState *state)
{
    return state->phase == SL_PHASE_RUNNING || state->phase == SL_PHASE_RESTARTING ||
           (state->phase == SL_PHASE_STARTING && state->is_policy_start);
}

/* ---- starts ---- */

static SlActions
launch(SlState *state, bool is_policy_start)
{
    state->phase = SL_PHASE_STARTING;
    state->is_policy_start = is_policy_start;
    state->is_stopping = state->is_last_run = state->is_kept = false;
    state->attempt++;
    return (SlActions){ .flags = SL_ACTION_LAUNCH };
}

static SlActions
step_start(SlState *state)
{
    switch (state->phase) {
    case SL_PHASE_CREATED:
    case SL_PHASE_EXITED:
        state->is_user_stopped = false;
        state->restart_count = state->back_off_ms = 0;
        return launch(state, false);
    case SL_PHASE_STARTING:
    case SL_PHASE_RUNNING:
    case SL_PHASE_RESTARTING:
        return (SlActions){ .flags = state->is_paused ? SL_ACTION_REFUSE_PAUSED : SL_ACTION_REFUSE_RUNNING };
    case SL_PHASE_REMOVING:
    case SL_PHASE_GONE:
        break;
    }
    return (SlActions){ .flags = SL_ACTION_REFUSE_REMOVING };
}

static SlActions
step_started(SlState *state, const SlEvent *event)
{
    state->phase = SL_PHASE_RUNNING;
    state->is_policy_start = false;
    state->pid = event->pid;
    state->exit_code = 0;
    state->started_ns = event->time_ns;
    return (SlActions){ .flags = SL_ACTION_COMMIT };
}

static SlActions
step_start_failed(SlState *state, const SlEvent *event)
{
    SlActions actions = { .flags = SL_ACTION_COMMIT | SL_ACTION_END_READERS | SL_ACTION_RELEASE |
                                   SL_ACTION_TELL_WAITERS };
    bool was_policy = state->is_policy_start;

    state->phase = state->started_ns ? SL_PHASE_EXITED : SL_PHASE_CREATED;
    state->is_policy_start = false;
    state->exit_code = event->exit_code;
    if (state->auto_remove) {
        state->phase = SL_PHASE_REMOVING;
        actions.flags |= SL_ACTION_DELETE;
    } else if (was_policy && event->exit_code == SL_EXIT_NOT_STARTED &&
               policy_wants(state, event->exit_code)) {
        /* A machine without room now may have some later; a program that is not there stays away. */
        state->finished_ns = event->time_ns;
        begin_back_off(state, 0);
        actions.flags |= SL_ACTION_ARM_RESTART;
    }
    return actions;
}

static SlActions
step_restart_due(SlState *state)
{
    return state->phase == SL_PHASE_RESTARTING ? launch(state, true) : (SlActions){ 0 };
}

/* ---- ends ---- */

static SlActions
step_exited(SlState *state, const SlEvent *event)
{
    SlActions actions = { .flags = SL_ACTION_COMMIT | SL_ACTION_DISARM_GRACE | SL_ACTION_END_READERS |
                                   SL_ACTION_RELEASE | SL_ACTION_TELL_WAITERS };

    if (state->phase != SL_PHASE_RUNNING) /* told twice: by the link and by its loss */
        return (SlActions){ 0 };
    state->phase = SL_PHASE_EXITED;
    state->is_paused = false;
    state->pid = 0;
    state->exit_code = event->exit_code;
    state->finished_ns = event->time_ns;
    if ((state->auto_remove && !state->is_kept) || state->is_remove_wanted) {
        state->phase = SL_PHASE_REMOVING;
        actions.flags |= SL_ACTION_DELETE;
    } else if (policy_wants(state, event->exit_code)) {
        begin_back_off(state, state->finished_ns - state->started_ns);
        actions.flags |= SL_ACTION_ARM_RESTART;
    }
    return actions;
}

/* Between two runs there is nothing to signal: the policy is called off, that is all. */
static SlActions
stop_restarting(SlState *state, bool ends_policy)
{
    state->is_user_stopped = true;
    if (!ends_policy)
        return (SlActions){ .flags = SL_ACTION_COMMIT };
    state->phase = SL_PHASE_EXITED;
    return (SlActions){ .flags = SL_ACTION_COMMIT | SL_ACTION_DISARM_RESTART | SL_ACTION_TELL_WAITERS };
}

static SlActions
step_stop(SlState *state, const SlEvent *event)
{
    SlActions actions = { .flags = SL_ACTION_SIGNAL, .signal = event->signal };
    bool ends_policy = event->kind == SL_EVENT_STOP || event->ends_policy;

    if (state->phase == SL_PHASE_RESTARTING)
        return stop_restarting(state, ends_policy);
    if (state->phase != SL_PHASE_RUNNING) {
        bool is_going = state->phase == SL_PHASE_REMOVING || state->phase == SL_PHASE_GONE;

        return (SlActions){ .flags = is_going ? SL_ACTION_REFUSE_REMOVING : SL_ACTION_REFUSE_NOT_RUNNING };
    }
    state->is_stopping = true;
    state->is_user_stopped = true;
    state->is_kept = event->is_kept;
    state->is_last_run |= ends_policy;
    if (state->restart.kind != SL_RESTART_NO)
        actions.flags |= SL_ACTION_COMMIT; /* should the daemon end now, the next one must not restart it */
    if (state->is_paused && ends_policy && event->signal != SIGKILL)
        actions.flags |= SL_ACTION_UNPAUSE; /* the signal is pending until then */
    if (event->kind == SL_EVENT_STOP && event->grace_ms >= 0 && event->signal != SIGKILL) {
        actions.flags |= SL_ACTION_ARM_GRACE;
        actions.grace_ms = event->grace_ms;
    }
    return actions;
}

static SlActions
step_remove(SlState *state, const SlEvent *event)
{
    switch (state->phase) {
    case SL_PHASE_CREATED:
    case SL_PHASE_EXITED:
        state->phase = SL_PHASE_REMOVING;
        return (SlActions){ .flags = SL_ACTION_COMMIT | SL_ACTION_END_READERS | SL_ACTION_RELEASE |
                                     SL_ACTION_DELETE };
    case SL_PHASE_RESTARTING:
        if (!event->is_forced)
            return (SlActions){ .flags = SL_ACTION_REFUSE_REMOVE };
        state->phase = SL_PHASE_REMOVING;
        return (SlActions){ .flags = SL_ACTION_COMMIT | SL_ACTION_END_READERS | SL_ACTION_RELEASE |
                                     SL_ACTION_DISARM_RESTART | SL_ACTION_TELL_WAITERS | SL_ACTION_DELETE };
    case SL_PHASE_STARTING:
    case SL_PHASE_RUNNING:
        if (!event->is_forced)
            return (SlActions){ .flags = SL_ACTION_REFUSE_REMOVE };
        state->is_remove_wanted = true;
        state->is_stopping = true;
        return (SlActions){ .flags = SL_ACTION_SIGNAL, .signal = SIGKILL };
    case SL_PHASE_REMOVING:
    case SL_PHASE_GONE:
        break;
    }
    return (SlActions){ .flags = SL_ACTION_REFUSE_REMOVING };
}

/* ---- pauses, updates ---- */

static SlActions
step_pause(SlState *state)
{
    if (state->phase == SL_PHASE_RESTARTING)
        return (SlActions){ .flags = SL_ACTION_REFUSE_RESTARTING };
    if (state->phase != SL_PHASE_RUNNING)
        return (SlActions){ .flags = SL_ACTION_REFUSE_NOT_RUNNING };
    return (SlActions){ .flags = state->is_paused ? SL_ACTION_REFUSE_PAUSED : SL_ACTION_PAUSE };
}

static SlActions
step_is_paused(SlState *state, bool is_paused)
{
    if (state->phase != SL_PHASE_RUNNING || state->is_paused == is_paused)
        return (SlActions){ 0 };
    state->is_paused = is_paused;
    return (SlActions){ .flags = SL_ACTION_COMMIT };
}

static SlActions
step_update(SlState *state, const SlEvent *event)
{
    if (state->phase == SL_PHASE_REMOVING || state->phase == SL_PHASE_GONE)
        return (SlActions){ .flags = SL_ACTION_REFUSE_REMOVING };
    if (event->has_restart) {
        if (state->auto_remove && event->restart.kind != SL_RESTART_NO)
            return (SlActions){ .flags = SL_ACTION_REFUSE_POLICY };
        state->restart = event->restart;
    }
    return (SlActions){ .flags = SL_ACTION_COMMIT };
}

SlActions
sl_lifecycle_step(SlState *state, const SlEvent *event)
{
    switch (event->kind) {
    case SL_EVENT_START:
        return step_start(state);
    case SL_EVENT_STARTED:
        return step_started(state, event);
    case SL_EVENT_START_FAILED:
        return step_start_failed(state, event);
    case SL_EVENT_EXITED:
        return step_exited(state, event);
    case SL_EVENT_STOP:
    case SL_EVENT_KILL:
        return step_stop(state, event);
    case SL_EVENT_GRACE_OVER:
        if (state->phase == SL_PHASE_RUNNING)
            return (SlActions){ .flags = SL_ACTION_SIGNAL, .signal = SIGKILL };
        return (SlActions){ 0 };
    case SL_EVENT_RESTART_DUE:
        return step_restart_due(state);
    case SL_EVENT_PAUSE:
        return step_pause(state);
    case SL_EVENT_PAUSED:
        return step_is_paused(state, true);
    case SL_EVENT_UNPAUSE:
        return (SlActions){ .flags = state->phase == SL_PHASE_RUNNING && state->is_paused
                                         ? SL_ACTION_UNPAUSE
                                         : SL_ACTION_REFUSE_NOT_PAUSED };
    case SL_EVENT_UNPAUSED:
        return step_is_paused(state, false);
    case SL_EVENT_UPDATE:
        return step_update(state, event);
    case SL_EVENT_REMOVE:
        return step_remove(state, event);
    case SL_EVENT_REMOVE_FAILED:
        state->phase = state->started_ns ? SL_PHASE_EXITED : SL_PHASE_CREATED;
        return (SlActions){ .flags = SL_ACTION_COMMIT };
    }
    return (SlActions){ 0 };
}

const char *
sl_phase_status(const SlState *state)
{
    switch (state->phase) {
    case SL_PHASE_RUNNING:
        return state->is_paused ? "paused" : "running";
    case SL_PHASE_RESTARTING:
        return "restarting";
    case SL_PHASE_REMOVING:
    case SL_PHASE_GONE:
        return "removing";
    case SL_PHASE_STARTING:
        if (state->is_policy_start)
            return "restarting";
        break;
    case SL_PHASE_CREATED:
    case SL_PHASE_EXITED:
        break;
    }
    return state->started_ns ? "exited" : "created";
}
