#include "sandbox/exec.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandbox/abi.h"
#include "sandbox/calls.h"
#include "sandbox/engine.h"
#include "sandbox/guest/host_calls.h"
#include "sandbox/net.h"
#include "sandbox/paths.h"
#include "sandbox/process.h"
#include "sandbox/signals.h"

enum {
    MAX_INTERPRETERS = 4,
    MAX_ARGUMENTS = 65536, /* strings in argv and envp each */
    MAX_ARGUMENT_BYTES = 2 << 20,
    HEAD_SIZE = 256,
    AUXV_PAGESZ = 6,
};

static const char default_path[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/* Where distributions put busybox' and coreutils' tools. */
static const char *const applet_folders[] = { "/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/local/bin" };

static const char *const applet_paths[] = {
#include "guest_applets.h"
};

/*
 * Applets that must not stand in for an image's program of that name: what starts a system or changes who one
 * is means more than the applet can do here, and a package manager's data would be ruined by another program.
 */
static const char *const not_applets[] = { "init",  "linuxrc", "login",    "su",       "sulogin",
                                           "getty", "halt",    "reboot",   "poweroff", "telinit",
                                           "rpm",   "dpkg",    "dpkg-deb", "vlock" };

typedef struct Program {
    char path[PATH_MAX];
    char **argv, **envp;
} Program;

static Program program;

static bool
fail(SlExecFailure *failure, int error, int exit_status, const char *format, ...)
{
    va_list arguments;

    failure->error = error;
    failure->exit_status = exit_status;
    va_start(arguments, format);
    vsnprintf(failure->sentence, sizeof failure->sentence, format, arguments);
    va_end(arguments);
    return false;
}

static bool
fail_open(SlExecFailure *failure, const char *name, int error)
{
    if (error == ENOENT || error == ENOTDIR)
        return fail(failure, error, 127, "exec: \"%s\": stat %s: no such file or directory", name, name);
    if (error == EACCES)
        return fail(failure, error, 126, "exec: \"%s\": permission denied", name);
    return fail(failure, error, 126, "exec: \"%s\": %s", name, strerror(error));
}

/* ---- which applet ---- */

static bool
is_among(const char *name, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(names[i], name) == 0)
            return true;
    }
    return false;
}

static const char *
base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

static bool
is_applet(const char *name)
{
    if (is_among(name, not_applets, sizeof not_applets / sizeof *not_applets))
        return false;
    if (strcmp(name, "busybox") == 0)
        return true;
    for (size_t i = 0; i < sizeof applet_paths / sizeof *applet_paths; i++) {
        if (strcmp(base_name(applet_paths[i]), name) == 0)
            return true;
    }
    return false;
}

/* path is as it was called: a symlink to busybox counts by its own name. */
static bool
is_applet_path(const char *path)
{
    char folder[PATH_MAX], canonical[PATH_MAX];
    const char *name = base_name(path);
    size_t length = (size_t)(name - path);

    if (!is_applet(name))
        return false;
    memcpy(folder, path, length);
    folder[length > 1 ? length - 1 : length] = '\0';
    if (sl_path_canonical(folder, true, canonical))
        return false;
    return is_among(canonical, applet_folders, sizeof applet_folders / sizeof *applet_folders);
}

void
sl_exec_print_applets(void)
{
    puts("/bin/busybox");
    for (size_t i = 0; i < sizeof applet_paths / sizeof *applet_paths; i++) {
        if (is_applet(base_name(applet_paths[i])))
            puts(applet_paths[i]);
    }
}

/* ---- what a path holds ---- */

/* The first bytes of the program at absolute, and how many; -errno. */
static ssize_t
read_head(const char *absolute, char head[HEAD_SIZE])
{
    struct stat status;
    ssize_t length = 0;
    int fd = sl_path_open_program(absolute);

    if (fd < 0)
        return fd;
    if (fstat(fd, &status) < 0)
        length = -errno;
    else if (!S_ISREG(status.st_mode))
        length = -EACCES;
    else
        length = sl_result(syscall(SYS_faccessat2, fd, "", X_OK, AT_EMPTY_PATH | AT_EACCESS));
    if (length == 0)
        length = sl_result(read(fd, head, HEAD_SIZE - 1));
    close(fd);
    head[length > 0 ? length : 0] = '\0';
    return length;
}

/* "#!interpreter argument": both in head. argument may be NULL. */
static bool
parse_script(char *head, char **ret_interpreter, char **ret_argument)
{
    char *line = head + 2, *end;

    line[strcspn(line, "\n")] = '\0';
    line += strspn(line, " \t");
    for (end = line + strlen(line); end > line && isspace((unsigned char)end[-1]);)
        *--end = '\0';
    end = line + strcspn(line, " \t");
    *ret_interpreter = line;
    *ret_argument = NULL;
    if (*end) {
        *end++ = '\0';
        *ret_argument = end + strspn(end, " \t");
    }
    return *line;
}

