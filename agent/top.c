#include "agent/agent.h"
#include "agent/users.h"
#include "common/fd.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>

/* What the kernel knows of a process: CPU time and terminal. Zero when it is gone. */
static void
read_stat(pid_t pid, int64_t *ret_cpu_ms, unsigned *ret_tty)
{
    char path[32], text[1024];
    const char *fields;
    unsigned long user_ticks, system_ticks;
    int tty;
    sl_autofd int fd = -1;
    ssize_t n;

    *ret_cpu_ms = 0;
    *ret_tty = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (n <= 0)
        return;
    text[n] = '\0';
    fields = strrchr(text, ')'); /* the name before it may hold anything */
    if (!fields || sscanf(fields, ") %*c %*d %*d %*d %d %*d %*u %*u %*u %*u %*u %lu %lu", &tty, &user_ticks,
                          &system_ticks) != 3)
        return;
    *ret_cpu_ms = (int64_t)(user_ticks + system_ticks) * 1000 / sysconf(_SC_CLK_TCK);
    *ret_tty = (unsigned)tty;
}

/* argv with spaces between its arguments, as ps shows it. */
static char *
command_text(const SlSandboxProcess *process)
{
    g_autofree char *raw = g_malloc(process->command_len + 1);
    size_t n = process->command_len;

    memcpy(raw, process->command, n);
    while (n > 0 && raw[n - 1] == '\0')
        n--;
    for (size_t i = 0; i < n; i++)
        if (raw[i] == '\0')
            raw[i] = ' ';
    return g_utf8_make_valid(raw, (gssize)n);
}

static json_t *
process_json(SlAgent *agent, const SlSandboxProcess *process)
{
    g_autofree char *command = command_text(process);
    g_autofree char *name = sl_user_name(agent->root_fd, process->uid);
    g_autofree char *user = g_utf8_make_valid(name, -1);
    g_autofree char *terminal = NULL;
    int64_t cpu_ms;
    unsigned tty;

    read_stat(process->host_pid, &cpu_ms, &tty);
    /* The container knows its terminals as pts/0 and up; the agent makes one, numbered in the host's
     * /dev/pts. */
    terminal = g_strdup(tty != 0 ? "pts/0" : "?");
    return json_pack("{s:i, s:i, s:I, s:s, s:I, s:I, s:s, s:s}", "pid", process->pid, "ppid", process->parent,
                     "uid", (json_int_t)process->uid, "user", user, "started_ms",
                     (json_int_t)process->started_ms, "cpu_ms", (json_int_t)cpu_ms, "tty", terminal,
                     "command", command);
}

json_t *
sl_agent_top(SlAgent *agent)
{
    json_t *list = json_array();
    SlSandboxProcess process;

    for (unsigned i = 0; i < SL_SANDBOX_MAX_PROCESSES; i++)
        if (sl_table_read(&agent->table, i, &process))
            json_array_append_new(list, process_json(agent, &process));
    return json_pack("{s:s, s:o}", "type", "top", "processes", list);
}
