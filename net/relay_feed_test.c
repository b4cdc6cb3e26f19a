#include "net/relay.h"

#include "common/clock.h"
#include "common/fd.h"
#include "common/thread.h"
#include "net/address.h"

#include <errno.h>
#include <malloc.h>
#include <poll.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

enum { PATIENCE_MS = 30 * 1000 };

static SlLoop *loop;
static SlRelay *relay;

/* A source and sink that the test drives: pieces under a lock, input collected. */
typedef struct Owner {
    pthread_mutex_t lock;
    GArray *pieces; /* of SlPiece */
    guint next;
    bool ends; /* after the pieces */
    GString *pushed;
    size_t room; /* push takes no more than this in all */
    atomic_int n_eof, n_done, n_pulls;
    atomic_bool is_broken;
} Owner;

static void
owner_init(Owner *owner)
{
    *owner = (Owner){ .pieces = g_array_new(FALSE, FALSE, sizeof(SlPiece)),
                      .pushed = g_string_new(NULL),
                      .room = SIZE_MAX };
    pthread_mutex_init(&owner->lock, NULL);
}

static void
owner_clear(Owner *owner)
{
    g_array_unref(owner->pieces);
    g_string_free(owner->pushed, TRUE);
    pthread_mutex_destroy(&owner->lock);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Owner, owner_clear)

static void
owner_add(Owner *owner, const char *text)
{
    SlPiece piece = { .data = text, .n = strlen(text) };

    SL_LOCK_GUARD(&owner->lock);
    g_array_append_val(owner->pieces, piece);
}

static void
owner_add_range(Owner *owner, int file, off_t offset, size_t n)
{
    SlPiece piece = { .file = file, .offset = offset, .n = n };

    SL_LOCK_GUARD(&owner->lock);
    g_array_append_val(owner->pieces, piece);
}

static SlPull
owner_pull(void *user, SlPiece *ret_piece)
{
    Owner *owner = user;

    SL_LOCK_GUARD(&owner->lock);
    atomic_fetch_add(&owner->n_pulls, 1);
    if (owner->next == owner->pieces->len)
        return owner->ends ? SL_PULL_END : SL_PULL_WAIT;
    *ret_piece = g_array_index(owner->pieces, SlPiece, owner->next++);
    return SL_PULL_PIECE;
}

static size_t
owner_push(void *user, const void *data, size_t n)
{
    Owner *owner = user;

    SL_LOCK_GUARD(&owner->lock);
    n = MIN(n, owner->room - owner->pushed->len);
    g_string_append_len(owner->pushed, data, (gssize)n);
    return n;
}

static void
owner_eof(void *user)
{
    atomic_fetch_add(&((Owner *)user)->n_eof, 1);
}

static void
owner_done(void *user, bool is_broken)
{
    Owner *owner = user;

    atomic_store(&owner->is_broken, is_broken);
    atomic_fetch_add(&owner->n_done, 1);
}

static const SlFeedOps owner_ops = { owner_pull, owner_push, owner_eof, owner_done };
static const SlFeedOps source_ops = { .pull = owner_pull, .done = owner_done };
static const SlFeedOps sink_ops = { .push = owner_push, .push_eof = owner_eof, .done = owner_done };

static void
wait_for(atomic_int *value, int at_least)
{
    for (int64_t until = sl_clock_monotonic_ms() + PATIENCE_MS; atomic_load(value) < at_least;) {
        g_assert_cmpint(sl_clock_monotonic_ms(), <, until);
        poll(NULL, 0, 1);
    }
}

static size_t
n_pushed(Owner *owner)
{
    SL_LOCK_GUARD(&owner->lock);

    return owner->pushed->len;
}

static void
wait_pushed(Owner *owner, size_t at_least)
{
    for (int64_t until = sl_clock_monotonic_ms() + PATIENCE_MS; n_pushed(owner) < at_least;) {
        g_assert_cmpint(sl_clock_monotonic_ms(), <, until);
        poll(NULL, 0, 1);
    }
}

