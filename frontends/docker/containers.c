#include "frontends/docker/forward.h"
#include "frontends/docker/frontend.h"
#include "frontends/docker/handlers.h"

enum { LONGEST_EMPTY_BODY = 7 }; /* "null" and "{}" with a line break: a body that says nothing */

bool
container_list(SlCall *call, GError **error)
{
    static const SlQueryField query[] = {
        { "all", SL_QUERY_BOOL, 0 },
        { "size", SL_QUERY_BOOL, 0 },
        { "limit", SL_QUERY_INT, 0 },
        { "since", SL_QUERY_TEXT, 0 },
        { "before", SL_QUERY_TEXT, 0 },
        { "filters", SL_QUERY_FILTERS, 0 },
        { 0 },
    };

    return sl_forward(call, SL_FORWARD_PLAIN, query, NULL, error);
}

bool
container_create(SlCall *call, GError **error)
{
    static const SlQueryField query[] = {
        { "name", SL_QUERY_TEXT, 0 },
        { "platform", SL_QUERY_TEXT, 1041 },
        { 0 },
    };
    g_auto(DkContainerCreate) create = { 0 };

    if (!sl_call_has_body(call))
        return sl_fail(error, SL_ERROR_INVALID, "invalid JSON: got EOF while reading request body");
    return sl_call_json(call, dk_container_create_fields, &create, error) &&
           sl_normalise_create(sl_frontend_api_version(call), &create, error) &&
           sl_forward(call, SL_FORWARD_PLAIN, query, sl_json_write(dk_container_create_fields, &create),
                      error);
}

bool
container_inspect(SlCall *call, GError **error)
{
    static const SlQueryField query[] = { { "size", SL_QUERY_BOOL, 0 }, { 0 } };

    return sl_forward(call, SL_FORWARD_PLAIN, query, NULL, error);
}

bool
container_start(SlCall *call, GError **error)
{
    static const SlQueryField query[] = { { "detachKeys", SL_QUERY_TEXT, 0 }, { 0 } };

    if (sl_call_content_length(call) > LONGEST_EMPTY_BODY ||
        (sl_call_has_body(call) && sl_call_content_length(call) < 0))
        return sl_fail(
            error, SL_ERROR_INVALID,
            "starting container with non-empty request body was deprecated since API v1.22 and removed in "
            "v1.24");
    if (sl_call_query(call, "checkpoint") && *sl_call_query(call, "checkpoint"))
        return sl_fail(error, SL_ERROR_UNSUPPORTED,
                       "starting from a checkpoint is not supported by Sockerless yet");
    return sl_forward(call, SL_FORWARD_PLAIN, query, NULL, error);
}

/* stop and restart */
static const SlQueryField stop_query[] = {
    { "t", SL_QUERY_INT, 0 },
    { "signal", SL_QUERY_TEXT, 1042 },
    { 0 },
};

bool
container_stop(SlCall *call, GError **error)
{
    return sl_forward(call, SL_FORWARD_PLAIN, stop_query, NULL, error);
}

bool
container_restart(SlCall *call, GError **error)
{
    return sl_forward(call, SL_FORWARD_PLAIN, stop_query, NULL, error);
}

bool
container_kill(SlCall *call, GError **error)
{
    static const SlQueryField query[] = { { "signal", SL_QUERY_TEXT, 0 }, { 0 } };

    return sl_forward(call, SL_FORWARD_PLAIN, query, NULL, error);
}

/* pause and unpause */
bool
container_pause(SlCall *call, GError **error)
{
    return sl_forward(call, SL_FORWARD_PLAIN, NULL, NULL, error);
}

bool
container_update(SlCall *call, GError **error)
{
    g_auto(DkContainerUpdate) update = { 0 };

    return sl_forward_checked(call, SL_FORWARD_PLAIN, NULL, dk_container_update_fields, &update, error);
}

bool
container_wait(SlCall *call, GError **error)
{
    static const SlQueryField query[] = { { "condition", SL_QUERY_TEXT, 1030 }, { 0 } };

    return sl_forward(call, SL_FORWARD_STREAM, query, NULL, error);
}

bool
container_attach(SlCall *call, GError **error)
{
    static const SlQueryField query[] = {
        { "stream", SL_QUERY_BOOL, 0 },
        { "stdin", SL_QUERY_BOOL, 0 },
        { "stdout", SL_QUERY_BOOL, 0 },
        { "stderr", SL_QUERY_BOOL, 0 },
        { "logs", SL_QUERY_BOOL, 0 },
        { "detachKeys", SL_QUERY_TEXT, 0 },
        { 0 },
    };

    return sl_forward(call, SL_FORWARD_HIJACK, query, NULL, error);
}

/* Also an exec's. */
bool
container_resize(SlCall *call, GError **error)
{
    static const SlQueryField query[] = { { "h", SL_QUERY_INT, 0 }, { "w", SL_QUERY_INT, 0 }, { 0 } };

    return sl_forward(call, SL_FORWARD_PLAIN, query, NULL, error);
}

bool
container_logs(SlCall *call, GError **error)
{
    static const SlQueryField query[] = {
        { "follow", SL_QUERY_BOOL, 0 },     { "stdout", SL_QUERY_BOOL, 0 },  { "stderr", SL_QUERY_BOOL, 0 },
        { "timestamps", SL_QUERY_BOOL, 0 }, { "details", SL_QUERY_BOOL, 0 }, { "since", SL_QUERY_TEXT, 0 },
        { "until", SL_QUERY_TEXT, 1035 },   { "tail", SL_QUERY_TEXT, 0 },    { 0 },
    };

    return sl_forward(call, SL_FORWARD_STREAM, query, NULL, error);
}

bool
container_rename(SlCall *call, GError **error)
{
    static const SlQueryField query[] = { { "name", SL_QUERY_TEXT, 0 }, { 0 } };

    return sl_forward(call, SL_FORWARD_PLAIN, query, NULL, error);
}

bool
container_top(SlCall *call, GError **error)
{
    static const SlQueryField query[] = { { "ps_args", SL_QUERY_TEXT, 0 }, { 0 } };

    return sl_forward(call, SL_FORWARD_PLAIN, query, NULL, error);
}

bool
container_remove(SlCall *call, GError **error)
{
    static const SlQueryField query[] = {
        { "force", SL_QUERY_BOOL, 0 },
        { "v", SL_QUERY_BOOL, 0 },
        { "link", SL_QUERY_BOOL, 0 },
        { 0 },
    };

    return sl_forward(call, SL_FORWARD_PLAIN, query, NULL, error);
}

bool
container_prune(SlCall *call, GError **error)
{
    static const SlQueryField query[] = { { "filters", SL_QUERY_FILTERS, 0 }, { 0 } };

    return sl_forward(call, SL_FORWARD_PLAIN, query, NULL, error);
}
