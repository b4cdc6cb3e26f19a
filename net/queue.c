/* A feed's source made of shared blocks. */
#include "net/relay_internal.h"

typedef struct Block {
    GBytes *bytes;
    struct Block *next;
} Block;

struct SlQueue {
    atomic_int refs;
    size_t limit_bytes;
    GBytes *sending; /* the relay's: lent to the feed until the next pull */

    pthread_mutex_t lock; /* of what follows */
    Block *first, **last;
    size_t n_bytes; /* not taken by the client yet */
    bool is_closed; /* no more blocks */
    bool is_cut;    /* the reader was too slow */
    bool is_over;   /* the feed is */
    SlFeed *feed;
};

static SlPull queue_pull(void *user, SlPiece *ret_piece);
static void queue_done(void *user, bool is_broken);

const SlFeedOps sl_queue_ops = { .pull = queue_pull, .done = queue_done };

SlQueue *
sl_queue_new(size_t limit_bytes)
{
    SlQueue *queue = g_new0(SlQueue, 1);

    queue->refs = 1;
    queue->limit_bytes = limit_bytes;
    queue->last = &queue->first;
    pthread_mutex_init(&queue->lock, NULL);
    return queue;
}

SlQueue *
sl_queue_ref(SlQueue *queue)
{
    atomic_fetch_add(&queue->refs, 1);
    return queue;
}

static void
drop_blocks(SlQueue *queue)
{
    for (Block *block; (block = queue->first);) {
        queue->first = block->next;
        g_bytes_unref(block->bytes);
        g_free(block);
    }
    queue->last = &queue->first;
}

void
sl_queue_unref(SlQueue *queue)
{
    if (!queue || atomic_fetch_sub(&queue->refs, 1) != 1)
        return;
    drop_blocks(queue);
    g_clear_pointer(&queue->sending, g_bytes_unref);
    pthread_mutex_destroy(&queue->lock);
    g_free(queue);
}

static GBytes *
take_first(SlQueue *queue)
{
    Block *block = queue->first;
    GBytes *bytes = block->bytes;

    queue->first = block->next;
    if (!queue->first)
        queue->last = &queue->first;
    g_free(block);
    return bytes;
}

static SlPull
queue_pull(void *user, SlPiece *ret_piece)
{
    SlQueue *queue = user;

    SL_LOCK_GUARD(&queue->lock);
    if (queue->sending) {
        queue->n_bytes -= g_bytes_get_size(queue->sending);
        g_clear_pointer(&queue->sending, g_bytes_unref);
    }
    if (queue->is_cut)
        return SL_PULL_WAIT;
    if (!queue->first)
        return queue->is_closed ? SL_PULL_END : SL_PULL_WAIT;
    queue->sending = take_first(queue);
    *ret_piece =
        (SlPiece){ .data = g_bytes_get_data(queue->sending, NULL), .n = g_bytes_get_size(queue->sending) };
    return SL_PULL_PIECE;
}

static void
queue_done(void *user, bool is_broken)
{
    SlQueue *queue = user;
    SlFeed *feed;

    pthread_mutex_lock(&queue->lock);
    queue->is_over = true;
    drop_blocks(queue);
    feed = g_steal_pointer(&queue->feed);
    pthread_mutex_unlock(&queue->lock);
    if (!feed)
        return; /* sl_queue_set_feed comes later and finds it over */
    sl_feed_unref(feed);
    sl_queue_unref(queue);
}

void
sl_queue_set_feed(SlQueue *queue, SlFeed *feed)
{
    SL_LOCK_GUARD(&queue->lock);

    if (queue->is_over)
        return;
    queue->feed = sl_feed_ref(feed);
    sl_queue_ref(queue); /* the feed's, until it is done */
    if (queue->is_cut)
        sl_feed_break(feed);
    else
        sl_feed_kick(feed);
}

bool
sl_queue_put(SlQueue *queue, GBytes *bytes)
{
    size_t n = g_bytes_get_size(bytes);
    Block *block;

    SL_LOCK_GUARD(&queue->lock);
    if (queue->is_over || queue->is_cut || queue->is_closed)
        return false;
    if (n == 0)
        return true;
    if (n > queue->limit_bytes - queue->n_bytes) {
        queue->is_cut = true;
        drop_blocks(queue);
        if (queue->feed)
            sl_feed_break(queue->feed);
        return false;
    }
    block = g_new(Block, 1);
    *block = (Block){ .bytes = g_bytes_ref(bytes) };
    *queue->last = block;
    queue->last = &block->next;
    queue->n_bytes += n;
    if (queue->feed)
        sl_feed_kick(queue->feed);
    return true;
}

void
sl_queue_close(SlQueue *queue)
{
    SL_LOCK_GUARD(&queue->lock);

    queue->is_closed = true;
    if (queue->feed)
        sl_feed_kick(queue->feed);
}

bool
sl_queue_is_over(SlQueue *queue)
{
    SL_LOCK_GUARD(&queue->lock);

    return queue->is_over;
}
