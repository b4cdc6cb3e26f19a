#include "net/http_internal.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

SlCall *
sl_call_new(SlServer *server)
{
    SlCall *call = g_new0(SlCall, 1);

    call->server = server;
    call->parser = sl_http_parser_new(false);
    sl_input_reserve(&call->input, SL_INPUT_BYTES);
    call->path = g_string_sized_new(128);
    call->params_text = g_string_sized_new(128);
    call->headers = g_string_sized_new(128);
    call->out = g_string_sized_new(512);
    call->pending = g_string_sized_new(0);
    return call;
}

void
sl_call_free(SlCall *call)
{
    sl_http_parser_free(call->parser);
    sl_input_clear(&call->input);
    sl_input_clear(&call->body.more);
    g_string_free(call->path, TRUE);
    g_string_free(call->params_text, TRUE);
    g_string_free(call->headers, TRUE);
    g_string_free(call->out, TRUE);
    g_string_free(call->pending, TRUE);
    g_clear_pointer(&call->query, g_ptr_array_unref);
    g_clear_pointer(&call->lists, g_ptr_array_unref);
    g_free(call);
}

/* Big buffers of one request are not kept for the next. */
static void
string_empty(GString **string)
{
    if ((*string)->allocated_len > SL_SMALL_REPLY * 2) {
        g_string_free(*string, TRUE);
        *string = g_string_sized_new(512);
    } else {
        g_string_truncate(*string, 0);
    }
}

/* What was read too much becomes the beginning of the next request. */
static void
inputs_shift(SlCall *call)
{
    SlInput *input = &call->input;

    if (call->body.more.end > call->body.more.at) {
        SlInput spare = *input;

        *input = call->body.more;
        call->body.more = spare;
    }
    if (input->at > 0)
        memmove(input->data, input->data + input->at, input->end - input->at);
    input->end -= input->at;
    input->at = 0;
    sl_input_clear(&call->body.more);
    if (input->end == 0 && input->room > SL_SMALL_REPLY)
        sl_input_clear(input);
    sl_input_reserve(input, SL_INPUT_BYTES);
}

void
sl_call_next(SlCall *call)
{
    inputs_shift(call);
    sl_http_parser_reset(call->parser);
    call->phase = SL_PHASE_HEAD;
    call->head = NULL;
    call->id[0] = '\0';
    call->version = 0;
    call->route = NULL;
    call->match.n_params = 0;
    g_clear_pointer(&call->query, g_ptr_array_unref);
    g_clear_pointer(&call->lists, g_ptr_array_unref);
    call->body.is_done = call->body.has_failed = call->continue_is_due = false;
    call->reply = SL_REPLY_NONE;
    call->status = 0;
    call->is_broken = false;
    string_empty(&call->headers);
    string_empty(&call->out);
    string_empty(&call->pending);
}

/* "/v1.44/info" → "/info" and 1044. Anything else stays as it is. */
static void
version_strip(SlCall *call)
{
    const char *path = call->path->str;
    unsigned numbers[2] = { 0, 0 };
    size_t at = 2;

    if (path[0] != '/' || path[1] != 'v')
        return;
    for (int i = 0; i < 2; i++) {
        size_t first = at;

        for (; g_ascii_isdigit(path[at]) && at - first < 3; at++)
            numbers[i] = numbers[i] * 10 + (unsigned)(path[at] - '0');
        if (at == first || (i == 0 && path[at++] != '.'))
            return;
    }
    if (path[at] != '/' && path[at] != '\0')
        return;
    call->version = (int)(numbers[0] * 1000 + numbers[1]);
    g_string_erase(call->path, 0, (gssize)at);
    if (call->path->len == 0)
        g_string_append_c(call->path, '/');
}

static void
params_take(SlCall *call)
{
    g_string_truncate(call->params_text, 0);
    for (size_t i = 0; i < call->match.n_params; i++) {
        SlParam *param = &call->match.params[i];
        size_t at = call->params_text->len;

        g_string_append_len(call->params_text, call->path->str + param->at, (gssize)param->n);
        g_string_append_c(call->params_text, '\0');
        param->at = at;
    }
}

static bool
query_is_sane(const char *query, GError **error)
{
    for (const char *at = query; (at = strchr(at, '%')); at++)
        if (!g_ascii_isxdigit(at[1]) || !g_ascii_isxdigit(at[2]) || (at[1] == '0' && at[2] == '0'))
            return sl_fail(error, SL_ERROR_INVALID, "invalid URL escape in the query");
    return true;
}

bool
sl_call_prepare(SlCall *call, GError **error)
{
    const SlServerConfig *config = &call->server->config;
    const char *target = call->head->target;
    size_t n_path = strcspn(target, "?#");

    g_string_truncate(call->path, 0);
    if (!sl_url_decode(target, n_path, false, call->path))
        return sl_fail(error, SL_ERROR_INVALID, "invalid URL escape in the path");
    if (!query_is_sane(target + n_path, error))
        return false;
    if (config->strip_version)
        version_strip(call);
    call->route = sl_route_find(config->routes, call->head->method, call->path->str, &call->match);
    if (!call->route)
        return sl_fail(error, SL_ERROR_NOT_FOUND, "%s",
                       config->not_found ? config->not_found : "page not found");
    params_take(call);
    return true;
}

