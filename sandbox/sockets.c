/* The socket calls: arguments checked and turned, then net_*.c. Socket pairs are the kernel's. */
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <unistd.h>

#include "sandbox/abi.h"
#include "sandbox/calls.h"
#include "sandbox/net.h"
#include "sandbox/process.h"
#include "sandbox/signals.h"

typedef struct GuestMessage {
    uint32_t name, name_length, iov, n_iov, control, control_length, flags;
} GuestMessage;

enum {
    KIND_MASK = 15,
    MESSAGE_FLAGS = MSG_PEEK | MSG_DONTWAIT | MSG_WAITALL | MSG_TRUNC | MSG_NOSIGNAL | MSG_MORE,
    ADDRESS_SIZE = sizeof(struct sockaddr_in),
    GUEST_SO_RCVTIMEO = 66, /* with 64-bit times; 20 and 21 have 32-bit ones */
    GUEST_SO_SNDTIMEO = 67,
};

/* ---- addresses ---- */

static int32_t
address_from_guest(uint32_t at, uint32_t size, SlNetAddress *ret)
{
    const struct sockaddr_in *from = sl_guest_pointer(at, ADDRESS_SIZE);

    if (size < ADDRESS_SIZE)
        return -EINVAL;
    if (!from)
        return -EFAULT;
    if (from->sin_family != AF_INET)
        return -EAFNOSUPPORT;
    *ret = (SlNetAddress){ ntohl(from->sin_addr.s_addr), ntohs(from->sin_port) };
    return 0;
}

/* at, length_at: as getsockname() takes them; at may be 0. */
static int32_t
address_to_guest(uint32_t at, uint32_t length_at, SlNetAddress address)
{
    struct sockaddr_in from = { .sin_family = AF_INET,
                                .sin_addr.s_addr = htonl(address.ip),
                                .sin_port = htons(address.port) };
    uint32_t *length, size;
    void *to;

    if (!at)
        return 0;
    length = sl_guest_pointer(length_at, 4);
    if (!length)
        return -EFAULT;
    size = *length < sizeof from ? *length : (uint32_t)sizeof from;
    to = sl_guest_pointer(at, size);
    if (!to && size)
        return -EFAULT;
    memcpy(to, &from, size);
    *length = sizeof from;
    return 0;
}

/* Which socket a call is about, or *ret_error. */
static SlNetSocket *
network_socket(uint32_t fd, int32_t *ret_error)
{
    SlNetSocket *socket = sl_net_socket(fd);
    struct sockaddr_storage name;
    socklen_t length = sizeof name;

    *ret_error = 0;
    if (socket)
        return socket;
    if (!sl_fd_is_guests(fd))
        *ret_error = -EBADF;
    else /* a pair's socket has no address to be changed */
        *ret_error = getsockname((int)fd, (struct sockaddr *)&name, &length) < 0 ? -errno : -EOPNOTSUPP;
    return NULL;
}

/* ---- making ---- */

static int32_t
kind_of(int type, int protocol)
{
    if (type == SOCK_STREAM && (protocol == 0 || protocol == IPPROTO_TCP))
        return SL_NET_TCP;
    if (type == SOCK_DGRAM && (protocol == 0 || protocol == IPPROTO_UDP))
        return SL_NET_UDP;
    if ((type == SOCK_DGRAM || type == SOCK_RAW) && protocol == IPPROTO_ICMP)
        return SL_NET_ICMP;
    return type == SOCK_RAW || type == SOCK_PACKET ? -EPERM : -EPROTONOSUPPORT;
}

int32_t
sl_call_socket(const uint32_t *arg)
{
    int type = (int)arg[1] & KIND_MASK, flags = (int)arg[1] & (SOCK_NONBLOCK | SOCK_CLOEXEC);
    const struct timeval wait = { 0, 200000 };
    SlNetSocket *added;
    int32_t kind, fd;

    if (arg[0] != AF_INET || !sl_net_is_there())
        return arg[0] == AF_INET || arg[0] == AF_UNIX || arg[0] == AF_NETLINK ? -EACCES : -EAFNOSUPPORT;
    kind = kind_of(type, (int)arg[2]);
    if (kind < 0)
        return kind;
    fd = sl_fd_give(sl_result(socket(AF_UNIX, (kind == SL_NET_TCP ? SOCK_STREAM : SOCK_DGRAM) | flags, 0)));
    if (fd < 0)
        return fd;
    if (kind != SL_NET_TCP)
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait); /* as sl_net_socket_replace */
    added = sl_net_socket_add(fd, (SlNetKind)kind);
    added->is_raw = type == SOCK_RAW;
    return fd;
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

