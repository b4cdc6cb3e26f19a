#include "oci/image.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>

#include "common/fd.h"
#include "common/json_fields.h"
#include "common/thread.h"
#include "oci/manifest.h"
#include "oci/tar_fixture.h"
#include "oci/unpack.h"

#define HEX64  "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define DIGEST "sha256:" HEX64
#define LAYER                                                                                                \
    "{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar\",\"digest\":\"" DIGEST "\",\"size\":1}"
#define CONFIG                                                                                               \
    "{\"mediaType\":\"application/vnd.oci.image.config.v1+json\",\"digest\":\"" DIGEST "\",\"size\":1}"
#define MANIFEST(rest) "{\"schemaVersion\":2,\"config\":" CONFIG rest "}"

typedef struct Fixture {
    char *folder;
    SlContent *content;
} Fixture;

static void
fixture_open(Fixture *fixture, gconstpointer data)
{
    g_autofree char *blobs = NULL;

    fixture->folder = g_dir_make_tmp("sl-image-XXXXXX", NULL);
    blobs = g_build_filename(fixture->folder, "content", NULL);
    fixture->content = sl_content_open(blobs, NULL);
    g_assert_nonnull(fixture->content);
}

static void
fixture_close(Fixture *fixture, gconstpointer data)
{
    sl_content_close(fixture->content);
    g_assert_true(sl_tree_remove(AT_FDCWD, fixture->folder, NULL));
    g_free(fixture->folder);
}

/* ---- manifests ---- */

static const struct {
    const char *text, *content_type, *message;
} manifests[] = {
    { MANIFEST(",\"layers\":[" LAYER "]"), NULL, NULL },
    { MANIFEST(",\"layers\":[]"), "application/vnd.oci.image.manifest.v1+json; charset=utf-8", NULL },
    { MANIFEST(",\"layers\":[]"), "text/plain", NULL },
    { "{\"schemaVersion\":2,\"manifests\":[]}", NULL, NULL },
    { "", NULL, "invalid manifest: not JSON: '[' or '{' expected near end of file" },
    { "[]", NULL, "invalid manifest: not a JSON object" },
    { "{\"schemaVersion\":1}", NULL, "invalid manifest: schemaVersion must be 2" },
    { "{\"schemaVersion\":2}", NULL, "invalid manifest: it has no config" },
    { "{\"schemaVersion\":2,\"schemaVersion\":2}", NULL,
      "invalid manifest: not JSON: duplicate object key near '\"schemaVersion\"'" },
    { "{\"schemaVersion\":1,\"fsLayers\":[]}", NULL,
      "Docker Image manifest version 2, schema 1 is no longer supported: push the image again" },
    /* One document, two readings. */
    { MANIFEST(",\"layers\":[],\"manifests\":[]"), NULL,
      "invalid manifest: its content does not fit its media type" },
    { MANIFEST(",\"layers\":[]"), SL_MEDIA_OCI_INDEX,
      "invalid manifest: its content does not fit its media type" },
    { MANIFEST(",\"layers\":[],\"mediaType\":\"" SL_MEDIA_OCI_INDEX "\""), NULL,
      "invalid manifest: its content does not fit its media type" },
    { MANIFEST(",\"layers\":[],\"mediaType\":\"" SL_MEDIA_OCI_MANIFEST "\""), SL_MEDIA_DOCKER_INDEX,
      "invalid manifest: it is \"" SL_MEDIA_OCI_MANIFEST "\", but was sent as \"" SL_MEDIA_DOCKER_INDEX
      "\"" },
    { MANIFEST(",\"layers\":[],\"mediaType\":\"text/html\""), NULL,
      "unsupported manifest media type \"text/html\"" },
    { MANIFEST(",\"layers\":{}"), NULL, "invalid manifest: \"layers\" must be a list" },
    { MANIFEST(",\"layers\":[7]"), NULL, "invalid manifest: layer is not an object" },
    { MANIFEST(",\"layers\":[{\"mediaType\":\"application/"
               "vnd.oci.image.layer.v1.tar\",\"digest\":\"sha256:../x\",\"size\":1}]"),
      NULL, "invalid manifest: layer has no valid sha256 digest" },
    { MANIFEST(",\"layers\":[{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar\",\"digest\":\"" DIGEST
               "\",\"size\":-1}]"),
      NULL, "layer: \"size\" must be a size in bytes" },
    { MANIFEST(",\"layers\":[{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar\",\"digest\":\"" DIGEST
               "\"}]"),
      NULL, "invalid manifest: layer has no size" },
    { MANIFEST(",\"layers\":[{\"mediaType\":\"application/x-evil\",\"digest\":\"" DIGEST "\",\"size\":1}]"),
      NULL, "unsupported layer media type \"application/x-evil\"" },
    { MANIFEST(",\"layers\":[{\"mediaType\":\"application/"
               "vnd.docker.image.rootfs.foreign.diff.tar.gzip\",\"urls\":[\"http://evil/\"],"
               "\"digest\":\"" DIGEST "\",\"size\":1}]"),
      NULL,
      "foreign layers are not supported (media type "
      "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip)" },
    { "{\"schemaVersion\":2,\"config\":{\"mediaType\":\"application/"
      "vnd.cncf.helm.config.v1+json\",\"digest\":\"" DIGEST "\",\"size\":1},\"layers\":[]}",
      NULL,
      "unsupported media type application/vnd.cncf.helm.config.v1+json: this is not a container image" },
};

