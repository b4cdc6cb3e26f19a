#include "oci/unpack.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "common/fd.h"
#include "oci/tar_fixture.h"

/* out/canary must survive whatever is unpacked into out/dest. */
typedef struct Fixture {
    char *out;
    int out_fd, dest_fd;
} Fixture;

static void
fixture_open(Fixture *fixture, gconstpointer data)
{
    g_autofree char *canary = NULL;

    fixture->out = g_dir_make_tmp("sl-unpack-XXXXXX", NULL);
    canary = g_build_filename(fixture->out, "canary", NULL);
    g_assert_true(g_file_set_contents(canary, "alive", 5, NULL));
    fixture->out_fd = open(fixture->out, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    g_assert_cmpint(mkdirat(fixture->out_fd, "dest", 0755), ==, 0);
    fixture->dest_fd = openat(fixture->out_fd, "dest", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void
fixture_close(Fixture *fixture, gconstpointer data)
{
    close(fixture->out_fd);
    close(fixture->dest_fd);
    g_assert_true(sl_tree_remove(AT_FDCWD, fixture->out, NULL));
    g_free(fixture->out);
}

static int
file_of(const void *data, size_t n)
{
    int fd = memfd_create("tar", MFD_CLOEXEC);

    g_assert_true(sl_fd_write_all(fd, data, n, "tar", NULL));
    lseek(fd, 0, SEEK_SET);
    return fd;
}

static bool
unpack_bytes(Fixture *fixture, const GByteArray *tar, const SlUnpackLimits *limits, GError **error)
{
    sl_autofd int fd = file_of(tar->data, tar->len);

    return sl_unpack_layer(fd, fixture->dest_fd, limits, NULL, NULL, NULL, error);
}

static bool
unpack(Fixture *fixture, const TarEntry *entries, GError **error)
{
    g_autoptr(GByteArray) tar = tar_of(entries);

    return unpack_bytes(fixture, tar, NULL, error);
}

static void
unpack_ok(Fixture *fixture, const TarEntry *entries)
{
    g_autoptr(GError) error = NULL;

    unpack(fixture, entries, &error);
    g_assert_no_error(error);
}

static char *
content_of(Fixture *fixture, const char *name)
{
    g_autofree char *path = g_build_filename(fixture->out, "dest", name, NULL);
    char *text = NULL;

    return g_file_get_contents(path, &text, NULL, NULL) ? text : NULL;
}

static void
assert_content(Fixture *fixture, const char *name, const char *expected)
{
    g_autofree char *text = content_of(fixture, name);

    g_assert_cmpstr(text, ==, expected);
}

static bool
exists(Fixture *fixture, const char *name)
{
    struct stat status;

    return fstatat(fixture->dest_fd, name, &status, AT_SYMLINK_NOFOLLOW) == 0;
}

/* ---- what must be kept ---- */

static void
test_files_folders_links(Fixture *fixture, gconstpointer data)
{
    static const TarEntry entries[] = {
        { '5', "./", .mode = 0711 },
        { '5', "bin", .mode = 0700 },
        { '0', "bin/tool", .data = "tool", .mode = 04755, .uid = 7 },
        { '1', "bin/again", .link = "bin/tool" },
        { '2', "sh", .link = "/bin/tool" },
        { '6', .name = "pipe" },
        { '0', "made/on/the/way", .data = "x" },
        { '0', "stuff/\xc3\xa9t\xc3\xa9", .data = "summer" },
        { '0', .name = "empty" },
        { 0 },
    };
    struct stat status;
    struct stat other;

    unpack_ok(fixture, entries);
    assert_content(fixture, "bin/again", "tool");
    assert_content(fixture, "stuff/\xc3\xa9t\xc3\xa9", "summer");
    assert_content(fixture, "empty", "");
    g_assert_cmpint(fstatat(fixture->dest_fd, "bin/tool", &status, AT_SYMLINK_NOFOLLOW), ==, 0);
    g_assert_cmpint(fstatat(fixture->dest_fd, "bin/again", &other, AT_SYMLINK_NOFOLLOW), ==, 0);
    g_assert_cmpuint(status.st_ino, ==, other.st_ino);
    g_assert_cmpint(status.st_mtime, ==, 1700000000);
    if (geteuid() == 0) {
        g_assert_cmpuint(status.st_mode & 07777, ==, 04755);
        g_assert_cmpuint(status.st_uid, ==, 7);
    } else {
        g_assert_cmpuint(status.st_mode & 07777, ==, 0755);
    }
    g_assert_cmpint(fstat(fixture->dest_fd, &status), ==, 0);
    g_assert_cmpuint(status.st_mode & 07777, ==, 0711);
    g_assert_cmpint(fstatat(fixture->dest_fd, "bin", &status, 0), ==, 0);
    g_assert_cmpint(status.st_mtime, ==, 1700000000); /* although files were made in it later */
    g_assert_cmpint(fstatat(fixture->dest_fd, "sh", &status, AT_SYMLINK_NOFOLLOW), ==, 0);
    g_assert_true(S_ISLNK(status.st_mode));
    g_assert_cmpint(fstatat(fixture->dest_fd, "pipe", &status, AT_SYMLINK_NOFOLLOW), ==, 0);
    g_assert_true(S_ISFIFO(status.st_mode));
}

static void
test_pax_and_gnu_names(Fixture *fixture, gconstpointer data)
{
    g_autofree char *long_name = g_strnfill(200, 'n');
    const TarEntry entries[] = {
        { 'x', "pax", .data = "18 path=stuff/pax\n" }, /* the number counts itself and the line break */
        { '0', "ignored", .data = "pax" },
        { 'L', "././@LongLink", .data = long_name },
        { '0', "short", .data = "gnu" },
        { 0 },
    };

    unpack_ok(fixture, entries);
    assert_content(fixture, "stuff/pax", "pax");
    assert_content(fixture, long_name, "gnu");
}

static void
test_upper_layer_wins(Fixture *fixture, gconstpointer data)
{
    static const TarEntry lower[] = {
        { '0', "file", .data = "old" },       { '0', "was-file", .data = "x" },
        { '0', "was-folder/x", .data = "x" }, { '2', "was-link", .link = "file" },
        { '0', "kept/a", .data = "a" },       { 0 },
    };
    static const TarEntry upper[] = {
        { '0', "file", .data = "new" }, { '5', .name = "was-file" },   { '0', "was-folder", .data = "f" },
        { '5', .name = "was-link" },    { '5', "kept", .mode = 0700 }, { 0 },
    };
    struct stat status;

    unpack_ok(fixture, lower);
    unpack_ok(fixture, upper);
    assert_content(fixture, "file", "new");
    assert_content(fixture, "was-folder", "f");
    assert_content(fixture, "kept/a", "a");
    g_assert_cmpint(fstatat(fixture->dest_fd, "was-file", &status, AT_SYMLINK_NOFOLLOW), ==, 0);
    g_assert_true(S_ISDIR(status.st_mode));
    g_assert_cmpint(fstatat(fixture->dest_fd, "was-link", &status, AT_SYMLINK_NOFOLLOW), ==, 0);
    g_assert_true(S_ISDIR(status.st_mode));
}

static void
test_whiteouts(Fixture *fixture, gconstpointer data)
{
    static const TarEntry lower[] = {
        { '0', "a/gone", .data = "x" },     { '0', "a/kept", .data = "x" },
        { '0', "tree/x/y", .data = "x" },   { '0', "opaque/1", .data = "1" },
        { '0', "opaque/d/2", .data = "2" }, { 0 },
    };
    static const TarEntry upper[] = {
        { '0', .name = "a/.wh.gone" },
        { '0', .name = ".wh.tree" },
        { '0', "opaque/3", .data = "3" }, /* before the marker: it must stay all the same */
        { '0', "opaque/d/4", .data = "4" },
        { '0', .name = "opaque/.wh..wh..opq" },
        { '0', "a/.wh..wh.plnk", .data = "aufs" },
        { '0', .name = "a/.wh.never-was" },
        { 0 },
    };

    unpack_ok(fixture, lower);
    unpack_ok(fixture, upper);
    g_assert_false(exists(fixture, "a/gone"));
    g_assert_true(exists(fixture, "a/kept"));
    g_assert_false(exists(fixture, "tree"));
    g_assert_false(exists(fixture, "opaque/1"));
    g_assert_false(exists(fixture, "opaque/d/2"));
    assert_content(fixture, "opaque/3", "3");
    assert_content(fixture, "opaque/d/4", "4");
    g_assert_false(exists(fixture, "opaque/.wh..wh..opq"));
    g_assert_false(exists(fixture, "a/.wh..wh.plnk"));
}

static void
test_links_of_lower_layers_are_followed_inside(Fixture *fixture, gconstpointer data)
{
    static const TarEntry lower[] = { { '5', .name = "usr/lib" },
                                      { '2', "lib", .link = "usr/lib" },
                                      { '2', "abs", .link = "/usr/lib" },
                                      { 0 } };
    static const TarEntry upper[] = { { '0', "lib/one", .data = "1" },
                                      { '0', "abs/two", .data = "2" },
                                      { 0 } };

    unpack_ok(fixture, lower);
    unpack_ok(fixture, upper);
    assert_content(fixture, "usr/lib/one", "1");
    assert_content(fixture, "usr/lib/two", "2");
}

/* ---- what must not get out: SECURITY row 4 ---- */

typedef enum Verdict { REFUSED, CONFINED } Verdict;

#define HERE "@OUT@" /* replaced by the folder's absolute path */

static const struct {
    const char *name;
    Verdict verdict;
    TarEntry entries[5];
} evil[] = {
    { "dotdot", REFUSED, { { '0', "../canary", .data = "dead" } } },
    { "dotdot-deep", REFUSED, { { '0', "a/b/../../../canary", .data = "dead" } } },
    { "dotdot-inside", REFUSED, { { '0', "a/../b", .data = "x" } } },
    { "dotdot-alone", REFUSED, { { '5', .name = ".." } } },
    { "dotdot-slash", REFUSED, { { '5', .name = "../" } } },
    { "dotdot-absolute", REFUSED, { { '0', "/../canary", .data = "dead" } } },
    { "absolute", CONFINED, { { '0', HERE "/canary", .data = "dead" } } },
    { "absolute-double", CONFINED, { { '0', "//" HERE "/canary", .data = "dead" } } },
    { "link-up", CONFINED, { { '2', "x", .link = ".." }, { '0', "x/canary", .data = "dead" } } },
    { "link-up-far",
      CONFINED,
      { { '2', "x", .link = "../../../../.." }, { '0', "x" HERE "/canary", .data = "dead" } } },
    { "link-absolute", REFUSED, { { '2', "x", .link = HERE }, { '0', "x/canary", .data = "dead" } } },
    { "link-chain",
      CONFINED,
      { { '2', "a", .link = "b" }, { '2', "b", .link = ".." }, { '0', "a/canary", .data = "dead" } } },
    { "link-nested",
      CONFINED,
      { { '5', .name = "d" }, { '2', "d/x", .link = "../.." }, { '0', "d/x/canary", .data = "dead" } } },
    { "link-loop",
      REFUSED,
      { { '2', "a", .link = "b" }, { '2', "b", .link = "a" }, { '0', "a/c", .data = "x" } } },
    { "link-self", REFUSED, { { '2', "a", .link = "a" }, { '0', "a/c", .data = "x" } } },
    { "link-proc",
      REFUSED,
      { { '2', "p", .link = "/proc/self/root" }, { '0', "p/canary", .data = "dead" } } },
    { "link-then-file", CONFINED, { { '2', "x", .link = "../canary" }, { '0', "x", .data = "inside" } } },
    { "link-then-folder", CONFINED, { { '2', "x", .link = ".." }, { '5', "x", .mode = 0700 } } },
    { "link-then-fifo", CONFINED, { { '2', "x", .link = "../canary" }, { '6', .name = "x" } } },
    { "link-empty", REFUSED, { { '2', "x", .link = "" } } },
    { "hardlink-up", REFUSED, { { '1', "x", .link = "../canary" } } },
    { "hardlink-absolute", REFUSED, { { '1', "x", .link = HERE "/canary" } } },
    { "hardlink-through-link", REFUSED, { { '2', "l", .link = ".." }, { '1', "x", .link = "l/canary" } } },
    { "hardlink-to-link",
      CONFINED,
      { { '2', "l", .link = "../canary" }, { '1', "x", .link = "l" }, { '0', "x", .data = "inside" } } },
    { "hardlink-to-folder", REFUSED, { { '5', .name = "d" }, { '1', "x", .link = "d" } } },
    { "hardlink-to-root", REFUSED, { { '1', "x", .link = "/" } } },
    { "hardlink-to-itself", REFUSED, { { '0', "x", .data = "x" }, { '1', "x", .link = "./x" } } },
    { "hardlink-to-nothing", REFUSED, { { '1', "x", .link = "nowhere" } } },
    { "whiteout-up", REFUSED, { { '0', .name = "../.wh.canary" } } },
    { "whiteout-dotdot", REFUSED, { { '0', .name = "a/.wh..." } } },
    { "whiteout-dot", REFUSED, { { '0', .name = "a/.wh.." } } },
    { "whiteout-empty", REFUSED, { { '0', .name = ".wh." } } },
    { "whiteout-through-link", CONFINED, { { '2', "x", .link = ".." }, { '0', .name = "x/.wh.canary" } } },
    { "whiteout-link", CONFINED, { { '2', "x", .link = "../canary" }, { '0', .name = ".wh.x" } } },
    { "opaque-through-link", CONFINED, { { '2', "x", .link = ".." }, { '0', .name = "x/.wh..wh..opq" } } },
    { "opaque-hardlink", CONFINED, { { '1', ".wh..wh..opq", .link = "../canary" } } },
    { "pax-name", REFUSED, { { 'x', "p", .data = "18 path=../canary\n" }, { '0', "x", .data = "dead" } } },
    { "pax-link", REFUSED, { { 'x', "p", .data = "22 linkpath=../canary\n" }, { '1', "x", .link = "y" } } },
    { "gnu-name", REFUSED, { { 'L', "././@LongLink", .data = "../canary" }, { '0', "x", .data = "dead" } } },
    { "root-as-file", REFUSED, { { '0', "./", .data = "x" } } },
    { "root-as-link", REFUSED, { { '2', ".", .link = ".." } } },
    { "parent-is-a-file", REFUSED, { { '0', "f", .data = "x" }, { '0', "f/g", .data = "x" } } },
    { "device", CONFINED, { { '4', "disk", .mode = 0666 }, { '3', "null", .mode = 0666 } } },
    { "size-negative", REFUSED, { { '0', "x", .size = -1 } } },
    { "size-huge", REFUSED, { { '0', "x", .size = INT64_MAX / 2 } } },
    { "size-beyond-end", REFUSED, { { '0', "x", .data = "x", .size = 1 << 20 } } },
    { "owner-negative", REFUSED, { { '0', "x", .uid = -5 } } },
    { "owner-huge", REFUSED, { { '0', "x", .uid = INT64_C(1) << 40 } } },
};

static void
case_expand(Fixture *fixture, const TarEntry *entries, TarEntry *ret_entries, GPtrArray *texts)
{
    for (; entries->name; entries++, ret_entries++) {
        *ret_entries = *entries;
        for (int i = 0; i < 2; i++) {
            const char *text = i ? entries->link : entries->name;
            const char *at = text ? strstr(text, HERE) : NULL;
            g_autofree char *before = at ? g_strndup(text, (gsize)(at - text)) : NULL;
            char *full = at ? g_strconcat(before, fixture->out, at + strlen(HERE), NULL) : NULL;

            if (!full)
                continue;
            g_ptr_array_add(texts, full);
            *(i ? &ret_entries->link : &ret_entries->name) = full;
        }
    }
    *ret_entries = (TarEntry){ 0 };
}

static unsigned
entries_outside(Fixture *fixture)
{
    g_autoptr(GDir) dir = g_dir_open(fixture->out, 0, NULL);
    unsigned n = 0;

    while (g_dir_read_name(dir))
        n++;
    return n;
}

static void
test_evil(Fixture *fixture, gconstpointer data)
{
    size_t which = GPOINTER_TO_SIZE(data);
    g_autofree char *path = g_build_filename(fixture->out, "canary", NULL);
    g_autoptr(GPtrArray) texts = g_ptr_array_new_with_free_func(g_free);
    TarEntry entries[G_N_ELEMENTS(evil[0].entries) + 1];
    g_autofree char *canary = NULL;
    g_autoptr(GError) error = NULL;
    struct stat status;

    case_expand(fixture, evil[which].entries, entries, texts);
    if (unpack(fixture, entries, &error))
        g_assert_cmpint(evil[which].verdict, ==, CONFINED);
    else
        g_assert_cmpuint(sl_error_http_status(error), <=, 413); /* the archive's fault, said so */
    if (evil[which].verdict == CONFINED)
        g_assert_no_error(error);

    g_assert_true(g_file_get_contents(path, &canary, NULL, NULL));
    g_assert_cmpstr(canary, ==, "alive");
    g_assert_cmpint(stat(path, &status), ==, 0);
    g_assert_cmpuint(status.st_nlink, ==, 1);
    g_assert_cmpuint(entries_outside(fixture), ==, 2);
    g_assert_cmpint(stat(fixture->out, &status), ==, 0);
    g_assert_cmpuint(status.st_mode & 0777, ==, 0700);
    g_assert_false(exists(fixture, "disk"));
}

static void
test_too_deep_is_refused(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GString) name = g_string_new("d");
    g_autoptr(GError) error = NULL;
    TarEntry chain[40] = { { 0 } };
    g_autoptr(GPtrArray) texts = g_ptr_array_new_with_free_func(g_free);

    for (int i = 0; i < 300; i++)
        g_string_append(name, "/d");
    chain[0] = (TarEntry){ 'x', .name = "p" };
    g_ptr_array_add(texts, g_strdup_printf("%zu path=%s\n", name->len + 10, name->str));
    chain[0].data = texts->pdata[0];
    chain[1] = (TarEntry){ '0', "x", .data = "x" };
    g_assert_false(unpack(fixture, chain, &error));
    g_assert_error(error, SL_ERROR, SL_ERROR_INVALID);
    g_clear_error(&error);

    /* Each link points 40 folders below the last one. */
    for (size_t i = 0; i + 2 < G_N_ELEMENTS(chain); i += 2) {
        char *link = i ? g_strdup_printf("l%zu"
                                         "/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d",
                                         i - 2)
                       : g_strdup("d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d");

        g_ptr_array_add(texts, link);
        chain[i] = (TarEntry){ '5', .name = link };
        chain[i + 1] = (TarEntry){ '2', g_strdup_printf("l%zu", i), .link = link };
        g_ptr_array_add(texts, (char *)(uintptr_t)chain[i + 1].name);
    }
    g_assert_false(unpack(fixture, chain, &error));
    g_assert_error(error, SL_ERROR, SL_ERROR_INVALID);
}

/* ---- broken streams, bombs ---- */

static void
test_truncated_is_refused(Fixture *fixture, gconstpointer data)
{
    static const TarEntry entries[] = { { '0', "file", .data = "0123456789" }, { 0 } };
    g_autoptr(GByteArray) tar = tar_of(entries);
    g_autoptr(GError) error = NULL;

    g_byte_array_set_size(tar, TAR_BLOCK + 5);
    g_assert_false(unpack_bytes(fixture, tar, NULL, &error));
    g_assert_error(error, SL_ERROR, SL_ERROR_INVALID);
}

static void
test_not_a_tar_is_refused(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GByteArray) text = g_byte_array_new();
    g_autoptr(GError) error = NULL;

    for (int i = 0; i < 200; i++)
        g_byte_array_append(text, (const guint8 *)"this is no tar\n", 15);
    g_assert_false(unpack_bytes(fixture, text, NULL, &error));
    g_assert_error(error, SL_ERROR, SL_ERROR_INVALID);
}

static void
test_empty_is_an_empty_layer(Fixture *fixture, gconstpointer data)
{
    static const TarEntry none[] = { { 0 } };
    g_autoptr(GByteArray) nothing = g_byte_array_new();
    g_autoptr(GError) error = NULL;

    unpack_ok(fixture, none);
    g_assert_true(unpack_bytes(fixture, nothing, NULL, &error));
    g_assert_no_error(error);
}

/* Compresses with a program of the test machine; NULL where it is missing. */
static GByteArray *
compressed(const char *program, const GByteArray *plain)
{
    g_autofree char *found = g_find_program_in_path(program);
    g_autofree char *folder = g_dir_make_tmp("sl-compress-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(folder, "in", NULL);
    const char *argv[] = { program, "-c", path, NULL };
    GByteArray *out = NULL;
    gint pid_out = -1;
    GPid pid;

    g_assert_true(g_file_set_contents(path, (const char *)plain->data, plain->len, NULL));
    if (found && g_spawn_async_with_pipes(NULL, (char **)(uintptr_t)argv, NULL, G_SPAWN_SEARCH_PATH, NULL,
                                          NULL, &pid, NULL, &pid_out, NULL, NULL)) {
        sl_autofd int fd = pid_out;
        guint8 chunk[4096];
        ssize_t n;

        out = g_byte_array_new();
        while ((n = read(fd, chunk, sizeof chunk)) > 0)
            g_byte_array_append(out, chunk, (guint)n);
    }
    g_assert_true(sl_tree_remove(AT_FDCWD, folder, NULL));
    return out;
}

static void
test_compressions(Fixture *fixture, gconstpointer data)
{
    static const char *const programs[] = { "gzip", "zstd", "xz", "bzip2" };
    static const TarEntry entries[] = { { '0', "file", .data = "packed" }, { 0 } };
    g_autoptr(GByteArray) tar = tar_of(entries);

    for (size_t i = 0; i < G_N_ELEMENTS(programs); i++) {
        g_autoptr(GByteArray) packed = compressed(programs[i], tar);
        g_autoptr(GError) error = NULL;

        if (!packed) {
            g_test_message("no %s here", programs[i]);
            continue;
        }
        unpack_bytes(fixture, packed, NULL, &error);
        g_assert_no_error(error);
        assert_content(fixture, "file", "packed");
        g_assert_true(sl_tree_remove(fixture->dest_fd, "file", NULL));

        g_byte_array_set_size(packed, packed->len - 20);
        g_assert_false(unpack_bytes(fixture, packed, NULL, &error));
        g_assert_error(error, SL_ERROR, SL_ERROR_INVALID);
    }
}

static void
test_bombs_stop_at_the_limit(Fixture *fixture, gconstpointer data)
{
    const SlUnpackLimits limits = { .max_bytes = 1 << 20, .max_files = 10 };
    g_autoptr(GByteArray) plain = g_byte_array_new();
    g_autoptr(GByteArray) packed = NULL;
    g_autoptr(GError) error = NULL;
    static guint8 zeros[8 << 20];
    const TarEntry big = { '0', "big", .size = sizeof zeros };

    tar_add(plain, &big);
    g_byte_array_append(plain, zeros, sizeof zeros);
    tar_end(plain);
    packed = compressed("gzip", plain);
    g_assert_cmpuint(packed->len, <, 20000);
    g_assert_false(unpack_bytes(fixture, packed, &limits, &error));
    g_assert_error(error, SL_ERROR, SL_ERROR_TOO_LARGE);
    g_clear_error(&error);

    /* Padding behind the archive's end is no way round. */
    g_byte_array_set_size(plain, 0);
    tar_end(plain);
    g_byte_array_append(plain, zeros, sizeof zeros);
    g_assert_false(unpack_bytes(fixture, plain, &limits, &error));
    g_assert_error(error, SL_ERROR, SL_ERROR_TOO_LARGE);
    g_clear_error(&error);

    g_byte_array_set_size(plain, 0);
    for (int i = 0; i < 11; i++) {
        g_autofree char *name = g_strdup_printf("f%d", i);
        const TarEntry entry = { '0', .name = name };

        tar_add(plain, &entry);
    }
    tar_end(plain);
    g_assert_false(unpack_bytes(fixture, plain, &limits, &error));
    g_assert_error(error, SL_ERROR, SL_ERROR_TOO_LARGE);
}

static void
test_cancel_ends_a_silent_pipe(Fixture *fixture, gconstpointer data)
{
    g_autoptr(SlCancel) cancel = sl_cancel_new();
    g_autoptr(GError) error = NULL;
    int pipe_fds[2];

    g_assert_cmpint(pipe(pipe_fds), ==, 0);
    sl_cancel_fire(cancel);
    g_assert_false(sl_unpack_layer(pipe_fds[0], fixture->dest_fd, NULL, cancel, NULL, NULL, &error));
    g_assert_error(error, SL_ERROR, SL_ERROR_CANCELLED);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
}

static void
test_tree_copy(Fixture *fixture, gconstpointer data)
{
    static const TarEntry entries[] = {
        { '0', "a/file", .data = "content", .mode = 0640 },
        { '1', "a/same", .link = "a/file" },
        { '2', "link", .link = "../canary" },
        { '5', "locked", .mode = 0500 },
        { '6', .name = "pipe" },
        { 0 },
    };
    sl_autofd int copy_fd = -1;
    g_autoptr(GError) error = NULL;
    struct stat one;
    struct stat two;

    unpack_ok(fixture, entries);
    g_assert_cmpint(mkdirat(fixture->out_fd, "copy", 0755), ==, 0);
    copy_fd = openat(fixture->out_fd, "copy", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    sl_tree_copy(fixture->dest_fd, copy_fd, NULL, &error);
    g_assert_no_error(error);
    g_assert_cmpint(fstatat(copy_fd, "a/file", &one, AT_SYMLINK_NOFOLLOW), ==, 0);
    g_assert_cmpint(fstatat(copy_fd, "a/same", &two, AT_SYMLINK_NOFOLLOW), ==, 0);
    g_assert_cmpuint(one.st_ino, ==, two.st_ino);
    g_assert_cmpuint(one.st_mode & 07777, ==, 0640);
    g_assert_cmpint(one.st_size, ==, 7);
    g_assert_cmpint(one.st_mtime, ==, 1700000000);
    g_assert_cmpint(fstatat(fixture->dest_fd, "a/file", &two, AT_SYMLINK_NOFOLLOW), ==, 0);
    g_assert_cmpuint(one.st_ino, !=, two.st_ino);
    g_assert_cmpint(fstatat(copy_fd, "link", &one, AT_SYMLINK_NOFOLLOW), ==, 0);
    g_assert_true(S_ISLNK(one.st_mode));
    g_assert_cmpint(fstatat(copy_fd, "pipe", &one, AT_SYMLINK_NOFOLLOW), ==, 0);
    g_assert_true(S_ISFIFO(one.st_mode));
}

#define ADD(name, run) g_test_add(name, Fixture, NULL, fixture_open, run, fixture_close)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("/unpack/files-folders-links", test_files_folders_links);
    ADD("/unpack/pax-and-gnu-names", test_pax_and_gnu_names);
    ADD("/unpack/upper-layer-wins", test_upper_layer_wins);
    ADD("/unpack/whiteouts", test_whiteouts);
    ADD("/unpack/links-of-lower-layers-are-followed-inside", test_links_of_lower_layers_are_followed_inside);
    for (size_t i = 0; i < G_N_ELEMENTS(evil); i++) {
        g_autofree char *name = g_strconcat("/unpack/evil/", evil[i].name, NULL);

        g_test_add(name, Fixture, GSIZE_TO_POINTER(i), fixture_open, test_evil, fixture_close);
    }
    ADD("/unpack/too-deep-is-refused", test_too_deep_is_refused);
    ADD("/unpack/truncated-is-refused", test_truncated_is_refused);
    ADD("/unpack/not-a-tar-is-refused", test_not_a_tar_is_refused);
    ADD("/unpack/empty-is-an-empty-layer", test_empty_is_an_empty_layer);
    ADD("/unpack/compressions", test_compressions);
    ADD("/unpack/bombs-stop-at-the-limit", test_bombs_stop_at_the_limit);
    ADD("/unpack/cancel-ends-a-silent-pipe", test_cancel_ends_a_silent_pipe);
    ADD("/unpack/tree-copy", test_tree_copy);
    return g_test_run();
}
