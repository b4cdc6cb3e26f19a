#include "backends/core/container_networks.h"

#include "api/filters.h"
#include "common/id.h"
#include "common/log.h"

#include <string.h>

enum { MAX_ENDPOINTS = 16, MAX_ALIAS_CHARS = 200 };

void
sl_attachment_free(SlAttachment *endpoint)
{
    if (!endpoint)
        return;
    dk_endpoint_settings_clear(&endpoint->settings);
    g_free(endpoint->network);
    g_free(endpoint);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SlAttachment, sl_attachment_free)

/* "host" and "none" of old and new clients; NULL for what can be joined and left. */
static const char *
fixed_mode(SlContainer *container)
{
    const char *mode = container->config.host_config.network_mode;

    return strcmp(mode, "host") == 0 || strcmp(mode, "none") == 0 ? mode : NULL;
}

static const char *
main_network(SlContainer *container)
{
    const char *mode = container->config.host_config.network_mode;

    return strcmp(mode, "default") == 0 ? "bridge" : mode;
}

/* ---- what was asked for ---- */

/* Names become file names and DNS names. */
static bool
check_settings(const char *network, const DkEndpointSettings *settings, GError **error)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
    const DkEndpointIPAMConfig *ipam = &settings->ipam_config;
    const char *mac = settings->mac_address;

    for (char **alias = settings->aliases; alias && *alias; alias++) {
        if (!g_ascii_isalnum(**alias) || strspn(*alias, letters) != strlen(*alias) ||
            strlen(*alias) > MAX_ALIAS_CHARS)
            return sl_fail(error, SL_ERROR_INVALID,
                           "invalid alias \"%s\": only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed", *alias);
    }
    if (settings->links && *settings->links)
        return sl_fail(error, SL_ERROR_UNSUPPORTED, "EndpointSettings.Links is not supported: use Aliases");
    if (settings->has_ipam_config &&
        ((ipam->ipv6_address && *ipam->ipv6_address) || (ipam->link_local_ips && *ipam->link_local_ips)))
        return sl_fail(error, SL_ERROR_UNSUPPORTED,
                       "EndpointSettings.IPAMConfig: only IPv4Address is supported (network %s)", network);
    if (mac && *mac && (strlen(mac) != 17 || strspn(mac, "0123456789abcdefABCDEF:") != 17))
        return sl_fail(error, SL_ERROR_INVALID, "invalid MAC address: %s", mac);
    return true;
}

/* Only what can be asked for is taken over. settings: moved out. */
static SlAttachment *
attachment_new(const char *network, DkEndpointSettings *settings)
{
    SlAttachment *endpoint = g_new0(SlAttachment, 1);

    endpoint->network = g_strdup(network);
    endpoint->settings = *settings;
    memset(settings, 0, sizeof *settings);
    g_clear_pointer(&endpoint->settings.ip_address, g_free);
    g_clear_pointer(&endpoint->settings.endpoint_id, g_free);
    g_clear_pointer(&endpoint->settings.network_id, g_free);
    g_clear_pointer(&endpoint->settings.gateway, g_free);
    endpoint->settings.ip_prefix_len = 0;
    return endpoint;
}

static bool
plan_one(SlContainer *container, const char *network, const json_t *json, GError **error)
{
    g_auto(DkEndpointSettings) settings = { 0 };

    if (json && !sl_json_read(json, dk_endpoint_settings_fields, &settings, "invalid request body", error))
        return false;
    if (!check_settings(network, &settings, error))
        return false;
    if (container->endpoints->len == MAX_ENDPOINTS)
        return sl_fail(error, SL_ERROR_INVALID, "a container can be on %d networks at most", MAX_ENDPOINTS);
    g_ptr_array_add(container->endpoints, attachment_new(network, &settings));
    return true;
}

bool
sl_container_plan_networks(SlContainer *container, GError **error)
{
    const char *main_name = main_network(container), *name;
    json_t *asked = container->config.networking_config.endpoints_config;
    json_t *main_settings = json_object_get(asked, main_name), *settings;

    if (g_str_has_prefix(main_name, "container:"))
        return sl_fail(
            error, SL_ERROR_UNSUPPORTED,
            "HostConfig.NetworkMode \"container:…\" is not supported by the %s backend: put both containers "
            "on one network",
            container->core->driver->ops.name);
    if (!main_settings && strcmp(main_name, "bridge") == 0)
        main_settings = json_object_get(asked, "default");
    if (!plan_one(container, main_name, main_settings, error))
        return false;
    json_object_foreach(asked, name, settings) {
        if (settings == main_settings || strcmp(name, main_name) == 0)
            continue;
        if (fixed_mode(container))
            return sl_fail(
                error, SL_ERROR_INVALID,
                "conflicting options: a container in network mode \"%s\" cannot be on network \"%s\"",
                main_name, name);
        if (!plan_one(container, name, settings, error))
            return false;
    }
    return true;
}

