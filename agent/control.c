#include "agent/agent.h"
#include "common/log.h"

#include <string.h>

enum { LONELY_MS = 60 * 1000 };

/* ---- to the daemon ---- */

/* Takes json. */
static void
send_json(SlAgent *agent, json_t *json)
{
    g_autoptr(json_t) owned = json;
    g_autofree char *text = NULL;

    if (!agent->link || agent->is_hello_due)
        return; /* hello is the first word, and tells all */
    text = sl_json_dump(json);
    sl_link_send_text(agent->link, text, strlen(text));
}

/* Takes json. */
static void
answer(SlAgent *agent, uint64_t link_serial, json_t *json)
{
    if (link_serial == agent->link_serial)
        send_json(agent, json);
    else
        json_decref(json);
}

static void
answer_ok(SlAgent *agent, int64_t id)
{
    send_json(agent, json_pack("{s:s, s:I}", "type", "ok", "id", (json_int_t)id));
}

static json_t *
error_json(int64_t id, const GError *error, int exit_code)
{
    g_autofree char *message = g_utf8_make_valid(error->message, -1);
    json_t *json = json_pack("{s:s, s:i, s:s}", "type", "error", "status", (int)sl_error_http_status(error),
                             "message", message);

    if (id > 0)
        json_object_set_new(json, "id", json_integer(id));
    if (exit_code != 0)
        json_object_set_new(json, "exit_code", json_integer(exit_code));
    return json;
}

void
sl_agent_answer_started(SlAgent *agent, const SlProcess *process)
{
    answer(agent, process->link_serial,
           json_pack("{s:s, s:I, s:i, s:I}", "type", "started", "id", (json_int_t)process->request_id, "pid",
                     (int)process->pid, "started_ns", (json_int_t)process->started_ns));
}

void
sl_agent_answer_failed(SlAgent *agent, const SlProcess *process)
{
    g_autoptr(GError) error = NULL;
    int exit_code;

    sl_process_failure(process, &exit_code, &error);
    answer(agent, process->link_serial, error_json(process->request_id, error, exit_code));
}

json_t *
sl_agent_exit_json(SlAgent *agent, const SlProcess *process)
{
    json_t *json = json_pack("{s:i, s:i, s:I, s:I}", "exit_code", process->exit_code, "signal",
                             process->signal, "started_ns", (json_int_t)process->started_ns, "finished_ns",
                             (json_int_t)process->finished_ns);

    if (process->channel == 0)
        json_object_set_new(json, "length", json_integer((json_int_t)sl_log_writer_length(agent->log)));
    return json;
}

void
sl_agent_tell_exited(SlAgent *agent, const SlProcess *process)
{
    json_t *json = sl_agent_exit_json(agent, process);

    if (process->channel != 0)
        sl_agent_send_frame(agent, SL_AGENT_END, process->channel, process->sent, NULL, 0);
    json_object_set_new(json, "type", json_string("exited"));
    json_object_set_new(json, "channel", json_integer(process->channel));
    send_json(agent, json);
}

void
sl_agent_send_frame(SlAgent *agent, SlAgentFrameType type, uint32_t channel, uint64_t offset,
                    const void *data, size_t n)
{
    SlAgentFrame frame = { .type = type, .channel = channel, .offset = offset };

    if (agent->link && !agent->is_hello_due)
        sl_link_send_frame(agent->link, &frame, data, n);
}

void
sl_agent_tell_grown(SlAgent *agent)
{
    uint64_t length = sl_log_writer_length(agent->log);

    if (!agent->link || agent->is_hello_due || agent->is_grown_open || length == agent->told_length)
        return;
    agent->told_length = length;
    agent->is_grown_open = true;
    sl_agent_send_frame(agent, SL_AGENT_GROWN, 0, length, NULL, 0);
}

/* ---- hello ---- */