const char *
sl_call_method(SlCall *call)
{
    return call->head->method;
}

const char *
sl_call_path(SlCall *call)
{
    return call->path->str;
}

const char *
sl_call_target(SlCall *call)
{
    return call->head->target;
}

int
sl_call_version(SlCall *call)
{
    return call->version;
}

int
sl_call_http_minor(SlCall *call)
{
    return call->head->minor;
}

const char *
sl_call_param(SlCall *call, const char *name)
{
    size_t n_name = strlen(name);

    for (size_t i = 0; i < call->match.n_params; i++) {
        const SlParam *param = &call->match.params[i];

        if (param->n_name == n_name && memcmp(param->name, name, n_name) == 0)
            return call->params_text->str + param->at;
    }
    return NULL;
}

const char *
sl_call_header(SlCall *call, const char *name)
{
    return sl_http_head_get(call->head, name);
}

bool
sl_call_header_at(SlCall *call, size_t n, const char **ret_name, const char **ret_value)
{
    if (n >= call->head->n_fields)
        return false;
    *ret_name = call->head->fields[n].name;
    *ret_value = call->head->fields[n].value;
    return true;
}

bool
sl_call_wants_upgrade(SlCall *call)
{
    return call->head->wants_upgrade;
}

bool
sl_call_has_body(SlCall *call)
{
    return call->head->is_chunked || call->head->content_length > 0;
}

int64_t
sl_call_content_length(SlCall *call)
{
    return call->head->content_length;
}

bool
sl_call_is_tcp(SlCall *call)
{
    return call->conn->is_tcp;
}

static void
address_take(int fd, char *ret_text, size_t n)
{
    struct sockaddr_storage name = { 0 };
    socklen_t n_name = sizeof name;

    if (getpeername(fd, (struct sockaddr *)&name, &n_name) < 0)
        return;
    if (name.ss_family == AF_INET)
        inet_ntop(AF_INET, &((struct sockaddr_in *)(void *)&name)->sin_addr, ret_text, (socklen_t)n);
    else if (name.ss_family == AF_INET6)
        inet_ntop(AF_INET6, &((struct sockaddr_in6 *)(void *)&name)->sin6_addr, ret_text, (socklen_t)n);
}

const SlPeer *
sl_call_peer(SlCall *call)
{
    SlConn *conn = call->conn;
    struct ucred process;
    socklen_t n = sizeof process;

    if (conn->peer)
        return conn->peer;
    conn->peer = g_new0(SlPeer, 1);
    if (!conn->stream)
        return conn->peer;
    if (conn->is_tcp) {
        address_take(sl_stream_get_fd(conn->stream), conn->peer->address, sizeof conn->peer->address);
        conn->peer->name = conn->peer_name = sl_tls_dup_peer_name(conn->stream);
    } else if (getsockopt(sl_stream_get_fd(conn->stream), SOL_SOCKET, SO_PEERCRED, &process, &n) == 0) {
        conn->peer->has_uid = true;
        conn->peer->uid = process.uid;
        conn->peer->gid = process.gid;
    }
    return conn->peer;
}

void *
sl_call_context(SlCall *call)
{
    return call->server->config.context;
}

static bool
id_is_sane(const char *id)
{
    size_t n = strspn(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-");

    return n > 0 && n <= 64 && id[n] == '\0';
}

/* Ours: the server's random prefix and a counter. */
static void
id_make(SlCall *call)
{
    static const char digits[] = "0123456789abcdef";
    unsigned long number = atomic_fetch_add_explicit(&call->server->n_calls, 1, memory_order_relaxed);
    size_t n = g_strlcpy(call->id, call->server->id_prefix, sizeof call->id);

    for (int shift = 28; shift >= 0; shift -= 4)
        call->id[n++] = digits[(number >> shift) & 15];
    call->id[n] = '\0';
}

const char *
sl_call_id(SlCall *call)
{
    const char *given;

    if (call->id[0])
        return call->id;
    given = sl_call_header(call, "X-Request-Id");
    if (given && id_is_sane(given))
        g_strlcpy(call->id, given, sizeof call->id);
    else
        id_make(call);
    return call->id;
}

SlCancel *
sl_call_cancel(SlCall *call)
{
    SlConn *conn = call->conn;
    bool is_attached;

    if (call->cancel)
        return call->cancel;
    call->cancel = sl_cancel_new();
    pthread_mutex_lock(&conn->lock);
    conn->cancel = call->cancel;
    is_attached = conn->stream != NULL;
    pthread_mutex_unlock(&conn->lock);
    /* After publishing, so that an edge that came before is seen here and one that comes later finds the
     * cancel. */
    if ((is_attached && (atomic_load(&conn->flags) & SL_CONN_LEFT)) ||
        atomic_load(&call->server->is_draining))
        sl_cancel_fire(call->cancel);
    return call->cancel;
}
