#include "backends/core/core.h"

#include "api/names.h"
#include "backends/core/event_filter.h"
#include "common/clock.h"
#include "common/log.h"

#include <stdatomic.h>

enum {
    LIVE_LIMIT_BYTES = 4 * 1024 * 1024,    /* a reader that lets more pile up is cut off */
    REPLAY_LIMIT_BYTES = 64 * 1024 * 1024, /* all stored events fit */
};

/* One GET /events: the queue's feed with an end of its own. */
typedef struct Stream {
    atomic_int refs; /* the feed's, the handler's, the timer's */
    SlLoop *loop;
    SlEventReader *reader;
    SlQueue *queue;
    int64_t until_ns;
    SlTimer *timer; /* this and what follows: loop thread */
    bool is_over;
} Stream;

static void
stream_unref(Stream *stream)
{
    if (atomic_fetch_sub(&stream->refs, 1) != 1)
        return;
    sl_event_reader_free(stream->reader);
    sl_queue_unref(stream->queue);
    g_free(stream);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Stream, stream_unref)

static SlPull
stream_pull(void *user, SlPiece *ret_piece)
{
    Stream *stream = user;

    return sl_queue_ops.pull(stream->queue, ret_piece);
}

static void
stream_done(void *user, bool is_broken)
{
    Stream *stream = user;

    stream->is_over = true;
    if (stream->timer) {
        sl_timer_end(g_steal_pointer(&stream->timer));
        stream_unref(stream);
    }
    sl_queue_ops.done(stream->queue, is_broken);
    stream_unref(stream);
}

static const SlFeedOps stream_ops = { .pull = stream_pull, .done = stream_done };

static void
stream_until(void *data)
{
    Stream *stream = data;

    stream->timer = NULL;
    sl_queue_close(stream->queue);
    stream_unref(stream);
}

static void
stream_arm(void *data)
{
    Stream *stream = data;
    int64_t delay_ms = (stream->until_ns - sl_clock_now_ns()) / 1000000;

    if (stream->is_over)
        stream_unref(stream);
    else
        stream->timer = sl_timer_new(stream->loop, MAX(1, delay_ms), stream_until,
                                     stream); /* takes the reference along */
}

static bool
times_parse(SlCall *call, int64_t now_ns, int64_t *ret_since_ns, int64_t *ret_until_ns, GError **error)
{
    const char *since = sl_call_query(call, "since"), *until = sl_call_query(call, "until");

    if (!dk_time_parse(since, "since", now_ns, ret_since_ns, error) ||
        !dk_time_parse(until, "until", now_ns, ret_until_ns, error))
        return false;
    if (*ret_since_ns && *ret_until_ns && *ret_until_ns < *ret_since_ns)
        return sl_fail(error, SL_ERROR_INVALID, "`since` time (%s) cannot be after `until` time (%s)", since,
                       until);
    return true;
}

static Stream *
stream_new(SlEvents *events, SlLoop *loop, DkFilters *filters /* taken */, int64_t until_ns,
           size_t limit_bytes)
{
    Stream *stream = g_new0(Stream, 1);

    stream->refs = 1;
    stream->loop = loop;
    stream->until_ns = until_ns;
    stream->queue = sl_queue_new(limit_bytes);
    stream->reader = sl_event_reader_new(events, filters, stream->queue);
    return stream;
}

bool
sl_events_serve(SlEvents *events, SlCall *call, GError **error)
{
    g_autoptr(DkFilters) filters =
        dk_filters_parse(sl_call_query(call, "filters"), sl_event_filter_keys, error);
    g_autoptr(Stream) stream = NULL;
    g_autoptr(SlFeed) feed = NULL;
    g_autoptr(GError) local = NULL;
    int64_t now_ns = sl_clock_now_ns(), since_ns = 0, until_ns = 0;
    bool is_replay;

    if (!filters || !times_parse(call, now_ns, &since_ns, &until_ns, error))
        return false;
    is_replay = since_ns || until_ns;
    if (is_replay &&
        !sl_events_commit(events, NULL, 0, error)) /* what was noted before the request is in its answer */
        return false;

    stream = stream_new(events, sl_call_core(call)->loop, g_steal_pointer(&filters), until_ns,
                        is_replay ? REPLAY_LIMIT_BYTES : LIVE_LIMIT_BYTES);
    atomic_fetch_add(&stream->refs, 1);
    feed = sl_call_feed(call, SL_FRAMING_CHUNKED, "application/json", &stream_ops, stream, error);
    if (!feed) {
        atomic_fetch_sub(&stream->refs, 1);
        return false;
    }
    sl_queue_set_feed(stream->queue, feed);

    if (is_replay &&
        !sl_event_reader_replay(stream->reader, since_ns, until_ns ? until_ns : INT64_MAX, &local)) {
        sl_error("replaying events failed error=\"%s\"", local->message);
        sl_feed_end(feed); /* the head is out: all that is left is to end */
        return true;
    }
    if (until_ns && until_ns <= now_ns) {
        sl_queue_close(stream->queue);
        return true;
    }
    sl_event_reader_go_live(stream->reader);
    if (until_ns) {
        atomic_fetch_add(&stream->refs, 1);
        sl_loop_post(stream->loop, stream_arm, stream);
    }
    return true;
}
