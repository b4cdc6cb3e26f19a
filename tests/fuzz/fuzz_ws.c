/*
 * A websocket's bytes from the peer. The first byte says which end we are and how the rest is cut into
 * pieces: however it is cut, the same messages must come out, none above the limit, and nothing after the
 * close.
 */
#include "net/ws.h"

#include <glib.h>
#include <string.h>

enum { MAX_MESSAGE = 512 };

typedef struct Heard {
    GChecksum *sum;
    unsigned n_closed, code;
} Heard;

static void
on_message(void *user, bool is_binary, const uint8_t *data, size_t n)
{
    Heard *heard = user;
    uint8_t mark[] = { is_binary, (uint8_t)n, (uint8_t)(n >> 8) };

    g_assert_cmpuint(n, <=, MAX_MESSAGE);
    g_assert_cmpuint(heard->n_closed, ==, 0);
    g_checksum_update(heard->sum, mark, sizeof mark);
    g_checksum_update(heard->sum, data, (gssize)n);
}

static void
on_closed(void *user, unsigned code)
{
    Heard *heard = user;

    heard->code = code;
    heard->n_closed++;
}

static const SlWsOps ops = { on_message, on_closed };

static char *
hear(bool is_client, const uint8_t *data, size_t n, size_t step, unsigned *ret_code)
{
    Heard heard = { .sum = g_checksum_new(G_CHECKSUM_MD5) };
    g_autoptr(SlWs) ws = sl_ws_new(is_client, MAX_MESSAGE, &ops, &heard);
    char *sum;

    for (size_t at = 0; at < n; at += step) {
        size_t part = MIN(step, n - at);
        g_autofree uint8_t *piece = g_memdup2(data + at, part); /* a read past its end is seen */

        if (!sl_ws_receive(ws, piece, part, NULL))
            break;
        g_assert_cmpuint(sl_ws_n_queued(ws), <, 4096);
    }
    g_assert_cmpuint(heard.n_closed, <=, 1);
    *ret_code = heard.n_closed ? heard.code : 0;
    sum = g_strdup(g_checksum_get_string(heard.sum));
    g_checksum_free(heard.sum);
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    g_autofree char *whole = NULL;
    g_autofree char *cut = NULL;
    unsigned whole_code = 0, cut_code = 0;

    if (n < 2)
        return 0;
    whole = hear(data[0] & 1, data + 1, n - 1, n, &whole_code);
    cut = hear(data[0] & 1, data + 1, n - 1, (data[0] >> 1) % 16 + 1, &cut_code);
    g_assert_cmpstr(whole, ==, cut);
    g_assert_cmpuint(whole_code, ==, cut_code);
    return 0;
}