/* ---- for the driver ---- */

/* What other containers call it. Caller frees. */
static char **
names_of(SlContainer *container, const SlAttachment *endpoint)
{
    GPtrArray *names = g_ptr_array_new();

    g_ptr_array_add(names, sl_container_dup_name(container));
    g_ptr_array_add(names, g_strndup(container->id, SL_ID_SHORT_CHARS));
    for (char **alias = endpoint->settings.aliases; alias && *alias; alias++) {
        if (!g_ptr_array_find_with_equal_func(names, *alias, g_str_equal, NULL))
            g_ptr_array_add(names, g_strdup(*alias));
    }
    if (!g_ptr_array_find_with_equal_func(names, container->config.hostname, g_str_equal, NULL) &&
        !strpbrk(container->config.hostname, "/"))
        g_ptr_array_add(names, g_strdup(container->config.hostname));
    g_ptr_array_add(names, NULL);
    return (char **)g_ptr_array_free(names, FALSE);
}

typedef struct Told {
    SlEndpointSpec spec;
    SlNetwork *network; /* a reference */
} Told;

static void
told_clear(Told *told)
{
    g_strfreev(told->spec.names);
    sl_network_unref(told->network);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Told, told_clear)

static void
told_clear_in_array(void *told)
{
    told_clear(told);
}

static void
tell(SlContainer *container, SlNetwork *network /* reference taken */, const SlAttachment *endpoint,
     Told *ret)
{
    *ret = (Told){
        .spec = { .network = sl_network_spec(network),
                  .container_id = container->id,
                  .gateway = network->gateway,
                  .mac_address = endpoint->settings.mac_address },
        .network = network,
    };
    sl_ip_parse(endpoint->settings.ip_address, &ret->spec.address);
    if (ret->spec.network.has_names)
        ret->spec.names = names_of(container, endpoint);
}

static bool
configure(SlContainer *container, GError **error)
{
    SlDriver *driver = container->core->driver;
    SlLaunchSpec spec = sl_container_launch_spec(container, -1);
    g_autoptr(GArray) told = g_array_new(FALSE, TRUE, sizeof(Told));
    g_autofree SlEndpointSpec *specs = g_new0(SlEndpointSpec, container->endpoints->len + 1);

    g_array_set_clear_func(told, told_clear_in_array);
    for (guint i = 0; i < container->endpoints->len; i++) {
        const SlAttachment *endpoint = container->endpoints->pdata[i];
        SlNetwork *network;
        Told one;

        if (!endpoint->is_connected)
            continue;
        network = sl_networks_find(container->core->networks, endpoint->settings.network_id, NULL);
        if (!network || !network->has_subnet) {
            sl_network_unref(network);
            continue;
        }
        tell(container, network, endpoint, &one);
        specs[told->len] = one.spec;
        g_array_append_val(told, one);
    }
    return driver->ops.network_configure(driver, &spec, specs, told->len, error);
}

/* ---- joining and leaving ---- */

static void
emit(SlContainer *container, const SlNetwork *network, const char *action)
{
    sl_network_emit(container->core->networks, network, action,
                    json_pack("{s:s}", "container", container->id));
}

static bool
check_may_join(const SlNetwork *network, const SlAttachment *endpoint, GError **error)
{
    if (network->is_builtin && endpoint->settings.aliases && *endpoint->settings.aliases)
        return sl_fail(error, SL_ERROR_INVALID,
                       "network-scoped alias is supported only for containers in user defined networks");
    return true;
}

/* Inspect sees either none or all of it. */
static void
publish(SlContainer *container, SlAttachment *endpoint, const SlNetwork *network,
        DkEndpointSettings *settings)
{
    DkEndpointSettings old;
    char *old_name = endpoint->network;

    pthread_mutex_lock(&container->lock);
    old = endpoint->settings;
    endpoint->settings = *settings;
    endpoint->network = g_strdup(network->config.name);
    endpoint->is_connected = true;
    pthread_mutex_unlock(&container->lock);
    g_free(old_name);
    dk_endpoint_settings_clear(&old);
    memset(settings, 0, sizeof *settings);
}

