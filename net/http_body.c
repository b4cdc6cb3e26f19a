#include "net/http_internal.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

enum {
    SMALL_READ = 512,          /* below it, chunks are read ahead into a buffer of ours */
    CHUNKED_READ = 64 * 1024,  /* bounds what may have to be kept for the next request */
    SKIP_TIMEOUT_MS = 2000,
};

void
sl_input_reserve(SlInput *input, size_t room)
{
    if (input->room >= room)
        return;
    input->data = g_realloc(input->data, room);
    input->room = room;
}

static size_t
input_n(const SlInput *input)
{
    return input->end - input->at;
}

void
sl_body_begin(SlCall *call)
{
    call->body_left = MAX(0, call->head->content_length);
    call->body_is_done = !sl_call_has_body(call);
    call->continue_is_due = call->head->expects_continue && !call->body_is_done;
    call->body_has_failed = false;
}

static bool
body_fail(SlCall *call, GError **error, const char *why)
{
    call->body_has_failed = true;
    return sl_fail(error, SL_ERROR_INVALID, "%s", why);
}

/* One read from the socket, > 0 bytes. */
static bool
socket_read(SlCall *call, void *data, size_t n, int timeout_ms, size_t *ret_n, GError **error)
{
    SlConn *conn = call->conn;

    for (;;) {
        ssize_t got = sl_stream_read_some(conn->stream, data, n);

        if (got > 0) {
            conn->may_have_more = (size_t)got == n;
            *ret_n = (size_t)got;
            return true;
        }
        if (got != SL_STREAM_AGAIN)
            return body_fail(call, error, "unexpected end of the request body");
        if (!sl_cancel_wait_fd(sl_call_cancel(call), sl_stream_get_fd(conn->stream), POLLIN, timeout_ms, error)) {
            call->body_has_failed = true;
            return false;
        }
    }
}

/* The buffer that holds what was read already, first things first; NULL when all is used up. */
static SlInput *
input_next(SlCall *call)
{
    if (input_n(&call->input) > 0)
        return &call->input;
    return input_n(&call->body_input) > 0 ? &call->body_input : NULL;
}

static bool
body_read_length(SlCall *call, void *data, size_t n, int timeout_ms, size_t *ret_n, GError **error)
{
    SlInput *input = input_next(call);
    size_t n_got;

    n = (size_t)MIN((int64_t)MIN(n, (size_t)G_MAXSSIZE), call->body_left);
    if (input) {
        n_got = MIN(n, input_n(input));
        memcpy(data, input->data + input->at, n_got);
        input->at += n_got;
    } else if (!socket_read(call, data, n, timeout_ms, &n_got, error)) {
        return false;
    }
    call->body_left -= (int64_t)n_got;
    call->body_is_done = call->body_left == 0;
    *ret_n = n_got;
    return true;
}

/* Raw bytes into data: from *ret_input (not yet taken off it), or from the socket when that is NULL. */
static bool
chunks_fetch(SlCall *call, void *data, size_t n, int timeout_ms, SlInput **ret_input, size_t *ret_n, GError **error)
{
    SlInput *input = input_next(call);

    if (!input && n < SMALL_READ) {
        size_t n_got;

        input = &call->body_input;
        sl_input_reserve(input, SL_INPUT_BYTES);
        if (!socket_read(call, input->data, input->room, timeout_ms, &n_got, error))
            return false;
        input->at = 0;
        input->end = n_got;
    }
    *ret_input = input;
    if (!input)
        return socket_read(call, data, MIN(n, CHUNKED_READ), timeout_ms, ret_n, error);
    *ret_n = MIN(n, input_n(input));
    memcpy(data, input->data + input->at, *ret_n);
    return true;
}

static bool
body_read_chunked(SlCall *call, char *data, size_t n, int timeout_ms, size_t *ret_n, GError **error)
{
    size_t n_body = 0;

    while (n_body == 0 && !call->body_is_done) {
        SlInput *input;
        size_t n_raw, n_used;

        if (!chunks_fetch(call, data, n, timeout_ms, &input, &n_raw, error))
            return false;
        if (!sl_http_parser_chunks(call->parser, data, n_raw, &n_body, &n_used, &call->body_is_done, error)) {
            call->body_has_failed = true;
            return false;
        }
        if (input) {
            input->at += n_used;
        } else if (n_used < n_raw) {
            sl_input_reserve(&call->body_input, n_raw - n_used);
            memcpy(call->body_input.data, data + n_used, n_raw - n_used);
            call->body_input.at = 0;
            call->body_input.end = n_raw - n_used;
        }
    }
    *ret_n = n_body;
    return true;
}

