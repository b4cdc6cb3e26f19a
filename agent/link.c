#include "agent/link.h"

#include "agent/agent.h"
#include "agent/handshake.h"
#include "common/log.h"
#include "net/stream.h"
#include "net/ws.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum {
    READ_BYTES = 64 * 1024,
    MAX_QUEUED = 1024 * 1024,
    MAX_LINKS = 8,
    HANDSHAKE_MS = 10000,
};

struct SlAgentLink {
    SlAgent *agent;
    SlStream *stream;
    SlSource source; /* on the stream's descriptor */
    SlDeadline handshake;
    GByteArray *head; /* of the request, until it is whole */
    GString *reply;   /* of the handshake; what is not sent yet */
    SlWs *ws;         /* NULL until then */
    bool is_refused;  /* closes once reply is sent */
    bool is_broken;
};

static void
on_message(void *user, bool is_binary, const uint8_t *data, size_t n)
{
    SlAgentLink *link = user;

    /* A link that was replaced, or broke the protocol, has no say any more. */
    if (link->is_broken || link->agent->link != link)
        return;
    if (!sl_agent_message(link->agent, is_binary, data, n)) {
        sl_warn("link broke the protocol");
        sl_link_drop(link);
    }
}

static void
on_closed(void *user, unsigned code)
{
    sl_link_drop(user);
}

static const SlWsOps ws_ops = { .message = on_message, .closed = on_closed };

void
sl_link_drop(SlAgentLink *link)
{
    link->is_broken = true;
}

void
sl_link_free(SlAgentLink *link)
{
    SlPoller *poller = link->agent->poller;

    sl_deadline_clear(poller, &link->handshake);
    sl_source_release(poller, &link->source);
    sl_stream_free(link->stream);
    g_clear_pointer(&link->ws, sl_ws_free);
    g_byte_array_unref(link->head);
    g_string_free(link->reply, TRUE);
    g_free(link);
}

/* ---- handshake ---- */

static void
refuse(SlAgentLink *link, const GError *error)
{
    sl_warn("link refused status=%u error=\"%s\"", sl_error_http_status(error), error->message);
    g_string_printf(link->reply, "HTTP/1.1 %u Refused\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
                    sl_error_http_status(error));
    link->is_refused = true;
}

static void
open_link(SlAgentLink *link, const char *key)
{
    SlAgent *agent = link->agent;
    g_autofree char *accept = sl_ws_accept_key(key);

    g_string_printf(link->reply,
                    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    "Sec-WebSocket-Accept: %s\r\n\r\n",
                    accept);
    link->ws = sl_ws_new(false, SL_AGENT_MAX_MESSAGE, &ws_ops, link);
    sl_deadline_clear(agent->poller, &link->handshake);
    if (agent->link)
        sl_link_drop(agent->link);
    agent->link = link;
    sl_agent_opened(agent);
}

static void
receive_ws(SlAgentLink *link, const uint8_t *data, size_t n)
{
    g_autoptr(GError) error = NULL;

    if (n > 0 && !sl_ws_receive(link->ws, data, n, &error)) {
        sl_warn("link broken error=\"%s\"", error->message);
        sl_link_drop(link);
    }
}

static void
receive_head(SlAgentLink *link, const uint8_t *data, size_t n)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *key = NULL;
    size_t n_head;

    g_byte_array_append(link->head, data, (unsigned)n);
    n_head = sl_handshake_head_length((const char *)link->head->data, link->head->len);
    if (n_head == 0 && link->head->len <= SL_HANDSHAKE_MAX_HEAD)
        return;
    if (n_head == 0 || n_head > SL_HANDSHAKE_MAX_HEAD)
        sl_fail(&error, SL_ERROR_HEADERS, "the handshake is too long");
    else if (sl_handshake_check((const char *)link->head->data, n_head, link->agent->token, &key, &error))
        open_link(link, key);
    if (error) {
        refuse(link, error);
        return;
    }
    /* The daemon need not wait for our answer. */
    receive_ws(link, link->head->data + n_head, link->head->len - n_head);
    g_byte_array_set_size(link->head, 0);
}

static void
on_handshake_late(void *user)
{
    sl_warn("link refused, no handshake came");
    sl_link_drop(user);
}

/* ---- the socket ---- */

