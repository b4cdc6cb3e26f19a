/*
 * What guest and host know of each other beside Linux' numbers. Read by the guest's runtime and by the host.
 *
 * A host call is env.sys(number, a, b, c, d, e, f); it answers like a system call, -errno for an error.
 * SL_RESTART asks the guest to run its signal handlers and make the call again: a signal came before it could
 * block.
 */
#pragma once

enum {
    SL_HOST_ARGUMENTS =
        10000, /* (at, size): argc, argv, environment, auxv as at process start; at 0: the size needed */
    SL_HOST_PENDING = 10002, /* (at): where two words are in which the host sets a bit per pending signal */
    SL_HOST_TAKE_SIGNAL = 10003, /* (number): clears that bit */
    SL_RESTART = -512,
};

/* What rt_sigaction passes to the host: the guest keeps the handlers. */
enum { SL_SIGNAL_DEFAULT, SL_SIGNAL_IGNORE, SL_SIGNAL_HANDLED };
