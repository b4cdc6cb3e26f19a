#include "net/stdcopy.h"

static void
test_round_trip(void)
{
    uint8_t header[SL_STDCOPY_HEADER];
    SlStdStream stream = SL_STD_IN;
    uint32_t n = 0;

    sl_stdcopy_put_header(header, SL_STD_ERR, 0x00010203);
    g_assert_cmpmem(header, sizeof header, "\2\0\0\0\0\1\2\3", 8);
    g_assert_true(sl_stdcopy_get_header(header, &stream, &n));
    g_assert_cmpint(stream, ==, SL_STD_ERR);
    g_assert_cmpuint(n, ==, 0x00010203);
}

static void
test_lies(void)
{
    static const uint8_t lies[][SL_STDCOPY_HEADER] = {
        { 3, 0, 0, 0, 0, 0, 0, 1 },
        { 255, 0, 0, 0, 0, 0, 0, 1 },
        { 1, 1, 0, 0, 0, 0, 0, 1 },
        { 1, 0, 1, 0, 0, 0, 0, 1 },
        { 1, 0, 0, 1, 0, 0, 0, 1 },
        { 1, 0, 0, 0, 255, 255, 255, 255 },
        { 1, 0, 0, 0, 0x80, 0, 0, 0 },
        { 1, 0, 0, 0, 1, 0, 0, 1 },
        { 'H', 'T', 'T', 'P', '/', '1', '.', '1' },
    };
    uint8_t largest[SL_STDCOPY_HEADER];
    SlStdStream stream = SL_STD_IN;
    uint32_t n = 42;

    for (size_t i = 0; i < G_N_ELEMENTS(lies); i++)
        g_assert_false(sl_stdcopy_get_header(lies[i], &stream, &n));
    g_assert_cmpuint(n, ==, 42);
    sl_stdcopy_put_header(largest, SL_STD_OUT, SL_STDCOPY_MAX_FRAME);
    g_assert_true(sl_stdcopy_get_header(largest, &stream, &n));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/net/stdcopy-header-round-trip", test_round_trip);
    g_test_add_func("/net/stdcopy-refuses-lies", test_lies);
    return g_test_run();
}
