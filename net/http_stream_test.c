#include "net/http_testing.h"

#include "common/clock.h"
#include "common/fd.h"
#include "common/thread.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>

#define HEAD(method, path, fields) method " " path " HTTP/1.1\r\nHost: localhost\r\n" fields "\r\n"
#define UPGRADE                    "Connection: Upgrade\r\nUpgrade: tcp\r\n"

/* What a waiting handler lived through. */
static struct {
    atomic_int n_entered, n_cancelled, n_completed;
    atomic_llong ended_ms;
} seen;

static void
wait_until(atomic_int *value, int at_least)
{
    for (int i = 0; i < 10000 && atomic_load(value) < at_least; i++)
        g_usleep(1000);
    g_assert_cmpint(atomic_load(value), >=, at_least);
}

static bool
ping(SlCall *call, GError **error)
{
    return sl_call_reply(call, 200, "text/plain", "OK", 2, error);
}

/* Sends back what comes, in capitals, until the client's half is over; then says so. */
static bool
attach(SlCall *call, GError **error)
{
    g_autoptr(SlStream) stream = sl_call_hijack(call, "application/vnd.docker.raw-stream", error);
    char data[1000];
    size_t n;

    if (!stream)
        return false;
    for (;;) {
        if (!sl_stream_read(stream, NULL, data, sizeof data, 5000, &n, error))
            return false;
        if (n == 0)
            return sl_stream_write_all(stream, NULL, "END", 3, 1000, error);
        for (size_t i = 0; i < n; i++)
            data[i] = g_ascii_toupper(data[i]);
        if (!sl_stream_write_all(stream, NULL, data, n, 1000, error))
            return false;
    }
}

static bool
attach_with_body(SlCall *call, GError **error)
{
    g_autofree char *body = NULL;
    size_t n;

    return sl_call_read_all(call, &body, &n, error) && strcmp(body, "{\"Tty\":false}") == 0 &&
           attach(call, error);
}

static bool
fail_after_hijack(SlCall *call, GError **error)
{
    g_autoptr(SlStream) stream = sl_call_hijack(call, "text/plain", error);

    return stream && sl_stream_write_all(stream, NULL, "half", 4, 1000, error) &&
           sl_fail(error, SL_ERROR_SYSTEM, "broke");
}

static bool
take(SlCall *call, GError **error)
{
    g_autoptr(SlStream) stream = sl_call_take(call);
    static const char answer[] = "HTTP/1.1 200 Mine\r\n\r\nraw ";
    char data[100];
    size_t n;

    return sl_stream_write_all(stream, NULL, answer, sizeof answer - 1, 1000, error) &&
           sl_stream_read(stream, NULL, data, sizeof data, 5000, &n, error) &&
           sl_stream_write_all(stream, NULL, data, n, 1000, error);
}

static GBytes *event_block; /* outlives the server: ThreadSanitizer does not see GLib's reference counts */

static bool
events(SlCall *call, GError **error)
{
    SlFraming framing = sl_call_query(call, "raw") ? SL_FRAMING_RAW : SL_FRAMING_CHUNKED;
    g_autoptr(SlQueue) queue = sl_queue_new(1 << 20);
    g_autoptr(SlFeed) feed = sl_call_feed(call, framing, "application/json", &sl_queue_ops, queue, error);

    if (!feed)
        return false;
    sl_queue_set_feed(queue, feed);
    for (int i = 0; i < 3; i++)
        sl_queue_put(queue, event_block);
    sl_queue_close(queue);
    return true;
}

static bool
wait_for_cancel(SlCall *call, GError **error)
{
    bool slept;

    atomic_fetch_add(&seen.n_entered, 1);
    slept = sl_cancel_sleep(sl_call_cancel(call), sl_call_query(call, "short") ? 150 : 8000, error);
    atomic_store(&seen.ended_ms, sl_clock_monotonic_ms());
    atomic_fetch_add(slept ? &seen.n_completed : &seen.n_cancelled, 1);
    return slept && sl_call_reply(call, 200, "text/plain", "waited", 6, error);
}

/* Asks for its cancel only after the client has gone. */
static bool
late_cancel(SlCall *call, GError **error)
{
    atomic_fetch_add(&seen.n_entered, 1);
    g_usleep(100 * 1000);
    return wait_for_cancel(call, error);
}

static bool
read_then_wait(SlCall *call, GError **error)
{
    g_autofree char *data = NULL;
    size_t n;

    return sl_call_read_all(call, &data, &n, error) && wait_for_cancel(call, error);
}

