#include "net/ws.h"

#include <glib.h>
#include <string.h>

/* What an end has heard. */
typedef struct Heard {
    GString *text; /* "t:hello;b:…;" */
    unsigned closed, n_closed;
    SlWs *ws;
    bool echoes;
} Heard;

static void
on_message(void *user, bool is_binary, const uint8_t *data, size_t n)
{
    Heard *heard = user;

    g_string_append(heard->text, is_binary ? "b:" : "t:");
    g_string_append_len(heard->text, (const char *)data, (gssize)n);
    g_string_append_c(heard->text, ';');
    if (heard->echoes)
        sl_ws_send(heard->ws, is_binary, NULL, 0, data, n);
}

static void
on_closed(void *user, unsigned code)
{
    Heard *heard = user;

    heard->closed = code;
    heard->n_closed++;
}

static const SlWsOps ops = { on_message, on_closed };

static void
heard_open(Heard *heard, bool is_client, size_t max)
{
    *heard = (Heard){ .text = g_string_new(NULL) };
    heard->ws = sl_ws_new(is_client, max, &ops, heard);
}

static void
heard_clear(Heard *heard)
{
    if (heard->text)
        g_string_free(heard->text, TRUE);
    sl_ws_free(heard->ws);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Heard, heard_clear)

/* Carries what from has to say to to, in pieces of at most step bytes. */
static void
carry(SlWs *from, SlWs *to, size_t step)
{
    const uint8_t *data;

    for (size_t n; (n = sl_ws_peek(from, &data)) > 0;) {
        g_autoptr(GError) error = NULL;

        n = MIN(n, step);
        g_assert_true(sl_ws_receive(to, data, n, &error));
        sl_ws_wrote(from, n);
    }
}

static void
test_both_ways(void)
{
    static const size_t steps[] = { 1, 2, 3, 7, 1000, SIZE_MAX };
    static const size_t sizes[] = { 0, 1, 125, 126, 127, 65535, 65536, 200000 };

    for (size_t s = 0; s < G_N_ELEMENTS(steps); s++) {
        g_auto(Heard) client = { 0 };
        g_auto(Heard) server = { 0 };
        g_autoptr(GString) expected = g_string_new(NULL);

        heard_open(&client, true, 300000);
        heard_open(&server, false, 300000);
        server.echoes = true;
        for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++) {
            g_autofree char *payload = g_malloc(sizes[i] + 1);

            for (size_t j = 0; j < sizes[i]; j++)
                payload[j] = (char)('a' + j % 23);
            sl_ws_send(client.ws, i % 2, payload, sizes[i] / 3, payload + sizes[i] / 3,
                       sizes[i] - sizes[i] / 3);
            g_string_append(expected, i % 2 ? "b:" : "t:");
            g_string_append_len(expected, payload, (gssize)sizes[i]);
            g_string_append_c(expected, ';');
        }
        carry(client.ws, server.ws, steps[s]);
        carry(server.ws, client.ws, steps[s]);
        g_assert_true(g_string_equal(server.text, expected));
        g_assert_true(g_string_equal(client.text, expected));
        g_assert_cmpuint(sl_ws_n_queued(client.ws), ==, 0);
    }
}

static void
test_exact_bytes(void)
{
    g_auto(Heard) server = { 0 };
    g_auto(Heard) client = { 0 };
    const uint8_t *data;
    size_t n;

    heard_open(&server, false, 1000);
    heard_open(&client, true, 1000);
    /* RFC 6455 §5.7: a single-frame masked text message, then an unmasked one */
    g_assert_true(
        sl_ws_receive(server.ws, (const uint8_t *)"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", 11, NULL));
    g_assert_cmpstr(server.text->str, ==, "t:Hello;");
    sl_ws_send(server.ws, false, "Hel", 3, "lo", 2);
    n = sl_ws_peek(server.ws, &data);
    g_assert_cmpmem(data, n, "\x81\x05Hello", 7);
    g_assert_true(sl_ws_receive(client.ws, data, n, NULL));
    sl_ws_wrote(server.ws, n);
    g_assert_cmpstr(client.text->str, ==, "t:Hello;");

    sl_ws_send(client.ws, false, NULL, 0, "Hello", 5);
    n = sl_ws_peek(client.ws, &data);
    g_assert_cmpuint(n, ==, 11);
    g_assert_cmpmem(data, 2, "\x81\x85", 2);
}

