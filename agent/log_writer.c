#include "agent/log_writer.h"

#include "agent/protocol.h"
#include "common/clock.h"
#include "common/fd.h"
#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum {
    SMALL_BUFFER = 64 * 1024, /* a pipe's size when it is made */
    LARGE_BUFFER = 1024 * 1024,
    SMALL_READ = 16 * 1024,
    BUSY_NS = 1000 * 1000,
    NAP_NS = 100 * 1000,
    MARKS_PER_READ = 4096,
};

struct SlLogWriter {
    int fd, index_fd;
    bool has_tty;
    uint64_t length, index_length;
    uint8_t *buffer; /* room for a stdcopy header, then capacity bytes */
    size_t capacity;
    const uint8_t *chunk; /* in buffer: what was read and is not stored yet */
    size_t n_chunk, n_stored;
    SlLogMark mark; /* of chunk */
    bool is_stuck;
    int64_t last_read_ns;
};

/* ---- repair ---- */

/* The last mark that lies inside the log; cuts the index behind it. False: there is none. */
static bool
find_last_mark(SlLogWriter *writer, SlLogMark *ret_mark)
{
    for (; writer->index_length > 0; writer->index_length -= sizeof *ret_mark) {
        off_t at = (off_t)(writer->index_length - sizeof *ret_mark);

        if (!sl_fd_read_at(writer->index_fd, ret_mark, sizeof *ret_mark, at, SL_AGENT_INDEX_NAME, NULL))
            return false;
        if (ret_mark->offset < writer->length)
            return true;
    }
    return false;
}

static bool
append_mark(SlLogWriter *writer, const SlLogMark *mark)
{
    if (pwrite(writer->index_fd, mark, sizeof *mark, (off_t)writer->index_length) != (ssize_t)sizeof *mark)
        return false;
    writer->index_length += sizeof *mark;
    return true;
}

/* Walks the frames from the last mark on: a whole one without a mark gets one, what follows the last whole
 * one is cut off. */
static void
repair_frames(SlLogWriter *writer, uint64_t at, bool is_marked, uint64_t time_ns)
{
    uint8_t header[SL_STDCOPY_HEADER];
    SlStdStream stream;
    uint32_t n;

    for (; at + sizeof header <= writer->length; at += sizeof header + n, is_marked = false) {
        if (!sl_fd_read_at(writer->fd, header, sizeof header, (off_t)at, SL_AGENT_LOG_NAME, NULL) ||
            !sl_stdcopy_get_header(header, &stream, &n) || at + sizeof header + n > writer->length)
            break;
        if (!is_marked && !append_mark(writer, &(SlLogMark){ .offset = at, .time_ns = time_ns }))
            break;
    }
    writer->length = at;
}

static bool
repair(SlLogWriter *writer, GError **error)
{
    struct stat log, index;
    SlLogMark mark = { 0 };
    bool is_marked;

    if (fstat(writer->fd, &log) < 0 || fstat(writer->index_fd, &index) < 0)
        return sl_fail_errno(error, errno, "looking at the log");
    writer->length = (uint64_t)log.st_size;
    writer->index_length = (uint64_t)index.st_size / sizeof(SlLogMark) * sizeof(SlLogMark);
    if (log.st_size == 0 && index.st_size == 0)
        return true;

    is_marked = find_last_mark(writer, &mark);
    if (!is_marked)
        mark.offset = 0;
    if (!writer->has_tty) {
        repair_frames(writer, mark.offset, is_marked,
                      (uint64_t)log.st_mtim.tv_sec * UINT64_C(1000000000) + (uint64_t)log.st_mtim.tv_nsec);
        /* The marked frame itself was torn. */
        if (is_marked && mark.offset >= writer->length)
            writer->index_length -= sizeof mark;
    }
    if (writer->length < (uint64_t)log.st_size)
        sl_warn("torn log repaired cut_bytes=%" G_GUINT64_FORMAT, (uint64_t)log.st_size - writer->length);
    if (ftruncate(writer->fd, (off_t)writer->length) < 0 ||
        ftruncate(writer->index_fd, (off_t)writer->index_length) < 0)
        return sl_fail_errno(error, errno, "repairing the log");
    return true;
}

/* ---- opening ---- */

static bool
open_file(const char *name, int *fd, GError **error)
{
    *fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (*fd < 0)
        return sl_fail_errno(error, errno, "opening %s", name);
    return true;
}

