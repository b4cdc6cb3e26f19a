/* IPv4 subnets and who has which address of one. Pure; the caller locks. Addresses in host byte order. */
#pragma once

#include "common/error.h"

#include <stdint.h>

typedef struct SlSubnet {
    uint32_t address; /* the network's: no host bits */
    int prefix;
} SlSubnet;

bool sl_ip_parse(const char *text, uint32_t *ret_ip);
char *sl_ip_format(uint32_t ip);
/* "10.1.0.0/16"; host bits are dropped. */
bool sl_subnet_parse(const char *text, SlSubnet *ret_subnet);
char *sl_subnet_format(SlSubnet subnet);
bool sl_subnet_has(SlSubnet subnet, uint32_t ip);
bool sl_subnets_overlap(SlSubnet a, SlSubnet b);

typedef struct SlIpam {
    SlSubnet subnet;
    uint32_t first, last; /* what is given to those who don't care */
    uint32_t next;        /* none below is free */
    GHashTable *taken;    /* of GUINT_TO_POINTER */
} SlIpam;

/* range: NULL for the whole subnet. The network's own and the broadcast address are never given. */
void sl_ipam_init(SlIpam *ipam, SlSubnet subnet, const SlSubnet *range);
void sl_ipam_clear(SlIpam *ipam);
/* wanted 0: the lowest free one. Errors: SL_ERROR_INVALID outside the subnet, SL_ERROR_FORBIDDEN "Address already in
 * use", SL_ERROR_SYSTEM when none is left; Docker's words. */
bool sl_ipam_take(SlIpam *ipam, uint32_t wanted, uint32_t *ret_ip, GError **error);
void sl_ipam_give_back(SlIpam *ipam, uint32_t ip);
bool sl_ipam_is_free(const SlIpam *ipam, uint32_t ip);

/* The next of Docker's default pools that overlaps none of n subnets. Errors: SL_ERROR_SYSTEM. */
bool sl_ipam_choose_pool(const SlSubnet *in_use, size_t n, SlSubnet *ret_subnet, GError **error);