static SlFeed *
feed_start(bool is_tcp, SlFraming framing, const char *head, const SlFeedOps *ops, void *user,
           int *ret_client)
{
    int fds[2];

    if (is_tcp) {
        g_auto(SlAddress) address = { .host = g_strdup("127.0.0.1") };
        g_autofree int *listeners = NULL;
        size_t n = 0;

        g_assert_true(sl_address_listen(&address, false, &listeners, &n, NULL));
        g_assert_true(sl_address_connect(&address, NULL, 1000, &fds[0], NULL));
        fds[1] = accept(listeners[0], NULL, NULL);
        close(listeners[0]);
    } else {
        g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), ==, 0);
    }
    *ret_client = fds[0];
    return sl_relay_feed(relay, sl_stream_new(fds[1]), framing, head, strlen(head), ops, user);
}

/* Up to n bytes, NUL-ended; fewer only at the end. */
static char *
read_n(int fd, size_t n, size_t *ret_got)
{
    char *data = g_malloc0(n + 1);
    size_t got = 0;

    while (got < n) {
        struct pollfd ready = { .fd = fd, .events = POLLIN };
        ssize_t done;

        g_assert_cmpint(poll(&ready, 1, PATIENCE_MS), ==, 1);
        done = read(fd, data + got, n - got);
        if (done <= 0)
            break;
        got += (size_t)done;
    }
    *ret_got = got;
    return data;
}

static void
expect(int fd, const char *text)
{
    size_t got = 0;
    g_autofree char *data = read_n(fd, strlen(text), &got);

    g_assert_cmpstr(data, ==, text);
}

static void
expect_end(int fd)
{
    size_t got = 0;
    g_autofree char *data = read_n(fd, 1, &got);

    g_assert_cmpstr(data, ==, "");
    g_assert_cmpuint(got, ==, 0);
}

static void
test_chunked_bytes(void)
{
    g_auto(Owner) owner = { 0 };
    g_autoptr(SlFeed) feed = NULL;
    sl_autofd int client = -1;

    owner_init(&owner);
    feed = feed_start(false, SL_FRAMING_CHUNKED, "HTTP/1.1 200 OK\r\n\r\n", &source_ops, &owner, &client);
    expect(client, "HTTP/1.1 200 OK\r\n\r\n"); /* before there is anything to say */
    owner_add(&owner, "{\"status\":\"start\"}\n");
    owner_add(&owner, "x");
    sl_feed_kick(feed);
    expect(client, "13\r\n{\"status\":\"start\"}\n\r\n1\r\nx\r\n");
    pthread_mutex_lock(&owner.lock);
    owner.ends = true;
    pthread_mutex_unlock(&owner.lock);
    sl_feed_kick(feed);
    expect(client, "0\r\n\r\n");
    expect_end(client);
    sl_fd_clear(&client);
    wait_for(&owner.n_done, 1);
    g_assert_false(atomic_load(&owner.is_broken));
}

static void
test_raw_end(void)
{
    for (int i = 0; i < 2; i++) {
        g_auto(Owner) owner = { 0 };
        g_autoptr(SlFeed) feed = NULL;
        sl_autofd int client = -1;

        owner_init(&owner);
        owner.ends = true;
        owner_add(&owner, "hello ");
        owner_add(&owner, "world");
        feed = feed_start(i == 1, SL_FRAMING_RAW, "HEAD;", &owner_ops, &owner, &client);
        /* Input that nobody reads any more must not destroy the output. */
        g_assert_cmpint(send(client, "late input", 10, MSG_NOSIGNAL), ==, 10);
        poll(NULL, 0, 20);
        expect(client, "HEAD;hello world");
        expect_end(client);
        g_assert_cmpint(atomic_load(&owner.n_done), ==, 0);
        sl_fd_clear(&client);
        wait_for(&owner.n_done, 1);
        g_assert_false(atomic_load(&owner.is_broken));
    }
}

