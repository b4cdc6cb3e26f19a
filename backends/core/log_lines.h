/* Reads a container's log as `docker logs` shows it: its segments by frames, with their times, through a SlLogFormat. Knows no relay and no locks. One thread at a time. */
#pragma once

#include "backends/core/log_format.h"
#include "backends/core/log_segments.h"

typedef struct SlLogLines SlLogLines;

SlLogLines *sl_log_lines_new(const SlLogQuery *query, bool has_tty);
void sl_log_lines_free(SlLogLines *lines);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SlLogLines, sl_log_lines_free)
/* Where bytes are found; before anything is read. */
typedef SlLogPlace (*SlLogFind)(void *user, uint64_t offset, SlLogPart *ret_part, uint64_t *ret_offset);
void sl_log_lines_set_source(SlLogLines *lines, SlLogFind find, void *user);
/* Nothing before it will be asked for. */
uint64_t sl_log_lines_at(const SlLogLines *lines);
/* Finds the first entry that is wanted, of a log that can be read up to limit now. Reads as much as `tail` makes it. */
void sl_log_lines_seek(SlLogLines *lines, uint64_t limit, bool is_final);

typedef enum SlLogStep {
    SL_LOG_STEP_BLOCK, /* *ret_data: up to some SL_LOG_BLOCK; good until the next call */
    SL_LOG_STEP_MORE,  /* nothing to show in what was looked at: call again */
    SL_LOG_STEP_WAIT, /* all up to limit has been shown, or a frame is not wholly there yet; its buffers are freed */
    SL_LOG_STEP_END, /* is_final and all shown, or past `until`, or the log is damaged or lost (which the last block said) */
} SlLogStep;
/* is_final: nothing is written behind limit any more, so a line without its line break is shown. */
SlLogStep sl_log_lines_next(SlLogLines *lines, uint64_t limit, bool is_final, const void **ret_data,
                            size_t *ret_n);
