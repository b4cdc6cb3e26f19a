#include "backends/core/images_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "common/clock.h"
#include "common/fd.h"
#include "common/id.h"
#include "common/json_fields.h"
#include "common/log.h"
#include "oci/digest.h"

void
images_emit(SlImages *images, const char *action, const char *actor, const char *name, const json_t *config)
{
    const json_t *labels = json_object_get(json_object_get(config, "config"), "Labels");
    json_t *attributes = json_object();

    if (!images->config.emit) {
        json_decref(attributes);
        return;
    }
    if (json_is_object(labels))
        json_object_update(attributes, (json_t *)(uintptr_t)labels); /* only read */
    json_object_set_new(attributes, "name", json_string(name));
    images->config.emit(images->config.user, action, actor, attributes);
}

/* ---- storing ---- */

char *
images_entry_document(const ImageEntry *entry)
{
    g_autoptr(json_t) digests = json_array();
    g_autoptr(json_t) layers = json_array();
    g_autoptr(json_t) json = NULL;

    for (guint i = 0; i < entry->image->layers->len; i++) {
        const SlImageLayer *layer = entry->image->layers->pdata[i];

        json_array_append_new(
            layers, json_pack("[I, I]", (json_int_t)layer->tar_bytes, (json_int_t)layer->file_bytes));
    }

    for (guint i = 0; i < entry->repo_digests->len; i++)
        json_array_append_new(digests, json_string(entry->repo_digests->pdata[i]));
    json = json_pack("{s:s, s:s, s:O, s:I, s:I, s:O}", "manifest", entry->image->manifest_digest, "parent",
                     entry->parent, "repo_digests", digests, "size", (json_int_t)entry->size, "tagged",
                     (json_int_t)entry->tagged_ns, "layers", layers);
    return sl_json_dump(json);
}

static char *
tag_document(const char *id)
{
    g_autoptr(json_t) json = json_pack("{s:s}", "image", id);

    return sl_json_dump(json);
}

/* The built-in image comes from this program, not from the store. */
static bool
publish_commit(SlImages *images, const ImageEntry *entry, const char *const *tags, GError **error)
{
    g_autofree char *document = images_entry_document(entry);
    g_autofree char *tagged = tag_document(entry->image->id);
    g_autoptr(GArray) changes = g_array_new(FALSE, FALSE, sizeof(SlStoreChange));

    if (!entry->is_base)
        g_array_append_val(changes, ((SlStoreChange){ "image", entry->image->id, document }));
    for (; tags && *tags; tags++)
        g_array_append_val(changes, ((SlStoreChange){ "tag", *tags, tagged }));
    return changes->len == 0 ||
           sl_store_commit(images->config.store, (const SlStoreChange *)(void *)changes->data, changes->len,
                           NULL, 0, error);
}

bool
images_publish(SlImages *images, ImageEntry *entry, const char *const *tags, GError **error)
{
    if (!publish_commit(images, entry, tags, error))
        return false;

    SL_LOCK_GUARD(&images->lock);
    for (; tags && *tags; tags++)
        g_hash_table_replace(images->tags, g_strdup(*tags), g_strdup(entry->image->id));
    g_hash_table_replace(images->by_id, g_strdup(entry->image->id), entry);
    return true;
}

ImageEntry *
images_entry_copy(SlImages *images, const char *id)
{
    g_autofree char *manifest = NULL;
    g_autoptr(GError) error = NULL;
    ImageEntry *copy = NULL;
    const ImageEntry *entry;
    SlImage *image;

    {
        SL_LOCK_GUARD(&images->lock);
        entry = images_entry(images, id);
        manifest = entry ? g_strdup(entry->image->manifest_digest) : NULL;
    }
    if (!manifest)
        return NULL;
    image = sl_image_load(images->config.content, manifest, &error);
    if (!image) {
        sl_warn("image cannot be read image=%s error=%s", id, error->message);
        return NULL;
    }
    copy = images_entry_new(image);

    SL_LOCK_GUARD(&images->lock);
    entry = images_entry(images, id); /* still there: we hold changing */
    g_free(copy->parent);
    copy->parent = g_strdup(entry->parent);
    copy->size = entry->size;
    copy->tagged_ns = entry->tagged_ns;
    copy->is_base = entry->is_base;
    images_sizes_copy(entry->image, copy->image);
    for (guint i = 0; i < entry->repo_digests->len; i++)
        g_ptr_array_add(copy->repo_digests, g_strdup(entry->repo_digests->pdata[i]));
    return copy;
}

SlImageRecord *
sl_images_add(SlImages *images, const char *manifest_digest, const char *parent, GError **error)
{
    SlImage *image = sl_image_load(images->config.content, manifest_digest, error);
    g_autofree char *id = NULL;
    ImageEntry *entry;

    if (!image)
        return NULL;
    id = g_strdup(image->id);
    {
        SL_LOCK_GUARD(&images->changing);
        entry = images_entry_copy(images, id);
        if (entry) {
            sl_image_free(image);
        } else {
            entry = images_entry_new(image);
            g_free(entry->parent);
            entry->parent = g_strdup(parent ? parent : "");
        }
        if (!images_publish(images, entry, NULL, error)) {
            images_entry_free(entry);
            return NULL;
        }
    }
    return sl_images_resolve(images, id, error);
}

bool
sl_images_tag(SlImages *images, const char *source, const char *target, GError **error)
{
    g_autoptr(SlImageRecord) record = sl_images_resolve(images, source, error);
    g_auto(SlReference) reference = { 0 };
    g_autofree char *familiar = NULL;

    if (!record || !sl_reference_parse(target, true, &reference, error))
        return false;
    if (reference.digest)
        return sl_fail(error, SL_ERROR_INVALID, "refusing to create a tag with a digest reference");
    familiar = sl_reference_familiar(&reference);
    if (images->base_id && strcmp(familiar, SL_BASE_IMAGE_REFERENCE) == 0)
        return sl_fail(error, SL_ERROR_INVALID, "%s is the name of the built-in image", familiar);
    {
        g_autoptr(ImageEntry) entry = NULL;

        SL_LOCK_GUARD(&images->changing);
        entry = images_entry_copy(images, record->id);
        if (!entry)
            return sl_fail(error, SL_ERROR_NOT_FOUND, "No such image: %s", source);
        entry->tagged_ns = sl_clock_now_ns();
        if (!images_publish(images, entry, (const char *const[]){ familiar, NULL }, error))
            return false;
        g_steal_pointer(&entry);
    }
    images_emit(images, "tag", record->id, familiar, record->config);
    return true;
}
