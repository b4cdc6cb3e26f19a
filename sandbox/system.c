/* Clocks, names, random numbers: calls that concern neither files nor processes. */
#include "sandbox/system.h"

#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>

#include "sandbox/abi.h"
#include "sandbox/calls.h"
#include "sandbox/guest/host_calls.h"
#include "sandbox/process.h"
#include "sandbox/signals.h"

enum { UTS_FIELD = 65, PAGE = 4096 };

typedef struct GuestSysinfo {
    uint32_t uptime, loads[3], total, free, shared, buffers, total_swap, free_swap;
    uint16_t processes, pad;
    uint32_t total_high, free_high, unit;
} GuestSysinfo;

static char hostname[UTS_FIELD] = "sandbox";

bool
sl_hostname_set(const char *name)
{
    size_t length = strlen(name);

    if (length == 0 || length >= sizeof hostname || strchr(name, '\n') || strchr(name, '/'))
        return false;
    memcpy(hostname, name, length + 1);
    return true;
}

const char *
sl_hostname(void)
{
    return hostname;
}

int32_t
sl_call_uname(const uint32_t *arg)
{
    const char *const fields[6] = { "Linux",          hostname,         SL_GUEST_RELEASE,
                                    SL_GUEST_VERSION, SL_GUEST_MACHINE, "(none)" };
    char *to = sl_guest_pointer(arg[0], 6 * UTS_FIELD);

    if (!to)
        return -EFAULT;
    memset(to, 0, 6 * UTS_FIELD);
    for (int i = 0; i < 6; i++)
        memcpy(to + i * UTS_FIELD, fields[i], strlen(fields[i]));
    return 0;
}

int32_t
sl_call_sethostname(const uint32_t *arg)
{
    return -EPERM;
}

int32_t
sl_call_setdomainname(const uint32_t *arg)
{
    return -EPERM;
}

int32_t
sl_call_sysinfo(const uint32_t *arg)
{
    GuestSysinfo *to = sl_guest_pointer(arg[0], sizeof *to);
    struct sysinfo from;
    int processes = 0;

    if (!to)
        return -EFAULT;
    if (sysinfo(&from) < 0)
        return -errno;
    for (int i = 0; sl_table_next(&i);)
        processes++;
    *to = (GuestSysinfo){
        .uptime = (uint32_t)from.uptime,
        .loads = { (uint32_t)from.loads[0], (uint32_t)from.loads[1], (uint32_t)from.loads[2] },
        .total = (uint32_t)(from.totalram * from.mem_unit / PAGE),
        .free = (uint32_t)(from.freeram * from.mem_unit / PAGE),
        .shared = (uint32_t)(from.sharedram * from.mem_unit / PAGE),
        .buffers = (uint32_t)(from.bufferram * from.mem_unit / PAGE),
        .total_swap = (uint32_t)(from.totalswap * from.mem_unit / PAGE),
        .free_swap = (uint32_t)(from.freeswap * from.mem_unit / PAGE),
        .processes = (uint16_t)processes,
        .unit = PAGE,
    };
    return 0;
}

int32_t
sl_call_clock_gettime64(const uint32_t *arg)
{
    void *to = sl_guest_pointer(arg[1], 16);
    struct timespec now;

    if (!to)
        return -EFAULT;
    if ((int32_t)arg[0] < 0)
        return -EINVAL; /* another process' clock, by its host pid */
    if (clock_gettime((clockid_t)arg[0], &now) < 0)
        return -errno;
    memcpy(to, &now, 16);
    return 0;
}

int32_t
sl_call_clock_getres_time64(const uint32_t *arg)
{
    void *to;
    struct timespec resolution;

    if (!sl_guest_optional(arg[1], 16, &to))
        return -EFAULT;
    if ((int32_t)arg[0] < 0 || clock_getres((clockid_t)arg[0], &resolution) < 0)
        return -EINVAL;
    if (to)
        memcpy(to, &resolution, 16);
    return 0;
}

int32_t
sl_call_nanosleep(const uint32_t *arg)
{
    const int32_t *from = sl_guest_pointer(arg[0], 8);
    struct timespec wanted, rest = { 0, 0 };
    void *at;
    long result;

    if (!from || !sl_guest_optional(arg[1], 8, &at))
        return -EFAULT;
    wanted = (struct timespec){ from[0], from[1] };
    result = sl_blocking_call(SYS_nanosleep, (long)&wanted, (long)&rest, 0, 0, 0, 0);
    if (at && result == -EINTR) {
        const int32_t left[2] = { (int32_t)rest.tv_sec, (int32_t)rest.tv_nsec };

        memcpy(at, left, sizeof left);
    }
    return (int32_t)result;
}

int32_t
sl_call_clock_nanosleep_time64(const uint32_t *arg)
{
    const void *from = sl_guest_pointer(arg[2], 16);
    struct timespec wanted, rest = { 0, 0 };
    void *at;
    long result;

    if (!from || !sl_guest_optional(arg[3], 16, &at))
        return -EFAULT;
    if ((int32_t)arg[0] < 0)
        return -EINVAL;
    memcpy(&wanted, from, 16);
    result =
        sl_blocking_call(SYS_clock_nanosleep, (long)arg[0], (long)arg[1], (long)&wanted, (long)&rest, 0, 0);
    if (at && result == -EINTR)
        memcpy(at, &rest, 16);
    return (int32_t)result;
}

int32_t
sl_call_getrandom(const uint32_t *arg)
{
    void *to = sl_guest_pointer(arg[0], arg[1]);

    if (!to)
        return arg[1] ? -EFAULT : 0;
    return sl_result(getrandom(to, arg[1], arg[2]));
}

int32_t
sl_call_sched_yield(const uint32_t *arg)
{
    return sl_result(sched_yield());
}

int32_t
sl_call_sched_getaffinity(const uint32_t *arg)
{
    uint8_t *to = sl_guest_pointer(arg[2], arg[1]);
    cpu_set_t set;

    if (!to)
        return -EFAULT;
    if (arg[1] < 8)
        return -EINVAL;
    if (sched_getaffinity(0, sizeof set, &set) < 0)
        return -errno;
    memset(to, 0, arg[1]);
    memcpy(to, &set, 8);
    return 8;
}

/* One thread: nobody to wake, and musl waits for nobody. */
int32_t
sl_call_futex(const uint32_t *arg)
{
    return 0;
}

int32_t
sl_call_futex_time64(const uint32_t *arg)
{
    return 0;
}
