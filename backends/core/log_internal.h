/* What the readers of a log share. */
#pragma once

#include "backends/core/log_reader.h"
#include "backends/core/log_segments.h"

/*
 * A reader's part in its log. When it is to end is decided as things happen, not when the reader gets there: a slow reader of one run must not run on into
 * the next.
 */
typedef struct SlLogSeat {
    SlLog *log;            /* a reference */
    SlLogSegment *segment; /* that was found last; the reader's own */
    SlFeed *feed;          /* a reference; this and what follows under the log's lock */
    uint64_t needed;       /* nothing before it */
    uint64_t run;          /* ends with it */
    bool has_begun;        /* what lacks from now on is lost to it */
    bool has_end;
    uint64_t end;
} SlLogSeat;

typedef enum SlLogFollow {
    SL_LOG_FOLLOW_NOT,     /* ends where the log ends now */
    SL_LOG_FOLLOW_RUNNING, /* ends with the run; where it ends now when none goes on */
    SL_LOG_FOLLOW_NEXT,    /* ends with the run, or the next when none goes on */
} SlLogFollow;

/* Registers. ret_length: what can be read now; ret_is_running: a run goes on. */
bool sl_log_seat_take(SlLogSeat *seat, SlLog *log, SlLogFollow follow, uint64_t *ret_length,
                      bool *ret_is_running, GError **error);
/* After the feed is there: kicks it. */
void sl_log_seat_set_feed(SlLogSeat *seat, SlFeed *feed);
/* Pulls again, after others on the loop had their turn. */
void sl_log_seat_kick(SlLogSeat *seat);
/* How far it may read; *ret_is_final: nothing will come behind that. */
uint64_t sl_log_seat_limit(SlLogSeat *seat, bool *ret_is_final);
/* Where offset is to be read. The files stay open until the next call, those behind needed until the seat is left. */
SlLogPlace sl_log_seat_find(SlLogSeat *seat, uint64_t offset, SlLogPart *ret_part, uint64_t *ret_offset);
/* The reader has begun, and needs nothing before offset any more. */
void sl_log_seat_passed(SlLogSeat *seat, uint64_t offset);
/* The reader begins at offset: what lacks before it is nothing to it. Before a feed is there. */
void sl_log_seat_skip(SlLogSeat *seat, uint64_t offset);
void sl_log_seat_leave(SlLogSeat *seat);

bool sl_log_has_tty(const SlLog *log);
