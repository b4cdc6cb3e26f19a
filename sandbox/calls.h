/*
 * The guest's system calls. Each is a function sl_call_NAME(arg) in the file of its noun; calls.c finds it by
 * number. A name is Linux' own, as in the guest's numbers (guest_numbers.h, generated).
 */
#pragma once

#include <stdint.h>

/* clang-format off */
#define SL_CALLS(X)                                                                                       \
    /* files.c */                                                                                         \
    X(openat) X(close) X(dup) X(dup3) X(fcntl64) X(flock) X(pipe2) X(getdents64) X(llseek)                \
    X(read) X(write) X(readv) X(writev) X(pread64) X(pwrite64) X(ftruncate64) X(truncate64) X(fallocate)  \
    X(fsync) X(fdatasync) X(sync) X(syncfs) X(memfd_create) X(fadvise64_64) X(copy_file_range)            \
    /* names.c */                                                                                         \
    X(getcwd) X(chdir) X(fchdir) X(mkdirat) X(mknodat) X(unlinkat) X(symlinkat) X(linkat) X(renameat)     \
    X(renameat2) X(readlinkat)                                                                            \
    /* metadata.c */                                                                                      \
    X(fstatat64) X(fstat64) X(statfs64) X(fstatfs64) X(faccessat) X(faccessat2) X(fchmod) X(fchmodat)     \
    X(fchown) X(fchownat) X(utimensat) X(utimensat_time64) X(umask)                                       \
    /* polling.c */                                                                                       \
    X(pselect6) X(pselect6_time64) X(ppoll) X(ppoll_time64)                                               \
    /* terminal.c */                                                                                      \
    X(ioctl)                                                                                              \
    /* process.c */                                                                                       \
    X(clone) X(wait4) X(exit) X(exit_group) X(getpid) X(gettid) X(getppid) X(set_tid_address) X(setpgid)  \
    X(getpgid) X(getsid) X(setsid) X(getrusage) X(times) X(setpriority) X(getpriority) X(prctl)           \
    /* exec.c */                                                                                          \
    X(execve)                                                                                             \
    /* signals.c */                                                                                       \
    X(kill) X(tkill) X(tgkill) X(rt_sigaction) X(rt_sigprocmask) X(rt_sigpending) X(rt_sigsuspend)        \
    X(getitimer) X(setitimer)                                                                             \
    /* users.c */                                                                                         \
    X(getuid) X(geteuid) X(getgid) X(getegid) X(getresuid) X(getresgid) X(setuid) X(setgid) X(setreuid)   \
    X(setregid) X(setresuid) X(setresgid) X(getgroups) X(setgroups) X(setfsuid) X(setfsgid)               \
    /* sockets.c */                                                                                       \
    X(socket) X(socketpair) X(bind) X(connect) X(listen) X(accept) X(accept4) X(getsockname)              \
    X(getpeername)                                                                                        \
    X(sendto) X(recvfrom) X(sendmsg) X(recvmsg) X(setsockopt) X(getsockopt) X(shutdown)                   \
    /* system.c */                                                                                        \
    X(uname) X(sethostname) X(setdomainname) X(sysinfo) X(prlimit64) X(clock_gettime64)                   \
    X(clock_getres_time64)                                                                                \
    X(nanosleep) X(clock_nanosleep_time64) X(getrandom) X(sched_yield) X(sched_getaffinity) X(futex)      \
    X(futex_time64)
/* clang-format on */

#define SL_CALL_DECLARE(name) int32_t sl_call_##name(const uint32_t *arg);
SL_CALLS(SL_CALL_DECLARE)
#undef SL_CALL_DECLARE

/* The guest's env.sys(): n is Linux' generic number or one of guest/host_calls.h; -ENOSYS for another. */
int32_t sl_call(uint32_t n, const uint32_t *arg);
