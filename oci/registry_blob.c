#include "oci/registry_internal.h"

#include <string.h>

enum {
    MAX_TRIES = 5,
    RETRY_MS = 500,
};

/* A blob on its way to the content store. */
typedef struct Download {
    const SlBlobFetch *fetch;
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

bool
sl_blob_fetch(const SlBlobFetch *fetch, GError **error)
{
    g_auto(Download) download = { .fetch = fetch };

    if (!restart(&download, error))
        return false;
    for (int i = 1;; i++) {
        g_autoptr(GError) local = NULL;
        bool again = false;

        if (download_try(&download, &again, &local))
            break;
        /* A connection that a resuming server cut in the middle is one failure among few; the store's own
         * errors are final. */
        if (!again || i == MAX_TRIES || sl_cancel_is_fired(fetch->session->cancel)) {
            /* The registry did answer before: this is no longer "cannot be reached". */
            if (g_error_matches(local, SL_ERROR, SL_ERROR_UNAVAILABLE))
                local->code = SL_ERROR_SYSTEM;
            g_propagate_error(error, g_steal_pointer(&local));
            return false;
        }
        if (!sl_cancel_sleep(fetch->session->cancel, RETRY_MS * i, error))
            return false;
    }
    return sl_blob_writer_commit(download.writer, fetch->digest, fetch->size, NULL, error);
}
