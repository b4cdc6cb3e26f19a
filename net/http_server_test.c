#include "net/http_testing.h"

#include "common/clock.h"
#include "common/fd.h"
#include "common/thread.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>

/* ---- handlers ---- */

static bool
ping(SlCall *call, GError **error)
{
    return sl_call_reply(call, 200, "text/plain; charset=utf-8", "OK", 2, error);
}

static bool
slow_ping(SlCall *call, GError **error)
{
    return sl_call_reply(call, 200, "text/plain", "slow", 4, error);
}

static bool
fail(SlCall *call, GError **error)
{
    return sl_fail(error, SL_ERROR_NOT_FOUND, "No such container: %s", sl_call_param(call, "id"));
}

static bool
not_modified(SlCall *call, GError **error)
{
    return sl_fail(error, SL_ERROR_NOT_MODIFIED, "already started");
}

/* Tells what it saw of the request. */
static bool
show(SlCall *call, GError **error)
{
    const char *const *all = sl_call_query_all(call, "t");
    g_autofree char *joined = g_strjoinv("|", (char **)(uintptr_t)all);
    g_autofree char *text = NULL;
    int64_t number;

    if (!sl_call_query_int(call, "n", -7, &number, error))
        return false;
    text = g_strdup_printf("path=%s name=%s version=%d t=%s n=%d b=%d q=%s", sl_call_path(call),
                           sl_call_param(call, "name"), sl_call_version(call), joined, (int)number,
                           sl_call_query_bool(call, "b", true), sl_call_query(call, "q"));
    return sl_call_reply(call, 200, "text/plain", text, strlen(text), error);
}

static bool
echo(SlCall *call, GError **error)
{
    g_autofree char *data = NULL;
    size_t n;

    return sl_call_read_all(call, &data, &n, error) && sl_call_reply(call, 200, "text/plain", data, n, error);
}

/* Counts the bytes of an upload without keeping them. */
static bool
count(SlCall *call, GError **error)
{
    g_autofree char *data = g_malloc(100 * 1000);
    g_autofree char *text = NULL;
    size_t total = 0, n;

    do {
        if (!sl_call_body_read(call, data, 100 * 1000, &n, error))
            return false;
        for (size_t i = 0; i < n; i++)
            if (data[i] != 'a' + (char)((total + i) % 26))
                return sl_fail(error, SL_ERROR_INVALID, "wrong byte at %zu", total + i);
        total += n;
    } while (n > 0);
    text = g_strdup_printf("%zu", total);
    return sl_call_reply(call, 200, "text/plain", text, strlen(text), error);
}

static bool
ignore_body(SlCall *call, GError **error)
{
    return sl_call_reply(call, 200, "text/plain", "ignored", 7, error);
}

static bool
big(SlCall *call, GError **error)
{
    enum { N = 10 * 1000 * 1000 };
    g_autofree char *data = g_malloc(N);

    for (int i = 0; i < N; i++)
        data[i] = 'a' + (char)(i % 26);
    return sl_call_reply(call, 200, "text/plain", data, N, error);
}

static bool
pieces(SlCall *call, GError **error)
{
    return sl_call_begin(call, 200, "application/json", error) && sl_call_write(call, "one", 3, error) &&
           sl_call_write(call, "three", 5, error);
}

static bool
pieces_of_length(SlCall *call, GError **error)
{
    return sl_call_begin_length(call, 200, "application/json", 8, error) &&
           sl_call_write(call, "one", 3, error) && sl_call_write(call, "three", 5, error);
}

static bool
pieces_then_failure(SlCall *call, GError **error)
{
    return sl_call_begin(call, 200, "application/json", error) && sl_call_write(call, "one", 3, error) &&
           sl_fail(error, SL_ERROR_SYSTEM, "the cloud went away");
}

