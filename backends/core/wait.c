#include "backends/core/container.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

typedef struct Waiter {
    unsigned number;
    SlWaitFor wait_for;
    SlWaitTell tell;
    void *user;
} Waiter;

static bool
is_over(const SlState *state, SlWaitFor wait_for)
{
    if (state->phase == SL_PHASE_GONE)
        return true;
    return wait_for == SL_WAIT_NOT_RUNNING && !sl_lifecycle_is_up(state) && state->phase != SL_PHASE_STARTING;
}

unsigned
sl_container_wait(SlContainer *container, SlWaitFor wait_for, SlWaitTell tell, void *user)
{
    static atomic_uint last_number;
    g_autofree char *message = NULL;
    Waiter *waiter = NULL;
    SlState state;

    pthread_mutex_lock(&container->lock);
    state = container->state;
    if (!is_over(&state, wait_for)) {
        waiter = g_new(Waiter, 1);
        *waiter = (Waiter){ atomic_fetch_add(&last_number, 1) + 1, wait_for, tell, user };
        g_ptr_array_add(container->waiters, waiter);
    } else {
        message = g_strdup(container->error);
    }
    pthread_mutex_unlock(&container->lock);

    if (waiter)
        return waiter->number;
    tell(user, state.exit_code, message);
    return 0;
}

bool
sl_container_unwait(SlContainer *container, unsigned number)
{
    SL_LOCK_GUARD(&container->lock);

    for (guint i = 0; i < container->waiters->len; i++) {
        Waiter *waiter = container->waiters->pdata[i];

        if (waiter->number != number)
            continue;
        g_ptr_array_remove_index_fast(container->waiters, i);
        g_free(waiter);
        return true;
    }
    return false;
}

void
sl_container_tell_waiters(SlContainer *container, bool is_gone)
{
    g_autoptr(GPtrArray) told = g_ptr_array_new_with_free_func(g_free);
    g_autofree char *message = NULL;
    int exit_code;

    pthread_mutex_lock(&container->lock);
    exit_code = container->state.exit_code;
    message = g_strdup(container->error);
    for (guint i = 0; i < container->waiters->len;) {
        Waiter *waiter = container->waiters->pdata[i];

        if (is_gone || waiter->wait_for != SL_WAIT_REMOVED)
            g_ptr_array_add(told, g_ptr_array_remove_index(container->waiters, i));
        else
            i++;
    }
    pthread_mutex_unlock(&container->lock);

    for (guint i = 0; i < told->len; i++) {
        Waiter *waiter = told->pdata[i];

        waiter->tell(waiter->user, exit_code, message);
    }
}

/* Lives on the stack of the thread that waits; the lock keeps it there until the teller is done with it. */
typedef struct Wake {
    pthread_mutex_t lock;
    int fd;
} Wake;

static void
tell_wake(void *user, int exit_code, const char *message)
{
    Wake *wake = user;
    SL_LOCK_GUARD(&wake->lock);

    eventfd_write(wake->fd, 1);
}

bool
sl_container_wait_blocking(SlContainer *container, SlWaitFor wait_for, SlCancel *cancel, int timeout_ms,
                           GError **error)
{
    Wake wake = { .lock = PTHREAD_MUTEX_INITIALIZER, .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) };
    unsigned number;
    bool ok;

    if (wake.fd < 0)
        return sl_fail(error, SL_ERROR_UNAVAILABLE, "no descriptor is left to wait with");
    number = sl_container_wait(container, wait_for, tell_wake, &wake);
    ok = sl_cancel_wait_fd(cancel, wake.fd, POLLIN, timeout_ms, error);
    /* One that is being told right now holds &wake: its write is what we wait for then. */
    if (!ok && number > 0 && !sl_container_unwait(container, number))
        sl_cancel_wait_fd(NULL, wake.fd, POLLIN, -1, NULL);
    pthread_mutex_lock(&wake.lock);
    pthread_mutex_unlock(&wake.lock);
    pthread_mutex_destroy(&wake.lock);
    close(wake.fd);
    return ok;
}
