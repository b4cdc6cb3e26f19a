#include "backends/memory/memory_network.h"

#include "backends/core/ipam.h"
#include "common/fd.h"
#include "common/log.h"
#include "common/thread.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SHORT_ID = 12, MAX_FILE = 64 * 1024, DNS_PORT = 53, MAX_NAMESERVERS = 3 };

struct MemoryNetworks {
    char *path;
    int fd;
    pthread_mutex_t lock; /* of the files that several containers' changes go to */
    GHashTable *subnets;  /* network id → "ADDRESS/PREFIX" */
};

MemoryNetworks *
memory_networks_open(const char *data, GError **error)
{
    static const char *const folders[] = { "config", "endpoints" };
    g_autofree char *path = g_build_filename(data, "networks", NULL);
    MemoryNetworks *networks;
    int fd;

    for (size_t i = 0; i < G_N_ELEMENTS(folders); i++) {
        g_autofree char *folder = g_build_filename(path, folders[i], NULL);

        if (!sl_folder_make(folder, 0755, error) || chmod(folder, 0755) < 0)
            return NULL;
    }
    chmod(path, 0755); /* the data folder around it is nobody else's */
    fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        sl_fail_errno(error, errno, "opening %s", path);
        return NULL;
    }
    networks = g_new0(MemoryNetworks, 1);
    networks->path = g_steal_pointer(&path);
    networks->fd = fd;
    networks->subnets = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    pthread_mutex_init(&networks->lock, NULL);
    return networks;
}

void
memory_networks_close(MemoryNetworks *networks)
{
    if (!networks)
        return;
    g_hash_table_unref(networks->subnets);
    pthread_mutex_destroy(&networks->lock);
    sl_fd_clear(&networks->fd);
    g_free(networks->path);
    g_free(networks);
}

/* ---- files ---- */

/* Sandboxes read at any moment: the new text is there at once, or not at all. The lock is held. */
static bool
write_file(MemoryNetworks *networks, const char *path, const char *text, GError **error)
{
    static const char temporary[] = ".new";
    sl_autofd int fd =
        openat(networks->fd, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);

    if (fd < 0 || fchmod(fd, 0644) < 0)
        return sl_fail_errno(error, errno, "writing networks/%s", path);
    if (!sl_fd_write_all(fd, text, strlen(text), path, error))
        return false;
    if (renameat(networks->fd, temporary, networks->fd, path) < 0)
        return sl_fail_errno(error, errno, "writing networks/%s", path);
    return true;
}

