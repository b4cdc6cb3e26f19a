#include "oci/content.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>

#include "common/fd.h"

static const char hello_digest[] = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

typedef struct Fixture {
    char *folder;
    SlContent *content;
} Fixture;

static void
fixture_open(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GError) error = NULL;

    fixture->folder = g_dir_make_tmp("sl-content-XXXXXX", NULL);
    fixture->content = sl_content_open(fixture->folder, &error);
    g_assert_no_error(error);
}

static void
fixture_close(Fixture *fixture, gconstpointer data)
{
    sl_content_close(fixture->content);
    g_assert_true(sl_tree_remove(AT_FDCWD, fixture->folder, NULL));
    g_free(fixture->folder);
}

static unsigned
files_in(const Fixture *fixture, const char *name)
{
    g_autofree char *path = g_build_filename(fixture->folder, name, NULL);
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    unsigned n = 0;

    g_assert_nonnull(dir);
    while (g_dir_read_name(dir))
        n++;
    return n;
}

static void
test_put_and_read(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *digest = NULL;
    g_autofree char *back = NULL;
    size_t n = 0;

    g_assert_false(sl_content_has(fixture->content, hello_digest));
    g_assert_true(sl_content_put(fixture->content, "hello", 5, &digest, &error));
    g_assert_cmpstr(digest, ==, hello_digest);
    g_assert_true(sl_content_has(fixture->content, hello_digest));
    g_assert_true(sl_content_read(fixture->content, digest, 5, &back, &n, &error));
    g_assert_cmpstr(back, ==, "hello");
    g_assert_cmpuint(n, ==, 5);
    g_assert_cmpuint(files_in(fixture, "ingest"), ==, 0);
    g_assert_true(sl_content_remove(fixture->content, digest, &error));
    g_assert_true(sl_content_remove(fixture->content, digest, &error));
    g_assert_false(sl_content_has(fixture->content, hello_digest));
}

static void
test_read_is_capped(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *back = NULL;

    g_assert_true(sl_content_put(fixture->content, "hello", 5, NULL, NULL));
    g_assert_false(sl_content_read(fixture->content, hello_digest, 4, &back, NULL, &error));
    g_assert_error(error, SL_ERROR, SL_ERROR_TOO_LARGE);
    g_assert_null(back);
}

static void
test_wrong_digest_stores_nothing(Fixture *fixture, gconstpointer data)
{
    g_autoptr(SlBlobWriter) writer = sl_blob_writer_new(fixture->content, NULL);
    g_autoptr(GError) error = NULL;

    g_assert_true(sl_blob_writer_write(writer, "jello", 5, NULL));
    g_assert_false(sl_blob_writer_commit(writer, hello_digest, -1, NULL, &error));
    g_assert_error(error, SL_ERROR, SL_ERROR_SYSTEM);
    g_clear_pointer(&writer, sl_blob_writer_free);
    g_assert_cmpuint(files_in(fixture, "blobs/sha256"), ==, 0);
    g_assert_cmpuint(files_in(fixture, "ingest"), ==, 0);
}

static void
test_wrong_size_stores_nothing(Fixture *fixture, gconstpointer data)
{
    g_autoptr(SlBlobWriter) writer = sl_blob_writer_new(fixture->content, NULL);
    g_autoptr(GError) error = NULL;

    g_assert_true(sl_blob_writer_write(writer, "hello", 5, NULL));
    g_assert_false(sl_blob_writer_commit(writer, hello_digest, 6, NULL, &error));
    g_assert_error(error, SL_ERROR, SL_ERROR_SYSTEM);
    g_assert_cmpuint(files_in(fixture, "blobs/sha256"), ==, 0);
}

static void
test_damage_on_disk_is_noticed(Fixture *fixture, gconstpointer data)
{
    g_autofree char *path = g_build_filename(fixture->folder, "blobs/sha256", hello_digest + 7, NULL);
    g_autoptr(GError) error = NULL;
    g_autofree char *back = NULL;

    g_assert_true(sl_content_put(fixture->content, "hello", 5, NULL, NULL));
    g_assert_true(g_file_set_contents(path, "jello", 5, NULL));
    g_assert_false(sl_content_read(fixture->content, hello_digest, 100, &back, NULL, &error));
    g_assert_error(error, SL_ERROR, SL_ERROR_SYSTEM);
}

static void
test_digest_is_no_path(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GError) error = NULL;

    g_assert_false(sl_content_has(fixture->content, "sha256:../../x"));
    g_assert_cmpint(sl_content_open_blob(fixture->content, "../../../etc/passwd", &error), ==, -1);
    g_assert_error(error, SL_ERROR, SL_ERROR_INVALID);
    g_clear_error(&error);
    g_assert_cmpint(sl_content_open_blob(fixture->content, hello_digest, &error), ==, -1);
    g_assert_error(error, SL_ERROR, SL_ERROR_NOT_FOUND);
    g_assert_false(sl_content_remove(fixture->content, "sha256:../../x", NULL));
}

static void
test_reopening_drops_what_was_not_committed(Fixture *fixture, gconstpointer data)
{
    g_autofree char *left = g_build_filename(fixture->folder, "ingest", "left", NULL);

    g_assert_true(sl_content_put(fixture->content, "hello", 5, NULL, NULL));
    g_assert_true(g_file_set_contents(left, "half", 4, NULL));
    sl_content_close(fixture->content);
    fixture->content = sl_content_open(fixture->folder, NULL);
    g_assert_nonnull(fixture->content);
    g_assert_cmpuint(files_in(fixture, "ingest"), ==, 0);
    g_assert_true(sl_content_has(fixture->content, hello_digest));
}

#define ADD(name, run) g_test_add(name, Fixture, NULL, fixture_open, run, fixture_close)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("/content/put-and-read", test_put_and_read);
    ADD("/content/read-is-capped", test_read_is_capped);
    ADD("/content/wrong-digest-stores-nothing", test_wrong_digest_stores_nothing);
    ADD("/content/wrong-size-stores-nothing", test_wrong_size_stores_nothing);
    ADD("/content/damage-on-disk-is-noticed", test_damage_on_disk_is_noticed);
    ADD("/content/digest-is-no-path", test_digest_is_no_path);
    ADD("/content/reopening-drops-what-was-not-committed", test_reopening_drops_what_was_not_committed);
    return g_test_run();
}
