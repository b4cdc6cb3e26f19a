#include "backends/core/channel.h"

#include <stdatomic.h>

struct SlChannel {
    atomic_int refs;
    SlLink *link;
    uint32_t number;
    SlFeed *feed;

    GQueue output; /* of GBytes *, received and not pulled */
    GBytes *pulled;
    uint64_t received, promised; /* promised: the window that the agent knows of */
    bool is_over, drops_output;

    uint64_t sent, granted;
    bool is_input_ended;
};

SlChannel *
sl_channel_new(SlLink *link, uint32_t number)
{
    SlChannel *channel = g_new0(SlChannel, 1);

    channel->refs = 1;
    channel->link = sl_link_ref(link);
    channel->number = number;
    channel->promised = channel->granted = SL_AGENT_WINDOW;
    return channel;
}

SlChannel *
sl_channel_ref(SlChannel *channel)
{
    atomic_fetch_add(&channel->refs, 1);
    return channel;
}

void
sl_channel_unref(SlChannel *channel)
{
    if (!channel || atomic_fetch_sub(&channel->refs, 1) != 1)
        return;
    g_clear_pointer(&channel->feed, sl_feed_unref);
    g_queue_clear_full(&channel->output, (GDestroyNotify)g_bytes_unref);
    g_clear_pointer(&channel->pulled, g_bytes_unref);
    sl_link_unref(channel->link);
    g_free(channel);
}

static void
kick(SlChannel *channel)
{
    if (channel->feed)
        sl_feed_kick(channel->feed);
}

/* Lets the agent send on, in steps of half a window: a message for every chunk would cost more than the chunk. */
static void
promise_more(SlChannel *channel, size_t n_waiting)
{
    uint64_t window = channel->received - n_waiting + SL_AGENT_WINDOW;

    if (window < channel->promised + SL_AGENT_WINDOW / 2)
        return;
    channel->promised = window;
    sl_link_send_frame(channel->link, SL_AGENT_WINDOW_TO, channel->number, window, NULL, 0);
}

static size_t
n_waiting(const SlChannel *channel)
{
    size_t n = 0;

    for (const GList *item = channel->output.head; item; item = item->next)
        n += g_bytes_get_size(item->data);
    return n;
}

void
sl_channel_set_feed(SlChannel *channel, SlFeed *feed)
{
    g_clear_pointer(&channel->feed, sl_feed_unref);
    channel->drops_output = !feed;
    if (feed)
        channel->feed = sl_feed_ref(feed);
    else
        g_queue_clear_full(&channel->output, (GDestroyNotify)g_bytes_unref);
    promise_more(channel, n_waiting(channel));
    kick(channel);
}

void
sl_channel_resume(SlChannel *channel, uint64_t sent)
{
    channel->sent = sent;
    /* What the agent holds and the process has not taken counts as well: its next frame after hello says how far its window goes. */
    channel->granted = sent;
}

SlPull
sl_channel_pull(SlChannel *channel, SlPiece *ret_piece)
{
    gsize n;

    g_clear_pointer(&channel->pulled, g_bytes_unref);
    promise_more(channel, n_waiting(channel));
    channel->pulled = g_queue_pop_head(&channel->output);
    if (!channel->pulled)
        return channel->is_over ? SL_PULL_END : SL_PULL_WAIT;
    *ret_piece = (SlPiece){ .data = g_bytes_get_data(channel->pulled, &n) };
    ret_piece->n = n;
    return SL_PULL_PIECE;
}

size_t
sl_channel_push(SlChannel *channel, const void *data, size_t n)
{
    size_t taken = 0;

    if (channel->is_over || channel->is_input_ended)
        return n; /* nobody reads it any more */
    while (taken < n && channel->sent < channel->granted) {
        size_t step = MIN(MIN(n - taken, SL_AGENT_MAX_PAYLOAD), channel->granted - channel->sent);

        sl_link_send_frame(channel->link, SL_AGENT_DATA, channel->number, channel->sent,
                           (const uint8_t *)data + taken, step);
        channel->sent += step;
        taken += step;
    }
    return taken;
}

void
sl_channel_push_eof(SlChannel *channel)
{
    if (channel->is_over || channel->is_input_ended)
        return;
    channel->is_input_ended = true;
    sl_link_send_frame(channel->link, SL_AGENT_END, channel->number, channel->sent, NULL, 0);
}

size_t
sl_channel_room(const SlChannel *channel)
{
    return channel->is_over || channel->is_input_ended ? SIZE_MAX : channel->granted - channel->sent;
}

void
sl_channel_end_feed(SlChannel *channel)
{
    if (channel->feed)
        sl_feed_end(channel->feed);
}

void
sl_channel_receive(SlChannel *channel, uint64_t offset, const uint8_t *data, size_t n)
{
    if (offset != channel->received || n == 0)
        return; /* sent twice by an agent that resumed */
    channel->received += n;
    if (channel->drops_output) {
        promise_more(channel, 0);
        return;
    }
    g_queue_push_tail(&channel->output, g_bytes_new(data, n));
    kick(channel);
}

void
sl_channel_granted(SlChannel *channel, uint64_t offset)
{
    channel->granted = MAX(channel->granted, offset);
    kick(channel);
}

void
sl_channel_over(SlChannel *channel)
{
    channel->is_over = true;
    kick(channel);
}
