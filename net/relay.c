#include "net/relay.h"

#include "net/relay_internal.h"

SlRelay *
sl_relay_new(SlLoop *loop)
{
    SlRelay *relay = g_new0(SlRelay, 1);

    relay->refs = 1;
    relay->loop = loop;
    relay->open.next = relay->open.prev = &relay->open;
    relay->scratch = g_malloc(RELAY_SCRATCH);
    relay->last_kicked = &relay->first_kicked;
    pthread_mutex_init(&relay->lock, NULL);
    return relay;
}

SlRelay *
sl_relay_ref(SlRelay *relay)
{
    atomic_fetch_add(&relay->refs, 1);
    return relay;
}

void
sl_relay_unref(SlRelay *relay)
{
    if (atomic_fetch_sub(&relay->refs, 1) != 1)
        return;
    pthread_mutex_destroy(&relay->lock);
    g_free(relay->scratch);
    g_free(relay);
}

static bool
relay_is_closed(SlRelay *relay)
{
    SL_LOCK_GUARD(&relay->lock);

    return relay->is_closed;
}

bool
sl_relay_add(SlRelay *relay, RelayItem *item)
{
    if (relay_is_closed(relay))
        return false;
    item->prev = relay->open.prev;
    item->next = &relay->open;
    item->prev->next = item->next->prev = item;
    return true;
}

void
sl_relay_remove(SlRelay *relay, RelayItem *item)
{
    item->prev->next = item->next;
    item->next->prev = item->prev;
}

unsigned
sl_relay_n_open(SlRelay *relay)
{
    return atomic_load(&relay->n_open);
}

static void
close_all(SlRelay *relay)
{
    /* Feeds that were handed over and never ran are among the kicked: they are started, so that they can be
     * ended. */
    sl_relay_run_kicked(sl_relay_ref(relay));
    pthread_mutex_lock(&relay->lock);
    relay->is_closed = true;
    pthread_mutex_unlock(&relay->lock);
    while (relay->open.next != &relay->open)
        relay->open.next->abort(relay->open.next);
    /* What was handed over in between finds the relay closed. */
    sl_relay_run_kicked(sl_relay_ref(relay));
}

typedef struct Closing {
    SlRelay *relay;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool is_done;
} Closing;

static void
close_for_other_thread(void *data)
{
    Closing *closing = data;

    close_all(closing->relay);
    SL_LOCK_GUARD(&closing->lock);
    closing->is_done = true;
    pthread_cond_signal(&closing->changed);
}

void
sl_relay_free(SlRelay *relay)
{
    Closing closing = { .relay = relay };

    if (!relay)
        return;
    if (sl_loop_is_current(relay->loop)) {
        close_all(relay);
        sl_relay_unref(relay);
        return;
    }
    pthread_mutex_init(&closing.lock, NULL);
    pthread_cond_init(&closing.changed, NULL);
    sl_loop_post(relay->loop, close_for_other_thread, &closing);
    pthread_mutex_lock(&closing.lock);
    while (!closing.is_done)
        pthread_cond_wait(&closing.changed, &closing.lock);
    pthread_mutex_unlock(&closing.lock);
    pthread_cond_destroy(&closing.changed);
    pthread_mutex_destroy(&closing.lock);
    sl_relay_unref(relay);
}
