/* select and poll: the kernel's, with the guest's times and masks. */
#include <poll.h>
#include <string.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <time.h>

#include "sandbox/abi.h"
#include "sandbox/calls.h"
#include "sandbox/signals.h"

enum { SET_BYTES = SL_GUEST_FDS / 8, MASK_BYTES = 8 };

/* at 0: no timeout. The kernel's copy is ours, as it writes the rest back. */
static int32_t
timeout_from_guest(uint32_t at, bool is_64, struct timespec *to, struct timespec **ret)
{
    void *from;

    if (!sl_guest_optional(at, is_64 ? 16 : 8, &from))
        return -EFAULT;
    *ret = from ? to : NULL;
    if (from && is_64)
        *to = (struct timespec){ ((int64_t *)from)[0], ((int64_t *)from)[1] };
    else if (from)
        *to = (struct timespec){ ((int32_t *)from)[0], ((int32_t *)from)[1] };
    return 0;
}

static int32_t
mask_from_guest(uint32_t at, uint64_t *to, uint64_t **ret)
{
    void *from;

    if (!sl_guest_optional(at, MASK_BYTES, &from))
        return -EFAULT;
    *ret = from ? to : NULL;
    if (from) {
        memcpy(to, from, MASK_BYTES);
        *to = sl_signals_clean_mask(*to);
    }
    return 0;
}

static int32_t
do_select(const uint32_t *arg, bool is_64)
{
    struct timespec time, *timeout;
    uint64_t mask, *set_mask = NULL;
    struct {
        uint64_t *mask;
        size_t size;
    } sixth;
    void *sets[3];
    long n = (int32_t)arg[0] > SL_GUEST_FDS ? SL_GUEST_FDS : (int32_t)arg[0];

    for (int i = 0; i < 3; i++) {
        if (!sl_guest_optional(arg[1 + i], SET_BYTES, &sets[i]))
            return -EFAULT;
    }
    if (timeout_from_guest(arg[4], is_64, &time, &timeout))
        return -EFAULT;
    if (arg[5]) {
        const uint32_t *pair = sl_guest_pointer(arg[5], 8);

        if (!pair || mask_from_guest(pair[0], &mask, &set_mask))
            return -EFAULT;
    }
    sixth.mask = set_mask;
    sixth.size = MASK_BYTES;
    return (int32_t)sl_blocking_call(SYS_pselect6, n, (long)sets[0], (long)sets[1], (long)sets[2],
                                     (long)timeout, (long)&sixth);
}

int32_t
sl_call_pselect6(const uint32_t *arg)
{
    return do_select(arg, false);
}

int32_t
sl_call_pselect6_time64(const uint32_t *arg)
{
    return do_select(arg, true);
}

static int32_t
do_poll(const uint32_t *arg, bool is_64)
{
    struct timespec time, *timeout;
    uint64_t mask, *set_mask;
    struct pollfd *fds;
    void *at;

    if (arg[1] > SL_GUEST_FDS)
        return -EINVAL;
    if (!sl_guest_optional(arg[0], sizeof *fds * (uint64_t)arg[1], &at) ||
        timeout_from_guest(arg[2], is_64, &time, &timeout) || mask_from_guest(arg[3], &mask, &set_mask))
        return -EFAULT;
    fds = at;
    for (uint32_t i = 0; fds && i < arg[1]; i++) {
        if (fds[i].fd >= SL_GUEST_FDS)
            return -EINVAL; /* one of the host's */
    }
    return (int32_t)sl_blocking_call(SYS_ppoll, (long)fds, (long)arg[1], (long)timeout, (long)set_mask,
                                     MASK_BYTES, 0);
}

int32_t
sl_call_ppoll(const uint32_t *arg)
{
    return do_poll(arg, false);
}

int32_t
sl_call_ppoll_time64(const uint32_t *arg)
{
    return do_poll(arg, true);
}