static bool
json_named(SlCall *call, GError **error)
{
    typedef struct Named {
        char *name;
    } Named;
    static const SlJsonField fields[] = { SL_JSON_FIELD(Named, name, "Name", SL_JSON_STRING, 0), { 0 } };
    Named named = { 0 };
    bool ok = sl_call_json(call, fields, &named, error) &&
              sl_call_reply_json(call, 201, json_pack("{s:s?}", "Name", named.name), error);

    sl_json_clear(fields, &named);
    return ok;
}

static const SlRoute routes[] = {
    { "GET", "/_ping", ping, SL_ROUTE_FAST },
    { "HEAD", "/_ping", ping, SL_ROUTE_FAST },
    { "POST", "/_ping", ping, SL_ROUTE_FAST },
    { "GET", "/slow", slow_ping, 0 },
    { "GET", "/fail/{id}", fail, 0 },
    { "GET", "/fast-fail/{id}", fail, SL_ROUTE_FAST },
    { "POST", "/not-modified", not_modified, 0 },
    { "GET", "/images/{name...}/json", show, SL_ROUTE_FAST },
    { "POST", "/form/{name}", show, 0 },
    { "POST", "/echo", echo, 0 },
    { "POST", "/count", count, 0 },
    { "POST", "/ignore", ignore_body, 0 },
    { "GET", "/big", big, 0 },
    { "GET", "/fast-big", big, SL_ROUTE_FAST },
    { "GET", "/pieces", pieces, 0 },
    { "GET", "/fast-pieces", pieces, SL_ROUTE_FAST },
    { "GET", "/pieces-of-length", pieces_of_length, 0 },
    { "GET", "/pieces-then-failure", pieces_then_failure, 0 },
    { "POST", "/json", json_named, 0 },
    { 0 },
};
static const char *const headers[] = { "Api-Version", "1.44", "Ostype", "linux", NULL };

static void
start(TestServer *self)
{
    test_server_start(
        self, (SlServerConfig){
                  .routes = routes, .strip_version = true, .headers = headers, .check_origin = true });
}

#define GET(path)                "GET " path " HTTP/1.1\r\nHost: localhost\r\n\r\n"
#define POST(path, fields, body) "POST " path " HTTP/1.1\r\nHost: localhost\r\n" fields "\r\n" body

/* ---- tests ---- */

static void
test_answers_on_every_transport(void)
{
    TestServer self;

    start(&self);
    for (int over_tcp = 0; over_tcp < 2; over_tcp++) {
        g_autofree char *fast = test_ask(&self, over_tcp, GET("/_ping"));
        g_autofree char *blocking = test_ask(&self, over_tcp, GET("/slow"));
        g_autofree char *none = test_ask(&self, over_tcp, GET("/nothing"));

        test_assert_starts(fast, "HTTP/1.1 200 OK\r\nApi-Version: 1.44\r\nOstype: linux\r\n");
        test_assert_contains(fast, "\r\nContent-Type: text/plain; charset=utf-8\r\n");
        g_assert_true(g_str_has_suffix(fast, "\r\n\r\nOK"));
        g_assert_true(g_str_has_suffix(blocking, "\r\n\r\nslow"));
        test_assert_starts(none, "HTTP/1.1 404 Not Found\r\n");
        test_assert_contains(none, "Content-Type: application/json\r\n");
        g_assert_true(g_str_has_suffix(none, "\r\n\r\n{\"message\":\"page not found\"}\n"));
    }
    test_server_stop(&self);
}

static void
test_errors_are_messages(void)
{
    TestServer self;
    g_autofree char *slow = NULL, *fast = NULL, *unchanged = NULL;

    start(&self);
    slow = test_ask(&self, false, GET("/fail/ab%22c"));
    fast = test_ask(&self, false, GET("/fast-fail/x"));
    unchanged = test_ask(&self, false, POST("/not-modified", "", ""));
    test_assert_starts(slow, "HTTP/1.1 404 Not Found\r\n");
    test_assert_contains(slow, "\r\n\r\n{\"message\":\"No such container: ab\\\"c\"}\n");
    test_assert_starts(fast, "HTTP/1.1 404 Not Found\r\n");
    test_assert_starts(unchanged, "HTTP/1.1 304 Not Modified\r\n");
    g_assert_null(strstr(unchanged, "Content-Length"));
    g_assert_null(strstr(unchanged, "message"));
    test_server_stop(&self);
}

