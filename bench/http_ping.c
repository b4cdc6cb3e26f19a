/*
 * CPU per request of the HTTP server, the client being another process. Usage: http_ping [REQUESTS]
 *
 * fast: answered on the loop; blocking: handed to the pool and back; each over one connection and over eight.
 */
#include "common/clock.h"
#include "net/http_server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MAX_CONNECTIONS = 8 };

static bool
ping(SlCall *call, GError **error)
{
    return sl_call_reply(call, 200, "text/plain; charset=utf-8", "OK", 2, error);
}

static const SlRoute routes[] = {
    { "GET", "/_ping", ping, SL_ROUTE_FAST },
    { "GET", "/blocking", ping, 0 },
    { 0 },
};

static int
connect_to(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    if (fd < 0 || connect(fd, (const struct sockaddr *)address, sizeof *address) < 0)
        _exit(1);
    return fd;
}

/* The other process: keeps one request on its way on each connection. */
static void
load(const struct sockaddr_un *address, const char *path, int n_connections, int n_requests)
{
    g_autofree char *request =
        g_strdup_printf("GET %s HTTP/1.1\r\nHost: localhost\r\nUser-Agent: Go-http-client/1.1\r\n\r\n", path);
    size_t n = strlen(request);
    int fds[MAX_CONNECTIONS];
    char reply[1024];

    for (int i = 0; i < n_connections; i++)
        fds[i] = connect_to(address);
    for (int done = 0; done < n_requests; done += n_connections) {
        for (int i = 0; i < n_connections; i++)
            if (write(fds[i], request, n) != (ssize_t)n)
                _exit(1);
        for (int i = 0; i < n_connections; i++)
            if (read(fds[i], reply, sizeof reply) < 17 || strncmp(reply, "HTTP/1.1 200 OK\r\n", 17) != 0)
                _exit(1);
    }
    _exit(0);
}

static double
cpu_us(void)
{
    struct timespec used;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (double)used.tv_sec * 1e6 + (double)used.tv_nsec / 1e3;
}

static bool
measure(const struct sockaddr_un *address, const char *path, int n_connections, int n_requests)
{
    double before_us = cpu_us();
    int64_t start_ms = sl_clock_monotonic_ms();
    int status = -1;
    pid_t child = fork();

    if (child == 0)
        load(address, path, n_connections, n_requests);
    waitpid(child, &status, 0);
    printf("%-10s %d connections: %6.2f us CPU a request, %8.0f requests/s\n", path, n_connections,
           (cpu_us() - before_us) / n_requests,
           n_requests * 1000.0 / (double)MAX(1, sl_clock_monotonic_ms() - start_ms));
    return status == 0;
}

int
main(int argc, char **argv)
{
    static const char *const headers[] = { "Api-Version", "1.44",   "Docker-Experimental", "false", "Ostype",
                                           "linux",       "Server", "Sockerless",          NULL };
    int n_requests = argc > 1 ? (int)g_ascii_strtoll(argv[1], NULL, 10) : 100000;
    g_autofree char *folder = g_dir_make_tmp("sl-bench-XXXXXX", NULL);
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    SlServerConfig config = { .routes = routes, .headers = headers, .strip_version = true };
    SlServer *server = sl_server_new(&config, NULL);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = true;

    g_snprintf(address.sun_path, sizeof address.sun_path, "%s/s", folder);
    if (!server || bind(fd, (const struct sockaddr *)&address, sizeof address) < 0 || listen(fd, 64) < 0)
        return 1;
    sl_server_add_listener(server, fd, false);
    for (int i = 0; i < 3 && ok; i++)
        ok = measure(&address, "/_ping", 1, n_requests) &&
             measure(&address, "/_ping", MAX_CONNECTIONS, n_requests) &&
             measure(&address, "/blocking", 1, n_requests) &&
             measure(&address, "/blocking", MAX_CONNECTIONS, n_requests);
    sl_server_free(server);
    unlink(address.sun_path);
    rmdir(folder);
    return ok ? 0 : 1;
}
