/* Networks; volumes and plugins: what exists by default can be looked at. */
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
network_create(SlCall *call, GError **error)
{
    g_auto(DkNetworkCreate) create = { 0 };

    return sl_forward_checked(call, SL_FORWARD_PLAIN, NULL, dk_network_create_fields, &create, error);
}

bool
network_remove(SlCall *call, GError **error)
{
    return sl_forward(call, SL_FORWARD_PLAIN, NULL, NULL, error);
}

bool
network_connect(SlCall *call, GError **error)
{
    g_auto(DkNetworkConnect) connect = { 0 };

    return sl_forward_checked(call, SL_FORWARD_PLAIN, NULL, dk_network_connect_fields, &connect, error);
}

bool
network_disconnect(SlCall *call, GError **error)
{
    g_auto(DkNetworkDisconnect) disconnect = { 0 };

    return sl_forward_checked(call, SL_FORWARD_PLAIN, NULL, dk_network_disconnect_fields, &disconnect, error);
}

bool
network_prune(SlCall *call, GError **error)
{
    return sl_forward(call, SL_FORWARD_PLAIN, filters_query, NULL, error);
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
