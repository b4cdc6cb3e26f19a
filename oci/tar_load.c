#include "oci/tar_load.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <string.h>

#include "common/fd.h"
#include "oci/document.h"
#include "oci/manifest.h"
#include "oci/reference.h"
#include "oci/unpack_layers.h"
#include "oci/unpack_target.h"

enum {
    MAX_FILES = 100000,
    MAX_HOPS = 8, /* of links in the archive */
    MAX_IMAGES = 1000,
    MAGIC_BYTES = 6,
};

static const char docker_config[] = "application/vnd.docker.container.image.v1+json";
static const char archive_what[] = "invalid archive: manifest.json";

/* A file of the archive, or a link to another. */
typedef struct File {
    char *digest; /* NULL: a link */
    int64_t size;
    char *target; /* clean */
} File;

typedef struct Load {
    SlContent *content;
    const SlPlatform *platform;
    SlCancel *cancel;
    SlUnpackBudget budget;
    GHashTable *files;   /* clean name → File */
    GHashTable *digests; /* of the archive's files: what is only in the store is not the archive's to name */
    GPtrArray *images;
} Load;

static void
file_free(gpointer item)
{
    File *file = item;

    g_free(file->digest);
    g_free(file->target);
    g_free(file);
}

static void
image_free(gpointer item)
{
    SlLoadedImage *image = item;

    g_free(image->manifest_digest);
    g_strfreev(image->names);
    g_free(image);
}

static void
load_clear(Load *load)
{
    g_hash_table_unref(load->files);
    g_hash_table_unref(load->digests);
    if (load->images)
        g_ptr_array_unref(load->images);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Load, load_clear)

/* ---- the archive's files ---- */

static bool
blob_store(Load *load, struct archive *archive, const char *name, File *file, GError **error)
{
    g_autoptr(SlBlobWriter) writer = sl_blob_writer_new(load->content, error);
    g_autofree char *chunk = g_malloc(64 * 1024);
    la_ssize_t n;

    if (!writer)
        return false;
    while ((n = archive_read_data(archive, chunk, 64 * 1024)) > 0) {
        file->size += n;
        if (!sl_blob_writer_write(writer, chunk, (size_t)n, error))
            return false;
    }
    if (n < 0)
        return sl_fail(error, SL_ERROR_INVALID, "invalid archive: %s: %s", name,
                       archive_error_string(archive));
    return sl_blob_writer_commit(writer, NULL, -1, &file->digest, error);
}

/* A symbolic link's target, from the folder that the link is in. Caller frees. */
static char *
target_resolve(const char *name, const char *to, GError **error)
{
    g_autoptr(GPtrArray) parts = g_ptr_array_new_with_free_func(g_free);
    g_auto(GStrv) steps = g_strsplit(to, "/", -1);
    g_auto(GStrv) from = g_strsplit(name, "/", -1);

    for (guint i = 0; *to != '/' && i + 1 < g_strv_length(from); i++)
        g_ptr_array_add(parts, g_strdup(from[i]));
    for (char **step = steps; *step; step++) {
        if (strcmp(*step, "..") == 0) {
            if (parts->len == 0) {
                sl_fail(error, SL_ERROR_INVALID, "invalid archive: %s is a link that leads out of it", name);
                return NULL;
            }
            g_ptr_array_remove_index(parts, parts->len - 1);
        } else if (**step && strcmp(*step, ".") != 0) {
            g_ptr_array_add(parts, g_strdup(*step));
        }
    }
    g_ptr_array_add(parts, NULL);
    return g_strjoinv("/", (char **)parts->pdata);
}

static bool
file_take(void *user, struct archive *archive, struct archive_entry *entry, GError **error)
{
    Load *load = user;
    g_autofree char *name = sl_unpack_clean(archive_entry_pathname(entry), error);
    File *file;

    if (!name)
        return false;
    if (!archive_entry_hardlink(entry) && archive_entry_filetype(entry) != AE_IFREG &&
        archive_entry_filetype(entry) != AE_IFLNK)
        return true; /* folders, and what has no business here and is never made */
    if (g_hash_table_contains(load->files, name))
        return sl_fail(error, SL_ERROR_INVALID, "invalid archive: %s is in it twice", name);
    file = g_new0(File, 1);
    g_hash_table_insert(load->files, g_strdup(name), file);
    if (archive_entry_hardlink(entry))
        return (file->target = sl_unpack_clean(archive_entry_hardlink(entry), error)) != NULL;
    if (archive_entry_filetype(entry) == AE_IFLNK) {
        const char *to = archive_entry_symlink(entry);

        return (file->target = target_resolve(name, to ? to : "", error)) != NULL;
    }
    if (!blob_store(load, archive, name, file, error))
        return false;
    g_hash_table_add(load->digests, file->digest);
    return true;
}

