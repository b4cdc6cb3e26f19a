/* What a peer may send to an agent: the handshake's head, control messages, frames. The first byte says
 * which. */
#include "agent/handshake.h"
#include "agent/message.h"
#include "agent/protocol.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
fuzz_handshake(const uint8_t *data, size_t n)
{
    size_t n_head = sl_handshake_head_length((const char *)data, n);
    g_autofree char *key = NULL;

    if (n_head > 0 && sl_handshake_check((const char *)data, n_head, "0123456789abcdef", &key, NULL) && !key)
        abort();
}

static void
fuzz_message(const uint8_t *data, size_t n)
{
    g_auto(SlRequest) request = { 0 };
    g_autoptr(GError) error = NULL;
    bool ok = sl_request_parse(data, n, &request, &error);

    if (ok != (error == NULL) || ok != (request.type != 0))
        abort();
    if (ok && request.type <= SL_REQUEST_EXEC && (!request.argv || !request.argv[0]))
        abort();
}

static void
fuzz_frame(const uint8_t *data, size_t n)
{
    uint8_t header[SL_AGENT_FRAME_HEADER];
    SlAgentFrame frame, again;

    if (!sl_agent_frame_get(data, n, &frame))
        return;
    sl_agent_frame_put(&frame, header);
    if (!sl_agent_frame_get(header, sizeof header, &again) || again.channel != frame.channel ||
        again.offset != frame.offset || again.type != frame.type)
        abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    if (data[0] == 'H')
        fuzz_handshake(data + 1, size - 1);
    else if (data[0] == 'F')
        fuzz_frame(data + 1, size - 1);
    else
        fuzz_message(data + (data[0] == 'M'), size - (data[0] == 'M'));
    return 0;
}
