#include "backends/core/log_internal.h"

#include "agent/protocol.h"
#include "backends/core/log_index.h"
#include "common/fd.h"
#include "common/log.h"
#include "common/thread.h"
#include "net/stdcopy.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/stat.h>

struct SlLog {
    atomic_int refs;
    char *folder;
    bool has_tty;

    pthread_mutex_t lock; /* of what follows */
    uint64_t length;      /* readable, as far as is known */
    uint64_t run;         /* number of the run that goes on, or was last */
    bool is_running, is_closed;
    int fd, index_fd; /* open while there are seats */
    GPtrArray *seats;
    void (*wanted)(void *user);
    void *wanted_user;
};

SlLog *
sl_log_new(const char *folder, bool has_tty)
{
    SlLog *log = g_new0(SlLog, 1);

    log->refs = 1;
    log->folder = g_strdup(folder);
    log->has_tty = has_tty;
    pthread_mutex_init(&log->lock, NULL);
    log->fd = log->index_fd = -1;
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

/* -1 when it is not there. */
static int
open_file(const SlLog *log, const char *name, GError **error)
{
    g_autofree char *path = g_build_filename(log->folder, name, NULL);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

    if (fd < 0 && errno != ENOENT)
        sl_fail_errno(error, errno, "opening %s", path);
    return fd;
}

static bool
open_files(const SlLog *log, int *ret_fd, int *ret_index_fd, GError **error)
{
    g_autoptr(GError) local = NULL;
    sl_autofd int fd = open_file(log, SL_AGENT_LOG_NAME, &local);
    sl_autofd int index_fd = local ? -1 : open_file(log, SL_AGENT_INDEX_NAME, &local);

    if (local) {
        g_propagate_error(error, g_steal_pointer(&local));
        return false;
    }
    *ret_fd = sl_fd_steal(&fd);
    *ret_index_fd = sl_fd_steal(&index_fd);
    return true;
}

/* The length of what is wholly written: a chunk may be on its way into the file, its mark comes after it. */
static uint64_t
measure(const SlLog *log, int fd, int index_fd)
{
    g_autofree SlLogIndex *index = g_new(SlLogIndex, 1);
    uint8_t header[SL_STDCOPY_HEADER];
    SlLogMark mark;
    SlStdStream stream;
    struct stat info;
    uint64_t size, end;
    uint32_t n;

    if (fd < 0 || fstat(fd, &info) < 0)
        return 0;
    size = (uint64_t)info.st_size;
    sl_log_index_init(index, index_fd);
    if (log->has_tty || !sl_log_index_get(index, sl_log_index_count(index) - 1, &mark))
        return log->has_tty ? size : 0;
    if (mark.offset > INT64_MAX ||
        pread(fd, header, sizeof header, (off_t)mark.offset) != (ssize_t)sizeof header ||
        !sl_stdcopy_get_header(header, &stream, &n))
        return MIN(mark.offset, size);
    end = mark.offset + sizeof header + n;
    return end <= size ? end : mark.offset;
}

static uint64_t
measure_by_path(const SlLog *log)
{
    sl_autofd int fd = -1;
    sl_autofd int index_fd = -1;

    return open_files(log, &fd, &index_fd, NULL) ? measure(log, fd, index_fd) : 0;
}

/* Lock held. */
static void
keep_files(SlLog *log, int *fd, int *index_fd)
{
    if (log->fd < 0)
        log->fd = sl_fd_steal(fd);
    if (log->index_fd < 0)
        log->index_fd = sl_fd_steal(index_fd);
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

bool
sl_log_grew(SlLog *log, uint64_t length)
{
    bool is_read = false;

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
    return is_read;
}

/* A reader that has pulled nothing yet gets its files now: with AutoRemove they are gone from their folder when it does. */
static void
open_for_readers(SlLog *log)
{
    sl_autofd int fd = -1;
    sl_autofd int index_fd = -1;
    bool is_wanted;

    pthread_mutex_lock(&log->lock);
    is_wanted = log->seats->len > 0 && (log->fd < 0 || log->index_fd < 0);
    pthread_mutex_unlock(&log->lock);
    if (!is_wanted || !open_files(log, &fd, &index_fd, NULL))
        return;
    SL_LOCK_GUARD(&log->lock);

    if (log->seats->len > 0)
        keep_files(log, &fd, &index_fd);
}

void
sl_log_run_ended(SlLog *log, int64_t length)
{
    uint64_t end = length >= 0 ? (uint64_t)length : measure_by_path(log);

    open_for_readers(log);
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
    sl_autofd int fd = -1;
    sl_autofd int index_fd = -1;
    void (*wanted)(void *user);
    void *wanted_user;
    uint64_t length;

    if (!open_files(log, &fd, &index_fd, error))
        return false;
    length = measure(log, fd, index_fd);

    pthread_mutex_lock(&log->lock);
    *seat = (SlLogSeat){ .log = sl_log_ref(log) };
    keep_files(log, &fd, &index_fd);
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

bool
sl_log_seat_files(SlLogSeat *seat, int *ret_fd, int *ret_index_fd)
{
    SlLog *log = seat->log;
    sl_autofd int fd = -1;
    sl_autofd int index_fd = -1;
    g_autoptr(GError) error = NULL;
    bool is_open;

    pthread_mutex_lock(&log->lock);
    is_open = log->fd >= 0 && log->index_fd >= 0;
    pthread_mutex_unlock(&log->lock);
    if (!is_open && !open_files(log, &fd, &index_fd, &error))
        sl_warn("a log cannot be opened error=\"%s\"", error->message);

    SL_LOCK_GUARD(&log->lock);
    keep_files(log, &fd, &index_fd);
    *ret_fd = log->fd;
    *ret_index_fd = log->index_fd;
    return log->fd >= 0;
}

void
sl_log_seat_leave(SlLogSeat *seat)
{
    SlLog *log = seat->log;

    pthread_mutex_lock(&log->lock);
    g_ptr_array_remove_fast(log->seats, seat);
    if (log->seats->len == 0) {
        sl_fd_clear(&log->fd);
        sl_fd_clear(&log->index_fd);
    }
    pthread_mutex_unlock(&log->lock);
    g_clear_pointer(&seat->feed, sl_feed_unref);
    sl_log_unref(log);
}
