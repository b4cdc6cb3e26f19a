#include "net/address.h"

#include "common/fd.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

static void
test_parse(void)
{
    static const struct {
        const char *text, *path, *host;
        int port;
        const char *format;
    } cases[] = {
        { "unix:///run/x.sock", "/run/x.sock", NULL, 0, "unix:///run/x.sock" },
        { "tcp://10.0.0.1:2375", NULL, "10.0.0.1", 2375, "tcp://10.0.0.1:2375" },
        { "tcp://:2375", NULL, "localhost", 2375, "tcp://localhost:2375" },
        { "http://backend.internal:9100", NULL, "backend.internal", 9100, "tcp://backend.internal:9100" },
        { "http://backend.internal:9100/", NULL, "backend.internal", 9100, "tcp://backend.internal:9100" },
        { "localhost:0", NULL, "localhost", 0, "tcp://localhost:0" },
        { ":9100", NULL, "localhost", 9100, "tcp://localhost:9100" },
        { "tcp://[fe80::1%eth0]:1", NULL, "fe80::1%eth0", 1, "tcp://[fe80::1%eth0]:1" },
        { "[::1]:65535", NULL, "::1", 65535, "tcp://[::1]:65535" },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_auto(SlAddress) address = { 0 };
        g_autofree char *format = NULL;
        g_autoptr(GError) error = NULL;

        g_assert_true(sl_address_parse(cases[i].text, &address, &error));
        g_assert_cmpstr(address.path, ==, cases[i].path);
        g_assert_cmpstr(address.host, ==, cases[i].host);
        g_assert_cmpint(address.port, ==, cases[i].port);
        format = sl_address_format(&address);
        g_assert_cmpstr(format, ==, cases[i].format);
    }
}

static void
test_parse_refuses(void)
{
    static const char *const wrong[] = {
        "",
        ":",
        "localhost",
        "tcp://localhost",
        ":65536",
        ":-1",
        ":+1",
        ": 80",
        ":80x",
        "unix://",
        "unix://relative",
        "unix:///",
        "unix:///run/",
        "::1:80",
        "[::1]",
        "[]:80",
        "[::1:80",
        "a b:80",
        "a/b:80",
        "user@host:80",
        "https://host:80",
        "tcp://h:80/x",
        "ho\nst:80",
        "ftp://h:80",
        "[::1]x:80",
        "[localhost]:80",
        "[127.0.0.1]:80",
        "[::1%]:80",
    };

    for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++) {
        g_auto(SlAddress) address = { 0 };
        g_autoptr(GError) error = NULL;

        g_test_message("%s", wrong[i]);
        g_assert_false(sl_address_parse(wrong[i], &address, &error));
        g_assert_error(error, SL_ERROR, SL_ERROR_INVALID);
        g_assert_nonnull(strstr(error->message, wrong[i]));
    }
}

static void
test_loopback(void)
{
    static const struct {
        const char *host;
        bool is_loopback;
    } cases[] = {
        { "127.0.0.1", true },        { "127.9.9.9", true }, { "::1", true }, { "::ffff:127.0.0.1", true },
        { "localhost", true },        { "0.0.0.0", false },  { "::", false }, { "10.0.0.1", false },
        { "::ffff:10.0.0.1", false },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *host = g_strdup(cases[i].host);

        g_test_message("%s", host);
        g_assert_cmpint(sl_address_is_loopback(&(SlAddress){ .host = host }), ==, cases[i].is_loopback);
    }
}

static void
test_public_is_refused(void)
{
    static const char *const hosts[] = { "0.0.0.0", "::" };

    for (size_t i = 0; i < G_N_ELEMENTS(hosts); i++) {
        g_auto(SlAddress) address = { .host = g_strdup(hosts[i]) };
        g_autoptr(GError) error = NULL;
        int *fds = NULL;
        size_t n = 0;

        g_assert_false(sl_address_listen(&address, false, &fds, &n, &error));
        g_assert_error(error, SL_ERROR, SL_ERROR_INVALID);
        g_assert_nonnull(
            strstr(error->message, "is not a loopback address: anyone who reaches it would control"));
        g_assert_null(fds);
    }
}

