/* MB/s through the readers of a container's log: as it stands, and line by line. Usage: bench_log_reader [FOLDER] */
#include "agent/protocol.h"
#include "backends/core/log_lines.h"
#include "common/clock.h"
#include "common/fd.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>

enum { CHUNKS = 8192, CHUNK_BYTES = 32 * 1024, LINE_BYTES = 100 };

static void
write_log(const char *folder)
{
    g_autofree char *log_path = g_build_filename(folder, SL_AGENT_LOG_NAME, NULL);
    g_autofree char *index_path = g_build_filename(folder, SL_AGENT_INDEX_NAME, NULL);
    sl_autofd int log_fd = open(log_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    sl_autofd int index_fd = open(index_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    g_autofree uint8_t *chunk = g_malloc(SL_STDCOPY_HEADER + CHUNK_BYTES);

    sl_stdcopy_put_header(chunk, SL_STD_OUT, CHUNK_BYTES);
    for (size_t i = 0; i < CHUNK_BYTES; i++)
        chunk[SL_STDCOPY_HEADER + i] = i % LINE_BYTES == LINE_BYTES - 1 ? '\n' : 'x';
    for (uint64_t i = 0; i < CHUNKS; i++) {
        SlLogMark mark = { i * (SL_STDCOPY_HEADER + CHUNK_BYTES), i * 1000 + 1 };
        g_autoptr(GError) error = NULL;

        if (!sl_fd_write_all(log_fd, chunk, SL_STDCOPY_HEADER + CHUNK_BYTES, "log", &error) ||
            !sl_fd_write_all(index_fd, &mark, sizeof mark, "index", &error))
            g_error("%s", error->message);
    }
}

static void
report(const char *what, int64_t begin_ns)
{
    double s = (double)(sl_clock_monotonic_ns() - begin_ns) / 1e9;

    printf("%s: %.0f MB/s\n", what, (double)CHUNKS * CHUNK_BYTES / 1e6 / s);
}

static SlLogPlace
find_part(void *user, uint64_t offset, SlLogPart *ret_part, uint64_t *ret_offset)
{
    *ret_part = *(SlLogPart *)user;
    *ret_offset = offset;
    return SL_LOG_PLACE_FOUND;
}

/* The work of formatting alone. */
static void
measure_lines(const char *folder, bool has_timestamps)
{
    SlLogQuery query = { .stdout_ = true, .stderr_ = true, .timestamps = has_timestamps, .tail = -1 };
    g_autofree char *log_path = g_build_filename(folder, SL_AGENT_LOG_NAME, NULL);
    g_autofree char *index_path = g_build_filename(folder, SL_AGENT_INDEX_NAME, NULL);
    sl_autofd int fd = open(log_path, O_RDONLY | O_CLOEXEC);
    sl_autofd int index_fd = open(index_path, O_RDONLY | O_CLOEXEC);
    g_autoptr(SlLogLines) lines = sl_log_lines_new(&query, false);
    SlLogPart part = { fd, index_fd, 0, UINT64_MAX };
    int64_t begin_ns = sl_clock_monotonic_ns();
    const void *data;
    size_t n;

    sl_log_lines_set_source(lines, find_part, &part);
    while (sl_log_lines_next(lines, (uint64_t)CHUNKS * (SL_STDCOPY_HEADER + CHUNK_BYTES), true, &data, &n) !=
           SL_LOG_STEP_END)
        continue;
    report(has_timestamps ? "lines with timestamps" : "lines", begin_ns);
}

static SlPull
pull(void *user, SlPiece *ret_piece)
{
    return sl_log_tap_pull(user, ret_piece);
}

static void
done(void *user, bool is_broken)
{
    sl_log_tap_free(user);
}

/* Through the relay and a socket. */
static void
measure_tap(const char *folder, SlRelay *relay, bool stderr_)
{
    static const SlFeedOps ops = { .pull = pull, .done = done };
    g_autoptr(SlLog) log = sl_log_new(folder, false, false);
    SlLogTap *tap = sl_log_tap_new(log, true, stderr_, true, false, NULL);
    g_autofree char *data = g_malloc(256 * 1024);
    g_autoptr(SlFeed) feed = NULL;
    int64_t begin_ns;
    int fds[2];

    if (!tap || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
        g_error("no tap");
    begin_ns = sl_clock_monotonic_ns();
    feed = sl_relay_feed(relay, sl_stream_new(fds[1]), SL_FRAMING_RAW, NULL, 0, &ops, tap);
    sl_feed_kick(feed);
    while (read(fds[0], data, 256 * 1024) > 0)
        continue;
    close(fds[0]);
    report(stderr_ ? "attach, both streams, over a socket" : "attach, one stream, over a socket", begin_ns);
}

int
main(int argc, char **argv)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *made = argc > 1 ? NULL : g_dir_make_tmp("sl-bench-XXXXXX", &error);
    const char *folder = argc > 1 ? argv[1] : made;
    SlLoop *loop = sl_loop_new("bench", &error);
    SlRelay *relay;

    if (!folder || !loop)
        g_error("%s", error->message);
    relay = sl_relay_new(loop);
    write_log(folder);
    measure_tap(folder, relay, true);
    measure_tap(folder, relay, false);
    measure_lines(folder, false);
    measure_lines(folder, true);
    sl_relay_free(relay);
    sl_loop_free(loop);
    if (made)
        sl_tree_remove(AT_FDCWD, made, NULL);
    return 0;
}
