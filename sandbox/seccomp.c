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
#include "sandbox/net.h"

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

/* Of a container with a network. */
static const uint16_t allowed_with_network[] = {
    SYS_bind, SYS_listen, SYS_accept4, SYS_connect, SYS_getsockname, SYS_getpeername, SYS_setsockopt,
};
/* clang-format on */

enum {
    N_ALLOWED = sizeof allowed / sizeof *allowed,
    N_WITH_NETWORK = sizeof allowed_with_network / sizeof *allowed_with_network,
    WORD_BITS = 32,
    N_WORDS = 512 / WORD_BITS, /* for numbers above all of allowed */
    MAX_PROGRAM = 64 + 3 * N_WORDS,
};

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
 * The number's bit is set in the word of its 32 neighbours. A list of ranges took the kernel three times as
 * long to translate and try out at each start as all the rest of the lockdown.
 */
static void
allow_by_bit(Program *program)
{
    uint32_t words[N_WORDS] = { 0 };
    uint8_t rest = 0;

    for (size_t i = 0; i < N_ALLOWED; i++)
        words[allowed[i] / WORD_BITS] |= UINT32_C(1) << allowed[i] % WORD_BITS;
    for (size_t i = 0; sl_net_is_there() && i < N_WITH_NETWORK; i++)
        words[allowed_with_network[i] / WORD_BITS] |= UINT32_C(1) << allowed_with_network[i] % WORD_BITS;
    for (int i = 0; i < N_WORDS; i++)
        rest += words[i] ? 3 : 0;

    add(program, BPF_ALU | BPF_AND | BPF_K, 0, 0, WORD_BITS - 1);
    add(program, BPF_MISC | BPF_TAX, 0, 0, 0);
    load(program, offsetof(struct seccomp_data, nr));
    add(program, BPF_ALU | BPF_RSH | BPF_K, 0, 0, 5);
    for (uint32_t i = 0; i < N_WORDS; i++) {
        if (!words[i])
            continue;
        rest -= 3;
        add(program, BPF_JMP | BPF_JEQ | BPF_K, 0, 2, i);
        add(program, BPF_LD | BPF_IMM, 0, 0, words[i]);
        add(program, BPF_JMP | BPF_JA, 0, 0, rest + 1u);
    }
    answer(program, SECCOMP_RET_ERRNO | EPERM);
    add(program, BPF_ALU | BPF_RSH | BPF_X, 0, 0, 0);
    add(program, BPF_JMP | BPF_JSET | BPF_K, 1, 0, 1);
    answer(program, SECCOMP_RET_ERRNO | EPERM);
    answer(program, SECCOMP_RET_ALLOW);
}

bool
sl_lockdown_calls(void)
{
    Program program = { .n = 0 };
    struct sock_fprog filter = { .filter = program.code };

    load(&program, offsetof(struct seccomp_data, arch));
    add(&program, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, AUDIT_ARCH_X86_64);
    answer(&program, SECCOMP_RET_KILL_PROCESS); /* the 32-bit door: its numbers mean other calls */
    load(&program, offsetof(struct seccomp_data, nr));
    allow_without_bits(&program, SYS_mmap, 2, PROT_EXEC);
    allow_without_bits(&program, SYS_mprotect, 2, PROT_EXEC);
    allow_by_argument(&program, SYS_ioctl, 1, TIOCSTI, false); /* typing into somebody's terminal */
    allow_by_argument(&program, SYS_socketpair, 0, AF_UNIX, true);
    if (sl_net_may_leave())
        allow_without_bits(&program, SYS_socket, 0, ~(uint32_t)(AF_UNIX | AF_INET));
    else if (sl_net_is_there())
        allow_by_argument(&program, SYS_socket, 0, AF_UNIX, true);
    allow_by_bit(&program);
    filter.len = program.n;
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter, 0, 0) == 0;
}
