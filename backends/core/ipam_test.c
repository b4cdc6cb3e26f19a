#include "backends/core/ipam.h"

static SlSubnet
subnet(const char *text)
{
    SlSubnet parsed;

    g_assert_true(sl_subnet_parse(text, &parsed));
    return parsed;
}

static uint32_t
ip(const char *text)
{
    uint32_t parsed;

    g_assert_true(sl_ip_parse(text, &parsed));
    return parsed;
}

static void
test_subnets_are_read_and_written(void)
{
    static const char *const bad[] = { "",           "10.0.0.0",    "10.0.0.0/", "10.0.0.0/0", "10.0.0.0/31",
                                       "10.0.0/8",   "10.0.0.0/8x", "fd00::/64", "/8",         "10.0.0.0/-1",
                                       "256.0.0.0/8" };
    g_autofree char *text = sl_subnet_format(subnet("10.1.2.3/16"));
    SlSubnet parsed;

    g_assert_cmpstr(text, ==, "10.1.0.0/16");
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++)
        g_assert_false(sl_subnet_parse(bad[i], &parsed));
    g_assert_false(sl_subnet_parse(NULL, &parsed));
    g_assert_true(sl_subnets_overlap(subnet("10.0.0.0/8"), subnet("10.3.0.0/16")));
    g_assert_true(sl_subnets_overlap(subnet("10.3.0.0/16"), subnet("10.0.0.0/8")));
    g_assert_false(sl_subnets_overlap(subnet("10.3.0.0/16"), subnet("10.4.0.0/16")));
}

static void
test_the_lowest_free_address_is_given(void)
{
    SlIpam ipam;
    uint32_t given;

    sl_ipam_init(&ipam, subnet("10.0.0.0/29"), NULL);
    for (uint32_t i = 1; i <= 6; i++) {
        g_assert_true(sl_ipam_take(&ipam, 0, &given, NULL));
        g_assert_cmpuint(given, ==, ip("10.0.0.0") + i);
    }
    g_assert_false(sl_ipam_take(&ipam, 0, &given, NULL));
    sl_ipam_give_back(&ipam, ip("10.0.0.5"));
    sl_ipam_give_back(&ipam, ip("10.0.0.3"));
    g_assert_true(sl_ipam_take(&ipam, 0, &given, NULL));
    g_assert_cmpuint(given, ==, ip("10.0.0.3"));
    sl_ipam_clear(&ipam);
}

static void
test_an_address_is_asked_for(void)
{
    g_autoptr(GError) taken = NULL;
    g_autoptr(GError) outside = NULL;
    SlIpam ipam;
    uint32_t given;

    sl_ipam_init(&ipam, subnet("10.0.0.0/24"), NULL);
    g_assert_true(sl_ipam_take(&ipam, ip("10.0.0.9"), &given, NULL));
    g_assert_false(sl_ipam_take(&ipam, ip("10.0.0.9"), &given, &taken));
    g_assert_error(taken, SL_ERROR, SL_ERROR_FORBIDDEN);
    g_assert_cmpstr(taken->message, ==, "Address already in use");
    g_assert_false(sl_ipam_take(&ipam, ip("10.0.1.9"), &given, &outside));
    g_assert_error(outside, SL_ERROR, SL_ERROR_INVALID);
    g_assert_false(sl_ipam_is_free(&ipam, ip("10.0.0.0")));
    g_assert_false(sl_ipam_is_free(&ipam, ip("10.0.0.255")));
    sl_ipam_clear(&ipam);
}

static void
test_a_range_bounds_what_is_given(void)
{
    SlSubnet range = subnet("10.0.5.0/30");
    SlIpam ipam;
    uint32_t given;

    sl_ipam_init(&ipam, subnet("10.0.0.0/16"), &range);
    for (uint32_t i = 0; i < 4; i++) {
        g_assert_true(sl_ipam_take(&ipam, 0, &given, NULL));
        g_assert_cmpuint(given, ==, ip("10.0.5.0") + i);
    }
    g_assert_false(sl_ipam_take(&ipam, 0, &given, NULL));
    g_assert_true(sl_ipam_take(&ipam, ip("10.0.9.9"), &given, NULL));
    sl_ipam_clear(&ipam);
}

static void
test_pools_follow_each_other_until_none_is_left(void)
{
    g_autoptr(GArray) in_use = g_array_new(FALSE, FALSE, sizeof(SlSubnet));
    SlSubnet chosen = { 0 };
    unsigned n = 0;

    while (sl_ipam_choose_pool((SlSubnet *)(void *)in_use->data, in_use->len, &chosen, NULL)) {
        g_autofree char *text = sl_subnet_format(chosen);

        if (n == 0)
            g_assert_cmpstr(text, ==, "172.17.0.0/16");
        if (n == 15)
            g_assert_cmpstr(text, ==, "192.168.0.0/20");
        g_array_append_val(in_use, chosen);
        n++;
    }
    g_assert_cmpuint(n, ==, 31);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/ipam/subnets-are-read-and-written", test_subnets_are_read_and_written);
    g_test_add_func("/ipam/the-lowest-free-address-is-given", test_the_lowest_free_address_is_given);
    g_test_add_func("/ipam/an-address-is-asked-for", test_an_address_is_asked_for);
    g_test_add_func("/ipam/a-range-bounds-what-is-given", test_a_range_bounds_what_is_given);
    g_test_add_func("/ipam/pools-follow-each-other-until-none-is-left",
                    test_pools_follow_each_other_until_none_is_left);
    return g_test_run();
}
