#include "backends/memory/memory_root.h"

#include "common/fd.h"
#include "oci/unpack.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FOLDER_MODE = 0755 };

const char *
memory_root_kind_name(MemoryRootKind kind)
{
    switch (kind) {
    case MEMORY_ROOT_OVERLAY:
        return "overlayfs";
    case MEMORY_ROOT_OVERLAY_USERNS:
        return "overlayfs in a user namespace";
    case MEMORY_ROOT_COPY:
        break;
    }
    return "copies";
}

/* ---- what the kernel allows ---- */

static bool
overlay_works(const char *folder)
{
    g_autofree char *upper = g_build_filename(folder, "upper", NULL);
    g_autofree char *work = g_build_filename(folder, "work", NULL);
    sl_autofd int context = (int)syscall(SYS_fsopen, "overlay", FSOPEN_CLOEXEC);
    sl_autofd int mounted = -1;

    if (context < 0 || syscall(SYS_fsconfig, context, FSCONFIG_SET_STRING, "lowerdir", folder, 0) < 0 ||
        syscall(SYS_fsconfig, context, FSCONFIG_SET_STRING, "upperdir", upper, 0) < 0 ||
        syscall(SYS_fsconfig, context, FSCONFIG_SET_STRING, "workdir", work, 0) < 0 ||
        syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
        return false;
    mounted = (int)syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC, 0);
    return mounted >= 0;
}

/* Entering a user namespace cannot be undone: a child tries. 0: it works; else an errno. */
static int
userns_overlay_errno(const char *folder)
{
    int status;
    pid_t child = fork();

    if (child == 0) {
        g_autofree char *options = g_strdup_printf("lowerdir=%s,upperdir=%s/upper,workdir=%s/work,userxattr",
                                                   folder, folder, folder);

        if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0 || mount("overlay", folder, "overlay", 0, options) < 0)
            _exit(errno);
        _exit(0);
    }
    if (child < 0 || waitpid(child, &status, 0) < 0 || !WIFEXITED(status))
        return ECHILD;
    return WEXITSTATUS(status);
}

MemoryRootKind
memory_root_probe(const char *folder, char **ret_reason)
{
    g_autofree char *path = g_build_filename(folder, ".probe", NULL);
    g_autofree char *upper = g_build_filename(path, "upper", NULL);
    g_autofree char *work = g_build_filename(path, "work", NULL);
    sl_autofd int folder_fd = -1;
    MemoryRootKind kind = MEMORY_ROOT_OVERLAY;
    int errnum;

    *ret_reason = NULL;
    if (!sl_folder_make(upper, FOLDER_MODE, NULL) || !sl_folder_make(work, FOLDER_MODE, NULL)) {
        *ret_reason = g_strdup_printf("%s cannot be written", folder);
        return MEMORY_ROOT_COPY;
    }
    if (!overlay_works(path)) {
        *ret_reason = g_strdup_printf("overlayfs: %s", g_strerror(errno));
        kind = MEMORY_ROOT_OVERLAY_USERNS;
        errnum = userns_overlay_errno(path);
        if (errnum != 0) {
            g_free(*ret_reason);
            *ret_reason = g_strdup_printf("overlayfs in a user namespace: %s", g_strerror(errnum));
            kind = MEMORY_ROOT_COPY;
        }
    }
    folder_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    sl_tree_remove(folder_fd, ".probe", NULL);
    return kind;
}

/* ---- a container's folders ---- */

/* Confined to root_fd whatever links the image holds. */
static int
open_in(int root_fd, const char *path, uint64_t flags, mode_t mode)
{
    struct open_how how = { .flags = flags | O_CLOEXEC,
                            .mode = flags & O_CREAT ? mode : 0,
                            .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS };

    return (int)syscall(SYS_openat2, root_fd, path, &how, sizeof how);
}