static void
copy_settings(const DkEndpointSettings *from, DkEndpointSettings *to)
{
    g_autoptr(json_t) json = sl_json_write(dk_endpoint_settings_fields, from);

    sl_json_read(json, dk_endpoint_settings_fields, to, "endpoint", NULL);
}

static bool
join(SlContainer *container, SlAttachment *endpoint, GError **error)
{
    SlNetworks *networks = container->core->networks;
    SlDriver *driver = container->core->driver;
    const char *id = endpoint->settings.network_id;
    SlNetwork *network = sl_networks_find(networks, id && *id ? id : endpoint->network, NULL);
    g_auto(DkEndpointSettings) settings = { 0 };
    g_autofree char *name = sl_container_dup_name(container);
    g_auto(Told) told = { 0 };

    if (!network)
        return sl_fail(error, SL_ERROR_NOT_FOUND, "network %s not found", endpoint->network);
    told.network = network;
    copy_settings(&endpoint->settings, &settings);
    if (!check_may_join(network, endpoint, error) ||
        !sl_network_join(networks, network, container->id, name, &settings, error))
        return false;
    publish(container, endpoint, network, &settings);
    tell(container, network, endpoint, &told);
    if (network->has_subnet && !driver->ops.network_join(driver, &told.spec, error)) {
        sl_network_leave(networks, network, container->id, endpoint->settings.ip_address);
        endpoint->is_connected = false;
        return false;
    }
    emit(container, network, "connect");
    return true;
}

/* The address stays in settings: it is wanted again. What inspect shows goes. */
static void
leave(SlContainer *container, SlAttachment *endpoint)
{
    SlDriver *driver = container->core->driver;
    SlNetwork *network = sl_networks_find(container->core->networks, endpoint->settings.network_id, NULL);
    g_autoptr(GError) error = NULL;
    g_auto(Told) told = { 0 };

    pthread_mutex_lock(&container->lock);
    endpoint->is_connected = false;
    g_clear_pointer(&endpoint->settings.endpoint_id, g_free);
    pthread_mutex_unlock(&container->lock);
    if (!network)
        return;
    tell(container, network, endpoint, &told);
    if (network->has_subnet && !driver->ops.network_leave(driver, &told.spec, &error))
        sl_warn("leaving a network failed container=%s network=%s error=%s", container->id, network->id,
                error->message);
    sl_network_leave(container->core->networks, network, container->id, endpoint->settings.ip_address);
    emit(container, network, "disconnect");
}

bool
sl_container_join_networks(SlContainer *container, GError **error)
{
    for (guint i = 0; i < container->endpoints->len; i++) {
        SlAttachment *endpoint = container->endpoints->pdata[i];

        if (!endpoint->is_connected && !join(container, endpoint, error)) {
            sl_container_leave_networks(container);
            return false;
        }
    }
    return configure(container, error);
}

/* A crash between launch and commit: the container keeps running, with addresses that may be new. */
void
sl_container_rejoin_networks(SlContainer *container)
{
    bool is_missing = false;
    g_autoptr(GError) error = NULL;

    for (guint i = 0; i < container->endpoints->len; i++)
        is_missing = is_missing || !((SlAttachment *)container->endpoints->pdata[i])->is_connected;
    if (is_missing && !sl_container_join_networks(container, &error))
        sl_warn("a running container is not on its networks container=%s error=%s", container->id,
                error->message);
}

void
sl_container_leave_networks(SlContainer *container)
{
    bool was_on_any = false;

    for (guint i = 0; i < container->endpoints->len; i++) {
        SlAttachment *endpoint = container->endpoints->pdata[i];

        if (!endpoint->is_connected)
            continue;
        leave(container, endpoint);
        was_on_any = true;
    }
    if (was_on_any)
        sl_container_summary_changed(container);
}

