#include "backends/core/log_reader.h"

#include "agent/protocol.h"
#include "common/clock.h"
#include "common/fd.h"
#include "common/thread.h"
#include "net/http_testing.h"
#include "net/stdcopy.h"

#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>

enum { PATIENCE_MS = 60 * 1000, HAS_TTY = 1, IS_ROTATED = 2 };

#define SECOND  INT64_C(1000000000)
#define MORNING (INT64_C(1704164645) * SECOND) /* 2024-01-02T03:04:05Z */

/* A container's folder, with the test as its agent. */
typedef struct Fixture {
    char *folder;
    SlLog *log;
    int fd, index_fd;
    uint64_t base, length; /* base: of the segment that is written */
    bool has_tty, is_rotated;
    atomic_uint n_wanted;
    TestServer server;
} Fixture;

static Fixture *current; /* the server's handler has no other way to it */

static void
count_wanted(void *user)
{
    atomic_fetch_add((atomic_uint *)user, 1);
}

/* Query members as numbers: /logs?stdout=1&tail=3&since=NS */
static bool
serve_logs(SlCall *call, GError **error)
{
    SlLogQuery query = { .tail = -1, .details_text = sl_call_query(call, "text") };

    query.stdout_ = sl_call_query_bool(call, "stdout", false);
    query.stderr_ = sl_call_query_bool(call, "stderr", false);
    query.follow = sl_call_query_bool(call, "follow", false);
    query.timestamps = sl_call_query_bool(call, "timestamps", false);
    query.details = sl_call_query_bool(call, "details", false);
    return sl_call_query_int(call, "tail", -1, &query.tail, error) &&
           sl_call_query_int(call, "since", 0, &query.since_ns, error) &&
           sl_call_query_int(call, "until", 0, &query.until_ns, error) &&
           sl_log_serve(current->log, call, "application/vnd.docker.raw-stream", &query, error);
}

static const SlRoute routes[] = { { "GET", "/logs", serve_logs, 0 }, { 0 } };

static void
setup(Fixture *f, gconstpointer data)
{
    f->has_tty = GPOINTER_TO_INT(data) & HAS_TTY;
    f->is_rotated = GPOINTER_TO_INT(data) & IS_ROTATED;
    f->folder = g_dir_make_tmp("sl-log-XXXXXX", NULL);
    f->log = sl_log_new(f->folder, f->has_tty, f->is_rotated);
    f->fd = f->index_fd = -1;
    sl_log_set_wanted(f->log, count_wanted, &f->n_wanted);
    current = f;
    test_server_start(&f->server, (SlServerConfig){ .routes = routes });
}

static void
teardown(Fixture *f, gconstpointer data)
{
    test_server_stop(&f->server);
    sl_log_unref(f->log);
    sl_fd_clear(&f->fd);
    sl_fd_clear(&f->index_fd);
    g_assert_true(sl_tree_remove(AT_FDCWD, f->folder, NULL));
    g_free(f->folder);
}

/* ---- the agent's side ---- */

static int
make_file(Fixture *f, bool is_index)
{
    char name[SL_LOG_NAME_MAX];
    g_autofree char *path = NULL;
    int fd;

    sl_log_name(f->base, is_index, name);
    path = g_build_filename(f->folder, name, NULL);
    fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    g_assert_cmpint(fd, >=, 0);
    return fd;
}

static void
write_bytes(Fixture *f, const void *data, size_t n)
{
    if (f->fd < 0)
        f->fd = make_file(f, false);
    g_assert_true(sl_fd_write_all(f->fd, data, n, "log", NULL));
    f->length += n;
}

static void
write_mark(Fixture *f, uint64_t offset, int64_t time_ns)
{
    SlLogMark mark = { GUINT64_TO_LE(offset), GUINT64_TO_LE((uint64_t)time_ns) };

    if (f->index_fd < 0)
        f->index_fd = make_file(f, true);
    g_assert_true(sl_fd_write_all(f->index_fd, &mark, sizeof mark, "index", NULL));
}

