/* What a client asks of the engine as a whole: info, version, login, events; and of what this build has none of: networks of its own, volumes, plugins. */
#pragma once

#include "net/http_server.h"

extern const SlRoute sl_system_routes[];

/* GET /networks?filters= → 200 list. */
bool sl_networks_list(SlCall *call, GError **error);
/* GET /networks/{id} → 200; 404. By name, id or prefix of an id. */
bool sl_network_inspect(SlCall *call, GError **error);