/* Through links; NULL when there is no such file. */
static const File *
file_find(const Load *load, const char *name)
{
    g_autofree char *clean = sl_unpack_clean(name, NULL);
    const File *file = clean ? g_hash_table_lookup(load->files, clean) : NULL;

    for (int hops = 0; file && !file->digest && hops < MAX_HOPS; hops++)
        file = g_hash_table_lookup(load->files, file->target);
    return file && file->digest ? file : NULL;
}

static const File *
file_need(const Load *load, const char *name, GError **error)
{
    const File *file = name ? file_find(load, name) : NULL;

    if (!file)
        sl_fail(error, SL_ERROR_INVALID, "invalid archive: it names %s, which is not in it",
                name ? name : "nothing");
    return file;
}

/* ---- layers ---- */

static bool
sink_write(void *user, const void *data, size_t n, GError **error)
{
    return sl_blob_writer_write(user, data, n, error);
}

/* Layers are kept as plain, gzip or zstd, which registries know too: others are stored once more. */
static bool
layer_decode(Load *load, File *file, int fd, GError **error)
{
    g_autoptr(SlBlobWriter) writer = sl_blob_writer_new(load->content, error);
    const SlTarSource source = { .fd = fd };
    g_auto(SlTarStream) stream = { 0 };

    if (!writer ||
        !sl_tar_stream_open(&stream, &source, SL_UNPACK_ARCHIVE, &load->budget, load->cancel, error) ||
        !sl_tar_stream_copy(&stream, sink_write, writer, error))
        return false;
    g_clear_pointer(&file->digest, g_free);
    file->size = stream.n_plain;
    return sl_blob_writer_commit(writer, NULL, -1, &file->digest, error);
}

/* The layer's descriptor; new reference. */
static json_t *
layer_describe(Load *load, const File *found, GError **error)
{
    static const unsigned char gzip[] = { 0x1f, 0x8b };
    static const unsigned char zstd[] = { 0x28, 0xb5, 0x2f, 0xfd };
    sl_autofd int fd = sl_content_open_blob(load->content, found->digest, error);
    File file = { .digest = g_strdup(found->digest), .size = found->size };
    g_autofree char *digest = file.digest;
    char magic[MAGIC_BYTES] = "";
    const char *suffix = "";

    if (fd < 0)
        return NULL;
    if (pread(fd, magic, sizeof magic, 0) < 0) {
        sl_fail_errno(error, errno, "reading blob %s", file.digest);
        return NULL;
    }
    if (memcmp(magic, gzip, sizeof gzip) == 0) {
        suffix = "+gzip";
    } else if (memcmp(magic, zstd, sizeof zstd) == 0) {
        suffix = "+zstd";
    } else if (memcmp(magic, "BZh", 3) == 0 || memcmp(magic,
                                                      "\xfd"
                                                      "7zXZ",
                                                      5) == 0) {
        bool ok;

        g_steal_pointer(&digest);
        ok = layer_decode(load, &file, fd, error);
        digest = file.digest;
        if (!ok)
            return NULL;
    }
    return json_pack("{s:o, s:s, s:I}", "mediaType", json_sprintf("%s%s", SL_MEDIA_OCI_LAYER, suffix),
                     "digest", file.digest, "size", (json_int_t)file.size);
}

/* ---- docker-archive ---- */

static bool
names_read(const json_t *tags, SlLoadedImage *image, GError **error)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    size_t index;
    json_t *tag;

    json_array_foreach(tags, index, tag) {
        g_auto(SlReference) reference = { 0 };

        if (!sl_reference_parse(json_string_value(tag), false, &reference, NULL) || reference.digest ||
            !reference.tag)
            return sl_fail(error, SL_ERROR_INVALID, "invalid archive: invalid tag \"%s\"",
                           json_string_value(tag));
        g_ptr_array_add(names, sl_reference_familiar(&reference));
    }
    g_ptr_array_add(names, NULL);
    image->names = (GStrv)g_ptr_array_steal(names, NULL);
    return true;
}

