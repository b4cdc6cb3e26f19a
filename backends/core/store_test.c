#include "backends/core/store.h"

#include "common/fd.h"
#include "common/thread.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>

typedef struct Fixture {
    char *folder, *path;
    SlStore *store;
} Fixture;

static void
fixture_open(Fixture *f)
{
    g_autoptr(GError) error = NULL;

    f->store = sl_store_open(f->path, &error);
    g_assert_no_error(error);
}

static void
fixture_reopen(Fixture *f)
{
    sl_store_close(f->store);
    fixture_open(f);
}

static void
setup(Fixture *f, gconstpointer data)
{
    f->folder = g_dir_make_tmp("sl-store-XXXXXX", NULL);
    f->path = g_build_filename(f->folder, "state.db", NULL);
    fixture_open(f);
}

static void
teardown(Fixture *f, gconstpointer data)
{
    if (f->store)
        sl_store_close(f->store);
    g_assert_true(sl_tree_remove(AT_FDCWD, f->folder, NULL));
    g_free(f->folder);
    g_free(f->path);
}

static void
put(Fixture *f, const char *kind, const char *id, const char *document)
{
    SlStoreChange change = { .kind = kind, .id = id, .document = document };
    g_autoptr(GError) error = NULL;

    sl_store_commit(f->store, &change, 1, NULL, 0, &error);
    g_assert_no_error(error);
}

static bool
collect(void *user, const char *id, const char *document, GError **error)
{
    g_string_append_printf(user, "%s=%s ", id, document);
    return true;
}

static char *
dump(Fixture *f, const char *kind)
{
    GString *text = g_string_new(NULL);
    g_autoptr(GError) error = NULL;

    sl_store_each(f->store, kind, collect, text, &error);
    g_assert_no_error(error);
    return g_string_free(text, FALSE);
}

static void
collect_event(void *user, int64_t time_ns, const char *json)
{
    g_string_append_printf(user, "%" G_GINT64_FORMAT ":%s ", time_ns, json);
}

static char *
dump_events(Fixture *f, int64_t since_ns, int64_t until_ns)
{
    GString *text = g_string_new(NULL);
    g_autoptr(GError) error = NULL;

    sl_store_each_event(f->store, since_ns, until_ns, collect_event, text, &error);
    g_assert_no_error(error);
    return g_string_free(text, FALSE);
}

static void
test_order_of_first_storing(Fixture *f, gconstpointer data)
{
    g_autofree char *before = NULL;
    g_autofree char *after = NULL;

    put(f, "container", "b", "1");
    put(f, "container", "a", "2");
    put(f, "image", "b", "other kind");
    put(f, "container", "c", "3");
    put(f, "container", "b", "new");
    put(f, "container", "a", NULL);
    before = dump(f, "container");
    g_assert_cmpstr(before, ==, "b=new c=3 ");
    fixture_reopen(f);
    after = dump(f, "container");
    g_assert_cmpstr(after, ==, before);
}

static void
test_many_documents(Fixture *f, gconstpointer data)
{
    enum { N = 1000 };
    SlStoreChange *changes = g_new0(SlStoreChange, N);
    g_autoptr(GPtrArray) ids = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GString) expected = g_string_new(NULL);
    g_autofree char *seen = NULL;
    g_autoptr(GError) error = NULL;

    for (int i = 0; i < N; i++) {
        g_ptr_array_add(ids, g_strdup_printf("%d", i));
        changes[i] = (SlStoreChange){ .kind = "k", .id = ids->pdata[i], .document = "{}" };
        g_string_append_printf(expected, "%d={} ", i);
    }
    sl_store_commit(f->store, changes, N, NULL, 0, &error);
    g_assert_no_error(error);
    seen = dump(f, "k");
    g_assert_cmpstr(seen, ==, expected->str);
    g_free(changes);
}

static bool
refuse_first(void *user, const char *id, const char *document, GError **error)
{
    unsigned *n = user;

    return ++*n != 1 || sl_fail(error, SL_ERROR_SYSTEM, "not understood");
}

static void
test_refused_document_stays(Fixture *f, gconstpointer data)
{
    unsigned n = 0;
    g_autofree char *text = NULL;

    put(f, "k", "a", "1");
    put(f, "k", "b", "2");
    g_assert_true(sl_store_each(f->store, "k", refuse_first, &n, NULL));
    g_assert_cmpuint(n, ==, 2);
    text = dump(f, "k");
    g_assert_cmpstr(text, ==, "a=1 b=2 ");
}

