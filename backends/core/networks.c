#include "backends/core/networks.h"

#include "common/clock.h"
#include "common/id.h"
#include "common/log.h"
#include "common/thread.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

enum { MAX_ROUTES = 256, MAX_NAME_CHARS = 128 };

struct SlNetworks {
    SlStore *store;
    SlEvents *events;
    SlDriver *driver;
    pthread_mutex_t lock;
    GPtrArray *all; /* owned */
};

static SlNetwork *
network_ref(SlNetwork *network)
{
    atomic_fetch_add(&network->refs, 1);
    return network;
}

void
sl_network_unref(SlNetwork *network)
{
    if (!network || atomic_fetch_sub(&network->refs, 1) != 1)
        return;
    sl_ipam_clear(&network->ipam);
    dk_network_create_clear(&network->config);
    json_decref(network->members);
    g_free(network->id);
    g_free(network);
}

SlNetworkSpec
sl_network_spec(const SlNetwork *network)
{
    return (SlNetworkSpec){
        .id = network->id,
        .name = network->config.name,
        .subnet = network->subnet.address,
        .prefix = network->subnet.prefix,
        .is_internal = network->config.internal,
        .has_names = !network->is_builtin,
    };
}

void
sl_network_emit(SlNetworks *networks, const SlNetwork *network, const char *action, json_t *extra)
{
    json_t *attributes =
        json_pack("{s:s, s:s}", "name", network->config.name, "type", network->config.driver);

    if (extra) {
        json_object_update(attributes, extra);
        json_decref(extra);
    }
    sl_events_emit(networks->events, "network", action, network->id, attributes);
}

/* ---- finding ---- */

/* The lock is held. */
static SlNetwork *
find_named(SlNetworks *networks, const char *name)
{
    for (guint i = 0; i < networks->all->len; i++) {
        SlNetwork *network = networks->all->pdata[i];

        if (strcmp(network->config.name, name) == 0 || strcmp(network->id, name) == 0)
            return network;
    }
    return NULL;
}

SlNetwork *
sl_networks_find(SlNetworks *networks, const char *reference, GError **error)
{
    SL_LOCK_GUARD(&networks->lock);
    SlNetwork *found = find_named(networks, reference);
    bool is_ambiguous = false;

    for (guint i = 0; !found && sl_id_is_prefix(reference) && i < networks->all->len; i++) {
        SlNetwork *network = networks->all->pdata[i];

        if (!g_str_has_prefix(network->id, reference))
            continue;
        is_ambiguous = found;
        found = network;
    }
    if (found && !is_ambiguous)
        return network_ref(found);
    if (is_ambiguous)
        sl_fail(error, SL_ERROR_INVALID, "network %s is ambiguous (2 matches found based on ID prefix)",
                reference);
    else
        sl_fail(error, SL_ERROR_NOT_FOUND, "network %s not found", reference);
    return NULL;
}

GPtrArray *
sl_networks_list(SlNetworks *networks)
{
    GPtrArray *list = g_ptr_array_new_with_free_func((GDestroyNotify)sl_network_unref);
    SL_LOCK_GUARD(&networks->lock);

    for (guint i = 0; i < networks->all->len; i++)
        g_ptr_array_add(list, network_ref(networks->all->pdata[i]));
    return list;
}

/* ---- making ---- */

