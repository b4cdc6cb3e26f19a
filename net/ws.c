#include "net/ws.h"

#include <glib.h>
#include <string.h>
#include <sys/random.h>

/* Section numbers are RFC 6455's. */

enum {
    OP_CONTINUATION = 0,
    OP_TEXT = 1,
    OP_BINARY = 2,
    OP_CLOSE = 8,
    OP_PING = 9,
    OP_PONG = 10,

    BIT_FINAL = 0x80,
    BITS_RESERVED = 0x70,
    BITS_OPCODE = 0x0f,
    BIT_CONTROL = 0x08,
    BIT_MASKED = 0x80,
    BITS_LENGTH = 0x7f,
    LENGTH_16 = 126,
    LENGTH_64 = 127,

    HEADER_MAX = 14,
    CONTROL_MAX = 125,
    KEEP_BYTES = 4096, /* buffers up to here are kept while a link is quiet */

    CODE_PROTOCOL = 1002,
    CODE_NONE = 1005, /* never on the wire */
    CODE_NOT_UTF8 = 1007,
    CODE_TOO_BIG = 1009,
};

typedef struct Frame {
    uint8_t opcode;
    bool is_final;
    uint8_t mask[4];
    size_t n;    /* of payload */
    size_t done; /* of it, received */
} Frame;

struct SlWs {
    const SlWsOps *ops;
    void *user;
    size_t max_message;
    bool is_client;
    bool is_over;        /* a close or an error came in: nothing is read any more */
    bool has_sent_close; /* nothing is sent any more */

    uint8_t header[HEADER_MAX];
    size_t n_header;
    bool in_payload;
    Frame frame;
    uint8_t message_opcode; /* OP_CONTINUATION between messages */
    GByteArray *message;    /* of the data message so far */
    uint8_t control[CONTROL_MAX];

    GByteArray *out;
    size_t out_at;    /* written up to here */
    size_t pong_left; /* bytes until the last pong in out has been written */
    bool has_pong;    /* a later ping waits for that */
    uint8_t pong[CONTROL_MAX];
    size_t n_pong;
};

SlWs *
sl_ws_new(bool is_client, size_t max_message, const SlWsOps *ops, void *user)
{
    SlWs *ws = g_new0(SlWs, 1);

    ws->is_client = is_client;
    ws->max_message = max_message;
    ws->ops = ops;
    ws->user = user;
    ws->message = g_byte_array_new();
    ws->out = g_byte_array_new();
    return ws;
}

void
sl_ws_free(SlWs *ws)
{
    if (!ws)
        return;
    g_byte_array_unref(ws->message);
    g_byte_array_unref(ws->out);
    g_free(ws);
}

/* ---- sending ---- */

/* from: the payload's position of data[0]. */
static void
apply_mask(uint8_t *data, size_t n, const uint8_t mask[4], size_t from)
{
    uint8_t turned[8];
    uint64_t word, mask_word;
    size_t i = 0;

    for (size_t j = 0; j < sizeof turned; j++)
        turned[j] = mask[(from + j) % 4];
    memcpy(&mask_word, turned, sizeof mask_word);
    for (; i + sizeof word <= n; i += sizeof word) {
        memcpy(&word, data + i, sizeof word);
        word ^= mask_word;
        memcpy(data + i, &word, sizeof word);
    }
    for (; i < n; i++)
        data[i] ^= turned[i % 4];
}

static size_t
put_header(uint8_t header[HEADER_MAX], uint8_t opcode, size_t n, bool is_masked)
{
    uint8_t mask_bit = is_masked ? BIT_MASKED : 0;
    size_t at = 2;

    header[0] = (uint8_t)(BIT_FINAL | opcode);
    if (n < LENGTH_16) {
        header[1] = (uint8_t)(mask_bit | n);
        return at;
    }
    header[1] = mask_bit | (n <= UINT16_MAX ? LENGTH_16 : LENGTH_64);
    for (int shift = n <= UINT16_MAX ? 8 : 56; shift >= 0; shift -= 8)
        header[at++] = (uint8_t)((uint64_t)n >> shift);
    return at;
}

