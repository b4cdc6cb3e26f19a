/*
 * A runtime for the agent's tests: honours sandbox/sandbox.h, but runs native programs in the machine's own
 * file tree. It can be told to misbehave as the sandbox never should, by a first argument of its own: see
 * faults.
 */
#include "sandbox/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

typedef struct Options {
    const char *cwd, *user, *hostname;
    int table, status;
    bool has_tty, has_rlimits;
} Options;

static int
usage(const char *what)
{
    fprintf(stderr, "test-runtime: %s\n", what);
    return 2;
}

static bool
read_options(char **argv, Options *options, char ***ret_rest)
{
    for (; *argv && strcmp(*argv, "--") != 0; argv++) {
        if (strcmp(*argv, "--tty") == 0)
            options->has_tty = true;
        else if (!argv[1])
            return false;
        else if (strcmp(*argv, "--root") == 0 && strcmp(argv[1], ".") == 0)
            argv++;
        else if (strcmp(*argv, "--table") == 0)
            options->table = (int)strtol(*++argv, NULL, 10);
        else if (strcmp(*argv, "--status") == 0)
            options->status = (int)strtol(*++argv, NULL, 10);
        else if (strcmp(*argv, "--cwd") == 0)
            options->cwd = *++argv;
        else if (strcmp(*argv, "--user") == 0)
            options->user = *++argv;
        else if (strcmp(*argv, "--hostname") == 0)
            options->hostname = *++argv;
        else if (strcmp(*argv, "--rlimit") == 0)
            options->has_rlimits = argv++ != NULL;
        else
            return false;
    }
    *ret_rest = *argv ? argv + 1 : argv;
    return *argv != NULL;
}

/* Takes a table entry as the sandbox does. */
static bool
enter_table(int fd, char **command)
{
    SlSandboxTable *table = mmap(NULL, sizeof *table, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    if (table == MAP_FAILED || table->magic != SL_SANDBOX_TABLE_MAGIC ||
        table->version != SL_SANDBOX_TABLE_VERSION)
        return false;
    for (unsigned i = 0; i < SL_SANDBOX_MAX_PROCESSES; i++) {
        SlSandboxProcess *entry = &table->process[i];
        int32_t expected = 0;
        struct timespec now;

        if (!atomic_compare_exchange_strong(&entry->host_pid, &expected, -1))
            continue;
        clock_gettime(CLOCK_REALTIME, &now);
        entry->pid = atomic_fetch_add(&table->next_pid, 1) + 1;
        entry->started_ms = (int64_t)now.tv_sec * 1000;
        for (; *command && entry->command_len + strlen(*command) < SL_SANDBOX_COMMAND_MAX; command++) {
            memcpy(entry->command + entry->command_len, *command, strlen(*command) + 1);
            entry->command_len += (uint32_t)strlen(*command) + 1;
        }
        atomic_store(&entry->host_pid, getpid());
        return true;
    }
    return false;
}

static int
fail_start(int status, int exit_code, const char *sentence)
{
    dprintf(status, "%d %s", exit_code, sentence);
    return exit_code;
}

/* "never-reports": no start report, and no end; "dies-unreported": killed before it; "lingers": reports an
 * error and stays. */
static _Noreturn void
misbehave(const char *fault, int status)
{
    if (strcmp(fault, "dies-unreported") == 0)
        kill(getpid(), SIGKILL);
    if (strcmp(fault, "lingers") == 0)
        fail_start(status, 127, "no such file or directory");
    for (;;)
        pause();
}

int
main(int argc, char **argv)
{
    Options options = { .table = -1, .status = -1 };
    const char *fault = argc > 1 && argv[1][0] != '-' ? argv[1] : NULL;
    char **command;

    if (!read_options(argv + (fault ? 2 : 1), &options, &command) || !*command || options.table < 0 ||
        options.status < 0 || !options.cwd || !options.user)
        return usage("wrong options");
    if (fault)
        misbehave(fault, options.status);
    if (!enter_table(options.table, command))
        return usage("wrong table");
    if (options.has_tty && ioctl(0, TIOCSCTTY, 0) < 0)
        return usage("no terminal");

    setenv("TEST_USER", options.user, 1);
    setenv("TEST_CWD", options.cwd, 1);
    setenv("TEST_HOSTNAME", options.hostname ? options.hostname : "", 1);
    setenv("TEST_RLIMITS", options.has_rlimits ? "yes" : "no", 1);
    close(options.table);
    fcntl(options.status, F_SETFD, FD_CLOEXEC); /* its end is the report */
    execvp(command[0], command);
    return errno == ENOENT ? fail_start(options.status, 127, "exec: executable file not found in $PATH")
                           : fail_start(options.status, 126, "exec: permission denied");
}
