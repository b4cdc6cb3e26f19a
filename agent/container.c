#include "agent/agent.h"
#include "agent/root.h"
#include "common/failpoint.h"
#include "common/fd.h"
#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

enum {
    KILL_AGAIN_MS = 10,
    MAX_KILLS = SL_AGENT_DRAIN_MS / KILL_AGAIN_MS,
    LOG_RETRY_MS = 200,
    MAX_EXECS = 256,
    MAX_CONFIG_BYTES = 32 * 1024,
    MAX_CONFIGS_BYTES = 512 * 1024, /* all of them go into one hello */
};

/* ---- the end of a run ---- */

/* Without fsync: this survives our own end and the daemon's, and after a loss of power there is no agent to
 * ask either. */
static bool
store_exit(const json_t *json, GError **error)
{
    static const char temporary[] = "." SL_AGENT_EXIT_NAME;
    g_autofree char *text = sl_json_dump(json);
    sl_autofd int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0 || !sl_failpoint("agent.exit.before"))
        return sl_fail_errno(error, errno, "creating %s", temporary);
    if (!sl_fd_write_all(fd, text, strlen(text), temporary, error))
        return false;
    if (rename(temporary, SL_AGENT_EXIT_NAME) < 0)
        return sl_fail_errno(error, errno, "replacing %s", SL_AGENT_EXIT_NAME);
    return true;
}

static bool
execs_are_over(SlAgent *agent)
{
    for (unsigned i = 0; i < agent->execs->len; i++)
        if (!((SlProcess *)agent->execs->pdata[i])->is_over)
            return false;
    return true;
}

static bool
has_children(void)
{
    siginfo_t info;

    return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

static void
end_if_asked(SlAgent *agent)
{
    if (agent->is_ending || !agent->link)
        agent->is_done = true;
}

/* The run is over when the process, its output, the execs and all their children are. */
static void
check_end(SlAgent *agent)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(json_t) exit = NULL;

    if (agent->state != SL_AGENT_RUNNING || !agent->first->is_over || !execs_are_over(agent))
        return;
    if (has_children() && agent->n_kills < MAX_KILLS)
        return;
    sl_deadline_clear(agent->poller, &agent->kill_again);
    sl_deadline_clear(agent->poller, &agent->log_retry);

    agent->state = SL_AGENT_EXITED;
    sl_pause_clear(&agent->pause);
    exit = sl_agent_exit_json(agent, agent->first);
    if (!store_exit(exit, &error))
        sl_error("exit code cannot be stored error=\"%s\"", error->message);
    sl_failpoint("agent.exit.stored");
    sl_debug("container exited exit=%d length=%" G_GUINT64_FORMAT, agent->first->exit_code,
             sl_log_writer_length(agent->log));
    sl_agent_tell_exited(agent, agent->first);
    end_if_asked(agent);
}

static void
kill_round(void *user)
{
    SlAgent *agent = user;

    if (agent->n_kills++ == MAX_KILLS) {
        sl_error("processes cannot be killed, giving them up");
        check_end(agent);
        return;
    }
    if (!has_children())
        return;
    sl_table_kill_all(&agent->table);
    sl_deadline_set(agent->poller, &agent->kill_again, KILL_AGAIN_MS);
}

/* ---- reaping ---- */

static SlProcess *
process_by_pid(SlAgent *agent, pid_t pid)
{
    if (agent->first && agent->first->pid == pid && !agent->first->has_exited)
        return agent->first;
    for (unsigned i = 0; i < agent->execs->len; i++) {
        SlProcess *exec = agent->execs->pdata[i];

        if (exec->pid == pid && !exec->has_exited)
            return exec;
    }
    return NULL;
}

static void
forget_failed(SlAgent *agent, SlProcess *process)
{
    if (process == agent->first)
        sl_process_free(g_steal_pointer(&agent->first));
    else
        g_ptr_array_remove(agent->execs, process); /* frees */
}

