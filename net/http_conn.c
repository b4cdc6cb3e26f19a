#include "net/http_internal.h"

#include "common/clock.h"
#include "common/log.h"

#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum {
    LINGER_MS = 2000, /* how long a client may go on sending after an answer that ended the connection */
    LINGER_BYTES = 4 * 1024 * 1024,
    SHAKE_WRITE_MS = 5000,
    MAX_IN_A_ROW = 64, /* pipelined requests answered on the loop before others get their turn */
};

typedef enum Step {
    STEP_ON,   /* go on: the connection is still ours */
    STEP_GONE, /* it was parked, moved or ended: it must not be touched any more */
} Step;

/* ---- ends ---- */

static void
conn_destroy(void *data)
{
    SlConn *conn = data;
    SlServer *server = conn->server;

    sl_watch_end(conn->watch);
    if (conn->call)
        sl_server_give_call(server, conn->call);
    sl_stream_free(conn->stream);
    if (conn->previous)
        conn->previous->next = conn->next;
    else
        server->conns = conn->next;
    if (conn->next)
        conn->next->previous = conn->previous;
    pthread_mutex_destroy(&conn->lock);
    g_free(conn->peer_name);
    g_free(conn->peer);
    g_free(conn);
    sl_server_conn_gone(server);
}

static Step
conn_end(SlConn *conn, bool on_loop)
{
    if (on_loop)
        conn_destroy(conn);
    else
        sl_loop_post(conn->server->loop, conn_destroy, conn);
    return STEP_GONE;
}

static void
conns_drain(void *data)
{
    SlServer *server = data;

    for (SlConn *conn = server->conns, *next; conn; conn = next) {
        next = conn->next;
        sl_conn_drain(conn);
    }
}

/* Gives the connection back to the loop, unless something came meanwhile. */
static Step
conn_release(SlConn *conn)
{
    SlServer *server = conn->server;
    unsigned flags = atomic_load(&conn->flags);

    do {
        if (flags & SL_CONN_READY)
            return STEP_ON;
    } while (!atomic_compare_exchange_weak(&conn->flags, &flags, flags & ~(unsigned)SL_CONN_BUSY));
    /* A drain that began after this thread last looked has found the connection busy. */
    if (atomic_load(&server->is_draining))
        sl_loop_post(server->loop, conns_drain, server);
    return STEP_GONE;
}

/*
 * Closing a socket with unread input resets the connection, and the client may lose the answer: so our half
 * ends first, and what still comes is dropped.
 */
static void
linger(void *data)
{
    SlConn *conn = data;
    char dropped[4096];
    ssize_t got;

    if (!conn->is_lingering) {
        conn->is_lingering = true;
        conn->since_ms = sl_clock_monotonic_ms();
        sl_stream_shutdown_write(conn->stream);
        if (conn->call)
            sl_server_give_call(conn->server, g_steal_pointer(&conn->call));
    }
    do {
        atomic_fetch_and(&conn->flags, ~(unsigned)SL_CONN_READY);
        while ((got = sl_stream_read_some(conn->stream, dropped, sizeof dropped)) > 0 &&
               conn->n_lingered < LINGER_BYTES)
            conn->n_lingered += (size_t)got;
        if (got != SL_STREAM_AGAIN) {
            conn_destroy(conn);
            return;
        }
    } while (conn_release(conn) == STEP_ON);
}

static Step
conn_linger(SlConn *conn, bool on_loop)
{
    if (on_loop)
        linger(conn);
    else
        sl_loop_post(conn->server->loop, linger, conn);
    return STEP_GONE;
}

/* ---- a call ---- */

static bool
origin_is_allowed(SlCall *call, GError **error)
{
    const SlServerConfig *config = &call->server->config;

    if (!config->check_origin || !call->conn->is_tcp)
        return true;
    if (call->head->host && !sl_host_is_allowed(call->head->host, config->allowed_hosts) &&
        !sl_call_peer(call)->name)
        return sl_fail(error, SL_ERROR_FORBIDDEN, "the Host header names a foreign host");
    if (sl_call_header(call, "Origin"))
        return sl_fail(error, SL_ERROR_FORBIDDEN, "requests from web pages are not taken");
    return true;
}

