#include "net/http_internal.h"

#include "common/clock.h"
#include "common/id.h"
#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    ACCEPT_BATCH = 64,
    ACCEPT_PAUSE_MS = 100, /* after EMFILE and the like */
    FREE_CALLS_MAX = 64,
    MAX_SHAKERS = 4,    /* a flood of handshakes queues here, and leaves the processors to who is connected */
    CUT_WAIT_MS = 1000, /* for handlers to see that their connection was broken */
};

typedef struct Listener {
    SlServer *server;
    int fd;
    bool is_tcp;
    SlTls *tls; /* or NULL */
    SlWatch *watch;
} Listener;

/* ---- calls, used again and again ---- */

SlCall *
sl_server_take_call(SlServer *server, SlConn *conn)
{
    SlCall *call;

    pthread_mutex_lock(&server->lock);
    call = server->free_calls;
    if (call) {
        server->free_calls = call->next_free;
        server->n_free_calls--;
    }
    pthread_mutex_unlock(&server->lock);
    if (!call)
        call = sl_call_new(server);
    call->conn = conn;
    return call;
}

void
sl_server_give_call(SlServer *server, SlCall *call)
{
    call->input.at = call->input.end;
    call->body.more.at = call->body.more.end;
    sl_call_next(call);
    pthread_mutex_lock(&server->lock);
    if (server->n_free_calls < FREE_CALLS_MAX) {
        call->next_free = server->free_calls;
        server->free_calls = g_steal_pointer(&call);
        server->n_free_calls++;
    }
    pthread_mutex_unlock(&server->lock);
    if (call)
        sl_call_free(call);
}

/* ---- accepting ---- */

static void
accept_set(SlServer *server, bool is_on)
{
    server->accept_is_paused = !is_on;
    for (guint i = 0; i < server->listeners->len; i++)
        sl_watch_set(((Listener *)server->listeners->pdata[i])->watch, is_on ? EPOLLIN : 0);
}

static void
accept_again(void *data)
{
    SlServer *server = data;

    server->accept_again = NULL;
    accept_set(server, true);
}

static bool
is_full(SlServer *server)
{
    SL_LOCK_GUARD(&server->lock);
    return server->n_conns >= server->config.max_connections;
}

static void
conn_count(SlServer *server, int by)
{
    SL_LOCK_GUARD(&server->lock);
    server->n_conns += (unsigned)by;
    pthread_cond_broadcast(&server->changed);
}

void
sl_server_conn_gone(SlServer *server)
{
    conn_count(server, -1);
    if (server->accept_is_paused && !server->accept_again)
        accept_set(server, true);
}

static void sweep_start(SlServer *server);

static void
conn_accept(Listener *listener, int fd)
{
    SlServer *server = listener->server;
    int one = 1;

    if (listener->is_tcp)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    conn_count(server, 1);
    sl_conn_open(server, fd, listener->is_tcp, listener->tls);
    sweep_start(server);
}

static void
listener_ready(void *data, uint32_t events)
{
    Listener *listener = data;
    SlServer *server = listener->server;

    for (int i = 0; i < ACCEPT_BATCH; i++) {
        int fd;

        if (is_full(server)) {
            accept_set(server, false); /* until a connection ends */
            return;
        }
        fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            server->is_short = false;
            conn_accept(listener, fd);
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return;
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            if (!server->is_short)
                sl_warn("cannot accept connections, trying on error=%s", g_strerror(errno));
            server->is_short = true;
            accept_set(server, false);
            server->accept_again = sl_timer_new(server->loop, ACCEPT_PAUSE_MS, accept_again, server);
            return;
        }
    }
}

static void
listener_start(void *data)
{
    Listener *listener = data;
    SlServer *server = listener->server;

    if (atomic_load(&server->is_draining)) {
        close(listener->fd);
        g_free(listener);
        return;
    }
    listener->watch = sl_watch_new(server->loop, listener->fd, server->accept_is_paused ? 0 : EPOLLIN,
                                   listener_ready, listener);
    g_ptr_array_add(server->listeners, listener);
}

static void
listener_stop(void *data)
{
    Listener *listener = data;

    sl_watch_end(listener->watch);
    close(listener->fd);
    g_free(listener);
}

static void
listener_add(SlServer *server, int fd, bool is_tcp, SlTls *tls)
{
    Listener *listener = g_new(Listener, 1);
    int flags = fcntl(fd, F_GETFL);

    *listener = (Listener){ .server = server, .fd = fd, .is_tcp = is_tcp, .tls = tls };
    if (flags >= 0)
        fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    sl_loop_post(server->loop, listener_start, listener);
}

void
sl_server_add_listener(SlServer *server, int fd, bool is_tcp)
{
    listener_add(server, fd, is_tcp, NULL);
}

void
sl_server_add_tls_listener(SlServer *server, int fd, SlTls *tls)
{
    listener_add(server, fd, true, tls);
}

