#include "agent/log_writer.h"

#include "agent/log_repair.h"
#include "agent/protocol.h"
#include "common/clock.h"
#include "common/fd.h"
#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>

enum {
    SMALL_BUFFER = 64 * 1024, /* a pipe's size when it is made */
    LARGE_BUFFER = SL_LOG_CHUNK_MAX,
    SMALL_READ = 16 * 1024,
    BUSY_NS = 1000 * 1000,
    NAP_NS = 100 * 1000,
    MIN_READ = 4096,
    LONG_LINE = 16 * 1024, /* that a full segment takes before it is cut inside a line */
};

struct SlLogWriter {
    SlLogTail tail;
    SlLogLimits limits;
    GArray *sealed; /* bases of the segments before tail, ascending */
    bool has_tty, is_stuck;
    bool is_read; /* the daemon may have readers; */
    uint64_t opened_to;
    uint8_t *buffer; /* room for a stdcopy header, then capacity bytes */
    size_t capacity;
    uint8_t *input; /* in buffer: n_input bytes that were read and are in no chunk yet, */
    size_t n_input;
    SlStdStream stream; /* of stream */
    uint64_t time_ns;
    uint8_t *chunk; /* in buffer: n_chunk bytes that are to be stored, n_stored of which are */
    size_t n_chunk, n_stored;
    bool ends_line; /* the last chunk does */
    int64_t last_read_ns;
};

SlLogWriter *
sl_log_writer_open(bool has_tty, SlLogLimits limits, GError **error)
{
    g_autoptr(SlLogWriter) writer = g_new0(SlLogWriter, 1);

    writer->tail.fd = writer->tail.index_fd = -1;
    writer->has_tty = has_tty;
    writer->limits = limits;
    writer->sealed = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    writer->capacity = SMALL_BUFFER;
    writer->buffer = g_malloc(SL_STDCOPY_HEADER + writer->capacity);
    writer->is_read = writer->ends_line = true;
    if (!sl_log_tail_open(has_tty, &writer->tail, writer->sealed, error))
        return NULL;
    return g_steal_pointer(&writer);
}

void
sl_log_writer_free(SlLogWriter *writer)
{
    if (!writer)
        return;
    sl_log_tail_close(&writer->tail);
    g_array_unref(writer->sealed);
    g_free(writer->buffer);
    g_free(writer);
}

uint64_t
sl_log_writer_length(const SlLogWriter *writer)
{
    return writer->tail.length;
}

bool
sl_log_writer_is_stuck(const SlLogWriter *writer)
{
    return writer->is_stuck;
}

/* ---- segments ---- */

static void
delete_segment(uint64_t base)
{
    char name[SL_LOG_NAME_MAX], index_name[SL_LOG_NAME_MAX];

    sl_log_name(base, false, name);
    sl_log_name(base, true, index_name);
    /* The log first: what is left after a crash is an index that nobody looks for. */
    if (unlink(name) < 0 || unlink(index_name) < 0)
        sl_warn("log segment cannot be deleted name=%s error=\"%s\"", name, g_strerror(errno));
}

/* Whether the daemon would miss it. It is waited for with bounds: the disk is not the readers'. */
static bool
is_held(const SlLogWriter *writer, uint64_t base)
{
    uint64_t limit;

    return writer->is_read && base >= writer->opened_to &&
           (!g_uint64_checked_mul(&limit, writer->limits.max_files, writer->limits.max_size) ||
            writer->tail.length - base <= limit ||
            writer->tail.length - base - limit <= SL_LOG_HELD_MAX);
}

static void
trim(SlLogWriter *writer)
{
    unsigned n = 0;

    if (writer->limits.max_size == 0)
        return;
    while (writer->sealed->len - n + 1 > writer->limits.max_files) {
        uint64_t base = g_array_index(writer->sealed, uint64_t, n);

        if (is_held(writer, base))
            break;
        delete_segment(base);
        n++;
    }
    if (n > 0)
        g_array_remove_range(writer->sealed, 0, n);
}

void
sl_log_writer_set_readers(SlLogWriter *writer, bool is_read, uint64_t opened_to)
{
    writer->is_read = is_read;
    writer->opened_to = opened_to;
    trim(writer);
}

static uint64_t
tail_size(const SlLogWriter *writer)
{
    return MAX(writer->tail.length - writer->tail.base, writer->tail.index_length);
}

