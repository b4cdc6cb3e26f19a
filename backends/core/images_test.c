#include "backends/core/images.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>

#include "common/fd.h"
#include "common/json_fields.h"
#include "oci/manifest.h"
#include "oci/tar_fixture.h"

/* The daemon's context is not part of these tests. */
SlImages *
sl_core_images(SlCall *call)
{
    return NULL;
}

typedef struct Fixture {
    char *folder, *base_tar, *rootfs;
    SlStore *store;
    SlContent *content;
    SlFetcher *fetcher;
    SlRegistry *registry;
    SlImages *images;
    SlBuiltinImages builtin;
    const char *user; /* the container that uses user_image, or NULL */
    const char *user_image;
    bool is_running;
    GString *events;
    char layer[72]; /* of the last image that was added: its only one */
} Fixture;

static char *
find_user(void *data, const char *image_id, bool *ret_is_running)
{
    const Fixture *fixture = data;

    if (!fixture->user || strcmp(fixture->user_image, image_id) != 0)
        return NULL;
    *ret_is_running = fixture->is_running;
    return g_strdup(fixture->user);
}

static void
emit(void *data, const char *action, const char *actor, json_t *attributes)
{
    Fixture *fixture = data;

    g_string_append_printf(fixture->events, "%s(%s) ", action,
                           json_string_value(json_object_get(attributes, "name")));
    json_decref(attributes);
}

static void
images_start(Fixture *fixture)
{
    g_autofree char *database = g_build_filename(fixture->folder, "state.db", NULL);
    g_autoptr(GError) error = NULL;

    fixture->store = sl_store_open(database, &error);
    g_assert_no_error(error);
    fixture->images = sl_images_open(&(SlImagesConfig){ .store = fixture->store,
                                                        .content = fixture->content,
                                                        .registry = fixture->registry,
                                                        .rootfs_folder = fixture->rootfs,
                                                        .base_tar = fixture->base_tar,
                                                        .builtin = fixture->builtin,
                                                        .find_user = find_user,
                                                        .emit = emit,
                                                        .user = fixture },
                                     &error);
    g_assert_no_error(error);
}

static void
images_stop(Fixture *fixture)
{
    g_clear_pointer(&fixture->images, sl_images_close);
    g_clear_pointer(&fixture->store, sl_store_close);
}

static void
fixture_open(Fixture *fixture, gconstpointer data)
{
    static const TarEntry entries[] = { { '0', "bin/busybox", .data = "base" }, { 0 } };
    g_autoptr(GByteArray) tar = tar_of(entries);
    g_autofree char *blobs = NULL;

    fixture->folder = g_dir_make_tmp("sl-images-XXXXXX", NULL);
    fixture->base_tar = g_build_filename(fixture->folder, "base.tar", NULL);
    fixture->rootfs = g_build_filename(fixture->folder, "rootfs", NULL);
    g_assert_true(g_file_set_contents(fixture->base_tar, (const char *)tar->data, tar->len, NULL));
    blobs = g_build_filename(fixture->folder, "content", NULL);
    fixture->content = sl_content_open(blobs, NULL);
    /* A proxy that is not there: no registry of the world can be reached, whatever machine this is. */
    fixture->fetcher =
        sl_fetcher_new(&(SlFetchConfig){ .user_agent = "test", .proxy = "http://127.0.0.1:1" });
    fixture->registry = sl_registry_new(&(SlRegistryConfig){ 0 }, fixture->fetcher);
    fixture->events = g_string_new(NULL);
    fixture->builtin = (SlBuiltinImages)GPOINTER_TO_INT(data);
    images_start(fixture);
}

static void
fixture_close(Fixture *fixture, gconstpointer data)
{
    images_stop(fixture);
    sl_registry_free(fixture->registry);
    sl_fetcher_free(fixture->fetcher);
    sl_content_close(fixture->content);
    g_assert_true(sl_tree_remove(AT_FDCWD, fixture->folder, NULL));
    g_string_free(fixture->events, TRUE);
    g_free(fixture->folder);
    g_free(fixture->base_tar);
    g_free(fixture->rootfs);
}

