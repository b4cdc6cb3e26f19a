/*
 * A byte transport: a non-blocking descriptor, with the bytes that were read past the HTTP head. The seam for TLS: a stream
 * may later carry an SSL object, and nobody but net/stream.c and the relay would know.
 *
 * Owned by one thread at a time; handed over whole (server → handler → relay).
 */
#pragma once

#include "common/cancel.h"

#include <stddef.h>
#include <sys/types.h>

typedef struct SlStream SlStream;

/* Takes fd, which becomes non-blocking. */
SlStream *sl_stream_new(int fd);
/* Closes. */
void sl_stream_free(SlStream *stream);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SlStream, sl_stream_free)

int sl_stream_get_fd(SlStream *stream);
/* Puts n bytes in front of what the descriptor will give; copied. */
void sl_stream_unread(SlStream *stream, const void *data, size_t n);
/* Bytes that a read gives without asking the kernel: poll() does not tell of them. */
size_t sl_stream_n_pending(SlStream *stream);

enum { SL_STREAM_AGAIN = -1, SL_STREAM_FAILED = -2 };
/* > 0 bytes, 0 end of input, SL_STREAM_AGAIN would block, SL_STREAM_FAILED broken (errno). */
ssize_t sl_stream_read_some(SlStream *stream, void *data, size_t n);
/* > 0 bytes taken, SL_STREAM_AGAIN, SL_STREAM_FAILED. Never raises SIGPIPE. */
ssize_t sl_stream_write_some(SlStream *stream, const void *data, size_t n);
/* As sendfile(2): sends from file at *offset, moving it. */
ssize_t sl_stream_send_file(SlStream *stream, int file, off_t *offset, size_t n);
/* Our half is over; the other side reads end of file. */
void sl_stream_shutdown_write(SlStream *stream);

/* Blocking forms. timeout_ms counts without progress; -1: none.
 * Errors: SL_ERROR_SYSTEM with errno's words, SL_ERROR_CANCELLED, SL_ERROR_DEADLINE. */
bool sl_stream_write_all(SlStream *stream, SlCancel *cancel, const void *data, size_t n, int timeout_ms,
                         GError **error);
/* ret_n 0 at the end of input. */
bool sl_stream_read(SlStream *stream, SlCancel *cancel, void *data, size_t n, int timeout_ms, size_t *ret_n,
                    GError **error);
