#include "oci/registry_internal.h"

#include <stdatomic.h>
#include <string.h>

enum {
    MAX_TRIES = 5,
    RETRY_MS = 500,
    WORTHWHILE_BYTES = 1024 * 1024, /* a try that brought so much does not count */
    LOOK_MS = 50,                   /* how often one looks who waits for another's download */
};

/* A blob that somebody fetches, and others wait for. Under the registry's lock, but for n. */
typedef struct Flight {
    unsigned n_wanted;
    bool is_taken;
    SlBlobWriter *writer; /* what one left behind who did not finish; the next goes on with it */
    atomic_int_fast64_t n;
} Flight;

/* A blob on its way to the content store. */
typedef struct Download {
    const SlBlobFetch *fetch;
    Flight *flight;
    SlBlobWriter *writer;
    int64_t n;
    bool is_over; /* more came than was announced */
} Download;

static void
download_clear(Download *download)
{
    sl_blob_writer_free(download->writer);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Download, download_clear)

static bool
piece_take(void *user, const void *data, size_t n, GError **error)
{
    Download *download = user;
    const SlBlobFetch *fetch = download->fetch;

    if (fetch->go_on && !fetch->go_on(fetch->user))
        return sl_fail(error, SL_ERROR_CANCELLED, "cancelled");
    /* More than was announced is noticed at once, not when the disk is full. */
    download->is_over = (int64_t)n > fetch->size - download->n;
    if (download->is_over)
        return sl_fail(error, SL_ERROR_SYSTEM,
                       "size validation failed: blob %s is larger than the %" G_GINT64_FORMAT
                       " bytes announced",
                       fetch->digest, fetch->size);
    if (!sl_blob_writer_write(download->writer, data, n, error))
        return false;
    download->n += (int64_t)n;
    atomic_store(&download->flight->n, download->n);
    if (fetch->progress)
        fetch->progress(fetch->user, download->n);
    return true;
}

static bool
restart(Download *download, GError **error)
{
    g_clear_pointer(&download->writer, sl_blob_writer_free);
    download->n = 0;
    download->is_over = false;
    download->writer = sl_blob_writer_new(download->fetch->content, error);
    return download->writer != NULL;
}

static bool
status_fail(const SlBlobFetch *fetch, const SlFetchReply *reply, GError **error)
{
    g_autofree char *words = sl_registry_words(reply);
    SlErrorCode code = reply->status == 404                           ? SL_ERROR_NOT_FOUND
                       : reply->status == 401 || reply->status == 403 ? SL_ERROR_UNAUTHORIZED
                                                                      : SL_ERROR_SYSTEM;

    if (words)
        return sl_fail(error, code, "blob %s: %s", fetch->digest, words);
    return sl_fail(error, code, "blob %s: received unexpected HTTP status: %u", fetch->digest, reply->status);
}

/* One attempt. ret_again: it failed in a way that may pass. */
static bool
download_try(Download *download, bool *ret_again, GError **error)
{
    const SlBlobFetch *fetch = download->fetch;
    g_autofree char *path = g_strdup_printf("/v2/%s/blobs/%s", fetch->repository, fetch->digest);
    SlSessionGet get = { .path = path, .offset = download->n, .sink = piece_take, .sink_user = download };
    g_auto(SlFetchReply) reply = { 0 };
    g_autoptr(GError) local = NULL;

    *ret_again = false;
    if (!sl_session_get(fetch->session, &get, &reply, &local)) {
        *ret_again = g_error_matches(local, SL_ERROR, SL_ERROR_UNAVAILABLE);
        if (get.offset > 0 && download->is_over) { /* the beginning once more, behind what we have */
            *ret_again = true;
            if (!restart(download, error))
                return false;
        }
        g_propagate_error(error, g_steal_pointer(&local));
        return false;
    }
    if (get.offset > 0 && reply.status == 200) {
        /* It does not know ranges, and sent the beginning once more: all of it is needed again. */
        *ret_again = true;
        return restart(download, error) &&
               sl_fail(error, SL_ERROR_SYSTEM, "blob %s: the registry cannot resume", fetch->digest);
    }
    if (reply.status != 200 && reply.status != 206) {
        *ret_again = reply.status >= 500 || reply.status == 416;
        if (reply.status == 416 && !restart(download, error))
            return false;
        return status_fail(fetch, &reply, error);
    }
    return true;
}

