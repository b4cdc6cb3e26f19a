/* /internal/v1/images/…: requests in, documents out. */
#include "backends/core/images.h"

#include <stdio.h>
#include <string.h>

#include "backends/core/images_filter.h"
#include "backends/core/images_json.h"
#include "common/json_fields.h"
#include "oci/reference.h"

static const char json_media[] = "application/json";

/* The client's version as 1000 * major + minor; the newest when the frontend did not say. */
static int
client_version(SlCall *call)
{
    const char *text = sl_call_header(call, "X-Sockerless-Api-Version");
    int major = 1;
    int minor = 44;

    if (text && sscanf(text, "%2d.%3d", &major, &minor) != 2)
        return 1044;
    return 1000 * major + minor;
}

/* ---- pulling ---- */

typedef struct Progress {
    SlCall *call;
    bool has_begun;
    bool is_broken; /* the client left */
} Progress;

static bool
line_write(Progress *progress, json_t *line /* taken */, GError **error)
{
    g_autofree char *text = sl_json_dump(line);
    g_autofree char *whole = g_strconcat(text, "\r\n", NULL);

    json_decref(line);
    if (!progress->has_begun && !sl_call_begin(progress->call, 200, json_media, error))
        return false;
    progress->has_begun = true;
    return sl_call_write(progress->call, whole, strlen(whole), error);
}

/* Decimal units with four digits, as Docker's go-units prints sizes: "1.447MB". Caller frees. */
static char *
size_words(int64_t bytes)
{
    static const char *const units[] = { "B", "kB", "MB", "GB", "TB", "PB" };
    double value = (double)bytes;
    size_t unit = 0;

    while (value >= 1000 && unit + 1 < G_N_ELEMENTS(units)) {
        value /= 1000;
        unit++;
    }
    return g_strdup_printf("%.4g%s", value, units[unit]);
}

/* "[=====>     ]  1.447MB/1.984MB", 50 columns wide. Caller frees. */
static char *
bar_words(int64_t current, int64_t total)
{
    g_autofree char *now = size_words(current);
    g_autofree char *whole = size_words(total);
    g_autofree char *done = NULL;
    int n;

    if (total <= 0)
        return g_steal_pointer(&now);
    n = (int)(50 * MIN(current, total) / total);
    done = g_strnfill((gsize)n, '=');
    return g_strdup_printf("[%s>%*s]  %s/%s", done, 50 - n, "", now, whole);
}

static json_t *
progress_line(const char *id, const char *status, int64_t current, int64_t total)
{
    json_t *line = json_pack("{s:s}", "status", status);
    bool is_layer = id && strlen(id) == 12;

    if (total > 0) {
        g_autofree char *bar = bar_words(current, total);

        json_object_set_new(
            line, "progressDetail",
            json_pack("{s:I, s:I}", "current", (json_int_t)current, "total", (json_int_t)total));
        json_object_set_new(line, "progress", json_string(bar));
    } else if (is_layer && strcmp(status, "Already exists") != 0) {
        json_object_set_new(line, "progressDetail", json_object());
    }
    if (id)
        json_object_set_new(line, "id", json_string(id));
    return line;
}

static void
progress_tell(void *user, const char *id, const char *status, int64_t current, int64_t total)
{
    Progress *progress = user;

    /* A client that left is noticed through the call's cancel. */
    if (!progress->is_broken)
        progress->is_broken = !line_write(progress, progress_line(id, status, current, total), NULL);
}

/* After the first line the status is out: errors become the stream's last line. */
static bool
pull_fail(Progress *progress, GError *failure, GError **error)
{
    if (!progress->has_begun) {
        /* Docker answers 500 when a registry is out of reach. */
        if (g_error_matches(failure, SL_ERROR, SL_ERROR_UNAVAILABLE))
            failure->code = SL_ERROR_SYSTEM;
        g_propagate_error(error, failure);
        return false;
    }
    if (!progress->is_broken)
        line_write(progress,
                   json_pack("{s:{s:s}, s:s}", "errorDetail", "message", failure->message, "error",
                             failure->message),
                   NULL);
    g_error_free(failure);
    return true;
}