static void
print_n(Fixture *f, SlStdStream stream, int64_t time_ns, const char *text, size_t n)
{
    uint8_t header[SL_STDCOPY_HEADER];
    uint64_t offset = f->length;

    sl_stdcopy_put_header(header, stream, (uint32_t)n);
    if (!f->has_tty)
        write_bytes(f, header, sizeof header);
    write_bytes(f, text, n);
    write_mark(f, offset, time_ns);
}

static void
print(Fixture *f, SlStdStream stream, int64_t time_ns, const char *text)
{
    print_n(f, stream, time_ns, text, strlen(text));
}

static void
begin_segment(Fixture *f)
{
    sl_fd_clear(&f->fd);
    sl_fd_clear(&f->index_fd);
    f->base = f->length;
    f->index_fd = make_file(f, true);
    f->fd = make_file(f, false);
}

static void
delete_segment(Fixture *f, uint64_t base)
{
    for (int is_index = 0; is_index < 2; is_index++) {
        char name[SL_LOG_NAME_MAX];
        g_autofree char *path = NULL;

        sl_log_name(base, is_index, name);
        path = g_build_filename(f->folder, name, NULL);
        g_assert_cmpint(unlink(path), ==, 0);
    }
}

static void
grew(Fixture *f)
{
    sl_log_grew(f->log, f->length);
}

static void
run_over(Fixture *f)
{
    sl_log_run_ended(f->log, (int64_t)f->length);
}

/* ---- the clients' side ---- */

static void
receive_more(int fd, GByteArray *got, bool *ret_is_end)
{
    struct pollfd ready = { .fd = fd, .events = POLLIN };
    uint8_t data[65536];
    ssize_t n;

    g_assert_cmpint(poll(&ready, 1, PATIENCE_MS), ==, 1);
    n = read(fd, data, sizeof data);
    *ret_is_end = n <= 0;
    if (n > 0)
        g_byte_array_append(got, data, (guint)n);
}

static GByteArray *
receive_all(int fd)
{
    GByteArray *got = g_byte_array_new();
    bool is_end = false;

    while (!is_end)
        receive_more(fd, got, &is_end);
    close(fd);
    return got;
}

/* "out: one\nerr: two\n"; NUL-ended, frames as they came. */
static char *
frames_text(const uint8_t *data, size_t n)
{
    GString *text = g_string_new(NULL);
    size_t at = 0;

    while (n - at >= SL_STDCOPY_HEADER) {
        SlStdStream stream;
        uint32_t size;

        if (data[at] == SL_STD_SYSTEM) { /* the daemon's word: the length in its last two bytes will do */
            stream = SL_STD_SYSTEM;
            size = (uint32_t)data[at + 6] << 8 | data[at + 7];
        } else {
            g_assert_true(sl_stdcopy_get_header(data + at, &stream, &size));
        }
        at += SL_STDCOPY_HEADER;
        g_assert_cmpuint(size, <=, n - at);
        g_string_append(text, stream == SL_STD_OUT ? "out: " : stream == SL_STD_ERR ? "err: " : "system: ");
        g_string_append_len(text, (const char *)data + at, size);
        at += size;
    }
    g_assert_cmpuint(at, ==, n);
    return g_string_free(text, FALSE);
}

/* A GET whose head has been read; what came behind it is left in got. HTTP/1.0, so that there are no chunks. */
static int
ask_logs(Fixture *f, const char *query, GByteArray *got)
{
    g_autofree char *request = g_strdup_printf("GET /logs?%s HTTP/1.0\r\nHost: localhost\r\n\r\n", query);
    int fd = test_connect(&f->server, false);
    bool is_end = false;
    const uint8_t *head_end;

    test_send(fd, request);
    for (;;) {
        head_end = got->len > 0 ? memmem(got->data, got->len, "\r\n\r\n", 4) : NULL;
        if (head_end)
            break;
        g_assert_false(is_end);
        receive_more(fd, got, &is_end);
    }
    g_assert_true(memcmp(got->data, "HTTP/1.0 200", 12) == 0 || memcmp(got->data, "HTTP/1.1 200", 12) == 0);
    g_byte_array_remove_range(got, 0, (guint)(head_end + 4 - got->data));
    return fd;
}

static GByteArray *
get_logs_bytes(Fixture *f, const char *query)
{
    GByteArray *got = g_byte_array_new();
    int fd = ask_logs(f, query, got);
    bool is_end = false;

    while (!is_end)
        receive_more(fd, got, &is_end);
    close(fd);
    return got;
}