/* Tries until it is whole. */
static bool
download_run(Download *download, GError **error)
{
    const SlBlobFetch *fetch = download->fetch;
    int64_t n_best = download->n; /* one that cannot resume must not bring the same again and again */

    for (int i = 1;; i++) {
        g_autoptr(GError) local = NULL;
        bool again = false;

        if (download_try(download, &again, &local))
            return true;
        if (download->n - n_best >= WORTHWHILE_BYTES)
            i = 1;
        n_best = MAX(n_best, download->n);
        /* A connection that a resuming server cut in the middle is one failure among few; the store's own
         * errors are final. */
        if (!again || i == MAX_TRIES || sl_cancel_is_fired(fetch->session->cancel)) {
            /* The registry did answer before: this is no longer "cannot be reached". */
            if (g_error_matches(local, SL_ERROR, SL_ERROR_UNAVAILABLE))
                local->code = SL_ERROR_SYSTEM;
            g_propagate_error(error, g_steal_pointer(&local));
            return false;
        }
        if (fetch->retry)
            fetch->retry(fetch->user, RETRY_MS * i);
        if (!sl_cancel_sleep(fetch->session->cancel, RETRY_MS * i, error))
            return false;
    }
}

/* ---- one download for all who want it ---- */

static void
flight_free(gpointer item)
{
    Flight *flight = item;

    sl_blob_writer_free(flight->writer);
    g_free(flight);
}

GHashTable *
sl_blob_flights_new(void)
{
    return g_hash_table_new_full(g_str_hash, g_str_equal, g_free, flight_free);
}

static Flight *
flight_join(SlRegistry *registry, const char *key)
{
    Flight *flight;

    SL_LOCK_GUARD(&registry->lock);
    flight = g_hash_table_lookup(registry->flights, key);
    if (!flight) {
        flight = g_new0(Flight, 1);
        g_hash_table_insert(registry->flights, g_strdup(key), flight);
    }
    flight->n_wanted++;
    return flight;
}

static void
flight_leave(SlRegistry *registry, const char *key, Flight *flight)
{
    SL_LOCK_GUARD(&registry->lock);
    if (--flight->n_wanted == 0)
        g_hash_table_remove(registry->flights, key);
}

/* Whether it is ours to fetch now, from where another left it. */
static bool
flight_take(SlRegistry *registry, Flight *flight, Download *download)
{
    SL_LOCK_GUARD(&registry->lock);
    if (flight->is_taken)
        return false;
    flight->is_taken = true;
    download->writer = g_steal_pointer(&flight->writer);
    download->n = download->writer ? (int64_t)atomic_load(&flight->n) : 0;
    return true;
}

static void
flight_give(SlRegistry *registry, Flight *flight, Download *download)
{
    SL_LOCK_GUARD(&registry->lock);
    flight->is_taken = false;
    flight->writer = g_steal_pointer(&download->writer);
    atomic_store(&flight->n, download->n);
}

static bool
flight_fly(Flight *flight, Download *download, GError **error)
{
    const SlBlobFetch *fetch = download->fetch;
    SlRegistry *registry = fetch->session->registry;
    bool ok;

    if (!download->writer && !restart(download, error)) {
        flight_give(registry, flight, download);
        return false;
    }
    ok = download_run(download, error);
    if (ok) {
        ok = sl_blob_writer_commit(download->writer, fetch->digest, fetch->size, NULL, error);
        g_clear_pointer(&download->writer, sl_blob_writer_free); /* whole or wrong: nothing to go on with */
        download->n = 0;
    }
    flight_give(registry, flight, download);
    return ok;
}

/* Ours to fetch, or fetched by another: ret_is_there. */
static bool
flight_wait(Flight *flight, Download *download, bool *ret_is_there, GError **error)
{
    const SlBlobFetch *fetch = download->fetch;

    while (!(*ret_is_there = sl_content_has(fetch->content, fetch->digest)) &&
           !flight_take(fetch->session->registry, flight, download)) {
        if (fetch->go_on && !fetch->go_on(fetch->user))
            return sl_fail(error, SL_ERROR_CANCELLED, "cancelled");
        if (fetch->progress)
            fetch->progress(fetch->user, (int64_t)atomic_load(&flight->n));
        if (!sl_cancel_sleep(fetch->session->cancel, LOOK_MS, error))
            return false;
    }
    return true;
}

bool
sl_blob_fetch(const SlBlobFetch *fetch, GError **error)
{
    SlRegistry *registry = fetch->session->registry;
    g_autofree char *key = g_strdup_printf("%s %s", sl_content_folder(fetch->content), fetch->digest);
    Flight *flight = flight_join(registry, key);
    g_auto(Download) download = { .fetch = fetch, .flight = flight };
    bool is_there = false;
    bool ok = flight_wait(flight, &download, &is_there, error) &&
              (is_there || flight_fly(flight, &download, error));

    flight_leave(registry, key, flight);
    return ok;
}
