/* Threads and locks: pthread with scope-bound unlocking. ThreadSanitizer understands these and not GMutex. */
#pragma once

#include "common/error.h"

#include <pthread.h>

enum {
    SL_THREAD_STACK_BYTES = 256 * 1024, /* handlers keep big buffers on the heap */
};

static inline pthread_mutex_t *
sl_lock_take_(pthread_mutex_t *mutex)
{
    pthread_mutex_lock(mutex);
    return mutex;
}

static inline void
sl_lock_release_(pthread_mutex_t **mutex)
{
    if (*mutex)
        pthread_mutex_unlock(*mutex);
}

/* Locks now, unlocks at the end of the scope. One a scope. */
#define SL_LOCK_GUARD(mutex)                                                                                 \
    __attribute__((cleanup(sl_lock_release_), unused)) pthread_mutex_t *sl_lock_guard_ = sl_lock_take_(mutex)

/* Starts run(data) on a detached thread with SL_THREAD_STACK_BYTES of stack and every signal blocked. name: 15 bytes kept. */
bool sl_thread_detach(const char *name, void *(*run)(void *), void *data, GError **error);
/* The same, joinable. */
bool sl_thread_start(const char *name, void *(*run)(void *), void *data, pthread_t *ret_thread,
                     GError **error);

/*
 * An elastic pool: jobs start at once, on a parked thread or a new one; threads park for some seconds, then end. One thread lasts as long as the pool, so that
 * jobs are done, one after another, even where no other thread can be had: never on the thread that asks, which may be a loop's.
 */
typedef struct SlPool SlPool;
/* Aborts with a sentence when not even one thread can be had: a program that starts so cannot serve. */
SlPool *sl_pool_new(const char *name, unsigned max_threads);
/* Runs job(data) on some thread of the pool. Queues when max_threads are busy or no more can be had. Any thread; never fails. */
void sl_pool_run(SlPool *pool, void (*job)(void *), void *data);
/* No further thread could be had, and jobs wait: whoever can say no to more work should. Any thread. */
bool sl_pool_is_starved(SlPool *pool);
/* Waits for queued and running jobs, then frees. No sl_pool_run may come any more. */
void sl_pool_free(SlPool *pool);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SlPool, sl_pool_free)
