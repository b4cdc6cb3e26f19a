#include "backends/core/containers_api.h"

#include "api/filters.h"
#include "api/names.h"
#include "backends/core/attach.h"
#include "backends/core/container.h"
#include "backends/core/create.h"
#include "backends/core/inspect.h"
#include "backends/core/list.h"
#include "backends/core/top.h"
#include "backends/core/update.h"
#include "backends/core/wait_feed.h"
#include "common/clock.h"

#include <signal.h>
#include <string.h>

enum {
    STOP_TIMEOUT_S = 10,
    TOP_TIMEOUT_MS = 10 * 1000,
    MULTIPLEXED_SINCE = 1042,
};

const char *
sl_stream_content_type(SlCall *call, bool has_tty)
{
    const char *version = sl_call_header(call, "X-Sockerless-Api-Version");

    return !has_tty && version && dk_version_parse(version) >= MULTIPLEXED_SINCE
               ? "application/vnd.docker.multiplexed-stream"
               : "application/vnd.docker.raw-stream";
}

static SlContainer *
call_container(SlCall *call, GError **error)
{
    return sl_core_find(sl_call_core(call), sl_call_param(call, "id"), error);
}

/* POST /containers/create?name= → 201 {Id, Warnings}; 400 bad body, 404 image, 409 name in use. */
static bool
container_create(SlCall *call, GError **error)
{
    g_autofree char *text = NULL;
    g_autoptr(json_t) body = NULL;
    g_autoptr(SlContainer) container = NULL;
    json_t *warnings;
    size_t n;

    if (!sl_call_read_all(call, &text, &n, error))
        return false;
    body = sl_json_parse(text, n, "invalid request body", error);
    if (!body)
        return false;
    container = sl_container_create(sl_call_core(call), sl_call_cancel(call), sl_call_query(call, "name"),
                                    body, &warnings, error);
    if (!container)
        return false;
    return sl_call_reply_json(call, 201, json_pack("{s:s, s:o}", "Id", container->id, "Warnings", warnings),
                              error);
}

/* GET /containers/{id}/json?size= → 200; 404. */
static bool
container_inspect(SlCall *call, GError **error)
{
    g_autoptr(SlContainer) container = call_container(call, error);

    if (!container)
        return false;
    return sl_call_reply_json(
        call, 200, sl_container_inspect(container, sl_call_query_bool(call, "size", false)), error);
}

/* POST /containers/{id}/start → 204; 304 running; 400 the process could not be started. */
static bool
container_start(SlCall *call, GError **error)
{
    g_autoptr(SlContainer) container = call_container(call, error);

    return container && sl_container_act(container, &(SlEvent){ .kind = SL_EVENT_START }, error) &&
           sl_call_reply_empty(call, 204, error);
}

static bool
stop_event(SlCall *call, SlContainer *container, SlEvent *ret_event, GError **error)
{
    const DkContainerCreate *config = &container->config;
    const char *signal_text = sl_call_query(call, "signal");
    int64_t timeout_s = config->has_stop_timeout ? config->stop_timeout : STOP_TIMEOUT_S;

    if (!signal_text || !*signal_text)
        signal_text = config->stop_signal && *config->stop_signal ? config->stop_signal : "SIGTERM";
    *ret_event = (SlEvent){ .kind = SL_EVENT_STOP };
    if (!dk_signal_parse(signal_text, &ret_event->signal, error) ||
        !sl_call_query_int(call, "t", timeout_s, &timeout_s, error))
        return false;
    ret_event->grace_ms = timeout_s < 0 ? -1 : (int)MIN(timeout_s, INT32_MAX / 1000) * 1000;
    return true;
}

/* The event that closes a request is there when its answer is. */
static bool
emit_last(SlContainer *container, const char *action, GError **error)
{
    sl_container_emit(container, action, NULL);
    return sl_events_commit(container->core->events, NULL, 0, error);
}

