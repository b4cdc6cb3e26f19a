/*
 * HTTP(S) to the world, over libcurl: registries now, clouds later. One call: request in, status, headers and body out. Redirects are not followed by
 * libcurl: the caller sees 3xx and decides (credentials must not travel to another host).
 */
#pragma once

#include "common/cancel.h"

#include <stddef.h>
#include <stdint.h>

typedef struct SlFetcher SlFetcher; /* connection cache and settings; thread-safe */

typedef struct SlFetchConfig {
    const char *user_agent;
    const char *proxy;      /* NULL: none; credentials allowed */
    const char *ca_file;    /* NULL: the system's */
    int connect_timeout_ms; /* 0: 10,000 */
    int stall_timeout_ms;   /* no byte for so long ends it; 0: 60,000 */
} SlFetchConfig;

SlFetcher *sl_fetcher_new(const SlFetchConfig *config);
void sl_fetcher_free(SlFetcher *fetcher);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SlFetcher, sl_fetcher_free)

typedef struct SlFetch {
    const char *method, *url;
    const char *const *headers; /* name, value, …, NULL */
    const void *body;
    size_t n_body;
    bool insecure_tls; /* accept any certificate */
    /* Called with pieces of a 2xx body as they come; false ends the fetch with *error. NULL: the body is kept in reply->body. */
    bool (*sink)(void *user, const void *data, size_t n, GError **error);
    void *sink_user;
    /* Judges the address that is connected to (numeric), whatever the name resolved to before: asked before a socket is
     * made, and again before a request goes out on a kept connection. False refuses it with *error. NULL: any address will
     * do. Not asked when a proxy makes the connection. */
    bool (*admit)(void *user, const char *address, GError **error);
    void *admit_user;
    size_t max_body; /* of a kept body, and of any non-2xx one; 0: 4 MiB */
} SlFetch;

typedef struct SlFetchReply {
    unsigned status;
    GHashTable *headers; /* lower-case name → value; repeated ones joined by ", " */
    char *body;          /* NUL-ended; what was kept */
    size_t n_body;
} SlFetchReply;
void sl_fetch_reply_clear(SlFetchReply *reply);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(SlFetchReply, sl_fetch_reply_clear)

/* True for any HTTP status. Errors: SL_ERROR_UNAVAILABLE (no such name, refused, no route, TLS failure, time), CANCELLED, the sink's and admit's own. The sentence is
 * worded as Docker's for a registry: Get "URL": dial tcp HOST:PORT: connect: connection refused / lookup HOST: no such host. */
bool sl_fetch(SlFetcher *fetcher, SlCancel *cancel, const SlFetch *fetch, SlFetchReply *ret_reply,
              GError **error);
