/* A stream fed from a source and drained into a sink. */
#include "common/log.h"
#include "net/relay_internal.h"

#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum {
    SMALL_FILE = 16 * 1024, /* a longer range goes by sendfile, a shorter one with its chunk head */
    SENDFILE_MAX = 256 * 1024,
    END_WRITE_MS = 30 * 1000, /* that sl_feed_end waits for a client that does not read */
    CHUNK_HEAD_MAX = 20,
};

typedef enum FeedState {
    FEED_OPEN,
    FEED_ENDING,    /* the last output is being written */
    FEED_LINGERING, /* half-closed: input is dropped until the client closes */
} FeedState;

/*
 * What goes out next is always: head, lead, piece, trail. at counts through all four, so that a write may
 * stop anywhere. The piece is the source's own memory or file, so a slow client costs no copy.
 */
struct SlFeed {
    RelayItem item;
    SlRelay *relay;
    SlFeed *next_kicked; /* under the relay's lock */
    const SlFeedOps *ops;
    void *user;
    SlStream *stream;
    SlWatch *watch;
    SlTimer *timer;
    SlPiece piece;
    size_t at;
    char *head;
    char *input; /* n_input bytes from input_at on, which push has not taken yet */
    uint32_t n_head, input_at, n_input;
    atomic_int refs;
    atomic_bool is_kicked, must_end, must_break, is_over, is_answer;
    uint8_t framing, state, n_lead, n_trail;
    bool has_output; /* head to trail hold something */
    bool wants_out;  /* the client took no more: nothing is written until it does */
    bool may_read;   /* a read has not said "would block" yet */
    bool has_eof;
    bool is_hung; /* the client can take nothing any more; what it had sent can still be read */
    char lead[CHUNK_HEAD_MAX];
};

SlFeed *
sl_feed_ref(SlFeed *feed)
{
    atomic_fetch_add(&feed->refs, 1);
    return feed;
}

void
sl_feed_unref(SlFeed *feed)
{
    if (!feed || atomic_fetch_sub(&feed->refs, 1) != 1)
        return;
    sl_relay_unref(feed->relay);
    g_free(feed);
}

static void
feed_finish(SlFeed *feed, bool is_broken)
{
    g_clear_pointer(&feed->timer, sl_timer_end);
    if (feed->watch) {
        sl_watch_end(feed->watch);
        sl_relay_remove(feed->relay, &feed->item);
    }
    g_clear_pointer(&feed->stream, sl_stream_free);
    g_clear_pointer(&feed->head, g_free);
    g_clear_pointer(&feed->input, g_free);
    atomic_store(&feed->is_over, true);
    atomic_fetch_sub(&feed->relay->n_open, 1);
    feed->ops->done(feed->user, is_broken);
    sl_feed_unref(feed);
}

static void
feed_abort(RelayItem *item)
{
    feed_finish((SlFeed *)item, true);
}

static void
feed_time_over(void *data)
{
    SlFeed *feed = data;

    feed->timer = NULL;
    feed_finish(feed, feed->state != FEED_LINGERING);
}

static void
feed_set_timer(SlFeed *feed, int delay_ms)
{
    if (feed->timer)
        sl_timer_end(feed->timer);
    feed->timer = sl_timer_new(feed->relay->loop, delay_ms, feed_time_over, feed);
}

/* ---- output ---- */

/* Fetches what goes out next. False when there is nothing. */
static bool
feed_next(SlFeed *feed)
{
    SlPull pull = SL_PULL_WAIT;

    feed->piece = (SlPiece){ 0 };
    feed->at = 0;
    feed->n_lead = feed->n_trail = 0;
    if (atomic_load(&feed->must_end))
        pull = SL_PULL_END;
    else if (feed->ops->pull)
        pull = feed->ops->pull(feed->user, &feed->piece);

    if (pull == SL_PULL_WAIT && feed->n_head == 0)
        return false;
    if (pull == SL_PULL_PIECE) {
        g_assert(feed->piece.n > 0);
        if (feed->framing == SL_FRAMING_CHUNKED) {
            feed->n_lead = (uint8_t)g_snprintf(feed->lead, sizeof feed->lead, "%zx\r\n", feed->piece.n);
            feed->n_trail = 2;
        }
    } else {
        feed->piece.n = 0;
    }
    if (pull == SL_PULL_END) {
        feed->state = FEED_ENDING;
        if (feed->framing == SL_FRAMING_CHUNKED)
            feed->n_lead = (uint8_t)g_snprintf(feed->lead, sizeof feed->lead, "0\r\n\r\n");
    }
    feed->has_output = true;
    return true;
}

