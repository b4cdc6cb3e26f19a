#include "agent/handshake.h"

#include <string.h>

#define TOKEN   "0123456789abcdef0123456789abcdef"
#define UPGRADE "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n"
#define KEY     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define BEARER  "Authorization: Bearer " TOKEN "\r\n"
#define REQUEST "GET /agent/v1 HTTP/1.1\r\nHost: agent\r\n"

static int
check(const char *head)
{
    g_autofree char *key = NULL;
    g_autoptr(GError) error = NULL;

    if (sl_handshake_check(head, strlen(head), TOKEN, &key, &error)) {
        g_assert_cmpstr(key, ==, "dGhlIHNhbXBsZSBub25jZQ==");
        return 101;
    }
    g_assert_null(key);
    return (int)sl_error_http_status(error);
}

static void
test_heads(void)
{
    static const struct {
        int status;
        const char *head;
    } cases[] = {
        { 101, REQUEST UPGRADE KEY BEARER "\r\n" },
        { 101, REQUEST "authorization:bearer " TOKEN "\r\n" UPGRADE KEY "\r\n" },
        { 401, REQUEST UPGRADE KEY "\r\n" },
        { 401, REQUEST UPGRADE KEY "Authorization: Bearer " TOKEN "0\r\n\r\n" },
        { 401, REQUEST UPGRADE KEY "Authorization: Bearer \r\n\r\n" },
        { 401, REQUEST UPGRADE KEY "Authorization: Basic " TOKEN "\r\n\r\n" },
        { 401, REQUEST UPGRADE KEY BEARER BEARER "\r\n" },
        { 404, "GET /agent/v2 HTTP/1.1\r\n" UPGRADE KEY BEARER "\r\n" },
        { 404, "POST /agent/v1 HTTP/1.1\r\n" UPGRADE KEY BEARER "\r\n" },
        { 400, "GET /agent/v1 HTTP/1.0\r\n" UPGRADE KEY BEARER "\r\n" },
        { 400, REQUEST KEY BEARER "\r\n" },
        { 400, REQUEST UPGRADE BEARER "\r\n" },
        { 400, REQUEST UPGRADE "Sec-WebSocket-Key: short\r\n" BEARER "\r\n" },
        { 400, "\r\n\r\n" },
        { 400, "" },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_test_message("%s", cases[i].head);
        g_assert_cmpint(check(cases[i].head), ==, cases[i].status);
    }
}

static void
test_zero_bytes(void)
{
    static const char head[] = REQUEST UPGRADE KEY "X: \0\r\n" BEARER "\r\n";
    g_autofree char *key = NULL;

    g_assert_false(sl_handshake_check(head, sizeof head - 1, TOKEN, &key, NULL));
}

static void
test_length(void)
{
    g_assert_cmpuint(sl_handshake_head_length("", 0), ==, 0);
    g_assert_cmpuint(sl_handshake_head_length("GET\r\n\r", 6), ==, 0);
    g_assert_cmpuint(sl_handshake_head_length("GET\r\n\r\nmore\r\n\r\n", 15), ==, 7);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/agent/handshakes-are-told-apart", test_heads);
    g_test_add_func("/agent/a-zero-byte-in-a-handshake-is-refused", test_zero_bytes);
    g_test_add_func("/agent/a-head-ends-with-its-empty-line", test_length);
    return g_test_run();
}
