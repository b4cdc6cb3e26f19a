#include "net/http_testing.h"

#include "common/fd.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int
listen_on(const struct sockaddr *address, socklen_t n)
{
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(bind(fd, address, n), ==, 0);
    g_assert_cmpint(listen(fd, 512), ==, 0);
    return fd;
}

static struct sockaddr_un
unix_address(TestServer *self)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };

    g_strlcpy(address.sun_path, self->path, sizeof address.sun_path);
    return address;
}

static struct sockaddr_in
tcp_address(int port)
{
    return (struct sockaddr_in){ .sin_family = AF_INET,
                                 .sin_port = htons((uint16_t)port),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

void
test_server_start(TestServer *self, SlServerConfig config)
{
    g_autoptr(GError) error = NULL;
    struct sockaddr_un local;
    struct sockaddr_in tcp = tcp_address(0);
    socklen_t n_tcp = sizeof tcp;
    int fd;

    *self = (TestServer){ .relay_loop = sl_loop_new("relay", &error) };
    g_assert_no_error(error);
    self->relay = sl_relay_new(self->relay_loop);
    self->folder = g_dir_make_tmp("sl-http-XXXXXX", &error);
    g_assert_no_error(error);
    self->path = g_build_filename(self->folder, "s", NULL);
    config.relay = self->relay;
    self->server = sl_server_new(&config, &error);
    g_assert_no_error(error);

    local = unix_address(self);
    sl_server_add_listener(self->server, listen_on((const struct sockaddr *)&local, sizeof local), false);
    fd = listen_on((const struct sockaddr *)&tcp, sizeof tcp);
    g_assert_cmpint(getsockname(fd, (struct sockaddr *)&tcp, &n_tcp), ==, 0);
    self->port = ntohs(tcp.sin_port);
    sl_server_add_listener(self->server, fd, true);
}

void
test_server_stop(TestServer *self)
{
    sl_server_free(self->server);
    sl_relay_free(self->relay);
    sl_loop_free(self->relay_loop);
    unlink(self->path);
    rmdir(self->folder);
    g_free(self->path);
    g_free(self->folder);
}

int
test_connect(TestServer *self, bool over_tcp)
{
    struct timeval patience = { .tv_sec = 10 };
    struct sockaddr_un local = unix_address(self);
    struct sockaddr_in tcp = tcp_address(self->port);
    const struct sockaddr *address =
        over_tcp ? (const struct sockaddr *)&tcp : (const struct sockaddr *)&local;
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(connect(fd, address, over_tcp ? sizeof tcp : sizeof local), ==, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    return fd;
}

void
test_send_bytes(int fd, const void *data, size_t n)
{
    for (const char *at = data; n > 0;) {
        ssize_t done = send(fd, at, n, MSG_NOSIGNAL);

        if (done < 0 && (errno == EPIPE || errno == ECONNRESET))
            return; /* the server may refuse before it has read all */
        g_assert_cmpint(done, >, 0);
        at += done;
        n -= (size_t)done;
    }
}

void
test_send(int fd, const char *text)
{
    test_send_bytes(fd, text, strlen(text));
}

static bool
receive_some(int fd, GString *text)
{
    char data[16384];
    ssize_t n = recv(fd, data, sizeof data, 0);

    if (n < 0 && errno == ECONNRESET)
        return false;
    if (n < 0)
        g_error("nothing came: %s; so far: %s", g_strerror(errno), text->str);
    g_string_append_len(text, data, n);
    return n > 0;
}

/* Byte by byte, so that nothing of a following reply is taken. */
static void
receive_until(int fd, GString *text, const char *end)
{
    size_t n_end = strlen(end);
    char byte;

    while (text->len < n_end || memcmp(text->str + text->len - n_end, end, n_end) != 0) {
        if (recv(fd, &byte, 1, 0) != 1)
            return;
        g_string_append_c(text, byte);
    }
}

char *
test_receive_head(int fd)
{
    GString *text = g_string_new(NULL);

    receive_until(fd, text, "\r\n\r\n");
    return g_string_free(text, FALSE);
}

char *
test_receive(int fd)
{
    GString *text = g_string_new(NULL);
    const char *length;
    size_t n_wanted;

    receive_until(fd, text, "\r\n\r\n");
    if (strstr(text->str, "Transfer-Encoding: chunked")) {
        receive_until(fd, text, "0\r\n\r\n");
    } else if ((length = strstr(text->str, "Content-Length: "))) {
        n_wanted = text->len + (size_t)g_ascii_strtoull(length + 16, NULL, 10);
        for (char byte; text->len < n_wanted && recv(fd, &byte, 1, 0) == 1;)
            g_string_append_c(text, byte);
        g_assert_cmpuint(text->len, ==, n_wanted);
    } else if (!strstr(text->str, " 304 ") && !strstr(text->str, " 204 ")) {
        while (receive_some(fd, text))
            ;
    }
    return g_string_free(text, FALSE);
}

char *
test_receive_all(int fd)
{
    GString *text = g_string_new(NULL);

    while (receive_some(fd, text))
        ;
    return g_string_free(text, FALSE);
}

char *
test_ask(TestServer *self, bool over_tcp, const char *request)
{
    sl_autofd int fd = test_connect(self, over_tcp);

    test_send(fd, request);
    return test_receive(fd);
}

void
test_assert_contains(const char *text, const char *part)
{
    if (!strstr(text, part))
        g_error("expected \"%s\" in:\n%s", part, text);
}

void
test_assert_starts(const char *text, const char *start)
{
    if (!g_str_has_prefix(text, start))
        g_error("expected \"%s\" at the beginning of:\n%s", start, text);
}
