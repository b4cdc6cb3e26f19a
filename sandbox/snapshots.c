#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "sandbox/trees.h"

/* No guest can seal a file, so the seals say who made it. */
enum { SEALS = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE };

static const char folder_magic[16] = "sl-proc-folder\n";
static const char name_prefix[] = "tree:";

typedef struct Record {
    uint64_t inode;
    int64_t next;
    uint16_t length;
    uint8_t type;
    char name[];
} Record;

enum { RECORD_HEAD = 19 };

static uint64_t
path_inode(const char *path)
{
    uint64_t hash = 1469598103934665603u; /* FNV-1a: the same name has the same number in every process */

    for (; *path; path++)
        hash = (hash ^ (uint8_t)*path) * 1099511628211u;
    return hash >> 16 | 1;
}

void
sl_tree_stat(struct stat *ret_stat, mode_t mode, const char *path)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    *ret_stat = (struct stat){
        .st_dev = 2,
        .st_ino = path_inode(path),
        .st_mode = mode,
        .st_nlink = S_ISDIR(mode) ? 2 : 1,
        .st_blksize = 4096,
        .st_atim = now,
        .st_mtim = now,
        .st_ctim = now,
    };
}

static int
snapshot_make(const char *path, const void *head, size_t head_length, const void *bytes, size_t length)
{
    char name[200];
    int fd;

    snprintf(name, sizeof name, "%s%s", name_prefix, path);
    fd = memfd_create(name, MFD_ALLOW_SEALING);
    if (fd < 0)
        return -errno;
    if (write(fd, head, head_length) != (ssize_t)head_length || write(fd, bytes, length) != (ssize_t)length ||
        lseek(fd, 0, SEEK_SET) < 0 || fchmod(fd, 0444) < 0 || fcntl(fd, F_ADD_SEALS, SEALS) < 0) {
        int error = errno;

        close(fd);
        return -error;
    }
    return fd;
}

int
sl_snapshot_file(const char *path, const char *text, size_t length)
{
    return snapshot_make(path, "", 0, text, length);
}

int
sl_snapshot_folder(const char *path, const char *const *names, size_t n_names)
{
    size_t size = 0, at = 0;
    char *bytes, full[PATH_MAX];
    int fd;

    for (size_t i = 0; i < n_names; i++)
        size += (RECORD_HEAD + strlen(names[i]) + 1 + 7) & ~(size_t)7;
    bytes = calloc(1, size + 1);
    if (!bytes)
        return -ENOMEM;
    for (size_t i = 0; i < n_names; i++) {
        Record *record = (Record *)(void *)(bytes + at);
        size_t length = strlen(names[i]) + 1;

        snprintf(full, sizeof full, "%s/%s", path, names[i]);
        record->length = (uint16_t)((RECORD_HEAD + length + 7) & ~(size_t)7);
        at += record->length;
        record->inode = path_inode(full);
        record->next = (int64_t)(sizeof folder_magic + at);
        record->type = DT_UNKNOWN;
        memcpy((char *)record + RECORD_HEAD, names[i], length);
    }
    fd = snapshot_make(path, folder_magic, sizeof folder_magic, bytes, size);
    free(bytes);
    return fd;
}

static bool
is_snapshot(int fd)
{
    return fcntl(fd, F_GET_SEALS) == SEALS;
}

static bool
is_folder(int fd)
{
    char magic[sizeof folder_magic];

    return is_snapshot(fd) && pread(fd, magic, sizeof magic, 0) == sizeof magic &&
           memcmp(magic, folder_magic, sizeof magic) == 0;
}

bool
sl_snapshot_folder_path(int fd, char ret[PATH_MAX])
{
    char link[64], text[PATH_MAX], *path, *end;
    ssize_t length;

    if (!is_folder(fd))
        return false;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    length = readlink(link, text, sizeof text - 1);
    text[length > 0 ? length : 0] = '\0';
    path = strstr(text, name_prefix); /* "/memfd:tree:/proc (deleted)" */
    end = path ? strstr(path, " (deleted)") : NULL;
    if (!end)
        return false;
    *end = '\0';
    path += sizeof name_prefix - 1;
    memcpy(ret, path, strlen(path) + 1);
    return true;
}

int
sl_snapshot_entries(int fd, void *to, size_t size)
{
    off_t at = lseek(fd, 0, SEEK_CUR);
    ssize_t length;
    size_t whole = 0;

    if (!is_folder(fd))
        return -ENOTDIR;
    if (at < (off_t)sizeof folder_magic)
        at = sizeof folder_magic;
    length = pread(fd, to, size, at);
    while (whole + RECORD_HEAD < (size_t)(length > 0 ? length : 0)) {
        uint16_t next;

        memcpy(&next, (char *)to + whole + offsetof(Record, length), sizeof next);
        if (whole + next > (size_t)length)
            break;
        whole += next;
    }
    if (length > 0 && whole == 0)
        return -EINVAL; /* as the kernel: no room for one */
    lseek(fd, at + (off_t)whole, SEEK_SET);
    return (int)whole;
}

bool
sl_snapshot_stat(int fd, struct stat *status)
{
    off_t size = status->st_size;
    char path[PATH_MAX];

    if (!S_ISREG(status->st_mode) || status->st_nlink != 0 || !is_snapshot(fd))
        return false;
    if (sl_snapshot_folder_path(fd, path)) {
        sl_tree_stat(status, S_IFDIR | 0555, path);
    } else {
        status->st_mode = S_IFREG | 0444;
        status->st_nlink = 1;
        status->st_uid = status->st_gid = 0;
        status->st_size = size;
    }
    return true;
}
