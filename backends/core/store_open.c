/* The state file: made, brought up to date, checked; put aside when it is damaged. */
#include "backends/core/store_internal.h"

#include "common/fd.h"
#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

enum {
    BUSY_TIMEOUT_MS = 5000,
    CACHE_KIB = 4096,
    MAX_TEXT_BYTES = 64 * 1024 * 1024, /* of one document or event */
};

/* Of a store that sl_store_settle was not called on. Its number leaves those of a damaged file free. */
#define MARK_KIND "store"
#define MARK_ID   "new"
static const char mark_sql[] =
    "INSERT INTO document (seq, kind, id, body) VALUES (0, '" MARK_KIND "', '" MARK_ID "', '{}');";

/* Migration n leads from schema n to n + 1. Never edited once released: only appended to. */
static const char *const migrations[] = {
    "CREATE TABLE document (seq INTEGER PRIMARY KEY, kind TEXT NOT NULL, id TEXT NOT NULL, body TEXT NOT "
    "NULL, UNIQUE (kind, id));"
    "CREATE TABLE event (time_ns INTEGER PRIMARY KEY, body TEXT NOT NULL);",
    /* sum: of body, so that a document which the disk has changed is noticed; NULL in those of schema 1. */
    "ALTER TABLE document ADD COLUMN sum INTEGER;",
};
enum { SCHEMA = G_N_ELEMENTS(migrations) };

static const char *const write_sql[SL_STORE_N_WRITES] = {
    [SL_STORE_BEGIN] = "BEGIN IMMEDIATE",
    [SL_STORE_COMMIT] = "COMMIT",
    [SL_STORE_ROLLBACK] = "ROLLBACK",
    [SL_STORE_PUT] =
        "INSERT INTO document (kind, id, body, sum) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (kind, id) DO "
        "UPDATE SET body = ?3, sum = ?4",
    [SL_STORE_DELETE] = "DELETE FROM document WHERE kind = ?1 AND id = ?2",
    [SL_STORE_ADD_EVENT] =
        "INSERT INTO event (time_ns, body) VALUES (?1, ?2) ON CONFLICT (time_ns) DO NOTHING",
    [SL_STORE_TRIM] =
        "DELETE FROM event WHERE time_ns <= (SELECT time_ns FROM event ORDER BY time_ns DESC LIMIT 1 "
        "OFFSET ?1)",
};

/* NOT INDEXED: in the order of seq, which the index on (kind, id) would have to sort for. */
static const char each_sql[] =
    "SELECT seq, id, body, sum FROM document NOT INDEXED WHERE seq > ?1 AND kind = ?2 ORDER BY seq LIMIT ?3";
static const char each_event_sql[] =
    "SELECT time_ns, body FROM event WHERE time_ns >= ?1 AND time_ns <= ?2 ORDER BY time_ns LIMIT ?3";
static const char find_sql[] = "SELECT 1 FROM document WHERE kind = ?1 AND id = ?2";

static bool
run_sql(sqlite3 *db, const char *sql, const char *what, GError **error)
{
    return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK || sl_store_fail(db, what, error);
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
        sl_store_fail(db, "reading the state file", error);
    sqlite3_finalize(statement);
    return is_ok;
}

/* ---- opening ---- */

/* Notes whether it is the file itself that is at fault. */
static bool
fail_opening(SlStore *store, sqlite3 *db, GError **error)
{
    int code = db ? sqlite3_errcode(db) : SQLITE_NOMEM;

    store->is_damaged |= code == SQLITE_NOTADB || code == SQLITE_CORRUPT;
    return sl_fail(error, SL_ERROR_SYSTEM, "opening the state file %s: %s", store->path,
                   sqlite3_errstr(code));
}

