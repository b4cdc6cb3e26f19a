#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sandbox/abi.h"
#include "sandbox/net.h"

enum { MAX_CONFIG_BYTES = 16384, MAX_SUBNETS_BYTES = 1 << 20 };

static int folder_fd = -1, endpoint_fd = -1;
static bool can_leave;
static char endpoint_name[80];
static SlNetConfig config;
static struct stat config_seen; /* of the file that config was read from */

/* Above the guest's descriptors, which the file system's paths (net_names.c) name by number. */
static int
open_folder(int at, const char *path)
{
    int low = openat(at, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | (at < 0 ? 0 : O_NOFOLLOW));
    int fd;

    if (low < 0)
        return -1;
    fd = fcntl(low, F_DUPFD_CLOEXEC, SL_GUEST_FDS);
    close(low);
    return fd;
}

bool
sl_net_start(const char *folder, const char *endpoint, bool may_leave)
{
    char path[sizeof endpoint_name + 16];

    if (!*endpoint || *endpoint == '.' || strchr(endpoint, '/') || strlen(endpoint) >= sizeof endpoint_name) {
        errno = EINVAL;
        return false;
    }
    memcpy(endpoint_name, endpoint, strlen(endpoint) + 1);
    snprintf(path, sizeof path, "endpoints/%s", endpoint);
    can_leave = may_leave;
    folder_fd = open_folder(AT_FDCWD, folder);
    endpoint_fd = folder_fd < 0 ? -1 : open_folder(folder_fd, path);
    return endpoint_fd >= 0;
}

bool
sl_net_is_there(void)
{
    return endpoint_fd >= 0;
}

bool
sl_net_may_leave(void)
{
    return endpoint_fd >= 0 && can_leave;
}

int
sl_net_folder_fd(void)
{
    return folder_fd;
}

int
sl_net_endpoint_fd(void)
{
    return endpoint_fd;
}

