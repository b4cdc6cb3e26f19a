#include "backends/core/store.h"

#include "common/failpoint.h"
#include "common/fd.h"
#include "common/log.h"
#include "common/thread.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>

enum {
    BUSY_TIMEOUT_MS = 5000,
    CACHE_KIB = 4096,
    MAX_EVENTS = 100000,
    TRIM_EVERY = 1000, /* rows above MAX_EVENTS before they are trimmed: the trim walks the table */
    MAX_TEXT_BYTES = 64 * 1024 * 1024, /* of one document or event */
    PAGE_ROWS = 256,                   /* read at once, so that no lock is held in a caller's callback */
};

/* Migration n leads from schema n to n + 1. Never edited once released: only appended to. */
static const char *const migrations[] = {
    "CREATE TABLE document (seq INTEGER PRIMARY KEY, kind TEXT NOT NULL, id TEXT NOT NULL, body TEXT NOT "
    "NULL, UNIQUE (kind, id));"
    "CREATE TABLE event (time_ns INTEGER PRIMARY KEY, body TEXT NOT NULL);",
};
enum { SCHEMA = G_N_ELEMENTS(migrations) };

typedef enum Statement { BEGIN, COMMIT, ROLLBACK, PUT, DELETE, ADD_EVENT, TRIM, N_WRITES } Statement;
static const char *const write_sql[N_WRITES] = {
    [BEGIN] = "BEGIN IMMEDIATE",
    [COMMIT] = "COMMIT",
    [ROLLBACK] = "ROLLBACK",
    [PUT] = "INSERT INTO document (kind, id, body) VALUES (?1, ?2, ?3) ON CONFLICT (kind, id) DO UPDATE SET "
            "body = ?3",
    [DELETE] = "DELETE FROM document WHERE kind = ?1 AND id = ?2",
    [ADD_EVENT] = "INSERT INTO event (time_ns, body) VALUES (?1, ?2) ON CONFLICT (time_ns) DO NOTHING",
    [TRIM] = "DELETE FROM event WHERE time_ns <= (SELECT time_ns FROM event ORDER BY time_ns DESC LIMIT 1 "
             "OFFSET ?1)",
};

/* NOT INDEXED: in the order of seq, which the index on (kind, id) would have to sort for. */
static const char each_sql[] =
    "SELECT seq, id, body FROM document NOT INDEXED WHERE seq > ?1 AND kind = ?2 ORDER BY seq LIMIT ?3";
static const char each_event_sql[] =
    "SELECT time_ns, body FROM event WHERE time_ns >= ?1 AND time_ns <= ?2 ORDER BY time_ns LIMIT ?3";

/* One sl_store_commit, on its caller's stack. */
typedef struct Member Member;
struct Member {
    const SlStoreChange *changes;
    const SlStoreEvent *events;
    size_t n_changes, n_events;
    GError *error;
    bool is_done;
    pthread_cond_t woken; /* done, or the next to lead */
    Member *next;
};

struct SlStore {
    char *path;

    pthread_mutex_t lock;
    Member *first, **last; /* who waits for the next group */
    bool is_committing;
    int64_t last_event_ns;

    sqlite3 *db; /* the leader's, with what follows */
    sqlite3_stmt *writes[N_WRITES];
    int64_t n_events, newest_ns;

