#include "oci/unpack_target.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

#include "common/fd.h"

enum {
    /* Deeper trees are an attack on whoever walks them later with a small stack. */
    MAX_DEPTH = 256,
    MAX_TRIES = 8,
};

typedef struct DirTime {
    struct timespec mtime;
    char path[];
} DirTime;

static int
open_in_root(int root_fd, const char *path, int flags)
{
    struct open_how how = {
        .flags = (unsigned)flags | O_CLOEXEC,
        .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
    };
    long fd = -1;

    /* EAGAIN: something was renamed meanwhile, and the kernel could not prove that ".." stayed inside. */
    for (int i = 0; i < MAX_TRIES; i++) {
        fd = syscall(SYS_openat2, root_fd, *path ? path : ".", &how, sizeof how);
        if (fd >= 0 || errno != EAGAIN)
            break;
    }
    return (int)fd;
}

/* How deep an open folder lies, by slashes in its real path: symbolic links in names can hide depth. */
static int
depth_of(int fd)
{
    char link[64];
    g_autofree char *path = g_malloc(PATH_MAX);
    ssize_t n;
    int depth = 0;

    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    n = readlink(link, path, PATH_MAX);
    if (n < 0)
        return errno == ENAMETOOLONG ? G_MAXINT : 0;
    for (ssize_t i = 0; i < n; i++)
        depth += path[i] == '/';
    return depth;
}