static void
test_manifests(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(manifests); i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(SlManifest) manifest = sl_manifest_parse(manifests[i].text, strlen(manifests[i].text),
                                                           manifests[i].content_type, &error);

        g_assert_cmpstr(error ? error->message : NULL, ==, manifests[i].message);
        g_assert_true((manifest != NULL) == (error == NULL));
        if (error)
            g_assert_error(error, SL_ERROR, SL_ERROR_INVALID);
    }
}

static void
test_deep_json_is_refused(void)
{
    g_autofree char *deep = g_strnfill(100000, '[');
    g_autofree char *text = g_strconcat("{\"a\":", deep, NULL);
    g_autoptr(GError) error = NULL;

    g_assert_null(sl_manifest_parse(text, strlen(text), NULL, &error));
    g_assert_cmpstr(error->message, ==, "invalid manifest: nested more than 64 deep");
}

static void
test_too_many_layers_are_refused(void)
{
    g_autoptr(GString) text = g_string_new("{\"schemaVersion\":2,\"config\":" CONFIG ",\"layers\":[" LAYER);
    g_autoptr(GError) error = NULL;

    for (int i = 0; i < SL_MANIFEST_MAX_LAYERS; i++)
        g_string_append(text, "," LAYER);
    g_string_append(text, "]}");
    g_assert_null(sl_manifest_parse(text->str, text->len, NULL, &error));
    g_assert_cmpstr(error->message, ==, "max depth exceeded: the image has 128 layers");
}

#define ENTRY(n, platform)                                                                                   \
    "{\"mediaType\":\"" SL_MEDIA_OCI_MANIFEST "\",\"size\":" #n ",\"digest\":\"" DIGEST                      \
    "\",\"platform\":{" platform "}}"

