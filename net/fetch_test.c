#include "net/fetch.h"

#include "common/clock.h"
#include "common/fd.h"
#include "common/thread.h"
#include "net/address.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

/* argv: certificate and key for TLS, or nothing. Prints its port; ends when its input does. */
static const char server_script[] =
    "import http.server, os, ssl, sys, threading\n"
    "class H(http.server.BaseHTTPRequestHandler):\n"
    "    protocol_version = 'HTTP/1.1'\n"
    "    def log_message(self, *a): pass\n"
    "    def answer(self, status, body, headers=()):\n"
    "        self.send_response(status)\n"
    "        for k, v in headers: self.send_header(k, v)\n"
    "        self.send_header('Content-Length', str(len(body)))\n"
    "        self.end_headers()\n"
    "        if self.command != 'HEAD': self.wfile.write(body)\n"
    "    def handle_any(self):\n"
    "        n = int(self.headers.get('Content-Length', 0))\n"
    "        sent = self.rfile.read(n)\n"
    "        p = self.path\n"
    "        if p.startswith('/echo'):\n"
    "            text = '%s %s %s\\n' % (self.command, p, n) + ''.join('%s=%s\\n' % (k.lower(), v) for k, v "
    "in self.headers.items())\n"
    "            self.answer(200, text.encode() + sent, [('X-Multi', 'a'), ('x-multi', 'b'), ('X-Peer', "
    "str(self.client_address[1]))])\n"
    "        elif p == '/redirect': self.answer(307, b'go away', [('Location', '/echo')])\n"
    "        elif p == '/missing': self.answer(404, b'x' * 100000)\n"
    "        elif p == '/big': self.answer(200, b'0123456789' * 1000000)\n"
    "        elif p == '/stall':\n"
    "            self.send_response(200); self.send_header('Content-Length', '10'); self.end_headers()\n"
    "            self.wfile.write(b'abc'); self.wfile.flush(); threading.Event().wait(20)\n"
    "        elif p == '/never': threading.Event().wait(20)\n"
    "        elif p == '/short':\n"
    "            self.send_response(200); self.send_header('Content-Length', '10'); self.end_headers()\n"
    "            self.wfile.write(b'abc'); self.close_connection = True\n"
    "    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_PATCH = handle_any\n"
    "s = http.server.ThreadingHTTPServer(('127.0.0.1', 0), H)\n"
    "s.daemon_threads = True\n"
    "s.handle_error = lambda *a: None\n"
    "threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()\n"
    "if len(sys.argv) > 1:\n"
    "    c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER); c.load_cert_chain(sys.argv[1], sys.argv[2])\n"
    "    s.socket = c.wrap_socket(s.socket, server_side=True)\n"
    "print(s.server_address[1], flush=True)\n"
    "s.serve_forever()\n";

typedef struct Server {
    GPid pid;
    int port, input;
} Server;

static Server plain;

static void
server_start(Server *server, char *certificate, char *key)
{
    char *argv[] = {
        (char[]){ "python3" }, (char[]){ "-c" }, g_strdup(server_script), certificate, key, NULL
    };
    g_autoptr(GError) error = NULL;
    char text[16] = { 0 };
    size_t n = 0;
    int out = -1;

    g_assert_true(g_spawn_async_with_pipes(NULL, argv, NULL, G_SPAWN_SEARCH_PATH | G_SPAWN_DO_NOT_REAP_CHILD,
                                           NULL, NULL, &server->pid, &server->input, &out, NULL, &error));
    while (n < sizeof text - 1 && !strchr(text, '\n')) {
        struct pollfd ready = { .fd = out, .events = POLLIN };
        ssize_t done;

        g_assert_cmpint(poll(&ready, 1, 20000), ==, 1);
        done = read(out, text + n, sizeof text - 1 - n);
        g_assert_cmpint(done, >, 0);
        n += (size_t)done;
    }
    close(out);
    server->port = (int)g_ascii_strtoll(text, NULL, 10);
    g_assert_cmpint(server->port, >, 0);
    g_free(argv[2]);
}

