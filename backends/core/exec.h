/*
 * Execs: further processes in a running container. They live in memory and in the agent, not in the store.
 */
#pragma once

#include "backends/core/container.h"
#include "backends/core/detach_keys.h"

/* So many that have ended are kept of each container, the latest. */
enum { SL_EXEC_MAX_ENDED = 256 };

typedef struct SlExec {
    atomic_int refs;
    char *id;
    SlContainer *container; /* a reference */
    DkExecCreate config;
    SlDetachKeys detach_keys; /* none without a tty */

    pthread_mutex_t lock;
    bool is_started, is_running;
    int exit_code, pid;
    uint32_t channel_number;
    SlChannel *channel; /* made by its start; used on the loop's thread only */
} SlExec;

SlExec *sl_exec_ref(SlExec *exec);
void sl_exec_unref(SlExec *exec);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SlExec, sl_exec_unref)

/* config is moved in. Errors: SL_ERROR_CONFLICT when the container is not running, SL_ERROR_INVALID without a command. A reference. */
SlExec *sl_exec_create(SlContainer *container, DkExecCreate *config, GError **error);
/* Errors: SL_ERROR_NOT_FOUND "No such exec instance: x". A reference. */
SlExec *sl_exec_find(SlCore *core, const char *id, GError **error);
/* Starts it; returns when the process runs. When it could not be started, ret_exit_code is 126 or 127 and the exec has ended with it; 0 with any other error. */
bool sl_exec_start(SlExec *exec, const int *console_size, int *ret_exit_code, GError **error);
/* Nobody will read its output. */
void sl_exec_detach(SlExec *exec);
/* Its output and input become the call's stream. */
bool sl_exec_serve(SlExec *exec, SlCall *call, const char *content_type, GError **error);
json_t *sl_exec_inspect(SlExec *exec);