static bool
write_etc_file(int etc_fd, const char *name, const char *text, GError **error)
{
    sl_autofd int fd = -1;

    unlinkat(etc_fd, name, 0); /* what the image has there, a link perhaps, is replaced */
    fd = openat(etc_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (fd < 0)
        return sl_fail_errno(error, errno, "writing /etc/%s of the container", name);
    return sl_fd_write_all(fd, text, strlen(text), name, error);
}

static char *
hosts_text(const DkContainerCreate *config, const char *address, const char *gateway)
{
    GString *text = g_string_new("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n");

    for (char **host = config->host_config.extra_hosts; host && *host; host++) {
        const char *colon = strchr(*host, ':'), *target = colon ? colon + 1 : NULL;

        if (target && strcmp(target, "host-gateway") == 0)
            target = gateway;
        if (target)
            g_string_append_printf(text, "%s\t%.*s\n", target, (int)(colon - *host), *host);
    }
    g_string_append_printf(text, "%s\t%s\n", address ? address : "127.0.0.1", config->hostname);
    return g_string_free(text, FALSE);
}

static void
put_list(GString *text, const char *word, char *const *list)
{
    if (!list || !*list)
        return;
    g_string_append(text, word);
    for (; *list; list++)
        g_string_append_printf(text, " %s", *list);
    g_string_append_c(text, '\n');
}

/* Names are the sandbox' business (sandbox/net_dns.c); whom it asks is not the guest's. */
static char *
resolv_text(const DkHostConfig *host)
{
    GString *text = g_string_new("nameserver 127.0.0.11\n");
    char *const none[] = { (char *)(uintptr_t) "ndots:0", NULL };

    put_list(text, "search", host->dns_search);
    put_list(text, "options", host->dns_options && *host->dns_options ? host->dns_options : none);
    return g_string_free(text, FALSE);
}

/* -1 and errno. */
static int
open_etc(int root_fd)
{
    if (mkdirat(root_fd, "etc", FOLDER_MODE) < 0 && errno != EEXIST)
        return -1;
    return open_in(root_fd, "etc", O_RDONLY | O_DIRECTORY, 0);
}

static bool
write_etc(int root_fd, const SlLaunchSpec *spec, GError **error)
{
    g_autofree char *resolv = resolv_text(&spec->config->host_config);
    g_autofree char *hostname = g_strdup_printf("%s\n", spec->config->hostname);
    sl_autofd int etc_fd = open_etc(root_fd);

    if (etc_fd < 0)
        return sl_fail_errno(error, errno, "opening /etc of the container");
    return write_etc_file(etc_fd, "hostname", hostname, error) &&
           write_etc_file(etc_fd, "resolv.conf", resolv, error);
}

bool
memory_root_write_hosts(MemoryRootKind kind, const SlLaunchSpec *spec, const char *address,
                        const char *gateway, GError **error)
{
    g_autofree char *hosts = hosts_text(spec->config, address, gateway);
    sl_autofd int root_fd = openat(spec->folder_fd, kind == MEMORY_ROOT_COPY ? "root" : "upper",
                                   O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    sl_autofd int etc_fd = root_fd >= 0 ? open_etc(root_fd) : -1;

    if (etc_fd < 0)
        return sl_fail_errno(error, errno, "opening /etc of the container");
    return write_etc_file(etc_fd, "hosts", hosts, error);
}

static bool
make_overlay(const SlLaunchSpec *spec, GError **error)
{
    sl_autofd int upper_fd = -1;
    struct stat status;

    if (mkdirat(spec->folder_fd, "upper", FOLDER_MODE) < 0)
        return errno == EEXIST || sl_fail_errno(error, errno, "making the container's filesystem");
    if (mkdirat(spec->folder_fd, "work", 0700) < 0 && errno != EEXIST)
        return sl_fail_errno(error, errno, "making the container's filesystem");
    upper_fd = openat(spec->folder_fd, "upper", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (upper_fd < 0)
        return sl_fail_errno(error, errno, "opening the container's filesystem");
    /* The root's own mode is the upper folder's. */
    if (stat(spec->rootfs, &status) == 0)
        fchmod(upper_fd, status.st_mode & 07777);
    return write_etc(upper_fd, spec, error);
}

static bool
make_copy(const SlLaunchSpec *spec, SlCancel *cancel, GError **error)
{
    sl_autofd int image_fd = open(spec->rootfs, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    sl_autofd int copy_fd = -1;

    if (faccessat(spec->folder_fd, "root", F_OK, AT_SYMLINK_NOFOLLOW) == 0)
        return true;
    if (image_fd < 0)
        return sl_fail_errno(error, errno, "opening the image's folder %s", spec->rootfs);
    if (!sl_tree_remove(spec->folder_fd, "root.new", error))
        return false;
    if (mkdirat(spec->folder_fd, "root.new", FOLDER_MODE) < 0)
        return sl_fail_errno(error, errno, "making the container's filesystem");
    copy_fd = openat(spec->folder_fd, "root.new", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (copy_fd < 0)
        return sl_fail_errno(error, errno, "opening the container's filesystem");
    if (!sl_tree_copy(image_fd, copy_fd, cancel, error) || !write_etc(copy_fd, spec, error))
        return false;
    if (renameat(spec->folder_fd, "root.new", spec->folder_fd, "root") < 0)
        return sl_fail_errno(error, errno, "naming the container's filesystem");
    return true;
}

bool
memory_root_make(MemoryRootKind kind, const SlLaunchSpec *spec, SlCancel *cancel, GError **error)
{
    return kind == MEMORY_ROOT_COPY ? make_copy(spec, cancel, error) : make_overlay(spec, error);
}

json_t *
memory_root_describe(MemoryRootKind kind, const SlLaunchSpec *spec)
{
    if (kind == MEMORY_ROOT_COPY)
        return json_pack("{s:s, s:s}", "kind", "folder", "path", "root");
    return json_pack("{s:s, s:[s], s:s, s:s}", "kind",
                     kind == MEMORY_ROOT_OVERLAY ? "overlay" : "overlay-userns", "lower", spec->rootfs,
                     "upper", "upper", "work", "work");
}

/* ---- native programs ---- */

/* The path that the container's command is, or would be found at. */
static int
open_program(int root_fd, const DkContainerCreate *config)
{
    static const char *const folders[] = { "usr/local/sbin", "usr/local/bin", "usr/sbin",
                                           "usr/bin",        "sbin",          "bin" };
    const char *name = config->entrypoint ? config->entrypoint[0] : config->cmd ? config->cmd[0] : NULL;

    if (!name)
        return -1;
    if (strchr(name, '/'))
        return open_in(root_fd, name, O_RDONLY, 0);
    for (size_t i = 0; i < G_N_ELEMENTS(folders); i++) {
        g_autofree char *path = g_build_filename(folders[i], name, NULL);
        int fd = open_in(root_fd, path, O_RDONLY, 0);

        if (fd >= 0)
            return fd;
    }
    return -1;
}

char *
memory_root_native_warning(const SlLaunchSpec *spec)
{
    static const char stub[] = "\177ELF: Sockerless"; /* the built-in image's own tools */
    sl_autofd int root_fd = open(spec->rootfs, O_PATH | O_DIRECTORY | O_CLOEXEC);
    sl_autofd int fd = root_fd >= 0 ? open_program(root_fd, spec->config) : -1;
    char head[sizeof stub - 1];

    if (fd < 0 || pread(fd, head, sizeof head, 0) != (ssize_t)sizeof head ||
        memcmp(head, "\177ELF", 4) != 0 || memcmp(head, stub, sizeof head) == 0)
        return NULL;
    return g_strdup("This image holds native programs: the sandbox of the memory backend runs its own "
                    "busybox tools in place of the "
                    "image's tools of the same name, and no other native program.");
}