static char *
put_json(Fixture *fixture, json_t *json /* taken */, int64_t *ret_size)
{
    g_autofree char *text = sl_json_dump(json);
    char *digest = NULL;

    *ret_size = (int64_t)strlen(text);
    g_assert_true(sl_content_put(fixture->content, text, strlen(text), &digest, NULL));
    json_decref(json);
    return digest;
}

/* An image with one file that holds text; its id. Caller frees. */
static char *
add_image(Fixture *fixture, const char *text, const char *tag)
{
    const TarEntry entries[] = { { '0', "file", .data = text }, { 0 } };
    g_autoptr(GByteArray) tar = tar_of(entries);
    g_autofree char *layer = NULL;
    g_autofree char *config = NULL;
    g_autofree char *manifest = NULL;
    g_autoptr(SlImageRecord) record = NULL;
    g_autoptr(GError) error = NULL;
    int64_t n = 0;

    g_assert_true(sl_content_put(fixture->content, tar->data, tar->len, &layer, NULL));
    g_strlcpy(fixture->layer, layer, sizeof fixture->layer);
    config = put_json(fixture,
                      json_pack("{s:s, s:s, s:s, s:{s:{s:s}}, s:{s:s, s:[s]}}", "os", "linux", "architecture",
                                "amd64", "created", "2024-01-02T03:04:05Z", "config", "Labels", "text", text,
                                "rootfs", "type", "layers", "diff_ids", layer),
                      &n);
    manifest = put_json(fixture,
                        json_pack("{s:i, s:{s:s, s:s, s:I}, s:[{s:s, s:s, s:I}]}", "schemaVersion", 2,
                                  "config", "mediaType", SL_MEDIA_OCI_CONFIG, "digest", config, "size",
                                  (json_int_t)n, "layers", "mediaType", SL_MEDIA_OCI_LAYER, "digest", layer,
                                  "size", (json_int_t)tar->len),
                        &n);
    record = sl_images_add(fixture->images, manifest, NULL, &error);
    g_assert_no_error(error);
    if (tag)
        g_assert_true(sl_images_tag(fixture->images, record->id, tag, NULL));
    return g_strdup(record->id);
}

static void
assert_resolves(Fixture *fixture, const char *reference, const char *id)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(SlImageRecord) record = sl_images_resolve(fixture->images, reference, &error);

    g_assert_no_error(error);
    g_assert_cmpstr(record->id, ==, id);
}

static void
assert_unresolved(Fixture *fixture, const char *reference, SlErrorCode code, const char *message)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(sl_images_resolve(fixture->images, reference, &error));
    g_assert_error(error, SL_ERROR, (int)code);
    g_assert_cmpstr(error->message, ==, message);
}

static void
test_resolves_every_form(Fixture *fixture, gconstpointer data)
{
    g_autofree char *id = add_image(fixture, "one", "app:1");
    g_autofree char *digits = g_strndup(id + 7, 12);
    g_autofree char *prefix = g_strconcat("sha256:", digits, NULL);

    g_assert_true(sl_images_tag(fixture->images, "app:1", "docker.io/library/app", NULL));
    assert_resolves(fixture, "app:1", id);
    assert_resolves(fixture, "app", id);
    assert_resolves(fixture, "docker.io/library/app:latest", id);
    assert_resolves(fixture, id, id);
    assert_resolves(fixture, id + 7, id);
    assert_resolves(fixture, digits, id);
    assert_resolves(fixture, prefix, id);
    assert_unresolved(fixture, "none", SL_ERROR_NOT_FOUND, "No such image: none:latest");
    assert_unresolved(fixture, "app:2", SL_ERROR_NOT_FOUND, "No such image: app:2");
    assert_unresolved(fixture, "App", SL_ERROR_INVALID,
                      "invalid reference format: repository name must be lowercase");
}

