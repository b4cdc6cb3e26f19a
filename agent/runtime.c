#include "agent/runtime.h"

#include "common/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

/* Numbers in the child. Our own ends are kept above them, so that no dup2 hits a descriptor that is still to
 * be copied. */
enum { CHILD_TABLE = 3, CHILD_STATUS = 4, FIRST_FREE = 10 };

typedef struct Ends {
    int status[2];         /* read, write */
    int ours[3], child[3]; /* by descriptor of the child; ours -1: not wanted */
    int table;
} Ends;

static void
ends_clear(Ends *ends)
{
    for (unsigned i = 0; i < 2; i++)
        sl_fd_clear(&ends->status[i]);
    for (unsigned i = 0; i < 3; i++) {
        sl_fd_clear(&ends->ours[i]);
        sl_fd_clear(&ends->child[i]);
    }
    sl_fd_clear(&ends->table);
}

/* Moves a descriptor out of the child's numbers. */
static bool
lift(int *fd, GError **error)
{
    int lifted = fcntl(*fd, F_DUPFD_CLOEXEC, FIRST_FREE);

    if (lifted < 0)
        return sl_fail_errno(error, errno, "copying a descriptor");
    sl_fd_clear(fd);
    *fd = lifted;
    return true;
}

static void
set_non_blocking(int fd)
{
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

static bool
make_pipe(int *read_end, int *write_end, GError **error)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) < 0)
        return sl_fail_errno(error, errno, "making a pipe");
    *read_end = ends[0];
    *write_end = ends[1];
    return true;
}

static bool
open_null(int *fd, GError **error)
{
    *fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (*fd < 0)
        return sl_fail_errno(error, errno, "opening /dev/null");
    return true;
}

static bool
make_pipes(const SlRequest *command, Ends *ends, GError **error)
{
    const bool is_wanted[3] = { command->has_stdin, command->has_stdout, command->has_stderr };

    for (unsigned i = 0; i < 3; i++) {
        bool ok;

        if (!is_wanted[i])
            ok = open_null(&ends->child[i], error);
        else if (i == 0)
            ok = make_pipe(&ends->child[i], &ends->ours[i], error);
        else
            ok = make_pipe(&ends->ours[i], &ends->child[i], error);
        if (!ok)
            return false;
    }
    return true;
}

bool
sl_terminal_resize(int master_fd, int rows, int cols, GError **error)
{
    struct winsize size = { .ws_row = (unsigned short)rows, .ws_col = (unsigned short)cols };

    if (ioctl(master_fd, TIOCSWINSZ, &size) < 0)
        return sl_fail_errno(error, errno, "resizing the terminal");
    return true;
}

