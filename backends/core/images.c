#include "backends/core/images_internal.h"

#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/id.h"
#include "common/json_fields.h"
#include "common/log.h"
#include "oci/unpack.h"

static const char base_name[] = "sockerless/base";

/* ---- entries ---- */

ImageEntry *
images_entry_new(SlImage *image)
{
    ImageEntry *entry = g_new0(ImageEntry, 1);

    entry->image = image;
    entry->parent = g_strdup("");
    entry->repo_digests = g_ptr_array_new_with_free_func(g_free);
    entry->size = image->size;
    return entry;
}

void
images_entry_free(ImageEntry *entry)
{
    if (!entry)
        return;
    sl_image_free(entry->image);
    g_free(entry->parent);
    g_ptr_array_unref(entry->repo_digests);
    g_free(entry);
}

static void
entry_free_item(gpointer item)
{
    images_entry_free(item);
}

ImageEntry *
images_entry(SlImages *images, const char *id)
{
    return g_hash_table_lookup(images->by_id, id);
}

int
images_compare_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

GStrv
images_tags_of(SlImages *images, const char *id)
{
    GPtrArray *tags = g_ptr_array_new();
    GHashTableIter iter;
    gpointer tag;
    gpointer tagged;

    g_hash_table_iter_init(&iter, images->tags);
    while (g_hash_table_iter_next(&iter, &tag, &tagged))
        if (strcmp(tagged, id) == 0)
            g_ptr_array_add(tags, g_strdup(tag));
    g_ptr_array_sort(tags, images_compare_text);
    g_ptr_array_add(tags, NULL);
    return (GStrv)g_ptr_array_free(tags, FALSE);
}

SlImageRecord *
images_snapshot(SlImages *images, const ImageEntry *entry)
{
    SlImageRecord *record = g_new0(SlImageRecord, 1);
    GPtrArray *digests = g_ptr_array_new();

    for (guint i = 0; i < entry->repo_digests->len; i++)
        g_ptr_array_add(digests, g_strdup(entry->repo_digests->pdata[i]));
    g_ptr_array_add(digests, NULL);

    record->id = g_strdup(entry->image->id);
    record->manifest_digest = g_strdup(entry->image->manifest_digest);
    record->repo_tags = images_tags_of(images, entry->image->id);
    record->repo_digests = (GStrv)g_ptr_array_free(digests, FALSE);
    record->parent = g_strdup(entry->parent);
    record->config = json_incref(entry->image->config);
    record->architecture = g_strdup(entry->image->architecture);
    record->os = g_strdup(entry->image->os);
    record->variant = g_strdup(entry->image->variant);
    record->created_ns = entry->image->created_ns;
    record->tagged_ns = entry->tagged_ns;
    record->size = entry->size;
    record->is_base = entry->is_base;
    return record;
}

void
sl_image_record_free(SlImageRecord *record)
{
    if (!record)
        return;
    g_free(record->id);
    g_free(record->manifest_digest);
    g_strfreev(record->repo_tags);
    g_strfreev(record->repo_digests);
    g_free(record->parent);
    json_decref(record->config);
    g_free(record->architecture);
    g_free(record->os);
    g_free(record->variant);
    g_free(record);
}

const json_t *
sl_image_record_config(const SlImageRecord *record)
{
    const json_t *config = json_object_get(record->config, "config");

    return json_is_object(config) ? config : NULL;
}

/* ---- opening ---- */

static void
sizes_restore(SlImage *image, const json_t *layers)
{
    for (guint i = 0; i < image->layers->len; i++) {
        SlImageLayer *layer = image->layers->pdata[i];
        json_int_t tar_bytes = -1;
        json_int_t file_bytes = -1;

        json_unpack(json_array_get(layers, i), "[I, I]", &tar_bytes, &file_bytes);
        layer->tar_bytes = tar_bytes;
        layer->file_bytes = file_bytes;
    }
}