static bool
begin_then_wait(SlCall *call, GError **error)
{
    return sl_call_begin(call, 200, "application/json", error) &&
           sl_cancel_sleep(sl_call_cancel(call), 100, error) && sl_call_write(call, "{}", 2, error);
}

static const SlRoute routes[] = {
    { "GET", "/_ping", ping, SL_ROUTE_FAST },
    { "POST", "/attach", attach, 0 },
    { "POST", "/attach-body", attach_with_body, 0 },
    { "POST", "/fail-after-hijack", fail_after_hijack, 0 },
    { "POST", "/take", take, 0 },
    { "GET", "/events", events, 0 },
    { "GET", "/fast-events", events, SL_ROUTE_FAST },
    { "GET", "/wait", wait_for_cancel, 0 },
    { "GET", "/late", late_cancel, 0 },
    { "POST", "/read-then-wait", read_then_wait, 0 },
    { "POST", "/begin-then-wait", begin_then_wait, 0 },
    { 0 },
};

static void
start(TestServer *self)
{
    test_server_start(self, (SlServerConfig){ .routes = routes });
}

static void
test_hijack_keeps_every_byte(void)
{
    /* Bytes right behind the head; with Upgrade and without; a body that belongs to the request before them.
     */
    static const struct {
        const char *request, *status;
    } cases[] = {
        { HEAD("POST", "/attach", UPGRADE) "early ", "HTTP/1.1 101 UPGRADED\r\n" },
        { HEAD("POST", "/attach", "") "early ", "HTTP/1.1 200 OK\r\n" },
        { HEAD("POST", "/attach-body", UPGRADE "Content-Length: 13\r\n") "{\"Tty\":false}early ",
          "HTTP/1.1 101 UPGRADED\r\n" },
        { HEAD("POST", "/attach-body",
               UPGRADE "Transfer-Encoding: chunked\r\n") "d\r\n{\"Tty\":false}\r\n0\r\n\r\nearly ",
          "HTTP/1.1 101 UPGRADED\r\n" },
        { HEAD("POST", "/attach", UPGRADE "Content-Length: 3\r\n") "xyzearly ", "HTTP/1.1 101 UPGRADED\r\n" },
    };
    TestServer self;

    start(&self);
    for (size_t i = 0; i < 2 * G_N_ELEMENTS(cases); i++) {
        sl_autofd int fd = test_connect(&self, i & 1);
        g_autofree char *head = NULL, *rest = NULL;

        test_send(fd, cases[i / 2].request);
        head = test_receive_head(fd);
        test_assert_starts(head, cases[i / 2].status);
        test_assert_contains(head, "Content-Type: application/vnd.docker.raw-stream\r\n");
        g_assert_null(strstr(head, "Content-Length"));
        g_assert_null(strstr(head, "Transfer-Encoding"));
        if (strstr(head, " 101 "))
            test_assert_contains(head, "Connection: Upgrade\r\nUpgrade: tcp\r\n");
        test_send(fd, "late");
        shutdown(fd, SHUT_WR);
        rest = test_receive_all(fd);
        g_assert_cmpstr(rest, ==, "EARLY LATEEND");
    }
    test_server_stop(&self);
}

static void
test_half_close_before_the_answer(void)
{
    TestServer self;

    start(&self);
    for (int i = 0; i < 2; i++) {
        sl_autofd int fd = test_connect(&self, i);
        g_autofree char *all = NULL;

        test_send(fd, HEAD("POST", "/attach", UPGRADE) "in");
        shutdown(fd, SHUT_WR);
        all = test_receive_all(fd);
        g_assert_true(g_str_has_suffix(all, "\r\n\r\nINEND"));
    }
    test_server_stop(&self);
}

static void
test_error_after_hijack_closes(void)
{
    TestServer self;
    sl_autofd int fd = -1;
    g_autofree char *all = NULL;

    start(&self);
    fd = test_connect(&self, false);
    test_send(fd, HEAD("POST", "/fail-after-hijack", ""));
    all = test_receive_all(fd);
    g_assert_true(g_str_has_suffix(all, "\r\n\r\nhalf"));
    test_server_stop(&self);
}

static void
test_take_gives_the_bare_connection(void)
{
    TestServer self;
    g_autofree char *all = NULL;

    start(&self);
    all = test_ask(&self, true, HEAD("POST", "/take", "") "bytes");
    g_assert_cmpstr(all, ==, "HTTP/1.1 200 Mine\r\n\r\nraw bytes");
    test_server_stop(&self);
}