bool
sl_unpack_target_open(SlUnpackTarget *target, int folder_fd, SlUnpackBudget *budget, SlCancel *cancel,
                      GError **error)
{
    *target =
        (SlUnpackTarget){ .parent_fd = -1, .is_root = geteuid() == 0, .budget = budget, .cancel = cancel };
    target->root_fd = openat(folder_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (target->root_fd < 0)
        return sl_fail_errno(error, errno, "opening the folder to unpack to");
    target->made = g_hash_table_new(NULL, NULL);
    target->dir_times = g_ptr_array_new_with_free_func(g_free);
    target->root_depth = depth_of(target->root_fd);
    return true;
}

static void
parent_forget(SlUnpackTarget *target)
{
    g_clear_pointer(&target->parent_path, g_free);
    sl_fd_clear(&target->parent_fd);
}

void
sl_unpack_target_clear(SlUnpackTarget *target)
{
    if (!target->made)
        return;
    parent_forget(target);
    sl_fd_clear(&target->root_fd);
    g_hash_table_unref(target->made);
    g_ptr_array_unref(target->dir_times);
    *target = (SlUnpackTarget){ .root_fd = -1, .parent_fd = -1 };
}

bool
sl_unpack_target_finish(SlUnpackTarget *target, GError **error)
{
    for (guint i = 0; i < target->dir_times->len; i++) {
        const DirTime *dir = target->dir_times->pdata[i];
        struct timespec times[2] = { dir->mtime, dir->mtime };
        sl_autofd int fd = open_in_root(target->root_fd, dir->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);

        /* A later entry may have taken its place. */
        if (fd >= 0 && futimens(fd, times) < 0)
            return sl_fail_errno(error, errno, "setting the time of %s", dir->path);
    }
    return true;
}

char *
sl_unpack_clean(const char *name, GError **error)
{
    g_autoptr(GString) clean = g_string_new(NULL);
    int depth = 0;

    if (!name || !*name) {
        sl_fail(error, SL_ERROR_INVALID, "invalid archive: an entry without a name");
        return NULL;
    }
    while (*name) {
        size_t n = strcspn(name, "/");

        if (n == 2 && strncmp(name, "..", 2) == 0) {
            sl_fail(error, SL_ERROR_INVALID, "invalid archive: a name with \"..\" in it");
            return NULL;
        }
        if (n > 0 && !(n == 1 && *name == '.')) {
            if (clean->len)
                g_string_append_c(clean, '/');
            g_string_append_len(clean, name, (gssize)n);
            depth++;
        }
        name += n;
        name += *name == '/';
    }
    if (clean->len >= PATH_MAX || depth > MAX_DEPTH) {
        sl_fail(error, SL_ERROR_INVALID, "invalid archive: a name that is too long or too deep");
        return NULL;
    }
    return g_string_free(g_steal_pointer(&clean), FALSE);
}

/* Opens path, making what is missing on the way. */
static int
folder_make(SlUnpackTarget *target, const char *path)
{
    g_autofree char *prefix = g_strdup(path);
    sl_autofd int fd = open_in_root(target->root_fd, path, O_PATH | O_DIRECTORY);
    char *slash = prefix;

    if (fd >= 0 || errno != ENOENT)
        return sl_fd_steal(&fd);

    fd = open_in_root(target->root_fd, "", O_PATH | O_DIRECTORY);
    while (fd >= 0 && slash) {
        char *name = slash;
        struct stat status;
        int next;

        slash = strchr(name, '/');
        if (slash)
            *slash = '\0';
        if (mkdirat(fd, name, 0755) == 0) {
            if (fstatat(fd, name, &status, AT_SYMLINK_NOFOLLOW) == 0)
                sl_unpack_note(target, &status);
        } else if (errno != EEXIST) {
            return -1;
        }
        next = open_in_root(target->root_fd, prefix, O_PATH | O_DIRECTORY);
        sl_fd_clear(&fd);
        fd = next;
        if (slash)
            *slash++ = '/';
    }
    return sl_fd_steal(&fd);
}

static bool
parent_open(SlUnpackTarget *target, const char *parent, GError **error)
{
    int fd;

    if (target->parent_path && strcmp(target->parent_path, parent) == 0)
        return true;
    parent_forget(target);
    fd = folder_make(target, parent);
    if (fd < 0)
        return sl_fail(error, SL_ERROR_INVALID, "invalid archive: %s cannot be a folder: %s", parent,
                       g_strerror(errno));
    target->parent_fd = fd;
    if (depth_of(fd) - target->root_depth > MAX_DEPTH)
        return sl_fail(error, SL_ERROR_INVALID, "invalid archive: %s lies too deep", parent);
    target->parent_path = g_strdup(parent);
    return true;
}

bool
sl_unpack_parent(SlUnpackTarget *target, const char *path, int *ret_fd, const char **ret_base, GError **error)
{
    const char *slash = strrchr(path, '/');
    g_autofree char *parent = slash ? g_strndup(path, (gsize)(slash - path)) : g_strdup("");

    if (!parent_open(target, parent, error))
        return false;
    *ret_fd = target->parent_fd;
    *ret_base = slash ? slash + 1 : path;
    return true;
}

bool
sl_unpack_remove(SlUnpackTarget *target, int parent_fd, const char *base, GError **error)
{
    sl_autofd int fd = fcntl(parent_fd, F_DUPFD_CLOEXEC, 3);

    /* What is removed may be on the way to the open parent. */
    if (parent_fd == target->parent_fd)
        g_clear_pointer(&target->parent_path, g_free);
    if (fd < 0)
        return sl_fail_errno(error, errno, "removing %s", base);
    return sl_tree_remove(fd, base, error);
}

static bool
is_dots(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

static bool opaque_step(SlUnpackTarget *target, int folder_fd, int depth, GError **error);

/* Drops one child of an opaque folder unless this layer made it or something in it. */
static bool
opaque_child(SlUnpackTarget *target, int folder_fd, const char *name, int depth, GError **error)
{
    struct stat status;
    bool is_made;
    sl_autofd int child = -1;

    if (fstatat(folder_fd, name, &status, AT_SYMLINK_NOFOLLOW) < 0)
        return sl_fail_errno(error, errno, "reading %s", name);
    is_made = g_hash_table_contains(target->made, GSIZE_TO_POINTER(status.st_ino));
    if (!S_ISDIR(status.st_mode))
        return is_made || sl_tree_remove(folder_fd, name, error);

    child = openat(folder_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (child < 0)
        return sl_fail_errno(error, errno, "opening %s", name);
    if (!opaque_step(target, child, depth + 1, error))
        return false;
    if (!is_made && unlinkat(folder_fd, name, AT_REMOVEDIR) < 0 && errno != ENOTEMPTY && errno != EEXIST)
        return sl_fail_errno(error, errno, "removing %s", name);
    return true;
}

static bool
opaque_step(SlUnpackTarget *target, int folder_fd, int depth, GError **error)
{
    int copy = openat(folder_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = copy >= 0 ? fdopendir(copy) : NULL;
    bool ok = true;

    if (!dir) {
        sl_fd_clear(&copy);
        return sl_fail_errno(error, errno, "listing an opaque folder");
    }
    if (depth > 2 * MAX_DEPTH)
        ok = sl_fail(error, SL_ERROR_INVALID, "invalid archive: folders are too deep");
    for (struct dirent *entry; ok && (entry = readdir(dir));)
        if (!is_dots(entry->d_name))
            ok = opaque_child(target, folder_fd, entry->d_name, depth, error);
    closedir(dir);
    return ok;
}

bool
sl_unpack_make_opaque(SlUnpackTarget *target, int folder_fd, GError **error)
{
    g_clear_pointer(&target->parent_path, g_free);
    return opaque_step(target, folder_fd, 0, error);
}

void
sl_unpack_note(SlUnpackTarget *target, const struct stat *status)
{
    g_hash_table_add(target->made, GSIZE_TO_POINTER(status->st_ino));
}

void
sl_unpack_note_dir_time(SlUnpackTarget *target, const char *path, const struct timespec *mtime)
{
    size_t n = strlen(path) + 1;
    DirTime *dir = g_malloc(sizeof *dir + n);

    dir->mtime = *mtime;
    memcpy(dir->path, path, n);
    g_ptr_array_add(target->dir_times, dir);
}