int32_t
sl_call_bind(const uint32_t *arg)
{
    int32_t error;
    SlNetSocket *socket = network_socket(arg[0], &error);
    SlNetAddress address;
    int result;

    if (!socket)
        return error;
    error = address_from_guest(arg[1], arg[2], &address);
    if (error)
        return error;
    if (socket->is_bound || socket->is_connected || socket->is_outside)
        return -EINVAL;
    if (address.ip && !sl_net_is_own(address.ip))
        return -EADDRNOTAVAIL;
    if (socket->kind == SL_NET_ICMP)
        return 0;
    socket->is_port_chosen = address.port == 0;
    result = sl_net_bind((int)arg[0], socket->kind == SL_NET_TCP ? SOCK_STREAM : SOCK_DGRAM, &address);
    if (result < 0)
        return result;
    socket->local = address;
    socket->is_bound = true;
    return 0;
}

/* AF_UNSPEC: a datagram socket takes from everybody again. */
static int32_t
disconnect(int fd, SlNetSocket *socket)
{
    const struct sockaddr none = { .sa_family = AF_UNSPEC };

    if (socket->kind == SL_NET_TCP)
        return -EINVAL;
    if (socket->is_outside && connect(fd, &none, sizeof none) < 0)
        return -errno;
    socket->is_connected = false;
    return 0;
}

int32_t
sl_call_connect(const uint32_t *arg)
{
    int32_t error;
    SlNetSocket *socket = network_socket(arg[0], &error);
    const uint16_t *family = sl_guest_pointer(arg[1], 2);
    SlNetAddress to;

    if (!socket)
        return error;
    if (family && *family == AF_UNSPEC && arg[2] >= 2)
        return disconnect((int)arg[0], socket);
    error = address_from_guest(arg[1], arg[2], &to);
    if (error)
        return error;
    if (socket->kind == SL_NET_TCP)
        return sl_net_stream_connect((int)arg[0], socket, to);
    if (socket->kind == SL_NET_UDP)
        return sl_net_datagram_connect((int)arg[0], socket, to);
    socket->is_connected = true;
    socket->peer = (SlNetAddress){ to.ip, 0 };
    return 0;
}

int32_t
sl_call_listen(const uint32_t *arg)
{
    int32_t error;
    SlNetSocket *socket = network_socket(arg[0], &error);

    if (!socket)
        return error;
    return socket->kind == SL_NET_TCP ? sl_net_stream_listen((int)arg[0], socket, (int)arg[1]) : -EOPNOTSUPP;
}

static int32_t
do_accept(const uint32_t *arg, int flags)
{
    int32_t error, fd;
    SlNetSocket *socket = network_socket(arg[0], &error);
    SlNetAddress peer;

    if (!socket)
        return error;
    if (socket->kind != SL_NET_TCP)
        return -EOPNOTSUPP;
    if (!socket->is_listening || flags & ~(SOCK_NONBLOCK | SOCK_CLOEXEC))
        return -EINVAL;
    fd = sl_net_stream_accept((int)arg[0], flags, &peer);
    if (fd >= 0 && (error = address_to_guest(arg[1], arg[2], peer)) < 0) {
        sl_net_close((uint32_t)fd);
        return error;
    }
    return fd;
}

int32_t
sl_call_accept(const uint32_t *arg)
{
    return do_accept(arg, 0);
}

int32_t
sl_call_accept4(const uint32_t *arg)
{
    return do_accept(arg, (int)arg[3]);
}

int32_t
sl_call_getsockname(const uint32_t *arg)
{
    int32_t error;
    SlNetSocket *socket = network_socket(arg[0], &error);
    SlNetAddress local;

    if (!socket)
        return error;
    local = socket->local;
    if (socket->is_outside) { /* the port is the kernel's, the address never the host's */
        struct sockaddr_in name = { .sin_port = 0 };
        socklen_t length = sizeof name;

        if (getsockname((int)arg[0], (struct sockaddr *)&name, &length) == 0)
            local.port = ntohs(name.sin_port);
    } else if (socket->is_connected && local.ip == 0) {
        local.ip = sl_net_route(socket->peer.ip).source;
    }
    return arg[1] ? address_to_guest(arg[1], arg[2], local) : -EFAULT;
}

int32_t
sl_call_getpeername(const uint32_t *arg)
{
    int32_t error;
    SlNetSocket *socket = network_socket(arg[0], &error);

    if (!socket)
        return error;
    if (!socket->is_connected)
        return -ENOTCONN;
    return arg[1] ? address_to_guest(arg[1], arg[2], socket->peer) : -EFAULT;
}

int32_t
sl_call_shutdown(const uint32_t *arg)
{
    return sl_fd_is_guests(arg[0]) ? sl_result(shutdown((int)arg[0], (int)arg[1])) : -EBADF;
}

/* ---- options ---- */

