#include "net/relay.h"

#include "common/clock.h"
#include "common/fd.h"
#include "common/thread.h"

#include <poll.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

enum { PATIENCE_MS = 60 * 1000 };

static SlLoop *loop;
static SlRelay *relay;

static SlQueue *
queue_start(size_t limit, int *ret_client)
{
    SlQueue *queue = sl_queue_new(limit);
    g_autoptr(SlFeed) feed = NULL;
    int fds[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), ==, 0);
    *ret_client = fds[0];
    feed = sl_relay_feed(relay, sl_stream_new(fds[1]), SL_FRAMING_RAW, NULL, 0, &sl_queue_ops, queue);
    sl_queue_set_feed(queue, feed);
    return queue;
}

static size_t
read_to_end(int fd, char *data, size_t room)
{
    size_t got = 0;

    for (;;) {
        struct pollfd ready = { .fd = fd, .events = POLLIN };
        ssize_t n;

        g_assert_cmpint(poll(&ready, 1, PATIENCE_MS), ==, 1);
        n = read(fd, data + got, room - got);
        if (n <= 0)
            return got;
        got += (size_t)n;
    }
}

static void
wait_until_over(SlQueue *queue)
{
    for (int64_t until = sl_clock_monotonic_ms() + PATIENCE_MS; !sl_queue_is_over(queue);) {
        g_assert_cmpint(sl_clock_monotonic_ms(), <, until);
        poll(NULL, 0, 1);
    }
}

static bool
put(SlQueue *queue, const char *text)
{
    g_autoptr(GBytes) block = g_bytes_new_static(text, strlen(text));

    return sl_queue_put(queue, block);
}

static void
test_order_and_close(void)
{
    g_autoptr(SlQueue) queue = sl_queue_new(100);
    g_autoptr(SlFeed) feed = NULL;
    char got[64] = { 0 };
    int fds[2];

    g_assert_true(put(queue, "before the feed;"));
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), ==, 0);
    feed = sl_relay_feed(relay, sl_stream_new(fds[1]), SL_FRAMING_RAW, NULL, 0, &sl_queue_ops, queue);
    sl_queue_set_feed(queue, feed);
    g_assert_true(put(queue, "one;"));
    g_assert_true(put(queue, ""));
    g_assert_true(put(queue, "two"));
    sl_queue_close(queue);
    g_assert_false(put(queue, "too late"));
    read_to_end(fds[0], got, sizeof got - 1);
    g_assert_cmpstr(got, ==, "before the feed;one;two");
    close(fds[0]);
    wait_until_over(queue);
}

static void
test_reader_leaves(void)
{
    int client = -1;
    g_autoptr(SlQueue) queue = queue_start(100, &client);

    close(client);
    wait_until_over(queue);
    g_assert_false(put(queue, "nobody"));
}

static void
test_limit(void)
{
    enum { BLOCK = 65536, LIMIT = 16 * BLOCK };
    int slow = -1, quick = -1;
    g_autoptr(SlQueue) queue = queue_start(LIMIT, &slow);
    g_autoptr(SlQueue) other = queue_start(LIMIT, &quick);
    g_autoptr(GBytes) block = g_bytes_new_take(g_malloc0(BLOCK), BLOCK);
    g_autofree char *got = g_malloc(64 * BLOCK);
    int n = 0;

    for (; n < 1000 && sl_queue_put(queue, block); n++)
        ;
    g_assert_cmpint(n, >=, 15);
    g_assert_cmpint(n, <, 200);
    g_assert_false(sl_queue_put(queue, block));
    wait_until_over(queue); /* though the client still holds its end open */
    read_to_end(slow, got, 64 * BLOCK);

    g_assert_true(put(other, "unharmed"));
    sl_queue_close(other);
    g_assert_cmpuint(read_to_end(quick, got, 100), ==, 8);
    close(slow);
    close(quick);
    wait_until_over(other);
}

