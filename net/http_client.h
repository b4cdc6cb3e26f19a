/*
 * Our own HTTP/1.1 client for the hop from frontend to backend: keep-alive pool, streaming bodies both ways, and answers that turn into raw streams.
 * Thread-safe. (Clouds and registries: net/fetch.h.)
 */
#pragma once

#include "common/cancel.h"
#include "net/address.h"
#include "net/stream.h"
#include "net/tls.h"
#include "net/token.h"

typedef struct SlHttpClient SlHttpClient;
typedef struct SlHttpReply SlHttpReply;

typedef struct SlHttpRequest {
    const char *method, *target;
    const char *const *
        headers; /* name, value, …, NULL; may be NULL. Host, Connection, Upgrade, Expect, the body's framing and, with a token, Authorization are ours: dropped here */
    const void *body; /* n_body bytes; or: */
    size_t n_body;
    /* pulls the body: ret_n 0 ends it. Sent with Content-Length content_length, or chunked when that is -1 */
    bool (*body_read)(void *user, void *data, size_t n, size_t *ret_n, GError **error);
    void *body_user;
    int64_t content_length;
    bool upgrade;   /* sends Connection: Upgrade, Upgrade: tcp */
    int http_minor; /* 1 unless the caller wants an HTTP/1.0 answer (no chunks) */
    bool is_stream; /* the answer will be taken: use a fresh connection and leave room for a raw stream */
} SlHttpRequest;

SlHttpClient *sl_http_client_new(const SlAddress *address);
/* For connections from now on; before the first call. tls: NULL, or how to connect over TCP. token: NULL, or sent with every request as
 * Authorization. Both must outlive the client. */
void sl_http_client_secure(SlHttpClient *client, SlTls *tls, SlToken *token);
/* Its replies must be gone. */
void sl_http_client_free(SlHttpClient *client);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SlHttpClient, sl_http_client_free)

/*
 * Sends and reads the head of the answer. A pooled connection that the other side had closed is replaced once when nothing of the answer came and the body
 * can be sent again. NULL: SL_ERROR_UNAVAILABLE (nobody there), SYSTEM, CANCELLED; the error of body_read as it is.
 */
SlHttpReply *sl_http_client_call(SlHttpClient *client, SlCancel *cancel, const SlHttpRequest *request,
                                 GError **error);
unsigned sl_http_reply_status(SlHttpReply *reply);
const char *sl_http_reply_header(SlHttpReply *reply, const char *name);
/* The n-th header as it came, for proxies. False past the end. */
bool sl_http_reply_header_at(SlHttpReply *reply, size_t n, const char **ret_name, const char **ret_value);
int64_t sl_http_reply_content_length(SlHttpReply *reply); /* -1: unknown (chunked or to the end) */
/* Decoded body, ret_n 0 at its end. */
bool sl_http_reply_read(SlHttpReply *reply, SlCancel *cancel, void *data, size_t n, size_t *ret_n,
                        GError **error);
/* The whole body, NUL-ended; at most max bytes, else SL_ERROR_TOO_LARGE. */
bool sl_http_reply_read_all(SlHttpReply *reply, SlCancel *cancel, size_t max, char **ret_data, size_t *ret_n,
                            GError **error);
/* The connection as a stream: everything after the head, undecoded. Ends the reply's use of it. */
SlStream *sl_http_reply_take(SlHttpReply *reply);
/* Returns the connection to the pool when the body was read to its end, else closes it. */
void sl_http_reply_free(SlHttpReply *reply);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SlHttpReply, sl_http_reply_free)