static void
test_fragments_with_ping_between(void)
{
    g_auto(Heard) client = { 0 };
    const uint8_t *data;
    size_t n;

    heard_open(&client, true, 10);
    g_assert_true(sl_ws_receive(client.ws, (const uint8_t *)"\x01\x03Hel\x89\x02hi\x80\x02lo", 13, NULL));
    g_assert_cmpstr(client.text->str, ==, "t:Hello;");
    n = sl_ws_peek(client.ws, &data);
    g_assert_cmpuint(n, ==, 2 + 4 + 2);
    g_assert_cmpmem(data, 2, "\x8a\x82", 2);
    g_assert_cmpint(data[6] ^ data[2], ==, 'h');
    g_assert_cmpint(data[7] ^ data[3], ==, 'i');
    /* The limit is of a message, not of a frame, and begins anew with the next. */
    g_assert_true(sl_ws_receive(client.ws,
                                (const uint8_t *)"\x02\x06"
                                                 "abcdef\x80\x04ghij",
                                14, NULL));
    g_assert_cmpstr(client.text->str, ==, "t:Hello;b:abcdefghij;");
}

static void
check_refused(bool is_client, const char *bytes, size_t n, unsigned code)
{
    g_auto(Heard) end = { 0 };
    g_autoptr(GError) error = NULL;
    g_autoptr(GError) again = NULL;
    const uint8_t *out;
    uint8_t close_bytes[4] = { 0x88, 2, (uint8_t)(code >> 8), (uint8_t)code };

    heard_open(&end, is_client, 1000);
    g_assert_false(sl_ws_receive(end.ws, (const uint8_t *)bytes, n, &error));
    g_assert_error(error, SL_ERROR, SL_ERROR_INVALID);
    g_assert_cmpuint(end.closed, ==, code);
    g_assert_cmpuint(end.n_closed, ==, 1);
    g_assert_false(sl_ws_receive(end.ws, (const uint8_t *)"\x81\x00", 2, &again));
    g_assert_cmpuint(end.n_closed, ==, 1);
    sl_ws_send(end.ws, true, NULL, 0, "not after close", 15);
    g_assert_cmpuint(sl_ws_peek(end.ws, &out), ==, is_client ? 8 : 4);
    if (!is_client)
        g_assert_cmpmem(out, 4, close_bytes, 4);
}

static void
test_refuses(void)
{
    static const struct {
        bool is_client;
        const char *bytes;
        size_t n;
        unsigned code;
    } cases[] = {
        { false, "\x81\x05", 2, 1002 }, /* the client does not mask */
        { true, "\x81\x85", 2, 1002 },  /* the server masks */
        { true, "\xc1\x00", 2, 1002 },  /* RSV1: an extension nobody agreed on */
        { true, "\x83\x00", 2, 1002 },  /* unknown opcodes */
        { true, "\x8b\x00", 2, 1002 },
        { true, "\x09\x00", 2, 1002 }, /* a ping in pieces */
        { true, "\x89\x7e", 2, 1002 }, /* a long ping */
        { true, "\x80\x00", 2, 1002 }, /* a continuation of nothing */
        { true,
          "\x01\x01"
          "a\x81\x01",
          5, 1002 },                           /* a message inside another */
        { true, "\x82\x7e\x00\x7d", 4, 1002 }, /* lengths not in their shortest form */
        { true, "\x82\x7f\x00\x00\x00\x00\x00\x00\xff\xff", 10, 1002 },
        { true, "\x82\x7f\x80\x00\x00\x00\x00\x00\x00\x00", 10, 1002 }, /* a negative length */
        { true, "\x82\x7e\x03\xe9", 4, 1009 }, /* 1001 bytes, refused before they come */
        { true, "\x82\x7f\x00\x00\x00\x01\x00\x00\x00\x00", 10, 1009 }, /* 4 GiB */
        { true, "\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff", 10, 1009 },
        { true, "\x81\x02\xc3\x28", 4, 1007 }, /* not UTF-8 */
        { true, "\x88\x01\x03", 3, 1002 },     /* half a close code */
        { true, "\x88\x02\x03\xed", 4, 1002 }, /* 1005 and 999 are never sent */
        { true, "\x88\x02\x03\xe7", 4, 1002 },
        { true, "\x88\x03\x03\xe8\xff", 5, 1007 },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_test_message("case %zu", i);
        check_refused(cases[i].is_client, cases[i].bytes, cases[i].n, cases[i].code);
    }
}