/* Makes room behind what is unsent: the buffer does not grow while it is written as fast as it fills. */
static void
out_compact(SlWs *ws)
{
    if (ws->out_at < KEEP_BYTES || ws->out_at < ws->out->len / 2)
        return;
    g_byte_array_remove_range(ws->out, 0, (guint)ws->out_at);
    ws->out_at = 0;
}

static void
queue_frame(SlWs *ws, uint8_t opcode, const void *head, size_t n_head, const void *data, size_t n_data)
{
    uint8_t header[HEADER_MAX];
    size_t n = put_header(header, opcode, n_head + n_data, ws->is_client);
    guint start;

    if (ws->has_sent_close)
        return;
    out_compact(ws);
    if (ws->is_client) {
        /* §5.3: a fresh mask for every frame, that nobody can foresee. */
        while (getrandom(header + n, 4, 0) != 4)
            ;
        n += 4;
    }
    g_byte_array_append(ws->out, header, (guint)n);
    start = ws->out->len;
    if (n_head > 0)
        g_byte_array_append(ws->out, head, (guint)n_head);
    if (n_data > 0)
        g_byte_array_append(ws->out, data, (guint)n_data);
    if (ws->is_client)
        apply_mask(ws->out->data + start, n_head + n_data, header + n - 4, 0);
}

void
sl_ws_send(SlWs *ws, bool is_binary, const void *head, size_t n_head, const void *data, size_t n)
{
    queue_frame(ws, is_binary ? OP_BINARY : OP_TEXT, head, n_head, data, n);
}

void
sl_ws_send_ping(SlWs *ws)
{
    queue_frame(ws, OP_PING, NULL, 0, NULL, 0);
}

void
sl_ws_send_close(SlWs *ws, unsigned code)
{
    uint8_t payload[2] = { (uint8_t)(code >> 8), (uint8_t)code };

    queue_frame(ws, OP_CLOSE, NULL, 0, payload, code == CODE_NONE ? 0 : sizeof payload);
    ws->has_sent_close = true;
}

/*
 * §5.5.3 lets one pong answer the latest of several pings: at most one is in the queue, so that a peer that
 * pings and never reads cannot fill our memory.
 */
static void
queue_pong(SlWs *ws)
{
    if (!ws->has_pong || ws->pong_left > 0)
        return;
    ws->has_pong = false;
    queue_frame(ws, OP_PONG, NULL, 0, ws->pong, ws->n_pong);
    ws->pong_left = ws->out->len - ws->out_at;
}

size_t
sl_ws_peek(SlWs *ws, const uint8_t **ret_data)
{
    *ret_data = ws->out->data + ws->out_at;
    return ws->out->len - ws->out_at;
}

void
sl_ws_wrote(SlWs *ws, size_t n)
{
    ws->out_at += n;
    ws->pong_left -= MIN(n, ws->pong_left);
    if (ws->out_at == ws->out->len) {
        bool is_big = ws->out->len > KEEP_BYTES;

        ws->out_at = 0;
        g_byte_array_set_size(ws->out, 0);
        if (is_big) {
            g_byte_array_unref(ws->out);
            ws->out = g_byte_array_new();
        }
    }
    queue_pong(ws);
}

size_t
sl_ws_n_queued(SlWs *ws)
{
    return ws->out->len - ws->out_at;
}

/* ---- receiving ---- */

static void
finish(SlWs *ws, unsigned code)
{
    ws->is_over = true;
    ws->ops->closed(ws->user, code);
}

static bool
fail(SlWs *ws, unsigned code, const char *what, GError **error)
{
    sl_ws_send_close(ws, code);
    finish(ws, code);
    return sl_fail(error, SL_ERROR_INVALID, "websocket: %s", what);
}

/* NUL is a character like any other here, unlike for GLib. Without data there is no pointer to add to either. */
static bool
is_utf8(const uint8_t *data, size_t n)
{
    const char *at = n > 0 ? (const char *)data : "", *end = at + n;

    while (at < end && !g_utf8_validate_len(at, (gsize)(end - at), &at)) {
        if (*at != '\0')
            return false;
        at++;
    }
    return true;
}

static bool
deliver(SlWs *ws, uint8_t opcode, const uint8_t *data, size_t n, GError **error)
{
    if (opcode == OP_TEXT && !is_utf8(data, n))
        return fail(ws, CODE_NOT_UTF8, "a text message is not UTF-8", error);
    ws->ops->message(ws->user, opcode == OP_BINARY, data, n);
    return true;
}

