#include "frontends/docker/normalise.h"

#include "api/filters.h"
#include "frontends/docker/frontend.h"

#include <string.h>

/* What may stand in a path as it is; everything else is escaped anew, as the call's path comes decoded. */
static const char path_safe[] = "/:@!$&'()*+,;=";
static const char value_safe[] = "/:@,";

static void
append_parameter(GString *target, const char *name, const char *value)
{
    g_string_append_c(target, strchr(target->str, '?') ? '&' : '?');
    g_string_append(target, name);
    g_string_append_c(target, '=');
    g_string_append_uri_escaped(target, value, value_safe, FALSE);
}

static bool
append_filters(GString *target, SlCall *call, const char *name, GError **error)
{
    g_autoptr(DkFilters) filters = dk_filters_parse(sl_call_query(call, name), NULL, error);
    g_autofree char *text = NULL;

    if (!filters)
        return false;
    if (dk_filters_is_empty(filters))
        return true;
    text = dk_filters_format(filters);
    append_parameter(target, name, text);
    return true;
}

static bool
append_field(GString *target, SlCall *call, const SlQueryField *field, GError **error)
{
    const char *value = sl_call_query(call, field->name);
    int64_t number;

    switch (field->kind) {
    case SL_QUERY_INT:
        if (value && *value && !sl_call_query_int(call, field->name, 0, &number, error))
            return false;
        G_GNUC_FALLTHROUGH;
    case SL_QUERY_TEXT:
        if (value && *value)
            append_parameter(target, field->name, value);
        return true;
    case SL_QUERY_BOOL:
    case SL_QUERY_BOOL_TRUE:
        if (sl_call_query_bool(call, field->name, field->kind == SL_QUERY_BOOL_TRUE))
            append_parameter(target, field->name, "1");
        return true;
    case SL_QUERY_LIST:
        for (const char *const *item = sl_call_query_all(call, field->name); *item; item++)
            append_parameter(target, field->name, *item);
        return true;
    case SL_QUERY_FILTERS:
        return append_filters(target, call, field->name, error);
    }
    g_assert_not_reached();
}

char *
sl_normalise_target(SlCall *call, const SlQueryField *query, GError **error)
{
    g_autoptr(GString) target = g_string_new("/internal/v1");
    int version = sl_frontend_api_version(call);

    g_string_append_uri_escaped(target, sl_call_path(call), path_safe, FALSE);
    for (; query && query->name; query++)
        if (version >= query->since && !append_field(target, call, query, error))
            return NULL;
    return g_string_free(g_steal_pointer(&target), FALSE);
}

/* ---- create ---- */

static void
set_text(char **text, const char *value)
{
    g_free(*text);
    *text = g_strdup(value);
}

static bool
is_empty(const char *text)
{
    return !text || !*text;
}

static bool
check_mount(int version, DkMount *mount, GError **error)
{
    const struct {
        const char *type, *name;
        bool is_given;
    } options[] = {
        { "volume", "VolumeOptions", mount->has_volume_options },
        { "bind", "BindOptions", mount->has_bind_options },
        { "tmpfs", "TmpfsOptions", mount->has_tmpfs_options },
    };

    if (version < 1044 && g_strcmp0(mount->type, "bind") == 0 &&
        mount->bind_options.read_only_force_recursive)
        return sl_fail(error, SL_ERROR_INVALID,
                       "BindOptions.ReadOnlyForceRecursive needs API v1.44 or newer");
    if (version < 1042)
        return true;
    for (size_t i = 0; i < G_N_ELEMENTS(options); i++)
        if (options[i].is_given && g_strcmp0(mount->type, options[i].type) != 0)
            return sl_fail(error, SL_ERROR_INVALID, "%s must not be specified on mount type \"%s\"",
                           options[i].name, mount->type ? mount->type : "");
    return true;
}