/* argv of a script becomes interpreter, argument, path, the rest. Takes argv. */
static char **
argv_for_script(char **argv, const char *interpreter, const char *argument, const char *path)
{
    size_t n = 0, k = 0;
    char **wider;

    while (argv[n])
        n++;
    wider = calloc(n + 4, sizeof *wider);
    if (!wider)
        abort();
    wider[k++] = strdup(interpreter);
    if (argument)
        wider[k++] = strdup(argument);
    wider[k++] = strdup(path);
    for (size_t i = 1; i < n; i++)
        wider[k++] = argv[i];
    free(argv[0]);
    free(argv);
    return wider;
}

static void
strings_free(char **strings)
{
    for (char **at = strings; at && *at; at++)
        free(*at);
    free(strings);
}

/* busybox takes the applet from argv[0]; a program called by another name than its path's gets the path's. */
static void
name_applet(char **argv, const char *path)
{
    const char *called = base_name(argv[0] + (argv[0][0] == '-'));
    const char *applet = base_name(path);

    if (strcmp(called, applet) == 0 || (strcmp(applet, "busybox") == 0 && is_applet(called)))
        return;
    free(argv[0]);
    argv[0] = strdup(applet);
}

/* A program by its path, with what was read of it. */
typedef struct Candidate {
    char path[PATH_MAX], absolute[PATH_MAX];
    char head[HEAD_SIZE];
    ssize_t length; /* of head; -errno */
} Candidate;

/* 0, or the error that path has. */
static int
look_at(Candidate *candidate, const char *path)
{
    int result = 0;

    if (path != candidate->path && (size_t)snprintf(candidate->path, PATH_MAX, "%s", path) >= PATH_MAX)
        return ENAMETOOLONG;
    if (strcmp(path, "/proc/self/exe") == 0)
        memcpy(candidate->absolute, program.path, PATH_MAX);
    else
        result = sl_path_absolute(AT_FDCWD, path, candidate->absolute);
    if (!result)
        candidate->length = read_head(candidate->absolute, candidate->head);
    return result ? -result : candidate->length < 0 ? (int)-candidate->length : 0;
}

static bool
check_native(const Candidate *candidate, char **argv, SlExecFailure *failure)
{
    if (candidate->length >= 4 && memcmp(candidate->head, "\177ELF", 4) == 0) {
        if (!is_applet_path(candidate->absolute))
            return fail(failure, EACCES, 126, "%s: native programs need --runtime native or another backend",
                        candidate->path);
        name_applet(argv, candidate->absolute);
        return true;
    }
    if (candidate->length >= 4 && memcmp(candidate->head, "\0asm", 4) == 0)
        return fail(failure, EACCES, 126, "%s: WebAssembly programs (WASI) are not supported by this build",
                    candidate->path);
    return fail(failure, ENOEXEC, 126, "exec: \"%s\": exec format error", candidate->path);
}

/* Follows scripts to the program that runs; candidate was looked at. *argv may be replaced. */
static bool
resolve(Candidate *candidate, char ***argv, SlExecFailure *failure)
{
    for (int depth = 0; depth <= MAX_INTERPRETERS; depth++) {
        char interpreter[HEAD_SIZE], *found, *argument;
        int error;

        if (candidate->length < 2 || candidate->head[0] != '#' || candidate->head[1] != '!')
            return check_native(candidate, *argv, failure);
        if (!parse_script(candidate->head, &found, &argument))
            return fail(failure, ENOEXEC, 126, "exec: \"%s\": exec format error", candidate->path);
        *argv = argv_for_script(*argv, found, argument, candidate->path);
        snprintf(interpreter, sizeof interpreter, "%s", found);
        error = look_at(candidate, interpreter);
        if (error)
            return fail_open(failure, interpreter, error);
    }
    return fail_open(failure, candidate->path, ELOOP);
}

/* ---- PATH ---- */

static const char *
find_variable(char *const *envp, const char *name)
{
    size_t length = strlen(name);

    for (; *envp; envp++) {
        if (strncmp(*envp, name, length) == 0 && (*envp)[length] == '=')
            return *envp + length + 1;
    }
    return NULL;
}

static bool
search_path(const char *name, char *const *envp, Candidate *ret_found, SlExecFailure *failure)
{
    const char *folders = find_variable(envp, "PATH");
    bool denied = false;

    if (!*name)
        return fail(failure, ENOENT, 127, "exec: \"\": executable file not found in $PATH");
    if (!folders)
        folders = default_path;
    for (;;) {
        size_t length = strcspn(folders, ":");

        if (snprintf(ret_found->path, PATH_MAX, "%.*s%s%s", (int)length, folders, length ? "/" : "", name) <
            PATH_MAX) {
            int error = look_at(ret_found, ret_found->path);

            if (!error)
                return true;
            denied = denied || error == EACCES;
        }
        if (!folders[length])
            break;
        folders += length + 1;
    }
    if (denied)
        return fail_open(failure, name, EACCES);
    return fail(failure, ENOENT, 127, "exec: \"%s\": executable file not found in $PATH", name);
}

static bool
find_program(const char *path, char *const *argv, char *const *envp, Candidate *ret_found,
             SlExecFailure *failure)
{
    int error;

    if (!path && !strchr(argv[0], '/'))
        return search_path(argv[0], envp, ret_found, failure);
    path = path ? path : argv[0];
    error = look_at(ret_found, path);
    return !error || fail_open(failure, path, error);
}

