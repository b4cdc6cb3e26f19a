/* An address from a flag or a variable: what is accepted is printed and read back as the same. */
#include "net/address.h"

#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    g_autofree char *text = g_strndup((const char *)data, n);
    g_auto(SlAddress) first = { 0 };
    g_auto(SlAddress) second = { 0 };
    g_autofree char *printed = NULL;

    if (!sl_address_parse(text, &first, NULL))
        return 0;
    printed = sl_address_format(&first);
    g_assert_true(sl_address_parse(printed, &second, NULL));
    g_assert_cmpstr(first.path, ==, second.path);
    g_assert_cmpstr(first.host, ==, second.host);
    g_assert_cmpint(first.port, ==, second.port);
    g_assert_true(!first.path == !!first.host);
    return 0;
}
