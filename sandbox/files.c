/* Descriptors: opening, reading, writing. A guest's descriptor is the kernel's of the same number. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "sandbox/abi.h"
#include "sandbox/calls.h"
#include "sandbox/net.h"
#include "sandbox/paths.h"
#include "sandbox/signals.h"
#include "sandbox/trees.h"

enum { GUEST_F_GETLK64 = 12, GUEST_F_SETLK64, GUEST_F_SETLKW64 };

int32_t
sl_call_openat(const uint32_t *arg)
{
    char absolute[PATH_MAX];
    int flags = (int)arg[2];
    SlPlace place;
    int result = sl_path_absolute((int32_t)arg[0], sl_guest_string(arg[1]), absolute);

    if (result)
        return result;
    result = sl_path_open(absolute, flags, arg[3], &place);
    if (result == SL_IN_TREE)
        result = place.tree->open(place.inside, flags);
    return sl_fd_give(result);
}

int32_t
sl_call_close(const uint32_t *arg)
{
    return sl_fd_is_guests(arg[0]) ? sl_net_close(arg[0]) : -EBADF;
}

/* The copy is the same socket. */
static int32_t
give_copy(uint32_t from, int32_t to)
{
    sl_net_socket_copy(from, to);
    return to;
}

int32_t
sl_call_dup(const uint32_t *arg)
{
    if (!sl_fd_is_guests(arg[0]))
        return -EBADF;
    return give_copy(arg[0], sl_fd_give(sl_result(dup((int)arg[0]))));
}

int32_t
sl_call_dup3(const uint32_t *arg)
{
    if (!sl_fd_is_guests(arg[0]) || !sl_fd_is_guests(arg[1]))
        return -EBADF;
    return give_copy(arg[0], sl_result(dup3((int)arg[0], (int)arg[1], (int)arg[2])));
}

static int32_t
lock_file(int fd, int command, uint32_t at)
{
    void *lock = sl_guest_pointer(at, sizeof(struct flock)); /* the 64-bit layout is the same on both sides */

    if (!lock)
        return -EFAULT;
    return (int32_t)sl_blocking_call(SYS_fcntl, fd, command, (long)lock, 0, 0, 0);
}

int32_t
sl_call_fcntl64(const uint32_t *arg)
{
    int fd = (int)arg[0];

    if (!sl_fd_is_guests(arg[0]))
        return -EBADF;
    switch (arg[1]) {
    case F_DUPFD:
    case F_DUPFD_CLOEXEC:
        if (!sl_fd_is_guests(arg[2]))
            return -EINVAL;
        return give_copy(arg[0], sl_fd_give(sl_result(fcntl(fd, (int)arg[1], arg[2]))));
    case F_GETFD:
    case F_SETFD:
    case F_GETFL:
        return sl_result(fcntl(fd, (int)arg[1], arg[2]));
    case F_SETFL:
        return sl_result(
            fcntl(fd, F_SETFL, arg[2] & ~(uint32_t)O_ASYNC)); /* SIGIO would have no owner in the table */
    case GUEST_F_GETLK64:
        return lock_file(fd, F_GETLK, arg[2]);
    case GUEST_F_SETLK64:
        return lock_file(fd, F_SETLK, arg[2]);
    case GUEST_F_SETLKW64:
        return lock_file(fd, F_SETLKW, arg[2]);
    case F_GETPIPE_SZ:
    case F_SETPIPE_SZ:
        return sl_result(fcntl(fd, (int)arg[1], arg[2]));
    default:
        return -EINVAL;
    }
}

int32_t
sl_call_flock(const uint32_t *arg)
{
    if (!sl_fd_is_guests(arg[0]))
        return -EBADF;
    return (int32_t)sl_blocking_call(SYS_flock, (int)arg[0], (long)arg[1], 0, 0, 0, 0);
}

int32_t
sl_call_pipe2(const uint32_t *arg)
{
    void *to = sl_guest_pointer(arg[0], 8);
    int fds[2];

    if (!to)
        return -EFAULT;
    if (pipe2(fds, (int)arg[1]) < 0)
        return -errno;
    if (fds[0] >= SL_GUEST_FDS || fds[1] >= SL_GUEST_FDS) {
        close(fds[0]);
        close(fds[1]);
        return -EMFILE;
    }
    memcpy(to, fds, sizeof fds);
    return 0;
}

int32_t
sl_call_memfd_create(const uint32_t *arg)
{
    return sl_fd_give(sl_result(memfd_create("guest", arg[1] & (MFD_CLOEXEC | MFD_ALLOW_SEALING))));
}

int32_t
sl_call_getdents64(const uint32_t *arg)
{
    void *to = sl_guest_pointer(arg[1], arg[2]);
    long result;

    if (!sl_fd_is_guests(arg[0]))
        return -EBADF;
    if (!to)
        return -EFAULT;
    result = sl_result(syscall(SYS_getdents64, (int)arg[0], to, arg[2]));
    return result == -ENOTDIR ? sl_snapshot_entries((int)arg[0], to, arg[2]) : (int32_t)result;
}

