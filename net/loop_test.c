#include "net/loop.h"

#include "common/clock.h"
#include "common/thread.h"

#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* Lets a test wait until the loop's thread has got somewhere. */
typedef struct Gate {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int count;
} Gate;

#define GATE_INIT                                                                                            \
    {                                                                                                        \
        PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0                                               \
    }

static void
gate_pass(void *data)
{
    Gate *gate = data;
    SL_LOCK_GUARD(&gate->lock);

    gate->count++;
    pthread_cond_broadcast(&gate->changed);
}

static void
gate_wait(Gate *gate, int count)
{
    SL_LOCK_GUARD(&gate->lock);

    while (gate->count < count)
        pthread_cond_wait(&gate->changed, &gate->lock);
}

static SlLoop *
loop_new(void)
{
    g_autoptr(GError) error = NULL;
    SlLoop *loop = sl_loop_new("test", &error);

    g_assert_no_error(error);
    return loop;
}

typedef struct Order {
    SlLoop *loop;
    int seen[100];
    int n;
    bool was_current;
} Order;
typedef struct OrderItem {
    Order *order;
    int value;
} OrderItem;

static void
order_add(void *data)
{
    OrderItem *item = data;

    item->order->seen[item->order->n++] = item->value;
    item->order->was_current = sl_loop_is_current(item->order->loop);
}

static void
test_posts_run_in_order_before_the_end(void)
{
    SlLoop *loop = loop_new();
    Order order = { .loop = loop };
    OrderItem items[100];

    g_assert_false(sl_loop_is_current(loop));
    for (int i = 0; i < 100; i++) {
        items[i] = (OrderItem){ &order, i };
        sl_loop_post(loop, order_add, &items[i]);
    }
    sl_loop_free(loop);
    g_assert_cmpint(order.n, ==, 100);
    g_assert_true(order.was_current);
    for (int i = 0; i < 100; i++)
        g_assert_cmpint(order.seen[i], ==, i);
}

typedef struct TimerCase {
    SlLoop *loop;
    Gate gate;
    Order order;
    OrderItem items[5];
    int64_t start_ms, last_ms;
} TimerCase;

static void
timer_item(void *data)
{
    order_add(data);
}

static void
timer_last(void *data)
{
    TimerCase *self = data;

    self->last_ms = sl_clock_monotonic_ms();
    gate_pass(&self->gate);
}

static void
timers_start(void *data)
{
    TimerCase *self = data;
    static const int delays[] = { 30, 10, 20, 0, 25 };
    SlTimer *timers[5];

    for (int i = 0; i < 5; i++) {
        self->items[i] = (OrderItem){ &self->order, delays[i] };
        timers[i] = sl_timer_new(self->loop, delays[i], timer_item, &self->items[i]);
    }
    sl_timer_end(timers[2]);
    sl_timer_new(self->loop, 50, timer_last, self);
}

static void
test_timers_fire_by_time(void)
{
    TimerCase self = { .loop = loop_new(), .gate = GATE_INIT, .start_ms = sl_clock_monotonic_ms() };

    self.order.loop = self.loop;
    sl_loop_post(self.loop, timers_start, &self);
    gate_wait(&self.gate, 1);
    sl_loop_free(self.loop);
    g_assert_cmpint(self.last_ms - self.start_ms, >=, 50);
    g_assert_cmpint(self.order.n, ==, 4);
    g_assert_cmpint(self.order.seen[0], ==, 0);
    g_assert_cmpint(self.order.seen[1], ==, 10);
    g_assert_cmpint(self.order.seen[2], ==, 25);
    g_assert_cmpint(self.order.seen[3], ==, 30);
}

/* Two watches that are ready in one batch; whichever runs first ends both. */
typedef struct PairCase {
    SlLoop *loop;
    Gate gate;
    SlWatch *watches[2];
    int fds[2][2];
    int n_calls;
} PairCase;

