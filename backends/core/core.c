#include "backends/core/core.h"

#include "backends/core/container.h"
#include "backends/core/container_networks.h"
#include "backends/core/containers_api.h"
#include "backends/core/exec.h"
#include "backends/core/recover.h"
#include "backends/core/run.h"
#include "backends/core/networks_api.h"
#include "backends/core/system_api.h"
#include "common/clock.h"
#include "common/fd.h"
#include "common/id.h"
#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>

enum { MAX_POOL_THREADS = 256 };

/* ---- lookups ---- */

/* core->lock held. */
static SlContainer *
find_by_prefix(SlCore *core, const char *prefix, bool *ret_ambiguous)
{
    SlContainer *found = NULL;

    for (guint i = 0; i < core->in_order->len; i++) {
        SlContainer *container = core->in_order->pdata[i];

        if (!g_str_has_prefix(container->id, prefix))
            continue;
        if (found) {
            *ret_ambiguous = true;
            return NULL;
        }
        found = container;
    }
    return found;
}

SlContainer *
sl_core_find(SlCore *core, const char *reference, GError **error)
{
    const char *name = *reference == '/' ? reference + 1 : reference;
    bool is_ambiguous = false;
    SlContainer *container;
    SL_LOCK_GUARD(&core->lock);

    container = g_hash_table_lookup(core->by_id, reference);
    if (!container) {
        container = g_hash_table_lookup(core->by_name, name);
        if (container && !g_hash_table_contains(core->by_id, container->id))
            container = NULL; /* its create has not been stored yet */
    }
    if (!container && sl_id_is_prefix(reference))
        container = find_by_prefix(core, reference, &is_ambiguous);
    if (container)
        return sl_container_ref(container);
    if (is_ambiguous)
        sl_fail(error, SL_ERROR_INVALID, "multiple IDs found with provided prefix: %s", reference);
    else
        sl_fail(error, SL_ERROR_NOT_FOUND, "No such container: %s", reference);
    return NULL;
}

GPtrArray *
sl_core_list(SlCore *core)
{
    GPtrArray *list = g_ptr_array_new_with_free_func((GDestroyNotify)sl_container_unref);
    SL_LOCK_GUARD(&core->lock);

    for (guint i = 0; i < core->in_order->len; i++)
        g_ptr_array_add(list, sl_container_ref(core->in_order->pdata[i]));
    return list;
}

void
sl_core_count(SlCore *core, unsigned *ret_running, unsigned *ret_paused, unsigned *ret_stopped)
{
    g_autoptr(GPtrArray) list = sl_core_list(core);

    *ret_running = *ret_paused = *ret_stopped = 0;
    for (guint i = 0; i < list->len; i++) {
        SlState state = sl_container_get_state(list->pdata[i], NULL);
        bool is_running = state.phase == SL_PHASE_RUNNING;

        (*(state.is_paused ? ret_paused : is_running ? ret_running : ret_stopped))++;
    }
}

SlImages *
sl_core_images(SlCall *call)
{
    return sl_call_core(call)->images;
}

static bool
is_up(SlContainer *container)
{
    SlState state = sl_container_get_state(container, NULL);

    return sl_lifecycle_is_up(&state);
}

static char *
find_image_user(void *user, const char *image_id, bool *ret_is_running)
{
    g_autoptr(GPtrArray) list = sl_core_list(user);
    const SlContainer *found = NULL;

    *ret_is_running = false;
    for (guint i = 0; i < list->len && !*ret_is_running; i++) {
        SlContainer *container = list->pdata[i];

        if (strcmp(container->image_id, image_id) != 0)
            continue;
        found = container;
        *ret_is_running = is_up(container);
    }
    return found ? g_strndup(found->id, SL_ID_SHORT_CHARS) : NULL;
}

static void
emit_image_event(void *user, const char *action, const char *actor, json_t *attributes)
{
    SlCore *core = user;

    sl_events_emit(core->events, "image", action, actor, attributes);
}

/* ---- opening ---- */