    pthread_mutex_t read_lock;
    sqlite3 *reader;
    sqlite3_stmt *each, *each_event;
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

static bool
fail_sqlite(sqlite3 *db, const char *what, GError **error)
{
    return sl_fail(error, error_code(db), "%s: %s", what, sqlite3_errmsg(db));
}

static bool
run_sql(sqlite3 *db, const char *sql, const char *what, GError **error)
{
    return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK || fail_sqlite(db, what, error);
}

static bool
read_number(sqlite3 *db, const char *sql, int64_t *ret_number, GError **error)
{
    sqlite3_stmt *statement = NULL;
    bool is_ok = sqlite3_prepare_v2(db, sql, -1, &statement, NULL) == SQLITE_OK &&
                 sqlite3_step(statement) == SQLITE_ROW;

    if (is_ok)
        *ret_number = sqlite3_column_int64(statement, 0);
    else
        fail_sqlite(db, "reading the state file", error);
    sqlite3_finalize(statement);
    return is_ok;
}

/* ---- opening ---- */

static bool
connection_open(const char *path, int flags, sqlite3 **ret_db, GError **error)
{
    sqlite3 *db = NULL;
    g_autofree char *pragmas = g_strdup_printf(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -%d;", CACHE_KIB);

    if (sqlite3_open_v2(path, &db, flags | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK) {
        sl_fail(error, SL_ERROR_SYSTEM, "opening the state file %s: %s", path,
                db ? sqlite3_errmsg(db) : "out of memory");
        sqlite3_close(db);
        return false;
    }
    sqlite3_busy_timeout(db, BUSY_TIMEOUT_MS);
    sqlite3_limit(db, SQLITE_LIMIT_LENGTH, MAX_TEXT_BYTES);
    if (sqlite3_exec(db, pragmas, NULL, NULL, NULL) != SQLITE_OK) {
        int code = sqlite3_errcode(db);

        if (code == SQLITE_NOTADB || code == SQLITE_CORRUPT)
            sl_fail(error, SL_ERROR_SYSTEM,
                    "the state file %s is damaged (%s): restore it, or move it away to start without it",
                    path, sqlite3_errmsg(db));
        else
            sl_fail(error, SL_ERROR_SYSTEM, "opening the state file %s: %s", path, sqlite3_errmsg(db));
        sqlite3_close(db);
        return false;
    }
    *ret_db = db;
    return true;
}

static bool
migrate(SlStore *store, GError **error)
{
    int64_t version;

    if (!read_number(store->db, "PRAGMA user_version", &version, error))
        return false;
    if (version > SCHEMA)
        return sl_fail(error, SL_ERROR_UNSUPPORTED,
                       "the state file %s was written by a newer sockerless (schema %d; this program, "
                       "version %s, knows schema %d): "
                       "start that version, or use another data folder",
                       store->path, (int)version, SL_VERSION, SCHEMA);
    for (; version < SCHEMA; version++) {
        g_autofree char *sql = g_strdup_printf("BEGIN IMMEDIATE; %s PRAGMA user_version = %d; COMMIT;",
                                               migrations[version], (int)version + 1);

        if (!run_sql(store->db, sql, "migrating the state file", error))
            return false;
    }
    return true;
}

static bool
prepare(sqlite3 *db, const char *sql, sqlite3_stmt **ret_statement, GError **error)
{
    return sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, ret_statement, NULL) == SQLITE_OK ||
           fail_sqlite(db, "preparing a statement", error);
}

static bool
store_setup(SlStore *store, GError **error)
{
    if (!connection_open(store->path, SQLITE_OPEN_READWRITE, &store->db, error) || !migrate(store, error))
        return false;
    for (int i = 0; i < N_WRITES; i++) {
        if (!prepare(store->db, write_sql[i], &store->writes[i], error))
            return false;
    }
    if (!connection_open(store->path, SQLITE_OPEN_READWRITE, &store->reader, error) ||
        !prepare(store->reader, each_sql, &store->each, error) ||
        !prepare(store->reader, each_event_sql, &store->each_event, error))
        return false;
    if (!read_number(store->db, "SELECT count(*) FROM event", &store->n_events, error) ||
        !read_number(store->db, "SELECT coalesce(max(time_ns), 0) FROM event", &store->newest_ns, error))
        return false;
    store->last_event_ns = store->newest_ns;
    return true;
}

SlStore *
sl_store_open(const char *path, GError **error)
{
    g_autoptr(SlStore) store = NULL;
    /* Made here, as SQLite would make it readable to all; its -wal and -shm get the same mode. */
    sl_autofd int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    if (fd < 0) {
        sl_fail_errno(error, errno, "opening the state file %s", path);
        return NULL;
    }
    store = g_new0(SlStore, 1);
    store->path = g_strdup(path);
    store->last = &store->first;
    pthread_mutex_init(&store->lock, NULL);
    pthread_mutex_init(&store->read_lock, NULL);
    /* Before SQLite opens it: closing any descriptor of a file drops the process's POSIX locks on it. */
    sl_fd_clear(&fd);
    return store_setup(store, error) ? g_steal_pointer(&store) : NULL;
}

void
sl_store_close(SlStore *store)
{
    for (int i = 0; i < N_WRITES; i++)
        sqlite3_finalize(store->writes[i]);
    sqlite3_finalize(store->each);
    sqlite3_finalize(store->each_event);
    sqlite3_close(store->reader);
    sqlite3_close(store->db);
    pthread_mutex_destroy(&store->read_lock);
    pthread_mutex_destroy(&store->lock);
    g_free(store->path);
    g_free(store);
}

/* ---- committing ---- */

static bool
fail_injected(GError **error)
{
    return sl_fail_errno(error, errno, "storing state");
}

static bool
run_write(SlStore *store, Statement which, GError **error)
{
    AUTO_RESET Row *row = store->writes[which];

    return sqlite3_step(row) == SQLITE_DONE || fail_sqlite(store->db, "storing state", error);
}

static bool
apply_change(SlStore *store, const SlStoreChange *change, GError **error)
{
    AUTO_RESET Row *row = store->writes[change->document ? PUT : DELETE];
    bool is_bound = sqlite3_bind_text(row, 1, change->kind, -1, SQLITE_STATIC) == SQLITE_OK &&
                    sqlite3_bind_text(row, 2, change->id, -1, SQLITE_STATIC) == SQLITE_OK;

    if (is_bound && change->document)
        is_bound = sqlite3_bind_text(row, 3, change->document, -1, SQLITE_STATIC) == SQLITE_OK;
    if (is_bound && sqlite3_step(row) == SQLITE_DONE)
        return true;
    return sl_fail(error, error_code(store->db), "storing %s %s: %s", change->kind, change->id,
                   sqlite3_errmsg(store->db));
}

static bool
apply_event(SlStore *store, const SlStoreEvent *event, int64_t *newest_ns, GError **error)
{
    AUTO_RESET Row *row = store->writes[ADD_EVENT];

    if (sqlite3_bind_int64(row, 1, event->time_ns) != SQLITE_OK ||
        sqlite3_bind_text(row, 2, event->json, -1, SQLITE_STATIC) != SQLITE_OK ||
        sqlite3_step(row) != SQLITE_DONE)
        return fail_sqlite(store->db, "storing an event", error);
    if (sqlite3_changes(store->db) == 1) {
        *newest_ns = MAX(*newest_ns, event->time_ns);
        return true;
    }
    sqlite3_reset(row);
    if (sqlite3_bind_int64(row, 1, ++*newest_ns) != SQLITE_OK || sqlite3_step(row) != SQLITE_DONE)
        return fail_sqlite(store->db, "storing an event", error);
    return true;
}

static bool
trim_events(SlStore *store, int64_t *n_events, GError **error)
{
    AUTO_RESET Row *row = store->writes[TRIM];

    if (*n_events < MAX_EVENTS + TRIM_EVERY)
        return true;
    if (sqlite3_bind_int64(row, 1, MAX_EVENTS) != SQLITE_OK || sqlite3_step(row) != SQLITE_DONE)
        return fail_sqlite(store->db, "trimming events", error);
    *n_events -= sqlite3_changes(store->db);
    return true;
}

static bool
apply_members(SlStore *store, const Member *first, int64_t *n_events, int64_t *newest_ns, GError **error)
{
    for (const Member *member = first; member; member = member->next) {
        for (size_t i = 0; i < member->n_changes; i++) {
            if (!apply_change(store, &member->changes[i], error))
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
write_members(SlStore *store, const Member *first, int64_t *n_events, int64_t *newest_ns, GError **error)
{
    if (!sl_failpoint("store.begin.before"))
        return fail_injected(error);
    if (!run_write(store, BEGIN, error))
        return false;
    if (!sl_failpoint("store.begin.after"))
        return fail_injected(error);
    if (!apply_members(store, first, n_events, newest_ns, error))
        return false;
    if (!sl_failpoint("store.commit.before"))
        return fail_injected(error);
    return run_write(store, COMMIT, error);
}

/* One transaction. The list ends where first's chain does. */
static bool
commit_members(SlStore *store, const Member *first, GError **error)
{
    int64_t n_events = store->n_events, newest_ns = store->newest_ns;

    if (!write_members(store, first, &n_events, &newest_ns, error)) {
        /* A full disk has rolled back already. */
        if (!sqlite3_get_autocommit(store->db))
            run_write(store, ROLLBACK, NULL);
        return false;
    }
    sl_failpoint("store.commit.after");
    store->n_events = n_events;
    store->newest_ns = newest_ns;
    return true;
}

static void
commit_group(SlStore *store, Member *first)
{
    g_autoptr(GError) error = NULL;

    if (commit_members(store, first, &error))
        return;
    if (!first->next) {
        first->error = g_steal_pointer(&error);
        return;
    }
    sl_warn("a group commit failed, trying each change alone error=\"%s\"", error->message);
    for (Member *member = first; member; member = member->next) {
        Member *next = g_steal_pointer(&member->next);

        commit_members(store, member, &member->error);
        member->next = next;
    }
}

/* Takes everybody who waits, own among them, and commits them without the lock, which is held on entry and return. */
static void
lead(SlStore *store)
{
    Member *group = g_steal_pointer(&store->first);

    store->last = &store->first;
    store->is_committing = true;
    pthread_mutex_unlock(&store->lock);
    commit_group(store, group);
    pthread_mutex_lock(&store->lock);
    store->is_committing = false;
    store->last_event_ns = store->newest_ns;
    for (Member *member = group, *next; member; member = next) {
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
    Member member = { .changes = changes, .n_changes = n_changes, .events = events, .n_events = n_events };

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
        g_array_append_val(records, record);
    }
    return step == SQLITE_DONE || fail_sqlite(store->reader, "reading state", error);
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
            if (!each(user, record->id, record->body, &refused))
                sl_warn("stored document refused kind=%s id=%s error=\"%s\"", kind, record->id,
                        refused ? refused->message : "");
        }
    } while (page->len == PAGE_ROWS);
    return true;
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
