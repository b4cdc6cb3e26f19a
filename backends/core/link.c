#include "backends/core/link.h"

#include "common/clock.h"
#include "common/failpoint.h"
#include "common/log.h"
#include "common/thread.h"
#include "net/ws.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    HEAD_MAX = 4096,
    READ_BYTES = 128 * 1024,
};

/* A request that waits for its answer; lives on the stack of the thread that asked. */
typedef struct Request {
    json_int_t id;
    json_t *answer;
    bool is_done, is_broken;
    pthread_cond_t done;
    struct Request *next;
} Request;

struct SlLink {
    atomic_int refs;
    SlLoop *loop;
    const SlLinkOps *ops;
    void *user;

    pthread_mutex_t lock; /* of what follows, up to the loop's own */
    Request *requests;
    json_int_t last_id;
    GPtrArray *outbox; /* of char *: messages to send */
    bool is_flush_posted, is_closed, is_close_wanted, is_shutdown_wanted, is_seen_wanted;
    atomic_uint last_channel;

    /* The loop's */
    int fd;
    SlWatch *watch;
    SlWs *ws;
    char *accept_key;
    GString *head; /* of the handshake's answer, until it is whole */
    GString *unsent_head;
    uint8_t *buffer;
    bool is_seen_owed;
    uint64_t grown; /* as the agent told last */
};

static void flush(void *data);

SlLink *
sl_link_ref(SlLink *link)
{
    atomic_fetch_add(&link->refs, 1);
    return link;
}

void
sl_link_unref(SlLink *link)
{
    if (!link || atomic_fetch_sub(&link->refs, 1) != 1)
        return;
    g_ptr_array_unref(link->outbox);
    g_clear_pointer(&link->ws, sl_ws_free);
    g_free(link->accept_key);
    if (link->head)
        g_string_free(link->head, TRUE);
    if (link->unsent_head)
        g_string_free(link->unsent_head, TRUE);
    g_free(link->buffer);
    pthread_mutex_destroy(&link->lock);
    g_free(link);
}

/* ---- the loop's side ---- */

static void
fail_requests(SlLink *link)
{
    SL_LOCK_GUARD(&link->lock);

    link->is_closed = true;
    for (Request *request = link->requests; request; request = request->next) {
        request->is_broken = true;
        pthread_cond_signal(&request->done);
    }
    link->requests = NULL;
}

/* Ends the link; the owner's closed() runs once. */
static void
loop_close(SlLink *link)
{
    if (link->fd < 0)
        return;
    g_clear_pointer(&link->watch, sl_watch_end);
    close(link->fd);
    link->fd = -1;
    fail_requests(link);
    link->ops->closed(link->user);
    sl_link_unref(link); /* the loop's */
}

static ssize_t
send_block(SlLink *link, const void *data, size_t n)
{
    ssize_t sent = send(link->fd, data, n, MSG_NOSIGNAL | MSG_DONTWAIT);

    return sent < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : sent;
}

/* Writes what there is; watches for room when it did not all go. False when the link broke. */
static bool
loop_write(SlLink *link)
{
    const uint8_t *data;
    bool is_blocked = false;

    if (link->unsent_head) {
        ssize_t sent = send_block(link, link->unsent_head->str, link->unsent_head->len);

        if (sent < 0)
            return false;
        g_string_erase(link->unsent_head, 0, sent);
        is_blocked = link->unsent_head->len > 0;
        if (!is_blocked) {
            g_string_free(link->unsent_head, TRUE);
            link->unsent_head = NULL;
        }
    }
    for (size_t n; !is_blocked && (n = sl_ws_peek(link->ws, &data)) > 0;) {
        ssize_t sent = send_block(link, data, n);

        if (sent < 0)
            return false;
        sl_ws_wrote(link->ws, (size_t)sent);
        is_blocked = sent == 0;
    }
    sl_watch_set(link->watch, is_blocked ? EPOLLIN | EPOLLOUT : EPOLLIN);
    return true;
}

static void
answer_request(SlLink *link, json_int_t id, const json_t *message)
{
    sl_failpoint("link.answer.received");
    SL_LOCK_GUARD(&link->lock);

    for (Request **at = &link->requests; *at; at = &(*at)->next) {
        Request *request = *at;

        if (request->id != id)
            continue;
        *at = request->next;
        request->answer = json_deep_copy(message); /* another thread owns it from here */
        request->is_done = true;
        pthread_cond_signal(&request->done);
        return;
    }
}