static bool
check_config(const DkNetworkCreate *config, GError **error)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
    const char *name = config->name ? config->name : "", *driver = config->driver;

    if (strcmp(name, "bridge") == 0 || strcmp(name, "host") == 0 || strcmp(name, "none") == 0 ||
        strcmp(name, "default") == 0)
        return sl_fail(error, SL_ERROR_FORBIDDEN, "operation is not permitted on predefined %s network ",
                       name);
    if (!g_ascii_isalnum(*name) || strspn(name, letters) != strlen(name) || strlen(name) > MAX_NAME_CHARS)
        return sl_fail(error, SL_ERROR_INVALID,
                       "invalid network name \"%s\": only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed, at most %d",
                       name, MAX_NAME_CHARS);
    if (driver && (strcmp(driver, "host") == 0 || strcmp(driver, "null") == 0))
        return sl_fail(error, SL_ERROR_FORBIDDEN, "only one instance of \"%s\" network is allowed", driver);
    if (driver && *driver && strcmp(driver, "bridge") != 0)
        return sl_fail(error, SL_ERROR_UNSUPPORTED,
                       "Driver: \"%s\" networks are not supported: use \"bridge\"", driver);
    if (config->enable_ipv6)
        return sl_fail(error, SL_ERROR_UNSUPPORTED, "EnableIPv6 is not supported: networks are IPv4 only");
    if (config->ingress || config->config_only ||
        (config->has_config_from && config->config_from.network && *config->config_from.network) ||
        (config->scope && *config->scope && strcmp(config->scope, "local") != 0))
        return sl_fail(error, SL_ERROR_UNSUPPORTED,
                       "Ingress, ConfigOnly, ConfigFrom and other scopes than \"local\" "
                       "are not supported: there is no swarm");
    if (config->has_ipam && config->ipam.driver && *config->ipam.driver &&
        strcmp(config->ipam.driver, "default") != 0)
        return sl_fail(error, SL_ERROR_UNSUPPORTED, "IPAM.Driver: \"%s\" is not supported: use \"default\"",
                       config->ipam.driver);
    if (config->ipam.config.n > 1)
        return sl_fail(error, SL_ERROR_UNSUPPORTED, "IPAM.Config: more than one pool is not supported");
    return true;
}

/* Networks that this machine reaches by itself: a pool that hides one of them would cut containers off from it. */
static void
add_host_routes(GArray *in_use)
{
    FILE *file = fopen("/proc/net/route", "re");
    char line[256];
    unsigned target, mask;

    while (file && in_use->len < MAX_ROUTES && fgets(line, sizeof line, file)) {
        if (sscanf(line, "%*s %8x %*x %*x %*d %*d %*d %8x", &target, &mask) != 2 || mask == 0)
            continue;
        g_array_append_vals(in_use, &(SlSubnet){ ntohl(target) & ntohl(mask), __builtin_popcount(mask) }, 1);
    }
    if (file)
        fclose(file);
}

/* The lock is held. */
static bool
choose_subnet(SlNetworks *networks, SlNetwork *network, const DkIPAMPool *pool, GError **error)
{
    g_autoptr(GArray) in_use = g_array_new(FALSE, FALSE, sizeof(SlSubnet));

    for (guint i = 0; i < networks->all->len; i++) {
        const SlNetwork *other = networks->all->pdata[i];

        if (other->has_subnet)
            g_array_append_val(in_use, other->subnet);
    }
    if (!pool || !pool->subnet || !*pool->subnet) {
        add_host_routes(in_use);
        return sl_ipam_choose_pool((SlSubnet *)(void *)in_use->data, in_use->len, &network->subnet, error);
    }
    if (!sl_subnet_parse(pool->subnet, &network->subnet))
        return sl_fail(error, SL_ERROR_INVALID,
                       "invalid subnet %s: it must be an IPv4 network like 10.1.0.0/16", pool->subnet);
    for (guint i = 0; i < in_use->len; i++) {
        if (sl_subnets_overlap(network->subnet, g_array_index(in_use, SlSubnet, i)))
            return sl_fail(error, SL_ERROR_FORBIDDEN, "Pool overlaps with other one on this address space");
    }
    network->has_users_subnet = true;
    return true;
}

/* Addresses that are never given to containers. */
static bool
reserve(SlNetwork *network, const DkIPAMPool *pool, GError **error)
{
    const json_t *auxiliary = pool ? pool->auxiliary_addresses : NULL;
    const char *name;
    json_t *value;
    uint32_t ip = network->subnet.address + 1;

    if (pool && pool->gateway && *pool->gateway && !sl_ip_parse(pool->gateway, &ip))
        return sl_fail(error, SL_ERROR_INVALID, "invalid gateway address %s", pool->gateway);
    if (!sl_ipam_take(&network->ipam, ip, &network->gateway, error))
        return false;
    json_object_foreach((json_t *)(uintptr_t)auxiliary, name, value) {
        if (!json_is_string(value) || !sl_ip_parse(json_string_value(value), &ip))
            return sl_fail(error, SL_ERROR_INVALID, "IPAM.Config.AuxiliaryAddresses: %s is no IPv4 address",
                           name);
        if (!sl_ipam_take(&network->ipam, ip, &ip, error))
            return false;
    }
    return true;
}

