/* The container's log and its index (protocol.h), as their only writer sees them. Files of the current
 * folder. */
#pragma once

#include "common/error.h"
#include "net/stdcopy.h"

#include <sys/types.h>

typedef struct SlLogWriter SlLogWriter;

typedef struct SlLogLimits {
    uint64_t max_size; /* of a segment; 0: one segment without end */
    unsigned max_files;
} SlLogLimits;

/* Opens or makes the files and repairs what a crash left torn. has_tty: no stdcopy frames. */
SlLogWriter *sl_log_writer_open(bool has_tty, SlLogLimits limits, GError **error);
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

/* Which segments beyond the limits may be deleted. is_read: the daemon may have readers, and has open what is before
 * opened_to. */
void sl_log_writer_set_readers(SlLogWriter *writer, bool is_read, uint64_t opened_to);
