#include "net/relay.h"

#include "common/clock.h"
#include "common/fd.h"
#include "common/thread.h"
#include "net/address.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

enum { BIG = 100 * 1024 * 1024, PATIENCE_MS = 60 * 1000 };

/* client ‹ outer[0] … inner[0] › relay ‹ inner[1] … outer[1] › backend */
typedef struct Joined {
    SlLoop *loop;
    SlRelay *relay;
    SlStream *inner[2];
    int outer[2];
} Joined;

static void
tcp_pair(int ret[2])
{
    g_auto(SlAddress) address = { .host = g_strdup("127.0.0.1") };
    g_autofree int *fds = NULL;
    size_t n = 0;

    g_assert_true(sl_address_listen(&address, false, &fds, &n, NULL));
    g_assert_true(sl_address_connect(&address, NULL, 1000, &ret[0], NULL));
    ret[1] = accept(fds[0], NULL, NULL);
    g_assert_cmpint(ret[1], >=, 0);
    close(fds[0]);
}

static void
joined_open(Joined *joined, bool is_tcp)
{
    joined->loop = sl_loop_new("test", NULL);
    joined->relay = sl_relay_new(joined->loop);
    for (int i = 0; i < 2; i++) {
        int fds[2];

        if (is_tcp)
            tcp_pair(fds);
        else
            g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), ==, 0);
        joined->outer[i] = fds[0];
        joined->inner[i] = sl_stream_new(fds[1]);
    }
}

static void
joined_start(Joined *joined)
{
    sl_relay_join(joined->relay, joined->inner[0], joined->inner[1]);
}

static void
joined_close(Joined *joined)
{
    for (int i = 0; i < 2; i++)
        if (joined->outer[i] >= 0)
            close(joined->outer[i]);
    sl_relay_free(joined->relay);
    sl_loop_free(joined->loop);
}

static void
wait_until_closed(SlRelay *relay)
{
    for (int64_t until = sl_clock_monotonic_ms() + PATIENCE_MS; sl_relay_n_open(relay) > 0;) {
        g_assert_cmpint(sl_clock_monotonic_ms(), <, until);
        poll(NULL, 0, 1);
    }
}

/* The next n bytes, or what comes before the end. */
static size_t
read_n(int fd, char *data, size_t n)
{
    size_t got = 0;

    while (got < n) {
        struct pollfd ready = { .fd = fd, .events = POLLIN };
        ssize_t done;

        g_assert_cmpint(poll(&ready, 1, PATIENCE_MS), ==, 1);
        done = read(fd, data + got, n - got);
        if (done == 0 || (done < 0 && errno == ECONNRESET))
            break;
        g_assert_cmpint(done, >, 0);
        got += (size_t)done;
    }
    return got;
}