static void
test_head_has_no_body(void)
{
    TestServer self;
    sl_autofd int fd = -1;
    g_autofree char *reply = NULL, *next = NULL;

    start(&self);
    fd = test_connect(&self, false);
    test_send(fd, "HEAD /_ping HTTP/1.1\r\nHost: x\r\n\r\n" GET("/slow"));
    reply = test_receive_head(fd);
    next = test_receive(fd);
    test_assert_contains(reply, "Content-Length: 2\r\n");
    test_assert_starts(next, "HTTP/1.1 200 OK\r\n");
    test_server_stop(&self);
}

static void
test_requests_are_decoded(void)
{
    TestServer self;
    g_autofree char *get = NULL, *form = NULL, *wrong = NULL, *escape = NULL, *nul = NULL, *plain = NULL;

    start(&self);
    get = test_ask(&self, false, GET("/v1.44/images/a%20b/c/json/json?t=1&t=%32%2b&b=False&n=12&q"));
    form =
        test_ask(&self, false,
                 POST("/form/x?q=in+url",
                      "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 7\r\n", "t=1&t=2"));
    wrong = test_ask(&self, false, GET("/images/a/json?n=1x"));
    escape = test_ask(&self, false, GET("/images/%zz/json"));
    nul = test_ask(&self, false, GET("/images/a%00b/json"));
    plain = test_ask(&self, false, GET("/v1.44"));
    test_assert_contains(get, "path=/images/a b/c/json/json name=a b/c/json version=1044 t=1|2+ n=12 b=0 q=");
    test_assert_contains(form, "name=x version=0 t=1|2 n=-7 b=1 q=in url");
    test_assert_starts(wrong, "HTTP/1.1 400 ");
    test_assert_starts(escape, "HTTP/1.1 400 ");
    test_assert_starts(nul, "HTTP/1.1 400 ");
    test_assert_starts(plain, "HTTP/1.1 404 ");
    test_server_stop(&self);
}

static void
test_keeps_alive(void)
{
    TestServer self;
    sl_autofd int fd = -1;

    start(&self);
    fd = test_connect(&self, true);
    for (int i = 0; i < 50; i++) {
        g_autofree char *reply = NULL;

        test_send(fd, i % 3 == 0   ? GET("/_ping")
                      : i % 3 == 1 ? GET("/slow")
                                   : POST("/echo", "Content-Length: 3\r\n", "abc"));
        reply = test_receive(fd);
        g_assert_true(g_str_has_suffix(reply, i % 3 == 0   ? "\r\n\r\nOK"
                                              : i % 3 == 1 ? "\r\n\r\nslow"
                                                           : "\r\n\r\nabc"));
    }
    test_server_stop(&self);
}

static void
test_pipelined_answers_keep_their_order(void)
{
    TestServer self;
    sl_autofd int fd = -1;
    g_autoptr(GString) all = g_string_new(NULL);

    start(&self);
    fd = test_connect(&self, false);
    for (int i = 0; i < 100; i++)
        g_string_append(all, i % 2
                                 ? GET("/_ping")
                                 : POST("/echo", "Transfer-Encoding: chunked\r\n", "3\r\nxyz\r\n0\r\n\r\n"));
    test_send(fd, all->str);
    for (int i = 0; i < 100; i++) {
        g_autofree char *reply = test_receive(fd);

        g_assert_true(g_str_has_suffix(reply, i % 2 ? "\r\n\r\nOK" : "\r\n\r\nxyz"));
    }
    test_server_stop(&self);
}

