#include "backends/core/events.h"

#include "backends/core/event_filter.h"
#include "common/clock.h"
#include "common/fd.h"
#include "common/thread.h"

#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

enum { PATIENCE_MS = 60 * 1000 };

static SlLoop *loop;
static SlRelay *relay;

typedef struct Fixture {
    char *folder, *path;
    SlStore *store;
    SlEvents *events;
} Fixture;

static void
fixture_open(Fixture *f)
{
    g_autoptr(GError) error = NULL;

    f->store = sl_store_open(f->path, &error);
    g_assert_no_error(error);
    f->events = sl_events_new(f->store);
}

static void
fixture_close(Fixture *f)
{
    sl_events_free(f->events);
    sl_store_close(f->store);
}

static void
setup(Fixture *f, gconstpointer data)
{
    f->folder = g_dir_make_tmp("sl-events-XXXXXX", NULL);
    f->path = g_build_filename(f->folder, "state.db", NULL);
    fixture_open(f);
}

static void
teardown(Fixture *f, gconstpointer data)
{
    fixture_close(f);
    g_assert_true(sl_tree_remove(AT_FDCWD, f->folder, NULL));
    g_free(f->folder);
    g_free(f->path);
}

/* A reader whose queue goes to a socket. */
typedef struct Client {
    SlEventReader *reader;
    SlQueue *queue;
    int fd;
    GString *text;
} Client;

static DkFilters *
filters_of(const char *text)
{
    g_autoptr(GError) error = NULL;
    DkFilters *filters = dk_filters_parse(text, sl_event_filter_keys, &error);

    g_assert_no_error(error);
    return filters;
}

static Client
client_new(Fixture *f, const char *filters)
{
    g_autoptr(SlFeed) feed = NULL;
    Client client = { .queue = sl_queue_new(64 * 1024 * 1024), .text = g_string_new(NULL) };
    int fds[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), ==, 0);
    client.fd = fds[0];
    feed = sl_relay_feed(relay, sl_stream_new(fds[1]), SL_FRAMING_RAW, NULL, 0, &sl_queue_ops, client.queue);
    sl_queue_set_feed(client.queue, feed);
    client.reader = sl_event_reader_new(f->events, filters_of(filters), client.queue);
    return client;
}

/* Reads until n lines are there. */
static void
client_read_lines(Client *client, unsigned n)
{
    char data[4096];

    for (unsigned seen = 0; seen < n;) {
        struct pollfd ready = { .fd = client->fd, .events = POLLIN };
        ssize_t got;

        g_assert_cmpint(poll(&ready, 1, PATIENCE_MS), ==, 1);
        got = read(client->fd, data, sizeof data);
        g_assert_cmpint(got, >, 0);
        g_string_append_len(client->text, data, got);
        for (ssize_t i = 0; i < got; i++)
            seen += data[i] == '\n';
    }
}

/* What came until the end of the stream. */
static char *
client_finish(Client *client)
{
    char data[4096];

    sl_queue_close(client->queue);
    for (;;) {
        struct pollfd ready = { .fd = client->fd, .events = POLLIN };
        ssize_t got;

        g_assert_cmpint(poll(&ready, 1, PATIENCE_MS), ==, 1);
        got = read(client->fd, data, sizeof data);
        if (got <= 0)
            break;
        g_string_append_len(client->text, data, got);
    }
    close(client->fd);
    sl_event_reader_free(client->reader);
    sl_queue_unref(client->queue);
    return g_string_free(client->text, FALSE);
}

static void
emit(Fixture *f, const char *action)
{
    sl_events_emit(f->events, "container", action, "c0ffee",
                   json_pack("{s:s, s:s}", "name", "web", "image", "alpine:3"));
}

static void
commit(Fixture *f)
{
    g_autoptr(GError) error = NULL;

    sl_events_commit(f->events, NULL, 0, &error);
    g_assert_no_error(error);
}

