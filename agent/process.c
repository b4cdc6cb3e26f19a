#include "agent/process.h"

#include "agent/agent.h"
#include "agent/runtime.h"
#include "common/clock.h"
#include "common/fd.h"
#include "common/log.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>

enum {
    MAX_REPORT_BYTES = 4096,
    MAX_DRAIN_ROUNDS = 256, /* more than a pipe holds */
    REPORT_MS = 1000,       /* from its first byte to its end */
};

static void
check_over(SlProcess *process)
{
    if (process->is_over || !process->has_exited || process->outputs[0].source.fd >= 0 ||
        process->outputs[1].source.fd >= 0)
        return;
    if (process->channel == 0 && !process->has_failed && sl_log_writer_is_stuck(process->agent->log))
        return;
    process->is_over = true;
    sl_deadline_clear(process->agent->poller, &process->late);
    sl_agent_process_ended(process->agent, process);
}

static void
end_outputs(SlProcess *process)
{
    for (unsigned i = 0; i < 2; i++)
        sl_source_end(process->agent->poller, &process->outputs[i].source);
}

/* ---- output ---- */

static bool
may_read(const SlProcess *process)
{
    SlAgent *agent = process->agent;

    if (process->channel == 0)
        return !sl_log_writer_is_stuck(agent->log);
    if (process->is_unheard)
        return true;
    /* The stdcopy header counts as well. */
    return agent->link && process->sent + SL_STDCOPY_HEADER < process->window &&
           sl_link_has_room(agent->link);
}

void
sl_process_resume(SlProcess *process)
{
    uint32_t events = may_read(process) ? EPOLLIN : 0;

    for (unsigned i = 0; i < 2; i++)
        sl_source_wait(process->agent->poller, &process->outputs[i].source, events);
    check_over(process);
}

static bool
store_output(SlProcess *process, SlProcessOutput *output)
{
    SlAgent *agent = process->agent;
    SlLogTaken taken = sl_log_writer_take(agent->log, output->source.fd, (SlStdStream)output->stream);

    if (taken == SL_LOG_STUCK)
        sl_agent_log_stuck(agent);
    if (taken == SL_LOG_TAKEN)
        sl_agent_tell_grown(agent);
    return taken != SL_LOG_END;
}

static bool
send_output(SlProcess *process, SlProcessOutput *output)
{
    uint8_t data[SL_AGENT_MAX_PAYLOAD];
    size_t n_header = process->has_tty ? 0 : SL_STDCOPY_HEADER;
    size_t room = sizeof data - n_header;
    ssize_t n;

    if (!process->is_unheard)
        room = MIN(room, process->window - process->sent - n_header);
    n = read(output->source.fd, data + n_header, room);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return true;
    if (n <= 0)
        return false;
    if (process->is_unheard)
        return true;
    if (!process->has_tty)
        sl_stdcopy_put_header(data, (SlStdStream)output->stream, (uint32_t)n);
    sl_agent_send_frame(process->agent, SL_AGENT_DATA, process->channel, process->sent, data,
                        n_header + (size_t)n);
    process->sent += n_header + (size_t)n;
    return true;
}

static void
on_output(void *user, uint32_t events)
{
    SlProcessOutput *output = user;
    SlProcess *process = output->process;

    if (!(process->channel == 0 ? store_output : send_output)(process, output))
        sl_source_end(process->agent->poller, &output->source);
    sl_process_resume(process);
}

static bool
is_readable(int fd)
{
    struct pollfd ask = { .fd = fd, .events = POLLIN };

    return fd >= 0 && poll(&ask, 1, 0) == 1 && (ask.revents & POLLIN);
}

void
sl_process_drain(SlProcess *process)
{
    for (unsigned i = 0; i < 2; i++)
        for (unsigned round = 0;
             round < MAX_DRAIN_ROUNDS && may_read(process) && is_readable(process->outputs[i].source.fd);
             round++)
            on_output(&process->outputs[i], EPOLLIN);
}

/* ---- start ---- */

static void
started(SlProcess *process)
{
    process->is_starting = false;
    for (unsigned i = 0; i < 2; i++)
        sl_source_wait(process->agent->poller, &process->outputs[i].source, EPOLLIN);
    sl_agent_process_started(process->agent, process);
    sl_process_resume(process);
}

/* The report is whole: the pipe ended, or the process did. */
static void
settle_start(SlProcess *process)
{
    sl_source_end(process->agent->poller, &process->status);
    if (process->report->len == 0) {
        started(process);
        return;
    }
    /* The runtime ends by itself now. One that does not is not waited for. */
    process->has_failed = true;
    process->is_starting = false;
    end_outputs(process);
    if (!process->has_exited)
        kill(process->pid, SIGKILL);
}

static void
on_status(void *user, uint32_t events)
{
    SlProcess *process = user;
    char text[512];
    ssize_t n;

    while ((n = read(process->status.fd, text, sizeof text)) > 0) {
        if (process->report->len + (size_t)n <= MAX_REPORT_BYTES)
            g_string_append_len(process->report, text, n);
    }
    if (n == 0)
        settle_start(process);
    else if (process->report->len > 0)
        sl_deadline_set(process->agent->poller, &process->late, REPORT_MS);
}

/* Somebody holds the other end of a pipe. */
static void
on_late(void *user)
{
    SlProcess *process = user;

    if (process->is_starting) {
        settle_start(process);
        return;
    }
    end_outputs(process);
    if (process->channel == 0)
        sl_log_writer_give_up(process->agent->log);
    check_over(process);
}

