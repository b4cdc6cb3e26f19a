#include "agent/log_writer.h"

#include "agent/protocol.h"
#include "common/fd.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>

typedef struct Fixture {
    char *folder;
} Fixture;

/* The writer's files are the current folder's. */
static void
set_up(Fixture *fixture, gconstpointer data)
{
    fixture->folder = g_dir_make_tmp("log-XXXXXX", NULL);
    g_assert_cmpint(chdir(fixture->folder), ==, 0);
}

static void
tear_down(Fixture *fixture, gconstpointer data)
{
    g_assert_cmpint(chdir("/"), ==, 0);
    g_assert_true(sl_tree_remove(AT_FDCWD, fixture->folder, NULL));
    g_free(fixture->folder);
}

static void
assert_file(const char *name, const void *wanted, size_t n_wanted)
{
    g_autofree char *data = NULL;
    size_t n;

    g_assert_true(g_file_get_contents(name, &data, &n, NULL));
    g_assert_cmpmem(data, n, wanted, n_wanted);
}

static void
assert_marks(const uint64_t *offsets, size_t n_offsets)
{
    g_autofree char *data = NULL;
    size_t n;

    g_assert_true(g_file_get_contents(SL_AGENT_INDEX_NAME, &data, &n, NULL));
    g_assert_cmpuint(n, ==, n_offsets * sizeof(SlLogMark));
    for (size_t i = 0; i < n_offsets; i++) {
        SlLogMark mark;

        memcpy(&mark, data + i * sizeof mark, sizeof mark);
        g_assert_cmpuint(mark.offset, ==, offsets[i]);
    }
}

/* A pipe with text in it and its writing end closed. */
static int
pipe_with(const char *text)
{
    int ends[2];

    g_assert_cmpint(pipe2(ends, O_CLOEXEC | O_NONBLOCK), ==, 0);
    g_assert_cmpint(write(ends[1], text, strlen(text)), ==, (int)strlen(text));
    close(ends[1]);
    return ends[0];
}

static SlLogWriter *
open_writer(bool has_tty)
{
    g_autoptr(GError) error = NULL;
    SlLogWriter *writer = sl_log_writer_open(has_tty, &error);

    g_assert_no_error(error);
    return writer;
}

static void
write_text(SlLogWriter *writer, const char *text, SlStdStream stream)
{
    sl_autofd int fd = pipe_with(text);

    g_assert_cmpint(sl_log_writer_take(writer, fd, stream), ==, SL_LOG_TAKEN);
    g_assert_cmpint(sl_log_writer_take(writer, fd, stream), ==, SL_LOG_END);
}

#define ONE "\1\0\0\0\0\0\0\3one"
#define TWO "\2\0\0\0\0\0\0\3two"

static void
test_frames(Fixture *fixture, gconstpointer data)
{
    g_autoptr(SlLogWriter) writer = open_writer(false);

    write_text(writer, "one", SL_STD_OUT);
    write_text(writer, "two", SL_STD_ERR);
    g_assert_cmpuint(sl_log_writer_length(writer), ==, 22);
    assert_file(SL_AGENT_LOG_NAME, ONE TWO, 22);
    assert_marks((const uint64_t[]){ 0, 11 }, 2);
}

static void
test_terminal(Fixture *fixture, gconstpointer data)
{
    g_autoptr(SlLogWriter) writer = open_writer(true);

    write_text(writer, "bare", SL_STD_OUT);
    assert_file(SL_AGENT_LOG_NAME, "bare", 4);
    assert_marks((const uint64_t[]){ 0 }, 1);
}