static void
test_events(Fixture *f, gconstpointer data)
{
    SlStoreEvent events[] = { { 100, "a" }, { 200, "b" }, { 200, "c" }, { 150, "d" } };
    g_autofree char *all = NULL;
    g_autofree char *some = NULL;

    g_assert_true(sl_store_commit(f->store, NULL, 0, events, 4, NULL));
    all = dump_events(f, 0, INT64_MAX);
    g_assert_cmpstr(all, ==, "100:a 150:d 200:b 201:c ");
    some = dump_events(f, 150, 200);
    g_assert_cmpstr(some, ==, "150:d 200:b ");
    g_assert_cmpint(sl_store_last_event_ns(f->store), ==, 201);
    fixture_reopen(f);
    g_assert_cmpint(sl_store_last_event_ns(f->store), ==, 201);
}

static void
count_event(void *user, int64_t time_ns, const char *json)
{
    int64_t *counts = user;

    if (counts[0]++ == 0)
        counts[1] = time_ns;
}

static void
test_events_are_bounded(Fixture *f, gconstpointer data)
{
    enum { GROUP = 10000, GROUPS = 11, MAX = 100000, SLACK = 1000 };
    SlStoreEvent *events = g_new0(SlStoreEvent, GROUP);
    int64_t counts[2] = { 0 };

    for (int i = 0; i < GROUPS * GROUP; i++) {
        events[i % GROUP] = (SlStoreEvent){ i + 1, "{}" };
        if (i % GROUP == GROUP - 1)
            g_assert_true(sl_store_commit(f->store, NULL, 0, events, GROUP, NULL));
        if (i == 3 * GROUP) /* the count is of what is stored, not of what this process stored */
            fixture_reopen(f);
    }
    g_assert_true(sl_store_each_event(f->store, 0, INT64_MAX, count_event, counts, NULL));
    g_assert_cmpint(counts[0], >=, MAX);
    g_assert_cmpint(counts[0], <=, MAX + SLACK);
    g_assert_cmpint(counts[1] + counts[0] - 1, ==, GROUPS * GROUP); /* the newest are those kept */
    g_free(events);
}

/* ---- threads ---- */

typedef struct Crowd {
    SlStore *store;
    atomic_int next;
    bool is_one_bad;
} Crowd;

enum { CROWD = 8, EACH = 100 };

static void *
crowd_commit(void *data)
{
    Crowd *crowd = data;
    int number = atomic_fetch_add(&crowd->next, 1);
    bool is_bad = crowd->is_one_bad && number == 0;
    /* Above the size that a document may have. */
    g_autofree char *document = is_bad ? g_strnfill(65 * 1024 * 1024, 'x') : g_strdup("good");

    for (int i = 0; i < EACH; i++) {
        g_autofree char *id = g_strdup_printf("%d-%d", number, i);
        SlStoreChange change = { .kind = is_bad ? "bad" : "good", .id = id, .document = document };
        g_autoptr(GError) error = NULL;

        if (sl_store_commit(crowd->store, &change, 1, NULL, 0, &error) == is_bad)
            g_error("commit of %s: %s", id, error ? error->message : "succeeded");
    }
    return NULL;
}

static void
run_crowd(Fixture *f, bool is_one_bad)
{
    Crowd crowd = { .store = f->store, .is_one_bad = is_one_bad };
    pthread_t threads[CROWD];

    for (int i = 0; i < CROWD; i++)
        g_assert_true(sl_thread_start("crowd", crowd_commit, &crowd, &threads[i], NULL));
    for (int i = 0; i < CROWD; i++)
        pthread_join(threads[i], NULL);
}

static int
count_words(const char *text)
{
    int n = 0;

    for (; *text; text++)
        n += *text == ' ';
    return n;
}

static void
test_eight_threads(Fixture *f, gconstpointer data)
{
    g_autofree char *text = NULL;

    run_crowd(f, false);
    text = dump(f, "good");
    g_assert_cmpint(count_words(text), ==, CROWD * EACH);
}