static void
server_stop(Server *server)
{
    close(server->input);
    waitpid(server->pid, NULL, 0);
}

static char *
url_of(const Server *server, const char *path)
{
    return g_strdup_printf("http://127.0.0.1:%d%s", server->port, path);
}

static SlFetcher *
fetcher_new(void)
{
    return sl_fetcher_new(&(SlFetchConfig){ .user_agent = "sockerless/test", .stall_timeout_ms = 400 });
}

static void
test_request_and_reply(void)
{
    g_autoptr(SlFetcher) fetcher = fetcher_new();
    g_autofree char *url = url_of(&plain, "/echo/../x?q=1");
    static const char *const headers[] = { "X-One", "1", "X-Empty", "", NULL };
    static const char *const methods[] = { "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH" };

    for (size_t i = 0; i < G_N_ELEMENTS(methods); i++) {
        bool has_body = i >= 2;
        SlFetch fetch = { .method = methods[i], .url = url, .headers = headers };
        g_auto(SlFetchReply) reply = { 0 };
        g_autoptr(GError) error = NULL;
        g_autofree char *first = g_strdup_printf("%s /echo/../x?q=1 %d\n", methods[i], has_body ? 7 : 0);

        if (has_body) {
            fetch.body = "payload";
            fetch.n_body = 7;
        }
        g_assert_true(sl_fetch(fetcher, NULL, &fetch, &reply, &error));
        g_assert_cmpuint(reply.status, ==, 200);
        g_assert_cmpstr(g_hash_table_lookup(reply.headers, "x-multi"), ==, "a, b");
        if (i == 1) {
            g_assert_cmpuint(reply.n_body, ==, 0);
            continue;
        }
        g_assert_true(g_str_has_prefix(reply.body, first));
        g_assert_nonnull(strstr(reply.body, "x-one=1\n"));
        g_assert_nonnull(strstr(reply.body, "x-empty=\n"));
        g_assert_nonnull(strstr(reply.body, "user-agent=sockerless/test\n"));
        g_assert_null(strstr(reply.body, "content-type="));
        g_assert_null(strstr(reply.body, "expect="));
        g_assert_true(g_str_has_suffix(reply.body, has_body ? "payload" : "\n"));
        g_assert_cmpuint(strlen(reply.body), ==, reply.n_body);
    }
}

static void
test_connection_is_reused(void)
{
    g_autoptr(SlFetcher) fetcher = fetcher_new();
    g_autofree char *url = url_of(&plain, "/echo");
    g_autofree char *first = NULL;

    for (int i = 0; i < 3; i++) {
        g_auto(SlFetchReply) reply = { 0 };

        g_assert_true(sl_fetch(fetcher, NULL, &(SlFetch){ .method = "GET", .url = url }, &reply, NULL));
        if (!first)
            first = g_strdup(g_hash_table_lookup(reply.headers, "x-peer"));
        g_assert_cmpstr(g_hash_table_lookup(reply.headers, "x-peer"), ==, first);
    }
}

static void
test_redirect_is_the_callers(void)
{
    g_autoptr(SlFetcher) fetcher = fetcher_new();
    g_autofree char *url = url_of(&plain, "/redirect");
    g_auto(SlFetchReply) reply = { 0 };

    g_assert_true(sl_fetch(fetcher, NULL, &(SlFetch){ .method = "GET", .url = url }, &reply, NULL));
    g_assert_cmpuint(reply.status, ==, 307);
    g_assert_cmpstr(g_hash_table_lookup(reply.headers, "location"), ==, "/echo");
    g_assert_cmpstr(reply.body, ==, "go away");
}

typedef struct Sink {
    size_t n, fail_after;
} Sink;

static bool
sink_take(void *user, const void *data, size_t n, GError **error)
{
    Sink *sink = user;

    sink->n += n;
    return sink->n <= sink->fail_after || sl_fail(error, SL_ERROR_SYSTEM, "disk full");
}