static void
test_platforms_choose(void)
{
    static const char index[] =
        "{\"schemaVersion\":2,\"mediaType\":\"" SL_MEDIA_OCI_INDEX "\",\"manifests\":[" ENTRY(
            1,
            "\"os\":\"unknown\",\"architecture\":"
            "\"unknown\"") "," ENTRY(2,
                                     "\"os\""
                                     ":\"lin"
                                     "ux\","
                                     "\"arch"
                                     "itectu"
                                     "re\":"
                                     "\"arm"
                                     "\","
                                     "\"vari"
                                     "ant\":"
                                     "\"v6"
                                     "\"") "," ENTRY(3,
                                                     "\"os\":\"linux\",\"architecture\":\"arm\",\"variant\":"
                                                     "\"v7\"") "," ENTRY(4,
                                                                         "\"os\":\"linux\",\"architecture\":"
                                                                         "\"amd64\"") "," ENTRY(5, "\"os\":"
                                                                                                   "\"windows"
                                                                                                   "\","
                                                                                                   "\"archite"
                                                                                                   "ctur"
                                                                                                   "e\":"
                                                                                                   "\"amd64"
                                                                                                   "\"") "," ENTRY(6,
                                                                                                                   "\"os\":"
                                                                                                                   "\"linux\","
                                                                                                                   "\"architecture\""
                                                                                                                   ":\"arm64\","
                                                                                                                   "\"variant\":"
                                                                                                                   "\"v8\"") "]}";
    static const struct {
        const char *platform;
        int64_t expected;
    } cases[] = {
        { "linux/amd64", 4 }, { "linux/arm64", 6 },   { "linux/arm64/v8", 6 }, { "linux/arm/v6", 2 },
        { "linux/arm", 3 },   { "windows/amd64", 5 }, { "linux/x86_64", 4 },   { "linux/aarch64", 6 },
        { "linux/s390x", 0 }, { "linux/arm/v5", 0 },
    };
    g_autoptr(SlManifest) manifest = sl_manifest_parse(index, strlen(index), NULL, NULL);

    g_assert_nonnull(manifest);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_auto(SlPlatform) platform = { 0 };
        g_autoptr(GError) error = NULL;
        const SlDescriptor *chosen;

        g_assert_true(sl_platform_parse(cases[i].platform, &platform, NULL));
        chosen = sl_manifest_choose(manifest, &platform, &error);
        g_assert_cmpint(chosen ? chosen->size : 0, ==, cases[i].expected);
        if (!chosen)
            g_assert_error(error, SL_ERROR, SL_ERROR_NOT_FOUND);
    }
}

static void
test_platforms_parse(void)
{
    static const char *const bad[] = { "", "/", "linux/", "a/b/c/d", "linux/am d64", "../x" };
    g_auto(SlPlatform) platform = { 0 };

    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++)
        g_assert_false(sl_platform_parse(bad[i], &platform, NULL));
    g_assert_true(sl_platform_parse("arm64", &platform, NULL));
    g_assert_cmpstr(platform.os, ==, "linux");
    g_assert_cmpstr(platform.architecture, ==, "arm64");
}

/* ---- whole images ---- */

static char *
put_json(Fixture *fixture, json_t *json, int64_t *ret_size)
{
    g_autofree char *text = sl_json_dump(json);
    char *digest = NULL;

    *ret_size = (int64_t)strlen(text);
    g_assert_true(sl_content_put(fixture->content, text, strlen(text), &digest, NULL));
    json_decref(json);
    return digest;
}

/* An image of one layer; config is taken. */
static char *
put_image(Fixture *fixture, json_t *config, const char *layer_digest, int64_t layer_size)
{
    int64_t config_size;
    g_autofree char *config_digest = put_json(fixture, config, &config_size);
    int64_t ignored;

    return put_json(fixture,
                    json_pack("{s:i, s:{s:s, s:s, s:I}, s:[{s:s, s:s, s:I}]}", "schemaVersion", 2, "config",
                              "mediaType", SL_MEDIA_OCI_CONFIG, "digest", config_digest, "size",
                              (json_int_t)config_size, "layers", "mediaType", SL_MEDIA_OCI_LAYER, "digest",
                              layer_digest, "size", (json_int_t)layer_size),
                    &ignored);
}

static json_t *
config_with(const char *diff_id, json_t *runtime)
{
    return json_pack("{s:s, s:s, s:s, s:o, s:{s:s, s:[s]}}", "os", "linux", "architecture", "amd64",
                     "created", "2024-01-02T03:04:05.000000006Z", "config", runtime, "rootfs", "type",
                     "layers", "diff_ids", diff_id);
}

