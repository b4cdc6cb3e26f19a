/* Attach: a client's stream becomes a container's stdio. */
#pragma once

#include "backends/core/container.h"
#include "backends/core/detach_keys.h"

typedef struct SlAttachQuery {
    bool logs, stream, stdin_, stdout_, stderr_;
    SlDetachKeys detach_keys; /* heeded with a tty */
} SlAttachQuery;

/* POST /containers/{id}/attach: takes the call's connection. Before a start the stream is held open and no input is read. */
bool sl_attach_serve(SlContainer *container, SlCall *call, const char *content_type,
                     const SlAttachQuery *query, GError **error);