/* A record whose blobs are gone is left where it is, and said: a backup of the blobs makes it whole again. */
static bool
image_restore_whole(void *user, const char *id, const char *document, GError **error)
{
    SlImages *images = user;
    g_autoptr(json_t) json = sl_json_parse(document, strlen(document), "image record", error);
    g_autoptr(ImageEntry) entry = NULL;
    SlImage *image;
    const char *manifest = NULL;
    const char *parent = "";
    json_t *digests = NULL;
    json_t *layers = NULL;
    json_int_t size = 0;
    json_int_t tagged = 0;

    if (!json)
        return false;
    if (json_unpack(json, "{s:s, s:s, s:o, s:I, s:I, s?o}", "manifest", &manifest, "parent", &parent,
                    "repo_digests", &digests, "size", &size, "tagged", &tagged, "layers", &layers) < 0)
        return sl_fail(error, SL_ERROR_SYSTEM, "image record %s: wrong members", id);

    image = sl_image_load(images->config.content, manifest, error);
    if (!image)
        return false;
    entry = images_entry_new(image);
    if (strcmp(image->id, id) != 0)
        return sl_fail(error, SL_ERROR_SYSTEM, "image record %s: its manifest is of %s", id, image->id);
    g_free(entry->parent);
    entry->parent = g_strdup(parent);
    entry->size = size;
    entry->tagged_ns = tagged;
    sizes_restore(image, layers);
    for (size_t i = 0; i < json_array_size(digests); i++)
        if (json_is_string(json_array_get(digests, i)))
            g_ptr_array_add(entry->repo_digests, g_strdup(json_string_value(json_array_get(digests, i))));
    g_hash_table_insert(images->by_id, g_strdup(id), g_steal_pointer(&entry));
    return true;
}

static bool
image_restore(void *user, const char *id, const char *document, GError **error)
{
    SlImages *images = user;
    bool ok = image_restore_whole(user, id, document, error);

    images->is_damaged |= !ok;
    return ok;
}

static bool
tag_restore(void *user, const char *tag, const char *document, GError **error)
{
    SlImages *images = user;
    g_autoptr(json_t) json = sl_json_parse(document, strlen(document), "tag record", error);
    const char *id = NULL;

    if (!json)
        return false;
    if (json_unpack(json, "{s:s}", "image", &id) < 0 || !g_hash_table_contains(images->by_id, id))
        return sl_fail(error, SL_ERROR_SYSTEM, "tag %s: its image is not here", tag);
    g_hash_table_insert(images->tags, g_strdup(tag), g_strdup(id));
    return true;
}

static bool
base_open(SlImages *images, const char *base_tar, GError **error)
{
    g_autofree char *manifest = NULL;
    ImageEntry *entry;
    SlImage *image;

    if (images->config.builtin == SL_BUILTIN_OFF || !base_tar)
        return true;
    if (!sl_image_make_base(images->config.content, base_tar, &manifest, error)) {
        g_prefix_error(error, "making %s: ", base_name);
        return false;
    }
    image = sl_image_load(images->config.content, manifest, error);
    if (!image)
        return false;
    entry = images_entry_new(image);
    entry->is_base = true;
    images->base_id = g_strdup(image->id);
    g_hash_table_insert(images->by_id, g_strdup(image->id), entry);
    g_hash_table_insert(images->tags, g_strdup(SL_BASE_IMAGE_REFERENCE), g_strdup(image->id));
    return true;
}

SlImages *
sl_images_open(const SlImagesConfig *config, GError **error)
{
    g_autoptr(SlImages) images = g_new0(SlImages, 1);

    images->config = *config;
    images->config.rootfs_folder = NULL;
    images->config.base_tar = NULL;
    images->rootfs_folder = g_strdup(config->rootfs_folder);
    pthread_mutex_init(&images->changing, NULL);
    pthread_mutex_init(&images->lock, NULL);
    images->by_id = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, entry_free_item);
    images->tags = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    images->unreachable = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    images->uses = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);

    if (!sl_store_each(config->store, "image", image_restore, images, error) ||
        !base_open(images, config->base_tar, error) ||
        !sl_store_each(config->store, "tag", tag_restore, images, error))
        return NULL;
    return g_steal_pointer(&images);
}

void
sl_images_close(SlImages *images)
{
    if (!images)
        return;
    g_hash_table_unref(images->by_id);
    g_hash_table_unref(images->tags);
    g_hash_table_unref(images->unreachable);
    g_hash_table_unref(images->uses);
    pthread_mutex_destroy(&images->changing);
    pthread_mutex_destroy(&images->lock);
    g_free(images->rootfs_folder);
    g_free(images->base_id);
    g_free(images);
}

bool
sl_builtin_images_parse(const char *text, SlBuiltinImages *ret_mode)
{
    static const char *const names[] = {
        [SL_BUILTIN_AUTO] = "auto", [SL_BUILTIN_ALWAYS] = "always", [SL_BUILTIN_OFF] = "off"
    };

    for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
        if (g_strcmp0(text, names[i]) == 0) {
            *ret_mode = (SlBuiltinImages)i;
            return true;
        }
    return false;
}

/* ---- looking up ---- */