static void
test_raw_end_of_a_client_that_stays(void)
{
    g_auto(Owner) owner = { 0 };
    g_autoptr(SlFeed) feed = NULL;
    sl_autofd int client = -1;
    int64_t before_ms = sl_clock_monotonic_ms();

    owner_init(&owner);
    owner.ends = true;
    feed = feed_start(false, SL_FRAMING_RAW, "", &owner_ops, &owner, &client);
    expect_end(client);
    wait_for(&owner.n_done, 1);
    g_assert_cmpint(sl_clock_monotonic_ms() - before_ms, <, 10000);
    g_assert_false(atomic_load(&owner.is_broken));
    sl_feed_kick(feed); /* after done: nothing */
    sl_feed_end(feed);
    poll(NULL, 0, 10);
    g_assert_cmpint(atomic_load(&owner.n_done), ==, 1);
}

static int
noise_file(size_t n, char **ret_data)
{
    g_autofree char *path = NULL;
    int file = g_file_open_tmp("sl-feed-XXXXXX", &path, NULL);
    g_autoptr(GRand) rand = g_rand_new_with_seed(4);

    *ret_data = g_malloc(n);
    for (size_t i = 0; i < n; i++)
        (*ret_data)[i] = (char)g_rand_int(rand);
    g_assert_true(sl_fd_write_all(file, *ret_data, n, path, NULL));
    unlink(path);
    return file;
}

static void
check_ranges(SlFraming framing)
{
    static const struct {
        off_t offset;
        size_t n;
    } ranges[] = { { 0, 3000000 }, { 1, 1 }, { 100, 16384 }, { 100, 16385 }, { 2999999, 1 }, { 5, 400000 } };
    g_auto(Owner) owner = { 0 };
    g_autoptr(SlFeed) feed = NULL;
    g_autoptr(GByteArray) expected = g_byte_array_new();
    g_autofree char *data = NULL;
    g_autofree char *got = NULL;
    sl_autofd int file = noise_file(3000000, &data);
    sl_autofd int client = -1;
    size_t n_got = 0;

    owner_init(&owner);
    owner.ends = true;
    g_byte_array_append(expected, (const guint8 *)"H", 1);
    for (size_t i = 0; i < G_N_ELEMENTS(ranges); i++) {
        g_autofree char *lead = g_strdup_printf("%zx\r\n", ranges[i].n);

        owner_add_range(&owner, file, ranges[i].offset, ranges[i].n);
        if (framing == SL_FRAMING_CHUNKED)
            g_byte_array_append(expected, (guint8 *)lead, (guint)strlen(lead));
        g_byte_array_append(expected, (guint8 *)data + ranges[i].offset, (guint)ranges[i].n);
        if (framing == SL_FRAMING_CHUNKED)
            g_byte_array_append(expected, (const guint8 *)"\r\n", 2);
    }
    if (framing == SL_FRAMING_CHUNKED)
        g_byte_array_append(expected, (const guint8 *)"0\r\n\r\n", 5);
    feed = feed_start(true, framing, "H", &source_ops, &owner, &client);
    got = read_n(client, expected->len + 1, &n_got);
    g_assert_cmpmem(got, n_got, expected->data, expected->len);
    sl_fd_clear(&client);
    wait_for(&owner.n_done, 1);
}

static void
test_ranges(void)
{
    check_ranges(SL_FRAMING_RAW);
    check_ranges(SL_FRAMING_CHUNKED);
}

static void
test_short_file(void)
{
    static const size_t lengths[] = { 200, 200000 };

    for (size_t i = 0; i < G_N_ELEMENTS(lengths); i++) {
        g_auto(Owner) owner = { 0 };
        g_autoptr(SlFeed) feed = NULL;
        g_autofree char *data = NULL;
        sl_autofd int file = noise_file(100, &data);
        sl_autofd int client = -1;

        owner_init(&owner);
        owner_add_range(&owner, file, 0, lengths[i]);
        feed = feed_start(false, SL_FRAMING_RAW, "", &source_ops, &owner, &client);
        wait_for(&owner.n_done, 1);
        g_assert_true(atomic_load(&owner.is_broken));
    }
}

