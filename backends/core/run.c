#include "backends/core/run.h"

#include "backends/core/container_file.h"
#include "backends/core/container_networks.h"
#include "backends/core/start_message.h"

#include "api/names.h"
#include "common/clock.h"
#include "common/failpoint.h"
#include "common/fd.h"
#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

enum {
    START_TIMEOUT_MS = 60 * 1000,
    ANSWER_TIMEOUT_MS = 10 * 1000,
};

static bool handle_event(SlContainer *container, const SlPosted *posted, GError **error);

/* ---- launch ---- */

static bool
open_folder(SlContainer *container, int *ret_fd, GError **error)
{
    sl_autofd int fd = -1;

    if (mkdirat(container->core->containers_fd, container->id, 0700) < 0 && errno != EEXIST)
        return sl_fail_errno(error, errno, "creating the container's folder");
    fd = openat(container->core->containers_fd, container->id, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return sl_fail_errno(error, errno, "opening the container's folder");
    if (!sl_failpoint("driver.folder.made"))
        return sl_fail_errno(error, errno, "creating the container's folder");
    *ret_fd = sl_fd_steal(&fd);
    return true;
}

static bool
launch(SlContainer *container, const SlLaunchSpec *spec, SlEvent *ret_started, int *ret_exit_code,
       GError **error)
{
    SlDriver *driver = container->core->driver;
    g_autoptr(json_t) start = sl_start_message(container);
    g_autoptr(json_t) answer = NULL;
    g_autoptr(SlLink) link = NULL;
    char *handle = NULL;

    if (!driver->ops.agent_setup(driver, spec, start, error) ||
        !driver->ops.launch(driver, NULL, spec, &handle, error))
        return false;
    pthread_mutex_lock(&container->lock);
    g_free(container->handle);
    container->handle = handle;
    pthread_mutex_unlock(&container->lock);

    if (!sl_run_connect(container, spec, false, error))
        return false;
    pthread_mutex_lock(&container->lock);
    if (container->link)
        link = sl_link_ref(container->link);
    pthread_mutex_unlock(&container->lock);
    if (!link)
        return sl_fail(error, SL_ERROR_SYSTEM, "the container's agent ended before it could start anything");
    if (!sl_link_request(link, g_steal_pointer(&start), NULL, START_TIMEOUT_MS, &answer, ret_exit_code,
                         error))
        return false;
    sl_run_open_stdin(container, link);
    *ret_started = (SlEvent){
        .kind = SL_EVENT_STARTED,
        .pid = (int)json_integer_value(json_object_get(answer, "pid")),
        .time_ns = json_integer_value(json_object_get(answer, "started_ns")),
    };
    return true;
}

/* Docker's words around the reason: clients look for them and for what is in the reason. */
static void
word_start_error(GError **error, int exit_code)
{
    GError *reason = *error;

    if (exit_code == 0)
        return;
    *error = g_error_new(
        SL_ERROR, SL_ERROR_INVALID,
        "failed to create task for container: failed to create shim task: OCI runtime create failed: "
        "unable to start container process: %s: unknown",
        reason->message);
    g_error_free(reason);
}

static bool
do_launch(SlContainer *container, GError **error)
{
    sl_autofd int folder_fd = -1;
    g_autoptr(GError) local = NULL;
    g_autoptr(GError) ignored = NULL;
    SlPosted outcome = { .log_length = -1 };
    int exit_code = 0;
    int64_t began_ns = sl_clock_monotonic_ns();

    pthread_mutex_lock(&container->lock);
    g_clear_pointer(&container->error, g_free);
    pthread_mutex_unlock(&container->lock);

    sl_log_run_started(container->log);
    if (open_folder(container, &folder_fd, &local) && sl_container_join_networks(container, &local)) {
        SlLaunchSpec spec = sl_container_launch_spec(container, folder_fd);

        if (launch(container, &spec, &outcome.event, &exit_code, &local)) {
            if (!handle_event(container, &outcome, error))
                return false;
            sl_info("container started container=%s pid=%d took_us=%d", container->id, outcome.event.pid,
                    (int)((sl_clock_monotonic_ns() - began_ns) / 1000));
            return true;
        }
    }
    word_start_error(&local, exit_code);
    sl_info("container could not be started container=%s error=%s", container->id, local->message);
    outcome.event = (SlEvent){ .kind = SL_EVENT_START_FAILED,
                               .exit_code = exit_code ? exit_code : SL_EXIT_NOT_STARTED,
                               .time_ns = sl_clock_now_ns() };
    outcome.message = local->message;
    if (!handle_event(container, &outcome, &ignored))
        sl_error("a failed start could not be stored container=%s error=%s", container->id, ignored->message);
    g_propagate_error(error, g_steal_pointer(&local));
    return false;
}

/* ---- the other actions ---- */

static bool
do_signal(SlContainer *container, int signal_number, GError **error)
{
    g_autoptr(SlLink) link = NULL;
    g_autofree char *handle = NULL;
    SlDriver *driver = container->core->driver;

    pthread_mutex_lock(&container->lock);
    if (container->link)
        link = sl_link_ref(container->link);
    handle = g_strdup(container->handle);
    pthread_mutex_unlock(&container->lock);

    if (link &&
        sl_link_request(link,
                        json_pack("{s:s, s:i, s:i}", "type", "signal", "signal", signal_number, "channel", 0),
                        NULL, ANSWER_TIMEOUT_MS, NULL, NULL, error))
        return true;
    if (signal_number != SIGKILL)
        return link ? false
                    : sl_fail(error, SL_ERROR_UNAVAILABLE, "the agent of container %s is not reachable",
                              container->id);
    g_clear_error(error);
    return driver->ops.terminate(driver, NULL, handle, "killed", error);
}

/* What the agent answers is told as an event; done when it was so already, as after a daemon that ended between the two. */
static bool
do_pause(SlContainer *container, bool is_paused, GError **error)
{
    const SlPosted outcome = { .event = { .kind = is_paused ? SL_EVENT_PAUSED : SL_EVENT_UNPAUSED },
                               .log_length = -1 };
    g_autoptr(SlLink) link = sl_container_dup_link(container, error);

    return link &&
           sl_link_request(link, json_pack("{s:s}", "type", is_paused ? "pause" : "unpause"), NULL,
                           ANSWER_TIMEOUT_MS, NULL, NULL, error) &&
           handle_event(container, &outcome, error);
}

/* ---- timers: of the grace and of the back-off ---- */

typedef struct Timer {
    SlContainer *container;
    SlTimer **slot;
    SlEventKind kind;
    int delay_ms; /* -1: disarm */
} Timer;

static void
grace_over(void *data)
{
    g_autoptr(SlContainer) container = data; /* the timer's */

    container->grace = NULL;
    sl_container_post(container, &(SlEvent){ .kind = SL_EVENT_GRACE_OVER }, NULL);
}

static void
back_off_over(void *data)
{
    g_autoptr(SlContainer) container = data;

    container->back_off = NULL;
    sl_container_post(container, &(SlEvent){ .kind = SL_EVENT_RESTART_DUE }, NULL);
}

static void
set_timer(void *data)
{
    g_autofree Timer *timer = data;
    SlContainer *container = timer->container;

    if (*timer->slot) {
        sl_timer_end(g_steal_pointer(timer->slot));
        sl_container_unref(container);
    }
    if (timer->delay_ms >= 0)
        *timer->slot = sl_timer_new(container->core->loop, timer->delay_ms,
                                    timer->kind == SL_EVENT_GRACE_OVER ? grace_over : back_off_over,
                                    sl_container_ref(container));
    sl_container_unref(container);
}

static void
post_timer(SlContainer *container, SlEventKind kind, int delay_ms)
{
    Timer *timer = g_new(Timer, 1);

    *timer = (Timer){ .container = sl_container_ref(container),
                      .slot = kind == SL_EVENT_GRACE_OVER ? &container->grace : &container->back_off,
                      .kind = kind,
                      .delay_ms = delay_ms };
    sl_loop_post(container->core->loop, set_timer, timer);
}

void
sl_container_arm_restart(SlContainer *container)
{
    SlState state = sl_container_get_state(container, NULL);
    int64_t waited_ms = (sl_clock_now_ns() - state.finished_ns) / 1000000;

    post_timer(container, SL_EVENT_RESTART_DUE,
               (int)CLAMP(state.back_off_ms - waited_ms, 0, state.back_off_ms));
}

void
sl_container_end_timers(SlContainer *container)
{
    post_timer(container, SL_EVENT_GRACE_OVER, -1);
    post_timer(container, SL_EVENT_RESTART_DUE, -1);
}

bool
sl_container_has_link(SlContainer *container)
{
    SL_LOCK_GUARD(&container->lock);

    return container->link;
}

static void
do_release(SlContainer *container)
{
    SL_LOCK_GUARD(&container->lock);

    if (container->link)
        sl_link_close(container->link, true);
}

/* Files go in the background: nobody waits for them, and a folder without a document is swept at the next start. */
static void
delete_files(void *data)
{
    g_autoptr(SlContainer) container = data;
    g_autoptr(GError) error = NULL;
    SlDriver *driver = container->core->driver;
    sl_autofd int folder_fd =
        openat(container->core->containers_fd, container->id, O_PATH | O_DIRECTORY | O_CLOEXEC);
    SlLaunchSpec spec = sl_container_launch_spec(container, folder_fd);

    sl_failpoint("remove.committed");
    if (!driver->ops.forget(driver, NULL, &spec, container->handle, &error) ||
        !sl_tree_remove(container->core->containers_fd, container->id, &error))
        sl_error("a removed container's files stay container=%s error=%s", container->id, error->message);
    sl_failpoint("remove.files.gone");
    sl_images_user_gone(container->core->images, container->image_id);
}

static bool
do_delete(SlContainer *container, GError **error)
{
    SlCore *core = container->core;

    sl_container_file_remove(container);
    sl_container_emit(container, "destroy", NULL);
    if (!sl_container_commit(container, true, error)) {
        sl_container_file_update(container);
        handle_event(container, &(SlPosted){ .event = { .kind = SL_EVENT_REMOVE_FAILED } }, NULL);
        return false;
    }
    pthread_mutex_lock(&core->lock);
    g_hash_table_remove(core->by_name, container->name);
    g_ptr_array_remove(core->in_order, container);
    sl_container_ref(container); /* while we work; the index's goes */
    g_hash_table_remove(core->by_id, container->id);
    pthread_mutex_unlock(&core->lock);

    pthread_mutex_lock(&container->lock);
    container->state.phase = SL_PHASE_GONE;
    pthread_mutex_unlock(&container->lock);
    sl_execs_forget(container);
    sl_log_close(container->log);
    sl_container_tell_waiters(container, true);
    sl_pool_run(core->pool, delete_files, container); /* with our reference */
    return true;
}

/* ---- events and their actions ---- */

static bool
refuse_remove(SlContainer *container, GError **error)
{
    SlState state = sl_container_get_state(container, NULL);

    return sl_fail(error, SL_ERROR_CONFLICT,
                   "You cannot remove a %s container %s. %s the container before attempting removal or force "
                   "remove",
                   sl_phase_status(&state), container->id,
                   state.is_paused ? "Unpause and then stop" : "Stop");
}

static bool
refuse(SlContainer *container, const SlEvent *event, unsigned flags, GError **error)
{
    if (flags & SL_ACTION_REFUSE_RUNNING)
        return sl_fail(error, SL_ERROR_NOT_MODIFIED, "Container %s is already started", container->id);
    if ((flags & SL_ACTION_REFUSE_NOT_RUNNING) && event->kind == SL_EVENT_STOP)
        return sl_fail(error, SL_ERROR_NOT_MODIFIED, "Container %s is already stopped", container->id);
    if ((flags & SL_ACTION_REFUSE_NOT_RUNNING) && event->kind == SL_EVENT_PAUSE)
        return sl_fail(error, SL_ERROR_CONFLICT, "Container %s is not running", container->id);
    if (flags & SL_ACTION_REFUSE_NOT_RUNNING)
        return sl_fail(error, SL_ERROR_CONFLICT, "Cannot kill container: %s: Container %s is not running",
                       container->id, container->id);
    if (flags & SL_ACTION_REFUSE_REMOVE)
        return refuse_remove(container, error);
    if (flags & SL_ACTION_REFUSE_NOT_PAUSED)
        return sl_fail(error, SL_ERROR_SYSTEM, "Container %s is not paused", container->id);
    if (flags & SL_ACTION_REFUSE_RESTARTING)
        return sl_fail(error, SL_ERROR_CONFLICT, SL_CONTAINER_IS_RESTARTING, container->id);
    if ((flags & SL_ACTION_REFUSE_PAUSED) && event->kind == SL_EVENT_PAUSE)
        return sl_fail(error, SL_ERROR_CONFLICT, "Container %s is already paused", container->id);
    if (flags & SL_ACTION_REFUSE_PAUSED)
        return sl_fail(error, SL_ERROR_CONFLICT, "cannot start a paused container, try unpause instead");
    if (flags & SL_ACTION_REFUSE_POLICY)
        return sl_fail(error, SL_ERROR_CONFLICT,
                       "Cannot update container %s: Restart policy cannot be updated because AutoRemove is "
                       "enabled for the container",
                       container->id);
    if (container->state.phase == SL_PHASE_GONE)
        return sl_fail(error, SL_ERROR_NOT_FOUND, "No such container: %s", container->id);
    if (event->kind == SL_EVENT_UPDATE)
        return sl_fail(
            error, SL_ERROR_CONFLICT,
            "Cannot update container %s: Container is marked for removal and cannot be \"update\".",
            container->id);
    if (event->kind == SL_EVENT_REMOVE)
        return sl_fail(error, SL_ERROR_CONFLICT, "removal of container %s is already in progress",
                       container->id);
    return sl_fail(error, SL_ERROR_CONFLICT, "container %s is marked for removal and cannot be started",
                   container->id);
}

/* Docker's events of a lifecycle event; stored with the change of state. */
static void
emit_for(SlContainer *container, const SlEvent *event, const SlState *state, const SlActions *actions)
{
    g_autofree char *number = NULL;

    if (event->kind == SL_EVENT_STARTED) {
        sl_container_emit(container, "start", NULL);
    } else if (event->kind == SL_EVENT_EXITED) {
        g_autofree char *duration =
            g_strdup_printf("%" G_GINT64_FORMAT,
                            MAX(0, state->finished_ns - state->started_ns) / G_GINT64_CONSTANT(1000000000));

        number = g_strdup_printf("%d", event->exit_code);
        sl_container_emit(container, "die",
                          json_pack("{s:s, s:s}", "execDuration", duration, "exitCode", number));
    } else if (event->kind == SL_EVENT_PAUSED || event->kind == SL_EVENT_UNPAUSED) {
        sl_container_emit(container, event->kind == SL_EVENT_PAUSED ? "pause" : "unpause", NULL);
    } else if (event->kind == SL_EVENT_UPDATE) {
        sl_container_emit(container, "update", NULL);
    } else if (actions->flags & SL_ACTION_SIGNAL) {
        number = g_strdup_printf("%d", actions->signal);
        sl_container_emit(container, "kill", json_pack("{s:s}", "signal", number));
    }
}

/* A container that runs but could not be stored is ended: nobody would find it after a restart. */
static bool
undo_start(SlContainer *container, GError **error)
{
    g_autoptr(GError) ignored = NULL;

    if (!do_signal(container, SIGKILL, &ignored))
        sl_error("a container that could not be stored runs on container=%s error=%s", container->id,
                 ignored->message);
    g_prefix_error(error, "storing the start of container %s: ", container->id);
    return false;
}

static bool
do_actions(SlContainer *container, const SlPosted *posted, const SlActions *actions, GError **error)
{
    g_autoptr(GError) local = NULL;

    if (actions->flags & SL_ACTION_RELEASE)
        sl_container_leave_networks(container);
    if (posted->event.kind == SL_EVENT_STARTED)
        sl_container_rejoin_networks(container);
    if ((actions->flags & SL_ACTION_COMMIT) && !sl_container_commit(container, false, &local)) {
        if (posted->event.kind == SL_EVENT_STARTED) {
            g_propagate_error(error, g_steal_pointer(&local));
            return undo_start(container, error);
        }
        /* The exit itself is safe with the agent; what follows must not wait for the disk. */
        sl_error("state could not be stored container=%s error=%s", container->id, local->message);
    }
    if (posted->event.kind == SL_EVENT_UPDATE)
        sl_container_file_update(container);
    if ((actions->flags & SL_ACTION_LAUNCH) && !do_launch(container, error))
        return false;
    if ((actions->flags & SL_ACTION_PAUSE) && !do_pause(container, true, error))
        return false;
    if ((actions->flags & SL_ACTION_SIGNAL) && !do_signal(container, actions->signal, error))
        return false;
    if ((actions->flags & SL_ACTION_UNPAUSE) && !do_pause(container, false, error))
        return false;
    if (actions->flags & SL_ACTION_ARM_GRACE)
        post_timer(container, SL_EVENT_GRACE_OVER, actions->grace_ms);
    if (actions->flags & SL_ACTION_DISARM_GRACE)
        post_timer(container, SL_EVENT_GRACE_OVER, -1);
    if (actions->flags & SL_ACTION_END_READERS)
        sl_log_run_ended(container->log, posted->log_length);
    if (actions->flags & SL_ACTION_RELEASE)
        do_release(container);
    if (actions->flags & SL_ACTION_ARM_RESTART)
        sl_container_arm_restart(container);
    if (actions->flags & SL_ACTION_DISARM_RESTART)
        post_timer(container, SL_EVENT_RESTART_DUE, -1);
    if (actions->flags & SL_ACTION_TELL_WAITERS)
        sl_container_tell_waiters(container, false);
    return !(actions->flags & SL_ACTION_DELETE) || do_delete(container, error);
}

/* turn is held. */
static bool
handle_event(SlContainer *container, const SlPosted *posted, GError **error)
{
    SlActions actions;
    SlState state;

    pthread_mutex_lock(&container->lock);
    actions = sl_lifecycle_step(&container->state, &posted->event);
    if (posted->message) {
        g_free(container->error);
        container->error = g_strdup(posted->message);
    }
    state = container->state;
    pthread_mutex_unlock(&container->lock);

    if (actions.flags & SL_ACTIONS_REFUSE)
        return refuse(container, &posted->event, actions.flags, error);
    if (actions.flags) {
        sl_container_summary_changed(container);
        emit_for(container, &posted->event, &state, &actions);
    }
    return do_actions(container, posted, &actions, error);
}

static void
drain_posted(SlContainer *container)
{
    for (;;) {
        g_autoptr(GError) error = NULL;
        SlPosted *posted;

        pthread_mutex_lock(&container->lock);
        posted = container->posted;
        if (posted) {
            container->posted = posted->next;
            if (!container->posted)
                container->posted_last = &container->posted;
        }
        pthread_mutex_unlock(&container->lock);
        if (!posted)
            return;
        if (!handle_event(container, posted, &error))
            sl_error("container event failed container=%s event=%d error=%s", container->id,
                     (int)posted->event.kind, error->message);
        g_free(posted->message);
        g_free(posted);
    }
}

bool
sl_container_act(SlContainer *container, const SlEvent *event, GError **error)
{
    SlPosted posted = { .event = *event, .log_length = -1 };
    SL_LOCK_GUARD(&container->turn);

    drain_posted(container);
    return handle_event(container, &posted, error);
}

static void
run_posted(void *data)
{
    g_autoptr(SlContainer) container = data;
    SL_LOCK_GUARD(&container->turn);

    pthread_mutex_lock(&container->lock);
    container->is_posted_scheduled = false;
    pthread_mutex_unlock(&container->lock);
    drain_posted(container);
}

void
sl_container_post_exit(SlContainer *container, const SlEvent *event, const char *message, int64_t log_length)
{
    SlPosted *posted;
    bool is_scheduled;

    if (container->core->is_closing)
        return; /* the next daemon finds it: agents keep what happened */
    posted = g_new(SlPosted, 1);
    *posted = (SlPosted){ .event = *event, .message = g_strdup(message), .log_length = log_length };
    pthread_mutex_lock(&container->lock);
    *container->posted_last = posted;
    container->posted_last = &posted->next;
    is_scheduled = container->is_posted_scheduled;
    container->is_posted_scheduled = true;
    pthread_mutex_unlock(&container->lock);
    if (!is_scheduled)
        sl_pool_run(container->core->pool, run_posted, sl_container_ref(container));
}

void
sl_container_post(SlContainer *container, const SlEvent *event, const char *message)
{
    sl_container_post_exit(container, event, message, -1);
}