/* "sha256:" with up to 64 digits, or the digits alone; NULL for anything else. Borrowed. */
static const char *
id_digits(const char *reference)
{
    const char *digits = g_str_has_prefix(reference, "sha256:") ? reference + strlen("sha256:") : reference;

    return sl_id_is_prefix(digits) ? digits : NULL;
}

static ImageEntry *
find_by_digits(SlImages *images, const char *digits, bool *ret_is_ambiguous)
{
    g_autofree char *prefix = g_strconcat("sha256:", digits, NULL);
    ImageEntry *found = NULL;
    GHashTableIter iter;
    gpointer id;
    gpointer entry;

    *ret_is_ambiguous = false;
    if (strlen(digits) == SL_ID_CHARS)
        return images_entry(images, prefix);
    g_hash_table_iter_init(&iter, images->by_id);
    while (g_hash_table_iter_next(&iter, &id, &entry)) {
        if (!g_str_has_prefix(id, prefix))
            continue;
        *ret_is_ambiguous = found != NULL;
        if (found)
            return NULL;
        found = entry;
    }
    return found;
}

/* A digest names an image only together with the repository that it was pulled from. */
static ImageEntry *
find_by_repo_digest(SlImages *images, const SlReference *reference)
{
    g_autofree char *name = sl_reference_familiar_name(reference);
    g_autofree char *wanted = g_strconcat(name, "@", reference->digest, NULL);
    GHashTableIter iter;
    gpointer item;

    g_hash_table_iter_init(&iter, images->by_id);
    while (g_hash_table_iter_next(&iter, NULL, &item)) {
        ImageEntry *entry = item;

        if (g_ptr_array_find_with_equal_func(entry->repo_digests, wanted, g_str_equal, NULL))
            return entry;
    }
    return NULL;
}

static ImageEntry *
find_by_name(SlImages *images, const SlReference *reference)
{
    g_autofree char *familiar = NULL;
    const char *id;

    if (reference->digest)
        return find_by_repo_digest(images, reference);
    familiar = sl_reference_familiar(reference);
    id = g_hash_table_lookup(images->tags, familiar);
    return id ? images_entry(images, id) : NULL;
}

static SlImageRecord *
resolve(SlImages *images, const char *reference, bool is_for_create, GError **error)
{
    const char *digits = id_digits(reference);
    bool is_whole_id = digits && (digits != reference || strlen(digits) == SL_ID_CHARS);
    g_auto(SlReference) parsed = { 0 };
    g_autofree char *familiar = NULL;
    bool is_ambiguous = false;
    ImageEntry *entry = NULL;

    if (!is_whole_id && !sl_reference_parse(reference, true, &parsed, error))
        return NULL;
    familiar = is_whole_id ? g_strdup(reference) : sl_reference_familiar(&parsed);

    SL_LOCK_GUARD(&images->lock);
    if (!is_whole_id)
        entry = find_by_name(images, &parsed);
    if (!entry && digits)
        entry = find_by_digits(images, digits, &is_ambiguous);
    if (entry && is_for_create)
        images_use_begin(images, entry->image->id);
    if (entry)
        return images_snapshot(images, entry);
    if (is_ambiguous)
        sl_fail(error, SL_ERROR_INVALID, "multiple IDs found with provided prefix: %s", digits);
    else
        sl_fail(error, SL_ERROR_NOT_FOUND, "No such image: %s", familiar);
    return NULL;
}

SlImageRecord *
sl_images_resolve(SlImages *images, const char *reference, GError **error)
{
    return resolve(images, reference, false, error);
}

bool
images_base_stands_in(SlImages *images, const SlReference *reference)
{
    g_autofree char *name = sl_reference_familiar_name(reference);

    return images->base_id && !reference->digest &&
           (strcmp(name, "alpine") == 0 || strcmp(name, "busybox") == 0);
}

static SlImageRecord *
base_stand_in(SlImages *images, const char *reference, char **ret_warning)
{
    g_auto(SlReference) parsed = { 0 };
    g_autofree char *familiar = NULL;

    if (!sl_reference_parse(reference, true, &parsed, NULL) || !images_base_stands_in(images, &parsed))
        return NULL;
    familiar = sl_reference_familiar(&parsed);

    SL_LOCK_GUARD(&images->lock);
    if (images->config.builtin != SL_BUILTIN_ALWAYS && !g_hash_table_contains(images->unreachable, familiar))
        return NULL;
    *ret_warning =
        images->config.builtin == SL_BUILTIN_ALWAYS
            ? g_strdup_printf("%s is served from the built-in image %s (--builtin-images=always)", familiar,
                              base_name)
            : g_strdup_printf("registry cannot be reached: %s is served from the built-in image %s", familiar,
                              base_name);
    images_use_begin(images, images->base_id);
    return images_snapshot(images, images_entry(images, images->base_id));
}

