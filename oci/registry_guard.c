#include "oci/registry_internal.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <string.h>
#include <sys/socket.h>

/* One form for both families: an IPv4 address is mapped. */
typedef struct Address {
    unsigned char bytes[16];
} Address;

typedef struct Block {
    const char *text;
} Block;

/* What no registry has business at: link-local with the clouds' metadata services, unspecified, multicast,
 * broadcast. */
static const Block forbidden[] = {
    { "169.254.0.0/16" },
    { "0.0.0.0/8" },
    { "224.0.0.0/4" },
    { "255.255.255.255/32" },
    { "100.100.100.200/32" },
    { "fe80::/10" },
    { "ff00::/8" },
    { "fd00:ec2::254/128" },
    { "::/128" },
    { "64:ff9b::a9fe:0/112" }, /* link-local through NAT64 */
    { "2002:a9fe::/32" },      /* and through 6to4 */
};
static const Block private[] = {
    { "10.0.0.0/8" }, { "172.16.0.0/12" }, { "192.168.0.0/16" }, { "100.64.0.0/10" }, { "fc00::/7" },
};
static const Block loopback[] = { { "127.0.0.0/8" }, { "::1/128" } };

static bool
address_parse(const char *text, Address *ret_address, int *ret_base_bits)
{
    static const unsigned char mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

    *ret_base_bits = 0;
    if (inet_pton(AF_INET6, text, ret_address->bytes) == 1)
        return true;
    memcpy(ret_address->bytes, mapped, sizeof mapped);
    *ret_base_bits = 96;
    return inet_pton(AF_INET, text, ret_address->bytes + sizeof mapped) == 1;
}

static bool
block_has(const char *block, const Address *address)
{
    const char *slash = strchr(block, '/');
    g_autofree char *network_text = slash ? g_strndup(block, (gsize)(slash - block)) : NULL;
    Address network;
    int base_bits;
    guint64 bits;
    int full;

    if (!slash || !address_parse(network_text, &network, &base_bits) ||
        !g_ascii_string_to_unsigned(slash + 1, 10, 0, (guint64)(128 - base_bits), &bits, NULL))
        return false;
    bits += (guint64)base_bits;
    full = (int)(bits / 8);
    if (memcmp(network.bytes, address->bytes, (size_t)full) != 0)
        return false;
    return bits % 8 == 0 || ((network.bytes[full] ^ address->bytes[full]) >> (8 - bits % 8)) == 0;
}

static bool
any_block_has(const Block *blocks, size_t n, const Address *address)
{
    for (size_t i = 0; i < n; i++)
        if (block_has(blocks[i].text, address))
            return true;
    return false;
}

static bool
is_named(const char *host, int port, char *const *list)
{
    g_autofree char *with_port = g_strdup_printf(strchr(host, ':') ? "[%s]:%d" : "%s:%d", host, port);

    for (; list && *list; list++)
        if (g_ascii_strcasecmp(*list, host) == 0 || g_ascii_strcasecmp(*list, with_port) == 0)
            return true;
    return false;
}

/* text: a numeric address, perhaps with the scope of a link-local one. */
static bool
text_judge(const char *text, char *const *list, SlHostFacts *facts)
{
    g_autofree char *bare = g_strndup(text, strcspn(text, "%"));
    Address address;
    int base_bits;

    if (!address_parse(bare, &address, &base_bits))
        return false;
    facts->is_forbidden |= any_block_has(forbidden, G_N_ELEMENTS(forbidden), &address);
    facts->is_loopback &= any_block_has(loopback, G_N_ELEMENTS(loopback), &address);
    facts->is_private |= any_block_has(private, G_N_ELEMENTS(private), &address);
    for (; list && *list; list++)
        facts->is_listed |= block_has(*list, &address);
    return true;
}

static void
address_judge(const struct addrinfo *info, char *const *list, SlHostFacts *facts)
{
    char text[INET6_ADDRSTRLEN + 32] = "";

    if (getnameinfo(info->ai_addr, info->ai_addrlen, text, sizeof text, NULL, 0, NI_NUMERICHOST) == 0)
        text_judge(text, list, facts);
}

void
sl_host_examine(const char *host, int port, char *const *list, SlHostFacts *ret_facts)
{
    const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
    struct addrinfo *infos = NULL;

    *ret_facts = (SlHostFacts){ .is_listed = is_named(host, port, list) };
    ret_facts->is_forbidden = g_ascii_strcasecmp(host, "metadata.google.internal") == 0;
    if (getaddrinfo(host, NULL, &hints, &infos) != 0)
        return;
    ret_facts->is_loopback = true;
    for (const struct addrinfo *info = infos; info; info = info->ai_next)
        address_judge(info, list, ret_facts);
    freeaddrinfo(infos);
}

