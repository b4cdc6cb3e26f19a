#include "net/http_internal.h"

#include "common/log.h"

#include <string.h>
#include <time.h>

static const struct {
    unsigned status;
    const char *phrase;
} phrases[] = {
    { 101, "UPGRADED" }, /* Docker's word */
    { 200, "OK" },
    { 201, "Created" },
    { 202, "Accepted" },
    { 204, "No Content" },
    { 206, "Partial Content" },
    { 301, "Moved Permanently" },
    { 302, "Found" },
    { 304, "Not Modified" },
    { 307, "Temporary Redirect" },
    { 308, "Permanent Redirect" },
    { 400, "Bad Request" },
    { 401, "Unauthorized" },
    { 403, "Forbidden" },
    { 404, "Not Found" },
    { 405, "Method Not Allowed" },
    { 406, "Not Acceptable" },
    { 409, "Conflict" },
    { 412, "Precondition Failed" },
    { 413, "Request Entity Too Large" },
    { 416, "Requested Range Not Satisfiable" },
    { 429, "Too Many Requests" },
    { 431, "Request Header Fields Too Large" },
    { 499, "Client Closed Request" },
    { 500, "Internal Server Error" },
    { 501, "Not Implemented" },
    { 502, "Bad Gateway" },
    { 503, "Service Unavailable" },
    { 504, "Gateway Timeout" },
};

static const char *
status_phrase(unsigned status)
{
    for (size_t i = 0; i < G_N_ELEMENTS(phrases); i++)
        if (phrases[i].status == status)
            return phrases[i].phrase;
    return "Status";
}

/* ---- bytes ---- */

static bool
client_left(GError **error)
{
    return sl_fail(error, SL_ERROR_CANCELLED, "the client has left");
}

static bool
send_on_loop(SlCall *call, const char *data, size_t n)
{
    ssize_t done = 0;

    if (call->pending->len == 0) {
        done = sl_stream_write_some(call->conn->stream, data, n);
        if (done == SL_STREAM_FAILED)
            return false;
        done = MAX(done, 0);
    }
    g_string_append_len(call->pending, data + done, (gssize)(n - (size_t)done));
    return true;
}

bool
sl_reply_send(SlCall *call, const void *data, size_t n)
{
    if (call->is_broken)
        return false;
    if (n == 0)
        return true;
    if (call->on_loop)
        call->is_broken = !send_on_loop(call, data, n);
    else
        call->is_broken = !sl_stream_write_all(call->conn->stream, NULL, data, n,
                                               call->server->config.body_timeout_ms, NULL);
    return !call->is_broken;
}

bool
sl_reply_flush(SlCall *call)
{
    g_autofree char *data = NULL;
    size_t n = call->pending->len;

    if (n == 0)
        return !call->is_broken;
    data = g_string_free(call->pending, FALSE);
    call->pending = g_string_sized_new(0);
    return sl_reply_send(call, data, n);
}

static bool
out_send(SlCall *call)
{
    bool sent = sl_reply_send(call, call->out->str, call->out->len);

    g_string_truncate(call->out, 0);
    return sent;
}

/* ---- the head ---- */

static void
append(GString *out, const char *text)
{
    g_string_append_len(out, text, (gssize)strlen(text));
}

static void
append_number(GString *out, uint64_t number, unsigned base)
{
    char digits[24];
    size_t at = sizeof digits;

    do {
        digits[--at] = "0123456789abcdef"[number % base];
        number /= base;
    } while (number > 0);
    g_string_append_len(out, digits + at, (gssize)(sizeof digits - at));
}

static void
append_field(GString *out, const char *name, const char *value)
{
    append(out, name);
    g_string_append_len(out, ": ", 2);
    append(out, value);
    g_string_append_len(out, "\r\n", 2);
}

