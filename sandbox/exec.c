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

    if ((size_t)snprintf(folder, sizeof folder, "%.*s/", (int)(name - path), path) >= sizeof folder)
        return false;
    if (sl_path_canonical(folder, true, canonical))
        return false;
    return is_among(canonical, applet_folders, sizeof applet_folders / sizeof *applet_folders) &&
           is_applet(name);
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
    char canonical[PATH_MAX];
    SlPlace place;
    struct stat status;
    ssize_t length;
    int result = sl_path_canonical(absolute, true, canonical);
    int fd;

    if (result)
        return result;
    fd = sl_path_open(canonical, O_PATH | O_CLOEXEC, 0, &place);
    if (fd < 0)
        return fd == SL_IN_TREE ? -EACCES : fd;
    if (fstat(fd, &status) < 0)
        result = -errno;
    else if (!S_ISREG(status.st_mode))
        result = -EACCES;
    else
        result = sl_result(syscall(SYS_faccessat2, fd, "", X_OK, AT_EMPTY_PATH | AT_EACCESS));
    close(fd);
    if (result)
        return result;

    fd = sl_path_open(canonical, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0, &place);
    if (fd < 0)
        return fd;
    length = read(fd, head, HEAD_SIZE - 1);
    close(fd);
    head[length > 0 ? length : 0] = '\0';
    return length > 0 ? length : 0;
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

/* Follows scripts to the program that runs. *argv may be replaced. */
static bool
resolve(const char *path, char ***argv, char ret_path[PATH_MAX], SlExecFailure *failure)
{
    char current[PATH_MAX], head[HEAD_SIZE], *interpreter, *argument;

    if (snprintf(current, sizeof current, "%s", path) >= (int)sizeof current)
        return fail_open(failure, path, ENAMETOOLONG);
    for (int depth = 0; depth <= MAX_INTERPRETERS; depth++) {
        int result;
        ssize_t length;

        if (strcmp(current, "/proc/self/exe") == 0)
            memcpy(current, program.path, sizeof current);
        result = sl_path_absolute(AT_FDCWD, current, ret_path);
        if (result)
            return fail_open(failure, current, -result);
        length = read_head(ret_path, head);
        if (length < 0)
            return fail_open(failure, current, (int)-length);
        if (length >= 2 && head[0] == '#' && head[1] == '!') {
            if (!parse_script(head, &interpreter, &argument))
                return fail(failure, ENOEXEC, 126, "exec: \"%s\": exec format error", current);
            *argv = argv_for_script(*argv, interpreter, argument, current);
            snprintf(current, sizeof current, "%s", interpreter);
            continue;
        }
        if (length >= 4 && memcmp(head, "\177ELF", 4) == 0) {
            if (!is_applet_path(ret_path))
                return fail(failure, EACCES, 126,
                            "%s: native programs need --runtime native or another backend", current);
            name_applet(*argv, ret_path);
            return true;
        }
        if (length >= 4 && memcmp(head, "\0asm", 4) == 0)
            return fail(failure, EACCES, 126,
                        "%s: WebAssembly programs (WASI) are not supported by this build", current);
        return fail(failure, ENOEXEC, 126, "exec: \"%s\": exec format error", current);
    }
    return fail_open(failure, path, ELOOP);
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
search_path(const char *name, char *const *envp, char ret[PATH_MAX], SlExecFailure *failure)
{
    const char *folders = find_variable(envp, "PATH");
    char absolute[PATH_MAX], head[HEAD_SIZE];
    bool denied = false;

    if (!folders)
        folders = default_path;
    for (;;) {
        size_t length = strcspn(folders, ":");

        if (snprintf(ret, PATH_MAX, "%.*s%s%s", (int)length, folders, length ? "/" : "", name) < PATH_MAX &&
            sl_path_absolute(AT_FDCWD, ret, absolute) == 0) {
            ssize_t found = read_head(absolute, head);

            if (found >= 0)
                return true;
            denied = denied || found == -EACCES;
        }
        if (!folders[length])
            break;
        folders += length + 1;
    }
    if (denied)
        return fail_open(failure, name, EACCES);
    return fail(failure, ENOENT, 127, "exec: \"%s\": executable file not found in $PATH", name);
}

bool
sl_exec_load(const char *path, char **argv, char **envp, SlExecFailure *ret_failure)
{
    char found[PATH_MAX], absolute[PATH_MAX];

    if (!path) {
        path = argv[0];
        if (!strchr(path, '/')) {
            if (!*path || !search_path(path, envp, found, ret_failure))
                return *path
                           ? false
                           : fail(ret_failure, ENOENT, 127, "exec: \"\": executable file not found in $PATH");
            path = found;
        }
    }
    if (!resolve(path, &argv, absolute, ret_failure)) {
        strings_free(argv);
        strings_free(envp);
        return false;
    }
    strings_free(program.argv);
    strings_free(program.envp);
    program.argv = argv;
    program.envp = envp;
    memcpy(program.path, absolute, sizeof absolute);
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
            close(fd);
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
