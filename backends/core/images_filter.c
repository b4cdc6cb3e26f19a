#include "backends/core/images_filter.h"

#include <string.h>

#include "api/filters.h"
#include "backends/core/images_internal.h"
#include "common/clock.h"
#include "oci/reference.h"

static const int64_t ns_per_s = 1000000000;

/* "1h30m", "10s", "500ms". */
static bool
duration_parse(const char *text, int64_t *ret_ns)
{
    static const struct {
        const char *unit;
        double ns;
    } units[] = { { "ns", 1 }, { "us", 1e3 }, { "ms", 1e6 }, { "s", 1e9 }, { "m", 60e9 }, { "h", 3600e9 } };
    double sum = 0;

    while (*text) {
        char *end = NULL;
        double value = g_ascii_strtod(text, &end);
        size_t n = strspn(end, "numsh");
        size_t i;

        if (end == text || !g_ascii_isdigit(*text) || n == 0)
            return false;
        for (i = 0; i < G_N_ELEMENTS(units); i++)
            if (strlen(units[i].unit) == n && strncmp(units[i].unit, end, n) == 0)
                break;
        if (i == G_N_ELEMENTS(units))
            return false;
        sum += value * units[i].ns;
        text = end + n;
    }
    if (!(sum < 9e18))
        return false;
    *ret_ns = (int64_t)sum;
    return true;
}

bool
sl_images_time_parse(const char *text, int64_t now_ns, int64_t *ret_ns, GError **error)
{
    g_autoptr(GTimeZone) utc = g_time_zone_new_utc();
    g_autoptr(GDateTime) time = NULL;
    int64_t ns;
    char *end = NULL;
    int64_t seconds = g_ascii_strtoll(text, &end, 10);

    if (end != text && (*end == '\0' || *end == '.') && seconds >= 0 && seconds < G_MAXINT64 / ns_per_s) {
        *ret_ns = seconds * ns_per_s;
        return true;
    }
    if (duration_parse(text, &ns) && *text) {
        *ret_ns = now_ns - ns;
        return true;
    }
    time = g_date_time_new_from_iso8601(text, utc);
    if (!time)
        return sl_fail(error, SL_ERROR_INVALID,
                       "invalid filter 'until': \"%s\" is neither a time nor a duration", text);
    *ret_ns = g_date_time_to_unix(time) * ns_per_s;
    return true;
}

/* What the filters come down to. */
typedef struct Wanted {
    DkFilters *filters;
    bool has_dangling, is_dangling;
    int64_t before_ns, since_ns; /* exclusive; 0: open */
} Wanted;

static void
wanted_clear(Wanted *wanted)
{
    dk_filters_free(wanted->filters);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Wanted, wanted_clear)

static bool
dangling_read(Wanted *wanted, GError **error)
{
    const char *const *values = dk_filters_get(wanted->filters, "dangling");
    g_autofree char *value = NULL;

    wanted->has_dangling = values && values[0];
    if (!wanted->has_dangling)
        return true;
    value = g_ascii_strdown(values[0], -1);
    wanted->is_dangling = strcmp(value, "1") == 0 || strcmp(value, "true") == 0 || strcmp(value, "t") == 0;
    if (!wanted->is_dangling && strcmp(value, "0") != 0 && strcmp(value, "false") != 0 &&
        strcmp(value, "f") != 0)
        return sl_fail(error, SL_ERROR_INVALID, "invalid filter 'dangling=[%s]'", values[0]);
    return true;
}

/* The creation time of the image that a `before` or `since` filter names. */
static bool
image_time_read(SlImages *images, const Wanted *wanted, const char *key, int64_t *ret_ns, GError **error)
{
    const char *const *values = dk_filters_get(wanted->filters, key);
    g_autoptr(SlImageRecord) record = NULL;

    if (!values || !values[0])
        return true;
    record = sl_images_resolve(images, values[0], error);
    if (!record)
        return false;
    *ret_ns = record->created_ns;
    return true;
}

static bool
wanted_read(SlImages *images, const char *filters, Wanted *wanted, GError **error)
{
    static const char *const known[] = { "reference", "dangling", "label", "label!",
                                         "before",    "since",    "until", NULL };
    const char *const *until;
    int64_t until_ns = 0;

    wanted->filters = dk_filters_parse(filters, known, error);
    if (!wanted->filters || !dangling_read(wanted, error) ||
        !image_time_read(images, wanted, "before", &wanted->before_ns, error) ||
        !image_time_read(images, wanted, "since", &wanted->since_ns, error))
        return false;
    until = dk_filters_get(wanted->filters, "until");
    if (until && until[0]) {
        if (!sl_images_time_parse(until[0], sl_clock_now_ns(), &until_ns, error))
            return false;
        wanted->before_ns = wanted->before_ns ? MIN(wanted->before_ns, until_ns) : until_ns;
    }
    return true;
}

