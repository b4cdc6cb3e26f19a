/* GET /containers/json. */
#pragma once

#include "backends/core/core.h"
#include "net/http_server.h"

bool sl_containers_list(SlCall *call, GError **error);
