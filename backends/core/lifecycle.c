#include "backends/core/lifecycle.h"

#include <signal.h>

static SlActions
step_start(SlState *state)
{
    switch (state->phase) {
    case SL_PHASE_CREATED:
    case SL_PHASE_EXITED:
        state->phase = SL_PHASE_STARTING;
        state->is_stopping = false;
        state->attempt++;
        return (SlActions){ .flags = SL_ACTION_LAUNCH };
    case SL_PHASE_STARTING:
    case SL_PHASE_RUNNING:
        return (SlActions){ .flags = SL_ACTION_REFUSE_RUNNING };
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
    state->pid = event->pid;
    state->exit_code = 0;
    state->started_ns = event->time_ns;
    state->finished_ns = 0;
    return (SlActions){ .flags = SL_ACTION_COMMIT };
}

static SlActions
step_start_failed(SlState *state, const SlEvent *event)
{
    SlActions actions = { .flags = SL_ACTION_COMMIT | SL_ACTION_END_READERS | SL_ACTION_RELEASE |
                                   SL_ACTION_TELL_WAITERS };

    state->phase = state->started_ns ? SL_PHASE_EXITED : SL_PHASE_CREATED;
    state->exit_code = event->exit_code;
    if (state->auto_remove) {
        state->phase = SL_PHASE_REMOVING;
        actions.flags |= SL_ACTION_DELETE;
    }
    return actions;
}

static SlActions
step_exited(SlState *state, const SlEvent *event)
{
    SlActions actions = { .flags = SL_ACTION_COMMIT | SL_ACTION_DISARM_GRACE | SL_ACTION_END_READERS |
                                   SL_ACTION_RELEASE | SL_ACTION_TELL_WAITERS };

    if (state->phase != SL_PHASE_RUNNING) /* told twice: by the link and by its loss */
        return (SlActions){ 0 };
    state->phase = SL_PHASE_EXITED;
    state->pid = 0;
    state->exit_code = event->exit_code;
    state->finished_ns = event->time_ns;
    if (state->auto_remove || state->is_remove_wanted) {
        state->phase = SL_PHASE_REMOVING;
        actions.flags |= SL_ACTION_DELETE;
    }
    return actions;
}

static SlActions
step_stop(SlState *state, const SlEvent *event)
{
    SlActions actions = { .flags = SL_ACTION_SIGNAL, .signal = event->signal };

    if (state->phase != SL_PHASE_RUNNING)
        return (SlActions){ .flags = state->phase >= SL_PHASE_REMOVING ? SL_ACTION_REFUSE_REMOVING
                                                                       : SL_ACTION_REFUSE_NOT_RUNNING };
    state->is_stopping = true;
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
        return "running";
    case SL_PHASE_REMOVING:
    case SL_PHASE_GONE:
        return "removing";
    case SL_PHASE_CREATED:
    case SL_PHASE_STARTING:
    case SL_PHASE_EXITED:
        break;
    }
    return state->started_ns ? "exited" : "created";
}
