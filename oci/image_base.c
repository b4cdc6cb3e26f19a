#include "oci/image.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "common/fd.h"
#include "common/json_fields.h"
#include "oci/manifest.h"

enum { CHUNK_BYTES = 64 * 1024 };

/* The tar as it is: its digest is the diff_id too. */
static bool
layer_store(SlContent *content, const char *path, char **ret_digest, int64_t *ret_size, GError **error)
{
    g_autoptr(SlBlobWriter) writer = sl_blob_writer_new(content, error);
    g_autofree char *chunk = g_malloc(CHUNK_BYTES);
    sl_autofd int fd = open(path, O_RDONLY | O_CLOEXEC);
    int64_t size = 0;

    if (!writer)
        return false;
    if (fd < 0)
        return sl_fail_errno(error, errno, "opening %s", path);
    for (;;) {
        ssize_t n = read(fd, chunk, CHUNK_BYTES);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return sl_fail_errno(error, errno, "reading %s", path);
        if (n == 0)
            break;
        if (!sl_blob_writer_write(writer, chunk, (size_t)n, error))
            return false;
        size += n;
    }
    *ret_size = size;
    return sl_blob_writer_commit(writer, NULL, -1, ret_digest, error);
}

static json_t *
config_make(const char *diff_id)
{
    g_auto(SlPlatform) host = { 0 };

    sl_platform_host(&host);
    return json_pack("{s:s, s:s, s:s, s:s, s:{s:[s], s:[s], s:s, s:{s:s}}, s:{s:s, s:[s]}, s:[{s:s, s:s}]}",
                     "created", "1970-01-01T00:00:00Z", "author", "Sockerless", "architecture",
                     host.architecture, "os", host.os, "config", "Cmd", "/bin/sh", "Env",
                     "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "WorkingDir", "/",
                     "Labels", "org.opencontainers.image.title", "sockerless/base", "rootfs", "type",
                     "layers", "diff_ids", diff_id, "history", "created", "1970-01-01T00:00:00Z",
                     "created_by", "sockerless: the sandbox's own userland");
}

static bool
json_store(SlContent *content, const json_t *json, char **ret_digest, int64_t *ret_size, GError **error)
{
    g_autofree char *text = sl_json_dump(json);

    *ret_size = (int64_t)strlen(text);
    return sl_content_put(content, text, strlen(text), ret_digest, error);
}

bool
sl_image_make_base(SlContent *content, const char *rootfs_tar, char **ret_manifest_digest, GError **error)
{
    g_autoptr(json_t) config = NULL;
    g_autoptr(json_t) manifest = NULL;
    g_autofree char *layer_digest = NULL;
    g_autofree char *config_digest = NULL;
    int64_t layer_size = 0;
    int64_t config_size = 0;
    int64_t ignored;

    if (!layer_store(content, rootfs_tar, &layer_digest, &layer_size, error))
        return false;
    config = config_make(layer_digest);
    if (!json_store(content, config, &config_digest, &config_size, error))
        return false;
    manifest = json_pack("{s:i, s:s, s:{s:s, s:s, s:I}, s:[{s:s, s:s, s:I}]}", "schemaVersion", 2,
                         "mediaType", SL_MEDIA_OCI_MANIFEST, "config", "mediaType", SL_MEDIA_OCI_CONFIG,
                         "digest", config_digest, "size", (json_int_t)config_size, "layers", "mediaType",
                         SL_MEDIA_OCI_LAYER, "digest", layer_digest, "size", (json_int_t)layer_size);
    return json_store(content, manifest, ret_manifest_digest, &ignored, error);
}