static int32_t
set_timeout(int fd, int option, const void *value, uint32_t size, bool is_64)
{
    struct timeval time;

    if (size < (is_64 ? 16U : 8U))
        return -EINVAL;
    time = is_64 ? (struct timeval){ ((const int64_t *)value)[0], ((const int64_t *)value)[1] }
                 : (struct timeval){ ((const int32_t *)value)[0], ((const int32_t *)value)[1] };
    return sl_result(setsockopt(fd, SOL_SOCKET, option, &time, sizeof time));
}

/* What can have an effect is the kernel's; the rest is what any program may ask of any network. */
int32_t
sl_call_setsockopt(const uint32_t *arg)
{
    int32_t error;
    int fd = (int)arg[0];
    const SlNetSocket *socket = network_socket(arg[0], &error);
    const void *value = sl_guest_pointer(arg[3], arg[4]);

    if (!socket)
        return error;
    if (!value || arg[4] > 1024)
        return arg[4] > 1024 ? -EINVAL : -EFAULT;
    if (arg[1] == IPPROTO_IP)
        return 0;
    if (arg[1] == IPPROTO_TCP)
        return socket->is_outside ? sl_result(setsockopt(fd, IPPROTO_TCP, (int)arg[2], value, arg[4])) : 0;
    if (arg[1] != SOL_SOCKET)
        return -ENOPROTOOPT;
    switch (arg[2]) {
    case GUEST_SO_RCVTIMEO:
    case SO_RCVTIMEO:
        return set_timeout(fd, SO_RCVTIMEO, value, arg[4], arg[2] == GUEST_SO_RCVTIMEO);
    case GUEST_SO_SNDTIMEO:
    case SO_SNDTIMEO:
        return set_timeout(fd, SO_SNDTIMEO, value, arg[4], arg[2] == GUEST_SO_SNDTIMEO);
    case SO_SNDBUF:
    case SO_RCVBUF:
    case SO_LINGER:
    case SO_KEEPALIVE:
        return sl_result(setsockopt(fd, SOL_SOCKET, (int)arg[2], value, arg[4]));
    case SO_REUSEADDR:
    case SO_REUSEPORT:
    case SO_BROADCAST:
    case SO_DONTROUTE:
    case SO_OOBINLINE:
    case SO_PRIORITY:
    case SO_RCVLOWAT:
        return 0;
    case SO_BINDTODEVICE:
    case SO_MARK:
        return -EPERM;
    default:
        return -ENOPROTOOPT;
    }
}

/* An option that is answered here; -1: the kernel's. */
static int32_t
own_option(const SlNetSocket *socket, uint32_t option)
{
    static const uint8_t protocols[] = {
        [SL_NET_TCP] = IPPROTO_TCP, [SL_NET_UDP] = IPPROTO_UDP, [SL_NET_ICMP] = IPPROTO_ICMP
    };

    switch (option) {
    case SO_DOMAIN:
        return AF_INET;
    case SO_PROTOCOL:
        return protocols[socket->kind];
    case SO_ACCEPTCONN:
        return socket->is_listening;
    case SO_TYPE:
        return socket->kind == SL_NET_TCP ? SOCK_STREAM : socket->is_raw ? SOCK_RAW : SOCK_DGRAM;
    default:
        return -1;
    }
}

int32_t
sl_call_getsockopt(const uint32_t *arg)
{
    const SlNetSocket *socket = sl_net_socket(arg[0]);
    uint32_t *length = sl_guest_pointer(arg[4], 4);
    void *value = length ? sl_guest_pointer(arg[3], *length) : NULL;
    int32_t own;

    if (!sl_fd_is_guests(arg[0]))
        return -EBADF;
    if (!value)
        return -EFAULT;
    if (socket && arg[1] == IPPROTO_TCP && !socket->is_outside) {
        own = 0;
    } else if (arg[1] != SOL_SOCKET && !(socket && socket->is_outside && arg[1] == IPPROTO_TCP)) {
        return -ENOPROTOOPT;
    } else {
        own = socket && arg[1] == SOL_SOCKET ? own_option(socket, arg[2]) : -1;
    }
    if (own >= 0) {
        if (*length < sizeof own)
            return -EINVAL;
        memcpy(value, &own, sizeof own);
        *length = sizeof own;
        return 0;
    }
    if (arg[1] == SOL_SOCKET && arg[2] != SO_TYPE && arg[2] != SO_ERROR && arg[2] != SO_SNDBUF &&
        arg[2] != SO_RCVBUF && arg[2] != SO_KEEPALIVE && arg[2] != SO_LINGER)
        return -ENOPROTOOPT;
    return sl_result(getsockopt((int)arg[0], (int)arg[1], (int)arg[2], value, length));
}

/* ---- messages ---- */

