#include "net/loop.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/thread.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { BATCH = 64 };

typedef struct Post {
    void (*run)(void *);
    void *data;
    struct Post *next;
} Post;

struct SlLoop {
    int epoll_fd, wake_fd;
    pthread_t thread;
    GPtrArray *timers; /* a binary heap of SlTimer by due_ms */
    SlWatch *ended;    /* watches to free once no event of the batch can name them */

    pthread_mutex_t lock; /* of what follows */
    Post *first, **last;
    bool closing;
};

struct SlWatch {
    SlLoop *loop;
    int fd;
    uint32_t events;
    atomic_bool is_in_epoll;
    bool is_ended;
    void (*ready)(void *data, uint32_t events);
    void *data;
    SlWatch *next_ended;
};

struct SlTimer {
    SlLoop *loop;
    int64_t due_ms;
    guint index;
    void (*fire)(void *data);
    void *data;
};

static _Thread_local SlLoop *current_loop;

/* ---- timers ---- */

static SlTimer *
timer_at(SlLoop *loop, guint index)
{
    return g_ptr_array_index(loop->timers, index);
}

static void
timer_put(SlLoop *loop, guint index, SlTimer *timer)
{
    loop->timers->pdata[index] = timer;
    timer->index = index;
}

static void
timer_sift_up(SlLoop *loop, SlTimer *timer)
{
    guint index = timer->index;

    while (index > 0 && timer_at(loop, (index - 1) / 2)->due_ms > timer->due_ms) {
        timer_put(loop, index, timer_at(loop, (index - 1) / 2));
        index = (index - 1) / 2;
    }
    timer_put(loop, index, timer);
}

static void
timer_sift_down(SlLoop *loop, SlTimer *timer)
{
    guint index = timer->index;
    guint child;

    while ((child = 2 * index + 1) < loop->timers->len) {
        if (child + 1 < loop->timers->len &&
            timer_at(loop, child + 1)->due_ms < timer_at(loop, child)->due_ms)
            child++;
        if (timer_at(loop, child)->due_ms >= timer->due_ms)
            break;
        timer_put(loop, index, timer_at(loop, child));
        index = child;
    }
    timer_put(loop, index, timer);
}

SlTimer *
sl_timer_new(SlLoop *loop, int64_t delay_ms, void (*fire)(void *data), void *data)
{
    SlTimer *timer = g_new(SlTimer, 1);

    *timer = (SlTimer){
        .loop = loop, .due_ms = sl_clock_monotonic_ms() + MAX(0, delay_ms), .fire = fire, .data = data
    };
    timer->index = loop->timers->len;
    g_ptr_array_add(loop->timers, timer);
    timer_sift_up(loop, timer);
    return timer;
}

void
sl_timer_end(SlTimer *timer)
{
    SlLoop *loop = timer->loop;
    SlTimer *last = timer_at(loop, loop->timers->len - 1);

    g_ptr_array_set_size(loop->timers, (gint)loop->timers->len - 1);
    if (last != timer) {
        timer_put(loop, timer->index, last);
        timer_sift_up(loop, last);
        timer_sift_down(loop, last);
    }
    g_free(timer);
}

/* Milliseconds until the first timer, -1 without one. */
static int
timers_wait_ms(SlLoop *loop)
{
    int64_t wait_ms;

    if (loop->timers->len == 0)
        return -1;
    wait_ms = timer_at(loop, 0)->due_ms - sl_clock_monotonic_ms();
    return (int)CLAMP(wait_ms, 0, G_MAXINT);
}

static void
timers_fire(SlLoop *loop)
{
    int64_t now_ms;

    if (loop->timers->len == 0)
        return;
    now_ms = sl_clock_monotonic_ms();
    while (loop->timers->len > 0 && timer_at(loop, 0)->due_ms <= now_ms) {
        SlTimer *timer = timer_at(loop, 0);
        void (*fire)(void *data) = timer->fire;
        void *data = timer->data;

        sl_timer_end(timer);
        fire(data);
    }
}

/* ---- watches ---- */

static void
watch_control(SlWatch *watch, int operation, uint32_t events)
{
    struct epoll_event event = { .events = events, .data.ptr = watch };

    if (epoll_ctl(watch->loop->epoll_fd, operation, watch->fd, &event) < 0)
        sl_error("epoll refused a descriptor fd=%d operation=%d error=%s", watch->fd, operation,
                 g_strerror(errno));
}

void
sl_watch_set(SlWatch *watch, uint32_t events)
{
    bool is_in = atomic_load(&watch->is_in_epoll);

    if (watch->events == events)
        return;
    if (events == 0)
        watch_control(watch, EPOLL_CTL_DEL, 0);
    else
        watch_control(watch, is_in ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, events);
    watch->events = events;
    atomic_store(&watch->is_in_epoll, events != 0);
}

