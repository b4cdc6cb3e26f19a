#include "sandbox/paths.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandbox/abi.h"
#include "sandbox/signals.h"
#include "sandbox/trees.h"

enum { MAX_LINKS = 40, MAX_TRIES = 4 };

static int root_fd = -1;
static char
    root_path[PATH_MAX]; /* as the kernel names it: only to strip it from what the kernel says elsewhere */
static char cwd[PATH_MAX] = "/";

static const SlTree *const trees[] = { &sl_dev_tree, &sl_proc_tree };

static const char *
descriptor_path(int fd, char text[64])
{
    snprintf(text, 64, "/proc/self/fd/%d", fd);
    return text;
}

bool
sl_paths_start(const char *dir)
{
    char link[64];
    ssize_t length;
    int fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return false;
    root_fd = fcntl(fd, F_DUPFD_CLOEXEC, SL_GUEST_FDS);
    close(fd);
    if (root_fd < 0)
        return false;
    length = readlink(descriptor_path(root_fd, link), root_path, sizeof root_path - 1);
    root_path[length > 1 ? length : 0] = '\0'; /* "/" is a prefix of length 0 */
    return true;
}

int
sl_paths_root_fd(void)
{
    return root_fd;
}

const char *
sl_path_cwd(void)
{
    return cwd;
}

/* ---- one lookup beneath the root ---- */

static int
open_in_root(const char *absolute, int flags, uint32_t mode, uint64_t resolve)
{
    struct open_how how = {
        .flags =
            (unsigned)flags & ~(unsigned)0100000, /* O_LARGEFILE: openat2 refuses what it does not know */
        .mode = flags & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY)) ? mode & 07777 : 0,
        .resolve = resolve,
    };

    while (*absolute == '/')
        absolute++;
    if (!*absolute)
        absolute = ".";
    if (flags & O_PATH)
        return sl_result(syscall(SYS_openat2, root_fd, absolute, &how, sizeof how));
    return (int)sl_blocking_call(SYS_openat2, root_fd, (long)absolute, (long)&how, sizeof how, 0, 0);
}

static int
open_beneath(const char *absolute, int flags, uint32_t mode)
{
    return open_in_root(absolute, flags, mode, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);
}

static bool
has_dots(const char *path)
{
    for (; *path; path++) {
        if (*path != '/')
            continue;
        if (path[1] == '/')
            return true;
        if (path[1] == '.' &&
            (!path[2] || path[2] == '/' || (path[2] == '.' && (!path[3] || path[3] == '/'))))
            return true;
    }
    return false;
}

static const SlTree *
tree_with_prefix(const char *path, const char **ret_inside)
{
    for (size_t i = 0; i < sizeof trees / sizeof *trees; i++) {
        size_t length = strlen(trees[i]->prefix);

        *ret_inside = path + length;
        if (strncmp(path, trees[i]->prefix, length) == 0 && (!**ret_inside || **ret_inside == '/'))
            return trees[i];
    }
    return NULL;
}

/* The tree over path, which is canonical. */
static const SlTree *
tree_of(const char *path, const char **ret_inside)
{
    const SlTree *tree = tree_with_prefix(path, ret_inside);

    return tree && tree->falls_through && !tree->has(*ret_inside) ? NULL : tree;
}

/* ---- canonical paths ---- */

typedef struct Walk {
    char done[PATH_MAX];     /* canonical so far, "" for the root */
    char todo[2 * PATH_MAX]; /* what follows */
    int links;
} Walk;

static int
walk_into_link(Walk *walk, size_t length_before, const char *text)
{
    char rest[2 * PATH_MAX];

    if (++walk->links > MAX_LINKS)
        return -ELOOP;
    if (snprintf(rest, sizeof rest, "%s%s", text, walk->todo) >= PATH_MAX)
        return -ENAMETOOLONG;
    memcpy(walk->todo, rest, strlen(rest) + 1);
    walk->done[*text == '/' ? 0 : length_before] = '\0';
    return 0;
}

