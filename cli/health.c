#include "cli/health.h"

#include <stdatomic.h>

#include "common/clock.h"
#include "common/thread.h"
#include "net/http_client.h"

enum { ANSWER_MAX = 64 * 1024 };

struct SlHealth {
    SlHttpClient *client;
    SlCancel *cancel;
    char *target;
    int interval_ms;
    pthread_t thread;
    _Atomic int64_t asked_ms; /* when the open question was put; 0: none is open */
    int64_t suspected_ms;     /* the question that was overdue at the last look */
};

static void
ask(SlHealth *health)
{
    const SlHttpRequest request = { .method = "GET", .target = health->target, .http_minor = 1 };
    g_autoptr(SlHttpReply) reply = sl_http_client_call(health->client, health->cancel, &request, NULL);
    g_autofree char *body = NULL;
    size_t n;

    /* Any end of it will do: who refuses is not hung, and who is not there is somebody else's business. */
    if (reply)
        sl_http_reply_read_all(reply, health->cancel, ANSWER_MAX, &body, &n, NULL);
}

static void *
ask_again_and_again(void *data)
{
    SlHealth *health = data;

    do {
        atomic_store(&health->asked_ms, sl_clock_monotonic_ms());
        ask(health);
        atomic_store(&health->asked_ms, 0);
    } while (sl_cancel_sleep(health->cancel, health->interval_ms, NULL));
    return NULL;
}

SlHealth *
sl_health_watch(const char *text, const char *target, int interval_ms, GError **error)
{
    g_auto(SlAddress) address = { 0 };
    SlHealth *health;

    if (!sl_address_parse(text, &address, error))
        return NULL;
    health = g_new0(SlHealth, 1);
    health->client = sl_http_client_new(&address);
    health->cancel = sl_cancel_new();
    health->target = g_strdup(target);
    health->interval_ms = interval_ms;
    if (sl_thread_start("health", ask_again_and_again, health, &health->thread, error))
        return health;
    sl_http_client_free(health->client);
    sl_cancel_unref(health->cancel);
    g_free(health->target);
    g_free(health);
    return NULL;
}

int64_t
sl_health_overdue_ms(SlHealth *health, int64_t since_ms, int limit_ms)
{
    int64_t asked_ms = atomic_load(&health->asked_ms);
    int64_t open_ms = asked_ms ? sl_clock_monotonic_ms() - MAX(asked_ms, since_ms) : 0;
    bool is_overdue = open_ms >= limit_ms;
    bool was_suspected = health->suspected_ms == asked_ms;

    health->suspected_ms = is_overdue ? asked_ms : 0;
    return is_overdue && was_suspected ? open_ms : 0;
}

void
sl_health_free(SlHealth *health)
{
    sl_cancel_fire(health->cancel);
    pthread_join(health->thread, NULL);
    sl_http_client_free(health->client);
    sl_cancel_unref(health->cancel);
    g_free(health->target);
    g_free(health);
}
