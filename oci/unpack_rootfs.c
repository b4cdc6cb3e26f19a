#include "oci/unpack.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "common/failpoint.h"
#include "common/fd.h"
#include "oci/digest.h"
#include "oci/reference.h"
#include "oci/unpack_layers.h"

enum {
    LOCK_POLL_MS = 10,
    MAX_SIZES_BYTES = 16 * 1024, /* two numbers for each of 127 layers */
};

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

/* The sizes that are kept beside the folder: of the image, then of each layer's tar and files. */
static bool
sizes_read(int folder_fd, const Names *names, SlImage *image)
{
    g_autofree char *text = g_malloc0(MAX_SIZES_BYTES);
    sl_autofd int fd = openat(folder_fd, names->size, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, MAX_SIZES_BYTES - 1) : -1;
    const char *at = text;

    if (n <= 0)
        return false;
    image->size = g_ascii_strtoll(at, (char **)(uintptr_t)&at, 10);
    for (guint i = 0; *at && i < image->layers->len; i++) {
        SlImageLayer *layer = image->layers->pdata[i];

        layer->tar_bytes = g_ascii_strtoll(at, (char **)(uintptr_t)&at, 10);
        layer->file_bytes = g_ascii_strtoll(at, (char **)(uintptr_t)&at, 10);
    }
    return true;
}

static bool
sizes_write(int folder_fd, const Names *names, const SlImage *image, GError **error)
{
    g_autoptr(GString) text = g_string_new(NULL);

    g_string_printf(text, "%" G_GINT64_FORMAT, image->size);
    for (guint i = 0; i < image->layers->len; i++) {
        const SlImageLayer *layer = image->layers->pdata[i];

        g_string_append_printf(text, "\n%" G_GINT64_FORMAT " %" G_GINT64_FORMAT, layer->tar_bytes,
                               layer->file_bytes);
    }
    return sl_file_replace(folder_fd, names->size, text->str, text->len, 0600, error);
}