static void
test_pipelined_answers_wait_for_a_slow_reader(void)
{
    enum { N = 3000 };
    TestServer self;
    sl_autofd int fd = -1;
    g_autoptr(GString) all = g_string_new(NULL);
    g_autofree char *replies = NULL;
    size_t n = 0;

    start(&self);
    fd = test_connect(&self, false);
    for (int i = 0; i < N; i++)
        g_string_append(all, GET("/_ping"));
    test_send(fd, all->str);
    shutdown(fd, SHUT_WR);
    replies = test_receive_all(fd);
    for (const char *at = replies; (at = strstr(at, "\r\n\r\nOK")); at++)
        n++;
    g_assert_cmpuint(n, ==, N);
    test_server_stop(&self);
}

static void
test_http_1_0(void)
{
    TestServer self;
    sl_autofd int fd = -1;
    g_autofree char *closed = NULL, *kept = NULL, *again = NULL, *raw = NULL;

    start(&self);
    fd = test_connect(&self, false);
    test_send(fd, "GET /_ping HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    kept = test_receive(fd);
    test_send(fd, "GET /_ping HTTP/1.0\r\n\r\n");
    closed = test_receive_all(fd);
    raw = test_ask(&self, false, "GET /pieces HTTP/1.0\r\n\r\n");
    test_assert_starts(kept, "HTTP/1.0 200 OK\r\n");
    test_assert_contains(kept, "Connection: keep-alive\r\n");
    test_assert_contains(closed, "Connection: close\r\n");
    g_assert_true(g_str_has_suffix(raw, "\r\n\r\nonethree"));
    g_assert_null(strstr(raw, "chunked"));
    test_server_stop(&self);
}

static void
test_connection_close_is_obeyed(void)
{
    TestServer self;
    sl_autofd int fd = -1;
    g_autofree char *reply = NULL;

    start(&self);
    fd = test_connect(&self, true);
    test_send(fd, "GET /slow HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" GET("/slow"));
    reply = test_receive_all(fd);
    test_assert_contains(reply, "Connection: close\r\n");
    g_assert_true(g_str_has_suffix(reply, "\r\n\r\nslow"));
    g_assert_null(strstr(reply + 1, "HTTP/1.1"));
    test_server_stop(&self);
}

static void
test_replies_in_pieces(void)
{
    TestServer self;
    g_autofree char *slow = NULL, *fast = NULL, *length = NULL, *cut = NULL;

    start(&self);
    slow = test_ask(&self, false, GET("/pieces"));
    fast = test_ask(&self, false, GET("/fast-pieces"));
    length = test_ask(&self, false, GET("/pieces-of-length"));
    cut = test_ask(&self, false, GET("/pieces-then-failure"));
    g_assert_true(g_str_has_suffix(slow, "\r\n\r\n3\r\none\r\n5\r\nthree\r\n0\r\n\r\n"));
    g_assert_true(g_str_has_suffix(fast, "\r\n\r\n3\r\none\r\n5\r\nthree\r\n0\r\n\r\n"));
    g_assert_true(g_str_has_suffix(length, "Content-Length: 8\r\n\r\nonethree"));
    g_assert_true(g_str_has_suffix(cut, "\r\n\r\n3\r\none\r\n"));
    test_server_stop(&self);
}

static char *
pattern_new(size_t n)
{
    char *data = g_malloc(n);

    for (size_t i = 0; i < n; i++)
        data[i] = 'a' + (char)(i % 26);
    return data;
}

static void
test_big_bodies_up(void)
{
    enum { N = 10 * 1000 * 1000 };
    TestServer self;
    g_autofree char *data = pattern_new(N);
    g_autofree char *head = g_strdup_printf(POST("/count", "Content-Length: %d\r\n", ""), N);

    start(&self);
    for (int over_tcp = 0; over_tcp < 2; over_tcp++) {
        sl_autofd int fd = test_connect(&self, over_tcp);
        g_autofree char *plain = NULL, *chunked = NULL;

        test_send(fd, head);
        test_send_bytes(fd, data, N);
        plain = test_receive(fd);
        g_assert_true(g_str_has_suffix(plain, "\r\n\r\n10000000"));

        test_send(fd, POST("/count", "Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n", ""));
        for (size_t at = 0, n; at < N; at += n) {
            g_autofree char *size = NULL;

            n = MIN(N - at, 1 + at % 90001);
            size = g_strdup_printf("%zx;ext=1\r\n", n);
            test_send(fd, size);
            test_send_bytes(fd, data + at, n);
            test_send(fd, "\r\n");
        }
        test_send(fd, "0\r\nX-Sum: abc\r\n\r\n" GET("/_ping"));
        chunked = test_receive(fd);
        g_assert_true(g_str_has_suffix(chunked, "\r\n\r\n10000000"));
        g_free(chunked);
        chunked = test_receive(fd);
        g_assert_true(g_str_has_suffix(chunked, "\r\n\r\nOK"));
    }
    test_server_stop(&self);
}

static void
test_big_bodies_down(void)
{
    static const char *const requests[] = { GET("/big"), GET("/fast-big") };
    TestServer self;

    start(&self);
    for (int i = 0; i < 4; i++) {
        sl_autofd int fd = test_connect(&self, i & 1);
        g_autoptr(GString) all = g_string_new(requests[i / 2]);
        g_autofree char *reply = NULL;
        const char *body;

        test_send(fd, requests[i / 2]);
        shutdown(fd, SHUT_WR);
        g_usleep(20 * 1000); /* the server finds a reader that takes nothing */
        reply = test_receive_all(fd);
        body = strstr(reply, "\r\n\r\n") + 4;
        g_assert_cmpuint(strlen(body), ==, 10 * 1000 * 1000);
        for (size_t at = 0; body[at]; at++)
            if (body[at] != 'a' + (char)(at % 26))
                g_error("wrong byte at %zu", at);
    }
    test_server_stop(&self);
}

static void
test_expect_is_answered_when_the_body_is_wanted(void)
{
    TestServer self;
    sl_autofd int fd = -1, refused = -1;
    g_autofree char *go_on = NULL, *reply = NULL, *final = NULL;

    start(&self);
    fd = test_connect(&self, true);
    test_send(fd, POST("/echo", "Expect: 100-continue\r\nContent-Length: 5\r\n", ""));
    go_on = test_receive_head(fd);
    g_assert_cmpstr(go_on, ==, "HTTP/1.1 100 Continue\r\n\r\n");
    test_send(fd, "hello");
    reply = test_receive(fd);
    g_assert_true(g_str_has_suffix(reply, "\r\n\r\nhello"));

    refused = test_connect(&self, true);
    test_send(refused, POST("/ignore", "Expect: 100-continue\r\nContent-Length: 5\r\n", ""));
    final = test_receive_all(refused);
    test_assert_starts(final, "HTTP/1.1 200 OK\r\n");
    test_assert_contains(final, "Connection: close\r\n");
    test_server_stop(&self);
}

static void
test_unread_bodies(void)
{
    enum { N = 5 * 1000 * 1000 };
    TestServer self;
    sl_autofd int fd = -1, big_fd = -1;
    g_autofree char *first = NULL, *second = NULL, *closed = NULL, *missing = NULL;
    g_autofree char *data = pattern_new(N);

    start(&self);
    fd = test_connect(&self, true);
    test_send(fd, POST("/ignore", "Content-Length: 5\r\n", "hello") GET("/_ping"));
    first = test_receive(fd);
    second = test_receive(fd);
    g_assert_true(g_str_has_suffix(first, "ignored"));
    g_assert_true(g_str_has_suffix(second, "OK"));

    /* Too much to be read for nothing: the answer arrives all the same, and the connection ends. */
    big_fd = test_connect(&self, true);
    test_send(big_fd, POST("/ignore", "Content-Length: 5000000\r\n", ""));
    test_send_bytes(big_fd, data, N);
    shutdown(big_fd, SHUT_WR);
    closed = test_receive_all(big_fd);
    test_assert_starts(closed, "HTTP/1.1 200 OK\r\n");
    test_assert_contains(closed, "Connection: close\r\n");

    missing = test_ask(&self, true, POST("/nowhere", "Content-Length: 5\r\n", "hello"));
    test_assert_starts(missing, "HTTP/1.1 404 ");
    test_server_stop(&self);
}

static void
test_broken_bodies(void)
{
    TestServer self;
    g_autofree char *early = NULL, *chunk = NULL, *large = NULL;
    sl_autofd int fd = -1;

    start(&self);
    fd = test_connect(&self, false);
    test_send(fd, POST("/echo", "Content-Length: 10\r\n", "hello"));
    shutdown(fd, SHUT_WR);
    early = test_receive_all(fd);
    chunk = test_ask(&self, false, POST("/echo", "Transfer-Encoding: chunked\r\n", "zz\r\nhello"));
    large = test_ask(&self, false, POST("/echo", "Content-Length: 99999999999\r\n", ""));
    test_assert_starts(early, "HTTP/1.1 400 ");
    test_assert_contains(early, "Connection: close\r\n");
    test_assert_starts(chunk, "HTTP/1.1 400 ");
    test_assert_contains(chunk, "Connection: close\r\n");
    test_assert_starts(large, "HTTP/1.1 413 ");
    test_server_stop(&self);
}

static void
test_json_bodies(void)
{
    static const struct {
        const char *request, *status, *part;
    } cases[] = {
        { POST("/json", "Content-Type: application/json; charset=utf-8\r\nContent-Length: 12\r\n",
               "{\"name\":\"a\"}"),
          "201", "{\"Name\":\"a\"}" },
        { POST("/json", "", ""), "201", "{\"Name\":null}" },
        { POST("/json", "Content-Type: text/plain\r\nContent-Length: 12\r\n", "{\"name\":\"a\"}"), "400",
          "unsupported Content-Type" },
        { POST("/json", "Content-Length: 12\r\n", "{\"name\":\"a\"}"), "400", "unsupported Content-Type" },
        { POST("/json", "Content-Type: application/json\r\nContent-Length: 10\r\n", "{\"name\":3}"), "400",
          "Name" },
        { POST("/json", "Content-Type: application/json\r\nContent-Length: 3\r\n", "{\"n"), "400",
          "message" },
    };
    TestServer self;

    start(&self);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *reply = test_ask(&self, false, cases[i].request);
        g_autofree char *start_line = g_strdup_printf("HTTP/1.1 %s ", cases[i].status);

        test_assert_starts(reply, start_line);
        test_assert_contains(reply, cases[i].part);
    }
    test_server_stop(&self);
}