static void
test_push_back_pressure(void)
{
    g_auto(Owner) owner = { 0 };
    g_autoptr(SlFeed) feed = NULL;
    sl_autofd int client = -1;
    g_autofree char *block = g_malloc(1 << 20);
    size_t sent = 0;
    ssize_t n;

    owner_init(&owner);
    owner.room = 1000;
    memset(block, 'a', 1 << 20);
    feed = feed_start(false, SL_FRAMING_RAW, "", &owner_ops, &owner, &client);
    for (int quiet = 0; quiet < 50; quiet++) {
        while ((n = send(client, block, 1 << 20, MSG_DONTWAIT | MSG_NOSIGNAL)) > 0) {
            sent += (size_t)n;
            quiet = 0;
        }
        poll(NULL, 0, 1);
    }
    g_assert_cmpuint(n_pushed(&owner), ==, 1000);
    g_assert_cmpuint(sent, <, 4 << 20); /* the kernel's buffers and ours, no more */
    shutdown(client, SHUT_WR);
    poll(NULL, 0, 20);
    g_assert_cmpint(atomic_load(&owner.n_eof), ==, 0);

    owner_add(&owner, "output goes on");
    sl_feed_kick(feed);
    expect(client, "output goes on");

    pthread_mutex_lock(&owner.lock);
    owner.room = SIZE_MAX;
    pthread_mutex_unlock(&owner.lock);
    sl_feed_kick(feed);
    wait_for(&owner.n_eof, 1);
    g_assert_cmpuint(n_pushed(&owner), ==, sent);
    g_assert_cmpint(atomic_load(&owner.n_done), ==, 0);
    sl_feed_end(feed);
    expect_end(client);
    wait_for(&owner.n_done, 1);
    g_assert_cmpint(atomic_load(&owner.n_eof), ==, 1);
    g_assert_false(atomic_load(&owner.is_broken));
}

static void
test_eof_is_told_once(void)
{
    for (int i = 0; i < 2; i++) {
        g_auto(Owner) owner = { 0 };
        g_autoptr(SlFeed) feed = NULL;
        sl_autofd int client = -1;

        owner_init(&owner);
        feed = feed_start(i == 1, SL_FRAMING_RAW, "", &owner_ops, &owner, &client);
        g_assert_cmpint(send(client, "stdin", 5, MSG_NOSIGNAL), ==, 5);
        shutdown(client, SHUT_WR);
        wait_for(&owner.n_eof, 1);
        for (int j = 0; j < 10; j++) {
            owner_add(&owner, "out\n");
            sl_feed_kick(feed);
            expect(client, "out\n");
        }
        g_assert_cmpint(atomic_load(&owner.n_eof), ==, 1);
        g_assert_cmpstr(owner.pushed->str, ==, "stdin");
        g_assert_cmpint(atomic_load(&owner.n_done), ==, 0);
        sl_fd_clear(&client);
        if (i == 1) { /* a TCP client that left is known by the first write after its RST */
            for (int j = 0; j < 200 && atomic_load(&owner.n_done) == 0; j++) {
                owner_add(&owner, "into the void\n");
                sl_feed_kick(feed);
                poll(NULL, 0, 1);
            }
        }
        wait_for(&owner.n_done, 1);
        g_assert_true(atomic_load(&owner.is_broken));
    }
}

/* Over TCP the end of input is all that tells of a client that left. */
static void
test_answer_ends_with_its_client(void)
{
    for (int i = 0; i < 2; i++) {
        g_auto(Owner) owner = { 0 };
        g_autoptr(SlFeed) feed = NULL;
        sl_autofd int client = -1;

        owner_init(&owner);
        feed = feed_start(i == 1, SL_FRAMING_CHUNKED, "H", &source_ops, &owner, &client);
        sl_feed_be_answer(feed);
        expect(client, "H");
        owner_add(&owner, "all");
        owner.ends = i == 0;
        shutdown(client, SHUT_WR); /* it still gets what there is */
        sl_feed_kick(feed);
        expect(client, i == 0 ? "3\r\nall\r\n0\r\n\r\n" : "3\r\nall\r\n");
        wait_for(&owner.n_done, 1);
        g_assert_true(atomic_load(&owner.is_broken) == (i == 1));
    }
}