static void
test_bad_change_fails_alone(Fixture *f, gconstpointer data)
{
    g_autofree char *good = NULL;
    g_autofree char *bad = NULL;

    run_crowd(f, true);
    good = dump(f, "good");
    g_assert_cmpint(count_words(good), ==, (CROWD - 1) * EACH);
    bad = dump(f, "bad");
    g_assert_cmpstr(bad, ==, "");
}

/* ---- accidents ---- */

/* Commits for ever, telling each commit with one byte after it. */
static void
child_commit(const char *path, int out)
{
    g_autoptr(SlStore) store = sl_store_open(path, NULL);

    for (int i = 0;; i++) {
        g_autofree char *id = g_strdup_printf("%d", i);
        SlStoreChange change = { .kind = "k", .id = id, .document = "{}" };

        if (!sl_store_commit(store, &change, 1, NULL, 0, NULL) || write(out, "x", 1) != 1)
            _exit(1);
    }
}

static void
test_killed(Fixture *f, gconstpointer data)
{
    int ends[2], told = 0, stored;
    char byte[64];
    ssize_t n;
    pid_t child;
    g_autofree char *text = NULL;

    sl_store_close(g_steal_pointer(&f->store));
    g_assert_cmpint(pipe(ends), ==, 0);
    child = fork();
    if (child == 0) {
        child_commit(f->path, ends[1]);
        _exit(1);
    }
    close(ends[1]);
    while (told < 200 && (n = read(ends[0], byte, sizeof byte)) > 0)
        told += (int)n;
    kill(child, SIGKILL);
    while ((n = read(ends[0], byte, sizeof byte)) > 0)
        told += (int)n;
    close(ends[0]);
    g_assert_cmpint(waitpid(child, NULL, 0), ==, child);
    fixture_open(f);
    text = dump(f, "k");
    stored = count_words(text);
    g_assert_cmpint(told, >=, 200);
    g_assert_cmpint(stored, >=, told); /* the last may have been stored and not told */
    g_assert_cmpint(stored, <=, told + 1);
}

/* In a child, as the limit cannot be told to leave g_test's own output alone: 0 when the store behaved. */
static int
child_full_disk(const char *path)
{
    struct rlimit limit = { 512 * 1024, 512 * 1024 };
    g_autoptr(SlStore) store = sl_store_open(path, NULL);
    g_autofree char *big = g_strnfill(128 * 1024, 'x');
    SlStoreChange small = { .kind = "k", .id = "small", .document = "1" };
    bool has_failed = false;

    signal(SIGXFSZ, SIG_IGN);
    if (!sl_store_commit(store, &small, 1, NULL, 0, NULL) || setrlimit(RLIMIT_FSIZE, &limit) < 0)
        return 2;
    for (int i = 0; i < 20 && !has_failed; i++) {
        g_autofree char *id = g_strdup_printf("big-%d", i);
        SlStoreChange changes[] = { { .kind = "k", .id = "small", .document = "changed" },
                                    { .kind = "k", .id = id, .document = big } };
        g_autoptr(GError) error = NULL;

        small.document = "kept";
        if (!sl_store_commit(store, &small, 1, NULL, 0, NULL))
            return 3;
        if (!sl_store_commit(store, changes, 2, NULL, 0, &error)) {
            has_failed = true;
            if (!g_error_matches(error, SL_ERROR, SL_ERROR_SYSTEM))
                return 4;
        }
    }
    return has_failed ? 0 : 5;
}

static void
test_full_disk(Fixture *f, gconstpointer data)
{
    int status = -1;
    pid_t child;
    g_autofree char *text = NULL;

    sl_store_close(g_steal_pointer(&f->store));
    child = fork();
    if (child == 0)
        _exit(child_full_disk(f->path));
    g_assert_cmpint(waitpid(child, &status, 0), ==, child);
    g_assert_cmpint(status, ==, 0);
    fixture_open(f); /* with room again, nothing is left of the change that failed */
    text = dump(f, "k");
    g_assert_true(g_str_has_prefix(text, "small=kept "));
    put(f, "k", "small", "again");
}

/* Writes user_version into the header: what PRAGMA user_version does, without SQLite in this file. */
static void
set_schema(const char *path, uint8_t version)
{
    sl_autofd int fd = open(path, O_WRONLY | O_CLOEXEC);

    g_assert_cmpint(pwrite(fd, &version, 1, 63), ==, 1);
}

