/* What stat and its relatives say, and what changes it. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandbox/abi.h"
#include "sandbox/calls.h"
#include "sandbox/paths.h"
#include "sandbox/trees.h"
#include "sandbox/users.h"

static GuestTime
time_to_guest(struct timespec from)
{
    return (GuestTime){ from.tv_sec, (int32_t)from.tv_nsec, 0 };
}

static int32_t
stat_to_guest(uint32_t at, const struct stat *from)
{
    GuestStat *to = sl_guest_pointer(at, sizeof *to);

    if (!to)
        return -EFAULT;
    *to = (GuestStat){
        .device = from->st_dev,
        .inode = from->st_ino,
        .mode = from->st_mode,
        .links = (uint32_t)from->st_nlink,
        .uid = sl_users_shown_uid(from->st_uid),
        .gid = sl_users_shown_gid(from->st_gid),
        .special = from->st_rdev,
        .size = from->st_size,
        .block_size = (int32_t)from->st_blksize,
        .blocks = from->st_blocks,
        .accessed = time_to_guest(from->st_atim),
        .modified = time_to_guest(from->st_mtim),
        .changed = time_to_guest(from->st_ctim),
    };
    return 0;
}

int32_t
sl_call_fstat64(const uint32_t *arg)
{
    struct stat status;

    if (!sl_fd_is_guests(arg[0]))
        return -EBADF;
    if (fstat((int)arg[0], &status) < 0)
        return -errno;
    sl_snapshot_stat((int)arg[0], &status);
    return stat_to_guest(arg[1], &status);
}

int32_t
sl_call_fstatat64(const uint32_t *arg)
{
    const char *path = sl_guest_string(arg[1]);
    char absolute[PATH_MAX];
    struct stat status;
    SlPlace place;
    int fd, result;

    if (!path)
        return -EFAULT;
    if (!*path && arg[3] & AT_EMPTY_PATH)
        return sl_call_fstat64((const uint32_t[]){ arg[0], arg[2] });
    result = sl_path_absolute((int32_t)arg[0], path, absolute);
    if (result)
        return result;
    fd = sl_path_open(absolute, O_PATH | O_CLOEXEC | (arg[3] & AT_SYMLINK_NOFOLLOW ? O_NOFOLLOW : 0), 0,
                      &place);
    if (fd == SL_IN_TREE) {
        char text[PATH_MAX];

        result = place.tree->stat(place.inside, &status);
        if (!result && arg[3] & AT_SYMLINK_NOFOLLOW && place.tree->link(place.inside, text, sizeof text)) {
            status.st_mode = S_IFLNK | 0777;
            status.st_size = (off_t)strlen(text);
        }
        return result ? result : stat_to_guest(arg[2], &status);
    }
    if (fd < 0)
        return fd;
    result = sl_result(fstat(fd, &status));
    close(fd);
    return result ? result : stat_to_guest(arg[2], &status);
}

/* The file of the root that path leads to, O_PATH; -EPERM for a name in a tree. */
static int
open_file(uint32_t dirfd, uint32_t path_at, int flags)
{
    char absolute[PATH_MAX];
    SlPlace place;
    int result = sl_path_absolute((int32_t)dirfd, sl_guest_string(path_at), absolute);

    if (result)
        return result;
    result = sl_path_open(absolute, O_PATH | O_CLOEXEC | flags, 0, &place);
    return result == SL_IN_TREE ? -EPERM : result;
}

/* ---- file systems ---- */

static int32_t
statfs_to_guest(uint32_t at, int fd)
{
    GuestStatfs *to = sl_guest_pointer(at, sizeof *to);
    struct statfs from;

    if (!to)
        return -EFAULT;
    if (fstatfs(fd, &from) < 0)
        return -errno;
    *to = (GuestStatfs){
        .type = (uint32_t)from.f_type,
        .block_size = (uint32_t)from.f_bsize,
        .blocks = from.f_blocks,
        .blocks_free = from.f_bfree,
        .blocks_available = from.f_bavail,
        .files = from.f_files,
        .files_free = from.f_ffree,
        .name_length = (uint32_t)from.f_namelen,
        .fragment_size = (uint32_t)from.f_frsize,
    };
    return 0;
}

int32_t
sl_call_fstatfs64(const uint32_t *arg)
{
    return sl_fd_is_guests(arg[0]) ? statfs_to_guest(arg[2], (int)arg[0]) : -EBADF;
}

int32_t
sl_call_statfs64(const uint32_t *arg)
{
    char absolute[PATH_MAX];
    SlPlace place;
    int32_t result = sl_path_absolute(AT_FDCWD, sl_guest_string(arg[0]), absolute);
    int fd;

    if (result)
        return result;
    fd = sl_path_open(absolute, O_PATH | O_CLOEXEC, 0, &place);
    if (fd == SL_IN_TREE) {
        /* like proc and devtmpfs: nothing to count */
        GuestStatfs *to = sl_guest_pointer(arg[2], sizeof *to);

        if (!to)
            return -EFAULT;
        *to = (GuestStatfs){
            .type = 0x9fa0, .block_size = 4096, .name_length = NAME_MAX, .fragment_size = 4096
        };
        return 0;
    }
    if (fd < 0)
        return fd;
    result = statfs_to_guest(arg[2], fd);
    close(fd);
    return result;
}

