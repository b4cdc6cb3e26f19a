#include "backends/core/store_internal.h"

#include "common/failpoint.h"
#include "common/log.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

enum {
    MAX_EVENTS = 100000,
    TRIM_EVERY = 1000, /* rows above MAX_EVENTS before they are trimmed: the trim walks the table */
    PAGE_ROWS = 256,   /* read at once, so that no lock is held in a caller's callback */
};

/* One sl_store_commit, on its caller's stack. */
struct SlStoreMember {
    const SlStoreChange *changes;
    const SlStoreEvent *events;
    size_t n_changes, n_events;
    GError *error;
    bool is_done;
    pthread_cond_t woken; /* done, or the next to lead */
    SlStoreMember *next;
};

typedef sqlite3_stmt Row;

static void
row_reset(Row **row)
{
    sqlite3_reset(*row);
    sqlite3_clear_bindings(*row);
}

/* Resets at the end of the scope: a statement that is not reset keeps its transaction open. */
#define AUTO_RESET __attribute__((cleanup(row_reset)))

static SlErrorCode
error_code(sqlite3 *db)
{
    switch (sqlite3_errcode(db)) {
    case SQLITE_FULL:
        return SL_ERROR_NO_SPACE;
    case SQLITE_NOMEM:
    case SQLITE_CANTOPEN: /* of its own files, that are there: no descriptor is left */
    case SQLITE_BUSY:
        return SL_ERROR_UNAVAILABLE;
    default:
        return SL_ERROR_SYSTEM;
    }
}

bool
sl_store_fail(sqlite3 *db, const char *what, GError **error)
{
    return sl_fail(error, error_code(db), "%s: %s", what, sqlite3_errmsg(db));
}

int64_t
sl_store_sum(const char *text, size_t n)
{
    const uint64_t odd = UINT64_C(0x9e3779b97f4a7c15);
    uint64_t sum = n * odd;

    for (uint64_t word; n > 0; text += sizeof word) {
        size_t taken = MIN(n, sizeof word);

        word = 0;
        memcpy(&word, text, taken);
        sum = (sum ^ word) * odd;
        sum ^= sum >> 29;
        n -= taken;
    }
    return (int64_t)(sum >> 1);
}

/* ---- committing ---- */

static bool
fail_injected(GError **error)
{
    return sl_fail_errno(error, errno, "storing state");
}

bool
sl_store_run(SlStore *store, SlStoreStatement which, GError **error)
{
    AUTO_RESET Row *row = store->writes[which];

    return sqlite3_step(row) == SQLITE_DONE || sl_store_fail(store->db, "storing state", error);
}

bool
sl_store_apply(SlStore *store, const SlStoreChange *change, GError **error)
{
    AUTO_RESET Row *row = store->writes[change->document ? SL_STORE_PUT : SL_STORE_DELETE];
    bool is_bound = sqlite3_bind_text(row, 1, change->kind, -1, SQLITE_STATIC) == SQLITE_OK &&
                    sqlite3_bind_text(row, 2, change->id, -1, SQLITE_STATIC) == SQLITE_OK;

    if (is_bound && change->document) {
        size_t n = strlen(change->document);

        is_bound = n <= INT_MAX &&
                   sqlite3_bind_text(row, 3, change->document, (int)n, SQLITE_STATIC) == SQLITE_OK &&
                   sqlite3_bind_int64(row, 4, sl_store_sum(change->document, n)) == SQLITE_OK;
    }
    if (is_bound && sqlite3_step(row) == SQLITE_DONE)
        return true;
    return sl_fail(error, error_code(store->db), "storing %s %s: %s", change->kind, change->id,
                   sqlite3_errmsg(store->db));
}

static bool
apply_event(SlStore *store, const SlStoreEvent *event, int64_t *newest_ns, GError **error)
{
    AUTO_RESET Row *row = store->writes[SL_STORE_ADD_EVENT];

    if (sqlite3_bind_int64(row, 1, event->time_ns) != SQLITE_OK ||
        sqlite3_bind_text(row, 2, event->json, -1, SQLITE_STATIC) != SQLITE_OK ||
        sqlite3_step(row) != SQLITE_DONE)
        return sl_store_fail(store->db, "storing an event", error);
    if (sqlite3_changes(store->db) == 1) {
        *newest_ns = MAX(*newest_ns, event->time_ns);
        return true;
    }
    sqlite3_reset(row);
    if (sqlite3_bind_int64(row, 1, ++*newest_ns) != SQLITE_OK || sqlite3_step(row) != SQLITE_DONE)
        return sl_store_fail(store->db, "storing an event", error);
    return true;
}

