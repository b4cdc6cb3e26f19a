/* The container's root filesystem: mounted by the agent where that is asked for, and opened as a folder. */
#pragma once

#include "agent/message.h"

/*
 * Makes the root that spec describes; paths in it are relative to the current folder. An overlay is a
 * detached mount: it has no place in the file tree and goes with its last descriptor. "overlay-userns" moves
 * the agent into a user namespace of its own first, once. Errors: SL_ERROR_INVALID, SL_ERROR_SYSTEM with the
 * step that failed.
 */
bool sl_root_make(const SlRootSpec *spec, int *ret_root_fd, GError **error);

/* openat(2) where neither "..", links nor an absolute path lead out of the root. flags as for open;
 * close-on-exec. -1 and errno. */
int sl_root_open(int root_fd, const char *path, int flags);
/* mkdir -p below the root, mode 0755. Errors: SL_ERROR_INVALID when something else than a folder is in the
 * way. */
bool sl_root_make_folder(int root_fd, const char *path, GError **error);