typedef struct Gather {
    char *out;
    size_t n, skip;
    bool is_full;
} Gather;

/* The part of a segment that is to be copied, after what was sent before. */
static size_t
gather_part(Gather *gather, size_t n, size_t *ret_from)
{
    size_t from = MIN(gather->skip, n), part;

    gather->skip -= from;
    if (gather->is_full)
        return 0;
    part = MIN(n - from, RELAY_SCRATCH - gather->n);
    gather->is_full = part < n - from;
    *ret_from = from;
    return part;
}

static void
gather_add(Gather *gather, const void *data, size_t n)
{
    size_t from = 0, part = gather_part(gather, n, &from);

    if (part > 0)
        memcpy(gather->out + gather->n, (const char *)data + from, part);
    gather->n += part;
}

static bool
gather_add_file(Gather *gather, const SlPiece *piece)
{
    size_t from = 0, part;

    if (piece->n - MIN(gather->skip, piece->n) > SMALL_FILE) {
        gather->is_full = true;
        return true;
    }
    part = gather_part(gather, piece->n, &from);
    if (part > 0 &&
        pread(piece->file, gather->out + gather->n, part, piece->offset + (off_t)from) != (ssize_t)part)
        return false;
    gather->n += part;
    return true;
}

/* A range that its file does not have: the client cannot be told otherwise than by breaking off. */
static ssize_t
feed_fail_file(SlFeed *feed)
{
    sl_warn("file ends before the range that was to be sent offset=%" G_GINT64_FORMAT " length=%zu",
            (gint64)feed->piece.offset, feed->piece.n);
    atomic_store(&feed->must_break, true);
    return SL_STREAM_FAILED;
}

static ssize_t
feed_write_some(SlFeed *feed)
{
    Gather gather = { .out = feed->relay->scratch, .skip = feed->at };
    size_t before = feed->n_head + feed->n_lead;
    bool is_file = feed->piece.n > 0 && !feed->piece.data;

    if (is_file && feed->at >= before && feed->at + SMALL_FILE < before + feed->piece.n) {
        size_t sent = feed->at - before;
        off_t offset = feed->piece.offset + (off_t)sent;
        ssize_t n = sl_stream_send_file(feed->stream, feed->piece.file, &offset,
                                        MIN(feed->piece.n - sent, SENDFILE_MAX));

        return n == 0 ? feed_fail_file(feed) : n;
    }
    gather_add(&gather, feed->head, feed->n_head);
    gather_add(&gather, feed->lead, feed->n_lead);
    if (!is_file)
        gather_add(&gather, feed->piece.data, feed->piece.n);
    else if (!gather_add_file(&gather, &feed->piece))
        return feed_fail_file(feed);
    gather_add(&gather, "\r\n", feed->n_trail);
    return sl_stream_write_some(feed->stream, feed->relay->scratch, gather.n);
}

static void
feed_linger(SlFeed *feed)
{
    feed->state = FEED_LINGERING;
    feed->n_input = 0;
    g_clear_pointer(&feed->input, g_free);
    feed_set_timer(feed, RELAY_LINGER_MS);
}

static void
feed_written(SlFeed *feed)
{
    g_clear_pointer(&feed->head, g_free);
    feed->n_head = 0;
    feed->at = feed->piece.n = feed->n_lead = feed->n_trail = 0;
    feed->has_output = feed->wants_out =
        feed->state == FEED_ENDING && !sl_stream_shutdown_write(feed->stream);
    if (feed->state == FEED_ENDING && !feed->has_output)
        feed_linger(feed);
}

