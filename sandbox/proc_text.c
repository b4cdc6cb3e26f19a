#include "sandbox/proc_text.h"

#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>

#include "sandbox/process.h"
#include "sandbox/signals.h"
#include "sandbox/system.h"
#include "sandbox/trees.h"

enum { TICKS = 100, COMM_MAX = 15, PAGE_KB = 4, PTS_0 = 136 << 8 };

static const struct {
    const char *device, *folder, *type, *options;
} mounts[] = {
    { "overlay", "/", "overlay", "rw,relatime" },
    { "proc", "/proc", "proc", "rw,nosuid,nodev,noexec,relatime" },
    { "tmpfs", "/dev", "tmpfs", "rw,nosuid" },
    { "devpts", "/dev/pts", "devpts", "rw,nosuid,noexec,relatime" },
};

static void
put(SlText *to, const char *format, ...)
{
    size_t room = sizeof to->bytes - to->length;
    va_list arguments;
    int length;

    va_start(arguments, format);
    length = vsnprintf(to->bytes + to->length, room, format, arguments);
    va_end(arguments);
    if (length > 0)
        to->length += (size_t)length < room ? (size_t)length : room - 1;
}

/* ---- the machine ---- */

static int
n_cpus(void)
{
    cpu_set_t set;

    return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
}

