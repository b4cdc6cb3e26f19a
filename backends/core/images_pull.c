#include "backends/core/images_internal.h"

#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "oci/digest.h"
#include "oci/unpack.h"

/* One pull. */
typedef struct Pull {
    SlImages *images;
    SlCancel *cancel;
    SlReference reference;
    char *familiar; /* alpine:3, or alpine@sha256:… */
    const SlPlatform *platform;
    SlPullProgress progress;
    void *user;
} Pull;

static void
pull_clear(Pull *pull)
{
    sl_reference_clear(&pull->reference);
    g_free(pull->familiar);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Pull, pull_clear)

static void G_GNUC_PRINTF(2, 3) say(const Pull *pull, const char *format, ...)
{
    g_autofree char *status = NULL;
    va_list args;

    va_start(args, format);
    status = g_strdup_vprintf(format, args);
    va_end(args);
    if (pull->progress)
        pull->progress(pull->user, NULL, status, 0, 0);
}

static void
layers_say(const Pull *pull, const SlImage *image, const char *status)
{
    for (guint i = 0; pull->progress && i < image->layers->len; i++) {
        char id[13];

        snprintf(id, sizeof id, "%s", sl_digest_hex(((const SlImageLayer *)image->layers->pdata[i])->digest));
        pull->progress(pull->user, id, status, 0, 0);
    }
}

static void
pulls_begin(SlImages *images)
{
    SL_LOCK_GUARD(&images->changing);
    images->n_pulls++;
}

static void
pulls_end(SlImages *images)
{
    SL_LOCK_GUARD(&images->changing);
    images->n_pulls--;
    images_blobs_release(images, NULL);
}

static bool
platform_check(const Pull *pull, const SlImage *image, GError **error)
{
    const SlPlatform *wanted = pull->platform;

    if (!wanted || ((!wanted->os || strcmp(wanted->os, image->os) == 0) &&
                    (!wanted->architecture || strcmp(wanted->architecture, image->architecture) == 0)))
        return true;
    return sl_fail(error, SL_ERROR_NOT_FOUND,
                   "image with reference %s was found but does not match the specified platform: wanted "
                   "%s/%s, actual: %s/%s",
                   pull->familiar, wanted->os ? wanted->os : "linux",
                   wanted->architecture ? wanted->architecture : "", image->os, image->architecture);
}

/* Unpacked at once, so that the first start does not wait, and a layer that is not what it says fails the
 * pull. */
static bool
unpack(const Pull *pull, const SlImage *image, int64_t *ret_size, GError **error)
{
    g_autofree char *path = NULL;

    *ret_size = image->size;
    if (!pull->images->rootfs_folder)
        return true;
    return sl_rootfs_prepare(pull->images->config.content, image, pull->images->rootfs_folder, NULL,
                             pull->cancel, &path, ret_size, error);
}

static bool
is_tagged(SlImages *images, const char *tag, const char *id)
{
    SL_LOCK_GUARD(&images->lock);
    return g_strcmp0(g_hash_table_lookup(images->tags, tag), id) == 0;
}

/* Enters the image into the index. ret_is_new: the tag was none of this image's before. */
static bool
enter(const Pull *pull, SlImage *image /* taken */, int64_t size, const char *index_digest, bool *ret_is_new,
      GError **error)
{
    SlImages *images = pull->images;
    g_autofree char *name = sl_reference_familiar_name(&pull->reference);
    g_autofree char *digest = g_strconcat(name, "@", index_digest, NULL);
    const char *tag = pull->reference.digest ? NULL : pull->familiar;
    g_autoptr(ImageEntry) entry = NULL;

    SL_LOCK_GUARD(&images->changing);
    entry = images_entry_copy(images, image->id);
    *ret_is_new = entry == NULL;
    if (entry)
        sl_image_free(image);
    else
        entry = images_entry_new(image);
    if (tag && !*ret_is_new)
        *ret_is_new = !is_tagged(images, tag, entry->image->id);
    if (!g_ptr_array_find_with_equal_func(entry->repo_digests, digest, g_str_equal, NULL))
        g_ptr_array_add(entry->repo_digests, g_steal_pointer(&digest));
    entry->size = size;
    if (*ret_is_new)
        entry->tagged_ns = sl_clock_now_ns();
    if (!images_publish(images, entry, tag, error))
        return false;
    g_steal_pointer(&entry);
    return true;
}

