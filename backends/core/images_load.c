#include "backends/core/images_internal.h"

#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "oci/digest.h"
#include "oci/tar_load.h"

enum {
    SHORT_DIGITS = 12,
    PROGRESS_MS = 100, /* between two lines of a layer */
};

/* One load. */
typedef struct Load {
    SlImages *images;
    SlCancel *cancel;
    SlPullProgress progress;
    SlImagesSay say;
    void *user;
    const SlImageLayer *layer; /* the last one told of */
    int64_t told_ms;
} Load;

static void G_GNUC_PRINTF(2, 3) say(const Load *load, const char *format, ...)
{
    g_autofree char *line = NULL;
    va_list args;

    va_start(args, format);
    line = g_strdup_vprintf(format, args);
    va_end(args);
    load->say(load->user, line);
}

static void
unpack_progress(void *user, const SlImageLayer *layer, int64_t n_read)
{
    Load *load = user;
    int64_t now_ms = sl_clock_monotonic_ms();
    char id[SHORT_DIGITS + 1];

    if (layer == load->layer && n_read < layer->size && now_ms - load->told_ms < PROGRESS_MS)
        return;
    load->layer = layer;
    load->told_ms = now_ms;
    snprintf(id, sizeof id, "%s", sl_digest_hex(layer->diff_id));
    load->progress(load->user, id, "Loading layer", MIN(n_read, layer->size), layer->size);
}

static void
image_free_item(gpointer item)
{
    sl_image_free(item);
}

/* What is wrong with any image is found before one of them is entered. */
static GPtrArray *
images_read(Load *load, const GPtrArray *loaded, GError **error)
{
    g_autoptr(GPtrArray) images = g_ptr_array_new_with_free_func(image_free_item);
    const SlUnpackWatch watch = { unpack_progress, load };

    for (guint i = 0; i < loaded->len; i++) {
        const SlLoadedImage *one = loaded->pdata[i];
        SlImage *image = sl_image_load(load->images->config.content, one->manifest_digest, error);
        g_autofree char *path = NULL;

        if (!image)
            return NULL;
        g_ptr_array_add(images, image);
        for (char **name = one->names; *name; name++)
            if (strcmp(*name, SL_BASE_IMAGE_REFERENCE) == 0 &&
                g_strcmp0(image->id, load->images->base_id) != 0) {
                sl_fail(error, SL_ERROR_INVALID, "%s is the name of the built-in image", *name);
                return NULL;
            }
        if (!images_unpack(load->images, image, load->progress ? &watch : NULL, load->cancel, &path, error))
            return NULL;
    }
    return g_steal_pointer(&images);
}

static void
moves_say(Load *load, const char *const *names, const char *id)
{
    SL_LOCK_GUARD(&load->images->lock);
    for (; *names; names++) {
        const char *before = g_hash_table_lookup(load->images->tags, *names);

        if (before && strcmp(before, id) != 0)
            say(load, "The image %s already exists, renaming the old one with ID %s to empty string", *names,
                before);
    }
}

static bool
enter(Load *load, SlImage *image /* taken */, GStrv names, GError **error)
{
    SlImages *images = load->images;
    g_autoptr(ImageEntry) entry = NULL;

    SL_LOCK_GUARD(&images->changing);
    entry = images_entry_copy(images, image->id);
    if (entry) {
        images_sizes_copy(image, entry->image);
        sl_image_free(image);
    } else {
        entry = images_entry_new(image);
    }
    if (entry->is_base) /* its one name is not the store's */
        names = names + g_strv_length(names);
    if (*names)
        entry->tagged_ns = sl_clock_now_ns();
    moves_say(load, (const char *const *)names, entry->image->id);
    if (!images_publish(images, entry, (const char *const *)names, error))
        return false;
    g_steal_pointer(&entry);
    return true;
}

static bool
load_run(Load *load, const SlTarSource *source, const SlPlatform *platform, GError **error)
{
    g_autoptr(GPtrArray) loaded = NULL;
    g_autoptr(GPtrArray) images = NULL;

    if (!sl_tar_load(load->images->config.content, source, platform, NULL, load->cancel, &loaded, error))
        return false;
    images = images_read(load, loaded, error);
    if (!images)
        return false;
    for (guint i = 0; i < loaded->len; i++) {
        const SlLoadedImage *one = loaded->pdata[i];
        SlImage *image = g_steal_pointer(&images->pdata[i]);
        g_autofree char *id = g_strdup(image->id);
        g_autoptr(json_t) config = json_incref(image->config);

        if (!enter(load, image, one->names, error))
            return false;
        for (char **name = one->names; *name; name++)
            say(load, "Loaded image: %s", *name);
        if (!*one->names)
            say(load, "Loaded image ID: %s", id);
        images_emit(load->images, "load", id, id, config);
        sl_info("image loaded image=%s", id);
    }
    return true;
}

bool
sl_images_load(SlImages *images, SlCancel *cancel, const SlTarSource *source, const SlPlatform *platform,
               SlPullProgress progress, SlImagesSay say_line, void *user, GError **error)
{
    Load load = { .images = images, .cancel = cancel, .progress = progress, .say = say_line, .user = user };
    bool ok;

    sl_images_hold(images);
    ok = load_run(&load, source, platform, error);
    sl_images_release(images, true);
    return ok;
}
