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

struct SlStream {
    int fd;
    bool is_socket;
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

void
sl_stream_free(SlStream *stream)
{
    if (!stream)
        return;
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
    return stream->n_pending;
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

ssize_t
sl_stream_send_file(SlStream *stream, int file, off_t *offset, size_t n)
{
    PipeGuard guard;
    ssize_t done;

    pipe_guard_enter(&guard);
    do
        done = sendfile(stream->fd, file, offset, n);
    while (done < 0 && errno == EINTR);
    pipe_guard_leave(&guard, done < 0);
    return io_result(done);
}

void
sl_stream_shutdown_write(SlStream *stream)
{
    shutdown(stream->fd, SHUT_WR);
}

bool
sl_stream_write_all(SlStream *stream, SlCancel *cancel, const void *data, size_t n, int timeout_ms,
                    GError **error)
{
    const char *at = data;

    while (n > 0) {
        ssize_t done = sl_stream_write_some(stream, at, n);

        if (done == SL_STREAM_FAILED)
            return sl_fail_errno(error, errno, "writing to the connection");
        if (done == SL_STREAM_AGAIN) {
            if (!sl_cancel_wait_fd(cancel, stream->fd, POLLOUT, timeout_ms, error))
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
            return sl_fail_errno(error, errno, "reading from the connection");
        if (done >= 0) {
            *ret_n = (size_t)done;
            return true;
        }
        if (!sl_cancel_wait_fd(cancel, stream->fd, POLLIN, timeout_ms, error))
            return false;
    }
}