static bool
is_full(const SlLogWriter *writer)
{
    return writer->limits.max_size > 0 && tail_size(writer) >= writer->limits.max_size;
}

/* False with errno. */
static bool
rotate(SlLogWriter *writer)
{
    g_autoptr(GError) error = NULL;
    SlLogTail next;
    int errnum;

    if (!sl_log_tail_make(writer->tail.length, &next, &error)) {
        errnum = errno;
        sl_debug("no new log segment error=\"%s\"", error->message);
        errno = errnum;
        return false;
    }
    g_array_append_val(writer->sealed, writer->tail.base);
    sl_log_tail_close(&writer->tail);
    writer->tail = next;
    trim(writer);
    return true;
}

/* ---- writing ---- */

/* Makes a chunk of what was read, or of its beginning where a full segment gets no more than the rest of a line. */
static bool
begin_chunk(SlLogWriter *writer)
{
    uint8_t *body = writer->input;
    size_t n = writer->n_input;

    if (is_full(writer) &&
        (writer->ends_line || tail_size(writer) >= writer->limits.max_size + LONG_LINE) && !rotate(writer))
        return false;
    if (is_full(writer)) {
        const uint8_t *line_break = memchr(body, '\n', n);

        if (line_break)
            n = (size_t)(line_break + 1 - body);
    }
    writer->chunk = body;
    writer->n_chunk = n;
    writer->n_stored = 0;
    writer->ends_line = body[n - 1] == '\n';
    writer->input += n;
    writer->n_input -= n;
    if (!writer->has_tty) {
        /* There is room before it: the buffer's, or what was stored already. */
        writer->chunk -= SL_STDCOPY_HEADER;
        writer->n_chunk += SL_STDCOPY_HEADER;
        sl_stdcopy_put_header(writer->chunk, writer->stream, (uint32_t)n);
    }
    return true;
}

static bool
store_chunk(SlLogWriter *writer)
{
    SlLogTail *tail = &writer->tail;

    while (writer->n_stored < writer->n_chunk) {
        ssize_t n = pwrite(tail->fd, writer->chunk + writer->n_stored, writer->n_chunk - writer->n_stored,
                           (off_t)(tail->length - tail->base + writer->n_stored));

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        writer->n_stored += (size_t)n;
    }
    if (!sl_log_tail_append_mark(tail, tail->length, writer->time_ns))
        return false;
    tail->length += writer->n_chunk;
    writer->n_chunk = 0;
    return true;
}

bool
sl_log_writer_retry(SlLogWriter *writer)
{
    while (writer->n_chunk > 0 || writer->n_input > 0) {
        if ((writer->n_chunk > 0 || begin_chunk(writer)) && store_chunk(writer))
            continue;
        if (!writer->is_stuck)
            sl_error("log cannot be written, the container waits error=\"%s\"", g_strerror(errno));
        writer->is_stuck = true;
        return false;
    }
    writer->is_stuck = false;
    return true;
}

void
sl_log_writer_give_up(SlLogWriter *writer)
{
    SlLogTail *tail = &writer->tail;

    if (!writer->is_stuck)
        return;
    writer->is_stuck = false;
    sl_error("output lost bytes=%zu", writer->n_chunk + writer->n_input);
    writer->n_chunk = writer->n_input = 0;
    if (ftruncate(tail->fd, (off_t)(tail->length - tail->base)) < 0)
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

/* A segment is to end near its limit. */
static size_t
room(const SlLogWriter *writer)
{
    uint64_t size = tail_size(writer), max_size = writer->limits.max_size;

    if (max_size == 0)
        return writer->capacity;
    return CLAMP(max_size - MIN(size, max_size), MIN_READ, writer->capacity);
}

SlLogTaken
sl_log_writer_take(SlLogWriter *writer, int fd, SlStdStream stream)
{
    uint8_t *body = writer->buffer + SL_STDCOPY_HEADER;
    ssize_t n = read(fd, body, room(writer));

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return SL_LOG_AGAIN;
    if (n <= 0)
        return SL_LOG_END; /* EIO is a terminal's end of file */

    writer->time_ns = (uint64_t)sl_clock_now_ns();
    writer->stream = stream;
    writer->input = body;
    writer->n_input = (size_t)n;
    if (!sl_log_writer_retry(writer))
        return SL_LOG_STUCK;

    if (n >= SMALL_BUFFER)
        grow(writer, fd);
    else
        nap_when_busy(writer, (size_t)n);
    return SL_LOG_TAKEN;
}
