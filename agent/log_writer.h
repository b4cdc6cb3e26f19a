/* The container's log and its index (protocol.h), as their only writer sees them. Files of the current
 * folder. */
#pragma once

#include "common/error.h"
#include "net/stdcopy.h"

#include <sys/types.h>

typedef struct SlLogWriter SlLogWriter;

/* Opens or makes the files and repairs what a crash left torn. has_tty: no stdcopy frames. */
SlLogWriter *sl_log_writer_open(bool has_tty, GError **error);
void sl_log_writer_free(SlLogWriter *writer);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SlLogWriter, sl_log_writer_free)

/* Bytes that can be read; marks of all of them are in the index. */
uint64_t sl_log_writer_length(const SlLogWriter *writer);

typedef enum SlLogTaken {
    SL_LOG_TAKEN,
    SL_LOG_END,   /* end of fd, or it is broken */
    SL_LOG_AGAIN, /* nothing there */
    SL_LOG_STUCK, /* what was read could not be stored: call sl_log_writer_retry until it is, and take nothing
                     before */
} SlLogTaken;

/* Moves what fd has, one chunk at most, into the log. fd: non-blocking pipe or terminal. */
SlLogTaken sl_log_writer_take(SlLogWriter *writer, int fd, SlStdStream stream);
bool sl_log_writer_retry(SlLogWriter *writer);
bool sl_log_writer_is_stuck(const SlLogWriter *writer);
/* Gives up what is stuck, so that the log ends at a frame's border. */
void sl_log_writer_give_up(SlLogWriter *writer);
