/*
 * System calls and signals. The host cannot interrupt wasm code: it sets a bit, and the guest runs the
 * handler when it leaves a system call or passes a setjmp (which every round of a shell's loop does).
 */
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "syscall.h"

#include "host_calls.h"
#include "runtime.h"

typedef struct KernelAction {
    void (*handler)(int);
    unsigned long flags;
    void (*restorer)(void);
    unsigned mask[2];
} KernelAction;

static KernelAction actions[65];
static volatile unsigned pending[2];

void
sl_signals_start(void)
{
    sl_host_call(SL_HOST_PENDING, (long)pending, 0, 0, 0, 0, 0);
}

static void
run_handler(int number)
{
    KernelAction action = actions[number];
    unsigned blocked[2] = { action.mask[0], action.mask[1] };
    unsigned before[2];

    if (action.handler == SIG_DFL || action.handler == SIG_IGN)
        return;
    if (action.flags & SA_RESETHAND)
        actions[number].handler = SIG_DFL;
    if (!(action.flags & SA_NODEFER))
        blocked[(number - 1) / 32] |= 1u << (number - 1) % 32;

    sl_host_call(SYS_rt_sigprocmask, SIG_BLOCK, (long)blocked, (long)before, 8, 0, 0);
    if (action.flags & SA_SIGINFO) {
        siginfo_t info;

        memset(&info, 0, sizeof info);
        info.si_signo = number;
        ((void (*)(int, siginfo_t *, void *))action.handler)(number, &info, 0);
    } else {
        action.handler(number);
    }
    sl_host_call(SYS_rt_sigprocmask, SIG_SETMASK, (long)before, 0, 8, 0, 0);
}

void
sl_signals_poll(void)
{
    for (int word = 0; word < 2; word++) {
        while (pending[word]) {
            int number = word * 32 + __builtin_ctz(pending[word]) + 1;

            /* The host sets bits at any moment; only it can clear one without losing another. */
            sl_host_call(SL_HOST_TAKE_SIGNAL, number, 0, 0, 0, 0, 0);
            run_handler(number);
        }
    }
}

static long
set_action(long number, const KernelAction *wanted, KernelAction *before)
{
    KernelAction action;
    long result;

    if (number < 1 || number > 64)
        return -EINVAL;
    if (before)
        *before = actions[number];
    if (!wanted)
        return 0;

    action = *wanted;
    result = sl_host_call(SYS_rt_sigaction, number,
                          action.handler == SIG_DFL   ? SL_SIGNAL_DEFAULT
                          : action.handler == SIG_IGN ? SL_SIGNAL_IGNORE
                                                      : SL_SIGNAL_HANDLED,
                          action.flags, 0, 0, 0);
    if (result < 0)
        return result;
    actions[number] = action;
    return 0;
}

long
sl_syscall(long n, long a, long b, long c, long d, long e, long f)
{
    long result;

    switch (n) {
    case SYS_mmap2:
        return sl_mmap(a, b, c, d, e, f);
    case SYS_munmap:
        return sl_munmap(a, b);
    case SYS_mremap:
        return sl_mremap(a, b, c, d);
    case SYS_brk:
    case SYS_mprotect:
    case SYS_madvise:
    case SYS_msync:
        return 0;
    case SYS_rt_sigaction:
        return set_action(a, (const KernelAction *)b, (KernelAction *)c);
    }

    do {
        result = sl_host_call(n, a, b, c, d, e, f);
        if (__builtin_expect(pending[0] | pending[1], 0))
            sl_signals_poll();
    } while (result == SL_RESTART);
    return result;
}
