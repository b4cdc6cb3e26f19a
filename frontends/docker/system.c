#include "frontends/docker/forward.h"
#include "frontends/docker/frontend.h"
#include "frontends/docker/handlers.h"

#include <string.h>

enum { VERSION_MAX = 64 * 1024 };

/* Answered without asking anybody: clients ask it before each command. FAST. */
bool
system_ping(SlCall *call, GError **error)
{
    bool is_head = strcmp(sl_call_method(call), "HEAD") == 0;

    sl_call_add_header(call, "Builder-Version", "1"); /* no BuildKit */
    sl_call_add_header(call, "Cache-Control", "no-cache, no-store, must-revalidate");
    sl_call_add_header(call, "Pragma", "no-cache");
    sl_call_add_header(call, "Swarm", "inactive");
    return sl_call_reply(call, 200, "text/plain; charset=utf-8", "OK", is_head ? 0 : 2, error);
}

/* Asked of the backend once. */
bool
system_version(SlCall *call, GError **error)
{
    SlFrontend *frontend = sl_call_context(call);
    g_autoptr(GBytes) version = sl_frontend_dup_version(frontend);
    g_autoptr(SlHttpReply) reply = NULL;
    char *body;
    size_t n;

    if (version)
        return sl_call_reply_bytes(call, 200, "application/json", version, error);
    reply = sl_forward_ask(call, SL_FORWARD_PLAIN, "/internal/v1/version", NULL, error);
    if (!reply)
        return false;
    if (sl_http_reply_status(reply) != 200)
        return sl_forward_reply(call, reply, error);
    if (!sl_http_reply_read_all(reply, NULL, VERSION_MAX, &body, &n, error))
        return false;
    version = g_bytes_new_take(body, n);
    sl_frontend_keep_version(frontend, version);
    return sl_call_reply_bytes(call, 200, "application/json", version, error);
}

bool
system_info(SlCall *call, GError **error)
{
    return sl_forward(call, SL_FORWARD_PLAIN, NULL, NULL, error);
}

bool
system_auth(SlCall *call, GError **error)
{
    g_auto(DkAuthConfig) auth = { 0 };

    return sl_forward_checked(call, SL_FORWARD_PLAIN, NULL, dk_auth_config_fields, &auth, error);
}

bool
system_events(SlCall *call, GError **error)
{
    static const SlQueryField query[] = {
        { "since", SL_QUERY_TEXT, 0 },
        { "until", SL_QUERY_TEXT, 0 },
        { "filters", SL_QUERY_FILTERS, 0 },
        { 0 },
    };

    return sl_forward(call, SL_FORWARD_STREAM, query, NULL, error);
}

bool
not_supported(SlCall *call, GError **error)
{
    return sl_fail(error, SL_ERROR_UNSUPPORTED, "%s %s is not supported by Sockerless yet",
                   sl_call_method(call), sl_call_path(call));
}
