#include "backends/core/ipam.h"

#include <arpa/inet.h>
#include <string.h>

enum { MIN_PREFIX = 1, MAX_PREFIX = 30 };

static uint32_t
mask_of(int prefix)
{
    return prefix == 0 ? 0 : UINT32_MAX << (32 - prefix);
}

bool
sl_ip_parse(const char *text, uint32_t *ret_ip)
{
    struct in_addr address;

    if (!text || inet_pton(AF_INET, text, &address) != 1)
        return false;
    *ret_ip = ntohl(address.s_addr);
    return true;
}

char *
sl_ip_format(uint32_t ip)
{
    return g_strdup_printf("%u.%u.%u.%u", ip >> 24, ip >> 16 & 255, ip >> 8 & 255, ip & 255);
}

bool
sl_subnet_parse(const char *text, SlSubnet *ret_subnet)
{
    const char *slash = text ? strchr(text, '/') : NULL;
    g_autofree char *head = slash ? g_strndup(text, (size_t)(slash - text)) : NULL;
    guint64 prefix;
    uint32_t ip;

    if (!slash || !g_ascii_string_to_unsigned(slash + 1, 10, MIN_PREFIX, MAX_PREFIX, &prefix, NULL) ||
        !sl_ip_parse(head, &ip))
        return false;
    *ret_subnet = (SlSubnet){ ip & mask_of((int)prefix), (int)prefix };
    return true;
}

char *
sl_subnet_format(SlSubnet subnet)
{
    g_autofree char *ip = sl_ip_format(subnet.address);

    return g_strdup_printf("%s/%d", ip, subnet.prefix);
}

bool
sl_subnet_has(SlSubnet subnet, uint32_t ip)
{
    return (ip & mask_of(subnet.prefix)) == subnet.address;
}

bool
sl_subnets_overlap(SlSubnet a, SlSubnet b)
{
    return sl_subnet_has(a, b.address) || sl_subnet_has(b, a.address);
}

/* ---- addresses ---- */

static uint32_t
last_of(SlSubnet subnet)
{
    return subnet.address | ~mask_of(subnet.prefix);
}

void
sl_ipam_init(SlIpam *ipam, SlSubnet subnet, const SlSubnet *range)
{
    ipam->subnet = subnet;
    ipam->first = MAX(subnet.address + 1, range ? range->address : 0);
    ipam->last = MIN(last_of(subnet) - 1, range ? last_of(*range) : UINT32_MAX);
    ipam->next = ipam->first;
    ipam->taken = g_hash_table_new(NULL, NULL);
}

void
sl_ipam_clear(SlIpam *ipam)
{
    g_clear_pointer(&ipam->taken, g_hash_table_unref);
}

bool
sl_ipam_is_free(const SlIpam *ipam, uint32_t ip)
{
    return sl_subnet_has(ipam->subnet, ip) && ip != ipam->subnet.address && ip != last_of(ipam->subnet) &&
           !g_hash_table_contains(ipam->taken, GUINT_TO_POINTER(ip));
}

bool
sl_ipam_take(SlIpam *ipam, uint32_t wanted, uint32_t *ret_ip, GError **error)
{
    uint32_t ip = wanted;

    if (wanted && !sl_subnet_has(ipam->subnet, wanted))
        return sl_fail(error, SL_ERROR_INVALID,
                       "Invalid address: it does not belong to the network's subnet");
    if (wanted && !sl_ipam_is_free(ipam, wanted))
        return sl_fail(error, SL_ERROR_FORBIDDEN, "Address already in use");
    for (; !wanted; ipam->next++) {
        if (ipam->next > ipam->last)
            return sl_fail(error, SL_ERROR_SYSTEM,
                           "no available IPv4 addresses on this network's address pools");
        if (sl_ipam_is_free(ipam, ipam->next)) {
            ip = ipam->next;
            break;
        }
    }
    g_hash_table_add(ipam->taken, GUINT_TO_POINTER(ip));
    *ret_ip = ip;
    return true;
}

void
sl_ipam_give_back(SlIpam *ipam, uint32_t ip)
{
    g_hash_table_remove(ipam->taken, GUINT_TO_POINTER(ip));
    if (ip >= ipam->first && ip < ipam->next)
        ipam->next = ip;
}

/* ---- pools ---- */

static bool
is_unused(SlSubnet pool, const SlSubnet *in_use, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (sl_subnets_overlap(pool, in_use[i]))
            return false;
    }
    return true;
}

bool
sl_ipam_choose_pool(const SlSubnet *in_use, size_t n, SlSubnet *ret_subnet, GError **error)
{
    static const struct {
        SlSubnet first;
        unsigned n;
    } pools[] = { { { 0xac110000, 16 }, 15 },
                  { { 0xc0a80000, 20 }, 16 } }; /* 172.17.0.0/16 …, 192.168.0.0/20 … */

    for (size_t i = 0; i < G_N_ELEMENTS(pools); i++) {
        SlSubnet pool = pools[i].first;

        for (unsigned k = 0; k < pools[i].n; k++, pool.address += UINT32_C(1) << (32 - pool.prefix)) {
            if (!is_unused(pool, in_use, n))
                continue;
            *ret_subnet = pool;
            return true;
        }
    }
    return sl_fail(
        error, SL_ERROR_SYSTEM,
        "could not find an available, non-overlapping IPv4 address pool among the defaults to assign to "
        "the network");
}
