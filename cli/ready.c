#include "cli/ready.h"

#include <unistd.h>

#include "common/thread.h"
#include "net/http_client.h"

enum { ASK_AGAIN_MS = 2, ANSWER_MAX = 64 * 1024 };

struct SlReady {
    SlHttpClient *client;
    SlCancel *cancel;
    pthread_t thread;
};

static bool
answers(SlReady *ready)
{
    const SlHttpRequest request = { .method = "GET", .target = "/version", .http_minor = 1 };
    g_autoptr(SlHttpReply) reply = sl_http_client_call(ready->client, ready->cancel, &request, NULL);
    g_autofree char *body = NULL;
    size_t n;

    return reply && sl_http_reply_read_all(reply, ready->cancel, ANSWER_MAX, &body, &n, NULL) &&
           sl_http_reply_status(reply) == 200;
}

static void *
ask_until_ready(void *data)
{
    SlReady *ready = data;

    while (!answers(ready))
        if (!sl_cancel_sleep(ready->cancel, ASK_AGAIN_MS, NULL))
            return NULL;
    kill(getpid(), SL_READY_SIGNAL);
    return NULL;
}

SlReady *
sl_ready_watch(const char *text, GError **error)
{
    g_auto(SlAddress) address = { 0 };
    SlReady *ready;

    if (!sl_address_parse(text, &address, error))
        return NULL;
    ready = g_new0(SlReady, 1);
    ready->client = sl_http_client_new(&address);
    ready->cancel = sl_cancel_new();
    if (sl_thread_start("ready", ask_until_ready, ready, &ready->thread, error))
        return ready;
    sl_http_client_free(ready->client);
    sl_cancel_unref(ready->cancel);
    g_free(ready);
    return NULL;
}

void
sl_ready_free(SlReady *ready)
{
    sl_cancel_fire(ready->cancel);
    pthread_join(ready->thread, NULL);
    sl_http_client_free(ready->client);
    sl_cancel_unref(ready->cancel);
    g_free(ready);
}
