/* The filter in front of the kernel: the system calls of this program after its start, and nothing else. */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "sandbox/lockdown.h"

/* clang-format off */
static const uint16_t allowed[] = {
    /* descriptors */
    SYS_read, SYS_write, SYS_readv, SYS_writev, SYS_pread64, SYS_pwrite64, SYS_openat2, SYS_open,
    SYS_openat, SYS_close, SYS_dup, SYS_dup2, SYS_dup3, SYS_fcntl, SYS_flock, SYS_pipe, SYS_pipe2,
    SYS_lseek, SYS_getdents64, SYS_ftruncate, SYS_fallocate, SYS_fsync, SYS_fdatasync, SYS_syncfs,
    SYS_memfd_create, SYS_pselect6, SYS_ppoll, SYS_poll,
    /* names and metadata */
    SYS_stat, SYS_fstat, SYS_lstat, SYS_newfstatat, SYS_fstatfs, SYS_readlink, SYS_readlinkat, SYS_mkdirat,
    SYS_mknodat, SYS_unlinkat, SYS_symlinkat, SYS_linkat, SYS_renameat2, SYS_faccessat2, SYS_chmod,
    SYS_fchmod, SYS_fchownat, SYS_utimensat, SYS_umask,
    /* processes */
    SYS_fork, SYS_exit, SYS_exit_group, SYS_wait4, SYS_getpid, SYS_gettid, SYS_getppid, SYS_setpgid,
    SYS_getpgid, SYS_setsid, SYS_getrusage, SYS_times, SYS_setpriority, SYS_getpriority,
    SYS_set_tid_address, SYS_pidfd_open, SYS_sched_getaffinity, SYS_sched_yield, SYS_setrlimit,
    SYS_prlimit64, SYS_sysinfo, SYS_getrandom, SYS_futex,
    /* signals and time */
    SYS_kill, SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_rt_sigpending, SYS_rt_sigsuspend,
    SYS_sigaltstack, SYS_restart_syscall, SYS_getitimer, SYS_setitimer, SYS_nanosleep, SYS_clock_nanosleep,
    SYS_clock_gettime, SYS_clock_getres, SYS_gettimeofday,
    /* users */
    SYS_getuid, SYS_geteuid, SYS_getgid, SYS_getegid, SYS_getresuid, SYS_getresgid, SYS_setresuid,
    SYS_setresgid, SYS_getgroups, SYS_setgroups,
    /* socket pairs */
    SYS_sendto, SYS_recvfrom, SYS_sendmsg, SYS_recvmsg, SYS_getsockopt, SYS_shutdown,
    /* memory */
    SYS_munmap, SYS_brk, SYS_madvise, SYS_mremap,
};
/* clang-format on */

enum {
    N_ALLOWED = sizeof allowed / sizeof *allowed,
    N_NUMBERS = 512,    /* above all of allowed */
    CHECKED_LENGTH = 5, /* instructions of allow_without_bits and allow_by_argument */
    RANGE_LENGTH = 5,   /* of one range and the branch that leads to it */
    MAX_PROGRAM = N_ALLOWED * RANGE_LENGTH + 4 * CHECKED_LENGTH + 8,
    MAX_JUMP = 255,
};

typedef struct Range {
    uint32_t first, last;
} Range;

typedef struct Program {
    struct sock_filter code[MAX_PROGRAM];
    unsigned short n;
} Program;

static void
add(Program *program, uint16_t code, uint8_t if_true, uint8_t if_false, uint32_t k)
{
    program->code[program->n++] = (struct sock_filter){ code, if_true, if_false, k };
}

static void
answer(Program *program, uint32_t with)
{
    add(program, BPF_RET | BPF_K, 0, 0, with);
}

static void
load(Program *program, size_t offset)
{
    add(program, BPF_LD | BPF_W | BPF_ABS, 0, 0, (uint32_t)offset);
}

