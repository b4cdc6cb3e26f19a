#include "oci/unpack.h"

#include <archive.h>
#include <archive_entry.h>
#include <string.h>

#include "common/fd.h"
#include "oci/unpack_entry.h"
#include "oci/unpack_layers.h"

/* One layer on its way to a folder, or only read. */
typedef struct Unpacking {
    SlUnpackTarget *target; /* NULL: only read */
    int64_t bytes;          /* of files */
} Unpacking;

static bool
entry_take(void *user, struct archive *archive, struct archive_entry *entry, GError **error)
{
    Unpacking *unpacking = user;
    int64_t n = 0;

    if (unpacking->target && !sl_unpack_entry(unpacking->target, archive, entry, &n, error))
        return false;
    if (!unpacking->target && !archive_entry_hardlink(entry) && archive_entry_filetype(entry) == AE_IFREG)
        n = archive_entry_size(entry);
    if (n < 0 || n > G_MAXINT64 - unpacking->bytes)
        return sl_fail(error, SL_ERROR_INVALID, "invalid archive: a negative size");
    unpacking->bytes += n;
    return true;
}

void
sl_unpack_budget_init(SlUnpackBudget *budget, const SlUnpackLimits *limits)
{
    const int64_t gib = G_GINT64_CONSTANT(1) << 30;

    budget->bytes_left = limits && limits->max_bytes > 0 ? limits->max_bytes : 64 * gib;
    budget->files_left = limits && limits->max_files > 0 ? limits->max_files : 2000000;
    budget->free_bytes = limits && limits->free_bytes > 0 ? limits->free_bytes : gib;
}

/* folder_fd -1: only reads. */
static bool
stream_unpack(SlTarStream *stream, int folder_fd, int64_t *ret_bytes, GError **error)
{
    g_auto(SlUnpackTarget) target = { 0 };
    Unpacking unpacking = { .target = folder_fd < 0 ? NULL : &target };

    if (folder_fd >= 0 && !sl_unpack_target_open(&target, folder_fd, stream->budget, stream->cancel, error))
        return false;
    if (!sl_tar_stream_each(stream, entry_take, &unpacking, error) ||
        (folder_fd >= 0 && !sl_unpack_target_finish(&target, error)))
        return false;
    *ret_bytes = unpacking.bytes;
    return true;
}

bool
sl_unpack_layer(int tar_fd, int folder_fd, const SlUnpackLimits *limits, SlCancel *cancel, char **ret_diff_id,
                int64_t *ret_bytes, GError **error)
{
    g_auto(SlTarStream) stream = { 0 };
    const SlTarSource source = { .fd = tar_fd };
    SlUnpackBudget budget;
    int64_t bytes = 0;

    sl_unpack_budget_init(&budget, limits);
    if (!sl_tar_stream_open(&stream, &source, SL_UNPACK_ARCHIVE, &budget, cancel, error) ||
        !stream_unpack(&stream, folder_fd, &bytes, error))
        return false;
    if (ret_diff_id)
        *ret_diff_id = sl_tar_stream_digest(&stream);
    if (ret_bytes)
        *ret_bytes = bytes;
    return true;
}

/* ---- the layers of an image ---- */

typedef struct Watched {
    const SlUnpackWatch *watch;
    const SlImageLayer *layer;
} Watched;

static void
progress_pass(void *user, int64_t n_raw)
{
    const Watched *watched = user;

    watched->watch->progress(watched->watch->user, watched->layer, n_raw);
}

static bool
diff_id_check(SlTarStream *stream, const SlImageLayer *layer, GError **error)
{
    g_autofree char *diff_id = sl_tar_stream_digest(stream);

    return strcmp(diff_id, layer->diff_id) == 0 ||
           sl_fail(error, SL_ERROR_INVALID,
                   "layers from manifest don't match image configuration: %s unpacks to %s, not %s",
                   layer->digest, diff_id, layer->diff_id);
}

static bool
layer_unpack(SlContent *content, SlImageLayer *layer, int folder_fd, SlUnpackBudget *budget,
             const SlUnpackWatch *watch, SlCancel *cancel, GError **error)
{
    sl_autofd int fd = sl_content_open_blob(content, layer->digest, error);
    const SlTarSource source = { .fd = fd };
    g_auto(SlTarStream) stream = { 0 };
    Watched watched = { .watch = watch, .layer = layer };
    int64_t bytes = 0;

    if (fd < 0)
        return false;
    if (!sl_tar_stream_open(&stream, &source, SL_UNPACK_LAYER, budget, cancel, error)) {
        g_prefix_error(error, "failed to register layer: ");
        return false;
    }
    if (watch) {
        stream.progress = progress_pass;
        stream.progress_user = &watched;
        progress_pass(&watched, stream.n_raw); /* of a small layer that was all */
    }
    if (!stream_unpack(&stream, folder_fd, &bytes, error)) {
        g_prefix_error(error, "failed to register layer: ");
        return false;
    }
    layer->tar_bytes = stream.n_plain;
    layer->file_bytes = bytes;
    return diff_id_check(&stream, layer, error);
}

bool
sl_layers_unpack(SlContent *content, SlImage *image, int folder_fd, const SlUnpackLimits *limits,
                 const SlUnpackWatch *watch, SlCancel *cancel, GError **error)
{
    SlUnpackBudget budget;
    int64_t bytes = 0;

    sl_unpack_budget_init(&budget, limits);
    for (guint i = 0; i < image->layers->len; i++) {
        SlImageLayer *layer = image->layers->pdata[i];

        if (!layer_unpack(content, layer, folder_fd, &budget, watch, cancel, error))
            return false;
        bytes += layer->file_bytes;
    }
    image->size = bytes;
    return true;
}

bool
sl_image_measure(SlContent *content, SlImage *image, const SlUnpackLimits *limits, const SlUnpackWatch *watch,
                 SlCancel *cancel, GError **error)
{
    return sl_layers_unpack(content, image, -1, limits, watch, cancel, error);
}

bool
sl_layer_expand(SlContent *content, const SlImageLayer *layer, SlCancel *cancel,
                bool (*sink)(void *user, const void *data, size_t n, GError **error), void *user,
                GError **error)
{
    sl_autofd int fd = sl_content_open_blob(content, layer->digest, error);
    const SlTarSource source = { .fd = fd };
    g_auto(SlTarStream) stream = { 0 };
    SlUnpackBudget budget;

    sl_unpack_budget_init(&budget, NULL);
    return fd >= 0 && sl_tar_stream_open(&stream, &source, SL_UNPACK_LAYER, &budget, cancel, error) &&
           sl_tar_stream_copy(&stream, sink, user, error) && diff_id_check(&stream, layer, error);
}
