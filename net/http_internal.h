/*
 * What the files of the HTTP server share. One owner at a time works on a connection: the loop's thread or a
 * thread of the pool.
 *
 * Ownership is a bit of conn->flags. The descriptor stays in the epoll, edge-triggered, whoever owns the
 * connection: an edge that comes while a worker has it is only noted (or fires the call's cancel), so that
 * moving to a worker and back costs no system call beyond the wake-up.
 */
#pragma once

#include "common/thread.h"
#include "net/http_message.h"
#include "net/http_server.h"

#include <stdatomic.h>

typedef struct SlConn SlConn;

enum {
    SL_HEAD_MAX = 64 * 1024,
    SL_SMALL_REPLY = 16 * 1024, /* up to here head and body are copied into one write */
    SL_DRAIN_MAX = 256 * 1024,  /* of an unread body, read to keep the connection */
    SL_MAX_PARAMS = 8,
};

enum {
    SL_CONN_BUSY = 1 << 0,  /* somebody owns it */
    SL_CONN_READY = 1 << 1, /* an edge came that no read has followed yet */
    SL_CONN_EOF = 1 << 2,   /* the client's half is over */
    SL_CONN_LEFT = 1 << 3,  /* the client is gone, or (TCP) will not wait for more than what it asked for */
};

struct SlConn {
    SlServer *server;
    SlStream *stream; /* NULL once taken. Stealing it needs the lock */
    SlWatch *watch;
    SlCall *call; /* in progress; NULL while parked */
    atomic_uint flags;
    bool is_tcp, may_have_more, has_partial_head, is_lingering;
    bool is_shaking;  /* hands, for TLS: nothing else may be read or written */
    int64_t since_ms; /* of the last change between handshake, idle, head, lingering */
    size_t n_lingered;
    pthread_mutex_t lock;
    SlCancel *cancel; /* of the call, once it asked for one; under the lock */
    SlPeer *peer;     /* once asked for */
    char *peer_name;
    SlConn *previous, *next;
};

typedef enum SlPhase {
    SL_PHASE_HEAD,    /* waiting for a whole head */
    SL_PHASE_READY,   /* parsed, to be dispatched */
    SL_PHASE_REPLIED, /* the handler is done; what it left in pending has to go out */
} SlPhase;

typedef enum SlReplyState {
    SL_REPLY_NONE,
    SL_REPLY_CHUNKED,
    SL_REPLY_LENGTH,
    SL_REPLY_UNTIL_CLOSE,
    SL_REPLY_DONE,
    SL_REPLY_TAKEN
} SlReplyState;

typedef struct SlParam {
    const char *name; /* in the pattern; n_name bytes */
    size_t n_name;
    size_t at, n; /* in the path; later in params_text, NUL-ended */
} SlParam;

typedef struct SlPathMatch {
    SlParam params[SL_MAX_PARAMS];
    size_t n_params;
} SlPathMatch;

struct SlCall {
    SlServer *server;
    SlConn *conn;
    SlCall *next_free;
    SlPhase phase;
    bool on_loop;

    SlHttpParser *parser;
    const SlHttpHead *head;
    SlInput input; /* head, and what came right behind it */
    char id[65];

    GString *path; /* decoded, without version */
    int version;
    const SlRoute *route;
    SlPathMatch match;
    GString *params_text;
    GPtrArray *query; /* name, value, … once asked for */
    GPtrArray *lists; /* what sl_call_query_all returned */

    SlHttpBody body;
    bool continue_is_due;

    SlCancel *cancel;

    SlReplyState reply;
    unsigned status; /* of the reply; 0: none yet */
    int64_t reply_left;
    bool keep_alive, is_broken; /* is_broken: nothing can be written any more */
    GString *headers;           /* sl_call_add_header */
    GString *out;               /* where writes are put together */
    GString *pending;           /* on the loop: what the socket did not take */
    int64_t date_s;
    char date[32];
};

struct SlServer {
    SlServerConfig config;
    GString *headers; /* of every reply, rendered */
    SlLoop *loop;
    SlPool *pool;
    SlPool *shakers; /* for TLS handshakes */
    char id_prefix[16];
    atomic_ulong n_calls;
    atomic_bool is_draining;

    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t changed;
    unsigned n_conns;
    SlCall *free_calls;
    unsigned n_free_calls;

    /* the loop's thread only */
    SlConn *conns;
    GPtrArray *listeners;
    SlTimer *sweep, *accept_again;
    bool accept_is_paused, is_short; /* is_short: of descriptors or memory, as said in the log */
};

/* ---- http_server.c ---- */
SlCall *sl_server_take_call(SlServer *server, SlConn *conn);
void sl_server_give_call(SlServer *server, SlCall *call);
/* Loop only. */
void sl_server_conn_gone(SlServer *server);

/* ---- http_conn.c; loop only ---- */
/* tls: NULL, or how the connection begins. */
void sl_conn_open(SlServer *server, int fd, bool is_tcp, SlTls *tls);
/* Closes what has waited too long. */
void sl_conn_check_time(SlConn *conn, int64_t now_ms);
/* The server drains: ends it when idle, else fires its cancel. */
void sl_conn_drain(SlConn *conn);
/* Breaks the transport of whoever still works with it. */
void sl_conn_cut(SlConn *conn);

/* ---- http_call.c ---- */
SlCall *sl_call_new(SlServer *server);
void sl_call_free(SlCall *call);
/* A head was parsed: decodes the path and finds the route. On false there is no route and *error says what is
 * wrong with the path (404 without one). */
bool sl_call_prepare(SlCall *call, GError **error);
/* Ready for the next request on the connection; what was read too much is kept. */
void sl_call_next(SlCall *call);

/* ---- http_body.c ---- */
void sl_body_begin(SlCall *call);
/* Reads what is left of the body, up to SL_DRAIN_MAX. False: the connection cannot be used again. */
bool sl_body_skip(SlCall *call);
/* Whether skipping may succeed. */
bool sl_body_can_skip(SlCall *call);

/* ---- http_reply.c ---- */
/* Writes {"message": …} with the status of error; cuts the connection when a reply has already begun. */
void sl_reply_error(SlCall *call, const GError *error);
/* The handler is done: ends a reply that came in pieces. */
void sl_reply_finish(SlCall *call);
/* Writes, or on the loop keeps what the socket does not take. False: is_broken. */
bool sl_reply_send(SlCall *call, const void *data, size_t n);
/* Worker: the rest of what the loop could not write. */
bool sl_reply_flush(SlCall *call);

/* ---- http_route.c ---- */
/* The part of table that fits; NULL when none does. */
const SlRoute *sl_route_find(const SlRoute *table, const char *method, const char *path,
                             SlPathMatch *ret_match);
/* Decodes %-escapes of n bytes onto out; plus: "+" is a space. False for a bad escape or a NUL. */
bool sl_url_decode(const char *text, size_t n, bool plus, GString *out);
/* A Host header that a browser could not have been tricked into: localhost, a literal address, one of allowed
 * (may be NULL). */
bool sl_host_is_allowed(const char *host, char **allowed);