static void
test_digest_names_only_its_own_repository(Fixture *fixture, gconstpointer data)
{
    g_autofree char *id = add_image(fixture, "one", "app:1");
    g_autoptr(SlImageRecord) record = sl_images_resolve(fixture->images, id, NULL);
    g_autofree char *other = g_strconcat("other@", record->manifest_digest, NULL);
    g_autofree char *message = g_strconcat("No such image: ", other, NULL);

    assert_unresolved(fixture, other, SL_ERROR_NOT_FOUND, message);
}

static void
test_everything_survives_a_restart(Fixture *fixture, gconstpointer data)
{
    g_autofree char *id = add_image(fixture, "one", "app:1");

    images_stop(fixture);
    images_start(fixture);
    assert_resolves(fixture, "app:1", id);
    g_assert_cmpuint(sl_images_count(fixture->images), ==, 2);
}

static void
test_tags_move(Fixture *fixture, gconstpointer data)
{
    g_autofree char *one = add_image(fixture, "one", "app:1");
    g_autofree char *two = add_image(fixture, "two", "app:1");
    g_autoptr(SlImageRecord) record = sl_images_resolve(fixture->images, one, NULL);
    g_autoptr(GError) error = NULL;

    assert_resolves(fixture, "app:1", two);
    g_assert_cmpuint(g_strv_length(record->repo_tags), ==, 0);
    g_assert_false(sl_images_tag(fixture->images, "none", "x", &error));
    g_assert_error(error, SL_ERROR, SL_ERROR_NOT_FOUND);
    g_clear_error(&error);
    g_assert_false(sl_images_tag(fixture->images, "app:1", "Bad", &error));
    g_assert_error(error, SL_ERROR, SL_ERROR_INVALID);
    g_clear_error(&error);
    g_assert_false(sl_images_tag(fixture->images, "app:1", SL_BASE_IMAGE_REFERENCE, &error));
    g_assert_error(error, SL_ERROR, SL_ERROR_INVALID);
}

static char *
removed(Fixture *fixture, const char *reference, bool force)
{
    g_autoptr(GError) error = NULL;
    json_t *lines = NULL;
    char *text;

    if (!sl_images_remove(fixture->images, reference, force, &lines, &error))
        return g_strdup_printf("%u %s", sl_error_http_status(error), error->message);
    text = sl_json_dump(lines);
    json_decref(lines);
    return text;
}

static void
assert_removed(Fixture *fixture, const char *reference, bool force, const char *format, const char *id)
{
    g_autofree char *found = removed(fixture, reference, force);
    g_autoptr(GString) expected = g_string_new(format);
    g_autofree char *digits = g_strndup(id + 7, 12);

    g_string_replace(expected, "LAYER", fixture->layer, 0);
    g_string_replace(expected, "ID12", digits, 0);
    g_string_replace(expected, "ID", id, 0);
    g_assert_cmpstr(found, ==, expected->str);
}