/* RFC 9110's date; made anew each second. */
static void
append_date(SlCall *call)
{
    static const char days[] = "SunMonTueWedThuFriSat";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    time_t now = time(NULL);
    struct tm at;

    if (now != (time_t)call->date_s) {
        call->date_s = now;
        gmtime_r(&now, &at);
        g_snprintf(call->date, sizeof call->date, "%.3s, %02d %.3s %d %02d:%02d:%02d GMT",
                   days + 3 * at.tm_wday, at.tm_mday, months + 3 * at.tm_mon, at.tm_year + 1900, at.tm_hour,
                   at.tm_min, at.tm_sec);
    }
    append_field(call->out, "Date", call->date);
}

static int
reply_minor(SlCall *call)
{
    return call->head ? call->head->minor : 1;
}

static bool
is_head(SlCall *call)
{
    return call->head && strcmp(call->head->method, "HEAD") == 0;
}

static bool
has_no_body(unsigned status)
{
    return status < 200 || status == 204 || status == 304;
}

/* Status line and what every reply has; framing and the empty line are the caller's. */
static void
head_begin(SlCall *call, unsigned status, const char *content_type)
{
    GString *out = call->out;

    call->status = status;
    append(out, reply_minor(call) == 0 ? "HTTP/1.0 " : "HTTP/1.1 ");
    append_number(out, status, 10);
    g_string_append_c(out, ' ');
    append(out, status_phrase(status));
    g_string_append_len(out, "\r\n", 2);
    g_string_append_len(out, call->server->headers->str, (gssize)call->server->headers->len);
    g_string_append_len(out, call->headers->str, (gssize)call->headers->len);
    if (content_type && status != 204 && status != 304)
        append_field(out, "Content-Type", content_type);
    append_date(call);
}

static void
head_end(SlCall *call)
{
    if (!sl_body_can_skip(call) || atomic_load(&call->server->is_draining))
        call->keep_alive = false;
    if (!call->keep_alive)
        append_field(call->out, "Connection", "close");
    else if (reply_minor(call) == 0)
        append_field(call->out, "Connection", "keep-alive");
    g_string_append_len(call->out, "\r\n", 2);
}

static bool
reply_is_open(SlCall *call, GError **error)
{
    if (call->reply != SL_REPLY_NONE)
        return sl_fail(error, SL_ERROR_SYSTEM, "a second reply to one request");
    return true;
}

void
sl_call_add_header(SlCall *call, const char *name, const char *value)
{
    if (strpbrk(name, "\r\n: ") || strpbrk(value, "\r\n"))
        sl_error("refused to send a header with a line break name=%s", name);
    else
        append_field(call->headers, name, value);
}

/* ---- whole replies ---- */

bool
sl_call_reply(SlCall *call, unsigned status, const char *content_type, const void *body, size_t n,
              GError **error)
{
    bool sends_body = n > 0 && !has_no_body(status) && !is_head(call);

    if (!reply_is_open(call, error))
        return false;
    call->reply = SL_REPLY_DONE;
    head_begin(call, status, content_type);
    if (!has_no_body(status)) {
        append(call->out, "Content-Length: ");
        append_number(call->out, n, 10);
        g_string_append_len(call->out, "\r\n", 2);
    }
    head_end(call);
    if (sends_body && n <= SL_SMALL_REPLY) {
        g_string_append_len(call->out, body, (gssize)n);
        sends_body = false;
    }
    return (out_send(call) && (!sends_body || sl_reply_send(call, body, n))) || client_left(error);
}

bool
sl_call_reply_bytes(SlCall *call, unsigned status, const char *content_type, GBytes *body, GError **error)
{
    gsize n;
    const void *data = g_bytes_get_data(body, &n);

    return sl_call_reply(call, status, content_type, data, n, error);
}

bool
sl_call_reply_json(SlCall *call, unsigned status, json_t *body, GError **error)
{
    g_autoptr(json_t) owned = body;
    g_autofree char *text = NULL;
    size_t n;

    if (!body)
        return sl_fail(error, SL_ERROR_SYSTEM, "the answer could not be put together");
    text = sl_json_dump(body);
    n = strlen(text);
    text[n] = '\n'; /* as Go's encoder ends a document; the NUL is not sent */
    return sl_call_reply(call, status, "application/json", text, n + 1, error);
}