static int
port_of(GUri *uri)
{
    if (g_uri_get_port(uri) > 0)
        return g_uri_get_port(uri);
    return strcmp(g_uri_get_scheme(uri), "https") == 0 ? 443 : 80;
}

static GUri *
uri_parse(const char *url)
{
    g_autoptr(GUri) uri = g_uri_parse(url, G_URI_FLAGS_ENCODED, NULL);
    bool is_web =
        uri && (strcmp(g_uri_get_scheme(uri), "https") == 0 || strcmp(g_uri_get_scheme(uri), "http") == 0);

    if (!is_web || !g_uri_get_host(uri) || !*g_uri_get_host(uri) || g_uri_get_userinfo(uri))
        return NULL;
    return g_steal_pointer(&uri);
}

char *
sl_url_origin(const char *url)
{
    g_autoptr(GUri) uri = uri_parse(url);

    return uri ? g_strdup_printf("%s://%s:%d", g_uri_get_scheme(uri), g_uri_get_host(uri), port_of(uri))
               : NULL;
}

/* Who is on a network of its own may lead around in it; from outside nobody leads in, unless the operator listed the
 * place. */
static bool
facts_check(const SlEndpoint *endpoint, const SlHostFacts *facts, const char *where, GError **error)
{
    if (facts->is_forbidden)
        return sl_fail(error, SL_ERROR_FORBIDDEN, "%s is a link-local or metadata address: refused", where);
    if (facts->is_listed)
        return true;
    if (facts->is_loopback && !endpoint->is_loopback)
        return sl_fail(error, SL_ERROR_FORBIDDEN,
                       "the registry leads to this machine's own address %s: refused", where);
    if (facts->is_private && !endpoint->is_private && !endpoint->is_loopback)
        return sl_fail(
            error, SL_ERROR_FORBIDDEN,
            "the registry leads to the private address %s: refused (--insecure-registry allows it)", where);
    return true;
}

bool
sl_registry_url_check(SlRegistry *registry, const SlEndpoint *endpoint, const char *url, GError **error)
{
    g_autoptr(GUri) uri = uri_parse(url);
    SlHostFacts facts;

    if (!uri)
        return sl_fail(error, SL_ERROR_FORBIDDEN, "the registry leads to something that is no web address");
    if (strcmp(g_uri_get_scheme(uri), "http") == 0 && !endpoint->is_insecure)
        return sl_fail(error, SL_ERROR_FORBIDDEN,
                       "the registry leads from https to plain http at %s: refused", g_uri_get_host(uri));
    sl_host_examine(g_uri_get_host(uri), port_of(uri), registry->insecure, &facts);
    return facts_check(endpoint, &facts, g_uri_get_host(uri), error);
}

bool
sl_registry_address_check(SlRegistry *registry, const SlEndpoint *endpoint, const char *url,
                          const char *address, GError **error)
{
    g_autoptr(GUri) uri = uri_parse(url);
    SlHostFacts facts = { .is_loopback = true };

    facts.is_listed = uri && is_named(g_uri_get_host(uri), port_of(uri), registry->insecure);
    if (!text_judge(address, registry->insecure, &facts))
        return sl_fail(error, SL_ERROR_FORBIDDEN, "%s is no address: refused", address);
    return facts_check(endpoint, &facts, address, error);
}

bool
sl_registry_url_is_insecure(SlRegistry *registry, const SlEndpoint *endpoint, const char *url)
{
    g_autoptr(GUri) uri = uri_parse(url);
    g_autoptr(GUri) own = uri_parse(endpoint->base);
    SlHostFacts facts;

    if (!endpoint->is_insecure || !uri)
        return false;
    if (own && g_ascii_strcasecmp(g_uri_get_host(uri), g_uri_get_host(own)) == 0)
        return true;
    sl_host_examine(g_uri_get_host(uri), port_of(uri), registry->insecure, &facts);
    return facts.is_loopback || facts.is_listed;
}

typedef struct Judge {
    SlRegistry *registry;
    const SlEndpoint *endpoint;
    const char *url;
} Judge;

static bool
address_admit(void *user, const char *address, GError **error)
{
    const Judge *judge = user;

    return sl_registry_address_check(judge->registry, judge->endpoint, judge->url, address, error);
}

bool
sl_registry_fetch(SlRegistry *registry, SlCancel *cancel, const SlEndpoint *endpoint, SlFetch *fetch,
                  SlFetchReply *ret_reply, GError **error)
{
    Judge judge = { registry, endpoint, fetch->url };

    fetch->insecure_tls = sl_registry_url_is_insecure(registry, endpoint, fetch->url);
    fetch->admit = address_admit;
    fetch->admit_user = &judge;
    return sl_fetch(registry->fetcher, cancel, fetch, ret_reply, error);
}