int
sl_net_read_file(const char *path, char *to, size_t size)
{
    int fd = openat(folder_fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    size_t length = 0;
    ssize_t n = 0;

    if (fd < 0)
        return -errno;
    while (length + 1 < size && (n = read(fd, to + length, size - 1 - length)) > 0)
        length += (size_t)n;
    close(fd);
    to[length] = '\0';
    return n < 0 ? -EIO : (int)length;
}

/* ---- the configuration ---- */

static bool
parse_address(const char *text, uint32_t *ret)
{
    struct in_addr address;

    if (inet_pton(AF_INET, text, &address) != 1)
        return false;
    *ret = ntohl(address.s_addr);
    return true;
}

/* "10.0.0.1/8"; the slash is overwritten. */
static bool
parse_subnet(char *text, uint32_t *ret_address, int *ret_prefix)
{
    char *slash = strchr(text, '/'), *end;
    long prefix;

    if (!slash)
        return false;
    *slash = '\0';
    prefix = strtol(slash + 1, &end, 10);
    if (end == slash + 1 || *end || prefix < 0 || prefix > 32)
        return false;
    *ret_prefix = (int)prefix;
    return parse_address(text, ret_address);
}

static bool
parse_mac(const char *text, uint8_t mac[6])
{
    unsigned part[6];

    if (sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x", &part[0], &part[1], &part[2], &part[3], &part[4], &part[5]) !=
        6)
        return false;
    for (int i = 0; i < 6; i++)
        mac[i] = (uint8_t)part[i];
    return true;
}

static void
parse_interface(const char *line, SlNetConfig *to)
{
    SlNetInterface *interface = &to->interface[to->n_interfaces];
    char address[32], gateway[32], mac[32], reach[16], names[16];

    if (to->n_interfaces == SL_NET_MAX_INTERFACES)
        return;
    *interface = (SlNetInterface){ .prefix = 0 };
    if (sscanf(line, "interface %15s %71s %31s %31s %31s %15s %159s %15s", interface->name, interface->folder,
               address, gateway, mac, reach, interface->network, names) != 8 ||
        !parse_subnet(address, &interface->address, &interface->prefix) ||
        !parse_address(gateway, &interface->gateway) || !parse_mac(mac, interface->mac))
        return;
    interface->is_internal = strcmp(reach, "internal") == 0;
    interface->has_names = strcmp(names, "names") == 0;
    to->has_outside = to->has_outside || !interface->is_internal;
    to->n_interfaces++;
}

static void
parse_nameserver(const char *line, SlNetConfig *to)
{
    SlNetAddress *server = &to->nameserver[to->n_nameservers];
    char address[32];
    unsigned port;

    if (to->n_nameservers < SL_NET_MAX_NAMESERVERS &&
        sscanf(line, "nameserver %31s %5u", address, &port) == 2 && port <= UINT16_MAX &&
        parse_address(address, &server->ip)) {
        server->port = (uint16_t)port;
        to->n_nameservers++;
    }
}

static void
parse_config(char *text, SlNetConfig *to)
{
    char *rest = text;

    *to = (SlNetConfig){ .n_interfaces = 0 };
    for (char *line; (line = strsep(&rest, "\n"));) {
        if (strncmp(line, "interface ", 10) == 0)
            parse_interface(line, to);
        else if (strncmp(line, "nameserver ", 11) == 0)
            parse_nameserver(line, to);
        else if (strcmp(line, "outside") == 0)
            to->has_outside = true;
    }
}

const SlNetConfig *
sl_net_config(void)
{
    char path[sizeof endpoint_name + 16], text[MAX_CONFIG_BYTES];
    struct stat now;

    snprintf(path, sizeof path, "config/%s", endpoint_name);
    if (fstatat(folder_fd, path, &now, AT_SYMLINK_NOFOLLOW) < 0)
        now = (struct stat){ .st_ino = 0 };
    if (now.st_ino && now.st_ino == config_seen.st_ino && now.st_size == config_seen.st_size &&
        memcmp(&now.st_mtim, &config_seen.st_mtim, sizeof now.st_mtim) == 0)
        return &config;
    if (!now.st_ino || sl_net_read_file(path, text, sizeof text) < 0)
        *text = '\0'; /* left every network */
    parse_config(text, &config);
    config.has_outside = config.has_outside && can_leave;
    config_seen = now;
    return &config;
}

/* ---- routes ---- */

static bool
is_in(uint32_t ip, uint32_t network, int prefix)
{
    return prefix == 0 || ((ip ^ network) >> (32 - prefix)) == 0;
}

/* Addresses that no packet of a container's may have as its target, whatever the host would do with it: this
 * machine, link-local (cloud metadata), multicast, reserved, broadcast. */
static bool
is_forbidden(uint32_t ip)
{
    return is_in(ip, 0x00000000, 8) || is_in(ip, 0x7f000000, 8) || is_in(ip, 0xa9fe0000, 16) ||
           ip >= 0xe0000000;
}

/* A network of ours that the container is not on: such an address means nothing outside. */
static bool
is_of_some_network(uint32_t ip)
{
    char *text = malloc(MAX_SUBNETS_BYTES), *rest = text;
    bool found = true; /* when it cannot be told */

    if (text && sl_net_read_file("subnets", text, MAX_SUBNETS_BYTES) >= 0) {
        found = false;
        for (char *line; !found && (line = strsep(&rest, "\n"));) {
            uint32_t network;
            int prefix;

            found = parse_subnet(line, &network, &prefix) && is_in(ip, network, prefix);
        }
    }
    free(text);
    return found;
}

static SlNetRoute
nowhere(int error)
{
    return (SlNetRoute){ .where = SL_NET_NOWHERE, .error = error };
}

static SlNetRoute
route_to_self(uint32_t target)
{
    SlNetRoute route = { .where = SL_NET_SELF, .source = target, .target = target };

    if (target >> 24 == 127)
        route.source = SL_NET_LOOPBACK;
    snprintf(route.folder, sizeof route.folder, "endpoints/%s", endpoint_name);
    snprintf(route.scope, sizeof route.scope, "%.64s", endpoint_name);
    return route;
}

static SlNetRoute
route_to_neighbour(const SlNetInterface *interface, uint32_t target)
{
    SlNetRoute route = { .where = SL_NET_NEIGHBOUR, .source = interface->address, .target = target };
    uint32_t host_mask = interface->prefix == 0 ? UINT32_MAX : (UINT32_C(1) << (32 - interface->prefix)) - 1;

    if (interface->prefix < 31 && (target & host_mask) == host_mask)
        return nowhere(-EACCES); /* broadcast */
    snprintf(route.folder, sizeof route.folder, "%s/at/%u.%u.%u.%u", interface->folder, target >> 24,
             target >> 16 & 255, target >> 8 & 255, target & 255);
    snprintf(route.scope, sizeof route.scope, "%s", interface->folder);
    return route;
}

bool
sl_net_is_own(uint32_t ip)
{
    const SlNetConfig *now = sl_net_config();

    if (ip >> 24 == 127)
        return true;
    for (int i = 0; i < now->n_interfaces; i++) {
        if (now->interface[i].address == ip)
            return true;
    }
    return false;
}

SlNetRoute
sl_net_route(uint32_t target)
{
    const SlNetConfig *now = sl_net_config();
    const SlNetInterface *best = NULL, *way_out = NULL;

    if (target == 0)
        target = SL_NET_LOOPBACK;
    if (sl_net_is_own(target))
        return route_to_self(target);
    for (int i = 0; i < now->n_interfaces; i++) {
        const SlNetInterface *interface = &now->interface[i];

        if (is_in(target, interface->address, interface->prefix) &&
            (!best || interface->prefix > best->prefix))
            best = interface;
        if (!way_out && !interface->is_internal)
            way_out = interface;
    }
    if (best)
        return route_to_neighbour(best, target);
    if (!now->has_outside || is_forbidden(target))
        return nowhere(-ENETUNREACH);
    if (is_of_some_network(target))
        return nowhere(-EHOSTUNREACH);
    return (
        SlNetRoute){ .where = SL_NET_OUTSIDE, .source = way_out ? way_out->address : 0, .target = target };
}

bool
sl_net_is_inhabited(const SlNetRoute *route)
{
    struct stat status;

    return route->where == SL_NET_SELF ||
           (route->where == SL_NET_NEIGHBOUR && fstatat(folder_fd, route->folder, &status, 0) == 0);
}