static void
test_config_is_checked(Fixture *fixture, gconstpointer data)
{
    static const struct {
        const char *runtime, *message;
    } cases[] = {
        { "{\"Env\":[\"A=b\"],\"Labels\":{\"a\":\"b\"},\"Volumes\":{\"/data\":{}}}", NULL },
        { "null", NULL },
        { "[]", "invalid image config: \"config\" must be an object" },
        { "{\"Env\":\"A=b\"}", "invalid image config: \"Env\" must be a list" },
        { "{\"Env\":[1]}", "invalid image config: \"Env\" must be a list of strings" },
        { "{\"Cmd\":{}}", "invalid image config: \"Cmd\" must be a list" },
        { "{\"User\":0}", "invalid image config: \"User\" must be a string" },
        { "{\"Labels\":{\"a\":1}}", "invalid image config: Labels.a must be a string" },
        { "{\"Volumes\":{\"/../..\":{}}}", "invalid image config: invalid volume path \"/../..\"" },
        { "{\"Volumes\":{\"\":{}}}", "invalid image config: invalid volume path \"\"" },
        { "{\"ExposedPorts\":[]}", "invalid image config: \"ExposedPorts\" must be an object" },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        json_t *runtime = json_loads(cases[i].runtime, JSON_DECODE_ANY, NULL);
        g_autofree char *manifest = put_image(fixture, config_with(DIGEST, runtime), DIGEST, 5);
        g_autoptr(GError) error = NULL;
        g_autoptr(SlImage) image = sl_image_load(fixture->content, manifest, &error);

        g_assert_cmpstr(error ? error->message : NULL, ==, cases[i].message);
        if (!image)
            continue;
        g_assert_cmpint(image->created_ns, ==, G_GINT64_CONSTANT(1704164645000000006));
        g_assert_cmpint(image->size, ==, 5);
        g_assert_cmpuint(image->layers->len, ==, 1);
    }
}

static void
test_layer_counts_must_agree(Fixture *fixture, gconstpointer data)
{
    json_t *config = config_with(DIGEST, json_object());
    g_autofree char *manifest = NULL;
    g_autoptr(GError) error = NULL;

    json_array_append_new(json_object_get(json_object_get(config, "rootfs"), "diff_ids"),
                          json_string(DIGEST));
    manifest = put_image(fixture, config, DIGEST, 5);
    g_assert_null(sl_image_load(fixture->content, manifest, &error));
    g_assert_cmpstr(error->message, ==, "invalid image: 1 layers, but 2 diff_ids in its config");
}

static void
test_missing_blobs_are_said(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(sl_image_load(fixture->content, DIGEST, &error));
    g_assert_error(error, SL_ERROR, SL_ERROR_NOT_FOUND);
}

static char *
base_tar(Fixture *fixture)
{
    static const TarEntry entries[] = { { '5', .name = "bin" },
                                        { '0', "bin/sh", .data = "#!", .mode = 0755 },
                                        { 0 } };
    g_autoptr(GByteArray) tar = tar_of(entries);
    char *path = g_build_filename(fixture->folder, "base.tar", NULL);

    g_assert_true(g_file_set_contents(path, (const char *)tar->data, tar->len, NULL));
    return path;
}

static void
test_base_image(Fixture *fixture, gconstpointer data)
{
    g_autofree char *tar = base_tar(fixture);
    g_autofree char *rootfs = g_build_filename(fixture->folder, "rootfs", NULL);
    g_autofree char *manifest = NULL;
    g_autofree char *again = NULL;
    g_autofree char *path = NULL;
    g_autofree char *shell = NULL;
    g_autofree char *text = NULL;
    g_autoptr(SlImage) image = NULL;
    g_autoptr(GError) error = NULL;

    g_assert_true(sl_image_make_base(fixture->content, tar, &manifest, &error));
    g_assert_true(sl_image_make_base(fixture->content, tar, &again, &error));
    g_assert_cmpstr(manifest, ==, again);
    image = sl_image_load(fixture->content, manifest, &error);
    g_assert_no_error(error);
    sl_rootfs_prepare(fixture->content, image, rootfs, NULL, NULL, NULL, &path, &error);
    g_assert_no_error(error);
    g_assert_cmpint(image->size, ==, 2);
    shell = g_build_filename(path, "bin/sh", NULL);
    g_assert_true(g_file_get_contents(shell, &text, NULL, NULL));
    g_assert_cmpstr(text, ==, "#!");
}

