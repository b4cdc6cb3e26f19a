/*
 * A container's root filesystem on this machine (DESIGN §5): overlayfs as root, overlayfs in a user namespace of the agent's, or a copy of the image's folder.
 */
#pragma once

#include "backends/core/driver.h"

typedef enum MemoryRootKind {
    MEMORY_ROOT_OVERLAY,
    MEMORY_ROOT_OVERLAY_USERNS,
    MEMORY_ROOT_COPY
} MemoryRootKind;

/* Tries them in that order in folder. ret_reason: why not a better one (g_free), NULL for the first. */
MemoryRootKind memory_root_probe(const char *folder, char **ret_reason);
const char *memory_root_kind_name(MemoryRootKind kind);

/* Makes what the agent mounts, once per container, with /etc/hosts, /etc/hostname and /etc/resolv.conf in it. */
bool memory_root_make(MemoryRootKind kind, const SlLaunchSpec *spec, SlCancel *cancel, GError **error);
/* /etc/hosts anew, as the address may be: before each launch. address, gateway: NULL without a network. */
bool memory_root_write_hosts(MemoryRootKind kind, const SlLaunchSpec *spec, const char *address,
                             const char *gateway, GError **error);
/* The `root` of the agent's start message. */
json_t *memory_root_describe(MemoryRootKind kind, const SlLaunchSpec *spec);
/* A sentence when the container's program is a native one that the sandbox stands in for or cannot run (g_free), else NULL. */
char *memory_root_native_warning(const SlLaunchSpec *spec);