static char *
pull_reference(const char *name, const char *tag)
{
    if (!tag || !*tag)
        return g_strdup(name);
    return g_strconcat(name, g_str_has_prefix(tag, "sha256:") ? "@" : ":", tag, NULL);
}

/* POST /images/create?fromImage&tag&platform → 200 with JSON lines; 400 reference, 404 no such image there,
 * 500 registry. */
static bool
image_create(SlCall *call, GError **error)
{
    const char *name = sl_call_query(call, "fromImage");
    const char *platform_text = sl_call_query(call, "platform");
    bool has_platform = platform_text && *platform_text;
    g_autofree char *reference = NULL;
    g_auto(SlRegistryAuth) auth = { 0 };
    g_auto(SlPlatform) platform = { 0 };
    Progress progress = { .call = call };
    GError *failure = NULL;

    if (!name || !*name) {
        if (sl_call_query(call, "fromSrc"))
            return sl_fail(error, SL_ERROR_UNSUPPORTED,
                           "importing an image (fromSrc) is not implemented by this backend");
        return sl_fail(error, SL_ERROR_INVALID, "fromImage is required");
    }
    if (!sl_registry_auth_parse(sl_call_header(call, "X-Registry-Auth"), &auth, error))
        return false;
    if (has_platform && !sl_platform_parse(platform_text, &platform, error))
        return false;
    reference = pull_reference(name, sl_call_query(call, "tag"));
    if (!sl_images_pull(sl_core_images(call), sl_call_cancel(call), reference, &auth,
                        has_platform ? &platform : NULL, progress_tell, &progress, &failure))
        return pull_fail(&progress, failure, error);
    return true;
}

/* ---- archives ---- */

static bool
body_read(void *user, void *data, size_t n, size_t *ret_n, GError **error)
{
    return sl_call_body_read(user, data, n, ret_n, error);
}

static void
line_tell(void *user, const char *text)
{
    Progress *progress = user;
    json_t *line = json_pack("{s:o}", "stream", json_sprintf("%s\n", text));

    if (progress->is_broken)
        json_decref(line);
    else
        progress->is_broken = !line_write(progress, line, NULL);
}

/* POST /images/load?quiet&platform, a tar → 200 with JSON lines; 400 what is wrong with it, 413. */
static bool
image_load(SlCall *call, GError **error)
{
    const char *platform_text = sl_call_query(call, "platform");
    bool has_platform = platform_text && *platform_text;
    const SlTarSource source = { .fd = -1, .read = body_read, .user = call };
    g_auto(SlPlatform) platform = { 0 };
    Progress progress = { .call = call };
    GError *failure = NULL;

    if (has_platform && !sl_platform_parse(platform_text, &platform, error))
        return false;
    /* The client's leaving ends the body: the call's cancel is for what waits beside it. */
    if (!sl_images_load(sl_core_images(call), NULL, &source, has_platform ? &platform : NULL,
                        sl_call_query_bool(call, "quiet", false) ? NULL : progress_tell, line_tell, &progress,
                        &failure))
        return pull_fail(&progress, failure, error);
    return true;
}

static bool
piece_write(void *user, const void *data, size_t n, GError **error)
{
    return sl_call_write(user, data, n, error);
}

static bool
images_save(SlCall *call, const char *const *names, GError **error)
{
    g_autoptr(SlImagesSaved) saved =
        sl_images_save_open(sl_core_images(call), sl_call_cancel(call), names, error);

    return saved && sl_call_begin(call, 200, "application/x-tar", error) &&
           sl_images_save_write(saved, sl_call_cancel(call), piece_write, call, error);
}

/* GET /images/get?names=a&names=b → 200 with a tar; 404. */
static bool
images_get(SlCall *call, GError **error)
{
    const char *const *names = sl_call_query_all(call, "names");

    if (!*names || !**names)
        return sl_fail(error, SL_ERROR_INVALID, "names is required: the images to save");
    return images_save(call, names, error);
}

/* GET /images/{name}/get */
static bool
image_get(SlCall *call, GError **error)
{
    return images_save(call, (const char *const[]){ sl_call_param(call, "name"), NULL }, error);
}

/* ---- reading ---- */

