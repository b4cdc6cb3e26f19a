/* The container's process table (sandbox/sandbox.h) as its supervisor keeps it, and the end of everything in
 * it. */
#pragma once

#include "common/error.h"
#include "sandbox/sandbox.h"

#include <sys/types.h>

typedef struct SlTable {
    int fd; /* of the memfd; close-on-exec */
    SlSandboxTable *shared;
} SlTable;

/* Errors: SL_ERROR_SYSTEM. */
bool sl_table_make(SlTable *table, GError **error);
void sl_table_clear(SlTable *table);

/* The process was reaped: its entry is free again. */
void sl_table_free_entry(SlTable *table, pid_t host_pid);
/* Copies the entry at index when a process is there and its command is known. Every number in it is the
 * guest's word. */
bool sl_table_read(const SlTable *table, unsigned index, SlSandboxProcess *ret_process);

/* Forbids forks, and kills everything in the table and every child of ours. Call it again while children are
 * left: one that was being born meanwhile is found then. */
void sl_table_kill_all(SlTable *table);
