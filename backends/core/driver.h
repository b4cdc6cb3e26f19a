/*
 * The driver's table: what a backend does that others do differently (DESIGN §7). Nothing in it knows of HTTP, streams or Docker's JSON. Empty slots are
 * filled with core's defaults by sl_driver_init(), after which no slot is NULL and nobody checks.
 */
#pragma once

#include "api/gen/types.gen.h"
#include "common/cancel.h"

#include <jansson.h>

typedef struct SlDriver SlDriver;
typedef struct SlDriverOps SlDriverOps;

/* Everything about one launch. Borrowed for the call. */
typedef struct SlLaunchSpec {
    const char *container_id;
    int attempt;
    int folder_fd; /* the container's folder on this machine: log, staged files */
    const char *folder;
    const char *rootfs; /* the unpacked image, when the driver asked for it */
    const char *agent_token;
    const DkContainerCreate *config; /* merged with the image's */
} SlLaunchSpec;

/* A network that containers may be on. */
typedef struct SlNetworkSpec {
    const char *id, *name;
    uint32_t subnet; /* host byte order; 0 with prefix 0: none (the networks "host" and "none") */
    int prefix;
    bool is_internal; /* no way out */
    bool has_names;   /* containers find each other by name */
} SlNetworkSpec;

/* A running container on a network. */
typedef struct SlEndpointSpec {
    SlNetworkSpec network;
    const char *container_id;
    uint32_t address, gateway; /* 0 without a subnet */
    const char *mac_address;
    char **names; /* the first is the container's own; NULL without names */
} SlEndpointSpec;

typedef enum SlWorkloadState { SL_WORKLOAD_PENDING, SL_WORKLOAD_RUNNING, SL_WORKLOAD_GONE } SlWorkloadState;

typedef struct SlWorkloadStatus {
    SlWorkloadState state;
    bool has_exit; /* it left its exit behind (a local agent's exit.json, a cloud's record) */
    int exit_code;
    int64_t started_ns, finished_ns;
    int64_t log_length; /* -1: not known */
    char *reason;       /* of a loss; g_free */
} SlWorkloadStatus;

/* How a create option fares on this backend (DESIGN §1.5). */
typedef enum SlOptionVerdict { SL_OPTION_HONOURED, SL_OPTION_NO_EFFECT, SL_OPTION_REFUSED } SlOptionVerdict;
typedef struct SlOption {
    const char *name; /* backends/core/options.h has the grammar; NULL ends the table */
    SlOptionVerdict verdict;
    const char *advice; /* of NO_EFFECT: the Warning; of REFUSED: why, and what to do */
} SlOption;

struct SlDriverOps {
    const char *name; /* "memory", as shown in `docker info` and log lines */

    void (*close)(SlDriver *driver);
    /* Adds name → text pairs to `docker info`'s DriverStatus: what a user of this backend should know of this machine. */
    void (*info)(SlDriver *driver, json_t *status);
    /* Options that are not honoured; the rest is. NULL-named end. */
    const SlOption *(*options)(SlDriver *driver);
    /* Warnings of a create that depend on image and command: NULL or a sentence, g_free. */
    char *(*create_warning)(SlDriver *driver, const SlLaunchSpec *spec);

    /* Run the spec's workload once: get an agent running. container_id and attempt make it idempotent. Returns when the platform accepted it.
     * Errors: SL_ERROR_UNAVAILABLE: try again later; SL_ERROR_SYSTEM. */
    bool (*launch)(SlDriver *driver, SlCancel *cancel, const SlLaunchSpec *spec, char **ret_handle,
                   GError **error);
    /* Adds what this platform's agents need to the agent's `start` message (agent/protocol.h): root, runtime. */
    bool (*agent_setup)(SlDriver *driver, const SlLaunchSpec *spec, json_t *start, GError **error);
    /* A connection to the workload's agent. Errors: SL_ERROR_UNAVAILABLE when nobody is there. */
    bool (*agent_connect)(SlDriver *driver, SlCancel *cancel, const SlLaunchSpec *spec, int *ret_fd,
                          GError **error);
    /* End a workload by force. One that is gone already is success. */
    bool (*terminate)(SlDriver *driver, SlCancel *cancel, const char *handle, const char *reason,
                      GError **error);
    /* For a workload whose agent does not answer. */
    bool (*poll)(SlDriver *driver, SlCancel *cancel, const SlLaunchSpec *spec, const char *handle,
                 SlWorkloadStatus *ret_status, GError **error);
    /* Networks with a subnet; again for every one when the daemon starts. */
    bool (*network_create)(SlDriver *driver, const SlNetworkSpec *network, GError **error);
    bool (*network_remove)(SlDriver *driver, const SlNetworkSpec *network, GError **error);
    /* The container appears on the network, or is gone from it; both may be repeated. */
    bool (*network_join)(SlDriver *driver, const SlEndpointSpec *endpoint, GError **error);
    bool (*network_leave)(SlDriver *driver, const SlEndpointSpec *endpoint, GError **error);
    /* These are the networks that the container is on: before a launch, and after each change while it runs. */
    bool (*network_configure)(SlDriver *driver, const SlLaunchSpec *spec, const SlEndpointSpec *endpoints,
                              size_t n, GError **error);
    /* The container is being removed: give up what the driver holds for it, its files in the folder included. */
    bool (*forget)(SlDriver *driver, SlCancel *cancel, const SlLaunchSpec *spec, const char *handle,
                   GError **error);
};

#define SL_DRIVER_OPS(X)                                                                                     \
    X(close)                                                                                                 \
    X(info)                                                                                                  \
    X(network_create)                                                                                        \
    X(network_remove)                                                                                        \
    X(network_join) X(network_leave) X(network_configure) X(options) X(create_warning) X(launch)             \
        X(agent_setup) X(agent_connect) X(terminate) X(poll) X(forget)
#define SL_COUNT_ONE(op) +1
enum { SL_N_DRIVER_OPS = 0 SL_DRIVER_OPS(SL_COUNT_ONE) };
_Static_assert(sizeof(SlDriverOps) == sizeof(char *) + SL_N_DRIVER_OPS * sizeof(void (*)(void)),
               "SL_DRIVER_OPS must list every operation of SlDriverOps");

/* Every driver's own struct begins with this. */
struct SlDriver {
    SlDriverOps ops;
};

/* Copies ops, with core's defaults in the empty slots. A default either works (nothing to add) or fails with 501 naming backend and operation. */
void sl_driver_init(SlDriver *driver, const SlDriverOps *ops);
