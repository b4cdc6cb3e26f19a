/*
 * The Docker Engine API on top of a backend's internal API (spec/internal-api.md). Stateless: a request is
 * normalised, forwarded, and its answer handed back; streams are joined and not looked into.
 */
#pragma once

#include "net/http_client.h"
#include "net/http_server.h"
#include "net/tls_settings.h"

typedef struct SlFrontend SlFrontend;

typedef struct SlFrontendConfig {
    char **addresses;                              /* to listen on, beside passed-in sockets */
    char *backend;                                 /* address of the backend; https:// for TLS */
    bool allow_public;                             /* TCP beyond loopback without --tlsverify */
    SlTlsSettings tls;                             /* of our TCP listeners */
    char *backend_ca, *backend_cert, *backend_key; /* for a backend over https */
    char *token_file;                              /* what the backend wants to be told */
    char **allowed_hosts; /* Host headers accepted on TCP beside localhost and literal addresses */
} SlFrontendConfig;

/* Listens and serves. config must stay. Errors: SL_ERROR_INVALID naming the address, SL_ERROR_CONFLICT when
 * one is in use. */
SlFrontend *sl_frontend_open(const SlFrontendConfig *config, char **environ_, GError **error);
/* Stops accepting, lets calls end for grace_ms, then frees. False: some did not end, and nothing was freed;
 * the process should end. */
bool sl_frontend_close(SlFrontend *frontend, int grace_ms);
/* Reads certificates and token again, for connections from now on; what cannot be read is logged and stays as it was. */
void sl_frontend_reload(SlFrontend *frontend);
/* "unix:///path" or "tcp://host:port" of each listener, NULL-ended; the real port where 0 was asked.
 * Borrowed. */
const char *const *sl_frontend_get_addresses(SlFrontend *frontend);

/* ---- for the handlers ---- */

SlHttpClient *sl_frontend_get_client(SlFrontend *frontend);
SlRelay *sl_frontend_get_relay(SlFrontend *frontend);
const char *sl_frontend_get_backend(SlFrontend *frontend);
/* GET /version's body as the backend gave it; kept until somebody finds the backend gone. NULL when it is not
 * known. Any thread. */
GBytes *sl_frontend_dup_version(SlFrontend *frontend);
void sl_frontend_keep_version(SlFrontend *frontend, GBytes *version /* NULL forgets */);

extern const SlRoute sl_frontend_routes[];
/* Refuses API versions that we do not speak, in Docker's words. */
bool sl_frontend_admit(SlCall *call, GError **error);
/* The client's API version as 1000 * major + minor; 1.44 for a path without one. */
int sl_frontend_api_version(SlCall *call);
