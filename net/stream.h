/*
 * A byte transport: a non-blocking descriptor, with the bytes that were read past the HTTP head; with a layer between the two
 * where there is TLS (net/tls.h), of which nobody else has to know.
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

/* What stands between a stream and its descriptor. Results as of the functions of the stream below. */
typedef struct SlStreamLayer {
    ssize_t (*read)(void *user, void *data, size_t n);
    ssize_t (*write)(void *user, const void *data, size_t n);
    size_t (*n_pending)(void *user);
    bool (*shutdown_write)(void *user);
    short (*poll_events)(void *user, short events);
    const char *(*failure)(void *user);
    void (*free)(void *user); /* before the descriptor is closed */
} SlStreamLayer;
/* Takes fd and user. */
SlStream *sl_stream_new_layered(int fd, const SlStreamLayer *layer, void *user);
bool sl_stream_has_layer(SlStream *stream);
/* The layer is over: what is read and written from now on is the descriptor's. */
void sl_stream_drop_layer(SlStream *stream);
/* user of a stream with this layer, else NULL. */
void *sl_stream_get_layer(SlStream *stream, const SlStreamLayer *layer);
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
/* Whether a read that gave got of room bytes may have left some that no new event would tell of. */
bool sl_stream_may_have_more(SlStream *stream, ssize_t got, size_t room);
/* > 0 bytes taken, SL_STREAM_AGAIN, SL_STREAM_FAILED. Never raises SIGPIPE (TLS: as long as the program ignores it). After
 * SL_STREAM_AGAIN the next write begins with the same bytes and has no fewer of them; the layer may have taken note of them. */
ssize_t sl_stream_write_some(SlStream *stream, const void *data, size_t n);
/* As sendfile(2): sends from file at *offset, moving it. */
ssize_t sl_stream_send_file(SlStream *stream, int file, off_t *offset, size_t n);
/* Our half is over; the other side reads end of file. False: not yet said, again when it is writable. */
bool sl_stream_shutdown_write(SlStream *stream);
/* poll's events to wait for, when POLLIN (a read) or POLLOUT (a write) is wanted: the layer may need the other one first. */
short sl_stream_poll_events(SlStream *stream, short events);
/* Waits, with these. Errors as of sl_cancel_wait_fd. */
bool sl_stream_wait(SlStream *stream, SlCancel *cancel, short events, int timeout_ms, GError **error);
/* Open, and nothing has come that was not read: a kept connection that can be used again. */
bool sl_stream_is_quiet(SlStream *stream);
/* Why the layer failed, in words; NULL when it did not. Borrowed. */
const char *sl_stream_get_failure(SlStream *stream);

/* Blocking forms. timeout_ms counts without progress; -1: none.
 * Errors: SL_ERROR_SYSTEM with errno's words, SL_ERROR_CANCELLED, SL_ERROR_DEADLINE. */
bool sl_stream_write_all(SlStream *stream, SlCancel *cancel, const void *data, size_t n, int timeout_ms,
                         GError **error);
/* ret_n 0 at the end of input. */
bool sl_stream_read(SlStream *stream, SlCancel *cancel, void *data, size_t n, int timeout_ms, size_t *ret_n,
                    GError **error);
