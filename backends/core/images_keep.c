#include "backends/core/images_internal.h"

#include "common/log.h"
#include "oci/unpack.h"

/* ---- blobs ---- */

void
sl_images_hold(SlImages *images)
{
    SL_LOCK_GUARD(&images->changing);
    images->n_holds++;
}

void
sl_images_release(SlImages *images, bool is_garbage_left)
{
    SL_LOCK_GUARD(&images->changing);
    images->n_holds--;
    images->is_sweep_due |= is_garbage_left;
    if (images->is_sweep_due)
        images_sweep(images);
}

/* Digests of all blobs that images need, borrowed from them. With lock held. */
static GHashTable *
digests_in_use(SlImages *images)
{
    GHashTable *used = g_hash_table_new(g_str_hash, g_str_equal);
    GHashTableIter iter;
    gpointer item;

    g_hash_table_iter_init(&iter, images->by_id);
    while (g_hash_table_iter_next(&iter, NULL, &item)) {
        const SlImage *image = ((const ImageEntry *)item)->image;

        g_hash_table_add(used, image->manifest_digest);
        g_hash_table_add(used, image->id);
        for (guint i = 0; i < image->layers->len; i++)
            g_hash_table_add(used, ((const SlImageLayer *)image->layers->pdata[i])->digest);
    }
    return used;
}

static bool
is_blob_needed(void *user, const char *digest)
{
    return g_hash_table_contains(user, digest);
}

/* ---- creates ---- */

/* With lock held. */
static ImageUses *
uses_of(SlImages *images, const char *id)
{
    ImageUses *uses = g_hash_table_lookup(images->uses, id);

    if (!uses) {
        uses = g_new0(ImageUses, 1);
        g_hash_table_insert(images->uses, g_strdup(id), uses);
    }
    return uses;
}

void
images_use_begin(SlImages *images, const char *id)
{
    ImageUses *uses = uses_of(images, id);

    uses->n_creating++;
    uses->n_begun++;
}

void
sl_images_create_done(SlImages *images, const SlImageRecord *record)
{
    SL_LOCK_GUARD(&images->lock);
    uses_of(images, record->id)->n_creating--;
}

uint64_t
images_uses_begun(SlImages *images, const char *id)
{
    SL_LOCK_GUARD(&images->lock);
    return uses_of(images, id)->n_begun;
}

bool
images_use_began(SlImages *images, const char *id, uint64_t n_begun)
{
    const ImageUses *uses = uses_of(images, id);

    return uses->n_creating > 0 || uses->n_begun != n_begun;
}

bool
images_is_used(SlImages *images, const char *id)
{
    bool is_running;
    g_autofree char *user =
        images->config.find_user ? images->config.find_user(images->config.user, id, &is_running) : NULL;

    return user != NULL;
}

/* ---- unpacked images ---- */

/* With changing held. */
static bool
is_folder_needed(SlImages *images, const char *id)
{
    {
        SL_LOCK_GUARD(&images->lock);
        if (images_entry(images, id) || uses_of(images, id)->n_creating > 0)
            return true;
    }
    return images_is_used(images, id);
}

void
images_rootfs_release(SlImages *images, const char *id)
{
    g_autoptr(GError) error = NULL;

    /* A pull or load may be unpacking the same image: its end looks again. */
    if (!images->rootfs_folder || is_folder_needed(images, id))
        return;
    if (images->n_holds > 0)
        images->is_sweep_due = true;
    else if (!sl_rootfs_remove(images->rootfs_folder, id, &error))
        sl_warn("unpacked image stays behind image=%s error=%s", id, error->message);
}

void
sl_images_user_gone(SlImages *images, const char *image_id)
{
    {
        SL_LOCK_GUARD(&images->lock);
        if (images_entry(images, image_id))
            return;
    }
    SL_LOCK_GUARD(&images->changing);
    images_rootfs_release(images, image_id);
}

static bool
is_folder_needed_item(void *user, const char *id)
{
    return is_folder_needed(user, id);
}

/* Entries are made and dropped with changing held only, so what is in use stays so over the I/O. */
void
images_sweep(SlImages *images)
{
    g_autoptr(GHashTable) used = NULL;
    g_autoptr(GError) error = NULL;

    images->is_sweep_due = true;
    if (images->n_holds > 0 || images->is_damaged)
        return;
    images->is_sweep_due = false;
    {
        SL_LOCK_GUARD(&images->lock);
        used = digests_in_use(images);
    }
    if (!sl_content_sweep(images->config.content, is_blob_needed, used, &error))
        sl_warn("blobs stay behind error=%s", error->message);
    g_clear_error(&error);
    if (images->rootfs_folder &&
        !sl_rootfs_sweep(images->rootfs_folder, is_folder_needed_item, images, &error))
        sl_warn("unpacked images stay behind error=%s", error->message);
}

void
sl_images_sweep(SlImages *images)
{
    SL_LOCK_GUARD(&images->changing);
    images_sweep(images);
}