static void
feed_output(SlFeed *feed)
{
    size_t moved = 0;

    while (!feed->is_hung && !feed->wants_out && feed->state != FEED_LINGERING) {
        ssize_t n;

        if (!feed->has_output && !feed_next(feed))
            return;
        if (feed->at == feed->n_head + feed->n_lead + feed->piece.n + feed->n_trail) {
            feed_written(feed);
            continue;
        }
        n = feed_write_some(feed);
        if (n == SL_STREAM_FAILED) {
            feed->is_hung = true;
        } else if (n == SL_STREAM_AGAIN) {
            feed->wants_out = true;
        } else {
            feed->at += (size_t)n;
            moved += (size_t)n;
            /* The loop comes back at once for a client that can take more: others first have their turn. */
            feed->wants_out = moved >= RELAY_BUDGET;
        }
    }
}

/* ---- input ---- */

/* Hands n bytes on; returns how many are done with. */
static size_t
feed_push(SlFeed *feed, const char *data, size_t n)
{
    size_t taken;

    if (!feed->ops->push || feed->state == FEED_LINGERING)
        return n;
    taken = feed->ops->push(feed->user, data, n);
    g_assert(taken <= n);
    return taken;
}

static void
feed_push_kept(SlFeed *feed)
{
    size_t taken;

    if (feed->n_input == 0)
        return;
    taken = feed_push(feed, feed->input + feed->input_at, feed->n_input);
    feed->input_at += (uint32_t)taken;
    feed->n_input -= (uint32_t)taken;
    if (feed->n_input == 0)
        g_clear_pointer(&feed->input, g_free);
}

static void
feed_take(SlFeed *feed, const char *data, size_t n)
{
    size_t taken = feed_push(feed, data, n);

    if (taken == n)
        return;
    feed->input_at = 0;
    feed->n_input = (uint32_t)(n - taken);
    feed->input = g_malloc(feed->n_input);
    memcpy(feed->input, data + taken, feed->n_input);
}

static void
feed_input(SlFeed *feed)
{
    char *scratch = feed->relay->scratch;
    bool had_eof = feed->has_eof, had_kept = feed->n_input > 0;
    size_t moved = 0;

    feed_push_kept(feed);
    while (feed->may_read && !feed->has_eof && feed->n_input == 0 &&
           (moved < RELAY_BUDGET || sl_stream_n_pending(feed->stream) > 0)) {
        ssize_t n = sl_stream_read_some(feed->stream, scratch, RELAY_SCRATCH);

        if (n == SL_STREAM_AGAIN) {
            feed->may_read = false;
        } else if (n <= 0) {
            feed->has_eof = true;
            feed->is_hung |= n == SL_STREAM_FAILED;
        } else {
            feed_take(feed, scratch, (size_t)n);
            moved += (size_t)n;
            feed->may_read = sl_stream_may_have_more(feed->stream, n, RELAY_SCRATCH);
        }
    }
    if (feed->has_eof && feed->n_input == 0 && (!had_eof || had_kept) && feed->ops->push_eof &&
        feed->state != FEED_LINGERING)
        feed->ops->push_eof(feed->user);
}

/* ---- both ---- */

static void
feed_arm(SlFeed *feed)
{
    uint32_t events = 0;

    if (!feed->has_eof && feed->n_input == 0)
        events |= EPOLLIN;
    if (feed->wants_out && !feed->is_hung)
        events |= EPOLLOUT;
    /* Of these two, poll and epoll have the same bits. */
    events = (uint32_t)sl_stream_poll_events(feed->stream, (short)events);
    /* HUP cannot be masked and would spin where nothing is wanted: edge-triggered it comes once, and after it
     * the watch rests. */
    if (events == 0 && !feed->is_hung)
        events = EPOLLET;
    sl_watch_set(feed->watch, events);
}

