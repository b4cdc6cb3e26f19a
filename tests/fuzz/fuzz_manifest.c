/* Any bytes as a manifest, an index and an image's config. */
#include "oci/manifest.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "common/fd.h"
#include "oci/reference.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
manifest_try(const uint8_t *data, size_t size, const char *content_type)
{
    g_autoptr(SlManifest) manifest = sl_manifest_parse((const char *)data, size, content_type, NULL);
    g_auto(SlPlatform) host = { 0 };

    if (!manifest)
        return;
    for (guint i = 0; i < manifest->entries->len; i++) {
        const SlDescriptor *descriptor = manifest->entries->pdata[i];

        g_assert_true(sl_digest_is_valid(descriptor->digest));
        g_assert_cmpint(descriptor->size, >=, 0);
    }
    sl_platform_host(&host);
    if (manifest->is_index)
        sl_manifest_choose(manifest, &host, NULL);
    else
        g_assert_nonnull(manifest->config);
}

/* The bytes as the config of an image without layers. */
static void
config_try(const uint8_t *data, size_t size)
{
    g_autofree char *folder = g_dir_make_tmp("sl-fuzz-XXXXXX", NULL);
    g_autoptr(SlContent) content = sl_content_open(folder, NULL);
    g_autofree char *config = NULL;
    g_autofree char *manifest = NULL;
    g_autofree char *text = NULL;
    g_autoptr(SlImage) image = NULL;

    g_assert_true(sl_content_put(content, data, size, &config, NULL));
    text = g_strdup_printf("{\"schemaVersion\":2,\"config\":{\"mediaType\":\"" SL_MEDIA_OCI_CONFIG
                           "\",\"digest\":\"%s\",\"size\":%zu},\"layers\":[]}",
                           config, size);
    g_assert_true(sl_content_put(content, text, strlen(text), &manifest, NULL));
    image = sl_image_load(content, manifest, NULL);
    g_assert_true(!image || (image->os && image->architecture));
    g_assert_true(sl_tree_remove(AT_FDCWD, folder, NULL));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    manifest_try(data, size, NULL);
    manifest_try(data, size, SL_MEDIA_DOCKER_INDEX);
    config_try(data, size);
    return 0;
}
