/* Every system call is one function, sl_syscall() in guest/signals.c, which asks the host. */
/* clang-format off */
#define __SYSCALL_LL_HALF(x, i) ((union { long long ll; long l[2]; }){ .ll = x }).l[i]
#define __SYSCALL_LL_E(x) __SYSCALL_LL_HALF(x, 0), __SYSCALL_LL_HALF(x, 1)
#define __SYSCALL_LL_O(x) __SYSCALL_LL_E((x))
#define SYSCALL_MMAP2_UNIT 4096ULL
#define IPC_64 0

long sl_syscall(long n, long a, long b, long c, long d, long e, long f);

static inline long __syscall0(long n) { return sl_syscall(n, 0, 0, 0, 0, 0, 0); }
static inline long __syscall1(long n, long a) { return sl_syscall(n, a, 0, 0, 0, 0, 0); }
static inline long __syscall2(long n, long a, long b) { return sl_syscall(n, a, b, 0, 0, 0, 0); }
static inline long __syscall3(long n, long a, long b, long c) { return sl_syscall(n, a, b, c, 0, 0, 0); }
static inline long __syscall4(long n, long a, long b, long c, long d) { return sl_syscall(n, a, b, c, d, 0, 0); }
static inline long __syscall5(long n, long a, long b, long c, long d, long e)
{ return sl_syscall(n, a, b, c, d, e, 0); }
static inline long __syscall6(long n, long a, long b, long c, long d, long e, long f)
{ return sl_syscall(n, a, b, c, d, e, f); }
/* clang-format on */
