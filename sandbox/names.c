/* Names: making, removing, renaming, links, the current folder. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandbox/abi.h"
#include "sandbox/calls.h"
#include "sandbox/paths.h"

/* A name and its open folder: what every call here works on. */
typedef struct Entry {
    int folder;
    char name[NAME_MAX + 1];
} Entry;

static int32_t
entry_open(uint32_t dirfd, uint32_t path_at, Entry *ret)
{
    char absolute[PATH_MAX];
    int result = sl_path_absolute((int32_t)dirfd, sl_guest_string(path_at), absolute);

    if (result)
        return result;
    ret->folder = sl_path_open_parent(absolute, ret->name);
    return ret->folder < 0 ? ret->folder : 0;
}

static int32_t
entry_close(Entry *entry, long result)
{
    int32_t answer = sl_result(result);

    close(entry->folder);
    return answer;
}

int32_t
sl_call_getcwd(const uint32_t *arg)
{
    size_t size = strlen(sl_path_cwd()) + 1;
    void *to = sl_guest_pointer(arg[0], size);

    if (arg[1] < size)
        return -ERANGE;
    if (!to)
        return -EFAULT;
    memcpy(to, sl_path_cwd(), size);
    return (int32_t)size;
}

int32_t
sl_call_chdir(const uint32_t *arg)
{
    char absolute[PATH_MAX];
    int result = sl_path_absolute(AT_FDCWD, sl_guest_string(arg[0]), absolute);

    return result ? result : sl_path_set_cwd(absolute);
}

int32_t
sl_call_fchdir(const uint32_t *arg)
{
    char absolute[PATH_MAX];
    int result;

    if (!sl_fd_is_guests(arg[0]))
        return -EBADF;
    result = sl_path_of_folder((int)arg[0], absolute);
    return result ? result : sl_path_set_cwd(absolute);
}

int32_t
sl_call_mkdirat(const uint32_t *arg)
{
    Entry entry;
    int32_t result = entry_open(arg[0], arg[1], &entry);

    if (result == -EBUSY)
        return -EEXIST; /* "/", "/proc" */
    return result ? result : entry_close(&entry, mkdirat(entry.folder, entry.name, arg[2] & 07777));
}

int32_t
sl_call_mknodat(const uint32_t *arg)
{
    mode_t type = arg[2] & S_IFMT;
    Entry entry;
    int32_t result;

    if (type && type != S_IFREG && type != S_IFIFO)
        return -EPERM;
    result = entry_open(arg[0], arg[1], &entry);
    return result ? result : entry_close(&entry, mknodat(entry.folder, entry.name, arg[2], 0));
}

int32_t
sl_call_unlinkat(const uint32_t *arg)
{
    Entry entry;
    int32_t result = entry_open(arg[0], arg[1], &entry);

    return result ? result : entry_close(&entry, unlinkat(entry.folder, entry.name, (int)arg[2]));
}

int32_t
sl_call_symlinkat(const uint32_t *arg)
{
    const char *target = sl_guest_string(arg[0]);
    Entry entry;
    int32_t result;

    if (!target)
        return -EFAULT;
    result = entry_open(arg[1], arg[2], &entry);
    if (result == -EBUSY)
        return -EEXIST;
    return result ? result : entry_close(&entry, symlinkat(target, entry.folder, entry.name));
}

static int32_t
with_two(const uint32_t *arg, uint32_t to_dirfd, uint32_t to_path,
         long (*act)(const Entry *, const Entry *, uint32_t), uint32_t flags)
{
    Entry from, to;
    int32_t result = entry_open(arg[0], arg[1], &from);

    if (result)
        return result;
    result = entry_open(to_dirfd, to_path, &to);
    if (!result)
        result = entry_close(&to, act(&from, &to, flags));
    close(from.folder);
    return result;
}

static long
link_entry(const Entry *from, const Entry *to, uint32_t flags)
{
    return linkat(from->folder, from->name, to->folder, to->name, 0);
}

static long
rename_entry(const Entry *from, const Entry *to, uint32_t flags)
{
    return syscall(SYS_renameat2, from->folder, from->name, to->folder, to->name, flags);
}

int32_t
sl_call_linkat(const uint32_t *arg)
{
    return with_two(arg, arg[2], arg[3], link_entry, 0);
}

int32_t
sl_call_renameat(const uint32_t *arg)
{
    return with_two(arg, arg[2], arg[3], rename_entry, 0);
}

int32_t
sl_call_renameat2(const uint32_t *arg)
{
    return with_two(arg, arg[2], arg[3], rename_entry, arg[4]);
}

int32_t
sl_call_readlinkat(const uint32_t *arg)
{
    char absolute[PATH_MAX], text[PATH_MAX];
    void *to = sl_guest_pointer(arg[2], arg[3]);
    SlPlace place;
    ssize_t length;
    int32_t result = sl_path_absolute((int32_t)arg[0], sl_guest_string(arg[1]), absolute);
    int fd;

    if (result)
        return result;
    if (!to)
        return -EFAULT;
    fd = sl_path_open(absolute, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0, &place);
    if (fd == SL_IN_TREE) {
        length = place.tree->link(place.inside, text, sizeof text) ? (ssize_t)strlen(text) : -EINVAL;
    } else if (fd < 0) {
        return fd;
    } else {
        length = readlinkat(fd, "", text, sizeof text);
        length = length < 0 ? (errno == ENOENT ? -EINVAL : -errno) : length; /* ENOENT: not a symlink */
        close(fd);
    }
    if (length < 0)
        return (int32_t)length;
    if ((size_t)length > arg[3])
        length = (ssize_t)arg[3];
    memcpy(to, text, (size_t)length);
    return (int32_t)length;
}
