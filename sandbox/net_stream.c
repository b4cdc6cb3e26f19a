/* TCP: a unix stream within the networks, a real one outward. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/syscall.h>
#include <sys/time.h>

#include "sandbox/abi.h"
#include "sandbox/net.h"
#include "sandbox/signals.h"

enum { BACKLOG_WAIT_MS = 2000 };

static int32_t
connect_host(int fd, const void *name, size_t size)
{
    return (int32_t)sl_blocking_call(SYS_connect, fd, (long)name, (long)size, 0, 0, 0);
}

/*
 * A non-blocking connect within a network is over at once, but where the listener's queue is full: TCP would go
 * on trying behind the guest's back, and unix sockets can only wait.
 */
static int32_t
connect_when_there_is_room(int fd, const struct sockaddr_un *name)
{
    const struct timeval wait = { BACKLOG_WAIT_MS / 1000, 0 }, for_ever = { 0, 0 };
    int flags = fcntl(fd, F_GETFL);
    int32_t result;

    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
    fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
    result = connect_host(fd, name, sizeof *name);
    fcntl(fd, F_SETFL, flags);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &for_ever, sizeof for_ever);
    return result == -EAGAIN ? -ETIMEDOUT : result;
}

static int32_t
connect_inside(int fd, SlNetSocket *socket, const SlNetRoute *route, SlNetAddress to)
{
    SlNetAddress from = { route->source, socket->is_bound ? socket->local.port : 0 };
    struct sockaddr_un name;
    int32_t result = 0;

    if (socket->is_bound && socket->local.ip && sl_net_is_own(socket->local.ip))
        from.ip = socket->local.ip;
    if (socket->is_bound || socket->is_named || socket->is_outside)
        result = sl_net_socket_replace(fd, socket, false);
    if (result == 0)
        result = sl_net_name_client(fd, route, &from, to);
    if (result < 0)
        return result;
    socket->is_named = true;
    for (int which = 0; sl_net_name_at(route, SOCK_STREAM, to, which, &name); which++) {
        result = connect_host(fd, &name, sizeof name);
        if (result == -EAGAIN)
            result = connect_when_there_is_room(fd, &name);
        if (result != -ENOENT && result != -ECONNREFUSED)
            break;
    }
    if (result == -ENOENT || result == -ENOTDIR)
        result = sl_net_is_inhabited(route) ? -ECONNREFUSED : -EHOSTUNREACH;
    if (result == 0) {
        socket->is_connected = true;
        socket->local = from;
        socket->peer = to;
    }
    return result;
}

static int32_t
connect_outside(int fd, SlNetSocket *socket, const SlNetRoute *route, SlNetAddress to)
{
    struct sockaddr_in name = { .sin_family = AF_INET,
                                .sin_addr.s_addr = htonl(to.ip),
                                .sin_port = htons(to.port) };
    int32_t result = 0;

    if (!socket->is_outside)
        result = sl_net_socket_replace(fd, socket, true);
    if (result < 0)
        return result;
    result = connect_host(fd, &name, sizeof name);
    if (result == 0 || result == -EINPROGRESS) {
        socket->is_connected = true;
        socket->local.ip = route->source;
        socket->peer = to;
    }
    return result;
}

int32_t
sl_net_stream_connect(int fd, SlNetSocket *socket, SlNetAddress to)
{
    SlNetRoute route = sl_net_route(to.ip);

    if (socket->is_listening)
        return -EISCONN;
    if (socket->is_connected) {
        struct sockaddr_in name = { .sin_family = AF_INET,
                                    .sin_addr.s_addr = htonl(to.ip),
                                    .sin_port = htons(to.port) };

        /* outside the kernel knows how far it is: EALREADY, EISCONN, 0 */
        return socket->is_outside ? connect_host(fd, &name, sizeof name) : -EISCONN;
    }
    to.ip = route.target;
    if (route.where == SL_NET_NOWHERE)
        return route.error;
    return route.where == SL_NET_OUTSIDE ? connect_outside(fd, socket, &route, to)
                                         : connect_inside(fd, socket, &route, to);
}

int32_t
sl_net_stream_listen(int fd, SlNetSocket *socket, int backlog)
{
    SlNetAddress any = { 0, 0 };
    int result = 0;

    if (socket->is_connected || socket->is_outside)
        return -EINVAL;
    if (!socket->is_bound) {
        result = sl_net_bind(fd, SOCK_STREAM, &any);
        if (result < 0)
            return result;
        socket->local = any;
        socket->is_bound = true;
    }
    if (listen(fd, backlog) < 0)
        return -errno;
    socket->is_listening = true;
    return 0;
}

int32_t
sl_net_stream_accept(int fd, int flags, SlNetAddress *ret_peer)
{
    struct sockaddr_un name;
    socklen_t length = sizeof name;
    SlNetAddress peer = { 0, 0 }, local = sl_net_socket((uint32_t)fd)->local;
    SlNetSocket *accepted;
    int32_t result =
        (int32_t)sl_blocking_call(SYS_accept4, fd, (long)&name, (long)&length, (long)flags, 0, 0);

    if (result >= 0)
        result = sl_fd_give(result);
    if (result < 0)
        return result;
    accepted = sl_net_socket_add(result, SL_NET_TCP);
    sl_net_parse_client(&name, length, &peer, &local);
    accepted->is_connected = true;
    accepted->is_named = true;
    accepted->local = local;
    accepted->peer = *ret_peer = peer;
    return result;
}
