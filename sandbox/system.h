/* What the guest reads about the machine. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define SL_GUEST_RELEASE "6.1.0-sockerless"
#define SL_GUEST_VERSION "#1 SMP"
#define SL_GUEST_MACHINE "wasm32"

/* False: too long, or not a host name. */
bool sl_hostname_set(const char *name);
const char *sl_hostname(void);