SlLogWriter *
sl_log_writer_open(bool has_tty, GError **error)
{
    g_autoptr(SlLogWriter) writer = g_new0(SlLogWriter, 1);

    writer->fd = writer->index_fd = -1;
    writer->has_tty = has_tty;
    writer->capacity = SMALL_BUFFER;
    writer->buffer = g_malloc(SL_STDCOPY_HEADER + writer->capacity);
    if (!open_file(SL_AGENT_LOG_NAME, &writer->fd, error) ||
        !open_file(SL_AGENT_INDEX_NAME, &writer->index_fd, error) || !repair(writer, error))
        return NULL;
    return g_steal_pointer(&writer);
}

void
sl_log_writer_free(SlLogWriter *writer)
{
    if (!writer)
        return;
    sl_fd_clear(&writer->fd);
    sl_fd_clear(&writer->index_fd);
    g_free(writer->buffer);
    g_free(writer);
}

uint64_t
sl_log_writer_length(const SlLogWriter *writer)
{
    return writer->length;
}

bool
sl_log_writer_is_stuck(const SlLogWriter *writer)
{
    return writer->is_stuck;
}

/* ---- writing ---- */

bool
sl_log_writer_retry(SlLogWriter *writer)
{
    while (writer->n_stored < writer->n_chunk) {
        ssize_t n = pwrite(writer->fd, writer->chunk + writer->n_stored, writer->n_chunk - writer->n_stored,
                           (off_t)(writer->length + writer->n_stored));

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        writer->n_stored += (size_t)n;
    }
    if (writer->n_stored < writer->n_chunk || !append_mark(writer, &writer->mark)) {
        if (!writer->is_stuck)
            sl_error("log cannot be written, the container waits error=\"%s\"", g_strerror(errno));
        writer->is_stuck = true;
        return false;
    }
    writer->length += writer->n_chunk;
    writer->is_stuck = false;
    return true;
}

void
sl_log_writer_give_up(SlLogWriter *writer)
{
    if (!writer->is_stuck)
        return;
    writer->is_stuck = false;
    sl_error("output lost bytes=%zu", writer->n_chunk);
    if (ftruncate(writer->fd, (off_t)writer->length) < 0)
        sl_error("log cannot be cut error=\"%s\"", g_strerror(errno));
}

/* A process that filled the whole pipe between two reads gets a larger one. */
static void
grow(SlLogWriter *writer, int fd)
{
    if (fcntl(fd, F_GETPIPE_SZ) < LARGE_BUFFER)
        fcntl(fd, F_SETPIPE_SZ, LARGE_BUFFER); /* refused beyond the user's limit: then it stays */
    if (writer->capacity < LARGE_BUFFER) {
        writer->capacity = LARGE_BUFFER;
        writer->buffer = g_realloc(writer->buffer, SL_STDCOPY_HEADER + writer->capacity);
    }
}

/* Under sustained small reads a nap lets the process fill the pipe: twice the rate of short lines at half the
 * CPU. */
static void
nap_when_busy(SlLogWriter *writer, size_t n_read)
{
    int64_t now = sl_clock_monotonic_ns();

    if (n_read < SMALL_READ && now - writer->last_read_ns < BUSY_NS) {
        nanosleep(&(struct timespec){ .tv_nsec = NAP_NS }, NULL);
        now = sl_clock_monotonic_ns();
    }
    writer->last_read_ns = now;
}

SlLogTaken
sl_log_writer_take(SlLogWriter *writer, int fd, SlStdStream stream)
{
    uint8_t *body = writer->buffer + SL_STDCOPY_HEADER;
    ssize_t n = read(fd, body, writer->capacity);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return SL_LOG_AGAIN;
    if (n <= 0)
        return SL_LOG_END; /* EIO is a terminal's end of file */

    writer->mark = (SlLogMark){ .offset = writer->length, .time_ns = (uint64_t)sl_clock_now_ns() };
    sl_stdcopy_put_header(writer->buffer, stream, (uint32_t)n);
    writer->chunk = writer->has_tty ? body : writer->buffer;
    writer->n_chunk = (size_t)n + (writer->has_tty ? 0 : SL_STDCOPY_HEADER);
    writer->n_stored = 0;
    if (!sl_log_writer_retry(writer))
        return SL_LOG_STUCK;

    if (n >= SMALL_BUFFER)
        grow(writer, fd);
    else
        nap_when_busy(writer, (size_t)n);
    return SL_LOG_TAKEN;
}
