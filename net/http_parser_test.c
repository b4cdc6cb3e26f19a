#include "net/http_parser.h"
#include "net/http_testing.h"

#include "common/fd.h"

#include <string.h>

#define P           "POST /a HTTP/1.1\r\n"
#define H           P "Host: localhost\r\n"
#define CHUNKED     H "Transfer-Encoding: chunked\r\n\r\n"
#define CASE(bytes) bytes, sizeof bytes - 1

/* What could be read two ways, or by two readers differently. */
static const struct {
    const char *name, *bytes;
    size_t n;
} refused[] = {
    { "length with chunked", CASE(H "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n") },
    { "chunked with length", CASE(H "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n") },
    { "two equal lengths", CASE(H "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc") },
    { "two lengths", CASE(H "Content-Length: 3\r\nContent-Length: 5\r\n\r\nabc") },
    { "list of lengths", CASE(H "Content-Length: 3, 3\r\n\r\nabc") },
    { "length with plus", CASE(H "Content-Length: +3\r\n\r\nabc") },
    { "length with minus", CASE(H "Content-Length: -1\r\n\r\nabc") },
    { "hexadecimal length", CASE(H "Content-Length: 0x3\r\n\r\nabc") },
    { "length beyond 64 bits", CASE(H "Content-Length: 18446744073709551617\r\n\r\nabc") },
    { "length of 2^63", CASE(H "Content-Length: 9223372036854775808\r\n\r\nabc") },
    { "empty length", CASE(H "Content-Length:\r\n\r\n") },
    { "identity", CASE(H "Transfer-Encoding: identity\r\n\r\nabc") },
    { "chunked, identity", CASE(H "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n") },
    { "gzip, chunked", CASE(H "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n") },
    { "xchunked", CASE(H "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n") },
    { "chunked twice", CASE(H "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n") },
    { "chunked and identity",
      CASE(H "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n") },
    { "vertical tab before chunked", CASE(H "Transfer-Encoding: \013chunked\r\n\r\n0\r\n\r\n") },
    { "chunked in HTTP/1.0", CASE("POST /a HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n") },
    { "bare LF after the request line", CASE("GET /a HTTP/1.1\nHost: localhost\r\n\r\n") },
    { "bare LF after a header", CASE(P "Host: localhost\nContent-Length: 0\r\n\r\n") },
    { "bare LF at the head's end", CASE(H "Content-Length: 0\r\n\n") },
    { "nothing but bare LF", CASE("GET /a HTTP/1.1\nHost: localhost\n\n") },
    { "bare CR in a value", CASE(H "A: b\rc\r\n\r\n") },
    { "folded line", CASE(H "A: b\r\n c\r\n\r\n") },
    { "folded line with a tab", CASE(H "A: b\r\n\tc\r\n\r\n") },
    { "folded coding", CASE(H "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n") },
    { "space before the first header", CASE(P " Host: localhost\r\n\r\n") },
    { "space before a colon", CASE(H "Content-Length : 3\r\n\r\nabc") },
    { "header without a colon", CASE(H "foo\r\n\r\n") },
    { "header without a name", CASE(H ": v\r\n\r\n") },
    { "tab in a name", CASE(P "Ho\tst: localhost\r\n\r\n") },
    { "two Hosts", CASE(H "Host: localhost\r\n\r\n") },
    { "no Host", CASE("GET /a HTTP/1.1\r\n\r\n") },
    { "NUL in a value", CASE(H "A: b\0c\r\n\r\n") },
    { "NUL in a name", CASE(H "A\0b: c\r\n\r\n") },
    { "NUL in the target", CASE("GET /a\0b HTTP/1.1\r\nHost: localhost\r\n\r\n") },
    { "HTTP/2.0", CASE("GET /a HTTP/2.0\r\nHost: localhost\r\n\r\n") },
    { "HTTP/2's preface", CASE("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") },
    { "HTTP/1.2", CASE("GET /a HTTP/1.2\r\nHost: localhost\r\n\r\n") },
    { "HTTP/0.9", CASE("GET /a\r\n\r\n") },
    { "unknown method", CASE("FOO /a HTTP/1.1\r\nHost: localhost\r\n\r\n") },
    { "small method", CASE("get /a HTTP/1.1\r\nHost: localhost\r\n\r\n") },
    { "absolute URI", CASE("GET http://localhost/a HTTP/1.1\r\nHost: localhost\r\n\r\n") },
    { "CONNECT", CASE("CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n") },
    { "target without slash", CASE("GET a HTTP/1.1\r\nHost: localhost\r\n\r\n") },
    { "a TLS hello", CASE("\026\003\001\002\000\001\000\001\374\003\003") },
    { "chunk size beyond 64 bits", CASE(CHUNKED "10000000000000000\r\n") },
    { "chunk size 0x3", CASE(CHUNKED "0x3\r\nabc\r\n0\r\n\r\n") },
    { "negative chunk size", CASE(CHUNKED "-1\r\nabc\r\n0\r\n\r\n") },
    { "bare LF after a chunk extension", CASE(CHUNKED "3;a\nabc\r\n0\r\n\r\n") },
    { "bare LF after a chunk size", CASE(CHUNKED "3\nabc\r\n0\r\n\r\n") },
    { "chunk longer than its size", CASE(CHUNKED "3\r\nabcXX0\r\n\r\n") },
    { "bare LF after a chunk", CASE(CHUNKED "3\r\nabc\n0\r\n\r\n") },
    { "empty chunk size", CASE(CHUNKED "\r\nabc\r\n0\r\n\r\n") },
};

