/* What a container's agent says: the callbacks of its link, and how a link is made or found again. */
#include "backends/core/run.h"

#include "common/clock.h"
#include "common/failpoint.h"
#include "common/fd.h"
#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

struct SlRun {
    SlContainer *container;
    SlLink *link; /* borrowed: the run goes when the link closes */
    bool is_adopted, has_exited;
};

enum { EXIT_UNKNOWN = 255 };

static void
kick_stdin_feeds(SlContainer *container)
{
    for (guint i = 0; i < container->stdin_feeds->len; i++)
        sl_feed_kick(container->stdin_feeds->pdata[i]);
}

static void
open_stdin(SlContainer *container, SlChannel *channel /* taken */)
{
    g_clear_pointer(&container->stdin_, sl_channel_unref);
    container->stdin_ = channel;
    kick_stdin_feeds(container);
}

static void
resume_stdin(SlRun *run, uint64_t sent)
{
    SlChannel *channel = sl_channel_new(run->link, 0);

    sl_channel_resume(channel, sent);
    open_stdin(run->container, channel);
}

typedef struct OpenStdin {
    SlContainer *container;
    SlLink *link;
} OpenStdin;

static void
open_started(void *data)
{
    OpenStdin *open = data;
    bool is_current;

    pthread_mutex_lock(&open->container->lock);
    is_current = open->container->link == open->link;
    pthread_mutex_unlock(&open->container->lock);
    if (is_current)
        open_stdin(open->container, sl_channel_new(open->link, 0));
    sl_link_unref(open->link);
    sl_container_unref(open->container);
    g_free(open);
}

void
sl_run_open_stdin(SlContainer *container, SlLink *link)
{
    OpenStdin *open = g_new(OpenStdin, 1);

    *open = (OpenStdin){ sl_container_ref(container), sl_link_ref(link) };
    sl_loop_post(container->core->loop, open_started, open);
}

/* A hello's or exited's numbers as an event. */
static SlEvent
exit_event(const json_t *json)
{
    SlEvent event = { .kind = SL_EVENT_EXITED };

    event.exit_code = (int)json_integer_value(json_object_get(json, "exit_code"));
    event.time_ns = json_integer_value(json_object_get(json, "finished_ns"));
    return event;
}

static int64_t
length_of(const json_t *json)
{
    const json_t *length = json_object_get(json, "length");

    return json_is_integer(length) ? json_integer_value(length) : -1;
}

static void
post_started(SlContainer *container, const json_t *hello)
{
    SlEvent event = { .kind = SL_EVENT_STARTED };

    event.pid = (int)json_integer_value(json_object_get(hello, "pid"));
    event.time_ns = json_integer_value(json_object_get(hello, "started_ns"));
    sl_container_post(container, &event, NULL);
}

/* The daemon before us may have ended between the agent's pause and its own note of it. */
static void
settle_pause(SlContainer *container, const json_t *hello)
{
    bool is_paused = json_is_true(json_object_get(hello, "paused"));

    if (is_paused != sl_container_get_state(container, NULL).is_paused)
        sl_container_post(container, &(SlEvent){ .kind = is_paused ? SL_EVENT_PAUSED : SL_EVENT_UNPAUSED },
                          NULL);
}

static void
on_hello(void *user, const json_t *hello)
{
    SlRun *run = user;
    SlContainer *container = run->container;
    const char *state = json_string_value(json_object_get(hello, "state"));
    bool was_running = sl_container_is_running(container);

    if (!run->is_adopted || !state)
        return;
    if (strcmp(state, "running") == 0) {
        sl_log_run_started(container->log);
        sl_log_grew(container->log, (uint64_t)MAX(0, length_of(hello)));
        resume_stdin(run, (uint64_t)json_integer_value(json_object_get(hello, "stdin_received")));
        sl_execs_adopt(container, run->link, json_object_get(hello, "execs"));
        if (!was_running)
            post_started(container, hello);
        settle_pause(container, hello);
        sl_info("container adopted container=%s", container->id);
    } else if (strcmp(state, "exited") == 0) {
        const json_t *exited = json_object_get(hello, "exit");
        SlEvent event = exit_event(exited);

        run->has_exited = true;
        if (!was_running)
            post_started(container, hello);
        sl_container_post_exit(container, &event, NULL, length_of(exited));
    } else {
        sl_link_close(run->link, true); /* it was launched and never told to start */
    }
}

static void
on_exited(void *user, uint32_t channel, const json_t *exited)
{
    SlRun *run = user;
    SlEvent event = exit_event(exited);

    if (channel != 0) {
        sl_execs_exited(run->container, channel, exited);
        return;
    }
    run->has_exited = true;
    sl_container_post_exit(run->container, &event, NULL, length_of(exited));
}

static SlLinkGrown
on_grown(void *user, uint64_t length)
{
    SlRun *run = user;

    switch (sl_log_grew(run->container->log, length)) {
    case SL_LOG_IS_READ:
        return SL_LINK_SEEN;
    case SL_LOG_MAY_LOSE:
        return SL_LINK_LEFT;
    case SL_LOG_UNREAD:
        break;
    }
    return SL_LINK_SILENT;
}

