/* Any bytes as an archive of images: what is accepted has its blobs, and nothing is left half written. */
#include "oci/tar_load.h"

#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>

#include "common/fd.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const SlUnpackLimits limits = { .max_bytes = 1 << 20, .max_files = 200 };
    g_autofree char *folder = g_dir_make_tmp("sl-fuzz-XXXXXX", NULL);
    g_autofree char *ingest = g_build_filename(folder, "ingest", NULL);
    g_autoptr(SlContent) content = sl_content_open(folder, NULL);
    g_autoptr(GPtrArray) images = NULL;
    sl_autofd int tar_fd = memfd_create("tar", MFD_CLOEXEC);
    const SlTarSource source = { .fd = tar_fd };
    g_autoptr(GDir) left = NULL;

    g_assert_nonnull(content);
    g_assert_true(sl_fd_write_all(tar_fd, data, size, "tar", NULL));
    lseek(tar_fd, 0, SEEK_SET);
    if (sl_tar_load(content, &source, NULL, &limits, NULL, &images, NULL)) {
        g_assert_cmpuint(images->len, >, 0);
        for (guint i = 0; i < images->len; i++) {
            const SlLoadedImage *loaded = images->pdata[i];
            g_autoptr(SlImage) image = sl_image_load(content, loaded->manifest_digest, NULL);

            g_assert_nonnull(image);
            sl_image_measure(content, image, &limits, NULL, NULL, NULL);
        }
    }
    left = g_dir_open(ingest, 0, NULL);
    g_assert_null(g_dir_read_name(left));
    g_assert_true(sl_tree_remove(AT_FDCWD, folder, NULL));
    return 0;
}