static void
test_feeds(void)
{
    static const char *const paths[] = { "/events", "/fast-events" };
    TestServer self;

    event_block = g_bytes_new_static("event\n", 6);
    start(&self);
    for (int i = 0; i < 2; i++) {
        g_autofree char *get = g_strdup_printf("GET %s HTTP/1.1\r\nHost: x\r\n\r\n", paths[i]);
        g_autofree char *get_old = g_strdup_printf("GET %s HTTP/1.0\r\n\r\n", paths[i]);
        g_autofree char *get_raw = g_strdup_printf("GET %s?raw=1 HTTP/1.1\r\nHost: x\r\n\r\n", paths[i]);
        g_autofree char *chunked = test_ask(&self, false, get);
        g_autofree char *old = test_ask(&self, true, get_old);
        g_autofree char *raw = test_ask(&self, true, get_raw);

        test_assert_contains(chunked, "Transfer-Encoding: chunked\r\n");
        test_assert_contains(chunked, "Connection: close\r\n");
        g_assert_true(g_str_has_suffix(chunked, "event\n\r\n0\r\n\r\n"));
        g_assert_true(g_str_has_suffix(old, "\r\n\r\nevent\nevent\nevent\n"));
        g_assert_true(g_str_has_suffix(raw, "\r\n\r\nevent\nevent\nevent\n"));
    }
    test_server_stop(&self);
    g_clear_pointer(&event_block, g_bytes_unref);
}

static void
test_a_client_that_leaves_cancels(void)
{
    static const char *const requests[] = {
        HEAD("GET", "/wait", ""),
        HEAD("GET", "/late", ""),
        HEAD("POST", "/read-then-wait", "Content-Length: 3\r\n") "abc",
    };
    TestServer self;

    start(&self);
    for (int i = 0; i < 6; i++) {
        int fd = test_connect(&self, i & 1);
        int n_entered = atomic_load(&seen.n_entered), n_cancelled = atomic_load(&seen.n_cancelled);
        int64_t left_ms;

        test_send(fd, requests[i / 2]);
        wait_until(&seen.n_entered, n_entered + 1);
        left_ms = sl_clock_monotonic_ms();
        sl_fd_clear(&fd);
        wait_until(&seen.n_cancelled, n_cancelled + 1);
        g_assert_cmpint(atomic_load(&seen.ended_ms) - left_ms, <, 1000);
    }
    test_server_stop(&self);
}

static void
test_half_close_cancels_on_tcp_only(void)
{
    TestServer self;
    sl_autofd int tcp = -1, local = -1;
    g_autofree char *tcp_reply = NULL, *local_reply = NULL;
    int n_entered = atomic_load(&seen.n_entered), n_cancelled = atomic_load(&seen.n_cancelled);

    start(&self);
    tcp = test_connect(&self, true);
    test_send(tcp, HEAD("GET", "/wait", ""));
    wait_until(&seen.n_entered, n_entered + 1);
    shutdown(tcp, SHUT_WR);
    tcp_reply = test_receive_all(tcp);
    g_assert_cmpint(atomic_load(&seen.n_cancelled), ==, n_cancelled + 1);
    test_assert_starts(tcp_reply, "HTTP/1.1 499 "); /* it may still be reading */

    local = test_connect(&self, false);
    test_send(local, HEAD("GET", "/wait?short=1", ""));
    wait_until(&seen.n_entered, n_entered + 2);
    shutdown(local, SHUT_WR);
    local_reply = test_receive_all(local);
    g_assert_true(g_str_has_suffix(local_reply, "\r\n\r\nwaited"));
    g_assert_cmpint(atomic_load(&seen.n_cancelled), ==, n_cancelled + 1);
    test_server_stop(&self);
}

static void
test_head_goes_out_at_once(void)
{
    TestServer self;
    sl_autofd int fd = -1;
    g_autofree char *head = NULL, *rest = NULL;
    int64_t start_ms;

    start(&self);
    fd = test_connect(&self, false);
    start_ms = sl_clock_monotonic_ms();
    test_send(fd, HEAD("POST", "/begin-then-wait", ""));
    head = test_receive_head(fd);
    g_assert_cmpint(sl_clock_monotonic_ms() - start_ms, <, 100);
    test_assert_contains(head, "Transfer-Encoding: chunked\r\n");
    shutdown(fd, SHUT_WR);
    rest = test_receive_all(fd);
    g_assert_cmpstr(rest, ==, "2\r\n{}\r\n0\r\n\r\n");
    test_server_stop(&self);
}