static void
handle_text(SlLink *link, const uint8_t *data, size_t n)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(json_t) message = sl_json_parse((const char *)data, n, "agent's message", &error);
    const char *type = json_string_value(json_object_get(message, "type"));
    json_t *id = json_object_get(message, "id");

    if (!type) {
        sl_warn("agent sent a message that is none error=%s", error ? error->message : "no type");
        return;
    }
    if (json_is_integer(id))
        answer_request(link, json_integer_value(id), message);
    else if (strcmp(type, "hello") == 0)
        link->ops->hello(link->user, message);
    else if (strcmp(type, "exited") == 0)
        link->ops->exited(link->user, (uint32_t)json_integer_value(json_object_get(message, "channel")),
                          message);
}

static void
handle_grown(SlLink *link, uint64_t length)
{
    link->is_seen_owed = true;
    link->grown = length;
    switch (link->ops->grown(link->user, length)) {
    case SL_LINK_SEEN:
        sl_link_seen(link);
        break;
    case SL_LINK_LEFT:
        sl_link_send_frame(link, SL_AGENT_LEFT, 0, 0, NULL, 0);
        break;
    case SL_LINK_SILENT:
        break;
    }
}

static void
handle_frame(SlLink *link, const uint8_t *data, size_t n)
{
    SlAgentFrame frame;

    if (!sl_agent_frame_get(data, n, &frame)) {
        sl_warn("agent sent a frame that is none bytes=%zu", n);
        return;
    }
    switch (frame.type) {
    case SL_AGENT_DATA:
        link->ops->data(link->user, frame.channel, frame.offset, data + SL_AGENT_FRAME_HEADER,
                        n - SL_AGENT_FRAME_HEADER);
        break;
    case SL_AGENT_END:
        link->ops->end(link->user, frame.channel);
        break;
    case SL_AGENT_WINDOW_TO:
        link->ops->window(link->user, frame.channel, frame.offset);
        break;
    case SL_AGENT_GROWN:
        handle_grown(link, frame.offset);
        break;
    case SL_AGENT_SEEN:
    case SL_AGENT_LEFT:
        break;
    }
}

static void
on_message(void *user, bool is_binary, const uint8_t *data, size_t n)
{
    SlLink *link = user;

    if (link->fd < 0)
        return;
    if (is_binary)
        handle_frame(link, data, n);
    else
        handle_text(link, data, n);
}

static void
on_ws_closed(void *user, unsigned code)
{
    sl_debug("agent closed its link code=%u", code); /* the end of the socket follows */
}

static const SlWsOps ws_ops = { .message = on_message, .closed = on_ws_closed };

/* The answer to the handshake comes once, before all frames. True: it is done with, and what is left of data are frames. */
static bool
take_head(SlLink *link, const uint8_t **data, size_t *n, GError **error)
{
    g_autofree char *accept_line = g_strdup_printf("sec-websocket-accept: %s\r\n", link->accept_key);
    size_t had = link->head->len;
    const char *end;

    g_string_append_len(link->head, (const char *)*data, (gssize)*n);
    end = g_strstr_len(link->head->str, (gssize)link->head->len, "\r\n\r\n");
    if (!end && link->head->len > HEAD_MAX)
        return sl_fail(error, SL_ERROR_SYSTEM, "the agent's handshake is too long");
    if (!end) {
        *n = 0;
        return true;
    }
    *data += (size_t)(end + 4 - link->head->str) - had;
    *n -= (size_t)(end + 4 - link->head->str) - had;
    g_string_truncate(link->head, (gsize)(end + 2 - link->head->str));
    if (!g_str_has_prefix(link->head->str, "HTTP/1.1 101 "))
        return sl_fail(error, SL_ERROR_SYSTEM, "the agent refused the link: %.60s", link->head->str);
    {
        g_autofree char *lower = g_ascii_strdown(link->head->str, -1);
        g_autofree char *wanted = g_ascii_strdown(accept_line, -1);

        if (!strstr(lower, wanted))
            return sl_fail(error, SL_ERROR_SYSTEM, "the agent's handshake does not answer ours");
    }
    g_string_free(link->head, TRUE);
    link->head = NULL;
    return true;
}

