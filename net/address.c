#include "net/address.h"

#include "common/clock.h"
#include "common/fd.h"
#include "common/log.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

enum {
    BACKLOG = 4096,
    PORT_TRIES = 16,  /* for a free port that 127.0.0.1 and ::1 share */
    BUSY_WAIT_MS = 5, /* between tries at a unix socket whose backlog is full */
    PASSED_FIRST = 3, /* SD_LISTEN_FDS_START */
    PASSED_MAX = 64,
};

static bool
parse_port(const char *text, int *ret_port)
{
    guint64 port;

    if (!g_ascii_string_to_unsigned(text, 10, 0, 65535, &port, NULL))
        return false;
    *ret_port = (int)port;
    return true;
}

static bool
host_is_sane(const char *host)
{
    if (strlen(host) > 255)
        return false;
    for (const char *at = host; *at; at++)
        if (!g_ascii_isalnum(*at) && !strchr(".-_", *at))
            return false;
    return true;
}

/* With or without a zone, as in fe80::1%eth0. */
static bool
is_v6(const char *host)
{
    const char *zone = strchr(host, '%');
    g_autofree char *number = zone ? g_strndup(host, (gsize)(zone - host)) : g_strdup(host);
    struct in6_addr parsed;

    return inet_pton(AF_INET6, number, &parsed) == 1 && (!zone || (zone[1] && host_is_sane(zone + 1)));
}

/* host:port, :port or [v6]:port; text is consumed. */
static bool
parse_tcp(char *text, SlAddress *ret_address)
{
    char *host = text, *colon = strrchr(text, ':');
    bool in_brackets = text[0] == '[';
    int port;

    if (!colon || !parse_port(colon + 1, &port))
        return false;
    *colon = '\0';
    if (in_brackets) {
        size_t n = strlen(host);

        if (n < 3 || host[n - 1] != ']')
            return false;
        host[n - 1] = '\0';
        host++;
    }
    if (in_brackets ? !is_v6(host) : !host_is_sane(host))
        return false;
    *ret_address = (SlAddress){ .host = g_strdup(*host ? host : "localhost"), .port = port };
    return true;
}

bool
sl_address_parse(const char *text, SlAddress *ret_address, GError **error)
{
    g_autofree char *tcp = NULL;
    const char *rest = text;
    size_t n;

    if (g_str_has_prefix(text, "unix://")) {
        const char *path = text + strlen("unix://");

        if (path[0] != '/' || g_str_has_suffix(path, "/"))
            return sl_fail(error, SL_ERROR_INVALID,
                           "invalid address \"%s\": a unix socket needs an absolute path, as in "
                           "unix:///run/docker.sock",
                           text);
        *ret_address = (SlAddress){ .path = g_strdup(path) };
        return true;
    }
    if (g_str_has_prefix(text, "tcp://"))
        rest = text + strlen("tcp://");
    else if (g_str_has_prefix(text, "http://"))
        rest = text + strlen("http://");

    tcp = g_strdup(rest);
    n = strlen(tcp);
    if (rest != text && n > 0 && tcp[n - 1] == '/')
        tcp[n - 1] = '\0';
    if (!parse_tcp(tcp, ret_address))
        return sl_fail(error, SL_ERROR_INVALID,
                       "invalid address \"%s\": use unix:///path, tcp://host:port, host:port or :port", text);
    return true;
}

void
sl_address_clear(SlAddress *address)
{
    g_free(address->path);
    g_free(address->host);
    *address = (SlAddress){ 0 };
}

char *
sl_address_format(const SlAddress *address)
{
    if (address->path)
        return g_strdup_printf("unix://%s", address->path);
    if (strchr(address->host, ':'))
        return g_strdup_printf("tcp://[%s]:%d", address->host, address->port);
    return g_strdup_printf("tcp://%s:%d", address->host, address->port);
}

static bool
sockaddr_is_loopback(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET)
        return (ntohl(((const struct sockaddr_in *)(const void *)address)->sin_addr.s_addr) >> 24) == 127;
    if (address->sa_family == AF_INET6) {
        const struct in6_addr *v6 = &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;

        return IN6_IS_ADDR_LOOPBACK(v6) || (IN6_IS_ADDR_V4MAPPED(v6) && v6->s6_addr[12] == 127);
    }
    return false;
}

typedef struct addrinfo AddrInfo;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(AddrInfo, freeaddrinfo)

static bool
resolve(const SlAddress *address, AddrInfo **ret_list, GError **error)
{
    char port[12];
    AddrInfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
    int failed;

    snprintf(port, sizeof port, "%d", address->port);
    failed = getaddrinfo(address->host, port, &hints, ret_list);
    if (failed)
        return sl_fail(error, SL_ERROR_UNAVAILABLE, "lookup %s: %s", address->host,
                       failed == EAI_NONAME ? "no such host" : gai_strerror(failed));
    return true;
}

