#include "backends/core/top.h"

#include "common/clock.h"
#include "common/json_fields.h"

#include <string.h>
#include <time.h>

typedef struct Process {
    int64_t pid, ppid, uid, started_ms, cpu_ms, now_ms;
    const char *user, *tty, *command; /* borrowed */
} Process;

typedef struct Column {
    const char *name, *title;
    char *(*text)(const Process *process);
} Column;

/* ---- one process's columns; the caller frees the text ---- */

static char *
pid_text(const Process *process)
{
    return g_strdup_printf("%" G_GINT64_FORMAT, process->pid);
}

static char *
ppid_text(const Process *process)
{
    return g_strdup_printf("%" G_GINT64_FORMAT, process->ppid);
}

static char *
uid_text(const Process *process)
{
    return g_strdup_printf("%" G_GINT64_FORMAT, process->uid);
}

static char *
user_text(const Process *process)
{
    return *process->user ? g_strdup(process->user) : uid_text(process);
}

static char *
tty_text(const Process *process)
{
    return g_strdup(*process->tty ? process->tty : "?");
}

static char *
args_text(const Process *process)
{
    return g_strdup(process->command);
}

/* The program's name without folder and arguments; the kernel keeps 15 bytes of it. */
static char *
comm_text(const Process *process)
{
    g_autofree char *program = g_strndup(process->command, strcspn(process->command, " "));
    const char *slash = strrchr(program, '/');

    return g_strdup_printf("%.15s", slash ? slash + 1 : program);
}

static char *
time_text(const Process *process)
{
    int64_t s = process->cpu_ms / 1000;

    return g_strdup_printf("%02d:%02d:%02d", (int)(s / 3600), (int)(s / 60 % 60), (int)(s % 60));
}

/* ps aux writes minutes and seconds. */
static char *
short_time_text(const Process *process)
{
    int64_t s = process->cpu_ms / 1000;

    return g_strdup_printf("%d:%02d", (int)(s / 60), (int)(s % 60));
}

static char *
etime_text(const Process *process)
{
    int64_t s = MAX(0, process->now_ms - process->started_ms) / 1000, days = s / 86400;
    int hours = (int)(s / 3600 % 24), minutes = (int)(s / 60 % 60), seconds = (int)(s % 60);

    if (days > 0)
        return g_strdup_printf("%d-%02d:%02d:%02d", (int)days, hours, minutes, seconds);
    return hours > 0 ? g_strdup_printf("%02d:%02d:%02d", hours, minutes, seconds)
                     : g_strdup_printf("%02d:%02d", minutes, seconds);
}

/* Of the last day by the clock, else the date. */
static char *
stime_text(const Process *process)
{
    time_t started = (time_t)(process->started_ms / 1000);
    bool is_recent = process->now_ms - process->started_ms < INT64_C(86400000);
    char text[32];
    struct tm parts;

    gmtime_r(&started, &parts);
    strftime(text, sizeof text, is_recent ? "%H:%M" : "%b%d", &parts);
    return g_strdup(text);
}

/* CPU time in thousandths of the process's life. */
static int64_t
cpu_share(const Process *process)
{
    int64_t life_ms = process->now_ms - process->started_ms;

    return life_ms > 0 ? CLAMP(process->cpu_ms, 0, INT64_MAX / 1000) * 1000 / life_ms : 0;
}

static char *
c_text(const Process *process)
{
    return g_strdup_printf("%d", (int)MIN(99, cpu_share(process) / 10));
}

static char *
pcpu_text(const Process *process)
{
    int64_t share = MIN(99999, cpu_share(process));

    return g_strdup_printf("%d.%d", (int)(share / 10), (int)(share % 10));
}

static const Column columns[] = {
    { "pid", "PID", pid_text },       { "ppid", "PPID", ppid_text },      { "uid", "UID", uid_text },
    { "euid", "EUID", uid_text },     { "user", "USER", user_text },      { "euser", "EUSER", user_text },
    { "uname", "USER", user_text },   { "tty", "TT", tty_text },          { "tt", "TT", tty_text },
    { "tname", "TTY", tty_text },     { "args", "COMMAND", args_text },   { "command", "COMMAND", args_text },
    { "cmd", "CMD", args_text },      { "comm", "COMMAND", comm_text },   { "ucmd", "CMD", comm_text },
    { "time", "TIME", time_text },    { "cputime", "TIME", time_text },   { "etime", "ELAPSED", etime_text },
    { "stime", "STIME", stime_text }, { "start", "STARTED", stime_text }, { "c", "C", c_text },
    { "pcpu", "%CPU", pcpu_text },    { "%cpu", "%CPU", pcpu_text },
};

static const Column full_columns[] = {
    { "uid", "UID", user_text },   { "pid", "PID", pid_text },       { "ppid", "PPID", ppid_text },
    { "c", "C", c_text },          { "stime", "STIME", stime_text }, { "tty", "TTY", tty_text },
    { "time", "TIME", time_text }, { "cmd", "CMD", args_text },
};

