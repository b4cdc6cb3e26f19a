/*
 * The list is a concatenation: each container keeps its rendered summary in two halves, and Status, which changes with the clock, goes between them.
 */
#include "backends/core/list.h"

#include "api/filters.h"
#include "backends/core/container_networks.h"
#include "backends/core/inspect.h"
#include "common/clock.h"
#include "common/id.h"

#include <stdlib.h>
#include <string.h>

static const char *const known_filters[] = { "ancestor", "before", "exited",  "expose",
                                             "health",   "id",     "is-task", "isolation",
                                             "label",    "name",   "network", "publish",
                                             "since",    "status", "volume",  NULL };

char *
sl_state_status_text(const SlState *state, int64_t now_ns)
{
    g_autofree char *since = NULL;

    if (state->phase == SL_PHASE_RUNNING) {
        since = sl_clock_duration_words(now_ns - state->started_ns);
        return g_strdup_printf("Up %s%s", since, state->is_paused ? " (Paused)" : "");
    }
    if (state->phase == SL_PHASE_REMOVING || state->phase == SL_PHASE_GONE)
        return g_strdup("Removal In Progress");
    if (!state->started_ns)
        return g_strdup("Created");
    since = sl_clock_duration_words(now_ns - state->finished_ns);
    return g_strdup_printf("%s (%d) %s ago", sl_lifecycle_is_up(state) ? "Restarting" : "Exited",
                           state->exit_code, since);
}

void
sl_container_summary_changed(SlContainer *container)
{
    SL_LOCK_GUARD(&container->lock);

    g_clear_pointer(&container->summary_head, g_bytes_unref);
    g_clear_pointer(&container->summary_tail, g_bytes_unref);
}

/* Arguments with a space are quoted, the program's own name is not. */
static void
append_words(GString *text, char **words)
{
    for (; words && *words; words++) {
        bool is_quoted = text->len > 0 && strchr(*words, ' ');

        g_string_append_printf(text, is_quoted ? "%s'%s'" : "%s%s", text->len > 0 ? " " : "", *words);
    }
}

static char *
command_text(const DkContainerCreate *config)
{
    GString *text = g_string_new(NULL);

    append_words(text, config->entrypoint);
    append_words(text, config->cmd);
    return g_string_free(text, FALSE);
}

/* Makes both halves. Lock held. */
static void
render(SlContainer *container)
{
    const DkContainerCreate *config = &container->config;
    g_autofree char *command = command_text(config);
    g_autoptr(json_t) head = json_pack(
        "{s:s, s:[o], s:s, s:s, s:s, s:I, s:[], s:O*, s:s}", "Id", container->id, "Names",
        json_sprintf("/%s", container->name), "Image", container->image_name, "ImageID", container->image_id,
        "Command", command, "Created", (json_int_t)(container->created_ns / 1000000000), "Ports", "Labels",
        config->labels, "State", sl_phase_status(&container->state));
    g_autoptr(json_t) tail =
        json_pack("{s:{s:s}, s:{s:o}, s:[]}", "HostConfig", "NetworkMode", config->host_config.network_mode,
                  "NetworkSettings", "Networks", sl_container_networks(container), "Mounts");
    char *text;

    if (!config->labels)
        json_object_set_new(head, "Labels", json_object());
    text = sl_json_dump(head);
    text[strlen(text) - 1] = '\0';
    container->summary_head = g_bytes_new_take(text, strlen(text));
    text = sl_json_dump(tail);
    container->summary_tail = g_bytes_new_with_free_func(text + 1, strlen(text + 1), g_free, text);
}

static void
append_bytes(GString *out, GBytes *bytes)
{
    gsize n;
    const char *data = g_bytes_get_data(bytes, &n);

    g_string_append_len(out, data, (gssize)n);
}

static void
append_summary(GString *out, SlContainer *container, int64_t now_ns, bool with_size)
{
    g_autofree char *status = NULL;

    pthread_mutex_lock(&container->lock);
    if (!container->summary_head)
        render(container);
    status = sl_state_status_text(&container->state, now_ns);
    append_bytes(out, container->summary_head);
    g_string_append_printf(out, ",\"Status\":\"%s\",", status);
    if (!with_size)
        append_bytes(out, container->summary_tail);
    pthread_mutex_unlock(&container->lock);
    if (!with_size)
        return;

    g_string_append_printf(out, "\"SizeRw\":%" G_GINT64_FORMAT ",\"SizeRootFs\":%" G_GINT64_FORMAT ",",
                           sl_container_written_bytes(container), sl_container_root_bytes(container));
    SL_LOCK_GUARD(&container->lock);

    if (!container->summary_tail)
        render(container);
    append_bytes(out, container->summary_tail);
}

/* ---- filters ---- */

typedef struct Selection {
    DkFilters *filters;
    bool all;
    int64_t limit;
    int64_t before_ns, since_ns; /* creation times; 0: open */
    GPtrArray *ancestors;        /* image ids; NULL: any */
} Selection;

static void
selection_clear(Selection *selection)
{
    g_clear_pointer(&selection->filters, dk_filters_free);
    g_clear_pointer(&selection->ancestors, g_ptr_array_unref);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Selection, selection_clear)

