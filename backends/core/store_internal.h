/* What the store's own files share. */
#pragma once

#include "backends/core/store.h"
#include "common/thread.h"

#include <sqlite3.h>

typedef enum SlStoreStatement {
    SL_STORE_BEGIN,
    SL_STORE_COMMIT,
    SL_STORE_ROLLBACK,
    SL_STORE_PUT,    /* kind, id, body, sum */
    SL_STORE_DELETE, /* kind, id */
    SL_STORE_ADD_EVENT,
    SL_STORE_TRIM,
    SL_STORE_N_WRITES,
} SlStoreStatement;

typedef struct SlStoreMember SlStoreMember;

struct SlStore {
    char *path;
    bool is_damaged; /* why it could not be opened */

    pthread_mutex_t lock;
    SlStoreMember *first, **last; /* who waits for the next group */
    bool is_committing;
    int64_t last_event_ns;

    sqlite3 *db; /* the leader's, with what follows */
    sqlite3_stmt *writes[SL_STORE_N_WRITES];
    int64_t n_events, newest_ns;

    pthread_mutex_t read_lock;
    sqlite3 *reader;
    sqlite3_stmt *each, *each_event, *find;
};

/* Sets error to what and SQLite's reason; its code chooses the kind. Always false. */
bool sl_store_fail(sqlite3 *db, const char *what, GError **error);
/* Of a document's text: notices what a disk does, not what a person does. Never negative. */
int64_t sl_store_sum(const char *text, size_t n);
/* One statement of writes without parameters. */
bool sl_store_run(SlStore *store, SlStoreStatement which, GError **error);
/* Inserts or replaces a document (NULL: deletes it), inside a transaction. */
bool sl_store_apply(SlStore *store, const SlStoreChange *change, GError **error);
/* store_salvage.c: takes over what can be read of the damaged file kept, in one transaction. What cannot is said, and no error. */
bool sl_store_salvage(SlStore *store, const char *kept, GError **error);
