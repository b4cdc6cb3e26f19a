#include "net/http_client.h"

#include "common/thread.h"
#include "net/http_message.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

enum {
    MAX_IDLE = 64,
    MAX_HEAD = 64 * 1024,
    MAX_EARLY = 16 * 1024 * 1024, /* of an answer that comes while the request's body is still being sent */
    BODY_PIECE = 64 * 1024,
    CONNECT_TIMEOUT_MS = 10 * 1000,
};

struct SlHttpClient {
    SlAddress address;
    char *host;
    SlTls *tls;           /* or NULL */
    SlToken *token;       /* or NULL */
    pthread_mutex_t lock; /* of idle */
    GPtrArray *idle;      /* SlStream; the last one used at the end */
};

struct SlHttpReply {
    SlHttpClient *client;
    SlStream *stream; /* NULL once taken */
    SlHttpParser *parser;
    SlInput input; /* the head, and what came with it */
    const SlHttpHead *head;
    SlHttpBody body;
    bool is_to_head; /* the answer to HEAD has no body */
    bool is_pooled;  /* the connection had been used before */
    bool is_unsent;  /* a part of the request's body was not sent: no second request on this connection */
};

/* ---- the pool ---- */

SlHttpClient *
sl_http_client_new(const SlAddress *address)
{
    SlHttpClient *client = g_new0(SlHttpClient, 1);
    bool is_v6 = address->host && strchr(address->host, ':');

    client->address = (SlAddress){ g_strdup(address->path), g_strdup(address->host), address->port };
    if (address->path)
        client->host = g_strdup("localhost");
    else
        client->host = g_strdup_printf(is_v6 ? "[%s]:%d" : "%s:%d", address->host, address->port);
    pthread_mutex_init(&client->lock, NULL);
    client->idle = g_ptr_array_new_with_free_func((GDestroyNotify)sl_stream_free);
    return client;
}

void
sl_http_client_secure(SlHttpClient *client, SlTls *tls, SlToken *token)
{
    client->tls = client->address.path ? NULL : tls;
    client->token = token;
}

void
sl_http_client_free(SlHttpClient *client)
{
    if (!client)
        return;
    g_ptr_array_unref(client->idle);
    pthread_mutex_destroy(&client->lock);
    sl_address_clear(&client->address);
    g_free(client->host);
    g_free(client);
}

static SlStream *
pool_take_one(SlHttpClient *client)
{
    SL_LOCK_GUARD(&client->lock);

    if (client->idle->len == 0)
        return NULL;
    return g_ptr_array_steal_index(client->idle, client->idle->len - 1);
}

static SlStream *
pool_take(SlHttpClient *client)
{
    for (SlStream *stream; (stream = pool_take_one(client)); sl_stream_free(stream))
        if (sl_stream_is_quiet(stream)) /* else it was closed, or says what nobody asked for */
            return stream;
    return NULL;
}

static void
pool_give(SlHttpClient *client, SlStream *stream)
{
    g_autoptr(SlStream) surplus = stream;
    SL_LOCK_GUARD(&client->lock);

    if (client->idle->len < MAX_IDLE)
        g_ptr_array_add(client->idle, g_steal_pointer(&surplus));
}

static bool
reply_connect(SlHttpReply *reply, SlCancel *cancel, bool is_fresh, GError **error)
{
    SlHttpClient *client = reply->client;
    int fd;

    reply->stream = is_fresh ? NULL : pool_take(client);
    reply->is_pooled = reply->stream != NULL;
    if (reply->stream)
        return true;
    if (!sl_address_connect(&client->address, cancel, CONNECT_TIMEOUT_MS, &fd, error))
        return false;
    reply->stream =
        client->tls ? sl_tls_connect(client->tls, fd, client->address.host, cancel, CONNECT_TIMEOUT_MS, error)
                    : sl_stream_new(fd);
    return reply->stream != NULL;
}

/* ---- reading the answer's head ---- */

static bool
answer_broken(GError **error, const char *why)
{
    return sl_fail(error, SL_ERROR_SYSTEM, "bad answer over HTTP: %s", why);
}

/* 100 and its like are no answer: what follows them moves to the front. */
static void
head_skip_interim(SlHttpReply *reply)
{
    size_t n_head = sl_http_parser_n_head(reply->parser);

    memmove(reply->input.data, reply->input.data + n_head, reply->input.end - n_head);
    reply->input.end -= n_head;
    sl_http_parser_reset(reply->parser);
}

