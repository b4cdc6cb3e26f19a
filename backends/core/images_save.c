#include "backends/core/images_internal.h"

#include <string.h>

#include "oci/tar_save.h"

struct SlImagesSaved {
    SlImages *images;
    GPtrArray *list; /* of SlSavedImage * */
};

static void
saved_free_item(gpointer item)
{
    sl_saved_image_free(item);
}

static SlSavedImage *
saved_of(SlImagesSaved *saved, SlCancel *cancel, const SlImageRecord *record, GError **error)
{
    SlSavedImage *one;
    SlImage *image;

    for (guint i = 0; i < saved->list->len; i++) {
        one = saved->list->pdata[i];
        if (strcmp(one->image->id, record->id) == 0)
            return one;
    }
    image = sl_images_read(saved->images, cancel, record, error);
    if (!image)
        return NULL;
    one = g_new0(SlSavedImage, 1);
    one->image = image;
    one->names = g_new0(char *, 1);
    g_ptr_array_add(saved->list, one);
    return one;
}

static void
name_add(SlSavedImage *one, const char *name)
{
    guint n = g_strv_length(one->names);

    if (g_strv_contains((const char *const *)one->names, name))
        return;
    one->names = g_renew(char *, one->names, n + 2);
    one->names[n] = g_strdup(name);
    one->names[n + 1] = NULL;
}

static bool
add_named(SlImagesSaved *saved, SlCancel *cancel, const char *name, bool with_name, GError **error)
{
    g_autoptr(SlImageRecord) record = sl_images_resolve(saved->images, name, error);
    SlSavedImage *one = record ? saved_of(saved, cancel, record, error) : NULL;

    if (one && with_name)
        name_add(one, name);
    return one != NULL;
}

/* Every tag of a repository; caller frees. */
static GPtrArray *
tags_of_repository(SlImages *images, const SlReference *wanted)
{
    GPtrArray *tags = g_ptr_array_new_with_free_func(g_free);
    g_autofree char *name = sl_reference_familiar_name(wanted);
    g_autofree char *prefix = g_strconcat(name, ":", NULL);
    GHashTableIter iter;
    gpointer tag;

    SL_LOCK_GUARD(&images->lock);
    g_hash_table_iter_init(&iter, images->tags);
    while (g_hash_table_iter_next(&iter, &tag, NULL))
        if (g_str_has_prefix(tag, prefix))
            g_ptr_array_add(tags, g_strdup(tag));
    g_ptr_array_sort(tags, images_compare_text);
    return tags;
}

/* A tag is saved with its name, an id or digest without, a bare repository with all its tags. */
static bool
add(SlImagesSaved *saved, SlCancel *cancel, const char *asked, GError **error)
{
    g_auto(SlReference) reference = { 0 };
    g_autoptr(GPtrArray) tags = NULL;
    g_autofree char *familiar = NULL;

    if (!sl_reference_parse(asked, false, &reference, NULL) || reference.digest)
        return add_named(saved, cancel, asked, false, error);
    if (reference.tag) {
        familiar = sl_reference_familiar(&reference);
        return add_named(saved, cancel, familiar, true, error);
    }
    tags = tags_of_repository(saved->images, &reference);
    if (tags->len == 0)
        return add_named(saved, cancel, asked, false, error);
    for (guint i = 0; i < tags->len; i++)
        if (!add_named(saved, cancel, tags->pdata[i], true, error))
            return false;
    return true;
}

SlImagesSaved *
sl_images_save_open(SlImages *images, SlCancel *cancel, const char *const *names, GError **error)
{
    g_autoptr(SlImagesSaved) saved = g_new0(SlImagesSaved, 1);

    saved->images = images;
    saved->list = g_ptr_array_new_with_free_func(saved_free_item);
    sl_images_hold(images); /* a removal meanwhile takes no blob away */
    for (; *names; names++)
        if (!add(saved, cancel, *names, error))
            return NULL;
    return g_steal_pointer(&saved);
}

bool
sl_images_save_write(SlImagesSaved *saved, SlCancel *cancel,
                     bool (*write)(void *user, const void *data, size_t n, GError **error), void *user,
                     GError **error)
{
    if (!sl_tar_save(saved->images->config.content, saved->list, cancel, write, user, error))
        return false;
    for (guint i = 0; i < saved->list->len; i++) {
        const SlImage *image = ((const SlSavedImage *)saved->list->pdata[i])->image;

        images_emit(saved->images, "save", image->id, image->id, image->config);
    }
    return true;
}

void
sl_images_save_close(SlImagesSaved *saved)
{
    if (!saved)
        return;
    sl_images_release(saved->images, false);
    g_ptr_array_unref(saved->list);
    g_free(saved);
}