/* The manifest of what the archive lists: it has none of its own. */
static json_t *
manifest_make(Load *load, const char *config_name, const json_t *layers, GError **error)
{
    const File *config = file_need(load, config_name, error);
    g_autoptr(json_t) descriptors = json_array();
    size_t index;
    json_t *layer;

    if (!config)
        return NULL;
    json_array_foreach(layers, index, layer) {
        const File *file = file_need(load, json_string_value(layer), error);
        json_t *descriptor = file ? layer_describe(load, file, error) : NULL;

        if (!descriptor)
            return NULL;
        json_array_append_new(descriptors, descriptor);
    }
    return json_pack("{s:i, s:s, s:{s:s, s:s, s:I}, s:O}", "schemaVersion", 2, "mediaType",
                     SL_MEDIA_OCI_MANIFEST, "config", "mediaType", docker_config, "digest", config->digest,
                     "size", (json_int_t)config->size, "layers", descriptors);
}

static SlLoadedImage *
image_begin(Load *load)
{
    SlLoadedImage *image = g_new0(SlLoadedImage, 1);

    g_ptr_array_add(load->images, image);
    return image;
}

static bool
docker_image_read(Load *load, const json_t *item, GError **error)
{
    SlLoadedImage *image = image_begin(load);
    g_autoptr(json_t) manifest = NULL;
    g_autofree char *text = NULL;
    const char *config = NULL;
    json_t *layers = NULL;
    json_t *tags = NULL;

    if (!json_is_object(item))
        return sl_fail(error, SL_ERROR_INVALID, "%s: an entry is not an object", archive_what);
    if (!sl_document_string(item, "Config", archive_what, &config, error) ||
        !sl_document_strings(item, "Layers", archive_what, &layers, error) ||
        !sl_document_strings(item, "RepoTags", archive_what, &tags, error) || !names_read(tags, image, error))
        return false;
    if (json_array_size(layers) > SL_MANIFEST_MAX_LAYERS)
        return sl_fail(error, SL_ERROR_INVALID, "max depth exceeded: the image has %zu layers",
                       json_array_size(layers));
    manifest = manifest_make(load, config, layers, error);
    if (!manifest)
        return false;
    text = sl_json_dump(manifest);
    return sl_content_put(load->content, text, strlen(text), &image->manifest_digest, error);
}

static bool
docker_read(Load *load, const File *list, GError **error)
{
    g_autofree char *text = NULL;
    g_autofree char *wrapped = NULL;
    g_autoptr(json_t) root = NULL;
    json_t *items = NULL;
    size_t index;
    json_t *item;
    size_t n;

    if (!sl_content_read(load->content, list->digest, SL_MANIFEST_MAX_BYTES, &text, &n, error))
        return false;
    /* The checks are those of an object. */
    wrapped = g_strdup_printf("{\"images\":%s}", text);
    root = sl_document_parse(wrapped, strlen(wrapped), archive_what, error);
    if (!root || !sl_document_array(root, "images", archive_what, &items, error))
        return false;
    if (json_array_size(items) > MAX_IMAGES || json_object_size(root) != 1)
        return sl_fail(error, SL_ERROR_INVALID, "%s: not a list of at most %d images", archive_what,
                       MAX_IMAGES);
    json_array_foreach(items, index, item)
        if (!docker_image_read(load, item, error))
            return false;
    return true;
}

/* ---- OCI layout ---- */

static SlManifest *
manifest_read(Load *load, const char *digest, GError **error)
{
    g_autofree char *text = NULL;
    size_t n;

    if (!g_hash_table_contains(load->digests, digest)) {
        sl_fail(error, SL_ERROR_INVALID, "invalid archive: it names %s, which is not in it", digest);
        return NULL;
    }
    return sl_content_read(load->content, digest, SL_MANIFEST_MAX_BYTES, &text, &n, error)
               ? sl_manifest_parse(text, n, NULL, error)
               : NULL;
}