/* What a crash may leave, and what is made of it. */
static void
test_repair(Fixture *fixture, gconstpointer data)
{
    static const struct {
        const char *what, *log;
        size_t n_log;
        uint64_t marks[2];
        size_t n_marks, n_index; /* bytes of index, torn where not a multiple of a mark */
        size_t n_kept, n_kept_marks;
    } cases[] = {
        { "whole", ONE TWO, 22, { 0, 11 }, 2, 32, 22, 2 },
        { "half a frame behind the last mark", ONE "\1\0\0\0\0\0\0\3tw", 21, { 0 }, 1, 16, 11, 1 },
        { "half a header", ONE "\1\0\0", 14, { 0 }, 1, 16, 11, 1 },
        { "a frame without its mark", ONE TWO, 22, { 0 }, 1, 16, 22, 2 },
        { "half a mark", ONE TWO, 22, { 0, 11 }, 2, 25, 22, 2 },
        { "a mark without its frame", ONE, 11, { 0, 11 }, 2, 32, 11, 1 },
        { "a mark of half a frame", ONE "\1\0\0\0\0\0\0\3t", 20, { 0, 11 }, 2, 32, 11, 1 },
        { "no index", ONE TWO, 22, { 0 }, 0, 0, 22, 2 },
        { "garbage", "garbage!garbage!", 16, { 0 }, 0, 0, 0, 0 },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        SlLogMark marks[2] = { { cases[i].marks[0], 1 }, { cases[i].marks[1], 2 } };
        g_autoptr(SlLogWriter) writer = NULL;

        g_test_message("%s", cases[i].what);
        g_assert_true(g_file_set_contents(SL_AGENT_LOG_NAME, cases[i].log, (gssize)cases[i].n_log, NULL));
        g_assert_true(
            g_file_set_contents(SL_AGENT_INDEX_NAME, (const char *)marks, (gssize)cases[i].n_index, NULL));
        writer = open_writer(false);
        g_assert_cmpuint(sl_log_writer_length(writer), ==, cases[i].n_kept);
        assert_file(SL_AGENT_LOG_NAME, cases[i].log, cases[i].n_kept);
        assert_marks((const uint64_t[]){ 0, 11 }, cases[i].n_kept_marks);
        write_text(writer, "new", SL_STD_OUT);
        g_assert_cmpuint(sl_log_writer_length(writer), ==, cases[i].n_kept + 11);
    }
}

/* A full disk, by the limit on a file's size. */
static void
test_stuck(Fixture *fixture, gconstpointer data)
{
    g_autoptr(SlLogWriter) writer = open_writer(false);
    struct rlimit old, small;
    sl_autofd int fd = -1;

    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old);
    small = (struct rlimit){ .rlim_cur = 16, .rlim_max = old.rlim_max };
    write_text(writer, "one", SL_STD_OUT);

    setrlimit(RLIMIT_FSIZE, &small);
    fd = pipe_with("two");
    g_assert_cmpint(sl_log_writer_take(writer, fd, SL_STD_ERR), ==, SL_LOG_STUCK);
    g_assert_true(sl_log_writer_is_stuck(writer));
    g_assert_false(sl_log_writer_retry(writer));
    g_assert_cmpuint(sl_log_writer_length(writer), ==, 11);

    setrlimit(RLIMIT_FSIZE, &old);
    g_assert_true(sl_log_writer_retry(writer));
    g_assert_false(sl_log_writer_is_stuck(writer));
    assert_file(SL_AGENT_LOG_NAME, ONE TWO, 22);
    assert_marks((const uint64_t[]){ 0, 11 }, 2);
}

static void
test_give_up(Fixture *fixture, gconstpointer data)
{
    g_autoptr(SlLogWriter) writer = open_writer(false);
    struct rlimit old, small;
    sl_autofd int fd = pipe_with("two");

    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old);
    small = (struct rlimit){ .rlim_cur = 16, .rlim_max = old.rlim_max };
    write_text(writer, "one", SL_STD_OUT);
    setrlimit(RLIMIT_FSIZE, &small);
    g_assert_cmpint(sl_log_writer_take(writer, fd, SL_STD_ERR), ==, SL_LOG_STUCK);
    setrlimit(RLIMIT_FSIZE, &old);

    sl_log_writer_give_up(writer);
    g_assert_false(sl_log_writer_is_stuck(writer));
    assert_file(SL_AGENT_LOG_NAME, ONE, 11);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add("/agent/log-holds-frames-and-marks", Fixture, NULL, set_up, test_frames, tear_down);
    g_test_add("/agent/log-of-a-terminal-is-bare", Fixture, NULL, set_up, test_terminal, tear_down);
    g_test_add("/agent/log-is-repaired-to-whole-frames", Fixture, NULL, set_up, test_repair, tear_down);
    g_test_add("/agent/log-on-a-full-disk-waits-and-loses-nothing", Fixture, NULL, set_up, test_stuck,
               tear_down);
    g_test_add("/agent/log-given-up-ends-at-a-frame", Fixture, NULL, set_up, test_give_up, tear_down);
    return g_test_run();
}
