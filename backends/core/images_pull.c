#include "backends/core/images_internal.h"

#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "oci/digest.h"
#include "oci/unpack.h"

enum {
    SHORT_DIGITS = 12,
    PROGRESS_MS = 100, /* between two lines of a layer */
};

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

static void
layer_say(const Pull *pull, const SlImageLayer *layer, const char *status, int64_t current, int64_t total)
{
    char id[SHORT_DIGITS + 1];

    snprintf(id, sizeof id, "%s", sl_digest_hex(layer->digest));
    pull->progress(pull->user, id, status, current, total);
}

/* A pull that unpacks. */
typedef struct Unpacking {
    const Pull *pull;
    const SlImageLayer *layer; /* the last one told of */
    int64_t told_ms;
} Unpacking;

static void
unpack_progress(void *user, const SlImageLayer *layer, int64_t n_read)
{
    Unpacking *unpacking = user;
    int64_t now_ms = sl_clock_monotonic_ms();

    if (unpacking->layer && layer != unpacking->layer)
        layer_say(unpacking->pull, unpacking->layer, "Pull complete", 0, 0);
    if (layer == unpacking->layer && n_read < layer->size && now_ms - unpacking->told_ms < PROGRESS_MS)
        return;
    unpacking->layer = layer;
    unpacking->told_ms = now_ms;
    layer_say(unpacking->pull, layer, "Extracting", MIN(n_read, layer->size), layer->size);
}

/* Unpacked at once, so that the first start does not wait, and a layer that is not what it says fails the
 * pull. */
static bool
unpack(const Pull *pull, SlImage *image, GError **error)
{
    Unpacking unpacking = { .pull = pull };
    const SlUnpackWatch watch = { unpack_progress, &unpacking };
    g_autofree char *path = NULL;

    if (!images_unpack(pull->images, image, pull->progress ? &watch : NULL, pull->cancel, &path, error))
        return false;
    if (unpacking.layer)
        layer_say(pull, unpacking.layer, "Pull complete", 0, 0);
    return true;
}

static bool
is_tagged(SlImages *images, const char *tag, const char *id)
{
    SL_LOCK_GUARD(&images->lock);
    return g_strcmp0(g_hash_table_lookup(images->tags, tag), id) == 0;
}

/* Enters the image into the index. ret_is_new: the tag was none of this image's before. */
static bool
enter(const Pull *pull, SlImage *image /* taken */, const char *index_digest, bool *ret_is_new,
      GError **error)
{
    SlImages *images = pull->images;
    g_autofree char *name = sl_reference_familiar_name(&pull->reference);
    g_autofree char *digest = g_strconcat(name, "@", index_digest, NULL);
    const char *tag = pull->reference.digest ? NULL : pull->familiar;
    int64_t size = image->size;
    g_autoptr(ImageEntry) entry = NULL;

    SL_LOCK_GUARD(&images->changing);
    entry = images_entry_copy(images, image->id);
    *ret_is_new = entry == NULL;
    if (entry) {
        images_sizes_copy(image, entry->image);
        sl_image_free(image);
    } else {
        entry = images_entry_new(image);
    }
    if (tag && !*ret_is_new)
        *ret_is_new = !is_tagged(images, tag, entry->image->id);
    if (!g_ptr_array_find_with_equal_func(entry->repo_digests, digest, g_str_equal, NULL))
        g_ptr_array_add(entry->repo_digests, g_steal_pointer(&digest));
    entry->size = size;
    if (*ret_is_new)
        entry->tagged_ns = sl_clock_now_ns();
    if (!images_publish(images, entry, (const char *const[]){ tag, NULL }, error))
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

    if (!sl_registry_pull(pull->images->config.registry, pull->cancel, &pull->reference, auth, pull->platform,
                          content, pull->progress, pull->user, &manifest_digest, &index_digest, error))
        return false;
    image = sl_image_load(content, manifest_digest, error);
    if (!image || !platform_check(pull, image, error) || !unpack(pull, image, error))
        return false;
    config = json_incref(image->config);
    if (!enter(pull, g_steal_pointer(&image), index_digest, &is_new, error))
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
    sl_images_hold(images);
    ok = pull_run(&pull, auth, error);
    sl_images_release(images, !ok);
    return ok;
}
