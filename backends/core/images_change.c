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

static char *
entry_document(const ImageEntry *entry)
{
    g_autoptr(json_t) digests = json_array();
    g_autoptr(json_t) json = NULL;

    for (guint i = 0; i < entry->repo_digests->len; i++)
        json_array_append_new(digests, json_string(entry->repo_digests->pdata[i]));
    json = json_pack("{s:s, s:s, s:O, s:I, s:I}", "manifest", entry->image->manifest_digest, "parent",
                     entry->parent, "repo_digests", digests, "size", (json_int_t)entry->size, "tagged",
                     (json_int_t)entry->tagged_ns);
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
publish_commit(SlImages *images, const ImageEntry *entry, const char *tag, GError **error)
{
    g_autofree char *document = entry_document(entry);
    g_autofree char *tagged = tag_document(entry->image->id);
    SlStoreChange changes[2];
    size_t n = 0;

    if (!entry->is_base)
        changes[n++] = (SlStoreChange){ "image", entry->image->id, document };
    if (tag)
        changes[n++] = (SlStoreChange){ "tag", tag, tagged };
    return n == 0 || sl_store_commit(images->config.store, changes, n, NULL, 0, error);
}

bool
images_publish(SlImages *images, ImageEntry *entry, const char *tag, GError **error)
{
    if (!publish_commit(images, entry, tag, error))
        return false;

    SL_LOCK_GUARD(&images->lock);
    if (tag)
        g_hash_table_replace(images->tags, g_strdup(tag), g_strdup(entry->image->id));
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
        if (!images_publish(images, entry, familiar, error))
            return false;
        g_steal_pointer(&entry);
    }
    images_emit(images, "tag", record->id, familiar, record->config);
    return true;
}

/* ---- blobs ---- */

static void
digests_of(const SlImage *image, GPtrArray *digests)
{
    g_ptr_array_add(digests, g_strdup(image->manifest_digest));
    g_ptr_array_add(digests, g_strdup(image->id));
    for (guint i = 0; i < image->layers->len; i++)
        g_ptr_array_add(digests, g_strdup(((const SlImageLayer *)image->layers->pdata[i])->digest));
}

static GHashTable *
digests_in_use(SlImages *images)
{
    GHashTable *used = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_autoptr(GPtrArray) digests = g_ptr_array_new();
    GHashTableIter iter;
    gpointer item;

    {
        SL_LOCK_GUARD(&images->lock);
        g_hash_table_iter_init(&iter, images->by_id);
        while (g_hash_table_iter_next(&iter, NULL, &item))
            digests_of(((const ImageEntry *)item)->image, digests);
    }
    for (guint i = 0; i < digests->len; i++)
        g_hash_table_add(used, digests->pdata[i]);
    return used;
}

void
images_blobs_release(SlImages *images, GPtrArray *digests)
{
    g_autoptr(GHashTable) used = NULL;
    GHashTableIter iter;
    gpointer digest;

    for (guint i = 0; digests && i < digests->len; i++)
        g_hash_table_add(images->garbage, g_strdup(digests->pdata[i]));
    if (images->n_pulls > 0)
        return;
    used = digests_in_use(images);
    g_hash_table_iter_init(&iter, images->garbage);
    while (g_hash_table_iter_next(&iter, &digest, NULL)) {
        g_autoptr(GError) error = NULL;

        if (!g_hash_table_contains(used, digest) &&
            !sl_content_remove(images->config.content, digest, &error))
            sl_warn("blob stays behind digest=%s error=%s", (const char *)digest, error->message);
    }
    g_hash_table_remove_all(images->garbage);
}

/* ---- removing ---- */

typedef struct Removal {
    SlImages *images;
    SlImageRecord *record;
    const char *asked; /* as the user wrote it */
    bool is_forced;
    json_t *lines;
    char *user; /* a container that uses the image, or NULL */
    bool is_running;
} Removal;

static void
line_add(json_t *lines, const char *key, const char *value)
{
    json_array_append_new(lines, json_pack("{s:s}", key, value));
}

static char *
repository_of(const char *reference)
{
    g_auto(SlReference) parsed = { 0 };

    return sl_reference_parse(reference, true, &parsed, NULL) ? sl_reference_familiar_name(&parsed)
                                                              : g_strdup(reference);
}

/* At most one tag, and all references of one repository. */
static bool
is_single_reference(const SlImageRecord *record)
{
    g_autofree char *first = NULL;
    guint n_tags = g_strv_length(record->repo_tags);

    if (n_tags > 1)
        return false;
    if (n_tags + g_strv_length(record->repo_digests) <= 1)
        return true;
    first = repository_of(n_tags ? record->repo_tags[0] : record->repo_digests[0]);
    for (char **digest = record->repo_digests; *digest; digest++) {
        g_autofree char *name = repository_of(*digest);

        if (strcmp(name, first) != 0)
            return false;
    }
    return true;
}

