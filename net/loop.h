/*
 * An event loop: one thread, one epoll. The HTTP server parks connections in one; the relay and all agent links share another.
 *
 * Callbacks run on the loop's thread and never block. All functions may be called from any thread unless said otherwise.
 */
#pragma once

#include "common/error.h"

#include <stdint.h>

typedef struct SlLoop SlLoop;
typedef struct SlWatch SlWatch;
typedef struct SlTimer SlTimer;

/* Starts the thread. */
SlLoop *sl_loop_new(const char *name, GError **error);
/* Ends and joins the thread; what was posted is run first. Watches must be gone. */
void sl_loop_free(SlLoop *loop);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SlLoop, sl_loop_free)
bool sl_loop_is_current(SlLoop *loop);

/* Runs fn(data) soon, after what was posted before; also on the loop's own thread. Never inline. */
void sl_loop_post(SlLoop *loop, void (*fn)(void *), void *data);

/* Loop thread only: watches. events are epoll's; level-triggered unless EPOLLET is among them. 0 takes the descriptor out of the epoll, as HUP and ERR cannot be
 * masked and would spin. The callback may change or end its own and any other watch: no callback comes after sl_watch_end. */
SlWatch *sl_watch_new(SlLoop *loop, int fd, uint32_t events, void (*ready)(void *data, uint32_t events),
                      void *data);
void sl_watch_set(SlWatch *watch, uint32_t events);
/* Does not close the descriptor; call it before closing. */
void sl_watch_end(SlWatch *watch);
/* Any thread: takes the descriptor out of the epoll for good, so that it may be closed or watched elsewhere at once. A callback may still be on its way;
 * the watch has to be ended as ever. */
void sl_watch_detach(SlWatch *watch);

/* Loop thread only: one-shot timers. The timer is gone when its callback runs. */
SlTimer *sl_timer_new(SlLoop *loop, int64_t delay_ms, void (*fire)(void *data), void *data);
void sl_timer_end(SlTimer *timer);