static void
assert_logs(Fixture *f, const char *query, const char *expected)
{
    g_autoptr(GByteArray) got = get_logs_bytes(f, query);
    g_autofree char *text =
        f->has_tty ? g_strndup((const char *)got->data, got->len) : frames_text(got->data, got->len);

    if (strcmp(text, expected) != 0)
        g_error("?%s gave\n%sinstead of\n%s", query, text, expected);
}

/* A tap as attach uses it. */
typedef struct Tapped {
    SlLogTap *tap;
    SlFeed *feed;
    int fd;
} Tapped;

static SlPull
tapped_pull(void *user, SlPiece *ret_piece)
{
    return sl_log_tap_pull(user, ret_piece);
}

static void
tapped_done(void *user, bool is_broken)
{
    sl_log_tap_free(user);
}

static Tapped
tap_open(Fixture *f, bool stdout_, bool stderr_, bool from_start, bool stream)
{
    static const SlFeedOps ops = { .pull = tapped_pull, .done = tapped_done };
    Tapped tapped;
    int fds[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), ==, 0);
    tapped.fd = fds[0];
    tapped.tap = sl_log_tap_new(f->log, stdout_, stderr_, from_start, stream, NULL);
    tapped.feed =
        sl_relay_feed(f->server.relay, sl_stream_new(fds[1]), SL_FRAMING_RAW, NULL, 0, &ops, tapped.tap);
    sl_log_tap_set_feed(tapped.tap, tapped.feed);
    return tapped;
}

static void
tap_expect(Tapped *tapped, const char *expected)
{
    g_autoptr(GByteArray) got = receive_all(tapped->fd);
    g_autofree char *text = frames_text(got->data, got->len);

    g_assert_cmpstr(text, ==, expected);
    sl_feed_unref(tapped->feed);
}

/* ---- attach ---- */

static void
test_attach_before_start(Fixture *f, gconstpointer data)
{
    Tapped both = tap_open(f, true, true, false, true);
    Tapped errors = tap_open(f, false, true, false, true);
    Tapped none = tap_open(f, false, false, false, true);
    Tapped next;

    sl_log_run_started(f->log);
    print(f, SL_STD_OUT, 1, "one\n");
    grew(f);
    print(f, SL_STD_ERR, 2, "two\n");
    print(f, SL_STD_OUT, 3, "thr");
    run_over(f);
    tap_expect(&both, "out: one\nerr: two\nout: thr");
    tap_expect(&errors, "err: two\n");
    tap_expect(&none, "");
    g_assert_cmpuint(atomic_load(&f->n_wanted), ==, 3);

    next = tap_open(f, true, true, false, true);
    sl_log_run_started(f->log);
    print(f, SL_STD_OUT, 4, "again\n");
    run_over(f);
    tap_expect(&next, "out: again\n");
}

static void
test_run_is_a_readers_end(Fixture *f, gconstpointer data)
{
    g_autofree char *big = g_strnfill(1000 * 1000, 'b');
    g_autofree char *expected = g_strconcat("out: ", big, NULL);
    Tapped slow = tap_open(f, true, true, false, true);
    Tapped slow_filtered = tap_open(f, true, false, false, true);

    sl_log_run_started(f->log);
    print(f, SL_STD_OUT, 1, big);
    run_over(f);
    sl_log_run_started(f->log);
    print(f, SL_STD_OUT, 2, "the next run\n");
    grew(f);
    tap_expect(&slow, expected); /* nobody has read before */
    tap_expect(&slow_filtered, expected);
    run_over(f);
}

static void
test_attach_with_logs(Fixture *f, gconstpointer data)
{
    Tapped logs_only, logs_and_stream;

    sl_log_run_started(f->log);
    print(f, SL_STD_OUT, 1, "old\n");
    grew(f);
    logs_only = tap_open(f, true, true, true, false);
    logs_and_stream = tap_open(f, true, false, true, true);
    tap_expect(&logs_only, "out: old\n");
    print(f, SL_STD_OUT, 1, "new\n");
    run_over(f);
    tap_expect(&logs_and_stream, "out: old\nout: new\n");
}

