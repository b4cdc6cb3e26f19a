#include "frontends/docker/forward.h"

#include "frontends/docker/frontend.h"
#include "frontends/docker/headers.h"

#include <string.h>

enum {
    SMALL_BODY = 64 * 1024, /* an answer up to here goes out in one write with its head */
    PIECE = 64 * 1024,
    HEAD_TIMEOUT_MS = 30000,
    N_HEADERS = 12,
};

/*
 * A call with an end is not broken off when its client leaves or we drain: what it started goes on anyway,
 * its answer is near, and a cancel costs each call two descriptors in a poll. Streams and long answers are.
 */
static SlCancel *
cancel_for(SlCall *call, SlForwardKind kind)
{
    return kind == SL_FORWARD_PLAIN ? NULL : sl_call_cancel(call);
}

/* An answer of an open end: as it came, in pieces. */
static bool
pass_pieces(SlCall *call, SlHttpReply *reply, GError **error)
{
    g_autofree char *piece = g_malloc(PIECE);
    size_t n;

    do {
        if (!sl_http_reply_read(reply, sl_call_cancel(call), piece, PIECE, &n, error) ||
            (n > 0 && !sl_call_write(call, piece, n, error)))
            return false;
    } while (n > 0);
    return true;
}

bool
sl_forward_reply(SlCall *call, SlHttpReply *reply, GError **error)
{
    unsigned status = sl_http_reply_status(reply);
    const char *type = sl_http_reply_header(reply, "Content-Type");
    int64_t length = sl_http_reply_content_length(reply);
    g_autofree char *body = NULL;
    size_t n;

    if (status == 204 || status == 304)
        return sl_call_reply_empty(call, status, error);
    if (length >= 0 && length <= SMALL_BODY)
        return sl_http_reply_read_all(reply, NULL, SMALL_BODY, &body, &n, error) &&
               sl_call_reply(call, status, type, body, n, error);
    if (length >= 0)
        return sl_call_begin_length(call, status, type, length, error) && pass_pieces(call, reply, error);
    return sl_call_begin(call, status, type, error) && pass_pieces(call, reply, error);
}

static bool
pass_hijack(SlCall *call, SlHttpReply *reply, GError **error)
{
    SlFrontend *frontend = sl_call_context(call);
    SlStream *client = sl_call_hijack(call, sl_http_reply_header(reply, "Content-Type"), error);

    if (!client)
        return false;
    sl_relay_join(sl_frontend_get_relay(frontend), client, sl_http_reply_take(reply));
    return true;
}

/* The head that we answer in place of the backend's; chunks, if there are any, come from it ready-made. */
static GString *
stream_head(SlCall *call, SlHttpReply *reply)
{
    const char *coding = sl_http_reply_header(reply, "Transfer-Encoding");
    const char *type = sl_http_reply_header(reply, "Content-Type");
    GString *head = g_string_sized_new(512);

    g_string_append_printf(head, "HTTP/1.%d 200 OK\r\n", sl_call_http_minor(call));
    if (type)
        g_string_append_printf(head, "Content-Type: %s\r\n", type);
    if (coding)
        g_string_append_printf(head, "Transfer-Encoding: %s\r\n", coding);
    for (const char *const *header = sl_frontend_headers; *header; header += 2)
        g_string_append_printf(head, "%s: %s\r\n", header[0], header[1]);
    g_string_append_printf(head, "X-Request-Id: %s\r\nConnection: close\r\n\r\n", sl_call_id(call));
    return head;
}

static bool
pass_stream(SlCall *call, SlHttpReply *reply, GError **error)
{
    SlFrontend *frontend = sl_call_context(call);
    g_autoptr(GString) head = stream_head(call, reply);
    g_autoptr(SlStream) client = sl_call_take(call);

    /* Written here and not by the relay: `docker run` does not go on before it has the head of its wait. */
    if (!client)
        return sl_fail(error, SL_ERROR_CANCELLED, "the client has left");
    if (!sl_stream_write_all(client, NULL, head->str, head->len, HEAD_TIMEOUT_MS, error))
        return false;
    sl_relay_join(sl_frontend_get_relay(frontend), g_steal_pointer(&client), sl_http_reply_take(reply));
    return true;
}

/* The backend does not answer: what was learnt of it may be of the past, and the sentence names it. */
static void
note_absence(SlFrontend *frontend, GError **error)
{
    if (!error || !g_error_matches(*error, SL_ERROR, SL_ERROR_UNAVAILABLE))
        return;
    sl_frontend_keep_version(frontend, NULL);
    g_prefix_error(error, "the backend at %s cannot be reached: ", sl_frontend_get_backend(frontend));
}