/* A grace of nothing means a kill. */
static bool
stop_and_wait(SlContainer *container, const SlEvent *event, SlCancel *cancel, GError **error)
{
    SlEvent effective = *event;

    if (event->grace_ms == 0)
        effective.signal = SIGKILL;
    return sl_container_act(container, &effective, error) &&
           sl_container_wait_blocking(container, SL_WAIT_NOT_RUNNING, cancel, -1, error) &&
           emit_last(container, "stop", error);
}

/* POST /containers/{id}/stop?t=&signal= → 204; 304 not running. */
static bool
container_stop(SlCall *call, GError **error)
{
    g_autoptr(SlContainer) container = call_container(call, error);
    SlEvent event;

    if (!container || !stop_event(call, container, &event, error) ||
        !stop_and_wait(container, &event, sl_call_cancel(call), error))
        return false;
    return sl_call_reply_empty(call, 204, error);
}

/* POST /containers/{id}/restart?t=&signal= → 204. Once begun it is ended, also when the client leaves: half of a restart is nobody's wish. */
static bool
container_restart(SlCall *call, GError **error)
{
    g_autoptr(SlContainer) container = call_container(call, error);
    g_autoptr(GError) local = NULL;
    SlEvent event;

    if (!container || !stop_event(call, container, &event, error))
        return false;
    event.is_kept = true;
    if (!stop_and_wait(container, &event, NULL, &local) &&
        !g_error_matches(local, SL_ERROR, SL_ERROR_NOT_MODIFIED)) {
        g_propagate_error(error, g_steal_pointer(&local));
        return false;
    }
    if (!sl_container_act(container, &(SlEvent){ .kind = SL_EVENT_START }, error))
        return false;
    return emit_last(container, "restart", error) && sl_call_reply_empty(call, 204, error);
}

/* Docker's rule: without a stop signal of its own every signal tells the policy that an end is wished for. */
static bool
ends_policy(const DkContainerCreate *config, int signal_number)
{
    int stop_signal;

    return signal_number == SIGKILL || !config->stop_signal || !*config->stop_signal ||
           (dk_signal_parse(config->stop_signal, &stop_signal, NULL) && stop_signal == signal_number);
}

/* POST /containers/{id}/kill?signal= → 204; 409 not running. */
static bool
container_kill(SlCall *call, GError **error)
{
    g_autoptr(SlContainer) container = call_container(call, error);
    const char *signal_text = sl_call_query(call, "signal");
    SlEvent event = { .kind = SL_EVENT_KILL, .signal = SIGKILL };

    if (!container || (signal_text && *signal_text && !dk_signal_parse(signal_text, &event.signal, error)))
        return false;
    event.ends_policy = ends_policy(&container->config, event.signal);
    if (!sl_container_act(container, &event, error))
        return false;
    /* Docker answers a SIGKILL when the container has gone. */
    if (event.signal == SIGKILL &&
        !sl_container_wait_blocking(container, SL_WAIT_NOT_RUNNING, sl_call_cancel(call), -1, error))
        return false;
    return sl_call_reply_empty(call, 204, error);
}

static bool
act_and_answer(SlCall *call, SlEventKind kind, GError **error)
{
    g_autoptr(SlContainer) container = call_container(call, error);

    return container && sl_container_act(container, &(SlEvent){ .kind = kind }, error) &&
           sl_call_reply_empty(call, 204, error);
}

/* POST /containers/{id}/pause → 204; 409 not running, paused, restarting. */
static bool
container_pause(SlCall *call, GError **error)
{
    return act_and_answer(call, SL_EVENT_PAUSE, error);
}

/* POST /containers/{id}/unpause → 204; 500 not paused, as Docker's. */
static bool
container_unpause(SlCall *call, GError **error)
{
    return act_and_answer(call, SL_EVENT_UNPAUSE, error);
}

