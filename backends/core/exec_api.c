#include "backends/core/containers_api.h"
#include "backends/core/exec.h"
#include "net/stdcopy.h"

#include <string.h>

enum { RESIZE_TIMEOUT_MS = 10 * 1000 };

static SlExec *
call_exec(SlCall *call, GError **error)
{
    return sl_exec_find(sl_call_core(call), sl_call_param(call, "id"), error);
}

/* POST /containers/{id}/exec → 201 {Id}; 409 not running. */
static bool
exec_create(SlCall *call, GError **error)
{
    g_autoptr(SlContainer) container = sl_core_find(sl_call_core(call), sl_call_param(call, "id"), error);
    g_auto(DkExecCreate) config = { 0 };
    g_autoptr(SlExec) exec = NULL;
    g_autofree char *command = NULL;
    g_autofree char *action = NULL;

    if (!container || !sl_call_json(call, dk_exec_create_fields, &config, error))
        return false;
    exec = sl_exec_create(container, &config, error);
    if (!exec)
        return false;
    command = g_strjoinv(" ", exec->config.cmd);
    action = g_strdup_printf("exec_create: %s", command);
    sl_container_emit(container, action, json_pack("{s:s}", "execID", exec->id));
    return sl_call_reply_json(call, 201, json_pack("{s:s}", "Id", exec->id), error);
}

/* A program that could not be run is told in the stream, behind a 101: clients read it there. */
static bool
reply_start_error(SlCall *call, const char *content_type, const GError *reason, bool has_tty, GError **error)
{
    g_autofree char *text = g_strdup_printf(
        "OCI runtime exec failed: exec failed: unable to start container process: %s: unknown\r\n",
        reason->message);
    g_autoptr(GByteArray) frame = g_byte_array_new();
    g_autoptr(SlStream) stream = sl_call_hijack(call, content_type, error);
    uint8_t header[SL_STDCOPY_HEADER];

    if (!stream)
        return false;
    if (!has_tty) {
        sl_stdcopy_put_header(header, SL_STD_ERR, (uint32_t)strlen(text));
        g_byte_array_append(frame, header, sizeof header);
    }
    g_byte_array_append(frame, (const uint8_t *)text, (guint)strlen(text));
    return sl_stream_write_all(stream, NULL, frame->data, frame->len, RESIZE_TIMEOUT_MS, error);
}

/* POST /exec/{id}/start {Detach, Tty} → 101 or 200, then its stdio; 200 without a body when detached; 404, 409. */
static bool
exec_start(SlCall *call, GError **error)
{
    g_autoptr(SlExec) exec = call_exec(call, error);
    g_auto(DkExecStart) config = { 0 };
    g_autoptr(GError) local = NULL;
    const char *content_type;
    int exit_code;

    if (!exec || !sl_call_json(call, dk_exec_start_fields, &config, error))
        return false;
    content_type = sl_stream_content_type(call, exec->config.tty);
    if (sl_exec_start(exec, config.has_console_size ? config.console_size : NULL, &exit_code, &local)) {
        if (!config.detach)
            return sl_exec_serve(exec, call, content_type, error);
        sl_exec_detach(exec);
        return sl_call_reply_empty(call, 200, error);
    }
    if (exit_code > 0 && !config.detach)
        return reply_start_error(call, content_type, local, exec->config.tty, error);
    g_propagate_error(error, g_steal_pointer(&local));
    return false;
}

/* POST /exec/{id}/resize?h=&w= → 201; 409 not running. */
static bool
exec_resize(SlCall *call, GError **error)
{
    g_autoptr(SlExec) exec = call_exec(call, error);
    g_autoptr(SlLink) link = NULL;
    int64_t rows, cols;
    json_t *message;
    bool is_running;

    if (!exec || !sl_call_query_int(call, "h", -1, &rows, error) ||
        !sl_call_query_int(call, "w", -1, &cols, error))
        return false;
    if (rows < 0 || cols < 0 || rows > UINT16_MAX || cols > UINT16_MAX)
        return sl_fail(error, SL_ERROR_INVALID,
                       "invalid terminal size: h and w must be numbers from 0 to 65535");
    pthread_mutex_lock(&exec->lock);
    is_running = exec->is_running;
    pthread_mutex_unlock(&exec->lock);
    if (!is_running)
        return sl_fail(error, SL_ERROR_CONFLICT, "exec %s is not running", exec->id);
    link = sl_container_dup_link(exec->container, error);
    message = json_pack("{s:s, s:I, s:I, s:I}", "type", "resize", "channel", (json_int_t)exec->channel_number,
                        "rows", (json_int_t)rows, "cols", (json_int_t)cols);
    if (!link) {
        json_decref(message);
        return false;
    }
    return sl_link_request(link, message, sl_call_cancel(call), RESIZE_TIMEOUT_MS, NULL, NULL, error) &&
           sl_call_reply_empty(call, 201, error);
}

/* GET /exec/{id}/json → 200; 404. */
static bool
exec_inspect(SlCall *call, GError **error)
{
    g_autoptr(SlExec) exec = call_exec(call, error);

    return exec && sl_call_reply_json(call, 200, sl_exec_inspect(exec), error);
}

const SlRoute sl_exec_routes[] = {
    { "POST", "/internal/v1/containers/{id}/exec", exec_create, 0 },
    { "POST", "/internal/v1/exec/{id}/start", exec_start, 0 },
    { "POST", "/internal/v1/exec/{id}/resize", exec_resize, 0 },
    { "GET", "/internal/v1/exec/{id}/json", exec_inspect, 0 },
    { 0 },
};
