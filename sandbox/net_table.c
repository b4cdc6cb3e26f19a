#include <errno.h>
#include <fcntl.h>
#include <sys/time.h>
#include <unistd.h>

#include "sandbox/abi.h"
#include "sandbox/net.h"

/* A full queue holds a sender up so long; then the datagram is lost, as on any network. */
enum { DATAGRAM_WAIT_MS = 200 };

static SlNetSocket sockets[SL_GUEST_FDS];

SlNetSocket *
sl_net_socket(uint32_t fd)
{
    return sl_fd_is_guests(fd) && sockets[fd].kind ? &sockets[fd] : NULL;
}

SlNetSocket *
sl_net_socket_add(int fd, SlNetKind kind)
{
    sockets[fd] = (SlNetSocket){ .kind = (uint8_t)kind };
    return &sockets[fd];
}

int32_t
sl_net_close(uint32_t fd)
{
    const SlNetSocket was = sockets[fd];
    int32_t result = sl_result(close((int)fd));

    if (!was.kind)
        return result;
    sockets[fd].kind = 0;
    if (was.is_bound)
        sl_net_unbind_unused(was.kind == SL_NET_TCP ? SOCK_STREAM : SOCK_DGRAM, was.local);
    return result;
}

void
sl_net_close_all(void)
{
    for (uint32_t fd = 0; fd < SL_GUEST_FDS; fd++) {
        if (sockets[fd].kind && sockets[fd].is_bound)
            sl_net_close(fd);
    }
}

void
sl_net_socket_copy(uint32_t from, int to)
{
    if (to >= 0 && sl_fd_is_guests((uint32_t)to))
        sockets[to] = sockets[from];
}

bool
sl_net_has_frames(uint32_t fd)
{
    const SlNetSocket *socket = sl_net_socket(fd);

    return socket && socket->kind != SL_NET_TCP && !socket->is_outside;
}

int
sl_net_socket_replace(int fd, SlNetSocket *old, bool is_outside)
{
    const struct timeval wait = { 0, DATAGRAM_WAIT_MS * 1000 };
    int type = old->kind == SL_NET_TCP ? SOCK_STREAM : SOCK_DGRAM;
    int flags = fcntl(fd, F_GETFL), on_exec = fcntl(fd, F_GETFD);
    int fresh;

    if (flags < 0)
        return -errno;
    fresh = socket(is_outside ? AF_INET : AF_UNIX,
                   type | SOCK_CLOEXEC | (flags & O_NONBLOCK ? SOCK_NONBLOCK : 0), 0);
    if (fresh < 0)
        return -errno;
    if (type == SOCK_DGRAM && !is_outside)
        setsockopt(fresh, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
    if (old->is_bound)
        sl_net_unbind(type, old->local);
    dup3(fresh, fd, on_exec & FD_CLOEXEC ? O_CLOEXEC : 0);
    close(fresh);
    *old = (SlNetSocket){ .kind = old->kind, .is_outside = is_outside };
    return 0;
}