/* POST /containers/{id}/update {RestartPolicy, …} → 200 {Warnings}. */
static bool
container_update(SlCall *call, GError **error)
{
    g_autoptr(SlContainer) container = call_container(call, error);
    g_autoptr(json_t) warnings = json_array();
    g_autoptr(json_t) body = NULL;
    g_autofree char *text = NULL;
    size_t n;

    if (!container || !sl_call_read_all(call, &text, &n, error))
        return false;
    body = sl_json_parse(text, n, "invalid request body", error);
    if (!body || !sl_container_update(container, body, warnings, error))
        return false;
    return sl_call_reply_json(
        call, 200,
        json_pack("{s:o}", "Warnings", json_array_size(warnings) > 0 ? json_incref(warnings) : json_null()),
        error);
}

/* POST /containers/{id}/wait?condition= → 200 {StatusCode}; the head at once, the body at the exit. */
static bool
container_wait(SlCall *call, GError **error)
{
    g_autoptr(SlContainer) container = call_container(call, error);
    const char *condition = sl_call_query(call, "condition");
    SlWaitFor wait_for = SL_WAIT_NOT_RUNNING;

    if (!container)
        return false;
    if (g_strcmp0(condition, "next-exit") == 0)
        wait_for = SL_WAIT_NEXT_EXIT;
    else if (g_strcmp0(condition, "removed") == 0)
        wait_for = SL_WAIT_REMOVED;
    else if (condition && *condition && strcmp(condition, "not-running") != 0)
        return sl_fail(error, SL_ERROR_INVALID, "invalid condition: \"%s\"", condition);
    return sl_wait_serve(container, call, wait_for, error);
}

static bool
check_log_is_readable(const SlContainer *container, GError **error)
{
    if (sl_log_config_keeping(&container->config.host_config.log_config).is_readable)
        return true;
    return sl_fail(error, SL_ERROR_UNSUPPORTED, "configured logging driver does not support reading");
}

/* POST /containers/{id}/attach?logs&stream&stdin&stdout&stderr → 101 or 200, then the container's stdio. */
static bool
container_attach(SlCall *call, GError **error)
{
    g_autoptr(SlContainer) container = call_container(call, error);
    SlAttachQuery query = {
        .logs = sl_call_query_bool(call, "logs", false),
        .stream = sl_call_query_bool(call, "stream", false),
        .stdin_ = sl_call_query_bool(call, "stdin", false),
        .stdout_ = sl_call_query_bool(call, "stdout", false),
        .stderr_ = sl_call_query_bool(call, "stderr", false),
    };

    if (container && !check_log_is_readable(container, NULL))
        query.logs = false; /* what was printed before is kept for nobody */
    if (!container || !sl_container_check_active(container, "attach", error) ||
        !sl_detach_keys_parse(sl_call_query(call, "detachKeys"), &query.detach_keys, error))
        return false;
    return sl_attach_serve(container, call, sl_stream_content_type(call, container->config.tty), &query,
                           error);
}

static char *
details_text(SlContainer *container)
{
    g_autofree char *name = sl_container_dup_name(container);

    return sl_log_config_details(&container->config, container->id, name, container->image_id);
}

/* GET /containers/{id}/logs?follow&stdout&stderr&since&until&timestamps&tail&details → 200. */
static bool
container_logs(SlCall *call, GError **error)
{
    g_autoptr(SlContainer) container = call_container(call, error);
    g_autofree char *details = NULL;
    const char *tail = sl_call_query(call, "tail");
    int64_t now_ns = sl_clock_now_ns();
    SlLogQuery query = {
        .stdout_ = sl_call_query_bool(call, "stdout", false),
        .stderr_ = sl_call_query_bool(call, "stderr", false),
        .follow = sl_call_query_bool(call, "follow", false),
        .timestamps = sl_call_query_bool(call, "timestamps", false),
        .details = sl_call_query_bool(call, "details", false),
        .tail = -1,
    };

    if (!container)
        return false;
    if (!query.stdout_ && !query.stderr_)
        return sl_fail(error, SL_ERROR_INVALID, "Bad parameters: you must choose at least one stream");
    if (!dk_time_parse(sl_call_query(call, "since"), "since", now_ns, &query.since_ns, error) ||
        !dk_time_parse(sl_call_query(call, "until"), "until", now_ns, &query.until_ns, error))
        return false;
    /* Docker takes what is no number for "all". */
    if (tail && *tail && !g_ascii_string_to_signed(tail, 10, 0, INT64_MAX, &query.tail, NULL))
        query.tail = -1;
    if (!check_log_is_readable(container, error))
        return false;
    if (query.details)
        details = details_text(container);
    query.details_text = details;
    return sl_log_serve(container->log, call, sl_stream_content_type(call, container->config.tty), &query,
                        error);
}

