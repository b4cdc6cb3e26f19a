/*
 * Readers of a container's log (agent/protocol.h: log and log.idx), as sources for the relay.
 *
 * A reader is an offset into the log; it never blocks the container or another reader. The log grows by sl_log_grew, and a run's end is told by
 * sl_log_run_ended; both kick the readers. All functions on any thread unless said otherwise.
 *
 * Rotation: a reader holds the segments that it has still to read, also when they are deleted, up to SL_LOG_HELD_MAX bytes a log. One that is slower than
 * that, or comes to a part that was damaged, gets a last frame of SL_STD_SYSTEM (bare text in `logs` of a tty) that says how many bytes are lost, and its
 * end. One that begins at the log's beginning begins with the oldest segment there is.
 */
#pragma once

#include "net/http_server.h"

#include <stdint.h>

typedef struct SlLog SlLog;

/* folder: the container's, copied; has_tty: no stdcopy frames in the file; is_rotated: segments come and go. The files are opened when a reader comes and
 * closed with the last one; they may not exist yet. */
SlLog *sl_log_new(const char *folder, bool has_tty, bool is_rotated);
SlLog *sl_log_ref(SlLog *log);
void sl_log_unref(SlLog *log);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SlLog, sl_log_unref)

/* Of the segment that was written last. Caller frees. */
char *sl_log_dup_path(SlLog *log);

/* A run begins: readers that waited for it, and those that come now, end with it. */
void sl_log_run_started(SlLog *log);
typedef enum SlLogGrew {
    SL_LOG_IS_READ,  /* and what is before length is open */
    SL_LOG_UNREAD,   /* the agent need not tell of growth */
    SL_LOG_MAY_LOSE, /* as well, and it is rotated: old segments may go */
} SlLogGrew;
/* It can be read up to length. */
SlLogGrew sl_log_grew(SlLog *log, uint64_t length);
/* The run is over and the file is length bytes long (-1: whatever it is). Its readers get the rest, then their end. Also for a start that failed. */
void sl_log_run_ended(SlLog *log, int64_t length);
/* The container goes: readers of its last run get the rest of it, those that wait for another end. */
void sl_log_close(SlLog *log);
/* Called (on any thread) when a reader comes that waits for growth: the owner asks the agent for news. */
void sl_log_set_wanted(SlLog *log, void (*wanted)(void *user), void *user);

typedef struct SlLogQuery {
    bool stdout_, stderr_, follow, timestamps, details;
    int64_t since_ns, until_ns; /* 0: open */
    int64_t tail;               /* lines; -1: all */
    const char *details_text;   /* "k=v,k2=v2" put in front of lines when details; borrowed for the call */
} SlLogQuery;

/*
 * GET /containers/{id}/logs: lines. A line without its newline is not shown before the newline or the run's end (Docker's json-file; 16 KiB of one are). From a sealed log without options, file ranges as they stand.
 * Takes the call. content_type: by the caller.
 */
bool sl_log_serve(SlLog *log, SlCall *call, const char *content_type, const SlLogQuery *query,
                  GError **error);

/*
 * The output half of attach: bytes as they are from now on (from_start: from the beginning of the log, `logs=1`), until the end of the current run, or, when none is
 * running, of the next one. For use inside another feed's ops: pull as SlFeedOps.pull. Only the streams asked for.
 */
typedef struct SlLogTap SlLogTap;
SlLogTap *sl_log_tap_new(SlLog *log, bool stdout_, bool stderr_, bool from_start, bool stream,
                         GError **error);
void sl_log_tap_set_feed(SlLogTap *tap, SlFeed *feed);     /* kicked when there is more */
SlPull sl_log_tap_pull(SlLogTap *tap, SlPiece *ret_piece); /* loop thread */
void sl_log_tap_free(SlLogTap *tap);
