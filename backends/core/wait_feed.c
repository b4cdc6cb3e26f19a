#include "backends/core/wait_feed.h"

#include <string.h>

typedef struct WaitFeed {
    atomic_int refs; /* the feed's; the waiter's until it has told; the maker's */
    SlContainer *container;
    atomic_uint number; /* of the waiter; 0: told, or not known yet */
    pthread_mutex_t lock;
    SlFeed *feed; /* NULL until it is made */
    char *answer; /* NULL until told */
    bool is_sent; /* the loop's */
} WaitFeed;

static void
wait_feed_unref(WaitFeed *wait)
{
    if (atomic_fetch_sub(&wait->refs, 1) != 1)
        return;
    sl_container_unref(wait->container);
    sl_feed_unref(wait->feed);
    pthread_mutex_destroy(&wait->lock);
    g_free(wait->answer);
    g_free(wait);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(WaitFeed, wait_feed_unref)

static SlPull
wait_pull(void *user, SlPiece *ret_piece)
{
    WaitFeed *wait = user;
    SL_LOCK_GUARD(&wait->lock);

    if (!wait->answer)
        return SL_PULL_WAIT;
    if (wait->is_sent)
        return SL_PULL_END;
    wait->is_sent = true;
    *ret_piece = (SlPiece){ .data = wait->answer, .n = strlen(wait->answer) };
    return SL_PULL_PIECE;
}

static void
wait_done(void *user, bool is_broken)
{
    WaitFeed *wait = user;
    unsigned number = atomic_exchange(&wait->number, 0);

    if (number > 0 && sl_container_unwait(wait->container, number))
        wait_feed_unref(wait); /* the waiter's */
    wait_feed_unref(wait);
}

static const SlFeedOps wait_ops = { .pull = wait_pull, .done = wait_done };

static void
wait_tell(void *user, int exit_code, const char *message)
{
    g_autoptr(WaitFeed) wait = user;
    g_autoptr(json_t) answer = json_pack("{s:i}", "StatusCode", exit_code);
    g_autofree char *text = NULL;
    g_autoptr(SlFeed) feed = NULL;

    if (message && *message)
        json_object_set_new(answer, "Error", json_pack("{s:s}", "Message", message));
    text = sl_json_dump(answer);
    pthread_mutex_lock(&wait->lock);
    wait->answer = g_strconcat(text, "\n", NULL);
    if (wait->feed)
        feed = sl_feed_ref(wait->feed);
    pthread_mutex_unlock(&wait->lock);
    if (feed)
        sl_feed_kick(feed);
}

bool
sl_wait_serve(SlContainer *container, SlCall *call, SlWaitFor wait_for, GError **error)
{
    g_autoptr(WaitFeed) wait = g_new0(WaitFeed, 1);
    SlFeed *feed;
    unsigned number;

    wait->refs = 3;
    wait->container = sl_container_ref(container);
    pthread_mutex_init(&wait->lock, NULL);
    number = sl_container_wait(container, wait_for, wait_tell, wait);

    feed = sl_call_feed(call, SL_FRAMING_CHUNKED, "application/json", &wait_ops, wait, error);
    if (!feed) {
        if (number > 0 && sl_container_unwait(container, number))
            wait_feed_unref(wait); /* the waiter's */
        wait_feed_unref(wait);     /* the feed's */
        return false;
    }
    pthread_mutex_lock(&wait->lock);
    wait->feed = feed;
    pthread_mutex_unlock(&wait->lock);
    atomic_store(&wait->number, number);
    sl_feed_kick(feed); /* for an answer that came before the feed was known */
    return true;
}
