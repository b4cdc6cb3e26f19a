/* The container's table, for the files that make and end processes. */
#pragma once

#include "sandbox/sandbox.h"

SlSandboxTable *sl_table(void);

/* An entry with a new pid, being filled: publish it by setting host_pid. NULL: full, or beyond the limit. */
SlSandboxProcess *sl_table_claim(void);

void sl_process_set_self(SlSandboxProcess *process);
