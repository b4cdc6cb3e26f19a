#include "oci/registry_internal.h"

/* Where a registry stands; who leads to address from there. */
static const struct {
    bool is_loopback, is_private;
    const char *url, *address;
    bool is_allowed;
} cases[] = {
    { false, false, "https://r.example/", "93.184.216.34", true },
    { false, false, "https://r.example/", "2606:2800:220:1::1", true },
    /* A name that means something else by now. */
    { false, false, "https://r.example/", "127.0.0.1", false },
    { false, false, "https://r.example/", "127.8.9.10", false },
    { false, false, "https://r.example/", "::1", false },
    { false, false, "https://r.example/", "::ffff:127.0.0.1", false },
    { false, false, "https://r.example/", "10.1.2.3", false },
    { false, false, "https://r.example/", "172.31.0.1", false },
    { false, false, "https://r.example/", "172.32.0.1", true },
    { false, false, "https://r.example/", "192.168.1.1", false },
    { false, false, "https://r.example/", "::ffff:192.168.1.1", false },
    { false, false, "https://r.example/", "100.64.0.1", false },
    { false, false, "https://r.example/", "fd12::1", false },
    /* Within a network of its own. */
    { false, true, "https://r.example/", "10.1.2.3", true },
    { false, true, "https://r.example/", "127.0.0.1", false },
    { true, false, "http://localhost/", "127.0.0.1", true },
    { true, false, "http://localhost/", "10.1.2.3", true },
    /* What the operator allows. */
    { false, false, "https://mirror.corp/", "10.1.2.3", true },
    { false, false, "https://mirror.corp:444/", "10.1.2.3", false },
    { false, false, "https://r.example/", "10.9.0.7", true },
    /* Never. */
    { false, false, "https://mirror.corp/", "169.254.169.254", false },
    { true, true, "http://localhost/", "169.254.169.254", false },
    { true, true, "http://localhost/", "::ffff:169.254.169.254", false },
    { true, true, "http://localhost/", "fe80::1%eth0", false },
    { true, true, "http://localhost/", "fd00:ec2::254", false },
    { true, true, "http://localhost/", "64:ff9b::a9fe:a9fe", false },
    { true, true, "http://localhost/", "2002:a9fe:a9fe::1", false },
    { true, true, "http://localhost/", "100.100.100.200", false },
    { true, true, "http://localhost/", "0.0.0.0", false },
    { true, true, "http://localhost/", "224.0.0.1", false },
    { true, true, "http://localhost/", "metadata", false },
};

static void
test_addresses_are_judged_where_they_are(void)
{
    char *insecure[] = { (char[]){ "mirror.corp:443" }, (char[]){ "10.9.0.0/16" }, NULL };
    g_autoptr(SlRegistry) registry = sl_registry_new(&(SlRegistryConfig){ .insecure = insecure }, NULL);

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        const SlEndpoint endpoint = { .is_loopback = cases[i].is_loopback,
                                      .is_private = cases[i].is_private };
        g_autoptr(GError) error = NULL;
        bool is_allowed =
            sl_registry_address_check(registry, &endpoint, cases[i].url, cases[i].address, &error);

        g_test_message("%s at %s", cases[i].url, cases[i].address);
        g_assert_true(is_allowed == cases[i].is_allowed);
        if (!is_allowed)
            g_assert_error(error, SL_ERROR, SL_ERROR_FORBIDDEN);
    }
}

static void
test_insecure_is_one_host(void)
{
    g_autoptr(SlRegistry) registry = sl_registry_new(&(SlRegistryConfig){ 0 }, NULL);
    char base[] = "https://192.0.2.1:5000";
    const SlEndpoint endpoint = { .base = base, .is_insecure = true };

    g_assert_true(sl_registry_url_is_insecure(registry, &endpoint, "https://192.0.2.1:5000/v2/"));
    g_assert_true(sl_registry_url_is_insecure(registry, &endpoint, "https://192.0.2.1/token"));
    g_assert_false(sl_registry_url_is_insecure(registry, &endpoint, "https://192.0.2.2/token"));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/guard/addresses-are-judged-where-they-are", test_addresses_are_judged_where_they_are);
    g_test_add_func("/guard/insecure-is-one-host", test_insecure_is_one_host);
    return g_test_run();
}
