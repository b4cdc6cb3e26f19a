/*
 * The relay: long-lived streams cost a descriptor, not a thread.
 *
 * It joins two streams (the frontend's hijacked client and backend), or feeds one stream from a source and a sink (the backend's attach, logs,
 * events, wait, exec). Back-pressure everywhere: nothing is read for somebody who cannot take it. Everything happens on the thread
 * of the loop given to sl_relay_new.
 */
#pragma once

#include "net/loop.h"
#include "net/stream.h"

typedef struct SlRelay SlRelay;
typedef struct SlFeed SlFeed;

/* The loop must outlive the relay. */
SlRelay *sl_relay_new(SlLoop *loop);
/* Ends every stream. */
void sl_relay_free(SlRelay *relay);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SlRelay, sl_relay_free)
/* The number of joined pairs and feeds that are open. */
unsigned sl_relay_n_open(SlRelay *relay);

/*
 * Moves bytes between a and b, both taken, until both directions have ended; end of input on one side becomes a half-close of the other. Bytes that
 * were pending in either come first. A broken side ends both. Any thread.
 */
void sl_relay_join(SlRelay *relay, SlStream *a, SlStream *b);

/* How a feed's bytes are put on the wire. */
typedef enum SlFraming {
    SL_FRAMING_RAW,     /* as they are; the end of output is a half-close, then close */
    SL_FRAMING_CHUNKED, /* HTTP chunks; the last chunk is written at the end, then the connection is closed */
} SlFraming;

/* What a source gives next: memory, or a range of a file that is sent by sendfile. Borrowed until the next pull. */
typedef struct SlPiece {
    const void *data; /* or NULL: */
    int file;
    off_t offset;
    size_t n; /* > 0 */
} SlPiece;

typedef enum SlPull {
    SL_PULL_PIECE, /* *ret_piece is set; it is sent whole before the next pull */
    SL_PULL_WAIT,  /* nothing now: sl_feed_kick when there is */
    SL_PULL_END,   /* no more for ever */
} SlPull;

/*
 * The owner's side of a feed. All run on the loop's thread and never block.
 *
 * pull      the next piece for the client. NULL: a feed without output, which stays open until sl_feed_end.
 * push      bytes from the client; returns how many were taken (0: none now, sl_feed_kick when there is room). NULL: input is read and dropped.
 * push_eof  the client half-closed. NULL: nothing happens. Output goes on in any case.
 * done      the feed is over and stream is closed: output ended and was written, or the connection broke (is_broken), or sl_feed_end. Always called,
 *           once, last; frees user.
 */
typedef struct SlFeedOps {
    SlPull (*pull)(void *user, SlPiece *ret_piece);
    size_t (*push)(void *user, const void *data, size_t n);
    void (*push_eof)(void *user);
    void (*done)(void *user, bool is_broken);
} SlFeedOps;

/*
 * Feeds stream, which is taken. Any thread. The returned reference is the caller's: sl_feed_unref it. user may be used by ops before this returns.
 * head: bytes written before all else (an HTTP head), copied; may be NULL.
 */
SlFeed *sl_relay_feed(SlRelay *relay, SlStream *stream, SlFraming framing, const void *head, size_t n_head,
                      const SlFeedOps *ops, void *user);
SlFeed *sl_feed_ref(SlFeed *feed);
void sl_feed_unref(SlFeed *feed);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SlFeed, sl_feed_unref)
/* There may be something to pull, or room for a push. Any thread, any number of times, also after done (then nothing happens). Cheap. */
void sl_feed_kick(SlFeed *feed);
/* Ends it from our side: what was pulled is still written, then the stream is closed. Any thread. */
void sl_feed_end(SlFeed *feed);

/* The stream is an answer that a client waits for, not a conversation: once the client has ended its input and there is nothing to tell it, it has left, and
 * the feed ends broken. An answer that is still being told is told to its end. Any thread. */
void sl_feed_be_answer(SlFeed *feed);

/*
 * A queue as source: for events, wait and anything that comes in small blocks. sl_queue_ops is the ops table, the queue its user; the queue is
 * freed by the feed's end and the creator's sl_queue_unref, whichever is last.
 */
typedef struct SlQueue SlQueue;
extern const SlFeedOps sl_queue_ops;
/* limit_bytes: a reader that lets more pile up is cut off (its feed ends broken). */
SlQueue *sl_queue_new(size_t limit_bytes);
SlQueue *sl_queue_ref(SlQueue *queue);
void sl_queue_unref(SlQueue *queue);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SlQueue, sl_queue_unref)
/* The feed that drains it; once, right after sl_relay_feed. Kicks it for what was put before. */
void sl_queue_set_feed(SlQueue *queue, SlFeed *feed);
/* Adds a block; shared by reference, so that one event goes to 10,000 readers without a copy. False when the reader is gone or was cut off. Any thread. */
bool sl_queue_put(SlQueue *queue, GBytes *block);
/* No more blocks: the reader gets what is there, then the end. Any thread. */
void sl_queue_close(SlQueue *queue);
/* The reader has gone. */
bool sl_queue_is_over(SlQueue *queue);
