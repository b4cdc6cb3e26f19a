/*
 * The agent's event loop: one thread, one epoll. (net/loop.h has a thread of its own; the agent must not have
 * a second one.)
 *
 * Sources and timers are embedded in what they belong to. One event is taken from the kernel at a time, so a
 * source that was ended gets no event that was already on its way.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

typedef struct SlPoller SlPoller;

typedef struct SlSource {
    int fd;          /* -1 when ended */
    uint32_t events; /* what it waits for; 0: not in the epoll, as HUP and ERR cannot be masked */
    void (*ready)(void *user, uint32_t events);
    void *user;
} SlSource;

typedef struct SlDeadline {
    int64_t at_ms; /* monotonic; 0: not set */
    void (*passed)(void *user);
    void *user;
} SlDeadline;

SlPoller *sl_poller_new(void);
void sl_poller_free(SlPoller *poller);

/* Takes fd, until sl_source_release. Waits for nothing yet. */
void sl_source_begin(SlSource *source, int fd, void (*ready)(void *user, uint32_t events), void *user);
/* events: epoll's, level-triggered. */
void sl_source_wait(SlPoller *poller, SlSource *source, uint32_t events);
/* Closes the descriptor. An ended source may be ended again. */
void sl_source_end(SlPoller *poller, SlSource *source);
/* Ends it without closing: the descriptor is somebody else's. */
void sl_source_release(SlPoller *poller, SlSource *source);

/* One-shot; set again replaces. The deadline must be cleared before its memory goes. */
void sl_deadline_set(SlPoller *poller, SlDeadline *deadline, int delay_ms);
void sl_deadline_clear(SlPoller *poller, SlDeadline *deadline);

/* Waits for one event or deadline and calls its owner. */
void sl_poller_turn(SlPoller *poller);