static bool
list_is_loopback(const AddrInfo *list)
{
    for (const AddrInfo *at = list; at; at = at->ai_next)
        if (!sockaddr_is_loopback(at->ai_addr))
            return false;
    return list != NULL;
}

bool
sl_address_is_loopback(const SlAddress *address)
{
    g_autoptr(AddrInfo) list = NULL;

    return address->path || (resolve(address, &list, NULL) && list_is_loopback(list));
}

/* ---- unix sockets ---- */

/* One of any length: what does not fit is reached through its folder, which ret_folder keeps open. */
static bool
unix_address(const char *path, struct sockaddr_un *ret_address, int *ret_folder, GError **error)
{
    g_autofree char *folder = NULL;
    g_autofree char *name = NULL;

    *ret_address = (struct sockaddr_un){ .sun_family = AF_UNIX };
    if (strlen(path) < sizeof ret_address->sun_path) {
        memcpy(ret_address->sun_path, path, strlen(path));
        return true;
    }
    folder = g_path_get_dirname(path);
    name = g_path_get_basename(path);
    if (strlen(name) > sizeof ret_address->sun_path - sizeof "/proc/self/fd/2147483647/")
        return sl_fail(error, SL_ERROR_INVALID, "the name of unix socket %s is too long", path);
    *ret_folder = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (*ret_folder < 0)
        return sl_fail_errno(error, errno, "opening folder %s", folder);
    sl_unix_address_at(*ret_folder, name, ret_address);
    return true;
}

static bool
somebody_accepts(const struct sockaddr_un *address)
{
    sl_autofd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    return connect(fd, (const struct sockaddr *)address, sizeof *address) == 0 || errno == EAGAIN ||
           errno == EACCES;
}

/*
 * Takes a socket that nobody accepts on out of the way. It is moved aside first, and put back when it turns
 * out not to be the one that was looked at: another daemon may start at the same moment.
 */
static bool
remove_stale(const char *path, const struct sockaddr_un *address, GError **error)
{
    g_autofree char *aside = g_strdup_printf("%s.%08x", path, g_random_int());
    struct stat seen, moved;

    if (lstat(path, &seen) < 0)
        return errno == ENOENT || sl_fail_errno(error, errno, "looking at %s", path);
    if (!S_ISSOCK(seen.st_mode))
        return sl_fail(error, SL_ERROR_CONFLICT, "%s exists and is not a socket", path);
    if (somebody_accepts(address))
        return sl_fail(error, SL_ERROR_CONFLICT, "%s is in use: another daemon answers there", path);

    if (renameat2(AT_FDCWD, path, AT_FDCWD, aside, RENAME_NOREPLACE) < 0)
        return errno == ENOENT || sl_fail_errno(error, errno, "replacing the stale socket %s", path);
    if (lstat(aside, &moved) == 0 && (moved.st_ino != seen.st_ino || moved.st_dev != seen.st_dev)) {
        renameat2(AT_FDCWD, aside, AT_FDCWD, path, RENAME_NOREPLACE);
        return sl_fail(error, SL_ERROR_CONFLICT, "%s is in use: another daemon has just taken it", path);
    }
    unlink(aside);
    return true;
}

/* For members of group docker, as the engine's own socket: only root can give it away. */
static void
give_to_docker_group(const char *path)
{
    g_autofree char *buffer = g_malloc(16384);
    struct group group, *found = NULL;

    if (geteuid() == 0 && getgrnam_r("docker", &group, buffer, 16384, &found) == 0 && found &&
        lchown(path, (uid_t)-1, found->gr_gid) < 0)
        sl_warn("socket keeps its group path=%s error=%s", path, g_strerror(errno));
}

static bool
listen_unix(const char *path, int *ret_fd, GError **error)
{
    sl_autofd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    sl_autofd int folder = -1;
    struct sockaddr_un address;

    if (fd < 0)
        return sl_fail_errno(error, errno, "making a unix socket");
    if (!unix_address(path, &address, &folder, error))
        return false;
    /* On Linux the mode of the unbound socket becomes that of the file: nobody can connect before it is meant
     * so, and the process's umask, which other threads share, stays as it is. */
    fchmod(fd, 0600);
    if (bind(fd, (const struct sockaddr *)&address, sizeof address) < 0) {
        if (errno != EADDRINUSE)
            return sl_fail_errno(error, errno, "listen unix %s", path);
        if (!remove_stale(path, &address, error))
            return false;
        if (bind(fd, (const struct sockaddr *)&address, sizeof address) < 0)
            return sl_fail_errno(error, errno, "listen unix %s", path);
    }
    if (listen(fd, BACKLOG) < 0)
        return sl_fail_errno(error, errno, "listen unix %s", path);
    give_to_docker_group(path);
    if (chmod(path, 0660) < 0)
        return sl_fail_errno(error, errno, "setting the mode of %s", path);
    *ret_fd = sl_fd_steal(&fd);
    return true;
}