/* What SL_HTTP_HEAD and chunks make of bytes given n_step at a time; false when they refuse. */
static bool
parse_in_steps(const char *bytes, size_t n, size_t n_step, GString *ret_body)
{
    g_autoptr(SlHttpParser) parser = sl_http_parser_new(false);
    SlHttpParse result = SL_HTTP_MORE;
    g_autofree char *buffer = NULL;
    g_autofree char *rest = NULL;
    size_t at = 0, n_body, n_used;
    bool is_done = false;

    while (result == SL_HTTP_MORE && at < n) {
        char *moved;

        at = MIN(n, at + n_step);
        moved = g_malloc(at); /* exactly as much as there is, somewhere else each time */
        memcpy(moved, bytes, at);
        g_free(buffer);
        buffer = moved;
        result = sl_http_parser_head(parser, buffer, at, NULL);
    }
    if (result != SL_HTTP_HEAD)
        return false;
    if (!sl_http_parser_get_head(parser)->is_chunked)
        return true;
    at = sl_http_parser_n_head(parser);
    while (!is_done && at < n) {
        size_t n_piece = MIN(n_step, n - at);

        g_free(rest);
        rest = g_memdup2(bytes + at, n_piece);
        if (!sl_http_parser_chunks(parser, rest, n_piece, &n_body, &n_used, &is_done, NULL))
            return false;
        g_string_append_len(ret_body, rest, (gssize)n_body);
        at += n_used;
    }
    return is_done;
}

static void
test_refuses_ambiguity(void)
{
    static const size_t steps[] = { 1, 2, 7, 10000 };

    for (size_t i = 0; i < G_N_ELEMENTS(refused); i++) {
        for (size_t j = 0; j < G_N_ELEMENTS(steps); j++) {
            g_autoptr(GString) body = g_string_new(NULL);

            if (parse_in_steps(refused[i].bytes, refused[i].n, steps[j], body))
                g_error("taken in steps of %zu: %s", steps[j], refused[i].name);
        }
    }
}

static bool
echo(SlCall *call, GError **error)
{
    g_autofree char *data = NULL;
    size_t n;

    return sl_call_read_all(call, &data, &n, error) && sl_call_reply(call, 200, "text/plain", data, n, error);
}

static void
test_server_answers_400_and_closes(void)
{
    static const SlRoute routes[] = { { "*", "*", echo, 0 }, { 0 } };
    static const char follower[] = "GET /follower HTTP/1.1\r\nHost: localhost\r\n\r\n";
    TestServer self;

    test_server_start(&self, (SlServerConfig){ .routes = routes });
    for (size_t i = 0; i < G_N_ELEMENTS(refused); i++) {
        sl_autofd int fd = test_connect(&self, i & 1);
        g_autofree char *replies = NULL;

        test_send_bytes(fd, refused[i].bytes, refused[i].n);
        test_send(fd, follower);
        replies = test_receive_all(fd);
        if (!g_str_has_prefix(replies, "HTTP/1.1 400 Bad Request\r\n") &&
            !g_str_has_prefix(replies, "HTTP/1.0 400 Bad Request\r\n"))
            g_error("%s: answered %s", refused[i].name, replies);
        test_assert_contains(replies, "Content-Type: application/json\r\n");
        test_assert_contains(replies, "{\"message\":\"");
        if (strstr(replies + 1, "HTTP/1.1 "))
            g_error("%s: a second answer: %s", refused[i].name, replies);
    }
    test_server_stop(&self);
}