/* "create start " of a stream's lines; times must grow. */
static char *
actions_of(const char *lines)
{
    g_auto(GStrv) split = g_strsplit(lines, "\n", 0);
    GString *actions = g_string_new(NULL);
    json_int_t last = 0;

    for (char **line = split; *line && **line; line++) {
        g_autoptr(json_t) event = json_loads(*line, 0, NULL);
        json_int_t now = json_integer_value(json_object_get(event, "timeNano"));

        g_assert_cmpint(now, >, last);
        last = now;
        g_string_append_printf(actions, "%s ", json_string_value(json_object_get(event, "Action")));
    }
    return g_string_free(actions, FALSE);
}

static void
test_docker_form(Fixture *f, gconstpointer data)
{
    Client client = client_new(f, NULL);
    g_autofree char *got = NULL;
    g_autofree char *expected = NULL;
    g_autoptr(json_t) event = NULL;
    json_int_t time_ns;

    sl_event_reader_go_live(client.reader);
    sl_events_emit(f->events, "container", "start", "c0ffee",
                   json_pack("{s:s, s:s, s:s}", "name", "web", "image", "alpine:3", "com.example.a", "b"));
    sl_events_emit(f->events, "network", "connect", "beef", NULL);
    commit(f);
    got = client_finish(&client);
    event = json_loads(got, JSON_DISABLE_EOF_CHECK, NULL);
    time_ns = json_integer_value(json_object_get(event, "timeNano"));
    g_assert_cmpint(ABS(sl_clock_now_ns() - time_ns), <, PATIENCE_MS * INT64_C(1000000));
    *strchr(got, '\n') = '\0';
    expected = g_strdup_printf(
        "{\"status\":\"start\",\"id\":\"c0ffee\",\"from\":\"alpine:3\",\"Type\":\"container\",\"Action\":"
        "\"start\",\"Actor\":{\"ID\":\"c0ffee\",\"Attributes\":{\"com.example.a\":\"b\",\"image\":"
        "\"alpine:3\",\"name\":\"web\"}},\"scope\":\"local\",\"time\":%" G_GINT64_FORMAT
        ",\"timeNano\":%" G_GINT64_FORMAT "}",
        (int64_t)time_ns / 1000000000, (int64_t)time_ns);
    g_assert_cmpstr(got, ==, expected);
    g_assert_true(g_str_has_prefix(got + strlen(got) + 1,
                                   "{\"Type\":\"network\",\"Action\":\"connect\",\"Actor\":{\"ID\":"
                                   "\"beef\",\"Attributes\":{}},\"scope\":\"local\",\"time\":"));
}

static void
test_flush(Fixture *f, gconstpointer data)
{
    Client client = client_new(f, NULL);
    int64_t begin_ms = sl_clock_monotonic_ms();
    g_autofree char *got = NULL;
    g_autofree char *actions = NULL;

    sl_event_reader_go_live(client.reader);
    emit(f, "attach");
    client_read_lines(&client, 1);
    g_assert_cmpint(sl_clock_monotonic_ms() - begin_ms, <, 2000); /* 100 ms on a quiet machine */
    got = client_finish(&client);
    actions = actions_of(got);
    g_assert_cmpstr(actions, ==, "attach ");
}

static void
test_free_stores_what_was_noted(Fixture *f, gconstpointer data)
{
    g_autofree char *got = NULL;
    g_autofree char *actions = NULL;
    Client client;

    emit(f, "create");
    fixture_close(f);
    fixture_open(f);
    client = client_new(f, NULL);
    g_assert_true(sl_event_reader_replay(client.reader, 0, INT64_MAX, NULL));
    sl_event_reader_go_live(client.reader);
    emit(f, "start");
    commit(f);
    got = client_finish(&client);
    actions = actions_of(got);
    g_assert_cmpstr(actions, ==, "create start ");
}