/* ---- TCP ---- */

typedef struct FdList {
    int *fds;
    size_t n;
} FdList;

static void
fd_list_clear(FdList *list)
{
    for (size_t i = 0; i < list->n; i++)
        close(list->fds[i]);
    g_free(list->fds);
    *list = (FdList){ 0 };
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(FdList, fd_list_clear)

static void
fd_list_add(FdList *list, int fd)
{
    list->fds = g_renew(int, list->fds, list->n + 1);
    list->fds[list->n++] = fd;
}

static void
sockaddr_set_port(struct sockaddr *address, int port)
{
    if (address->sa_family == AF_INET6)
        ((struct sockaddr_in6 *)(void *)address)->sin6_port = htons((uint16_t)port);
    else
        ((struct sockaddr_in *)(void *)address)->sin_port = htons((uint16_t)port);
}

static int
bound_port(int fd)
{
    struct sockaddr_storage address = { 0 };
    socklen_t n = sizeof address;

    getsockname(fd, (struct sockaddr *)&address, &n);
    if (address.ss_family == AF_INET6)
        return ntohs(((struct sockaddr_in6 *)(void *)&address)->sin6_port);
    return ntohs(((struct sockaddr_in *)(void *)&address)->sin_port);
}

/* -1 with errno. */
static int
listen_one(const AddrInfo *info)
{
    sl_autofd int fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int on = 1;

    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (info->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    if (bind(fd, info->ai_addr, info->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0)
        return -1;
    return sl_fd_steal(&fd);
}

static bool
is_repeated(const AddrInfo *list, const AddrInfo *info)
{
    for (const AddrInfo *at = list; at != info; at = at->ai_next)
        if (at->ai_addrlen == info->ai_addrlen && memcmp(at->ai_addr, info->ai_addr, at->ai_addrlen) == 0)
            return true;
    return false;
}

/* Listens on all of list at one port. Fails with EADDRINUSE in errno; an address family this machine lacks is
 * passed over. */
static bool
listen_all(AddrInfo *list, int *port, FdList *ret_fds)
{
    g_auto(FdList) fds = { 0 };
    int skipped = 0;

    for (AddrInfo *at = list; at; at = at->ai_next)
        sockaddr_set_port(at->ai_addr, *port);
    for (AddrInfo *at = list; at; at = at->ai_next) {
        int fd;

        if (is_repeated(list, at))
            continue;
        if (fds.n > 0 && *port == 0)
            sockaddr_set_port(at->ai_addr, bound_port(fds.fds[0]));
        fd = listen_one(at);
        if (fd >= 0)
            fd_list_add(&fds, fd);
        else if (errno == EADDRNOTAVAIL || errno == EAFNOSUPPORT)
            skipped = errno;
        else
            return false;
    }
    if (fds.n == 0) {
        errno = skipped;
        return false;
    }
    *port = bound_port(fds.fds[0]);
    *ret_fds = fds;
    fds = (FdList){ 0 };
    return true;
}

static bool
listen_tcp(SlAddress *address, bool allow_public, FdList *ret_fds, GError **error)
{
    g_autoptr(AddrInfo) list = NULL;
    int tries = address->port == 0 ? PORT_TRIES : 1;

    if (!resolve(address, &list, error))
        return false;
    if (!allow_public && !list_is_loopback(list))
        return sl_fail(error, SL_ERROR_INVALID,
                       "%s is not a loopback address: anyone who reaches it would control this daemon. "
                       "Use --tlsverify, a unix socket, or --allow-insecure-tcp",
                       address->host);
    do
        if (listen_all(list, &address->port, ret_fds))
            return true;
    while (errno == EADDRINUSE && --tries > 0);
    if (errno == EADDRINUSE)
        return sl_fail(error, SL_ERROR_CONFLICT, "listen tcp %s:%d: bind: address already in use",
                       address->host, address->port);
    return sl_fail_errno(error, errno, "listen tcp %s:%d", address->host, address->port);
}

bool
sl_address_listen(SlAddress *address, bool allow_public, int **ret_fds, size_t *ret_n, GError **error)
{
    FdList fds = { 0 };
    int fd = -1;

    if (address->path) {
        if (!listen_unix(address->path, &fd, error))
            return false;
        fd_list_add(&fds, fd);
    } else if (!listen_tcp(address, allow_public, &fds, error)) {
        return false;
    }
    *ret_fds = fds.fds;
    *ret_n = fds.n;
    return true;
}

size_t
sl_address_take_passed(char **environ_, int **ret_fds)
{
    const char *pid_text = g_environ_getenv(environ_, "LISTEN_PID");
    const char *n_text = g_environ_getenv(environ_, "LISTEN_FDS");
    FdList fds = { 0 };
    guint64 pid, n;

    if (!pid_text || !n_text || !g_ascii_string_to_unsigned(pid_text, 10, 1, G_MAXINT32, &pid, NULL) ||
        !g_ascii_string_to_unsigned(n_text, 10, 1, PASSED_MAX, &n, NULL) || (pid_t)pid != getpid())
        return 0;
    for (int fd = PASSED_FIRST; fd < PASSED_FIRST + (int)n; fd++)
        if (fcntl(fd, F_SETFD, FD_CLOEXEC) == 0)
            fd_list_add(&fds, fd);
    *ret_fds = fds.fds;
    return fds.n;
}

/* ---- connecting ---- */

static bool
fail_dial(GError **error, int errnum, const char *kind, const char *where)
{
    g_autofree char *words = g_strdup(g_strerror(errnum));

    words[0] = g_ascii_tolower(words[0]);
    return sl_fail(error, SL_ERROR_UNAVAILABLE, "dial %s %s: connect: %s", kind, where, words);
}

static int
left_ms(int64_t until_ms)
{
    return until_ms < 0 ? -1 : (int)MAX(0, until_ms - sl_clock_monotonic_ms());
}

/* Any failure but SL_ERROR_UNAVAILABLE ends the search for an address that answers. */
static bool
connect_one(int family, const struct sockaddr *address, socklen_t n, const char *where, SlCancel *cancel,
            int64_t until_ms, int *ret_fd, GError **error)
{
    const char *kind = family == AF_UNIX ? "unix" : "tcp";
    sl_autofd int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int on = 1, failed = 0;
    socklen_t n_failed = sizeof failed;

    if (fd < 0)
        return fail_dial(error, errno, kind, where);
    while (connect(fd, address, n) < 0) {
        if (errno == EINPROGRESS) {
            if (!sl_cancel_wait_fd(cancel, fd, POLLOUT, left_ms(until_ms), error))
                return false;
            getsockopt(fd, SOL_SOCKET, SO_ERROR, &failed, &n_failed);
            if (failed)
                return fail_dial(error, failed, kind, where);
            break;
        }
        /* A unix socket whose backlog is full says so and cannot be waited for. */
        if (family != AF_UNIX || errno != EAGAIN)
            return fail_dial(error, errno, kind, where);
        if (left_ms(until_ms) == 0)
            return sl_fail(error, SL_ERROR_DEADLINE, "dial unix %s: the daemon takes no connections", where);
        if (!sl_cancel_sleep(cancel, BUSY_WAIT_MS, error))
            return false;
    }
    if (family != AF_UNIX)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    *ret_fd = sl_fd_steal(&fd);
    return true;
}

static bool
connect_tcp(const SlAddress *address, SlCancel *cancel, int64_t until_ms, int *ret_fd, GError **error)
{
    g_autofree char *where =
        g_strdup_printf(strchr(address->host, ':') ? "[%s]:%d" : "%s:%d", address->host, address->port);
    g_autoptr(AddrInfo) list = NULL;

    if (!resolve(address, &list, error))
        return false;
    for (AddrInfo *at = list; at; at = at->ai_next) {
        g_autoptr(GError) local = NULL;

        if (connect_one(at->ai_family, at->ai_addr, at->ai_addrlen, where, cancel, until_ms, ret_fd, &local))
            return true;
        if (!at->ai_next || !g_error_matches(local, SL_ERROR, SL_ERROR_UNAVAILABLE)) {
            g_propagate_error(error, g_steal_pointer(&local));
            return false;
        }
    }
    return sl_fail(error, SL_ERROR_UNAVAILABLE, "lookup %s: no such host", address->host);
}

bool
sl_address_connect(const SlAddress *address, SlCancel *cancel, int timeout_ms, int *ret_fd, GError **error)
{
    int64_t until_ms = timeout_ms < 0 ? -1 : sl_clock_monotonic_ms() + timeout_ms;
    sl_autofd int folder = -1;
    struct sockaddr_un unix_socket;

    if (sl_cancel_is_fired(cancel))
        return sl_fail(error, SL_ERROR_CANCELLED, "cancelled");
    if (!address->path)
        return connect_tcp(address, cancel, until_ms, ret_fd, error);
    if (!unix_address(address->path, &unix_socket, &folder, error)) {
        /* To who dials, a folder that is not there is a daemon that is not there. */
        if (error && g_error_matches(*error, SL_ERROR, SL_ERROR_SYSTEM))
            (*error)->code = SL_ERROR_UNAVAILABLE;
        return false;
    }
    return connect_one(AF_UNIX, (const struct sockaddr *)&unix_socket, sizeof unix_socket, address->path,
                       cancel, until_ms, ret_fd, error);
}