static void
test_client_that_leaves(void)
{
    static const SlFraming framings[] = { SL_FRAMING_RAW, SL_FRAMING_CHUNKED };

    for (size_t i = 0; i < G_N_ELEMENTS(framings); i++) {
        g_auto(Owner) owner = { 0 };
        g_autoptr(SlFeed) feed = NULL;
        sl_autofd int client = -1;
        int64_t before_ms;

        owner_init(&owner);
        feed = feed_start(false, framings[i], "H", &source_ops, &owner, &client);
        expect(client, "H");
        before_ms = sl_clock_monotonic_ms();
        sl_fd_clear(&client);
        wait_for(&owner.n_done, 1);
        g_assert_cmpint(sl_clock_monotonic_ms() - before_ms, <, 1000);
        g_assert_true(atomic_load(&owner.is_broken));
    }
}

static void
test_sink_without_output(void)
{
    g_auto(Owner) owner = { 0 };
    g_autoptr(SlFeed) feed = NULL;
    sl_autofd int client = -1;

    owner_init(&owner);
    feed = feed_start(false, SL_FRAMING_RAW, "", &sink_ops, &owner, &client);
    g_assert_cmpint(send(client, "only in", 7, MSG_NOSIGNAL), ==, 7);
    wait_pushed(&owner, 7);
    shutdown(client, SHUT_WR);
    wait_for(&owner.n_eof, 1);
    g_assert_cmpint(atomic_load(&owner.n_done), ==, 0);
    sl_feed_end(feed);
    expect_end(client);
    wait_for(&owner.n_done, 1);
}

static void
test_end_writes_what_was_pulled(void)
{
    g_auto(Owner) owner = { 0 };
    g_autoptr(SlFeed) feed = NULL;
    g_autofree char *big = g_malloc(4 << 20);
    g_autofree char *got = NULL;
    sl_autofd int client = -1;
    size_t n_got = 0;

    owner_init(&owner);
    memset(big, 'b', (4 << 20) - 1);
    big[(4 << 20) - 1] = '\0';
    owner_add(&owner, big);
    owner_add(&owner, "never pulled");
    feed = feed_start(false, SL_FRAMING_RAW, "", &source_ops, &owner, &client);
    wait_for(&owner.n_pulls, 1);
    poll(NULL, 0, 20);
    sl_feed_end(feed);
    poll(NULL, 0, 20);
    g_assert_cmpint(atomic_load(&owner.n_done), ==, 0);
    got = read_n(client, 8 << 20, &n_got);
    g_assert_cmpmem(got, n_got, big, (4 << 20) - 1);
    sl_fd_clear(&client);
    wait_for(&owner.n_done, 1);
    g_assert_false(atomic_load(&owner.is_broken));
}

static void *
kick_often(void *data)
{
    for (int i = 0; i < 20000; i++)
        sl_feed_kick(data);
    return NULL;
}

static void
test_kicks_from_many_threads(void)
{
    g_auto(Owner) owner = { 0 };
    g_autoptr(SlFeed) feed = NULL;
    sl_autofd int client = -1;
    pthread_t threads[4];

    owner_init(&owner);
    feed = feed_start(false, SL_FRAMING_RAW, "", &source_ops, &owner, &client);
    for (int i = 0; i < 4; i++)
        g_assert_true(sl_thread_start("kick", kick_often, feed, &threads[i], NULL));
    for (int i = 0; i < 100; i++) {
        owner_add(&owner, "one line\n");
        sl_feed_kick(feed);
        expect(client, "one line\n"); /* no kick is lost */
    }
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    g_assert_cmpint(atomic_load(&owner.n_pulls), <, 80000);
    sl_feed_end(feed);
    sl_fd_clear(&client);
    wait_for(&owner.n_done, 1);
}

