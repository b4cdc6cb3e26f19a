#include "net/http_client.h"
#include "net/http_testing.h"

#include "common/clock.h"
#include "common/fd.h"
#include "common/thread.h"

#include <poll.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static atomic_int n_calls;

static bool
ping(SlCall *call, GError **error)
{
    atomic_fetch_add(&n_calls, 1);
    return sl_call_reply(call, 200, "text/plain", "OK", 2, error);
}

static bool
echo(SlCall *call, GError **error)
{
    g_autofree char *piece = g_malloc(70000);
    size_t n;

    if (!sl_call_begin(call, 200, "text/plain", error))
        return false;
    do {
        if (!sl_call_body_read(call, piece, 70000, &n, error) || !sl_call_write(call, piece, n, error))
            return false;
    } while (n > 0);
    return true;
}

static bool
refuse(SlCall *call, GError **error)
{
    return sl_fail(error, SL_ERROR_CONFLICT, "no room");
}

static bool
until_close(SlCall *call, GError **error)
{
    g_autoptr(SlStream) stream = sl_call_take(call);
    static const char answer[] = "HTTP/1.0 200 OK\r\n\r\nto the end";

    return sl_stream_write_all(stream, NULL, answer, sizeof answer - 1, 1000, error);
}

static bool
attach(SlCall *call, GError **error)
{
    g_autoptr(SlStream) stream = sl_call_hijack(call, "application/vnd.docker.raw-stream", error);
    char data[100];
    size_t n;

    if (!stream || !sl_stream_write_all(stream, NULL, "hello\n", 6, 1000, error))
        return false;
    do {
        if (!sl_stream_read(stream, NULL, data, sizeof data, 5000, &n, error) ||
            !sl_stream_write_all(stream, NULL, data, n, 1000, error))
            return false;
    } while (n > 0);
    return true;
}

static bool
show_head(SlCall *call, GError **error)
{
    g_autofree char *text =
        g_strdup_printf("host=%s x=%s length=%d", sl_call_header(call, "Host"),
                        sl_call_header(call, "X-Thing"), (int)sl_call_content_length(call));

    sl_call_add_header(call, "X-Back", "yes");
    return sl_call_reply(call, 200, "text/plain", text, strlen(text), error);
}

static bool
never(SlCall *call, GError **error)
{
    return sl_cancel_sleep(sl_call_cancel(call), 10000, error) && ping(call, error);
}

static const SlRoute routes[] = {
    { "*", "/ping", ping, 0 },        { "POST", "/echo", echo, 0 },
    { "POST", "/refuse", refuse, 0 }, { "GET", "/until-close", until_close, 0 },
    { "POST", "/attach", attach, 0 }, { "*", "/head", show_head, 0 },
    { "GET", "/never", never, 0 },    { 0 },
};

typedef struct Fixture {
    TestServer server;
    SlHttpClient *client;
} Fixture;

static void
fixture_start(Fixture *self, SlServerConfig config)
{
    SlAddress address = { 0 };

    config.routes = routes;
    test_server_start(&self->server, config);
    address.path = self->server.path;
    self->client = sl_http_client_new(&address);
}

static void
fixture_stop(Fixture *self)
{
    sl_http_client_free(self->client);
    test_server_stop(&self->server);
}

static SlHttpReply *
call(Fixture *self, const char *method, const char *target)
{
    g_autoptr(GError) error = NULL;
    SlHttpReply *reply = sl_http_client_call(
        self->client, NULL, &(SlHttpRequest){ .method = method, .target = target, .http_minor = 1 }, &error);

    g_assert_no_error(error);
    return reply;
}

static void
assert_body(SlHttpReply *reply, const char *expected)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *data = NULL;
    size_t n;

    sl_http_reply_read_all(reply, NULL, 1000, &data, &n, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(data, ==, expected);
    g_assert_cmpuint(n, ==, strlen(expected));
}

