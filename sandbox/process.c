#include "sandbox/process.h"

#include <sched.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/times.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sandbox/abi.h"
#include "sandbox/calls.h"
#include "sandbox/guest/host_calls.h"
#include "sandbox/net.h"
#include "sandbox/signals.h"
#include "sandbox/table.h"

/* clone() is fork() here: the guest has neither threads nor namespaces. */
int32_t
sl_call_clone(const uint32_t *arg)
{
    SlSandboxProcess *parent = sl_process_self(), *child;
    int32_t starting = -1;
    pid_t host_pid;

    if (atomic_load(&sl_table()->closing))
        return -EAGAIN;
    child = sl_table_claim();
    if (!child)
        return -EAGAIN;
    child->parent = parent->pid;
    child->group = parent->group;
    child->session = parent->session;
    child->uid = parent->uid;
    child->gid = parent->gid;
    memcpy(child->command, parent->command, sizeof child->command);
    child->command_len = parent->command_len;
    atomic_store(&child->memory_kb, atomic_load(&parent->memory_kb));

    sl_signals_hold();
    host_pid = fork();
    if (host_pid == 0) {
        atomic_store(&child->host_pid, getpid());
        sl_process_set_self(child);
    } else if (host_pid > 0) {
        atomic_compare_exchange_strong(&child->host_pid, &starting, host_pid);
    } else {
        int32_t result = -errno;

        atomic_store(&child->host_pid, 0);
        sl_signals_release(false);
        return result;
    }
    sl_signals_release(host_pid == 0);
    return host_pid == 0 ? 0 : child->pid;
}

int32_t
sl_call_exit_group(const uint32_t *arg)
{
    sl_net_close_all();
    _exit((int)(arg[0] & 255));
}

int32_t
sl_call_exit(const uint32_t *arg)
{
    return sl_call_exit_group(arg);
}

/* ---- waiting ---- */

static void
usage_to_guest(GuestUsage *to, const struct rusage *from)
{
    const long *other = &from->ru_maxrss;

    to->user_s = (int32_t)from->ru_utime.tv_sec;
    to->user_us = (int32_t)from->ru_utime.tv_usec;
    to->system_s = (int32_t)from->ru_stime.tv_sec;
    to->system_us = (int32_t)from->ru_stime.tv_usec;
    for (int i = 0; i < 14; i++)
        to->other[i] = (int32_t)other[i];
}

/* The kernel's pid argument of wait4 for the guest's; 0 when there can be no such child. */
static pid_t
wait_target(int32_t pid)
{
    if (pid > 0) {
        const SlSandboxProcess *child = sl_table_find(pid);

        return child && child != sl_process_self() ? atomic_load(&child->host_pid) : 0;
    }
    return pid >= -1 ? pid : -sl_group_to_host(-pid);
}

/* Frees the entry of a child that was reaped, and tells its guest pid. */
static int32_t
child_forget(pid_t host_pid, bool has_ended)
{
    SlSandboxProcess *child = sl_table_find_host(host_pid);
    int32_t pid = child ? child->pid : 0;

    /* The number is free for others only now, and a reuse within this moment would need the whole pid space.
     */
    if (child && has_ended)
        atomic_store(&child->host_pid, 0);
    return pid;
}

void
sl_process_reap_ignored(void)
{
    pid_t host_pid;

    while ((host_pid = waitpid(-1, NULL, WNOHANG)) > 0)
        child_forget(host_pid, true);
}

int32_t
sl_call_wait4(const uint32_t *arg)
{
    int32_t wanted = (int32_t)arg[0];
    pid_t target = wait_target(wanted);
    struct rusage usage;
    void *to_status, *to_usage;
    int status = 0;

    if (!sl_guest_optional(arg[1], 4, &to_status) ||
        !sl_guest_optional(arg[3], sizeof(GuestUsage), &to_usage))
        return -EFAULT;
    if (target == 0 && wanted != 0)
        return -ECHILD;
    for (;;) {
        long host_pid = sl_blocking_call(SYS_wait4, target, (long)&status, (long)arg[2], (long)&usage, 0, 0);
        bool has_ended = WIFEXITED(status) || WIFSIGNALED(status);
        int32_t pid;

        if (host_pid <= 0)
            return (int32_t)host_pid;
        pid = child_forget((pid_t)host_pid, has_ended);
        if (!pid || (has_ended && sl_signals_ignore_children()))
            continue; /* who ignores SIGCHLD learns only that there are no children left */
        if (to_status)
            memcpy(to_status, &status, sizeof status);
        if (to_usage)
            usage_to_guest(to_usage, &usage);
        return pid;
    }
}