static void
test_free_ends_feeds(void)
{
    SlRelay *own = sl_relay_new(loop);
    g_auto(Owner) owner = { 0 };
    g_autoptr(SlFeed) feed = NULL;
    int fds[2];

    owner_init(&owner);
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), ==, 0);
    feed = sl_relay_feed(own, sl_stream_new(fds[1]), SL_FRAMING_RAW, NULL, 0, &owner_ops, &owner);
    sl_relay_free(own);
    g_assert_cmpint(atomic_load(&owner.n_done), ==, 1);
    g_assert_true(atomic_load(&owner.is_broken));
    expect_end(fds[0]);
    close(fds[0]);
    sl_feed_kick(feed);
    sl_feed_end(feed);
}

/* Resident memory is too coarse: what malloc has handed out is counted. */
static void
test_idle_feeds_are_small(void)
{
    enum { N = 5000 };
    static int clients[N];
    static SlFeed *feeds[N];
    static Owner owner;
    struct rlimit files = { 0 };
    int n = N;
    struct mallinfo2 before;
    size_t used;

    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = MIN(files.rlim_max, 2 * N + 200);
    setrlimit(RLIMIT_NOFILE, &files);
    n = (int)MIN((rlim_t)N, (files.rlim_cur - 200) / 2);
    owner_init(&owner);
    before = mallinfo2();
    for (int i = 0; i < n; i++)
        feeds[i] =
            feed_start(false, SL_FRAMING_RAW, "HTTP/1.1 200 OK\r\n\r\n", &source_ops, &owner, &clients[i]);
    for (int i = 0; i < n; i++)
        expect(clients[i], "HTTP/1.1 200 OK\r\n\r\n");
    poll(NULL, 0, 20);
    used = (mallinfo2().uordblks - before.uordblks) / (size_t)n;
    g_test_message("%d idle feeds, %zu bytes each", n, used);
    g_assert_cmpuint(used, <, 420);
    for (int i = 0; i < n; i++) {
        close(clients[i]);
        sl_feed_unref(feeds[i]);
    }
    wait_for(&owner.n_done, n);
    owner_clear(&owner);
}

int
main(int argc, char **argv)
{
    int failed;

    g_test_init(&argc, &argv, NULL);
    loop = sl_loop_new("test", NULL);
    relay = sl_relay_new(loop);
    g_test_add_func("/net/feed-chunks-are-exact", test_chunked_bytes);
    g_test_add_func("/net/feed-raw-ends-with-all-bytes-read", test_raw_end);
    g_test_add_func("/net/feed-ends-though-the-client-stays", test_raw_end_of_a_client_that_stays);
    g_test_add_func("/net/feed-sends-file-ranges", test_ranges);
    g_test_add_func("/net/feed-breaks-on-a-file-that-is-too-short", test_short_file);
    g_test_add_func("/net/feed-stops-reading-what-nobody-takes", test_push_back_pressure);
    g_test_add_func("/net/feed-tells-eof-once-and-writes-on", test_eof_is_told_once);
    g_test_add_func("/net/feed-answer-ends-with-its-client", test_answer_ends_with_its_client);
    g_test_add_func("/net/feed-notices-a-client-that-left", test_client_that_leaves);
    g_test_add_func("/net/feed-without-output-stays-until-ended", test_sink_without_output);
    g_test_add_func("/net/feed-end-writes-what-was-pulled", test_end_writes_what_was_pulled);
    g_test_add_func("/net/feed-loses-no-kick", test_kicks_from_many_threads);
    g_test_add_func("/net/feed-done-comes-with-the-relay's-end", test_free_ends_feeds);
    g_test_add_func("/net/feed-idle-is-small", test_idle_feeds_are_small);
    failed = g_test_run();
    sl_relay_free(relay);
    sl_loop_free(loop);
    return failed;
}
