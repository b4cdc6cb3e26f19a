/*
 * Failure points: names for the steps between which a crash or an error must leave everything whole (tests/recovery).
 *
 *     if (!sl_failpoint("store.commit.before") || !commit(…))
 *         return sl_fail_errno(error, errno, …);
 *
 * Built in by the meson option `failpoints`: by default with debugging information, so in what tests use, and compiled to nothing in release builds.
 * They do nothing until SOCKERLESS_FAILPOINT is set when the program starts:
 *
 *     NAME[:N][=ACTION]   at the N-th passing (default: the first) of the point in this process; ACTION is `kill` (default: SIGKILL to this
 *                         process) or an errno's name (ENOSPC, EIO, EMFILE, ENOMEM, EAGAIN, EACCES): the point fails with it, this once
 *     trace               says each passing in the log
 *     /FILE               the file holds that; it is read at each passing, so that a running program can be armed, and is removed when it fires
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Every name, NULL at the end. One that is not in it cannot be armed; each is used at one place (tests/failpoints_test.py). */
extern const char *const sl_failpoint_names[];

#ifdef SL_FAILPOINTS
/* False: errno says what the step before or after it is to fail with. Any thread. */
bool sl_failpoint(const char *name);
/* "SOCKERLESS_FAILPOINT=…" for the environment of a program that we start, or NULL. */
const char *sl_failpoint_variable(void);
#else
static inline bool
sl_failpoint(const char *name)
{
    return true;
}
static inline const char *
sl_failpoint_variable(void)
{
    return NULL;
}
#endif