static void
feed_work(SlFeed *feed)
{
    bool is_leaving;

    feed_input(feed);
    feed_output(feed);

    is_leaving = feed->has_eof && feed->n_input == 0;
    if (atomic_load(&feed->must_break) || (feed->is_hung && (is_leaving || atomic_load(&feed->must_end)))) {
        feed_finish(feed, feed->state != FEED_LINGERING);
        return;
    }
    if (atomic_load(&feed->is_answer) && is_leaving && feed->state == FEED_OPEN && !feed->has_output &&
        !feed->wants_out) {
        feed_finish(feed, true);
        return;
    }
    if (feed->state == FEED_LINGERING && is_leaving) {
        feed_finish(feed, false);
        return;
    }
    if (atomic_load(&feed->must_end) && !feed->timer)
        feed_set_timer(feed, END_WRITE_MS);
    feed_arm(feed);
}

static void
feed_ready(void *data, uint32_t events)
{
    SlFeed *feed = data;

    /* A layer may have waited for the one because of the other. */
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) || sl_stream_has_layer(feed->stream))
        feed->may_read = true;
    if ((events & EPOLLOUT) || sl_stream_has_layer(feed->stream))
        feed->wants_out = false;
    if (events & (EPOLLHUP | EPOLLERR))
        feed->is_hung = true;
    feed_work(feed);
}

/* ---- any thread ---- */

void
sl_relay_run_kicked(void *data)
{
    SlRelay *relay = data;
    SlFeed *list;

    pthread_mutex_lock(&relay->lock);
    list = relay->first_kicked;
    relay->first_kicked = NULL;
    relay->last_kicked = &relay->first_kicked;
    pthread_mutex_unlock(&relay->lock);

    for (SlFeed *feed; (feed = list);) {
        list = feed->next_kicked;
        /* Before the work: a kick that comes during it must not be lost. */
        atomic_store(&feed->is_kicked, false);
        if (!feed->watch && !atomic_load(&feed->is_over)) {
            if (!sl_relay_add(relay, &feed->item)) {
                feed_finish(feed, true);
                sl_feed_unref(feed);
                continue;
            }
            feed->watch = sl_watch_new(relay->loop, sl_stream_get_fd(feed->stream), 0, feed_ready, feed);
        }
        if (!atomic_load(&feed->is_over))
            feed_work(feed);
        sl_feed_unref(feed);
    }
    sl_relay_unref(relay);
}

void
sl_feed_kick(SlFeed *feed)
{
    SlRelay *relay = feed->relay;
    bool was_empty;

    if (atomic_load(&feed->is_over) || atomic_exchange(&feed->is_kicked, true))
        return;
    SL_LOCK_GUARD(&relay->lock);
    if (relay->is_closed)
        return;
    was_empty = !relay->first_kicked;
    feed->next_kicked = NULL;
    *relay->last_kicked = sl_feed_ref(feed);
    relay->last_kicked = &feed->next_kicked;
    /* Many feeds kicked by one event cost the loop one wake-up. */
    if (was_empty)
        sl_loop_post(relay->loop, sl_relay_run_kicked, sl_relay_ref(relay));
}

void
sl_feed_end(SlFeed *feed)
{
    atomic_store(&feed->must_end, true);
    sl_feed_kick(feed);
}

void
sl_feed_break(SlFeed *feed)
{
    atomic_store(&feed->must_break, true);
    sl_feed_kick(feed);
}

void
sl_feed_be_answer(SlFeed *feed)
{
    atomic_store(&feed->is_answer, true);
    sl_feed_kick(feed);
}

SlFeed *
sl_relay_feed(SlRelay *relay, SlStream *stream, SlFraming framing, const void *head, size_t n_head,
              const SlFeedOps *ops, void *user)
{
    SlFeed *feed = g_new0(SlFeed, 1);

    feed->item.abort = feed_abort;
    feed->relay = sl_relay_ref(relay);
    feed->refs = 2; /* the caller's, and the relay's until it is over */
    feed->stream = stream;
    feed->framing = (uint8_t)framing;
    feed->ops = ops;
    feed->user = user;
    feed->head = n_head > 0 ? g_memdup2(head, n_head) : NULL;
    feed->n_head = (uint32_t)n_head;
    feed->may_read = true;
    atomic_fetch_add(&relay->n_open, 1);
    sl_feed_kick(feed);
    return feed;
}
