/*
 * By SIGSTOP, as nothing more is given to an ordinary user. A parent is stopped before its children and goes on after them: a shell that waits for its job
 * would otherwise learn that it was stopped and take it for ^Z.
 */
#include "agent/pause.h"

#include "common/fd.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    MAX_ROUNDS = 10000, /* of looking for processes that run; a pause needs two, a fork bomb some more */
    PATH_CHARS = 64,
};

/* The kernel's letter for what it does; 0 when it is gone. */
static char
state_of(pid_t pid)
{
    char path[PATH_CHARS], text[512];
    const char *end;
    sl_autofd int fd = -1;
    ssize_t n;

    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (n <= 0)
        return 0;
    text[n] = '\0';
    end = strrchr(text, ')'); /* the name before it may hold anything */
    return end && end[1] ? end[2] : 0;
}

static bool
is_at_rest(char state)
{
    return state == 0 || strchr("TtZXx", state);
}

static void
add_children_of_thread(pid_t pid, const char *thread, GArray *pids)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/task/%s/children", (int)pid, thread);
    g_autofree char *list = NULL;

    if (!g_file_get_contents(path, &list, NULL, NULL))
        return;
    for (char *at = list, *end;; at = end) {
        pid_t child = (pid_t)strtol(at, &end, 10);

        if (end == at)
            return;
        g_array_append_val(pids, child);
    }
}

static void
add_children(pid_t pid, GArray *pids)
{
    char path[PATH_CHARS];
    DIR *dir;

    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    dir = opendir(path);
    if (!dir)
        return;
    for (struct dirent *entry; (entry = readdir(dir));)
        if (*entry->d_name != '.')
            add_children_of_thread(pid, entry->d_name, pids);
    closedir(dir);
}

/* Parents before their children. What is orphaned meanwhile becomes a child of ours, and is found in the next round. */
static GArray *
descendants(void)
{
    GArray *pids = g_array_new(FALSE, FALSE, sizeof(pid_t));

    add_children(getpid(), pids);
    for (guint i = 0; i < pids->len; i++)
        add_children(g_array_index(pids, pid_t, i), pids);
    return pids;
}

static bool
holds(const GArray *pids, pid_t pid)
{
    for (guint i = 0; i < pids->len; i++)
        if (g_array_index(pids, pid_t, i) == pid)
            return true;
    return false;
}

/* How many ran. The signal is due before a process returns from its system call, and a fork that is in progress is called off by it. */
static unsigned
stop_round(GArray *sent, GArray *stopped)
{
    g_autoptr(GArray) pids = descendants();
    unsigned n_ran = 0;

    for (guint i = 0; i < pids->len; i++) {
        pid_t pid = g_array_index(pids, pid_t, i);
        bool is_new = !holds(sent, pid);
        char state = state_of(pid);

        if (is_at_rest(state)) {
            if (is_new && state == 'T' && !holds(stopped, pid))
                g_array_append_val(stopped, pid);
            continue;
        }
        n_ran++;
        if (is_new && kill(pid, SIGSTOP) == 0)
            g_array_append_val(sent, pid);
    }
    return n_ran;
}

bool
sl_pause_begin(SlPause *pause, GError **error)
{
    g_autoptr(GArray) sent = g_array_new(FALSE, FALSE, sizeof(pid_t));

    if (pause->is_on)
        return true;
    pause->is_on = true;
    pause->stopped = g_array_new(FALSE, FALSE, sizeof(pid_t));
    for (unsigned round = 0; round < MAX_ROUNDS; round++) {
        if (stop_round(sent, pause->stopped) == 0)
            return true;
        sched_yield();
    }
    sl_pause_end(pause);
    return sl_fail(error, SL_ERROR_SYSTEM, "the container's processes could not be stopped");
}

void
sl_pause_end(SlPause *pause)
{
    g_autoptr(GArray) pids = NULL;

    if (!pause->is_on)
        return;
    pids = descendants();
    for (guint i = pids->len; i-- > 0;) {
        pid_t pid = g_array_index(pids, pid_t, i);

        if (!holds(pause->stopped, pid))
            kill(pid, SIGCONT);
    }
    sl_pause_clear(pause);
}

void
sl_pause_clear(SlPause *pause)
{
    pause->is_on = false;
    g_clear_pointer(&pause->stopped, g_array_unref);
}