static void
test_sink(void)
{
    g_autoptr(SlFetcher) fetcher = fetcher_new();
    g_autofree char *url = url_of(&plain, "/big");
    g_autofree char *missing = url_of(&plain, "/missing");
    g_auto(SlFetchReply) reply = { 0 };
    g_auto(SlFetchReply) not_found = { 0 };
    g_auto(SlFetchReply) none = { 0 };
    g_autoptr(GError) error = NULL;
    Sink sink = { .fail_after = SIZE_MAX };

    g_assert_true(sl_fetch(fetcher, NULL,
                           &(SlFetch){ .method = "GET", .url = url, .sink = sink_take, .sink_user = &sink },
                           &reply, NULL));
    g_assert_cmpuint(sink.n, ==, 10000000);
    g_assert_cmpuint(reply.n_body, ==, 0);

    sink = (Sink){ .fail_after = 500000 };
    g_assert_false(sl_fetch(fetcher, NULL,
                            &(SlFetch){ .method = "GET", .url = url, .sink = sink_take, .sink_user = &sink },
                            &none, &error));
    g_assert_error(error, SL_ERROR, SL_ERROR_SYSTEM);
    g_assert_cmpstr(error->message, ==, "disk full");
    g_assert_null(none.headers);

    sink.n = 0; /* an error's body is not for the sink, and is cut where it is long */
    g_assert_true(sl_fetch(
        fetcher, NULL,
        &(SlFetch){
            .method = "GET", .url = missing, .sink = sink_take, .sink_user = &sink, .max_body = 1000 },
        &not_found, NULL));
    g_assert_cmpuint(not_found.status, ==, 404);
    g_assert_cmpuint(not_found.n_body, ==, 1000);
    g_assert_cmpuint(sink.n, ==, 0);
}

static void
expect_failure(SlFetcher *fetcher, SlCancel *cancel, const SlFetch *fetch, SlErrorCode code,
               const char *words)
{
    g_auto(SlFetchReply) reply = { 0 };
    g_autoptr(GError) error = NULL;

    g_assert_false(sl_fetch(fetcher, cancel, fetch, &reply, &error));
    g_test_message("%s", error->message);
    g_assert_error(error, SL_ERROR, (int)code);
    g_assert_nonnull(strstr(error->message, words));
    g_assert_null(strstr(error->message, "secret"));
    g_assert_null(reply.headers);
}

static void
test_failures(void)
{
    g_autoptr(SlFetcher) fetcher = fetcher_new();
    g_auto(SlAddress) address = { .host = g_strdup("127.0.0.1") };
    g_autofree int *fds = NULL;
    g_autofree char *stall = url_of(&plain, "/stall");
    g_autofree char *never = url_of(&plain, "/never");
    g_autofree char *cut = url_of(&plain, "/short");
    g_autofree char *big = url_of(&plain, "/big");
    g_autofree char *tls = g_strdup_printf("https://127.0.0.1:%d/v2/", plain.port);
    g_autofree char *refused = NULL;
    g_autofree char *words = NULL;
    static const char *const evil[] = { "X-A", "b\r\nX-Injected: secret", NULL };
    size_t n = 0;

    g_assert_true(sl_address_listen(&address, false, &fds, &n, NULL));
    close(fds[0]);
    refused = g_strdup_printf("http://127.0.0.1:%d/v2/?token=secret", address.port);
    words =
        g_strdup_printf("Get \"http://127.0.0.1:%d/v2/\": dial tcp 127.0.0.1:%d: connect: connection refused",
                        address.port, address.port);
    expect_failure(fetcher, NULL, &(SlFetch){ .method = "GET", .url = refused }, SL_ERROR_UNAVAILABLE, words);
    expect_failure(
        fetcher, NULL, &(SlFetch){ .method = "GET", .url = "http://no-such-host.invalid/v2/" },
        SL_ERROR_UNAVAILABLE,
        "Get \"http://no-such-host.invalid/v2/\": dial tcp: lookup no-such-host.invalid: no such host");
    expect_failure(fetcher, NULL, &(SlFetch){ .method = "GET", .url = stall }, SL_ERROR_UNAVAILABLE,
                   "context deadline exceeded");
    expect_failure(fetcher, NULL, &(SlFetch){ .method = "GET", .url = never }, SL_ERROR_UNAVAILABLE,
                   "net/http: timeout awaiting response headers");
    expect_failure(fetcher, NULL, &(SlFetch){ .method = "GET", .url = cut }, SL_ERROR_UNAVAILABLE,
                   "unexpected EOF");
    expect_failure(fetcher, NULL, &(SlFetch){ .method = "GET", .url = tls }, SL_ERROR_UNAVAILABLE,
                   "server gave HTTP response to HTTPS client");
    expect_failure(fetcher, NULL, &(SlFetch){ .method = "GET", .url = big, .max_body = 1000 },
                   SL_ERROR_TOO_LARGE, "larger than 1000 bytes");
    expect_failure(fetcher, NULL, &(SlFetch){ .method = "GET", .url = "file:///etc/passwd" },
                   SL_ERROR_INVALID, "not a URL");
    expect_failure(fetcher, NULL, &(SlFetch){ .method = "GET", .url = "http://user:secret@127.0.0.1:1/" },
                   SL_ERROR_INVALID, "");
    expect_failure(fetcher, NULL, &(SlFetch){ .method = "GET", .url = big, .headers = evil },
                   SL_ERROR_INVALID, "header X-A cannot be sent");
}

