#include "sandbox/signals.h"

#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>

#include "sandbox/abi.h"
#include "sandbox/calls.h"
#include "sandbox/guest/host_calls.h"
#include "sandbox/process.h"

enum { MAX_SIGNAL = 64 };

/* Asked by sl_blocking_call in assembly, set by the handler. */
extern volatile int sl_signal_waits;
volatile int sl_signal_waits;

static volatile sig_atomic_t children_ended; /* while the guest ignores SIGCHLD */
static _Atomic uint32_t *volatile pending;   /* the guest's two words, NULL while no program runs */
static uint8_t disposition[MAX_SIGNAL + 1];  /* SL_SIGNAL_…, as the guest set it */
static bool discards_children;               /* SA_NOCLDWAIT */
static sigset_t held;

/*
 * The handler moves a thread that stands anywhere between the test and the end of the system call's
 * instruction to the exit: then the call has not begun, or the kernel is about to start it again.
 */
#ifdef __x86_64__
__asm__(".text\n"
        ".globl sl_blocking_call\n"
        ".type sl_blocking_call, @function\n"
        "sl_blocking_call:\n"
        "    mov %rdi, %rax\n"
        "    mov %rsi, %rdi\n"
        "    mov %rdx, %rsi\n"
        "    mov %rcx, %rdx\n"
        "    mov %r8, %r10\n"
        "    mov %r9, %r8\n"
        "    mov 8(%rsp), %r9\n"
        "sl_blocking_call_begin:\n"
        "    cmpl $0, sl_signal_waits(%rip)\n"
        "    jne sl_blocking_call_leave\n"
        "    syscall\n"
        "sl_blocking_call_end:\n"
        "    ret\n"
        "sl_blocking_call_leave:\n"
        "    mov $-512, %rax\n"
        "    ret\n"
        ".size sl_blocking_call, .-sl_blocking_call\n");
_Static_assert(SL_RESTART == -512, "sl_blocking_call returns SL_RESTART");
#else
#error "sl_blocking_call is written for x86-64 only"
#endif

extern const char sl_blocking_call_begin[], sl_blocking_call_end[], sl_blocking_call_leave[];

