#include "backends/core/log_options.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum {
    LOCAL_MAX_SIZE = 20 * 1024 * 1024, /* Docker's, as the next */
    LOCAL_MAX_FILES = 5,
    NONE_MAX_SIZE = 1024 * 1024, /* what attached clients read from */
    ID_CHARS = 12,
};

static const char default_driver[] = "json-file";

static const char *
option(const json_t *options, const char *name)
{
    return json_string_value(json_object_get(options, name));
}

/* ---- values ---- */

/* Docker's human sizes: decimal units, an optional "b" behind; -1 when it is none. */
static int64_t
parse_size(const char *text)
{
    static const char units[] = "kmgtp";
    double factor = 1, number;
    char *end;

    if (!g_ascii_isdigit(*text))
        return -1;
    errno = 0;
    number = g_ascii_strtod(text, &end);
    if (errno != 0 || memchr(text, 'x', (size_t)(end - text)) || memchr(text, 'X', (size_t)(end - text)))
        return -1;
    if (*end == ' ')
        end++;
    if (*end) {
        const char *unit = strchr(units, g_ascii_tolower(*end));

        if (unit) {
            for (const char *u = units; u <= unit; u++)
                factor *= 1000;
            end++;
        }
        if (*end == 'i' || *end == 'I')
            end++;
        if (*end == 'b' || *end == 'B')
            end++;
    }
    return *end || number * factor > (double)(INT64_MAX / 2) ? -1 : (int64_t)(number * factor);
}

static bool
parse_bool(const char *text, bool *ret_value)
{
    static const char *const trues[] = { "1", "t", "T", "TRUE", "true", "True", NULL };
    static const char *const falses[] = { "0", "f", "F", "FALSE", "false", "False", NULL };

    *ret_value = g_strv_contains(trues, text);
    return *ret_value || g_strv_contains(falses, text);
}

static bool
fail_to_initialize(GError **error, const char *what)
{
    return sl_fail(error, SL_ERROR_INVALID, "failed to initialize logging driver: %s", what);
}

static bool
check_max_size(const char *driver, const char *text, GError **error)
{
    int64_t size = text ? parse_size(text) : 1;
    g_autofree char *what = NULL;

    if (size < 0 && strcmp(driver, "local") == 0)
        what = g_strdup_printf("invalid value for max-size: %s: invalid size: '%s'", text, text);
    else if (size < 0)
        what = g_strdup_printf("invalid size: '%s'", text);
    else if (size == 0 && strcmp(driver, "local") != 0)
        what = g_strdup("max-size must be a positive number");
    return !what || fail_to_initialize(error, what);
}

static bool
check_max_file(const char *text, GError **error)
{
    g_autofree char *what = NULL;
    int64_t number = 1;

    if (text && !g_ascii_string_to_signed(text, 10, INT32_MIN, INT32_MAX, &number, NULL))
        what = g_strdup_printf("strconv.Atoi: parsing \"%s\": invalid syntax", text);
    else if (number < 1)
        what = g_strdup("max-file cannot be less than 1");
    return !what || fail_to_initialize(error, what);
}

static int64_t
max_files(const json_t *options, int64_t otherwise)
{
    const char *text = option(options, "max-file");
    int64_t number;

    return text && g_ascii_string_to_signed(text, 10, 1, INT32_MAX, &number, NULL) ? number : otherwise;
}

static bool
check_compress(const DkLogConfig *config, json_t *warnings, GError **error)
{
    const char *text = option(config->config, "compress");
    bool is_local = strcmp(config->type, "local") == 0, is_asked;
    g_autofree char *what = NULL;

    if (!text)
        return true;
    if (!parse_bool(text, &is_asked)) {
        what = g_strdup_printf("strconv.ParseBool: parsing \"%s\": invalid syntax", text);
        return fail_to_initialize(error, what);
    }
    if (is_asked && is_local && max_files(config->config, LOCAL_MAX_FILES) == 1)
        return fail_to_initialize(error, "compression cannot be enabled when max file count is 1");
    if (is_asked && !is_local && (max_files(config->config, 1) < 2 || !option(config->config, "max-size")))
        return fail_to_initialize(
            error, "compress cannot be true when max-file is less than 2 or max-size is not set");
    if (is_asked && warnings)
        json_array_append_new(
            warnings, json_string("HostConfig.LogConfig.Config.compress: rotated logs are not compressed"));
    return true;
}