static bool
connection_open(SlStore *store, sqlite3 **db, GError **error)
{
    g_autofree char *pragmas = g_strdup_printf(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -%d;", CACHE_KIB);

    if (sqlite3_open_v2(store->path, db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
        return fail_opening(store, *db, error);
    sqlite3_busy_timeout(*db, BUSY_TIMEOUT_MS);
    sqlite3_limit(*db, SQLITE_LIMIT_LENGTH, MAX_TEXT_BYTES);
    return sqlite3_exec(*db, pragmas, NULL, NULL, NULL) == SQLITE_OK || fail_opening(store, *db, error);
}

/* Walks every page: what is damaged is found now, not by some request later. */
static bool
check_pages(SlStore *store, GError **error)
{
    sqlite3_stmt *check = NULL;
    const char *verdict;
    bool is_ok;

    if (sqlite3_prepare_v2(store->db, "PRAGMA quick_check(1)", -1, &check, NULL) != SQLITE_OK ||
        sqlite3_step(check) != SQLITE_ROW) {
        sqlite3_finalize(check);
        return fail_opening(store, store->db, error);
    }
    verdict = (const char *)sqlite3_column_text(check, 0);
    is_ok = g_strcmp0(verdict, "ok") == 0;
    if (!is_ok) {
        store->is_damaged = true;
        sl_fail(error, SL_ERROR_SYSTEM, "opening the state file %s: %s", store->path, verdict);
    }
    sqlite3_finalize(check);
    return is_ok;
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
        /* The mark comes with the first table: whenever we are killed, a new file is known as one. */
        g_autofree char *sql =
            g_strdup_printf("BEGIN IMMEDIATE; %s %s PRAGMA user_version = %d; COMMIT;", migrations[version],
                            version == 0 ? mark_sql : "", (int)version + 1);

        if (!run_sql(store->db, sql, "migrating the state file", error))
            return false;
    }
    return true;
}

static bool
prepare(sqlite3 *db, const char *sql, sqlite3_stmt **ret_statement, GError **error)
{
    return sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, ret_statement, NULL) == SQLITE_OK ||
           sl_store_fail(db, "preparing a statement", error);
}

static bool
count_events(SlStore *store, GError **error)
{
    if (!read_number(store->db, "SELECT count(*) FROM event", &store->n_events, error) ||
        !read_number(store->db, "SELECT coalesce(max(time_ns), 0) FROM event", &store->newest_ns, error))
        return false;
    store->last_event_ns = store->newest_ns;
    return true;
}

static bool
store_setup(SlStore *store, GError **error)
{
    if (!connection_open(store, &store->db, error) || !check_pages(store, error) || !migrate(store, error))
        return false;
    for (int i = 0; i < SL_STORE_N_WRITES; i++) {
        if (!prepare(store->db, write_sql[i], &store->writes[i], error))
            return false;
    }
    if (!connection_open(store, &store->reader, error) ||
        !prepare(store->reader, each_sql, &store->each, error) ||
        !prepare(store->reader, each_event_sql, &store->each_event, error) ||
        !prepare(store->reader, find_sql, &store->find, error))
        return false;
    return count_events(store, error);
}

static SlStore *
store_open(const char *path, bool *ret_is_damaged, GError **error)
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
    if (store_setup(store, error))
        return g_steal_pointer(&store);
    *ret_is_damaged = store->is_damaged;
    return NULL;
}

/* ---- a damaged file ---- */

static bool
put_aside(const char *path, char **ret_kept, GError **error)
{
    static const char *const suffixes[] = { "-wal",
                                            "" }; /* the file itself last: until then it is found again */
    g_autoptr(GDateTime) now = g_date_time_new_now_utc();
    g_autofree char *time = g_date_time_format(now, "%Y%m%dT%H%M%S.%fZ");
    g_autofree char *kept = g_strconcat(path, SL_STORE_DAMAGED, time, NULL);
    g_autofree char *shared = g_strconcat(path, "-shm", NULL);

    for (size_t i = 0; i < G_N_ELEMENTS(suffixes); i++) {
        g_autofree char *from = g_strconcat(path, suffixes[i], NULL);
        g_autofree char *to = g_strconcat(kept, suffixes[i], NULL);

        if (rename(from, to) < 0 && errno != ENOENT)
            return sl_fail_errno(error, errno, "putting the damaged state file %s aside", from);
    }
    unlink(shared);
    *ret_kept = g_steal_pointer(&kept);
    return true;
}

SlStore *
sl_store_open(const char *path, GError **error)
{
    g_autoptr(GError) local = NULL;
    g_autoptr(SlStore) store = NULL;
    g_autofree char *kept = NULL;
    bool is_damaged = false;

    store = store_open(path, &is_damaged, &local);
    if (store)
        return g_steal_pointer(&store);
    if (!is_damaged) {
        g_propagate_error(error, g_steal_pointer(&local));
        return NULL;
    }
    if (!put_aside(path, &kept, error))
        return NULL;
    sl_error("the state file is damaged, put aside and made anew kept=%s error=\"%s\"", kept, local->message);
    store = store_open(path, &is_damaged, error);
    if (!store || !sl_store_salvage(store, kept, error) || !count_events(store, error))
        return NULL;
    return g_steal_pointer(&store);
}

bool
sl_store_is_new(SlStore *store)
{
    return sl_store_has(store, MARK_KIND, MARK_ID);
}

bool
sl_store_settle(SlStore *store, GError **error)
{
    return sl_store_commit(store, &(SlStoreChange){ .kind = MARK_KIND, .id = MARK_ID }, 1, NULL, 0, error);
}

void
sl_store_close(SlStore *store)
{
    for (int i = 0; i < SL_STORE_N_WRITES; i++)
        sqlite3_finalize(store->writes[i]);
    sqlite3_finalize(store->each);
    sqlite3_finalize(store->each_event);
    sqlite3_finalize(store->find);
    sqlite3_close(store->reader);
    sqlite3_close(store->db);
    pthread_mutex_destroy(&store->read_lock);
    pthread_mutex_destroy(&store->lock);
    g_free(store->path);
    g_free(store);
}