static bool
matches_reference(const char *name, const char *const *patterns)
{
    g_auto(SlReference) reference = { 0 };

    if (!sl_reference_parse(name, true, &reference, NULL))
        return false;
    for (; *patterns; patterns++)
        if (sl_reference_matches(&reference, *patterns))
            return true;
    return false;
}

static void
names_keep(GStrv names, const char *const *patterns)
{
    char **kept = names;

    for (char **name = names; *name; name++)
        if (matches_reference(*name, patterns))
            *kept++ = *name;
        else
            g_free(*name);
    *kept = NULL;
}

static bool
has_unwanted_label(const Wanted *wanted, const json_t *labels)
{
    return dk_filters_get(wanted->filters, "label!") &&
           dk_filters_match_labels(wanted->filters, "label!", labels);
}

static bool
is_wanted(const Wanted *wanted, SlImageRecord *record)
{
    const json_t *labels = json_object_get(sl_image_record_config(record), "Labels");
    const char *const *patterns = dk_filters_get(wanted->filters, "reference");

    if (wanted->has_dangling && (g_strv_length(record->repo_tags) == 0) != wanted->is_dangling)
        return false;
    if (wanted->before_ns && record->created_ns >= wanted->before_ns)
        return false;
    if (wanted->since_ns && record->created_ns <= wanted->since_ns)
        return false;
    if (!dk_filters_match_labels(wanted->filters, "label", labels) || has_unwanted_label(wanted, labels))
        return false;
    if (patterns) {
        names_keep(record->repo_tags, patterns);
        names_keep(record->repo_digests, patterns);
    }
    return !patterns || *record->repo_tags || *record->repo_digests;
}

GPtrArray *
sl_images_filter(SlImages *images, const char *filters, GError **error)
{
    g_auto(Wanted) wanted = { 0 };
    GPtrArray *records;

    if (!wanted_read(images, filters, &wanted, error))
        return NULL;
    records = sl_images_list(images);
    for (guint i = 0; i < records->len;)
        if (is_wanted(&wanted, records->pdata[i]))
            i++;
        else
            g_ptr_array_remove_index(records, i);
    return records;
}

/* ---- pruning ---- */

/* `docker image prune` sends dangling=true, `-a` dangling=false; no filter means dangling ones. */
static bool
prune_filters(const char *filters, char **ret_filters, GError **error)
{
    static const char *const known[] = { "dangling", "label", "label!", "until", NULL };
    g_autoptr(DkFilters) parsed = dk_filters_parse(filters, known, error);
    g_autofree char *text = parsed ? dk_filters_format(parsed) : NULL;
    g_autoptr(json_t) json = text ? json_loads(text, 0, NULL) : NULL;
    g_auto(Wanted) wanted = { 0 };

    if (!json)
        return false;
    wanted.filters = dk_filters_parse(text, known, NULL);
    if (!dangling_read(&wanted, error))
        return false;
    if (wanted.has_dangling && !wanted.is_dangling)
        json_object_del(json, "dangling");
    else
        json_object_set_new(json, "dangling", json_pack("[s]", "true"));
    *ret_filters = json_dumps(json, JSON_COMPACT);
    return true;
}

/* Every name of it, then itself. What has come into use meanwhile stays. */
static bool
prune_one(SlImages *images, const SlImageRecord *record, json_t *deleted)
{
    g_auto(GStrv) names = g_strdupv(record->repo_tags);
    bool is_gone = false;
    guint n = g_strv_length(names);

    for (guint i = 0; i < MAX(n, 1); i++) {
        g_autoptr(json_t) lines = NULL;
        size_t index;
        json_t *line;

        if (!sl_images_remove(images, n ? names[i] : record->id, false, &lines, NULL))
            return is_gone;
        json_array_foreach(lines, index, line)
            is_gone |= json_object_get(line, "Deleted") != NULL;
        json_array_extend(deleted, lines);
    }
    return is_gone;
}

bool
sl_images_prune(SlImages *images, const char *filters, json_t **ret_report, GError **error)
{
    g_autofree char *wanted = NULL;
    g_autoptr(GPtrArray) records = NULL;
    json_t *deleted;
    int64_t bytes = 0;

    if (!prune_filters(filters, &wanted, error))
        return false;
    records = sl_images_filter(images, wanted, error);
    if (!records)
        return false;
    deleted = json_array();
    for (guint i = 0; i < records->len; i++) {
        const SlImageRecord *record = records->pdata[i];

        if (!record->is_base && !images_is_used(images, record->id) && prune_one(images, record, deleted))
            bytes += record->size;
    }
    if (json_array_size(deleted) == 0) {
        json_decref(deleted);
        deleted = json_null();
    }
    if (images->config.emit)
        images->config.emit(images->config.user, "prune", "",
                            json_pack("{s:o}", "reclaimed", json_sprintf("%" G_GINT64_FORMAT, bytes)));
    *ret_report = json_pack("{s:o, s:I}", "ImagesDeleted", deleted, "SpaceReclaimed", (json_int_t)bytes);
    return true;
}