static void
test_failed_start_ends_attach(Fixture *f, gconstpointer data)
{
    Tapped waiting = tap_open(f, true, true, false, true);
    Tapped removed;

    sl_log_run_ended(f->log, -1);
    tap_expect(&waiting, "");
    removed = tap_open(f, true, true, false, true);
    sl_log_close(f->log);
    tap_expect(&removed, "");
}

static void
test_removal_leaves_the_reader_its_output(Fixture *f, gconstpointer data)
{
    Tapped tapped = tap_open(f, true, true, false, true);

    sl_log_run_started(f->log);
    print(f, SL_STD_OUT, 1, "last words\n");
    run_over(f);
    sl_log_close(f->log);
    tap_expect(&tapped, "out: last words\n");
}

static void
test_attach_to_a_restarted_daemon(Fixture *f, gconstpointer data)
{
    Tapped now, all;

    print(f, SL_STD_OUT, 1, "before\n");
    sl_log_run_started(f->log); /* nothing has told the length yet */
    now = tap_open(f, true, true, false, true);
    all = tap_open(f, true, true, true, true);
    print(f, SL_STD_OUT, 1, "after\n");
    run_over(f);
    tap_expect(&now, "out: after\n");
    tap_expect(&all, "out: before\nout: after\n");
}

static void
test_torn_frame_is_waited_for(Fixture *f, gconstpointer data)
{
    uint8_t header[SL_STDCOPY_HEADER];
    Tapped raw, filtered;

    sl_log_run_started(f->log);
    print(f, SL_STD_OUT, 1, "whole\n");
    sl_stdcopy_put_header(header, SL_STD_OUT, 5);
    write_bytes(f, header, 4);
    raw = tap_open(f, true, true, false, true); /* from the last whole frame on */
    filtered = tap_open(f, true, false, true, true);
    assert_logs(f, "stdout=1&stderr=1", "out: whole\n");
    grew(f); /* the agent never says so inside a frame: bytes are waited for all the same */
    poll(NULL, 0, 50);
    write_bytes(f, header + 4, 4);
    write_bytes(f, "torn\n", 5);
    write_mark(f, f->length - 13, 2);
    run_over(f);
    tap_expect(&filtered, "out: whole\nout: torn\n");
    tap_expect(&raw, "out: torn\n");
}

static void
test_damage_ends_a_reader(Fixture *f, gconstpointer data)
{
    Tapped filtered;

    print(f, SL_STD_OUT, 1, "good\n");
    write_bytes(f, "no frame at all", 15);
    sl_log_run_started(f->log);
    run_over(f);
    filtered = tap_open(f, true, false, true, false);
    assert_logs(
        f, "stdout=1&timestamps=0&tail=100",
        "out: good\nsystem: error grabbing logs: the log is damaged at byte 13: it has no frame there\n");
    tap_expect(&filtered, "out: good\nsystem: the log is damaged at byte 13\n");
}

static void
test_quiet_log_holds_no_descriptor(Fixture *f, gconstpointer data)
{
    int before, after;
    Tapped tapped;

    print(f, SL_STD_OUT, 1, "text\n");
    before = dup(0);
    close(before);
    tapped = tap_open(f, true, true, false, true);
    sl_log_close(f->log);
    tap_expect(&tapped, "");
    for (int64_t until = sl_clock_monotonic_ms() + PATIENCE_MS; sl_relay_n_open(f->server.relay) > 0;) {
        g_assert_cmpint(sl_clock_monotonic_ms(), <, until);
        poll(NULL, 0, 1);
    }
    after = dup(0);
    close(after);
    g_assert_cmpint(after, ==, before);
}

/* ---- logs ---- */

static void
print_hello(Fixture *f)
{
    sl_log_run_started(f->log);
    print(f, SL_STD_OUT, MORNING + 6, "one\ntwo\nthr");
    print(f, SL_STD_ERR, MORNING + SECOND, "err one\n");
    print(f, SL_STD_OUT, MORNING + 2 * SECOND, "ee\n");
    print(f, SL_STD_OUT, MORNING + 3 * SECOND, "open");
    grew(f);
}