static void
test_fragments_are_limited(void)
{
    g_auto(Heard) client = { 0 };
    g_autofree uint8_t *frame = g_malloc0(2 + 100);
    g_autoptr(GError) error = NULL;
    int n = 0;

    heard_open(&client, true, 1000);
    frame[0] = 0x02;
    frame[1] = 100;
    while (sl_ws_receive(client.ws, frame, 102, &error)) {
        frame[0] = 0x00;
        g_assert_cmpint(++n, <=, 10);
    }
    g_assert_cmpint(n, ==, 10);
    g_assert_cmpuint(client.closed, ==, 1009);
}

static void
test_ping_flood(void)
{
    g_auto(Heard) client = { 0 };
    g_auto(Heard) server = { 0 };
    const uint8_t *data;
    size_t n;

    heard_open(&client, true, 1000);
    heard_open(&server, false, 1000);
    for (int i = 0; i < 100000; i++)
        g_assert_true(sl_ws_receive(client.ws,
                                    (const uint8_t *)"\x89\x04"
                                                     "ping",
                                    6, NULL));
    g_assert_cmpuint(sl_ws_n_queued(client.ws), <, 1000);
    g_assert_true(sl_ws_receive(client.ws,
                                (const uint8_t *)"\x89\x04"
                                                 "last",
                                6, NULL));
    n = sl_ws_peek(client.ws, &data);
    g_assert_true(sl_ws_receive(server.ws, data, n, NULL));
    sl_ws_wrote(client.ws, n);
    n = sl_ws_peek(client.ws, &data); /* the latest ping is answered after all */
    g_assert_cmpuint(n, ==, 10);
    g_assert_cmpint(data[6] ^ data[2], ==, 'l');
}

static void
test_close(void)
{
    g_auto(Heard) client = { 0 };
    g_auto(Heard) server = { 0 };

    heard_open(&client, true, 1000);
    heard_open(&server, false, 1000);
    sl_ws_send(client.ws, false, NULL, 0, "last words", 10);
    sl_ws_send_close(client.ws, 1000);
    sl_ws_send_close(client.ws, 1001);
    sl_ws_send(client.ws, false, NULL, 0, "too late", 8);
    carry(client.ws, server.ws, SIZE_MAX);
    g_assert_cmpstr(server.text->str, ==, "t:last words;");
    g_assert_cmpuint(server.closed, ==, 1000);
    g_assert_cmpuint(client.n_closed, ==, 0);
    carry(server.ws, client.ws, 1); /* the echo */
    g_assert_cmpuint(client.closed, ==, 1000);
    g_assert_cmpuint(sl_ws_n_queued(client.ws) + sl_ws_n_queued(server.ws), ==, 0);
}

static void
test_text_with_nul(void)
{
    g_auto(Heard) client = { 0 };

    heard_open(&client, true, 1000);
    g_assert_true(sl_ws_receive(client.ws,
                                (const uint8_t *)"\x81\x03"
                                                 "a\0b",
                                5, NULL));
    g_assert_cmpmem(client.text->str, client.text->len, "t:a\0b;", 6);
}

static void
test_handshake(void)
{
    g_autofree char *accept = sl_ws_accept_key("dGhlIHNhbXBsZSBub25jZQ=="); /* RFC 6455 §1.3 */
    g_autofree char *key = sl_ws_key_new();
    g_autofree char *other = sl_ws_key_new();

    g_assert_cmpstr(accept, ==, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    g_assert_cmpuint(strlen(key), ==, 24);
    g_assert_cmpstr(key, !=, other);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/net/ws-carries-messages-however-they-are-cut", test_both_ways);
    g_test_add_func("/net/ws-bytes-are-the-rfc's", test_exact_bytes);
    g_test_add_func("/net/ws-joins-fragments-around-a-ping", test_fragments_with_ping_between);
    g_test_add_func("/net/ws-refuses-lies", test_refuses);
    g_test_add_func("/net/ws-limits-fragmented-messages", test_fragments_are_limited);
    g_test_add_func("/net/ws-ping-flood-takes-no-memory", test_ping_flood);
    g_test_add_func("/net/ws-closes-in-both-directions", test_close);
    g_test_add_func("/net/ws-text-may-hold-nul", test_text_with_nul);
    g_test_add_func("/net/ws-handshake", test_handshake);
    return g_test_run();
}
