/* Two streams joined: what one says, the other hears. */
#include "net/relay_internal.h"

#include <string.h>
#include <sys/epoll.h>

typedef struct Pair Pair;

typedef struct End {
    Pair *pair;
    SlStream *stream;
    SlWatch *watch;
    char *unsent; /* n_unsent bytes from at on, read from the other end and not taken by this one yet */
    size_t at, n_unsent;
    bool may_read; /* a read has not said "would block" yet */
    bool has_eof;  /* no more input, by its will or because it broke */
    bool is_shut;  /* has been given everything and our half-close */
    bool is_hung;  /* can take nothing any more; what it had sent can still be read */
} End;

struct Pair {
    RelayItem item;
    SlRelay *relay;
    End ends[2];
    SlTimer *linger;
};

static void
end_clear(End *end)
{
    if (end->watch)
        sl_watch_end(end->watch);
    sl_stream_free(end->stream);
    g_free(end->unsent);
}

static void
pair_free(Pair *pair)
{
    if (pair->linger)
        sl_timer_end(pair->linger);
    end_clear(&pair->ends[0]);
    end_clear(&pair->ends[1]);
    atomic_fetch_sub(&pair->relay->n_open, 1);
    sl_relay_unref(pair->relay);
    g_free(pair);
}

static void
pair_close(Pair *pair)
{
    sl_relay_remove(pair->relay, &pair->item);
    pair_free(pair);
}

static void
pair_abort(RelayItem *item)
{
    pair_close((Pair *)item);
}

static void
pair_linger_over(void *data)
{
    Pair *pair = data;

    pair->linger = NULL;
    pair_close(pair);
}

static End *
end_peer(End *end)
{
    return end == &end->pair->ends[0] ? &end->pair->ends[1] : &end->pair->ends[0];
}

static void
end_drop_unsent(End *end)
{
    g_clear_pointer(&end->unsent, g_free);
    end->at = end->n_unsent = 0;
}

/* Writes as much as goes; returns how much. */
static size_t
end_write(End *end, const char *data, size_t n)
{
    size_t sent = 0;

    while (sent < n && !end->is_hung) {
        ssize_t done = sl_stream_write_some(end->stream, data + sent, n - sent);

        if (done == SL_STREAM_AGAIN)
            break;
        if (done == SL_STREAM_FAILED)
            end->is_hung = true;
        else
            sent += (size_t)done;
    }
    return sent;
}

static void
end_flush(End *end)
{
    size_t sent;

    if (end->n_unsent == 0)
        return;
    sent = end_write(end, end->unsent + end->at, end->n_unsent);
    end->at += sent;
    end->n_unsent -= sent;
    if (end->n_unsent == 0 || end->is_hung)
        end_drop_unsent(end);
}

static void
end_give(End *end, const char *data, size_t n)
{
    size_t sent = end_write(end, data, n);

    if (sent == n || end->is_hung)
        return;
    end->n_unsent = n - sent;
    end->at = 0;
    end->unsent = g_malloc(end->n_unsent);
    memcpy(end->unsent, data + sent, end->n_unsent);
}

/* Moves what from has to its peer. With a peer that hung, input is read and dropped, so that from can come to
 * its end. */
static void
pump(End *from)
{
    End *to = end_peer(from);
    char *scratch = from->pair->relay->scratch;
    size_t moved = 0;

    end_flush(to);
    while (from->may_read && !from->has_eof && to->n_unsent == 0 &&
           (moved < RELAY_BUDGET || sl_stream_n_pending(from->stream) > 0)) {
        ssize_t n = sl_stream_read_some(from->stream, scratch, RELAY_SCRATCH);

        if (n == SL_STREAM_AGAIN) {
            from->may_read = false;
        } else if (n <= 0) {
            from->has_eof = true;
            from->is_hung |= n == SL_STREAM_FAILED;
        } else {
            end_give(to, scratch, (size_t)n);
            moved += (size_t)n;
            /* A short read has emptied it: the loop tells when there is more. */
            from->may_read = sl_stream_may_have_more(from->stream, n, RELAY_SCRATCH);
        }
    }
    if (from->has_eof && to->n_unsent == 0 && !to->is_shut)
        to->is_shut = to->is_hung || sl_stream_shutdown_write(to->stream);
}

/* HUP cannot be masked and would spin where nothing is wanted: edge-triggered it comes once, and after it the
 * watch rests. */
static void
end_arm(End *end)
{
    End *peer = end_peer(end);
    bool must_say_end = peer->has_eof && !end->is_shut;
    uint32_t events = 0;

    if (!end->has_eof && peer->n_unsent == 0)
        events |= EPOLLIN;
    if (end->n_unsent > 0 || must_say_end)
        events |= EPOLLOUT;
    /* Of these two, poll and epoll have the same bits. */
    events = (uint32_t)sl_stream_poll_events(end->stream, (short)events);
    if (events == 0 && !end->is_hung)
        events = EPOLLET;
    sl_watch_set(end->watch, events);
}

/* It is gone, and its peer has got everything that it had said. */
static bool
end_is_finished(End *end)
{
    return end->is_hung && end->has_eof && end_peer(end)->is_shut;
}

static void
pair_work(Pair *pair)
{
    End *a = &pair->ends[0], *b = &pair->ends[1];

    pump(a);
    pump(b);
    if (a->is_shut && b->is_shut) {
        pair_close(pair);
        return;
    }
    if (!pair->linger && (end_is_finished(a) || end_is_finished(b)))
        pair->linger = sl_timer_new(pair->relay->loop, RELAY_LINGER_MS, pair_linger_over, pair);
    end_arm(a);
    end_arm(b);
}

static void
end_ready(void *data, uint32_t events)
{
    End *end = data;

    /* A layer may have waited for room to write before it could read. */
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) || sl_stream_has_layer(end->stream))
        end->may_read = true;
    if (events & (EPOLLHUP | EPOLLERR)) {
        end->is_hung = true;
        end_drop_unsent(end);
    }
    pair_work(end->pair);
}

static void
pair_start(void *data)
{
    Pair *pair = data;

    if (!sl_relay_add(pair->relay, &pair->item)) {
        pair_free(pair);
        return;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(pair->ends); i++)
        pair->ends[i].watch = sl_watch_new(pair->relay->loop, sl_stream_get_fd(pair->ends[i].stream), 0,
                                           end_ready, &pair->ends[i]);
    pair_work(pair);
}

void
sl_relay_join(SlRelay *relay, SlStream *a, SlStream *b)
{
    Pair *pair = g_new0(Pair, 1);

    pair->item.abort = pair_abort;
    pair->relay = sl_relay_ref(relay);
    pair->ends[0] = (End){ .pair = pair, .stream = a, .may_read = true };
    pair->ends[1] = (End){ .pair = pair, .stream = b, .may_read = true };
    atomic_fetch_add(&relay->n_open, 1);
    sl_loop_post(relay->loop, pair_start, pair);
}