static bool
check_regex(const char *text, GError **error)
{
    g_autoptr(GError) local = NULL;
    g_autoptr(GRegex) regex = text ? g_regex_new(text, 0, 0, &local) : NULL;
    g_autofree char *what = NULL;

    if (!text || regex)
        return true;
    what = g_strdup_printf("error parsing regexp: %s", local->message);
    return fail_to_initialize(error, what);
}

/* ---- tags: the template's plain fields ---- */

typedef struct TagFields {
    const char *id, *name, *image, *image_id;
} TagFields;

static bool
put_field(GString *out, const char *field, const TagFields *values)
{
    const char *image_hex = g_str_has_prefix(values->image_id, "sha256:")
                                ? values->image_id + strlen("sha256:")
                                : values->image_id;

    if (strcmp(field, ".ID") == 0)
        g_string_append_len(out, values->id, (gssize)strnlen(values->id, ID_CHARS));
    else if (strcmp(field, ".FullID") == 0)
        g_string_append(out, values->id);
    else if (strcmp(field, ".Name") == 0)
        g_string_append(out, values->name);
    else if (strcmp(field, ".ImageName") == 0)
        g_string_append(out, values->image);
    else if (strcmp(field, ".ImageID") == 0)
        g_string_append_len(out, image_hex, (gssize)strnlen(image_hex, ID_CHARS));
    else if (strcmp(field, ".ImageFullID") == 0)
        g_string_append(out, values->image_id);
    else if (strcmp(field, ".DaemonName") == 0)
        g_string_append(out, "docker");
    else
        return false;
    return true;
}

/* NULL with *ret_bad: the field that is none. Caller frees both. */
static char *
expand_tag(const char *tag, const TagFields *values, char **ret_bad)
{
    g_autoptr(GString) out = g_string_new(NULL);

    while (*tag) {
        const char *open = strstr(tag, "{{"), *close = open ? strstr(open, "}}") : NULL;
        g_autofree char *field = NULL;

        if (!open)
            break;
        field = close ? g_strstrip(g_strndup(open + 2, (gsize)(close - open - 2))) : g_strdup(open);
        g_string_append_len(out, tag, open - tag);
        if (!close || !put_field(out, field, values)) {
            *ret_bad = g_steal_pointer(&field);
            return NULL;
        }
        tag = close + 2;
    }
    g_string_append(out, tag);
    return g_string_free(g_steal_pointer(&out), FALSE);
}

static bool
check_tag(const char *tag, GError **error)
{
    g_autofree char *bad = NULL;
    g_autofree char *text = tag ? expand_tag(tag, &(TagFields){ "", "", "", "" }, &bad) : NULL;
    g_autofree char *what = NULL;

    if (!tag || text)
        return true;
    what = g_strdup_printf("template: log-tag: \"%s\" is no field of a tag here; use {{.ID}}, {{.FullID}}, "
                           "{{.Name}}, {{.ImageName}}, {{.ImageID}}, {{.ImageFullID}} or {{.DaemonName}}",
                           bad);
    return fail_to_initialize(error, what);
}

/* ---- the whole ---- */

static const char *const json_file_options[] = { "max-file",  "max-size",     "compress",
                                                 "labels",    "labels-regex", "env",
                                                 "env-regex", "tag",          NULL };
