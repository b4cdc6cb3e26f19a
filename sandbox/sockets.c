/*
 * Sockets. A container has no network yet: networks will come as unix sockets in a folder per network (DESIGN
 * §6a), and this is where AF_INET will meet them. Until then only socket pairs exist, and nothing of the
 * host, its loopback included, can be reached.
 */
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "sandbox/abi.h"
#include "sandbox/calls.h"
#include "sandbox/signals.h"

typedef struct GuestMessage {
    uint32_t name, name_length, iov, n_iov, control, control_length, flags;
} GuestMessage;

int32_t
sl_call_socket(const uint32_t *arg)
{
    return arg[0] == AF_INET || arg[0] == AF_INET6 || arg[0] == AF_NETLINK || arg[0] == AF_UNIX
               ? -EACCES
               : -EAFNOSUPPORT;
}

int32_t
sl_call_socketpair(const uint32_t *arg)
{
    void *to = sl_guest_pointer(arg[3], 8);
    int fds[2];

    if (!to)
        return -EFAULT;
    if (arg[0] != AF_UNIX)
        return -EAFNOSUPPORT;
    if (socketpair(AF_UNIX, (int)arg[1], 0, fds) < 0)
        return -errno;
    if (fds[0] >= SL_GUEST_FDS || fds[1] >= SL_GUEST_FDS) {
        close(fds[0]);
        close(fds[1]);
        return -EMFILE;
    }
    memcpy(to, fds, sizeof fds);
    return 0;
}

/* What only a socket with an address does: none of the guest's has one. */
static int32_t
no_address(const uint32_t *arg)
{
    return sl_fd_is_guests(arg[0]) ? -EOPNOTSUPP : -EBADF;
}

int32_t
sl_call_bind(const uint32_t *arg)
{
    return no_address(arg);
}
int32_t
sl_call_connect(const uint32_t *arg)
{
    return no_address(arg);
}
int32_t
sl_call_listen(const uint32_t *arg)
{
    return no_address(arg);
}
int32_t
sl_call_accept(const uint32_t *arg)
{
    return no_address(arg);
}
int32_t
sl_call_accept4(const uint32_t *arg)
{
    return no_address(arg);
}
int32_t
sl_call_getsockname(const uint32_t *arg)
{
    return no_address(arg);
}
int32_t
sl_call_getpeername(const uint32_t *arg)
{
    return no_address(arg);
}
int32_t
sl_call_setsockopt(const uint32_t *arg)
{
    return no_address(arg);
}

int32_t
sl_call_getsockopt(const uint32_t *arg)
{
    uint32_t *length = sl_guest_pointer(arg[4], 4);
    void *value = length ? sl_guest_pointer(arg[3], *length) : NULL;

    if (!sl_fd_is_guests(arg[0]))
        return -EBADF;
    if (!value)
        return -EFAULT;
    if (arg[1] != SOL_SOCKET || (arg[2] != SO_TYPE && arg[2] != SO_ERROR))
        return -ENOPROTOOPT;
    return sl_result(getsockopt((int)arg[0], SOL_SOCKET, (int)arg[2], value, length));
}

int32_t
sl_call_shutdown(const uint32_t *arg)
{
    return sl_fd_is_guests(arg[0]) ? sl_result(shutdown((int)arg[0], (int)arg[1])) : -EBADF;
}

/* An address given to a socket of a pair has no meaning; none is passed on. */
int32_t
sl_call_sendto(const uint32_t *arg)
{
    const void *bytes = sl_guest_pointer(arg[1], arg[2]);

    if (!sl_fd_is_guests(arg[0]))
        return -EBADF;
    if (!bytes && arg[2])
        return -EFAULT;
    if (arg[4])
        return -EISCONN;
    return (int32_t)sl_blocking_call(SYS_sendto, (int)arg[0], (long)bytes, (long)arg[2], (long)arg[3], 0, 0);
}

int32_t
sl_call_recvfrom(const uint32_t *arg)
{
    void *bytes = sl_guest_pointer(arg[1], arg[2]);
    void *length;

    if (!sl_fd_is_guests(arg[0]))
        return -EBADF;
    if ((!bytes && arg[2]) || !sl_guest_optional(arg[5], 4, &length))
        return -EFAULT;
    if (length)
        memset(length, 0, 4);
    return (int32_t)sl_blocking_call(SYS_recvfrom, (int)arg[0], (long)bytes, (long)arg[2], (long)arg[3], 0,
                                     0);
}

/* Control messages would pass descriptors and credentials, which are the host's: there are none. */
static int32_t
message(const uint32_t *arg, long number)
{
    GuestMessage *guest = sl_guest_pointer(arg[1], sizeof *guest);
    struct iovec iov[SL_GUEST_IOVECS];
    struct msghdr host = { .msg_iov = iov };
    int32_t result;

    if (!sl_fd_is_guests(arg[0]))
        return -EBADF;
    if (!guest)
        return -EFAULT;
    result = sl_guest_iovecs(guest->iov, guest->n_iov, iov);
    if (result)
        return result;
    host.msg_iovlen = (int)guest->n_iov;
    result = (int32_t)sl_blocking_call(number, (int)arg[0], (long)&host, (long)arg[2], 0, 0, 0);
    if (number == SYS_recvmsg && result >= 0) {
        guest->name_length = guest->control_length = 0;
        guest->flags = (uint32_t)host.msg_flags;
    }
    return result;
}

int32_t
sl_call_sendmsg(const uint32_t *arg)
{
    return message(arg, SYS_sendmsg);
}

int32_t
sl_call_recvmsg(const uint32_t *arg)
{
    return message(arg, SYS_recvmsg);
}
