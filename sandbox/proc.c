/*
 * /proc: what ps, top, free, df, mount and their like read, for the container's processes only. A file is
 * written when it is opened; nothing in it comes from the host's own /proc.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sandbox/abi.h"
#include "sandbox/exec.h"
#include "sandbox/process.h"
#include "sandbox/proc_text.h"
#include "sandbox/system.h"
#include "sandbox/trees.h"

/* What a path in /proc is. */
typedef enum Kind {
    KIND_NONE,
    KIND_FOLDER,
    KIND_FILE,
    KIND_LINK,
    KIND_DESCRIPTOR, /* /proc/PID/fd/N of this process */
} Kind;

typedef struct Entry {
    const char *name;
    Kind kind;
    void (*write)(SlText *to, const SlSandboxProcess *process); /* files; process is NULL outside /proc/PID */
} Entry;

static const Entry root_entries[] = {
    { "cpuinfo", KIND_FILE, sl_proc_cpuinfo },
    { "filesystems", KIND_FILE, sl_proc_filesystems },
    { "loadavg", KIND_FILE, sl_proc_loadavg },
    { "meminfo", KIND_FILE, sl_proc_meminfo },
    { "mounts", KIND_LINK, NULL },
    { "self", KIND_LINK, NULL },
    { "stat", KIND_FILE, sl_proc_stat },
    { "sys", KIND_FOLDER, NULL },
    { "uptime", KIND_FILE, sl_proc_uptime },
    { "version", KIND_FILE, sl_proc_version },
};

static const Entry process_entries[] = {
    { "cmdline", KIND_FILE, sl_proc_pid_cmdline },
    { "comm", KIND_FILE, sl_proc_pid_comm },
    { "cwd", KIND_LINK, NULL },
    { "exe", KIND_LINK, NULL },
    { "fd", KIND_FOLDER, NULL },
    { "mountinfo", KIND_FILE, sl_proc_pid_mountinfo },
    { "mounts", KIND_FILE, sl_proc_pid_mounts },
    { "root", KIND_LINK, NULL },
    { "stat", KIND_FILE, sl_proc_pid_stat },
    { "statm", KIND_FILE, sl_proc_pid_statm },
    { "status", KIND_FILE, sl_proc_pid_status },
};

static const Entry sys_entries[] = { { "kernel", KIND_FOLDER, NULL } };

static const Entry kernel_entries[] = {
    { "hostname", KIND_FILE, sl_proc_hostname },
    { "osrelease", KIND_FILE, sl_proc_osrelease },
    { "ostype", KIND_FILE, sl_proc_ostype },
    { "pid_max", KIND_FILE, sl_proc_pid_max },
};

#define N(entries) (sizeof(entries) / sizeof *(entries))

typedef struct Found {
    Kind kind;
    const Entry *entry;              /* NULL for the folders of processes */
    const SlSandboxProcess *process; /* NULL outside /proc/PID */
    const Entry *inside;             /* a folder's entries */
    size_t n_inside;
    int fd; /* KIND_DESCRIPTOR */
} Found;

static const Entry *
entry_named(const Entry *entries, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(entries[i].name, name) == 0)
            return &entries[i];
    }
    return NULL;
}

/* A whole number at text and what follows it; -1: none. */
static int32_t
leading_number(const char *text, const char **ret_rest)
{
    char *end;
    long value;

    if (*text < '0' || *text > '9')
        return -1;
    value = strtol(text, &end, 10);
    *ret_rest = end;
    return value > INT32_MAX ? -1 : (int32_t)value;
}

/* What only the process itself knows of itself: another's has no such name. */
static bool
is_hidden(const Entry *entry, const SlSandboxProcess *process)
{
    bool is_private =
        strcmp(entry->name, "cwd") == 0 || strcmp(entry->name, "exe") == 0 || strcmp(entry->name, "fd") == 0;

    return is_private && process != sl_process_self();
}

