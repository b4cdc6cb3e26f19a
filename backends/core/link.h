/*
 * The daemon's end of an agent's connection (agent/protocol.h). Lives on the core's loop; requests may block other threads, never the loop.
 */
#pragma once

#include "agent/protocol.h"
#include "common/cancel.h"
#include "common/json_fields.h"
#include "net/loop.h"

#include <jansson.h>

typedef struct SlLink SlLink;

typedef enum SlLinkGrown {
    SL_LINK_SEEN,
    SL_LINK_LEFT,
    SL_LINK_SILENT, /* as LEFT, where nothing is ever held */
} SlLinkGrown;

/* All on the loop's thread. user is handed over with sl_link_new and freed by closed. Messages are borrowed. */
typedef struct SlLinkOps {
    void (*hello)(void *user, const json_t *hello);
    void (*exited)(void *user, uint32_t channel, const json_t *exited);
    /* What the agent is told: that it was seen, and the next growth shall be told at once; or, so that no segment is held, that nobody reads. */
    SlLinkGrown (*grown)(void *user, uint64_t length);
    void (*data)(void *user, uint32_t channel, uint64_t offset, const uint8_t *data, size_t n);
    void (*end)(void *user, uint32_t channel);
    void (*window)(void *user, uint32_t channel, uint64_t offset);
    /* Last: the agent is gone, or the link was closed from here. */
    void (*closed)(void *user);
} SlLinkOps;

/* fd is taken and must be connected. Nothing happens before sl_link_start. */
SlLink *sl_link_new(SlLoop *loop, int fd, const char *token, const SlLinkOps *ops, void *user);
/* Sends the handshake; requests may follow at once, callbacks may come before it returns. Once, any thread. */
void sl_link_start(SlLink *link);
SlLink *sl_link_ref(SlLink *link);
void sl_link_unref(SlLink *link);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SlLink, sl_link_unref)

/* Sends message (taken; "id" is added) and waits for its answer. The agent's error comes as a GError with its status; ret_exit_code (may be NULL) gets its exit_code, else 0. ret_answer may be NULL.
 * Errors also: SL_ERROR_UNAVAILABLE when the link breaks, SL_ERROR_DEADLINE, SL_ERROR_CANCELLED. Not on the loop's thread. */
bool sl_link_request(SlLink *link, json_t *message, SlCancel *cancel, int timeout_ms, json_t **ret_answer,
                     int *ret_exit_code, GError **error);
/* The loop's thread only. */
void sl_link_send_frame(SlLink *link, SlAgentFrameType type, uint32_t channel, uint64_t offset,
                        const void *data, size_t n);
/* The last GROWN was handled. Any thread; nothing happens when none is owed. */
void sl_link_seen(SlLink *link);
/* Tells the agent to end (is_shutdown), then closes. Any thread; closed() follows. */
void sl_link_close(SlLink *link, bool is_shutdown);
/* A channel number that was not used on this link. */
uint32_t sl_link_next_channel(SlLink *link);
