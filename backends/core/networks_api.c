#include "backends/core/system_api.h"

#include "api/filters.h"
#include "backends/core/core.h"
#include "common/clock.h"
#include "common/id.h"

#include <string.h>

/* The networks that every engine has. They carry no traffic in this build and say so; clients want them to be there (CLIENTS 17, 30). */
static const struct Network {
    const char *name, *driver;
    const char *subnet, *gateway; /* Testcontainers waits for the key */
} networks[] = {
    { "bridge", "bridge", "172.17.0.0/16", "172.17.0.1" },
    { "host", "host", NULL, NULL },
    { "none", "null", NULL, NULL },
};

static const char *const known_filters[] = { "dangling", "driver", "id",   "label",
                                             "name",     "scope",  "type", NULL };

/* The same for the engine's life, another for every engine. Caller frees. */
static char *
network_id(SlCore *core, const struct Network *network)
{
    g_autofree char *seed = g_strdup_printf("%s/network/%s", core->engine_id, network->name);

    return g_compute_checksum_for_string(G_CHECKSUM_SHA256, seed, -1);
}

static json_t *
network_json(SlCore *core, const struct Network *network, const char *id)
{
    g_autofree char *created = sl_clock_format(core->started_ns);
    json_t *pools = json_array();

    if (network->subnet)
        json_array_append_new(
            pools, json_pack("{s:s, s:s}", "Subnet", network->subnet, "Gateway", network->gateway));
    return json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:b, s:{s:s, s:n, s:o}, s:b, s:b, s:b, s:{s:s}, s:b, s:{}, s:{s:s}, s:{}}",
        "Name", network->name, "Id", id, "Created", created, "Scope", "local", "Driver", network->driver,
        "EnableIPv6", 0, "IPAM", "Driver", "default", "Options", "Config", pools, "Internal", 0, "Attachable",
        0, "Ingress", 0, "ConfigFrom", "Network", "", "ConfigOnly", 0, "Containers", "Options",
        "com.sockerless.note", "no network traffic in this build", "Labels");
}

static bool
is_wanted(const DkFilters *filters, const struct Network *network, const char *id)
{
    return dk_filters_match_exact(filters, "dangling", "false") &&
           dk_filters_match_exact(filters, "driver", network->driver) &&
           dk_filters_match_regex(filters, "id", id) && dk_filters_match_labels(filters, "label", NULL) &&
           dk_filters_match_regex(filters, "name", network->name) &&
           dk_filters_match_exact(filters, "scope", "local") &&
           dk_filters_match_exact(filters, "type", "builtin");
}

bool
sl_networks_list(SlCall *call, GError **error)
{
    SlCore *core = sl_call_core(call);
    g_autoptr(DkFilters) filters = dk_filters_parse(sl_call_query(call, "filters"), known_filters, error);
    json_t *list;

    if (!filters)
        return false;
    list = json_array();
    for (size_t i = 0; i < G_N_ELEMENTS(networks); i++) {
        g_autofree char *id = network_id(core, &networks[i]);

        if (is_wanted(filters, &networks[i], id))
            json_array_append_new(list, network_json(core, &networks[i], id));
    }
    return sl_call_reply_json(call, 200, list, error);
}

bool
sl_network_inspect(SlCall *call, GError **error)
{
    SlCore *core = sl_call_core(call);
    const char *reference = sl_call_param(call, "id");

    for (size_t i = 0; i < G_N_ELEMENTS(networks); i++) {
        g_autofree char *id = network_id(core, &networks[i]);

        if (strcmp(reference, networks[i].name) == 0 ||
            (sl_id_is_prefix(reference) && g_str_has_prefix(id, reference)))
            return sl_call_reply_json(call, 200, network_json(core, &networks[i], id), error);
    }
    return sl_fail(error, SL_ERROR_NOT_FOUND, "network %s not found", reference);
}