SlImageRecord *
sl_images_resolve_for_create(SlImages *images, const char *reference, char **ret_warning, GError **error)
{
    g_autoptr(GError) local = NULL;
    SlImageRecord *record = resolve(images, reference, true, &local);

    *ret_warning = NULL;
    if (!record && g_error_matches(local, SL_ERROR, SL_ERROR_NOT_FOUND)) {
        record = base_stand_in(images, reference, ret_warning);
        if (record)
            sl_warn("built-in image stands in reference=%s", reference);
    }
    if (!record)
        g_propagate_error(error, g_steal_pointer(&local));
    return record;
}

/* ---- files and sizes ---- */

void
images_sizes_copy(const SlImage *from, SlImage *to)
{
    for (guint i = 0; i < from->layers->len; i++) {
        const SlImageLayer *source = from->layers->pdata[i];
        SlImageLayer *target = to->layers->pdata[i];

        target->tar_bytes = source->tar_bytes;
        target->file_bytes = source->file_bytes;
    }
}

bool
images_sizes_are_known(const SlImage *image)
{
    for (guint i = 0; i < image->layers->len; i++)
        if (((const SlImageLayer *)image->layers->pdata[i])->tar_bytes < 0)
            return false;
    return true;
}

static void
sizes_note(SlImages *images, const SlImage *image)
{
    ImageEntry *entry;

    SL_LOCK_GUARD(&images->lock);
    entry = images_entry(images, image->id);
    if (!entry)
        return;
    images_sizes_copy(image, entry->image);
    entry->size = image->size;
}

bool
images_unpack(SlImages *images, SlImage *image, const SlUnpackWatch *watch, SlCancel *cancel, char **ret_path,
              GError **error)
{
    SlContent *content = images->config.content;

    if (images->rootfs_folder &&
        !sl_rootfs_prepare(content, image, images->rootfs_folder, NULL, watch, cancel, ret_path, error))
        return false;
    return images_sizes_are_known(image) || sl_image_measure(content, image, NULL, watch, cancel, error);
}

bool
sl_images_rootfs(SlImages *images, SlCancel *cancel, const SlImageRecord *record, char **ret_path,
                 GError **error)
{
    g_autoptr(SlImage) image = NULL;

    if (!images->rootfs_folder)
        return sl_fail(error, SL_ERROR_UNSUPPORTED, "this backend does not unpack images");
    image = sl_image_load(images->config.content, record->manifest_digest, error);
    if (!image || !sl_rootfs_prepare(images->config.content, image, images->rootfs_folder, NULL, NULL, cancel,
                                     ret_path, error))
        return false;
    if (images_sizes_are_known(image))
        sizes_note(images, image);
    return true;
}

SlImage *
sl_images_read(SlImages *images, SlCancel *cancel, const SlImageRecord *record, GError **error)
{
    g_autoptr(SlImage) image = sl_image_load(images->config.content, record->manifest_digest, error);
    const ImageEntry *entry;

    if (!image)
        return NULL;
    {
        SL_LOCK_GUARD(&images->lock);
        entry = images_entry(images, record->id);
        if (entry)
            images_sizes_copy(entry->image, image);
    }
    if (!images_sizes_are_known(image)) {
        if (!sl_image_measure(images->config.content, image, NULL, NULL, cancel, error))
            return NULL;
        sizes_note(images, image);
    }
    return g_steal_pointer(&image);
}

unsigned
sl_images_count(SlImages *images)
{
    SL_LOCK_GUARD(&images->lock);
    return g_hash_table_size(images->by_id);
}

static void
record_free_item(gpointer item)
{
    sl_image_record_free(item);
}

static int
newest_first(const void *a, const void *b)
{
    const SlImageRecord *one = *(const SlImageRecord *const *)a;
    const SlImageRecord *two = *(const SlImageRecord *const *)b;

    if (one->created_ns != two->created_ns)
        return one->created_ns < two->created_ns ? 1 : -1;
    return strcmp(one->id, two->id);
}

GPtrArray *
sl_images_list(SlImages *images)
{
    GPtrArray *records = g_ptr_array_new_with_free_func(record_free_item);
    GHashTableIter iter;
    gpointer entry;

    {
        SL_LOCK_GUARD(&images->lock);
        g_hash_table_iter_init(&iter, images->by_id);
        while (g_hash_table_iter_next(&iter, NULL, &entry))
            g_ptr_array_add(records, images_snapshot(images, entry));
    }
    g_ptr_array_sort(records, newest_first);
    return records;
}
