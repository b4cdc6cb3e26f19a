/*
 * /dev: the harmless devices, and terminals. The container's own terminal is /dev/pts/0, whatever number it
 * has on the host; one that the guest makes has the host's number plus one, and can be opened by who holds
 * its other end.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "sandbox/abi.h"
#include "sandbox/trees.h"

enum { PTS_MAJOR = 136, PTS_MAJORS = 8 };

static const char *const devices[] = { "null", "zero", "full", "random", "urandom", "tty", "ptmx" };
static const char *const links[][2] = {
    { "fd", "/proc/self/fd" },
    { "stdin", "/proc/self/fd/0" },
    { "stdout", "/proc/self/fd/1" },
    { "stderr", "/proc/self/fd/2" },
};

static int terminal_fd = -1;
static dev_t terminal;

void
sl_dev_start(void)
{
    struct stat status;

    for (int fd = 0; fd < 3 && terminal_fd < 0; fd++) {
        if (isatty(fd) && fstat(fd, &status) == 0) {
            terminal_fd = fcntl(fd, F_DUPFD_CLOEXEC, SL_GUEST_FDS);
            terminal = status.st_rdev;
        }
    }
}

bool
sl_dev_has_terminal(void)
{
    return terminal_fd >= 0;
}

static const char *
device_named(const char *inside)
{
    for (size_t i = 0; i < sizeof devices / sizeof *devices; i++) {
        if (*inside == '/' && strcmp(inside + 1, devices[i]) == 0)
            return devices[i];
    }
    return NULL;
}

static const char *
link_named(const char *inside)
{
    for (size_t i = 0; i < sizeof links / sizeof *links; i++) {
        if (*inside == '/' && strcmp(inside + 1, links[i][0]) == 0)
            return links[i][1];
    }
    return NULL;
}

/* "/pts/N": N, else -1. */
static int
pts_named(const char *inside)
{
    char *end;
    long number;

    if (strncmp(inside, "/pts/", 5) != 0 || inside[5] < '0' || inside[5] > '9')
        return -1;
    number = strtol(inside + 5, &end, 10);
    return *end || number > 1 << 20 ? -1 : (int)number;
}

static bool
is_console(const char *inside)
{
    return terminal_fd >= 0 && (strcmp(inside, "/console") == 0 || pts_named(inside) == 0);
}

static bool
dev_has(const char *inside)
{
    return !*inside || strcmp(inside, "/pts") == 0 || device_named(inside) || link_named(inside) ||
           is_console(inside) || pts_named(inside) > 0;
}

static bool
dev_link(const char *inside, char *to, size_t size)
{
    const char *text = link_named(inside);

    return text && snprintf(to, size, "%s", text) < (int)size;
}

static bool
dev_is_magic(const char *inside)
{
    return false;
}

/* The guest's number of a terminal's device, or -1. */
static int
number_of(dev_t device)
{
    if (terminal_fd >= 0 && device == terminal)
        return 0;
    if (major(device) < PTS_MAJOR || major(device) >= PTS_MAJOR + PTS_MAJORS)
        return -1;
    return (int)((major(device) - PTS_MAJOR) * 256 + minor(device)) + 1;
}

int
sl_dev_pts_number(int fd)
{
    int number;

    return ioctl(fd, TIOCGPTN, &number) < 0 ? -errno : number + 1;
}

/* A new descriptor of a terminal that the guest made: through any descriptor of either end that it holds. */
static int
open_made_terminal(int number, int flags)
{
    struct stat status;

    for (int fd = 0; fd < SL_GUEST_FDS; fd++) {
        char link[64];

        if (fstat(fd, &status) < 0 || !S_ISCHR(status.st_mode))
            continue;
        if (number_of(status.st_rdev) == number) {
            snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
            return sl_result(open(link, flags));
        }
        if (sl_dev_pts_number(fd) == number)
            return sl_result(ioctl(fd, TIOCGPTPEER, flags));
    }
    return -ENOENT;
}

static int
list_folder(const char *path, bool is_pts)
{
    const char *names[32] = { ".", ".." };
    size_t n = 2;

    if (is_pts) {
        if (terminal_fd >= 0)
            names[n++] = "0";
    } else {
        for (size_t i = 0; i < sizeof devices / sizeof *devices; i++)
            names[n++] = devices[i];
        for (size_t i = 0; i < sizeof links / sizeof *links; i++)
            names[n++] = links[i][0];
        names[n++] = "pts";
        if (terminal_fd >= 0)
            names[n++] = "console";
    }
    return sl_snapshot_folder(path, names, n);
}

static int
dev_open(const char *inside, int flags)
{
    const char *device = device_named(inside);
    char path[64];

    if (!*inside || strcmp(inside, "/pts") == 0)
        return (flags & O_ACCMODE) != O_RDONLY ? -EISDIR
                                               : list_folder(*inside ? "/dev/pts" : "/dev", *inside);
    if (flags & O_DIRECTORY)
        return -ENOTDIR;
    flags &= O_ACCMODE | O_NONBLOCK | O_NOCTTY | O_CLOEXEC | O_APPEND;
    if (device)
        snprintf(path, sizeof path, "/dev/%s", device);
    else if (is_console(inside))
        snprintf(path, sizeof path, "/proc/self/fd/%d", terminal_fd);
    else
        return open_made_terminal(pts_named(inside), flags);
    return sl_result(open(path, flags));
}

static int
dev_stat(const char *inside, struct stat *ret_stat)
{
    const char *device = device_named(inside);
    const char *text = link_named(inside);
    char path[64];
    int fd, result;

    if (!*inside || strcmp(inside, "/pts") == 0) {
        sl_tree_stat(ret_stat, S_IFDIR | 0755, *inside ? "/dev/pts" : "/dev");
        return 0;
    }
    if (text) {
        snprintf(path, sizeof path, "/dev%s", inside);
        sl_tree_stat(ret_stat, S_IFLNK | 0777, path);
        ret_stat->st_size = (off_t)strlen(text);
        return 0;
    }
    if (device) {
        snprintf(path, sizeof path, "/dev/%s", device);
        return sl_result(stat(path, ret_stat));
    }
    if (is_console(inside))
        return sl_result(fstat(terminal_fd, ret_stat));
    fd = open_made_terminal(pts_named(inside), O_RDONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return fd;
    result = sl_result(fstat(fd, ret_stat));
    close(fd);
    return result;
}

bool
sl_dev_name(int fd, char *to, size_t size)
{
    static const struct {
        unsigned major, minor;
        const char *name;
    } known[] = { { 1, 3, "null" },    { 1, 5, "zero" }, { 1, 7, "full" }, { 1, 8, "random" },
                  { 1, 9, "urandom" }, { 5, 0, "tty" },  { 5, 2, "ptmx" } };
    struct stat status;
    int number;

    if (fstat(fd, &status) < 0 || !S_ISCHR(status.st_mode))
        return false;
    number = number_of(status.st_rdev);
    if (number >= 0)
        return snprintf(to, size, "/dev/pts/%d", number) < (int)size;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (major(status.st_rdev) == known[i].major && minor(status.st_rdev) == known[i].minor)
            return snprintf(to, size, "/dev/%s", known[i].name) < (int)size;
    }
    return false;
}

const SlTree sl_dev_tree = {
    .prefix = "/dev",
    .open = dev_open,
    .stat = dev_stat,
    .link = dev_link,
    .is_magic = dev_is_magic,
    .has = dev_has,
    .falls_through = true,
};