static bool
token_is_right(SlCall *call, GError **error)
{
    SlToken *token = call->server->config.token;

    if (!token || sl_token_matches(token, sl_call_header(call, "Authorization")))
        return true;
    sl_call_add_header(call, "WWW-Authenticate", "Bearer");
    return sl_fail(error, SL_ERROR_UNAUTHORIZED, "the token is missing or wrong: see --internal-token-file");
}

static void
call_drop_cancel(SlCall *call)
{
    if (!call->cancel)
        return;
    pthread_mutex_lock(&call->conn->lock);
    call->conn->cancel = NULL;
    pthread_mutex_unlock(&call->conn->lock);
    g_clear_pointer(&call->cancel, sl_cancel_unref);
}

static void
call_done(SlCall *call)
{
    if (call->server->config.done)
        call->server->config.done(call, call->status);
}

static void
call_run(SlCall *call)
{
    const SlServerConfig *config = &call->server->config;
    g_autoptr(GError) error = NULL;

    sl_log_set_request(sl_call_id(call));
    if (origin_is_allowed(call, &error) && token_is_right(call, &error) &&
        (!config->admit || config->admit(call, &error)) && call->route->handler(call, &error))
        sl_reply_finish(call);
    else
        sl_reply_error(call, error);
    call_done(call);
    sl_log_set_request(NULL);
    call->phase = SL_PHASE_REPLIED;
}

/* ---- the steps of a connection ---- */

static Step to_worker(SlConn *conn);

static Step
refuse(SlCall *call, const GError *error)
{
    call->keep_alive = false;
    sl_reply_error(call, error);
    call->phase = SL_PHASE_REPLIED;
    return STEP_ON;
}

/* Nothing more to read for now. */
static Step
park(SlConn *conn, bool on_loop)
{
    SlServer *server = conn->server;
    bool is_idle = conn->call->input.end == 0;

    if (is_idle && atomic_load(&server->is_draining))
        return conn_end(conn, on_loop);
    if (is_idle)
        sl_server_give_call(server, g_steal_pointer(&conn->call));
    if (is_idle || !conn->has_partial_head)
        conn->since_ms = sl_clock_monotonic_ms();
    conn->has_partial_head = !is_idle;
    return conn_release(conn);
}

static Step
step_read(SlConn *conn, bool on_loop)
{
    SlInput *input = &conn->call->input;
    unsigned flags = atomic_load(&conn->flags);
    ssize_t got;
    size_t room;

    if (!conn->may_have_more && !(flags & SL_CONN_READY))
        return park(conn, on_loop);
    if (input->end == input->room)
        sl_input_reserve(input, MIN(SL_HEAD_MAX, input->room * 2));
    room = input->room - input->end;
    flags = atomic_fetch_and(&conn->flags, ~(unsigned)SL_CONN_READY);
    got = sl_stream_read_some(conn->stream, input->data + input->end, room);
    if (got == SL_STREAM_AGAIN) {
        conn->may_have_more = false;
        return STEP_ON;
    }
    if (got <= 0)
        return conn_end(conn, on_loop);
    /* A short read has emptied the socket; but the end of input, once announced, makes no second edge. */
    conn->may_have_more = sl_stream_may_have_more(conn->stream, got, room) || (flags & SL_CONN_EOF);
    input->end += (size_t)got;
    return STEP_ON;
}