/* ---- time limits: one timer looks through all connections, as long as there are any ---- */

static void
sweep(void *data)
{
    SlServer *server = data;
    int64_t now_ms = sl_clock_monotonic_ms();

    server->sweep = NULL;
    for (SlConn *conn = server->conns, *next; conn; conn = next) {
        next = conn->next;
        sl_conn_check_time(conn, now_ms);
    }
    sweep_start(server);
}

static void
sweep_start(SlServer *server)
{
    int shortest_ms = MIN(server->config.head_timeout_ms, server->config.idle_timeout_ms);

    if (!server->sweep && server->conns)
        server->sweep = sl_timer_new(server->loop, CLAMP(shortest_ms / 4, 10, 1000), sweep, server);
}

/* ---- life ---- */

static void
config_complete(SlServerConfig *config)
{
    struct rlimit files = { .rlim_cur = 1024 };

    config->head_timeout_ms = config->head_timeout_ms ? config->head_timeout_ms : 10 * 1000;
    config->idle_timeout_ms = config->idle_timeout_ms ? config->idle_timeout_ms : 180 * 1000;
    config->body_timeout_ms = config->body_timeout_ms ? config->body_timeout_ms : 120 * 1000;
    config->max_body = config->max_body ? config->max_body : 16 * 1024 * 1024;
    config->max_threads = config->max_threads ? config->max_threads : 1024;
    getrlimit(RLIMIT_NOFILE, &files);
    if (!config->max_connections)
        config->max_connections = (unsigned)CLAMP(files.rlim_cur - files.rlim_cur / 8, 16, 1000 * 1000);
}

SlServer *
sl_server_new(const SlServerConfig *config, GError **error)
{
    SlServer *server = g_new0(SlServer, 1);
    g_autofree char *random = sl_id_random_hex(4);

    server->config = *config;
    config_complete(&server->config);
    server->headers = g_string_new(NULL);
    for (const char *const *field = config->headers; field && field[0]; field += 2)
        g_string_append_printf(server->headers, "%s: %s\r\n", field[0], field[1]);
    g_snprintf(server->id_prefix, sizeof server->id_prefix, "%s-", random);
    server->listeners = g_ptr_array_new_with_free_func(listener_stop);
    pthread_mutex_init(&server->lock, NULL);
    pthread_cond_init(&server->changed, NULL);
    server->pool = sl_pool_new("http", server->config.max_threads);
    server->shakers = sl_pool_new("tls", MAX_SHAKERS);
    server->loop = sl_loop_new("http-loop", error);
    if (!server->loop) {
        sl_server_free(server);
        return NULL;
    }
    return server;
}

static void
drain_begin(void *data)
{
    SlServer *server = data;

    g_ptr_array_set_size(server->listeners, 0);
    g_clear_pointer(&server->accept_again, sl_timer_end);
    for (SlConn *conn = server->conns, *next; conn; conn = next) {
        next = conn->next;
        sl_conn_drain(conn);
    }
}

static void
drain_cut(void *data)
{
    SlServer *server = data;

    for (SlConn *conn = server->conns; conn; conn = conn->next)
        sl_conn_cut(conn);
}

static bool
wait_for_conns(SlServer *server, int timeout_ms)
{
    int64_t until_ms = sl_clock_monotonic_ms() + timeout_ms;
    SL_LOCK_GUARD(&server->lock);

    while (server->n_conns > 0) {
        int64_t left_ms = until_ms - sl_clock_monotonic_ms();
        struct timespec until;

        if (left_ms <= 0)
            return false;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += left_ms % 1000 * 1000000;
        until.tv_sec += left_ms / 1000 + until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        pthread_cond_clockwait(&server->changed, &server->lock, CLOCK_MONOTONIC, &until);
    }
    return true;
}

bool
sl_server_drain(SlServer *server, int grace_ms)
{
    atomic_store(&server->is_draining, true);
    sl_loop_post(server->loop, drain_begin, server);
    if (wait_for_conns(server, grace_ms))
        return true;
    sl_loop_post(server->loop, drain_cut, server);
    wait_for_conns(server, CUT_WAIT_MS);
    return false;
}

void
sl_server_free(SlServer *server)
{
    if (!server)
        return;
    if (server->loop)
        sl_server_drain(server, 0);
    sl_pool_free(server->shakers);
    sl_pool_free(server->pool);
    if (server->loop) {
        wait_for_conns(server, CUT_WAIT_MS); /* their ends were posted */
        sl_loop_free(server->loop);
    }
    for (SlCall *call; (call = server->free_calls);) {
        server->free_calls = call->next_free;
        sl_call_free(call);
    }
    g_ptr_array_free(server->listeners, TRUE);
    g_string_free(server->headers, TRUE);
    pthread_cond_destroy(&server->changed);
    pthread_mutex_destroy(&server->lock);
    g_free(server);
}