static void
test_removal_untags_then_deletes(Fixture *fixture, gconstpointer data)
{
    g_autofree char *id = add_image(fixture, "one", "app:1");
    g_autoptr(SlImageRecord) record = sl_images_resolve(fixture->images, id, NULL);
    g_autofree char *path = NULL;

    g_assert_true(sl_images_rootfs(fixture->images, NULL, record, &path, NULL));
    g_assert_true(sl_images_tag(fixture->images, "app:1", "app:2", NULL));
    assert_removed(
        fixture, id, false,
        "409 conflict: unable to delete ID12 (must be forced) - image is referenced in multiple repositories",
        id);
    assert_removed(fixture, "app:2", false, "[{\"Untagged\":\"app:2\"}]", id);
    g_assert_true(g_file_test(path, G_FILE_TEST_IS_DIR));
    assert_removed(fixture, "app:1", false,
                   "[{\"Untagged\":\"app:1\"},{\"Deleted\":\"ID\"},{\"Deleted\":\"LAYER\"}]", id);
    assert_unresolved(fixture, "app:1", SL_ERROR_NOT_FOUND, "No such image: app:1");
    g_assert_false(g_file_test(path, G_FILE_TEST_EXISTS));
    g_assert_false(sl_content_has(fixture->content, record->manifest_digest));
    g_assert_false(sl_content_has(fixture->content, id));
    g_assert_nonnull(strstr(fixture->events->str, "tag(app:2) untag("));
    g_assert_nonnull(strstr(fixture->events->str, "delete("));
    images_stop(fixture);
    images_start(fixture);
    g_assert_cmpuint(sl_images_count(fixture->images), ==, 1);
}

static void
test_removal_by_id_takes_its_only_name(Fixture *fixture, gconstpointer data)
{
    g_autofree char *id = add_image(fixture, "one", "app:1");
    g_autofree char *digits = g_strndup(id + 7, 12);

    assert_removed(fixture, digits, false,
                   "[{\"Untagged\":\"app:1\"},{\"Deleted\":\"ID\"},{\"Deleted\":\"LAYER\"}]", id);
}

static void
test_shared_layers_stay(Fixture *fixture, gconstpointer data)
{
    g_autofree char *one = add_image(fixture, "same", "app:1");
    g_autoptr(SlImageRecord) record = sl_images_resolve(fixture->images, one, NULL);
    g_autoptr(SlImage) image = sl_images_read(fixture->images, NULL, record, NULL);
    const char *layer = fixture->layer;
    g_autoptr(SlImageRecord) twin = NULL;
    g_autofree char *text = NULL;
    g_autofree char *config = NULL;
    g_autofree char *manifest = NULL;
    json_t *document;
    int64_t n;

    g_assert_true(sl_content_read(fixture->content, one, 10000, &text, NULL, NULL));
    document = json_loads(text, 0, NULL);
    json_object_set_new(document, "author", json_string("another"));
    config = put_json(fixture, document, &n);
    manifest = put_json(fixture,
                        json_pack("{s:i, s:{s:s, s:s, s:I}, s:[{s:s, s:s, s:I}]}", "schemaVersion", 2,
                                  "config", "mediaType", SL_MEDIA_OCI_CONFIG, "digest", config, "size",
                                  (json_int_t)n, "layers", "mediaType", SL_MEDIA_OCI_LAYER, "digest", layer,
                                  "size", (json_int_t)((const SlImageLayer *)image->layers->pdata[0])->size),
                        &n);
    twin = sl_images_add(fixture->images, manifest, NULL, NULL);
    g_assert_nonnull(twin);
    assert_removed(fixture, "app:1", false, "[{\"Untagged\":\"app:1\"},{\"Deleted\":\"ID\"}]", one);
    g_assert_true(sl_content_has(fixture->content, layer));
    assert_removed(fixture, twin->id, false, "[{\"Deleted\":\"ID\"},{\"Deleted\":\"LAYER\"}]", twin->id);
    g_assert_false(sl_content_has(fixture->content, layer));
}

static void
test_containers_hold_images(Fixture *fixture, gconstpointer data)
{
    g_autofree char *id = add_image(fixture, "one", "app:1");

    fixture->user = "0123456789ab";
    fixture->user_image = id;
    assert_removed(fixture, "app:1", false,
                   "409 conflict: unable to remove repository reference \"app:1\" (must force) - container "
                   "0123456789ab is using its referenced image ID12",
                   id);
    assert_removed(
        fixture, id, false,
        "409 conflict: unable to delete ID12 (must be forced) - image is being used by stopped container "
        "0123456789ab",
        id);
    fixture->is_running = true;
    assert_removed(
        fixture, id, true,
        "409 conflict: unable to delete ID12 (cannot be forced) - image is being used by running container "
        "0123456789ab",
        id);
    /* By name, force takes the name and leaves the image. */
    assert_removed(fixture, "app:1", true, "[{\"Untagged\":\"app:1\"}]", id);
    assert_resolves(fixture, id, id);
    fixture->is_running = false;
    assert_removed(fixture, id, true, "[{\"Deleted\":\"ID\"}]", id);
}

