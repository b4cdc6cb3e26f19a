#include "cli/ready.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/fd.h"
#include "common/thread.h"
#include "net/http_client.h"

enum { ASK_AGAIN_MS = 2, ANSWER_MAX = 64 * 1024 };

struct SlReady {
    int fd;
    char *socket; /* "@name": abstract, as the kernel chose it */
    SlHttpClient *backend;
    SlCancel *cancel;
    bool is_watching;
    pthread_t thread;
};

SlReady *
sl_ready_new(GError **error)
{
    struct sockaddr_un name = { .sun_family = AF_UNIX };
    socklen_t n = sizeof name;
    sl_autofd int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    SlReady *ready;

    if (fd < 0 || bind(fd, (const struct sockaddr *)&name, sizeof name.sun_family) < 0 ||
        getsockname(fd, (struct sockaddr *)&name, &n) < 0) {
        sl_fail_errno(error, errno, "making a socket for readiness");
        return NULL;
    }
    ready = g_new0(SlReady, 1);
    ready->fd = sl_fd_steal(&fd);
    ready->socket =
        g_strdup_printf("@%.*s", (int)(n - offsetof(struct sockaddr_un, sun_path) - 1), name.sun_path + 1);
    ready->cancel = sl_cancel_new();
    return ready;
}

const char *
sl_ready_get_socket(SlReady *ready)
{
    return ready->socket;
}

static bool
wait_for_frontend(SlReady *ready)
{
    static const char wanted[] = "READY=1";
    char text[64] = "";

    while (strncmp(text, wanted, sizeof wanted - 1) != 0) {
        ssize_t n;

        if (!sl_cancel_wait_fd(ready->cancel, ready->fd, POLLIN, -1, NULL))
            return false;
        n = recv(ready->fd, text, sizeof text - 1, 0);
        text[MAX(n, 0)] = '\0';
    }
    return true;
}

static bool
backend_answers(SlReady *ready)
{
    const SlHttpRequest request = { .method = "GET", .target = "/internal/v1/version", .http_minor = 1 };
    g_autoptr(SlHttpReply) reply = sl_http_client_call(ready->backend, ready->cancel, &request, NULL);
    g_autofree char *body = NULL;
    size_t n;

    return reply && sl_http_reply_read_all(reply, ready->cancel, ANSWER_MAX, &body, &n, NULL) &&
           sl_http_reply_status(reply) == 200;
}

static void *
watch(void *data)
{
    SlReady *ready = data;

    if (!wait_for_frontend(ready))
        return NULL;
    while (!backend_answers(ready))
        if (!sl_cancel_sleep(ready->cancel, ASK_AGAIN_MS, NULL))
            return NULL;
    kill(getpid(), SL_READY_SIGNAL);
    return NULL;
}

bool
sl_ready_watch(SlReady *ready, const char *backend, GError **error)
{
    g_auto(SlAddress) address = { 0 };

    if (!sl_address_parse(backend, &address, error))
        return false;
    ready->backend = sl_http_client_new(&address);
    ready->is_watching = sl_thread_start("ready", watch, ready, &ready->thread, error);
    return ready->is_watching;
}

void
sl_ready_free(SlReady *ready)
{
    sl_cancel_fire(ready->cancel);
    if (ready->is_watching)
        pthread_join(ready->thread, NULL);
    sl_http_client_free(ready->backend);
    sl_cancel_unref(ready->cancel);
    close(ready->fd);
    g_free(ready->socket);
    g_free(ready);
}