void
sl_container_reclaim_networks(SlContainer *container)
{
    for (guint i = 0; i < container->endpoints->len; i++) {
        SlAttachment *endpoint = container->endpoints->pdata[i];
        g_autoptr(SlNetwork) network = NULL;
        g_autoptr(GError) error = NULL;

        if (!endpoint->is_connected)
            continue;
        endpoint->is_connected = container->state.phase == SL_PHASE_RUNNING;
        if (!endpoint->is_connected)
            continue;
        network = sl_networks_find(container->core->networks, endpoint->settings.network_id, &error);
        if (!network || !sl_network_join(container->core->networks, network, container->id, container->name,
                                         &endpoint->settings, &error)) {
            endpoint->is_connected = false;
            sl_warn("a container is no longer on its network container=%s network=%s error=%s", container->id,
                    endpoint->network, error->message);
        }
    }
}

/* ---- connect and disconnect ---- */

static SlAttachment *
find_endpoint(SlContainer *container, const SlNetwork *network)
{
    for (guint i = 0; i < container->endpoints->len; i++) {
        SlAttachment *endpoint = container->endpoints->pdata[i];
        const char *id = endpoint->settings.network_id;

        if (id && *id ? strcmp(id, network->id) == 0
                      : strcmp(endpoint->network, network->config.name) == 0 ||
                            g_str_has_prefix(network->id, endpoint->network))
            return endpoint;
    }
    return NULL;
}

static bool
check_may_change(SlContainer *container, GError **error)
{
    SlPhase phase = sl_container_get_state(container, NULL).phase;

    if (phase == SL_PHASE_REMOVING || phase == SL_PHASE_GONE)
        return sl_fail(
            error, SL_ERROR_FORBIDDEN,
            "Container %s is marked for removal and cannot be connected or disconnected to the network",
            container->id);
    return true;
}

static void
add_endpoint(SlContainer *container, SlAttachment *endpoint)
{
    SL_LOCK_GUARD(&container->lock);

    g_ptr_array_add(container->endpoints, endpoint);
}

static void
take_endpoint(SlContainer *container, SlAttachment *endpoint)
{
    SL_LOCK_GUARD(&container->lock);

    g_ptr_array_remove(container->endpoints, endpoint);
}

bool
sl_container_connect(SlContainer *container, SlNetwork *network, DkEndpointSettings *settings, GError **error)
{
    const char *name = network->config.name;
    SlAttachment *endpoint;
    SL_LOCK_GUARD(&container->turn);

    if (!check_may_change(container, error) || !check_settings(name, settings, error))
        return false;
    if (!network->has_subnet || fixed_mode(container))
        return sl_fail(error, SL_ERROR_FORBIDDEN,
                       "container cannot be connected to %s: it cannot be on several "
                       "networks when one of them is \"host\" or \"none\"",
                       name);
    if (find_endpoint(container, network))
        return sl_fail(error, SL_ERROR_FORBIDDEN, "endpoint with name %s already exists in network %s",
                       container->name, name);
    if (container->endpoints->len == MAX_ENDPOINTS)
        return sl_fail(error, SL_ERROR_FORBIDDEN, "a container can be on %d networks at most", MAX_ENDPOINTS);
    endpoint = attachment_new(name, settings);
    endpoint->settings.network_id = g_strdup(network->id);
    add_endpoint(container, endpoint);
    if (!check_may_join(network, endpoint, error) ||
        (sl_container_is_running(container) &&
         (!join(container, endpoint, error) || !configure(container, error)))) {
        if (endpoint->is_connected)
            leave(container, endpoint);
        take_endpoint(container, endpoint);
        return false;
    }
    sl_container_summary_changed(container);
    return sl_container_commit(container, false, error);
}

bool
sl_container_disconnect(SlContainer *container, const SlNetwork *network, GError **error)
{
    SlAttachment *endpoint;
    SL_LOCK_GUARD(&container->turn);

    if (!check_may_change(container, error))
        return false;
    endpoint = find_endpoint(container, network);
    if (!endpoint)
        return sl_fail(error, SL_ERROR_FORBIDDEN, "container %s is not connected to network %s",
                       container->id, network->config.name);
    if (!network->has_subnet)
        return sl_fail(error, SL_ERROR_FORBIDDEN, "container cannot be disconnected from %s network",
                       network->config.name);
    if (endpoint->is_connected) {
        leave(container, endpoint);
        if (!configure(container, error))
            return false;
    }
    take_endpoint(container, endpoint);
    sl_container_summary_changed(container);
    return sl_container_commit(container, false, error);
}

/* ---- what is shown ---- */