static bool
conflict(const Removal *removal, bool can_force, GError **error, const char *why, const char *who)
{
    return sl_fail(error, SL_ERROR_CONFLICT, "conflict: unable to delete %.12s (%s) - %s%s",
                   sl_digest_hex(removal->record->id), can_force ? "must be forced" : "cannot be forced", why,
                   who);
}

static bool
has_children(SlImages *images, const char *id)
{
    GHashTableIter iter;
    gpointer entry;

    SL_LOCK_GUARD(&images->lock);
    g_hash_table_iter_init(&iter, images->by_id);
    while (g_hash_table_iter_next(&iter, NULL, &entry))
        if (strcmp(((const ImageEntry *)entry)->parent, id) == 0)
            return true;
    return false;
}

/* Docker's order: what no force helps against, then what it does. with_references: the image is to keep those
 * names. */
static bool
removal_check(const Removal *removal, bool with_references, GError **error)
{
    if (has_children(removal->images, removal->record->id))
        return conflict(removal, false, error, "image has dependent child images", "");
    if (removal->user && removal->is_running)
        return conflict(removal, false, error, "image is being used by running container ", removal->user);
    if (removal->is_forced)
        return true;
    if (with_references && *removal->record->repo_tags)
        return conflict(removal, true, error, "image is referenced in multiple repositories", "");
    if (removal->user)
        return conflict(removal, true, error, "image is being used by stopped container ", removal->user);
    return true;
}

/* Takes names off the image; the record follows. which: NULL-ended tags and digests, already in the record.
 */
static bool
untag(Removal *removal, const char *const *which, GError **error)
{
    SlImages *images = removal->images;
    g_autoptr(ImageEntry) entry = images_entry_copy(images, removal->record->id);
    g_autofree SlStoreChange *changes = g_new0(SlStoreChange, g_strv_length((GStrv)(uintptr_t)which) + 1);
    g_autofree char *document = NULL;
    size_t n = 0;

    if (!entry)
        return sl_fail(error, SL_ERROR_NOT_FOUND, "No such image: %s", removal->asked);
    for (const char *const *name = which; *name; name++) {
        guint index;

        if (g_ptr_array_find_with_equal_func(entry->repo_digests, *name, g_str_equal, &index))
            g_ptr_array_remove_index(entry->repo_digests, index);
        else
            changes[n++] = (SlStoreChange){ "tag", *name, NULL };
    }
    document = entry_document(entry);
    if (!entry->is_base)
        changes[n++] = (SlStoreChange){ "image", entry->image->id, document };
    if (!sl_store_commit(images->config.store, changes, n, NULL, 0, error))
        return false;

    SL_LOCK_GUARD(&images->lock);
    for (const char *const *name = which; *name; name++) {
        g_hash_table_remove(images->tags, *name);
        line_add(removal->lines, "Untagged", *name);
    }
    g_hash_table_replace(images->by_id, g_strdup(entry->image->id), entry);
    sl_image_record_free(removal->record);
    removal->record = images_snapshot(images, entry);
    g_steal_pointer(&entry);
    return true;
}

static bool
untag_all(Removal *removal, GError **error)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);

    for (char **tag = removal->record->repo_tags; *tag; tag++)
        g_ptr_array_add(names, g_strdup(*tag));
    for (char **digest = removal->record->repo_digests; *digest; digest++)
        g_ptr_array_add(names, g_strdup(*digest));
    if (names->len == 0)
        return true;
    g_ptr_array_add(names, NULL);
    return untag(removal, (const char *const *)names->pdata, error);
}

/* One name; with a repository's last tag its digests go too. */
static bool
untag_one(Removal *removal, const char *name, GError **error)
{
    g_autofree char *repository = repository_of(name);
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    bool has_other_tag = strchr(name, '@') != NULL;

    g_ptr_array_add(names, g_strdup(name));
    for (char **tag = removal->record->repo_tags; *tag && !has_other_tag; tag++) {
        g_autofree char *other = repository_of(*tag);

        has_other_tag = strcmp(*tag, name) != 0 && strcmp(other, repository) == 0;
    }
    for (char **digest = removal->record->repo_digests; *digest && !has_other_tag; digest++) {
        g_autofree char *other = repository_of(*digest);

        if (strcmp(other, repository) == 0)
            g_ptr_array_add(names, g_strdup(*digest));
    }
    g_ptr_array_add(names, NULL);
    return untag(removal, (const char *const *)names->pdata, error);
}

