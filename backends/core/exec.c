#include "backends/core/exec.h"

#include "backends/core/run.h"
#include "backends/core/start_message.h"
#include "common/id.h"
#include "common/log.h"

enum {
    START_TIMEOUT_MS = 60 * 1000,
    EXIT_LOST = 255,
};

SlExec *
sl_exec_ref(SlExec *exec)
{
    atomic_fetch_add(&exec->refs, 1);
    return exec;
}

void
sl_exec_unref(SlExec *exec)
{
    if (!exec || atomic_fetch_sub(&exec->refs, 1) != 1)
        return;
    sl_channel_unref(exec->channel);
    dk_exec_create_clear(&exec->config);
    pthread_mutex_destroy(&exec->lock);
    sl_container_unref(exec->container);
    g_free(exec->id);
    g_free(exec);
}

static SlExec *
exec_new(SlContainer *container, const char *id)
{
    SlExec *exec = g_new0(SlExec, 1);
    SlCore *core = container->core;

    exec->refs = 2; /* the caller's and the index's */
    exec->id = g_strdup(id);
    exec->container = sl_container_ref(container);
    pthread_mutex_init(&exec->lock, NULL);
    SL_LOCK_GUARD(&core->lock);

    g_hash_table_replace(core->execs, exec->id, exec);
    return exec;
}

SlExec *
sl_exec_create(SlContainer *container, DkExecCreate *config, GError **error)
{
    g_autofree char *id = NULL;
    SlDetachKeys keys = { 0 };
    SlExec *exec;

    if (!sl_container_check_active(container, "exec", error))
        return NULL;
    if (!sl_container_is_running(container)) {
        sl_fail(error, SL_ERROR_CONFLICT, "Container %s is not running", container->id);
        return NULL;
    }
    if (!config->cmd || !config->cmd[0]) {
        sl_fail(error, SL_ERROR_INVALID, "No exec command specified");
        return NULL;
    }
    if (config->tty && !sl_detach_keys_parse(config->detach_keys, &keys, error))
        return NULL;
    id = sl_id_new();
    exec = exec_new(container, id);
    exec->detach_keys = keys;
    exec->config = *config;
    *config = (DkExecCreate){ 0 };
    return exec;
}

SlExec *
sl_exec_find(SlCore *core, const char *id, GError **error)
{
    SlExec *exec;
    SL_LOCK_GUARD(&core->lock);

    exec = g_hash_table_lookup(core->execs, id);
    if (exec)
        return sl_exec_ref(exec);
    sl_fail(error, SL_ERROR_NOT_FOUND, "No such exec instance: %s", id);
    return NULL;
}

static void
emit(SlExec *exec, const char *action, json_t *extra)
{
    g_autofree char *command = g_strjoinv(" ", exec->config.cmd);
    g_autofree char *name = g_strdup_printf("%s: %s", action, command);

    json_object_set_new(extra, "execID", json_string(exec->id));
    sl_container_emit(exec->container, g_str_equal(action, "exec_start") ? name : action, extra);
}

/* The oldest of those that ended makes room. */
static void
note_ended(SlExec *exec)
{
    SlContainer *container = exec->container;
    SlCore *core = container->core;
    g_autofree char *oldest = NULL;
    gpointer forgotten = NULL;

    pthread_mutex_lock(&container->lock);
    g_queue_push_tail(&container->ended_execs, g_strdup(exec->id));
    if (container->ended_execs.length > SL_EXEC_MAX_ENDED)
        oldest = g_queue_pop_head(&container->ended_execs);
    pthread_mutex_unlock(&container->lock);
    if (!oldest)
        return;
    pthread_mutex_lock(&core->lock);
    g_hash_table_steal_extended(core->execs, oldest, NULL, &forgotten);
    pthread_mutex_unlock(&core->lock);
    sl_exec_unref(forgotten);
}

/* The process is known to be over. False when it was before. */
static bool
finish(SlExec *exec, int exit_code)
{
    bool was_running;

    pthread_mutex_lock(&exec->lock);
    was_running = exec->is_running;
    if (was_running)
        exec->exit_code = exit_code;
    exec->is_running = false;
    exec->pid = 0;
    pthread_mutex_unlock(&exec->lock);
    if (!was_running)
        return false;
    note_ended(exec);
    emit(exec, "exec_die", json_pack("{s:o}", "exitCode", json_sprintf("%d", exit_code)));
    return true;
}

static void
list_running(SlExec *exec)
{
    SL_LOCK_GUARD(&exec->container->lock);

    g_ptr_array_add(exec->container->execs, sl_exec_ref(exec));
}

static void
unlist_running(SlExec *exec)
{
    SL_LOCK_GUARD(&exec->container->lock);

    g_ptr_array_remove(exec->container->execs, exec);
}

