/* POST /containers/{id}/wait: a parked stream, no thread. */
#pragma once

#include "backends/core/container.h"

/* The head goes out at once, {"StatusCode": n} when wait_for comes true. Takes the call. */
bool sl_wait_serve(SlContainer *container, SlCall *call, SlWaitFor wait_for, GError **error);
