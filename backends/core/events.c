#include "backends/core/events.h"

#include "backends/core/event_filter.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/thread.h"

#include <stdatomic.h>
#include <string.h>

enum {
    FLUSH_MS = 50, /* looked at this often, and left alone that long: no event waits for twice as long */
    REPLAY_BLOCK = 64 * 1024,
};

typedef struct Event {
    atomic_int refs;
    int64_t time_ns;
    int64_t noted_ms;
    pthread_t thread; /* which noted it */
    json_t *document;
    GBytes *line; /* with its line break */
    char *text;   /* without */
    bool is_over; /* stored, or lost; events->lock */
    bool is_lost;
} Event;

struct SlEvents {
    atomic_int refs; /* the owner's, each reader's */
    SlStore *store;

    pthread_mutex_t readers_lock; /* of readers and told_ns; before lock */
    GPtrArray *readers;           /* borrowed */
    int64_t told_ns;              /* all events up to here have been told */

    pthread_mutex_t lock;
    pthread_cond_t wake; /* of the flusher */
    int64_t last_ns;
    GPtrArray *noted; /* not in any commit yet; borrowed from untold */
    GQueue untold;    /* noted or being committed, in the order of time; owned */
    pthread_t flusher;
    bool has_flusher, is_parked, is_closing;
};

struct SlEventReader {
    SlEvents *events;
    DkFilters *filters;
    SlQueue *queue;
    int64_t replay_until_ns; /* what came later is told */
    bool is_live;
    GQueue held; /* Event, until it is live */
};

static void
event_unref(void *data)
{
    Event *event = data;

    if (atomic_fetch_sub(&event->refs, 1) != 1)
        return;
    json_decref(event->document);
    g_bytes_unref(event->line);
    g_free(event->text);
    g_free(event);
}

static void
events_unref(SlEvents *events)
{
    if (atomic_fetch_sub(&events->refs, 1) != 1)
        return;
    g_queue_clear_full(&events->untold, event_unref);
    g_ptr_array_unref(events->noted);
    g_ptr_array_unref(events->readers);
    pthread_cond_destroy(&events->wake);
    pthread_mutex_destroy(&events->lock);
    pthread_mutex_destroy(&events->readers_lock);
    g_free(events);
}

SlEvents *
sl_events_new(SlStore *store)
{
    SlEvents *events = g_new0(SlEvents, 1);
    pthread_condattr_t attr;

    events->refs = 1;
    events->store = store;
    events->last_ns = events->told_ns = sl_store_last_event_ns(store);
    events->noted = g_ptr_array_new();
    events->readers = g_ptr_array_new();
    g_queue_init(&events->untold);
    pthread_mutex_init(&events->readers_lock, NULL);
    pthread_mutex_init(&events->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&events->wake, &attr);
    pthread_condattr_destroy(&attr);
    return events;
}

/* ---- telling ---- */

/* Later events wait for an earlier one that is still being committed: readers see them in the order of time, and all up to told_ns is stored. */
static Event *
pop_told(SlEvents *events)
{
    SL_LOCK_GUARD(&events->lock);
    Event *event = g_queue_peek_head(&events->untold);

    return event && event->is_over ? g_queue_pop_head(&events->untold) : NULL;
}

static void
tell_reader(SlEventReader *reader, Event *event)
{
    if (!sl_event_matches(reader->filters, event->document))
        return;
    if (reader->is_live) {
        sl_queue_put(reader->queue, event->line); /* a reader that has gone is taken out by its owner */
    } else {
        atomic_fetch_add(&event->refs, 1);
        g_queue_push_tail(&reader->held, event);
    }
}

static void
tell(SlEvents *events)
{
    Event *event;

    SL_LOCK_GUARD(&events->readers_lock);
    while ((event = pop_told(events))) {
        for (guint i = 0; !event->is_lost && i < events->readers->len; i++)
            tell_reader(events->readers->pdata[i], event);
        events->told_ns = event->time_ns;
        event_unref(event);
    }
}

/* ---- committing ---- */

static GPtrArray *
take_noted(SlEvents *events)
{
    SL_LOCK_GUARD(&events->lock);
    GPtrArray *taken = events->noted;

    events->noted = g_ptr_array_new();
    return taken;
}

static bool
commit_events(SlEvents *events, const SlStoreChange *changes, size_t n, const GPtrArray *batch,
              GError **error)
{
    g_autofree SlStoreEvent *rows = g_new(SlStoreEvent, batch->len);

    for (guint i = 0; i < batch->len; i++) {
        const Event *event = batch->pdata[i];

        rows[i] = (SlStoreEvent){ .time_ns = event->time_ns, .json = event->text };
    }
    return sl_store_commit(events->store, changes, n, rows, batch->len, error);
}