static void *
fire_soon(void *data)
{
    poll(NULL, 0, 50);
    sl_cancel_fire(data);
    return NULL;
}

static void
test_cancel(void)
{
    g_autoptr(SlFetcher) fetcher = sl_fetcher_new(&(SlFetchConfig){ 0 });
    g_autoptr(SlCancel) cancel = sl_cancel_new();
    g_autofree char *url = url_of(&plain, "/never");
    int64_t before_ms = sl_clock_monotonic_ms();
    pthread_t thread;

    g_assert_true(sl_thread_start("fire", fire_soon, cancel, &thread, NULL));
    expect_failure(fetcher, cancel, &(SlFetch){ .method = "GET", .url = url }, SL_ERROR_CANCELLED,
                   "cancelled");
    g_assert_cmpint(sl_clock_monotonic_ms() - before_ms, <, 900); /* at once, not at the next look */
    pthread_join(thread, NULL);
    expect_failure(fetcher, cancel, &(SlFetch){ .method = "GET", .url = url }, SL_ERROR_CANCELLED,
                   "cancelled");
}

static void *
fetch_often(void *data)
{
    g_autofree char *url = url_of(&plain, "/echo");

    for (int i = 0; i < 20; i++) {
        g_auto(SlFetchReply) reply = { 0 };

        g_assert_true(sl_fetch(data, NULL, &(SlFetch){ .method = "GET", .url = url }, &reply, NULL));
        g_assert_cmpuint(reply.status, ==, 200);
    }
    return NULL;
}

static void
test_threads(void)
{
    g_autoptr(SlFetcher) fetcher = sl_fetcher_new(&(SlFetchConfig){ 0 });
    pthread_t threads[12];

    for (size_t i = 0; i < G_N_ELEMENTS(threads); i++)
        g_assert_true(sl_thread_start("fetch", fetch_often, fetcher, &threads[i], NULL));
    for (size_t i = 0; i < G_N_ELEMENTS(threads); i++)
        pthread_join(threads[i], NULL);
}

