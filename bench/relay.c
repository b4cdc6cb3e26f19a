/*
 * MB/s through the relay, against a bare loop in the same run. Usage: bench_relay [MB]
 *
 * pair: client → relay → backend, against the same bytes written straight from one thread to the other. feed:
 * a file to a client through a feed, against a thread that calls sendfile.
 */
#include "common/clock.h"
#include "common/fd.h"
#include "common/thread.h"
#include "net/address.h"
#include "net/relay.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>

enum { BLOCK = 64 * 1024, PIECE = 4 * 1024 * 1024, ROUNDS = 3 };

typedef struct Flow {
    int from, to, file;
    size_t n;
} Flow;

static void
make_pair(bool is_tcp, int ret[2])
{
    g_auto(SlAddress) address = { .host = g_strdup("127.0.0.1") };
    g_autofree int *fds = NULL;
    size_t n = 0;

    if (!is_tcp) {
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ret) < 0)
            g_error("socketpair");
        return;
    }
    if (!sl_address_listen(&address, false, &fds, &n, NULL) ||
        !sl_address_connect(&address, NULL, 1000, &ret[0], NULL))
        g_error("no TCP on loopback");
    fcntl(ret[0], F_SETFL, fcntl(ret[0], F_GETFL) & ~O_NONBLOCK);
    ret[1] = accept(fds[0], NULL, NULL);
    close(fds[0]);
}

static void *
write_flow(void *data)
{
    Flow *flow = data;
    g_autofree char *block = g_malloc0(BLOCK);

    for (size_t done = 0; done < flow->n; done += BLOCK)
        if (!sl_fd_write_all(flow->to, block, BLOCK, "the stream", NULL))
            break;
    shutdown(flow->to, SHUT_WR);
    return NULL;
}

static void *
send_flow(void *data)
{
    Flow *flow = data;

    for (off_t at = 0; at < (off_t)flow->n;)
        if (sendfile(flow->to, flow->file, &at, flow->n - (size_t)at) <= 0)
            break;
    shutdown(flow->to, SHUT_WR);
    return NULL;
}

/* Reads to the end; returns MB/s since start_ns. */
static double
read_flow(int fd, size_t expected, int64_t start_ns)
{
    g_autofree char *block = g_malloc(4 * BLOCK);
    size_t got = 0;
    ssize_t n;

    while ((n = read(fd, block, 4 * BLOCK)) > 0)
        got += (size_t)n;
    if (got != expected)
        g_error("%zu of %zu bytes came", got, expected);
    return (double)got / 1e6 / ((double)(sl_clock_monotonic_ns() - start_ns) / 1e9);
}

static double
measure_direct(bool is_tcp, void *(*run)(void *), int file, size_t n)
{
    int fds[2];
    Flow flow = { .file = file, .n = n };
    pthread_t thread;
    double speed;
    int64_t start_ns = sl_clock_monotonic_ns();

    make_pair(is_tcp, fds);
    flow.to = fds[1];
    pthread_create(&thread, NULL, run, &flow);
    speed = read_flow(fds[0], n, start_ns);
    pthread_join(thread, NULL);
    close(fds[0]);
    close(fds[1]);
    return speed;
}

static double
measure_pair(SlRelay *relay, bool is_tcp, size_t n)
{
    int client[2], backend[2];
    Flow flow = { .n = n };
    pthread_t thread;
    double speed;
    int64_t start_ns = sl_clock_monotonic_ns();

    make_pair(is_tcp, client);
    make_pair(is_tcp, backend);
    sl_relay_join(relay, sl_stream_new(client[1]), sl_stream_new(backend[1]));
    flow.to = backend[0];
    pthread_create(&thread, NULL, write_flow, &flow);
    speed = read_flow(client[0], n, start_ns);
    pthread_join(thread, NULL);
    close(client[0]);
    close(backend[0]);
    return speed;
}

typedef struct FileSource {
    int file;
    off_t at;
    size_t n;
} FileSource;

static SlPull
file_pull(void *user, SlPiece *ret_piece)
{
    FileSource *source = user;
    size_t left = source->n - (size_t)source->at;

    if (left == 0)
        return SL_PULL_END;
    *ret_piece = (SlPiece){ .file = source->file, .offset = source->at, .n = MIN(left, PIECE) };
    source->at += (off_t)ret_piece->n;
    return SL_PULL_PIECE;
}

static void
file_done(void *user, bool is_broken)
{
    g_free(user);
}

static const SlFeedOps file_ops = { .pull = file_pull, .done = file_done };

static double
measure_feed(SlRelay *relay, bool is_tcp, int file, size_t n)
{
    FileSource *source = g_new0(FileSource, 1);
    g_autoptr(SlFeed) feed = NULL;
    int fds[2];
    double speed;
    int64_t start_ns = sl_clock_monotonic_ns();

    *source = (FileSource){ .file = file, .n = n };
    make_pair(is_tcp, fds);
    feed = sl_relay_feed(relay, sl_stream_new(fds[1]), SL_FRAMING_RAW, NULL, 0, &file_ops, source);
    speed = read_flow(fds[0], n, start_ns);
    close(fds[0]);
    return speed;
}

int
main(int argc, char **argv)
{
    size_t n = (argc > 1 ? (size_t)strtoul(argv[1], NULL, 10) : 512) * 1024 * 1024;
    g_autofree char *path = NULL;
    sl_autofd int file = g_file_open_tmp("sl-bench-XXXXXX", &path, NULL);
    SlLoop *loop = sl_loop_new("bench", NULL);
    SlRelay *relay = sl_relay_new(loop);

    if (file < 0 || ftruncate(file, (off_t)n) < 0)
        g_error("no temporary file");
    unlink(path);
    for (int round = 0; round < ROUNDS; round++)
        for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
            double direct = measure_direct(is_tcp, write_flow, -1, n), pair = measure_pair(relay, is_tcp, n);
            double bare = measure_direct(is_tcp, send_flow, file, n),
                   feed = measure_feed(relay, is_tcp, file, n);

            printf("%s  pair %5.0f MB/s (%.2f of a direct stream)   file feed %5.0f MB/s (%.2f of bare "
                   "sendfile)\n",
                   is_tcp ? "tcp " : "unix", pair, pair / direct, feed, feed / bare);
        }
    sl_relay_free(relay);
    sl_loop_free(loop);
    return 0;
}
