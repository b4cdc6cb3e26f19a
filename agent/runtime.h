/* Starts a process of the container by its runtime (sandbox/sandbox.h), with pipes or a terminal at its
 * descriptors 0, 1 and 2. */
#pragma once

#include "agent/message.h"
#include "agent/users.h"

#include <sys/types.h>

typedef struct SlSpawnSpec {
    const SlRequest *start;   /* what holds for the whole container: runtime, hostname, rlimits */
    const SlRequest *command; /* start itself, or an exec */
    const SlUser *user;
    int root_fd, table_fd;
} SlSpawnSpec;

/* Our ends; non-blocking, close-on-exec. */
typedef struct SlSpawned {
    pid_t pid;
    int status_fd;
    int input_fd;      /* -1: none wanted */
    int output_fds[2]; /* stdout, stderr; -1: not wanted. With a terminal: its master and -1 */
} SlSpawned;

/* On failure nothing is left open. Errors: SL_ERROR_SYSTEM. */
bool sl_spawn(const SlSpawnSpec *spec, SlSpawned *ret_spawned, GError **error);

bool sl_terminal_resize(int master_fd, int rows, int cols, GError **error);
