/* What the socket calls promise a program, within one container. Prints a line for each promise that is not kept. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static int n_failed;

#define CHECK(condition)                                                                                     \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            printf("line %d: %s (errno %d)\n", __LINE__, #condition, errno);                                 \
            n_failed++;                                                                                      \
        }                                                                                                    \
    } while (0)
#define FAILS(call, error) CHECK((call) == -1 && errno == (error))

static struct sockaddr_in
at(const char *ip, int port)
{
    struct sockaddr_in name = { .sin_family = AF_INET, .sin_port = htons((unsigned short)port) };

    inet_pton(AF_INET, ip, &name.sin_addr);
    return name;
}

static int
bind_to(int fd, const char *ip, int port)
{
    struct sockaddr_in name = at(ip, port);

    return bind(fd, (struct sockaddr *)&name, sizeof name);
}

static int
connect_to(int fd, const char *ip, int port)
{
    struct sockaddr_in name = at(ip, port);

    return connect(fd, (struct sockaddr *)&name, sizeof name);
}

static int
is_named(int fd, int (*get)(int, struct sockaddr *, socklen_t *), const char *ip, int port)
{
    struct sockaddr_in name, wanted = at(ip, port);
    socklen_t length = sizeof name;

    return get(fd, (struct sockaddr *)&name, &length) == 0 && length == sizeof name &&
           name.sin_addr.s_addr == wanted.sin_addr.s_addr && (port < 0 || name.sin_port == wanted.sin_port);
}

static int
is_ready(int fd, short events)
{
    struct pollfd one = { fd, events, 0 };

    return poll(&one, 1, 2000) == 1 && one.revents & events;
}

static void
check_refusals(void)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    FAILS(socket(AF_INET6, SOCK_STREAM, 0), EAFNOSUPPORT);
    FAILS(socket(AF_INET, SOCK_RAW, IPPROTO_TCP), EPERM);
    FAILS(connect_to(fd, "127.0.0.1", 99), ECONNREFUSED);
    FAILS(connect_to(fd, "169.254.169.254", 80), ENETUNREACH);
    FAILS(connect_to(fd, "224.0.0.1", 80), ENETUNREACH);
    FAILS(bind_to(fd, "10.9.9.9", 80), EADDRNOTAVAIL);
    FAILS(send(fd, "x", 1, MSG_NOSIGNAL), ENOTCONN);
    FAILS(getpeername(fd, (struct sockaddr *)&(struct sockaddr_in){ 0 }, &(socklen_t){ 16 }), ENOTCONN);
    FAILS(accept(fd, 0, 0), EINVAL);
    close(fd);
    FAILS(bind_to(fd, "0.0.0.0", 80), EBADF);
}

static int
listener(const char *ip, int port)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    CHECK(bind_to(fd, ip, port) == 0);
    CHECK(listen(fd, 5) == 0);
    return fd;
}

static void
check_binding(void)
{
    int first = listener("0.0.0.0", 80), second = socket(AF_INET, SOCK_STREAM, 0), third;
    struct sockaddr_in name;
    socklen_t length = sizeof name;

    FAILS(bind_to(second, "0.0.0.0", 80), EADDRINUSE);
    FAILS(bind_to(second, "127.0.0.1", 80), EADDRINUSE);
    close(first);
    CHECK(bind_to(second, "127.0.0.1", 80) == 0);
    third = socket(AF_INET, SOCK_STREAM, 0);
    FAILS(bind_to(third, "0.0.0.0", 80), EADDRINUSE);
    FAILS(connect_to(third, "127.0.0.1", 80), ECONNREFUSED); /* bound, and not listening */
    close(third);
    close(second);
    first = listener("0.0.0.0", 0);
    CHECK(getsockname(first, (struct sockaddr *)&name, &length) == 0 && ntohs(name.sin_port) >= 1024);
    close(first);
}

