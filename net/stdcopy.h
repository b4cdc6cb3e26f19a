/* Docker's multiplexed stream: 8-byte header (stream, 0, 0, 0, size big-endian), then size bytes. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

enum { SL_STDCOPY_HEADER = 8, SL_STDCOPY_MAX_FRAME = 16 * 1024 * 1024 };

/* SL_STD_SYSTEM: what the daemon says to a client in a stream, and only there; clients show it as an error. */
typedef enum SlStdStream { SL_STD_IN = 0, SL_STD_OUT = 1, SL_STD_ERR = 2, SL_STD_SYSTEM = 3 } SlStdStream;

static inline void
sl_stdcopy_put_header(uint8_t header[SL_STDCOPY_HEADER], SlStdStream stream, uint32_t n)
{
    header[0] = (uint8_t)stream;
    header[1] = header[2] = header[3] = 0;
    header[4] = (uint8_t)(n >> 24);
    header[5] = (uint8_t)(n >> 16);
    header[6] = (uint8_t)(n >> 8);
    header[7] = (uint8_t)n;
}

/* False for a stream other than 0…2, non-zero filling or a size above SL_STDCOPY_MAX_FRAME. */
bool sl_stdcopy_get_header(const uint8_t header[SL_STDCOPY_HEADER], SlStdStream *ret_stream, uint32_t *ret_n);
