/* What stands behind the host's own checks, should one of them be wrong. */
#pragma once

#include <stdbool.h>

/*
 * For good: no new privileges, not dumpable, files outside the root and the few devices out of reach
 * (Landlock, where the kernel has it).
 */
void sl_lockdown_files(void);

/* After the user is set: as root only the capabilities that a container's root needs for its own files and
 * users. */
bool sl_lockdown_capabilities(void);

/* Last: only the system calls that the host makes for guests (seccomp). False sets errno. */
bool sl_lockdown_calls(void);
