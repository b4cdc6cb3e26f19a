#include "agent/protocol.h"

#include <glib.h>

static void
test_round_trip(void)
{
    static const SlAgentFrame frames[] = {
        { SL_AGENT_DATA, 0, 0 },
        { SL_AGENT_WINDOW_TO, 1, 256 },
        { SL_AGENT_END, UINT32_MAX, UINT64_MAX },
        { SL_AGENT_GROWN, 0, UINT64_C(0x0102030405060708) },
        { SL_AGENT_SEEN, 7, 1 },
        { SL_AGENT_LEFT, 0, 0 },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(frames); i++) {
        uint8_t header[SL_AGENT_FRAME_HEADER];
        SlAgentFrame read = { 0 };

        sl_agent_frame_put(&frames[i], header);
        g_assert_true(sl_agent_frame_get(header, sizeof header, &read));
        g_assert_cmpint(read.type, ==, frames[i].type);
        g_assert_cmpuint(read.channel, ==, frames[i].channel);
        g_assert_cmpuint(read.offset, ==, frames[i].offset);
    }
}

static void
test_bytes_are_the_documented_ones(void)
{
    static const uint8_t wanted[] = { 2, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 3, 4, 5, 6, 7 };
    uint8_t header[SL_AGENT_FRAME_HEADER];

    sl_agent_frame_put(&(SlAgentFrame){ SL_AGENT_WINDOW_TO, 0x0102, UINT64_C(0x0304050607) }, header);
    g_assert_cmpmem(header, sizeof header, wanted, sizeof wanted);
}

static void
test_refuses(void)
{
    uint8_t header[SL_AGENT_FRAME_HEADER] = { SL_AGENT_DATA };
    SlAgentFrame frame;

    g_assert_false(sl_agent_frame_get(header, sizeof header - 1, &frame));
    header[0] = 0;
    g_assert_false(sl_agent_frame_get(header, sizeof header, &frame));
    header[0] = SL_AGENT_LEFT + 1;
    g_assert_false(sl_agent_frame_get(header, sizeof header, &frame));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/agent/frames-survive-the-wire", test_round_trip);
    g_test_add_func("/agent/frames-are-big-endian-as-documented", test_bytes_are_the_documented_ones);
    g_test_add_func("/agent/short-and-unknown-frames-are-refused", test_refuses);
    return g_test_run();
}