static bool
trim_events(SlStore *store, int64_t *n_events, GError **error)
{
    AUTO_RESET Row *row = store->writes[SL_STORE_TRIM];

    if (*n_events < MAX_EVENTS + TRIM_EVERY)
        return true;
    if (sqlite3_bind_int64(row, 1, MAX_EVENTS) != SQLITE_OK || sqlite3_step(row) != SQLITE_DONE)
        return sl_store_fail(store->db, "trimming events", error);
    *n_events -= sqlite3_changes(store->db);
    return true;
}

static bool
apply_members(SlStore *store, const SlStoreMember *first, int64_t *n_events, int64_t *newest_ns,
              GError **error)
{
    for (const SlStoreMember *member = first; member; member = member->next) {
        for (size_t i = 0; i < member->n_changes; i++) {
            if (!sl_store_apply(store, &member->changes[i], error))
                return false;
        }
        for (size_t i = 0; i < member->n_events; i++) {
            if (!apply_event(store, &member->events[i], newest_ns, error))
                return false;
        }
        *n_events += (int64_t)member->n_events;
    }
    return trim_events(store, n_events, error);
}

/* From BEGIN to COMMIT. */
static bool
write_members(SlStore *store, const SlStoreMember *first, int64_t *n_events, int64_t *newest_ns,
              GError **error)
{
    if (!sl_failpoint("store.begin.before"))
        return fail_injected(error);
    if (!sl_store_run(store, SL_STORE_BEGIN, error))
        return false;
    if (!sl_failpoint("store.begin.after"))
        return fail_injected(error);
    if (!apply_members(store, first, n_events, newest_ns, error))
        return false;
    if (!sl_failpoint("store.commit.before"))
        return fail_injected(error);
    return sl_store_run(store, SL_STORE_COMMIT, error);
}

/* One transaction. The list ends where first's chain does. */
static bool
commit_members(SlStore *store, const SlStoreMember *first, GError **error)
{
    int64_t n_events = store->n_events, newest_ns = store->newest_ns;

    if (!write_members(store, first, &n_events, &newest_ns, error)) {
        /* A full disk has rolled back already. */
        if (!sqlite3_get_autocommit(store->db))
            sl_store_run(store, SL_STORE_ROLLBACK, NULL);
        return false;
    }
    sl_failpoint("store.commit.after");
    store->n_events = n_events;
    store->newest_ns = newest_ns;
    return true;
}

static void
commit_group(SlStore *store, SlStoreMember *first)
{
    g_autoptr(GError) error = NULL;

    if (commit_members(store, first, &error))
        return;
    if (!first->next) {
        first->error = g_steal_pointer(&error);
        return;
    }
    sl_warn("a group commit failed, trying each change alone error=\"%s\"", error->message);
    for (SlStoreMember *member = first; member; member = member->next) {
        SlStoreMember *next = g_steal_pointer(&member->next);

        commit_members(store, member, &member->error);
        member->next = next;
    }
}

/* Takes everybody who waits, own among them, and commits them without the lock, which is held on entry and return. */
static void
lead(SlStore *store)
{
    SlStoreMember *group = g_steal_pointer(&store->first);

    store->last = &store->first;
    store->is_committing = true;
    pthread_mutex_unlock(&store->lock);
    commit_group(store, group);
    pthread_mutex_lock(&store->lock);
    store->is_committing = false;
    store->last_event_ns = store->newest_ns;
    for (SlStoreMember *member = group, *next; member; member = next) {
        next = member->next; /* a member is gone from its owner's stack as soon as the lock is free */
        member->is_done = true;
        pthread_cond_signal(&member->woken);
    }
    if (store->first)
        pthread_cond_signal(&store->first->woken);
}

bool
sl_store_commit(SlStore *store, const SlStoreChange *changes, size_t n_changes, const SlStoreEvent *events,
                size_t n_events, GError **error)
{
    SlStoreMember member = {
        .changes = changes, .n_changes = n_changes, .events = events, .n_events = n_events
    };

    if (n_changes == 0 && n_events == 0)
        return true;
    pthread_cond_init(&member.woken, NULL);
    pthread_mutex_lock(&store->lock);
    *store->last = &member;
    store->last = &member.next;
    while (!member.is_done && store->is_committing)
        pthread_cond_wait(&member.woken, &store->lock);
    if (!member.is_done)
        lead(store);
    pthread_mutex_unlock(&store->lock);
    pthread_cond_destroy(&member.woken);
    if (!member.error)
        return true;
    g_propagate_error(error, member.error);
    return false;
}

