/* A multiplexed stream, frame by frame: a header that is accepted says what it was written from, and no size
 * runs away. */
#include "net/stdcopy.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    while (n >= SL_STDCOPY_HEADER) {
        uint8_t again[SL_STDCOPY_HEADER];
        SlStdStream stream = SL_STD_IN;
        uint32_t size = 0;

        if (!sl_stdcopy_get_header(data, &stream, &size))
            break;
        g_assert_cmpuint(size, <=, SL_STDCOPY_MAX_FRAME);
        sl_stdcopy_put_header(again, stream, size);
        g_assert_cmpmem(again, sizeof again, data, SL_STDCOPY_HEADER);
        data += SL_STDCOPY_HEADER;
        n -= SL_STDCOPY_HEADER;
        data += MIN(n, size);
        n -= MIN(n, size);
    }
    return 0;
}
