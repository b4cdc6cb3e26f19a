/* Networks, volumes and plugins: what exists by default can be looked at. */
#include "frontends/docker/forward.h"
#include "frontends/docker/handlers.h"

static const SlQueryField filters_query[] = { { "filters", SL_QUERY_FILTERS, 0 }, { 0 } };

bool
network_list(SlCall *call, GError **error)
{
    return sl_forward(call, SL_FORWARD_PLAIN, filters_query, NULL, error);
}

bool
network_inspect(SlCall *call, GError **error)
{
    static const SlQueryField query[] = { { "verbose", SL_QUERY_BOOL, 0 },
                                          { "scope", SL_QUERY_TEXT, 0 },
                                          { 0 } };

    return sl_forward(call, SL_FORWARD_PLAIN, query, NULL, error);
}

bool
volume_list(SlCall *call, GError **error)
{
    return sl_forward(call, SL_FORWARD_PLAIN, filters_query, NULL, error);
}

bool
volume_inspect(SlCall *call, GError **error)
{
    return sl_forward(call, SL_FORWARD_PLAIN, NULL, NULL, error);
}

bool
plugin_list(SlCall *call, GError **error)
{
    return sl_forward(call, SL_FORWARD_PLAIN, filters_query, NULL, error);
}

bool
plugin_inspect(SlCall *call, GError **error)
{
    return sl_forward(call, SL_FORWARD_PLAIN, NULL, NULL, error);
}