static void
test_newer_is_refused(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;

    put(f, "k", "a", "1");
    sl_store_close(g_steal_pointer(&f->store));
    set_schema(f->path, 77);
    g_assert_null(sl_store_open(f->path, &error));
    g_assert_error(error, SL_ERROR, SL_ERROR_UNSUPPORTED);
    g_assert_nonnull(strstr(error->message, "schema 77"));
    g_assert_nonnull(strstr(error->message, "schema 2)"));
    g_assert_nonnull(strstr(error->message, f->path));
}

/* ---- damage ---- */

/* The one file that was put aside; NULL without one. */
static char *
find_kept(Fixture *f)
{
    g_autoptr(GDir) dir = g_dir_open(f->folder, 0, NULL);
    const char *name;

    while ((name = g_dir_read_name(dir)))
        if (strstr(name, SL_STORE_DAMAGED) && !g_str_has_suffix(name, "-wal"))
            return g_build_filename(f->folder, name, NULL);
    return NULL;
}

static void
test_noise_is_put_aside(Fixture *f, gconstpointer data)
{
    g_autofree char *noise = g_strnfill(8192, 'z');
    g_autofree char *kept = NULL;
    g_autofree char *found = NULL;
    gsize n;

    put(f, "k", "a", "1");
    sl_store_close(g_steal_pointer(&f->store));
    g_assert_true(g_file_set_contents(f->path, noise, 8192, NULL));
    fixture_open(f);
    g_assert_true(sl_store_is_new(f->store));
    put(f, "k", "b", "2");
    kept = find_kept(f);
    g_assert_nonnull(kept);
    g_assert_true(g_file_get_contents(kept, &found, &n, NULL));
    g_assert_cmpmem(found, n, noise, 8192);
}

static void
put_many(Fixture *f, unsigned n)
{
    g_autofree char *body = g_strnfill(2000, 'x');

    for (unsigned i = 0; i < n; i++) {
        g_autofree char *id = g_strdup_printf("id-%03u", i);

        put(f, "k", id, body);
    }
}

static bool
count(void *user, const char *id, const char *document, GError **error)
{
    g_assert_cmpuint(strlen(document), ==, 2000);
    (*(unsigned *)user)++;
    return true;
}

static unsigned
count_whole(Fixture *f)
{
    unsigned n = 0;

    sl_store_each(f->store, "k", count, &n, NULL);
    return n;
}

/* A page in the middle is lost, with what was in it and nothing else. */
static void
test_a_damaged_page_loses_only_itself(Fixture *f, gconstpointer data)
{
    enum { N = 200, PAGE = 4096 };
    uint8_t noise[PAGE];
    g_autofree char *kept = NULL;
    int fd;
    unsigned n;

    put_many(f, N);
    sl_store_settle(f->store, NULL);
    sl_store_close(g_steal_pointer(&f->store));
    memset(noise, 0xa5, sizeof noise);
    fd = open(f->path, O_WRONLY | O_CLOEXEC);
    g_assert_cmpint(pwrite(fd, noise, PAGE, 40 * PAGE), ==, PAGE);
    close(fd);
    fixture_open(f);
    kept = find_kept(f);
    g_assert_nonnull(kept);
    g_assert_true(sl_store_is_new(f->store));
    n = count_whole(f);
    g_assert_cmpuint(n, >=, N - 4);
    g_assert_cmpuint(n, <, N + 1);
    put(f, "k", "another", "1");
}

static void
test_a_truncated_file_keeps_its_begin(Fixture *f, gconstpointer data)
{
    enum { N = 200 };
    g_autofree char *kept = NULL;

    put_many(f, N);
    sl_store_close(g_steal_pointer(&f->store));
    g_assert_cmpint(truncate(f->path, 300 * 1024), ==, 0);
    fixture_open(f);
    kept = find_kept(f);
    g_assert_nonnull(kept);
    g_assert_cmpuint(count_whole(f), <, N);
}

