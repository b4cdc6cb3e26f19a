#include "backends/core/log_internal.h"

#include "agent/protocol.h"
#include "common/log.h"
#include "common/thread.h"

#include <stdatomic.h>

struct SlLog {
    atomic_int refs;
    char *folder;
    bool has_tty, is_rotated;

    pthread_mutex_t lock; /* of what follows */
    uint64_t length;      /* readable, as far as is known */
    uint64_t run;         /* number of the run that goes on, or was last */
    bool is_running, is_closed;
    bool is_settled;        /* the agent holds for readers what it writes */
    SlLogSegments segments; /* open while there are seats */
    GPtrArray *seats;
    void (*wanted)(void *user);
    void *wanted_user;
};

SlLog *
sl_log_new(const char *folder, bool has_tty, bool is_rotated)
{
    SlLog *log = g_new0(SlLog, 1);

    log->refs = 1;
    log->folder = g_strdup(folder);
    log->has_tty = has_tty;
    log->is_rotated = is_rotated;
    pthread_mutex_init(&log->lock, NULL);
    log->seats = g_ptr_array_new();
    return log;
}

SlLog *
sl_log_ref(SlLog *log)
{
    atomic_fetch_add(&log->refs, 1);
    return log;
}

void
sl_log_unref(SlLog *log)
{
    if (!log || atomic_fetch_sub(&log->refs, 1) != 1)
        return;
    g_ptr_array_unref(log->seats);
    pthread_mutex_destroy(&log->lock);
    g_free(log->folder);
    g_free(log);
}

bool
sl_log_has_tty(const SlLog *log)
{
    return log->has_tty;
}

/* ---- the files ---- */

static bool
open_segments(SlLog *log, SlLogSegments *ret_segments, GError **error)
{
    g_auto(SlLogSegments) known = { 0 };

    pthread_mutex_lock(&log->lock);
    known = sl_log_segments_copy(&log->segments);
    pthread_mutex_unlock(&log->lock);
    return sl_log_segments_open(log->folder, &known, ret_segments, error);
}

/* Lock held. */
static void
drop_segments(SlLog *log)
{
    uint64_t needed = UINT64_MAX;

    for (guint i = 0; i < log->seats->len; i++)
        needed = MIN(needed, ((const SlLogSeat *)log->seats->pdata[i])->needed);
    if (log->seats->len == 0)
        sl_log_segments_clear(&log->segments);
    else
        sl_log_segments_drop_before(&log->segments, needed);
}

/* Opens for the readers what is new. */
static void
look_for_segments(SlLog *log)
{
    g_auto(SlLogSegments) found = { 0 };
    g_autoptr(GError) error = NULL;

    if (!open_segments(log, &found, &error)) {
        sl_warn("a log cannot be opened error=\"%s\"", error->message);
        return;
    }
    SL_LOCK_GUARD(&log->lock);

    if (log->seats->len > 0)
        sl_log_segments_merge(&log->segments, &found, !log->is_settled);
}

/* ---- what happens to the log ---- */

static void
kick(const SlLogSeat *seat)
{
    if (seat->feed)
        sl_feed_kick(seat->feed);
}

static void
end_at(SlLogSeat *seat, uint64_t end)
{
    seat->has_end = true;
    seat->end = end;
    kick(seat);
}

/* Lock held. */
static void
begin_run(SlLog *log)
{
    if (!log->is_running)
        log->run++;
    log->is_running = true;
}

void
sl_log_run_started(SlLog *log)
{
    SL_LOCK_GUARD(&log->lock);

    begin_run(log);
}

/* What is deleted soon is opened now; a log that is not rotated is opened when it is read. */
static void
follow_rotation(SlLog *log, uint64_t length)
{
    bool is_wanted;

    if (!log->is_rotated)
        return;
    pthread_mutex_lock(&log->lock);
    is_wanted = log->seats->len > 0 && sl_log_segments_are_behind(&log->segments, length);
    pthread_mutex_unlock(&log->lock);
    if (is_wanted)
        look_for_segments(log);
}

SlLogGrew
sl_log_grew(SlLog *log, uint64_t length)
{
    bool is_read = false;

    follow_rotation(log, length);
    SL_LOCK_GUARD(&log->lock);

    if (length > log->length)
        log->length = length;
    for (guint i = 0; i < log->seats->len; i++) {
        const SlLogSeat *seat = log->seats->pdata[i];

        if (seat->has_end)
            continue;
        is_read = true;
        kick(seat);
    }
    log->is_settled = is_read;
    return is_read ? SL_LOG_IS_READ : log->is_rotated ? SL_LOG_MAY_LOSE : SL_LOG_UNREAD;
}

/* A reader that has pulled nothing yet gets its files now: with AutoRemove they are gone from their folder when it does. */
static void
open_for_readers(SlLog *log, uint64_t length)
{
    bool is_wanted;

    pthread_mutex_lock(&log->lock);
    is_wanted = log->seats->len > 0 && sl_log_segments_are_behind(&log->segments, length);
    pthread_mutex_unlock(&log->lock);
    if (is_wanted)
        look_for_segments(log);
}

char *
sl_log_dup_path(SlLog *log)
{
    g_auto(SlLogSegments) found = { 0 };
    char name[SL_LOG_NAME_MAX];

    sl_log_name(log->is_rotated && open_segments(log, &found, NULL) ? sl_log_segments_last(&found) : 0, false,
                name);
    return g_build_filename(log->folder, name, NULL);
}

