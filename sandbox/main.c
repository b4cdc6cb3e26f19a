/* sockerless-sandbox: see sandbox.h for the options, the start report and the exit status. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandbox/abi.h"
#include "sandbox/engine.h"
#include "sandbox/exec.h"
#include "sandbox/limits.h"
#include "sandbox/lockdown.h"
#include "sandbox/net.h"
#include "sandbox/paths.h"
#include "sandbox/process.h"
#include "sandbox/sandbox.h"
#include "sandbox/signals.h"
#include "sandbox/system.h"
#include "sandbox/trees.h"
#include "sandbox/users.h"

enum { EXIT_USAGE = 125, EXIT_TRAP = 139, MAX_RLIMITS = 16 };

extern char **environ;

typedef struct Options {
    const char *root, *cwd;
    const char *rlimits[MAX_RLIMITS];
    int n_rlimits;
    int table_fd, status_fd;
    bool has_tty, may_not_leave;
    const char *network, *endpoint;
    SlUser user;
    char **argv;
} Options;

/* What the supervisor reads instead of "started". */
static _Noreturn void fail(const Options *options, int exit_status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static _Noreturn void
fail(const Options *options, int exit_status, const char *format, ...)
{
    char sentence[768];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    if (options->status_fd >= 0)
        dprintf(options->status_fd, "%d %s", exit_status, sentence);
    else
        dprintf(STDERR_FILENO, "sockerless-sandbox: %s\n", sentence);
    _exit(exit_status);
}

/* ---- options ---- */

static int
parse_fd(const char *text)
{
    char *end;
    long fd = strtol(text, &end, 10);

    return *end || end == text || fd < 0 || fd > 1 << 20 ? -1 : (int)fd;
}

static bool
parse_option(Options *options, const char *name, const char *value)
{
    if (strcmp(name, "--root") == 0)
        options->root = value;
    else if (strcmp(name, "--hostname") == 0)
        return sl_hostname_set(value);
    else if (strcmp(name, "--cwd") == 0)
        options->cwd = value;
    else if (strcmp(name, "--network") == 0)
        options->network = value;
    else if (strcmp(name, "--endpoint") == 0)
        options->endpoint = value;
    else if (strcmp(name, "--table") == 0)
        return (options->table_fd = parse_fd(value)) > STDERR_FILENO;
    else if (strcmp(name, "--status") == 0)
        return (options->status_fd = parse_fd(value)) > STDERR_FILENO;
    else if (strcmp(name, "--user") == 0)
        return sl_user_parse(value, &options->user);
    else if (strcmp(name, "--rlimit") == 0 && options->n_rlimits < MAX_RLIMITS)
        options->rlimits[options->n_rlimits++] = value;
    else
        return false;
    return true;
}

static void
parse_options(Options *options, char **argv)
{
    for (argv++; *argv && strcmp(*argv, "--") != 0; argv++) {
        const char *name = *argv;

        if (strcmp(name, "--applets") == 0) {
            sl_exec_print_applets();
            exit(0);
        }
        if (strcmp(name, "--memory-image") == 0) {
            sl_engine_print_memory();
            exit(0);
        }
        if (strcmp(name, "--tty") == 0) {
            options->has_tty = true;
            continue;
        }
        if (strcmp(name, "--no-outside") == 0) {
            options->may_not_leave = true;
            continue;
        }
        if (!argv[1] || !parse_option(options, name, *++argv))
            fail(options, EXIT_USAGE, "bad option %s %s", name, *argv && *argv != name ? *argv : "");
    }
    if (!*argv || !argv[1])
        fail(options, EXIT_USAGE,
             "usage: sockerless-sandbox [OPTION...] -- PROGRAM [ARGUMENT...] | --applets");
    options->argv = argv + 1;
}

/* ---- descriptors ---- */

/* musl 1.2.3 has no function for it. */
static void
close_from_to(int first, int last)
{
    if (first <= last)
        syscall(SYS_close_range, (unsigned)first, (unsigned)last, 0);
}

/* Everything that was inherited goes, but 0, 1, 2 and ours, which move above the guest's. */
static void
keep_descriptors(Options *options)
{
    int *ours[2] = { &options->table_fd, &options->status_fd };
    int low, high;

    for (int i = 0; i < 2; i++) {
        if (*ours[i] < 0)
            continue;
        *ours[i] = fcntl(*ours[i], F_DUPFD_CLOEXEC, SL_GUEST_FDS);
        if (*ours[i] < 0) {
            options->status_fd = i == 1 ? -1 : options->status_fd;
            fail(options, EXIT_USAGE, "descriptor of --%s: %s", i ? "status" : "table", strerror(errno));
        }
    }
    low = options->table_fd < options->status_fd ? options->table_fd : options->status_fd;
    high = options->table_fd < options->status_fd ? options->status_fd : options->table_fd;
    low = low > STDERR_FILENO ? low : STDERR_FILENO;
    high = high > STDERR_FILENO ? high : STDERR_FILENO;
    close_from_to(STDERR_FILENO + 1, low - 1);
    close_from_to(low + 1, high - 1);
    close_from_to(high + 1, INT_MAX);
}

static char **
copy_strings(char *const *from)
{
    size_t n = 0;
    char **to;

    while (from[n])
        n++;
    to = calloc(n + 1, sizeof *to);
    if (!to)
        abort();
    for (size_t i = 0; i < n; i++) {
        to[i] = strdup(from[i]);
        if (!to[i])
            abort();
    }
    return to;
}

/* A session of its own: neither the supervisor's terminal nor its process group are the guest's. */
static void
start_session(const Options *options)
{
    setsid();
    if (options->has_tty && ioctl(STDIN_FILENO, TIOCSCTTY, 0) < 0)
        fail(options, 126, "cannot take the terminal: %s", strerror(errno));
    sl_dev_start();
}

static void
confine(const Options *options)
{
    int result;

    if (!sl_paths_start(options->root))
        fail(options, EXIT_USAGE, "root %s: %s", options->root, strerror(errno));
    if (options->network &&
        !sl_net_start(options->network, options->endpoint ? options->endpoint : "", !options->may_not_leave))
        fail(options, EXIT_USAGE, "network %s: %s", options->network, strerror(errno));
    sl_engine_start();
    sl_lockdown_files();
    if (!sl_users_start(&options->user) || !sl_lockdown_capabilities())
        fail(options, 126, "cannot run as user %u:%u: %s", options->user.uid, options->user.gid,
             strerror(errno));
    sl_users_publish(sl_process_self());
    if (!sl_lockdown_calls())
        fail(options, 126, "cannot filter system calls: %s", strerror(errno));
    result = sl_path_set_cwd(options->cwd);
    if (result)
        fail(options, result == -ENOENT ? 127 : 126, "cannot change to folder %s: %s", options->cwd,
             result == -ENOENT ? "no such file or directory" : strerror(-result));
}

int
main(int argc, char **argv)
{
    Options options = { .root = ".", .cwd = "/", .table_fd = -1, .status_fd = -1 };
    SlExecFailure failure;
    const char *trap;

    parse_options(&options, argv);
    if (!sl_limits_start())
        fail(&options, EXIT_USAGE, "too few descriptors allowed (RLIMIT_NOFILE)");
    keep_descriptors(&options);
    if (!sl_table_open(options.table_fd))
        fail(&options, EXIT_USAGE, "the process table is not one of ours");
    for (int i = 0; i < options.n_rlimits; i++) {
        if (!sl_limits_set(options.rlimits[i]))
            fail(&options, EXIT_USAGE, "bad limit %s", options.rlimits[i]);
    }
    start_session(&options);
    if (!sl_process_enter())
        fail(&options, 126, "the container has too many processes");
    if (sl_process_is_first())
        prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); /* orphans are its to wait for, as Linux has it */
    sl_signals_start();
    confine(&options);
    if (!sl_exec_load(NULL, copy_strings(options.argv), copy_strings(environ), &failure))
        fail(&options, failure.exit_status, "%s", failure.sentence);
    if (options.status_fd >= 0)
        close(options.status_fd);
    sl_signals_hold();
    while (!(trap = sl_engine_run())) {
    }
    dprintf(STDERR_FILENO, "sockerless-sandbox: %s: %s\n", sl_exec_path(), trap);
    _exit(EXIT_TRAP);
}