/* The lock is the folder's descriptor itself: it goes with the process, however that ends. */
static bool
lock_data(SlCore *core, GError **error)
{
    g_autofree char *path = g_build_filename(core->data, "containers", NULL);

    if (!sl_folder_make(path, 0700, error))
        return false;
    core->containers_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (core->containers_fd < 0)
        return sl_fail_errno(error, errno, "opening %s", path);
    if (flock(core->containers_fd, LOCK_EX | LOCK_NB) < 0)
        return sl_fail(error, SL_ERROR_CONFLICT, "the data folder %s is in use by another backend",
                       core->data);
    return true;
}

static bool
load_engine_id(void *user, const char *id, const char *document, GError **error)
{
    SlCore *core = user;

    sl_log_defaults_clear(&core->log_defaults);
    g_free(core->engine_id);
    core->engine_id = g_strdup(id);
    return true;
}

static bool
open_store(SlCore *core, GError **error)
{
    g_autofree char *path = g_build_filename(core->data, "state.db", NULL);

    core->store = sl_store_open(path, error);
    if (!core->store || !sl_store_each(core->store, "engine", load_engine_id, core, error))
        return false;
    core->events = sl_events_new(core->store);
    if (core->engine_id)
        return true;
    core->engine_id = sl_id_new();
    return sl_store_commit(core->store,
                           &(SlStoreChange){ .kind = "engine", .id = core->engine_id, .document = "{}" }, 1,
                           NULL, 0, error);
}

static bool
open_networks(SlCore *core, GError **error)
{
    core->networks = sl_networks_open(core->store, core->events, core->driver, core->engine_id, error);
    return core->networks;
}

static bool
open_images(SlCore *core, const SlCoreConfig *config, GError **error)
{
    g_autofree char *content = g_build_filename(core->data, "content", NULL);
    g_autofree char *rootfs = g_build_filename(core->data, "rootfs", NULL);
    SlBuiltinImages builtin;

    if (!sl_builtin_images_parse(config->builtin_images, &builtin))
        return sl_fail(error, SL_ERROR_INVALID, "builtin-images must be auto, always or off, not \"%s\"",
                       config->builtin_images);
    core->fetcher = sl_fetcher_new(&(SlFetchConfig){ .user_agent = "sockerless/" SL_VERSION });
    core->registry = sl_registry_new(
        &(SlRegistryConfig){ .mirrors = config->registry_mirrors, .insecure = config->insecure_registries },
        core->fetcher);
    core->content = sl_content_open(content, error);
    if (!core->content)
        return false;
    core->images = sl_images_open(&(SlImagesConfig){ .store = core->store,
                                                     .content = core->content,
                                                     .registry = core->registry,
                                                     .rootfs_folder = rootfs,
                                                     .base_tar = config->base_tar,
                                                     .builtin = builtin,
                                                     .find_user = find_image_user,
                                                     .emit = emit_image_event,
                                                     .user = core },
                                  error);
    return core->images;
}

static bool
load_container(void *user, const char *id, const char *document, GError **error)
{
    SlCore *core = user;
    SlContainer *container = sl_container_from_document(core, id, document, error);

    if (!container)
        return false;
    sl_container_reclaim_networks(container);
    g_hash_table_insert(core->by_id, container->id, container);
    g_hash_table_insert(core->by_name, g_strdup(container->name), container);
    g_ptr_array_add(core->in_order, container);
    return true;
}

/* A policy goes on where the daemon before us ended. With a link there is an agent: what it says decides. */
static void
resume_policy(SlContainer *container)
{
    SlState state = sl_container_get_state(container, NULL);

    if (sl_container_has_link(container))
        return;
    if (state.phase == SL_PHASE_EXITED && state.auto_remove)
        sl_container_post(container, &(SlEvent){ .kind = SL_EVENT_REMOVE },
                          NULL); /* half of a restart, as it seems */
    else if (state.phase == SL_PHASE_RESTARTING)
        sl_container_arm_restart(container);
    else if (sl_lifecycle_starts_with_daemon(&state))
        sl_container_post(container, &(SlEvent){ .kind = SL_EVENT_START }, NULL);
}

/* What was being removed when the daemon ended is removed now; what ran, or may have been started, is looked for. */
static void
recover(SlCore *core)
{
    g_autoptr(GPtrArray) list = sl_core_list(core);

    for (guint i = 0; i < list->len; i++) {
        SlContainer *container = list->pdata[i];
        g_autoptr(GError) error = NULL;

        if (container->state.phase == SL_PHASE_REMOVING) {
            container->state.phase = SL_PHASE_EXITED;
            if (!sl_container_act(container, &(SlEvent){ .kind = SL_EVENT_REMOVE }, &error))
                sl_error("a removal could not be ended container=%s error=%s", container->id, error->message);
        } else {
            sl_container_adopt(container);
            resume_policy(container);
        }
    }
}