static void
test_lines(Fixture *f, gconstpointer data)
{
    print_hello(f);
    assert_logs(f, "stdout=1&stderr=1", "out: one\nout: two\nerr: err one\nout: three\n");
    assert_logs(f, "stdout=1", "out: one\nout: two\nout: three\n");
    assert_logs(f, "stderr=1", "err: err one\n");
    assert_logs(f, "stdout=1&stderr=1&tail=2", "err: err one\nout: three\n");
    assert_logs(f, "stdout=1&stderr=1&tail=0", "");
    run_over(f);
    assert_logs(f, "stdout=1&tail=2", "out: three\nout: open");
    assert_logs(f, "stdout=1&stderr=1&tail=100", "out: one\nout: two\nerr: err one\nout: three\nout: open");
    assert_logs(f, "stdout=1&stderr=1&follow=1&tail=1", "out: open"); /* no run goes on: nothing to follow */
}

static void
test_sealed_log_as_it_stands(Fixture *f, gconstpointer data)
{
    print_hello(f);
    run_over(f);
    assert_logs(f, "stdout=1&stderr=1", "out: one\ntwo\nthrerr: err one\nout: ee\nout: open");
}

static void
test_timestamps_and_details(Fixture *f, gconstpointer data)
{
    print_hello(f);
    assert_logs(f, "stdout=1&stderr=1&timestamps=1",
                "out: 2024-01-02T03:04:05.000000006Z one\n"
                "out: 2024-01-02T03:04:05.000000006Z two\n"
                "err: 2024-01-02T03:04:06.000000000Z err one\n"
                "out: 2024-01-02T03:04:07.000000000Z three\n");
    assert_logs(f, "stdout=1&details=1&text=a%3Db&tail=1", "out: a=b three\n");
    assert_logs(f, "stdout=1&details=1&timestamps=1&text=a%3Db&tail=1",
                "out: 2024-01-02T03:04:07.000000000Z a=b three\n");
}

static void
test_since_until(Fixture *f, gconstpointer data)
{
    g_autofree char *since = g_strdup_printf("stdout=1&stderr=1&since=%" G_GINT64_FORMAT, MORNING + SECOND);
    g_autofree char *until = g_strdup_printf("stdout=1&stderr=1&until=%" G_GINT64_FORMAT, MORNING + SECOND);
    g_autofree char *both = g_strdup_printf("%s&until=%" G_GINT64_FORMAT, since, MORNING + SECOND);

    print_hello(f);
    run_over(f);
    assert_logs(f, since, "err: err one\nout: three\nout: open");
    assert_logs(f, until, "out: one\nout: two\nerr: err one\n");
    assert_logs(f, both, "err: err one\n");
}

static void
test_follow(Fixture *f, gconstpointer data)
{
    g_autoptr(GByteArray) got = g_byte_array_new();
    g_autofree char *text = NULL;
    bool is_end = false;
    int fd;

    sl_log_run_started(f->log);
    fd = ask_logs(f, "stdout=1&follow=1", got); /* the head is there before any file is */
    print(f, SL_STD_OUT, 1, "first\nsec");
    g_assert_cmpint(sl_log_grew(f->log, f->length), ==, SL_LOG_IS_READ);
    while (got->len < SL_STDCOPY_HEADER + strlen("first\n"))
        receive_more(fd, got, &is_end);
    print(f, SL_STD_OUT, 1, "ond\nlast");
    grew(f);
    run_over(f);
    while (!is_end)
        receive_more(fd, got, &is_end);
    close(fd);
    text = frames_text(got->data, got->len);
    g_assert_cmpstr(text, ==, "out: first\nout: second\nout: last");
}

static void
test_long_lines_are_split(Fixture *f, gconstpointer data)
{
    enum { N = 40000, ENTRY = 16384 };
    g_autofree char *line = g_strnfill(N, 'l');
    g_autoptr(GByteArray) got = NULL;
    size_t at = 0;

    sl_log_run_started(f->log);
    for (int i = 0; i < 4; i++)
        print_n(f, SL_STD_OUT, 1, line, N / 4);
    print(f, SL_STD_OUT, 1, "\n");
    got = get_logs_bytes(f, "stdout=1");
    for (size_t left = N + 1; left > 0;) {
        SlStdStream stream;
        uint32_t n;

        g_assert_cmpuint(at + SL_STDCOPY_HEADER, <=, got->len);
        g_assert_true(sl_stdcopy_get_header(got->data + at, &stream, &n));
        g_assert_cmpuint(n, ==, MIN(left, ENTRY));
        at += SL_STDCOPY_HEADER + n;
        left -= n;
    }
    g_assert_cmpuint(at, ==, got->len);
}