/* Sends request, whose body is set, with the headers that the backend is to see. */
static SlHttpReply *
ask(SlCall *call, SlHttpRequest *request, const char *body_type, SlCancel *cancel, GError **error)
{
    SlFrontend *frontend = sl_call_context(call);
    int version = sl_frontend_api_version(call);
    const char *registry_auth = sl_call_header(call, "X-Registry-Auth");
    const char *headers[N_HEADERS] = { NULL };
    char version_text[16];
    size_t n = 0;
    SlHttpReply *reply;

    g_snprintf(version_text, sizeof version_text, "%d.%d", version / 1000, version % 1000);
    headers[n++] = "X-Sockerless-Api-Version";
    headers[n++] = version_text;
    headers[n++] = "X-Request-Id";
    headers[n++] = sl_call_id(call);
    if (body_type) {
        headers[n++] = "Content-Type";
        headers[n++] = body_type;
    }
    if (registry_auth) {
        headers[n++] = "X-Registry-Auth";
        headers[n++] = registry_auth;
    }
    request->method = sl_call_method(call);
    request->headers = headers;
    reply = sl_http_client_call(sl_frontend_get_client(frontend), cancel, request, error);
    if (!reply)
        note_absence(frontend, error);
    /* It is us whom it does not know, not the client. */
    if (reply && sl_http_reply_status(reply) == 401 && sl_http_reply_header(reply, "WWW-Authenticate")) {
        g_clear_pointer(&reply, sl_http_reply_free);
        sl_fail(
            error, SL_ERROR_SYSTEM,
            "the backend at %s refuses this frontend: the token is missing or wrong (--internal-token-file)",
            sl_frontend_get_backend(frontend));
    }
    return reply;
}

SlHttpReply *
sl_forward_ask(SlCall *call, SlForwardKind kind, const char *target, const char *body, GError **error)
{
    SlHttpRequest request = {
        .target = target,
        .body = body,
        .n_body = body ? strlen(body) : 0,
        .upgrade = kind == SL_FORWARD_HIJACK,
        .http_minor = kind == SL_FORWARD_STREAM ? sl_call_http_minor(call) : 1,
        .is_stream = kind != SL_FORWARD_PLAIN,
    };

    return ask(call, &request, body ? "application/json" : NULL, cancel_for(call, kind), error);
}

static bool
body_pull(void *user, void *data, size_t n, size_t *ret_n, GError **error)
{
    return sl_call_body_read(user, data, n, ret_n, error);
}

bool
sl_forward_upload(SlCall *call, const SlQueryField *query, GError **error)
{
    g_autofree char *target = sl_normalise_target(call, query, error);
    /* A connection of its own: what was sent of a body cannot be sent again. */
    SlHttpRequest request = {
        .target = target,
        .body_read = body_pull,
        .body_user = call,
        .content_length = sl_call_content_length(call),
        .http_minor = 1,
        .is_stream = true,
    };
    g_autoptr(SlHttpReply) reply = target ? ask(call, &request, "application/x-tar", NULL, error) : NULL;

    return reply && sl_forward_reply(call, reply, error);
}

bool
sl_forward(SlCall *call, SlForwardKind kind, const SlQueryField *query, json_t *body, GError **error)
{
    g_autoptr(json_t) owned = body;
    g_autofree char *target = sl_normalise_target(call, query, error);
    g_autofree char *text = owned ? sl_json_dump(owned) : NULL;
    g_autoptr(SlHttpReply) reply = NULL;
    unsigned status;

    if (!target)
        return false;
    reply = sl_forward_ask(call, kind, target, text, error);
    if (!reply)
        return false;
    status = sl_http_reply_status(reply);
    if (kind == SL_FORWARD_HIJACK && status == 101)
        return pass_hijack(call, reply, error);
    if (kind == SL_FORWARD_STREAM && status == 200 && sl_http_reply_content_length(reply) < 0)
        return pass_stream(call, reply, error);
    return sl_forward_reply(call, reply, error);
}

bool
sl_forward_checked(SlCall *call, SlForwardKind kind, const SlQueryField *query, const SlJsonField *fields,
                   void *record, GError **error)
{
    return sl_call_json(call, fields, record, error) &&
           sl_forward(call, kind, query, sl_json_write(fields, record), error);
}