static void
write_n(int fd, const char *data, size_t n)
{
    while (n > 0) {
        struct pollfd ready = { .fd = fd, .events = POLLOUT };
        ssize_t done;

        g_assert_cmpint(poll(&ready, 1, PATIENCE_MS), ==, 1);
        done = send(fd, data, n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (done < 0 && errno == EAGAIN)
            continue;
        g_assert_cmpint(done, >, 0);
        data += done;
        n -= (size_t)done;
    }
}

static void
expect(int fd, const char *text)
{
    g_autofree char *got = g_malloc0(strlen(text) + 1);

    g_assert_cmpuint(read_n(fd, got, strlen(text)), ==, strlen(text));
    g_assert_cmpstr(got, ==, text);
}

static void
expect_end(int fd)
{
    char byte;

    g_assert_cmpuint(read_n(fd, &byte, 1), ==, 0);
}

/* Goes on for n bytes from a seed: what comes out must be what went in. */
typedef struct Noise {
    int fd;
    uint64_t seed;
    size_t n;
    size_t slow_every; /* bytes between pauses of a slow reader; 0: none */
    bool half_close;
} Noise;

static void
noise_fill(uint64_t *state, char *data, size_t n)
{
    for (size_t i = 0; i < n; i += sizeof *state) {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        memcpy(data + i, state, sizeof *state);
    }
}

static void *
noise_write(void *data)
{
    Noise *noise = data;
    uint64_t state = noise->seed;
    g_autofree char *block = g_malloc(65536);

    for (size_t done = 0; done < noise->n; done += 65536) {
        noise_fill(&state, block, 65536);
        write_n(noise->fd, block, 65536);
    }
    if (noise->half_close)
        shutdown(noise->fd, SHUT_WR);
    return NULL;
}

static void *
noise_check(void *data)
{
    Noise *noise = data;
    uint64_t state = noise->seed;
    g_autofree char *expected = g_malloc(65536);
    g_autofree char *block = g_malloc(65536);

    for (size_t done = 0; done < noise->n; done += 65536) {
        noise_fill(&state, expected, 65536);
        g_assert_cmpuint(read_n(noise->fd, block, 65536), ==, 65536);
        g_assert_true(memcmp(block, expected, 65536) == 0);
        if (noise->slow_every && done % noise->slow_every == 0)
            poll(NULL, 0, 1);
    }
    expect_end(noise->fd);
    return NULL;
}

static void
check_both_ways(bool is_tcp)
{
    Joined joined;
    Noise up, down;
    pthread_t threads[4];

    joined_open(&joined, is_tcp);
    joined_start(&joined);
    for (int i = 0; i < 2; i++) {
        Noise *noise = i == 0 ? &up : &down;
        static Noise sides[4];

        *noise = (Noise){ .fd = joined.outer[i], .seed = 7 + (uint64_t)i, .n = BIG, .half_close = true };
        sides[2 * i] = *noise;
        sides[2 * i + 1] = *noise;
        sides[2 * i + 1].fd = joined.outer[1 - i];
        g_assert_true(sl_thread_start("write", noise_write, &sides[2 * i], &threads[2 * i], NULL));
        g_assert_true(sl_thread_start("check", noise_check, &sides[2 * i + 1], &threads[2 * i + 1], NULL));
    }
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    wait_until_closed(joined.relay);
    joined_close(&joined);
}

static void
test_100_mb_unix(void)
{
    check_both_ways(false);
}

static void
test_100_mb_tcp(void)
{
    check_both_ways(true);
}

static void
check_half_close(bool is_tcp, int first)
{
    Joined joined;
    int a, b;

    joined_open(&joined, is_tcp);
    joined_start(&joined);
    a = joined.outer[first];
    b = joined.outer[1 - first];
    write_n(a, "script\n", 7);
    shutdown(a, SHUT_WR);
    expect(b, "script\n");
    expect_end(b);
    for (int i = 0; i < 20; i++) {
        write_n(b, "output\n", 7);
        expect(a, "output\n");
    }
    g_assert_cmpuint(sl_relay_n_open(joined.relay), ==, 1);
    shutdown(b, SHUT_WR);
    expect_end(a);
    wait_until_closed(joined.relay);
    joined_close(&joined);
}

static void
test_half_close(void)
{
    for (int i = 0; i < 4; i++)
        check_half_close(i & 1, i >> 1);
}

static void
test_pending_first(void)
{
    Joined joined;

    joined_open(&joined, false);
    write_n(joined.outer[0], " wire", 5);
    write_n(joined.outer[1], " cable", 6);
    sl_stream_unread(joined.inner[0], "head", 4);
    sl_stream_unread(joined.inner[1], "neck", 4);
    joined_start(&joined);
    expect(joined.outer[1], "head wire");
    expect(joined.outer[0], "neck cable");
    joined_close(&joined);
}

/* The backend goes away for good while the client has not read the last that it said. */
static void
check_slow_reader(bool is_tcp)
{
    enum { ALL = 2 * 1024 * 1024, LAST = 128 * 1024 };
    Joined joined;
    Noise writer = { .seed = 99, .n = ALL };
    Noise reader = { .seed = 99, .n = LAST, .slow_every = 65536 };
    g_autofree char *expected = g_malloc(65536);
    g_autofree char *got = g_malloc(65536);
    pthread_t thread;

    joined_open(&joined, is_tcp);
    joined_start(&joined);
    writer.fd = joined.outer[1];
    reader.fd = joined.outer[0];
    g_assert_true(sl_thread_start("write", noise_write, &writer, &thread, NULL));
    /* All but what the sockets and the relay hold: so much must be read for the writer to come to its end. */
    for (size_t done = 0; done < ALL - LAST; done += 65536) {
        noise_fill(&reader.seed, expected, 65536);
        g_assert_cmpuint(read_n(reader.fd, got, 65536), ==, 65536);
        g_assert_true(memcmp(got, expected, 65536) == 0);
    }
    write_n(joined.outer[0], "unread input", 12);
    pthread_join(thread, NULL);
    close(joined.outer[1]);
    joined.outer[1] = -1;
    poll(NULL, 0, 50);
    noise_check(&reader);
    close(joined.outer[0]);
    joined.outer[0] = -1;
    wait_until_closed(joined.relay);
    joined_close(&joined);
}

static void
test_slow_reader(void)
{
    check_slow_reader(false);
    check_slow_reader(true);
}

static void
test_close_in_the_middle(void)
{
    for (int i = 0; i < 4; i++) {
        Joined joined;
        g_autofree char *rubbish = g_malloc0(1 << 20);
        bool is_tcp = i & 1;
        int gone = i >> 1;

        joined_open(&joined, is_tcp);
        joined_start(&joined);
        send(joined.outer[1 - gone], rubbish, 1 << 20, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (is_tcp)
            setsockopt(joined.outer[gone], SOL_SOCKET, SO_LINGER, &(struct linger){ 1, 0 },
                       sizeof(struct linger));
        close(joined.outer[gone]);
        joined.outer[gone] = -1;
        expect_end(joined.outer[1 - gone]);
        wait_until_closed(joined.relay);
        joined_close(&joined);
    }
}

static void
test_vanished_after_half_close(void)
{
    Joined joined;

    joined_open(&joined, false);
    joined_start(&joined);
    shutdown(joined.outer[0], SHUT_WR);
    expect_end(joined.outer[1]);
    close(joined.outer[0]);
    joined.outer[0] = -1;
    wait_until_closed(joined.relay); /* nobody has written anything, and nobody will */
    joined_close(&joined);
}

static int64_t
cpu_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Whatever is half-closed, blocked or gone: a relay with nothing to do does nothing. */
static void
test_idle_does_not_spin(void)
{
    Joined half, blocked;
    g_autofree char *rubbish = g_malloc0(8 << 20);
    int64_t before_ms;

    joined_open(&half, true);
    joined_start(&half);
    shutdown(half.outer[0], SHUT_WR);
    expect_end(half.outer[1]);

    joined_open(&blocked, false);
    joined_start(&blocked);
    for (int i = 0; i < 50; i++) {
        send(blocked.outer[0], rubbish, 1 << 20, MSG_DONTWAIT | MSG_NOSIGNAL);
        poll(NULL, 0, 1);
    }
    close(blocked.outer[0]);
    blocked.outer[0] = -1;
    poll(NULL, 0, 20);

    before_ms = cpu_ms();
    poll(NULL, 0, 300);
    g_assert_cmpint(cpu_ms() - before_ms, <, 60);
    g_assert_cmpuint(sl_relay_n_open(blocked.relay), ==, 1);
    joined_close(&half);
    joined_close(&blocked);
}

static void
test_free_ends_all(void)
{
    Joined joined;

    joined_open(&joined, false);
    joined_start(&joined);
    write_n(joined.outer[0], "x", 1);
    expect(joined.outer[1], "x");
    sl_relay_free(joined.relay);
    expect_end(joined.outer[0]);
    expect_end(joined.outer[1]);
    joined.relay = NULL;
    joined_close(&joined);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/net/relay-moves-bytes-after-half-close-both-ways", test_half_close);
    g_test_add_func("/net/relay-gives-pending-bytes-first", test_pending_first);
    g_test_add_func("/net/relay-keeps-bytes-of-a-backend-that-left-for-a-slow-client", test_slow_reader);
    g_test_add_func("/net/relay-ends-both-when-one-breaks", test_close_in_the_middle);
    g_test_add_func("/net/relay-notices-a-client-that-left-after-its-half-close",
                    test_vanished_after_half_close);
    g_test_add_func("/net/relay-idle-does-not-spin", test_idle_does_not_spin);
    g_test_add_func("/net/relay-free-ends-every-stream", test_free_ends_all);
    g_test_add_func("/net/relay-100-mb-each-way-unix", test_100_mb_unix);
    g_test_add_func("/net/relay-100-mb-each-way-tcp", test_100_mb_tcp);
    return g_test_run();
}
