#include "net/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { FILE_PIECE = 32 * 1024 };

struct SlStream {
    int fd;
    bool is_socket;
    const SlStreamLayer *layer; /* or NULL */
    void *user;
    char *pending; /* what was unread: n_pending bytes from at on */
    size_t at, n_pending;
};

SlStream *
sl_stream_new(int fd)
{
    SlStream *stream = g_new0(SlStream, 1);
    struct stat status;
    int flags = fcntl(fd, F_GETFL);

    stream->fd = fd;
    stream->is_socket = fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode);
    if (flags >= 0 && !(flags & O_NONBLOCK))
        fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    return stream;
}

SlStream *
sl_stream_new_layered(int fd, const SlStreamLayer *layer, void *user)
{
    SlStream *stream = sl_stream_new(fd);

    stream->layer = layer;
    stream->user = user;
    return stream;
}

bool
sl_stream_has_layer(SlStream *stream)
{
    return stream->layer != NULL;
}

void
sl_stream_drop_layer(SlStream *stream)
{
    if (stream->layer)
        stream->layer->free(stream->user);
    stream->layer = NULL;
}

void *
sl_stream_get_layer(SlStream *stream, const SlStreamLayer *layer)
{
    return stream->layer == layer ? stream->user : NULL;
}

void
sl_stream_free(SlStream *stream)
{
    if (!stream)
        return;
    sl_stream_drop_layer(stream);
    close(stream->fd);
    g_free(stream->pending);
    g_free(stream);
}

int
sl_stream_get_fd(SlStream *stream)
{
    return stream->fd;
}

void
sl_stream_unread(SlStream *stream, const void *data, size_t n)
{
    char *joined;

    if (n == 0)
        return;
    joined = g_malloc(n + stream->n_pending);
    memcpy(joined, data, n);
    if (stream->n_pending > 0)
        memcpy(joined + n, stream->pending + stream->at, stream->n_pending);
    g_free(stream->pending);
    stream->pending = joined;
    stream->at = 0;
    stream->n_pending += n;
}

size_t
sl_stream_n_pending(SlStream *stream)
{
    return stream->n_pending + (stream->layer ? stream->layer->n_pending(stream->user) : 0);
}

bool
sl_stream_may_have_more(SlStream *stream, ssize_t got, size_t room)
{
    /* A layer gives a message at a time: only "would block" says that there was no other. */
    return stream->layer || got == (ssize_t)room || stream->n_pending > 0;
}

static ssize_t
io_result(ssize_t n)
{
    if (n >= 0)
        return n;
    return errno == EAGAIN || errno == EWOULDBLOCK ? SL_STREAM_AGAIN : SL_STREAM_FAILED;
}

static size_t
take_pending(SlStream *stream, void *data, size_t n)
{
    n = MIN(n, stream->n_pending);
    memcpy(data, stream->pending + stream->at, n);
    stream->at += n;
    stream->n_pending -= n;
    if (stream->n_pending == 0)
        g_clear_pointer(&stream->pending, g_free);
    return n;
}

ssize_t
sl_stream_read_some(SlStream *stream, void *data, size_t n)
{
    ssize_t done;

    if (stream->n_pending > 0)
        return (ssize_t)take_pending(stream, data, n);
    if (stream->layer)
        return stream->layer->read(stream->user, data, n);
    do
        done = read(stream->fd, data, n);
    while (done < 0 && errno == EINTR);
    return io_result(done);
}

/* Where the kernel has no MSG_NOSIGNAL: SIGPIPE is held back around the call, and eaten when the call raised
 * it. */
typedef struct PipeGuard {
    sigset_t pipe, old;
    bool was_pending;
} PipeGuard;

static void
pipe_guard_enter(PipeGuard *guard)
{
    sigset_t pending;

    sigpending(&pending);
    guard->was_pending = sigismember(&pending, SIGPIPE) == 1;
    sigemptyset(&guard->pipe);
    sigaddset(&guard->pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &guard->pipe, &guard->old);
}

static void
pipe_guard_leave(PipeGuard *guard, bool has_failed)
{
    int saved = errno;

    if (has_failed && saved == EPIPE && !guard->was_pending)
        sigtimedwait(&guard->pipe, NULL, &(struct timespec){ 0 });
    pthread_sigmask(SIG_SETMASK, &guard->old, NULL);
    errno = saved;
}

