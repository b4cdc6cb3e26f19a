/* What a client asks of the engine as a whole: info, version, login, events; and of what this build has none of: volumes, plugins. */
#pragma once

#include "net/http_server.h"

extern const SlRoute sl_system_routes[];
