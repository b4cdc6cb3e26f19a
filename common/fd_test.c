#include "common/fd.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

typedef struct Fixture {
    char *folder;
    int fd;
} Fixture;

static void
set_up(Fixture *f, gconstpointer data)
{
    f->folder = g_dir_make_tmp("fd-test-XXXXXX", NULL);
    f->fd = open(f->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    g_assert_cmpint(f->fd, >=, 0);
}

static void
tear_down(Fixture *f, gconstpointer data)
{
    g_assert_true(sl_tree_remove(AT_FDCWD, f->folder, NULL));
    g_assert_cmpint(g_access(f->folder, F_OK), <, 0);
    close(f->fd);
    g_free(f->folder);
}

static void
test_a_file_is_replaced_whole(Fixture *f, gconstpointer data)
{
    g_autofree char *path = g_build_filename(f->folder, "name", NULL);
    g_autofree char *text = NULL;
    struct stat info;

    g_assert_true(sl_file_replace(f->fd, "name", "long first text", 15, 0600, NULL));
    g_assert_true(sl_file_replace(f->fd, "name", "second", 6, 0600, NULL));
    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    g_assert_cmpstr(text, ==, "second");
    g_assert_cmpint(stat(path, &info), ==, 0);
    g_assert_cmpuint(info.st_mode & 0777, ==, 0600);
}

static void
test_removal_does_not_follow_links(Fixture *f, gconstpointer data)
{
    g_autofree char *outside = g_dir_make_tmp("fd-outside-XXXXXX", NULL);
    g_autofree char *canary = g_build_filename(outside, "canary", NULL);

    g_assert_true(g_file_set_contents(canary, "x", 1, NULL));
    g_assert_cmpint(mkdirat(f->fd, "tree", 0700), ==, 0);
    g_assert_cmpint(mkdirat(f->fd, "tree/deep", 0000), ==, 0);
    g_assert_cmpint(symlinkat(outside, f->fd, "tree/link"), ==, 0);
    g_assert_true(sl_tree_remove(f->fd, "tree", NULL));
    g_assert_true(sl_tree_remove(f->fd, "tree", NULL)); /* one that is not there is success */
    g_assert_cmpint(faccessat(f->fd, "tree", F_OK, 0), <, 0);
    g_assert_cmpint(g_access(canary, F_OK), ==, 0);
    g_assert_true(sl_tree_remove(AT_FDCWD, outside, NULL));
}

static void
test_a_short_file_is_an_error(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    sl_autofd int fd = -1;
    char text[8];

    g_assert_true(sl_file_replace(f->fd, "short", "abc", 3, 0600, NULL));
    fd = openat(f->fd, "short", O_RDONLY | O_CLOEXEC);
    g_assert_true(sl_fd_read_at(fd, text, 2, 1, "short", NULL));
    g_assert_cmpmem(text, 2, "bc", 2);
    g_assert_false(sl_fd_read_at(fd, text, 4, 0, "short", &error));
    g_assert_nonnull(strstr(error->message, "ends too early"));
}

static void
test_a_long_folder_has_a_short_socket_address(Fixture *f, gconstpointer data)
{
    g_autofree char *name = g_strnfill(200, 'd');
    struct sockaddr_un address;
    sl_autofd int folder_fd = -1;
    sl_autofd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    g_assert_cmpint(mkdirat(f->fd, name, 0700), ==, 0);
    folder_fd = openat(f->fd, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
    sl_unix_address_at(folder_fd, "sock", &address);
    g_assert_cmpint(bind(fd, (struct sockaddr *)&address, sizeof address), ==, 0);
    g_assert_cmpint(faccessat(folder_fd, "sock", F_OK, 0), ==, 0);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add("/common/fd/a-file-is-replaced-whole", Fixture, NULL, set_up, test_a_file_is_replaced_whole,
               tear_down);
    g_test_add("/common/fd/removal-does-not-follow-links", Fixture, NULL, set_up,
               test_removal_does_not_follow_links, tear_down);
    g_test_add("/common/fd/a-short-file-is-an-error", Fixture, NULL, set_up, test_a_short_file_is_an_error,
               tear_down);
    g_test_add("/common/fd/a-long-folder-has-a-short-socket-address", Fixture, NULL, set_up,
               test_a_long_folder_has_a_short_socket_address, tear_down);
    return g_test_run();
}