static void
test_tls(void)
{
    g_autofree char *folder = g_dir_make_tmp("sl-fetch-XXXXXX", NULL);
    g_autofree char *certificate = g_build_filename(folder, "cert.pem", NULL);
    g_autofree char *key = g_build_filename(folder, "key.pem", NULL);
    g_autofree char *command = g_strdup_printf(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=test "
        "-addext subjectAltName=IP:127.0.0.1 -keyout %s -out %s",
        key, certificate);
    g_autofree char *url = NULL;
    g_autofree char *output = NULL;
    g_autofree char *noise = NULL;
    int status = -1;
    Server server;

    if (!g_spawn_command_line_sync(command, &output, &noise, &status, NULL) || status != 0) {
        g_test_skip("no openssl program to make a certificate");
        return;
    }
    server_start(&server, certificate, key);
    url = g_strdup_printf("https://127.0.0.1:%d/echo", server.port);
    for (int i = 0; i < 3; i++) {
        g_autoptr(SlFetcher) fetcher =
            sl_fetcher_new(&(SlFetchConfig){ .ca_file = i == 1 ? certificate : NULL });
        g_auto(SlFetchReply) reply = { 0 };

        if (i == 0) {
            expect_failure(fetcher, NULL, &(SlFetch){ .method = "GET", .url = url }, SL_ERROR_UNAVAILABLE,
                           "tls: failed to verify certificate");
            continue;
        }
        g_assert_true(sl_fetch(
            fetcher, NULL, &(SlFetch){ .method = "GET", .url = url, .insecure_tls = i == 2 }, &reply, NULL));
        g_assert_cmpuint(reply.status, ==, 200);
        if (i == 2) /* what was accepted once is not accepted for good */
            expect_failure(fetcher, NULL, &(SlFetch){ .method = "GET", .url = url }, SL_ERROR_UNAVAILABLE,
                           "tls: failed to verify certificate");
    }
    server_stop(&server);
    sl_tree_remove(AT_FDCWD, folder, NULL);
}

typedef struct Gate {
    bool is_open;
    char *asked;
} Gate;

static bool
gate_admit(void *user, const char *address, GError **error)
{
    Gate *gate = user;

    g_free(gate->asked);
    gate->asked = g_strdup(address);
    return gate->is_open || sl_fail(error, SL_ERROR_FORBIDDEN, "%s: refused", address);
}

/* A name may mean one address when it is looked at and another when it is used: what counts is the one in use, on kept
 * connections too. */
static void
test_the_address_in_use_is_judged(void)
{
    g_autoptr(SlFetcher) fetcher = fetcher_new();
    g_autofree char *url = g_strdup_printf("http://localhost:%d/echo", plain.port);
    Gate gate = { 0 };
    const SlFetch fetch = { .method = "GET", .url = url, .admit = gate_admit, .admit_user = &gate };

    for (int i = 0; i < 3; i++) {
        g_auto(SlFetchReply) reply = { 0 };

        gate.is_open = i == 1;
        if (!gate.is_open) {
            expect_failure(fetcher, NULL, &fetch, SL_ERROR_FORBIDDEN, "1: refused");
            continue;
        }
        g_assert_true(sl_fetch(fetcher, NULL, &fetch, &reply, NULL));
        g_assert_cmpstr(gate.asked, ==, "127.0.0.1");
    }
    g_free(gate.asked);
}

int
main(int argc, char **argv)
{
    int failed;

    g_test_init(&argc, &argv, NULL);
    server_start(&plain, NULL, NULL);
    g_test_add_func("/net/fetch-sends-and-reads", test_request_and_reply);
    g_test_add_func("/net/fetch-reuses-connections", test_connection_is_reused);
    g_test_add_func("/net/fetch-leaves-redirects-to-the-caller", test_redirect_is_the_callers);
    g_test_add_func("/net/fetch-streams-into-a-sink", test_sink);
    g_test_add_func("/net/fetch-says-why-it-failed", test_failures);
    g_test_add_func("/net/fetch-is-cancelled-at-once", test_cancel);
    g_test_add_func("/net/fetch-from-many-threads", test_threads);
    g_test_add_func("/net/fetch-verifies-certificates", test_tls);
    g_test_add_func("/net/fetch-judges-the-address-in-use", test_the_address_in_use_is_judged);
    failed = g_test_run();
    server_stop(&plain);
    return failed;
}
