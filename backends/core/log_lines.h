/* Reads a container's log as `docker logs` shows it: the files by frames, with their times, through a SlLogFormat. Knows no relay and no locks. One thread at a time. */
#pragma once

#include "backends/core/log_format.h"
#include "net/relay.h"

typedef struct SlLogLines SlLogLines;

SlLogLines *sl_log_lines_new(const SlLogQuery *query, bool has_tty);
void sl_log_lines_free(SlLogLines *lines);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SlLogLines, sl_log_lines_free)
/* The files, borrowed; before anything is read. index_fd may be -1. */
void sl_log_lines_set_files(SlLogLines *lines, int fd, int index_fd);
bool sl_log_lines_has_files(const SlLogLines *lines);
/* Finds the first entry that is wanted, of a log that can be read up to limit now. Reads as much as `tail` makes it. */
void sl_log_lines_seek(SlLogLines *lines, uint64_t limit, bool is_final);

typedef enum SlLogStep {
    SL_LOG_STEP_BLOCK, /* *ret_data: up to some SL_LOG_BLOCK; good until the next call */
    SL_LOG_STEP_MORE,  /* nothing to show in what was looked at: call again */
    SL_LOG_STEP_WAIT,  /* all up to limit has been shown, or a frame is not wholly there yet */
    SL_LOG_STEP_END,   /* is_final and all shown, or past `until`, or the log is damaged (which is logged) */
} SlLogStep;
/* is_final: nothing is written behind limit any more, so a line without its line break is shown. */
SlLogStep sl_log_lines_next(SlLogLines *lines, uint64_t limit, bool is_final, const void **ret_data,
                            size_t *ret_n);