/* What the name just added to walk->done may be, beside a folder or a link to one. */
typedef struct Allowed {
    bool file, nothing;
    bool link; /* which is not followed */
} Allowed;

/* Looks at walk->done. 1: it was a symlink and has been replaced. */
static int
walk_look(Walk *walk, size_t length_before, Allowed may_be)
{
    char text[PATH_MAX];
    const char *inside;
    const SlTree *tree = tree_of(walk->done, &inside);
    struct stat status;
    ssize_t length;
    int fd, result;

    if (tree) {
        if (may_be.link || tree->is_magic(inside) || !tree->link(inside, text, sizeof text))
            return 0;
        result = walk_into_link(walk, length_before, text);
        return result ? result : 1;
    }

    fd = open_beneath(walk->done, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0);
    if (fd < 0)
        return fd == -ENOENT && may_be.nothing ? 0 : fd;
    if (fstat(fd, &status) < 0) {
        close(fd);
        return -EIO;
    }
    if (!S_ISLNK(status.st_mode) || may_be.link) {
        close(fd);
        return S_ISDIR(status.st_mode) || may_be.file ? 0 : -ENOTDIR;
    }
    length = readlinkat(fd, "", text, sizeof text - 1);
    close(fd);
    if (length <= 0)
        return -ENOENT;
    text[length] = '\0';
    result = walk_into_link(walk, length_before, text);
    return result ? result : 1;
}

static int
walk_step(Walk *walk, bool follow_last)
{
    char *name = walk->todo + strspn(walk->todo, "/");
    size_t length = strcspn(name, "/");
    size_t before = strlen(walk->done);
    char *rest = name + length;
    bool is_last = rest[strspn(rest, "/")] == '\0';
    bool is_dot = length == 1 && name[0] == '.';
    bool is_dot_dot = length == 2 && name[0] == '.' && name[1] == '.';
    int result;

    if (length > NAME_MAX || before + length + 2 > PATH_MAX)
        return -ENAMETOOLONG;
    if (is_dot_dot) {
        char *slash = strrchr(walk->done, '/');

        if (slash)
            *slash = '\0';
    } else if (!is_dot) {
        walk->done[before] = '/';
        memcpy(walk->done + before + 1, name, length);
        walk->done[before + 1 + length] = '\0';
    }
    memmove(walk->todo, rest, strlen(rest) + 1);
    if (is_dot || is_dot_dot)
        return 0;

    /* "link/" means the folder behind it, also for lstat */
    result = walk_look(
        walk, before,
        (Allowed){ .file = is_last, .nothing = is_last, .link = is_last && !follow_last && !*walk->todo });
    return result < 0 ? result : 0;
}

/* All that is left in one look, when nothing in it needs more. False: it must be walked. */
static bool
walk_rest(Walk *walk, bool follow_last)
{
    size_t before = strlen(walk->done), length = strlen(walk->todo);
    const char *inside, *slash;

    if (has_dots(walk->todo) || walk->todo[length - 1] == '/' || walk->todo[0] != '/' ||
        before + length >= PATH_MAX)
        return false;
    memcpy(walk->done + before, walk->todo, length + 1);
    slash = strrchr(walk->done, '/');
    if (strlen(slash) <= NAME_MAX && !tree_with_prefix(walk->done, &inside)) {
        walk->todo[0] = '\0';
        if (walk_look(walk, (size_t)(slash - walk->done), (Allowed){ .file = true, .link = !follow_last }) >=
            0)
            return true;
        memcpy(walk->todo, walk->done + before, length + 1);
    }
    walk->done[before] = '\0';
    return false;
}