/* The caller's change could not be stored, and with it what the caller noted; what others noted happened all the same. */
static void
commit_of_others(SlEvents *events, const GPtrArray *batch)
{
    g_autoptr(GPtrArray) others = g_ptr_array_new();
    g_autoptr(GError) error = NULL;

    for (guint i = 0; i < batch->len; i++) {
        Event *event = batch->pdata[i];

        event->is_lost = pthread_equal(event->thread, pthread_self());
        if (!event->is_lost)
            g_ptr_array_add(others, event);
    }
    if (others->len == 0 || commit_events(events, NULL, 0, others, &error))
        return;
    sl_error("events could not be stored n=%u error=\"%s\"", others->len, error->message);
    for (guint i = 0; i < others->len; i++)
        ((Event *)others->pdata[i])->is_lost = true;
}

static void
mark_over(SlEvents *events, const GPtrArray *batch)
{
    SL_LOCK_GUARD(&events->lock);

    for (guint i = 0; i < batch->len; i++)
        ((Event *)batch->pdata[i])->is_over = true;
}

bool
sl_events_commit(SlEvents *events, const SlStoreChange *changes, size_t n, GError **error)
{
    g_autoptr(GPtrArray) batch = take_noted(events);
    bool is_stored = commit_events(events, changes, n, batch, error);

    if (batch->len == 0)
        return is_stored;
    if (!is_stored)
        commit_of_others(events, batch);
    mark_over(events, batch);
    tell(events);
    return is_stored;
}

/* ---- noting ---- */

/* Waits FLUSH_MS. Whether the oldest noted event has waited that long; lock held. */
static bool
flush_wait(SlEvents *events)
{
    int64_t until_ns = sl_clock_monotonic_ns() + FLUSH_MS * INT64_C(1000000);
    struct timespec until = { .tv_sec = until_ns / 1000000000, .tv_nsec = until_ns % 1000000000 };
    const Event *oldest;

    if (!events->is_closing)
        pthread_cond_timedwait(&events->wake, &events->lock, &until);
    oldest = events->noted->len > 0 ? events->noted->pdata[0] : NULL;
    return oldest && (events->is_closing || sl_clock_monotonic_ms() - oldest->noted_ms >= FLUSH_MS);
}

/* Stores what nobody else's commit took along. It lasts and is woken only when it parks: a busy daemon, whose commits take the events along, wakes it
 * once every FLUSH_MS at most. */
static void *
flush_loop(void *data)
{
    SlEvents *events = data;

    pthread_mutex_lock(&events->lock);
    while (!events->is_closing || events->noted->len > 0) {
        g_autoptr(GError) error = NULL;

        if (events->noted->len == 0) {
            events->is_parked = true;
            pthread_cond_wait(&events->wake, &events->lock);
            events->is_parked = false;
            continue;
        }
        if (!flush_wait(events))
            continue;
        pthread_mutex_unlock(&events->lock);
        if (!sl_events_commit(events, NULL, 0, &error))
            sl_warn("flushing events failed error=\"%s\"", error->message);
        pthread_mutex_lock(&events->lock);
    }
    pthread_mutex_unlock(&events->lock);
    return NULL;
}

/* Lock held. The first event starts the flusher. False: there is no thread to be had, the caller stores by itself. */
static bool
wake_flusher(SlEvents *events)
{
    g_autoptr(GError) error = NULL;

    if (!events->has_flusher)
        events->has_flusher = sl_thread_start("events", flush_loop, events, &events->flusher, &error);
    else if (events->is_parked)
        pthread_cond_signal(&events->wake);
    if (error)
        sl_warn("storing an event at once error=\"%s\"", error->message);
    return events->has_flusher;
}

static int
compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Keys sorted, as Go prints a map; values that are not strings are left out. Takes attributes. */
static json_t *
attributes_sorted(json_t *attributes)
{
    json_t *sorted = json_object();
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    const char *name;
    json_t *value;

    json_object_foreach(attributes, name, value) {
        if (json_is_string(value))
            g_ptr_array_add(names, (void *)(uintptr_t)name);
    }
    g_ptr_array_sort(names, compare_names);
    for (guint i = 0; i < names->len; i++)
        json_object_set(sorted, names->pdata[i], json_object_get(attributes, names->pdata[i]));
    json_decref(attributes);
    return sorted;
}

/* Docker's form, keys in its order. status, id and from are what clients older than API 1.22 read; newer engines still send them. */
static json_t *
event_document(const char *type, const char *action, const char *actor_id, json_t *attributes)
{
    json_t *document = json_object();
    bool has_old_form = strcmp(type, "container") == 0 || strcmp(type, "image") == 0;
    const char *image = json_string_value(json_object_get(attributes, "image"));

    if (has_old_form) {
        json_object_set_new(document, "status", json_string(action));
        json_object_set_new(document, "id", json_string(actor_id));
        if (image && strcmp(type, "container") == 0)
            json_object_set_new(document, "from", json_string(image));
    }
    json_object_set_new(document, "Type", json_string(type));
    json_object_set_new(document, "Action", json_string(action));
    json_object_set_new(document, "Actor",
                        json_pack("{s:s, s:o}", "ID", actor_id, "Attributes", attributes_sorted(attributes)));
    json_object_set_new(document, "scope", json_string("local"));
    return document;
}