/* A call allowed only while argument i has none of bits; the accumulator holds the number before and is lost
 * after. */
static void
allow_without_bits(Program *program, uint32_t number, int i, uint32_t bits)
{
    add(program, BPF_JMP | BPF_JEQ | BPF_K, 0, 4, number);
    load(program, offsetof(struct seccomp_data, args) + 8 * (size_t)i);
    add(program, BPF_JMP | BPF_JSET | BPF_K, 1, 0, bits);
    answer(program, SECCOMP_RET_ALLOW);
    answer(program, SECCOMP_RET_ERRNO | EPERM);
}

/* A call allowed only with this value of argument i, or only with any other. */
static void
allow_by_argument(Program *program, uint32_t number, int i, uint32_t value, bool wanted)
{
    add(program, BPF_JMP | BPF_JEQ | BPF_K, 0, 4, number);
    load(program, offsetof(struct seccomp_data, args) + 8 * (size_t)i);
    add(program, BPF_JMP | BPF_JEQ | BPF_K, wanted ? 0 : 1, wanted ? 1 : 0, value);
    answer(program, SECCOMP_RET_ALLOW);
    answer(program, SECCOMP_RET_ERRNO | EPERM);
}

/*
 * The number is in one of the ranges, looked for in halves: the kernel runs the filter for every number there
 * is when it is installed, and a list of a hundred comparisons took longer than all the rest of the lockdown.
 */
static bool
allow_ranges(Program *program, const Range *ranges, int n)
{
    unsigned short branch = program->n;
    int length;

    if (n == 1) {
        add(program, BPF_JMP | BPF_JGE | BPF_K, 0, 2, ranges->first);
        add(program, BPF_JMP | BPF_JGT | BPF_K, 1, 0, ranges->last);
        answer(program, SECCOMP_RET_ALLOW);
        answer(program, SECCOMP_RET_ERRNO | EPERM);
        return true;
    }
    add(program, BPF_JMP | BPF_JGE | BPF_K, 0, 0, ranges[n / 2].first);
    if (!allow_ranges(program, ranges, n / 2))
        return false;
    length = program->n - branch - 1;
    if (length > MAX_JUMP)
        return false;
    program->code[branch].jt = (uint8_t)length;
    return allow_ranges(program, ranges + n / 2, n - n / 2);
}

static int
allowed_ranges(Range ranges[N_ALLOWED])
{
    bool is_allowed[N_NUMBERS] = { false };
    int n = 0;

    for (int i = 0; i < N_ALLOWED; i++)
        is_allowed[allowed[i]] = true;
    for (uint32_t number = 0; number < N_NUMBERS; number++) {
        if (!is_allowed[number])
            continue;
        if (n > 0 && ranges[n - 1].last + 1 == number)
            ranges[n - 1].last = number;
        else
            ranges[n++] = (Range){ number, number };
    }
    return n;
}

bool
sl_lockdown_calls(void)
{
    Program program = { .n = 0 };
    struct sock_fprog filter = { .filter = program.code };
    Range ranges[N_ALLOWED];
    int n = allowed_ranges(ranges);

    load(&program, offsetof(struct seccomp_data, arch));
    add(&program, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, AUDIT_ARCH_X86_64);
    answer(&program, SECCOMP_RET_KILL_PROCESS); /* the 32-bit door: its numbers mean other calls */
    load(&program, offsetof(struct seccomp_data, nr));
    allow_without_bits(&program, SYS_mmap, 2, PROT_EXEC);
    allow_without_bits(&program, SYS_mprotect, 2, PROT_EXEC);
    allow_by_argument(&program, SYS_ioctl, 1, TIOCSTI, false); /* typing into somebody's terminal */
    allow_by_argument(&program, SYS_socketpair, 0, AF_UNIX, true);
    if (!allow_ranges(&program, ranges, n)) {
        errno = E2BIG;
        return false;
    }
    filter.len = program.n;
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter, 0, 0) == 0;
}