/* Takes out what the version did not have; combinations that it let pass are set right. */
static void
age_mount(int version, DkMount *mount)
{
    if (version < 1040)
        mount->bind_options.non_recursive = false;
    if (version < 1042) {
        mount->bind_options.create_mountpoint = false;
        if (g_strcmp0(mount->type, "volume") != 0)
            mount->has_volume_options = false;
        if (g_strcmp0(mount->type, "tmpfs") != 0)
            mount->has_tmpfs_options = false;
    }
    /* Before 1.44 a read-only bind was never recursive. */
    if (version < 1044 && g_strcmp0(mount->type, "bind") == 0 && mount->read_only) {
        mount->has_bind_options = true;
        mount->bind_options.read_only_non_recursive = true;
    }
}

static void
age_host_config(int version, DkHostConfig *host)
{
    if (version < 1025)
        host->auto_remove = false; /* the client removes it */
    if (version < 1040) {
        host->kernel_memory_tcp = 0;
        if (is_empty(host->ipc_mode))
            set_text(&host->ipc_mode, "shareable");
    }
    if (version < 1042)
        host->console_size[0] = host->console_size[1] = 0;
    else
        host->kernel_memory = 0;
    if (version < 1043)
        g_clear_pointer(&host->annotations, json_decref);
    if (host->has_pids_limit && host->pids_limit <= 0)
        host->has_pids_limit = false; /* both say "no limit" */
}

static bool
is_network_of_its_own(const char *mode)
{
    return strcmp(mode, "host") != 0 && strcmp(mode, "none") != 0 && !g_str_has_prefix(mode, "container:");
}

/* Where the MAC address stands moved from the container to its network with 1.44. */
static bool
move_mac_address(int version, DkContainerCreate *create, GError **error)
{
    json_t *endpoints = create->networking_config.endpoints_config, *endpoint;
    const char *mode = create->host_config.network_mode, *name;

    if (is_empty(create->mac_address)) {
        if (version < 1044)
            json_object_foreach(endpoints, name, endpoint)
                json_object_set_new(endpoint, "MacAddress", json_string(""));
        return true;
    }
    if (!is_network_of_its_own(mode)) {
        if (version < 1044)
            return sl_fail(error, SL_ERROR_INVALID, "conflicting options: mac-address and the network mode");
        return true;
    }
    if (json_object_size(endpoints) == 0) {
        DkEndpointSettings none = { 0 };

        json_object_set_new(endpoints, mode, sl_json_write(dk_endpoint_settings_fields, &none));
    }
    endpoint = version < 1044 ? json_object_iter_value(json_object_iter(endpoints))
                              : json_object_get(endpoints, mode);
    if (!endpoint)
        return sl_fail(
            error, SL_ERROR_INVALID,
            "if a container-wide MAC address is supplied, HostConfig.NetworkMode must match the identity "
            "of a network in NetworkSettings.Networks");
    name = json_string_value(json_object_get(endpoint, "MacAddress"));
    if (version >= 1044 && !is_empty(name) && strcmp(name, create->mac_address) != 0)
        return sl_fail(
            error, SL_ERROR_INVALID,
            "the container-wide MAC address must match the endpoint-specific MAC address for the main "
            "network, or be left empty");
    json_object_set_new(endpoint, "MacAddress", json_string(create->mac_address));
    return true;
}

bool
sl_normalise_create(int version, DkContainerCreate *create, GError **error)
{
    DkHostConfig *host = &create->host_config;
    DkMount *mounts = host->mounts.items;

    if (is_empty(host->network_mode))
        set_text(&host->network_mode, "default");
    if (!create->networking_config.endpoints_config)
        create->networking_config.endpoints_config = json_object();
    for (size_t i = 0; i < host->mounts.n; i++) {
        if (!check_mount(version, &mounts[i], error))
            return false;
        age_mount(version, &mounts[i]);
    }
    age_host_config(version, host);
    if (version < 1044) {
        create->healthcheck.start_interval = 0;
        if (json_object_size(create->networking_config.endpoints_config) > 1)
            return sl_fail(error, SL_ERROR_INVALID,
                           "Container cannot be created with multiple network endpoints");
    }
    return move_mac_address(version, create, error);
}
