#include "backends/core/images_json.h"

#include <string.h>

#include "common/clock.h"

enum {
    NS_PER_S = 1000000000,
    VERSION_NO_VIRTUAL_SIZE = 1044, /* from here on, VirtualSize is gone */
    VERSION_NO_NONE_TAGS = 1043,    /* from here on, dangling images have [] and not "<none>:<none>" */
};

static json_t *
strings_json(const GStrv strings)
{
    json_t *list = json_array();

    for (char **text = strings; text && *text; text++)
        json_array_append_new(list, json_string(*text));
    return list;
}

/* json_object_update takes no const source; it only reads it. */
static json_t *
shared(const json_t *json)
{
    return (json_t *)(uintptr_t)json;
}

static const char *
text_of(const json_t *json, const char *key)
{
    const char *text = json_string_value(json_object_get(json, key));

    return text ? text : "";
}

/* Docker shows every member, set or not. */
static json_t *
config_json(const json_t *config)
{
    json_t *json =
        json_pack("{s:s, s:s, s:s, s:b, s:b, s:b, s:b, s:b, s:b, s:n, s:n, s:s, s:n, s:s, s:n, s:n, s:n}",
                  "Hostname", "", "Domainname", "", "User", "", "AttachStdin", 0, "AttachStdout", 0,
                  "AttachStderr", 0, "Tty", 0, "OpenStdin", 0, "StdinOnce", 0, "Env", "Cmd", "Image", "",
                  "Volumes", "WorkingDir", "", "Entrypoint", "OnBuild", "Labels");

    if (config)
        json_object_update(json, shared(config));
    return json;
}

static json_t *
rootfs_json(const json_t *config)
{
    json_t *diff_ids = json_object_get(json_object_get(config, "rootfs"), "diff_ids");

    return json_pack("{s:s, s:O?}", "Type", "layers", "Layers", diff_ids);
}

json_t *
sl_image_inspect_json(const SlImageRecord *record, int version)
{
    g_autofree char *created = sl_clock_format(record->created_ns);
    g_autofree char *tagged = sl_clock_format(record->tagged_ns);
    const json_t *container_config = json_object_get(record->config, "container_config");
    json_t *json = json_pack(
        "{s:s, s:o, s:o, s:s, s:s, s:s, s:s, s:o, s:s, s:s, s:o, s:s, s:s, s:I, s:{s:s, s:n}, s:o, s:{s:s}}",
        "Id", record->id, "RepoTags", strings_json(record->repo_tags), "RepoDigests",
        strings_json(record->repo_digests), "Parent", record->parent, "Comment",
        text_of(record->config, "comment"), "Created", created, "Container",
        text_of(record->config, "container"), "ContainerConfig",
        config_json(json_is_object(container_config) ? container_config : NULL), "DockerVersion",
        text_of(record->config, "docker_version"), "Author", text_of(record->config, "author"), "Config",
        config_json(sl_image_record_config(record)), "Architecture", record->architecture, "Os", record->os,
        "Size", (json_int_t)record->size, "GraphDriver", "Name", "sockerless", "Data", "RootFS",
        rootfs_json(record->config), "Metadata", "LastTagTime", tagged);

    if (*record->variant)
        json_object_set_new(json, "Variant", json_string(record->variant));
    if (version && version < VERSION_NO_VIRTUAL_SIZE)
        json_object_set_new(json, "VirtualSize", json_integer(record->size));
    return json;
}

static void
none_names(json_t *tags, json_t *digests)
{
    if (json_array_size(tags) == 0 && json_array_size(digests) == 0)
        json_array_append_new(digests, json_string("<none>@<none>"));
    if (json_array_size(tags) > 0)
        return;
    for (size_t i = 0; i < json_array_size(digests); i++) {
        const char *digest = json_string_value(json_array_get(digests, i));
        g_autofree char *name = g_strndup(digest, strcspn(digest, "@"));

        json_array_append_new(tags, json_sprintf("%s:<none>", name));
    }
}

json_t *
sl_image_summary_json(const SlImageRecord *record, int version)
{
    json_t *tags = strings_json(record->repo_tags);
    json_t *digests = strings_json(record->repo_digests);
    json_t *labels = json_object_get(sl_image_record_config(record), "Labels");
    json_t *json;

    if (version && version < VERSION_NO_NONE_TAGS)
        none_names(tags, digests);
    json = json_pack("{s:i, s:I, s:s, s:O?, s:s, s:o, s:o, s:i, s:I}", "Containers", -1, "Created",
                     (json_int_t)(record->created_ns / NS_PER_S), "Id", record->id, "Labels", labels,
                     "ParentId", record->parent, "RepoDigests", digests, "RepoTags", tags, "SharedSize", -1,
                     "Size", (json_int_t)record->size);
    if (version && version < VERSION_NO_VIRTUAL_SIZE)
        json_object_set_new(json, "VirtualSize", json_integer(record->size));
    return json;
}

static json_int_t
created_of(const json_t *item)
{
    const char *text = json_string_value(json_object_get(item, "created"));
    g_autoptr(GDateTime) time = text ? g_date_time_new_from_iso8601(text, NULL) : NULL;

    return time ? g_date_time_to_unix(time) : 0;
}

json_t *
sl_image_history_json(const SlImageRecord *record, const GPtrArray *layers)
{
    const json_t *history = json_object_get(record->config, "history");
    json_t *lines = json_array();
    size_t index;
    json_t *item;
    guint n_used = 0;

    json_array_foreach(history, index, item) {
        bool is_last = index + 1 == json_array_size(history);
        bool is_empty = json_is_true(json_object_get(item, "empty_layer"));
        int64_t size = 0;

        if (!is_empty && n_used < layers->len)
            size = ((const SlImageLayer *)layers->pdata[n_used++])->file_bytes;
        json_array_insert_new(
            lines, 0,
            json_pack("{s:s, s:I, s:s, s:o?, s:I, s:s}", "Id", is_last ? record->id : "<missing>", "Created",
                      created_of(item), "CreatedBy", text_of(item, "created_by"), "Tags",
                      is_last && *record->repo_tags ? strings_json(record->repo_tags) : NULL, "Size",
                      (json_int_t)size, "Comment", text_of(item, "comment")));
    }
    return lines;
}
