/* A program of ours below `sockerless serve`: started, watched, started again, ended. One thread. */
#pragma once

#include "common/error.h"

#include <stdint.h>
#include <sys/types.h>

typedef struct SlChild {
    const char *role; /* in log lines */
    char **argv;      /* argv[0] is the path */
    char **environ_;
    const int *sockets; /* n_sockets listening ones that it gets as descriptors 3…; ours are above them */
    size_t n_sockets;
    pid_t pid;           /* 0: does not run */
    int64_t started_ms;  /* monotonic */
    int64_t restart_ms;  /* when it is to be started again */
    unsigned n_failures; /* in a row */
} SlChild;

/* Starts it in a process group of its own (the terminal's ^C is for serve alone), to be killed when this
 * process ends in whatever way. Only on the main thread: that is whose end kills it. */
bool sl_child_start(SlChild *child, GError **error);
/* It was reaped: says why in the log and sets when to start it again, later each time it fails soon. */
void sl_child_ended(SlChild *child, int status);
/* SIGTERM, then SIGKILL after grace_ms or as soon as a signal of ends comes; waits for the end. */
void sl_child_stop(SlChild *child, int grace_ms);
void sl_child_clear(SlChild *child);
