#include "agent/log_writer.h"

#include "agent/protocol.h"
#include "common/fd.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

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
    SlLogWriter *writer = sl_log_writer_open(has_tty, (SlLogLimits){ 0 }, &error);

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

/* ---- rotation ---- */

static SlLogWriter *
open_rotated(uint64_t max_size, unsigned max_files)
{
    SlLogWriter *writer = sl_log_writer_open(true, (SlLogLimits){ max_size, max_files }, NULL);

    g_assert_nonnull(writer);
    return writer;
}

static int
compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The segments' contents in order, "base:text|". */
static char *
segments_text(void)
{
    g_autoptr(GDir) folder = g_dir_open(".", 0, NULL);
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    GString *text = g_string_new(NULL);
    const char *name;
    uint64_t base;

    while ((name = g_dir_read_name(folder)))
        if (sl_log_name_parse(name, &base))
            g_ptr_array_add(names, g_strdup(name));
    g_ptr_array_sort(names, compare_names);
    for (guint i = 0; i < names->len; i++) {
        g_autofree char *data = NULL;
        g_autofree char *index_name = g_strconcat(names->pdata[i], ".idx", NULL);

        g_assert_true(g_file_get_contents(names->pdata[i], &data, NULL, NULL));
        g_assert_true(g_file_test(index_name, G_FILE_TEST_EXISTS));
        sl_log_name_parse(names->pdata[i], &base);
        g_string_append_printf(text, "%d:%s|", (int)base, data);
    }
    return g_string_free(text, FALSE);
}

static void
assert_segments(const char *expected)
{
    g_autofree char *text = segments_text();

    g_assert_cmpstr(text, ==, expected);
}

static void
test_rotation_is_at_lines(Fixture *fixture, gconstpointer data)
{
    g_autoptr(SlLogWriter) writer = open_rotated(33, 100); /* two marks long */

    write_text(writer, "one.......\ntwo.......\nthr.........", SL_STD_OUT); /* full, and inside a line */
    write_text(writer, "ee\nfour\n", SL_STD_OUT);                           /* the rest of the line ends it */
    write_text(writer, "five\n", SL_STD_OUT);
    write_text(writer, "six\nseven\n", SL_STD_OUT); /* with its mark it is full */
    assert_segments("0:one.......\ntwo.......\nthr.........ee\n|37:four\nfive\nsix\nseven\n|");
    g_assert_cmpuint(sl_log_writer_length(writer), ==, 57);

    sl_log_writer_free(g_steal_pointer(&writer));
    writer = open_rotated(33, 100); /* the next run goes on where the last one was */
    write_text(writer, "eight\n", SL_STD_OUT);
    assert_segments("0:one.......\ntwo.......\nthr.........ee\n|37:four\nfive\nsix\nseven\n|57:eight\n|");
}

static void
test_rotation_in_a_long_line(Fixture *fixture, gconstpointer data)
{
    g_autofree char *part = g_strnfill(4096, 'x');
    g_autoptr(SlLogWriter) writer = open_rotated(4096, 100);
    struct stat first;

    for (int i = 0; i < 20; i++)
        write_text(writer, part, SL_STD_OUT);
    g_assert_cmpuint(sl_log_writer_length(writer), ==, 80 * 1024);
    g_assert_cmpint(stat(SL_AGENT_LOG_NAME, &first), ==, 0);
    g_assert_cmpint(first.st_size, <=, 4096 + 16 * 1024 + 4096);
}

static void
test_old_segments_go(Fixture *fixture, gconstpointer data)
{
    g_autoptr(SlLogWriter) writer = open_rotated(4, 2);

    write_text(writer, "000\n", SL_STD_OUT);
    write_text(writer, "111\n", SL_STD_OUT);
    write_text(writer, "222\n", SL_STD_OUT);
    write_text(writer, "333\n", SL_STD_OUT);
    assert_segments("0:000\n|4:111\n|8:222\n|12:333\n|"); /* the daemon may have readers */
    sl_log_writer_set_readers(writer, true, 4);
    assert_segments("4:111\n|8:222\n|12:333\n|"); /* it has the first open */
    sl_log_writer_set_readers(writer, false, 0);
    assert_segments("8:222\n|12:333\n|");
    write_text(writer, "444\n", SL_STD_OUT);
    assert_segments("12:333\n|16:444\n|");

    sl_log_writer_free(g_steal_pointer(&writer));
    writer = open_rotated(4, 1);
    sl_log_writer_set_readers(writer, false, 0);
    assert_segments("16:444\n|");
    write_text(writer, "555\n", SL_STD_OUT);
    assert_segments("20:555\n|");
}

