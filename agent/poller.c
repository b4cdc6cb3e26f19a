#include "agent/poller.h"

#include "common/clock.h"
#include "common/fd.h"

#include <errno.h>
#include <glib.h>
#include <sys/epoll.h>

struct SlPoller {
    int fd;
    GPtrArray *deadlines; /* borrowed; a handful */
};

SlPoller *
sl_poller_new(void)
{
    SlPoller *poller = g_new0(SlPoller, 1);

    poller->fd = epoll_create1(EPOLL_CLOEXEC);
    g_assert(poller->fd >= 0);
    poller->deadlines = g_ptr_array_new();
    return poller;
}

void
sl_poller_free(SlPoller *poller)
{
    close(poller->fd);
    g_ptr_array_unref(poller->deadlines);
    g_free(poller);
}

void
sl_source_begin(SlSource *source, int fd, void (*ready)(void *user, uint32_t events), void *user)
{
    *source = (SlSource){ .fd = fd, .ready = ready, .user = user };
}

void
sl_source_wait(SlPoller *poller, SlSource *source, uint32_t events)
{
    struct epoll_event event = { .events = events, .data.ptr = source };
    int op = source->events == 0 ? EPOLL_CTL_ADD : events == 0 ? EPOLL_CTL_DEL : EPOLL_CTL_MOD;

    if (source->fd < 0 || source->events == events)
        return;
    if (epoll_ctl(poller->fd, op, source->fd, &event) < 0)
        g_error("epoll_ctl: %s", g_strerror(errno));
    source->events = events;
}

void
sl_source_release(SlPoller *poller, SlSource *source)
{
    sl_source_wait(poller, source, 0);
    source->fd = -1;
}

void
sl_source_end(SlPoller *poller, SlSource *source)
{
    int fd = source->fd;

    sl_source_release(poller, source);
    sl_fd_clear(&fd);
}

void
sl_deadline_set(SlPoller *poller, SlDeadline *deadline, int delay_ms)
{
    if (deadline->at_ms == 0)
        g_ptr_array_add(poller->deadlines, deadline);
    deadline->at_ms = sl_clock_monotonic_ms() + delay_ms;
}

void
sl_deadline_clear(SlPoller *poller, SlDeadline *deadline)
{
    if (deadline->at_ms == 0)
        return;
    deadline->at_ms = 0;
    g_ptr_array_remove_fast(poller->deadlines, deadline);
}

static SlDeadline *
next_deadline(SlPoller *poller)
{
    SlDeadline *next = NULL;

    for (unsigned i = 0; i < poller->deadlines->len; i++) {
        SlDeadline *deadline = poller->deadlines->pdata[i];

        if (!next || deadline->at_ms < next->at_ms)
            next = deadline;
    }
    return next;
}

void
sl_poller_turn(SlPoller *poller)
{
    SlDeadline *next = next_deadline(poller);
    int64_t wait_ms = next ? next->at_ms - sl_clock_monotonic_ms() : -1;
    struct epoll_event event;
    int n;

    if (next && wait_ms <= 0) {
        sl_deadline_clear(poller, next);
        next->passed(next->user);
        return;
    }
    n = epoll_wait(poller->fd, &event, 1, (int)MIN(wait_ms, G_MAXINT));
    if (n == 1) {
        SlSource *source = event.data.ptr;

        source->ready(source->user, event.events);
    }
}
