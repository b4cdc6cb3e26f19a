#include "backends/core/driver.h"

#include "common/error.h"

static void
default_close(SlDriver *driver)
{
}

static void
default_info(SlDriver *driver, json_t *status)
{
}

static const SlOption *
default_options(SlDriver *driver)
{
    static const SlOption none[] = { { 0 } };

    return none;
}

static char *
default_create_warning(SlDriver *driver, const SlLaunchSpec *spec)
{
    return NULL;
}

static bool
not_supported(SlDriver *driver, const char *operation, GError **error)
{
    return sl_fail(error, SL_ERROR_UNSUPPORTED, "the %s backend cannot %s", driver->ops.name, operation);
}

static bool
default_launch(SlDriver *driver, SlCancel *cancel, const SlLaunchSpec *spec, char **ret_handle,
               GError **error)
{
    return not_supported(driver, "start containers", error);
}

static bool
default_agent_setup(SlDriver *driver, const SlLaunchSpec *spec, json_t *start, GError **error)
{
    return true;
}

static bool
default_agent_connect(SlDriver *driver, SlCancel *cancel, const SlLaunchSpec *spec, int *ret_fd,
                      GError **error)
{
    return not_supported(driver, "reach a workload's agent", error);
}

static bool
default_terminate(SlDriver *driver, SlCancel *cancel, const char *handle, const char *reason, GError **error)
{
    return not_supported(driver, "end a workload", error);
}

static bool
default_poll(SlDriver *driver, SlCancel *cancel, const SlLaunchSpec *spec, const char *handle,
             SlWorkloadStatus *ret_status, GError **error)
{
    return not_supported(driver, "look for a workload", error);
}

/* Without networks of its own a platform has Docker's three by name only. */
static bool
default_network_create(SlDriver *driver, const SlNetworkSpec *network, GError **error)
{
    return !network->has_names || not_supported(driver, "make networks", error);
}

static bool
default_network_remove(SlDriver *driver, const SlNetworkSpec *network, GError **error)
{
    return true;
}

static bool
default_network_join(SlDriver *driver, const SlEndpointSpec *endpoint, GError **error)
{
    return true;
}

static bool
default_network_leave(SlDriver *driver, const SlEndpointSpec *endpoint, GError **error)
{
    return true;
}

static bool
default_network_configure(SlDriver *driver, const SlLaunchSpec *spec, const SlEndpointSpec *endpoints,
                          size_t n, GError **error)
{
    return true;
}

static bool
default_forget(SlDriver *driver, SlCancel *cancel, const SlLaunchSpec *spec, const char *handle,
               GError **error)
{
    return true;
}

void
sl_driver_init(SlDriver *driver, const SlDriverOps *ops)
{
    driver->ops = *ops;
#define SL_FILL(op)                                                                                          \
    if (!driver->ops.op)                                                                                     \
        driver->ops.op = default_##op;
    SL_DRIVER_OPS(SL_FILL)
#undef SL_FILL
}
