/* /internal/v1/networks/… */
#pragma once

#include "net/http_server.h"

extern const SlRoute sl_network_routes[];