static void
pair_ready(void *data, uint32_t events)
{
    PairCase *self = data;

    self->n_calls++;
    sl_watch_end(self->watches[0]);
    sl_watch_end(self->watches[1]);
    close(self->fds[0][0]);
    close(self->fds[1][0]);
    gate_pass(&self->gate);
}

static void
pair_start(void *data)
{
    PairCase *self = data;

    for (int i = 0; i < 2; i++)
        self->watches[i] = sl_watch_new(self->loop, self->fds[i][0], EPOLLIN, pair_ready, self);
}

static void
test_no_callback_after_end(void)
{
    PairCase self = { .loop = loop_new(), .gate = GATE_INIT };

    for (int i = 0; i < 2; i++) {
        g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, self.fds[i]), ==, 0);
        g_assert_cmpint(write(self.fds[i][1], "x", 1), ==, 1);
    }
    sl_loop_post(self.loop, pair_start, &self);
    gate_wait(&self.gate, 1);
    sl_loop_free(self.loop);
    g_assert_cmpint(self.n_calls, ==, 1);
    close(self.fds[0][1]);
    close(self.fds[1][1]);
}

/* A watch set to 0 is deaf even to a hang-up, and hears it when it listens again. */
typedef struct QuietCase {
    SlLoop *loop;
    Gate gate, rested;
    SlWatch *watch;
    int fds[2];
    int n_calls, n_calls_at_rest;
} QuietCase;

static void
quiet_ready(void *data, uint32_t events)
{
    QuietCase *self = data;

    self->n_calls++;
    sl_watch_end(self->watch);
    gate_pass(&self->gate);
}

static void
quiet_listen(void *data)
{
    QuietCase *self = data;

    self->n_calls_at_rest = self->n_calls;
    sl_watch_set(self->watch, EPOLLIN);
}

static void
quiet_start(void *data)
{
    QuietCase *self = data;

    self->watch = sl_watch_new(self->loop, self->fds[0], EPOLLIN, quiet_ready, self);
    sl_watch_set(self->watch, 0);
    close(self->fds[1]);
    sl_timer_new(self->loop, 20, quiet_listen, self);
}

static void
test_zero_events_hears_nothing(void)
{
    QuietCase self = { .loop = loop_new(), .gate = GATE_INIT };

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, self.fds), ==, 0);
    sl_loop_post(self.loop, quiet_start, &self);
    gate_wait(&self.gate, 1);
    sl_loop_free(self.loop);
    g_assert_cmpint(self.n_calls_at_rest, ==, 0);
    g_assert_cmpint(self.n_calls, ==, 1);
    close(self.fds[0]);
}

typedef struct Poster {
    SlLoop *loop;
    atomic_int *count;
} Poster;

static void
count_one(void *data)
{
    atomic_fetch_add((atomic_int *)data, 1);
}

static void *
poster_run(void *data)
{
    Poster *self = data;

    for (int i = 0; i < 1000; i++)
        sl_loop_post(self->loop, count_one, self->count);
    return NULL;
}

static void
test_posts_from_many_threads(void)
{
    SlLoop *loop = loop_new();
    atomic_int count = 0;
    Poster poster = { loop, &count };
    pthread_t threads[4];

    for (int i = 0; i < 4; i++)
        g_assert_true(sl_thread_start("poster", poster_run, &poster, &threads[i], NULL));
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    sl_loop_free(loop);
    g_assert_cmpint(atomic_load(&count), ==, 4000);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/net/loop-runs-posts-in-order-before-its-end", test_posts_run_in_order_before_the_end);
    g_test_add_func("/net/loop-fires-timers-by-time", test_timers_fire_by_time);
    g_test_add_func("/net/loop-calls-no-watch-after-its-end", test_no_callback_after_end);
    g_test_add_func("/net/loop-hears-nothing-on-zero-events", test_zero_events_hears_nothing);
    g_test_add_func("/net/loop-takes-posts-from-any-thread", test_posts_from_many_threads);
    return g_test_run();
}
