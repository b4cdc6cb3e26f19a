/*
 * UDP: unix datagrams within the networks, each behind a frame that says where it comes from and goes to; a real
 * socket from the first datagram that goes outward on.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandbox/abi.h"
#include "sandbox/net.h"
#include "sandbox/signals.h"

enum { MAX_PAYLOAD = 65507, DNS_PORT = 53, MAX_QUERY = 512 };

typedef struct Frame {
    SlNetAddress source, target;
    int32_t error; /* no datagram: the next call fails with it, as an ICMP answer makes it */
} Frame;

static int32_t
bind_if_needed(int fd, SlNetSocket *socket)
{
    SlNetAddress any = { 0, 0 };
    int result;

    if (socket->is_bound)
        return 0;
    result = sl_net_bind(fd, SOCK_DGRAM, &any);
    if (result < 0)
        return result;
    socket->local = any;
    socket->is_bound = socket->is_port_chosen = true;
    return 0;
}

/* Bytes that were sent, or -errno. */
static int32_t
send_frame(int fd, const struct sockaddr_un *to, Frame *frame, const struct iovec *iov, size_t n, int flags)
{
    struct iovec all[SL_GUEST_IOVECS + 1] = { { frame, sizeof *frame } };
    struct sockaddr_un name = *to;
    struct msghdr header = {
        .msg_name = &name, .msg_namelen = sizeof name, .msg_iov = all, .msg_iovlen = (int)n + 1
    };
    int32_t result;

    memcpy(all + 1, iov, n * sizeof *iov);
    result = (int32_t)sl_blocking_call(SYS_sendmsg, fd, (long)&header, (long)flags, 0, 0, 0);
    return result >= 0 ? result - (int32_t)sizeof *frame : result;
}

static size_t
length_of(const SlNetMessage *message)
{
    size_t length = 0;

    for (size_t i = 0; i < message->n_iov; i++)
        length += message->iov[i].iov_len;
    return length;
}

static int32_t
deliver_frame(int fd, SlNetSocket *socket, Frame *frame, const void *bytes, size_t n)
{
    struct iovec iov = { (void *)(uintptr_t)bytes, n };
    SlNetRoute route = { .where = SL_NET_SELF };
    struct sockaddr_un name;
    int32_t result = bind_if_needed(fd, socket);

    if (result < 0 || !sl_net_name_at(&route, SOCK_DGRAM, socket->local, 0, &name))
        return result;
    return send_frame(fd, &name, frame, &iov, 1, MSG_DONTWAIT);
}

int32_t
sl_net_deliver(int fd, SlNetSocket *socket, SlNetAddress source, const void *bytes, size_t n)
{
    Frame frame = { .source = source, .target = socket->local };

    return deliver_frame(fd, socket, &frame, bytes, n);
}

/* ---- sending ---- */

static int32_t
ask_resolver(int fd, SlNetSocket *socket, const SlNetMessage *message, SlNetAddress resolver)
{
    uint8_t query[MAX_QUERY], answer[SL_NET_MAX_ANSWER];
    size_t n = 0;
    int32_t result;

    for (size_t i = 0; i < message->n_iov; i++) {
        if (message->iov[i].iov_len > sizeof query - n)
            return -EMSGSIZE;
        memcpy(query + n, message->iov[i].iov_base, message->iov[i].iov_len);
        n += message->iov[i].iov_len;
    }
    result = sl_net_resolve(query, n, answer);
    if (result > 0)
        result = sl_net_deliver(fd, socket, resolver, answer, (size_t)result);
    return result < 0 && result != -EAGAIN ? result : (int32_t)n;
}

/* Nobody there is no error of this call, but a connected socket hears of it later. */
static int32_t
not_there(int fd, SlNetSocket *socket, const SlNetRoute *route, size_t length)
{
    Frame frame = { .error = -ECONNREFUSED };

    if (!sl_net_is_inhabited(route))
        return -EHOSTUNREACH;
    if (socket->is_connected)
        deliver_frame(fd, socket, &frame, "", 0);
    return (int32_t)length;
}

static int32_t
send_inside(int fd, SlNetSocket *socket, const SlNetMessage *message, const SlNetRoute *route,
            SlNetAddress to)
{
    Frame frame = { .source = { route->source, 0 }, .target = to };
    size_t length = length_of(message);
    struct sockaddr_un name;
    int32_t result = bind_if_needed(fd, socket);

    if (result < 0)
        return result;
    frame.source.port = socket->local.port;
    if (socket->local.ip)
        frame.source.ip = socket->local.ip;
    result = -ENOENT;
    for (int which = 0; (result == -ENOENT || result == -ECONNREFUSED) &&
                        sl_net_name_at(route, SOCK_DGRAM, to, which, &name);
         which++)
        result = send_frame(fd, &name, &frame, message->iov, message->n_iov, message->flags);
    if (result == -ENOENT || result == -ECONNREFUSED || result == -ENOTDIR)
        return not_there(fd, socket, route, length);
    return result == -EAGAIN ? (int32_t)length : result; /* lost: its queue stayed full */
}

/* The socket becomes a real one, and hears nothing from the networks any more. */
static int32_t
turn_outside(int fd, SlNetSocket *socket, const SlNetRoute *route)
{
    SlNetAddress peer = socket->peer;
    bool is_connected = socket->is_connected;
    int result;

    if (socket->is_outside)
        return 0;
    if (socket->is_bound && !socket->is_port_chosen)
        return -ENETUNREACH; /* others know its port */
    result = sl_net_socket_replace(fd, socket, true);
    socket->local.ip = route->source;
    socket->peer = peer;
    socket->is_connected = is_connected;
    return result;
}

