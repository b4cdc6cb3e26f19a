/*
 * The HTTP/1.1 server: llhttp under our own connection layer (DESIGN §4).
 *
 * One loop thread parks idle connections, parses, and runs SL_ROUTE_FAST handlers inline; any other handler moves with its connection to an elastic
 * pool and is straight-line, blocking C. A stream that merely flows is handed to the relay. `true` from a handler means that a reply was given (or the
 * stream taken); `false` makes the dispatcher write {"message": error} with the error's status. SL_ERROR_NOT_MODIFIED has no body.
 *
 * The server refuses, with 400 and a closed connection, what can be read two ways: Content-Length with Transfer-Encoding, two or no Host headers (HTTP/1.1),
 * bare LF, obs-fold, whitespace before a colon, unknown transfer codings, versions other than 1.0 and 1.1, bad %-escapes and NUL in the path.
 * Heads are limited to 64 KiB (431), bodies by max_body for sl_call_json and by nothing for the streaming reader.
 */
#pragma once

#include "common/cancel.h"
#include "common/json_fields.h"
#include "net/address.h"
#include "net/relay.h"
#include "net/stream.h"
#include "net/tls.h"
#include "net/token.h"

typedef struct SlServer SlServer;
typedef struct SlCall SlCall;
typedef bool (*SlHandler)(SlCall *call, GError **error);

typedef enum SlRouteFlags {
    SL_ROUTE_FAST = 1 << 0, /* never blocks, has no body: runs on the loop */
} SlRouteFlags;

typedef struct SlRoute {
    const char *method; /* "*" matches any */
    /* Segments match whole: "/containers/{id}/json". {name...} takes one or more segments (image names hold slashes); matched shortest first with
     * the rest of the pattern anchored at the end. "*" as the whole pattern matches every path. First match in table order wins. */
    const char *path;
    SlHandler handler; /* NULL ends the table */
    unsigned flags;
} SlRoute;

typedef struct SlServerConfig {
    const SlRoute *routes;
    void *context;      /* sl_call_context */
    SlRelay *relay;     /* for sl_call_feed and friends */
    bool strip_version; /* a leading /vN.NN is taken off the path before matching: sl_call_version */
    /* Before every dispatch, on the thread that will run the handler; false: its error is the answer. May be NULL. For version checks, tokens. Never blocks. */
    bool (*admit)(SlCall *call, GError **error);
    SlToken *token; /* every call has to carry it (401 otherwise); NULL: none is asked for */
    /* After every reply, on the thread that ran the handler, for a record of what happened; status as sent. May be NULL. Blocks for no longer than a write
     * to a file. */
    void (*done)(SlCall *call, unsigned status);
    const char *const *headers; /* name, value, …, NULL: added to every reply */
    const char *not_found;      /* message of a 404 without a route; default "page not found" */
    int head_timeout_ms;        /* from a request's first byte to its head's end; 0: 10,000 */
    int idle_timeout_ms;        /* keep-alive; 0: 180,000 */
    int body_timeout_ms;        /* without progress, reading or writing; 0: 120,000 */
    size_t max_body;            /* of sl_call_json and sl_call_read_all; 0: 16 MiB */
    unsigned max_threads;       /* 0: 1024 */
    unsigned max_connections;   /* 0: what RLIMIT_NOFILE allows, less a reserve; above it accept pauses */
    bool
        check_origin; /* on TCP listeners: any Origin gets 403, and a foreign Host where no certificate was verified (DNS rebinding) */
    char **allowed_hosts; /* besides localhost and literal addresses, for check_origin */
} SlServerConfig;

/* config is copied (its pointers must stay). */
SlServer *sl_server_new(const SlServerConfig *config, GError **error);
/* Listens on fd, which is taken. is_tcp: origin checks apply, and RDHUP cancels (on a unix socket only HUP does: RDHUP is a half-close). */
void sl_server_add_listener(SlServer *server, int fd, bool is_tcp);
/* The same over TCP with TLS, by tls, which must outlive the server. Handshakes are computed on threads of their own, a few at a time, and have
 * head_timeout_ms. A client that speaks plain HTTP is told so. */
void sl_server_add_tls_listener(SlServer *server, int fd, SlTls *tls);
/* Stops accepting, fires the cancel of every call that waits, lets running handlers end for at most grace_ms, closes idle connections. Blocking. True when all ended. */
bool sl_server_drain(SlServer *server, int grace_ms);
void sl_server_free(SlServer *server);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SlServer, sl_server_free)

/* ---- the request; everything borrowed until the handler returns ---- */
const char *sl_call_method(SlCall *call);
/* Decoded, version prefix stripped. */
const char *sl_call_path(SlCall *call);
/* As it came: target with query, version prefix included. */
const char *sl_call_target(SlCall *call);
/* API version as 1000 * major + minor: 1044 for /v1.44. 0 for a path without one. */
int sl_call_version(SlCall *call);
/* 0 or 1, of HTTP/1.x. */
int sl_call_http_minor(SlCall *call);
const char *
sl_call_param(SlCall *call,
              const char *name); /* {name} of the route, decoded; never NULL for a name of the pattern */