static const char *const local_options[] = { "max-file", "max-size", "compress", NULL };
/* Of Docker's own logging, whatever the driver. Nothing here blocks a container, so both modes are as one. */
static const char *const common_options[] = {
    "mode", "max-buffer-size", "cache-disabled", "cache-max-file", "cache-max-size", "cache-compress", NULL
};

static bool
check_mode(const json_t *options, GError **error)
{
    const char *mode = option(options, "mode");
    const char *buffer = option(options, "max-buffer-size");

    if (mode && *mode && strcmp(mode, "blocking") != 0 && strcmp(mode, "non-blocking") != 0)
        return sl_fail(error, SL_ERROR_INVALID, "logger: logging mode not supported: %s", mode);
    if (buffer && g_strcmp0(mode, "non-blocking") != 0)
        return sl_fail(error, SL_ERROR_INVALID,
                       "logger: max-buffer-size option is only supported with 'mode=non-blocking'");
    if (buffer && parse_size(buffer) < 0)
        return sl_fail(error, SL_ERROR_INVALID, "error parsing option max-buffer-size: invalid size: '%s'",
                       buffer);
    return true;
}

static bool
check_names(const DkLogConfig *config, const char *const *known, GError **error)
{
    bool is_local = strcmp(config->type, "local") == 0;
    const char *name;
    json_t *value;

    json_object_foreach(config->config, name, value) {
        if (g_strv_contains(known, name) || g_strv_contains(common_options, name))
            continue;
        return sl_fail(error, SL_ERROR_INVALID,
                       is_local ? "unknown log opt '%s' for log driver local"
                                : "unknown log opt '%s' for json-file log driver",
                       name);
    }
    return true;
}

static bool
check(const DkLogConfig *config, json_t *warnings, GError **error)
{
    const json_t *options = config->config;
    bool is_local = strcmp(config->type, "local") == 0;

    if (strcmp(config->type, "none") == 0)
        return true;
    if (!check_mode(options, error))
        return false;
    if (!is_local && strcmp(config->type, default_driver) != 0)
        return sl_fail(error, SL_ERROR_INVALID, "error looking up logging plugin %s: plugin \"%s\" not found",
                       config->type, config->type);
    return check_names(config, is_local ? local_options : json_file_options, error) &&
           check_max_size(config->type, option(options, "max-size"), error) &&
           check_max_file(option(options, "max-file"), error) && check_compress(config, warnings, error) &&
           check_regex(option(options, "labels-regex"), error) &&
           check_regex(option(options, "env-regex"), error) && check_tag(option(options, "tag"), error);
}

const char *
sl_log_defaults_driver(const SlLogDefaults *defaults)
{
    return defaults->driver ? defaults->driver : default_driver;
}

bool
sl_log_config_complete(DkLogConfig *config, const SlLogDefaults *defaults, json_t *warnings, GError **error)
{
    const char *driver = sl_log_defaults_driver(defaults);

    if (!config->type || !*config->type) {
        g_free(config->type);
        config->type = g_strdup(driver);
    }
    if (!config->config)
        config->config = json_object();
    if (defaults->options && strcmp(config->type, driver) == 0)
        json_object_update_missing(config->config, defaults->options);
    return check(config, warnings, error);
}

bool
sl_log_defaults_make(const char *driver, char *const *opts, SlLogDefaults *ret_defaults, GError **error)
{
    DkLogConfig config = { .type = (char *)(uintptr_t)(driver && *driver ? driver : default_driver) };
    g_autoptr(json_t) options = json_object();

    for (; opts && *opts; opts++) {
        const char *equals = strchr(*opts, '=');
        g_autofree char *name = equals ? g_strndup(*opts, (gsize)(equals - *opts)) : NULL;

        if (!equals || equals == *opts)
            return sl_fail(error, SL_ERROR_INVALID, "log-opt: \"%s\" is not NAME=VALUE", *opts);
        json_object_set_new(options, name, json_string(equals + 1));
    }
    config.config = options;
    if (!check(&config, NULL, error)) {
        g_prefix_error(error, "log-driver, log-opt: ");
        return false;
    }
    *ret_defaults = (SlLogDefaults){ .driver = g_strdup(config.type), .options = g_steal_pointer(&options) };
    return true;
}

