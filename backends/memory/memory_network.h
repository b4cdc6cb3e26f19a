/* The folder that containers' sandboxes know their networks from (sandbox/net.h describes it): DATA/networks. */
#pragma once

#include "backends/core/driver.h"

typedef struct MemoryNetworks MemoryNetworks;

MemoryNetworks *memory_networks_open(const char *data, GError **error);
void memory_networks_close(MemoryNetworks *networks);

/* The driver's operations of the same names. */
bool memory_networks_create(MemoryNetworks *networks, const SlNetworkSpec *network, GError **error);
bool memory_networks_remove(MemoryNetworks *networks, const SlNetworkSpec *network, GError **error);
bool memory_networks_join(MemoryNetworks *networks, const SlEndpointSpec *endpoint, GError **error);
bool memory_networks_leave(MemoryNetworks *networks, const SlEndpointSpec *endpoint, GError **error);
bool memory_networks_configure(MemoryNetworks *networks, const SlLaunchSpec *spec,
                               const SlEndpointSpec *endpoints, size_t n, GError **error);

/* What an earlier run left open, goes. */
void memory_networks_clean(MemoryNetworks *networks, const char *container_id);
/* The container is removed. */
void memory_networks_forget(MemoryNetworks *networks, const char *container_id);
/* The sandbox' options. Adds to the list runtime. */
void memory_networks_add_options(MemoryNetworks *networks, const SlLaunchSpec *spec, json_t *runtime);
/* Address and gateway of the container's first interface as it is configured now; false: it has none. g_free. */
bool memory_networks_address(MemoryNetworks *networks, const char *container_id, char **ret_address,
                             char **ret_gateway);
