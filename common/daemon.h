/* What every program of ours does when it starts, and what it tells its supervisor. */
#pragma once

#include <glib.h>
#include <signal.h>
#include <stdbool.h>

/* In main, before threads: ignores SIGPIPE, raises RLIMIT_NOFILE to its hard limit, and blocks SIGTERM and
 * SIGINT, which ret_ends then holds for sigwait(3). */
void sl_daemon_prepare(sigset_t *ret_ends);
/* Blocks SIGHUP too and adds it to ends: the program reads its files again when it comes. After sl_daemon_prepare. */
void sl_daemon_take_hangup(sigset_t *ends);
/* systemd's readiness protocol (sd_notify(3)): state is "READY=1" and the like. False when nobody listens or
 * it failed. */
bool sl_daemon_notify(const char *state);
