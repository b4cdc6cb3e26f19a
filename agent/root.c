#include "agent/root.h"

#include "common/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

enum { MAX_OPTION_BYTES = 255, MAX_LAYERS = 500 };

int
sl_root_open(int root_fd, const char *path, int flags)
{
    struct open_how how = { .flags = (uint64_t)(flags | O_CLOEXEC),
                            .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS };
    int fd;

    /* EAGAIN: something was renamed meanwhile, and the kernel could not be sure. */
    for (unsigned attempt = 0; attempt < 16; attempt++) {
        fd = (int)syscall(SYS_openat2, root_fd, path, &how, sizeof how);
        if (fd >= 0 || errno != EAGAIN)
            break;
    }
    return fd;
}

bool
sl_root_make_folder(int root_fd, const char *path, GError **error)
{
    g_auto(GStrv) names = g_strsplit(path, "/", -1);
    g_autoptr(GString) walked = g_string_new("/");
    sl_autofd int folder = sl_root_open(root_fd, path, O_PATH | O_DIRECTORY);

    /* Nearly always it is there. */
    for (char **name = names; folder < 0 && *name; name++) {
        sl_autofd int parent = -1, child = -1;

        if ((*name)[0] == '\0' || strcmp(*name, ".") == 0)
            continue;
        parent = sl_root_open(root_fd, walked->str, O_PATH | O_DIRECTORY);
        g_string_append_printf(walked, "%s/", *name);
        child = sl_root_open(root_fd, walked->str, O_PATH | O_DIRECTORY);
        if (child >= 0)
            continue;
        if (parent < 0 || mkdirat(parent, *name, 0755) < 0)
            return sl_fail(error, SL_ERROR_INVALID, "mkdir %s: %s", walked->str, g_strerror(errno));
    }
    return true;
}

static bool
write_file(const char *path, const char *text, GError **error)
{
    sl_autofd int fd = open(path, O_WRONLY | O_CLOEXEC);

    if (fd < 0)
        return sl_fail_errno(error, errno, "opening %s", path);
    return sl_fd_write_all(fd, text, strlen(text), path, error);
}

/* We are root in it, and the user who started us outside. */
static bool
enter_user_namespace(GError **error)
{
    g_autofree char *uids = g_strdup_printf("0 %u 1", (unsigned)geteuid());
    g_autofree char *gids = g_strdup_printf("0 %u 1", (unsigned)getegid());
    bool ok;

    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
        return sl_fail_errno(error, errno, "making a user namespace");
    /* A process that is not dumpable cannot write its own maps. */
    prctl(PR_SET_DUMPABLE, 1);
    ok = write_file("/proc/self/setgroups", "deny", error) && write_file("/proc/self/uid_map", uids, error) &&
         write_file("/proc/self/gid_map", gids, error);
    prctl(PR_SET_DUMPABLE, 0);
    return ok;
}

static bool
configure(int fs, unsigned command, const char *key, const char *value, GError **error)
{
    char reason[256];
    ssize_t n;
    int errnum;

    if (syscall(SYS_fsconfig, fs, command, key, value, 0) == 0)
        return true;
    errnum = errno;
    /* The context says more than errno does, a line a read: "e overlay: …". */
    n = read(fs, reason, sizeof reason - 1);
    if (n > 2) {
        reason[n] = '\0';
        return sl_fail(error, SL_ERROR_SYSTEM, "mounting the root filesystem: %s", g_strchomp(reason + 2));
    }
    return sl_fail_errno(error, errnum, "mounting the root filesystem: %s", key ? key : "create");
}

static void
close_all(GArray **fds)
{
    for (unsigned i = 0; *fds && i < (*fds)->len; i++)
        close(g_array_index(*fds, int, i));
    if (*fds)
        g_array_unref(*fds);
}

/*
 * lowerdir, topmost layer first. One option takes 255 bytes, so layers go by descriptor when their paths do
 * not fit, and one by one (Linux 6.8) when these do not.
 */