static Step
step_head(SlConn *conn, bool on_loop)
{
    SlCall *call = conn->call;
    g_autoptr(GError) error = NULL;

    switch (sl_http_parser_head(call->parser, call->input.data, call->input.end, &error)) {
    case SL_HTTP_BAD:
        return refuse(call, error);
    case SL_HTTP_MORE:
        if (call->input.end < SL_HEAD_MAX)
            return step_read(conn, on_loop);
        sl_fail(&error, SL_ERROR_HEADERS, "the request's head is larger than %d bytes", SL_HEAD_MAX);
        return refuse(call, error);
    case SL_HTTP_HEAD:
        break;
    }
    conn->has_partial_head = false;
    call->head = sl_http_parser_get_head(call->parser);
    call->input.at = sl_http_parser_n_head(call->parser);
    call->keep_alive = call->head->keep_alive;
    call->phase = SL_PHASE_READY;
    sl_body_begin(call);
    if (sl_call_prepare(call, &error))
        return STEP_ON;
    sl_reply_error(call, error);
    call_done(call);
    call->phase = SL_PHASE_REPLIED;
    return STEP_ON;
}

static Step
step_ready(SlConn *conn, bool on_loop)
{
    SlCall *call = conn->call;

    if (on_loop && (!(call->route->flags & SL_ROUTE_FAST) || !call->body.is_done))
        return to_worker(conn);
    call_run(call);
    return STEP_ON;
}

static Step
step_replied(SlConn *conn, bool on_loop)
{
    SlCall *call = conn->call;

    if (on_loop && call->pending->len > 0)
        return to_worker(conn);
    call_drop_cancel(call);
    if (call->reply == SL_REPLY_TAKEN || !sl_reply_flush(call))
        return conn_end(conn, on_loop);
    if (!call->head || !sl_body_can_skip(call))
        return conn_linger(conn, on_loop);
    if (!call->body.is_done && on_loop)
        return to_worker(conn);
    if (!sl_body_skip(call)) {
        call_drop_cancel(call);
        return conn_linger(conn, on_loop);
    }
    call_drop_cancel(call);
    if (!call->keep_alive)
        return call->input.end > call->input.at ? conn_linger(conn, on_loop) : conn_end(conn, on_loop);
    sl_call_next(call);
    return STEP_ON;
}

static void
conn_serve(SlConn *conn, bool on_loop)
{
    Step step = STEP_ON;
    unsigned n_served = 0;

    while (step == STEP_ON) {
        if (!conn->call)
            conn->call = sl_server_take_call(conn->server, conn);
        conn->call->on_loop = on_loop;
        switch (conn->call->phase) {
        case SL_PHASE_HEAD:
            step = step_head(conn, on_loop);
            break;
        case SL_PHASE_READY:
            step = on_loop && ++n_served > MAX_IN_A_ROW ? to_worker(conn) : step_ready(conn, on_loop);
            break;
        case SL_PHASE_REPLIED:
            step = step_replied(conn, on_loop);
            break;
        }
    }
}

static void
conn_work(void *data)
{
    conn_serve(data, false);
}

/* Nobody knows when its turn would come: better said now than a client left waiting. */
static Step
refuse_starved(SlCall *call)
{
    g_autoptr(GError) error = NULL;

    sl_fail(&error, SL_ERROR_UNAVAILABLE,
            "the daemon is out of threads (memory or process limit): try again later");
    return refuse(call, error);
}

static Step
to_worker(SlConn *conn)
{
    if (conn->call->phase == SL_PHASE_READY && sl_pool_is_starved(conn->server->pool))
        return refuse_starved(conn->call);
    sl_pool_run(conn->server->pool, conn_work, conn);
    return STEP_GONE;
}

/* ---- TLS handshakes ---- */

/* Lingers, as the client may already send its request: a reset would destroy the alert that tells it why. */
static void
shake_fail(SlConn *conn, SlTlsStep step, const GError *error)
{
    static const char answer[] =
        "HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n"
        "Client sent an HTTP request to an HTTPS server.\n";

    sl_info("TLS handshake failed reason=%s", error->message);
    sl_stream_drop_layer(conn->stream);
    if (step == SL_TLS_PLAIN_HTTP) /* as far as it goes: a client that takes none of it has lost nothing */
        sl_stream_write_some(conn->stream, answer, sizeof answer - 1);
    conn->is_shaking = false;
    conn_linger(conn, false);
}

/* On the loop again, with what came behind the handshake. */
static void
shaken(void *data)
{
    conn_serve(data, true);
}