static bool
close_code_is_valid(unsigned code)
{
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code <= 4999);
}

static bool
handle_control(SlWs *ws, GError **error)
{
    const uint8_t *payload = ws->control;
    size_t n = ws->frame.n;
    unsigned code = CODE_NONE;

    if (ws->frame.opcode == OP_PING) {
        memcpy(ws->pong, payload, n);
        ws->n_pong = n;
        ws->has_pong = true;
        queue_pong(ws);
    }
    if (ws->frame.opcode != OP_CLOSE)
        return true;
    if (n == 1)
        return fail(ws, CODE_PROTOCOL, "a close frame of one byte", error);
    if (n >= 2)
        code = (unsigned)payload[0] << 8 | payload[1];
    if (n >= 2 && !close_code_is_valid(code))
        return fail(ws, CODE_PROTOCOL, "a close code that may not be sent", error);
    if (n > 2 && !is_utf8(payload + 2, n - 2))
        return fail(ws, CODE_NOT_UTF8, "a close reason is not UTF-8", error);
    sl_ws_send_close(ws, code);
    finish(ws, code);
    return true;
}

/* How many bytes the header has, as far as it can be told from the first n. */
static size_t
header_length(const SlWs *ws)
{
    size_t length = 2;

    if (ws->n_header < 2)
        return length;
    if ((ws->header[1] & BITS_LENGTH) == LENGTH_16)
        length += 2;
    else if ((ws->header[1] & BITS_LENGTH) == LENGTH_64)
        length += 8;
    return length + (ws->header[1] & BIT_MASKED ? 4 : 0);
}

/* The two first bytes say all that can be wrong but the length: nothing is awaited from a peer that does not
 * speak the protocol. */
static bool
check_start(SlWs *ws, GError **error)
{
    uint8_t opcode = ws->header[0] & BITS_OPCODE;
    bool is_control = opcode & BIT_CONTROL;

    if (ws->header[0] & BITS_RESERVED)
        return fail(ws, CODE_PROTOCOL, "a reserved bit is set", error);
    if (opcode > OP_PONG || (opcode > OP_BINARY && !is_control))
        return fail(ws, CODE_PROTOCOL, "an unknown opcode", error);
    if (!!(ws->header[1] & BIT_MASKED) == ws->is_client)
        return fail(ws, CODE_PROTOCOL, ws->is_client ? "the server masks" : "the client does not mask",
                    error);
    if (is_control && (!(ws->header[0] & BIT_FINAL) || (ws->header[1] & BITS_LENGTH) > CONTROL_MAX))
        return fail(ws, CODE_PROTOCOL, "a control frame that is long or in pieces", error);
    if (opcode == OP_CONTINUATION && ws->message_opcode == OP_CONTINUATION)
        return fail(ws, CODE_PROTOCOL, "a continuation of nothing", error);
    if (!is_control && opcode != OP_CONTINUATION && ws->message_opcode != OP_CONTINUATION)
        return fail(ws, CODE_PROTOCOL, "a message inside another", error);
    return true;
}

static bool
begin_frame(SlWs *ws, GError **error)
{
    const uint8_t *header = ws->header;
    uint64_t n = header[1] & BITS_LENGTH;
    size_t n_length = n == LENGTH_16 ? 2 : n == LENGTH_64 ? 8 : 0;

    if (n_length > 0) {
        n = 0;
        for (size_t i = 0; i < n_length; i++)
            n = n << 8 | header[2 + i];
        if (n >> 63 || n < LENGTH_16 || (n_length == 8 && n <= UINT16_MAX))
            return fail(ws, CODE_PROTOCOL, "a length that is not in its shortest form", error);
    }
    ws->frame = (Frame){ .opcode = header[0] & BITS_OPCODE, .is_final = header[0] & BIT_FINAL };
    if (!(ws->frame.opcode & BIT_CONTROL) && n > ws->max_message - ws->message->len)
        return fail(ws, CODE_TOO_BIG, "a message above the limit", error);
    ws->frame.n = (size_t)n;
    if (header[1] & BIT_MASKED)
        memcpy(ws->frame.mask, header + 2 + n_length, 4);
    if (!(ws->frame.opcode & BIT_CONTROL) && ws->frame.opcode != OP_CONTINUATION)
        ws->message_opcode = ws->frame.opcode;
    ws->n_header = 0;
    ws->in_payload = true;
    return true;
}