static void
test_tcp(void)
{
    g_auto(SlAddress) address = { .host = g_strdup("localhost") };
    g_auto(SlAddress) again = { 0 };
    g_autoptr(GError) error = NULL;
    g_autoptr(GError) busy = NULL;
    g_autofree int *fds = NULL;
    g_autofree int *none = NULL;
    sl_autofd int client = -1;
    sl_autofd int accepted = -1;
    size_t n = 0;

    g_assert_true(sl_address_listen(&address, false, &fds, &n, &error));
    g_assert_cmpint(address.port, >, 0);
    g_assert_true(sl_address_connect(&address, NULL, 1000, &client, &error));
    g_assert_true(fcntl(client, F_GETFL) & O_NONBLOCK);
    g_assert_true(fcntl(client, F_GETFD) & FD_CLOEXEC);
    for (size_t i = 0; i < n && accepted < 0; i++)
        accepted = accept(fds[i], NULL, NULL);
    g_assert_cmpint(accepted, >=, 0);

    again = (SlAddress){ .host = g_strdup("127.0.0.1"), .port = address.port };
    g_assert_false(sl_address_listen(&again, false, &none, &n, &busy));
    g_assert_error(busy, SL_ERROR, SL_ERROR_CONFLICT);
    close(fds[0]);
    if (n > 1)
        close(fds[1]);
}

static void
test_nobody_there(void)
{
    g_auto(SlAddress) address = { .host = g_strdup("127.0.0.1") };
    g_autofree int *fds = NULL;
    g_autofree char *expected = NULL;
    size_t n = 0;
    int fd = -1;
    g_autoptr(GError) refused = NULL;
    g_autoptr(GError) missing = NULL;
    g_autoptr(GError) folder = NULL;
    g_autoptr(GError) cancelled = NULL;
    g_autoptr(SlCancel) cancel = sl_cancel_new();
    char path[] = "/nonexistent-folder/x.sock";
    g_autofree char *long_path = g_strdup_printf("/nonexistent-folder/%0150d/x.sock", 1);

    g_assert_true(sl_address_listen(&address, false, &fds, &n, NULL));
    close(fds[0]);
    g_assert_false(sl_address_connect(&address, NULL, 1000, &fd, &refused));
    g_assert_error(refused, SL_ERROR, SL_ERROR_UNAVAILABLE);
    expected = g_strdup_printf("dial tcp 127.0.0.1:%d: connect: connection refused", address.port);
    g_assert_cmpstr(refused->message, ==, expected);
    g_assert_false(sl_address_connect(&(SlAddress){ .path = path }, NULL, 1000, &fd, &missing));
    g_assert_error(missing, SL_ERROR, SL_ERROR_UNAVAILABLE);
    g_assert_cmpstr(missing->message, ==,
                    "dial unix /nonexistent-folder/x.sock: connect: no such file or directory");
    g_assert_false(sl_address_connect(&(SlAddress){ .path = long_path }, NULL, 1000, &fd, &folder));
    g_assert_error(folder, SL_ERROR, SL_ERROR_UNAVAILABLE);
    sl_cancel_fire(cancel);
    g_assert_false(sl_address_connect(&address, cancel, 1000, &fd, &cancelled));
    g_assert_error(cancelled, SL_ERROR, SL_ERROR_CANCELLED);
    g_assert_cmpint(fd, ==, -1);
}

typedef struct Folder {
    char *path;
} Folder;

static void
folder_clear(Folder *folder)
{
    sl_tree_remove(AT_FDCWD, folder->path, NULL);
    g_free(folder->path);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Folder, folder_clear)

static void
check_unix(const char *path)
{
    g_auto(SlAddress) address = { .path = g_strdup(path) };
    g_autofree int *fds = NULL;
    g_autofree int *more = NULL;
    g_autoptr(GError) error = NULL;
    g_autoptr(GError) busy = NULL;
    sl_autofd int client = -1;
    struct stat status;
    size_t n = 0;

    g_assert_true(sl_address_listen(&address, false, &fds, &n, &error));
    g_assert_cmpuint(n, ==, 1);
    g_assert_cmpint(stat(path, &status), ==, 0);
    g_assert_cmpuint(status.st_mode & 07777, ==, 0660);
    g_assert_true(sl_address_connect(&address, NULL, 1000, &client, &error));
    g_assert_false(sl_address_listen(&address, false, &more, &n, &busy));
    g_assert_error(busy, SL_ERROR, SL_ERROR_CONFLICT);
    g_assert_cmpint(stat(path, &status), ==, 0);
    close(fds[0]); /* its file stays behind, stale */
}

