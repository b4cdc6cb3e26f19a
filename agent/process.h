/* One process the agent started: the container's first, or an exec. From its spawn to the end of its output.
 */
#pragma once

#include "agent/input.h"
#include "agent/message.h"
#include "agent/poller.h"
#include "agent/protocol.h"

#include <sys/types.h>

typedef struct SlAgent SlAgent;
typedef struct SlProcess SlProcess;

typedef struct SlProcessOutput {
    SlProcess *process;
    SlSource source; /* fd -1: at its end */
    int stream;      /* SlStdStream */
} SlProcessOutput;

struct SlProcess {
    SlAgent *agent;
    uint32_t channel;
    int64_t request_id;   /* of start or exec */
    uint64_t link_serial; /* of the link that asked */
    pid_t pid;
    bool has_tty;
    bool is_starting; /* no start report yet */
    bool has_exited;  /* reaped */
    bool has_failed;  /* the report holds an error: there was no process */
    bool is_over;     /* exited, and its output at the end */
    int64_t started_ns, finished_ns;
    int exit_code, signal;
    SlSource status;
    GString *report;
    SlInput input;
    SlProcessOutput outputs[2];
    SlDeadline late; /* of the report's end, then of the output's */

    /* Of an exec. */
    char *exec_id;
    json_t *config;
    bool is_unheard;       /* the daemon it wrote to is gone: its output is dropped */
    uint64_t sent, window; /* bytes of output sent; the daemon takes up to window */
};

/* Spawns command in the agent's current run. command's members stay the caller's.
 * Errors: SL_ERROR_INVALID for an unknown user, SL_ERROR_SYSTEM. */
SlProcess *sl_process_new(SlAgent *agent, const SlRequest *command, GError **error);
void sl_process_free(SlProcess *process);

/* It was reaped with that wait status. */
void sl_process_exited(SlProcess *process, int wait_status);
/* The message of a failed start and its exit code (126, 127, or 0 when the report holds none). */
void sl_process_failure(const SlProcess *process, int *ret_exit_code, GError **error);

bool sl_process_signal(const SlProcess *process, int signal, GError **error);
bool sl_process_resize(const SlProcess *process, int rows, int cols, GError **error);

/* DATA, WINDOW and END of the daemon. False: against the protocol. */
bool sl_process_frame(SlProcess *process, const SlAgentFrame *frame, const uint8_t *data, size_t n);
/* Looks again whether its output may be read: the link has room, or the log could be written. */
void sl_process_resume(SlProcess *process);
/* Takes what its output holds now, as far as somebody takes it from us. */
void sl_process_drain(SlProcess *process);
/* Its link was lost: an exec's output is dropped from here on. */
void sl_process_unheard(SlProcess *process);
