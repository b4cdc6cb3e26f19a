/* /internal/v1/containers/… and /internal/v1/exec/… */
#pragma once

#include "net/http_server.h"

extern const SlRoute sl_container_routes[];
extern const SlRoute sl_exec_routes[];

/* "application/vnd.docker.multiplexed-stream" from API 1.42 on without a tty, else "…raw-stream". */
const char *sl_stream_content_type(SlCall *call, bool has_tty);
