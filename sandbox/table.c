#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "sandbox/abi.h"
#include "sandbox/process.h"
#include "sandbox/table.h"
#include "sandbox/users.h"

enum { MAX_PID = 1 << 22 }; /* as Linux' pid_max on 64 bits */

static SlSandboxTable *table;
static SlSandboxProcess *self;
static int n_limit = SL_SANDBOX_MAX_PROCESSES;

bool
sl_table_open(int fd)
{
    struct stat status;

    if (fd >= 0 && (fstat(fd, &status) < 0 || status.st_size < (off_t)sizeof *table))
        return false;
    table =
        mmap(NULL, sizeof *table, PROT_READ | PROT_WRITE, MAP_SHARED | (fd < 0 ? MAP_ANONYMOUS : 0), fd, 0);
    if (table == MAP_FAILED)
        return false;
    if (fd < 0) {
        table->magic = SL_SANDBOX_TABLE_MAGIC;
        table->version = SL_SANDBOX_TABLE_VERSION;
    }
    return table->magic == SL_SANDBOX_TABLE_MAGIC && table->version == SL_SANDBOX_TABLE_VERSION;
}

SlSandboxTable *
sl_table(void)
{
    return table;
}

SlSandboxProcess *
sl_process_self(void)
{
    return self;
}

void
sl_process_set_self(SlSandboxProcess *process)
{
    self = process;
}

void
sl_process_set_limit(uint64_t limit)
{
    n_limit = limit < SL_SANDBOX_MAX_PROCESSES ? (int)limit : SL_SANDBOX_MAX_PROCESSES;
}

/* Slots are taken from the front, so none beyond the number of pids ever given out was used. */
static int
slots_used(void)
{
    uint32_t last = (uint32_t)atomic_load(&table->next_pid);

    return last < SL_SANDBOX_MAX_PROCESSES ? (int)last : SL_SANDBOX_MAX_PROCESSES;
}

SlSandboxProcess *
sl_table_next(int *i)
{
    int end = slots_used();

    while (*i < end) {
        SlSandboxProcess *process = &table->process[(*i)++];

        if (atomic_load(&process->host_pid) > 0)
            return process;
    }
    return NULL;
}

SlSandboxProcess *
sl_table_find(int32_t pid)
{
    SlSandboxProcess *process;

    for (int i = 0; (process = sl_table_next(&i));) {
        if (process->pid == pid)
            return process;
    }
    return NULL;
}

SlSandboxProcess *
sl_table_find_host(pid_t host_pid)
{
    SlSandboxProcess *process;

    for (int i = 0; (process = sl_table_next(&i));) {
        if (atomic_load(&process->host_pid) == host_pid)
            return process;
    }
    return NULL;
}

static int32_t
pid_next(void)
{
    for (;;) {
        uint32_t count = (uint32_t)atomic_fetch_add(&table->next_pid, 1) + 1;
        int32_t pid = (int32_t)((count - 1) % MAX_PID) + 1;

        if (count <= MAX_PID || !sl_table_find(pid))
            return pid;
    }
}

static int64_t
realtime_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

SlSandboxProcess *
sl_table_claim(void)
{
    int used = 0;

    for (int i = 0; i < SL_SANDBOX_MAX_PROCESSES && used < n_limit; i++) {
        SlSandboxProcess *process = &table->process[i];
        int32_t free = 0;

        if (!atomic_compare_exchange_strong(&process->host_pid, &free, -1)) {
            used++;
            continue;
        }
        process->pid = pid_next();
        process->started_ms = realtime_ms();
        process->command_len = 0;
        atomic_store(&process->memory_kb, 0);
        return process;
    }
    return NULL;
}

bool
sl_process_enter(void)
{
    self = sl_table_claim();
    if (!self)
        return false;
    self->parent = 0;
    self->group = self->session = self->pid;
    sl_users_publish(self);
    atomic_store(&self->host_pid, getpid());
    return true;
}

void
sl_process_set_command(char *const *argv)
{
    uint32_t length = 0;

    for (; *argv && length < SL_SANDBOX_COMMAND_MAX; argv++) {
        size_t size = strlen(*argv) + 1;

        if (size > SL_SANDBOX_COMMAND_MAX - length)
            size = SL_SANDBOX_COMMAND_MAX - length;
        memcpy(self->command + length, *argv, size);
        length += (uint32_t)size;
    }
    if (length)
        self->command[length - 1] = '\0';
    self->command_len = length;
}

int32_t
sl_process_parent(const SlSandboxProcess *process)
{
    /* The kernel hands an orphan to the first process, or to the supervisor outside, which looks like pid 0.
     */
    if (process->parent > 1 && !sl_table_find(process->parent))
        return 1;
    return process->parent;
}

pid_t
sl_group_to_host(int32_t group)
{
    SlSandboxProcess *process;

    for (int i = 0; (process = sl_table_next(&i));) {
        if (process->group == group)
            return getpgid(atomic_load(&process->host_pid));
    }
    return 0;
}

int32_t
sl_group_from_host(pid_t host_group)
{
    SlSandboxProcess *process = sl_table_find_host(host_group);

    if (process && process->group == process->pid)
        return process->group;
    for (int i = 0; (process = sl_table_next(&i));) {
        if (getpgid(atomic_load(&process->host_pid)) == host_group)
            return process->group;
    }
    return 0;
}