int32_t
sl_call_getrusage(const uint32_t *arg)
{
    GuestUsage *to = sl_guest_pointer(arg[1], sizeof *to);
    struct rusage usage;

    if (!to)
        return -EFAULT;
    if (getrusage((int)arg[0], &usage) < 0)
        return -errno;
    usage_to_guest(to, &usage);
    return 0;
}

int32_t
sl_call_times(const uint32_t *arg)
{
    struct tms used;
    clock_t now = times(&used);
    int32_t *to;
    void *at;

    if (!sl_guest_optional(arg[0], 16, &at))
        return -EFAULT;
    to = at;
    if (to) {
        to[0] = (int32_t)used.tms_utime;
        to[1] = (int32_t)used.tms_stime;
        to[2] = (int32_t)used.tms_cutime;
        to[3] = (int32_t)used.tms_cstime;
    }
    return (int32_t)(now & 0x7fffffff);
}

/* ---- numbers ---- */

int32_t
sl_call_getpid(const uint32_t *arg)
{
    return sl_process_self()->pid;
}

int32_t
sl_call_gettid(const uint32_t *arg)
{
    return sl_process_self()->pid;
}

int32_t
sl_call_set_tid_address(const uint32_t *arg)
{
    return sl_process_self()->pid;
}

int32_t
sl_call_getppid(const uint32_t *arg)
{
    return sl_process_parent(sl_process_self());
}

static SlSandboxProcess *
process_or_self(int32_t pid)
{
    return pid == 0 ? sl_process_self() : sl_table_find(pid);
}

int32_t
sl_call_getpgid(const uint32_t *arg)
{
    const SlSandboxProcess *process = process_or_self((int32_t)arg[0]);

    return process ? process->group : -ESRCH;
}

int32_t
sl_call_getsid(const uint32_t *arg)
{
    const SlSandboxProcess *process = process_or_self((int32_t)arg[0]);

    return process ? process->session : -ESRCH;
}

int32_t
sl_call_setpgid(const uint32_t *arg)
{
    SlSandboxProcess *process = process_or_self((int32_t)arg[0]);
    int32_t group = (int32_t)arg[1];
    pid_t host_pid, host_group;

    if (!process)
        return -ESRCH;
    if (group < 0)
        return -EINVAL;
    if (group == 0)
        group = process->pid;
    host_pid = atomic_load(&process->host_pid);
    host_group = group == process->pid ? host_pid : sl_group_to_host(group);
    if (host_group == 0)
        return -EPERM;
    if (setpgid(host_pid, host_group) < 0)
        return -errno;
    process->group = group;
    return 0;
}

int32_t
sl_call_setsid(const uint32_t *arg)
{
    SlSandboxProcess *self = sl_process_self();

    if (setsid() < 0)
        return -errno;
    self->session = self->group = self->pid;
    return self->pid;
}

int32_t
sl_call_setpriority(const uint32_t *arg)
{
    const SlSandboxProcess *process = process_or_self((int32_t)arg[1]);

    if (arg[0] != PRIO_PROCESS || !process)
        return -ESRCH;
    return sl_result(setpriority(PRIO_PROCESS, (id_t)atomic_load(&process->host_pid), (int)arg[2]));
}

int32_t
sl_call_getpriority(const uint32_t *arg)
{
    const SlSandboxProcess *process = process_or_self((int32_t)arg[1]);

    if (arg[0] != PRIO_PROCESS || !process)
        return -ESRCH;
    return 20 - getpriority(PRIO_PROCESS, (id_t)atomic_load(&process->host_pid)); /* as the raw system call */
}

/* Names, death signals and the like have no effect that a guest could see; none may reach the host's process.
 */
int32_t
sl_call_prctl(const uint32_t *arg)
{
    return arg[0] == PR_SET_NAME || arg[0] == PR_SET_DUMPABLE || arg[0] == PR_SET_PDEATHSIG ? 0 : -EINVAL;
}
