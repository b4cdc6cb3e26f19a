/* Where a guest program starts, its only thread's descriptor, and the calls that threads would need. */
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "pthread_impl.h"
#include "libc.h"
#include "syscall.h"

#include "host_calls.h"
#include "runtime.h"

void *sl_thread_pointer;
volatile int __thread_list_lock;

int __main_argc_argv(int, char **);
int __libc_start_main(int (*)(int, char **, char **), int, char **, void (*)(void), void (*)(void),
                      void (*)(void));
void _start(void);

int
__set_thread_area(void *descriptor)
{
    sl_thread_pointer = descriptor;
    return 0;
}

void
__init_tls(size_t *aux)
{
    static struct pthread thread;

    thread.self = &thread;
    __set_thread_area(&thread);
    thread.detach_state = DT_JOINABLE;
    thread.tid = __syscall(SYS_set_tid_address, 0);
    thread.locale = &libc.global_locale;
    thread.next = thread.prev = &thread;
}

static int
start_main(int argc, char **argv, char **environment)
{
    return __main_argc_argv(argc, argv);
}

void
_start(void)
{
    long size;
    char *arguments;

    sl_signals_start();
    size = sl_host_call(SL_HOST_ARGUMENTS, 0, 0, 0, 0, 0, 0);
    arguments = (char *)sl_mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if ((unsigned long)arguments > -4096UL ||
        sl_host_call(SL_HOST_ARGUMENTS, (long)arguments, size, 0, 0, 0, 0) < 0)
        __builtin_trap();
    __libc_start_main(start_main, *(int *)arguments, (char **)(arguments + 4), 0, 0, 0);
}

/* musl's posix_spawn wants clone(CLONE_VM | CLONE_VFORK); a plain fork keeps that contract. */
int
__clone(int (*function)(void *), void *stack, int flags, void *argument, ...)
{
    long pid = sl_syscall(SYS_clone, 17, 0, 0, 0, 0, 0);

    if (pid == 0)
        sl_syscall(SYS_exit_group, function(argument), 0, 0, 0, 0, 0);
    return pid;
}

void
abort(void)
{
    sl_host_call(SYS_kill, sl_host_call(SYS_getpid, 0, 0, 0, 0, 0, 0), SIGABRT, 0, 0, 0, 0);
    __builtin_trap();
}