static void
test_wrong_diff_id_leaves_nothing(Fixture *fixture, gconstpointer data)
{
    g_autofree char *rootfs = g_build_filename(fixture->folder, "rootfs", NULL);
    static const TarEntry entries[] = { { '0', "file", .data = "x" }, { 0 } };
    g_autoptr(GByteArray) tar = tar_of(entries);
    g_autofree char *layer = NULL;
    g_autofree char *manifest = NULL;
    g_autofree char *path = NULL;
    g_autofree char *made = NULL;
    g_autoptr(SlImage) image = NULL;
    g_autoptr(GError) error = NULL;

    g_assert_true(sl_content_put(fixture->content, tar->data, tar->len, &layer, NULL));
    manifest = put_image(fixture, config_with(DIGEST, json_object()), layer, (int64_t)tar->len);
    image = sl_image_load(fixture->content, manifest, NULL);
    g_assert_nonnull(image);
    g_assert_false(sl_rootfs_prepare(fixture->content, image, rootfs, NULL, NULL, NULL, &path, &error));
    g_assert_error(error, SL_ERROR, SL_ERROR_INVALID);
    made = g_build_filename(rootfs, image->id + 7, NULL);
    g_assert_false(g_file_test(made, G_FILE_TEST_EXISTS));
}

typedef struct Preparer {
    Fixture *fixture;
    SlImage *image;
    const char *rootfs;
    bool ok;
} Preparer;

static void *
prepare_run(void *data)
{
    Preparer *preparer = data;
    g_autofree char *path = NULL;

    preparer->ok = sl_rootfs_prepare(preparer->fixture->content, preparer->image, preparer->rootfs, NULL,
                                     NULL, NULL, &path, NULL);
    return NULL;
}

static void
test_many_ask_for_one_image(Fixture *fixture, gconstpointer data)
{
    g_autofree char *tar = base_tar(fixture);
    g_autofree char *rootfs = g_build_filename(fixture->folder, "rootfs", NULL);
    g_autofree char *manifest = NULL;
    g_autofree char *stale = NULL;
    g_autoptr(SlImage) image = NULL;
    Preparer preparers[8];
    pthread_t threads[G_N_ELEMENTS(preparers)];

    g_assert_true(sl_image_make_base(fixture->content, tar, &manifest, NULL));
    image = sl_image_load(fixture->content, manifest, NULL);
    /* What a killed process left half done. */
    stale = g_strdup_printf("%s/.%s.tmp/old", rootfs, image->id + 7);
    g_assert_cmpint(g_mkdir_with_parents(stale, 0755), ==, 0);
    for (size_t i = 0; i < G_N_ELEMENTS(preparers); i++) {
        preparers[i] = (Preparer){ .fixture = fixture,
                                   .image = sl_image_load(fixture->content, manifest, NULL),
                                   .rootfs = rootfs };
        g_assert_true(sl_thread_start("prepare", prepare_run, &preparers[i], &threads[i], NULL));
    }
    for (size_t i = 0; i < G_N_ELEMENTS(preparers); i++) {
        pthread_join(threads[i], NULL);
        g_assert_true(preparers[i].ok);
        sl_image_free(preparers[i].image);
    }
    g_assert_false(g_file_test(stale, G_FILE_TEST_EXISTS));
}

#define ADD(name, run) g_test_add(name, Fixture, NULL, fixture_open, run, fixture_close)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    sl_json_setup();
    g_test_add_func("/manifest/every-field-is-checked", test_manifests);
    g_test_add_func("/manifest/deep-json-is-refused", test_deep_json_is_refused);
    g_test_add_func("/manifest/too-many-layers-are-refused", test_too_many_layers_are_refused);
    g_test_add_func("/manifest/platforms-choose", test_platforms_choose);
    g_test_add_func("/manifest/platforms-parse", test_platforms_parse);
    ADD("/image/config-is-checked", test_config_is_checked);
    ADD("/image/layer-counts-must-agree", test_layer_counts_must_agree);
    ADD("/image/missing-blobs-are-said", test_missing_blobs_are_said);
    ADD("/image/base-image", test_base_image);
    ADD("/image/wrong-diff-id-leaves-nothing", test_wrong_diff_id_leaves_nothing);
    ADD("/image/many-ask-for-one-image", test_many_ask_for_one_image);
    return g_test_run();
}