static void
rootfs_remove(SlImages *images, const char *id)
{
    g_autofree char *size = g_strconcat(sl_digest_hex(id), ".size", NULL);
    g_autofree char *lock = g_strconcat(".", sl_digest_hex(id), ".lock", NULL);
    g_autoptr(GError) error = NULL;
    sl_autofd int fd = -1;

    if (!images->rootfs_folder)
        return;
    fd = open(images->rootfs_folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return;
    unlinkat(fd, size, 0); /* first: without it the folder counts as not there */
    if (!sl_tree_remove(fd, sl_digest_hex(id), &error))
        sl_warn("unpacked image stays behind image=%s error=%s", id, error->message);
    unlinkat(fd, lock, 0);
}

/* The image itself, once it has no names. A forced removal leaves a stopped container its files, as Docker
 * does. */
static bool
image_delete(Removal *removal, GError **error)
{
    SlImages *images = removal->images;
    const char *id = removal->record->id;
    g_autoptr(GPtrArray) digests = g_ptr_array_new_with_free_func(g_free);
    const SlStoreChange change = { "image", id, NULL };

    if (!sl_store_commit(images->config.store, &change, 1, NULL, 0, error))
        return false;
    {
        SL_LOCK_GUARD(&images->lock);
        digests_of(images_entry(images, id)->image, digests);
        g_hash_table_remove(images->by_id, id);
    }
    line_add(removal->lines, "Deleted", id);
    if (removal->user)
        return true;
    rootfs_remove(images, id);
    images_blobs_release(images, digests);
    return true;
}

/* The tag or "name@digest" that the user meant, as the record spells it; NULL when an id was given. Borrowed
 * from the record. */
static const char *
meant_name(const SlImageRecord *record, const char *asked)
{
    g_auto(SlReference) parsed = { 0 };
    g_autofree char *name = NULL;
    g_autofree char *familiar = NULL;

    if (!sl_reference_parse(asked, true, &parsed, NULL))
        return NULL;
    name = sl_reference_familiar_name(&parsed);
    familiar = parsed.digest ? g_strconcat(name, "@", parsed.digest, NULL) : sl_reference_familiar(&parsed);
    for (char **known = parsed.digest ? record->repo_digests : record->repo_tags; *known; known++)
        if (strcmp(*known, familiar) == 0)
            return *known;
    return NULL;
}

static bool
removal_by_name(Removal *removal, const char *name, bool *ret_is_done, GError **error)
{
    if (!removal->is_forced && removal->user && is_single_reference(removal->record))
        return sl_fail(error, SL_ERROR_CONFLICT,
                       "conflict: unable to remove repository reference \"%s\" (must force) - container %s "
                       "is using its referenced image %.12s",
                       removal->asked, removal->user, sl_digest_hex(removal->record->id));
    if (!untag_one(removal, name, error))
        return false;
    /* Other names keep it; so do users, quietly, since the name is gone as asked. */
    *ret_is_done = removal->record->is_base || *removal->record->repo_tags ||
                   *removal->record->repo_digests || !removal_check(removal, false, NULL);
    return true;
}

static bool
removal_run(Removal *removal, GError **error)
{
    const char *name = meant_name(removal->record, removal->asked);
    bool is_done = false;

    if (removal->record->is_base && (!name || strcmp(name, SL_BASE_IMAGE_REFERENCE) == 0))
        return sl_fail(error, SL_ERROR_CONFLICT,
                       "conflict: unable to delete %.12s (cannot be forced) - it is the built-in image "
                       "(--builtin-images=off leaves it out)",
                       sl_digest_hex(removal->record->id));
    if (name) {
        if (!removal_by_name(removal, name, &is_done, error) || is_done)
            return is_done;
    } else {
        if (!removal_check(removal, !is_single_reference(removal->record), error) ||
            !untag_all(removal, error))
            return false;
    }
    return image_delete(removal, error);
}

bool
images_is_used(SlImages *images, const char *id)
{
    bool is_running;
    g_autofree char *user =
        images->config.find_user ? images->config.find_user(images->config.user, id, &is_running) : NULL;

    return user != NULL;
}

static void
removal_events(const Removal *removal)
{
    size_t index;
    json_t *line;

    json_array_foreach(removal->lines, index, line) {
        bool is_untag = json_object_get(line, "Untagged") != NULL;

        images_emit(removal->images, is_untag ? "untag" : "delete", removal->record->id, removal->record->id,
                    removal->record->config);
    }
}

/* The record as it is now that nobody else changes it. */
static bool
removal_again(Removal *removal, GError **error)
{
    SlImageRecord *record = sl_images_resolve(removal->images, removal->asked, error);
    bool is_same = record && strcmp(record->id, removal->record->id) == 0;

    if (!record)
        return false;
    sl_image_record_free(removal->record);
    removal->record = record;
    return is_same ||
           sl_fail(error, SL_ERROR_CONFLICT, "conflict: %s was changed meanwhile: try again", removal->asked);
}

bool
sl_images_remove(SlImages *images, const char *reference, bool force, json_t **ret_lines, GError **error)
{
    g_autoptr(json_t) lines = json_array();
    Removal removal = { .images = images, .asked = reference, .is_forced = force, .lines = lines };
    bool ok;

    removal.record = sl_images_resolve(images, reference, error);
    if (!removal.record)
        return false;
    if (images->config.find_user)
        removal.user = images->config.find_user(images->config.user, removal.record->id, &removal.is_running);
    {
        SL_LOCK_GUARD(&images->changing);
        ok = removal_again(&removal, error) && removal_run(&removal, error);
    }
    removal_events(&removal);
    if (ok)
        *ret_lines = g_steal_pointer(&lines);
    sl_image_record_free(removal.record);
    g_free(removal.user);
    return ok;
}
