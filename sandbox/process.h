/* Processes of the guest: the container's table, and what a guest sees of it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "sandbox/sandbox.h"

/* fd: the supervisor's table, or -1 for one of our own. False: not a table of ours. */
bool sl_table_open(int fd);

/* Enters this process as one that the supervisor started. False: the table is full. */
bool sl_process_enter(void);

/* This process' entry. */
SlSandboxProcess *sl_process_self(void);

/* The first process of the container has no default actions: Linux protects a pid 1 so. */
static inline bool
sl_process_is_first(void)
{
    return sl_process_self()->pid == 1;
}

/* The entry of a guest pid or host pid, or NULL. A process outside the container has none. */
SlSandboxProcess *sl_table_find(int32_t pid);
SlSandboxProcess *sl_table_find_host(pid_t host_pid);

/* Steps through the table: i starts at 0; NULL at the end. */
SlSandboxProcess *sl_table_next(int *i);

/* A process group's number in the kernel's terms and back; 0 when it has no member in the container. */
pid_t sl_group_to_host(int32_t group);
int32_t sl_group_from_host(pid_t host_group);

/* Guest pid of the parent as the guest may see it. */
int32_t sl_process_parent(const SlSandboxProcess *process);

/* What ps shows: argv. */
void sl_process_set_command(char *const *argv);

/* Reaps the children of a guest that ignores SIGCHLD. */
void sl_process_reap_ignored(void);

/* The most processes --rlimit nproc allows; the table is the other bound. */
void sl_process_set_limit(uint64_t limit);