SlWatch *
sl_watch_new(SlLoop *loop, int fd, uint32_t events, void (*ready)(void *data, uint32_t events), void *data)
{
    SlWatch *watch = g_new0(SlWatch, 1);

    watch->loop = loop;
    watch->fd = fd;
    watch->ready = ready;
    watch->data = data;
    sl_watch_set(watch, events);
    return watch;
}

void
sl_watch_detach(SlWatch *watch)
{
    if (atomic_exchange(&watch->is_in_epoll, false))
        watch_control(watch, EPOLL_CTL_DEL, 0);
}

void
sl_watch_end(SlWatch *watch)
{
    sl_watch_detach(watch);
    watch->is_ended = true;
    watch->next_ended = watch->loop->ended;
    watch->loop->ended = watch;
}

static void
ended_free(SlLoop *loop)
{
    for (SlWatch *watch; (watch = loop->ended);) {
        loop->ended = watch->next_ended;
        g_free(watch);
    }
}

/* ---- the thread ---- */

void
sl_loop_post(SlLoop *loop, void (*fn)(void *), void *data)
{
    Post *post = g_new(Post, 1);
    bool was_empty;

    *post = (Post){ .run = fn, .data = data };
    pthread_mutex_lock(&loop->lock);
    was_empty = loop->first == NULL;
    *loop->last = post;
    loop->last = &post->next;
    pthread_mutex_unlock(&loop->lock);
    if (was_empty)
        eventfd_write(loop->wake_fd, 1);
}

/* Runs what was posted before this call. What these post in turn waits for the next round, so that
 * descriptors get theirs. */
static void
posts_run(SlLoop *loop)
{
    Post *post;

    pthread_mutex_lock(&loop->lock);
    post = loop->first;
    loop->first = NULL;
    loop->last = &loop->first;
    pthread_mutex_unlock(&loop->lock);
    while (post) {
        Post *next = post->next;

        post->run(post->data);
        g_free(post);
        post = next;
    }
}

static bool
loop_is_over(SlLoop *loop)
{
    SL_LOCK_GUARD(&loop->lock);
    return loop->closing && !loop->first;
}

static void
loop_dispatch(SlLoop *loop, const struct epoll_event *events, int n)
{
    bool is_woken = false;
    eventfd_t count;

    for (int i = 0; i < n; i++) {
        SlWatch *watch = events[i].data.ptr;

        if (!watch)
            is_woken = true;
        else if (!watch->is_ended)
            watch->ready(watch->data, events[i].events);
    }
    ended_free(loop);
    if (is_woken) {
        eventfd_read(loop->wake_fd, &count);
        posts_run(loop);
    }
}

static void *
loop_thread(void *data)
{
    SlLoop *loop = data;
    struct epoll_event events[BATCH];

    current_loop = loop;
    while (!loop_is_over(loop)) {
        int n = epoll_wait(loop->epoll_fd, events, BATCH, timers_wait_ms(loop));

        if (n < 0 && errno != EINTR)
            g_error("epoll_wait: %s", g_strerror(errno));
        loop_dispatch(loop, events, n);
        timers_fire(loop);
    }
    ended_free(loop);
    return NULL;
}

static void
loop_destroy(SlLoop *loop)
{
    while (loop->timers->len > 0)
        sl_timer_end(timer_at(loop, loop->timers->len - 1));
    g_ptr_array_free(loop->timers, TRUE);
    if (loop->epoll_fd >= 0)
        close(loop->epoll_fd);
    if (loop->wake_fd >= 0)
        close(loop->wake_fd);
    pthread_mutex_destroy(&loop->lock);
    g_free(loop);
}

SlLoop *
sl_loop_new(const char *name, GError **error)
{
    SlLoop *loop = g_new0(SlLoop, 1);
    struct epoll_event wake = { .events = EPOLLIN };

    pthread_mutex_init(&loop->lock, NULL);
    loop->last = &loop->first;
    loop->timers = g_ptr_array_new();
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (loop->epoll_fd < 0 || loop->wake_fd < 0 ||
        epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, loop->wake_fd, &wake) < 0) {
        sl_fail_errno(error, errno, "making the event loop %s", name);
        loop_destroy(loop);
        return NULL;
    }
    if (!sl_thread_start(name, loop_thread, loop, &loop->thread, error)) {
        loop_destroy(loop);
        return NULL;
    }
    return loop;
}

void
sl_loop_free(SlLoop *loop)
{
    pthread_mutex_lock(&loop->lock);
    loop->closing = true;
    pthread_mutex_unlock(&loop->lock);
    eventfd_write(loop->wake_fd, 1);
    pthread_join(loop->thread, NULL);
    loop_destroy(loop);
}

bool
sl_loop_is_current(SlLoop *loop)
{
    return current_loop == loop;
}
