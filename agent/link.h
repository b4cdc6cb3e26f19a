/* A connection of the daemon: handshake, then WebSocket, on a socket of its own. */
#pragma once

#include "agent/protocol.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct SlAgent SlAgent;
typedef struct SlAgentLink SlAgentLink;

/* Accepts what waits at the listening socket; adds to agent->links. */
void sl_link_accept(SlAgent *agent);
void sl_link_free(SlAgentLink *link);

/* Queues a message; sl_link_sweep sends it. */
void sl_link_send_text(SlAgentLink *link, const char *text, size_t n);
void sl_link_send_frame(SlAgentLink *link, const SlAgentFrame *frame, const void *data, size_t n);
/* False: so much is queued that output of execs has to wait. */
bool sl_link_has_room(SlAgentLink *link);
/* Between two turns of the loop: sends what the sockets take, and frees links that are lost. */
void sl_link_sweep(SlAgent *agent);
/* Ends it at the next sweep. */
void sl_link_drop(SlAgentLink *link);