static void
test_calls_and_keeps_the_connection(void)
{
    static const char *const methods[] = { "GET", "HEAD", "POST", "DELETE" };
    Fixture self;

    /* One connection only: a second could not be made. */
    fixture_start(&self, (SlServerConfig){ .max_connections = 1 });
    for (int i = 0; i < 20; i++) {
        g_autoptr(SlHttpReply) reply = call(&self, methods[i % 4], "/ping");

        g_assert_cmpuint(sl_http_reply_status(reply), ==, 200);
        g_assert_cmpint(sl_http_reply_content_length(reply), ==, 2);
        assert_body(reply, i % 4 == 1 ? "" : "OK");
    }
    fixture_stop(&self);
}

static void
test_headers_travel(void)
{
    static const char *const headers[] = { "X-Thing", "a b", "Host", "evil", "Content-Length", "7", NULL };
    SlHttpRequest request = {
        .method = "POST", .target = "/head", .headers = headers, .body = "abc", .n_body = 3, .http_minor = 1
    };
    g_autoptr(SlHttpReply) reply = NULL;
    g_autoptr(GError) error = NULL;
    const char *name = "", *value = "";
    Fixture self;

    fixture_start(&self, (SlServerConfig){ 0 });
    reply = sl_http_client_call(self.client, NULL, &request, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(sl_http_reply_header(reply, "x-back"), ==, "yes");
    for (size_t i = 0; g_strcmp0(name, "X-Back") != 0; i++)
        g_assert_true(sl_http_reply_header_at(reply, i, &name, &value));
    g_assert_cmpstr(value, ==, "yes");
    g_assert_false(sl_http_reply_header_at(reply, 100, &name, &value));
    assert_body(reply, "host=localhost x=a b length=3");

    g_clear_pointer(&reply, sl_http_reply_free);
    request.target = "/head HTTP/1.1\r\nX: y";
    g_assert_null(sl_http_client_call(self.client, NULL, &request, &error));
    g_assert_error(error, SL_ERROR, SL_ERROR_INVALID);
    fixture_stop(&self);
}

/* A body of n bytes, each telling where it is. */
typedef struct Source {
    size_t at, n;
    bool breaks;
} Source;

static bool
source_read(void *user, void *data, size_t n, size_t *ret_n, GError **error)
{
    Source *self = user;

    if (self->breaks && self->at > self->n / 2)
        return sl_fail(error, SL_ERROR_INVALID, "the source broke");
    n = MIN(MIN(n, self->n - self->at), 1 + self->at % 70001);
    for (size_t i = 0; i < n; i++)
        ((char *)data)[i] = 'a' + (char)((self->at + i) % 26);
    self->at += n;
    *ret_n = n;
    return true;
}

static SlHttpReply *
upload(Fixture *self, Source *source, const char *target, bool is_chunked, GError **error)
{
    SlHttpRequest request = {
        .method = "POST", .target = target, .body_read = source_read, .body_user = source, .http_minor = 1
    };

    request.content_length = is_chunked ? -1 : (int64_t)source->n;
    return sl_http_client_call(self->client, NULL, &request, error);
}

static void
test_bodies_stream_both_ways(void)
{
    enum { N = 10 * 1000 * 1000 };
    Fixture self;

    fixture_start(&self, (SlServerConfig){ .max_connections = 1 });
    for (int is_chunked = 0; is_chunked < 2; is_chunked++) {
        g_autoptr(GError) error = NULL;
        Source source = { .n = N };
        g_autoptr(SlHttpReply) reply = upload(&self, &source, "/echo", is_chunked, &error);
        g_autofree char *data = g_malloc(12345);
        size_t total = 0, n;

        g_assert_no_error(error);
        do {
            g_assert_true(sl_http_reply_read(reply, NULL, data, total % 2 ? 12345 : 99, &n, &error));
            for (size_t i = 0; i < n; i++)
                g_assert_cmpint(data[i], ==, 'a' + (char)((total + i) % 26));
            total += n;
        } while (n > 0);
        g_assert_cmpuint(total, ==, N);
    }
    fixture_stop(&self);
}

static void
test_early_refusal_is_heard(void)
{
    Fixture self;

    fixture_start(&self, (SlServerConfig){ 0 });
    for (int i = 0; i < 10; i++) {
        g_autoptr(GError) error = NULL;
        Source source = { .n = 50 * 1000 * 1000 };
        g_autoptr(SlHttpReply) reply = upload(&self, &source, "/refuse", i & 1, &error);

        g_assert_no_error(error);
        g_assert_cmpuint(sl_http_reply_status(reply), ==, 409);
        assert_body(reply, "{\"message\":\"no room\"}\n");
        g_assert_cmpuint(source.at, <, source.n);
    }
    fixture_stop(&self);
}

static void
test_a_broken_source_is_the_callers_error(void)
{
    Fixture self;
    Source source = { .n = 1000 * 1000, .breaks = true };
    g_autoptr(GError) error = NULL;

    fixture_start(&self, (SlServerConfig){ 0 });
    g_assert_null(upload(&self, &source, "/echo", true, &error));
    g_assert_error(error, SL_ERROR, SL_ERROR_INVALID);
    g_assert_cmpstr(error->message, ==, "the source broke");
    fixture_stop(&self);
}

static void
test_stale_connections_are_replaced(void)
{
    Fixture self;
    int before = atomic_load(&n_calls);

    fixture_start(&self, (SlServerConfig){ .idle_timeout_ms = 40 });
    for (int i = 0; i < 5; i++) {
        g_autoptr(SlHttpReply) reply = call(&self, "POST", "/ping");

        assert_body(reply, "OK");
        g_clear_pointer(&reply, sl_http_reply_free);
        g_usleep(70 * 1000);
    }
    g_assert_cmpint(atomic_load(&n_calls) - before, ==, 5);
    fixture_stop(&self);
}

static void
test_bodies_to_the_end(void)
{
    Fixture self;
    g_autoptr(SlHttpReply) reply = NULL;

    fixture_start(&self, (SlServerConfig){ 0 });
    reply = call(&self, "GET", "/until-close");
    g_assert_cmpint(sl_http_reply_content_length(reply), ==, -1);
    assert_body(reply, "to the end");
    g_clear_pointer(&reply, sl_http_reply_free);
    fixture_stop(&self);
}

static void
test_answers_become_streams(void)
{
    Fixture self;

    fixture_start(&self, (SlServerConfig){ 0 });
    for (int upgrades = 0; upgrades < 2; upgrades++) {
        SlHttpRequest request = {
            .method = "POST", .target = "/attach", .upgrade = upgrades, .is_stream = true, .http_minor = 1
        };
        g_autoptr(GError) error = NULL;
        g_autoptr(SlHttpReply) reply = sl_http_client_call(self.client, NULL, &request, &error);
        g_autoptr(SlStream) stream = NULL;
        GString *all = g_string_new(NULL);
        char data[100];
        size_t n = 1;

        g_assert_no_error(error);
        g_assert_cmpuint(sl_http_reply_status(reply), ==, upgrades ? 101 : 200);
        stream = sl_http_reply_take(reply);
        g_assert_true(sl_stream_write_all(stream, NULL, "ping", 4, 1000, &error));
        sl_stream_shutdown_write(stream);
        while (n > 0) {
            g_assert_true(sl_stream_read(stream, NULL, data, sizeof data, 5000, &n, &error));
            g_string_append_len(all, data, (gssize)n);
        }
        g_assert_cmpstr(all->str, ==, "hello\nping");
        g_string_free(all, TRUE);
    }
    fixture_stop(&self);
}

static void *
fire_soon(void *data)
{
    g_usleep(30 * 1000);
    sl_cancel_fire(data);
    return NULL;
}

static void
test_calls_are_cancelled(void)
{
    Fixture self;
    g_autoptr(SlCancel) cancel = sl_cancel_new();
    g_autoptr(GError) error = NULL;
    int64_t start_ms = sl_clock_monotonic_ms();
    pthread_t thread;

    fixture_start(&self, (SlServerConfig){ 0 });
    g_assert_true(sl_thread_start("fire", fire_soon, cancel, &thread, NULL));
    g_assert_null(sl_http_client_call(
        self.client, cancel, &(SlHttpRequest){ .method = "GET", .target = "/never", .http_minor = 1 },
        &error));
    g_assert_error(error, SL_ERROR, SL_ERROR_CANCELLED);
    g_assert_cmpint(sl_clock_monotonic_ms() - start_ms, <, 5000);
    pthread_join(thread, NULL);
    fixture_stop(&self);
}

static void
test_nobody_there_is_unavailable(void)
{
    g_autofree char *path = g_strdup("/nonexistent/sockerless.sock");
    g_autoptr(SlHttpClient) client = sl_http_client_new(&(SlAddress){ .path = path });
    g_autoptr(GError) error = NULL;

    g_assert_null(sl_http_client_call(
        client, NULL, &(SlHttpRequest){ .method = "GET", .target = "/", .http_minor = 1 }, &error));
    g_assert_error(error, SL_ERROR, SL_ERROR_UNAVAILABLE);
}

/* A server that answers the first request with fixed bytes, however wrong, and closes. */
typedef struct Liar {
    int listener;
    const char *answer;
} Liar;

static void *
liar_run(void *data)
{
    Liar *self = data;
    sl_autofd int fd = -1;
    g_autofree char *request = NULL;

    g_assert_true(sl_cancel_wait_fd(NULL, self->listener, POLLIN, 10000, NULL));
    fd = accept(self->listener, NULL, NULL);
    request = test_receive_head(fd);
    test_send(fd, self->answer);
    shutdown(fd, SHUT_WR);
    g_free(request);
    request = test_receive_all(fd);
    return NULL;
}

static void
test_bad_answers_are_errors(void)
{
    static const struct {
        const char *answer;
        SlErrorCode code;
        bool in_body;
    } cases[] = {
        { "", SL_ERROR_UNAVAILABLE, false },
        { "SSH-2.0-OpenSSH\r\n", SL_ERROR_SYSTEM, false },
        { "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", SL_ERROR_SYSTEM,
          false },
        { "HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\nshort", SL_ERROR_SYSTEM, true },
        { "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", SL_ERROR_SYSTEM, true },
        { "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", SL_ERROR_SYSTEM, true },
        { "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\nOK", SL_ERROR_SYSTEM,
          true },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        SlAddress address = { .host = g_strdup("127.0.0.1") };
        g_autofree int *fds = NULL;
        g_autoptr(SlHttpClient) client = NULL;
        g_autoptr(SlHttpReply) reply = NULL;
        g_autoptr(GError) error = NULL;
        g_autofree char *data = NULL;
        size_t n_fds;
        pthread_t thread;
        Liar liar = { .answer = cases[i].answer };

        g_assert_true(sl_address_listen(&address, false, &fds, &n_fds, &error));
        liar.listener = fds[0];
        g_assert_true(sl_thread_start("liar", liar_run, &liar, &thread, NULL));
        client = sl_http_client_new(&address);
        reply = sl_http_client_call(
            client, NULL, &(SlHttpRequest){ .method = "GET", .target = "/", .http_minor = 1 }, &error);
        if (cases[i].in_body) {
            g_assert_no_error(error);
            g_assert_false(sl_http_reply_read_all(reply, NULL, 10000, &data, NULL, &error));
        }
        g_assert_error(error, SL_ERROR, (int)cases[i].code);
        g_clear_pointer(&reply, sl_http_reply_free);
        pthread_join(thread, NULL);
        for (size_t j = 0; j < n_fds; j++)
            close(fds[j]);
        sl_address_clear(&address);
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    sl_json_setup();
    g_test_add_func("/net/client-keeps-the-connection", test_calls_and_keeps_the_connection);
    g_test_add_func("/net/client-sends-and-gets-headers", test_headers_travel);
    g_test_add_func("/net/client-streams-bodies-both-ways", test_bodies_stream_both_ways);
    g_test_add_func("/net/client-hears-an-early-refusal", test_early_refusal_is_heard);
    g_test_add_func("/net/client-gives-the-source-its-error", test_a_broken_source_is_the_callers_error);
    g_test_add_func("/net/client-replaces-stale-connections", test_stale_connections_are_replaced);
    g_test_add_func("/net/client-reads-bodies-to-the-end", test_bodies_to_the_end);
    g_test_add_func("/net/client-turns-answers-into-streams", test_answers_become_streams);
    g_test_add_func("/net/client-can-be-cancelled", test_calls_are_cancelled);
    g_test_add_func("/net/client-says-that-nobody-is-there", test_nobody_there_is_unavailable);
    g_test_add_func("/net/client-refuses-bad-answers", test_bad_answers_are_errors);
    return g_test_run();
}
