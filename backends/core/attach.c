#include "backends/core/attach.h"

/* Everything but its making is on the loop's thread. */
typedef struct Attach {
    SlContainer *container;
    SlLogTap *tap; /* NULL: no output */
    SlFeed *feed;  /* NULL until attach_begin has run */
    SlDetachKeys detach_keys;
    bool has_stdin, is_eof_waiting, is_detach_waiting, is_done;
    int refs; /* the feed's, and attach_begin's */
} Attach;

static void
attach_unref(Attach *attach)
{
    if (--attach->refs > 0)
        return;
    if (attach->tap)
        sl_log_tap_free(attach->tap);
    sl_feed_unref(attach->feed);
    sl_container_unref(attach->container);
    g_free(attach);
}

static void
send_eof(Attach *attach)
{
    SlContainer *container = attach->container;

    if (container->config.stdin_once && container->stdin_) {
        attach->is_eof_waiting = false;
        sl_channel_push_eof(container->stdin_);
    }
}

static SlPull
attach_pull(void *user, SlPiece *ret_piece)
{
    Attach *attach = user;

    if (attach->is_eof_waiting)
        send_eof(attach);
    return attach->tap ? sl_log_tap_pull(attach->tap, ret_piece) : SL_PULL_WAIT;
}

/* This client leaves; the container goes on. */
static void
detach(Attach *attach)
{
    if (attach->feed)
        sl_feed_end(attach->feed);
    else
        attach->is_detach_waiting = true;
}

static size_t
attach_push(void *user, const void *data, size_t n)
{
    Attach *attach = user;
    SlChannel *channel = attach->container->stdin_;
    bool is_detached = false;
    size_t taken;

    if (!attach->has_stdin)
        return n;
    if (!channel)
        return 0;
    taken = sl_detach_keys_push(&attach->detach_keys, channel, data, n, &is_detached);
    if (is_detached) {
        sl_container_emit(attach->container, "detach", NULL);
        detach(attach);
    }
    return taken;
}

/* With StdinOnce the end of the client's input is the end of the process's. Without, it is a detach: this attach ends, output included, and
 * the process's stdin stays open for the next one. */
static void
attach_push_eof(void *user)
{
    Attach *attach = user;

    if (!attach->has_stdin)
        return;
    if (attach->container->config.stdin_once) {
        attach->is_eof_waiting = true;
        send_eof(attach);
    } else {
        detach(attach);
    }
}

static void
attach_done(void *user, bool is_broken)
{
    Attach *attach = user;

    attach->is_done = true;
    if (attach->feed && attach->has_stdin)
        g_ptr_array_remove(attach->container->stdin_feeds, attach->feed);
    attach_unref(attach);
}

static const SlFeedOps attach_ops = {
    .pull = attach_pull,
    .push = attach_push,
    .push_eof = attach_push_eof,
    .done = attach_done,
};

typedef struct Begin {
    Attach *attach;
    SlFeed *feed;
} Begin;

static void
attach_begin(void *data)
{
    Begin *begin = data;
    Attach *attach = begin->attach;

    if (!attach->is_done) {
        attach->feed = sl_feed_ref(begin->feed);
        if (attach->has_stdin)
            g_ptr_array_add(attach->container->stdin_feeds, sl_feed_ref(begin->feed));
        if (attach->tap)
            sl_log_tap_set_feed(attach->tap, begin->feed);
        sl_feed_kick(begin->feed);
        if (attach->is_detach_waiting)
            sl_feed_end(begin->feed);
    }
    sl_feed_unref(begin->feed);
    attach_unref(attach);
    g_free(begin);
}

bool
sl_attach_serve(SlContainer *container, SlCall *call, const char *content_type, const SlAttachQuery *query,
                GError **error)
{
    Attach *attach;
    Begin *begin;
    SlFeed *feed;
    SlLogTap *tap = NULL;

    if ((query->stdout_ || query->stderr_) && (query->stream || query->logs)) {
        tap =
            sl_log_tap_new(container->log, query->stdout_, query->stderr_, query->logs, query->stream, error);
        if (!tap)
            return false;
    }
    attach = g_new0(Attach, 1);
    attach->refs = 2;
    attach->container = sl_container_ref(container);
    attach->tap = tap;
    attach->has_stdin = query->stdin_ && query->stream && container->config.open_stdin;
    if (container->config.tty)
        attach->detach_keys = query->detach_keys;
    sl_container_emit(container, "attach", NULL);

    feed = sl_call_feed(call, SL_FRAMING_RAW, content_type, &attach_ops, attach, error);
    if (!feed) {
        attach->refs = 1;
        attach_unref(attach);
        return false;
    }
    begin = g_new(Begin, 1);
    *begin = (Begin){ attach, feed };
    sl_loop_post(container->core->loop, attach_begin, begin);
    return true;
}