static void
test_foreign_pages_are_refused_on_tcp(void)
{
    static const struct {
        const char *fields;
        bool is_allowed;
    } cases[] = {
        { "Host: localhost:2375\r\n", true },
        { "Host: 127.0.0.1:80\r\n", true },
        { "Host: [::1]:80\r\n", true },
        { "Host: evil.example\r\n", false },
        { "Host: localhost.evil\r\n", false },
        { "Host: [evil]\r\n", false },
        { "Host: localhost\r\nOrigin: http://localhost\r\n", false },
    };
    TestServer self;

    start(&self);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *request = g_strdup_printf("GET /_ping HTTP/1.1\r\n%s\r\n", cases[i].fields);
        g_autofree char *tcp = test_ask(&self, true, request);
        g_autofree char *local = test_ask(&self, false, request);

        test_assert_starts(tcp, cases[i].is_allowed ? "HTTP/1.1 200 " : "HTTP/1.1 403 ");
        if (!cases[i].is_allowed)
            test_assert_contains(tcp, "{\"message\":");
        test_assert_starts(local, "HTTP/1.1 200 ");
    }
    test_server_stop(&self);
}

static bool
admit_some(SlCall *call, GError **error)
{
    return sl_call_version(call) <= 1044 ||
           sl_fail(error, SL_ERROR_INVALID, "client version 1.%d is too new", sl_call_version(call) % 1000);
}

