/* The guest's runtime: what stands between musl and the host. */
#pragma once

__attribute__((import_module("env"), import_name("sys"))) long sl_host_call(long n, long a, long b, long c,
                                                                            long d, long e, long f);

/* Linux' conventions: a negative answer is -errno. */
long sl_syscall(long n, long a, long b, long c, long d, long e, long f);

void sl_signals_start(void);
void sl_signals_poll(void);

/* A page allocator over memory.grow: anonymous and private file mappings. */
long sl_mmap(long start, long length, long protection, long flags, long fd, long page);
long sl_munmap(long start, long length);
long sl_mremap(long start, long old_length, long new_length, long flags);
