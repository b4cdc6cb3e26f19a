#include "backends/core/container.h"

#include "backends/core/container_networks.h"
#include "backends/core/exec.h"
#include "backends/core/update.h"

#include <string.h>

SlContainer *
sl_container_new(SlCore *core, const char *id, DkContainerCreate *config, char *config_text)
{
    SlContainer *container = g_new0(SlContainer, 1);

    container->refs = 1;
    container->core = core;
    container->id = g_strdup(id);
    container->folder = g_build_filename(core->data, "containers", id, NULL);
    container->config = *config;
    memset(config, 0, sizeof *config);
    container->config_text = config_text;
    container->log =
        sl_log_new(container->folder, container->config.tty,
                   sl_log_config_keeping(&container->config.host_config.log_config).max_size > 0);
    container->state.auto_remove = container->config.host_config.auto_remove;
    sl_restart_policy_read(&container->config.host_config.restart_policy, &container->state.restart, NULL);
    container->waiters = g_ptr_array_new();
    container->endpoints = g_ptr_array_new_with_free_func((GDestroyNotify)sl_attachment_free);
    container->execs = g_ptr_array_new_with_free_func((GDestroyNotify)sl_exec_unref);
    g_queue_init(&container->ended_execs);
    container->stdin_feeds = g_ptr_array_new_with_free_func((GDestroyNotify)sl_feed_unref);
    container->posted_last = &container->posted;
    pthread_mutex_init(&container->turn, NULL);
    pthread_mutex_init(&container->lock, NULL);
    return container;
}

SlContainer *
sl_container_ref(SlContainer *container)
{
    atomic_fetch_add(&container->refs, 1);
    return container;
}

void
sl_container_unref(SlContainer *container)
{
    if (!container || atomic_fetch_sub(&container->refs, 1) != 1)
        return;
    dk_container_create_clear(&container->config);
    g_clear_pointer(&container->summary_head, g_bytes_unref);
    g_clear_pointer(&container->summary_tail, g_bytes_unref);
    g_clear_pointer(&container->stdin_, sl_channel_unref);
    sl_link_unref(container->link);
    sl_log_unref(container->log);
    g_ptr_array_unref(container->waiters);
    g_ptr_array_unref(container->endpoints);
    g_ptr_array_unref(container->execs);
    g_queue_clear_full(&container->ended_execs, g_free);
    g_ptr_array_unref(container->stdin_feeds);
    pthread_mutex_destroy(&container->turn);
    pthread_mutex_destroy(&container->lock);
    g_free(container->id);
    g_free(container->name);
    g_free(container->image_name);
    g_free(container->image_id);
    g_free(container->rootfs);
    g_free(container->folder);
    g_free(container->token);
    g_free(container->config_text);
    g_free(container->error);
    g_free(container->handle);
    g_free(container);
}

char *
sl_container_dup_name(SlContainer *container)
{
    SL_LOCK_GUARD(&container->lock);

    return g_strdup(container->name);
}

SlState
sl_container_get_state(SlContainer *container, char **ret_error)
{
    SL_LOCK_GUARD(&container->lock);

    if (ret_error)
        *ret_error = g_strdup(container->error);
    return container->state;
}

bool
sl_container_is_running(SlContainer *container)
{
    return sl_container_get_state(container, NULL).phase == SL_PHASE_RUNNING;
}

bool
sl_container_check_active(SlContainer *container, const char *what, GError **error)
{
    SlState state = sl_container_get_state(container, NULL);

    if (state.is_paused)
        return sl_fail(error, SL_ERROR_CONFLICT, "Container %s is paused, unpause the container before %s",
                       container->id, what);
    if (state.phase == SL_PHASE_RESTARTING || (state.phase == SL_PHASE_STARTING && state.is_policy_start))
        return sl_fail(error, SL_ERROR_CONFLICT, SL_CONTAINER_IS_RESTARTING, container->id);
    return true;
}