/* GET /images/json?filters&all&digests */
static bool
image_list(SlCall *call, GError **error)
{
    g_autoptr(GPtrArray) records =
        sl_images_filter(sl_core_images(call), sl_call_query(call, "filters"), error);
    json_t *list;

    if (!records)
        return false;
    list = json_array();
    for (guint i = 0; i < records->len; i++)
        json_array_append_new(list, sl_image_summary_json(records->pdata[i], client_version(call)));
    return sl_call_reply_json(call, 200, list, error);
}

/* The image that the path names. What cannot be a name is not here either: `docker inspect` asks for
 * anything, and goes on only after a 404. */
static SlImageRecord *
image_of_path(SlCall *call, GError **error)
{
    g_autoptr(GError) local = NULL;
    const char *name = sl_call_param(call, "name");
    SlImageRecord *record = sl_images_resolve(sl_core_images(call), name, &local);

    if (record)
        return record;
    if (g_error_matches(local, SL_ERROR, SL_ERROR_INVALID))
        sl_fail(error, SL_ERROR_NOT_FOUND, "No such image: %s", name);
    else
        g_propagate_error(error, g_steal_pointer(&local));
    return NULL;
}

/* GET /images/{name}/json */
static bool
image_inspect(SlCall *call, GError **error)
{
    g_autoptr(SlImageRecord) record = image_of_path(call, error);

    return record &&
           sl_call_reply_json(call, 200, sl_image_inspect_json(record, client_version(call)), error);
}

/* GET /images/{name}/history */
static bool
image_history(SlCall *call, GError **error)
{
    g_autoptr(SlImageRecord) record = image_of_path(call, error);
    g_autoptr(SlImage) image =
        record ? sl_images_read(sl_core_images(call), sl_call_cancel(call), record, error) : NULL;

    return image && sl_call_reply_json(call, 200, sl_image_history_json(record, image->layers), error);
}

/* ---- changing ---- */

/* POST /images/{name}/tag?repo&tag → 201 */
static bool
image_tag(SlCall *call, GError **error)
{
    const char *repo = sl_call_query(call, "repo");
    const char *tag = sl_call_query(call, "tag");
    g_autofree char *target = NULL;

    if (!repo || !*repo)
        return sl_fail(error, SL_ERROR_INVALID, "invalid reference format");
    target = tag && *tag ? g_strconcat(repo, ":", tag, NULL) : g_strdup(repo);
    return sl_images_tag(sl_core_images(call), sl_call_param(call, "name"), target, error) &&
           sl_call_reply_empty(call, 201, error);
}

/* DELETE /images/{name}?force&noprune → 200 [{Untagged}, {Deleted}]; 409 in use. Images have no parents of
 * their own here, so noprune changes nothing. */
static bool
image_delete(SlCall *call, GError **error)
{
    json_t *lines = NULL;

    return sl_images_remove(sl_core_images(call), sl_call_param(call, "name"),
                            sl_call_query_bool(call, "force", false), &lines, error) &&
           sl_call_reply_json(call, 200, lines, error);
}

/* POST /images/prune?filters */
static bool
image_prune(SlCall *call, GError **error)
{
    json_t *report = NULL;

    return sl_images_prune(sl_core_images(call), sl_call_query(call, "filters"), &report, error) &&
           sl_call_reply_json(call, 200, report, error);
}

const SlRoute sl_image_routes[] = {
    { "POST", "/internal/v1/images/create", image_create, 0 },
    { "GET", "/internal/v1/images/json", image_list, 0 },
    { "POST", "/internal/v1/images/prune", image_prune, 0 },
    { "POST", "/internal/v1/images/load", image_load, 0 },
    { "GET", "/internal/v1/images/get", images_get, 0 },
    { "GET", "/internal/v1/images/{name...}/get", image_get, 0 },
    { "GET", "/internal/v1/images/{name...}/json", image_inspect, 0 },
    { "GET", "/internal/v1/images/{name...}/history", image_history, 0 },
    { "POST", "/internal/v1/images/{name...}/tag", image_tag, 0 },
    { "DELETE", "/internal/v1/images/{name...}", image_delete, 0 },
    { 0 },
};