bool
sl_call_reply_empty(SlCall *call, unsigned status, GError **error)
{
    return sl_call_reply(call, status, NULL, NULL, 0, error);
}

/* ---- replies in pieces ---- */

bool
sl_call_begin(SlCall *call, unsigned status, const char *content_type, GError **error)
{
    if (!reply_is_open(call, error))
        return false;
    head_begin(call, status, content_type);
    if (reply_minor(call) == 0) {
        call->reply = SL_REPLY_UNTIL_CLOSE;
        call->keep_alive = false;
    } else {
        call->reply = SL_REPLY_CHUNKED;
        append_field(call->out, "Transfer-Encoding", "chunked");
    }
    head_end(call);
    return out_send(call) || client_left(error);
}

bool
sl_call_begin_length(SlCall *call, unsigned status, const char *content_type, int64_t length, GError **error)
{
    if (!reply_is_open(call, error))
        return false;
    call->reply = SL_REPLY_LENGTH;
    call->reply_left = has_no_body(status) || is_head(call) ? 0 : length;
    head_begin(call, status, content_type);
    if (!has_no_body(status)) {
        append(call->out, "Content-Length: ");
        append_number(call->out, (uint64_t)length, 10);
        g_string_append_len(call->out, "\r\n", 2);
    }
    head_end(call);
    return out_send(call) || client_left(error);
}

static bool
write_chunk(SlCall *call, const void *data, size_t n)
{
    append_number(call->out, n, 16);
    g_string_append_len(call->out, "\r\n", 2);
    if (n > SL_SMALL_REPLY)
        return out_send(call) && sl_reply_send(call, data, n) && sl_reply_send(call, "\r\n", 2);
    g_string_append_len(call->out, data, (gssize)n);
    g_string_append_len(call->out, "\r\n", 2);
    return out_send(call);
}

bool
sl_call_write(SlCall *call, const void *data, size_t n, GError **error)
{
    bool sent;

    if (call->reply == SL_REPLY_NONE || call->reply == SL_REPLY_DONE || call->reply == SL_REPLY_TAKEN)
        return sl_fail(error, SL_ERROR_SYSTEM, "a piece of a reply that was not begun");
    if (n == 0 || is_head(call))
        return true;
    if (call->reply == SL_REPLY_LENGTH) {
        if ((int64_t)n > call->reply_left)
            return sl_fail(error, SL_ERROR_SYSTEM, "more was written than the reply's length");
        call->reply_left -= (int64_t)n;
    }
    sent = call->reply == SL_REPLY_CHUNKED ? write_chunk(call, data, n) : sl_reply_send(call, data, n);
    return sent || client_left(error);
}

void
sl_reply_finish(SlCall *call)
{
    switch (call->reply) {
    case SL_REPLY_NONE:
        sl_error("a handler gave no reply method=%s path=%s", call->head->method, call->path->str);
        sl_call_reply(call, 500, NULL, NULL, 0, NULL);
        break;
    case SL_REPLY_CHUNKED:
        if (!is_head(call))
            sl_reply_send(call, "0\r\n\r\n", 5);
        call->reply = SL_REPLY_DONE;
        break;
    case SL_REPLY_LENGTH:
        call->is_broken |= call->reply_left > 0;
        call->reply = SL_REPLY_DONE;
        break;
    case SL_REPLY_UNTIL_CLOSE:
        call->reply = SL_REPLY_DONE;
        break;
    case SL_REPLY_DONE:
    case SL_REPLY_TAKEN:
        break;
    }
}

/* A wait that the drain cut short is not the client's doing. */
static unsigned
error_status(SlCall *call, const GError *error)
{
    bool is_ours =
        g_error_matches(error, SL_ERROR, SL_ERROR_CANCELLED) && atomic_load(&call->server->is_draining);

    return is_ours ? 503 : sl_error_http_status(error);
}

