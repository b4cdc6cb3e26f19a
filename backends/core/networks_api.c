/* /internal/v1/networks */
#include "backends/core/networks_api.h"

#include "api/filters.h"
#include "api/names.h"
#include "backends/core/container_networks.h"
#include "common/clock.h"
#include "common/id.h"

#include <string.h>

static const char *const list_filters[] = {
    "dangling", "driver", "id", "label", "name", "scope", "type", NULL
};

/* members: taken; what list shows as none. */
static json_t *
network_json(const SlNetwork *network, json_t *members)
{
    const DkNetworkCreate *config = &network->config;
    g_autofree char *created = sl_clock_format(network->created_ns);
    json_t *ipam = sl_json_write(dk_ipam_fields, &config->ipam);

    if (!json_is_array(json_object_get(ipam, "Config")))
        json_object_set_new(ipam, "Config", json_array());
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:b, s:o, s:b, s:b, s:b, s:{s:s}, s:b, s:o, s:o, s:o}",
                     "Name", config->name, "Id", network->id, "Created", created, "Scope", "local", "Driver",
                     config->driver, "EnableIPv6", false, "IPAM", ipam, "Internal", config->internal,
                     "Attachable", config->attachable, "Ingress", false, "ConfigFrom", "Network", "",
                     "ConfigOnly", false, "Containers", members, "Options",
                     config->options ? json_deep_copy(config->options) : json_object(), "Labels",
                     config->labels ? json_deep_copy(config->labels) : json_object());
}

static SlNetwork *
call_network(SlCall *call, GError **error)
{
    return sl_networks_find(sl_call_core(call)->networks, sl_call_param(call, "id"), error);
}

static bool
is_wanted(SlCore *core, SlNetwork *network, const DkFilters *filters)
{
    bool is_dangling = !network->is_builtin && sl_network_count(core->networks, network) == 0;
    const char *const *dangling = dk_filters_get(filters, "dangling");

    return (!dangling || is_dangling == (strcmp(*dangling, "true") == 0 || strcmp(*dangling, "1") == 0)) &&
           dk_filters_match_exact(filters, "driver", network->config.driver) &&
           dk_filters_match_regex(filters, "id", network->id) &&
           dk_filters_match_labels(filters, "label", network->config.labels) &&
           dk_filters_match_regex(filters, "name", network->config.name) &&
           dk_filters_match_exact(filters, "scope", "local") &&
           dk_filters_match_exact(filters, "type", network->is_builtin ? "builtin" : "custom");
}

/* GET /networks?filters= → 200 list. */
static bool
networks_list(SlCall *call, GError **error)
{
    SlCore *core = sl_call_core(call);
    g_autoptr(DkFilters) filters = dk_filters_parse(sl_call_query(call, "filters"), list_filters, error);
    g_autoptr(GPtrArray) networks = NULL;
    json_t *list;

    if (!filters)
        return false;
    networks = sl_networks_list(core->networks);
    list = json_array();
    for (guint i = 0; i < networks->len; i++) {
        if (is_wanted(core, networks->pdata[i], filters))
            json_array_append_new(list, network_json(networks->pdata[i], json_object()));
    }
    return sl_call_reply_json(call, 200, list, error);
}

/* GET /networks/{id} → 200; 404. By name, id or prefix of an id. */
static bool
network_inspect(SlCall *call, GError **error)
{
    g_autoptr(SlNetwork) network = call_network(call, error);

    return network &&
           sl_call_reply_json(
               call, 200, network_json(network, sl_network_members(sl_call_core(call)->networks, network)),
               error);
}

/* POST /networks/create → 201 {Id, Warning}; 400, 403, 409, 501. */
static bool
network_create(SlCall *call, GError **error)
{
    g_auto(DkNetworkCreate) config = { 0 };
    g_autoptr(SlNetwork) network = NULL;

    if (!sl_call_json(call, dk_network_create_fields, &config, error))
        return false;
    network = sl_networks_create(sl_call_core(call)->networks, &config, error);
    return network &&
           sl_call_reply_json(call, 201, json_pack("{s:s, s:s}", "Id", network->id, "Warning", ""), error);
}

