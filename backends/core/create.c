#include "backends/core/create.h"

#include "api/names.h"
#include "backends/core/container_file.h"
#include "backends/core/container_networks.h"
#include "backends/core/options.h"
#include "backends/core/update.h"
#include "common/clock.h"
#include "common/id.h"
#include "common/log.h"

#include <string.h>

enum {
    TOKEN_BYTES = 32,
    NAME_ATTEMPTS = 100,
};

/* ---- the image's configuration under the request's ---- */

static char **
strings_of(const json_t *object, const char *key)
{
    const json_t *list = json_object_get(object, key), *item;
    g_autoptr(GPtrArray) strings = g_ptr_array_new();
    size_t i;

    json_array_foreach(list, i, item)
        if (json_is_string(item))
            g_ptr_array_add(strings, g_strdup(json_string_value(item)));
    g_ptr_array_add(strings, NULL);
    return (char **)g_ptr_array_steal(strings, NULL);
}

static void
default_string(char **value, const json_t *image, const char *key)
{
    const char *text = json_string_value(json_object_get(image, key));

    if ((!*value || !**value) && text && *text) {
        g_free(*value);
        *value = g_strdup(text);
    }
}

static void
default_map(json_t **value, const json_t *image, const char *key)
{
    json_t *map = json_object_get(image, key);

    if (!json_is_object(map))
        return;
    if (!*value)
        *value = json_object();
    json_object_update_missing(*value, map);
}

static bool
is_cleared(char **entrypoint)
{
    return entrypoint && entrypoint[0] && !entrypoint[0][0] && !entrypoint[1];
}

static void
merge_image(DkContainerCreate *config, const json_t *image)
{
    static const char *const none[] = { NULL };
    g_auto(GStrv) asked = g_steal_pointer(&config->env);

    config->env = dk_env_merge(strings_of(image, "Env"), asked ? (const char *const *)asked : none);
    if (!config->entrypoint || !config->entrypoint[0]) {
        if (!config->cmd || !config->cmd[0]) {
            g_strfreev(config->cmd);
            config->cmd = strings_of(image, "Cmd");
        }
        g_strfreev(config->entrypoint);
        config->entrypoint = strings_of(image, "Entrypoint");
    } else if (is_cleared(config->entrypoint)) {
        g_clear_pointer(&config->entrypoint, g_strfreev);
    }
    if (config->entrypoint && !config->entrypoint[0])
        g_clear_pointer(&config->entrypoint, g_strfreev);
    default_string(&config->user, image, "User");
    default_string(&config->working_dir, image, "WorkingDir");
    default_string(&config->stop_signal, image, "StopSignal");
    default_map(&config->exposed_ports, image, "ExposedPorts");
    default_map(&config->volumes, image, "Volumes");
    default_map(&config->labels, image, "Labels");
}

/* ---- validation ---- */

static bool
is_hostname(const char *text)
{
    size_t n = strlen(text);

    return n <= 63 && strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._") == n;
}

static bool
validate(DkContainerCreate *config, GError **error)
{
    SlRestartPolicy policy;
    int signal_number;

    if (!sl_restart_policy_read(&config->host_config.restart_policy, &policy, error))
        return false;
    if (config->host_config.auto_remove && policy.kind != SL_RESTART_NO)
        return sl_fail(error, SL_ERROR_INVALID, "can't create 'AutoRemove' container with restart policy");
    if ((!config->cmd || !config->cmd[0]) && !config->entrypoint)
        return sl_fail(error, SL_ERROR_INVALID, "No command specified");
    if (config->hostname && !is_hostname(config->hostname))
        return sl_fail(error, SL_ERROR_INVALID, "invalid hostname format: %s", config->hostname);
    if (config->working_dir && *config->working_dir && *config->working_dir != '/')
        return sl_fail(error, SL_ERROR_INVALID,
                       "the working directory '%s' is invalid, it needs to be an absolute path",
                       config->working_dir);
    if (config->stop_signal && *config->stop_signal &&
        !dk_signal_parse(config->stop_signal, &signal_number, error))
        return false;
    for (char **variable = config->env; variable && *variable; variable++)
        if (!**variable || **variable == '=')
            return sl_fail(error, SL_ERROR_INVALID, "invalid environment variable: %s", *variable);
    return true;
}

static void
fill_defaults(DkContainerCreate *config, const char *id)
{
    DkHostConfig *host = &config->host_config;

    if (!config->hostname || !*config->hostname) {
        g_free(config->hostname);
        config->hostname = g_strndup(id, SL_ID_SHORT_CHARS);
    }
    if (!host->network_mode || !*host->network_mode) {
        g_free(host->network_mode);
        host->network_mode = g_strdup("default");
    }
    if (!host->restart_policy.name || !*host->restart_policy.name) {
        g_free(host->restart_policy.name);
        host->restart_policy.name = g_strdup("no");
        host->restart_policy.maximum_retry_count = 0; /* of no policy: Docker takes and ignores it */
    }
}

/* ---- names ---- */

/* The name points to a container that lookups don't find before it is in by_id. core->lock held. */
static bool
take_name(SlCore *core, SlContainer *container, char *name /* taken on true */, GError **error)
{
    SlContainer *holder = g_hash_table_lookup(core->by_name, name);

    if (holder)
        return sl_fail(error, SL_ERROR_CONFLICT,
                       "Conflict. The container name \"/%s\" is already in use by container \"%s\". "
                       "You have to remove (or rename) that container to be able to reuse that name.",
                       name, holder->id);
    pthread_mutex_lock(&container->lock);
    g_free(container->name);
    container->name = name;
    pthread_mutex_unlock(&container->lock);
    g_hash_table_insert(core->by_name, g_strdup(name), container);
    return true;
}