int32_t
sl_call_llseek(const uint32_t *arg)
{
    void *to = sl_guest_pointer(arg[3], 8);
    off_t at;

    if (!sl_fd_is_guests(arg[0]))
        return -EBADF;
    if (!to)
        return -EFAULT;
    at = lseek((int)arg[0], sl_guest_offset(arg[2], arg[1]), (int)arg[4]);
    if (at < 0)
        return -errno;
    memcpy(to, &at, 8);
    return 0;
}

/* ---- reading and writing ---- */

static int32_t
transfer(long number, const uint32_t *arg)
{
    void *bytes = sl_guest_pointer(arg[1], arg[2]);

    if (!sl_fd_is_guests(arg[0]))
        return -EBADF;
    if (!bytes && arg[2])
        return -EFAULT;
    if (sl_net_has_frames(arg[0]))
        return sl_net_transfer(arg[0], number == SYS_write, &(struct iovec){ bytes, arg[2] }, 1);
    return (int32_t)sl_blocking_call(number, (int)arg[0], (long)bytes, (long)arg[2], 0, 0, 0);
}

static int32_t
transfer_at(long number, const uint32_t *arg)
{
    void *bytes = sl_guest_pointer(arg[1], arg[2]);

    if (!sl_fd_is_guests(arg[0]))
        return -EBADF;
    if (!bytes && arg[2])
        return -EFAULT;
    return (int32_t)sl_blocking_call(number, (int)arg[0], (long)bytes, (long)arg[2],
                                     sl_guest_offset(arg[3], arg[4]), 0, 0);
}

static int32_t
transfer_many(long number, const uint32_t *arg)
{
    struct iovec iov[SL_GUEST_IOVECS];
    int32_t result;

    if (!sl_fd_is_guests(arg[0]))
        return -EBADF;
    result = sl_guest_iovecs(arg[1], arg[2], iov);
    if (!result && sl_net_has_frames(arg[0]))
        return sl_net_transfer(arg[0], number == SYS_writev, iov, arg[2]);
    return result ? result : (int32_t)sl_blocking_call(number, (int)arg[0], (long)iov, (long)arg[2], 0, 0, 0);
}

int32_t
sl_call_read(const uint32_t *arg)
{
    return transfer(SYS_read, arg);
}
int32_t
sl_call_write(const uint32_t *arg)
{
    return transfer(SYS_write, arg);
}
int32_t
sl_call_pread64(const uint32_t *arg)
{
    return transfer_at(SYS_pread64, arg);
}
int32_t
sl_call_pwrite64(const uint32_t *arg)
{
    return transfer_at(SYS_pwrite64, arg);
}
int32_t
sl_call_readv(const uint32_t *arg)
{
    return transfer_many(SYS_readv, arg);
}
int32_t
sl_call_writev(const uint32_t *arg)
{
    return transfer_many(SYS_writev, arg);
}

int32_t
sl_call_copy_file_range(const uint32_t *arg)
{
    return -ENOSYS; /* callers fall back to read and write */
}

/* ---- sizes and syncing ---- */

int32_t
sl_call_ftruncate64(const uint32_t *arg)
{
    if (!sl_fd_is_guests(arg[0]))
        return -EBADF;
    return sl_result(ftruncate((int)arg[0], sl_guest_offset(arg[1], arg[2])));
}

int32_t
sl_call_truncate64(const uint32_t *arg)
{
    char absolute[PATH_MAX];
    SlPlace place;
    int fd, result = sl_path_absolute(AT_FDCWD, sl_guest_string(arg[0]), absolute);

    if (result)
        return result;
    fd = sl_path_open(absolute, O_WRONLY | O_CLOEXEC, 0, &place);
    if (fd < 0)
        return fd == SL_IN_TREE ? -EACCES : fd;
    result = sl_result(ftruncate(fd, sl_guest_offset(arg[1], arg[2])));
    close(fd);
    return result;
}

int32_t
sl_call_fallocate(const uint32_t *arg)
{
    if (!sl_fd_is_guests(arg[0]))
        return -EBADF;
    return sl_result(fallocate((int)arg[0], (int)arg[1], sl_guest_offset(arg[2], arg[3]),
                               sl_guest_offset(arg[4], arg[5])));
}

int32_t
sl_call_fsync(const uint32_t *arg)
{
    return sl_fd_is_guests(arg[0]) ? sl_result(fsync((int)arg[0])) : -EBADF;
}

int32_t
sl_call_fdatasync(const uint32_t *arg)
{
    return sl_fd_is_guests(arg[0]) ? sl_result(fdatasync((int)arg[0])) : -EBADF;
}

/* The whole machine's disks are not the guest's to sync; its own file systems are. */
int32_t
sl_call_sync(const uint32_t *arg)
{
    int fd = openat(sl_paths_root_fd(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd >= 0) {
        syncfs(fd);
        close(fd);
    }
    return 0;
}

int32_t
sl_call_syncfs(const uint32_t *arg)
{
    return sl_fd_is_guests(arg[0]) ? sl_result(syncfs((int)arg[0])) : -EBADF;
}

int32_t
sl_call_fadvise64_64(const uint32_t *arg)
{
    return sl_fd_is_guests(arg[0]) ? 0 : -EBADF;
}