static bool
body_read(SlCall *call, void *data, size_t n, int timeout_ms, size_t *ret_n, GError **error)
{
    if (call->body_has_failed)
        return sl_fail(error, SL_ERROR_INVALID, "the request body has broken off");
    if (call->body_is_done || n == 0) {
        *ret_n = 0;
        return true;
    }
    if (call->head->is_chunked)
        return body_read_chunked(call, data, n, timeout_ms, ret_n, error);
    return body_read_length(call, data, n, timeout_ms, ret_n, error);
}

bool
sl_call_body_read(SlCall *call, void *data, size_t n, size_t *ret_n, GError **error)
{
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";

    if (call->continue_is_due && call->reply == SL_REPLY_NONE) {
        call->continue_is_due = false;
        if (!input_next(call) && !sl_reply_send(call, go_on, sizeof go_on - 1))
            return sl_fail(error, SL_ERROR_CANCELLED, "the client has left");
    }
    return body_read(call, data, n, call->server->config.body_timeout_ms, ret_n, error);
}

bool
sl_body_can_skip(SlCall *call)
{
    if (call->body_is_done)
        return true;
    /* A client that still waits for its 100 Continue may or may not send the body after a final answer. */
    return !call->body_has_failed && !call->continue_is_due && call->body_left <= SL_DRAIN_MAX;
}

bool
sl_body_skip(SlCall *call)
{
    enum { PIECE = 16 * 1024 };
    g_autofree char *piece = NULL;

    if (call->body_is_done || !sl_body_can_skip(call))
        return call->body_is_done;
    piece = g_malloc(PIECE);
    for (size_t n_skipped = 0; n_skipped < SL_DRAIN_MAX;) {
        size_t n;

        if (!body_read(call, piece, PIECE, SKIP_TIMEOUT_MS, &n, NULL))
            return false;
        if (n == 0)
            return true;
        n_skipped += n;
    }
    return call->body_is_done;
}

bool
sl_call_read_all(SlCall *call, char **ret_data, size_t *ret_n, GError **error)
{
    size_t max = call->server->config.max_body;
    size_t room = call->head->content_length >= 0 ? (size_t)MIN(call->head->content_length, (int64_t)max) + 1 : SL_INPUT_BYTES;
    g_autofree char *data = NULL;
    size_t n = 0, n_got = 1;

    if (call->head->content_length > (int64_t)max)
        return sl_fail(error, SL_ERROR_TOO_LARGE, "request body too large: at most %zu bytes are taken", max);
    data = g_malloc(room);
    while (!call->body_is_done) {
        if (n + 1 >= room)
            data = g_realloc(data, room *= 2);
        if (!sl_call_body_read(call, data + n, room - n - 1, &n_got, error))
            return false;
        n += n_got;
        if (n > max)
            return sl_fail(error, SL_ERROR_TOO_LARGE, "request body too large: at most %zu bytes are taken", max);
    }
    data[n] = '\0';
    *ret_data = g_steal_pointer(&data);
    *ret_n = n;
    return true;
}

static bool
is_json_type(const char *type)
{
    size_t n = strcspn(type, ";");

    while (n > 0 && (type[n - 1] == ' ' || type[n - 1] == '\t'))
        n--;
    return n == strlen("application/json") && g_ascii_strncasecmp(type, "application/json", n) == 0;
}

bool
sl_call_json(SlCall *call, const SlJsonField *fields, void *record, GError **error)
{
    static const char context[] = "invalid request body";
    const char *type = sl_call_header(call, "Content-Type");
    g_autoptr(json_t) json = NULL;
    g_autofree char *text = NULL;
    size_t n;

    if (!type && !sl_call_has_body(call))
        return true;
    if (!type || !is_json_type(type))
        return sl_fail(error, SL_ERROR_INVALID, "unsupported Content-Type header (%s): must be 'application/json'", type ? type : "");
    if (!sl_call_read_all(call, &text, &n, error))
        return false;
    if (n == 0 && !sl_call_has_body(call))
        return true;
    json = sl_json_parse(text, n, context, error);
    return json && sl_json_read(json, fields, record, context, error);
}
