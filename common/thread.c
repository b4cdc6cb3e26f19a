#include "common/thread.h"

#include "common/log.h"

#include <errno.h>
#include <signal.h>
#include <time.h>

enum { PARK_S = 5 };

bool
sl_thread_start(const char *name, void *(*run)(void *), void *data, pthread_t *ret_thread, GError **error)
{
    g_autofree char *short_name = g_strndup(name, 15);
    pthread_attr_t attr;
    pthread_t thread;
    sigset_t all, old;
    int failed;

    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, SL_THREAD_STACK_BYTES);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    failed = pthread_create(&thread, &attr, run, data);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attr);
    if (failed)
        return sl_fail_errno(error, failed, "starting thread %s", name);
    pthread_setname_np(thread, short_name);
    *ret_thread = thread;
    return true;
}

bool
sl_thread_detach(const char *name, void *(*run)(void *), void *data, GError **error)
{
    pthread_t thread;

    if (!sl_thread_start(name, run, data, &thread, error))
        return false;
    pthread_detach(thread);
    return true;
}

typedef struct Job {
    void (*run)(void *);
    void *data;
    struct Job *next;
} Job;

struct SlPool {
    pthread_mutex_t lock;
    pthread_cond_t work, ended;
    Job *first, **last;
    unsigned n_queued, n_idle, n_threads, max_threads;
    bool closing;
    bool is_short; /* the last thread that was wanted could not be had */
    char *name;
};

/* Waits for a job; NULL when the pool is closing, or this thread has been idle long enough and is not the one that lasts. Lock held. */
static Job *
pool_take(SlPool *pool, bool is_lasting)
{
    struct timespec until;
    Job *job;
    int waited = 0;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += PARK_S;
    while (!pool->first && !pool->closing && waited != ETIMEDOUT) {
        pool->n_idle++;
        if (is_lasting)
            pthread_cond_wait(&pool->work, &pool->lock);
        else
            waited = pthread_cond_timedwait(&pool->work, &pool->lock, &until);
        pool->n_idle--;
    }
    job = pool->first;
    if (!job)
        return NULL;
    pool->first = job->next;
    if (!pool->first)
        pool->last = &pool->first;
    pool->n_queued--;
    return job;
}

static void
work(SlPool *pool, bool is_lasting)
{
    SL_LOCK_GUARD(&pool->lock);
    for (Job *job; (job = pool_take(pool, is_lasting));) {
        pthread_mutex_unlock(&pool->lock);
        job->run(job->data);
        g_free(job);
        pthread_mutex_lock(&pool->lock);
    }
    if (--pool->n_threads == 0)
        pthread_cond_broadcast(&pool->ended);
}

static void *
lasting_thread(void *pool)
{
    work(pool, true);
    return NULL;
}

static void *
passing_thread(void *pool)
{
    work(pool, false);
    return NULL;
}

SlPool *
sl_pool_new(const char *name, unsigned max_threads)
{
    SlPool *pool = g_new0(SlPool, 1);
    g_autoptr(GError) error = NULL;
    pthread_condattr_t attr;

    pthread_mutex_init(&pool->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&pool->work, &attr);
    pthread_cond_init(&pool->ended, &attr);
    pthread_condattr_destroy(&attr);
    pool->last = &pool->first;
    pool->max_threads = max_threads;
    pool->name = g_strdup(name);
    pool->n_threads = 1;
    if (!sl_thread_detach(pool->name, lasting_thread, pool, &error))
        g_error("%s", error->message);
    return pool;
}

/* The thread was counted already. */
static void
add_thread(SlPool *pool)
{
    g_autoptr(GError) error = NULL;
    bool has_started = sl_thread_detach(pool->name, passing_thread, pool, &error);
    bool was_short;

    pthread_mutex_lock(&pool->lock);
    was_short = pool->is_short;
    pool->is_short = !has_started;
    if (!has_started)
        pool->n_threads--;
    pthread_mutex_unlock(&pool->lock);
    if (!has_started && !was_short)
        sl_warn("no more threads, jobs wait pool=%s error=\"%s\"", pool->name, error->message);
}

void
sl_pool_run(SlPool *pool, void (*run)(void *), void *data)
{
    Job *job = g_new(Job, 1);
    bool needs_thread;

    *job = (Job){ .run = run, .data = data };
    pthread_mutex_lock(&pool->lock);
    *pool->last = job;
    pool->last = &job->next;
    needs_thread = ++pool->n_queued > pool->n_idle && pool->n_threads < pool->max_threads;
    if (needs_thread)
        pool->n_threads++;
    pthread_mutex_unlock(&pool->lock);
    if (needs_thread)
        add_thread(pool);
    else
        pthread_cond_signal(&pool->work); /* unlocked: the thread that wakes needs the lock */
}

bool
sl_pool_is_starved(SlPool *pool)
{
    SL_LOCK_GUARD(&pool->lock);

    return pool->is_short && pool->n_queued > pool->n_idle;
}

void
sl_pool_free(SlPool *pool)
{
    pthread_mutex_lock(&pool->lock);
    pool->closing = true;
    pthread_cond_broadcast(&pool->work);
    while (pool->n_threads > 0)
        pthread_cond_wait(&pool->ended, &pool->lock);
    pthread_mutex_unlock(&pool->lock);
    pthread_cond_destroy(&pool->work);
    pthread_cond_destroy(&pool->ended);
    pthread_mutex_destroy(&pool->lock);
    g_free(pool->name);
    g_free(pool);
}
