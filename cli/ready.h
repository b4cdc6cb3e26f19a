/* Learns when the daemon answers: the frontend says so (sd_notify(3), to us), and the backend gives its version. Whoever may
 * ask the frontend, with what certificate, does not matter to it. */
#pragma once

#include "common/error.h"

#include <signal.h>

#define SL_READY_SIGNAL SIGUSR1

typedef struct SlReady SlReady;

SlReady *sl_ready_new(GError **error);
/* NOTIFY_SOCKET for the frontend. Borrowed. */
const char *sl_ready_get_socket(SlReady *ready);
/* Sends SL_READY_SIGNAL to this process once both have. backend: its address. Once. */
bool sl_ready_watch(SlReady *ready, const char *backend, GError **error);
/* Stops waiting. */
void sl_ready_free(SlReady *ready);