static void
test_rotation_waits_for_the_disk(Fixture *fixture, gconstpointer data)
{
    g_autoptr(SlLogWriter) writer = open_rotated(4, 1);
    sl_autofd int fd = -1;

    write_text(writer, "000\n", SL_STD_OUT);
    g_assert_cmpint(mkdir("log.0000000000000004", 0700), ==, 0); /* in the next segment's place */
    fd = pipe_with("111\n");
    g_assert_cmpint(sl_log_writer_take(writer, fd, SL_STD_OUT), ==, SL_LOG_STUCK);
    g_assert_false(sl_log_writer_retry(writer));
    g_assert_cmpint(rmdir("log.0000000000000004"), ==, 0);
    g_assert_true(sl_log_writer_retry(writer));
    assert_segments("0:000\n|4:111\n|");
}

/* ---- damage ---- */

static void
append_bytes(const char *name, const void *bytes, size_t n)
{
    sl_autofd int fd = open(name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

    g_assert_true(sl_fd_write_all(fd, bytes, n, name, NULL));
}

/* A mark into the middle of a frame must not cost what follows it. */
static void
test_damaged_index_is_made_anew(Fixture *fixture, gconstpointer data)
{
    static const SlLogMark marks[] = { { 0, 1 }, { 9, 2 } };
    g_autoptr(SlLogWriter) writer = NULL;

    append_bytes(SL_AGENT_LOG_NAME, ONE TWO, 22);
    append_bytes(SL_AGENT_INDEX_NAME, marks, sizeof marks);
    writer = open_writer(false);
    g_assert_cmpuint(sl_log_writer_length(writer), ==, 22);
    assert_file(SL_AGENT_LOG_NAME, ONE TWO, 22);
    assert_marks((const uint64_t[]){ 0, 11 }, 2);
    assert_file("log.damaged.0000000000000000.idx", marks, sizeof marks);
}

/* More than a crash can tear is kept aside, and offsets go on behind it. */
static void
test_damaged_log_is_put_aside(Fixture *fixture, gconstpointer data)
{
    enum { GARBAGE = 2 * 1024 * 1024 };
    static const SlLogMark mark = { 0, 1 };
    g_autofree char *garbage = g_strnfill(GARBAGE, 'g');
    g_autoptr(SlLogWriter) writer = NULL;

    append_bytes(SL_AGENT_LOG_NAME, ONE, 11);
    append_bytes(SL_AGENT_LOG_NAME, garbage, GARBAGE);
    append_bytes(SL_AGENT_INDEX_NAME, &mark, sizeof mark);
    writer = open_writer(false);
    assert_file(SL_AGENT_LOG_NAME, ONE, 11);
    assert_file("log.damaged.000000000000000b", garbage, GARBAGE);
    g_assert_cmpuint(sl_log_writer_length(writer), ==, 11 + GARBAGE);
    write_text(writer, "two", SL_STD_ERR);
    assert_file("log.000000000020000b", TWO, 11);
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
    g_test_add("/agent/log-rotates-at-lines", Fixture, NULL, set_up, test_rotation_is_at_lines, tear_down);
    g_test_add("/agent/log-rotates-in-a-line-without-end", Fixture, NULL, set_up,
               test_rotation_in_a_long_line, tear_down);
    g_test_add("/agent/log-deletes-what-nobody-reads", Fixture, NULL, set_up, test_old_segments_go,
               tear_down);
    g_test_add("/agent/log-rotation-waits-for-the-disk", Fixture, NULL, set_up,
               test_rotation_waits_for_the_disk, tear_down);
    g_test_add("/agent/log-index-that-is-damaged-is-made-anew", Fixture, NULL, set_up,
               test_damaged_index_is_made_anew, tear_down);
    g_test_add("/agent/log-that-is-damaged-is-put-aside", Fixture, NULL, set_up,
               test_damaged_log_is_put_aside, tear_down);
    return g_test_run();
}