void
sl_log_defaults_clear(SlLogDefaults *defaults)
{
    g_clear_pointer(&defaults->driver, g_free);
    g_clear_pointer(&defaults->options, json_decref);
}

SlLogKeeping
sl_log_config_keeping(const DkLogConfig *config)
{
    const char *size = option(config->config, "max-size");
    bool is_local = g_strcmp0(config->type, "local") == 0;
    SlLogKeeping keeping = { .is_readable = true };

    if (g_strcmp0(config->type, "none") == 0)
        return (SlLogKeeping){ .max_size = NONE_MAX_SIZE, .max_files = 1 };
    keeping.max_size = size ? MAX(0, parse_size(size)) : is_local ? LOCAL_MAX_SIZE : 0;
    keeping.max_files = max_files(config->config, is_local ? LOCAL_MAX_FILES : 1);
    return keeping;
}

/* ---- details ---- */

/* As in a query. */
static void
append_escaped(GString *out, const char *text)
{
    for (; *text; text++) {
        if (g_ascii_isalnum(*text) || strchr("-_.~", *text))
            g_string_append_c(out, *text);
        else if (*text == ' ')
            g_string_append_c(out, '+');
        else
            g_string_append_printf(out, "%%%02X", (unsigned char)*text);
    }
}

/* Those of values whose name is in the list, or matches. */
static void
choose(json_t *chosen, json_t *values, const char *list, const char *pattern)
{
    g_auto(GStrv) names = g_strsplit(list ? list : "", ",", -1);
    g_autoptr(GRegex) regex = pattern && *pattern ? g_regex_new(pattern, 0, 0, NULL) : NULL;
    const char *name;
    json_t *value;

    json_object_foreach(values, name, value)
        if (g_strv_contains((const char *const *)names, name) ||
            (regex && g_regex_match(regex, name, 0, NULL)))
            json_object_set(chosen, name, value);
}

static json_t *
variables(char *const *env)
{
    json_t *map = json_object();

    for (; env && *env; env++) {
        const char *equals = strchr(*env, '=');
        g_autofree char *name = equals ? g_strndup(*env, (gsize)(equals - *env)) : NULL;

        if (name)
            json_object_set_new(map, name, json_string(equals + 1));
    }
    return map;
}

static int
compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static char *
join(json_t *attributes)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    GString *out = g_string_new(NULL);
    const char *name;
    json_t *value;

    json_object_foreach(attributes, name, value)
        g_ptr_array_add(names, (void *)(uintptr_t)name);
    g_ptr_array_sort(names, compare_names);
    for (guint i = 0; i < names->len; i++) {
        if (i > 0)
            g_string_append_c(out, ',');
        append_escaped(out, names->pdata[i]);
        g_string_append_c(out, '=');
        value = json_object_get(attributes, names->pdata[i]);
        append_escaped(out, json_is_string(value) ? json_string_value(value) : "");
    }
    return g_string_free(out, FALSE);
}

char *
sl_log_config_details(const DkContainerCreate *config, const char *id, const char *name, const char *image_id)
{
    const json_t *options = config->host_config.log_config.config;
    const char *tag = option(options, "tag");
    g_autoptr(json_t) chosen = json_object();
    g_autoptr(json_t) env = variables(config->env);
    g_autofree char *bad = NULL;
    g_autofree char *text = NULL;

    choose(chosen, config->labels, option(options, "labels"), option(options, "labels-regex"));
    choose(chosen, env, option(options, "env"), option(options, "env-regex"));
    if (tag && *tag)
        text = expand_tag(tag, &(TagFields){ id, name, config->image, image_id }, &bad);
    if (text)
        json_object_set_new(chosen, "tag", json_string(text));
    return join(chosen);
}