static bool
blobs_check(const Load *load, const SlManifest *manifest, GError **error)
{
    for (guint i = 0; i <= manifest->entries->len; i++) {
        const SlDescriptor *entry = i == 0 ? manifest->config : manifest->entries->pdata[i - 1];

        if (!g_hash_table_contains(load->digests, entry->digest))
            return sl_fail(error, SL_ERROR_INVALID, "invalid archive: it names %s, which is not in it",
                           entry->digest);
    }
    return true;
}

static bool
oci_image_read(Load *load, const SlDescriptor *entry, GError **error)
{
    SlLoadedImage *image = image_begin(load);
    g_autoptr(SlManifest) manifest = manifest_read(load, entry->digest, error);
    g_autofree char *digest = g_strdup(entry->digest);
    g_autoptr(json_t) tags = entry->name ? json_pack("[s]", entry->name) : json_array();

    if (!manifest || !names_read(tags, image, error))
        return false;
    if (manifest->is_index) {
        const SlDescriptor *chosen = sl_manifest_choose(manifest, load->platform, error);

        if (!chosen)
            return false;
        g_free(digest);
        digest = g_strdup(chosen->digest);
        g_clear_pointer(&manifest, sl_manifest_free);
        manifest = manifest_read(load, digest, error);
        if (!manifest)
            return false;
    }
    if (manifest->is_index)
        return sl_fail(error, SL_ERROR_INVALID, "invalid manifest list: it holds another list");
    image->manifest_digest = g_steal_pointer(&digest);
    return blobs_check(load, manifest, error);
}

static bool
oci_read(Load *load, const File *list, GError **error)
{
    g_autoptr(SlManifest) index = manifest_read(load, list->digest, error);

    if (!index)
        return false;
    if (!index->is_index || index->entries->len > MAX_IMAGES)
        return sl_fail(error, SL_ERROR_INVALID,
                       "invalid archive: index.json is not a list of at most %d images", MAX_IMAGES);
    for (guint i = 0; i < index->entries->len; i++) {
        const SlDescriptor *entry = index->entries->pdata[i];
        bool is_attestation = g_strcmp0(entry->platform.os, "unknown") == 0;

        if (!is_attestation && !oci_image_read(load, entry, error))
            return false;
    }
    return true;
}

/* ---- both ---- */

static bool
kind_read(Load *load, GError **error)
{
    const File *docker = file_find(load, "manifest.json");
    const File *oci = file_find(load, "index.json");

    /* Archives that are both say the same; Docker reads this one. */
    if (docker)
        return docker_read(load, docker, error);
    if (oci)
        return oci_read(load, oci, error);
    if (file_find(load, "repositories"))
        return sl_fail(
            error, SL_ERROR_INVALID,
            "invalid archive: it is of Docker before 1.10 and has no manifest.json: save it again");
    return sl_fail(error, SL_ERROR_INVALID, "invalid archive: it has neither manifest.json nor index.json");
}

static bool
images_check(const Load *load, GError **error)
{
    if (load->images->len == 0)
        return sl_fail(error, SL_ERROR_INVALID, "invalid archive: there are no images in it");
    for (guint i = 0; i < load->images->len; i++) {
        const SlLoadedImage *loaded = load->images->pdata[i];
        g_autoptr(SlImage) image = sl_image_load(load->content, loaded->manifest_digest, error);

        if (!image)
            return false;
    }
    return true;
}

bool
sl_tar_load(SlContent *content, const SlTarSource *source, const SlPlatform *platform,
            const SlUnpackLimits *limits, SlCancel *cancel, GPtrArray **ret_images, GError **error)
{
    g_auto(SlPlatform) host = { 0 };
    g_auto(SlTarStream) stream = { 0 };
    g_auto(Load) load = { .content = content, .platform = platform ? platform : &host, .cancel = cancel };

    load.files = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, file_free);
    load.digests = g_hash_table_new(g_str_hash, g_str_equal);
    load.images = g_ptr_array_new_with_free_func(image_free);
    sl_platform_host(&host);
    sl_unpack_budget_init(&load.budget, limits);
    load.budget.files_left = MIN(load.budget.files_left, MAX_FILES);
    if (!sl_tar_stream_open(&stream, source, SL_UNPACK_ARCHIVE, &load.budget, cancel, error) ||
        !sl_tar_stream_each(&stream, file_take, &load, error) || !kind_read(&load, error) ||
        !images_check(&load, error))
        return false;
    *ret_images = g_steal_pointer(&load.images);
    return true;
}