static int32_t
send_host(int fd, const SlNetMessage *message, const SlNetAddress *to)
{
    struct sockaddr_in name = { .sin_family = AF_INET };
    struct msghdr header = { .msg_iov = message->iov, .msg_iovlen = (int)message->n_iov };

    if (to) {
        name.sin_addr.s_addr = htonl(to->ip);
        name.sin_port = htons(to->port);
        header.msg_name = &name;
        header.msg_namelen = sizeof name;
    }
    return (int32_t)sl_blocking_call(SYS_sendmsg, fd, (long)&header, (long)message->flags, 0, 0, 0);
}

int32_t
sl_net_send(int fd, SlNetSocket *socket, const SlNetMessage *message)
{
    SlNetAddress to = message->has_address ? message->address : socket->peer;
    SlNetRoute route;
    int32_t result;

    if (!message->has_address && !socket->is_connected)
        return -EDESTADDRREQ;
    if (length_of(message) > MAX_PAYLOAD)
        return -EMSGSIZE;
    if (to.port == 0)
        return -EINVAL;
    if (to.ip == SL_NET_RESOLVER && to.port == DNS_PORT && !socket->is_outside)
        return ask_resolver(fd, socket, message, to);
    route = sl_net_route(to.ip);
    to.ip = route.target;
    if (route.where == SL_NET_NOWHERE)
        return route.error;
    if (route.where == SL_NET_OUTSIDE) {
        result = turn_outside(fd, socket, &route);
        return result < 0 ? result : send_host(fd, message, &to);
    }
    if (socket->is_outside)
        return -ENETUNREACH;
    return send_inside(fd, socket, message, &route, to);
}

int32_t
sl_net_datagram_connect(int fd, SlNetSocket *socket, SlNetAddress to)
{
    SlNetRoute route = sl_net_route(to.ip);
    int32_t result;

    to.ip = route.target;
    if (to.ip != SL_NET_RESOLVER && route.where == SL_NET_NOWHERE)
        return route.error;
    result = route.where == SL_NET_OUTSIDE ? turn_outside(fd, socket, &route) : bind_if_needed(fd, socket);
    if (result < 0)
        return result;
    if (socket->is_outside && route.where != SL_NET_OUTSIDE)
        return -ENETUNREACH;
    if (socket->is_outside) {
        struct sockaddr_in name = { .sin_family = AF_INET,
                                    .sin_addr.s_addr = htonl(to.ip),
                                    .sin_port = htons(to.port) };

        result = sl_result(connect(fd, (struct sockaddr *)&name, sizeof name));
    }
    socket->is_connected = result == 0;
    socket->peer = to;
    return result;
}

/* ---- receiving ---- */

static int32_t
receive_host(int fd, SlNetMessage *message)
{
    struct sockaddr_in name = { .sin_family = AF_INET };
    struct msghdr header = { .msg_name = &name,
                             .msg_namelen = sizeof name,
                             .msg_iov = message->iov,
                             .msg_iovlen = (int)message->n_iov };
    int32_t result = (int32_t)sl_blocking_call(SYS_recvmsg, fd, (long)&header, (long)message->flags, 0, 0, 0);

    message->flags = header.msg_flags;
    message->has_address = true;
    message->address = (SlNetAddress){ ntohl(name.sin_addr.s_addr), ntohs(name.sin_port) };
    return result;
}

static bool
is_wanted(const SlNetSocket *socket, const Frame *frame)
{
    return !socket->is_connected || frame->error ||
           (frame->source.ip == socket->peer.ip && frame->source.port == socket->peer.port);
}

/* A peeked datagram that is not wanted would be there for ever. */
static void
drop_one(int fd)
{
    char byte;

    recv(fd, &byte, 1, MSG_DONTWAIT | MSG_TRUNC);
}

int32_t
sl_net_receive(int fd, SlNetSocket *socket, SlNetMessage *message)
{
    struct iovec all[SL_GUEST_IOVECS + 1];
    int flags = message->flags;
    Frame frame;

    if (socket->is_outside)
        return receive_host(fd, message);
    if (socket->kind == SL_NET_UDP) {
        int32_t result = bind_if_needed(fd, socket);

        if (result < 0)
            return result;
    }
    all[0] = (struct iovec){ &frame, sizeof frame };
    memcpy(all + 1, message->iov, message->n_iov * sizeof *message->iov);
    for (;;) {
        struct msghdr header = { .msg_iov = all, .msg_iovlen = (int)message->n_iov + 1 };
        int32_t result = (int32_t)sl_blocking_call(SYS_recvmsg, fd, (long)&header, (long)flags, 0, 0, 0);

        if (result < 0 || (size_t)result < sizeof frame)
            return result < 0 ? result : 0; /* shut down */
        if (!is_wanted(socket, &frame) || frame.error) {
            if (flags & MSG_PEEK)
                drop_one(fd);
            if (!frame.error)
                continue;
            return frame.error;
        }
        message->flags = header.msg_flags;
        message->has_address = true;
        message->address = frame.source;
        return result - (int32_t)sizeof frame;
    }
}