/* What SQLite cannot notice. */
static void
test_a_changed_document_is_not_believed(Fixture *f, gconstpointer data)
{
    g_autofree char *file = NULL;
    g_autofree char *seen = NULL;
    char *found;
    gsize n;

    put(f, "k", "good", "{\"exit_code\":3}");
    put(f, "k", "bad", "{\"exit_code\":4}");
    sl_store_close(g_steal_pointer(&f->store));
    g_assert_true(g_file_get_contents(f->path, &file, &n, NULL));
    found = memmem(file, n, "code\":4", 7);
    g_assert_nonnull(found);
    found[6] = '5';
    g_assert_true(g_file_set_contents(f->path, file, (gssize)n, NULL));
    fixture_open(f);
    seen = dump(f, "k");
    g_assert_cmpstr(seen, ==, "good={\"exit_code\":3} ");
    g_assert_true(sl_store_has(f->store, "k", "bad"));
    g_assert_false(sl_store_has(f->store, "k", "none"));
}

/* The end of a write-ahead log that was being written is as if it had not been. */
static void
test_a_torn_log_loses_its_end(Fixture *f, gconstpointer data)
{
    g_autofree char *wal = g_strconcat(f->path, "-wal", NULL);
    g_autofree char *text = NULL;
    g_autofree char *log = NULL;
    g_autofree char *copy = g_build_filename(f->folder, "copy.db", NULL);
    g_autofree char *copy_log = g_strconcat(copy, "-wal", NULL);
    gsize n, n_log;
    Fixture torn = { .path = copy };

    put_many(f, 20);
    g_assert_true(g_file_get_contents(f->path, &text, &n, NULL)); /* as a kill would leave both */
    g_assert_true(g_file_get_contents(wal, &log, &n_log, NULL));
    g_assert_true(g_file_set_contents(copy, text, (gssize)n, NULL));
    g_assert_true(g_file_set_contents(copy_log, log, (gssize)(n_log - 5000), NULL));
    fixture_open(&torn);
    g_assert_cmpuint(count_whole(&torn), ==, 19);
    sl_store_close(torn.store);
}

static void
test_new_until_settled(Fixture *f, gconstpointer data)
{
    g_assert_true(sl_store_is_new(f->store));
    fixture_reopen(f);
    g_assert_true(sl_store_is_new(f->store));
    g_assert_true(sl_store_settle(f->store, NULL));
    g_assert_false(sl_store_is_new(f->store));
    fixture_reopen(f);
    g_assert_false(sl_store_is_new(f->store));
}

static void
test_private(Fixture *f, gconstpointer data)
{
    static const char *const suffixes[] = { "", "-wal", "-shm" };

    put(f, "k", "a", "1");
    for (size_t i = 0; i < G_N_ELEMENTS(suffixes); i++) {
        g_autofree char *path = g_strconcat(f->path, suffixes[i], NULL);
        GStatBuf info;

        g_assert_cmpint(g_stat(path, &info), ==, 0);
        g_assert_cmpint(info.st_mode & 0777, ==, 0600);
    }
}

int
main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(Fixture *f, gconstpointer data);
    } tests[] = {
        { "/core/store/keeps-documents-in-the-order-of-their-first-storing", test_order_of_first_storing },
        { "/core/store/reads-more-documents-than-a-page", test_many_documents },
        { "/core/store/leaves-a-refused-document-where-it-is", test_refused_document_stays },
        { "/core/store/event-times-are-unique-and-give-ranges", test_events },
        { "/core/store/keeps-the-newest-100000-events", test_events_are_bounded },
        { "/core/store/eight-threads-lose-nothing", test_eight_threads },
        { "/core/store/a-bad-change-fails-alone", test_bad_change_fails_alone },
        { "/core/store/survives-kill-in-the-middle-of-commits", test_killed },
        { "/core/store/a-full-disk-changes-nothing", test_full_disk },
        { "/core/store/refuses-a-newer-schema-naming-both", test_newer_is_refused },
        { "/core/store/noise-is-put-aside", test_noise_is_put_aside },
        { "/core/store/a-damaged-page-loses-only-itself", test_a_damaged_page_loses_only_itself },
        { "/core/store/a-truncated-file-keeps-its-begin", test_a_truncated_file_keeps_its_begin },
        { "/core/store/a-changed-document-is-not-believed", test_a_changed_document_is_not_believed },
        { "/core/store/a-torn-log-loses-its-end", test_a_torn_log_loses_its_end },
        { "/core/store/new-until-settled", test_new_until_settled },
        { "/core/store/files-are-private", test_private },
    };

    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(tests); i++)
        g_test_add(tests[i].name, Fixture, NULL, setup, tests[i].run, teardown);
    return g_test_run();
}
