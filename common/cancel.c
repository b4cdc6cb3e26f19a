#include "common/cancel.h"

#include "common/clock.h"
#include "common/thread.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct SlCancel {
    atomic_int refs;
    atomic_bool is_fired;
    pthread_mutex_t lock;
    int fd; /* -1 until somebody asks */
};

SlCancel *
sl_cancel_new(void)
{
    SlCancel *cancel = g_new0(SlCancel, 1);

    cancel->refs = 1;
    cancel->fd = -1;
    pthread_mutex_init(&cancel->lock, NULL);
    return cancel;
}

SlCancel *
sl_cancel_ref(SlCancel *cancel)
{
    atomic_fetch_add(&cancel->refs, 1);
    return cancel;
}

void
sl_cancel_unref(SlCancel *cancel)
{
    if (!cancel || atomic_fetch_sub(&cancel->refs, 1) != 1)
        return;
    if (cancel->fd >= 0)
        close(cancel->fd);
    pthread_mutex_destroy(&cancel->lock);
    g_free(cancel);
}

static void
make_readable(int fd)
{
    eventfd_write(fd, 1);
}

void
sl_cancel_fire(SlCancel *cancel)
{
    SL_LOCK_GUARD(&cancel->lock);

    if (!atomic_exchange(&cancel->is_fired, true) && cancel->fd >= 0)
        make_readable(cancel->fd);
}

bool
sl_cancel_is_fired(SlCancel *cancel)
{
    return cancel && atomic_load(&cancel->is_fired);
}

int
sl_cancel_fd(SlCancel *cancel)
{
    if (!cancel)
        return -1;
    SL_LOCK_GUARD(&cancel->lock);

    if (cancel->fd < 0) {
        cancel->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (cancel->fd >= 0 && atomic_load(&cancel->is_fired))
            make_readable(cancel->fd);
    }
    return cancel->fd;
}

bool
sl_cancel_wait_fd(SlCancel *cancel, int fd, short events, int timeout_ms, GError **error)
{
    struct pollfd waits[] = { { .fd = fd, .events = events },
                              { .fd = sl_cancel_fd(cancel), .events = POLLIN } };
    int64_t until_ms = sl_clock_monotonic_ms() + timeout_ms;

    for (;;) {
        int64_t left_ms = timeout_ms < 0 ? -1 : MAX(0, until_ms - sl_clock_monotonic_ms());
        int n;

        if (sl_cancel_is_fired(cancel))
            return sl_fail(error, SL_ERROR_CANCELLED, "cancelled");
        n = poll(waits, G_N_ELEMENTS(waits), (int)left_ms);
        if (n < 0 && errno != EINTR)
            return sl_fail_errno(error, errno, "waiting for descriptor %d", fd);
        if (n > 0 && waits[0].revents)
            return true;
        if (n == 0)
            return sl_fail(error, SL_ERROR_DEADLINE, "no answer within %d ms", timeout_ms);
    }
}

bool
sl_cancel_sleep(SlCancel *cancel, int duration_ms, GError **error)
{
    g_autoptr(GError) local = NULL;

    sl_cancel_wait_fd(cancel, -1, 0, duration_ms, &local);
    if (g_error_matches(local, SL_ERROR, SL_ERROR_DEADLINE))
        return true;
    g_propagate_error(error, g_steal_pointer(&local));
    return false;
}
