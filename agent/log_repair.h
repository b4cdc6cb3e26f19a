/* The segment of the log that is written to (protocol.h), and how the log is found, and mended, when it is opened. Files of the current folder. */
#pragma once

#include "common/error.h"

#include <stdint.h>

typedef struct SlLogTail {
    int fd, index_fd;      /* -1: not open */
    uint64_t base, length; /* offsets of its first byte, and behind its last */
    uint64_t index_length; /* bytes */
} SlLogTail;

/* Makes an empty segment. tail is zeroed or closed; untouched on failure. */
bool sl_log_tail_make(uint64_t base, SlLogTail *tail, GError **error);
void sl_log_tail_close(SlLogTail *tail);

/* Opens the last segment, or makes the first; cuts off what a crash left torn, puts aside what is damaged by more.
 * sealed: gets the bases (uint64_t) of the segments before it, ascending. */
bool sl_log_tail_open(bool has_tty, SlLogTail *tail, GArray *sealed, GError **error);
/* False with errno. */
bool sl_log_tail_append_mark(SlLogTail *tail, uint64_t offset, uint64_t time_ns);