static void
on_signal(int number, siginfo_t *info, void *context)
{
    greg_t *pc = &((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];

    if (!pending)
        return;
    atomic_fetch_or(&pending[(number - 1) / 32], 1u << (number - 1) % 32);
    sl_signal_waits = 1;
    if (*pc >= (greg_t)sl_blocking_call_begin && *pc < (greg_t)sl_blocking_call_end)
        *pc = (greg_t)sl_blocking_call_leave;
}

static void
on_ignored_child(int number)
{
    children_ended = 1;
}

static bool
is_engines(int number)
{
    return number == SIGSEGV || number == SIGBUS;
}

/* By default the signal does nothing or goes on. */
static bool
is_harmless(int number)
{
    return number == SIGCHLD || number == SIGURG || number == SIGWINCH || number == SIGCONT;
}

static void
apply(int number, uint32_t flags)
{
    struct sigaction action = { .sa_flags = (int)(flags & (SA_RESTART | SA_NOCLDSTOP)) };

    if (number == SIGCHLD && disposition[number] != SL_SIGNAL_HANDLED && sl_signals_ignore_children()) {
        /* Were the kernel to reap, the table would keep numbers that belong to nobody or, later, to somebody
         * else. */
        action.sa_handler = on_ignored_child;
        action.sa_flags = SA_RESTART | SA_NOCLDSTOP;
    } else if (disposition[number] == SL_SIGNAL_HANDLED) {
        action.sa_sigaction = on_signal;
        action.sa_flags |= SA_SIGINFO;
    } else if (disposition[number] == SL_SIGNAL_IGNORE || (sl_process_is_first() && !is_harmless(number))) {
        action.sa_handler = SIG_IGN;
    } else {
        action.sa_handler = SIG_DFL;
    }
    sigaction(number, &action, NULL);
}

static void
apply_defaults(void)
{
    for (int number = 1; number <= MAX_SIGNAL; number++) {
        if (!is_engines(number) && number != SIGKILL && number != SIGSTOP &&
            disposition[number] == SL_SIGNAL_DEFAULT)
            apply(number, 0);
    }
}

void
sl_signals_start(void)
{
    sigset_t none;

    apply_defaults();
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

bool
sl_signals_ignore_children(void)
{
    return disposition[SIGCHLD] == SL_SIGNAL_IGNORE || discards_children;
}

bool
sl_signals_take_ended_children(void)
{
    if (!children_ended)
        return false;
    children_ended = 0;
    return true;
}

int32_t
sl_signals_attach(uint32_t at)
{
    void *words = sl_guest_pointer(at, 8);

    if (!words || at % 4)
        return -EFAULT;
    pending = words;
    return 0;
}

int32_t
sl_signals_take(uint32_t number)
{
    if (number < 1 || number > MAX_SIGNAL || !pending)
        return -EINVAL;
    /* First the flag, then the bit, then look: a signal in between sets both again. */
    sl_signal_waits = 0;
    atomic_fetch_and(&pending[(number - 1) / 32], ~(1u << (number - 1) % 32));
    if (pending[0] | pending[1])
        sl_signal_waits = 1;
    return 0;
}

bool
sl_signals_pending(void)
{
    return sl_signal_waits;
}

void
sl_signals_hold(void)
{
    sigset_t all;

    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &held);
}

void
sl_signals_release(bool in_child)
{
    if (in_child) {
        if (pending) {
            atomic_store(&pending[0], 0);
            atomic_store(&pending[1], 0);
        }
        sl_signal_waits = 0;
        children_ended = 0;
        if (sl_process_self()->parent == 1) /* the first process' protection is not inherited */
            apply_defaults();
    }
    sigprocmask(SIG_SETMASK, &held, NULL);
}

void
sl_signals_exec(void)
{
    pending = NULL;
    sl_signal_waits = 0;
    discards_children = false;
    for (int number = 1; number <= MAX_SIGNAL; number++) {
        if (disposition[number] == SL_SIGNAL_HANDLED) {
            disposition[number] = SL_SIGNAL_DEFAULT;
            apply(number, 0);
        }
    }
}

void
sl_signals_masks(uint64_t *ret_ignored, uint64_t *ret_handled)
{
    *ret_ignored = *ret_handled = 0;
    for (int number = 1; number <= MAX_SIGNAL; number++) {
        uint64_t bit = UINT64_C(1) << (number - 1);

        if (disposition[number] == SL_SIGNAL_IGNORE)
            *ret_ignored |= bit;
        else if (disposition[number] == SL_SIGNAL_HANDLED)
            *ret_handled |= bit;
    }
}

uint64_t
sl_signals_clean_mask(uint64_t mask)
{
    return mask & ~(UINT64_C(1) << (SIGSEGV - 1) | UINT64_C(1) << (SIGBUS - 1));
}

static sigset_t
mask_to_host(uint64_t guest)
{
    uint64_t mask = sl_signals_clean_mask(guest);
    sigset_t set;

    sigemptyset(&set);
    memcpy(&set, &mask, sizeof mask);
    return set;
}

/* ---- calls ---- */

int32_t
sl_call_rt_sigaction(const uint32_t *arg)
{
    uint32_t number = arg[0], wanted = arg[1], flags = arg[2];

    if (number < 1 || number > MAX_SIGNAL || number == SIGKILL || number == SIGSTOP)
        return -EINVAL;
    if (wanted > SL_SIGNAL_HANDLED)
        return -EINVAL;
    if (is_engines((int)number) || number == 32 || number == 33)
        return 0; /* the engine's, and the C library's */
    disposition[number] = (uint8_t)wanted;
    if (number == SIGCHLD)
        discards_children = flags & SA_NOCLDWAIT;
    apply((int)number, flags);
    return 0;
}

int32_t
sl_call_rt_sigprocmask(const uint32_t *arg)
{
    void *wanted, *before;
    sigset_t set, old;
    uint64_t mask;

    if (!sl_guest_optional(arg[1], 8, &wanted) || !sl_guest_optional(arg[2], 8, &before))
        return -EFAULT;
    if (wanted) {
        memcpy(&mask, wanted, sizeof mask);
        set = mask_to_host(mask);
    }
    if (sigprocmask((int)arg[0], wanted ? &set : NULL, &old) < 0)
        return -errno;
    if (before)
        memcpy(before, &old, 8);
    return 0;
}

int32_t
sl_call_rt_sigpending(const uint32_t *arg)
{
    void *to = sl_guest_pointer(arg[0], 8);
    sigset_t set;

    if (!to)
        return -EFAULT;
    sigpending(&set);
    memcpy(to, &set, 8);
    return 0;
}

int32_t
sl_call_rt_sigsuspend(const uint32_t *arg)
{
    void *from = sl_guest_pointer(arg[0], 8);
    uint64_t mask;

    if (!from)
        return -EFAULT;
    memcpy(&mask, from, sizeof mask);
    mask = sl_signals_clean_mask(mask);
    return (int32_t)sl_blocking_call(SYS_rt_sigsuspend, (long)&mask, 8, 0, 0, 0, 0);
}

/* A signal from within to the first process does what a handler says, and nothing else. */
static int32_t
send(SlSandboxProcess *target, int number)
{
    int host_pid = atomic_load(&target->host_pid);

    if (host_pid <= 0)
        return -ESRCH;
    if (target->pid == 1 && (number == SIGKILL || number == SIGSTOP))
        return 0;
    return sl_result(kill(host_pid, number));
}

/* group 0: everybody but the first process and the caller, as kill(-1) wants it. The caller comes last: it
 * may die. */
static int32_t
send_to_group(int32_t group, int number)
{
    SlSandboxProcess *self = sl_process_self(), *target;
    int32_t result, denied = 0;
    bool found = false, self_too = false;

    for (int i = 0; (target = sl_table_next(&i));) {
        if (group ? target->group != group : target == self || target->pid == 1)
            continue;
        if (target == self) {
            self_too = true;
            continue;
        }
        result = send(target, number);
        found = found || result == 0;
        denied = result == -EPERM ? result : denied;
    }
    if (self_too)
        return send(self, number);
    return found ? 0 : denied ? denied : -ESRCH;
}

int32_t
sl_call_kill(const uint32_t *arg)
{
    int32_t pid = (int32_t)arg[0];
    int number = (int)arg[1];
    SlSandboxProcess *target;

    if (number < 0 || number > MAX_SIGNAL || pid == INT32_MIN)
        return number < 0 || number > MAX_SIGNAL ? -EINVAL : -ESRCH;
    if (pid == -1)
        return send_to_group(0, number);
    if (pid <= 0)
        return send_to_group(pid == 0 ? sl_process_self()->group : -pid, number);
    target = sl_table_find(pid);
    return target ? send(target, number) : -ESRCH;
}

int32_t
sl_call_tkill(const uint32_t *arg)
{
    return (int32_t)arg[0] > 0 ? sl_call_kill(arg) : -EINVAL;
}

int32_t
sl_call_tgkill(const uint32_t *arg)
{
    return arg[0] == arg[1] ? sl_call_tkill(arg + 1) : -ESRCH;
}

static void
interval_to_guest(int32_t *to, const struct itimerval *from)
{
    to[0] = (int32_t)from->it_interval.tv_sec;
    to[1] = (int32_t)from->it_interval.tv_usec;
    to[2] = (int32_t)from->it_value.tv_sec;
    to[3] = (int32_t)from->it_value.tv_usec;
}

int32_t
sl_call_getitimer(const uint32_t *arg)
{
    void *to = sl_guest_pointer(arg[1], 16);
    struct itimerval value;

    if (!to)
        return -EFAULT;
    if (getitimer((int)arg[0], &value) < 0)
        return -errno;
    interval_to_guest(to, &value);
    return 0;
}

int32_t
sl_call_setitimer(const uint32_t *arg)
{
    const int32_t *from = sl_guest_pointer(arg[1], 16);
    struct itimerval value, old;
    void *to;

    if (!from || !sl_guest_optional(arg[2], 16, &to))
        return -EFAULT;
    value.it_interval = (struct timeval){ from[0], from[1] };
    value.it_value = (struct timeval){ from[2], from[3] };
    if (setitimer((int)arg[0], &value, &old) < 0)
        return -errno;
    if (to)
        interval_to_guest(to, &old);
    return 0;
}