void
sl_process_failure(const SlProcess *process, int *ret_exit_code, GError **error)
{
    const char *sentence = process->report->str;
    g_autofree char *text = NULL;

    *ret_exit_code = 0;
    if (g_str_has_prefix(sentence, "126 ") || g_str_has_prefix(sentence, "127 ")) {
        *ret_exit_code = sentence[2] == '6' ? 126 : 127;
        sentence += 4;
    }
    text = g_utf8_make_valid(sentence, -1);
    sl_fail(error, SL_ERROR_INVALID, "%s", g_strstrip(text));
}

static void
grant_input(void *user, uint64_t up_to)
{
    SlProcess *process = user;

    sl_agent_send_frame(process->agent, SL_AGENT_WINDOW_TO, process->channel, up_to, NULL, 0);
}

static void
adopt(SlProcess *process, SlSpawned *spawned)
{
    SlPoller *poller = process->agent->poller;

    process->pid = spawned->pid;
    sl_source_begin(&process->status, spawned->status_fd, on_status, process);
    sl_source_wait(poller, &process->status, EPOLLIN);
    sl_input_begin(&process->input, poller, spawned->input_fd, process->has_tty, grant_input, process);
    for (unsigned i = 0; i < 2; i++) {
        process->outputs[i].process = process;
        process->outputs[i].stream = i == 0 ? SL_STD_OUT : SL_STD_ERR;
        sl_source_begin(&process->outputs[i].source, spawned->output_fds[i], on_output, &process->outputs[i]);
    }
}

SlProcess *
sl_process_new(SlAgent *agent, const SlRequest *command, GError **error)
{
    SlProcess *process;
    SlSpawned spawned;
    g_auto(SlUser) user = { 0 };
    SlSpawnSpec spec = { .start = &agent->start,
                         .command = command,
                         .user = &user,
                         .root_fd = agent->root_fd,
                         .table_fd = agent->table.fd };

    if (!sl_user_resolve(agent->root_fd, command->user, &user, error) || !sl_spawn(&spec, &spawned, error))
        return NULL;

    process = g_new0(SlProcess, 1);
    process->agent = agent;
    process->channel = (uint32_t)command->channel;
    process->request_id = command->id;
    process->link_serial = agent->link_serial;
    process->has_tty = command->has_tty;
    process->is_starting = true;
    process->started_ns = sl_clock_now_ns();
    process->report = g_string_new(NULL);
    process->window = SL_AGENT_WINDOW;
    process->late = (SlDeadline){ .passed = on_late, .user = process };
    adopt(process, &spawned);
    return process;
}

void
sl_process_free(SlProcess *process)
{
    SlPoller *poller;

    if (!process)
        return;
    poller = process->agent->poller;
    sl_deadline_clear(poller, &process->late);
    sl_source_end(poller, &process->status);
    sl_input_close(&process->input);
    end_outputs(process);
    g_string_free(process->report, TRUE);
    g_free(process->exec_id);
    g_clear_pointer(&process->config, json_decref);
    g_free(process);
}

/* ---- end ---- */

void
sl_process_exited(SlProcess *process, int wait_status)
{
    process->has_exited = true;
    process->finished_ns = sl_clock_now_ns();
    process->signal = WIFSIGNALED(wait_status) ? WTERMSIG(wait_status) : 0;
    process->exit_code = process->signal ? 128 + process->signal : WEXITSTATUS(wait_status);
    sl_input_close(&process->input);
    if (process->is_starting) {
        on_status(process, 0);
        if (process->is_starting)
            settle_start(process); /* a child of the runtime's holds the pipe */
    }
    sl_deadline_set(process->agent->poller, &process->late, SL_AGENT_DRAIN_MS);
    check_over(process);
}

static bool
check_alive(const SlProcess *process, GError **error)
{
    if (process->has_exited || process->has_failed)
        return sl_fail(error, SL_ERROR_CONFLICT, "the process is not running");
    return true;
}

bool
sl_process_signal(const SlProcess *process, int signal, GError **error)
{
    if (!check_alive(process, error))
        return false;
    if (kill(process->pid, signal) < 0)
        return sl_fail_errno(error, errno, "sending signal %d", signal);
    return true;
}

bool
sl_process_resize(const SlProcess *process, int rows, int cols, GError **error)
{
    if (!check_alive(process, error))
        return false;
    if (!process->has_tty || process->outputs[0].source.fd < 0)
        return sl_fail(error, SL_ERROR_CONFLICT, "the process has no terminal");
    return sl_terminal_resize(process->outputs[0].source.fd, rows, cols, error);
}

/* ---- frames ---- */

bool
sl_process_frame(SlProcess *process, const SlAgentFrame *frame, const uint8_t *data, size_t n)
{
    switch (frame->type) {
    case SL_AGENT_DATA:
        return process->has_exited || sl_input_data(&process->input, frame->offset, data, n);
    case SL_AGENT_END:
        if (!process->has_exited)
            sl_input_end(&process->input);
        return n == 0;
    case SL_AGENT_WINDOW_TO:
        if (process->channel == 0 || n > 0)
            return false;
        process->window = MAX(process->window, frame->offset);
        if (!process->is_starting && !process->is_over)
            sl_process_resume(process);
        return true;
    case SL_AGENT_GROWN:
    case SL_AGENT_SEEN:
    case SL_AGENT_LEFT:
        return false;
    }
    return false;
}

void
sl_process_unheard(SlProcess *process)
{
    process->is_unheard = true;
    if (!process->is_starting && !process->is_over)
        sl_process_resume(process);
}
