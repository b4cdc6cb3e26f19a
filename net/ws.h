/*
 * WebSocket (RFC 6455) for agent links: both ends, event-driven. Not a thread of its own and no descriptor: the owner reads and
 * writes its transport and hands the bytes over. No extensions. Callbacks may send; they must not free the SlWs.
 */
#pragma once

#include "common/error.h"

#include <stddef.h>
#include <stdint.h>

typedef struct SlWs SlWs;

typedef struct SlWsOps {
    /* A whole text or binary message; data is borrowed. */
    void (*message)(void *user, bool is_binary, const uint8_t *data, size_t n);
    /* The peer closed, or broke the protocol (code 1002, 1009 for a message above max_message); nothing comes after it. */
    void (*closed)(void *user, unsigned code);
} SlWsOps;

/* is_client: our frames are masked and the peer's must not be; and the reverse. */
SlWs *sl_ws_new(bool is_client, size_t max_message, const SlWsOps *ops, void *user);
void sl_ws_free(SlWs *ws);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SlWs, sl_ws_free)

/* Bytes from the transport; calls message and closed, answers pings. Errors: SL_ERROR_INVALID once the connection is beyond use. */
bool sl_ws_receive(SlWs *ws, const uint8_t *data, size_t n, GError **error);
/* Queues a message. head and data are sent as one (head may be NULL); both copied. */
void sl_ws_send(SlWs *ws, bool is_binary, const void *head, size_t n_head, const void *data, size_t n);
void sl_ws_send_ping(SlWs *ws);
void sl_ws_send_close(SlWs *ws, unsigned code);
/* Bytes for the transport: a borrowed block, valid until the next call on ws; 0 bytes when there are none. */
size_t sl_ws_peek(SlWs *ws, const uint8_t **ret_data);
/* n of them were written. */
void sl_ws_wrote(SlWs *ws, size_t n);
size_t sl_ws_n_queued(SlWs *ws); /* bytes not written yet */

/* The opening handshake. Caller frees. */
char *sl_ws_key_new(void);
char *sl_ws_accept_key(const char *key);