static bool
reserve_name(SlContainer *container, const char *wanted, GError **error)
{
    SlCore *core = container->core;
    char *name;

    if (wanted && *wanted) {
        bool ok;

        if (!dk_container_name_parse(wanted, &name, error))
            return false;
        pthread_mutex_lock(&core->lock);
        ok = take_name(core, container, name, error);
        pthread_mutex_unlock(&core->lock);
        if (!ok)
            g_free(name);
        return ok;
    }
    SL_LOCK_GUARD(&core->lock);

    for (unsigned attempt = 0; attempt < NAME_ATTEMPTS; attempt++) {
        name = dk_container_name_make(attempt);
        if (take_name(core, container, name, NULL))
            return true;
        g_free(name);
    }
    name = g_strndup(container->id, SL_ID_SHORT_CHARS);
    return take_name(core, container, name, error);
}

static void
release_name(SlContainer *container)
{
    SL_LOCK_GUARD(&container->core->lock);

    g_hash_table_remove(container->core->by_name, container->name);
}

bool
sl_container_rename(SlContainer *container, const char *wanted, GError **error)
{
    SlCore *core = container->core;
    g_autofree char *old_name = sl_container_dup_name(container);
    char *name;

    if (!wanted || !*wanted)
        return sl_fail(error, SL_ERROR_INVALID, "Neither old nor new names may be empty");
    if (!dk_container_name_parse(wanted, &name, error))
        return false;
    if (strcmp(name, old_name) == 0) {
        g_free(name);
        return sl_fail(error, SL_ERROR_INVALID,
                       "Renaming a container with the same name as its current name");
    }
    pthread_mutex_lock(&core->lock);
    if (!take_name(core, container, name, error)) {
        pthread_mutex_unlock(&core->lock);
        g_free(name);
        g_prefix_error(error, "Error when allocating new name: ");
        return false;
    }
    pthread_mutex_unlock(&core->lock);

    sl_container_emit(container, "rename", json_pack("{s:o}", "oldName", json_sprintf("/%s", old_name)));
    if (!sl_container_commit(container, false, error)) {
        release_name(container);
        pthread_mutex_lock(&container->lock);
        g_free(container->name);
        container->name = g_steal_pointer(&old_name);
        pthread_mutex_unlock(&container->lock);
        return false;
    }
    pthread_mutex_lock(&core->lock);
    g_hash_table_remove(core->by_name, old_name);
    pthread_mutex_unlock(&core->lock);
    sl_container_file_update(container);
    sl_container_summary_changed(container);
    return true;
}

/* ---- create ---- */

static void
publish(SlContainer *container)
{
    SlCore *core = container->core;
    SL_LOCK_GUARD(&core->lock);

    g_hash_table_insert(core->by_id, container->id, sl_container_ref(container));
    g_ptr_array_add(core->in_order, container);
}

static void
add_driver_warning(SlContainer *container, json_t *warnings)
{
    SlDriver *driver = container->core->driver;
    SlLaunchSpec spec = sl_container_launch_spec(container, -1);
    g_autofree char *warning = driver->ops.create_warning(driver, &spec);

    if (warning)
        json_array_append_new(warnings, json_string(warning));
}

/* The image stays until the container is published. */
static SlContainer *
create_from(SlCore *core, SlCancel *cancel, const char *name, DkContainerCreate *config,
            const SlImageRecord *image, json_t *warnings, GError **error)
{
    g_autoptr(SlContainer) container = NULL;
    g_autoptr(json_t) merged = NULL;
    g_autofree char *id = sl_id_new();
    g_autofree char *rootfs = NULL;

    if (!sl_images_rootfs(core->images, cancel, image, &rootfs, error))
        return NULL;
    merge_image(config, sl_image_record_config(image));
    fill_defaults(config, id);
    if (!validate(config, error) ||
        !sl_log_config_complete(&config->host_config.log_config, &core->log_defaults, warnings, error))
        return NULL;

    merged = sl_json_write_sparse(dk_container_create_fields, config);
    container = sl_container_new(core, id, config, sl_json_dump(merged));
    container->created_ns = sl_clock_now_ns();
    container->image_name = g_strdup(container->config.image);
    container->image_id = g_strdup(image->id);
    container->rootfs = g_steal_pointer(&rootfs);
    container->token = sl_id_random_hex(TOKEN_BYTES);
    if (!sl_container_plan_networks(container, error) || !reserve_name(container, name, error))
        return NULL;
    if (!sl_container_file_create(container, error)) {
        release_name(container);
        return NULL;
    }
    sl_container_emit(container, "create", NULL);
    if (!sl_container_commit(container, false, error)) {
        sl_container_file_undo(container);
        release_name(container);
        return NULL;
    }
    publish(container);
    add_driver_warning(container, warnings);
    return g_steal_pointer(&container);
}

SlContainer *
sl_container_create(SlCore *core, SlCancel *cancel, const char *name, const json_t *body,
                    json_t **ret_warnings, GError **error)
{
    g_auto(DkContainerCreate) config = { 0 };
    g_autoptr(SlImageRecord) image = NULL;
    g_autoptr(json_t) warnings = json_array();
    g_autofree char *image_warning = NULL;
    SlContainer *container;

    if (!sl_json_read(body, dk_container_create_fields, &config, "invalid request body", error) ||
        !sl_options_check(core->driver, body, warnings, error))
        return NULL;
    image = sl_images_resolve_for_create(core->images, config.image, &image_warning, error);
    if (!image)
        return NULL;
    if (image_warning)
        json_array_append_new(warnings, json_string(image_warning));
    container = create_from(core, cancel, name, &config, image, warnings, error);
    sl_images_create_done(core->images, image);
    if (container)
        *ret_warnings = g_steal_pointer(&warnings);
    return container;
}
