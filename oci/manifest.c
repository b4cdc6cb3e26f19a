#include "oci/manifest.h"

#include <string.h>

#include "oci/document.h"
#include "oci/reference.h"

static const char *const manifest_types[] = { SL_MEDIA_DOCKER_MANIFEST, SL_MEDIA_OCI_MANIFEST, NULL };
static const char *const index_types[] = { SL_MEDIA_DOCKER_INDEX, SL_MEDIA_OCI_INDEX, NULL };
static const char *const config_types[] = { "application/vnd.docker.container.image.v1+json",
                                            SL_MEDIA_OCI_CONFIG, NULL };
static const char *const layer_types[] = {
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
    "application/vnd.docker.image.rootfs.diff.tar.zstd",
    SL_MEDIA_OCI_LAYER,
    SL_MEDIA_OCI_LAYER "+gzip",
    SL_MEDIA_OCI_LAYER "+zstd",
    NULL,
};

static void
descriptor_free(SlDescriptor *descriptor)
{
    if (!descriptor)
        return;
    g_free(descriptor->media_type);
    g_free(descriptor->digest);
    sl_platform_clear(&descriptor->platform);
    g_free(descriptor->name);
    g_free(descriptor);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(SlDescriptor, descriptor_free)

static void
descriptor_free_item(gpointer item)
{
    descriptor_free(item);
}

void
sl_manifest_free(SlManifest *manifest)
{
    if (!manifest)
        return;
    descriptor_free(manifest->config);
    if (manifest->entries)
        g_ptr_array_unref(manifest->entries);
    g_free(manifest);
}

static bool
platform_read(const json_t *json, SlPlatform *platform, GError **error)
{
    json_t *object = NULL;
    const char *os = NULL;
    const char *architecture = NULL;
    const char *variant = NULL;

    if (!sl_document_object(json, "platform", "manifest list", &object, error))
        return false;
    if (!sl_document_string(object, "os", "platform", &os, error) ||
        !sl_document_string(object, "architecture", "platform", &architecture, error) ||
        !sl_document_string(object, "variant", "platform", &variant, error))
        return false;
    platform->os = g_strdup(os);
    platform->architecture = g_strdup(architecture);
    platform->variant = variant && *variant ? g_strdup(variant) : NULL;
    return true;
}

/* containerd's and Docker's whole name, else OCI's, which some write whole and some as a mere tag. */
static bool
name_read(const json_t *json, SlDescriptor *descriptor, GError **error)
{
    json_t *annotations = NULL;
    const char *whole = NULL;
    const char *name = NULL;

    if (!sl_document_object(json, "annotations", "manifest list entry", &annotations, error) ||
        !sl_document_string(annotations, "io.containerd.image.name", "annotations", &whole, error) ||
        !sl_document_string(annotations, "org.opencontainers.image.ref.name", "annotations", &name, error))
        return false;
    if (!whole && name && strpbrk(name, ":/"))
        whole = name;
    descriptor->name = g_strdup(whole);
    return true;
}

static SlDescriptor *
descriptor_read(const json_t *json, const char *what, GError **error)
{
    g_autoptr(SlDescriptor) descriptor = g_new0(SlDescriptor, 1);
    const char *media_type = "";
    const char *digest = NULL;

    descriptor->size = -1;
    if (!json_is_object(json)) {
        sl_fail(error, SL_ERROR_INVALID, "invalid manifest: %s is not an object", what);
        return NULL;
    }
    if (!sl_document_string(json, "mediaType", what, &media_type, error) ||
        !sl_document_string(json, "digest", what, &digest, error) ||
        !sl_document_size(json, "size", what, &descriptor->size, error) ||
        !platform_read(json, &descriptor->platform, error) || !name_read(json, descriptor, error))
        return NULL;
    if (!sl_digest_is_valid(digest)) {
        sl_fail(error, SL_ERROR_INVALID, "invalid manifest: %s has no valid sha256 digest", what);
        return NULL;
    }
    if (descriptor->size < 0) {
        sl_fail(error, SL_ERROR_INVALID, "invalid manifest: %s has no size", what);
        return NULL;
    }
    descriptor->media_type = g_strdup(media_type);
    descriptor->digest = g_strdup(digest);
    return g_steal_pointer(&descriptor);
}

static bool
layer_type_check(const char *media_type, GError **error)
{
    if (g_strv_contains(layer_types, media_type))
        return true;
    if (strstr(media_type, ".foreign.") || strstr(media_type, ".nondistributable."))
        return sl_fail(error, SL_ERROR_INVALID, "foreign layers are not supported (media type %s)",
                       media_type);
    return sl_fail(error, SL_ERROR_INVALID, "unsupported layer media type \"%s\"", media_type);
}

static bool
layers_read(SlManifest *manifest, const json_t *root, GError **error)
{
    json_t *layers = NULL;
    json_t *config = NULL;
    size_t index;
    json_t *layer;

    if (!sl_document_object(root, "config", "invalid manifest", &config, error) ||
        !sl_document_array(root, "layers", "invalid manifest", &layers, error))
        return false;
    if (!config || !layers)
        return sl_fail(error, SL_ERROR_INVALID, "invalid manifest: it has no %s",
                       config ? "layers" : "config");
    if (json_array_size(layers) > SL_MANIFEST_MAX_LAYERS)
        return sl_fail(error, SL_ERROR_INVALID, "max depth exceeded: the image has %zu layers",
                       json_array_size(layers));

    manifest->config = descriptor_read(config, "config", error);
    if (!manifest->config)
        return false;
    if (!g_strv_contains(config_types, manifest->config->media_type))
        return sl_fail(error, SL_ERROR_INVALID, "unsupported media type %s: this is not a container image",
                       manifest->config->media_type);
    if (manifest->config->size > SL_CONFIG_MAX_BYTES)
        return sl_fail(error, SL_ERROR_INVALID, "invalid manifest: the image's config is too large");

    json_array_foreach(layers, index, layer) {
        SlDescriptor *descriptor = descriptor_read(layer, "layer", error);

        if (!descriptor)
            return false;
        g_ptr_array_add(manifest->entries, descriptor);
        if (!layer_type_check(descriptor->media_type, error))
            return false;
    }
    return true;
}

static bool
index_read(SlManifest *manifest, const json_t *root, GError **error)
{
    json_t *entries = NULL;
    size_t index;
    json_t *entry;

    if (!sl_document_array(root, "manifests", "invalid manifest list", &entries, error))
        return false;
    if (json_array_size(entries) > SL_INDEX_MAX_ENTRIES)
        return sl_fail(error, SL_ERROR_INVALID, "invalid manifest list: more than %d entries",
                       SL_INDEX_MAX_ENTRIES);
    json_array_foreach(entries, index, entry) {
        SlDescriptor *descriptor = descriptor_read(entry, "manifest list entry", error);

        if (!descriptor)
            return false;
        g_ptr_array_add(manifest->entries, descriptor);
    }
    return true;
}

/* The part of a Content-Type before its parameters, lower-case. Caller frees. */
static char *
bare_type(const char *content_type)
{
    return g_strstrip(g_ascii_strdown(content_type, (gssize)strcspn(content_type, ";")));
}

static bool
is_known_type(const char *type)
{
    return g_strv_contains(manifest_types, type) || g_strv_contains(index_types, type);
}

/* The document's kind: what it says itself, what the header says, and what it holds must agree. */
static bool
kind_check(const json_t *root, const char *content_type, bool *ret_is_index, GError **error)
{
    g_autofree char *header = content_type ? bare_type(content_type) : NULL;
    bool has_layers = json_object_get(root, "layers") || json_object_get(root, "config");
    bool has_manifests = json_object_get(root, "manifests") != NULL;
    const char *own = NULL;
    const char *type;

    if (!sl_document_string(root, "mediaType", "invalid manifest", &own, error))
        return false;
    if (json_object_get(root, "fsLayers") || json_object_get(root, "signatures"))
        return sl_fail(
            error, SL_ERROR_INVALID,
            "Docker Image manifest version 2, schema 1 is no longer supported: push the image again");
    if (json_integer_value(json_object_get(root, "schemaVersion")) != 2)
        return sl_fail(error, SL_ERROR_INVALID, "invalid manifest: schemaVersion must be 2");
    if (own && *own && !is_known_type(own))
        return sl_fail(error, SL_ERROR_INVALID, "unsupported manifest media type \"%s\"", own);
    if (header && is_known_type(header) && own && *own && strcmp(header, own) != 0)
        return sl_fail(error, SL_ERROR_INVALID, "invalid manifest: it is \"%s\", but was sent as \"%s\"", own,
                       header);

    type = own && *own ? own : header;
    *ret_is_index = type && is_known_type(type) ? g_strv_contains(index_types, type) : has_manifests;
    if (*ret_is_index ? has_layers || !has_manifests : has_manifests)
        return sl_fail(error, SL_ERROR_INVALID, "invalid manifest: its content does not fit its media type");
    return true;
}

SlManifest *
sl_manifest_parse(const char *text, size_t n, const char *content_type, GError **error)
{
    g_autoptr(SlManifest) manifest = g_new0(SlManifest, 1);
    g_autoptr(json_t) root = NULL;

    manifest->entries = g_ptr_array_new_with_free_func(descriptor_free_item);
    if (n > SL_MANIFEST_MAX_BYTES) {
        sl_fail(error, SL_ERROR_INVALID, "invalid manifest: larger than %d bytes", SL_MANIFEST_MAX_BYTES);
        return NULL;
    }
    root = sl_document_parse(text, n, "invalid manifest", error);
    if (!root || !kind_check(root, content_type, &manifest->is_index, error))
        return NULL;
    if (!(manifest->is_index ? index_read(manifest, root, error) : layers_read(manifest, root, error)))
        return NULL;
    return g_steal_pointer(&manifest);
}

/* How well an entry fits: 0 not at all. Without a wanted variant the plainest one wins: none, then the
 * architecture's usual one. */
static int
fit_of(const SlPlatform *have, const SlPlatform *wanted)
{
    if (wanted->os && g_strcmp0(have->os, wanted->os) != 0)
        return 0;
    if (wanted->architecture && g_strcmp0(have->architecture, wanted->architecture) != 0)
        return 0;
    if (!have->os || strcmp(have->os, "unknown") == 0) /* attestations of buildx */
        return 0;
    if (wanted->variant) {
        if (!have->variant)
            return strcmp(wanted->variant, "v8") == 0 ? 2 : 0;
        return strcmp(have->variant, wanted->variant) == 0 ? 3 : 0;
    }
    if (!have->variant)
        return 3;
    return strcmp(have->variant, "v8") == 0 || strcmp(have->variant, "v7") == 0 ? 2 : 1;
}

const SlDescriptor *
sl_manifest_choose(const SlManifest *index, const SlPlatform *wanted, GError **error)
{
    const SlDescriptor *best = NULL;
    int best_fit = 0;

    for (guint i = 0; i < index->entries->len; i++) {
        const SlDescriptor *entry = index->entries->pdata[i];
        int fit = fit_of(&entry->platform, wanted);

        if (fit > best_fit) {
            best = entry;
            best_fit = fit;
        }
    }
    if (!best)
        sl_fail(error, SL_ERROR_NOT_FOUND, "no matching manifest for %s/%s%s%s in the manifest list entries",
                wanted->os ? wanted->os : "linux", wanted->architecture ? wanted->architecture : "unknown",
                wanted->variant ? "/" : "", wanted->variant ? wanted->variant : "");
    return best;
}