static bool
check_values(const DkFilters *filters, GError **error)
{
    static const char *const statuses[] = { "created",  "running", "paused", "restarting",
                                            "removing", "exited",  "dead",   NULL };
    const char *const *value = dk_filters_get(filters, "status");

    for (; value && *value; value++)
        if (!g_strv_contains(statuses, *value))
            return sl_fail(error, SL_ERROR_INVALID, "invalid filter 'status=%s'", *value);
    for (value = dk_filters_get(filters, "exited"); value && *value; value++) {
        char *end;

        strtol(*value, &end, 10);
        if (!**value || *end)
            return sl_fail(error, SL_ERROR_INVALID, "invalid filter 'exited=%s'", *value);
    }
    return true;
}

static bool
created_of(SlCore *core, const DkFilters *filters, const char *key, int64_t *ret_ns, GError **error)
{
    const char *const *value = dk_filters_get(filters, key);
    g_autoptr(SlContainer) container = NULL;

    if (!value || !*value)
        return true;
    container = sl_core_find(core, *value, error);
    if (!container)
        return false;
    *ret_ns = container->created_ns;
    return true;
}

static void
find_ancestors(SlCore *core, Selection *selection)
{
    const char *const *value = dk_filters_get(selection->filters, "ancestor");

    if (!value)
        return;
    selection->ancestors = g_ptr_array_new_with_free_func(g_free);
    for (; *value; value++) {
        g_autoptr(SlImageRecord) image = sl_images_resolve(core->images, *value, NULL);

        if (image)
            g_ptr_array_add(selection->ancestors, g_strdup(image->id));
    }
}

static bool
selection_read(SlCall *call, Selection *selection, GError **error)
{
    SlCore *core = sl_call_core(call);

    selection->filters = dk_filters_parse(sl_call_query(call, "filters"), known_filters, error);
    if (!selection->filters || !check_values(selection->filters, error) ||
        !sl_call_query_int(call, "limit", 0, &selection->limit, error) ||
        !created_of(core, selection->filters, "before", &selection->before_ns, error) ||
        !created_of(core, selection->filters, "since", &selection->since_ns, error))
        return false;
    selection->all = sl_call_query_bool(call, "all", false) || selection->limit > 0 ||
                     dk_filters_get(selection->filters, "status") ||
                     dk_filters_get(selection->filters, "exited");
    find_ancestors(core, selection);
    return true;
}

/* An image that was given by a name which stands for the built-in one is its own ancestor by that name. */
static bool
has_ancestor(SlContainer *container, const Selection *selection)
{
    if (!selection->ancestors)
        return true;
    for (guint i = 0; i < selection->ancestors->len; i++)
        if (strcmp(selection->ancestors->pdata[i], container->image_id) == 0)
            return true;
    return dk_filters_match_exact(selection->filters, "ancestor", container->image_name);
}

static bool
is_selected(SlContainer *container, const Selection *selection)
{
    const DkFilters *filters = selection->filters;
    SlState state;
    g_autofree char *name = NULL;
    g_autofree char *exit_code = NULL;

    state = sl_container_get_state(container, NULL);
    if (!selection->all && !sl_lifecycle_is_up(&state))
        return false;
    if ((selection->before_ns && container->created_ns >= selection->before_ns) ||
        (selection->since_ns && container->created_ns <= selection->since_ns))
        return false;
    if (dk_filters_is_empty(filters))
        return true;
    name = g_strconcat("/", container->name, NULL); /* by the list's lock: renames hold it */
    exit_code = g_strdup_printf("%d", state.exit_code);
    return dk_filters_match_prefix(filters, "id", container->id) &&
           (dk_filters_match_regex(filters, "name", name) ||
            dk_filters_match_regex(filters, "name", name + 1)) &&
           dk_filters_match_exact(filters, "status", sl_phase_status(&state)) &&
           (!dk_filters_get(filters, "exited") ||
            (state.finished_ns && dk_filters_match_exact(filters, "exited", exit_code))) &&
           dk_filters_match_labels(filters, "label", container->config.labels) &&
           has_ancestor(container, selection) && sl_container_is_on(container, filters) &&
           dk_filters_match_exact(filters, "health", "none") &&
           dk_filters_match_exact(filters, "is-task", "false") && !dk_filters_get(filters, "volume") &&
           !dk_filters_get(filters, "publish") && !dk_filters_get(filters, "expose");
}

static GPtrArray *
select_newest_first(SlCore *core, const Selection *selection)
{
    GPtrArray *selected = g_ptr_array_new_with_free_func((GDestroyNotify)sl_container_unref);
    SL_LOCK_GUARD(&core->lock);

    for (guint i = core->in_order->len;
         i-- > 0 && (selection->limit <= 0 || selected->len < selection->limit);)
        if (is_selected(core->in_order->pdata[i], selection))
            g_ptr_array_add(selected, sl_container_ref(core->in_order->pdata[i]));
    return selected;
}

bool
sl_containers_list(SlCall *call, GError **error)
{
    g_auto(Selection) selection = { 0 };
    g_autoptr(GPtrArray) selected = NULL;
    g_autoptr(GBytes) body = NULL;
    int64_t now_ns = sl_clock_now_ns();
    bool with_size = sl_call_query_bool(call, "size", false);
    GString *out;

    if (!selection_read(call, &selection, error))
        return false;
    selected = select_newest_first(sl_call_core(call), &selection);
    out = g_string_sized_new(selected->len * 1024 + 16);
    g_string_append_c(out, '[');
    for (guint i = 0; i < selected->len; i++) {
        if (i > 0)
            g_string_append_c(out, ',');
        append_summary(out, selected->pdata[i], now_ns, with_size);
    }
    g_string_append(out, "]\n");
    body = g_string_free_to_bytes(out);
    return sl_call_reply_bytes(call, 200, "application/json", body, error);
}