static Found
found_entry(const Entry *entry, const SlSandboxProcess *process)
{
    if (entry && is_hidden(entry, process))
        entry = NULL;
    return (Found){ .kind = entry ? entry->kind : KIND_NONE, .entry = entry, .process = process };
}

static Found
find_in_process(const char *rest, int32_t pid)
{
    const SlSandboxProcess *process = sl_table_find(pid);
    const char *end;
    int32_t fd;

    if (!process)
        return (Found){ .kind = KIND_NONE };
    if (!*rest)
        return (Found){
            .kind = KIND_FOLDER, .process = process, .inside = process_entries, .n_inside = N(process_entries)
        };
    if (strncmp(rest, "/fd/", 4) != 0)
        return found_entry(entry_named(process_entries, N(process_entries), rest + 1), process);
    fd = leading_number(rest + 4, &end);
    if (process != sl_process_self() || fd < 0 || *end || !sl_fd_is_guests((uint32_t)fd) ||
        fcntl(fd, F_GETFD) < 0)
        return (Found){ .kind = KIND_NONE };
    return (Found){ .kind = KIND_DESCRIPTOR, .process = process, .fd = fd };
}

static Found
find(const char *inside)
{
    const char *rest;
    int32_t pid;
    Found found;

    if (!*inside)
        return (Found){ .kind = KIND_FOLDER, .inside = root_entries, .n_inside = N(root_entries) };
    pid = leading_number(inside + 1, &rest);
    if (pid >= 0 && (!*rest || *rest == '/'))
        return find_in_process(rest, pid);
    if (strcmp(inside, "/sys/kernel") == 0)
        found = (Found){ .kind = KIND_FOLDER, .inside = kernel_entries, .n_inside = N(kernel_entries) };
    else if (strncmp(inside, "/sys/kernel/", 12) == 0)
        found = found_entry(entry_named(kernel_entries, N(kernel_entries), inside + 12), NULL);
    else
        found = found_entry(entry_named(root_entries, N(root_entries), inside + 1), NULL);
    if (strcmp(inside, "/sys") == 0) {
        found.inside = sys_entries;
        found.n_inside = N(sys_entries);
    }
    return found;
}

/* What a descriptor is, in the guest's words: never a path of the host's. */
static void
describe_descriptor(int fd, char *to, size_t size)
{
    char link[64], text[PATH_MAX];
    ssize_t length;

    if (sl_dev_name(fd, to, size) || (sl_path_of_file(fd, text) && snprintf(to, size, "%s", text) >= 0))
        return;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    length = readlink(link, text, sizeof text - 1);
    text[length > 0 ? length : 0] = '\0';
    if (strncmp(text, "pipe:", 5) == 0 || strncmp(text, "socket:", 7) == 0)
        snprintf(to, size, "%s", text);
    else
        snprintf(to, size, "/ (nameless)");
}

static bool
proc_link(const char *inside, char *to, size_t size)
{
    Found found = find(inside);

    if (found.kind == KIND_DESCRIPTOR) {
        describe_descriptor(found.fd, to, size);
        return true;
    }
    if (found.kind != KIND_LINK)
        return false;
    if (strcmp(found.entry->name, "self") == 0)
        snprintf(to, size, "%d", sl_process_self()->pid);
    else if (strcmp(found.entry->name, "mounts") == 0)
        snprintf(to, size, "self/mounts");
    else if (strcmp(found.entry->name, "root") == 0)
        snprintf(to, size, "/");
    else
        snprintf(to, size, "%s", strcmp(found.entry->name, "exe") == 0 ? sl_exec_path() : sl_path_cwd());
    return true;
}

static bool
proc_is_magic(const char *inside)
{
    return find(inside).kind == KIND_DESCRIPTOR;
}

static bool
proc_has(const char *inside)
{
    return true;
}

/* ---- opening ---- */

typedef struct Names {
    const char *name[SL_SANDBOX_MAX_PROCESSES + SL_GUEST_FDS + 32];
    char numbers[SL_SANDBOX_MAX_PROCESSES + SL_GUEST_FDS][12];
    size_t n, n_numbers;
} Names;