/* container->lock is held. */
static json_t *
shown_settings(const SlContainer *container, const SlAttachment *endpoint)
{
    json_t *json = sl_json_write(dk_endpoint_settings_fields, &endpoint->settings);
    bool has_names = strcmp(endpoint->network, "bridge") != 0 && strcmp(endpoint->network, "host") != 0 &&
                     strcmp(endpoint->network, "none") != 0;
    json_t *names, *aliases;

    if (!endpoint->is_connected) {
        static const char *const empty[] = { "EndpointID", "Gateway", "IPAddress", "MacAddress" };

        for (size_t i = 0; i < G_N_ELEMENTS(empty); i++)
            json_object_set_new(json, empty[i], json_string(""));
        json_object_set_new(json, "IPPrefixLen", json_integer(0));
    }
    if (!has_names)
        return json;
    aliases = json_object_get(json, "Aliases");
    aliases = json_is_array(aliases) ? json_incref(aliases) : json_array();
    json_array_append_new(aliases, json_stringn(container->id, SL_ID_SHORT_CHARS));
    names = json_pack("[s]", container->name);
    json_array_extend(names, aliases);
    json_object_set_new(json, "Aliases", aliases);
    json_object_set_new(json, "DNSNames", names);
    return json;
}

json_t *
sl_container_networks(const SlContainer *container)
{
    json_t *networks = json_object();

    for (guint i = 0; i < container->endpoints->len; i++) {
        const SlAttachment *endpoint = container->endpoints->pdata[i];

        json_object_set_new(networks, endpoint->network, shown_settings(container, endpoint));
    }
    return networks;
}

void
sl_container_put_default_network(const SlContainer *container, json_t *settings)
{
    static const char *const members[] = { "EndpointID", "Gateway", "IPAddress", "IPPrefixLen",
                                           "MacAddress" };

    for (guint i = 0; i < container->endpoints->len; i++) {
        const SlAttachment *endpoint = container->endpoints->pdata[i];
        g_autoptr(json_t) shown = NULL;

        if (strcmp(endpoint->network, "bridge") != 0)
            continue;
        shown = shown_settings(container, endpoint);
        for (size_t k = 0; k < G_N_ELEMENTS(members); k++)
            json_object_set(settings, members[k], json_object_get(shown, members[k]));
    }
}

bool
sl_container_is_on(SlContainer *container, const DkFilters *filters)
{
    SL_LOCK_GUARD(&container->lock);

    if (!dk_filters_get(filters, "network"))
        return true;
    for (guint i = 0; i < container->endpoints->len; i++) {
        const SlAttachment *endpoint = container->endpoints->pdata[i];
        const char *id = endpoint->settings.network_id;

        if (dk_filters_match_exact(filters, "network", endpoint->network) ||
            (id && *id && dk_filters_match_prefix(filters, "network", id)))
            return true;
    }
    return false;
}

/* ---- stored ---- */

json_t *
sl_container_endpoints_write(const SlContainer *container)
{
    json_t *list = json_array();

    for (guint i = 0; i < container->endpoints->len; i++) {
        const SlAttachment *endpoint = container->endpoints->pdata[i];

        json_array_append_new(list,
                              json_pack("{s:s, s:b, s:o}", "network", endpoint->network, "is_connected",
                                        endpoint->is_connected, "settings",
                                        sl_json_write(dk_endpoint_settings_fields, &endpoint->settings)));
    }
    return list;
}

bool
sl_container_endpoints_read(SlContainer *container, const json_t *list, GError **error)
{
    size_t i;
    json_t *item;

    if (!list) /* of a release without networks */
        return sl_container_plan_networks(container, error);
    json_array_foreach(list, i, item) {
        g_auto(DkEndpointSettings) settings = { 0 };
        SlAttachment *endpoint;
        const char *network;
        int is_connected;
        json_t *json;

        if (json_unpack(item, "{s:s, s:b, s:o}", "network", &network, "is_connected", &is_connected,
                        "settings", &json) < 0)
            return sl_fail(error, SL_ERROR_SYSTEM, "a stored endpoint has not the members it should have");
        if (!sl_json_read(json, dk_endpoint_settings_fields, &settings, "stored endpoint", error))
            return false;
        endpoint = g_new0(SlAttachment, 1);
        endpoint->network = g_strdup(network);
        endpoint->is_connected = is_connected;
        endpoint->settings = settings;
        memset(&settings, 0, sizeof settings);
        g_ptr_array_add(container->endpoints, endpoint);
    }
    return true;
}