static json_t *
execs_json(SlAgent *agent)
{
    json_t *list = json_array();

    for (unsigned i = 0; i < agent->execs->len; i++) {
        const SlProcess *exec = agent->execs->pdata[i];

        if (exec->is_starting || exec->has_failed)
            continue;
        json_array_append_new(list, json_pack("{s:I, s:s, s:i, s:b, s:i, s:b, s:O?}", "channel",
                                              (json_int_t)exec->channel, "exec_id", exec->exec_id, "pid",
                                              (int)exec->pid, "is_running", !exec->is_over, "exit_code",
                                              exec->exit_code, "tty", exec->has_tty, "config", exec->config));
    }
    return list;
}

static uint64_t
log_length(SlAgent *agent)
{
    return agent->log ? sl_log_writer_length(agent->log) : 0;
}

static json_t *
hello_json(SlAgent *agent)
{
    static const char *const states[] = { "idle", "idle", "running", "exited" };
    const SlProcess *first = agent->first;
    json_t *json = json_pack("{s:s, s:i, s:s, s:s, s:b, s:i, s:I, s:I, s:I, s:o}", "type", "hello", "version",
                             SL_AGENT_VERSION, "container", agent->container, "state", states[agent->state],
                             "paused", agent->pause.is_on, "pid", first ? (int)first->pid : 0, "started_ns",
                             first ? (json_int_t)first->started_ns : 0, "length",
                             (json_int_t)log_length(agent), "stdin_received",
                             first ? (json_int_t)first->input.received : 0, "execs", execs_json(agent));

    if (agent->state == SL_AGENT_EXITED)
        json_object_set_new(json, "exit", sl_agent_exit_json(agent, first));
    return json;
}

void
sl_agent_say_hello_if_due(SlAgent *agent)
{
    if (!agent->is_hello_due || !agent->link)
        return;
    agent->is_hello_due = false;
    if (agent->log)
        sl_log_writer_set_readers(agent->log, true, 0);
    agent->told_length = log_length(agent);
    agent->is_grown_open = false;
    send_json(agent, hello_json(agent));
    if (agent->state == SL_AGENT_RUNNING && !agent->first->has_exited)
        sl_agent_send_frame(agent, SL_AGENT_WINDOW_TO, 0, agent->first->input.granted, NULL, 0);
    for (unsigned i = 0; i < agent->execs->len; i++) {
        const SlProcess *exec = agent->execs->pdata[i];

        if (!exec->is_starting && !exec->has_exited)
            sl_agent_send_frame(agent, SL_AGENT_WINDOW_TO, exec->channel, exec->input.granted, NULL, 0);
    }
}

static void
on_lonely(void *user)
{
    SlAgent *agent = user;

    sl_info("agent ends, no daemon came");
    agent->is_done = true;
}

void
sl_agent_opened(SlAgent *agent)
{
    agent->link_serial++;
    agent->is_hello_due = true;
    sl_deadline_clear(agent->poller, &agent->lonely);
    for (unsigned i = 0; i < agent->execs->len; i++)
        sl_process_unheard(agent->execs->pdata[i]);
    if (agent->state != SL_AGENT_STARTING)
        sl_agent_say_hello_if_due(agent);
}

void
sl_agent_link_lost(SlAgent *agent)
{
    agent->link_serial++;
    if (agent->log)
        sl_log_writer_set_readers(agent->log, false, 0);
    for (unsigned i = 0; i < agent->execs->len; i++)
        sl_process_unheard(agent->execs->pdata[i]);
    if (agent->state == SL_AGENT_EXITED)
        agent->is_done = true;
    if (agent->state == SL_AGENT_IDLE) {
        agent->lonely = (SlDeadline){ .passed = on_lonely, .user = agent };
        sl_deadline_set(agent->poller, &agent->lonely, LONELY_MS);
    }
}

void
sl_agent_link_has_room(SlAgent *agent)
{
    for (unsigned i = 0; i < agent->execs->len; i++) {
        SlProcess *exec = agent->execs->pdata[i];

        if (!exec->is_starting && !exec->is_over && !exec->has_failed)
            sl_process_resume(exec);
    }
}

