#include "net/stream.h"

#include "common/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

static void
make_pair(SlStream *ret[2])
{
    int fds[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), ==, 0);
    ret[0] = sl_stream_new(fds[0]);
    ret[1] = sl_stream_new(fds[1]);
}

static void
test_pending_first(void)
{
    SlStream *ends[2];
    char got[16] = { 0 };

    make_pair(ends);
    g_assert_cmpint(sl_stream_write_some(ends[0], "wire", 4), ==, 4);
    sl_stream_unread(ends[1], "second", 6);
    sl_stream_unread(ends[1], "first", 5);
    g_assert_cmpuint(sl_stream_n_pending(ends[1]), ==, 11);
    g_assert_cmpint(sl_stream_read_some(ends[1], got, 3), ==, 3);
    g_assert_cmpint(sl_stream_read_some(ends[1], got + 3, 13), ==, 8);
    g_assert_cmpuint(sl_stream_n_pending(ends[1]), ==, 0);
    g_assert_cmpint(sl_stream_read_some(ends[1], got + 11, 5), ==, 4);
    g_assert_cmpmem(got, 15, "firstsecondwire", 15);
    g_assert_cmpint(sl_stream_read_some(ends[1], got, 1), ==, SL_STREAM_AGAIN);
    sl_stream_free(ends[0]);
    sl_stream_free(ends[1]);
}

static void
test_half_close(void)
{
    SlStream *ends[2];
    char got[4];
    size_t n;
    g_autoptr(GError) error = NULL;

    make_pair(ends);
    sl_stream_shutdown_write(ends[0]);
    g_assert_true(sl_stream_read(ends[1], NULL, got, sizeof got, 1000, &n, &error));
    g_assert_cmpuint(n, ==, 0);
    g_assert_true(sl_stream_write_all(ends[1], NULL, "back", 4, 1000, &error));
    g_assert_true(sl_stream_read(ends[0], NULL, got, sizeof got, 1000, &n, &error));
    g_assert_cmpmem(got, n, "back", 4);
    sl_stream_free(ends[0]);
    sl_stream_free(ends[1]);
}

static void
test_broken_without_signal(void)
{
    SlStream *ends[2];
    g_autoptr(GError) error = NULL;
    char path[] = "/proc/self/exe";
    sl_autofd int file = open(path, O_RDONLY | O_CLOEXEC);
    int pipe_fds[2];
    off_t offset = 0;
    SlStream *pipe_end;

    make_pair(ends);
    sl_stream_free(ends[1]);
    g_assert_cmpint(sl_stream_write_some(ends[0], "x", 1), ==, SL_STREAM_FAILED);
    g_assert_cmpint(errno, ==, EPIPE);
    g_assert_cmpint(sl_stream_send_file(ends[0], file, &offset, 100), ==, SL_STREAM_FAILED);
    g_assert_false(sl_stream_write_all(ends[0], NULL, "x", 1, 1000, &error));
    g_assert_error(error, SL_ERROR, SL_ERROR_SYSTEM);
    sl_stream_free(ends[0]);

    g_assert_cmpint(pipe2(pipe_fds, O_CLOEXEC), ==, 0);
    close(pipe_fds[0]);
    pipe_end = sl_stream_new(pipe_fds[1]);
    g_assert_cmpint(sl_stream_write_some(pipe_end, "x", 1), ==, SL_STREAM_FAILED);
    sl_stream_free(pipe_end);
}

static void
test_waits_are_bounded(void)
{
    SlStream *ends[2];
    g_autoptr(SlCancel) cancel = sl_cancel_new();
    g_autoptr(GError) late = NULL;
    g_autoptr(GError) full = NULL;
    g_autoptr(GError) cancelled = NULL;
    g_autofree char *big = g_malloc0(8 << 20);
    char got[4];
    size_t n = 77;

    make_pair(ends);
    g_assert_false(sl_stream_read(ends[0], NULL, got, sizeof got, 20, &n, &late));
    g_assert_error(late, SL_ERROR, SL_ERROR_DEADLINE);
    g_assert_cmpuint(n, ==, 77);
    g_assert_false(sl_stream_write_all(ends[0], NULL, big, 8 << 20, 20, &full));
    g_assert_error(full, SL_ERROR, SL_ERROR_DEADLINE);
    sl_cancel_fire(cancel);
    g_assert_false(sl_stream_read(ends[0], cancel, got, sizeof got, -1, &n, &cancelled));
    g_assert_error(cancelled, SL_ERROR, SL_ERROR_CANCELLED);
    sl_stream_free(ends[0]);
    sl_stream_free(ends[1]);
}

static void
test_send_file(void)
{
    g_autofree char *path = NULL;
    sl_autofd int file = g_file_open_tmp("sl-stream-XXXXXX", &path, NULL);
    SlStream *ends[2];
    char got[8];
    off_t offset = 2;

    g_assert_cmpint(write(file, "0123456789", 10), ==, 10);
    make_pair(ends);
    g_assert_cmpint(sl_stream_send_file(ends[0], file, &offset, 5), ==, 5);
    g_assert_cmpint(offset, ==, 7);
    g_assert_cmpint(sl_stream_read_some(ends[1], got, sizeof got), ==, 5);
    g_assert_cmpmem(got, 5, "23456", 5);
    offset = 10;
    g_assert_cmpint(sl_stream_send_file(ends[0], file, &offset, 5), ==, 0);
    unlink(path);
    sl_stream_free(ends[0]);
    sl_stream_free(ends[1]);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/net/stream-gives-unread-bytes-first", test_pending_first);
    g_test_add_func("/net/stream-half-closes", test_half_close);
    g_test_add_func("/net/stream-broken-is-no-signal", test_broken_without_signal);
    g_test_add_func("/net/stream-waits-are-bounded", test_waits_are_bounded);
    g_test_add_func("/net/stream-sends-file-ranges", test_send_file);
    return g_test_run();
}
