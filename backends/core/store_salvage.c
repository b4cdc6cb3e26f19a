/* What can still be read of a damaged state file. */
#include "backends/core/store_internal.h"

#include "common/log.h"

#include <unistd.h>

typedef struct Table {
    const char *name;
    const char *columns; /* the first is the key */
    const char *insert;
    int n_columns;
    int body, sum; /* columns; sum: -1 without one */
} Table;

static const Table documents = {
    "document",
    "seq, kind, id, body, sum",
    "INSERT OR IGNORE INTO document (seq, kind, id, body, sum) VALUES (?1, ?2, ?3, "
    "?4, ?5)",
    5,
    3,
    4
};
/* Of schema 1. */
static const Table old_documents = {
    "document",
    "seq, kind, id, body",
    "INSERT OR IGNORE INTO document (seq, kind, id, body) VALUES (?1, ?2, ?3, ?4)",
    4,
    3,
    -1
};
static const Table events = {
    "event", "time_ns, body", "INSERT OR IGNORE INTO event (time_ns, body) VALUES (?1, ?2)", 2, 1, -1
};

static bool
is_readable(const Table *table, sqlite3_stmt *row)
{
    const char *body;
    size_t n;

    for (int i = 1; i <= table->body; i++)
        if (sqlite3_column_type(row, i) != SQLITE_TEXT)
            return false;
    body = (const char *)sqlite3_column_text(row, table->body);
    n = (size_t)sqlite3_column_bytes(row, table->body);
    if (!g_utf8_validate_len(body, n, NULL))
        return false;
    return table->sum < 0 || sqlite3_column_type(row, table->sum) == SQLITE_NULL ||
           sqlite3_column_int64(row, table->sum) == sl_store_sum(body, n);
}

/* Copies rows until the first page that cannot be read; the other direction gets those behind it. False: not to the end. */
static bool
walk(const Table *table, sqlite3 *from, const char *direction, sqlite3_stmt *put, unsigned *n_taken)
{
    g_autofree char *sql =
        g_strdup_printf("SELECT %s FROM %s ORDER BY 1 %s", table->columns, table->name, direction);
    sqlite3_stmt *row = NULL;
    int step = sqlite3_prepare_v2(from, sql, -1, &row, NULL);

    if (step == SQLITE_OK) {
        while ((step = sqlite3_step(row)) == SQLITE_ROW) {
            if (!is_readable(table, row))
                continue;
            for (int i = 0; i < table->n_columns; i++)
                sqlite3_bind_value(put, i + 1, sqlite3_column_value(row, i));
            *n_taken += sqlite3_step(put) == SQLITE_DONE && sqlite3_changes(sqlite3_db_handle(put)) == 1;
            sqlite3_reset(put);
        }
    }
    sqlite3_finalize(row);
    return step == SQLITE_DONE;
}

static void
copy(const Table *table, sqlite3 *from, sqlite3 *to)
{
    sqlite3_stmt *put = NULL;
    unsigned n_taken = 0;
    bool is_whole;

    if (sqlite3_prepare_v2(to, table->insert, -1, &put, NULL) != SQLITE_OK) {
        sl_error("nothing can be taken over table=%s error=\"%s\"", table->name, sqlite3_errmsg(to));
        return;
    }
    is_whole = walk(table, from, "ASC", put, &n_taken);
    if (!is_whole)
        walk(table, from, "DESC", put, &n_taken);
    sqlite3_finalize(put);
    sl_warn("taken over from the damaged state file table=%s rows=%u whole=%s", table->name, n_taken,
            is_whole ? "yes" : "no");
}

static bool
has_sums(sqlite3 *from)
{
    sqlite3_stmt *row = NULL;
    bool has = sqlite3_prepare_v2(from, "SELECT sum FROM document", -1, &row, NULL) == SQLITE_OK;

    sqlite3_finalize(row);
    return has;
}

bool
sl_store_salvage(SlStore *store, const char *kept, GError **error)
{
    g_autofree char *shared = g_strconcat(kept, "-shm", NULL);
    sqlite3 *from = NULL;
    bool ok;

    if (sqlite3_open_v2(kept, &from, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK) {
        sl_error("the damaged state file cannot be opened path=%s", kept);
        sqlite3_close(from);
        return true;
    }
    sqlite3_db_config(from, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL); /* it is left as it was found */
    ok = sl_store_run(store, SL_STORE_BEGIN, error);
    if (ok) {
        copy(has_sums(from) ? &documents : &old_documents, from, store->db);
        copy(&events, from, store->db);
        ok = sl_store_run(store, SL_STORE_COMMIT, error);
    }
    sqlite3_close(from);
    unlink(shared);
    return ok;
}