/* Query and form values, decoded ("+" is a space). NULL when absent, "" when it has no value; the first when it repeats. */
const char *sl_call_query(SlCall *call, const char *name);
/* All values of a repeated key, NULL-ended; never NULL. */
const char *const *sl_call_query_all(SlCall *call, const char *name);
/* Go's rule in Docker: absent, "", "0", "no", "false", "none" (any case, trimmed) are false, all else true. */
bool sl_call_query_bool(SlCall *call, const char *name, bool otherwise);
/* Absent: otherwise. Errors: SL_ERROR_INVALID naming the parameter. */
bool sl_call_query_int(SlCall *call, const char *name, int64_t otherwise, int64_t *ret_value, GError **error);
/* NULL when absent; any case of name. */
const char *sl_call_header(SlCall *call, const char *name);
/* The n-th header as it came, for proxies. False past the end. */
bool sl_call_header_at(SlCall *call, size_t n, const char **ret_name, const char **ret_value);
bool sl_call_wants_upgrade(SlCall *call); /* Connection: Upgrade and Upgrade: tcp (any protocol but h2c) */
bool sl_call_has_body(SlCall *call);      /* chunked, or Content-Length > 0 */
int64_t sl_call_content_length(SlCall *call); /* -1: none given */
bool sl_call_is_tcp(SlCall *call);

/* Who is at the other end of the connection. */
typedef struct SlPeer {
    const char *name; /* the common name of its verified certificate; NULL without one */
    bool has_uid;     /* a process of this machine, on a unix socket: */
    uid_t uid;
    gid_t gid;
    char address[64]; /* of TCP, without port; else "" */
} SlPeer;
/* Known from its first use on, which has to come before the connection is taken or hijacked. */
const SlPeer *sl_call_peer(SlCall *call);
void *sl_call_context(SlCall *call);
const char *sl_call_id(
    SlCall *
        call); /* request id: X-Request-Id when it is sane, else made here; in the log, not sent to clients */
/* Fires when the client leaves or the server drains. Armed from the handler's first use of it, after the body has been read; disarmed by a hijack. */
SlCancel *sl_call_cancel(SlCall *call);

/* ---- the body, pulled; sends 100 Continue on the first read where it was asked for ---- */
/* ret_n 0: the end. Errors: SL_ERROR_INVALID (malformed chunk, early end), DEADLINE, CANCELLED. */
bool sl_call_body_read(SlCall *call, void *data, size_t n, size_t *ret_n, GError **error);
/* At most max_body bytes, NUL-ended. Errors: SL_ERROR_TOO_LARGE. */
bool sl_call_read_all(SlCall *call, char **ret_data, size_t *ret_n, GError **error);
/* Reads, parses and fills record by table. Content-Type must be application/json (or absent with an empty body, which leaves record as it is). */
bool sl_call_json(SlCall *call, const SlJsonField *fields, void *record, GError **error);

/* ---- the reply, given once ---- */
void sl_call_add_header(SlCall *call, const char *name,
                        const char *value); /* before the reply; line breaks refused */
bool sl_call_reply(SlCall *call, unsigned status, const char *content_type, const void *body, size_t n,
                   GError **error);
bool sl_call_reply_bytes(SlCall *call, unsigned status, const char *content_type, GBytes *body,
                         GError **error);
bool sl_call_reply_json(SlCall *call, unsigned status, json_t *body /* taken */, GError **error);
bool sl_call_reply_empty(SlCall *call, unsigned status, GError **error);

/* A reply in pieces: the head goes out at once, chunked for HTTP/1.1; ended by the handler's return. An error after that is cut off the connection. */
bool sl_call_begin(SlCall *call, unsigned status, const char *content_type, GError **error);
bool sl_call_write(SlCall *call, const void *data, size_t n, GError **error);
/* An answer whose length is known, written in pieces (a proxied body). */
bool sl_call_begin_length(SlCall *call, unsigned status, const char *content_type, int64_t length,
                          GError **error);

/*
 * The connection stops being HTTP: 101 UPGRADED when the client asked for an upgrade, else 200; content type as given; bytes already read are kept in
 * the stream. The head is written by this call. NULL when the client has left.
 */
SlStream *sl_call_hijack(SlCall *call, const char *content_type, GError **error);
/* Gives up the connection without writing anything: the caller writes the whole answer, head included (a proxy joining raw streams). */
SlStream *sl_call_take(SlCall *call); /* counts as 200 for done */
/* A hijack fed by ops. framing: SL_FRAMING_RAW hijacks as above; SL_FRAMING_CHUNKED answers 200 with chunks, Connection: close (raw for HTTP/1.0), and the feed is
 * an answer (sl_feed_be_answer). The head goes out at once. The feed's reference is the caller's. NULL on error, user then untouched. */
SlFeed *sl_call_feed(SlCall *call, SlFraming framing, const char *content_type, const SlFeedOps *ops,
                     void *user, GError **error);
