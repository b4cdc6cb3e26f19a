/*
 * sockerless-agent [CONTAINER]
 *
 * Started in the container's folder, with the listening socket as descriptor 3 and the token in its
 * environment. See protocol.h.
 */
#include "agent/agent.h"
#include "common/fd.h"
#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>

/* The token, which leaves the environment and its memory: our own children and /proc/PID/environ never show
 * it. */
static char *
take_token(void)
{
    char *value = getenv(SL_AGENT_TOKEN_VARIABLE);
    char *token = g_strdup(value);

    if (!value)
        return NULL;
    explicit_bzero(value, strlen(value));
    unsetenv(SL_AGENT_TOKEN_VARIABLE);
    return token;
}

static bool
is_listening(int fd)
{
    int value = 0;
    socklen_t n = sizeof value;

    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &value, &n) == 0 && value;
}

static void
on_listener(void *user, uint32_t events)
{
    sl_link_accept(user);
}

static void
on_signal(void *user, uint32_t events)
{
    SlAgent *agent = user;
    struct signalfd_siginfo info;

    if (read(agent->signals.fd, &info, sizeof info) != (ssize_t)sizeof info)
        return;
    if (info.ssi_signo == SIGCHLD)
        sl_agent_reap(agent);
    else
        sl_agent_shutdown(agent);
}

/* Signals come as events. Whoever started us may have left some ignored or blocked. */
static int
open_signals(void)
{
    sigset_t wanted;

    sigemptyset(&wanted);
    sigaddset(&wanted, SIGCHLD);
    sigaddset(&wanted, SIGTERM);
    sigaddset(&wanted, SIGINT);
    sigprocmask(SIG_SETMASK, &wanted, NULL);
    signal(SIGCHLD, SIG_DFL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    return signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void
free_link(void *link)
{
    sl_link_free(link);
}

static void
free_process(void *process)
{
    sl_process_free(process);
}

static bool
open_agent(SlAgent *agent, const char *container, GError **error)
{
    g_autofree char *folder = g_get_current_dir();
    int signals = open_signals();

    if (signals < 0)
        return sl_fail_errno(error, errno, "opening a signalfd");
    if (!agent->token || strlen(agent->token) < 16)
        return sl_fail(error, SL_ERROR_INVALID, "%s holds no token", SL_AGENT_TOKEN_VARIABLE);
    if (!is_listening(SL_AGENT_LISTEN_FD))
        return sl_fail(error, SL_ERROR_INVALID, "descriptor %d is no listening socket", SL_AGENT_LISTEN_FD);
    fcntl(SL_AGENT_LISTEN_FD, F_SETFD, FD_CLOEXEC);
    fcntl(SL_AGENT_LISTEN_FD, F_SETFL, fcntl(SL_AGENT_LISTEN_FD, F_GETFL) | O_NONBLOCK);

    agent->container = container ? g_strdup(container) : g_path_get_basename(folder);
    agent->poller = sl_poller_new();
    agent->root_fd = agent->table.fd = -1;
    agent->links = g_ptr_array_new_with_free_func(free_link);
    agent->execs = g_ptr_array_new_with_free_func(free_process);
    sl_source_begin(&agent->listener, SL_AGENT_LISTEN_FD, on_listener, agent);
    sl_source_begin(&agent->signals, signals, on_signal, agent);
    sl_source_wait(agent->poller, &agent->listener, EPOLLIN);
    sl_source_wait(agent->poller, &agent->signals, EPOLLIN);
    sl_agent_link_lost(agent); /* there is none yet */
    return true;
}

static void
close_agent(SlAgent *agent)
{
    sl_agent_clear_run(agent);
    g_ptr_array_unref(agent->links);
    g_ptr_array_unref(agent->execs);
    sl_deadline_clear(agent->poller, &agent->lonely);
    sl_source_end(agent->poller, &agent->listener);
    sl_source_end(agent->poller, &agent->signals);
    sl_poller_free(agent->poller);
    g_free(agent->container);
    g_free(agent->token);
}

int
main(int argc, char **argv)
{
    g_autoptr(GError) error = NULL;
    SlAgent agent = { 0 };

    prctl(PR_SET_DUMPABLE, 0);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    close_range(SL_AGENT_LISTEN_FD + 1, ~0U, 0); /* what a careless parent left open */
    sl_log_setup("sockerless-agent", SL_LOG_INFO, false);
    sl_json_setup();

    agent.token = take_token();
    if (!open_agent(&agent, argc > 1 ? argv[1] : NULL, &error)) {
        sl_error("agent cannot start error=\"%s\"", error->message);
        return 1;
    }
    while (!agent.is_done) {
        sl_poller_turn(agent.poller);
        sl_link_sweep(&agent);
    }
    close_agent(&agent);
    return 0;
}