/* What inspect shows as IPAM: with the subnet and gateway that were chosen. */
static void
complete_config(SlNetwork *network)
{
    DkNetworkCreate *config = &network->config;
    DkIPAMPool *pool;

    if (!config->driver || !*config->driver) {
        g_free(config->driver);
        config->driver = g_strdup("bridge");
    }
    if (!config->ipam.driver || !*config->ipam.driver) {
        g_free(config->ipam.driver);
        config->ipam.driver = g_strdup("default");
    }
    config->has_ipam = true;
    if (config->ipam.config.n == 0)
        config->ipam.config = (SlJsonArray){ g_new0(DkIPAMPool, 1), 1 };
    pool = config->ipam.config.items;
    if (!pool->subnet || !*pool->subnet) {
        g_free(pool->subnet);
        pool->subnet = sl_subnet_format(network->subnet);
    }
    if (!pool->gateway || !*pool->gateway) {
        g_free(pool->gateway);
        pool->gateway = sl_ip_format(network->gateway);
    }
}

static bool
plan_addresses(SlNetworks *networks, SlNetwork *network, GError **error)
{
    const DkIPAMPool *pool = network->config.ipam.config.n ? network->config.ipam.config.items : NULL;
    SlSubnet range;
    bool has_range = pool && pool->ip_range && *pool->ip_range;

    if (!choose_subnet(networks, network, pool, error))
        return false;
    if (has_range &&
        (!sl_subnet_parse(pool->ip_range, &range) || !sl_subnet_has(network->subnet, range.address) ||
         range.prefix < network->subnet.prefix))
        return sl_fail(error, SL_ERROR_INVALID, "IPAM.Config.IPRange %s is not within the subnet",
                       pool->ip_range);
    network->has_subnet = true;
    sl_ipam_init(&network->ipam, network->subnet, has_range ? &range : NULL);
    if (!reserve(network, pool, error))
        return false;
    complete_config(network);
    return true;
}

static SlNetwork *
network_new(const char *id, DkNetworkCreate *config)
{
    SlNetwork *network = g_new0(SlNetwork, 1);

    network->refs = 1;
    network->id = g_strdup(id);
    network->created_ns = sl_clock_now_ns();
    network->members = json_object();
    network->config = *config;
    memset(config, 0, sizeof *config);
    return network;
}

static bool
store_network(SlNetworks *networks, const SlNetwork *network, bool is_deleted, GError **error)
{
    g_autoptr(json_t) config = sl_json_write(dk_network_create_fields, &network->config);
    g_autoptr(json_t) document = json_pack("{s:I, s:b, s:O}", "created_ns", (json_int_t)network->created_ns,
                                           "has_users_subnet", network->has_users_subnet, "config", config);
    g_autofree char *text = is_deleted ? NULL : sl_json_dump(document);
    SlStoreChange change = { .kind = "network", .id = network->id, .document = text };

    return sl_events_commit(networks->events, &change, 1, error);
}

/* Adds it under the lock, so that of two with one name or subnet one fails. */
static bool
publish(SlNetworks *networks, SlNetwork *network, GError **error)
{
    SL_LOCK_GUARD(&networks->lock);

    if (find_named(networks, network->config.name))
        return sl_fail(error, SL_ERROR_CONFLICT, "network with name %s already exists", network->config.name);
    if (!plan_addresses(networks, network, error))
        return false;
    g_ptr_array_add(networks->all, network_ref(network));
    return true;
}

static void
unpublish(SlNetworks *networks, SlNetwork *network)
{
    SL_LOCK_GUARD(&networks->lock);

    network->is_gone = true;
    g_ptr_array_remove(networks->all, network);
}

SlNetwork *
sl_networks_create(SlNetworks *networks, DkNetworkCreate *config, GError **error)
{
    g_autoptr(SlNetwork) network = NULL;
    g_autofree char *id = sl_id_new();
    SlNetworkSpec spec;

    if (!check_config(config, error))
        return NULL;
    network = network_new(id, config);
    if (!publish(networks, network, error))
        return NULL;
    spec = sl_network_spec(network);
    if (!networks->driver->ops.network_create(networks->driver, &spec, error)) {
        unpublish(networks, network);
        return NULL;
    }
    sl_network_emit(networks, network, "create", NULL);
    if (!store_network(networks, network, false, error)) {
        networks->driver->ops.network_remove(networks->driver, &spec, NULL);
        unpublish(networks, network);
        return NULL;
    }
    sl_info("network created network=%s name=%s", network->id, network->config.name);
    return g_steal_pointer(&network);
}