/* The slave is opened through its master: no /dev/pts of anybody's is needed. */
static bool
make_terminal(const SlRequest *command, Ends *ends, GError **error)
{
    int unlock = 0;

    ends->ours[1] = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (ends->ours[1] < 0 || ioctl(ends->ours[1], TIOCSPTLCK, &unlock) < 0)
        return sl_fail_errno(error, errno, "opening a terminal");
    ends->child[0] = ioctl(ends->ours[1], TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    ends->ours[0] = fcntl(ends->ours[1], F_DUPFD_CLOEXEC, FIRST_FREE);
    if (ends->child[0] < 0 || ends->ours[0] < 0)
        return sl_fail_errno(error, errno, "opening a terminal");
    for (unsigned i = 1; i < 3; i++)
        if ((ends->child[i] = fcntl(ends->child[0], F_DUPFD_CLOEXEC, FIRST_FREE)) < 0)
            return sl_fail_errno(error, errno, "opening a terminal");
    return command->rows == 0 || command->cols == 0 ||
           sl_terminal_resize(ends->ours[1], command->rows, command->cols, error);
}

static bool
make_ends(const SlSpawnSpec *spec, Ends *ends, GError **error)
{
    if (!make_pipe(&ends->status[0], &ends->status[1], error))
        return false;
    if (!(spec->command->has_tty ? make_terminal : make_pipes)(spec->command, ends, error))
        return false;
    ends->table = fcntl(spec->table_fd, F_DUPFD_CLOEXEC, FIRST_FREE);
    if (ends->table < 0)
        return sl_fail_errno(error, errno, "copying a descriptor");
    for (unsigned i = 0; i < 3; i++) {
        if (!lift(&ends->child[i], error))
            return false;
        if (ends->ours[i] >= 0)
            set_non_blocking(ends->ours[i]);
    }
    set_non_blocking(ends->status[0]);
    return lift(&ends->status[1], error);
}

static char *
user_option(const SlUser *user)
{
    GString *text = g_string_new(NULL);

    g_string_append_printf(text, "%u:%u", user->uid, user->gid);
    for (unsigned i = 0; i < user->n_groups; i++)
        g_string_append_printf(text, ",%u", user->groups[i]);
    return g_string_free(text, FALSE);
}

static void
add(GPtrArray *argv, const char *option, const char *value)
{
    g_ptr_array_add(argv, g_strdup(option));
    if (value)
        g_ptr_array_add(argv, g_strdup(value));
}

static char **
make_argv(const SlSpawnSpec *spec)
{
    GPtrArray *argv = g_ptr_array_new();
    g_autofree char *user = user_option(spec->user);
    const SlRequest *command = spec->command;

    for (char **part = spec->start->runtime; *part; part++)
        add(argv, *part, NULL);
    add(argv, "--root", ".");
    add(argv, "--table", G_STRINGIFY(3));
    add(argv, "--status", G_STRINGIFY(4));
    add(argv, "--user", user);
    if (spec->start->hostname)
        add(argv, "--hostname", spec->start->hostname);
    add(argv, "--cwd", command->cwd && command->cwd[0] ? command->cwd : "/");
    if (command->has_tty)
        add(argv, "--tty", NULL);
    for (char **limit = spec->start->rlimits; limit && *limit; limit++)
        add(argv, "--rlimit", *limit);
    add(argv, "--", NULL);
    for (char **arg = command->argv; *arg; arg++)
        add(argv, *arg, NULL);
    g_ptr_array_add(argv, NULL);
    return (char **)g_ptr_array_free(argv, FALSE);
}

/* HOME comes from the root's passwd file when the image or the client gave none, as runc does it. */
static char **
make_env(const SlSpawnSpec *spec)
{
    GPtrArray *env = g_ptr_array_new();
    const char *home = NULL;

    for (char **variable = spec->command->env; variable && *variable; variable++) {
        if (g_str_has_prefix(*variable, "HOME="))
            home = *variable + strlen("HOME=");
        if (strcmp(*variable, "HOME=") != 0)
            g_ptr_array_add(env, g_strdup(*variable));
    }
    if (!home || !home[0])
        g_ptr_array_add(env, g_strconcat("HOME=", spec->user->home, NULL));
    g_ptr_array_add(env, NULL);
    return (char **)g_ptr_array_free(env, FALSE);
}

/* An ignored SIGPIPE would make `yes | head` endless: the process starts with every signal at its default. */
static void
set_attributes(posix_spawnattr_t *attributes)
{
    sigset_t all, none;

    sigfillset(&all);
    sigemptyset(&none);
    posix_spawnattr_init(attributes);
    posix_spawnattr_setsigdefault(attributes, &all);
    posix_spawnattr_setsigmask(attributes, &none);
    posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
}

static int
run(const SlSpawnSpec *spec, const Ends *ends, pid_t *ret_pid)
{
    g_auto(GStrv) argv = make_argv(spec);
    g_auto(GStrv) env = make_env(spec);
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    int errnum;

    posix_spawn_file_actions_init(&actions);
    for (int i = 0; i < 3; i++)
        posix_spawn_file_actions_adddup2(&actions, ends->child[i], i);
    posix_spawn_file_actions_adddup2(&actions, ends->table, CHILD_TABLE);
    posix_spawn_file_actions_adddup2(&actions, ends->status[1], CHILD_STATUS);
    posix_spawn_file_actions_addfchdir_np(&actions, spec->root_fd);
    set_attributes(&attributes);

    errnum = posix_spawn(ret_pid, argv[0], &actions, &attributes, argv, env);

    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return errnum;
}

bool
sl_spawn(const SlSpawnSpec *spec, SlSpawned *ret_spawned, GError **error)
{
    __attribute__((cleanup(ends_clear)))
    Ends ends = { .status = { -1, -1 }, .ours = { -1, -1, -1 }, .child = { -1, -1, -1 }, .table = -1 };
    pid_t pid = -1;
    int errnum;

    if (!make_ends(spec, &ends, error))
        return false;
    errnum = run(spec, &ends, &pid);
    if (errnum != 0)
        return sl_fail_errno(error, errnum, "starting %s", spec->start->runtime[0]);

    *ret_spawned = (SlSpawned){
        .pid = pid,
        .status_fd = sl_fd_steal(&ends.status[0]),
        .input_fd = sl_fd_steal(&ends.ours[0]),
        .output_fds = { sl_fd_steal(&ends.ours[1]), sl_fd_steal(&ends.ours[2]) },
    };
    return true;
}
