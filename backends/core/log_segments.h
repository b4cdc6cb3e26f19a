/* The segments of a log (agent/protocol.h) as readers have them open. Not trusted: what is missing is a gap. No locks. */
#pragma once

#include "common/error.h"

#include <stdatomic.h>
#include <stdint.h>

typedef struct SlLogSegment {
    atomic_int refs;
    int fd, index_fd; /* index_fd -1: none */
    uint64_t base;
    bool is_gap_agreed; /* what lacks in front of it was promised to nobody */
} SlLogSegment;

void sl_log_segment_unref(SlLogSegment *segment);

/* What a reader reads from: bytes base…end - 1 of the log. Borrowed until the next question. */
typedef struct SlLogPart {
    int fd, index_fd;
    uint64_t base, end; /* end UINT64_MAX: as far as the log goes */
} SlLogPart;

typedef enum SlLogPlace {
    SL_LOG_PLACE_FOUND, /* *ret_part; *ret_offset, which is behind offset where older segments are gone */
    SL_LOG_PLACE_NONE,  /* there are no files yet */
    SL_LOG_PLACE_LOST,  /* rotation or damage took what was to come; *ret_offset: where the log goes on */
} SlLogPlace;

/* The segments of a log, ascending. Zeroed: none. */
typedef struct SlLogSegments {
    GPtrArray *list; /* of SlLogSegment, references */
} SlLogSegments;

/* Opens what is in folder; takes those of known that are still there from it. A folder that is not there has none. */
bool sl_log_segments_open(const char *folder, const SlLogSegments *known, SlLogSegments *ret_segments,
                          GError **error);
void sl_log_segments_clear(SlLogSegments *segments);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(SlLogSegments, sl_log_segments_clear)
/* The same segments, with references of their own. */
SlLogSegments sl_log_segments_copy(const SlLogSegments *segments);

/* Adds those of from that are new, agreeing to the gaps before them if is_gap_agreed. Those that are no longer in the folder are kept, but no more than
 * SL_LOG_HELD_MAX bytes of them. */
void sl_log_segments_merge(SlLogSegments *segments, const SlLogSegments *from, bool is_gap_agreed);
/* Lets go of those that end at or before offset; the last stays. */
void sl_log_segments_drop_before(SlLogSegments *segments, uint64_t offset);
/* Base of the last; 0 without any. */
uint64_t sl_log_segments_last(const SlLogSegments *segments);
/* Whether more segments must have come, as the last ends before length. Also without any. */
bool sl_log_segments_are_behind(const SlLogSegments *segments, uint64_t length);

/* ret_segment: a reference to what *ret_part is of. has_begun: offset follows what was read; else older segments may be gone. */
SlLogPlace sl_log_segments_find(const SlLogSegments *segments, uint64_t offset, bool has_begun,
                                SlLogSegment **ret_segment, SlLogPart *ret_part, uint64_t *ret_offset);
/* The length of what is wholly written: a chunk may be on its way into the file, its mark comes after it. */
uint64_t sl_log_segments_measure(const SlLogSegments *segments, bool has_tty);
