#include "net/http_testing.h"

#include "common/clock.h"
#include "common/fd.h"

#include <errno.h>
#include <malloc.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

static bool
ping(SlCall *call, GError **error)
{
    return sl_call_reply(call, 200, "text/plain", "OK", 2, error);
}

static bool
echo(SlCall *call, GError **error)
{
    g_autofree char *data = NULL;
    size_t n;

    return sl_call_read_all(call, &data, &n, error) && sl_call_reply(call, 200, "text/plain", data, n, error);
}

static const SlRoute routes[] = {
    { "GET", "/_ping", ping, SL_ROUTE_FAST },
    { "POST", "/echo", echo, 0 },
    { 0 },
};
#define PING "GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n"

static void
assert_served(TestServer *self)
{
    g_autofree char *reply = test_ask(self, false, PING);

    test_assert_starts(reply, "HTTP/1.1 200 OK\r\n");
}

/* Milliseconds until the server closes. */
static int64_t
closed_after_ms(int fd)
{
    int64_t start_ms = sl_clock_monotonic_ms();
    g_autofree char *rest = test_receive_all(fd);

    return sl_clock_monotonic_ms() - start_ms;
}

static void
test_slow_heads_end(void)
{
    TestServer self;
    sl_autofd int fd = -1;
    int64_t start_ms;

    test_server_start(&self,
                      (SlServerConfig){ .routes = routes, .head_timeout_ms = 200, .idle_timeout_ms = 60000 });
    fd = test_connect(&self, true);
    start_ms = sl_clock_monotonic_ms();
    /* A byte now and then does not buy time. */
    test_send(fd, "GET /_ping HTTP/1.1\r\nX: ");
    while (poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, 30) == 0) {
        test_send(fd, "y");
        g_assert_cmpint(sl_clock_monotonic_ms() - start_ms, <, 5000);
    }
    g_assert_cmpint(sl_clock_monotonic_ms() - start_ms, >=, 180);
    assert_served(&self);
    test_server_stop(&self);
}

static void
test_idle_connections_end(void)
{
    TestServer self;
    sl_autofd int silent = -1, used = -1;
    g_autofree char *reply = NULL;

    test_server_start(&self, (SlServerConfig){ .routes = routes, .idle_timeout_ms = 150 });
    silent = test_connect(&self, true);
    used = test_connect(&self, false);
    test_send(used, PING);
    reply = test_receive(used);
    g_assert_cmpint(closed_after_ms(silent), <, 5000);
    g_assert_cmpint(closed_after_ms(used), <, 5000);
    test_server_stop(&self);
}

