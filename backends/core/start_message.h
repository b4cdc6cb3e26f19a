/* What containers and execs tell the agent about the process to run. */
#pragma once

#include "backends/core/container.h"

/* `start`, without what the driver adds. */
json_t *sl_start_message(SlContainer *container);
/* `exec`, without channel and exec_id. */
json_t *sl_exec_message(SlContainer *container, const DkExecCreate *config);
/* A list of strings; NULL gives []. */
json_t *sl_json_strings(char *const *strings);