/* POST /containers/{id}/resize?h=&w= → 200; 409 not running. */
static bool
container_resize(SlCall *call, GError **error)
{
    g_autoptr(SlContainer) container = call_container(call, error);
    g_autoptr(SlLink) link = NULL;
    int64_t rows, cols;

    if (!container || !sl_call_query_int(call, "h", -1, &rows, error) ||
        !sl_call_query_int(call, "w", -1, &cols, error))
        return false;
    if (rows < 0 || cols < 0 || rows > UINT16_MAX || cols > UINT16_MAX)
        return sl_fail(error, SL_ERROR_INVALID,
                       "invalid terminal size: h and w must be numbers from 0 to 65535");
    link = sl_container_dup_link(container, error);
    if (!link || !sl_link_request(link,
                                  json_pack("{s:s, s:i, s:I, s:I}", "type", "resize", "channel", 0, "rows",
                                            (json_int_t)rows, "cols", (json_int_t)cols),
                                  sl_call_cancel(call), TOP_TIMEOUT_MS, NULL, NULL, error))
        return false;
    sl_container_emit(container, "resize",
                      json_pack("{s:o, s:o}", "height", json_sprintf("%d", (int)rows), "width",
                                json_sprintf("%d", (int)cols)));
    return sl_call_reply_empty(call, 200, error);
}

/* GET /containers/{id}/top?ps_args= → 200 {Titles, Processes}; 409 not running. */
static bool
container_top(SlCall *call, GError **error)
{
    g_autoptr(SlContainer) container = call_container(call, error);
    g_autoptr(SlLink) link = NULL;
    g_autoptr(json_t) answer = NULL;
    const char *ps_args = sl_call_query(call, "ps_args");
    json_t *reply;

    if (!container)
        return false;
    if (sl_container_get_state(container, NULL).phase == SL_PHASE_RESTARTING)
        return sl_fail(error, SL_ERROR_CONFLICT, SL_CONTAINER_IS_RESTARTING, container->id);
    link = sl_container_dup_link(container, error);
    if (!link ||
        !sl_link_request(link, json_pack("{s:s}", "type", "top"), sl_call_cancel(call), TOP_TIMEOUT_MS,
                         &answer, NULL, error) ||
        !sl_top_format(json_object_get(answer, "processes"), ps_args && *ps_args ? ps_args : "-ef", &reply,
                       error))
        return false;
    sl_container_emit(container, "top", NULL);
    return sl_call_reply_json(call, 200, reply, error);
}

/* POST /containers/{id}/rename?name= → 204; 409 name in use. */
static bool
container_rename(SlCall *call, GError **error)
{
    g_autoptr(SlContainer) container = call_container(call, error);

    return container && sl_container_rename(container, sl_call_query(call, "name"), error) &&
           sl_call_reply_empty(call, 204, error);
}

/* DELETE /containers/{id}?force&v&link → 204; 409 running without force. */
static bool
container_remove(SlCall *call, GError **error)
{
    g_autoptr(SlContainer) container = call_container(call, error);
    SlEvent event = { .kind = SL_EVENT_REMOVE, .is_forced = sl_call_query_bool(call, "force", false) };

    if (!container)
        return false;
    if (sl_call_query_bool(call, "link", false))
        return sl_fail(error, SL_ERROR_UNSUPPORTED,
                       "link: removing links is not supported by this backend: it has no links");
    return sl_container_act(container, &event, error) &&
           sl_container_wait_blocking(container, SL_WAIT_REMOVED, sl_call_cancel(call), -1, error) &&
           sl_call_reply_empty(call, 204, error);
}

