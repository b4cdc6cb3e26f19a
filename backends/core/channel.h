/*
 * One channel of an agent link: an exec's input and output, or a container's stdin (number 0, input only). Everything on the loop's thread unless said otherwise.
 */
#pragma once

#include "backends/core/link.h"
#include "net/relay.h"

typedef struct SlChannel SlChannel;

SlChannel *sl_channel_new(SlLink *link, uint32_t number); /* any thread */
SlChannel *sl_channel_ref(SlChannel *channel);
void sl_channel_unref(SlChannel *channel);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SlChannel, sl_channel_unref)

/* The feed that is kicked when there is output, room for input, or the end. Until it is set output is kept; NULL: nobody, output is dropped. Own reference. */
void sl_channel_set_feed(SlChannel *channel, SlFeed *feed);
/* Input continues at offset: after a restart of the daemon. Before any push. */
void sl_channel_resume(SlChannel *channel, uint64_t sent);

/* What SlFeedOps of its user do. */
SlPull sl_channel_pull(SlChannel *channel, SlPiece *ret_piece);
size_t sl_channel_push(SlChannel *channel, const void *data, size_t n);
void sl_channel_push_eof(SlChannel *channel);
/* How many bytes a push would take now. */
size_t sl_channel_room(const SlChannel *channel);
/* Ends the feed that was set: its client leaves, the process stays. */
void sl_channel_end_feed(SlChannel *channel);

/* What comes from the link. */
void sl_channel_receive(SlChannel *channel, uint64_t offset, const uint8_t *data, size_t n);
void sl_channel_granted(SlChannel *channel, uint64_t offset);
/* The process is over (its exit is known), or the link broke: the reader gets what is there, then its end. */
void sl_channel_over(SlChannel *channel);
