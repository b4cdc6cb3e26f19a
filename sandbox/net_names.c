#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sandbox/abi.h"
#include "sandbox/net.h"

enum { FIRST_PORT = 32768, N_PORTS = 28232, CLIENT_NAME_MAX = 107 };

/* Abstract: it goes with its socket, and nobody connects to it. */
static const char client_prefix[] = "sl-net/";

uint16_t
sl_net_any_port(void)
{
    uint16_t random;

    if (getrandom(&random, sizeof random, 0) != sizeof random)
        random = (uint16_t)getpid();
    return (uint16_t)(FIRST_PORT + random % N_PORTS);
}

static uint16_t
next_port(uint16_t port)
{
    return port + 1 < FIRST_PORT + N_PORTS ? (uint16_t)(port + 1) : FIRST_PORT;
}

static int
file_name(char *to, size_t size, int type, SlNetAddress address)
{
    return snprintf(to, size, "%u.%u.%u.%u:%u:%s", address.ip >> 24, address.ip >> 16 & 255,
                    address.ip >> 8 & 255, address.ip & 255, address.port,
                    type == SOCK_STREAM ? "tcp" : "udp");
}

/* There is no bindat(): the folder is named by its descriptor. False: too long. */
static bool
path_at(struct sockaddr_un *name, int fd, const char *folder, int type, SlNetAddress address)
{
    char file[40];

    file_name(file, sizeof file, type, address);
    *name = (struct sockaddr_un){ .sun_family = AF_UNIX };
    return snprintf(name->sun_path, sizeof name->sun_path, "/proc/self/fd/%d/%s%s%s", fd, folder,
                    *folder ? "/" : "", file) < (int)sizeof name->sun_path;
}

bool
sl_net_name_at(const SlNetRoute *route, int type, SlNetAddress address, int which,
               struct sockaddr_un *ret_name)
{
    if (which > 1)
        return false;
    if (which == 1)
        address.ip = 0;
    if (route->where == SL_NET_SELF)
        return path_at(ret_name, sl_net_endpoint_fd(), "", type, address);
    return path_at(ret_name, sl_net_folder_fd(), route->folder, type, address);
}

/*
 * A name whose socket was closed stays in the folder. The kernel says which it is to a socket of the other
 * type: it finds no partner, or one of the wrong type, and the guest's own notices nothing.
 */
bool
sl_net_is_open(int type, SlNetAddress address)
{
    struct sockaddr_un name;
    int fd, error;

    if (!path_at(&name, sl_net_endpoint_fd(), "", type, address))
        return false;
    fd = socket(AF_UNIX, (type == SOCK_STREAM ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return true;
    error = connect(fd, (struct sockaddr *)&name, sizeof name) < 0 ? errno : 0;
    close(fd);
    return error == EPROTOTYPE;
}

void
sl_net_unbind(int type, SlNetAddress address)
{
    char file[40];

    file_name(file, sizeof file, type, address);
    unlinkat(sl_net_endpoint_fd(), file, 0);
}

/* Who holds it may remove stale names. Closing it lets go; -1 and errno. */
static int
lock_folder(void)
{
    int lock = openat(sl_net_endpoint_fd(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (lock >= 0)
        flock(lock, LOCK_EX);
    return lock;
}

void
sl_net_unbind_unused(int type, SlNetAddress address)
{
    int lock = lock_folder();

    if (lock < 0)
        return;
    if (!sl_net_is_open(type, address))
        sl_net_unbind(type, address);
    close(lock);
}

/* 0.0.0.0 is all of them. */
static bool
overlaps(int type, SlNetAddress address)
{
    const SlNetConfig *config = sl_net_config();

    if (address.ip != 0)
        return sl_net_is_open(type, (SlNetAddress){ 0, address.port });
    for (int i = 0; i < config->n_interfaces; i++) {
        if (sl_net_is_open(type, (SlNetAddress){ config->interface[i].address, address.port }))
            return true;
    }
    return sl_net_is_open(type, (SlNetAddress){ SL_NET_LOOPBACK, address.port });
}

/* Every user of the container may connect to it. */
static int
bind_file(int fd, const struct sockaddr_un *name)
{
    mode_t mask = umask(0);
    int result = bind(fd, (const struct sockaddr *)name, sizeof *name) < 0 ? -errno : 0;

    umask(mask);
    return result;
}

/* The folder's lock is held: nobody else removes a stale name. */
static int
bind_port(int fd, int type, SlNetAddress address)
{
    struct sockaddr_un name;
    int result;

    if (overlaps(type, address))
        return -EADDRINUSE;
    if (!path_at(&name, sl_net_endpoint_fd(), "", type, address))
        return -EADDRNOTAVAIL;
    result = bind_file(fd, &name);
    if (result != -EADDRINUSE || sl_net_is_open(type, address))
        return result;
    sl_net_unbind(type, address);
    return bind_file(fd, &name);
}

int
sl_net_bind(int fd, int type, SlNetAddress *address)
{
    int lock = lock_folder();
    bool is_any = address->port == 0;
    int result = -EADDRINUSE;

    if (lock < 0)
        return -errno;
    if (is_any)
        address->port = sl_net_any_port();
    for (int i = 0; i < (is_any ? N_PORTS : 1) && result == -EADDRINUSE; i++) {
        if (i > 0)
            address->port = next_port(address->port);
        result = bind_port(fd, type, *address);
    }
    close(lock);
    return result;
}

/* ---- clients ---- */

int
sl_net_name_client(int fd, const SlNetRoute *route, SlNetAddress *source, SlNetAddress target)
{
    bool is_any = source->port == 0;
    int result = -EADDRINUSE;

    if (is_any)
        source->port = sl_net_any_port();
    for (int i = 0; i < (is_any ? N_PORTS : 1) && result == -EADDRINUSE; i++) {
        struct sockaddr_un name = { .sun_family = AF_UNIX };
        int length;

        if (i > 0)
            source->port = next_port(source->port);
        length = snprintf(name.sun_path + 1, sizeof name.sun_path - 1, "%s%s/%08x:%u/%08x:%u", client_prefix,
                          route->scope, source->ip, source->port, target.ip, target.port);
        if (length > CLIENT_NAME_MAX - 1)
            return -EADDRNOTAVAIL;
        result = bind(fd, (struct sockaddr *)&name,
                      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length)) < 0
                     ? -errno
                     : 0;
    }
    return result == -EADDRINUSE && !is_any ? -EADDRNOTAVAIL : result;
}

bool
sl_net_parse_client(const struct sockaddr_un *name, socklen_t length, SlNetAddress *ret_source,
                    SlNetAddress *ret_target)
{
    size_t head = offsetof(struct sockaddr_un, sun_path) + 1;
    char text[CLIENT_NAME_MAX + 1];
    const char *addresses;
    unsigned source_port, target_port;

    if (length <= head || length - head > CLIENT_NAME_MAX || name->sun_path[0] != '\0')
        return false;
    memcpy(text, name->sun_path + 1, length - head);
    text[length - head] = '\0';
    if (strncmp(text, client_prefix, sizeof client_prefix - 1) != 0)
        return false;
    addresses = strchr(text + sizeof client_prefix - 1, '/');
    if (!addresses || sscanf(addresses, "/%8x:%5u/%8x:%5u", &ret_source->ip, &source_port, &ret_target->ip,
                             &target_port) != 4)
        return false;
    ret_source->port = (uint16_t)source_port;
    ret_target->port = (uint16_t)target_port;
    return true;
}
