#include "frontends/docker/forward.h"
#include "frontends/docker/frontend.h"
#include "frontends/docker/handlers.h"

bool
exec_create(SlCall *call, GError **error)
{
    g_auto(DkExecCreate) exec = { 0 };

    if (!sl_call_json(call, dk_exec_create_fields, &exec, error))
        return false;
    if (sl_frontend_api_version(call) < 1042)
        exec.has_console_size = false;
    if (!exec.cmd || !*exec.cmd)
        return sl_fail(error, SL_ERROR_INVALID, "No exec command specified");
    return sl_forward(call, SL_FORWARD_PLAIN, NULL, sl_json_write(dk_exec_create_fields, &exec), error);
}

bool
exec_start(SlCall *call, GError **error)
{
    g_auto(DkExecStart) start = { 0 };

    if (!sl_call_json(call, dk_exec_start_fields, &start, error))
        return false;
    if (sl_frontend_api_version(call) < 1042)
        start.has_console_size = false;
    return sl_forward(call, start.detach ? SL_FORWARD_PLAIN : SL_FORWARD_HIJACK, NULL,
                      sl_json_write(dk_exec_start_fields, &start), error);
}

bool
exec_resize(SlCall *call, GError **error)
{
    return container_resize(call, error);
}

bool
exec_inspect(SlCall *call, GError **error)
{
    return sl_forward(call, SL_FORWARD_PLAIN, NULL, NULL, error);
}
