/* Tests only: pulls one image, or logs in, and prints what happened as JSON lines. */
#include "oci/registry.h"

#include <stdio.h>
#include <string.h>

#include "common/json_fields.h"
#include "oci/unpack.h"

typedef struct Options {
    char *content, *auth, *platform, *login, *rootfs;
    GStrv insecure, mirrors;
    int cancel_after_bytes;
} Options;

typedef struct Watch {
    SlCancel *cancel;
    int64_t limit;
} Watch;

static void
line_print(json_t *line /* taken */)
{
    g_autofree char *text = sl_json_dump(line);

    puts(text);
    fflush(stdout);
    json_decref(line);
}

static void
progress_print(void *user, const char *id, const char *status, int64_t current, int64_t total)
{
    Watch *watch = user;

    line_print(json_pack("{s:s, s:s?, s:I, s:I}", "status", status, "id", id, "current", (json_int_t)current,
                         "total", (json_int_t)total));
    if (watch->limit && strcmp(status, "Downloading") == 0 && current >= watch->limit)
        sl_cancel_fire(watch->cancel);
}

static bool
probe_pull(const Options *options, SlRegistry *registry, const char *text, const SlRegistryAuth *auth,
           GError **error)
{
    g_autoptr(SlContent) content = sl_content_open(options->content, error);
    g_autoptr(SlCancel) cancel = sl_cancel_new();
    Watch watch = { .cancel = cancel, .limit = options->cancel_after_bytes };
    g_auto(SlReference) reference = { 0 };
    g_auto(SlPlatform) platform = { 0 };
    g_autofree char *manifest = NULL;
    g_autofree char *index = NULL;
    g_autofree char *path = NULL;
    g_autoptr(SlImage) image = NULL;

    if (!content || !sl_reference_parse(text, true, &reference, error))
        return false;
    if (options->platform && !sl_platform_parse(options->platform, &platform, error))
        return false;
    if (!sl_registry_pull(registry, cancel, &reference, auth, options->platform ? &platform : NULL, content,
                          progress_print, &watch, &manifest, &index, error))
        return false;
    image = sl_image_load(content, manifest, error);
    if (!image)
        return false;
    if (options->rootfs &&
        !sl_rootfs_prepare(content, image, options->rootfs, NULL, NULL, NULL, &path, error))
        return false;
    line_print(json_pack("{s:s, s:s, s:s, s:s?}", "manifest", manifest, "index", index, "id", image->id,
                         "rootfs", path));
    return true;
}

int
main(int argc, char **argv)
{
    Options options = { 0 };
    GOptionEntry entries[] = {
        { "content", 0, 0, G_OPTION_ARG_STRING, &options.content, NULL, NULL },
        { "rootfs", 0, 0, G_OPTION_ARG_STRING, &options.rootfs, NULL, NULL },
        { "auth", 0, 0, G_OPTION_ARG_STRING, &options.auth, NULL, NULL },
        { "platform", 0, 0, G_OPTION_ARG_STRING, &options.platform, NULL, NULL },
        { "login", 0, 0, G_OPTION_ARG_STRING, &options.login, NULL, NULL },
        { "insecure", 0, 0, G_OPTION_ARG_STRING_ARRAY, &options.insecure, NULL, NULL },
        { "mirror", 0, 0, G_OPTION_ARG_STRING_ARRAY, &options.mirrors, NULL, NULL },
        { "cancel-after", 0, 0, G_OPTION_ARG_INT, &options.cancel_after_bytes, NULL, NULL },
        { 0 },
    };
    g_autoptr(GOptionContext) context = g_option_context_new("REFERENCE");
    g_autoptr(GError) error = NULL;
    g_autoptr(SlFetcher) fetcher = NULL;
    g_autoptr(SlRegistry) registry = NULL;
    g_auto(SlRegistryAuth) auth = { 0 };
    bool ok;

    sl_json_setup();
    g_option_context_add_main_entries(context, entries, NULL);
    ok = g_option_context_parse(context, &argc, &argv, &error);
    fetcher = sl_fetcher_new(&(SlFetchConfig){
        .user_agent = "sockerless-test", .connect_timeout_ms = 3000, .stall_timeout_ms = 3000 });
    registry = sl_registry_new(
        &(SlRegistryConfig){ .mirrors = options.mirrors, .insecure = options.insecure }, fetcher);
    ok = ok && sl_registry_auth_parse(options.auth, &auth, &error);
    if (ok && options.login)
        ok = sl_registry_login(registry, NULL, options.login, &auth, &error);
    else if (ok)
        ok = probe_pull(&options, registry, argv[1], &auth, &error);
    if (!ok)
        line_print(
            json_pack("{s:s, s:i}", "error", error->message, "http", (int)sl_error_http_status(error)));
    g_strfreev(options.insecure);
    g_strfreev(options.mirrors);
    g_free(options.content);
    g_free(options.rootfs);
    g_free(options.auth);
    g_free(options.platform);
    g_free(options.login);
    return ok ? 0 : 1;
}