int64_t
sl_store_last_event_ns(SlStore *store)
{
    SL_LOCK_GUARD(&store->lock);

    return store->last_event_ns;
}

/* ---- reading ---- */

typedef struct Record {
    int64_t key;
    char *id, *body;
    bool is_damaged;
} Record;

static void
record_clear(void *data)
{
    Record *record = data;

    g_free(record->id);
    g_free(record->body);
}

static char *
dup_column(Row *row, int column)
{
    return g_strdup((const char *)sqlite3_column_text(row, column));
}

/* Steps through row, whose parameters are bound. Columns: key, [id,] body. */
static bool
read_rows(SlStore *store, Row *row, bool has_id, GArray *records, GError **error)
{
    int step;

    while ((step = sqlite3_step(row)) == SQLITE_ROW) {
        Record record = { .key = sqlite3_column_int64(row, 0) };

        record.id = has_id ? dup_column(row, 1) : NULL;
        record.body = dup_column(row, has_id ? 2 : 1);
        record.is_damaged = has_id && sqlite3_column_type(row, 3) != SQLITE_NULL &&
                            sqlite3_column_int64(row, 3) != sl_store_sum(record.body, strlen(record.body));
        g_array_append_val(records, record);
    }
    return step == SQLITE_DONE || sl_store_fail(store->reader, "reading state", error);
}

static bool
read_documents(SlStore *store, const char *kind, int64_t after, GArray *records, GError **error)
{
    SL_LOCK_GUARD(&store->read_lock);
    AUTO_RESET Row *row = store->each;

    sqlite3_bind_int64(row, 1, after);
    sqlite3_bind_text(row, 2, kind, -1, SQLITE_STATIC);
    sqlite3_bind_int(row, 3, PAGE_ROWS);
    return read_rows(store, row, true, records, error);
}

static bool
read_events(SlStore *store, int64_t since_ns, int64_t until_ns, GArray *records, GError **error)
{
    SL_LOCK_GUARD(&store->read_lock);
    AUTO_RESET Row *row = store->each_event;

    sqlite3_bind_int64(row, 1, since_ns);
    sqlite3_bind_int64(row, 2, until_ns);
    sqlite3_bind_int(row, 3, PAGE_ROWS);
    return read_rows(store, row, false, records, error);
}

static GArray *
records_new(void)
{
    GArray *records = g_array_sized_new(FALSE, FALSE, sizeof(Record), PAGE_ROWS);

    g_array_set_clear_func(records, record_clear);
    return records;
}

bool
sl_store_each(SlStore *store, const char *kind,
              bool (*each)(void *user, const char *id, const char *document, GError **error), void *user,
              GError **error)
{
    g_autoptr(GArray) page = records_new();
    int64_t after = 0;

    do {
        g_array_set_size(page, 0);
        if (!read_documents(store, kind, after, page, error))
            return false;
        for (guint i = 0; i < page->len; i++) {
            const Record *record = &g_array_index(page, Record, i);
            g_autoptr(GError) refused = NULL;

            after = record->key;
            if (record->is_damaged)
                sl_error("a stored document is damaged kind=%s id=%s", kind, record->id);
            else if (!each(user, record->id, record->body, &refused))
                sl_warn("stored document refused kind=%s id=%s error=\"%s\"", kind, record->id,
                        refused ? refused->message : "");
        }
    } while (page->len == PAGE_ROWS);
    return true;
}

bool
sl_store_has(SlStore *store, const char *kind, const char *id)
{
    SL_LOCK_GUARD(&store->read_lock);
    AUTO_RESET Row *row = store->find;

    sqlite3_bind_text(row, 1, kind, -1, SQLITE_STATIC);
    sqlite3_bind_text(row, 2, id, -1, SQLITE_STATIC);
    return sqlite3_step(row) == SQLITE_ROW;
}

bool
sl_store_each_event(SlStore *store, int64_t since_ns, int64_t until_ns,
                    void (*each)(void *user, int64_t time_ns, const char *json), void *user, GError **error)
{
    g_autoptr(GArray) page = records_new();

    do {
        g_array_set_size(page, 0);
        if (!read_events(store, since_ns, until_ns, page, error))
            return false;
        for (guint i = 0; i < page->len; i++) {
            const Record *record = &g_array_index(page, Record, i);

            since_ns = record->key + 1;
            each(user, record->key, record->body);
        }
    } while (page->len == PAGE_ROWS);
    return true;
}