/* NULL when it is not there. Caller frees. */
static char *
read_file(MemoryNetworks *networks, const char *path)
{
    sl_autofd int fd = openat(networks->fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    g_autofree char *text = g_malloc(MAX_FILE + 1);
    ssize_t n = fd >= 0 ? read(fd, text, MAX_FILE) : -1;

    if (n < 0)
        return NULL;
    text[n] = '\0';
    return g_steal_pointer(&text);
}

static bool
make_folder(MemoryNetworks *networks, const char *path, mode_t mode, GError **error)
{
    if (mkdirat(networks->fd, path, mode) == 0) {
        if (fchmodat(networks->fd, path, mode, 0) == 0)
            return true;
    } else if (errno == EEXIST) {
        return true;
    }
    return sl_fail_errno(error, errno, "making networks/%s", path);
}

/* ---- networks ---- */

static bool
write_subnets(MemoryNetworks *networks, GError **error)
{
    g_autoptr(GString) text = g_string_new(NULL);
    GHashTableIter iter;
    void *subnet;

    g_hash_table_iter_init(&iter, networks->subnets);
    while (g_hash_table_iter_next(&iter, NULL, &subnet))
        g_string_append_printf(text, "%s\n", (char *)subnet);
    return write_file(networks, "subnets", text->str, error);
}

bool
memory_networks_create(MemoryNetworks *networks, const SlNetworkSpec *network, GError **error)
{
    static const char *const folders[] = { "", "/at", "/names", "/ptr" };
    SL_LOCK_GUARD(&networks->lock);

    for (size_t i = 0; i < G_N_ELEMENTS(folders); i++) {
        g_autofree char *path = g_strdup_printf("%.*s%s", SHORT_ID, network->id, folders[i]);

        if (!make_folder(networks, path, 0755, error))
            return false;
    }
    g_hash_table_insert(networks->subnets, g_strdup(network->id),
                        sl_subnet_format((SlSubnet){ network->subnet, network->prefix }));
    return write_subnets(networks, error);
}

bool
memory_networks_remove(MemoryNetworks *networks, const SlNetworkSpec *network, GError **error)
{
    g_autofree char *folder = g_strndup(network->id, SHORT_ID);
    SL_LOCK_GUARD(&networks->lock);

    g_hash_table_remove(networks->subnets, network->id);
    return write_subnets(networks, error) && sl_tree_remove(networks->fd, folder, error);
}

/* ---- endpoints ---- */

/* Several containers may share an alias: its file has the addresses of all. The lock is held. */
static bool
change_name(MemoryNetworks *networks, const SlEndpointSpec *endpoint, const char *name, bool is_added,
            GError **error)
{
    g_autofree char *lower = g_ascii_strdown(name, -1);
    g_autofree char *path = g_strdup_printf("%.*s/names/%s", SHORT_ID, endpoint->network.id, lower);
    g_autofree char *address = sl_ip_format(endpoint->address);
    g_autofree char *before = read_file(networks, path);
    g_auto(GStrv) words = g_strsplit(before ? before : "", " ", -1);
    g_autoptr(GString) text = g_string_new(NULL);

    for (char **word = words; *word; word++) {
        if (**word && strcmp(*word, address) != 0)
            g_string_append_printf(text, "%s%s", text->len ? " " : "", *word);
    }
    if (is_added)
        g_string_append_printf(text, "%s%s", text->len ? " " : "", address);
    if (text->len > 0)
        return write_file(networks, path, text->str, error);
    if (unlinkat(networks->fd, path, 0) < 0 && errno != ENOENT)
        return sl_fail_errno(error, errno, "removing networks/%s", path);
    return true;
}

static bool
change_names(MemoryNetworks *networks, const SlEndpointSpec *endpoint, bool is_added, GError **error)
{
    g_autofree char *address = sl_ip_format(endpoint->address);
    g_autofree char *path = g_strdup_printf("%.*s/ptr/%s", SHORT_ID, endpoint->network.id, address);
    g_autofree char *full = NULL;

    if (!endpoint->names)
        return true;
    for (char **name = endpoint->names; *name; name++) {
        if (!change_name(networks, endpoint, *name, is_added, error))
            return false;
    }
    if (!is_added)
        return unlinkat(networks->fd, path, 0) == 0 || errno == ENOENT ||
               sl_fail_errno(error, errno, "removing networks/%s", path);
    full = g_strdup_printf("%s.%s", endpoint->names[0], endpoint->network.name);
    return write_file(networks, path, full, error);
}

bool
memory_networks_join(MemoryNetworks *networks, const SlEndpointSpec *endpoint, GError **error)
{
    g_autofree char *address = sl_ip_format(endpoint->address);
    g_autofree char *path = g_strdup_printf("%.*s/at/%s", SHORT_ID, endpoint->network.id, address);
    g_autofree char *target = g_strdup_printf("../../endpoints/%s", endpoint->container_id);
    SL_LOCK_GUARD(&networks->lock);

    if (unlinkat(networks->fd, path, 0) < 0 && errno != ENOENT)
        return sl_fail_errno(error, errno, "removing networks/%s", path);
    if (symlinkat(target, networks->fd, path) < 0)
        return sl_fail_errno(error, errno, "making networks/%s", path);
    return change_names(networks, endpoint, true, error);
}

bool
memory_networks_leave(MemoryNetworks *networks, const SlEndpointSpec *endpoint, GError **error)
{
    g_autofree char *address = sl_ip_format(endpoint->address);
    g_autofree char *path = g_strdup_printf("%.*s/at/%s", SHORT_ID, endpoint->network.id, address);
    SL_LOCK_GUARD(&networks->lock);

    if (unlinkat(networks->fd, path, 0) < 0 && errno != ENOENT)
        return sl_fail_errno(error, errno, "removing networks/%s", path);
    return change_names(networks, endpoint, false, error);
}

/* ---- a container's configuration ---- */

static bool
is_mode(const SlLaunchSpec *spec, const char *mode)
{
    return strcmp(spec->config->host_config.network_mode, mode) == 0;
}

/* The user's servers are reached like anything outside: not on this machine, not link-local. */
static bool
may_be_asked(const char *server)
{
    uint32_t ip;

    return sl_ip_parse(server, &ip) && ip >> 24 != 127 && ip >> 24 != 0 && ip >> 16 != 0xa9fe &&
           ip < 0xe0000000;
}

static void
put_nameservers(GString *text, const SlLaunchSpec *spec)
{
    char **asked = spec->config->host_config.dns;
    g_autofree char *host = NULL;
    g_auto(GStrv) lines = NULL;
    unsigned n = 0;

    for (char **server = asked; server && *server; server++) {
        if (may_be_asked(*server))
            g_string_append_printf(text, "nameserver %s %d\n", *server, DNS_PORT);
    }
    if (asked && *asked)
        return;
    if (!g_file_get_contents("/etc/resolv.conf", &host, NULL, NULL))
        return;
    lines = g_strsplit(host, "\n", -1);
    for (char **line = lines; *line && n < MAX_NAMESERVERS; line++) {
        g_auto(GStrv) words = g_strsplit_set(*line, " \t", 3);
        uint32_t ip;

        if (!words[0] || strcmp(words[0], "nameserver") != 0 || !words[1] || !sl_ip_parse(words[1], &ip))
            continue;
        g_string_append_printf(text, "nameserver %s %d\n", words[1], DNS_PORT);
        n++;
    }
}

static void
put_interface(GString *text, const SlEndpointSpec *endpoint, size_t number)
{
    g_autofree char *address = sl_ip_format(endpoint->address);
    g_autofree char *gateway = sl_ip_format(endpoint->gateway);

    g_string_append_printf(text, "interface eth%zu %.*s %s/%d %s %s %s %s %s\n", number, SHORT_ID,
                           endpoint->network.id, address, endpoint->network.prefix, gateway,
                           endpoint->mac_address, endpoint->network.is_internal ? "internal" : "outside",
                           endpoint->network.name, endpoint->network.has_names ? "names" : "-");
}

bool
memory_networks_configure(MemoryNetworks *networks, const SlLaunchSpec *spec, const SlEndpointSpec *endpoints,
                          size_t n, GError **error)
{
    g_autofree char *folder = g_strdup_printf("endpoints/%s", spec->container_id);
    g_autofree char *path = g_strdup_printf("config/%s", spec->container_id);
    g_autoptr(GString) text = g_string_new(NULL);
    SL_LOCK_GUARD(&networks->lock);

    for (size_t i = 0; i < n; i++)
        put_interface(text, &endpoints[i], i);
    if (is_mode(spec, "host"))
        g_string_append(text, "outside\n");
    put_nameservers(text, spec);
    /* Every user of the container makes sockets there, and Landlock lets no other container. */
    return make_folder(networks, folder, 0777, error) && write_file(networks, path, text->str, error);
}

static int
open_endpoints(MemoryNetworks *networks, const char *container_id)
{
    g_autofree char *path = g_strdup_printf("endpoints/%s", container_id);

    return openat(networks->fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
}

void
memory_networks_clean(MemoryNetworks *networks, const char *container_id)
{
    int fd = open_endpoints(networks, container_id);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;

    if (!dir)
        return;
    for (struct dirent *entry; (entry = readdir(dir));)
        unlinkat(dirfd(dir), entry->d_name, 0);
    closedir(dir);
}

void
memory_networks_forget(MemoryNetworks *networks, const char *container_id)
{
    g_autofree char *folder = g_strdup_printf("endpoints/%s", container_id);
    g_autofree char *path = g_strdup_printf("config/%s", container_id);

    memory_networks_clean(networks, container_id);
    if (unlinkat(networks->fd, folder, AT_REMOVEDIR) < 0 && errno != ENOENT)
        sl_warn("a removed container's network folder stays container=%s error=%s", container_id,
                g_strerror(errno));
    unlinkat(networks->fd, path, 0);
}

void
memory_networks_add_options(MemoryNetworks *networks, const SlLaunchSpec *spec, json_t *runtime)
{
    json_array_append_new(runtime, json_string("--network"));
    json_array_append_new(runtime, json_string(networks->path));
    json_array_append_new(runtime, json_string("--endpoint"));
    json_array_append_new(runtime, json_string(spec->container_id));
    if (is_mode(spec, "none"))
        json_array_append_new(runtime, json_string("--no-outside"));
}

bool
memory_networks_address(MemoryNetworks *networks, const char *container_id, char **ret_address,
                        char **ret_gateway)
{
    g_autofree char *path = g_strdup_printf("config/%s", container_id);
    g_autofree char *text = read_file(networks, path);
    char address[32], gateway[32];

    if (!text || sscanf(text, "interface %*s %*s %31[0-9.]/%*d %31s", address, gateway) != 2)
        return false;
    *ret_address = g_strdup(address);
    *ret_gateway = g_strdup(gateway);
    return true;
}
