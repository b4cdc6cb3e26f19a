#include "net/stdcopy.h"

bool
sl_stdcopy_get_header(const uint8_t header[SL_STDCOPY_HEADER], SlStdStream *ret_stream, uint32_t *ret_n)
{
    uint32_t n = (uint32_t)header[4] << 24 | (uint32_t)header[5] << 16 | (uint32_t)header[6] << 8 | header[7];

    if (header[0] > SL_STD_ERR || header[1] || header[2] || header[3] || n > SL_STDCOPY_MAX_FRAME)
        return false;
    *ret_stream = (SlStdStream)header[0];
    *ret_n = n;
    return true;
}