/* Takes part of a header; returns how much, 0 after a failure. */
static size_t
take_header(SlWs *ws, const uint8_t *data, size_t n, GError **error)
{
    size_t part = MIN(n, header_length(ws) - ws->n_header);

    memcpy(ws->header + ws->n_header, data, part);
    ws->n_header += part;
    if (ws->n_header == 2 && !check_start(ws, error))
        return 0;
    if (ws->n_header >= 2 && ws->n_header == header_length(ws) && !begin_frame(ws, error))
        return 0;
    return part;
}

static bool
end_frame(SlWs *ws, GError **error)
{
    uint8_t opcode = ws->message_opcode;
    bool ok;

    ws->in_payload = false;
    if (ws->frame.opcode & BIT_CONTROL)
        return handle_control(ws, error);
    if (!ws->frame.is_final)
        return true;
    ws->message_opcode = OP_CONTINUATION;
    ok = deliver(ws, opcode, ws->message->data, ws->message->len, error);
    if (ws->message->len > KEEP_BYTES) {
        g_byte_array_unref(ws->message);
        ws->message = g_byte_array_new();
    } else {
        g_byte_array_set_size(ws->message, 0);
    }
    return ok;
}

static void
take_payload(SlWs *ws, const uint8_t *data, size_t part)
{
    uint8_t *into;

    if (part == 0)
        return;
    if (ws->frame.opcode & BIT_CONTROL) {
        into = ws->control + ws->frame.done;
        memcpy(into, data, part);
    } else {
        guint before = ws->message->len;

        g_byte_array_append(ws->message, data, (guint)part);
        into = ws->message->data + before;
    }
    if (!ws->is_client)
        apply_mask(into, part, ws->frame.mask, ws->frame.done);
    ws->frame.done += part;
}

/* An unmasked message in one frame that has come whole is delivered where it lies. */
static bool
lies_whole(const SlWs *ws, size_t n)
{
    return ws->is_client && ws->frame.is_final && ws->frame.done == 0 && n >= ws->frame.n &&
           !(ws->frame.opcode & BIT_CONTROL) && ws->frame.opcode != OP_CONTINUATION;
}

bool
sl_ws_receive(SlWs *ws, const uint8_t *data, size_t n, GError **error)
{
    if (ws->is_over)
        return sl_fail(error, SL_ERROR_INVALID, "websocket: closed");

    while (n > 0 && !ws->is_over) {
        size_t part;

        if (!ws->in_payload) {
            part = take_header(ws, data, n, error);
            if (part == 0)
                return false;
            data += part;
            n -= part;
            if (!ws->in_payload)
                continue;
        }
        part = MIN(n, ws->frame.n - ws->frame.done);
        if (lies_whole(ws, n)) {
            ws->in_payload = false;
            ws->message_opcode = OP_CONTINUATION;
            if (!deliver(ws, ws->frame.opcode, data, part, error))
                return false;
        } else {
            take_payload(ws, data, part);
            if (ws->frame.done == ws->frame.n && !end_frame(ws, error))
                return false;
        }
        data += part;
        n -= part;
    }
    return true;
}

/* ---- handshake ---- */

char *
sl_ws_key_new(void)
{
    uint8_t key[16];

    while (getrandom(key, sizeof key, 0) != sizeof key)
        ;
    return g_base64_encode(key, sizeof key);
}

char *
sl_ws_accept_key(const char *key)
{
    static const char suffix[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"; /* §1.3 */
    g_autoptr(GChecksum) sha1 = g_checksum_new(G_CHECKSUM_SHA1);
    uint8_t digest[20];
    gsize n = sizeof digest;

    g_checksum_update(sha1, (const guchar *)key, -1);
    g_checksum_update(sha1, (const guchar *)suffix, -1);
    g_checksum_get_digest(sha1, digest, &n);
    return g_base64_encode(digest, n);
}