ssize_t
sl_stream_write_some(SlStream *stream, const void *data, size_t n)
{
    PipeGuard guard;
    ssize_t done;

    if (stream->layer)
        return stream->layer->write(stream->user, data, n);
    if (stream->is_socket) {
        do
            done = send(stream->fd, data, n, MSG_NOSIGNAL);
        while (done < 0 && errno == EINTR);
        return io_result(done);
    }
    pipe_guard_enter(&guard);
    do
        done = write(stream->fd, data, n);
    while (done < 0 && errno == EINTR);
    pipe_guard_leave(&guard, done < 0);
    return io_result(done);
}

/* Through the layer, which has to see the bytes. */
static ssize_t
copy_file(SlStream *stream, int file, off_t *offset, size_t n)
{
    char piece[FILE_PIECE];
    ssize_t got, done;

    do
        got = pread(file, piece, MIN(n, sizeof piece), *offset);
    while (got < 0 && errno == EINTR);
    if (got <= 0)
        return got < 0 ? SL_STREAM_FAILED : 0;
    done = stream->layer->write(stream->user, piece, (size_t)got);
    if (done > 0)
        *offset += done;
    return done;
}

ssize_t
sl_stream_send_file(SlStream *stream, int file, off_t *offset, size_t n)
{
    PipeGuard guard;
    ssize_t done;

    if (stream->layer)
        return copy_file(stream, file, offset, n);
    pipe_guard_enter(&guard);
    do
        done = sendfile(stream->fd, file, offset, n);
    while (done < 0 && errno == EINTR);
    pipe_guard_leave(&guard, done < 0);
    return io_result(done);
}

bool
sl_stream_shutdown_write(SlStream *stream)
{
    if (stream->layer)
        return stream->layer->shutdown_write(stream->user);
    shutdown(stream->fd, SHUT_WR);
    return true;
}

short
sl_stream_poll_events(SlStream *stream, short events)
{
    return stream->layer ? stream->layer->poll_events(stream->user, events) : events;
}

bool
sl_stream_wait(SlStream *stream, SlCancel *cancel, short events, int timeout_ms, GError **error)
{
    return sl_cancel_wait_fd(cancel, stream->fd, sl_stream_poll_events(stream, events), timeout_ms, error);
}

bool
sl_stream_is_quiet(SlStream *stream)
{
    char byte;

    if (stream->n_pending > 0)
        return false;
    if (stream->layer)
        return stream->layer->read(stream->user, &byte, 1) == SL_STREAM_AGAIN;
    return recv(stream->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
           (errno == EAGAIN || errno == EWOULDBLOCK);
}

const char *
sl_stream_get_failure(SlStream *stream)
{
    return stream->layer ? stream->layer->failure(stream->user) : NULL;
}

static bool
fail_io(SlStream *stream, int errnum, const char *what, GError **error)
{
    const char *words = sl_stream_get_failure(stream);

    if (words)
        return sl_fail(error, SL_ERROR_SYSTEM, "%s the connection: %s", what, words);
    return sl_fail_errno(error, errnum, "%s the connection", what);
}

bool
sl_stream_write_all(SlStream *stream, SlCancel *cancel, const void *data, size_t n, int timeout_ms,
                    GError **error)
{
    const char *at = data;

    while (n > 0) {
        ssize_t done = sl_stream_write_some(stream, at, n);

        if (done == SL_STREAM_FAILED)
            return fail_io(stream, errno, "writing to", error);
        if (done == SL_STREAM_AGAIN) {
            if (!sl_stream_wait(stream, cancel, POLLOUT, timeout_ms, error))
                return false;
            continue;
        }
        at += done;
        n -= (size_t)done;
    }
    return true;
}

bool
sl_stream_read(SlStream *stream, SlCancel *cancel, void *data, size_t n, int timeout_ms, size_t *ret_n,
               GError **error)
{
    for (;;) {
        ssize_t done = sl_stream_read_some(stream, data, n);

        if (done == SL_STREAM_FAILED)
            return fail_io(stream, errno, "reading from", error);
        if (done >= 0) {
            *ret_n = (size_t)done;
            return true;
        }
        if (!sl_stream_wait(stream, cancel, POLLIN, timeout_ms, error))
            return false;
    }
}