/* DELETE /networks/{id} → 204; 403 in use or built in; 404. */
static bool
network_remove(SlCall *call, GError **error)
{
    g_autoptr(SlNetwork) network = call_network(call, error);

    return network && sl_networks_remove(sl_call_core(call)->networks, network, error) &&
           sl_call_reply_empty(call, 204, error);
}

/* POST /networks/{id}/connect → 200; 403 already there; 404. */
static bool
network_connect(SlCall *call, GError **error)
{
    g_auto(DkNetworkConnect) body = { 0 };
    g_autoptr(SlNetwork) network = NULL;
    g_autoptr(SlContainer) container = NULL;

    if (!sl_call_json(call, dk_network_connect_fields, &body, error))
        return false;
    network = call_network(call, error);
    container =
        network ? sl_core_find(sl_call_core(call), body.container ? body.container : "", error) : NULL;
    return container && sl_container_connect(container, network, &body.endpoint_config, error) &&
           sl_call_reply_empty(call, 200, error);
}

/* POST /networks/{id}/disconnect → 200; 403 not there; 404. */
static bool
network_disconnect(SlCall *call, GError **error)
{
    g_auto(DkNetworkDisconnect) body = { 0 };
    g_autoptr(SlNetwork) network = NULL;
    g_autoptr(SlContainer) container = NULL;

    if (!sl_call_json(call, dk_network_disconnect_fields, &body, error))
        return false;
    network = call_network(call, error);
    container =
        network ? sl_core_find(sl_call_core(call), body.container ? body.container : "", error) : NULL;
    return container && sl_container_disconnect(container, network, error) &&
           sl_call_reply_empty(call, 200, error);
}

/* POST /networks/prune?filters= → 200 {NetworksDeleted}: those that no running container is on. */
static bool
networks_prune(SlCall *call, GError **error)
{
    static const char *const known[] = { "label", "label!", "until", NULL };
    SlCore *core = sl_call_core(call);
    g_autoptr(DkFilters) filters = dk_filters_parse(sl_call_query(call, "filters"), known, error);
    g_autoptr(GPtrArray) networks = NULL;
    g_autoptr(json_t) deleted = json_array();
    const char *const *until;
    int64_t until_ns = INT64_MAX;

    if (!filters)
        return false;
    until = dk_filters_get(filters, "until");
    if (until && !dk_time_parse(*until, "until", sl_clock_now_ns(), &until_ns, error))
        return false;
    networks = sl_networks_list(core->networks);
    for (guint i = 0; i < networks->len; i++) {
        SlNetwork *network = networks->pdata[i];
        const json_t *labels = network->config.labels;

        if (network->is_builtin || network->created_ns > until_ns ||
            !dk_filters_match_labels(filters, "label", labels) ||
            (dk_filters_get(filters, "label!") && dk_filters_match_labels(filters, "label!", labels)) ||
            !sl_networks_remove(core->networks, network, NULL))
            continue;
        json_array_append_new(deleted, json_string(network->config.name));
    }
    sl_events_emit(core->events, "network", "prune", "", json_pack("{s:s}", "reclaimed", "0"));
    return sl_call_reply_json(call, 200,
                              json_pack("{s:o}", "NetworksDeleted",
                                        json_array_size(deleted) > 0 ? json_incref(deleted) : json_null()),
                              error);
}

const SlRoute sl_network_routes[] = {
    { "GET", "/internal/v1/networks", networks_list, 0 },
    { "POST", "/internal/v1/networks/create", network_create, 0 },
    { "POST", "/internal/v1/networks/prune", networks_prune, 0 },
    { "GET", "/internal/v1/networks/{id}", network_inspect, 0 },
    { "DELETE", "/internal/v1/networks/{id}", network_remove, 0 },
    { "POST", "/internal/v1/networks/{id}/connect", network_connect, 0 },
    { "POST", "/internal/v1/networks/{id}/disconnect", network_disconnect, 0 },
    { 0 },
};
