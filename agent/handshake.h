/* The daemon's opening handshake as the agent, an HTTP server for exactly one request, reads it. Pure. */
#pragma once

#include "common/error.h"

#include <stddef.h>

enum { SL_HANDSHAKE_MAX_HEAD = 8192 };

/* Length of the head with its empty line, 0 while it is not whole. */
size_t sl_handshake_head_length(const char *data, size_t n);

/*
 * Checks the head of n bytes: the path, the upgrade and the token. ret_key: Sec-WebSocket-Key, caller frees.
 * Errors: SL_ERROR_INVALID for what is no WebSocket handshake, SL_ERROR_NOT_FOUND another path,
 * SL_ERROR_UNAUTHORIZED.
 */
bool sl_handshake_check(const char *head, size_t n, const char *token, char **ret_key, GError **error);