/* Against the plain way: all lines in memory. */
static void
test_tail_of_a_long_log(Fixture *f, gconstpointer data)
{
    enum { LINES = 60000 };
    static const int tails[] = { 1, 10, 4000, 30000, LINES, LINES + 1 };
    g_autoptr(GPtrArray) lines = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GRand) random = g_rand_new_with_seed(1);

    sl_log_run_started(f->log);
    while (lines->len < LINES) {
        SlStdStream stream = g_rand_int_range(random, 0, 3) ? SL_STD_OUT : SL_STD_ERR;
        g_autoptr(GString) chunk = g_string_new(NULL);

        for (int n = g_rand_int_range(random, 1, 50); n > 0 && lines->len < LINES; n--) {
            char *line = g_strdup_printf("line %u of a log that is long\n", lines->len);

            g_string_append(chunk, line);
            g_ptr_array_add(lines, g_strconcat(stream == SL_STD_OUT ? "out: " : "err: ", line, NULL));
            g_free(line);
        }
        print_n(f, stream, MORNING + (int64_t)lines->len * SECOND, chunk->str, chunk->len);
    }
    grew(f);
    for (size_t i = 0; i < G_N_ELEMENTS(tails); i++) {
        g_autofree char *query = g_strdup_printf("stdout=1&stderr=1&tail=%d", tails[i]);
        g_autoptr(GString) expected = g_string_new(NULL);

        for (guint at = lines->len - MIN(lines->len, (guint)tails[i]); at < lines->len; at++)
            g_string_append(expected, lines->pdata[at]);
        assert_logs(f, query, expected->str);
    }
}

static void
test_tty(Fixture *f, gconstpointer data)
{
    sl_log_run_started(f->log);
    print(f, SL_STD_OUT, MORNING, "one\r\ntw");
    print(f, SL_STD_OUT, MORNING + SECOND, "o\r\n$ ");
    grew(f);
    assert_logs(f, "stdout=1&stderr=1", "one\r\ntwo\r\n");
    assert_logs(f, "stdout=1&timestamps=1",
                "2024-01-02T03:04:05.000000000Z one\r\n2024-01-02T03:04:06.000000000Z two\r\n");
    assert_logs(f, "stdout=1&tail=1", "two\r\n");
    assert_logs(f, "stderr=1", "");
    run_over(f);
    assert_logs(f, "stdout=1", "one\r\ntwo\r\n$ ");
    assert_logs(f, "stdout=1&tail=1", "$ ");
}

static void
test_no_file_yet(Fixture *f, gconstpointer data)
{
    assert_logs(f, "stdout=1&stderr=1", "");
    assert_logs(f, "stdout=1&stderr=1&follow=1&tail=10", "");
}

/* ---- all at once ---- */

typedef struct Writer {
    Fixture *f;
    unsigned n_lines;
} Writer;

static void *
write_lines(void *data)
{
    Writer *writer = data;

    for (unsigned i = 0; i < writer->n_lines; i++) {
        g_autofree char *line = g_strdup_printf("%u\n", i);

        print(writer->f, i % 7 ? SL_STD_OUT : SL_STD_ERR, MORNING + i, line);
        grew(writer->f);
    }
    run_over(writer->f);
    return NULL;
}