int
sl_path_canonical(const char *absolute, bool follow_last, char ret[PATH_MAX])
{
    Walk walk;
    size_t length = strlen(absolute);
    int result;

    if (length >= PATH_MAX)
        return -ENAMETOOLONG;
    walk.done[0] = '\0';
    walk.links = 0;
    memcpy(walk.todo, absolute, length + 1);
    while (walk.todo[strspn(walk.todo, "/")]) {
        result = walk_rest(&walk, follow_last) ? 0 : walk_step(&walk, follow_last);
        if (result)
            return result;
    }
    memcpy(ret, *walk.done ? walk.done : "/", strlen(walk.done) + 2);
    if (!*walk.done)
        ret[1] = '\0';
    return 0;
}

/* ---- opening ---- */

/*
 * The kernel follows the links, which costs less than a walk. It knows nothing of trees: what lies under one,
 * or is not found, must be walked to.
 */
static int
open_through_links(const char *absolute, int flags)
{
    int fd = open_in_root(absolute, flags, 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
    char link[64], text[PATH_MAX];
    const char *inside;
    size_t prefix = strlen(root_path);
    ssize_t length;

    if (fd < 0)
        return fd;
    length = readlink(descriptor_path(fd, link), text, sizeof text - 1);
    text[length > 0 ? length : 0] = '\0';
    if (strncmp(text, root_path, prefix) == 0 && !tree_with_prefix(text + prefix, &inside))
        return fd;
    close(fd);
    return -ELOOP;
}

int
sl_path_open(const char *absolute, int flags, uint32_t mode, SlPlace *ret_place)
{
    bool follow = !(flags & O_NOFOLLOW) && (flags & (O_CREAT | O_EXCL)) != (O_CREAT | O_EXCL);
    char path[PATH_MAX];
    const char *inside;
    /* in a tree: /dev/stdout and /proc/self are symlinks */
    bool must_be_canonical = has_dots(absolute) || tree_with_prefix(absolute, &inside);
    int result;

    if (strlen(absolute) >= PATH_MAX)
        return -ENAMETOOLONG;
    memcpy(path, absolute, strlen(absolute) + 1);

    for (int tries = 0; tries < MAX_TRIES; tries++) {
        const SlTree *tree;

        if (must_be_canonical) {
            result = sl_path_canonical(absolute, follow, path);
            if (result)
                return result;
        }
        tree = must_be_canonical ? tree_of(path, &inside) : NULL;
        if (tree) {
            ret_place->tree = tree;
            snprintf(ret_place->inside, sizeof ret_place->inside, "%s", inside);
            return SL_IN_TREE;
        }
        ret_place->tree = NULL;
        result = open_beneath(path, flags, mode);
        if (result != -ELOOP || (must_be_canonical && !follow))
            return result;
        if (!must_be_canonical && !(flags & O_CREAT)) {
            result = open_through_links(path, flags);
            if (result >= 0)
                return result;
        }
        must_be_canonical = true;
    }
    return -ELOOP;
}

int
sl_path_open_program(const char *absolute)
{
    const int flags = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
    const char *inside;
    SlPlace place;
    int fd;

    /* The kernel follows the links: there is no program in a tree that one could lead to. */
    if (!tree_with_prefix(absolute, &inside))
        return open_in_root(absolute, flags, 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
    fd = sl_path_open(absolute, flags, 0, &place);
    return fd == SL_IN_TREE ? -EACCES : fd;
}

int
sl_path_open_parent(const char *absolute, char ret_name[NAME_MAX + 1])
{
    char path[PATH_MAX], full[PATH_MAX + NAME_MAX + 2];
    const char *inside;
    size_t length = strlen(absolute);
    char *slash;
    int fd, result;

    if (length >= PATH_MAX)
        return -ENAMETOOLONG;
    memcpy(path, absolute, length + 1);
    while (length > 1 && path[length - 1] == '/')
        path[--length] = '\0';
    slash = strrchr(path, '/');
    if (!slash)
        return -ENOENT;
    if (strlen(slash + 1) > NAME_MAX)
        return -ENAMETOOLONG;
    snprintf(ret_name, NAME_MAX + 1, "%s", slash + 1);
    if (!*ret_name || strcmp(ret_name, ".") == 0 || strcmp(ret_name, "..") == 0)
        return *ret_name == '.' ? -EINVAL : -EBUSY;
    slash[1] = '\0';

    if (!has_dots(absolute) && !tree_with_prefix(absolute, &inside)) {
        fd = open_beneath(path, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
        if (fd != -ELOOP)
            return fd;
    }
    result = sl_path_canonical(path, true, path);
    if (result)
        return result;
    snprintf(full, sizeof full, "%s/%s", strcmp(path, "/") == 0 ? "" : path, ret_name);
    if (tree_of(full, &inside))
        return *inside ? -EPERM : -EBUSY;
    return open_beneath(path, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
}

/* ---- paths of descriptors ---- */

bool
sl_path_of_file(int fd, char ret[PATH_MAX])
{
    char link[64], text[PATH_MAX];
    size_t prefix = strlen(root_path);
    ssize_t length = readlink(descriptor_path(fd, link), text, sizeof text - 1);
    struct stat wanted, found;
    int check;

    if (length <= 0)
        return false;
    text[length] = '\0';
    if (strncmp(text, root_path, prefix) != 0 || text[prefix] != '/') {
        if (strcmp(text, root_path) != 0 && !(prefix == 0 && strcmp(text, "/") == 0))
            return false;
        strncpy(ret, "/", PATH_MAX);
        return true;
    }
    /* The kernel's word for it may be wrong here (another mount, renamed meanwhile): look whether it is that
     * file. */
    check = open_beneath(text + prefix, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0);
    if (check < 0)
        return false;
    if (fstat(fd, &wanted) < 0 || fstat(check, &found) < 0 || wanted.st_dev != found.st_dev ||
        wanted.st_ino != found.st_ino) {
        close(check);
        return false;
    }
    close(check);
    memcpy(ret, text + prefix, strlen(text + prefix) + 1);
    return true;
}

int
sl_path_of_folder(int fd, char ret[PATH_MAX])
{
    if (sl_snapshot_folder_path(fd, ret))
        return 0;
    if (fcntl(fd, F_GETFD) < 0)
        return -EBADF;
    return sl_path_of_file(fd, ret) ? 0 : -ENOTDIR;
}

int
sl_path_absolute(int32_t dirfd, const char *path, char ret[PATH_MAX])
{
    char base[PATH_MAX];
    int result;

    if (!path)
        return -EFAULT;
    if (*path == '/') {
        if (strlen(path) >= PATH_MAX)
            return -ENAMETOOLONG;
        memcpy(ret, path, strlen(path) + 1);
        return 0;
    }
    if (!*path)
        return -ENOENT;
    if (dirfd == AT_FDCWD) {
        memcpy(base, cwd, strlen(cwd) + 1);
    } else {
        if (dirfd < 0 || dirfd >= SL_GUEST_FDS)
            return -EBADF;
        result = sl_path_of_folder(dirfd, base);
        if (result)
            return result;
    }
    if (snprintf(ret, PATH_MAX, "%s/%s", strcmp(base, "/") == 0 ? "" : base, path) >= PATH_MAX)
        return -ENAMETOOLONG;
    return 0;
}

int
sl_path_set_cwd(const char *absolute)
{
    char path[PATH_MAX];
    const char *inside;
    const SlTree *tree;
    struct stat status;
    int fd, result = sl_path_canonical(absolute, true, path);

    if (result)
        return result;
    tree = tree_of(path, &inside);
    if (tree) {
        result = tree->stat(inside, &status);
        if (result)
            return result;
        if (!S_ISDIR(status.st_mode))
            return -ENOTDIR;
    } else {
        fd = open_beneath(path, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
        if (fd < 0)
            return fd;
        result = sl_result(syscall(SYS_faccessat2, fd, "", X_OK, AT_EMPTY_PATH | AT_EACCESS));
        close(fd);
        if (result)
            return result;
    }
    memcpy(cwd, path, strlen(path) + 1);
    return 0;
}
