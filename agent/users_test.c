#include "agent/users.h"

#include "common/fd.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

typedef struct Fixture {
    char *folder;
    int root_fd;
} Fixture;

static void
put(const Fixture *fixture, const char *name, const char *text)
{
    g_autofree char *path = g_build_filename(fixture->folder, name, NULL);

    g_assert_true(g_file_set_contents(path, text, -1, NULL));
}

static void
set_up(Fixture *fixture, gconstpointer data)
{
    g_autofree char *etc = NULL;

    fixture->folder = g_dir_make_tmp("users-XXXXXX", NULL);
    etc = g_build_filename(fixture->folder, "etc", NULL);
    g_assert_true(sl_folder_make(etc, 0700, NULL));
    fixture->root_fd = open(fixture->folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    put(fixture, "etc/passwd",
        "# comment\nroot:x:0:0:root:/root:/bin/sh\nbad:line\nweb:x:33:44:,,,:/var/www:/sbin/nologin\n"
        "homeless:x:70:70:::\nnumbers:x:x:1::/:\n42:x:7:8::/forty-two:\n");
    put(fixture, "etc/group",
        "root:x:0:\nwww:x:44:web\nlogs:x:55:root,web\nshort:x\nusers:x:100:webmaster\n");
}

static void
tear_down(Fixture *fixture, gconstpointer data)
{
    close(fixture->root_fd);
    g_assert_true(sl_tree_remove(AT_FDCWD, fixture->folder, NULL));
    g_free(fixture->folder);
}

static void
test_resolves(Fixture *fixture, gconstpointer data)
{
    static const struct {
        const char *text;
        uint32_t uid, gid;
        const char *groups, *home;
    } cases[] = {
        { "", 0, 0, "55", "/root" },
        { "root", 0, 0, "55", "/root" },
        { "web", 33, 44, "44 55", "/var/www" },
        { "33", 33, 44, "44 55", "/var/www" },
        { "web:logs", 33, 55, "", "/var/www" },
        { "web:9", 33, 9, "", "/var/www" },
        { "1000", 1000, 0, "", "/" },
        { "1000:1000", 1000, 1000, "", "/" },
        { "homeless", 70, 70, "", "/" },
        { "42", 7, 8, "", "/forty-two" },
        { "web:", 33, 44, "44 55", "/var/www" },
        { ":logs", 0, 55, "", "/root" },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_auto(SlUser) user = { 0 };
        g_autoptr(GError) error = NULL;
        g_autoptr(GString) groups = g_string_new(NULL);

        g_test_message("%s", cases[i].text);
        sl_user_resolve(fixture->root_fd, cases[i].text, &user, &error);
        g_assert_no_error(error);
        for (unsigned j = 0; j < user.n_groups; j++)
            g_string_append_printf(groups, "%s%u", j > 0 ? " " : "", user.groups[j]);
        g_assert_cmpuint(user.uid, ==, cases[i].uid);
        g_assert_cmpuint(user.gid, ==, cases[i].gid);
        g_assert_cmpstr(groups->str, ==, cases[i].groups);
        g_assert_cmpstr(user.home, ==, cases[i].home);
    }
}

static void
test_unknown(Fixture *fixture, gconstpointer data)
{
    g_auto(SlUser) user = { 0 };
    g_autoptr(GError) error = NULL;

    g_assert_false(sl_user_resolve(fixture->root_fd, "web:none", &user, &error));
    g_assert_cmpstr(error->message, ==, "unable to find group none: no matching entries in group file");
    g_clear_error(&error);
    g_assert_false(sl_user_resolve(fixture->root_fd, "-1", &user, &error));
    g_assert_cmpstr(error->message, ==, "unable to find user -1: no matching entries in passwd file");
    g_clear_error(&error);
    g_assert_false(sl_user_resolve(fixture->root_fd, "4294967296", &user, &error));
    g_assert_error(error, SL_ERROR, SL_ERROR_INVALID);
}

static void
test_links_stay_inside(Fixture *fixture, gconstpointer data)
{
    g_auto(SlUser) user = { 0 };
    g_autofree char *passwd = g_build_filename(fixture->folder, "etc/passwd", NULL);

    /* The machine's own passwd file has a root whose home is /root; the container's, reached by the same
     * link, says otherwise. */
    put(fixture, "inside", "root:x:0:0::/inside:\n");
    unlink(passwd);
    g_assert_cmpint(symlink("../../../../inside", passwd), ==, 0);
    g_assert_true(sl_user_resolve(fixture->root_fd, "root", &user, NULL));
    g_assert_cmpstr(user.home, ==, "/inside");
}

static void
test_names(Fixture *fixture, gconstpointer data)
{
    g_autofree char *web = sl_user_name(fixture->root_fd, 33);
    g_autofree char *other = sl_user_name(fixture->root_fd, 4000);

    g_assert_cmpstr(web, ==, "web");
    g_assert_cmpstr(other, ==, "4000");
}

static void
test_special_files(Fixture *fixture, gconstpointer data)
{
    g_autofree char *passwd = g_build_filename(fixture->folder, "etc/passwd", NULL);
    g_auto(SlUser) user = { 0 };

    unlink(passwd);
    g_assert_cmpint(mknod(passwd, S_IFIFO | 0600, 0), ==, 0); /* reading it would block for ever */
    g_assert_true(sl_user_resolve(fixture->root_fd, "", &user, NULL));
    g_assert_cmpstr(user.home, ==, "/");
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add("/agent/users-resolve-as-in-docker", Fixture, NULL, set_up, test_resolves, tear_down);
    g_test_add("/agent/an-unknown-user-is-named", Fixture, NULL, set_up, test_unknown, tear_down);
    g_test_add("/agent/a-link-as-passwd-file-stays-in-the-root", Fixture, NULL, set_up,
               test_links_stay_inside, tear_down);
    g_test_add("/agent/user-names-for-top", Fixture, NULL, set_up, test_names, tear_down);
    g_test_add("/agent/a-pipe-as-passwd-file-does-not-block", Fixture, NULL, set_up, test_special_files,
               tear_down);
    return g_test_run();
}
