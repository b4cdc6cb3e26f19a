/*
 * TLS 1.2 and 1.3 by OpenSSL, as a layer of a stream. The only file that knows OpenSSL's connections.
 *
 * An SlTls is one side's certificates and rules, for any number of connections; it can be read anew from its files while it
 * is in use. Connections that are open keep what they began with. All functions may be called from any thread; of one stream,
 * one at a time.
 */
#pragma once

#include "net/stream.h"

typedef struct SlTls SlTls;

typedef struct SlTlsFiles {
    const char *ca;   /* who may have signed the other side's certificate; PEM */
    const char *cert; /* ours, with the chain behind it; PEM */
    const char *key;  /* of cert; PEM, without a passphrase */
    const char *
        prefix; /* of the flags that named them, for errors: "" for --tlscert, "backend-" for --backend-tlscert */
} SlTlsFiles;

/*
 * Files are copied by name. Errors: SL_ERROR_INVALID with a sentence that names flag and file.
 *
 * server  cert and key are needed. must_verify: only clients with a certificate that ca signed; else none is asked for.
 * client  ca NULL: the system's. cert and key may be NULL together. The server's name is verified always.
 */
SlTls *sl_tls_server_new(const SlTlsFiles *files, bool must_verify, GError **error);
SlTls *sl_tls_client_new(const SlTlsFiles *files, GError **error);
/* For connections from now on. On false everything stays as it was. */
bool sl_tls_reload(SlTls *tls, GError **error);
bool sl_tls_verifies(SlTls *tls);
void sl_tls_free(SlTls *tls);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SlTls, sl_tls_free)

/* The server's side of a connection that was accepted; fd is taken, and has to be shaken hands with before anything else. */
SlStream *sl_tls_accept(SlTls *tls, int fd);

typedef enum SlTlsStep {
    SL_TLS_DONE,
    SL_TLS_AGAIN, /* when sl_stream_poll_events(stream, POLLIN) come */
    SL_TLS_FAILED,
    SL_TLS_PLAIN_HTTP, /* failed: the client does not speak TLS but HTTP */
} SlTlsStep;
/* A step of the handshake: never waits, but may compute for milliseconds. Errors: SL_ERROR_UNAUTHORIZED. */
SlTlsStep sl_tls_handshake(SlStream *stream, GError **error);

/* The client's side, handshake done. fd is taken, also on failure. host: a name or a literal address, as the server's
 * certificate has to have it. Errors: SL_ERROR_UNAVAILABLE with why, CANCELLED, DEADLINE. */
SlStream *sl_tls_connect(SlTls *tls, int fd, const char *host, SlCancel *cancel, int timeout_ms,
                         GError **error);

/* The common name of the other side's certificate, which was verified; NULL for a stream without one. Caller frees. */
char *sl_tls_dup_peer_name(SlStream *stream);