void
sl_reply_error(SlCall *call, const GError *error)
{
    unsigned status = error_status(call, error);
    g_autofree char *message = g_utf8_make_valid(error->message, -1);

    if (status >= 500 && status != 503 && call->head)
        sl_warn("request failed method=%s path=%s status=%u error=%s", call->head->method, call->path->str,
                status, message);
    if (call->reply != SL_REPLY_NONE) {
        call->is_broken |= call->reply != SL_REPLY_DONE && call->reply != SL_REPLY_TAKEN;
        return;
    }
    g_string_truncate(call->out, 0);
    if (has_no_body(status))
        sl_call_reply_empty(call, status, NULL);
    else
        sl_call_reply_json(call, status, json_pack("{s:s}", "message", message), NULL);
}

/* ---- replies that become streams ---- */

SlStream *
sl_call_take(SlCall *call)
{
    SlConn *conn = call->conn;
    SlStream *stream;

    sl_watch_detach(conn->watch);
    pthread_mutex_lock(&conn->lock);
    stream = g_steal_pointer(&conn->stream);
    pthread_mutex_unlock(&conn->lock);
    if (call->status == 0)
        call->status = 200;
    sl_stream_unread(stream, call->body.more.data + call->body.more.at,
                     call->body.more.end - call->body.more.at);
    sl_stream_unread(stream, call->input.data + call->input.at, call->input.end - call->input.at);
    call->reply = SL_REPLY_TAKEN;
    return stream;
}

/* The body, if the handler left some of it, must not be taken for the stream's first bytes. */
static bool
can_become_stream(SlCall *call, GError **error)
{
    if (!reply_is_open(call, error))
        return false;
    if (!call->on_loop && !sl_body_skip(call))
        return sl_fail(error, SL_ERROR_INVALID,
                       "the request body was not read before the connection became a stream");
    return true;
}

static void
append_upgrade(SlCall *call)
{
    const char *protocol = sl_call_header(call, "Upgrade");
    bool is_token =
        protocol &&
        protocol[strspn(protocol, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-./")] ==
            '\0';

    append_field(call->out, "Connection", "Upgrade");
    append_field(call->out, "Upgrade", is_token ? protocol : "tcp");
}

/* The head of a raw stream into call->out. */
static void
stream_head(SlCall *call, const char *content_type)
{
    head_begin(call, call->head->wants_upgrade ? 101 : 200, content_type);
    if (call->head->wants_upgrade)
        append_upgrade(call);
    g_string_append_len(call->out, "\r\n", 2);
}

SlStream *
sl_call_hijack(SlCall *call, const char *content_type, GError **error)
{
    if (!can_become_stream(call, error))
        return NULL;
    stream_head(call, content_type);
    if (!out_send(call) || call->pending->len > 0) {
        call->is_broken = true;
        client_left(error);
        return NULL;
    }
    return sl_call_take(call);
}

SlFeed *
sl_call_feed(SlCall *call, SlFraming framing, const char *content_type, const SlFeedOps *ops, void *user,
             GError **error)
{
    bool is_answer = framing == SL_FRAMING_CHUNKED;
    SlFeed *feed;

    if (!can_become_stream(call, error))
        return NULL;
    if (framing == SL_FRAMING_RAW) {
        stream_head(call, content_type);
    } else {
        head_begin(call, 200, content_type);
        call->keep_alive = false;
        if (reply_minor(call) == 0)
            framing = SL_FRAMING_RAW;
        else
            append_field(call->out, "Transfer-Encoding", "chunked");
        head_end(call);
    }
    feed = sl_relay_feed(call->server->config.relay, sl_call_take(call), framing, call->out->str,
                         call->out->len, ops, user);
    if (is_answer)
        sl_feed_be_answer(feed);
    g_string_truncate(call->out, 0);
    return feed;
}
