/*
 * Which program a path names (DESIGN §6a): resolved in the container's root; a script runs its interpreter;
 * an ELF program where distributions put a busybox or coreutils tool is stood in for by the applet of that
 * name.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Why a program cannot run: error for the guest's execve, and what the user of `docker start` reads. */
typedef struct SlExecFailure {
    int error;       /* errno */
    int exit_status; /* 126 or 127 */
    char sentence[512];
} SlExecFailure;

/*
 * Makes argv and envp the program that the next engine run finds; both are taken over, and must be from
 * malloc. path NULL: argv[0] is looked up in envp's PATH when it holds no slash.
 */
bool sl_exec_load(const char *path, char **argv, char **envp, SlExecFailure *ret_failure);

/* The guest path of the running program. */
const char *sl_exec_path(void);

/* Copies argv, envp and auxv to the guest; with at 0, tells the size it takes. */
int32_t sl_exec_arguments(uint32_t at, uint32_t size);

/* Prints the applets' paths, one a line. */
void sl_exec_print_applets(void);
