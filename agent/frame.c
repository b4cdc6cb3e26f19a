#include "agent/protocol.h"

static void
put_number(uint8_t *to, uint64_t value, unsigned n_bytes)
{
    for (unsigned i = n_bytes; i-- > 0; value >>= 8)
        to[i] = (uint8_t)value;
}

static uint64_t
get_number(const uint8_t *from, unsigned n_bytes)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < n_bytes; i++)
        value = value << 8 | from[i];
    return value;
}

void
sl_agent_frame_put(const SlAgentFrame *frame, uint8_t header[SL_AGENT_FRAME_HEADER])
{
    put_number(header, (uint64_t)frame->type << 24, 4); /* type, stream 0, flags 0 */
    put_number(header + 4, frame->channel, 4);
    put_number(header + 8, frame->offset, 8);
}

bool
sl_agent_frame_get(const uint8_t *data, size_t n, SlAgentFrame *ret_frame)
{
    if (n < SL_AGENT_FRAME_HEADER || data[0] < SL_AGENT_DATA || data[0] > SL_AGENT_LEFT)
        return false;

    *ret_frame = (SlAgentFrame){
        .type = (SlAgentFrameType)data[0],
        .channel = (uint32_t)get_number(data + 4, 4),
        .offset = get_number(data + 8, 8),
    };
    return true;
}