static void
head_take(SlHttpReply *reply, const SlHttpHead *head)
{
    SlBodyKind kind = SL_BODY_UNTIL_CLOSE;

    reply->head = head;
    reply->input.at = sl_http_parser_n_head(reply->parser);
    if (reply->is_to_head || head->status == 101 || head->status == 204 || head->status == 304)
        kind = SL_BODY_NONE;
    else if (head->is_chunked)
        kind = SL_BODY_CHUNKED;
    else if (head->content_length >= 0)
        kind = SL_BODY_LENGTH;
    reply->body.parser = reply->parser;
    reply->body.stream = reply->stream;
    reply->body.input = &reply->input;
    sl_http_body_begin(&reply->body, kind, head->content_length);
}

/* Looks for a head in what was read. reply->head stays NULL as long as it is not complete. */
static bool
head_parse(SlHttpReply *reply, GError **error)
{
    g_autoptr(GError) local = NULL;

    while (!reply->head) {
        const SlHttpHead *head;

        switch (sl_http_parser_head(reply->parser, reply->input.data, reply->input.end, &local)) {
        case SL_HTTP_BAD:
            return answer_broken(error, local->message);
        case SL_HTTP_MORE:
            return reply->input.end < MAX_HEAD || answer_broken(error, "its head is too large");
        case SL_HTTP_HEAD:
            head = sl_http_parser_get_head(reply->parser);
            if (head->status >= 200 || head->status == 101)
                head_take(reply, head);
            else
                head_skip_interim(reply);
            break;
        }
    }
    return true;
}

/*
 * Makes room behind what was read. A head that is complete points into the buffer, which must then stay where
 * it is: what comes before the request is sent goes into the body's second buffer.
 */
static SlInput *
input_make_room(SlHttpReply *reply)
{
    SlInput *input = reply->head ? &reply->body.more : &reply->input;

    if (input->end == input->room)
        sl_input_reserve(input, MAX((size_t)SL_INPUT_BYTES, input->room * 2));
    return input;
}

/* One read of the answer. > 0, 0 at its end, or as sl_stream_read_some. */
static ssize_t
answer_read_some(SlHttpReply *reply)
{
    SlInput *input = input_make_room(reply);
    ssize_t got = sl_stream_read_some(reply->stream, input->data + input->end, input->room - input->end);

    if (got > 0)
        input->end += (size_t)got;
    return got;
}

static bool
head_read(SlHttpReply *reply, SlCancel *cancel, GError **error)
{
    for (;;) {
        ssize_t got;

        if (!head_parse(reply, error))
            return false;
        if (reply->head)
            return true;
        got = answer_read_some(reply);
        if (got == SL_STREAM_AGAIN) {
            if (!sl_stream_wait(reply->stream, cancel, POLLIN, -1, error))
                return false;
        } else if (got <= 0) {
            const char *why = sl_stream_get_failure(reply->stream);

            return sl_fail(error, SL_ERROR_UNAVAILABLE, "%s",
                           why ? why : "the other side closed the connection without an answer");
        }
    }
}

/* ---- sending ---- */

typedef enum Sent {
    SENT_ALL,
    SENT_ENOUGH, /* the other side has answered with an error, or closed: the rest is of no use */
    SENT_FAILED,
} Sent;

/* Takes in what is there of an answer that comes while we still send. */
static Sent
early_answer(SlHttpReply *reply, GError **error)
{
    ssize_t got = answer_read_some(reply);

    if (got == SL_STREAM_AGAIN)
        return SENT_ALL;
    if (got <= 0)
        return SENT_ENOUGH;
    if (!head_parse(reply, error))
        return SENT_FAILED;
    if (reply->body.more.end > MAX_EARLY) {
        answer_broken(error, "too much of it before the request was read");
        return SENT_FAILED;
    }
    return reply->head && reply->head->status >= 300 ? SENT_ENOUGH : SENT_ALL;
}

static Sent
send_bytes(SlHttpReply *reply, SlCancel *cancel, const char *data, size_t n, GError **error)
{
    Sent early = SENT_ALL;

    while (n > 0 && early == SENT_ALL) {
        ssize_t done = sl_stream_write_some(reply->stream, data, n);

        if (done == SL_STREAM_FAILED)
            return SENT_ENOUGH; /* there may be an answer all the same */
        if (done >= 0) {
            data += done;
            n -= (size_t)done;
            continue;
        }
        if (!sl_stream_wait(reply->stream, cancel, POLLIN | POLLOUT, -1, error))
            return SENT_FAILED;
        early = early_answer(reply, error);
    }
    return early;
}

