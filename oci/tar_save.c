#include "oci/tar_save.h"

#include <archive.h>
#include <archive_entry.h>
#include <string.h>

#include "common/json_fields.h"
#include "oci/digest.h"
#include "oci/manifest.h"
#include "oci/reference.h"
#include "oci/unpack.h"

typedef struct archive Archive;

static void
writer_free(Archive *archive)
{
    archive_write_free(archive);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Archive, writer_free)

typedef struct Save {
    SlContent *content;
    SlCancel *cancel;
    bool (*write)(void *user, const void *data, size_t n, GError **error);
    void *user;
    Archive *archive;    /* borrowed */
    GHashTable *written; /* names of entries */
    json_t *manifest;    /* manifest.json */
    json_t *index;       /* of index.json: its manifests */
    json_t *repositories;
    GError *error; /* of write; libarchive has no way to carry it */
} Save;

static void
save_clear(Save *save)
{
    g_hash_table_unref(save->written);
    json_decref(save->manifest);
    json_decref(save->index);
    json_decref(save->repositories);
    g_clear_error(&save->error);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Save, save_clear)

void
sl_saved_image_free(SlSavedImage *saved)
{
    sl_image_free(saved->image);
    g_strfreev(saved->names);
    g_free(saved);
}

/* ---- entries ---- */

static la_ssize_t
block_write(Archive *archive, void *data, const void *block, size_t n)
{
    Save *save = data;

    if (save->error || !save->write(save->user, block, n, &save->error))
        return -1;
    return (la_ssize_t)n;
}

static bool
save_fail(Save *save, GError **error)
{
    if (save->error) {
        g_propagate_error(error, g_steal_pointer(&save->error));
        return false;
    }
    return sl_fail(error, SL_ERROR_SYSTEM, "writing an archive: %s", archive_error_string(save->archive));
}

static bool
entry_begin(Save *save, const char *name, bool is_folder, int64_t size, int64_t mtime, GError **error)
{
    struct archive_entry *entry = archive_entry_new();
    int result;

    archive_entry_set_pathname(entry, name);
    archive_entry_set_filetype(entry, is_folder ? AE_IFDIR : AE_IFREG);
    archive_entry_set_perm(entry, is_folder ? 0755 : 0644);
    archive_entry_set_mtime(entry, mtime, 0);
    archive_entry_set_size(entry, size);
    result = archive_write_header(save->archive, entry);
    archive_entry_free(entry);
    return result >= ARCHIVE_WARN || save_fail(save, error);
}

static bool
data_write(void *user, const void *data, size_t n, GError **error)
{
    Save *save = user;

    if (sl_cancel_is_fired(save->cancel))
        return sl_fail(error, SL_ERROR_CANCELLED, "cancelled");
    return archive_write_data(save->archive, data, n) == (la_ssize_t)n || save_fail(save, error);
}

static bool
text_write(Save *save, const char *name, const char *text, size_t n, int64_t mtime, GError **error)
{
    if (!g_hash_table_add(save->written, g_strdup(name)))
        return true;
    return entry_begin(save, name, false, (int64_t)n, mtime, error) && data_write(save, text, n, error);
}

static bool
json_write(Save *save, const char *name, const json_t *json, GError **error)
{
    g_autofree char *text = sl_json_dump(json);

    return text_write(save, name, text, strlen(text), 0, error);
}

static char *
blob_name(const char *digest)
{
    return g_strconcat("blobs/sha256/", sl_digest_hex(digest), NULL);
}

/* ---- one image ---- */

static bool
layer_write(Save *save, const SlImageLayer *layer, const char *name, int64_t mtime, GError **error)
{
    if (!g_hash_table_add(save->written, g_strdup(name)))
        return true;
    return entry_begin(save, name, false, layer->tar_bytes, mtime, error) &&
           sl_layer_expand(save->content, layer, save->cancel, data_write, save, error);
}

static bool
config_write(Save *save, const SlImage *image, int64_t mtime, int64_t *ret_size, GError **error)
{
    g_autofree char *name = blob_name(image->id);
    g_autofree char *text = NULL;
    size_t n;

    if (!sl_content_read(save->content, image->id, SL_CONFIG_MAX_BYTES, &text, &n, error))
        return false;
    *ret_size = (int64_t)n;
    return text_write(save, name, text, n, mtime, error);
}

/* For readers of OCI layouts: the manifest of the image as it is in this archive, with plain layers. */
static bool
manifest_write(Save *save, const SlImage *image, int64_t config_size, int64_t mtime, char **ret_digest,
               int64_t *ret_size, GError **error)
{
    g_autoptr(json_t) layers = json_array();
    g_autoptr(json_t) manifest = NULL;
    g_autofree char *text = NULL;
    g_autofree char *name = NULL;

    for (guint i = 0; i < image->layers->len; i++) {
        const SlImageLayer *layer = image->layers->pdata[i];

        json_array_append_new(layers, json_pack("{s:s, s:s, s:I}", "mediaType", SL_MEDIA_OCI_LAYER, "digest",
                                                layer->diff_id, "size", (json_int_t)layer->tar_bytes));
    }
    manifest = json_pack("{s:i, s:s, s:{s:s, s:s, s:I}, s:O}", "schemaVersion", 2, "mediaType",
                         SL_MEDIA_OCI_MANIFEST, "config", "mediaType", SL_MEDIA_OCI_CONFIG, "digest",
                         image->id, "size", (json_int_t)config_size, "layers", layers);
    text = sl_json_dump(manifest);
    *ret_digest = sl_digest_of(text, strlen(text));
    *ret_size = (int64_t)strlen(text);
    name = blob_name(*ret_digest);
    return text_write(save, name, text, strlen(text), mtime, error);
}