static void
test_many_readers_of_a_running_log(Fixture *f, gconstpointer data)
{
    enum { READERS = 20, LINES = 3000 };
    Writer writer = { .f = f, .n_lines = LINES };
    g_autoptr(GString) expected = g_string_new(NULL);
    Tapped taps[READERS];
    int logs[READERS];
    GByteArray *got[READERS];
    pthread_t thread;

    sl_log_run_started(f->log);
    for (int i = 0; i < READERS; i++) {
        got[i] = g_byte_array_new();
        taps[i] = tap_open(f, true, true, true, true);
        logs[i] = ask_logs(f, "stdout=1&stderr=1&follow=1", got[i]);
    }
    g_assert_true(sl_thread_start("writer", write_lines, &writer, &thread, NULL));
    for (unsigned i = 0; i < LINES; i++)
        g_string_append_printf(expected, "%s: %u\n", i % 7 ? "out" : "err", i);
    for (int i = 0; i < READERS; i++) {
        g_autofree char *text = NULL;
        bool is_end = false;

        while (!is_end)
            receive_more(logs[i], got[i], &is_end);
        close(logs[i]);
        text = frames_text(got[i]->data, got[i]->len);
        g_assert_cmpstr(text, ==, expected->str);
        g_byte_array_unref(got[i]);
        tap_expect(&taps[i], expected->str);
    }
    pthread_join(thread, NULL);
}

/* ---- rotation ---- */

/* Four segments of two lines each, a second apart. */
static void
print_segments(Fixture *f)
{
    for (int i = 0; i < 4; i++) {
        g_autofree char *text = g_strdup_printf("%d\n%d\n", 2 * i, 2 * i + 1);

        if (i > 0)
            begin_segment(f);
        print(f, SL_STD_OUT, MORNING + i * SECOND, text);
    }
}

static void
test_rotated_log_reads_as_one(Fixture *f, gconstpointer data)
{
    g_autofree char *since = g_strdup_printf("stdout=1&since=%" G_GINT64_FORMAT, MORNING + 2 * SECOND);
    g_autofree char *range =
        g_strdup_printf("stdout=1&stderr=1&since=%" G_GINT64_FORMAT "&until=%" G_GINT64_FORMAT,
                        MORNING + SECOND, MORNING + 2 * SECOND);
    Tapped tapped;

    sl_log_run_started(f->log);
    print_segments(f);
    run_over(f);
    assert_logs(f, "stdout=1&stderr=1", "out: 0\n1\nout: 2\n3\nout: 4\n5\nout: 6\n7\n"); /* as it stands */
    assert_logs(f, "stdout=1", "out: 0\nout: 1\nout: 2\nout: 3\nout: 4\nout: 5\nout: 6\nout: 7\n");
    assert_logs(f, "stdout=1&tail=3", "out: 5\nout: 6\nout: 7\n");
    assert_logs(f, since, "out: 4\nout: 5\nout: 6\nout: 7\n");
    assert_logs(f, range, "out: 2\nout: 3\nout: 4\nout: 5\n");

    delete_segment(f, 0);
    delete_segment(f, 12);
    assert_logs(f, "stdout=1&tail=100", "out: 4\nout: 5\nout: 6\nout: 7\n");
    assert_logs(f, "stdout=1&stderr=1", "out: 4\n5\nout: 6\n7\n");
    assert_logs(f, "stdout=1&since=1", "out: 4\nout: 5\nout: 6\nout: 7\n");
    tapped = tap_open(f, true, true, true, false);
    tap_expect(&tapped, "out: 4\n5\nout: 6\n7\n");
}

/* The agent deletes what the daemon has seen: whoever reads has it open. */
static void
test_readers_hold_what_rotation_deletes(Fixture *f, gconstpointer data)
{
    enum { SEGMENTS = 200 };
    g_autoptr(GString) expected = g_string_new(NULL);
    g_autoptr(GByteArray) got = g_byte_array_new();
    g_autofree char *text = NULL;
    Tapped both = tap_open(f, true, true, false, true), one = tap_open(f, true, false, false, true);
    uint64_t previous = 0;
    bool is_end = false;
    int fd;

    sl_log_run_started(f->log);
    fd = ask_logs(f, "stdout=1&follow=1", got);
    for (int i = 0; i < SEGMENTS; i++) {
        g_autofree char *line = g_strdup_printf("%d\n", i);

        if (i > 0)
            begin_segment(f);
        print(f, SL_STD_OUT, MORNING, line);
        g_string_append_printf(expected, "out: %s", line);
        g_assert_cmpint(sl_log_grew(f->log, f->length), ==, SL_LOG_IS_READ);
        if (i > 0)
            delete_segment(f, previous);
        previous = f->base;
    }
    run_over(f);
    tap_expect(&both, expected->str);
    tap_expect(&one, expected->str);
    while (!is_end)
        receive_more(fd, got, &is_end);
    close(fd);
    text = frames_text(got->data, got->len);
    g_assert_cmpstr(text, ==, expected->str);
    g_assert_cmpint(sl_log_grew(f->log, f->length), ==, SL_LOG_MAY_LOSE);
}