static void
test_admission_comes_first(void)
{
    TestServer self;
    g_autofree char *fine = NULL, *fast = NULL, *slow = NULL;

    test_server_start(&self,
                      (SlServerConfig){ .routes = routes, .strip_version = true, .admit = admit_some });
    fine = test_ask(&self, false, GET("/v1.44/_ping"));
    fast = test_ask(&self, false, GET("/v1.45/_ping"));
    slow = test_ask(&self, false, GET("/v1.45/slow"));
    test_assert_starts(fine, "HTTP/1.1 200 ");
    test_assert_contains(fast, "client version 1.45 is too new");
    test_assert_contains(slow, "client version 1.45 is too new");
    test_server_stop(&self);
}

typedef struct Client {
    TestServer *server;
    atomic_int *n_done;
} Client;

static void *
client_run(void *data)
{
    Client *self = data;
    sl_autofd int fd = test_connect(self->server, false);

    for (int i = 0; i < 200; i++) {
        g_autofree char *reply = NULL;

        test_send(fd, i % 2 ? GET("/slow") : GET("/_ping"));
        reply = test_receive(fd);
        test_assert_starts(reply, "HTTP/1.1 200 OK\r\n");
        atomic_fetch_add(self->n_done, 1);
    }
    return NULL;
}

static void
test_many_clients_at_once(void)
{
    TestServer self;
    atomic_int n_done = 0;
    Client client = { &self, &n_done };
    pthread_t threads[8];

    start(&self);
    for (int i = 0; i < 8; i++)
        g_assert_true(sl_thread_start("client", client_run, &client, &threads[i], NULL));
    for (int i = 0; i < 8; i++)
        pthread_join(threads[i], NULL);
    g_assert_cmpint(atomic_load(&n_done), ==, 1600);
    test_server_stop(&self);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    sl_json_setup();
    g_test_add_func("/net/server-answers-on-every-transport", test_answers_on_every_transport);
    g_test_add_func("/net/server-gives-errors-as-messages", test_errors_are_messages);
    g_test_add_func("/net/server-sends-no-body-to-head", test_head_has_no_body);
    g_test_add_func("/net/server-decodes-path-query-and-form", test_requests_are_decoded);
    g_test_add_func("/net/server-keeps-connections", test_keeps_alive);
    g_test_add_func("/net/server-answers-pipelined-requests-in-order",
                    test_pipelined_answers_keep_their_order);
    g_test_add_func("/net/server-waits-for-a-slow-reader", test_pipelined_answers_wait_for_a_slow_reader);
    g_test_add_func("/net/server-speaks-http-1.0", test_http_1_0);
    g_test_add_func("/net/server-obeys-connection-close", test_connection_close_is_obeyed);
    g_test_add_func("/net/server-replies-in-pieces", test_replies_in_pieces);
    g_test_add_func("/net/server-takes-big-bodies", test_big_bodies_up);
    g_test_add_func("/net/server-gives-big-bodies", test_big_bodies_down);
    g_test_add_func("/net/server-continues-when-the-body-is-wanted",
                    test_expect_is_answered_when_the_body_is_wanted);
    g_test_add_func("/net/server-copes-with-unread-bodies", test_unread_bodies);
    g_test_add_func("/net/server-refuses-broken-bodies", test_broken_bodies);
    g_test_add_func("/net/server-reads-json", test_json_bodies);
    g_test_add_func("/net/server-refuses-foreign-pages-on-tcp", test_foreign_pages_are_refused_on_tcp);
    g_test_add_func("/net/server-admits-before-it-dispatches", test_admission_comes_first);
    g_test_add_func("/net/server-serves-many-clients", test_many_clients_at_once);
    return g_test_run();
}