SlLink *
sl_container_dup_link(SlContainer *container, GError **error)
{
    SL_LOCK_GUARD(&container->lock);

    if (container->state.phase == SL_PHASE_RUNNING && container->link)
        return sl_link_ref(container->link);
    sl_fail(error, SL_ERROR_CONFLICT, "Container %s is not running", container->id);
    return NULL;
}

/* ---- the stored form ---- */

/* A start in progress is nothing to be found again: what it comes to is. */
static SlPhase
stored_phase(const SlState *state)
{
    if (state->phase != SL_PHASE_STARTING)
        return state->phase;
    if (state->is_policy_start)
        return SL_PHASE_RESTARTING;
    return state->started_ns ? SL_PHASE_EXITED : SL_PHASE_CREATED;
}

static json_t *
state_to_json(const SlState *state)
{
    return json_pack(
        "{s:i, s:b, s:b, s:b, s:b, s:b, s:b, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:I, s:I}", "phase",
        (int)stored_phase(state), "is_paused", state->is_paused, "is_stopping", state->is_stopping,
        "is_remove_wanted", state->is_remove_wanted, "is_kept", state->is_kept, "is_user_stopped",
        state->is_user_stopped, "is_last_run", state->is_last_run, "restart", (int)state->restart.kind,
        "max_retries", state->restart.max_retries, "restart_count", state->restart_count, "back_off_ms",
        state->back_off_ms, "attempt", state->attempt, "pid", state->pid, "exit_code", state->exit_code,
        "started_ns", (json_int_t)state->started_ns, "finished_ns", (json_int_t)state->finished_ns);
}

char *
sl_container_to_document(SlContainer *container)
{
    SL_LOCK_GUARD(&container->lock);
    const SlState *state = &container->state;
    g_autofree char *head = NULL;
    g_autoptr(json_t) document =
        json_pack("{s:s, s:I, s:s*, s:s, s:s*, s:s, s:s*, s:s*, s:o, s:o}", "name", container->name,
                  "created_ns", (json_int_t)container->created_ns, "image", container->image_name, "image_id",
                  container->image_id, "rootfs", container->rootfs, "token", container->token, "handle",
                  container->handle, "error", container->error, "state", state_to_json(state), "endpoints",
                  sl_container_endpoints_write(container));

    /* The config is text already and never changes: it is put in, not built again. */
    head = sl_json_dump(document);
    head[strlen(head) - 1] = '\0';
    return g_strdup_printf("%s,\"config\":%s}", head, container->config_text);
}

static bool
is_stored_phase(int phase)
{
    return (phase >= SL_PHASE_CREATED && phase <= SL_PHASE_REMOVING) || phase == SL_PHASE_RESTARTING;
}

static bool
state_from_json(json_t *json, SlState *state, GError **error)
{
    int phase, is_stopping, is_remove_wanted, is_paused = 0, is_kept = 0, is_user_stopped = 0,
                                              is_last_run = 0;
    int restart = (int)state->restart.kind;
    json_int_t started_ns, finished_ns;

    /* Optional: what version 0.1 did not have. */
    if (json_unpack(json, "{s:i, s:b, s:b, s:i, s:i, s:i, s:I, s:I, s?b, s?b, s?b, s?b, s?i, s?i, s?i, s?i}",
                    "phase", &phase, "is_stopping", &is_stopping, "is_remove_wanted", &is_remove_wanted,
                    "attempt", &state->attempt, "pid", &state->pid, "exit_code", &state->exit_code,
                    "started_ns", &started_ns, "finished_ns", &finished_ns, "is_paused", &is_paused,
                    "is_kept", &is_kept, "is_user_stopped", &is_user_stopped, "is_last_run", &is_last_run,
                    "restart", &restart, "max_retries", &state->restart.max_retries, "restart_count",
                    &state->restart_count, "back_off_ms", &state->back_off_ms) < 0 ||
        !is_stored_phase(phase) || restart < SL_RESTART_NO || restart > SL_RESTART_UNLESS_STOPPED)
        return sl_fail(error, SL_ERROR_SYSTEM, "the stored state is not readable");
    state->phase = (SlPhase)phase;
    if (state->phase == SL_PHASE_STARTING)
        state->phase = started_ns ? SL_PHASE_EXITED : SL_PHASE_CREATED;
    state->is_paused = is_paused;
    state->is_kept = is_kept;
    state->is_user_stopped = is_user_stopped;
    state->is_last_run = is_last_run;
    state->restart.kind = (SlRestartKind)restart;
    state->is_stopping = is_stopping;
    state->is_remove_wanted = is_remove_wanted;
    state->started_ns = started_ns;
    state->finished_ns = finished_ns;
    return true;
}