static void
test_prune_takes_what_nobody_names_or_uses(Fixture *fixture, gconstpointer data)
{
    g_autofree char *named = add_image(fixture, "named", "app:1");
    g_autofree char *dangling = add_image(fixture, "dangling", NULL);
    g_autofree char *expected =
        g_strdup_printf("[{\"Deleted\":\"%s\"},{\"Deleted\":\"%s\"}]", dangling, fixture->layer);
    g_autofree char *used = add_image(fixture, "used", NULL);
    g_autofree char *found = NULL;
    g_autoptr(GError) error = NULL;
    json_t *report = NULL;

    fixture->user = "0123456789ab";
    fixture->user_image = used;
    g_assert_true(sl_images_prune(fixture->images, "{\"label\":[\"text=other\"]}", &report, &error));
    g_assert_true(json_is_null(json_object_get(report, "ImagesDeleted")));
    json_decref(report);
    g_assert_true(sl_images_prune(fixture->images, "{\"dangling\":[\"true\"]}", &report, &error));
    found = sl_json_dump(json_object_get(report, "ImagesDeleted"));
    g_assert_cmpstr(found, ==, expected);
    json_decref(report);
    assert_resolves(fixture, "app:1", named);
    assert_resolves(fixture, used, used);
    g_assert_true(sl_images_prune(fixture->images, "{\"dangling\":[\"false\"]}", &report, &error));
    json_decref(report);
    assert_unresolved(fixture, "app:1", SL_ERROR_NOT_FOUND, "No such image: app:1");
    g_assert_cmpuint(sl_images_count(fixture->images), ==, 2); /* the used one and the built-in one */
    g_assert_false(sl_images_prune(fixture->images, "{\"x\":[\"y\"]}", &report, &error));
    g_assert_error(error, SL_ERROR, SL_ERROR_INVALID);
}

/* ---- the built-in image ---- */

static void
say(void *user, const char *id, const char *status, int64_t current, int64_t total)
{
    g_string_append_printf(user, "%s\n", status);
}

static bool
pull(Fixture *fixture, const char *reference, GString *said, GError **error)
{
    return sl_images_pull(fixture->images, NULL, reference, NULL, NULL, say, said, error);
}

static void
test_base_is_always_there(Fixture *fixture, gconstpointer data)
{
    g_autoptr(SlImageRecord) record = sl_images_resolve(fixture->images, "sockerless/base", NULL);
    g_autofree char *found = removed(fixture, "sockerless/base", true);
    g_autofree char *path = NULL;

    g_assert_nonnull(record);
    g_assert_true(record->is_base);
    g_assert_cmpstr(record->repo_tags[0], ==, SL_BASE_IMAGE_REFERENCE);
    g_assert_null(record->repo_digests[0]);
    g_assert_true(g_str_has_prefix(found, "409 conflict: unable to delete "));
    g_assert_true(sl_images_rootfs(fixture->images, NULL, record, &path, NULL));
    g_assert_true(g_str_has_suffix(path, record->id + 7));
}