/* ---- permissions ---- */

static int32_t
check_access(const uint32_t *arg, int flags)
{
    char absolute[PATH_MAX];
    SlPlace place;
    struct stat status;
    int32_t result = sl_path_absolute((int32_t)arg[0], sl_guest_string(arg[1]), absolute);
    int fd;

    if (result)
        return result;
    fd = sl_path_open(absolute, O_PATH | O_CLOEXEC | (flags & AT_SYMLINK_NOFOLLOW ? O_NOFOLLOW : 0), 0,
                      &place);
    if (fd == SL_IN_TREE) {
        result = place.tree->stat(place.inside, &status);
        if (!result && S_ISREG(status.st_mode) && arg[2] & (W_OK | X_OK))
            return -EACCES;
        return result;
    }
    if (fd < 0)
        return fd;
    result = sl_result(syscall(SYS_faccessat2, fd, "", arg[2] & 7, AT_EMPTY_PATH | (flags & AT_EACCESS)));
    close(fd);
    return result;
}

int32_t
sl_call_faccessat(const uint32_t *arg)
{
    return check_access(arg, 0);
}

int32_t
sl_call_faccessat2(const uint32_t *arg)
{
    return check_access(arg, (int)arg[3]);
}

int32_t
sl_call_fchmod(const uint32_t *arg)
{
    return sl_fd_is_guests(arg[0]) ? sl_result(fchmod((int)arg[0], arg[1] & 07777)) : -EBADF;
}

int32_t
sl_call_fchmodat(const uint32_t *arg)
{
    char link[64];
    int fd = open_file(arg[0], arg[1], 0);
    int32_t result;

    if (fd < 0)
        return fd;
    /* fchmod does not work on O_PATH, and by its name the file could be another one by now. */
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    result = sl_result(chmod(link, arg[2] & 07777));
    close(fd);
    return result;
}

/* Where nothing can be enforced, a change of owner is accepted as package managers and tar expect, and not
 * kept. */
static int32_t
change_owner(int fd, uint32_t uid, uint32_t gid)
{
    if (!sl_users_are_enforced())
        return fcntl(fd, F_GETFD) < 0 ? -errno : 0;
    return sl_result(fchownat(fd, "", uid, gid, AT_EMPTY_PATH));
}

int32_t
sl_call_fchown(const uint32_t *arg)
{
    return sl_fd_is_guests(arg[0]) ? change_owner((int)arg[0], arg[1], arg[2]) : -EBADF;
}

int32_t
sl_call_fchownat(const uint32_t *arg)
{
    int fd, result;

    if (arg[4] & AT_EMPTY_PATH && sl_guest_string(arg[1]) && !*sl_guest_string(arg[1]))
        return sl_call_fchown((const uint32_t[]){ arg[0], arg[2], arg[3] });
    fd = open_file(arg[0], arg[1], arg[4] & AT_SYMLINK_NOFOLLOW ? O_NOFOLLOW : 0);
    if (fd < 0)
        return fd;
    result = change_owner(fd, arg[2], arg[3]);
    close(fd);
    return result;
}

int32_t
sl_call_umask(const uint32_t *arg)
{
    return (int32_t)umask(arg[0] & 0777);
}

/* ---- times ---- */

static int32_t
set_times(const uint32_t *arg, const struct timespec *times)
{
    int fd;
    int32_t result;

    if (!arg[1])
        return sl_fd_is_guests(arg[0]) ? sl_result(futimens((int)arg[0], times)) : -EBADF;
    fd = open_file(arg[0], arg[1], arg[3] & AT_SYMLINK_NOFOLLOW ? O_NOFOLLOW : 0);
    if (fd < 0)
        return fd;
    result = sl_result(utimensat(fd, "", times, AT_EMPTY_PATH));
    close(fd);
    return result;
}

int32_t
sl_call_utimensat(const uint32_t *arg)
{
    struct timespec times[2];
    const int32_t *from;
    void *at;

    if (!sl_guest_optional(arg[2], 16, &at))
        return -EFAULT;
    from = at;
    for (int i = 0; from && i < 2; i++)
        times[i] = (struct timespec){ from[2 * i], from[2 * i + 1] };
    return set_times(arg, from ? times : NULL);
}

int32_t
sl_call_utimensat_time64(const uint32_t *arg)
{
    struct timespec times[2];
    const int64_t *from;
    void *at;

    if (!sl_guest_optional(arg[2], 32, &at))
        return -EFAULT;
    from = at;
    for (int i = 0; from && i < 2; i++)
        times[i] = (struct timespec){ from[2 * i], (int32_t)from[2 * i + 1] };
    return set_times(arg, from ? times : NULL);
}