static bool
loop_read(SlLink *link)
{
    g_autoptr(GError) error = NULL;
    const uint8_t *data = link->buffer;
    ssize_t got = recv(link->fd, link->buffer, READ_BYTES, MSG_DONTWAIT);
    size_t n = (size_t)got;

    if (got < 0)
        return errno == EAGAIN || errno == EINTR;
    if (got == 0)
        return false;
    if ((link->head && !take_head(link, &data, &n, &error)) ||
        (n > 0 && !sl_ws_receive(link->ws, data, n, &error))) {
        sl_warn("agent link broken error=%s", error->message);
        return false;
    }
    return true;
}

static void
ready(void *data, uint32_t events)
{
    g_autoptr(SlLink) link = sl_link_ref(data);
    bool is_open = true;

    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        is_open = loop_read(link);
    if (link->fd >= 0 && (!is_open || !loop_write(link)))
        loop_close(link);
}

/* Moves what other threads left in the outbox to the wire. */
static void
flush(void *data)
{
    SlLink *link = data;
    g_autoptr(GPtrArray) messages = NULL;
    bool is_close_wanted, is_shutdown_wanted, is_seen_wanted;

    pthread_mutex_lock(&link->lock);
    messages = link->outbox;
    link->outbox = g_ptr_array_new_with_free_func(g_free);
    link->is_flush_posted = false;
    is_close_wanted = link->is_close_wanted;
    is_shutdown_wanted = link->is_shutdown_wanted;
    is_seen_wanted = link->is_seen_wanted;
    link->is_seen_wanted = false;
    pthread_mutex_unlock(&link->lock);

    if (link->fd >= 0) {
        for (guint i = 0; i < messages->len; i++)
            sl_ws_send(link->ws, false, NULL, 0, messages->pdata[i], strlen(messages->pdata[i]));
        if (is_seen_wanted && link->is_seen_owed) {
            link->is_seen_owed = false;
            sl_link_send_frame(link, SL_AGENT_SEEN, 0, link->grown, NULL, 0);
        }
        if (is_shutdown_wanted)
            sl_ws_send(link->ws, false, NULL, 0, "{\"type\":\"shutdown\"}",
                       strlen("{\"type\":\"shutdown\"}"));
        if (!loop_write(link) || is_close_wanted)
            loop_close(link);
        if (messages->len > 0)
            sl_failpoint("link.request.sent");
    }
    sl_link_unref(link); /* the post's */
}

static void
adopt(void *data)
{
    SlLink *link = data;

    link->watch = sl_watch_new(link->loop, link->fd, EPOLLIN, ready, link);
    flush(sl_link_ref(link));
}

/* ---- any thread's ---- */

SlLink *
sl_link_new(SlLoop *loop, int fd, const char *token, const SlLinkOps *ops, void *user)
{
    SlLink *link = g_new0(SlLink, 1);
    g_autofree char *key = sl_ws_key_new();

    link->refs = 2; /* the caller's and the loop's */
    link->loop = loop;
    link->ops = ops;
    link->user = user;
    pthread_mutex_init(&link->lock, NULL);
    link->outbox = g_ptr_array_new_with_free_func(g_free);
    link->is_flush_posted = true; /* adopt() flushes */
    link->fd = fd;
    link->ws = sl_ws_new(true, SL_AGENT_MAX_MESSAGE, &ws_ops, link);
    link->accept_key = sl_ws_accept_key(key);
    link->head = g_string_new(NULL);
    link->unsent_head = g_string_new(NULL);
    link->buffer = g_malloc(READ_BYTES);
    g_string_printf(link->unsent_head,
                    "GET " SL_AGENT_PATH
                    " HTTP/1.1\r\nHost: agent\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\nAuthorization: Bearer %s\r\n\r\n",
                    key, token);
    return link;
}

void
sl_link_start(SlLink *link)
{
    sl_loop_post(link->loop, adopt, link);
}

/* Lock held. */
static void
post_flush(SlLink *link)
{
    if (link->is_flush_posted)
        return;
    link->is_flush_posted = true;
    sl_loop_post(link->loop, flush, sl_link_ref(link));
}

static void
forget_request(SlLink *link, Request *request)
{
    for (Request **at = &link->requests; *at; at = &(*at)->next) {
        if (*at == request) {
            *at = request->next;
            return;
        }
    }
}

