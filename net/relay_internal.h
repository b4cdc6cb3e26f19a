/* What the relay's files share. Everything here runs on the loop's thread unless it says otherwise. */
#pragma once

#include "common/thread.h"
#include "net/relay.h"

#include <stdatomic.h>

enum {
    RELAY_SCRATCH = 64 * 1024,
    RELAY_BUDGET = 1024 * 1024, /* bytes a stream may move before others get their turn */
    RELAY_LINGER_MS = 2000,     /* for the other side to close: closing first could destroy unread output */
};

/* A pair or a feed in the relay's list of what is open. */
typedef struct RelayItem RelayItem;
struct RelayItem {
    RelayItem *prev, *next;
    void (*abort)(RelayItem *item); /* closes, removes and frees it */
};

struct SlRelay {
    atomic_int refs;
    atomic_uint n_open;
    SlLoop *loop;
    RelayItem open; /* the list's anchor */
    char *scratch;

    pthread_mutex_t lock; /* of what follows */
    bool is_closed;
    SlFeed *first_kicked, **last_kicked;
};

/* Any thread. */
SlRelay *sl_relay_ref(SlRelay *relay);
void sl_relay_unref(SlRelay *relay);
/* False, and nothing happens, when the relay has been closed. */
bool sl_relay_add(SlRelay *relay, RelayItem *item);
void sl_relay_remove(SlRelay *relay, RelayItem *item);

/* Runs the feeds that were kicked since. */
void sl_relay_run_kicked(void *relay);
/* Any thread: ends the feed at once, broken. */
void sl_feed_break(SlFeed *feed);
