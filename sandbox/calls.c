#include "sandbox/calls.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>

#include "guest_numbers.h"
#include "sandbox/exec.h"
#include "sandbox/guest/host_calls.h"
#include "sandbox/process.h"
#include "sandbox/signals.h"

static int32_t (*const calls[])(const uint32_t *arg) = {
#define CALL_ENTRY(name) [GUEST_NR_##name] = sl_call_##name,
    SL_CALLS(CALL_ENTRY)
#undef CALL_ENTRY
};

/* What only an administrator of the machine may do: a guest's root is none, and programs know this answer. */
static bool
is_privileged(uint32_t n)
{
    static const uint16_t numbers[] = {
        GUEST_NR_mount,
        GUEST_NR_umount2,
        GUEST_NR_pivot_root,
        GUEST_NR_chroot,
        GUEST_NR_unshare,
        GUEST_NR_setns,
        GUEST_NR_reboot,
        GUEST_NR_swapon,
        GUEST_NR_swapoff,
        GUEST_NR_init_module,
        GUEST_NR_finit_module,
        GUEST_NR_delete_module,
        GUEST_NR_kexec_load,
        GUEST_NR_acct,
        GUEST_NR_syslog,
        GUEST_NR_ptrace,
        GUEST_NR_bpf,
        GUEST_NR_settimeofday_time32,
        GUEST_NR_clock_settime32,
        GUEST_NR_clock_settime64,
        GUEST_NR_adjtimex,
        GUEST_NR_clock_adjtime64,
        GUEST_NR_vhangup,
        GUEST_NR_quotactl,
        GUEST_NR_perf_event_open,
    };

    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        if (numbers[i] == n)
            return true;
    }
    return false;
}

int32_t
sl_call(uint32_t n, const uint32_t *arg)
{
    if (sl_signals_take_ended_children())
        sl_process_reap_ignored();
    if (n < sizeof calls / sizeof *calls)
        return calls[n] ? calls[n](arg) : is_privileged(n) ? -EPERM : -ENOSYS;

    switch (n) {
    case SL_HOST_ARGUMENTS:
        return sl_exec_arguments(arg[0], arg[1]);
    case SL_HOST_PENDING:
        return sl_signals_attach(arg[0]);
    case SL_HOST_TAKE_SIGNAL:
        return sl_signals_take(arg[0]);
    default:
        return -ENOSYS;
    }
}
