#include "net/http_internal.h"

#include "common/clock.h"

#include <poll.h>
#include <string.h>

enum {
    SKIP_TIMEOUT_MS = 2000,    /* for all that is skipped */
    SLOWEST_BYTES_PER_MS = 16, /* of a kept body: a client that drips holds a thread */
};

void
sl_body_begin(SlCall *call)
{
    const SlHttpHead *head = call->head;
    SlBodyKind kind = head->is_chunked           ? SL_BODY_CHUNKED
                      : head->content_length > 0 ? SL_BODY_LENGTH
                                                 : SL_BODY_NONE;

    call->body.parser = call->parser;
    call->body.stream = call->conn->stream;
    call->body.input = &call->input;
    call->body.may_have_more = call->conn->may_have_more;
    sl_http_body_begin(&call->body, kind, head->content_length);
    call->continue_is_due = head->expects_continue && !call->body.is_done;
}

static bool
body_read(SlCall *call, void *data, size_t n, int timeout_ms, size_t *ret_n, GError **error)
{
    ssize_t got;

    while ((got = sl_http_body_read_some(&call->body, data, n, error)) == SL_STREAM_AGAIN) {
        if (!sl_stream_wait(call->conn->stream, sl_call_cancel(call), POLLIN, timeout_ms, error)) {
            call->body.has_failed = true;
            return false;
        }
    }
    call->conn->may_have_more = call->body.may_have_more;
    if (got < 0)
        return false;
    *ret_n = (size_t)got;
    return true;
}

bool
sl_call_body_read(SlCall *call, void *data, size_t n, size_t *ret_n, GError **error)
{
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";

    if (call->continue_is_due && call->reply == SL_REPLY_NONE) {
        call->continue_is_due = false;
        if (!sl_http_body_has_input(&call->body) && !sl_reply_send(call, go_on, sizeof go_on - 1))
            return sl_fail(error, SL_ERROR_CANCELLED, "the client has left");
    }
    return body_read(call, data, n, call->server->config.body_timeout_ms, ret_n, error);
}

bool
sl_body_can_skip(SlCall *call)
{
    if (call->body.is_done)
        return true;
    /* A client that still waits for its 100 Continue may or may not send the body after a final answer. */
    return !call->body.has_failed && !call->continue_is_due && call->body.left <= SL_DRAIN_MAX;
}

bool
sl_body_skip(SlCall *call)
{
    enum { PIECE = 16 * 1024 };
    int64_t until_ms = sl_clock_monotonic_ms() + SKIP_TIMEOUT_MS;
    g_autofree char *piece = NULL;

    if (call->body.is_done || !sl_body_can_skip(call))
        return call->body.is_done;
    piece = g_malloc(PIECE);
    for (size_t n_skipped = 0; n_skipped < SL_DRAIN_MAX;) {
        int64_t left_ms = until_ms - sl_clock_monotonic_ms();
        size_t n;

        if (left_ms <= 0 || !body_read(call, piece, PIECE, (int)left_ms, &n, NULL))
            return false;
        if (n == 0)
            return true;
        n_skipped += n;
    }
    return call->body.is_done;
}

bool
sl_call_read_all(SlCall *call, char **ret_data, size_t *ret_n, GError **error)
{
    size_t max = call->server->config.max_body;
    size_t room = call->head->content_length >= 0 ? (size_t)MIN(call->head->content_length, (int64_t)max) + 1
                                                  : SL_INPUT_BYTES;
    int64_t start_ms = sl_clock_monotonic_ms();
    g_autofree char *data = NULL;
    size_t n = 0, n_got = 1;

    if (call->head->content_length > (int64_t)max)
        return sl_fail(error, SL_ERROR_TOO_LARGE, "request body too large: at most %zu bytes are taken", max);
    data = g_malloc(room);
    while (!call->body.is_done) {
        if (n + 1 >= room)
            data = g_realloc(data, room *= 2);
        if (!sl_call_body_read(call, data + n, room - n - 1, &n_got, error))
            return false;
        n += n_got;
        if (sl_clock_monotonic_ms() - start_ms >
            call->server->config.body_timeout_ms + (int64_t)(n / SLOWEST_BYTES_PER_MS))
            return sl_fail(error, SL_ERROR_DEADLINE, "the request body came too slowly");
        if (n > max)
            return sl_fail(error, SL_ERROR_TOO_LARGE, "request body too large: at most %zu bytes are taken",
                           max);
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
        return sl_fail(error, SL_ERROR_INVALID,
                       "unsupported Content-Type header (%s): must be 'application/json'", type ? type : "");
    if (!sl_call_read_all(call, &text, &n, error))
        return false;
    if (n == 0 && !sl_call_has_body(call))
        return true;
    json = sl_json_parse(text, n, context, error);
    return json && sl_json_read(json, fields, record, context, error);
}
