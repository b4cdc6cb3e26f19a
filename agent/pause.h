/* Stops every process of the container, and lets it go on. */
#pragma once

#include "common/error.h"

#include <sys/types.h>

/* The processes that a pause found stopped already, by their own doing: they stay so. */
typedef struct SlPause {
    bool is_on;
    GArray *stopped; /* of pid_t */
} SlPause;

/* When it returns no descendant of ours runs, so none can have a child that runs. One that is paused already is success.
 * Errors: SL_ERROR_SYSTEM; everything runs on then. */
bool sl_pause_begin(SlPause *pause, GError **error);
/* Everything runs on that ran before. */
void sl_pause_end(SlPause *pause);
/* Forgets a pause whose processes are gone. */
void sl_pause_clear(SlPause *pause);
