#include "oci/image.h"

#include <string.h>

#include "oci/document.h"
#include "oci/manifest.h"
#include "oci/reference.h"

static const char config_what[] = "invalid image config";

static void
layer_free(gpointer item)
{
    SlImageLayer *layer = item;

    g_free(layer->digest);
    g_free(layer->diff_id);
    g_free(layer->media_type);
    g_free(layer);
}

void
sl_image_free(SlImage *image)
{
    if (!image)
        return;
    g_free(image->id);
    g_free(image->manifest_digest);
    json_decref(image->config);
    if (image->layers)
        g_ptr_array_unref(image->layers);
    g_free(image->architecture);
    g_free(image->os);
    g_free(image->variant);
    g_free(image);
}

static bool
string_values_check(const json_t *object, const char *key, GError **error)
{
    const char *name;
    json_t *value;

    /* jansson's iterators take no const; they change nothing. */
    json_object_foreach((json_t *)(uintptr_t)object, name, value)
        if (!json_is_string(value))
            return sl_fail(error, SL_ERROR_INVALID, "%s: %s.%s must be a string", config_what, key, name);
    return true;
}

/* Image volumes become mount points: a path that climbs would leave the container's root (CVE-2022-23648). */
static bool
volumes_check(json_t *volumes, GError **error)
{
    const char *path;
    json_t *value;

    json_object_foreach(volumes, path, value) {
        g_auto(GStrv) parts = g_strsplit(path, "/", -1);

        if (*path == '\0' || g_strv_contains((const char *const *)parts, ".."))
            return sl_fail(error, SL_ERROR_INVALID, "%s: invalid volume path \"%s\"", config_what, path);
    }
    return true;
}

/* The types of what containers are made from; unknown members stay as they are. */
static bool
runtime_config_check(const json_t *root, GError **error)
{
    static const char *const lists[] = { "Env", "Cmd", "Entrypoint", "OnBuild", "Shell" };
    static const char *const strings[] = { "User", "WorkingDir", "StopSignal", "Hostname", "Domainname" };
    static const char *const objects[] = { "ExposedPorts", "Volumes", "Labels", "Healthcheck" };
    json_t *config = NULL;
    json_t *labels = NULL;
    json_t *volumes = NULL;
    json_t *ignored = NULL;
    const char *text = NULL;

    if (!sl_document_object(root, "config", config_what, &config, error))
        return false;
    for (size_t i = 0; i < G_N_ELEMENTS(lists); i++)
        if (!sl_document_strings(config, lists[i], config_what, &ignored, error))
            return false;
    for (size_t i = 0; i < G_N_ELEMENTS(strings); i++)
        if (!sl_document_string(config, strings[i], config_what, &text, error))
            return false;
    for (size_t i = 0; i < G_N_ELEMENTS(objects); i++)
        if (!sl_document_object(config, objects[i], config_what, &ignored, error))
            return false;

    return sl_document_object(config, "Labels", config_what, &labels, error) &&
           string_values_check(labels, "Labels", error) &&
           sl_document_object(config, "Volumes", config_what, &volumes, error) &&
           volumes_check(volumes, error);
}

/* RFC 3339 to nanoseconds; what is missing, before 1970 or no time is 0. */
static int64_t
created_read(const char *text)
{
    g_autoptr(GDateTime) time = text ? g_date_time_new_from_iso8601(text, NULL) : NULL;
    const char *fraction = text ? strchr(text, '.') : NULL;
    int64_t seconds = time ? g_date_time_to_unix(time) : 0;
    int64_t ns = 0;

    if (seconds <= 0 || seconds > G_MAXINT64 / G_GINT64_CONSTANT(1000000000) - 1)
        return 0;
    for (int64_t unit = 100000000; fraction && g_ascii_isdigit(*++fraction) && unit > 0; unit /= 10)
        ns += unit * (*fraction - '0');
    return seconds * G_GINT64_CONSTANT(1000000000) + ns;
}

