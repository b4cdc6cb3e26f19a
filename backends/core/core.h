/*
 * The engine: containers, execs, images, events over one driver. Everything of Docker that does not depend on where containers run.
 */
#pragma once

#include "backends/core/driver.h"
#include "backends/core/events.h"
#include "backends/core/images.h"
#include "backends/core/log_options.h"
#include "backends/core/store.h"
#include "common/thread.h"
#include "net/loop.h"
#include "net/relay.h"

#include <stdatomic.h>

typedef struct SlContainer SlContainer;
typedef struct SlNetworks SlNetworks;

typedef struct SlCore {
    char *data;        /* folder of all state */
    int containers_fd; /* data/containers */
    char *engine_id;   /* kept in the store: `docker info` ID */
    int64_t started_ns;
    SlDriver *driver;
    SlLogDefaults log_defaults;
    SlStore *store;
    SlEvents *events;
    SlNetworks *networks;
    SlImages *images;
    SlContent *content;
    SlFetcher *fetcher;
    SlRegistry *registry;
    SlLoop *loop; /* the relay's and all agent links' */
    SlRelay *relay;
    SlPool *pool; /* executors' threads */

    atomic_bool is_closing; /* links that close now are not looked for again */

    pthread_mutex_t lock; /* of what follows: names → containers */
    GHashTable *by_id;    /* id → SlContainer (the index's reference) */
    GHashTable *by_name;  /* name → SlContainer, borrowed */
    GPtrArray *in_order;  /* oldest first; borrowed */
    GHashTable *execs;    /* id → SlExec (a reference) */
} SlCore;

typedef struct SlCoreConfig {
    const char *data;
    SlDriver *driver; /* taken */
    char **registry_mirrors, **insecure_registries;
    const char *builtin_images; /* auto, always, off */
    const char *base_tar;
    const char *log_driver; /* of containers that name none; NULL: json-file */
    char **log_opts;        /* NAME=VALUE */
} SlCoreConfig;

/* Opens state, adopts what runs. One daemon a data folder: SL_ERROR_CONFLICT says who holds it. */
SlCore *sl_core_open(const SlCoreConfig *config, GError **error);
/* Lets go of everything without touching containers: agents go on. */
void sl_core_close(SlCore *core);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SlCore, sl_core_close)

/* The routes below /internal/v1, for a server whose context is the core. Caller frees with g_free. */
SlRoute *sl_core_routes_new(void);

static inline SlCore *
sl_call_core(SlCall *call)
{
    return sl_call_context(call);
}

/* Looks a container up by id, unique id prefix, or name (a leading slash is dropped). Errors: SL_ERROR_NOT_FOUND "No such container: x",
 * SL_ERROR_INVALID for an ambiguous prefix. A new reference. */
SlContainer *sl_core_find(SlCore *core, const char *reference, GError **error);
/* How many containers there are in each state (`docker info`). */
void sl_core_count(SlCore *core, unsigned *ret_running, unsigned *ret_paused, unsigned *ret_stopped);
/* All containers, oldest first; caller frees (elements are references). */
GPtrArray *sl_core_list(SlCore *core);