/* Waits in slices, so that a cancel is noticed without a descriptor for every request. Lock held. */
static bool
wait_answer(SlLink *link, Request *request, SlCancel *cancel, int timeout_ms, GError **error)
{
    enum { SLICE_MS = 50 };
    int64_t until_ms = sl_clock_monotonic_ms() + timeout_ms;

    while (!request->is_done && !request->is_broken) {
        int64_t slice_ns = sl_clock_monotonic_ns() + SLICE_MS * INT64_C(1000000);
        struct timespec until = { .tv_sec = slice_ns / INT64_C(1000000000),
                                  .tv_nsec = slice_ns % INT64_C(1000000000) };

        pthread_cond_timedwait(&request->done, &link->lock, &until);
        if (request->is_done || request->is_broken)
            break;
        if (sl_cancel_is_fired(cancel) || sl_clock_monotonic_ms() >= until_ms) {
            forget_request(link, request);
            return sl_fail(error, sl_cancel_is_fired(cancel) ? SL_ERROR_CANCELLED : SL_ERROR_DEADLINE,
                           "the agent did not answer within %d ms", timeout_ms);
        }
    }
    if (request->is_broken)
        return sl_fail(error, SL_ERROR_UNAVAILABLE, "the agent's connection was lost");
    return true;
}

static bool
answer_to_error(json_t *answer, int *ret_exit_code, GError **error)
{
    json_int_t status = 500, exit_code = 0;
    const char *message = "the agent gave no reason";

    json_unpack(answer, "{s?I, s?s, s?I}", "status", &status, "message", &message, "exit_code", &exit_code);
    if (ret_exit_code)
        *ret_exit_code = (int)exit_code;
    return sl_fail(error, sl_error_code_from_http((unsigned)status), "%s", message);
}

bool
sl_link_request(SlLink *link, json_t *message, SlCancel *cancel, int timeout_ms, json_t **ret_answer,
                int *ret_exit_code, GError **error)
{
    g_autoptr(json_t) owned = message;
    Request request = { 0 };
    pthread_condattr_t attr;
    bool ok;

    if (ret_exit_code)
        *ret_exit_code = 0;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&request.done, &attr);
    pthread_condattr_destroy(&attr);

    pthread_mutex_lock(&link->lock);
    if (link->is_closed) {
        request.is_broken = true;
    } else {
        request.id = ++link->last_id;
        request.next = link->requests;
        link->requests = &request;
        json_object_set_new(owned, "id", json_integer(request.id));
        g_ptr_array_add(link->outbox, sl_json_dump(owned));
        post_flush(link);
    }
    ok = wait_answer(link, &request, cancel, timeout_ms, error);
    pthread_mutex_unlock(&link->lock);
    pthread_cond_destroy(&request.done);
    if (!ok)
        return false;

    {
        g_autoptr(json_t) answer = request.answer;

        if (g_strcmp0(json_string_value(json_object_get(answer, "type")), "error") == 0)
            return answer_to_error(answer, ret_exit_code, error);
        if (ret_answer)
            *ret_answer = g_steal_pointer(&answer);
    }
    return true;
}

void
sl_link_send_frame(SlLink *link, SlAgentFrameType type, uint32_t channel, uint64_t offset, const void *data,
                   size_t n)
{
    uint8_t header[SL_AGENT_FRAME_HEADER];

    if (link->fd < 0)
        return;
    sl_agent_frame_put(&(SlAgentFrame){ .type = type, .channel = channel, .offset = offset }, header);
    sl_ws_send(link->ws, true, header, sizeof header, data, n);
    SL_LOCK_GUARD(&link->lock);

    post_flush(link);
}

void
sl_link_seen(SlLink *link)
{
    SL_LOCK_GUARD(&link->lock);

    link->is_seen_wanted = true;
    post_flush(link);
}

void
sl_link_close(SlLink *link, bool is_shutdown)
{
    SL_LOCK_GUARD(&link->lock);

    link->is_close_wanted = true;
    link->is_shutdown_wanted |= is_shutdown;
    post_flush(link);
}

uint32_t
sl_link_next_channel(SlLink *link)
{
    return atomic_fetch_add(&link->last_channel, 1) + 1;
}