static bool
is_there(int folder_fd, const Names *names, SlImage *image)
{
    struct stat status;

    return fstatat(folder_fd, names->hex, &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(status.st_mode) &&
           sizes_read(folder_fd, names, image);
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
rootfs_fill(SlContent *content, SlImage *image, int folder_fd, const Names *names,
            const SlUnpackLimits *limits, const SlUnpackWatch *watch, SlCancel *cancel, GError **error)
{
    sl_autofd int rootfs_fd =
        openat(folder_fd, names->temporary, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    if (rootfs_fd < 0 || fchmod(rootfs_fd, 0755) < 0)
        return sl_fail_errno(error, errno, "opening %s", names->temporary);
    if (!sl_layers_unpack(content, image, rootfs_fd, limits, watch, cancel, error))
        return false;
    /* A folder that is there is whole, after a power cut too: renaming alone does not order the files'
     * content before it. */
    if (!sl_failpoint("image.layers.unpacked") || syncfs(rootfs_fd) < 0)
        return sl_fail_errno(error, errno, "writing an image's files");
    if (!sizes_write(folder_fd, names, image, error))
        return false;
    if (renameat(folder_fd, names->temporary, folder_fd, names->hex) < 0 ||
        !sl_failpoint("image.rootfs.stored"))
        return sl_fail_errno(error, errno, "storing the unpacked image %s", names->hex);
    return true;
}

/* Under the lock. What an earlier process left half done is removed first. */
static bool
rootfs_make(SlContent *content, SlImage *image, int folder_fd, const Names *names,
            const SlUnpackLimits *limits, const SlUnpackWatch *watch, SlCancel *cancel, GError **error)
{
    if (!sl_tree_remove(folder_fd, names->temporary, error) || !sl_tree_remove(folder_fd, names->hex, error))
        return false;
    if (mkdirat(folder_fd, names->temporary, 0755) < 0)
        return sl_fail_errno(error, errno, "creating %s", names->temporary);
    if (rootfs_fill(content, image, folder_fd, names, limits, watch, cancel, error))
        return true;
    sl_tree_remove(folder_fd, names->temporary, NULL);
    return false;
}

static void
names_init(Names *names, const char *image_id)
{
    names->hex = sl_digest_hex(image_id);
    names->temporary = g_strdup_printf(".%s.tmp", names->hex);
    names->lock = g_strdup_printf(".%s.lock", names->hex);
    names->size = g_strdup_printf("%s.size", names->hex);
}

static int
folder_open(const char *path, GError **error)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        sl_fail_errno(error, errno, "opening %s", path);
    return fd;
}

bool
sl_rootfs_prepare(SlContent *content, SlImage *image, const char *rootfs_folder, const SlUnpackLimits *limits,
                  const SlUnpackWatch *watch, SlCancel *cancel, char **ret_path, GError **error)
{
    g_auto(Names) names = { 0 };
    sl_autofd int folder_fd = -1;
    sl_autofd int lock_fd = -1;

    names_init(&names, image->id);
    /* Not even passable for others: setuid programs of images are in there (CVE-2021-41091). */
    if (!sl_folder_make(rootfs_folder, 0700, error))
        return false;
    folder_fd = folder_open(rootfs_folder, error);
    if (folder_fd < 0)
        return false;

    if (!is_there(folder_fd, &names, image)) {
        lock_fd = lock_take(folder_fd, &names, cancel, error);
        if (lock_fd < 0)
            return false;
        if (!is_there(folder_fd, &names, image) &&
            !rootfs_make(content, image, folder_fd, &names, limits, watch, cancel, error))
            return false;
    }
    *ret_path = g_build_filename(rootfs_folder, names.hex, NULL);
    return true;
}

/* ---- removing ---- */

static bool
names_remove(int folder_fd, const Names *names, GError **error)
{
    unlinkat(folder_fd, names->size, 0); /* first: without it the folder counts as not there */
    if (!sl_tree_remove(folder_fd, names->hex, error) || !sl_tree_remove(folder_fd, names->temporary, error))
        return false;
    unlinkat(folder_fd, names->lock, 0);
    return true;
}

bool
sl_rootfs_remove(const char *rootfs_folder, const char *image_id, GError **error)
{
    g_auto(Names) names = { 0 };
    sl_autofd int folder_fd = open(rootfs_folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (folder_fd < 0)
        return errno == ENOENT || sl_fail_errno(error, errno, "opening %s", rootfs_folder);
    names_init(&names, image_id);
    return names_remove(folder_fd, &names, error);
}

/* The image that a name in the folder of all images belongs to; NULL: none that we made. Caller frees. */
static char *
owner_of(const char *name)
{
    g_autofree char *digits = g_strndup(name + (*name == '.'), SL_DIGEST_HEX_CHARS);
    g_autofree char *id = g_strconcat("sha256:", digits, NULL);

    return sl_digest_is_valid(id) ? g_steal_pointer(&id) : NULL;
}

static GHashTable *
owners_list(int folder_fd, GError **error)
{
    g_autoptr(GHashTable) owners = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    int copy = openat(folder_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = copy >= 0 ? fdopendir(copy) : NULL;

    if (!dir) {
        sl_fail_errno(error, errno, "listing the unpacked images");
        sl_fd_clear(&copy);
        return NULL;
    }
    for (struct dirent *entry; (entry = readdir(dir));) {
        char *owner = owner_of(entry->d_name);

        if (owner)
            g_hash_table_add(owners, owner);
    }
    closedir(dir);
    return g_steal_pointer(&owners);
}

bool
sl_rootfs_sweep(const char *rootfs_folder, bool (*is_needed)(void *user, const char *image_id), void *user,
                GError **error)
{
    sl_autofd int folder_fd = open(rootfs_folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    g_autoptr(GHashTable) owners = NULL;
    GHashTableIter iter;
    gpointer id;

    if (folder_fd < 0)
        return errno == ENOENT || sl_fail_errno(error, errno, "opening %s", rootfs_folder);
    owners = owners_list(folder_fd, error);
    if (!owners)
        return false;
    g_hash_table_iter_init(&iter, owners);
    while (g_hash_table_iter_next(&iter, &id, NULL)) {
        g_auto(Names) names = { 0 };

        names_init(&names, id);
        if (!is_needed(user, id) && !names_remove(folder_fd, &names, error))
            return false;
    }
    return true;
}
