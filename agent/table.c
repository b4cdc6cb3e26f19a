#include "agent/table.h"

#include "common/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

bool
sl_table_make(SlTable *table, GError **error)
{
    sl_autofd int fd = memfd_create("processes", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    SlSandboxTable *shared;

    if (fd < 0 || ftruncate(fd, sizeof *shared) < 0)
        return sl_fail_errno(error, errno, "making the process table");
    /* A guest that got hold of the descriptor could otherwise take the pages away under us. */
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
        return sl_fail_errno(error, errno, "sealing the process table");
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (shared == MAP_FAILED)
        return sl_fail_errno(error, errno, "mapping the process table");

    shared->magic = SL_SANDBOX_TABLE_MAGIC;
    shared->version = SL_SANDBOX_TABLE_VERSION;
    *table = (SlTable){ .fd = sl_fd_steal(&fd), .shared = shared };
    return true;
}

void
sl_table_clear(SlTable *table)
{
    if (!table->shared)
        return;
    munmap(table->shared, sizeof *table->shared);
    close(table->fd);
    *table = (SlTable){ .fd = -1 };
}

/* Entries are taken from the front: none beyond the number of pids ever given out was used. */
static unsigned
n_used(const SlTable *table)
{
    uint32_t last = table->shared ? (uint32_t)atomic_load(&table->shared->next_pid) : 0;

    return MIN(last, SL_SANDBOX_MAX_PROCESSES);
}

void
sl_table_free_entry(SlTable *table, pid_t host_pid)
{
    for (unsigned i = 0, n = n_used(table); i < n; i++) {
        int32_t expected = host_pid;

        if (atomic_compare_exchange_strong(&table->shared->process[i].host_pid, &expected, 0))
            return;
    }
}

bool
sl_table_read(const SlTable *table, unsigned index, SlSandboxProcess *ret_process)
{
    SlSandboxProcess *entry;
    int32_t host_pid;

    if (index >= n_used(table))
        return false;
    entry = &table->shared->process[index];
    host_pid = atomic_load(&entry->host_pid);
    if (host_pid <= 0 || entry->command_len == 0)
        return false;
    memcpy(ret_process, entry, sizeof *ret_process);
    ret_process->host_pid = host_pid;
    ret_process->command_len = MIN(ret_process->command_len, SL_SANDBOX_COMMAND_MAX);
    return atomic_load(&entry->host_pid) == host_pid;
}

/* A process of the container is a descendant of ours. The table is the guest's to write, so its word is not
 * enough to kill for. */
static bool
descends_from_us(pid_t pid)
{
    for (unsigned depth = 0; depth < SL_SANDBOX_MAX_PROCESSES && pid > 1; depth++) {
        char path[32], text[512];
        const char *end;
        sl_autofd int fd = -1;
        ssize_t n;

        if (pid == getpid())
            return true;
        snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
        if (n <= 0)
            return false;
        text[n] = '\0';
        end = strrchr(text, ')');
        if (!end || sscanf(end, ") %*c %d", &pid) != 1)
            return false;
    }
    return false;
}

static void
kill_children(void)
{
    g_autofree char *path = g_strdup_printf("/proc/self/task/%d/children", (int)getpid());
    g_autofree char *list = NULL;

    if (!g_file_get_contents(path, &list, NULL, NULL))
        return;
    for (char *at = list, *end;; at = end) {
        long pid = strtol(at, &end, 10);

        if (end == at)
            break;
        kill((pid_t)pid, SIGKILL);
    }
}

void
sl_table_kill_all(SlTable *table)
{
    if (table->shared) {
        atomic_store(&table->shared->closing, 1);
        for (unsigned i = 0, n = n_used(table); i < n; i++) {
            int32_t pid = atomic_load(&table->shared->process[i].host_pid);

            if (pid > 1 && descends_from_us(pid))
                kill(pid, SIGKILL);
        }
    }
    kill_children();
}