static json_t *
index_entry(const char *digest, int64_t size, const SlImage *image)
{
    json_t *entry =
        json_pack("{s:s, s:s, s:I, s:{s:s, s:s}}", "mediaType", SL_MEDIA_OCI_MANIFEST, "digest", digest,
                  "size", (json_int_t)size, "platform", "architecture", image->architecture, "os", image->os);

    if (*image->variant)
        json_object_set_new(json_object_get(entry, "platform"), "variant", json_string(image->variant));
    return entry;
}

static void
names_note(Save *save, const SlSavedImage *saved, const char *digest, int64_t size)
{
    const char *top =
        saved->image->layers->len
            ? ((const SlImageLayer *)saved->image->layers->pdata[saved->image->layers->len - 1])->diff_id
            : saved->image->id;

    if (!*saved->names)
        json_array_append_new(save->index, index_entry(digest, size, saved->image));
    for (char **name = saved->names; *name; name++) {
        json_t *entry = index_entry(digest, size, saved->image);
        g_auto(SlReference) reference = { 0 };
        g_autofree char *repository = NULL;
        g_autofree char *whole = NULL;

        json_array_append_new(save->index, entry);
        if (!sl_reference_parse(*name, true, &reference, NULL))
            continue;
        repository = sl_reference_familiar_name(&reference);
        whole = sl_reference_format(&reference);
        json_object_set_new(entry, "annotations",
                            json_pack("{s:s, s:s}", "io.containerd.image.name", whole,
                                      "org.opencontainers.image.ref.name", reference.tag));
        if (!json_object_get(save->repositories, repository))
            json_object_set_new(save->repositories, repository, json_object());
        json_object_set_new(json_object_get(save->repositories, repository), reference.tag,
                            json_string(sl_digest_hex(top)));
    }
}

static bool
image_write(Save *save, const SlSavedImage *saved, GError **error)
{
    const SlImage *image = saved->image;
    int64_t mtime = image->created_ns / G_GINT64_CONSTANT(1000000000);
    g_autoptr(json_t) tags = *saved->names ? json_array() : json_null();
    g_autoptr(json_t) layers = json_array();
    g_autofree char *config = blob_name(image->id);
    g_autofree char *digest = NULL;
    int64_t config_size;
    int64_t size;

    for (guint i = 0; i < image->layers->len; i++) {
        const SlImageLayer *layer = image->layers->pdata[i];
        g_autofree char *name = blob_name(layer->diff_id);

        if (!layer_write(save, layer, name, mtime, error))
            return false;
        json_array_append_new(layers, json_string(name));
    }
    if (!config_write(save, image, mtime, &config_size, error) ||
        !manifest_write(save, image, config_size, mtime, &digest, &size, error))
        return false;
    for (char **name = saved->names; *name; name++)
        json_array_append_new(tags, json_string(*name));
    json_array_append_new(save->manifest,
                          json_pack("{s:s, s:O, s:O}", "Config", config, "RepoTags", tags, "Layers", layers));
    names_note(save, saved, digest, size);
    return true;
}

/* ---- the archive ---- */

static bool
archive_fill(Save *save, const GPtrArray *images, GError **error)
{
    static const char layout[] = "{\"imageLayoutVersion\":\"1.0.0\"}";
    g_autoptr(json_t) index = NULL;

    if (!entry_begin(save, "blobs/", true, 0, 0, error) ||
        !entry_begin(save, "blobs/sha256/", true, 0, 0, error))
        return false;
    for (guint i = 0; i < images->len; i++)
        if (!image_write(save, images->pdata[i], error))
            return false;
    index = json_pack("{s:i, s:s, s:O}", "schemaVersion", 2, "mediaType", SL_MEDIA_OCI_INDEX, "manifests",
                      save->index);
    return json_write(save, "index.json", index, error) &&
           json_write(save, "manifest.json", save->manifest, error) &&
           text_write(save, "oci-layout", layout, strlen(layout), 0, error) &&
           (json_object_size(save->repositories) == 0 ||
            json_write(save, "repositories", save->repositories, error));
}

bool
sl_tar_save(SlContent *content, const GPtrArray *images, SlCancel *cancel,
            bool (*write)(void *user, const void *data, size_t n, GError **error), void *user, GError **error)
{
    g_autoptr(Archive) archive = archive_write_new();
    g_auto(Save)
        save = { .content = content, .cancel = cancel, .write = write, .user = user, .archive = archive };

    save.written = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    save.manifest = json_array();
    save.index = json_array();
    save.repositories = json_object();
    archive_write_set_format_gnutar(archive); /* ustar ends at 8 GiB a file */
    archive_write_set_bytes_per_block(archive, 64 * 1024);
    archive_write_set_bytes_in_last_block(archive, 1);
    if (archive_write_open(archive, &save, NULL, block_write, NULL) != ARCHIVE_OK)
        return save_fail(&save, error);
    if (!archive_fill(&save, images, error)) {
        archive_write_fail(archive);
        return false;
    }
    return archive_write_close(archive) == ARCHIVE_OK || save_fail(&save, error);
}