SlCore *
sl_core_open(const SlCoreConfig *config, GError **error)
{
    g_autoptr(SlCore) core = g_new0(SlCore, 1);

    core->data = g_strdup(config->data);
    core->driver = config->driver;
    core->containers_fd = -1;
    core->started_ns = sl_clock_now_ns();
    pthread_mutex_init(&core->lock, NULL);
    core->by_id = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, (GDestroyNotify)sl_container_unref);
    core->by_name = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    core->execs = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, (GDestroyNotify)sl_exec_unref);
    core->in_order = g_ptr_array_new();
    core->pool = sl_pool_new("executor", MAX_POOL_THREADS);
    core->loop = sl_loop_new("streams", error);
    if (!core->loop)
        return NULL;
    core->relay = sl_relay_new(core->loop);
    if (!sl_log_defaults_make(config->log_driver, config->log_opts, &core->log_defaults, error) ||
        !lock_data(core, error) || !open_store(core, error) || !open_networks(core, error) ||
        !open_images(core, config, error) ||
        !sl_store_each(core->store, "container", load_container, core, error))
        return NULL;
    if (!sl_core_recover_folders(core, error))
        return NULL;
    sl_images_sweep(core->images);
    recover(core);
    return g_steal_pointer(&core);
}

static void
close_links(SlCore *core)
{
    g_autoptr(GPtrArray) list = sl_core_list(core);

    for (guint i = 0; i < list->len; i++) {
        SlContainer *container = list->pdata[i];

        sl_container_end_timers(container);
        SL_LOCK_GUARD(&container->lock);

        if (container->link)
            sl_link_close(container->link, false);
    }
}

static void
fire(void *data)
{
    sl_cancel_fire(data);
}

/* Executors use the loop and the loop gives them work: with is_closing set the loop gives no more, and when it has come round once nobody is in between. Then
 * what executors have begun ends, then the loop. */
static void
end_threads(SlCore *core)
{
    g_autoptr(SlCancel) came_round = sl_cancel_new();

    core->is_closing = true;
    sl_loop_post(core->loop, fire, came_round);
    sl_cancel_wait_fd(came_round, -1, 0, -1, NULL);
    sl_pool_free(core->pool);
    close_links(core);
    sl_relay_free(core->relay);
    sl_loop_free(core->loop);
}

void
sl_core_close(SlCore *core)
{
    if (core->loop)
        end_threads(core);
    else
        sl_pool_free(core->pool);
    g_clear_pointer(&core->execs, g_hash_table_unref);
    g_clear_pointer(&core->by_name, g_hash_table_unref);
    g_clear_pointer(&core->in_order, g_ptr_array_unref);
    g_clear_pointer(&core->by_id, g_hash_table_unref);
    g_clear_pointer(&core->networks, sl_networks_close);
    g_clear_pointer(&core->events, sl_events_free);
    g_clear_pointer(&core->images, sl_images_close);
    g_clear_pointer(&core->content, sl_content_close);
    g_clear_pointer(&core->registry, sl_registry_free);
    g_clear_pointer(&core->fetcher, sl_fetcher_free);
    g_clear_pointer(&core->store, sl_store_close);
    if (core->driver)
        core->driver->ops.close(core->driver);
    sl_fd_clear(&core->containers_fd);
    pthread_mutex_destroy(&core->lock);
    g_free(core->engine_id);
    g_free(core->data);
    g_free(core);
}

/* ---- routes ---- */

SlRoute *
sl_core_routes_new(void)
{
    static const SlRoute *const groups[] = { sl_container_routes, sl_exec_routes, sl_image_routes,
                                             sl_network_routes, sl_system_routes };
    GArray *routes = g_array_new(TRUE, TRUE, sizeof(SlRoute));

    for (size_t i = 0; i < G_N_ELEMENTS(groups); i++)
        for (const SlRoute *route = groups[i]; route->handler; route++)
            g_array_append_vals(routes, route, 1);
    return (SlRoute *)(void *)g_array_free(routes, FALSE);
}