static void
test_lost_segments_are_said(Fixture *f, gconstpointer data)
{
    g_autoptr(GByteArray) got = g_byte_array_new();
    g_autofree char *text = NULL;
    bool is_end = false;
    Tapped tapped;
    int fd;

    sl_log_run_started(f->log);
    print(f, SL_STD_OUT, 1, "0\n");
    grew(f);
    fd = ask_logs(f, "stdout=1&follow=1", got);
    tapped = tap_open(f, true, true, true, true);
    while (got->len < SL_STDCOPY_HEADER + 2)
        receive_more(fd, got, &is_end);
    grew(f);
    begin_segment(f);
    print(f, SL_STD_OUT, 1, "1\n");
    begin_segment(f);
    print(f, SL_STD_OUT, 1, "2\n");
    delete_segment(f, 10);
    grew(f);
    while (!is_end)
        receive_more(fd, got, &is_end);
    close(fd);
    text = frames_text(got->data, got->len);
    g_assert_cmpstr(
        text, ==,
        "out: 0\nsystem: error grabbing logs: 10 bytes are no longer there: rotated away, or damaged\n");
    tap_expect(&tapped, "out: 0\nsystem: 10 bytes of output are lost: this client read too slowly\n");
    run_over(f);
}

int
main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(Fixture *f, gconstpointer data);
    } tests[] = {
        { "/core/log/attach-before-start-gets-the-run-and-its-end", test_attach_before_start },
        { "/core/log/a-slow-reader-ends-with-its-own-run", test_run_is_a_readers_end },
        { "/core/log/attach-with-logs", test_attach_with_logs },
        { "/core/log/a-failed-start-ends-attach", test_failed_start_ends_attach },
        { "/core/log/removal-leaves-the-reader-its-output", test_removal_leaves_the_reader_its_output },
        { "/core/log/attach-to-a-restarted-daemon", test_attach_to_a_restarted_daemon },
        { "/core/log/a-torn-frame-is-waited-for", test_torn_frame_is_waited_for },
        { "/core/log/damage-ends-a-reader", test_damage_ends_a_reader },
        { "/core/log/a-quiet-log-holds-no-descriptor", test_quiet_log_holds_no_descriptor },
        { "/core/log/lines-and-tail-by-dockers-rules", test_lines },
        { "/core/log/a-sealed-log-goes-out-as-it-stands", test_sealed_log_as_it_stands },
        { "/core/log/timestamps-and-details", test_timestamps_and_details },
        { "/core/log/since-and-until", test_since_until },
        { "/core/log/follow-ends-with-the-run", test_follow },
        { "/core/log/long-lines-are-split-at-16-kib", test_long_lines_are_split },
        { "/core/log/tail-of-a-long-log", test_tail_of_a_long_log },
        { "/core/log/a-log-without-files-is-empty", test_no_file_yet },
        { "/core/log/many-readers-of-a-running-log", test_many_readers_of_a_running_log },
    };

    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(tests); i++)
        g_test_add(tests[i].name, Fixture, GINT_TO_POINTER(false), setup, tests[i].run, teardown);
    g_test_add("/core/log/tty-lines-are-bare", Fixture, GINT_TO_POINTER(HAS_TTY), setup, test_tty, teardown);
    g_test_add("/core/log/a-rotated-log-reads-as-one", Fixture, GINT_TO_POINTER(IS_ROTATED), setup,
               test_rotated_log_reads_as_one, teardown);
    g_test_add("/core/log/readers-hold-what-rotation-deletes", Fixture, GINT_TO_POINTER(IS_ROTATED), setup,
               test_readers_hold_what_rotation_deletes, teardown);
    g_test_add("/core/log/what-is-lost-to-a-reader-is-said", Fixture, GINT_TO_POINTER(IS_ROTATED), setup,
               test_lost_segments_are_said, teardown);
    return g_test_run();
}