static bool
is_prunable(SlContainer *container, const DkFilters *filters, int64_t until_ns)
{
    SlPhase phase = sl_container_get_state(container, NULL).phase;

    return (phase == SL_PHASE_CREATED || phase == SL_PHASE_EXITED) &&
           (!until_ns || container->created_ns < until_ns) &&
           dk_filters_match_labels(filters, "label", container->config.labels) &&
           (!dk_filters_get(filters, "label!") ||
            !dk_filters_match_labels(filters, "label!", container->config.labels));
}

/* POST /containers/prune?filters= → 200 {ContainersDeleted, SpaceReclaimed}. */
static bool
containers_prune(SlCall *call, GError **error)
{
    static const char *const known[] = { "label", "label!", "until", NULL };
    g_autoptr(DkFilters) filters = dk_filters_parse(sl_call_query(call, "filters"), known, error);
    g_autoptr(GPtrArray) containers = NULL;
    g_autoptr(json_t) deleted = json_array();
    const char *const *until;
    int64_t until_ns = 0, reclaimed = 0;

    if (!filters)
        return false;
    until = dk_filters_get(filters, "until");
    if (until && !dk_time_parse(*until, "until", sl_clock_now_ns(), &until_ns, error))
        return false;
    containers = sl_core_list(sl_call_core(call));
    for (guint i = 0; i < containers->len; i++) {
        SlContainer *container = containers->pdata[i];
        int64_t bytes = sl_container_written_bytes(container);

        if (!is_prunable(container, filters, until_ns) ||
            !sl_container_act(container, &(SlEvent){ .kind = SL_EVENT_REMOVE }, NULL))
            continue;
        reclaimed += bytes;
        json_array_append_new(deleted, json_string(container->id));
    }
    sl_events_emit(sl_call_core(call)->events, "container", "prune", "",
                   json_pack("{s:o}", "reclaimed", json_sprintf("%" G_GINT64_FORMAT, reclaimed)));
    return sl_call_reply_json(call, 200,
                              json_pack("{s:o, s:I}", "ContainersDeleted",
                                        json_array_size(deleted) > 0 ? json_incref(deleted) : json_null(),
                                        "SpaceReclaimed", (json_int_t)reclaimed),
                              error);
}

const SlRoute sl_container_routes[] = {
    { "GET", "/internal/v1/containers/json", sl_containers_list, 0 },
    { "POST", "/internal/v1/containers/create", container_create, 0 },
    { "POST", "/internal/v1/containers/prune", containers_prune, 0 },
    { "GET", "/internal/v1/containers/{id}/json", container_inspect, 0 },
    { "POST", "/internal/v1/containers/{id}/start", container_start, 0 },
    { "POST", "/internal/v1/containers/{id}/stop", container_stop, 0 },
    { "POST", "/internal/v1/containers/{id}/restart", container_restart, 0 },
    { "POST", "/internal/v1/containers/{id}/kill", container_kill, 0 },
    { "POST", "/internal/v1/containers/{id}/pause", container_pause, 0 },
    { "POST", "/internal/v1/containers/{id}/unpause", container_unpause, 0 },
    { "POST", "/internal/v1/containers/{id}/update", container_update, 0 },
    { "POST", "/internal/v1/containers/{id}/wait", container_wait, 0 },
    { "POST", "/internal/v1/containers/{id}/attach", container_attach, 0 },
    { "GET", "/internal/v1/containers/{id}/logs", container_logs, 0 },
    { "POST", "/internal/v1/containers/{id}/resize", container_resize, 0 },
    { "GET", "/internal/v1/containers/{id}/top", container_top, 0 },
    { "POST", "/internal/v1/containers/{id}/rename", container_rename, 0 },
    { "DELETE", "/internal/v1/containers/{id}", container_remove, 0 },
    { 0 },
};