/* ---- from the daemon ---- */

static bool
act(SlAgent *agent, SlRequest *request, GError **error)
{
    SlProcess *process = sl_agent_process(agent, (uint32_t)request->channel);
    json_t *top;

    switch (request->type) {
    case SL_REQUEST_START:
        return sl_agent_start(agent, request, error);
    case SL_REQUEST_EXEC:
        return sl_agent_exec(agent, request, error);
    case SL_REQUEST_SIGNAL:
        if (!process)
            return sl_fail(error, SL_ERROR_CONFLICT, "container is not running");
        if (!sl_process_signal(process, request->signal, error))
            return false;
        answer_ok(agent, request->id);
        return true;
    case SL_REQUEST_RESIZE:
        if (!process)
            return sl_fail(error, SL_ERROR_CONFLICT, "container is not running");
        if (!sl_process_resize(process, request->rows, request->cols, error))
            return false;
        answer_ok(agent, request->id);
        return true;
    case SL_REQUEST_TOP:
        if (agent->state != SL_AGENT_RUNNING)
            return sl_fail(error, SL_ERROR_CONFLICT, "container is not running");
        top = sl_agent_top(agent);
        json_object_set_new(top, "id", json_integer(request->id));
        send_json(agent, top);
        return true;
    case SL_REQUEST_PAUSE:
    case SL_REQUEST_UNPAUSE:
        if (!(request->type == SL_REQUEST_PAUSE ? sl_agent_pause : sl_agent_unpause)(agent, error))
            return false;
        answer_ok(agent, request->id);
        return true;
    case SL_REQUEST_SHUTDOWN:
        sl_agent_shutdown(agent);
        return true;
    }
    g_assert_not_reached();
}

static void
on_request(SlAgent *agent, const uint8_t *data, size_t n)
{
    g_auto(SlRequest) request = { 0 };
    g_autoptr(GError) error = NULL;
    int64_t id;

    if (sl_request_parse(data, n, &request, &error)) {
        id = request.id;
        if (act(agent, &request, &error))
            return;
    } else {
        id = request.id;
    }
    sl_warn("request failed id=%" G_GINT64_FORMAT " error=\"%s\"", id, error->message);
    send_json(agent, error_json(id, error, 0));
}

/* What the daemon says of those who read the log. */
static void
on_readers(SlAgent *agent, const SlAgentFrame *frame)
{
    if (!agent->log)
        return;
    sl_log_writer_set_readers(agent->log, frame->type == SL_AGENT_SEEN, frame->offset);
    if (frame->type == SL_AGENT_LEFT)
        return;
    agent->is_grown_open = false;
    sl_agent_tell_grown(agent);
}

static bool
on_frame(SlAgent *agent, const SlAgentFrame *frame, const uint8_t *data, size_t n)
{
    SlProcess *process;

    if (frame->type == SL_AGENT_SEEN || frame->type == SL_AGENT_LEFT) {
        on_readers(agent, frame);
        return frame->channel == 0 && n == 0;
    }
    process = sl_agent_process(agent, frame->channel);
    if (process)
        return sl_process_frame(process, frame, data, n);
    /* It may have ended while the frame was on its way; of a container that never ran it is the daemon's
     * mistake. */
    if (frame->channel == 0)
        sl_warn("stdin dropped, nothing runs bytes=%zu", n);
    return true;
}

bool
sl_agent_message(SlAgent *agent, bool is_binary, const uint8_t *data, size_t n)
{
    SlAgentFrame frame;

    if (!is_binary) {
        on_request(agent, data, n);
        return true;
    }
    if (!sl_agent_frame_get(data, n, &frame) || n > SL_AGENT_FRAME_HEADER + SL_AGENT_MAX_PAYLOAD)
        return false;
    return on_frame(agent, &frame, data + SL_AGENT_FRAME_HEADER, n - SL_AGENT_FRAME_HEADER);
}
