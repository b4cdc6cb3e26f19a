/* Some callers want __syscallN as functions too. musl's headers make them inline, so they live apart. */
long sl_syscall(long n, long a, long b, long c, long d, long e, long f);

long
__syscall0(long n)
{
    return sl_syscall(n, 0, 0, 0, 0, 0, 0);
}

long
__syscall1(long n, long a)
{
    return sl_syscall(n, a, 0, 0, 0, 0, 0);
}

long
__syscall2(long n, long a, long b)
{
    return sl_syscall(n, a, b, 0, 0, 0, 0);
}

long
__syscall3(long n, long a, long b, long c)
{
    return sl_syscall(n, a, b, c, 0, 0, 0);
}

long
__syscall4(long n, long a, long b, long c, long d)
{
    return sl_syscall(n, a, b, c, d, 0, 0);
}

long
__syscall5(long n, long a, long b, long c, long d, long e)
{
    return sl_syscall(n, a, b, c, d, e, 0);
}

long
__syscall6(long n, long a, long b, long c, long d, long e, long f)
{
    return sl_syscall(n, a, b, c, d, e, f);
}