static Sent
send_body(SlHttpReply *reply, SlCancel *cancel, const SlHttpRequest *request, GError **error)
{
    g_autofree char *piece = g_malloc(BODY_PIECE + 32);
    bool is_chunked = request->content_length < 0;
    int64_t left = request->content_length;
    Sent sent = SENT_ALL;
    size_t n = 1;

    while (n > 0 && (is_chunked || left > 0) && sent == SENT_ALL) {
        char *data = piece + 16; /* room for a chunk's size in front */

        if (!request->body_read(request->body_user, data, BODY_PIECE, &n, error))
            return SENT_FAILED;
        if (is_chunked) {
            g_autofree char *size = g_strdup_printf("%zx\r\n", n);
            size_t n_size = strlen(size);

            memcpy(data - n_size, size, n_size);
            memcpy(data + n, "\r\n", 2);
            sent = send_bytes(reply, cancel, data - n_size, n_size + n + 2, error);
        } else {
            if ((int64_t)n > left || n == 0) {
                sl_fail(error, SL_ERROR_INVALID, "the request body is not as long as announced");
                return SENT_FAILED;
            }
            left -= (int64_t)n;
            sent = send_bytes(reply, cancel, data, n, error);
        }
        if (sent == SENT_ALL)
            sent = early_answer(reply, error);
    }
    return sent;
}

static bool
is_ours(const char *name)
{
    static const char *const names[] = { "Host",       "Content-Length", "Transfer-Encoding",
                                         "Connection", "Upgrade",        "Expect" };

    for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
        if (g_ascii_strcasecmp(name, names[i]) == 0)
            return true;
    return false;
}

static bool
is_one_word(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text <= ' ' || *text == 0x7f)
            return false;
    return true;
}

/* The request's head; NULL when it could not be read as it is meant. */
static GString *
head_make(SlHttpClient *client, const SlHttpRequest *request, GError **error)
{
    g_autoptr(GString) head = g_string_sized_new(512);
    g_autofree char *token = client->token ? sl_token_format(client->token) : NULL;

    if (!is_one_word(request->method) || !is_one_word(request->target) || request->target[0] != '/') {
        sl_fail(error, SL_ERROR_INVALID, "not a request: %s %s", request->method, request->target);
        return NULL;
    }
    g_string_append_printf(head, "%s %s HTTP/1.%d\r\nHost: %s\r\n", request->method, request->target,
                           request->http_minor ? 1 : 0, client->host);
    for (const char *const *field = request->headers; field && field[0]; field += 2) {
        if (strpbrk(field[0], "\r\n: ") || strpbrk(field[1], "\r\n")) {
            sl_fail(error, SL_ERROR_INVALID, "a header with a line break");
            return NULL;
        }
        if (!is_ours(field[0]) && (!token || g_ascii_strcasecmp(field[0], "Authorization") != 0))
            g_string_append_printf(head, "%s: %s\r\n", field[0], field[1]);
    }
    if (token)
        g_string_append_printf(head, "Authorization: %s\r\n", token);
    if (request->upgrade)
        g_string_append(head, "Connection: Upgrade\r\nUpgrade: tcp\r\n");
    if (request->body_read && request->content_length < 0)
        g_string_append(head, "Transfer-Encoding: chunked\r\n");
    else if (request->body_read)
        g_string_append_printf(head, "Content-Length: %" G_GINT64_FORMAT "\r\n", request->content_length);
    else if (request->n_body > 0 ||
             (strcmp(request->method, "GET") != 0 && strcmp(request->method, "HEAD") != 0))
        g_string_append_printf(head, "Content-Length: %zu\r\n", request->n_body);
    g_string_append(head, "\r\n");
    if (request->n_body > 0 && !request->body_read)
        g_string_append_len(head, request->body, (gssize)request->n_body);
    return g_steal_pointer(&head);
}

/* ---- calls ---- */

static SlHttpReply *
reply_new(SlHttpClient *client, bool is_to_head)
{
    SlHttpReply *reply = g_new0(SlHttpReply, 1);

    reply->client = client;
    reply->parser = sl_http_parser_new(true);
    reply->is_to_head = is_to_head;
    return reply;
}

