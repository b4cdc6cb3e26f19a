/*
 * Events: stored (bounded), replayed by since/until across restarts, fanned out to every reader at once.
 */
#pragma once

#include "api/filters.h"
#include "backends/core/store.h"
#include "net/http_server.h"

#include <jansson.h>

typedef struct SlEvents SlEvents;

/* store is borrowed. */
SlEvents *sl_events_new(SlStore *store);
void sl_events_free(SlEvents *events);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SlEvents, sl_events_free)

/*
 * Notes an event: type "container", action "start", the actor's id and attributes (taken; strings, may be NULL). It is stored with the next
 * sl_events_commit of anybody, or by itself within 100 ms, and told to readers after that. Any thread.
 */
void sl_events_emit(SlEvents *events, const char *type, const char *action, const char *actor_id,
                    json_t *attributes);

/* Commits changes and all noted events in one transaction, then tells the readers. The way every state change is stored: an event that was emitted by the caller before is
 * never seen before the change is durable, nor lost when it is. */
bool sl_events_commit(SlEvents *events, const SlStoreChange *changes, size_t n, GError **error);

/* GET /events?since&until&filters: a chunked feed of JSON lines; ends at until. */
bool sl_events_serve(SlEvents *events, SlCall *call, GError **error);

/*
 * One reader: matching events are put into queue, as lines. It is registered at once, but gets nothing before sl_event_reader_go_live, so that what is stored
 * can be put first: neither gap nor double. filters is taken, queue referenced. Any thread.
 */
typedef struct SlEventReader SlEventReader;
SlEventReader *sl_event_reader_new(SlEvents *events, DkFilters *filters, SlQueue *queue);
/* Puts stored events with since_ns <= time <= until_ns. Blocks. */
bool sl_event_reader_replay(SlEventReader *reader, int64_t since_ns, int64_t until_ns, GError **error);
/* From here on events come as they happen; those that did since the reader was made come first. */
void sl_event_reader_go_live(SlEventReader *reader);
/* Unregisters; the queue is left as it is. */
void sl_event_reader_free(SlEventReader *reader);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SlEventReader, sl_event_reader_free)