static void
check_stream(void)
{
    int server = listener("0.0.0.0", 8080), client = socket(AF_INET, SOCK_STREAM, 0), peer;
    struct sockaddr_in name = { 0 };
    socklen_t length = sizeof name;
    char bytes[8];

    CHECK(connect_to(client, "172.18.0.2", 8080) == 0);
    CHECK(is_ready(server, POLLIN));
    peer = accept(server, (struct sockaddr *)&name, &length);
    CHECK(peer >= 0 && name.sin_addr.s_addr == at("172.18.0.2", 0).sin_addr.s_addr);
    CHECK(is_named(client, getsockname, "172.18.0.2", ntohs(name.sin_port)));
    CHECK(is_named(client, getpeername, "172.18.0.2", 8080));
    CHECK(is_named(peer, getsockname, "172.18.0.2", 8080));
    FAILS(connect_to(client, "172.18.0.2", 8080), EISCONN);
    CHECK(write(client, "ping", 4) == 4 && shutdown(client, SHUT_WR) == 0);
    CHECK(read(peer, bytes, sizeof bytes) == 4 && read(peer, bytes, sizeof bytes) == 0);
    CHECK(write(peer, "pong", 4) == 4); /* half closed: the other way is open */
    close(peer);
    CHECK(read(client, bytes, sizeof bytes) == 4 && read(client, bytes, sizeof bytes) == 0);
    close(client);
    close(server);
}

static void
check_non_blocking(void)
{
    int server = listener("127.0.0.1", 8081), client = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0),
        error = 1;
    socklen_t length = sizeof error;

    fcntl(server, F_SETFL, O_NONBLOCK);
    FAILS(accept(server, 0, 0), EAGAIN);
    CHECK(connect_to(client, "127.0.0.1", 8081) == 0 || errno == EINPROGRESS);
    CHECK(is_ready(client, POLLOUT));
    CHECK(getsockopt(client, SOL_SOCKET, SO_ERROR, &error, &length) == 0 && error == 0);
    FAILS(read(client, &error, 1), EAGAIN);
    close(client);
    close(server);
}

static void
check_fork(void)
{
    int server = listener("0.0.0.0", 8082), client, status;
    char byte;

    if (fork() == 0) {
        int peer = accept(server, 0, 0);

        _exit(write(peer, "f", 1) == 1 ? 0 : 1);
    }
    close(server); /* the child still has it */
    client = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(connect_to(client, "127.0.0.1", 8082) == 0);
    CHECK(read(client, &byte, 1) == 1);
    close(client);
    CHECK(wait(&status) > 0 && status == 0);
    server = listener("0.0.0.0", 8082); /* free again */
    close(server);
}

static void
check_datagrams(void)
{
    int server = socket(AF_INET, SOCK_DGRAM, 0), client = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in name = { 0 }, target = at("172.18.0.2", 5353);
    socklen_t length = sizeof name;
    char bytes[8];

    FAILS(send(client, "x", 1, 0), EDESTADDRREQ);
    CHECK(bind_to(server, "0.0.0.0", 5353) == 0);
    CHECK(sendto(client, "12345678ab", 10, 0, (struct sockaddr *)&target, sizeof target) == 10);
    CHECK(is_ready(server, POLLIN));
    CHECK(recvfrom(server, bytes, 8, MSG_TRUNC | MSG_PEEK, 0, 0) == 10);
    CHECK(recvfrom(server, bytes, 8, 0, (struct sockaddr *)&name, &length) == 8 &&
          memcmp(bytes, "12345678", 8) == 0);
    CHECK(name.sin_addr.s_addr == target.sin_addr.s_addr);
    CHECK(connect(server, (struct sockaddr *)&name, sizeof name) == 0);
    CHECK(write(server, "back", 4) == 4 && read(client, bytes, 8) == 4);
    CHECK(write(server, "", 0) == 0 && read(client, bytes, 8) == 0);
    close(server);
    CHECK(connect(client, (struct sockaddr *)&target, sizeof target) == 0);
    CHECK(write(client, "x", 1) == 1);
    FAILS(read(client, bytes, 8), ECONNREFUSED);
    close(client);
}

int
main(int argc, char **argv)
{
    check_refusals();
    check_binding();
    check_stream();
    check_non_blocking();
    check_fork();
    check_datagrams();
    printf("%d promises not kept\n", n_failed);
    return n_failed != 0;
}