static uint64_t
measure_by_path(SlLog *log)
{
    g_auto(SlLogSegments) found = { 0 };

    return open_segments(log, &found, NULL) ? sl_log_segments_measure(&found, log->has_tty) : 0;
}

void
sl_log_run_ended(SlLog *log, int64_t length)
{
    uint64_t end = length >= 0 ? (uint64_t)length : measure_by_path(log);

    open_for_readers(log, end);
    SL_LOCK_GUARD(&log->lock);
    begin_run(log); /* a run whose start nobody told: those who waited for it get its end */
    log->is_running = false;
    log->length = end;
    for (guint i = 0; i < log->seats->len; i++) {
        SlLogSeat *seat = log->seats->pdata[i];

        if (!seat->has_end && seat->run == log->run)
            end_at(seat, end);
    }
}

void
sl_log_close(SlLog *log)
{
    SL_LOCK_GUARD(&log->lock);

    log->is_closed = true;
    for (guint i = 0; i < log->seats->len; i++) {
        SlLogSeat *seat = log->seats->pdata[i];

        if (!seat->has_end) /* those of the last run still read to its end */
            end_at(seat, 0);
    }
}

void
sl_log_set_wanted(SlLog *log, void (*wanted)(void *user), void *user)
{
    SL_LOCK_GUARD(&log->lock);

    log->wanted = wanted;
    log->wanted_user = user;
}

/* ---- seats ---- */

/* Lock held. */
static void
decide_end(SlLogSeat *seat, SlLogFollow follow)
{
    SlLog *log = seat->log;

    seat->run = log->is_running ? log->run : log->run + 1;
    seat->has_end = log->is_closed || follow == SL_LOG_FOLLOW_NOT ||
                    (follow == SL_LOG_FOLLOW_RUNNING && !log->is_running);
    seat->end = log->is_closed ? 0 : log->length;
}

bool
sl_log_seat_take(SlLogSeat *seat, SlLog *log, SlLogFollow follow, uint64_t *ret_length, bool *ret_is_running,
                 GError **error)
{
    g_auto(SlLogSegments) found = { 0 };
    void (*wanted)(void *user);
    void *wanted_user;
    uint64_t length;

    if (!open_segments(log, &found, error))
        return false;
    length = sl_log_segments_measure(&found, log->has_tty);

    pthread_mutex_lock(&log->lock);
    *seat = (SlLogSeat){ .log = sl_log_ref(log) };
    if (log->seats->len == 0)
        log->is_settled = false;
    sl_log_segments_merge(&log->segments, &found, !log->is_settled);
    log->length = MAX(log->length, length);
    decide_end(seat, follow);
    g_ptr_array_add(log->seats, seat);
    *ret_length = log->length;
    *ret_is_running = log->is_running;
    wanted = seat->has_end ? NULL : log->wanted;
    wanted_user = log->wanted_user;
    pthread_mutex_unlock(&log->lock);

    if (wanted)
        wanted(wanted_user);
    return true;
}

void
sl_log_seat_set_feed(SlLogSeat *seat, SlFeed *feed)
{
    SL_LOCK_GUARD(&seat->log->lock);

    seat->feed = sl_feed_ref(feed);
    kick(seat);
}

void
sl_log_seat_kick(SlLogSeat *seat)
{
    SL_LOCK_GUARD(&seat->log->lock);

    kick(seat);
}

uint64_t
sl_log_seat_limit(SlLogSeat *seat, bool *ret_is_final)
{
    SL_LOCK_GUARD(&seat->log->lock);

    *ret_is_final = seat->has_end;
    return seat->has_end ? seat->end : seat->log->length;
}

SlLogPlace
sl_log_seat_find(SlLogSeat *seat, uint64_t offset, SlLogPart *ret_part, uint64_t *ret_offset)
{
    SlLog *log = seat->log;
    SlLogSegment *segment = NULL;
    SlLogPlace place;
    bool is_missing;

    pthread_mutex_lock(&log->lock);
    is_missing = !log->is_rotated && sl_log_segments_are_behind(&log->segments, offset + 1);
    pthread_mutex_unlock(&log->lock);
    if (is_missing)
        look_for_segments(log);

    pthread_mutex_lock(&log->lock);
    place = sl_log_segments_find(&log->segments, offset, seat->has_begun, &segment, ret_part, ret_offset);
    pthread_mutex_unlock(&log->lock);
    sl_log_segment_unref(seat->segment);
    seat->segment = segment;
    return place;
}

void
sl_log_seat_passed(SlLogSeat *seat, uint64_t offset)
{
    SL_LOCK_GUARD(&seat->log->lock);

    seat->has_begun = true;
    if (offset <= seat->needed)
        return;
    seat->needed = offset;
    if (seat->log->is_rotated)
        drop_segments(seat->log);
}

void
sl_log_seat_skip(SlLogSeat *seat, uint64_t offset)
{
    SL_LOCK_GUARD(&seat->log->lock);

    seat->needed = offset;
    drop_segments(seat->log);
}

void
sl_log_seat_leave(SlLogSeat *seat)
{
    SlLog *log = seat->log;

    pthread_mutex_lock(&log->lock);
    g_ptr_array_remove_fast(log->seats, seat);
    drop_segments(log);
    pthread_mutex_unlock(&log->lock);
    g_clear_pointer(&seat->segment, sl_log_segment_unref);
    g_clear_pointer(&seat->feed, sl_feed_unref);
    sl_log_unref(log);
}
