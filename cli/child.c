#include "cli/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"

enum {
    BACK_OFF_FIRST_MS = 100,
    BACK_OFF_MAX_MS = 10000,
    STEADY_MS = 30000, /* one that ran so long has not failed in a row */
    FIRST_SOCKET = 3,
    PID_CHARS = 24,
};

static const char pid_prefix[] = "LISTEN_PID=";

/* In the child, between fork and exec: no allocation, no locks. */
static void
become(const SlChild *child, char **environ_, char *pid_entry, pid_t parent)
{
    sigset_t none;
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(127); /* serve died before the line above */
    setpgid(0, 0);
    if (null >= 0)
        dup2(null, STDIN_FILENO);
    for (size_t i = 0; i < child->n_sockets; i++)
        if (dup2(child->sockets[i], FIRST_SOCKET + (int)i) < 0)
            _exit(127);
    snprintf(pid_entry, PID_CHARS, "%s%d", pid_prefix, (int)getpid());
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    execve(child->argv[0], child->argv, environ_);
    _exit(127);
}

bool
sl_child_start(SlChild *child, GError **error)
{
    guint n = g_strv_length(child->environ_);
    g_autofree char **environ_ = g_new0(char *, n + 3); /* the strings are child's and ours */
    g_autofree char *count = g_strdup_printf("LISTEN_FDS=%zu", child->n_sockets);
    char pid_entry[PID_CHARS] = "";
    pid_t parent = getpid(), pid;

    for (guint i = 0; i < n; i++)
        environ_[i] = child->environ_[i];
    if (child->n_sockets > 0) {
        environ_[n] = count;
        environ_[n + 1] = pid_entry;
    }
    pid = fork();
    if (pid < 0)
        return sl_fail_errno(error, errno, "starting %s", child->argv[0]);
    if (pid == 0)
        become(child, environ_, pid_entry, parent);
    child->pid = pid;
    child->started_ms = sl_clock_monotonic_ms();
    sl_debug("started role=%s pid=%d program=%s", child->role, (int)pid, child->argv[0]);
    return true;
}

void
sl_child_ended(SlChild *child, int status)
{
    int64_t now_ms = sl_clock_monotonic_ms();
    int64_t wait_ms;

    child->n_failures = now_ms - child->started_ms >= STEADY_MS ? 1 : child->n_failures + 1;
    wait_ms = MIN((int64_t)BACK_OFF_FIRST_MS << MIN(child->n_failures - 1, 16), BACK_OFF_MAX_MS);
    child->restart_ms = now_ms + wait_ms;
    if (WIFSIGNALED(status))
        sl_error("ended role=%s pid=%d signal=%d", child->role, (int)child->pid, WTERMSIG(status));
    else
        sl_error("ended role=%s pid=%d status=%d", child->role, (int)child->pid, WEXITSTATUS(status));
    child->pid = 0;
}

/* Whether it ended within wait_ms. An impatient second ^C is an end of waiting. */
static bool
wait_for(SlChild *child, int wait_ms)
{
    int64_t until_ms = sl_clock_monotonic_ms() + wait_ms, left_ms;
    sigset_t news;

    sigemptyset(&news);
    sigaddset(&news, SIGCHLD);
    sigaddset(&news, SIGINT);
    sigaddset(&news, SIGTERM);
    while (waitpid(child->pid, NULL, WNOHANG) == 0) {
        struct timespec left;
        int received;

        left_ms = until_ms - sl_clock_monotonic_ms();
        if (left_ms <= 0)
            return false;
        left = (struct timespec){ .tv_sec = left_ms / 1000, .tv_nsec = left_ms % 1000 * 1000000 };
        received = sigtimedwait(&news, NULL, &left);
        if (received == SIGINT || received == SIGTERM)
            return false;
    }
    return true;
}

void
sl_child_stop(SlChild *child, int grace_ms)
{
    if (child->pid == 0)
        return;
    kill(child->pid, SIGTERM);
    if (!wait_for(child, grace_ms)) {
        sl_warn("killed, as it did not end role=%s pid=%d", child->role, (int)child->pid);
        kill(child->pid, SIGKILL);
        waitpid(child->pid, NULL, 0);
    }
    child->pid = 0;
}

void
sl_child_clear(SlChild *child)
{
    g_clear_pointer(&child->argv, g_strfreev);
    g_clear_pointer(&child->environ_, g_strfreev);
}