static double
uptime_s(void)
{
    struct timespec now;

    clock_gettime(CLOCK_BOOTTIME, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* CPU time of any process of ours, user and system together: the kernel's clock of a process needs no right.
 */
static int64_t
cpu_ticks(const SlSandboxProcess *process)
{
    clockid_t clock = (clockid_t)(~(unsigned)atomic_load(&process->host_pid) << 3 | 2);
    struct timespec used;

    if (clock_gettime(clock, &used) < 0)
        return 0;
    return (int64_t)used.tv_sec * TICKS + used.tv_nsec / (1000000000 / TICKS);
}

void
sl_proc_cpuinfo(SlText *to, const SlSandboxProcess *process)
{
    for (int i = 0, n = n_cpus(); i < n; i++)
        put(to, "processor\t: %d\nvendor_id\t: sockerless\nmodel name\t: " SL_GUEST_MACHINE "\n\n", i);
}

void
sl_proc_filesystems(SlText *to, const SlSandboxProcess *process)
{
    put(to, "nodev\tproc\nnodev\ttmpfs\nnodev\tdevpts\nnodev\toverlay\n");
}

static int
count_processes(int32_t *ret_last)
{
    SlSandboxProcess *process;
    int n = 0;

    *ret_last = 0;
    for (int i = 0; (process = sl_table_next(&i)); n++)
        *ret_last = process->pid > *ret_last ? process->pid : *ret_last;
    return n;
}

void
sl_proc_loadavg(SlText *to, const SlSandboxProcess *process)
{
    struct sysinfo info;
    int32_t last;
    int n = count_processes(&last);

    if (sysinfo(&info) < 0)
        memset(&info, 0, sizeof info);
    put(to, "%.2f %.2f %.2f 1/%d %d\n", (double)info.loads[0] / 65536, (double)info.loads[1] / 65536,
        (double)info.loads[2] / 65536, n, last);
}

void
sl_proc_meminfo(SlText *to, const SlSandboxProcess *process)
{
    struct sysinfo info;
    unsigned long long unit;

    if (sysinfo(&info) < 0)
        memset(&info, 0, sizeof info);
    unit = info.mem_unit;
    put(to, "MemTotal:       %8llu kB\n", info.totalram * unit / 1024);
    put(to, "MemFree:        %8llu kB\n", info.freeram * unit / 1024);
    put(to, "MemAvailable:   %8llu kB\n", (info.freeram + info.bufferram) * unit / 1024);
    put(to, "Buffers:        %8llu kB\n", info.bufferram * unit / 1024);
    put(to, "Cached:         %8llu kB\n", 0ull);
    put(to, "Shmem:          %8llu kB\n", info.sharedram * unit / 1024);
    put(to, "SwapTotal:      %8llu kB\n", info.totalswap * unit / 1024);
    put(to, "SwapFree:       %8llu kB\n", info.freeswap * unit / 1024);
    put(to, "Slab:           %8llu kB\n", 0ull);
    put(to, "SReclaimable:   %8llu kB\n", 0ull);
}

/* The container's own use of the processors since the machine's start: what others use is not its to see. */
void
sl_proc_stat(SlText *to, const SlSandboxProcess *process)
{
    int64_t used = 0, total = (int64_t)(uptime_s() * TICKS) * n_cpus();
    SlSandboxProcess *each;
    int32_t last;
    int n = n_cpus();

    for (int i = 0; (each = sl_table_next(&i));)
        used += cpu_ticks(each);
    put(to, "cpu  %lld 0 0 %lld 0 0 0 0 0 0\n", (long long)used, (long long)(total - used));
    for (int i = 0; i < n; i++)
        put(to, "cpu%d %lld 0 0 %lld 0 0 0 0 0 0\n", i, (long long)used / n, (long long)(total - used) / n);
    put(to, "intr 0\nctxt 0\nbtime %lld\n", (long long)(time(NULL) - (time_t)uptime_s()));
    put(to, "processes %d\nprocs_running 1\nprocs_blocked 0\n", count_processes(&last));
}

void
sl_proc_uptime(SlText *to, const SlSandboxProcess *process)
{
    put(to, "%.2f %.2f\n", uptime_s(), uptime_s() * n_cpus());
}

void
sl_proc_version(SlText *to, const SlSandboxProcess *process)
{
    put(to, "Linux version " SL_GUEST_RELEASE " (sockerless) " SL_GUEST_VERSION "\n");
}

void
sl_proc_hostname(SlText *to, const SlSandboxProcess *process)
{
    put(to, "%s\n", sl_hostname());
}

void
sl_proc_osrelease(SlText *to, const SlSandboxProcess *process)
{
    put(to, SL_GUEST_RELEASE "\n");
}

void
sl_proc_ostype(SlText *to, const SlSandboxProcess *process)
{
    put(to, "Linux\n");
}

void
sl_proc_pid_max(SlText *to, const SlSandboxProcess *process)
{
    put(to, "%d\n", 1 << 22);
}

/* ---- one process ---- */

/* Z: ended, not yet waited for. The kernel says no more without its own /proc: others sleep as far as we
 * know. */
static char
state(const SlSandboxProcess *process)
{
    struct pollfd ended = { .events = POLLIN };
    char letter = 'S';

    if (process == sl_process_self())
        return 'R';
    ended.fd = (int)syscall(SYS_pidfd_open, atomic_load(&process->host_pid), 0);
    if (ended.fd < 0)
        return letter;
    if (poll(&ended, 1, 0) > 0)
        letter = 'Z';
    close(ended.fd);
    return letter;
}

static void
put_comm(SlText *to, const SlSandboxProcess *process)
{
    char first[SL_SANDBOX_COMMAND_MAX];
    uint32_t length = process->command_len < sizeof first ? process->command_len : sizeof first - 1;
    const char *name;

    memcpy(first, process->command, length);
    first[length] = '\0';
    name = strrchr(first, '/');
    name = name ? name + 1 : first;
    put(to, "%.*s", COMM_MAX, name + (*name == '-'));
}

void
sl_proc_pid_cmdline(SlText *to, const SlSandboxProcess *process)
{
    uint32_t length =
        process->command_len < SL_SANDBOX_COMMAND_MAX ? process->command_len : SL_SANDBOX_COMMAND_MAX;

    memcpy(to->bytes, process->command, length);
    to->length = length;
}

void
sl_proc_pid_comm(SlText *to, const SlSandboxProcess *process)
{
    put_comm(to, process);
    put(to, "\n");
}

void
sl_proc_pid_mounts(SlText *to, const SlSandboxProcess *process)
{
    for (size_t i = 0; i < sizeof mounts / sizeof *mounts; i++)
        put(to, "%s %s %s %s 0 0\n", mounts[i].device, mounts[i].folder, mounts[i].type, mounts[i].options);
}

void
sl_proc_pid_mountinfo(SlText *to, const SlSandboxProcess *process)
{
    for (size_t i = 0; i < sizeof mounts / sizeof *mounts; i++)
        put(to, "%zu %d 0:%zu / %s %s - %s %s rw\n", i + 20, i ? 20 : 1, i + 20, mounts[i].folder,
            mounts[i].options, mounts[i].type, mounts[i].device);
}

void
sl_proc_pid_stat(SlText *to, const SlSandboxProcess *process)
{
    bool has_terminal = sl_dev_has_terminal() && process->session == sl_process_self()->session;
    unsigned long memory_kb = atomic_load(&process->memory_kb);
    int64_t boot_ms = (int64_t)time(NULL) * 1000 - (int64_t)(uptime_s() * 1000);

    put(to, "%d (", process->pid);
    put_comm(to, process);
    put(to, ") %c %d %d %d %d %d 0 0 0 0 0 %lld 0 0 0 ", state(process), sl_process_parent(process),
        process->group, process->session, has_terminal ? PTS_0 : 0, has_terminal ? process->group : -1,
        (long long)cpu_ticks(process));
    put(to,
        "20 %d 1 0 %lld %lu %lu 18446744073709551615 0 0 0 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 0 0 0 0 0 0 0 "
        "0\n",
        getpriority(PRIO_PROCESS, (id_t)atomic_load(&process->host_pid)),
        (long long)((process->started_ms - boot_ms) / (1000 / TICKS)), memory_kb * 1024, memory_kb / PAGE_KB);
}

void
sl_proc_pid_statm(SlText *to, const SlSandboxProcess *process)
{
    unsigned long pages = atomic_load(&process->memory_kb) / PAGE_KB;

    put(to, "%lu %lu 0 0 0 %lu 0\n", pages, pages, pages);
}

void
sl_proc_pid_status(SlText *to, const SlSandboxProcess *process)
{
    static const struct {
        char letter;
        const char *words;
    } states[] = { { 'R', "R (running)" }, { 'S', "S (sleeping)" }, { 'Z', "Z (zombie)" } };
    char letter = state(process);
    unsigned long memory_kb = atomic_load(&process->memory_kb);

    put(to, "Name:\t");
    put_comm(to, process);
    for (size_t i = 0; i < sizeof states / sizeof *states; i++) {
        if (states[i].letter == letter)
            put(to, "\nState:\t%s\n", states[i].words);
    }
    put(to, "Tgid:\t%d\nPid:\t%d\nPPid:\t%d\nTracerPid:\t0\n", process->pid, process->pid,
        sl_process_parent(process));
    put(to, "Uid:\t%u\t%u\t%u\t%u\n", process->uid, process->uid, process->uid, process->uid);
    put(to, "Gid:\t%u\t%u\t%u\t%u\n", process->gid, process->gid, process->gid, process->gid);
    put(to, "VmSize:\t%8lu kB\nVmRSS:\t%8lu kB\nThreads:\t1\n", memory_kb, memory_kb);
    if (process == sl_process_self()) {
        uint64_t ignored, handled;

        sl_signals_masks(&ignored, &handled);
        put(to, "SigIgn:\t%016llx\nSigCgt:\t%016llx\n", (unsigned long long)ignored,
            (unsigned long long)handled);
    }
    put(to, "NoNewPrivs:\t1\nSeccomp:\t2\n");
}
