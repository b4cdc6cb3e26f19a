/*
 * The daemon's state: one SQLite file in WAL mode behind this module, the only home of sqlite3.h. Documents as JSON text by kind and id; events in a bounded table. Schema
 * version in user_version, migrations from the first day; a newer database is refused with a sentence.
 *
 * Commits: a caller that finds nobody committing does it itself, others join the next group; so no thread hop when it is quiet and few commits when it is busy. synchronous=NORMAL survives the kill of a process.
 * Any thread. Nothing may be held that a commit could wait for.
 */
#pragma once

#include "common/error.h"

#include <stdint.h>

typedef struct SlStore SlStore;

#define SL_STORE_DAMAGED ".damaged-" /* between a file's name and when it was put aside */

typedef struct SlStoreEvent {
    int64_t time_ns;  /* unique: one that is taken already is moved forward */
    const char *json; /* as GET /events sends it, without a line break */
} SlStoreEvent;

/* One change; what is NULL is left out. All changes of one sl_store_commit are one transaction. */
typedef struct SlStoreChange {
    const char *kind; /* "container", "image", "tag", … */
    const char *id;
    const char *document; /* NULL deletes */
} SlStoreChange;

/*
 * A damaged file is put aside as PATH.damaged-TIME, said, and what can be read of it is taken over into a new one. Errors: SL_ERROR_UNSUPPORTED for
 * a file of a newer version; SL_ERROR_SYSTEM and others when it cannot be read at all.
 */
SlStore *sl_store_open(const char *path, GError **error);
/* Whether the file was made anew and nobody has called sl_store_settle since, in this process or an earlier one: it may lack what exists. */
bool sl_store_is_new(SlStore *store);
/* What else was known of is stored. */
bool sl_store_settle(SlStore *store, GError **error);
void sl_store_close(SlStore *store);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SlStore, sl_store_close)

/* Blocks until the changes are committed. Errors: SL_ERROR_NO_SPACE (disk full), SL_ERROR_UNAVAILABLE (no memory or descriptor), SL_ERROR_SYSTEM (I/O); nothing is changed
 * then. */
bool sl_store_commit(SlStore *store, const SlStoreChange *changes, size_t n_changes,
                     const SlStoreEvent *events, size_t n_events, GError **error);
/* Every document of a kind, in the order they were first stored. One that is damaged, or that the callback refuses, is reported and left where it is. */
bool sl_store_each(SlStore *store, const char *kind,
                   bool (*each)(void *user, const char *id, const char *document, GError **error), void *user,
                   GError **error);
/* Whether there is such a document, readable or not. */
bool sl_store_has(SlStore *store, const char *kind, const char *id);
/* The newest event's time, 0 without any: whoever makes event times starts behind it, whatever the clock says now. */
int64_t sl_store_last_event_ns(SlStore *store);
/* Events with since_ns <= time <= until_ns, oldest first; 0 and INT64_MAX leave an end open. */
bool sl_store_each_event(SlStore *store, int64_t since_ns, int64_t until_ns,
                         void (*each)(void *user, int64_t time_ns, const char *json), void *user,
                         GError **error);