static bool
begin(SlExec *exec, SlLink *link, GError **error)
{
    SL_LOCK_GUARD(&exec->lock);

    if (exec->is_started)
        return sl_fail(error, SL_ERROR_CONFLICT, "Error: Exec command %s has already run", exec->id);
    exec->is_started = exec->is_running = true;
    exec->channel_number = sl_link_next_channel(link);
    exec->channel = sl_channel_new(link, exec->channel_number);
    return true;
}

bool
sl_exec_start(SlExec *exec, const int *console_size, int *ret_exit_code, GError **error)
{
    g_autoptr(SlLink) link = NULL;
    g_autoptr(json_t) answer = NULL;
    json_t *message;

    *ret_exit_code = 0;
    if (!sl_container_check_active(exec->container, "exec", error))
        return false;
    link = sl_container_dup_link(exec->container, error);
    if (!link || !begin(exec, link, error))
        return false;
    if (console_size) {
        exec->config.console_size[0] = console_size[0];
        exec->config.console_size[1] = console_size[1];
    }
    message = sl_exec_message(exec->container, &exec->config);
    json_object_set_new(message, "channel", json_integer(exec->channel_number));
    json_object_set_new(message, "exec_id", json_string(exec->id));
    list_running(exec); /* before the request: output may come before its answer */
    emit(exec, "exec_start", json_object());
    if (!sl_link_request(link, message, NULL, START_TIMEOUT_MS, &answer, ret_exit_code, error)) {
        unlist_running(exec);
        finish(exec, *ret_exit_code ? *ret_exit_code : EXIT_LOST);
        return false;
    }
    SL_LOCK_GUARD(&exec->lock);

    if (exec->is_running)
        exec->pid = (int)json_integer_value(json_object_get(answer, "pid"));
    return true;
}

/* ---- its stream ---- */

static SlPull
stream_pull(void *user, SlPiece *ret_piece)
{
    return sl_channel_pull(((SlExec *)user)->channel, ret_piece);
}

static size_t
stream_push(void *user, const void *data, size_t n)
{
    SlExec *exec = user;
    bool is_detached = false;
    size_t taken;

    if (!exec->config.attach_stdin)
        return n;
    taken = sl_detach_keys_push(&exec->detach_keys, exec->channel, data, n, &is_detached);
    if (is_detached) {
        emit(exec, "exec_detach", json_object());
        sl_channel_end_feed(exec->channel);
    }
    return taken;
}

static void
stream_push_eof(void *user)
{
    sl_channel_push_eof(((SlExec *)user)->channel);
}

static void
stream_done(void *user, bool is_broken)
{
    SlExec *exec = user;

    sl_channel_push_eof(exec->channel);
    sl_channel_set_feed(exec->channel, NULL);
    sl_exec_unref(exec);
}

static const SlFeedOps stream_ops = {
    .pull = stream_pull,
    .push = stream_push,
    .push_eof = stream_push_eof,
    .done = stream_done,
};

typedef struct JoinFeed {
    SlExec *exec;
    SlFeed *feed; /* NULL: nobody */
} JoinFeed;

static void
join_feed(void *data)
{
    JoinFeed *join = data;

    sl_channel_set_feed(join->exec->channel, join->feed);
    sl_exec_unref(join->exec);
    sl_feed_unref(join->feed);
    g_free(join);
}

static void
post_join(SlExec *exec, SlFeed *feed)
{
    JoinFeed *join = g_new(JoinFeed, 1);

    *join = (JoinFeed){ sl_exec_ref(exec), feed };
    sl_loop_post(exec->container->core->loop, join_feed, join);
}

void
sl_exec_detach(SlExec *exec)
{
    post_join(exec, NULL);
}

bool
sl_exec_serve(SlExec *exec, SlCall *call, const char *content_type, GError **error)
{
    SlFeed *feed = sl_call_feed(call, SL_FRAMING_RAW, content_type, &stream_ops, sl_exec_ref(exec), error);

    if (!feed) {
        sl_exec_unref(exec);
        sl_exec_detach(exec);
        return false;
    }
    post_join(exec, feed);
    return true;
}

/* ---- what the agent says; the loop's thread ---- */

static SlExec *
find_running(SlContainer *container, uint32_t channel)
{
    SL_LOCK_GUARD(&container->lock);

    for (guint i = 0; i < container->execs->len; i++) {
        SlExec *exec = container->execs->pdata[i];

        if (exec->channel_number == channel)
            return sl_exec_ref(exec);
    }
    return NULL;
}