void
sl_agent_reap(SlAgent *agent)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        SlProcess *process = process_by_pid(agent, pid);

        sl_table_free_entry(&agent->table, pid);
        if (!process)
            continue;
        sl_process_exited(process, status);
        if (process->has_failed)
            forget_failed(agent, process);
        else if (process == agent->first)
            kill_round(agent);
    }
    if (agent->first && agent->first->has_exited && agent->state == SL_AGENT_RUNNING) {
        /* What was orphaned by a kill is our child now, and found at once. */
        if (has_children())
            sl_table_kill_all(&agent->table);
        check_end(agent);
    }
}

void
sl_agent_process_started(SlAgent *agent, SlProcess *process)
{
    if (process == agent->first) {
        agent->state = SL_AGENT_RUNNING;
        sl_debug("container started pid=%d", (int)process->pid);
    }
    sl_agent_answer_started(agent, process);
    sl_agent_say_hello_if_due(agent);
}

void
sl_agent_process_ended(SlAgent *agent, SlProcess *process)
{
    if (!process->has_failed) {
        if (process != agent->first)
            sl_agent_tell_exited(agent, process);
        check_end(agent);
        return;
    }
    sl_agent_answer_failed(agent, process);
    if (process == agent->first) {
        agent->state = SL_AGENT_IDLE;
        sl_agent_say_hello_if_due(agent);
        if (agent->is_ending)
            agent->is_done = true;
    }
}

/* ---- the log ---- */

static void
retry_log(void *user)
{
    SlAgent *agent = user;

    if (sl_log_writer_is_stuck(agent->log) && !sl_log_writer_retry(agent->log)) {
        sl_deadline_set(agent->poller, &agent->log_retry, LOG_RETRY_MS);
        return;
    }
    sl_agent_tell_grown(agent);
    sl_process_resume(agent->first);
}

void
sl_agent_log_stuck(SlAgent *agent)
{
    sl_deadline_set(agent->poller, &agent->log_retry, LOG_RETRY_MS);
}

/* ---- requests ---- */

void
sl_agent_clear_run(SlAgent *agent)
{
    g_ptr_array_set_size(agent->execs, 0);
    sl_process_free(g_steal_pointer(&agent->first));
    g_clear_pointer(&agent->log, sl_log_writer_free);
    sl_table_clear(&agent->table);
    sl_fd_clear(&agent->root_fd);
    sl_request_clear(&agent->start);
}

static bool
prepare_run(SlAgent *agent, GError **error)
{
    const SlRequest *start = &agent->start;

    if (!sl_root_make(&start->root, &agent->root_fd, error) || !sl_table_make(&agent->table, error))
        return false;
    if (!sl_failpoint("agent.root.mounted"))
        return sl_fail_errno(error, errno, "mounting the root filesystem");
    if (start->cwd && start->cwd[0] && !sl_root_make_folder(agent->root_fd, start->cwd, error))
        return false;
    agent->log = sl_log_writer_open(start->has_tty,
                                    (SlLogLimits){ .max_size = (uint64_t)start->log_max_size,
                                                   .max_files = (unsigned)MAX(1, start->log_max_files) },
                                    error);
    if (!agent->log)
        return false;
    if (unlink(SL_AGENT_EXIT_NAME) < 0 && errno != ENOENT)
        return sl_fail_errno(error, errno, "removing %s", SL_AGENT_EXIT_NAME);
    return true;
}

bool
sl_agent_start(SlAgent *agent, SlRequest *request, GError **error)
{
    if (agent->state == SL_AGENT_STARTING || agent->state == SL_AGENT_RUNNING || agent->is_ending)
        return sl_fail(error, SL_ERROR_CONFLICT, "the container is running already");

    sl_agent_clear_run(agent);
    agent->start = *request;
    *request = (SlRequest){ 0 };
    agent->start.has_stdout = agent->start.has_stderr = true;
    agent->n_kills = 0;
    agent->kill_again = (SlDeadline){ .passed = kill_round, .user = agent };
    agent->log_retry = (SlDeadline){ .passed = retry_log, .user = agent };
    agent->state = SL_AGENT_IDLE;
    if (!prepare_run(agent, error))
        return false;
    agent->told_length = sl_log_writer_length(agent->log);
    agent->is_grown_open = false;
    agent->first = sl_process_new(agent, &agent->start, error);
    if (!agent->first)
        return false;
    sl_failpoint("agent.spawned");
    agent->state = SL_AGENT_STARTING;
    return true;
}

