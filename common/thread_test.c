#include "common/thread.h"

#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { N_JOBS = 200 };

typedef struct Gate {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int n_inside, n_most, n_done;
    bool is_open;
} Gate;

static void
wait_at_gate(void *data)
{
    Gate *gate = data;
    SL_LOCK_GUARD(&gate->lock);

    gate->n_inside++;
    gate->n_most = MAX(gate->n_most, gate->n_inside);
    pthread_cond_broadcast(&gate->changed);
    while (!gate->is_open)
        pthread_cond_wait(&gate->changed, &gate->lock);
    gate->n_inside--;
    gate->n_done++;
}

/* Jobs that wait for each other must all get a thread. */
static void
test_the_pool_grows_to_its_limit(void)
{
    g_autoptr(SlPool) pool = sl_pool_new("test", 8);
    Gate gate = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

    for (int i = 0; i < 16; i++)
        sl_pool_run(pool, wait_at_gate, &gate);
    pthread_mutex_lock(&gate.lock);
    while (gate.n_inside < 8)
        pthread_cond_wait(&gate.changed, &gate.lock);
    gate.is_open = true;
    pthread_cond_broadcast(&gate.changed);
    pthread_mutex_unlock(&gate.lock);
    g_clear_pointer(&pool, sl_pool_free);
    g_assert_cmpint(gate.n_done, ==, 16);
    g_assert_cmpint(gate.n_most, ==, 8);
}

static void
count(void *data)
{
    atomic_fetch_add((atomic_int *)data, 1);
}

static void
test_freeing_waits_for_every_job(void)
{
    atomic_int n_run = 0;
    SlPool *pool = sl_pool_new("test", 4);

    for (int i = 0; i < N_JOBS; i++)
        sl_pool_run(pool, count, &n_run);
    sl_pool_free(pool);
    g_assert_cmpint(n_run, ==, N_JOBS);
}

/* Sanitizers need address space of their own whenever they like. */
#if !defined __SANITIZE_ADDRESS__ && !defined __SANITIZE_THREAD__
static void
note_thread(void *data)
{
    pthread_t *thread = data;

    *thread = pthread_self();
}

/* In a child, whose limit leaves g_test alone: 0 when jobs were done, none of them here. */
static int
child_without_threads(void)
{
    struct rlimit none = { 0, 0 };
    SlPool *pool = sl_pool_new("test", 8);
    pthread_t threads[20];

    setrlimit(RLIMIT_AS, &none); /* not even a stack can be had */
    for (size_t i = 0; i < G_N_ELEMENTS(threads); i++) {
        threads[i] = pthread_self();
        sl_pool_run(pool, note_thread, &threads[i]);
    }
    sl_pool_free(pool);
    for (size_t i = 0; i < G_N_ELEMENTS(threads); i++)
        if (pthread_equal(threads[i], pthread_self()))
            return 2;
    return 0;
}

static void
test_without_threads_jobs_are_done_by_the_lasting_one(void)
{
    int status = -1;
    pid_t child = fork();

    if (child == 0)
        _exit(child_without_threads());
    g_assert_cmpint(waitpid(child, &status, 0), ==, child);
    g_assert_cmpint(status, ==, 0);
}
#endif

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/common/pool/grows-to-its-limit", test_the_pool_grows_to_its_limit);
    g_test_add_func("/common/pool/freeing-waits-for-every-job", test_freeing_waits_for_every_job);
#if !defined __SANITIZE_ADDRESS__ && !defined __SANITIZE_THREAD__
    g_test_add_func("/common/pool/without-threads-jobs-are-done-by-the-lasting-one",
                    test_without_threads_jobs_are_done_by_the_lasting_one);
#endif
    return g_test_run();
}
