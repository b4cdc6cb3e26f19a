#include "backends/core/update.h"

#include "backends/core/options.h"

#include <string.h>

static const struct {
    const char *name;
    SlRestartKind kind;
} kinds[] = {
    { "no", SL_RESTART_NO },
    { "on-failure", SL_RESTART_ON_FAILURE },
    { "always", SL_RESTART_ALWAYS },
    { "unless-stopped", SL_RESTART_UNLESS_STOPPED },
};

bool
sl_restart_policy_read(const DkRestartPolicy *policy, SlRestartPolicy *ret_policy, GError **error)
{
    const char *name = policy->name;

    if (!name || !*name) {
        *ret_policy = (SlRestartPolicy){ .kind = SL_RESTART_NO };
        return true;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++) {
        if (strcmp(name, kinds[i].name) != 0)
            continue;
        if (kinds[i].kind != SL_RESTART_ON_FAILURE && policy->maximum_retry_count != 0)
            return sl_fail(error, SL_ERROR_INVALID,
                           "maximum retry count cannot be used with restart policy '%s'", name);
        if (policy->maximum_retry_count < 0)
            return sl_fail(error, SL_ERROR_INVALID, "maximum retry count cannot be negative");
        *ret_policy = (SlRestartPolicy){ kinds[i].kind, policy->maximum_retry_count };
        return true;
    }
    return sl_fail(error, SL_ERROR_INVALID, "invalid restart policy '%s'", name);
}

json_t *
sl_restart_policy_write(const SlRestartPolicy *policy)
{
    return json_pack("{s:s, s:i}", "Name", kinds[policy->kind].name, "MaximumRetryCount",
                     policy->max_retries);
}

/* A limit that would have to be changed under a process that runs: until a driver can, the honest answer is no. */
static bool
check_resources(SlContainer *container, const json_t *body, json_t *warnings, GError **error)
{
    SlDriver *driver = container->core->driver;
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)body, name, value) {
        g_autoptr(json_t) alone = NULL;
        size_t n_before = json_array_size(warnings);

        if (strcmp(name, "RestartPolicy") == 0 || !sl_option_is_given(value))
            continue;
        alone = json_pack("{s:{s:O}}", "HostConfig", name, value);
        if (!sl_options_check(driver, alone, warnings, error))
            return false;
        if (json_array_size(warnings) == n_before)
            return sl_fail(
                error, SL_ERROR_UNSUPPORTED,
                "HostConfig.%s cannot be updated on the %s backend: create the container anew with it", name,
                driver->ops.name);
    }
    return true;
}

bool
sl_container_update(SlContainer *container, const json_t *body, json_t *warnings, GError **error)
{
    g_auto(DkContainerUpdate) update = { 0 };
    SlEvent event = { .kind = SL_EVENT_UPDATE };
    g_autoptr(json_t) known = NULL;

    if (!sl_json_read(body, dk_container_update_fields, &update, "invalid request body", error) ||
        !sl_restart_policy_read(&update.restart_policy, &event.restart, error))
        return false;
    known = sl_json_write(dk_container_update_fields, &update);
    if (!check_resources(container, known, warnings, error))
        return false;
    event.has_restart = update.restart_policy.name && *update.restart_policy.name;
    return sl_container_act(container, &event, error);
}
