#include "oci/registry_internal.h"

#include <string.h>

static const char hub_domain[] = "docker.io";
static const char hub_host[] = "registry-1.docker.io";

SlRegistry *
sl_registry_new(const SlRegistryConfig *config, SlFetcher *fetcher)
{
    SlRegistry *registry = g_new0(SlRegistry, 1);

    registry->mirrors = g_strdupv(config->mirrors);
    registry->insecure = g_strdupv(config->insecure);
    registry->fetcher = fetcher;
    registry->flights = sl_blob_flights_new();
    pthread_mutex_init(&registry->lock, NULL);
    return registry;
}

void
sl_registry_free(SlRegistry *registry)
{
    if (!registry)
        return;
    g_strfreev(registry->mirrors);
    g_strfreev(registry->insecure);
    g_hash_table_unref(registry->flights);
    pthread_mutex_destroy(&registry->lock);
    g_free(registry);
}

void
sl_endpoint_free(SlEndpoint *endpoint)
{
    if (!endpoint)
        return;
    g_free(endpoint->base);
    g_free(endpoint);
}

static void
endpoint_free_item(gpointer item)
{
    sl_endpoint_free(item);
}

static void
endpoint_add(GPtrArray *endpoints, char *base /* taken */, const SlHostFacts *facts, bool is_mirror)
{
    SlEndpoint *endpoint = g_new0(SlEndpoint, 1);

    endpoint->base = base;
    endpoint->is_loopback = facts->is_loopback;
    endpoint->is_private = facts->is_private;
    endpoint->is_insecure = facts->is_loopback || facts->is_listed;
    endpoint->is_mirror = is_mirror;
    g_ptr_array_add(endpoints, endpoint);
}

/* host[:port] or [v6][:port] into its parts. */
static char *
host_split(const char *domain, int *ret_port)
{
    const char *colon = strrchr(domain, ':');
    g_autofree char *host = NULL;

    if (colon && strchr(colon, ']'))
        colon = NULL;
    *ret_port = colon ? (int)g_ascii_strtoll(colon + 1, NULL, 10) : 443;
    host = colon ? g_strndup(domain, (gsize)(colon - domain)) : g_strdup(domain);
    if (host[0] == '[' && host[strlen(host) - 1] == ']')
        return g_strndup(host + 1, strlen(host) - 2);
    return g_steal_pointer(&host);
}

static void
mirrors_add(SlRegistry *registry, GPtrArray *endpoints)
{
    for (char **mirror = registry->mirrors; mirror && *mirror; mirror++) {
        g_autoptr(GUri) uri = g_uri_parse(*mirror, G_URI_FLAGS_NONE, NULL);
        SlHostFacts facts;
        char *base;

        if (!uri || !g_uri_get_host(uri))
            continue;
        sl_host_examine(g_uri_get_host(uri), g_uri_get_port(uri), registry->insecure, &facts);
        /* The operator named it with its scheme: that is leave enough. */
        facts.is_listed |= strcmp(g_uri_get_scheme(uri), "http") == 0;
        base = g_strdup(*mirror);
        while (g_str_has_suffix(base, "/"))
            base[strlen(base) - 1] = '\0';
        endpoint_add(endpoints, base, &facts, true);
    }
}

GPtrArray *
sl_registry_endpoints(SlRegistry *registry, const char *domain)
{
    GPtrArray *endpoints = g_ptr_array_new_with_free_func(endpoint_free_item);
    bool is_hub = strcmp(domain, hub_domain) == 0;
    g_autofree char *host = NULL;
    SlHostFacts facts;
    int port;

    if (is_hub) {
        mirrors_add(registry, endpoints);
        domain = hub_host;
    }
    host = host_split(domain, &port);
    sl_host_examine(host, port, registry->insecure, &facts);
    /* On this machine plain HTTP is usual, and a server that does not know TLS may take long to say so;
     * elsewhere TLS comes first. */
    if (facts.is_loopback)
        endpoint_add(endpoints, g_strconcat("http://", domain, NULL), &facts, false);
    endpoint_add(endpoints, g_strconcat("https://", domain, NULL), &facts, false);
    if (facts.is_listed && !facts.is_loopback)
        endpoint_add(endpoints, g_strconcat("http://", domain, NULL), &facts, false);
    return endpoints;
}

/* "https://index.docker.io/v1/" and its kin, or a host. Caller frees. */
static char *
login_domain(const char *server)
{
    const char *start = strstr(server, "://");
    g_autofree char *host = NULL;

    start = start ? start + 3 : server;
    host = g_strndup(start, strcspn(start, "/"));
    if (!*host || strcmp(host, "index.docker.io") == 0 || strcmp(host, hub_domain) == 0 ||
        strcmp(host, hub_host) == 0)
        return g_strdup(hub_domain);
    return g_steal_pointer(&host);
}

static bool
login_at(SlRegistry *registry, SlCancel *cancel, const SlEndpoint *endpoint, const SlRegistryAuth *auth,
         GError **error)
{
    const SlSessionGet get = { .path = "/v2/" };
    g_auto(SlSession) session = { 0 };
    g_auto(SlFetchReply) reply = { 0 };

    sl_session_init(&session, registry, cancel, endpoint, auth, NULL);
    if (!sl_session_ping(&session, error) || !sl_session_get(&session, &get, &reply, error))
        return false;
    if (reply.status == 401 || reply.status == 403)
        return sl_fail(error, SL_ERROR_UNAUTHORIZED,
                       "Get \"%s/v2/\": unauthorized: incorrect username or password", endpoint->base);
    if (reply.status != 200)
        return sl_fail(error, SL_ERROR_SYSTEM, "Get \"%s/v2/\": received unexpected HTTP status: %u",
                       endpoint->base, reply.status);
    return true;
}

bool
sl_registry_login(SlRegistry *registry, SlCancel *cancel, const char *server, const SlRegistryAuth *auth,
                  GError **error)
{
    g_autofree char *domain = login_domain(server);
    g_autoptr(GPtrArray) endpoints = sl_registry_endpoints(registry, domain);
    g_autoptr(GError) first = NULL;

    for (guint i = 0; i < endpoints->len; i++) {
        const SlEndpoint *endpoint = endpoints->pdata[i];
        g_autoptr(GError) local = NULL;

        if (endpoint->is_mirror)
            continue;
        if (login_at(registry, cancel, endpoint, auth, &local))
            return true;
        if (!first)
            first = g_error_copy(local);
        if (g_error_matches(local, SL_ERROR, SL_ERROR_UNAUTHORIZED) ||
            g_error_matches(local, SL_ERROR, SL_ERROR_CANCELLED)) {
            g_propagate_error(error, g_steal_pointer(&local));
            return false;
        }
    }
    g_propagate_error(error, g_steal_pointer(&first));
    return false;
}