static void
test_decodes_chunks_in_any_steps(void)
{
    static const char bytes[] = CHUNKED
        "3\r\nabc\r\nA;x=y;z=\"q\"\r\n0123456789\r\n1 \r\nX\r\n0\r\nContent-Length: 5\r\nA: b\r\n\r\n";
    static const char plain[] = CHUNKED "3\r\nabc\r\nA;x=y\r\n0123456789\r\n1\r\nX\r\n0\r\nA: b\r\n\r\n";

    for (size_t n_step = 1; n_step < sizeof plain; n_step++) {
        g_autoptr(GString) body = g_string_new(NULL);

        g_assert_true(parse_in_steps(plain, sizeof plain - 1, n_step, body));
        g_assert_cmpstr(body->str, ==, "abc0123456789X");
    }
    /* Spaces after a size and framing fields in a trailer: whatever is decided, it does not depend on the
     * steps. */
    for (size_t n_step = 1; n_step < sizeof bytes; n_step++) {
        g_autoptr(GString) body = g_string_new(NULL);
        g_autoptr(GString) whole = g_string_new(NULL);

        g_assert_true(parse_in_steps(bytes, sizeof bytes - 1, n_step, body) ==
                      parse_in_steps(bytes, sizeof bytes - 1, sizeof bytes, whole));
    }
}

static void
test_reads_a_head(void)
{
    g_autofree char *buffer = g_strdup("\r\nGET /p?q=1 HTTP/1.1\r\nhOST: x \t\r\nEmpty:\r\nConnection: foo , "
                                       "UPGRADE\r\nUpgrade: tcp\r\nContent-Length: 12\r\n"
                                       "Expect: 100-Continue\r\n\r\nbody");
    g_autoptr(SlHttpParser) parser = sl_http_parser_new(false);
    const SlHttpHead *head;

    g_assert_cmpint(sl_http_parser_head(parser, buffer, strlen(buffer), NULL), ==, SL_HTTP_HEAD);
    head = sl_http_parser_get_head(parser);
    g_assert_cmpstr(buffer + sl_http_parser_n_head(parser), ==, "body");
    g_assert_cmpstr(head->method, ==, "GET");
    g_assert_cmpstr(head->target, ==, "/p?q=1");
    g_assert_cmpstr(head->host, ==, "x");
    g_assert_cmpstr(sl_http_head_get(head, "empty"), ==, "");
    g_assert_null(sl_http_head_get(head, "none"));
    g_assert_cmpint(head->content_length, ==, 12);
    g_assert_true(head->wants_upgrade && head->expects_continue && head->keep_alive && !head->is_chunked);
}

static void
test_reads_a_response(void)
{
    g_autofree char *buffer =
        g_strdup("HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nraw");
    g_autofree char *none = g_strdup("HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n");
    g_autoptr(SlHttpParser) parser = sl_http_parser_new(true);

    g_assert_cmpint(sl_http_parser_head(parser, buffer, strlen(buffer), NULL), ==, SL_HTTP_HEAD);
    g_assert_cmpuint(sl_http_parser_get_head(parser)->status, ==, 101);
    g_assert_cmpstr(buffer + sl_http_parser_n_head(parser), ==, "raw");
    sl_http_parser_reset(parser);
    g_assert_cmpint(sl_http_parser_head(parser, none, strlen(none), NULL), ==, SL_HTTP_HEAD);
    g_assert_true(sl_http_parser_get_head(parser)->is_chunked);
}

static void
test_bounds_what_lies_between_chunks(void)
{
    g_autoptr(GString) bytes = g_string_new(CHUNKED "3\r\nabc\r\n0\r\n");
    g_autoptr(GString) body = g_string_new(NULL);

    for (int i = 0; i < 10000; i++)
        g_string_append(bytes, "Trailer: endless\r\n");
    g_string_append(bytes, "\r\n");
    g_assert_false(parse_in_steps(bytes->str, bytes->len, 4096, body));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/net/parser-reads-a-head", test_reads_a_head);
    g_test_add_func("/net/parser-reads-a-response", test_reads_a_response);
    g_test_add_func("/net/parser-refuses-what-can-be-read-two-ways", test_refuses_ambiguity);
    g_test_add_func("/net/parser-decodes-chunks-in-any-steps", test_decodes_chunks_in_any_steps);
    g_test_add_func("/net/parser-bounds-what-lies-between-chunks", test_bounds_what_lies_between_chunks);
    g_test_add_func("/net/server-answers-400-and-closes", test_server_answers_400_and_closes);
    return g_test_run();
}
