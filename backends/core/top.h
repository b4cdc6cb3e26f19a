/* `docker top`: the agent's process list in ps's columns. Pure. */
#pragma once

#include "common/error.h"

#include <jansson.h>

/*
 * processes: the agent's (agent/protocol.h, `top`), borrowed. ps_args: "-ef" (NULL and "" too), "aux", "-o pid,comm" or "-eo …", several of them. ret_reply:
 * {"Titles": […], "Processes": [[…], …]}.
 *
 * Errors: SL_ERROR_INVALID naming the option or column that is not known; SL_ERROR_SYSTEM for a list that is none.
 */
bool sl_top_format(const json_t *processes, const char *ps_args, json_t **ret_reply, GError **error);