static void
test_slow_bodies_end(void)
{
    TestServer self;
    g_autofree char *reply = NULL;

    test_server_start(&self, (SlServerConfig){ .routes = routes, .body_timeout_ms = 100 });
    reply = test_ask(&self, false, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc");
    test_assert_starts(reply, "HTTP/1.1 504 ");
    test_assert_contains(reply, "Connection: close\r\n");
    test_server_stop(&self);
}

static void
test_dripping_bodies_end(void)
{
    TestServer self;
    sl_autofd int fd = -1;
    int64_t start_ms;
    g_autofree char *reply = NULL;

    test_server_start(&self, (SlServerConfig){ .routes = routes, .body_timeout_ms = 200 });
    fd = test_connect(&self, true);
    start_ms = sl_clock_monotonic_ms();
    test_send(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n");
    while (poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, 20) == 0) {
        test_send(fd, "y");
        g_assert_cmpint(sl_clock_monotonic_ms() - start_ms, <, 5000);
    }
    reply = test_receive(fd);
    test_assert_starts(reply, "HTTP/1.1 504 ");
    test_server_stop(&self);
}

static void
test_heads_are_bounded(void)
{
    TestServer self;
    g_autofree char *filler = g_strnfill(60 * 1000, 'a');
    g_autofree char *fits = g_strdup_printf("GET /_ping HTTP/1.1\r\nHost: x\r\nA: %s\r\n\r\n", filler);
    g_autofree char *too_large =
        g_strdup_printf("GET /_ping HTTP/1.1\r\nHost: x\r\nA: %s\r\nB: %s\r\n\r\n", filler, filler);
    g_autoptr(GString) many = g_string_new("GET /_ping HTTP/1.1\r\nHost: x\r\n");
    g_autofree char *fine = NULL, *large = NULL, *numerous = NULL;

    for (int i = 0; i < 2000; i++)
        g_string_append_printf(many, "a%d: b\r\n", i);
    g_string_append(many, "\r\n");
    test_server_start(&self, (SlServerConfig){ .routes = routes });
    fine = test_ask(&self, true, fits);
    large = test_ask(&self, true, too_large);
    numerous = test_ask(&self, false, many->str);
    test_assert_starts(fine, "HTTP/1.1 200 ");
    test_assert_starts(large, "HTTP/1.1 431 ");
    test_assert_starts(numerous, "HTTP/1.1 431 ");
    test_server_stop(&self);
}

static void
test_kept_bodies_are_bounded(void)
{
    TestServer self;
    g_autofree char *filler = g_strnfill(3000, 'a');
    g_autofree char *chunked = g_strdup_printf(
        "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nbb8\r\n%s\r\n0\r\n\r\n", filler);
    g_autofree char *large = NULL, *announced = NULL, *fits = NULL;

    test_server_start(&self, (SlServerConfig){ .routes = routes, .max_body = 1000 });
    large = test_ask(&self, false, chunked);
    announced = test_ask(&self, false, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n");
    filler[1000] = '\0';
    g_free(chunked);
    chunked = g_strdup_printf("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n%s", filler);
    fits = test_ask(&self, false, chunked);
    test_assert_starts(large, "HTTP/1.1 413 ");
    test_assert_starts(announced, "HTTP/1.1 413 ");
    test_assert_starts(fits, "HTTP/1.1 200 ");
    test_server_stop(&self);
}

static void
test_connections_are_bounded(void)
{
    TestServer self;
    int first;
    sl_autofd int second = -1, third = -1;
    g_autofree char *a = NULL, *b = NULL, *c = NULL;

    test_server_start(&self, (SlServerConfig){ .routes = routes, .max_connections = 2 });
    first = test_connect(&self, false);
    second = test_connect(&self, true);
    test_send(first, PING);
    test_send(second, PING);
    a = test_receive(first);
    b = test_receive(second);
    third = test_connect(&self, false);
    test_send(third, PING);
    g_assert_cmpint(poll(&(struct pollfd){ .fd = third, .events = POLLIN }, 1, 100), ==, 0);
    sl_fd_clear(&first);
    c = test_receive(third);
    test_assert_starts(c, "HTTP/1.1 200 ");
    test_server_stop(&self);
}

static int64_t
cpu_ms(void)
{
    struct timespec used;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return used.tv_sec * 1000 + used.tv_nsec / 1000000;
}

static void
test_no_descriptors_left_does_not_spin(void)
{
    TestServer self;
    sl_autofd int fd = -1;
    g_autoptr(GArray) eaten = g_array_new(FALSE, FALSE, sizeof(int));
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct timeval patience = { .tv_sec = 10 };
    struct rlimit old, low;
    g_autofree char *reply = NULL;
    int64_t before_ms;

    test_server_start(&self, (SlServerConfig){ .routes = routes });
    assert_served(&self);
    fd = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    getrlimit(RLIMIT_NOFILE, &old);
    low = old;
    low.rlim_cur = 100;
    g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &low), ==, 0);
    for (int i = 0; i < 5;
         i++, g_usleep(20 * 1000)) /* the server is still closing the connection of before */
        for (int copy; (copy = dup(fd)) >= 0;)
            g_array_append_val(eaten, copy);

    address.sin_port = htons((uint16_t)self.port);
    g_assert_cmpint(connect(fd, (const struct sockaddr *)&address, sizeof address), ==, 0);
    test_send(fd, PING);
    before_ms = cpu_ms();
    g_assert_cmpint(poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, 400), ==, 0);
    g_assert_cmpint(cpu_ms() - before_ms, <, 150);

    for (guint i = 0; i < eaten->len; i++)
        close(g_array_index(eaten, int, i));
    reply = test_receive(fd);
    test_assert_starts(reply, "HTTP/1.1 200 ");
    setrlimit(RLIMIT_NOFILE, &old);
    test_server_stop(&self);
}

static void
test_idle_connections_cost_little(void)
{
    enum { N = 400 };
    TestServer self;
    int fds[N];
    size_t before;

    test_server_start(&self, (SlServerConfig){ .routes = routes });
    assert_served(&self);
    before = mallinfo2().uordblks;
    for (int i = 0; i < N; i++) {
        g_autofree char *reply = NULL;

        fds[i] = test_connect(&self, i & 1);
        test_send(fds[i], PING);
        reply = test_receive(fds[i]);
    }
    g_test_message("%zu bytes an idle connection", (mallinfo2().uordblks - before) / N);
    g_assert_cmpuint((mallinfo2().uordblks - before) / N, <, 1024);
    for (int i = 0; i < N; i++)
        close(fds[i]);
    test_server_stop(&self);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    sl_json_setup();
    g_test_add_func("/net/limits-end-slow-heads", test_slow_heads_end);
    g_test_add_func("/net/limits-end-idle-connections", test_idle_connections_end);
    g_test_add_func("/net/limits-end-slow-bodies", test_slow_bodies_end);
    g_test_add_func("/net/limits-end-dripping-bodies", test_dripping_bodies_end);
    g_test_add_func("/net/limits-bound-heads", test_heads_are_bounded);
    g_test_add_func("/net/limits-bound-kept-bodies", test_kept_bodies_are_bounded);
    g_test_add_func("/net/limits-bound-connections", test_connections_are_bounded);
    g_test_add_func("/net/limits-do-not-spin-without-descriptors", test_no_descriptors_left_does_not_spin);
    g_test_add_func("/net/limits-keep-idle-connections-small", test_idle_connections_cost_little);
    return g_test_run();
}