static void
on_data(void *user, uint32_t channel, uint64_t offset, const uint8_t *data, size_t n)
{
    SlRun *run = user;

    if (channel != 0)
        sl_execs_receive(run->container, channel, offset, data, n);
}

static void
on_end(void *user, uint32_t channel)
{
    /* The end of an exec's output is told to its reader with the exit code: whoever reads the end may ask for the code at once. */
}

static void
on_window(void *user, uint32_t channel, uint64_t offset)
{
    SlRun *run = user;

    if (channel != 0) {
        sl_execs_granted(run->container, channel, offset);
    } else if (run->container->stdin_) {
        sl_channel_granted(run->container->stdin_, offset);
        kick_stdin_feeds(run->container);
    }
}

static void
find_again(void *data)
{
    g_autoptr(SlContainer) container = data;

    sl_container_adopt(container);
}

static void
look_again(SlContainer *container)
{
    if (container->core->is_closing)
        return;
    if (sl_container_is_running(container))
        sl_pool_run(container->core->pool, find_again, sl_container_ref(container));
    else if (sl_container_get_state(container, NULL).phase == SL_PHASE_RESTARTING)
        sl_container_arm_restart(container);
}

static void
on_closed(void *user)
{
    SlRun *run = user;
    SlContainer *container = run->container;
    bool is_current;

    pthread_mutex_lock(&container->lock);
    is_current = container->link == run->link;
    if (is_current)
        container->link = NULL;
    pthread_mutex_unlock(&container->lock);

    if (is_current) {
        if (container->stdin_)
            sl_channel_over(container->stdin_);
        g_clear_pointer(&container->stdin_, sl_channel_unref);
        sl_execs_lost(container);
        sl_link_unref(run->link); /* the container's */
        if (!run->has_exited)
            look_again(container);
    }
    sl_container_unref(container);
    g_free(run);
}

static void
log_wanted(void *user)
{
    SlContainer *container = user;
    SL_LOCK_GUARD(&container->lock);

    if (container->link)
        sl_link_seen(container->link);
}

static const SlLinkOps run_ops = {
    .hello = on_hello,
    .exited = on_exited,
    .grown = on_grown,
    .data = on_data,
    .end = on_end,
    .window = on_window,
    .closed = on_closed,
};

bool
sl_run_connect(SlContainer *container, const SlLaunchSpec *spec, bool is_adopted, GError **error)
{
    SlDriver *driver = container->core->driver;
    SlLink *replaced;
    SlRun *run;
    int fd;

    if (!driver->ops.agent_connect(driver, NULL, spec, &fd, error))
        return false;
    sl_failpoint("link.connected");
    run = g_new0(SlRun, 1);
    run->container = sl_container_ref(container);
    run->is_adopted = is_adopted;
    run->link = sl_link_new(container->core->loop, fd, container->token, &run_ops, run);
    sl_log_set_wanted(container->log, log_wanted, container);

    pthread_mutex_lock(&container->lock);
    replaced = container->link;
    container->link = run->link;
    pthread_mutex_unlock(&container->lock);
    sl_link_unref(replaced);
    sl_link_start(run->link);
    return true;
}

/* No agent answers: the driver may know how it ended. */
static void
ask_driver(SlContainer *container, const SlLaunchSpec *spec)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *handle = NULL;
    SlWorkloadStatus status = { .log_length = -1 };
    SlEvent event = { .kind = SL_EVENT_EXITED, .exit_code = EXIT_UNKNOWN, .time_ns = sl_clock_now_ns() };
    SlDriver *driver = container->core->driver;

    pthread_mutex_lock(&container->lock);
    handle = g_strdup(container->handle);
    pthread_mutex_unlock(&container->lock);
    if (!driver->ops.poll(driver, NULL, spec, handle, &status, &error))
        sl_warn("asking the driver for a lost workload failed container=%s error=%s", container->id,
                error->message);

    if (status.has_exit) {
        event.exit_code = status.exit_code;
        event.time_ns = status.finished_ns;
        sl_container_post_exit(container, &event, NULL, status.log_length);
    } else {
        sl_container_post_exit(container, &event,
                               status.reason ? status.reason
                                             : "the container's agent has gone without telling an exit code",
                               -1);
    }
    g_free(status.reason);
}

void
sl_container_adopt(SlContainer *container)
{
    g_autoptr(GError) error = NULL;
    SlLaunchSpec spec;
    sl_autofd int folder_fd = open(container->folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    bool was_running, has_link;
    SL_LOCK_GUARD(&container->turn);

    pthread_mutex_lock(&container->lock);
    was_running = container->state.phase == SL_PHASE_RUNNING;
    has_link = container->link;
    pthread_mutex_unlock(&container->lock);
    if (has_link)
        return; /* started anew in the meantime */
    spec = sl_container_launch_spec(container, folder_fd);
    if (was_running)
        sl_log_run_started(container->log); /* whoever attaches before the agent was found gets this run */
    if (sl_run_connect(container, &spec, true, &error))
        return;
    if (was_running)
        ask_driver(container, &spec);
}
