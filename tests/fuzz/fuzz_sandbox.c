/*
 * Any system calls that a guest may make, with any arguments, against the sandbox's host: a guest that WebAssembly confines can still pass
 * every number there is. Each input runs in a process of its own (calls change descriptors, limits and users), so libFuzzer searches
 * without coverage; an input is dense: a byte chooses a call, a byte each what kind of number an argument is.
 *
 * The guest's memory is a block of exactly its size, so that the sanitizers see one byte too much. Nothing may appear beside the root.
 */
#include "common/fd.h"
#include "sandbox/abi.h"
#include "sandbox/calls.h"
#include "sandbox/engine.h"
#include "sandbox/limits.h"
#include "sandbox/paths.h"
#include "sandbox/process.h"
#include "sandbox/signals.h"
#include "sandbox/trees.h"
#include "sandbox/users.h"

#include "guest_numbers.h"

#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    MEMORY_BYTES = 64 * 1024,
    N_ARGUMENTS = 6,
    NOBODY = 65534,
    FILE_BYTES = 1 << 20,
    SECONDS = 2,
};

/* ---- the engine that there is none of ---- */

void
sl_engine_start(void)
{
}

void
sl_engine_set_memory_max(uint64_t bytes)
{
}

const char *
sl_engine_run(void)
{
    return "no engine";
}

_Noreturn void
sl_engine_exec(void)
{
    _exit(0);
}

/* ---- one input ---- */

static const uint16_t numbers[] = {
#define NUMBER(name) GUEST_NR_##name,
    SL_CALLS(NUMBER)
#undef NUMBER
};

/* What ends or multiplies the process, or waits for longer than the input is worth. */
static bool
is_left_out(uint32_t number)
{
    static const uint16_t left_out[] = {
        GUEST_NR_clone,         GUEST_NR_exit,         GUEST_NR_exit_group,
        GUEST_NR_rt_sigsuspend, GUEST_NR_nanosleep,    GUEST_NR_clock_nanosleep_time64,
        GUEST_NR_futex,         GUEST_NR_futex_time64, GUEST_NR_sync,
        GUEST_NR_wait4,         GUEST_NR_kill,         GUEST_NR_tkill,
        GUEST_NR_tgkill,
    };

    for (size_t i = 0; i < G_N_ELEMENTS(left_out); i++) {
        if (left_out[i] == number)
            return true;
    }
    return false;
}

typedef struct Input {
    const uint8_t *at, *end;
} Input;

static uint32_t
take(Input *input, unsigned n_bytes)
{
    uint32_t value = 0;

    for (; n_bytes > 0; n_bytes--)
        value = value << 8 | (input->at < input->end ? *input->at++ : 0);
    return value;
}

static uint32_t
take_argument(Input *input)
{
    static const uint32_t edges[] = {
        0,
        1,
        2,
        255,
        256,
        4095,
        4096,
        UINT32_MAX,
        INT32_MAX,
        0x80000000,
        MEMORY_BYTES - 1,
        MEMORY_BYTES,
        MEMORY_BYTES - 8,
        MEMORY_BYTES + 1,
        (uint32_t)-100,
        UINT32_MAX - 7,
    };
    uint32_t kind = take(input, 1);

    switch (kind & 3) {
    case 0:
        return edges[kind >> 2 & 15];
    case 1:
        return kind >> 2; /* descriptors, counts, flags */
    case 2:
        return take(input, 2); /* mostly addresses */
    default:
        return take(input, 4);
    }
}

static void
must(bool is_so, const char *what)
{
    if (!is_so)
        g_error("%s: %s", what, g_strerror(errno));
}

static void
be_a_guest(const char *root)
{
    struct rlimit file_size = { FILE_BYTES, FILE_BYTES };
    static const SlUser user = { .uid = NOBODY, .gid = NOBODY };
    int null = open("/dev/null", O_RDWR);

    for (int fd = 0; fd < 2; fd++) /* 2 stays: the sanitizers speak there */
        dup2(null, fd);
    must(sl_limits_start(), "limits");
    must(sl_table_open(-1) && sl_process_enter(), "process table");
    must(sl_paths_start(root), "root");
    must(geteuid() != 0 || (setgroups(0, NULL) == 0 && setresgid(NOBODY, NOBODY, NOBODY) == 0 &&
                            setresuid(NOBODY, NOBODY, NOBODY) == 0),
         "user");
    must(sl_users_start(&user), "guest's user");
    must(sl_path_set_cwd("/") == 0, "folder");
    setrlimit(RLIMIT_FSIZE, &file_size);
    sl_signals_start();
    signal(SIGXFSZ, SIG_IGN);
    signal(SIGALRM, SIG_DFL);
    sl_dev_start();
    alarm(SECONDS);
}

static void
run(const uint8_t *data, size_t size)
{
    Input input = { data, data + size };

    sl_guest_memory = (SlGuestMemory){ .data = g_malloc(MEMORY_BYTES), .size = MEMORY_BYTES };
    for (size_t i = 0; i < MEMORY_BYTES;
         i++) /* the input again and again: paths, structs and lengths at any address */
        sl_guest_memory.data[i] = size > 0 ? data[i % size] : 0;
    while (input.at < input.end) {
        uint32_t number = numbers[take(&input, 1) % G_N_ELEMENTS(numbers)];
        uint32_t arguments[N_ARGUMENTS];

        for (unsigned i = 0; i < N_ARGUMENTS; i++)
            arguments[i] = take_argument(&input);
        if (!is_left_out(number))
            sl_call(number, arguments);
    }
}

static char *
make_root(const char *folder)
{
    g_autofree char *bin = g_build_filename(folder, "root", "bin", NULL);
    g_autofree char *link = g_build_filename(folder, "root", "out", NULL);

    g_assert_true(sl_folder_make(bin, 0777, NULL));
    g_assert_cmpint(symlink("../../../../..", link), ==, 0);
    return g_build_filename(folder, "root", NULL);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree char *folder = g_dir_make_tmp("sl-fuzz-XXXXXX", NULL);
    g_autofree char *root = make_root(folder);
    g_autoptr(GDir) beside = NULL;
    int status;
    pid_t child;

    chmod(folder, 0777);
    chmod(root, 0777);
    child = fork();
    if (child == 0) {
        be_a_guest(root);
        run(data, size);
        _exit(0);
    }
    g_assert_cmpint(waitpid(child, &status, 0), ==, child);
    g_assert_true((WIFEXITED(status) && WEXITSTATUS(status) == 0) ||
                  (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM));

    beside = g_dir_open(folder, 0, NULL);
    g_assert_cmpstr(g_dir_read_name(beside), ==, "root");
    g_assert_null(g_dir_read_name(beside));
    g_assert_true(sl_tree_remove(AT_FDCWD, folder, NULL));
    return 0;
}