void
sl_execs_exited(SlContainer *container, uint32_t channel, const json_t *exited)
{
    g_autoptr(SlExec) exec = find_running(container, channel);

    if (!exec)
        return;
    finish(exec, (int)json_integer_value(json_object_get(exited, "exit_code")));
    sl_channel_over(exec->channel); /* after the code is known: whoever reads the end asks for it next */
    unlist_running(exec);
}

void
sl_execs_receive(SlContainer *container, uint32_t channel, uint64_t offset, const uint8_t *data, size_t n)
{
    g_autoptr(SlExec) exec = find_running(container, channel);

    if (exec)
        sl_channel_receive(exec->channel, offset, data, n);
}

void
sl_execs_granted(SlContainer *container, uint32_t channel, uint64_t offset)
{
    g_autoptr(SlExec) exec = find_running(container, channel);

    if (exec)
        sl_channel_granted(exec->channel, offset);
}

static void
adopt_one(SlContainer *container, SlLink *link, const json_t *json)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(SlExec) exec = NULL;
    const char *id = json_string_value(json_object_get(json, "exec_id"));

    if (!id)
        return;
    exec = exec_new(container, id);
    if (!sl_json_read(json_object_get(json, "config"), dk_exec_create_fields, &exec->config,
                      "the agent's exec", &error))
        sl_warn("an exec's configuration was lost exec=%s error=%s", id, error->message);
    exec->is_started = true;
    exec->is_running = json_is_true(json_object_get(json, "is_running"));
    exec->exit_code = (int)json_integer_value(json_object_get(json, "exit_code"));
    exec->pid = (int)json_integer_value(json_object_get(json, "pid"));
    exec->channel_number = (uint32_t)json_integer_value(json_object_get(json, "channel"));
    if (!exec->is_running) {
        note_ended(exec);
        return;
    }
    exec->channel = sl_channel_new(link, exec->channel_number);
    sl_channel_set_feed(exec->channel, NULL); /* its client left with the daemon before us */
    list_running(exec);
}

void
sl_execs_adopt(SlContainer *container, SlLink *link, const json_t *execs)
{
    const json_t *json;
    size_t i;

    json_array_foreach(execs, i, json) {
        uint32_t channel = (uint32_t)json_integer_value(json_object_get(json, "channel"));

        while (sl_link_next_channel(link) < channel)
            continue; /* numbers that the agent knows are not given out again */
        adopt_one(container, link, json);
    }
}

void
sl_execs_lost(SlContainer *container)
{
    g_autoptr(GPtrArray) lost = NULL;

    pthread_mutex_lock(&container->lock);
    lost = container->execs;
    container->execs = g_ptr_array_new_with_free_func((GDestroyNotify)sl_exec_unref);
    pthread_mutex_unlock(&container->lock);
    for (guint i = 0; i < lost->len; i++) {
        SlExec *exec = lost->pdata[i];

        finish(exec, EXIT_LOST);
        sl_channel_over(exec->channel);
    }
}

void
sl_execs_forget(SlContainer *container)
{
    SlCore *core = container->core;
    g_autoptr(GPtrArray) forgotten = g_ptr_array_new_with_free_func((GDestroyNotify)sl_exec_unref);
    GHashTableIter iter;
    gpointer exec;
    SL_LOCK_GUARD(&core->lock);

    g_hash_table_iter_init(&iter, core->execs);
    while (g_hash_table_iter_next(&iter, NULL, &exec)) {
        if (((SlExec *)exec)->container == container) {
            g_ptr_array_add(forgotten, sl_exec_ref(exec));
            g_hash_table_iter_remove(&iter);
        }
    }
}

json_t *
sl_exec_inspect(SlExec *exec)
{
    const DkExecCreate *config = &exec->config;
    g_autoptr(json_t) arguments = sl_json_strings(config->cmd[0] ? config->cmd + 1 : NULL);
    SL_LOCK_GUARD(&exec->lock);

    return json_pack("{s:s, s:b, s:o, s:{s:b, s:s, s:O, s:b, s:s}, s:b, s:b, s:b, s:b, s:s, s:s, s:i}", "ID",
                     exec->id, "Running", exec->is_running, "ExitCode",
                     exec->is_started && !exec->is_running ? json_integer(exec->exit_code) : json_null(),
                     "ProcessConfig", "tty", config->tty, "entrypoint", config->cmd[0] ? config->cmd[0] : "",
                     "arguments", arguments, "privileged", config->privileged, "user",
                     config->user ? config->user : "", "OpenStdin", config->attach_stdin, "OpenStderr",
                     config->attach_stderr, "OpenStdout", config->attach_stdout, "CanRemove", false,
                     "ContainerID", exec->container->id, "DetachKeys",
                     config->detach_keys ? config->detach_keys : "", "Pid", exec->pid);
}