/* From here on nobody joins it. */
static bool
begin_removal(SlNetworks *networks, SlNetwork *network, GError **error)
{
    SL_LOCK_GUARD(&networks->lock);

    if (network->is_gone)
        return sl_fail(error, SL_ERROR_NOT_FOUND, "network %s not found", network->id);
    if (json_object_size(network->members) > 0)
        return sl_fail(error, SL_ERROR_FORBIDDEN,
                       "error while removing network: network %s id %s has active endpoints",
                       network->config.name, network->id);
    network->is_gone = true;
    return true;
}

bool
sl_networks_remove(SlNetworks *networks, SlNetwork *network, GError **error)
{
    g_autoptr(GError) local = NULL;
    SlNetworkSpec spec = sl_network_spec(network);

    if (network->is_builtin)
        return sl_fail(error, SL_ERROR_FORBIDDEN, "%s is a pre-defined network and cannot be removed",
                       network->config.name);
    if (!begin_removal(networks, network, error))
        return false;
    sl_network_emit(networks, network, "destroy", NULL);
    if (!store_network(networks, network, true, error)) {
        SL_LOCK_GUARD(&networks->lock);
        network->is_gone = false;
        return false;
    }
    unpublish(networks, network);
    if (!networks->driver->ops.network_remove(networks->driver, &spec, &local))
        sl_error("a removed network stays with the driver network=%s error=%s", network->id, local->message);
    return true;
}

/* ---- containers ---- */

static bool
take_address(SlNetwork *network, const DkEndpointSettings *settings, uint32_t *ret_ip, GError **error)
{
    const char *wanted = settings->has_ipam_config ? settings->ipam_config.ipv4_address : NULL;
    uint32_t ip = 0;

    if (wanted && *wanted) {
        if (!network->has_users_subnet)
            return sl_fail(
                error, SL_ERROR_INVALID,
                network->is_builtin
                    ? "user specified IP address is supported on user defined networks only"
                    : "user specified IP address is supported only when connecting to networks with user "
                      "configured subnets");
        if (!sl_ip_parse(wanted, &ip))
            return sl_fail(error, SL_ERROR_INVALID, "invalid IPv4 address: %s", wanted);
    } else if (sl_ip_parse(settings->ip_address, &ip) && !sl_ipam_is_free(&network->ipam, ip)) {
        ip = 0;
    }
    return sl_ipam_take(&network->ipam, ip, ret_ip, error);
}

static void
replace(char **text, char *with)
{
    g_free(*text);
    *text = with;
}

static void
fill_settings(const SlNetwork *network, uint32_t ip, DkEndpointSettings *settings)
{
    replace(&settings->network_id, g_strdup(network->id));
    if (!settings->endpoint_id || !*settings->endpoint_id)
        replace(&settings->endpoint_id, sl_id_new());
    if (!network->has_subnet)
        return;
    replace(&settings->ip_address, sl_ip_format(ip));
    replace(&settings->gateway, network->config.internal ? g_strdup("") : sl_ip_format(network->gateway));
    settings->ip_prefix_len = network->subnet.prefix;
    /* made from the address, unless it was asked for */
    if (!settings->mac_address || !*settings->mac_address ||
        g_str_has_prefix(settings->mac_address, "02:42:"))
        replace(&settings->mac_address, g_strdup_printf("02:42:%02x:%02x:%02x:%02x", ip >> 24, ip >> 16 & 255,
                                                        ip >> 8 & 255, ip & 255));
}

bool
sl_network_join(SlNetworks *networks, SlNetwork *network, const char *container_id,
                const char *container_name, DkEndpointSettings *settings, GError **error)
{
    SL_LOCK_GUARD(&networks->lock);
    uint32_t ip = 0;

    if (network->is_gone)
        return sl_fail(error, SL_ERROR_NOT_FOUND, "network %s not found", network->config.name);
    if (network->has_subnet && !take_address(network, settings, &ip, error))
        return false;
    fill_settings(network, ip, settings);
    json_object_set_new(
        network->members, container_id,
        json_pack("{s:s, s:s, s:s, s:o, s:s}", "Name", container_name, "EndpointID", settings->endpoint_id,
                  "MacAddress", settings->mac_address ? settings->mac_address : "", "IPv4Address",
                  ip ? json_sprintf("%s/%d", settings->ip_address, network->subnet.prefix) : json_string(""),
                  "IPv6Address", ""));
    return true;
}