static void
test_cancel_belongs_to_one_call(void)
{
    TestServer self;
    sl_autofd int fd = -1;

    start(&self);
    fd = test_connect(&self, true);
    for (int i = 0; i < 3; i++) {
        g_autofree char *waited = NULL, *pinged = NULL;

        test_send(fd, HEAD("GET", "/wait?short=1", "") HEAD("GET", "/_ping", ""));
        waited = test_receive(fd);
        pinged = test_receive(fd);
        g_assert_true(g_str_has_suffix(waited, "waited"));
        g_assert_true(g_str_has_suffix(pinged, "OK"));
    }
    test_server_stop(&self);
}

/* ---- draining ---- */

typedef struct Asker {
    TestServer *server;
    const char *request;
    char *reply;
} Asker;

static void *
asker_run(void *data)
{
    Asker *self = data;
    sl_autofd int fd = test_connect(self->server, true);

    test_send(fd, self->request);
    self->reply = test_receive_all(fd);
    return NULL;
}

static void
test_drain_ends_waits_and_idle_connections(void)
{
    TestServer self;
    Asker waiting = { &self, HEAD("GET", "/wait", ""), NULL };
    sl_autofd int idle = -1, fresh = -1;
    g_autofree char *pong = NULL, *rest = NULL;
    int n_entered = atomic_load(&seen.n_entered);
    int64_t start_ms;
    pthread_t thread;

    start(&self);
    idle = test_connect(&self, false);
    test_send(idle, HEAD("GET", "/_ping", ""));
    pong = test_receive(idle);
    g_assert_true(sl_thread_start("asker", asker_run, &waiting, &thread, NULL));
    wait_until(&seen.n_entered, n_entered + 1);

    start_ms = sl_clock_monotonic_ms();
    g_assert_true(sl_server_drain(self.server, 5000));
    g_assert_cmpint(sl_clock_monotonic_ms() - start_ms, <, 2000);
    pthread_join(thread, NULL);
    test_assert_starts(waiting.reply, "HTTP/1.1 503 ");
    test_assert_contains(waiting.reply, "Connection: close\r\n");
    g_free(waiting.reply);
    rest = test_receive_all(idle);
    g_assert_cmpstr(rest, ==, "");
    test_server_stop(&self);
}

static bool
stubborn(SlCall *call, GError **error)
{
    atomic_fetch_add(&seen.n_entered, 1);
    g_usleep(300 * 1000);
    return ping(call, error);
}

static void
test_drain_lets_running_handlers_end(void)
{
    static const SlRoute stubborn_routes[] = { { "GET", "/stubborn", stubborn, 0 }, { 0 } };
    TestServer self;
    Asker asker = { &self, HEAD("GET", "/stubborn", ""), NULL };
    int n_entered = atomic_load(&seen.n_entered);
    pthread_t thread;

    test_server_start(&self, (SlServerConfig){ .routes = stubborn_routes });
    g_assert_true(sl_thread_start("asker", asker_run, &asker, &thread, NULL));
    wait_until(&seen.n_entered, n_entered + 1);
    g_assert_false(sl_server_drain(self.server, 1));
    pthread_join(thread, NULL);
    g_free(asker.reply);
    test_server_stop(&self);

    test_server_start(&self, (SlServerConfig){ .routes = stubborn_routes });
    g_assert_true(sl_thread_start("asker", asker_run, &asker, &thread, NULL));
    wait_until(&seen.n_entered, n_entered + 2);
    g_assert_true(sl_server_drain(self.server, 5000));
    pthread_join(thread, NULL);
    g_assert_true(g_str_has_suffix(asker.reply, "\r\n\r\nOK"));
    g_free(asker.reply);
    test_server_stop(&self);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    sl_json_setup();
    g_test_add_func("/net/hijack-keeps-every-byte", test_hijack_keeps_every_byte);
    g_test_add_func("/net/hijack-survives-an-early-half-close", test_half_close_before_the_answer);
    g_test_add_func("/net/hijack-closes-after-an-error", test_error_after_hijack_closes);
    g_test_add_func("/net/take-gives-the-bare-connection", test_take_gives_the_bare_connection);
    g_test_add_func("/net/feeds-are-framed-as-asked", test_feeds);
    g_test_add_func("/net/a-client-that-leaves-cancels", test_a_client_that_leaves_cancels);
    g_test_add_func("/net/half-close-cancels-on-tcp-only", test_half_close_cancels_on_tcp_only);
    g_test_add_func("/net/begin-sends-the-head-at-once", test_head_goes_out_at_once);
    g_test_add_func("/net/cancel-belongs-to-one-call", test_cancel_belongs_to_one_call);
    g_test_add_func("/net/drain-ends-waits-and-idle-connections", test_drain_ends_waits_and_idle_connections);
    g_test_add_func("/net/drain-lets-running-handlers-end", test_drain_lets_running_handlers_end);
    return g_test_run();
}
