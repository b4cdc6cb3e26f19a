#include "sandbox/limits.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "sandbox/abi.h"
#include "sandbox/calls.h"
#include "sandbox/engine.h"
#include "sandbox/process.h"

enum { N_LIMITS = 16, STACK_BYTES = 8 << 20, HOST_FDS = 16 };

static const struct {
    const char *name;
    int resource;
} names[] = {
    { "nofile", RLIMIT_NOFILE }, { "nproc", RLIMIT_NPROC }, { "core", RLIMIT_CORE },
    { "fsize", RLIMIT_FSIZE },   { "stack", RLIMIT_STACK }, { "cpu", RLIMIT_CPU },
    { "data", RLIMIT_DATA },     { "as", RLIMIT_AS },
};

static struct rlimit limits[N_LIMITS];

bool
sl_limits_start(void)
{
    struct rlimit files, stack = { STACK_BYTES, STACK_BYTES }, none = { 0, 0 };

    for (int i = 0; i < N_LIMITS; i++)
        limits[i] = (struct rlimit){ RLIM_INFINITY, RLIM_INFINITY };
    limits[RLIMIT_NOFILE] = (struct rlimit){ SL_GUEST_FDS, SL_GUEST_FDS };
    limits[RLIMIT_STACK] = (struct rlimit){ STACK_BYTES, RLIM_INFINITY };
    limits[RLIMIT_NPROC] = (struct rlimit){ SL_SANDBOX_MAX_PROCESSES, SL_SANDBOX_MAX_PROCESSES };
    limits[RLIMIT_CORE] = none;

    /* The host's own descriptors lie above the guest's. */
    if (getrlimit(RLIMIT_NOFILE, &files) < 0 || files.rlim_max < SL_GUEST_FDS + HOST_FDS)
        return false;
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    /* The guest's calls nest on this process' stack, which must end somewhere. */
    setrlimit(RLIMIT_STACK, &stack);
    setrlimit(RLIMIT_CORE, &none);
    return true;
}

/* The kernel keeps those that mean the same for this process; memory and processes are counted here. */
static int
apply(int resource, const struct rlimit *limit)
{
    switch (resource) {
    case RLIMIT_FSIZE:
    case RLIMIT_CPU:
        return setrlimit(resource, limit);
    case RLIMIT_NPROC:
        sl_process_set_limit(limit->rlim_cur);
        return 0;
    case RLIMIT_DATA:
    case RLIMIT_AS: {
        rlim_t data = resource == RLIMIT_DATA ? limit->rlim_cur : limits[RLIMIT_DATA].rlim_cur;
        rlim_t space = resource == RLIMIT_AS ? limit->rlim_cur : limits[RLIMIT_AS].rlim_cur;

        sl_engine_set_memory_max(data < space ? data : space);
        return 0;
    }
    default:
        return 0;
    }
}

static bool
parse_value(const char **at, rlim_t *ret)
{
    char *end;

    if (strncmp(*at, "unlimited", 9) == 0 || strncmp(*at, "-1", 2) == 0) {
        *ret = RLIM_INFINITY;
        *at += **at == 'u' ? 9 : 2;
        return true;
    }
    if (**at < '0' || **at > '9')
        return false;
    errno = 0;
    *ret = strtoull(*at, &end, 10);
    *at = end;
    return errno == 0;
}

bool
sl_limits_set(const char *text)
{
    size_t length = strcspn(text, "=");
    const char *at = text + length;
    struct rlimit limit;

    if (*at++ != '=' || !parse_value(&at, &limit.rlim_cur) || *at++ != ':' ||
        !parse_value(&at, &limit.rlim_max) || *at || limit.rlim_cur > limit.rlim_max)
        return false;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strlen(names[i].name) != length || strncmp(names[i].name, text, length) != 0)
            continue;
        if (names[i].resource == RLIMIT_NOFILE) {
            /* More descriptors than the guest can have would be a promise we cannot keep. */
            limit.rlim_cur = limit.rlim_cur < SL_GUEST_FDS ? limit.rlim_cur : SL_GUEST_FDS;
            limit.rlim_max = limit.rlim_max < SL_GUEST_FDS ? limit.rlim_max : SL_GUEST_FDS;
        }
        apply(names[i].resource, &limit);
        limits[names[i].resource] = limit;
        return true;
    }
    return false;
}

int
sl_limit_files(void)
{
    return (int)limits[RLIMIT_NOFILE].rlim_cur;
}

int32_t
sl_call_prlimit64(const uint32_t *arg)
{
    uint32_t resource = arg[1];
    struct rlimit limit;
    void *wanted, *before;

    if (arg[0] && arg[0] != (uint32_t)sl_process_self()->pid)
        return -EPERM;
    if (resource >= N_LIMITS)
        return -EINVAL;
    if (!sl_guest_optional(arg[2], sizeof limit, &wanted) ||
        !sl_guest_optional(arg[3], sizeof limit, &before))
        return -EFAULT;
    if (wanted)
        memcpy(&limit, wanted, sizeof limit);
    if (before)
        memcpy(before, &limits[resource], sizeof limit);
    if (!wanted)
        return 0;
    if (limit.rlim_cur > limit.rlim_max)
        return -EINVAL;
    if (limit.rlim_max > limits[resource].rlim_max)
        return -EPERM;
    if (apply((int)resource, &limit) < 0)
        return -errno;
    limits[resource] = limit;
    return 0;
}