static bool
config_read(SlImage *image, GError **error)
{
    const char *os = NULL;
    const char *architecture = NULL;
    const char *variant = NULL;
    const char *created = NULL;

    if (!sl_document_string(image->config, "os", config_what, &os, error) ||
        !sl_document_string(image->config, "architecture", config_what, &architecture, error) ||
        !sl_document_string(image->config, "variant", config_what, &variant, error) ||
        !sl_document_string(image->config, "created", config_what, &created, error))
        return false;
    if (!os || !architecture)
        return sl_fail(error, SL_ERROR_INVALID, "%s: it has no os or architecture", config_what);
    image->os = g_strdup(os);
    image->architecture = g_strdup(architecture);
    image->variant = g_strdup(variant ? variant : "");
    image->created_ns = created_read(created);
    return runtime_config_check(image->config, error);
}

static bool
layers_join(SlImage *image, const SlManifest *manifest, GError **error)
{
    json_t *rootfs = NULL;
    json_t *diff_ids = NULL;
    const char *type = "";

    if (!sl_document_object(image->config, "rootfs", config_what, &rootfs, error) ||
        !sl_document_string(rootfs, "type", config_what, &type, error) ||
        !sl_document_strings(rootfs, "diff_ids", config_what, &diff_ids, error))
        return false;
    if (strcmp(type, "layers") != 0)
        return sl_fail(error, SL_ERROR_INVALID, "%s: rootfs.type must be \"layers\"", config_what);
    if (json_array_size(diff_ids) != manifest->entries->len)
        return sl_fail(error, SL_ERROR_INVALID, "invalid image: %u layers, but %zu diff_ids in its config",
                       manifest->entries->len, json_array_size(diff_ids));

    for (guint i = 0; i < manifest->entries->len; i++) {
        const SlDescriptor *descriptor = manifest->entries->pdata[i];
        const char *diff_id = json_string_value(json_array_get(diff_ids, i));
        SlImageLayer *layer = g_new0(SlImageLayer, 1);

        g_ptr_array_add(image->layers, layer);
        layer->digest = g_strdup(descriptor->digest);
        layer->media_type = g_strdup(descriptor->media_type);
        layer->diff_id = g_strdup(diff_id);
        layer->size = descriptor->size;
        layer->tar_bytes = layer->file_bytes = -1;
        if (!sl_digest_is_valid(diff_id))
            return sl_fail(error, SL_ERROR_INVALID, "%s: invalid diff_id", config_what);
        if (layer->size > G_MAXINT64 - image->size)
            return sl_fail(error, SL_ERROR_INVALID, "invalid image: its layers are too large");
        image->size += layer->size;
    }
    return true;
}

SlImage *
sl_image_load(SlContent *content, const char *manifest_digest, GError **error)
{
    g_autoptr(SlImage) image = g_new0(SlImage, 1);
    g_autoptr(SlManifest) manifest = NULL;
    g_autofree char *text = NULL;
    g_autofree char *config = NULL;
    size_t n = 0;
    size_t n_config = 0;

    if (!sl_content_read(content, manifest_digest, SL_MANIFEST_MAX_BYTES, &text, &n, error))
        return NULL;
    manifest = sl_manifest_parse(text, n, NULL, error);
    if (!manifest)
        return NULL;
    if (manifest->is_index) {
        sl_fail(error, SL_ERROR_INVALID, "%s is an index of manifests, not an image", manifest_digest);
        return NULL;
    }
    if (!sl_content_read(content, manifest->config->digest, SL_CONFIG_MAX_BYTES, &config, &n_config, error))
        return NULL;
    if ((int64_t)n_config != manifest->config->size) {
        sl_fail(error, SL_ERROR_INVALID, "invalid manifest: the config's size is wrong");
        return NULL;
    }

    image->id = g_strdup(manifest->config->digest);
    image->manifest_digest = g_strdup(manifest_digest);
    image->layers = g_ptr_array_new_with_free_func(layer_free);
    image->config = sl_document_parse(config, n_config, config_what, error);
    if (!image->config || !config_read(image, error) || !layers_join(image, manifest, error))
        return NULL;
    return g_steal_pointer(&image);
}

GPtrArray *
sl_image_chain_ids(const SlImage *image)
{
    GPtrArray *chain = g_ptr_array_new_with_free_func(g_free);

    for (guint i = 0; i < image->layers->len; i++) {
        const SlImageLayer *layer = image->layers->pdata[i];
        g_autofree char *text = i == 0 ? NULL : g_strjoin(" ", chain->pdata[i - 1], layer->diff_id, NULL);

        g_ptr_array_add(chain, text ? sl_digest_of(text, strlen(text)) : g_strdup(layer->diff_id));
    }
    return chain;
}