static void
event_set_time(Event *event, int64_t time_ns)
{
    event->time_ns = time_ns;
    json_object_set_new(event->document, "time", json_integer(time_ns / 1000000000));
    json_object_set_new(event->document, "timeNano", json_integer(time_ns));
    event->text = sl_json_dump(event->document);
    event->line = g_bytes_new_take(g_strconcat(event->text, "\n", NULL), strlen(event->text) + 1);
}

void
sl_events_emit(SlEvents *events, const char *type, const char *action, const char *actor_id,
               json_t *attributes)
{
    Event *event = g_new0(Event, 1);
    bool is_flushed;

    event->refs = 1;
    event->thread = pthread_self();
    event->document =
        event_document(type, action, actor_id ? actor_id : "", attributes ? attributes : json_object());
    event->noted_ms = sl_clock_monotonic_ms();

    pthread_mutex_lock(&events->lock);
    events->last_ns = MAX(events->last_ns + 1, sl_clock_now_ns());
    event_set_time(event, events->last_ns);
    g_ptr_array_add(events->noted, event);
    g_queue_push_tail(&events->untold, event);
    is_flushed = wake_flusher(events);
    pthread_mutex_unlock(&events->lock);
    if (!is_flushed)
        sl_events_commit(events, NULL, 0, NULL);
}

void
sl_events_free(SlEvents *events)
{
    bool has_flusher;

    pthread_mutex_lock(&events->lock);
    events->is_closing = true;
    has_flusher = events->has_flusher;
    pthread_cond_signal(&events->wake);
    pthread_mutex_unlock(&events->lock);
    if (has_flusher)
        pthread_join(events->flusher, NULL);

    pthread_mutex_lock(&events->readers_lock);
    for (guint i = 0; i < events->readers->len; i++)
        sl_queue_close(((SlEventReader *)events->readers->pdata[i])->queue);
    pthread_mutex_unlock(&events->readers_lock);
    events_unref(events);
}

/* ---- readers ---- */

SlEventReader *
sl_event_reader_new(SlEvents *events, DkFilters *filters, SlQueue *queue)
{
    SlEventReader *reader = g_new0(SlEventReader, 1);

    reader->events = events;
    reader->filters = filters;
    reader->queue = sl_queue_ref(queue);
    g_queue_init(&reader->held);
    atomic_fetch_add(&events->refs, 1);

    SL_LOCK_GUARD(&events->readers_lock);
    reader->replay_until_ns = events->told_ns;
    g_ptr_array_add(events->readers, reader);
    return reader;
}

void
sl_event_reader_free(SlEventReader *reader)
{
    SlEvents *events = reader->events;

    pthread_mutex_lock(&events->readers_lock);
    g_ptr_array_remove_fast(events->readers, reader);
    pthread_mutex_unlock(&events->readers_lock);
    g_queue_clear_full(&reader->held, event_unref);
    dk_filters_free(reader->filters);
    sl_queue_unref(reader->queue);
    g_free(reader);
    events_unref(events);
}

typedef struct Replay {
    SlEventReader *reader;
    GString *block;
} Replay;

static void
replay_put(Replay *replay)
{
    if (replay->block->len > 0) {
        g_autoptr(GBytes) bytes = g_bytes_new(replay->block->str, replay->block->len);

        sl_queue_put(replay->reader->queue, bytes);
        g_string_truncate(replay->block, 0);
    }
}

static void
replay_event(void *user, int64_t time_ns, const char *json)
{
    Replay *replay = user;
    const DkFilters *filters = replay->reader->filters;

    if (!dk_filters_is_empty(filters)) {
        g_autoptr(json_t) document = json_loads(json, 0, NULL);

        if (!document || !sl_event_matches(filters, document))
            return;
    }
    g_string_append(replay->block, json);
    g_string_append_c(replay->block, '\n');
    if (replay->block->len >= REPLAY_BLOCK)
        replay_put(replay);
}

bool
sl_event_reader_replay(SlEventReader *reader, int64_t since_ns, int64_t until_ns, GError **error)
{
    g_autoptr(GString) block = g_string_new(NULL);
    Replay replay = { .reader = reader, .block = block };

    if (!sl_store_each_event(reader->events->store, since_ns, MIN(until_ns, reader->replay_until_ns),
                             replay_event, &replay, error))
        return false;
    replay_put(&replay);
    return true;
}

void
sl_event_reader_go_live(SlEventReader *reader)
{
    Event *event;

    SL_LOCK_GUARD(&reader->events->readers_lock);
    reader->is_live = true;
    while ((event = g_queue_pop_head(&reader->held))) {
        sl_queue_put(reader->queue, event->line);
        event_unref(event);
    }
}