static void
test_failed_change_tells_nothing(Fixture *f, gconstpointer data)
{
    g_autofree char *too_big = g_strnfill(65 * 1024 * 1024, 'x');
    SlStoreChange change = { .kind = "container", .id = "a", .document = too_big };
    Client client = client_new(f, NULL);
    g_autofree char *got = NULL;
    g_autofree char *actions = NULL;

    sl_event_reader_go_live(client.reader);
    emit(f, "start");
    g_assert_false(sl_events_commit(f->events, &change, 1, NULL));
    emit(f, "stop");
    commit(f);
    got = client_finish(&client);
    actions = actions_of(got);
    g_assert_cmpstr(actions, ==, "stop ");
}

static void
test_since_until(Fixture *f, gconstpointer data)
{
    Client client;
    int64_t first, second;
    g_autofree char *got = NULL;
    g_autofree char *actions = NULL;

    emit(f, "create");
    commit(f);
    first = sl_store_last_event_ns(f->store) + 1;
    emit(f, "start");
    emit(f, "die");
    commit(f);
    second = sl_store_last_event_ns(f->store) - 1;
    client = client_new(f, "{\"container\":[\"we\"]}");
    g_assert_true(sl_event_reader_replay(client.reader, first, second, NULL));
    got = client_finish(&client);
    actions = actions_of(got);
    g_assert_cmpstr(actions, ==, "start ");
}

/* ---- replay while events go on ---- */

typedef struct Storm {
    Fixture *f;
    atomic_bool must_end;
    atomic_uint n_emitted;
} Storm;

static void *
storm_run(void *data)
{
    Storm *storm = data;

    while (!atomic_load(&storm->must_end)) {
        emit(storm->f, "storm");
        commit(storm->f);
        atomic_fetch_add(&storm->n_emitted, 1);
    }
    return NULL;
}

static void
test_no_gap_no_double(Fixture *f, gconstpointer data)
{
    enum { THREADS = 3, CLIENTS = 20 };
    Storm storm = { .f = f };
    pthread_t threads[THREADS];
    Client clients[CLIENTS];

    for (int i = 0; i < THREADS; i++)
        g_assert_true(sl_thread_start("storm", storm_run, &storm, &threads[i], NULL));
    for (unsigned i = 0; i < CLIENTS; i++) {
        unsigned until = atomic_load(&storm.n_emitted) + 20;

        clients[i] = client_new(f, i % 2 ? "{\"event\":[\"storm\"]}" : NULL);
        g_assert_true(sl_event_reader_replay(clients[i].reader, 0, INT64_MAX, NULL));
        sl_event_reader_go_live(clients[i].reader);
        while (atomic_load(&storm.n_emitted) < until)
            poll(NULL, 0, 1);
    }
    atomic_store(&storm.must_end, true);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < CLIENTS; i++) {
        g_autofree char *got = client_finish(&clients[i]);
        g_autofree char *actions = actions_of(got); /* in order, so none twice */

        g_assert_cmpuint(strlen(actions), ==, strlen("storm ") * atomic_load(&storm.n_emitted));
    }
}

static void
test_times_grow_across_restarts(Fixture *f, gconstpointer data)
{
    /* As if the clock had been set back by a day since. */
    SlStoreEvent future = { sl_clock_now_ns() + INT64_C(86400000000000), "{}" };

    g_assert_true(sl_store_commit(f->store, NULL, 0, &future, 1, NULL));
    fixture_close(f);
    fixture_open(f);
    emit(f, "start");
    commit(f);
    g_assert_cmpint(sl_store_last_event_ns(f->store), ==, future.time_ns + 1);
}

/* ---- filters ---- */

