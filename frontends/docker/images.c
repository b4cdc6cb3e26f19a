#include "frontends/docker/forward.h"
#include "frontends/docker/handlers.h"

bool
image_list(SlCall *call, GError **error)
{
    static const SlQueryField query[] = {
        { "all", SL_QUERY_BOOL, 0 },
        { "digests", SL_QUERY_BOOL, 0 },
        { "shared-size", SL_QUERY_BOOL, 1042 },
        { "filters", SL_QUERY_FILTERS, 0 },
        { 0 },
    };

    return sl_forward(call, SL_FORWARD_PLAIN, query, NULL, error);
}

/* A pull. An import sends a tar: that is not there yet. */
bool
image_create(SlCall *call, GError **error)
{
    static const SlQueryField query[] = {
        { "fromImage", SL_QUERY_TEXT, 0 },
        { "repo", SL_QUERY_TEXT, 0 },
        { "tag", SL_QUERY_TEXT, 0 },
        { "message", SL_QUERY_TEXT, 0 },
        { "changes", SL_QUERY_LIST, 0 },
        { "platform", SL_QUERY_TEXT, 1032 },
        { 0 },
    };
    const char *source = sl_call_query(call, "fromSrc");

    if (source && *source)
        return sl_fail(error, SL_ERROR_UNSUPPORTED,
                       "POST /images/create with fromSrc (docker import) is not supported by Sockerless yet");
    return sl_forward(call, SL_FORWARD_STREAM, query, NULL, error);
}

bool
image_inspect(SlCall *call, GError **error)
{
    return sl_forward(call, SL_FORWARD_PLAIN, NULL, NULL, error);
}

bool
image_history(SlCall *call, GError **error)
{
    return sl_forward(call, SL_FORWARD_PLAIN, NULL, NULL, error);
}

bool
image_tag(SlCall *call, GError **error)
{
    static const SlQueryField query[] = { { "repo", SL_QUERY_TEXT, 0 }, { "tag", SL_QUERY_TEXT, 0 }, { 0 } };

    return sl_forward(call, SL_FORWARD_PLAIN, query, NULL, error);
}

bool
image_remove(SlCall *call, GError **error)
{
    static const SlQueryField query[] = { { "force", SL_QUERY_BOOL, 0 },
                                          { "noprune", SL_QUERY_BOOL, 0 },
                                          { 0 } };

    return sl_forward(call, SL_FORWARD_PLAIN, query, NULL, error);
}

bool
image_load(SlCall *call, GError **error)
{
    static const SlQueryField query[] = { { "quiet", SL_QUERY_BOOL_TRUE, 0 },
                                          { "platform", SL_QUERY_TEXT, 0 },
                                          { 0 } };

    return sl_forward_upload(call, query, error);
}

/* GET /images/get and /images/{name}/get. */
bool
image_save(SlCall *call, GError **error)
{
    static const SlQueryField query[] = { { "names", SL_QUERY_LIST, 0 }, { 0 } };

    return sl_forward(call, SL_FORWARD_STREAM, query, NULL, error);
}

bool
image_prune(SlCall *call, GError **error)
{
    static const SlQueryField query[] = { { "filters", SL_QUERY_FILTERS, 0 }, { 0 } };

    return sl_forward(call, SL_FORWARD_PLAIN, query, NULL, error);
}