bool
sl_exec_load(const char *path, char **argv, char **envp, SlExecFailure *ret_failure)
{
    Candidate found;

    if (!find_program(path, argv, envp, &found, ret_failure) || !resolve(&found, &argv, ret_failure)) {
        strings_free(argv);
        strings_free(envp);
        return false;
    }
    strings_free(program.argv);
    strings_free(program.envp);
    program.argv = argv;
    program.envp = envp;
    memcpy(program.path, found.absolute, strlen(found.absolute) + 1);
    sl_process_set_command(argv);
    return true;
}

const char *
sl_exec_path(void)
{
    return program.path;
}

/* ---- to and from the guest ---- */

typedef struct Writer {
    uint8_t *base;
    uint32_t at;      /* guest address of base */
    uint32_t words;   /* next word, in bytes from base */
    uint32_t strings; /* next string */
} Writer;

static void
put_word(Writer *to, uint32_t word)
{
    memcpy(to->base + to->words, &word, sizeof word);
    to->words += sizeof word;
}

static void
put_strings(Writer *to, char *const *strings)
{
    for (; *strings; strings++) {
        size_t size = strlen(*strings) + 1;

        put_word(to, to->at + to->strings);
        memcpy(to->base + to->strings, *strings, size);
        to->strings += (uint32_t)size;
    }
    put_word(to, 0);
}

static uint32_t
count_strings(char *const *strings, uint32_t *size)
{
    uint32_t n = 0;

    for (; strings[n]; n++)
        *size += (uint32_t)strlen(strings[n]) + 1;
    return n;
}

int32_t
sl_exec_arguments(uint32_t at, uint32_t size)
{
    uint32_t text = 0;
    uint32_t argc = count_strings(program.argv, &text);
    uint32_t envc = count_strings(program.envp, &text);
    uint32_t words = 4 * (1 + argc + 1 + envc + 1 + 4);
    Writer to = { .at = at, .strings = words };

    if (!at)
        return (int32_t)(words + text);
    to.base = sl_guest_pointer(at, words + text);
    if (!to.base || size < words + text)
        return -EFAULT;
    put_word(&to, argc);
    put_strings(&to, program.argv);
    put_strings(&to, program.envp);
    put_word(&to, AUXV_PAGESZ);
    put_word(&to, 4096);
    put_word(&to, 0);
    put_word(&to, 0);
    return 0;
}

/* A copy of the guest's array of strings. */
static int32_t
strings_from_guest(uint32_t at, char ***ret_strings)
{
    size_t n = 0, bytes = 0;
    char **strings = calloc(1, sizeof *strings), **wider;

    while (at && strings) {
        const uint32_t *address = sl_guest_pointer(at + 4 * (uint32_t)n, 4);
        const char *string;

        if (address && !*address)
            break;
        string = address ? sl_guest_string(*address) : NULL;
        bytes += string ? strlen(string) + 1 : 0;
        if (!string || n == MAX_ARGUMENTS || bytes > MAX_ARGUMENT_BYTES) {
            strings_free(strings);
            return string ? -E2BIG : -EFAULT;
        }
        wider = n & (n + 1) ? strings : realloc(strings, (2 * n + 2) * sizeof *strings);
        if (!wider)
            break;
        strings = wider;
        strings[n++] = strdup(string);
        strings[n] = NULL;
    }
    *ret_strings = strings;
    return strings ? 0 : -ENOMEM;
}

static void
close_on_exec(void)
{
    for (int fd = 0; fd < SL_GUEST_FDS; fd++) {
        int flags = fcntl(fd, F_GETFD);

        if (flags >= 0 && flags & FD_CLOEXEC)
            sl_net_close((uint32_t)fd);
    }
}

int32_t
sl_call_execve(const uint32_t *arg)
{
    const char *path = sl_guest_string(arg[0]);
    char **argv, **envp, *copy;
    SlExecFailure failure;
    int32_t result;
    bool loaded;

    if (!path)
        return -EFAULT;
    if (!*path)
        return -ENOENT;
    if (sl_signals_pending())
        return SL_RESTART; /* its handler would be gone afterwards */
    result = strings_from_guest(arg[1], &argv);
    if (result)
        return result;
    result = strings_from_guest(arg[2], &envp);
    if (result) {
        strings_free(argv);
        return result;
    }
    if (!argv[0]) {
        free(argv);
        argv = calloc(2, sizeof *argv);
        if (!argv)
            return -ENOMEM;
        argv[0] = strdup(path);
    }
    copy = strdup(path);
    loaded = sl_exec_load(copy, argv, envp, &failure);
    free(copy);
    if (!loaded) {
        if (strncmp(failure.sentence, "exec: ", 6) != 0)
            dprintf(STDERR_FILENO, "%s\n", failure.sentence); /* what an errno cannot say */
        return -failure.error;
    }
    close_on_exec();
    sl_signals_hold();
    sl_signals_exec();
    sl_engine_exec();
}