/* The config's own text, which ends the document: it is put there by sl_container_to_document. No string can hold this key, as its quotes
 * would be escaped. */
static char *
config_of_document(const char *document)
{
    static const char key[] = ",\"config\":";
    const char *config = strstr(document, key);
    const char *end = strrchr(document, '}');

    config = config ? config + strlen(key) : NULL;
    return config && end > config ? g_strndup(config, (gsize)(end - config)) : NULL;
}

SlContainer *
sl_container_from_document(SlCore *core, const char *id, const char *document, GError **error)
{
    g_autoptr(json_t) root = sl_json_parse(document, strlen(document), "stored container", error);
    g_auto(DkContainerCreate) config = { 0 };
    g_autoptr(SlContainer) container = NULL;
    g_autofree char *config_text = NULL;
    const char *name, *image_id, *image = NULL, *rootfs = NULL, *token, *handle = NULL, *message = NULL;
    json_t *state_json, *config_json, *endpoints = NULL;
    json_int_t created_ns;

    if (!root)
        return NULL;
    if (json_unpack(root, "{s:s, s:I, s?s, s:s, s?s, s:s, s?s, s?s, s:o, s:o, s?o}", "name", &name,
                    "created_ns", &created_ns, "image", &image, "image_id", &image_id, "rootfs", &rootfs,
                    "token", &token, "handle", &handle, "error", &message, "state", &state_json, "config",
                    &config_json, "endpoints", &endpoints) < 0) {
        sl_fail(error, SL_ERROR_SYSTEM, "the stored container has not the members it should have");
        return NULL;
    }
    if (!sl_json_read(config_json, dk_container_create_fields, &config, "stored container", error))
        return NULL;
    config_text = config_of_document(document);
    if (!config_text)
        config_text = sl_json_dump(config_json); /* written by other hands */

    container = sl_container_new(core, id, &config, g_steal_pointer(&config_text));
    if (!state_from_json(state_json, &container->state, error))
        return NULL;
    container->name = g_strdup(name);
    if (!sl_container_endpoints_read(container, endpoints, error))
        return NULL;
    container->created_ns = created_ns;
    container->image_name = g_strdup(image);
    container->image_id = g_strdup(image_id);
    container->rootfs = g_strdup(rootfs);
    container->token = g_strdup(token);
    container->handle = g_strdup(handle);
    container->error = g_strdup(message);
    return g_steal_pointer(&container);
}

bool
sl_container_commit(SlContainer *container, bool is_deleted, GError **error)
{
    g_autofree char *document = is_deleted ? NULL : sl_container_to_document(container);
    SlStoreChange change = { .kind = "container", .id = container->id, .document = document };

    return sl_events_commit(container->core->events, &change, 1, error);
}

void
sl_container_emit(SlContainer *container, const char *action, json_t *extra)
{
    g_autofree char *name = sl_container_dup_name(container);
    json_t *attributes = container->config.labels ? json_copy(container->config.labels) : json_object();

    json_object_set_new(attributes, "image", json_string(container->image_name));
    json_object_set_new(attributes, "name", json_string(name));
    if (extra) {
        json_object_update(attributes, extra);
        json_decref(extra);
    }
    sl_events_emit(container->core->events, "container", action, container->id, attributes);
}

SlLaunchSpec
sl_container_launch_spec(SlContainer *container, int folder_fd)
{
    return (SlLaunchSpec){
        .container_id = container->id,
        .attempt = container->state.attempt, /* read under turn, which writes it */
        .folder_fd = folder_fd,
        .folder = container->folder,
        .rootfs = container->rootfs,
        .agent_token = container->token,
        .config = &container->config,
    };
}