/* On a thread of the shakers: as many steps as the client has sent input for. */
static void
shake(void *data)
{
    SlConn *conn = data;
    SlTlsStep step;

    do {
        g_autoptr(GError) error = NULL;

        atomic_fetch_and(&conn->flags, ~(unsigned)SL_CONN_READY);
        while ((step = sl_tls_handshake(conn->stream, &error)) == SL_TLS_AGAIN &&
               sl_stream_poll_events(conn->stream, POLLIN) != POLLIN &&
               sl_stream_wait(conn->stream, NULL, POLLIN, SHAKE_WRITE_MS, NULL))
            ;
        if (step == SL_TLS_DONE) {
            conn->is_shaking = conn->has_partial_head = false;
            conn->may_have_more = true;
            conn->since_ms = sl_clock_monotonic_ms();
            sl_loop_post(conn->server->loop, shaken, conn);
            return;
        }
        if (step != SL_TLS_AGAIN) {
            shake_fail(conn, step, error);
            return;
        }
    } while (conn_release(conn) == STEP_ON);
}

/* ---- the loop's side ---- */

static void
conn_fire(SlConn *conn, bool is_drain)
{
    SL_LOCK_GUARD(&conn->lock);

    /* A stream that was taken has no client whose leaving we could see. */
    if (conn->cancel && (is_drain || conn->stream))
        sl_cancel_fire(conn->cancel);
}

static void
conn_ready(void *data, uint32_t events)
{
    SlConn *conn = data;
    unsigned bits = SL_CONN_BUSY | SL_CONN_READY;

    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        bits |= SL_CONN_EOF;
    if ((events & (EPOLLHUP | EPOLLERR)) || (conn->is_tcp && (events & EPOLLRDHUP)))
        bits |= SL_CONN_LEFT;
    if (atomic_fetch_or(&conn->flags, bits) & SL_CONN_BUSY) {
        if (bits & SL_CONN_LEFT)
            conn_fire(conn, false);
    } else if (conn->is_lingering) {
        linger(conn);
    } else if (conn->is_shaking) {
        sl_pool_run(conn->server->shakers, shake, conn);
    } else {
        conn_serve(conn, true);
    }
}

void
sl_conn_open(SlServer *server, int fd, bool is_tcp, SlTls *tls)
{
    SlConn *conn = g_new0(SlConn, 1);

    conn->server = server;
    conn->stream = tls ? sl_tls_accept(tls, fd) : sl_stream_new(fd);
    conn->is_shaking = conn->has_partial_head = tls != NULL; /* a head's time limit */
    conn->is_tcp = is_tcp;
    conn->since_ms = sl_clock_monotonic_ms();
    pthread_mutex_init(&conn->lock, NULL);
    conn->next = server->conns;
    if (conn->next)
        conn->next->previous = conn;
    server->conns = conn;
    conn->watch = sl_watch_new(server->loop, fd, EPOLLIN | EPOLLRDHUP | EPOLLET, conn_ready, conn);
}

void
sl_conn_check_time(SlConn *conn, int64_t now_ms)
{
    const SlServerConfig *config = &conn->server->config;
    int64_t limit_ms;

    /* Only the loop's thread takes a parked connection, and this is it. */
    if (atomic_load(&conn->flags) & SL_CONN_BUSY)
        return;
    if (conn->is_lingering)
        limit_ms = LINGER_MS;
    else
        limit_ms = conn->has_partial_head ? config->head_timeout_ms : config->idle_timeout_ms;
    if (now_ms - conn->since_ms > limit_ms)
        conn_destroy(conn);
}

void
sl_conn_drain(SlConn *conn)
{
    if (atomic_load(&conn->flags) & SL_CONN_BUSY)
        conn_fire(conn, true);
    else
        conn_destroy(conn);
}

void
sl_conn_cut(SlConn *conn)
{
    SL_LOCK_GUARD(&conn->lock);

    if (conn->stream)
        shutdown(sl_stream_get_fd(conn->stream), SHUT_RDWR);
}
