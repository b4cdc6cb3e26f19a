/* Which networks a container is on: asked for in create and connect, taken when it starts, given back when it ends. */
#pragma once

#include "backends/core/container.h"
#include "backends/core/networks.h"

typedef struct SlAttachment {
    char *network; /* as it was asked for; the network's name once that is known */
    DkEndpointSettings settings;
    bool is_connected; /* has an address, and the driver knows */
} SlAttachment;

void sl_attachment_free(SlAttachment *endpoint);

/* From HostConfig.NetworkMode and NetworkingConfig. Errors: SL_ERROR_INVALID, SL_ERROR_UNSUPPORTED by name. */
bool sl_container_plan_networks(SlContainer *container, GError **error);
/* Joins those that it is not on yet. Turn is held. Errors: SL_ERROR_NOT_FOUND "network x not found", no address. */
bool sl_container_join_networks(SlContainer *container, GError **error);
/* A container that was found running, and not noted to be on its networks: joins them now. Turn is held. */
void sl_container_rejoin_networks(SlContainer *container);
/* Turn is held. */
void sl_container_leave_networks(SlContainer *container);
/* After a restart of the daemon: the addresses of those that ran are taken. */
void sl_container_reclaim_networks(SlContainer *container);

/* While it runs, or before. settings: moved in. Errors: SL_ERROR_FORBIDDEN, SL_ERROR_INVALID. */
bool sl_container_connect(SlContainer *container, SlNetwork *network, DkEndpointSettings *settings,
                          GError **error);
bool sl_container_disconnect(SlContainer *container, const SlNetwork *network, GError **error);

/* NetworkSettings.Networks. container->lock is held. */
json_t *sl_container_networks(const SlContainer *container);
/* Adds IPAddress and the like, of the default bridge, to NetworkSettings. container->lock is held. */
void sl_container_put_default_network(const SlContainer *container, json_t *settings);
/* Whether the list's filter means it: a network's name or id. */
bool sl_container_is_on(SlContainer *container, const DkFilters *filters);

/* The stored form. container->lock is held by the first. */
json_t *sl_container_endpoints_write(const SlContainer *container);
bool sl_container_endpoints_read(SlContainer *container, const json_t *list, GError **error);