static bool
pull_from_registry(const Pull *pull, const SlRegistryAuth *auth, GError **error)
{
    SlContent *content = pull->images->config.content;
    g_autofree char *manifest_digest = NULL;
    g_autofree char *index_digest = NULL;
    g_autofree char *id = NULL;
    g_autoptr(SlImage) image = NULL;
    g_autoptr(json_t) config = NULL;
    bool is_new = false;
    int64_t size = 0;

    if (!sl_registry_pull(pull->images->config.registry, pull->cancel, &pull->reference, auth, pull->platform,
                          content, pull->progress, pull->user, &manifest_digest, &index_digest, error))
        return false;
    image = sl_image_load(content, manifest_digest, error);
    if (!image || !platform_check(pull, image, error) || !unpack(pull, image, &size, error))
        return false;
    layers_say(pull, image, "Pull complete");
    config = json_incref(image->config);
    if (!enter(pull, g_steal_pointer(&image), size, index_digest, &is_new, error))
        return false;

    say(pull, "Digest: %s", index_digest);
    say(pull, is_new ? "Status: Downloaded newer image for %s" : "Status: Image is up to date for %s",
        pull->familiar);
    sl_info("image pulled reference=%s digest=%s", pull->familiar, index_digest);
    images_emit(pull->images, "pull", pull->familiar, pull->familiar, config);
    return true;
}

/* Remembers whether a pull of the name found no registry. */
static void
reach_note(const Pull *pull, bool is_unreachable)
{
    SL_LOCK_GUARD(&pull->images->lock);
    if (is_unreachable)
        g_hash_table_add(pull->images->unreachable, g_strdup(pull->familiar));
    else
        g_hash_table_remove(pull->images->unreachable, pull->familiar);
}

static void
stand_in_say(const Pull *pull, const char *why)
{
    say(pull, "%s: %s is served from the built-in image sockerless/base", why, pull->familiar);
    sl_warn("built-in image stands in for a pull reference=%s reason=\"%s\"", pull->familiar, why);
}

static bool
pull_run(const Pull *pull, const SlRegistryAuth *auth, GError **error)
{
    bool can_stand_in = images_base_stands_in(pull->images, &pull->reference);
    g_autoptr(GError) local = NULL;

    if (pull->images->base_id && strcmp(pull->familiar, SL_BASE_IMAGE_REFERENCE) == 0) {
        say(pull, "Status: Image is up to date for %s", pull->familiar);
        return true;
    }
    if (can_stand_in && pull->images->config.builtin == SL_BUILTIN_ALWAYS) {
        stand_in_say(pull, "registry is not asked (--builtin-images=always)");
        return true;
    }
    if (pull_from_registry(pull, auth, &local)) {
        reach_note(pull, false);
        return true;
    }
    if (can_stand_in && g_error_matches(local, SL_ERROR, SL_ERROR_UNAVAILABLE)) {
        reach_note(pull, true);
        sl_warn("registry cannot be reached error=%s", local->message);
        stand_in_say(pull, "registry cannot be reached");
        return true;
    }
    g_propagate_error(error, g_steal_pointer(&local));
    return false;
}

bool
sl_images_pull(SlImages *images, SlCancel *cancel, const char *reference, const SlRegistryAuth *auth,
               const SlPlatform *platform, SlPullProgress progress, void *user, GError **error)
{
    g_auto(Pull) pull = {
        .images = images, .cancel = cancel, .platform = platform, .progress = progress, .user = user
    };
    bool ok;

    if (!sl_reference_parse(reference, true, &pull.reference, error))
        return false;
    pull.familiar = sl_reference_familiar(&pull.reference);
    pulls_begin(images);
    ok = pull_run(&pull, auth, error);
    pulls_end(images);
    return ok;
}