static size_t
config_bytes(const json_t *config)
{
    return config ? json_dumpb(config, NULL, 0, JSON_ENCODE_ANY | JSON_COMPACT) : 0;
}

/* Forgets ended execs, the oldest first, until a new one has room in the list and in a hello. */
static bool
make_room(SlAgent *agent, size_t n_bytes, GError **error)
{
    size_t total = n_bytes;

    for (unsigned i = 0; i < agent->execs->len; i++)
        total += config_bytes(((SlProcess *)agent->execs->pdata[i])->config);
    for (unsigned i = 0;
         i < agent->execs->len && (total > MAX_CONFIGS_BYTES || agent->execs->len >= MAX_EXECS);) {
        SlProcess *exec = agent->execs->pdata[i];

        if (!exec->is_over) {
            i++;
            continue;
        }
        total -= config_bytes(exec->config);
        g_ptr_array_remove_index(agent->execs, i);
    }
    if (total > MAX_CONFIGS_BYTES || agent->execs->len >= MAX_EXECS)
        return sl_fail(error, SL_ERROR_CONFLICT, "too many execs are running in the container");
    return true;
}

bool
sl_agent_exec(SlAgent *agent, SlRequest *request, GError **error)
{
    SlProcess *used = sl_agent_process(agent, (uint32_t)request->channel);
    SlProcess *exec;
    size_t n_config = config_bytes(request->config);

    if (agent->state != SL_AGENT_RUNNING || agent->first->has_exited || agent->is_ending)
        return sl_fail(error, SL_ERROR_CONFLICT, "container is not running");
    if (agent->pause.is_on)
        return sl_fail(error, SL_ERROR_CONFLICT, "container is paused");
    if (used && !used->is_over)
        return sl_fail(error, SL_ERROR_CONFLICT, "channel %u is in use", used->channel);
    if (n_config > MAX_CONFIG_BYTES || strlen(request->exec_id) > 256)
        return sl_fail(error, SL_ERROR_INVALID, "the exec's config is too large");
    if (!make_room(agent, n_config, error))
        return false;

    exec = sl_process_new(agent, request, error);
    if (!exec)
        return false;
    exec->exec_id = g_steal_pointer(&request->exec_id);
    exec->config = g_steal_pointer(&request->config);
    used = sl_agent_process(agent, exec->channel); /* make_room may have forgotten it */
    if (used)
        g_ptr_array_remove(agent->execs, used);
    g_ptr_array_add(agent->execs, exec);
    return true;
}

bool
sl_agent_pause(SlAgent *agent, GError **error)
{
    if (agent->state != SL_AGENT_RUNNING || agent->first->has_exited)
        return sl_fail(error, SL_ERROR_CONFLICT, "container is not running");
    for (unsigned i = 0; i < agent->execs->len; i++)
        if (((SlProcess *)agent->execs->pdata[i])->is_starting)
            return sl_fail(error, SL_ERROR_CONFLICT, "an exec is starting, try again");
    if (!sl_pause_begin(&agent->pause, error))
        return false;
    sl_process_drain(agent->first); /* what was printed before the pause is there with its answer */
    return true;
}

bool
sl_agent_unpause(SlAgent *agent, GError **error)
{
    if (agent->state != SL_AGENT_RUNNING)
        return sl_fail(error, SL_ERROR_CONFLICT, "container is not running");
    sl_pause_end(&agent->pause);
    return true;
}

SlProcess *
sl_agent_process(SlAgent *agent, uint32_t channel)
{
    if (channel == 0)
        return agent->first;
    for (unsigned i = 0; i < agent->execs->len; i++) {
        SlProcess *exec = agent->execs->pdata[i];

        if (exec->channel == channel)
            return exec;
    }
    return NULL;
}

void
sl_agent_shutdown(SlAgent *agent)
{
    agent->is_ending = true;
    if (agent->state == SL_AGENT_STARTING || agent->state == SL_AGENT_RUNNING)
        sl_table_kill_all(&agent->table); /* the first process's end is ours */
    else
        agent->is_done = true;
}