static void
test_filters(void)
{
    static const struct {
        const char *filters;
        bool is_wanted;
    } cases[] = {
        { "{}", true },
        { "{\"type\":[\"container\"]}", true },
        { "{\"type\":[\"image\"]}", false },
        { "{\"type\":[\"image\",\"container\"]}", true },
        { "{\"event\":[\"exec_create\"]}", true },
        { "{\"event\":[\"exec_create: sh -c ls\"]}", true },
        { "{\"event\":[\"exec\"]}", false },
        { "{\"event\":[\"start\"]}", false },
        { "{\"container\":[\"c0ff\"]}", true },
        { "{\"container\":[\"web\"]}", true },
        { "{\"container\":[\"eb\"]}", false },
        { "{\"image\":[\"localhost:5000/alpine:3\"]}", true },
        { "{\"image\":[\"localhost:5000/alpine\"]}", true },
        { "{\"image\":[\"localhost\"]}", false },
        { "{\"label\":[\"a\"]}", true },
        { "{\"label\":[\"a=b\"]}", true },
        { "{\"label\":[\"a=c\"]}", false },
        { "{\"label\":[\"a=b\",\"z\"]}", false },
        { "{\"scope\":[\"local\"]}", true },
        { "{\"scope\":[\"swarm\"]}", false },
        { "{\"network\":[\"bridge\"]}", false },
        { "{\"type\":[\"container\"],\"label\":[\"a=b\"],\"event\":[\"exec_create\"]}", true },
    };
    g_autoptr(json_t) event =
        json_pack("{s:s, s:s, s:{s:s, s:{s:s, s:s, s:s}}, s:s}", "Type", "container", "Action",
                  "exec_create: sh -c ls", "Actor", "ID", "c0ffee", "Attributes", "name", "web", "image",
                  "localhost:5000/alpine:3", "a", "b", "scope", "local");

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(DkFilters) filters = filters_of(cases[i].filters);

        if (sl_event_matches(filters, event) != cases[i].is_wanted)
            g_error("%s should be %d", cases[i].filters, cases[i].is_wanted);
    }
}

/* ---- many readers ---- */

static void
test_fan_out(Fixture *f, gconstpointer data)
{
    enum { READERS = 10000 };
    struct rlimit limit;
    unsigned n;
    Client *clients;

    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    n = (unsigned)MIN((rlim_t)READERS, (limit.rlim_cur - 64) / 2);
    clients = g_new(Client, n);
    for (unsigned i = 0; i < n; i++) {
        clients[i] = client_new(f, NULL);
        sl_event_reader_go_live(clients[i].reader);
    }
    emit(f, "start");
    commit(f);
    for (unsigned i = 0; i < n; i++) {
        g_autofree char *got = client_finish(&clients[i]);
        g_autofree char *actions = actions_of(got);

        g_assert_cmpstr(actions, ==, "start ");
    }
    g_free(clients);
}

int
main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(Fixture *f, gconstpointer data);
    } tests[] = {
        { "/core/events/have-the-form-of-docker", test_docker_form },
        { "/core/events/are-told-without-anybodys-commit", test_flush },
        { "/core/events/closing-stores-what-was-noted", test_free_stores_what_was_noted },
        { "/core/events/of-a-change-that-failed-are-not-told", test_failed_change_tells_nothing },
        { "/core/events/since-and-until-with-a-filter", test_since_until },
        { "/core/events/replay-and-live-join-without-gap-or-double", test_no_gap_no_double },
        { "/core/events/times-grow-though-the-clock-goes-back", test_times_grow_across_restarts },
        { "/core/events/one-event-reaches-10000-readers", test_fan_out },
    };
    int failed;

    g_test_init(&argc, &argv, NULL);
    sl_json_setup();
    loop = sl_loop_new("test", NULL);
    relay = sl_relay_new(loop);
    for (size_t i = 0; i < G_N_ELEMENTS(tests); i++)
        g_test_add(tests[i].name, Fixture, NULL, setup, tests[i].run, teardown);
    g_test_add_func("/core/events/filters-are-those-of-docker", test_filters);
    failed = g_test_run();
    sl_relay_free(relay);
    sl_loop_free(loop);
    return failed;
}
