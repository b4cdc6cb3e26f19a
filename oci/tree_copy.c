#include "oci/unpack.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "common/fd.h"

enum {
    MAX_DEPTH = 300, /* above what unpacking allows */
    CHUNK_BYTES = 1024 * 1024,
    XATTR_NAMES_BYTES = 16 * 1024,
    XATTR_VALUE_BYTES = 64 * 1024,
};

typedef struct Copy {
    int to_root_fd;
    bool is_root;
    SlCancel *cancel;
    GHashTable *linked; /* "dev:ino" of files with several names → the first name below the new root */
    GString *path;      /* where we are, relative to the root */
} Copy;

static bool folder_copy(Copy *copy, int from_fd, int to_fd, int depth, GError **error);

/* Whole content: shared extents where the filesystem can, else copied in the kernel. */
static bool
content_copy(Copy *copy, int from_fd, int to_fd, const struct stat *status, GError **error)
{
    int64_t left = status->st_size;

    if (left == 0 || ioctl(to_fd, FICLONE, from_fd) == 0)
        return true;
    while (left > 0) {
        ssize_t n = copy_file_range(from_fd, NULL, to_fd, NULL, (size_t)MIN(left, CHUNK_BYTES), 0);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return sl_fail_errno(error, errno, "copying %s", copy->path->str);
        if (n == 0)
            break;
        left -= n;
        if (sl_cancel_is_fired(copy->cancel))
            return sl_fail(error, SL_ERROR_CANCELLED, "cancelled");
    }
    return true;
}

static void
xattrs_copy(const Copy *copy, int from_fd, int to_fd)
{
    g_autofree char *names = g_malloc(XATTR_NAMES_BYTES);
    ssize_t n = flistxattr(from_fd, names, XATTR_NAMES_BYTES);
    g_autofree char *value = n > 0 ? g_malloc(XATTR_VALUE_BYTES) : NULL;

    for (const char *name = names; n > 0 && name < names + n; name += strlen(name) + 1) {
        ssize_t n_value;

        if (!g_str_has_prefix(name, "user.") && !(copy->is_root && strcmp(name, "security.capability") == 0))
            continue;
        n_value = fgetxattr(from_fd, name, value, XATTR_VALUE_BYTES);
        if (n_value >= 0)
            (void)fsetxattr(to_fd, name, value, (size_t)n_value, 0);
    }
}

static bool
attributes_copy(const Copy *copy, int from_fd, int to_fd, const struct stat *status, GError **error)
{
    struct timespec times[2] = { status->st_atim, status->st_mtim };

    if (copy->is_root && fchown(to_fd, status->st_uid, status->st_gid) < 0)
        return sl_fail_errno(error, errno, "setting the owner of %s", copy->path->str);
    if (fchmod(to_fd, status->st_mode & 07777) < 0)
        return sl_fail_errno(error, errno, "setting the mode of %s", copy->path->str);
    xattrs_copy(copy, from_fd, to_fd);
    if (futimens(to_fd, times) < 0)
        return sl_fail_errno(error, errno, "setting the time of %s", copy->path->str);
    return true;
}

