/* A process's stdin: bytes of the daemon, held in a bounded queue until the process takes them. */
#pragma once

#include "agent/poller.h"

#include <glib.h>
#include <stddef.h>

typedef struct SlInput {
    SlPoller *poller;
    SlSource source; /* fd -1: closed, or there never was one */
    GByteArray *queue;
    size_t n_written; /* of queue */
    uint64_t received, granted;
    bool is_terminal, is_ended;
    void (*grant)(void *user, uint64_t up_to); /* tell the daemon */
    void *user;
} SlInput;

/* Takes fd: non-blocking, writable; -1: everything is dropped. is_terminal: END does not close it. */
void sl_input_begin(SlInput *input, SlPoller *poller, int fd, bool is_terminal,
                    void (*grant)(void *user, uint64_t up_to), void *user);
/* What was received already is skipped. False when the daemon left a gap or overran the window. */
bool sl_input_data(SlInput *input, uint64_t offset, const uint8_t *data, size_t n);
/* The stream is over: closes when everything was written. */
void sl_input_end(SlInput *input);
/* The process is gone. */
void sl_input_close(SlInput *input);