/* Without %MEM, VSZ, RSS and STAT, which the agent does not know. */
static const Column aux_columns[] = {
    { "user", "USER", user_text },    { "pid", "PID", pid_text },       { "pcpu", "%CPU", pcpu_text },
    { "tty", "TTY", tty_text },       { "start", "START", stime_text }, { "time", "TIME", short_time_text },
    { "args", "COMMAND", args_text },
};

/* ---- ps's arguments ---- */

static void
add_columns(GArray *chosen, const Column *set, size_t n)
{
    g_array_append_vals(chosen, set, (guint)n);
}

/* "pid=" and "pid=Title": ps prints titles so; here they stay what they are. */
static bool
add_named(GArray *chosen, const char *text, GError **error)
{
    const char *equals = strchr(text, '=');
    g_autofree char *name = g_strndup(text, equals ? (gsize)(equals - text) : strlen(text));

    for (size_t i = 0; i < G_N_ELEMENTS(columns); i++) {
        if (g_ascii_strcasecmp(columns[i].name, name) == 0) {
            add_columns(chosen, &columns[i], 1);
            return true;
        }
    }
    return sl_fail(error, SL_ERROR_INVALID, "ps_args: unknown column \"%s\"", name);
}

static bool
add_list(GArray *chosen, const char *list, GError **error)
{
    g_auto(GStrv) names = g_strsplit_set(list, ", ", 0);

    for (char **name = names; *name; name++) {
        if (**name && !add_named(chosen, *name, error))
            return false;
    }
    return true;
}

/* Options without a value that choose processes (all are shown anyway) or the full form. */
static bool
is_flags(const char *word)
{
    const char *flags = *word == '-' ? word + 1 : word;

    return *flags && strspn(flags, "eAafxwu") == strlen(flags);
}

static bool
choose_columns(GArray *chosen, const char *ps_args, GError **error)
{
    g_auto(GStrv) words = g_strsplit_set(ps_args, " \t", 0);
    bool is_user_form = false;

    for (char **word = words; *word; word++) {
        const char *o = strchr(*word, 'o');

        if (!**word)
            continue;
        if (strchr("-eAax", **word) && o && strspn(*word, "-eAax") == (size_t)(o - *word)) {
            const char *list = o[1] ? o + 1 : word[1] ? *++word : "";

            if (!*list)
                return sl_fail(error, SL_ERROR_INVALID, "ps_args: option -o needs a list of columns");
            if (!add_list(chosen, list, error))
                return false;
        } else if (is_flags(*word)) {
            is_user_form = is_user_form || strchr(*word, 'u');
        } else {
            return sl_fail(error, SL_ERROR_INVALID, "ps_args: option \"%s\" is not supported", *word);
        }
    }
    if (chosen->len == 0 && is_user_form)
        add_columns(chosen, aux_columns, G_N_ELEMENTS(aux_columns));
    else if (chosen->len == 0)
        add_columns(chosen, full_columns, G_N_ELEMENTS(full_columns));
    return true;
}

static bool
process_read(json_t *json, Process *process, GError **error)
{
    json_int_t pid, ppid, uid, started_ms, cpu_ms;

    if (json_unpack(json, "{s:I, s:I, s:I, s:s, s:I, s:I, s:s, s:s}", "pid", &pid, "ppid", &ppid, "uid", &uid,
                    "user", &process->user, "started_ms", &started_ms, "cpu_ms", &cpu_ms, "tty",
                    &process->tty, "command", &process->command) < 0)
        return sl_fail(error, SL_ERROR_SYSTEM, "the agent's process list is malformed");
    process->pid = pid;
    process->ppid = ppid;
    process->uid = uid;
    process->started_ms = started_ms;
    process->cpu_ms = cpu_ms;
    return true;
}

bool
sl_top_format(const json_t *processes, const char *ps_args, json_t **ret_reply, GError **error)
{
    g_autoptr(GArray) chosen = g_array_new(FALSE, FALSE, sizeof(Column));
    g_autoptr(json_t) titles = json_array();
    g_autoptr(json_t) rows = json_array();
    Process process = { .now_ms = sl_clock_now_ns() / 1000000 };
    size_t number;
    json_t *json;

    if (!choose_columns(chosen, ps_args ? ps_args : "", error))
        return false;
    if (!json_is_array(processes))
        return sl_fail(error, SL_ERROR_SYSTEM, "the agent's process list is malformed");
    for (guint i = 0; i < chosen->len; i++)
        json_array_append_new(titles, json_string(g_array_index(chosen, Column, i).title));
    json_array_foreach(processes, number, json) {
        json_t *row;

        if (!process_read(json, &process, error))
            return false;
        row = json_array();
        json_array_append_new(rows, row);
        for (guint i = 0; i < chosen->len; i++) {
            g_autofree char *text = g_array_index(chosen, Column, i).text(&process);

            json_array_append_new(row, json_string(text));
        }
    }
    *ret_reply = json_pack("{s:O, s:O}", "Titles", titles, "Processes", rows);
    return true;
}