/* *ret_may_retry: the connection had gone stale in the pool, and nothing but the head was lost. */
static bool
exchange(SlHttpReply *reply, SlCancel *cancel, const SlHttpRequest *request, const GString *head,
         bool *ret_may_retry, GError **error)
{
    Sent sent = send_bytes(reply, cancel, head->str, head->len, error);
    bool has_begun_body = sent == SENT_ALL && request->body_read;
    g_autoptr(GError) local = NULL;

    *ret_may_retry = false;
    if (has_begun_body)
        sent = send_body(reply, cancel, request, error);
    if (sent == SENT_FAILED)
        return false;
    reply->is_unsent = sent != SENT_ALL;
    if (head_read(reply, cancel, &local))
        return true;
    *ret_may_retry = reply->is_pooled && !has_begun_body && reply->input.end == 0 &&
                     g_error_matches(local, SL_ERROR, SL_ERROR_UNAVAILABLE);
    g_propagate_error(error, g_steal_pointer(&local));
    return false;
}

SlHttpReply *
sl_http_client_call(SlHttpClient *client, SlCancel *cancel, const SlHttpRequest *request, GError **error)
{
    g_autoptr(GString) head = head_make(client, request, error);
    bool is_fresh = request->is_stream;

    if (!head)
        return NULL;
    for (;;) {
        g_autoptr(SlHttpReply) reply = reply_new(client, strcmp(request->method, "HEAD") == 0);
        g_autoptr(GError) local = NULL;
        bool may_retry;

        if (!reply_connect(reply, cancel, is_fresh, error))
            return NULL;
        if (exchange(reply, cancel, request, head, &may_retry, &local))
            return g_steal_pointer(&reply);
        if (!may_retry) {
            g_propagate_error(error, g_steal_pointer(&local));
            return NULL;
        }
        is_fresh = true;
    }
}

unsigned
sl_http_reply_status(SlHttpReply *reply)
{
    return reply->head->status;
}

const char *
sl_http_reply_header(SlHttpReply *reply, const char *name)
{
    return sl_http_head_get(reply->head, name);
}

bool
sl_http_reply_header_at(SlHttpReply *reply, size_t n, const char **ret_name, const char **ret_value)
{
    if (n >= reply->head->n_fields)
        return false;
    *ret_name = reply->head->fields[n].name;
    *ret_value = reply->head->fields[n].value;
    return true;
}

int64_t
sl_http_reply_content_length(SlHttpReply *reply)
{
    return reply->head->content_length;
}

bool
sl_http_reply_read(SlHttpReply *reply, SlCancel *cancel, void *data, size_t n, size_t *ret_n, GError **error)
{
    g_autoptr(GError) local = NULL;
    ssize_t got;

    while ((got = sl_http_body_read_some(&reply->body, data, n, &local)) == SL_STREAM_AGAIN)
        if (!sl_stream_wait(reply->stream, cancel, POLLIN, -1, error))
            return false;
    if (got < 0)
        return answer_broken(error, local->message);
    *ret_n = (size_t)got;
    return true;
}

bool
sl_http_reply_read_all(SlHttpReply *reply, SlCancel *cancel, size_t max, char **ret_data, size_t *ret_n,
                       GError **error)
{
    size_t room = SL_INPUT_BYTES, n = 0, n_got;
    g_autofree char *data = g_malloc(room);

    do {
        if (n + 1 == room)
            data = g_realloc(data, room *= 2);
        if (!sl_http_reply_read(reply, cancel, data + n, room - n - 1, &n_got, error))
            return false;
        n += n_got;
        if (n > max)
            return sl_fail(error, SL_ERROR_TOO_LARGE, "an answer of more than %zu bytes", max);
    } while (n_got > 0);
    data[n] = '\0';
    *ret_data = g_steal_pointer(&data);
    if (ret_n)
        *ret_n = n;
    return true;
}

SlStream *
sl_http_reply_take(SlHttpReply *reply)
{
    SlInput *more = &reply->body.more;

    sl_stream_unread(reply->stream, more->data + more->at, more->end - more->at);
    sl_stream_unread(reply->stream, reply->input.data + reply->input.at, reply->input.end - reply->input.at);
    reply->body.is_done = true;
    return g_steal_pointer(&reply->stream);
}

void
sl_http_reply_free(SlHttpReply *reply)
{
    if (!reply)
        return;
    if (reply->stream && reply->head && reply->head->keep_alive && reply->head->status != 101 &&
        reply->body.is_done && reply->body.kind != SL_BODY_UNTIL_CLOSE && !reply->is_unsent &&
        !sl_http_body_has_input(&reply->body))
        pool_give(reply->client, g_steal_pointer(&reply->stream));
    sl_stream_free(reply->stream);
    sl_input_clear(&reply->input);
    sl_input_clear(&reply->body.more);
    sl_http_parser_free(reply->parser);
    g_free(reply);
}
