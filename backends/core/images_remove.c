#include "backends/core/images_internal.h"

#include <string.h>

#include "common/failpoint.h"
#include "oci/digest.h"

typedef struct Removal {
    SlImages *images;
    SlImageRecord *record;
    const char *asked; /* as the user wrote it */
    bool is_forced;
    json_t *lines;
    char *user; /* a container that uses the image, or NULL */
    bool is_running;
    uint64_t n_begun; /* creates from the image, when users were looked for */
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
    document = images_entry_document(entry);
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

/* Layers that no other image has, uppermost first, as Docker tells them. With lock held. */
static void
layers_say(SlImages *images, const SlImage *image, json_t *lines)
{
    g_autoptr(GHashTable) kept = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_autoptr(GPtrArray) own = sl_image_chain_ids(image);
    GHashTableIter iter;
    gpointer item;

    g_hash_table_iter_init(&iter, images->by_id);
    while (g_hash_table_iter_next(&iter, NULL, &item)) {
        g_autoptr(GPtrArray) chain = sl_image_chain_ids(((const ImageEntry *)item)->image);

        for (guint i = 0; i < chain->len; i++)
            g_hash_table_add(kept, g_strdup(chain->pdata[i]));
    }
    for (guint i = own->len; i > 0 && !g_hash_table_contains(kept, own->pdata[i - 1]); i--)
        line_add(lines, "Deleted", own->pdata[i - 1]);
}

/* The image itself, once it has no names. A forced removal leaves a stopped container its files, as Docker
 * does: they go with it. */
static bool
image_delete(Removal *removal, GError **error)
{
    SlImages *images = removal->images;
    g_autofree char *id = g_strdup(removal->record->id);
    g_autofree gpointer key = NULL;
    const SlStoreChange change = { "image", id, NULL };
    g_autoptr(ImageEntry) entry = NULL;

    {
        SL_LOCK_GUARD(&images->lock);
        if (images_use_began(images, id, removal->n_begun))
            return sl_fail(
                error, SL_ERROR_CONFLICT,
                "conflict: unable to delete %.12s (must be forced) - image is being used by a container "
                "that is being created",
                sl_digest_hex(id));
        g_hash_table_steal_extended(images->by_id, id, &key, (gpointer *)(void *)&entry);
    }
    if (!sl_store_commit(images->config.store, &change, 1, NULL, 0, error)) {
        SL_LOCK_GUARD(&images->lock);
        g_hash_table_insert(images->by_id, g_steal_pointer(&key), g_steal_pointer(&entry));
        return false;
    }
    sl_failpoint("image.removed");
    line_add(removal->lines, "Deleted", id);
    if (!removal->user) {
        SL_LOCK_GUARD(&images->lock);
        layers_say(images, entry->image, removal->lines);
    }
    images_rootfs_release(images, id);
    images_sweep(images);
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

static void
removal_events(const Removal *removal)
{
    size_t index;
    json_t *line;

    json_array_foreach(removal->lines, index, line) {
        const char *id = removal->record->id;
        const char *action = json_object_get(line, "Untagged") ? "untag" : "delete";

        /* Layers have no events. */
        if (*action == 'u' || strcmp(json_string_value(json_object_get(line, "Deleted")), id) == 0)
            images_emit(removal->images, action, id, id, removal->record->config);
    }
}

/* With changing held, so that the record stays true. */
static bool
removal_begin(Removal *removal, GError **error)
{
    SlImages *images = removal->images;

    removal->record = sl_images_resolve(images, removal->asked, error);
    if (!removal->record)
        return false;
    removal->n_begun = images_uses_begun(images, removal->record->id);
    if (images->config.find_user)
        removal->user =
            images->config.find_user(images->config.user, removal->record->id, &removal->is_running);
    return true;
}

bool
sl_images_remove(SlImages *images, const char *reference, bool force, json_t **ret_lines, GError **error)
{
    g_autoptr(json_t) lines = json_array();
    Removal removal = { .images = images, .asked = reference, .is_forced = force, .lines = lines };
    bool ok;

    {
        SL_LOCK_GUARD(&images->changing);
        ok = removal_begin(&removal, error) && removal_run(&removal, error);
    }
    if (removal.record)
        removal_events(&removal);
    if (ok)
        *ret_lines = g_steal_pointer(&lines);
    sl_image_record_free(removal.record);
    g_free(removal.user);
    return ok;
}
