#include "oci/unpack.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "common/fd.h"
#include "oci/digest.h"
#include "oci/reference.h"
#include "oci/unpack_stream.h"

enum { LOCK_POLL_MS = 10 };

/* Names below the folder of all images: HEX, and beside it while and after it is made. */
typedef struct Names {
    const char *hex; /* borrowed */
    char *temporary, *lock, *size;
} Names;

static void
names_clear(Names *names)
{
    g_free(names->temporary);
    g_free(names->lock);
    g_free(names->size);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Names, names_clear)

static bool
size_read(int folder_fd, const Names *names, int64_t *ret_bytes)
{
    char text[32] = "";
    sl_autofd int fd = openat(folder_fd, names->size, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;

    if (n <= 0)
        return false;
    *ret_bytes = g_ascii_strtoll(text, NULL, 10);
    return true;
}

static bool
is_there(int folder_fd, const Names *names, int64_t *ret_bytes)
{
    struct stat status;

    return fstatat(folder_fd, names->hex, &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(status.st_mode) &&
           size_read(folder_fd, names, ret_bytes);
}

/* A lock file: it holds between threads as between processes, and dies with its holder. -1 with error. */
static int
lock_take(int folder_fd, const Names *names, SlCancel *cancel, GError **error)
{
    sl_autofd int fd = openat(folder_fd, names->lock, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);

    if (fd < 0) {
        sl_fail_errno(error, errno, "creating %s", names->lock);
        return -1;
    }
    while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno != EWOULDBLOCK && errno != EINTR) {
            sl_fail_errno(error, errno, "locking %s", names->lock);
            return -1;
        }
        if (!sl_cancel_sleep(cancel, LOCK_POLL_MS, error))
            return -1;
    }
    return sl_fd_steal(&fd);
}

static bool
layer_unpack(SlContent *content, const SlImageLayer *layer, int rootfs_fd, SlUnpackBudget *budget,
             SlCancel *cancel, int64_t *bytes, GError **error)
{
    sl_autofd int fd = sl_content_open_blob(content, layer->digest, error);
    g_autofree char *diff_id = NULL;
    int64_t n = 0;

    if (fd < 0)
        return false;
    if (!sl_unpack_stream(fd, rootfs_fd, SL_UNPACK_LAYER, budget, cancel, &diff_id, &n, error)) {
        g_prefix_error(error, "failed to register layer: ");
        return false;
    }
    if (strcmp(diff_id, layer->diff_id) != 0)
        return sl_fail(error, SL_ERROR_INVALID,
                       "layers from manifest don't match image configuration: %s unpacks to %s, not %s",
                       layer->digest, diff_id, layer->diff_id);
    *bytes += n;
    return true;
}

static bool
layers_unpack(SlContent *content, const SlImage *image, int rootfs_fd, const SlUnpackLimits *limits,
              SlCancel *cancel, int64_t *ret_bytes, GError **error)
{
    SlUnpackBudget budget;
    int64_t bytes = 0;

    sl_unpack_budget_init(&budget, limits);
    for (guint i = 0; i < image->layers->len; i++)
        if (!layer_unpack(content, image->layers->pdata[i], rootfs_fd, &budget, cancel, &bytes, error))
            return false;
    /* A folder that is there is whole, after a power cut too: renaming alone does not order the files'
     * content before it. */
    if (syncfs(rootfs_fd) < 0)
        return sl_fail_errno(error, errno, "writing an image's files");
    *ret_bytes = bytes;
    return true;
}

/* Under the lock. What an earlier process left half done is removed first. */
static bool
rootfs_make(SlContent *content, const SlImage *image, int folder_fd, const Names *names,
            const SlUnpackLimits *limits, SlCancel *cancel, int64_t *ret_bytes, GError **error)
{
    sl_autofd int rootfs_fd = -1;
    int64_t bytes = 0;
    char text[32];

    if (!sl_tree_remove(folder_fd, names->temporary, error) || !sl_tree_remove(folder_fd, names->hex, error))
        return false;
    if (mkdirat(folder_fd, names->temporary, 0755) < 0)
        return sl_fail_errno(error, errno, "creating %s", names->temporary);
    rootfs_fd = openat(folder_fd, names->temporary, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (rootfs_fd < 0 || fchmod(rootfs_fd, 0755) < 0)
        return sl_fail_errno(error, errno, "opening %s", names->temporary);
    if (!layers_unpack(content, image, rootfs_fd, limits, cancel, &bytes, error)) {
        sl_tree_remove(folder_fd, names->temporary, NULL);
        return false;
    }
    snprintf(text, sizeof text, "%" G_GINT64_FORMAT, bytes);
    if (!sl_file_replace(folder_fd, names->size, text, strlen(text), 0600, error))
        return false;
    if (renameat(folder_fd, names->temporary, folder_fd, names->hex) < 0)
        return sl_fail_errno(error, errno, "storing the unpacked image %s", names->hex);
    *ret_bytes = bytes;
    return true;
}

bool
sl_rootfs_prepare(SlContent *content, const SlImage *image, const char *rootfs_folder,
                  const SlUnpackLimits *limits, SlCancel *cancel, char **ret_path, int64_t *ret_bytes,
                  GError **error)
{
    g_auto(Names) names = { .hex = sl_digest_hex(image->id) };
    sl_autofd int folder_fd = -1;
    sl_autofd int lock_fd = -1;
    int64_t bytes = 0;

    names.temporary = g_strdup_printf(".%s.tmp", names.hex);
    names.lock = g_strdup_printf(".%s.lock", names.hex);
    names.size = g_strdup_printf("%s.size", names.hex);

    /* Not even passable for others: setuid programs of images are in there (CVE-2021-41091). */
    if (!sl_folder_make(rootfs_folder, 0700, error))
        return false;
    folder_fd = open(rootfs_folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder_fd < 0)
        return sl_fail_errno(error, errno, "opening %s", rootfs_folder);

    if (!is_there(folder_fd, &names, &bytes)) {
        lock_fd = lock_take(folder_fd, &names, cancel, error);
        if (lock_fd < 0)
            return false;
        if (!is_there(folder_fd, &names, &bytes) &&
            !rootfs_make(content, image, folder_fd, &names, limits, cancel, &bytes, error))
            return false;
    }
    *ret_path = g_build_filename(rootfs_folder, names.hex, NULL);
    if (ret_bytes)
        *ret_bytes = bytes;
    return true;
}
