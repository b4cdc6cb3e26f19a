#include "common/daemon.h"

#include "common/fd.h"

#include <glib/gstdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

static void
test_notify_reaches_the_supervisor(void)
{
    g_autofree char *folder = g_dir_make_tmp("daemon-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(folder, "notify", NULL);
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    char got[64] = "";
    sl_autofd int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    g_strlcpy(address.sun_path, path, sizeof address.sun_path);
    g_assert_no_errno(bind(fd, (const struct sockaddr *)&address, sizeof address));
    g_setenv("NOTIFY_SOCKET", path, TRUE);
    g_assert_true(sl_daemon_notify("READY=1"));
    g_assert_cmpint(recv(fd, got, sizeof got - 1, MSG_DONTWAIT), ==, 7);
    g_assert_cmpstr(got, ==, "READY=1");
    g_unlink(path);
    g_assert_false(sl_daemon_notify("READY=1"));
    g_setenv("NOTIFY_SOCKET", "relative", TRUE);
    g_assert_false(sl_daemon_notify("READY=1"));
    g_unsetenv("NOTIFY_SOCKET");
    g_assert_false(sl_daemon_notify("READY=1"));
    g_rmdir(folder);
}

static void
test_prepare(void)
{
    struct rlimit files;
    struct timespec no_time = { 0 };
    sigset_t ends;
    int got[2];

    sl_daemon_prepare(&ends);
    g_assert_no_errno(getrlimit(RLIMIT_NOFILE, &files));
    g_assert_cmpuint(files.rlim_cur, ==, files.rlim_max);
    raise(SIGTERM); /* blocked: waits for us */
    raise(SIGPIPE); /* ignored */
    g_assert_cmpint(sigtimedwait(&ends, NULL, &no_time), ==, SIGTERM);
    g_assert_no_errno(socketpair(AF_UNIX, SOCK_STREAM, 0, got));
    sl_fd_clear(&got[1]);
    g_assert_cmpint(write(got[0], "x", 1), ==, -1);
    sl_fd_clear(&got[0]);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/common/daemon/notify-reaches-the-supervisor", test_notify_reaches_the_supervisor);
    g_test_add_func("/common/daemon/prepare-blocks-ends-and-ignores-pipes", test_prepare);
    return g_test_run();
}