static void
test_unix(void)
{
    g_auto(Folder) folder = { .path = g_dir_make_tmp("sl-address-XXXXXX", NULL) };
    g_autofree char *path = g_strdup_printf("%s/d.sock", folder.path);
    g_autofree char *deep = g_strdup_printf("%s/%0120d", folder.path, 7);
    g_autofree char *deep_path = g_strdup_printf("%s/d.sock", deep);
    mode_t old = umask(0);

    check_unix(path);
    umask(077);
    check_unix(path);
    umask(old);
    g_assert_cmpint(mkdir(deep, 0700), ==, 0);
    check_unix(deep_path);
    check_unix(deep_path);
}

static void
test_unix_spares_files(void)
{
    g_auto(Folder) folder = { .path = g_dir_make_tmp("sl-address-XXXXXX", NULL) };
    g_auto(SlAddress) address = { .path = g_strdup_printf("%s/notes.txt", folder.path) };
    g_autofree int *fds = NULL;
    g_autofree char *text = NULL;
    g_autoptr(GError) error = NULL;
    size_t n = 0;

    g_assert_true(g_file_set_contents(address.path, "precious", -1, NULL));
    g_assert_false(sl_address_listen(&address, false, &fds, &n, &error));
    g_assert_error(error, SL_ERROR, SL_ERROR_CONFLICT);
    g_assert_true(g_file_get_contents(address.path, &text, NULL, NULL));
    g_assert_cmpstr(text, ==, "precious");
}

static void
test_passed(void)
{
    g_autofree char *mine = g_strdup_printf("LISTEN_PID=%d", (int)getpid());
    g_autofree char *other = g_strdup_printf("LISTEN_PID=%d", (int)getpid() + 1);
    char one[] = "LISTEN_FDS=1", none[] = "LISTEN_FDS=0", wrong[] = "LISTEN_FDS=-1";
    char many[] = "LISTEN_FDS=99999999";
    g_autofree int *fds = NULL;
    int saved = dup(3);

    g_assert_cmpint(dup2(STDERR_FILENO, 3), ==, 3);
    g_assert_cmpuint(sl_address_take_passed((char *[]){ one, NULL }, &fds), ==, 0);
    g_assert_cmpuint(sl_address_take_passed((char *[]){ other, one, NULL }, &fds), ==, 0);
    g_assert_cmpuint(sl_address_take_passed((char *[]){ mine, none, NULL }, &fds), ==, 0);
    g_assert_cmpuint(sl_address_take_passed((char *[]){ mine, wrong, NULL }, &fds), ==, 0);
    g_assert_cmpuint(sl_address_take_passed((char *[]){ mine, many, NULL }, &fds), ==, 0);
    g_assert_cmpuint(sl_address_take_passed((char *[]){ mine, one, NULL }, &fds), ==, 1);
    g_assert_cmpint(fds[0], ==, 3);
    g_assert_true(fcntl(3, F_GETFD) & FD_CLOEXEC);
    if (saved >= 0) {
        dup2(saved, 3);
        close(saved);
    } else {
        close(3);
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/net/address-parses-what-users-write", test_parse);
    g_test_add_func("/net/address-refuses-what-is-unclear", test_parse_refuses);
    g_test_add_func("/net/address-knows-loopback", test_loopback);
    g_test_add_func("/net/address-public-needs-leave", test_public_is_refused);
    g_test_add_func("/net/address-listens-and-connects", test_tcp);
    g_test_add_func("/net/address-says-why-nobody-answers", test_nobody_there);
    g_test_add_func("/net/address-unix-is-0660-and-replaces-only-the-stale", test_unix);
    g_test_add_func("/net/address-unix-spares-other-files", test_unix_spares_files);
    g_test_add_func("/net/address-takes-passed-sockets", test_passed);
    return g_test_run();
}
