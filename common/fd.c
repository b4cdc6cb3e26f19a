#include "common/fd.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

bool
sl_fd_write_all(int fd, const void *data, size_t n, const char *what, GError **error)
{
    const char *at = data;

    while (n > 0) {
        ssize_t done = write(fd, at, n);

        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return sl_fail_errno(error, errno, "writing %s", what);
        at += done;
        n -= (size_t)done;
    }
    return true;
}

bool
sl_fd_read_at(int fd, void *data, size_t n, off_t offset, const char *what, GError **error)
{
    char *at = data;

    while (n > 0) {
        ssize_t done = pread(fd, at, n, offset);

        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return sl_fail_errno(error, errno, "reading %s", what);
        if (done == 0)
            return sl_fail(error, SL_ERROR_SYSTEM, "reading %s: the file ends too early", what);
        at += done;
        offset += done;
        n -= (size_t)done;
    }
    return true;
}

bool
sl_file_replace(int folder_fd, const char *name, const void *data, size_t n, mode_t mode, GError **error)
{
    g_autofree char *temporary = g_strdup_printf(".%s.%08x", name, g_random_int());
    sl_autofd int fd = openat(folder_fd, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);

    if (fd < 0)
        return sl_fail_errno(error, errno, "creating %s", temporary);
    if (!sl_fd_write_all(fd, data, n, name, error)) {
        unlinkat(folder_fd, temporary, 0);
        return false;
    }
    if (fsync(fd) < 0 || renameat(folder_fd, temporary, folder_fd, name) < 0) {
        int errnum = errno;

        unlinkat(folder_fd, temporary, 0);
        return sl_fail_errno(error, errnum, "replacing %s", name);
    }
    return true;
}

static bool tree_empty(int folder_fd, GError **error);

static bool
entry_remove(int folder_fd, const char *name, unsigned char type, GError **error)
{
    sl_autofd int child = -1;

    if (type != DT_DIR) {
        if (unlinkat(folder_fd, name, 0) == 0 || errno == ENOENT)
            return true;
        if (errno != EISDIR && errno != EPERM)
            return sl_fail_errno(error, errno, "removing %s", name);
    }
    if (unlinkat(folder_fd, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
        return true;
    if (errno != ENOTEMPTY && errno != EEXIST)
        return sl_fail_errno(error, errno, "removing folder %s", name);

    child = openat(folder_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (child < 0 && errno == EACCES && fchmodat(folder_fd, name, 0700, 0) == 0)
        child = openat(folder_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (child < 0)
        return sl_fail_errno(error, errno, "opening folder %s to remove it", name);
    if (!tree_empty(child, error))
        return false;
    if (unlinkat(folder_fd, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
        return sl_fail_errno(error, errno, "removing folder %s", name);
    return true;
}

static bool
tree_empty(int folder_fd, GError **error)
{
    DIR *dir = fdopendir(fcntl(folder_fd, F_DUPFD_CLOEXEC, 3));
    bool ok = true;

    if (!dir)
        return sl_fail_errno(error, errno, "listing a folder to remove it");
    for (struct dirent *entry; ok && (entry = readdir(dir));) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        ok = entry_remove(folder_fd, entry->d_name, entry->d_type, error);
    }
    closedir(dir);
    return ok;
}

bool
sl_tree_remove(int parent_fd, const char *name, GError **error)
{
    return entry_remove(parent_fd, name, DT_UNKNOWN, error);
}

bool
sl_folder_make(const char *path, mode_t mode, GError **error)
{
    if (g_mkdir_with_parents(path, (int)mode) < 0)
        return sl_fail_errno(error, errno, "creating folder %s", path);
    return true;
}

void
sl_unix_address_at(int folder_fd, const char *name, struct sockaddr_un *ret_address)
{
    *ret_address = (struct sockaddr_un){ .sun_family = AF_UNIX };
    snprintf(ret_address->sun_path, sizeof ret_address->sun_path, "/proc/self/fd/%d/%s", folder_fd, name);
}
