/* Learns when the daemon answers: asks it for its version, through the frontend from the backend, until it
 * gives one. */
#pragma once

#include "common/error.h"

#include <signal.h>

#define SL_READY_SIGNAL SIGUSR1

typedef struct SlReady SlReady;

/* Sends SL_READY_SIGNAL to this process once address answers. */
SlReady *sl_ready_watch(const char *address, GError **error);
/* Stops asking. */
void sl_ready_free(SlReady *ready);