static void
test_base_stands_in_only_after_a_pull_found_no_registry(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GString) said = g_string_new(NULL);
    g_autoptr(GError) error = NULL;
    g_autofree char *warning = NULL;
    g_autoptr(SlImageRecord) record = NULL;

    g_assert_null(sl_images_resolve_for_create(fixture->images, "alpine:3.19", &warning, &error));
    g_assert_error(error, SL_ERROR, SL_ERROR_NOT_FOUND);
    g_clear_error(&error);

    pull(fixture, "alpine:3.19", said, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(
        said->str, ==,
        "registry cannot be reached: alpine:3.19 is served from the built-in image sockerless/base\n");

    record = sl_images_resolve_for_create(fixture->images, "alpine:3.19", &warning, &error);
    g_assert_no_error(error);
    g_assert_true(record->is_base);
    g_assert_cmpstr(
        warning, ==,
        "registry cannot be reached: alpine:3.19 is served from the built-in image sockerless/base");
    /* Never tagged as the other, and no other name got it. */
    assert_unresolved(fixture, "alpine:3.19", SL_ERROR_NOT_FOUND, "No such image: alpine:3.19");
    g_assert_cmpuint(g_strv_length(record->repo_tags), ==, 1);
    g_clear_pointer(&warning, g_free);
    g_assert_null(sl_images_resolve_for_create(fixture->images, "busybox", &warning, NULL));
    g_assert_false(pull(fixture, "debian", said, &error));
    g_assert_error(error, SL_ERROR, SL_ERROR_UNAVAILABLE);
    g_clear_error(&error);
    g_assert_false(pull(fixture, "other/alpine", said, &error));
    g_assert_error(error, SL_ERROR, SL_ERROR_UNAVAILABLE);
    g_clear_error(&error);
    g_assert_false(pull(fixture,
                        "alpine@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
                        said, &error));
    g_assert_error(error, SL_ERROR, SL_ERROR_UNAVAILABLE);
}

static void
test_base_always(Fixture *fixture, gconstpointer data)
{
    g_autofree char *warning = NULL;
    g_autoptr(SlImageRecord) record =
        sl_images_resolve_for_create(fixture->images, "busybox", &warning, NULL);

    g_assert_nonnull(record);
    g_assert_true(record->is_base);
    g_assert_nonnull(warning);
}

static void
test_base_off(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GString) said = g_string_new(NULL);
    g_autoptr(GError) error = NULL;

    assert_unresolved(fixture, "sockerless/base", SL_ERROR_NOT_FOUND,
                      "No such image: sockerless/base:latest");
    g_assert_false(pull(fixture, "alpine", said, &error));
    g_assert_error(error, SL_ERROR, SL_ERROR_UNAVAILABLE);
    g_assert_cmpstr(said->str, ==, "");
}

#define ADD_MODE(name, run, mode)                                                                            \
    g_test_add(name, Fixture, GINT_TO_POINTER(mode), fixture_open, run, fixture_close)
#define ADD(name, run) ADD_MODE(name, run, SL_BUILTIN_AUTO)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    sl_json_setup();
    ADD("/images/resolves-every-form", test_resolves_every_form);
    ADD("/images/digest-names-only-its-own-repository", test_digest_names_only_its_own_repository);
    ADD("/images/everything-survives-a-restart", test_everything_survives_a_restart);
    ADD("/images/tags-move", test_tags_move);
    ADD("/images/removal-untags-then-deletes", test_removal_untags_then_deletes);
    ADD("/images/removal-by-id-takes-its-only-name", test_removal_by_id_takes_its_only_name);
    ADD("/images/shared-layers-stay", test_shared_layers_stay);
    ADD("/images/containers-hold-images", test_containers_hold_images);
    ADD("/images/prune-takes-what-nobody-names-or-uses", test_prune_takes_what_nobody_names_or_uses);
    ADD("/images/base-is-always-there", test_base_is_always_there);
    ADD("/images/base-stands-in-only-after-a-pull-found-no-registry",
        test_base_stands_in_only_after_a_pull_found_no_registry);
    ADD_MODE("/images/base-always", test_base_always, SL_BUILTIN_ALWAYS);
    ADD_MODE("/images/base-off", test_base_off, SL_BUILTIN_OFF);
    return g_test_run();
}
