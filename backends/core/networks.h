/*
 * Networks: bridge, host and none, and those of users, which the store keeps (kind "network"). Which container has
 * which address is known here while it runs; the container's document keeps it (container_networks.h).
 *
 * One lock, a leaf; what never changes after a network was made may be read without it.
 */
#pragma once

#include "backends/core/driver.h"
#include "backends/core/events.h"
#include "backends/core/ipam.h"
#include "backends/core/store.h"

#include <stdatomic.h>

typedef struct SlNetworks SlNetworks;

typedef struct SlNetwork {
    atomic_int refs;
    char *id;
    int64_t created_ns;
    bool is_builtin;
    bool has_subnet;        /* not host, not none */
    bool has_users_subnet;  /* it was asked for: containers may ask for addresses */
    DkNetworkCreate config; /* with the IPAM that was chosen */
    SlSubnet subnet;
    uint32_t gateway;
    /* the lock's */
    SlIpam ipam;
    json_t *members; /* container id → what inspect shows of it */
    bool is_gone;
} SlNetwork;

void sl_network_unref(SlNetwork *network);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SlNetwork, sl_network_unref)

/* engine_id: what the built-in networks' ids are made from. Makes what the driver needs for them. */
SlNetworks *sl_networks_open(SlStore *store, SlEvents *events, SlDriver *driver, const char *engine_id,
                             GError **error);
void sl_networks_close(SlNetworks *networks);

/* By id, name or unique prefix of an id. Errors: SL_ERROR_NOT_FOUND "network x not found", SL_ERROR_INVALID. A reference. */
SlNetwork *sl_networks_find(SlNetworks *networks, const char *reference, GError **error);
/* References, oldest first, the built-in ones before. */
GPtrArray *sl_networks_list(SlNetworks *networks);

/* config is moved in. Errors: SL_ERROR_CONFLICT and others in Docker's words; SL_ERROR_UNSUPPORTED naming the member. */
SlNetwork *sl_networks_create(SlNetworks *networks, DkNetworkCreate *config, GError **error);
/* Errors: SL_ERROR_FORBIDDEN: built in, or in use. */
bool sl_networks_remove(SlNetworks *networks, SlNetwork *network, GError **error);

/*
 * Gives a container an address; settings say what it wants (IPAMConfig, MacAddress) and had (IPAddress: taken again
 * if free; EndpointID: kept), and are filled. Errors: SL_ERROR_NOT_FOUND when the network was removed meanwhile, those of sl_ipam_take.
 */
bool sl_network_join(SlNetworks *networks, SlNetwork *network, const char *container_id,
                     const char *container_name, DkEndpointSettings *settings, GError **error);
void sl_network_leave(SlNetworks *networks, SlNetwork *network, const char *container_id,
                      const char *address);
/* The number of containers on it that run. */
size_t sl_network_count(SlNetworks *networks, SlNetwork *network);
/* A copy of members. */
json_t *sl_network_members(SlNetworks *networks, SlNetwork *network);
SlNetworkSpec sl_network_spec(const SlNetwork *network);
/* Notes a network event. extra: taken, may be NULL. */
void sl_network_emit(SlNetworks *networks, const SlNetwork *network, const char *action, json_t *extra);