static bool
file_copy(Copy *copy, int from_folder, int to_folder, const char *name, const struct stat *status,
          GError **error)
{
    sl_autofd int from_fd = openat(from_folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    sl_autofd int to_fd = -1;

    if (from_fd < 0)
        return sl_fail_errno(error, errno, "opening %s", copy->path->str);
    to_fd = openat(to_folder, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (to_fd < 0)
        return sl_fail_errno(error, errno, "creating %s", copy->path->str);
    return content_copy(copy, from_fd, to_fd, status, error) &&
           attributes_copy(copy, from_fd, to_fd, status, error);
}

static bool
nofollow_attributes(const Copy *copy, int to_folder, const char *name, const struct stat *status,
                    GError **error)
{
    struct timespec times[2] = { status->st_atim, status->st_mtim };

    if (copy->is_root && fchownat(to_folder, name, status->st_uid, status->st_gid, AT_SYMLINK_NOFOLLOW) < 0)
        return sl_fail_errno(error, errno, "setting the owner of %s", copy->path->str);
    if (utimensat(to_folder, name, times, AT_SYMLINK_NOFOLLOW) < 0)
        return sl_fail_errno(error, errno, "setting the time of %s", copy->path->str);
    return true;
}

static bool
symlink_copy(Copy *copy, int from_folder, int to_folder, const char *name, const struct stat *status,
             GError **error)
{
    g_autofree char *to = g_malloc(PATH_MAX + 1);
    ssize_t n = readlinkat(from_folder, name, to, PATH_MAX);

    if (n < 0)
        return sl_fail_errno(error, errno, "reading the link %s", copy->path->str);
    to[n] = '\0';
    if (symlinkat(to, to_folder, name) < 0)
        return sl_fail_errno(error, errno, "creating the link %s", copy->path->str);
    return nofollow_attributes(copy, to_folder, name, status, error);
}

static bool
subfolder_copy(Copy *copy, int from_folder, int to_folder, const char *name, const struct stat *status,
               int depth, GError **error)
{
    sl_autofd int from_fd = openat(from_folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    sl_autofd int to_fd = -1;

    if (from_fd < 0)
        return sl_fail_errno(error, errno, "opening %s", copy->path->str);
    if (mkdirat(to_folder, name, 0700) < 0)
        return sl_fail_errno(error, errno, "creating %s", copy->path->str);
    to_fd = openat(to_folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (to_fd < 0)
        return sl_fail_errno(error, errno, "opening the new %s", copy->path->str);
    return folder_copy(copy, from_fd, to_fd, depth + 1, error) &&
           attributes_copy(copy, from_fd, to_fd, status, error);
}

/* A second name of a file that was copied already. ret_done false: it is the first. */
static bool
link_again(Copy *copy, int to_folder, const char *name, const struct stat *status, bool *ret_done,
           GError **error)
{
    g_autofree char *key = NULL;
    const char *first;

    *ret_done = false;
    if (status->st_nlink < 2)
        return true;
    key = g_strdup_printf("%" G_GUINT64_FORMAT ":%" G_GUINT64_FORMAT, (guint64)status->st_dev,
                          (guint64)status->st_ino);
    first = g_hash_table_lookup(copy->linked, key);
    if (!first) {
        g_hash_table_insert(copy->linked, g_steal_pointer(&key), g_strdup(copy->path->str));
        return true;
    }
    if (linkat(copy->to_root_fd, first, to_folder, name, 0) < 0)
        return sl_fail_errno(error, errno, "linking %s", copy->path->str);
    *ret_done = true;
    return true;
}

static bool
entry_copy(Copy *copy, int from_fd, int to_fd, const char *name, int depth, GError **error)
{
    struct stat status;
    bool is_done;

    if (fstatat(from_fd, name, &status, AT_SYMLINK_NOFOLLOW) < 0)
        return sl_fail_errno(error, errno, "reading %s", copy->path->str);
    if (S_ISDIR(status.st_mode))
        return subfolder_copy(copy, from_fd, to_fd, name, &status, depth, error);
    if (!link_again(copy, to_fd, name, &status, &is_done, error))
        return false;
    if (is_done)
        return true;
    if (S_ISREG(status.st_mode))
        return file_copy(copy, from_fd, to_fd, name, &status, error);
    if (S_ISLNK(status.st_mode))
        return symlink_copy(copy, from_fd, to_fd, name, &status, error);
    if (S_ISFIFO(status.st_mode)) {
        if (mkfifoat(to_fd, name, status.st_mode & 07777) < 0)
            return sl_fail_errno(error, errno, "creating %s", copy->path->str);
        return nofollow_attributes(copy, to_fd, name, &status, error);
    }
    return true; /* devices and sockets stay behind, as in unpacking */
}

static bool
folder_copy(Copy *copy, int from_fd, int to_fd, int depth, GError **error)
{
    int list_fd = openat(from_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = list_fd >= 0 ? fdopendir(list_fd) : NULL;
    bool ok = true;

    if (!dir) {
        sl_fd_clear(&list_fd);
        return sl_fail_errno(error, errno, "listing %s", copy->path->str);
    }
    if (depth > MAX_DEPTH)
        ok = sl_fail(error, SL_ERROR_INVALID, "the folders are too deep to be copied");
    for (struct dirent *entry; ok && (entry = readdir(dir));) {
        gsize n = copy->path->len;

        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (sl_cancel_is_fired(copy->cancel)) {
            ok = sl_fail(error, SL_ERROR_CANCELLED, "cancelled");
            break;
        }
        g_string_append_printf(copy->path, "%s%s", n ? "/" : "", entry->d_name);
        ok = entry_copy(copy, from_fd, to_fd, entry->d_name, depth, error);
        g_string_truncate(copy->path, n);
    }
    closedir(dir);
    return ok;
}

bool
sl_tree_copy(int from_folder_fd, int to_folder_fd, SlCancel *cancel, GError **error)
{
    g_autoptr(GHashTable) linked = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    g_autoptr(GString) path = g_string_new(NULL);
    Copy copy = {
        .to_root_fd = to_folder_fd,
        .is_root = geteuid() == 0,
        .cancel = cancel,
        .linked = linked,
        .path = path,
    };
    struct stat status;

    if (fstat(from_folder_fd, &status) < 0)
        return sl_fail_errno(error, errno, "reading the folder to copy");
    return folder_copy(&copy, from_folder_fd, to_folder_fd, 0, error) &&
           attributes_copy(&copy, from_folder_fd, to_folder_fd, &status, error);
}
