/* Resource limits: some are the kernel's, some are ours, all are what the guest reads. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* The guest may have 256 descriptors; false: this process may not have so many and its own. */
bool sl_limits_start(void);

/* "NAME=SOFT:HARD", a number or "unlimited" each. Takes effect at once. */
bool sl_limits_set(const char *text);

int sl_limit_files(void);