static void
on_ready(void *user, uint32_t events)
{
    SlAgentLink *link = user;
    uint8_t data[READ_BYTES];
    ssize_t n;

    if (link->is_broken || !(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
        return; /* the sweep writes */
    n = sl_stream_read_some(link->stream, data, sizeof data);
    if (n == SL_STREAM_AGAIN)
        return;
    if (n <= 0) {
        sl_link_drop(link);
        return;
    }
    if (link->is_refused)
        return;
    if (link->ws)
        receive_ws(link, data, (size_t)n);
    else
        receive_head(link, data, (size_t)n);
}

static void
add_link(SlAgent *agent, int fd)
{
    SlAgentLink *link = g_new0(SlAgentLink, 1);

    link->agent = agent;
    link->stream = sl_stream_new(fd);
    link->head = g_byte_array_new();
    link->reply = g_string_new(NULL);
    link->handshake = (SlDeadline){ .passed = on_handshake_late, .user = link };
    sl_deadline_set(agent->poller, &link->handshake, HANDSHAKE_MS);
    sl_source_begin(&link->source, fd, on_ready, link);
    sl_source_wait(agent->poller, &link->source, EPOLLIN);
    g_ptr_array_add(agent->links, link);
}

void
sl_link_accept(SlAgent *agent)
{
    int fd = accept4(SL_AGENT_LISTEN_FD, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd < 0)
        return;
    if (agent->links->len >= MAX_LINKS) {
        sl_warn("link refused, there are too many");
        close(fd);
        return;
    }
    add_link(agent, fd);
}

void
sl_link_send_text(SlAgentLink *link, const char *text, size_t n)
{
    sl_ws_send(link->ws, false, NULL, 0, text, n);
}

void
sl_link_send_frame(SlAgentLink *link, const SlAgentFrame *frame, const void *data, size_t n)
{
    uint8_t header[SL_AGENT_FRAME_HEADER];

    sl_agent_frame_put(frame, header);
    sl_ws_send(link->ws, true, header, sizeof header, data, n);
}

bool
sl_link_has_room(SlAgentLink *link)
{
    return sl_ws_n_queued(link->ws) < MAX_QUEUED;
}

/* False: the socket is full or lost. */
static bool
write_block(SlAgentLink *link, const void *data, size_t n, size_t *ret_done)
{
    ssize_t done = sl_stream_write_some(link->stream, data, n);

    if (done == SL_STREAM_FAILED)
        sl_link_drop(link);
    if (done <= 0)
        return false;
    *ret_done = (size_t)done;
    return true;
}

static void
flush(SlAgentLink *link)
{
    const uint8_t *data;
    size_t n, done;

    while (link->reply->len > 0 && write_block(link, link->reply->str, link->reply->len, &done))
        g_string_erase(link->reply, 0, (gssize)done);
    if (link->reply->len > 0)
        return;
    while (link->ws && (n = sl_ws_peek(link->ws, &data)) > 0 && write_block(link, data, n, &done))
        sl_ws_wrote(link->ws, done);
    if (link->is_refused)
        sl_link_drop(link);
}

static bool
has_output(const SlAgentLink *link)
{
    return link->reply->len > 0 || (link->ws && sl_ws_n_queued(link->ws) > 0);
}

/* A peer that asks without reading the answers is not read either. */
static uint32_t
wanted_events(SlAgentLink *link)
{
    uint32_t events = has_output(link) ? EPOLLOUT : 0;

    return !link->ws || sl_link_has_room(link) ? events | EPOLLIN : events;
}

void
sl_link_sweep(SlAgent *agent)
{
    for (unsigned i = 0; i < agent->links->len;) {
        SlAgentLink *link = agent->links->pdata[i];
        bool had_room = !link->ws || sl_link_has_room(link);

        if (has_output(link) || link->is_refused)
            flush(link);
        if (!link->is_broken) {
            sl_source_wait(agent->poller, &link->source, wanted_events(link));
            if (!had_room && sl_link_has_room(link))
                sl_agent_link_has_room(agent);
            i++;
            continue;
        }
        g_ptr_array_remove_index(agent->links, i); /* frees */
        if (agent->link == link) {
            agent->link = NULL;
            sl_agent_link_lost(agent);
        }
    }
}
