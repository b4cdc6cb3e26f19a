#include "sandbox/calls.h"

#include <errno.h>

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

int32_t
sl_call(uint32_t n, const uint32_t *arg)
{
    if (sl_signals_take_ended_children())
        sl_process_reap_ignored();
    if (n < sizeof calls / sizeof *calls)
        return calls[n] ? calls[n](arg) : -ENOSYS;

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
