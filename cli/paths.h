/* Where things are by default: under /run and /var/lib for root, else where the user's session keeps them. */
#pragma once

#include "common/error.h"

/* Caller frees all. */
char *sl_path_data(void);
/* For sockets; below data where the session has no XDG_RUNTIME_DIR. */
char *sl_path_runtime(const char *data);
/* The address of a daemon that was started without --addr. */
char *sl_path_default_address(const char *data);
/* The program of that name beside this one, or in ../libexec/sockerless. Errors: SL_ERROR_NOT_FOUND naming
 * both places. */
char *sl_path_program(const char *name, GError **error);