static void
add_number(Names *names, int32_t number)
{
    char *text = names->numbers[names->n_numbers++];

    snprintf(text, sizeof names->numbers[0], "%d", number);
    names->name[names->n++] = text;
}

static int
open_folder(const char *inside, const Found *found)
{
    char path[PATH_MAX];
    Names *names = malloc(sizeof *names);
    SlSandboxProcess *process;
    int fd;

    if (!names)
        return -ENOMEM;
    names->n_numbers = 0;
    names->name[0] = ".";
    names->name[1] = "..";
    names->n = 2;
    for (size_t i = 0; i < found->n_inside; i++) {
        if (!is_hidden(&found->inside[i], found->process))
            names->name[names->n++] = found->inside[i].name;
    }
    if (!*inside) {
        for (int i = 0; (process = sl_table_next(&i));)
            add_number(names, process->pid);
    } else if (found->process && found->entry) { /* fd */
        for (int i = 0; i < SL_GUEST_FDS; i++) {
            if (fcntl(i, F_GETFD) >= 0)
                add_number(names, i);
        }
    }
    snprintf(path, sizeof path, "/proc%s", inside);
    fd = sl_snapshot_folder(path, names->name, names->n);
    free(names);
    return fd;
}

static int
open_descriptor(int fd, int flags)
{
    int has = fcntl(fd, F_GETFL) & O_ACCMODE;
    int wanted = flags & O_ACCMODE;

    if (has != O_RDWR && wanted != has)
        return -EACCES;
    return sl_result(fcntl(fd, flags & O_CLOEXEC ? F_DUPFD_CLOEXEC : F_DUPFD, 0));
}

static int
proc_open(const char *inside, int flags)
{
    char path[PATH_MAX];
    Found found = find(inside);
    SlText text = { .length = 0 };
    int fd;

    if (found.kind == KIND_NONE)
        return -ENOENT;
    if (found.kind == KIND_DESCRIPTOR)
        return open_descriptor(found.fd, flags);
    if (found.kind == KIND_LINK)
        return flags & O_NOFOLLOW ? -ELOOP : -EACCES;
    if ((flags & O_ACCMODE) != O_RDONLY)
        return found.kind == KIND_FOLDER ? -EISDIR : -EACCES;
    if (found.kind == KIND_FOLDER)
        return open_folder(inside, &found);
    if (flags & O_DIRECTORY)
        return -ENOTDIR;
    found.entry->write(&text, found.process);
    snprintf(path, sizeof path, "/proc%s", inside);
    fd = sl_snapshot_file(path, text.bytes, text.length);
    if (fd >= 0 && flags & O_CLOEXEC)
        fcntl(fd, F_SETFD, FD_CLOEXEC);
    return fd;
}

static int
proc_stat(const char *inside, struct stat *ret_stat)
{
    char path[PATH_MAX];
    Found found = find(inside);

    if (found.kind == KIND_NONE)
        return -ENOENT;
    if (found.kind == KIND_DESCRIPTOR) {
        if (fstat(found.fd, ret_stat) < 0)
            return -errno;
        sl_snapshot_stat(found.fd, ret_stat);
        return 0;
    }
    snprintf(path, sizeof path, "/proc%s", inside);
    sl_tree_stat(ret_stat,
                 found.kind == KIND_FOLDER ? S_IFDIR | 0555
                 : found.kind == KIND_LINK ? S_IFLNK | 0777
                                           : S_IFREG | 0444,
                 path);
    if (found.process) {
        ret_stat->st_uid = found.process->uid;
        ret_stat->st_gid = found.process->gid;
    }
    return 0;
}

const SlTree sl_proc_tree = {
    .prefix = "/proc",
    .open = proc_open,
    .stat = proc_stat,
    .link = proc_link,
    .is_magic = proc_is_magic,
    .has = proc_has,
};