static void
test_limit_before_the_feed(void)
{
    g_autoptr(SlQueue) queue = sl_queue_new(4);
    g_autoptr(SlFeed) feed = NULL;
    char got[8];
    int fds[2];

    g_assert_true(put(queue, "1234"));
    g_assert_false(put(queue, "5"));
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), ==, 0);
    feed = sl_relay_feed(relay, sl_stream_new(fds[1]), SL_FRAMING_RAW, NULL, 0, &sl_queue_ops, queue);
    sl_queue_set_feed(queue, feed);
    g_assert_cmpuint(read_to_end(fds[0], got, sizeof got), ==, 0);
    wait_until_over(queue);
    close(fds[0]);
}

/* Events go to 10,000 readers: shared, in order, whole. */
static void
test_fan_out(void)
{
    enum { N = 10000, EVENTS = 5 };
    static SlQueue *queues[N];
    static int clients[N];
    struct rlimit files = { 0 };
    int n;
    int64_t before_ms;

    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = MIN(files.rlim_max, 2 * N + 200);
    setrlimit(RLIMIT_NOFILE, &files);
    n = (int)MIN((rlim_t)N, (files.rlim_cur - 200) / 2);
    for (int i = 0; i < n; i++)
        queues[i] = queue_start(1 << 20, &clients[i]);
    before_ms = sl_clock_monotonic_ms();
    for (int event = 0; event < EVENTS; event++) {
        g_autofree char *text = g_strdup_printf("{\"event\":%d}\n", event);
        g_autoptr(GBytes) block = g_bytes_new(text, strlen(text));

        for (int i = 0; i < n; i++)
            g_assert_true(sl_queue_put(queues[i], block));
    }
    for (int i = 0; i < n; i++)
        sl_queue_close(queues[i]);
    for (int i = 0; i < n; i++) {
        char got[128] = { 0 };

        read_to_end(clients[i], got, sizeof got - 1);
        g_assert_cmpstr(got, ==,
                        "{\"event\":0}\n{\"event\":1}\n{\"event\":2}\n{\"event\":3}\n{\"event\":4}\n");
        close(clients[i]);
    }
    g_test_message("%d readers, %d events: %d ms", n, EVENTS, (int)(sl_clock_monotonic_ms() - before_ms));
    for (int i = 0; i < n; i++) {
        wait_until_over(queues[i]);
        sl_queue_unref(queues[i]);
    }
}

typedef struct Putter {
    SlQueue *queue;
    GBytes *block;
} Putter;

static void *
put_until_over(void *data)
{
    Putter *putter = data;

    while (sl_queue_put(putter->queue, putter->block))
        ;
    return NULL;
}

static void
test_put_races_with_leaving(void)
{
    g_autoptr(GBytes) block = g_bytes_new_static("0123456789", 10);

    for (int i = 0; i < 50; i++) {
        int client = -1;
        g_autoptr(SlQueue) queue = queue_start(1 << 20, &client);
        Putter putter = { queue, block };
        pthread_t threads[2];

        for (int j = 0; j < 2; j++)
            g_assert_true(sl_thread_start("put", put_until_over, &putter, &threads[j], NULL));
        close(client);
        for (int j = 0; j < 2; j++)
            pthread_join(threads[j], NULL);
        wait_until_over(queue);
    }
}

int
main(int argc, char **argv)
{
    int failed;

    g_test_init(&argc, &argv, NULL);
    loop = sl_loop_new("test", NULL);
    relay = sl_relay_new(loop);
    g_test_add_func("/net/queue-keeps-order-and-ends", test_order_and_close);
    g_test_add_func("/net/queue-knows-that-its-reader-left", test_reader_leaves);
    g_test_add_func("/net/queue-cuts-off-a-slow-reader-alone", test_limit);
    g_test_add_func("/net/queue-cut-off-before-its-feed", test_limit_before_the_feed);
    g_test_add_func("/net/queue-put-races-with-leaving", test_put_races_with_leaving);
    g_test_add_func("/net/queue-fans-out-to-10000", test_fan_out);
    failed = g_test_run();
    g_assert_cmpuint(sl_relay_n_open(relay), ==, 0);
    sl_relay_free(relay);
    sl_loop_free(loop);
    return failed;
}