void
sl_network_leave(SlNetworks *networks, SlNetwork *network, const char *container_id, const char *address)
{
    SL_LOCK_GUARD(&networks->lock);
    uint32_t ip;

    if (json_object_del(network->members, container_id) == 0 && network->has_subnet &&
        sl_ip_parse(address, &ip))
        sl_ipam_give_back(&network->ipam, ip);
}

size_t
sl_network_count(SlNetworks *networks, SlNetwork *network)
{
    SL_LOCK_GUARD(&networks->lock);

    return json_object_size(network->members);
}

json_t *
sl_network_members(SlNetworks *networks, SlNetwork *network)
{
    SL_LOCK_GUARD(&networks->lock);

    return json_deep_copy(network->members);
}

/* ---- opening ---- */

static bool
load_network(void *user, const char *id, const char *document, GError **error)
{
    SlNetworks *networks = user;
    g_autoptr(json_t) root = sl_json_parse(document, strlen(document), "stored network", error);
    g_auto(DkNetworkCreate) config = { 0 };
    g_autoptr(SlNetwork) network = NULL;
    json_int_t created_ns;
    int has_users_subnet;
    json_t *config_json;

    if (!root)
        return false;
    if (json_unpack(root, "{s:I, s:b, s:o}", "created_ns", &created_ns, "has_users_subnet", &has_users_subnet,
                    "config", &config_json) < 0)
        return sl_fail(error, SL_ERROR_SYSTEM, "the stored network has not the members it should have");
    if (!sl_json_read(config_json, dk_network_create_fields, &config, "stored network", error))
        return false;
    network = network_new(id, &config);
    network->created_ns = created_ns;
    if (!publish(networks, network, error))
        return false;
    network->has_users_subnet = has_users_subnet;
    return true;
}

static bool
add_builtin(SlNetworks *networks, const char *engine_id, const char *name, const char *driver,
            const char *subnet, GError **error)
{
    g_autofree char *seed = g_strdup_printf("%s/network/%s", engine_id, name);
    g_autofree char *id = g_compute_checksum_for_string(G_CHECKSUM_SHA256, seed, -1);
    DkNetworkCreate config = { .name = g_strdup(name), .driver = g_strdup(driver), .has_ipam = true };
    g_autoptr(SlNetwork) network = NULL;

    config.ipam.driver = g_strdup("default");
    if (subnet) {
        DkIPAMPool *pool = g_new0(DkIPAMPool, 1);

        pool->subnet = g_strdup(subnet);
        config.ipam.config = (SlJsonArray){ pool, 1 };
    }
    network = network_new(id, &config);
    network->is_builtin = true;
    if (subnet) {
        if (!publish(networks, network, error))
            return false;
        network->has_users_subnet = false;
    } else {
        g_ptr_array_add(networks->all, network_ref(network));
    }
    return true;
}

static bool
tell_driver(SlNetworks *networks, GError **error)
{
    for (guint i = 0; i < networks->all->len; i++) {
        SlNetwork *network = networks->all->pdata[i];
        SlNetworkSpec spec = sl_network_spec(network);

        if (network->has_subnet && !networks->driver->ops.network_create(networks->driver, &spec, error))
            return false;
    }
    return true;
}

SlNetworks *
sl_networks_open(SlStore *store, SlEvents *events, SlDriver *driver, const char *engine_id, GError **error)
{
    SlNetworks *networks = g_new0(SlNetworks, 1);

    networks->store = store;
    networks->events = events;
    networks->driver = driver;
    networks->all = g_ptr_array_new_with_free_func((GDestroyNotify)sl_network_unref);
    pthread_mutex_init(&networks->lock, NULL);
    if (!add_builtin(networks, engine_id, "bridge", "bridge", "172.17.0.0/16", error) ||
        !add_builtin(networks, engine_id, "host", "host", NULL, error) ||
        !add_builtin(networks, engine_id, "none", "null", NULL, error) ||
        !sl_store_each(store, "network", load_network, networks, error) || !tell_driver(networks, error)) {
        sl_networks_close(networks);
        return NULL;
    }
    return networks;
}

void
sl_networks_close(SlNetworks *networks)
{
    g_ptr_array_unref(networks->all);
    pthread_mutex_destroy(&networks->lock);
    g_free(networks);
}