static bool
configure_lower(int fs, char **lower, GError **error)
{
    g_autofree char *joined = g_strjoinv(":", lower);
    g_auto(GStrv) paths = g_strsplit(joined, ":", MAX_LAYERS + 1);
    __attribute__((cleanup(close_all))) GArray *fds = NULL;
    g_autoptr(GString) by_fd = NULL;

    if (strlen(joined) <= MAX_OPTION_BYTES)
        return configure(fs, FSCONFIG_SET_STRING, "lowerdir", joined, error);
    if (g_strv_length(paths) > MAX_LAYERS)
        return sl_fail(error, SL_ERROR_INVALID, "more than %d layers", MAX_LAYERS);

    fds = g_array_new(FALSE, FALSE, sizeof(int));
    by_fd = g_string_new(NULL);
    for (char **path = paths; *path; path++) {
        int fd = open(*path, O_PATH | O_DIRECTORY | O_CLOEXEC);

        if (fd < 0)
            return sl_fail_errno(error, errno, "opening layer %s", *path);
        g_array_append_val(fds, fd);
        g_string_append_printf(by_fd, "%s/proc/self/fd/%d", by_fd->len > 0 ? ":" : "", fd);
    }
    if (by_fd->len <= MAX_OPTION_BYTES)
        return configure(fs, FSCONFIG_SET_STRING, "lowerdir", by_fd->str, error);
    for (unsigned i = 0; i < fds->len; i++) {
        g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", g_array_index(fds, int, i));

        if (!configure(fs, FSCONFIG_SET_STRING, "lowerdir+", path, error))
            return false;
    }
    return true;
}

static bool
mount_overlay(const SlRootSpec *spec, bool is_in_user_namespace, int *ret_root_fd, GError **error)
{
    sl_autofd int fs = -1;
    int root_fd;

    if (!spec->lower || !spec->lower[0] || !spec->upper || !spec->work)
        return sl_fail(error, SL_ERROR_INVALID, "an overlay needs lower, upper and work");
    fs = (int)syscall(SYS_fsopen, "overlay", FSOPEN_CLOEXEC);
    if (fs < 0)
        return sl_fail_errno(error, errno, "mounting the root filesystem: opening overlay");
    if (!configure_lower(fs, spec->lower, error) ||
        !configure(fs, FSCONFIG_SET_STRING, "upperdir", spec->upper, error) ||
        !configure(fs, FSCONFIG_SET_STRING, "workdir", spec->work, error))
        return false;
    if (is_in_user_namespace && !configure(fs, FSCONFIG_SET_FLAG, "userxattr", NULL, error))
        return false;
    if (!configure(fs, FSCONFIG_CMD_CREATE, NULL, NULL, error))
        return false;
    root_fd = (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_NODEV);
    if (root_fd < 0)
        return sl_fail_errno(error, errno, "mounting the root filesystem");

    *ret_root_fd = root_fd;
    return true;
}

static bool
mount_in_user_namespace(const SlRootSpec *spec, int *ret_root_fd, GError **error)
{
    static bool is_inside; /* a process enters once and stays */

    if (!is_inside && !enter_user_namespace(error))
        return false;
    is_inside = true;
    return mount_overlay(spec, true, ret_root_fd, error);
}

static bool
open_folder(const SlRootSpec *spec, int *ret_root_fd, GError **error)
{
    int fd;

    if (!spec->path)
        return sl_fail(error, SL_ERROR_INVALID, "a folder needs a path");
    fd = open(spec->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return sl_fail_errno(error, errno, "opening the root filesystem %s", spec->path);
    *ret_root_fd = fd;
    return true;
}

bool
sl_root_make(const SlRootSpec *spec, int *ret_root_fd, GError **error)
{
    if (g_str_equal(spec->kind, "overlay"))
        return mount_overlay(spec, false, ret_root_fd, error);
    if (g_str_equal(spec->kind, "overlay-userns"))
        return mount_in_user_namespace(spec, ret_root_fd, error);
    if (g_str_equal(spec->kind, "folder"))
        return open_folder(spec, ret_root_fd, error);
    return sl_fail(error, SL_ERROR_INVALID, "unknown kind of root filesystem: %s", spec->kind);
}