/* A pair's socket, or a stream: bytes without addresses. Descriptors and credentials would be the host's. */
static int32_t
transfer(int fd, long number, SlNetMessage *message)
{
    struct msghdr header = { .msg_iov = message->iov, .msg_iovlen = (int)message->n_iov };
    int32_t result = (int32_t)sl_blocking_call(number, fd, (long)&header, (long)message->flags, 0, 0, 0);

    message->flags = header.msg_flags;
    return result;
}

static int32_t
send_message(uint32_t fd, SlNetMessage *message, uint32_t name_at, uint32_t name_length)
{
    SlNetSocket *socket = sl_net_socket(fd);
    int32_t result;

    if (!socket || socket->kind == SL_NET_TCP)
        return name_at && !socket ? -EISCONN : transfer((int)fd, SYS_sendmsg, message);
    if (name_at) {
        result = address_from_guest(name_at, name_length, &message->address);
        if (result)
            return result;
        message->has_address = true;
    }
    return socket->kind == SL_NET_ICMP ? sl_net_ping((int)fd, socket, message)
                                       : sl_net_send((int)fd, socket, message);
}

static int32_t
receive_message(uint32_t fd, SlNetMessage *message)
{
    SlNetSocket *socket = sl_net_socket(fd);

    if (!socket || socket->kind == SL_NET_TCP)
        return transfer((int)fd, SYS_recvmsg, message);
    return sl_net_receive((int)fd, socket, message);
}

int32_t
sl_net_transfer(uint32_t fd, bool is_write, struct iovec *iov, size_t n)
{
    SlNetMessage message = { .iov = iov, .n_iov = n };

    return is_write ? send_message(fd, &message, 0, 0) : receive_message(fd, &message);
}

int32_t
sl_call_sendto(const uint32_t *arg)
{
    struct iovec iov = { sl_guest_pointer(arg[1], arg[2]), arg[2] };
    SlNetMessage message = { .iov = &iov, .n_iov = 1, .flags = (int)arg[3] & MESSAGE_FLAGS };

    if (!sl_fd_is_guests(arg[0]))
        return -EBADF;
    if (!iov.iov_base && arg[2])
        return -EFAULT;
    return send_message(arg[0], &message, arg[4], arg[5]);
}

int32_t
sl_call_recvfrom(const uint32_t *arg)
{
    struct iovec iov = { sl_guest_pointer(arg[1], arg[2]), arg[2] };
    SlNetMessage message = { .iov = &iov, .n_iov = 1, .flags = (int)arg[3] & MESSAGE_FLAGS };
    int32_t result, error = 0;
    void *length;

    if (!sl_fd_is_guests(arg[0]))
        return -EBADF;
    if ((!iov.iov_base && arg[2]) || !sl_guest_optional(arg[5], 4, &length))
        return -EFAULT;
    result = receive_message(arg[0], &message);
    if (result >= 0 && message.has_address)
        error = address_to_guest(arg[4], arg[5], message.address);
    else if (result >= 0 && length)
        memset(length, 0, 4);
    return error ? error : result;
}

static int32_t
message_from_guest(const uint32_t *arg, GuestMessage **ret_guest, struct iovec *iov, SlNetMessage *ret)
{
    GuestMessage *guest = sl_guest_pointer(arg[1], sizeof *guest);
    int32_t result;

    if (!sl_fd_is_guests(arg[0]))
        return -EBADF;
    if (!guest)
        return -EFAULT;
    result = sl_guest_iovecs(guest->iov, guest->n_iov, iov);
    *ret_guest = guest;
    *ret = (SlNetMessage){ .iov = iov, .n_iov = guest->n_iov, .flags = (int)arg[2] & MESSAGE_FLAGS };
    return result;
}

int32_t
sl_call_sendmsg(const uint32_t *arg)
{
    struct iovec iov[SL_GUEST_IOVECS];
    GuestMessage *guest;
    SlNetMessage message;
    int32_t result = message_from_guest(arg, &guest, iov, &message);

    return result ? result : send_message(arg[0], &message, guest->name, guest->name_length);
}

int32_t
sl_call_recvmsg(const uint32_t *arg)
{
    struct iovec iov[SL_GUEST_IOVECS];
    GuestMessage *guest;
    SlNetMessage message;
    int32_t result = message_from_guest(arg, &guest, iov, &message);

    if (!result)
        result = receive_message(arg[0], &message);
    if (result < 0)
        return result;
    guest->control_length = 0;
    guest->flags = (uint32_t)message.flags;
    if (!message.has_address)
        guest->name_length = 0;
    else if (guest->name)
        return address_to_guest(guest->name, arg[1] + (uint32_t)offsetof(GuestMessage, name_length),
                                message.address) < 0
                   ? -EFAULT
                   : result;
    return result;
}
