/* Any bytes as a layer: whatever it says, it stays in its folder and within its limits. */
#include "oci/unpack.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "common/fd.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned
entries_of(int folder_fd)
{
    DIR *dir = fdopendir(dup(folder_fd));
    unsigned n = 0;

    g_assert_nonnull(dir);
    rewinddir(dir);
    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const SlUnpackLimits limits = { .max_bytes = 1 << 20, .max_files = 200 };
    g_autofree char *out = g_dir_make_tmp("sl-fuzz-XXXXXX", NULL);
    sl_autofd int out_fd = open(out, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    sl_autofd int dest_fd = -1;
    sl_autofd int tar_fd = memfd_create("tar", MFD_CLOEXEC);
    int64_t bytes = 0;

    g_assert_cmpint(mkdirat(out_fd, "dest", 0755), ==, 0);
    dest_fd = openat(out_fd, "dest", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    g_assert_true(sl_fd_write_all(tar_fd, data, size, "tar", NULL));
    lseek(tar_fd, 0, SEEK_SET);

    if (sl_unpack_layer(tar_fd, dest_fd, &limits, NULL, NULL, &bytes, NULL))
        g_assert_cmpint(bytes, <=, limits.max_bytes);
    g_assert_cmpuint(entries_of(out_fd), ==, 3); /* ".", ".." and "dest" */
    g_assert_true(sl_tree_remove(AT_FDCWD, out, NULL));
    return 0;
}
