/*
 * What a benchmark's client must not be slow at: many requests over kept connections, and long streams. One JSON line at the end.
 *
 *     bench_load SOCKET get CONNECTIONS SECONDS PATH          answers a second
 *     bench_load SOCKET create-rm CONNECTIONS SECONDS FILE    POST /containers/create with FILE's bytes, then DELETE, pairs a second
 *     bench_load SOCKET stream METHOD PATH                    prints "open" behind the head, then reads frames to the end
 *
 * It stands apart from net/ on purpose: a fault of our own client must not measure our own server.
 */
#include <errno.h>
#include <glib.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { BUFFER = 1024 * 1024, HEAD_MAX = 64 * 1024, FRAME_HEADER = 8 };

typedef struct Conn {
    int fd;
    char *buffer;
    size_t start, end; /* what was read and not used yet */
    int status;
    int64_t length; /* of the body; -1: to the end of the stream */
    bool is_chunked;
} Conn;

typedef struct Run {
    const char *socket_path, *path;
    const char *body;
    int64_t end_us;
    pthread_mutex_t lock;
    GArray *latencies; /* int64_t, µs */
    atomic_uint bad;
} Run;

static int
dial(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (strlen(path) >= sizeof address.sun_path)
        g_error("%s is too long for a socket", path);
    memcpy(address.sun_path, path, strlen(path) + 1);
    while (connect(fd, (const struct sockaddr *)&address, sizeof address) < 0)
        if (errno != EAGAIN && errno != EINTR) /* EAGAIN: the listener's backlog is full */
            g_error("%s: %s", path, g_strerror(errno));
    return fd;
}

static void
conn_open(Conn *conn, const char *socket_path)
{
    *conn = (Conn){ .fd = dial(socket_path), .buffer = g_malloc(BUFFER) };
}

static void
conn_close(Conn *conn)
{
    close(conn->fd);
    g_free(conn->buffer);
}

/* False at the end of the stream. */
static bool
conn_fill(Conn *conn)
{
    ssize_t n;

    if (conn->start == conn->end)
        conn->start = conn->end = 0;
    if (conn->end == BUFFER) {
        memmove(conn->buffer, conn->buffer + conn->start, conn->end - conn->start);
        conn->end -= conn->start;
        conn->start = 0;
    }
    do
        n = recv(conn->fd, conn->buffer + conn->end, BUFFER - conn->end, 0);
    while (n < 0 && errno == EINTR);
    if (n <= 0)
        return false;
    conn->end += (size_t)n;
    return true;
}

static void
conn_send(Conn *conn, const char *text, size_t n)
{
    while (n > 0) {
        ssize_t sent = send(conn->fd, text, n, MSG_NOSIGNAL);

        if (sent < 0)
            g_error("sending: %s", g_strerror(errno));
        text += sent;
        n -= (size_t)sent;
    }
}

/* Takes bytes up to mark; the caller frees. NULL at the end of the stream. */
static char *
conn_until(Conn *conn, const char *mark)
{
    size_t n_mark = strlen(mark);

    for (;;) {
        char *from = conn->buffer + conn->start;
        char *found = memmem(from, conn->end - conn->start, mark, n_mark);

        if (found) {
            conn->start += (size_t)(found - from) + n_mark;
            return g_strndup(from, (size_t)(found - from));
        }
        if (conn->end - conn->start > HEAD_MAX || !conn_fill(conn))
            return NULL;
    }
}

static const char *
header_value(const char *head, const char *name)
{
    const char *found = strcasestr(head, name);

    return found ? found + strlen(name) : NULL;
}

static bool
conn_head(Conn *conn)
{
    g_autofree char *head = conn_until(conn, "\r\n\r\n");
    const char *value;

    if (!head || !g_str_has_prefix(head, "HTTP/1.1 "))
        return false;
    conn->status = (int)g_ascii_strtoll(head + 9, NULL, 10);
    value = header_value(head, "\r\ncontent-length:");
    conn->length = value ? g_ascii_strtoll(value, NULL, 10) : -1;
    conn->is_chunked = header_value(head, "\r\ntransfer-encoding: chunked") != NULL;
    if (conn->status == 204 || conn->status == 304)
        conn->length = 0;
    return true;
}

/* The next bytes of the body, at most max; they stay valid until the next call. 0 at its end. */
static size_t
conn_body(Conn *conn, size_t max, const char **ret_data)
{
    size_t n;

    if (conn->is_chunked && conn->length <= 0) {
        g_autofree char *line =
            conn->length == 0 ? conn_until(conn, "\r\n") : NULL; /* behind the chunk before */
        g_autofree char *size = conn_until(conn, "\r\n");

        conn->length = size ? g_ascii_strtoll(size, NULL, 16) : 0;
        if (conn->length == 0) {
            g_free(conn_until(conn, "\r\n"));
            conn->is_chunked = false;
            return 0;
        }
    }
    if (conn->length == 0 || (conn->start == conn->end && !conn_fill(conn)))
        return 0;
    n = MIN(conn->end - conn->start, max);
    if (conn->length > 0) {
        n = MIN(n, (size_t)conn->length);
        conn->length -= (int64_t)n;
    }
    *ret_data = conn->buffer + conn->start;
    conn->start += n;
    return n;
}

/* One request and its answer; ret_id takes "Id" of a JSON answer when it is not NULL. */
static bool
exchange(Conn *conn, const char *request, char ret_id[65])
{
    const char *data;
    size_t n;
    bool is_first = true;

    conn_send(conn, request, strlen(request));
    if (!conn_head(conn))
        return false;
    while ((n = conn_body(conn, BUFFER, &data)) > 0) {
        static const char key[] = "\"Id\":\"";
        const char *found = ret_id && is_first ? memmem(data, n, key, strlen(key)) : NULL;

        is_first = false;
        if (found && (size_t)(data + n - found) >= strlen(key) + 64) {
            memcpy(ret_id, found + strlen(key), 64);
            ret_id[64] = '\0';
        }
    }
    return conn->status >= 200 && conn->status < 300;
}

static bool
create_and_remove(Conn *conn, const Run *run)
{
    char id[65] = "";
    g_autofree char *create =
        g_strdup_printf("POST /containers/create HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\n"
                        "Content-Length: %zu\r\n\r\n%s",
                        strlen(run->body), run->body);
    g_autofree char *remove = NULL;

    if (!exchange(conn, create, id) || !id[0])
        return false;
    remove = g_strdup_printf("DELETE /containers/%s HTTP/1.1\r\nHost: d\r\n\r\n", id);
    return exchange(conn, remove, NULL);
}

static void *
work(void *data)
{
    Run *run = data;
    g_autofree char *get = g_strdup_printf("GET %s HTTP/1.1\r\nHost: d\r\n\r\n", run->path);
    g_autoptr(GArray) mine = g_array_new(FALSE, FALSE, sizeof(int64_t));
    Conn conn;

    conn_open(&conn, run->socket_path);
    while (g_get_monotonic_time() < run->end_us) {
        int64_t start_us = g_get_monotonic_time(), took_us;

        if (!(run->body ? create_and_remove(&conn, run) : exchange(&conn, get, NULL))) {
            atomic_fetch_add(&run->bad, 1);
            break;
        }
        took_us = g_get_monotonic_time() - start_us;
        g_array_append_val(mine, took_us);
    }
    conn_close(&conn);
    pthread_mutex_lock(&run->lock);
    g_array_append_vals(run->latencies, mine->data, mine->len);
    pthread_mutex_unlock(&run->lock);
    return NULL;
}

static int
compare_times(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

static int
run_load(Run *run, unsigned n_connections, double seconds)
{
    g_autofree pthread_t *threads = g_new(pthread_t, n_connections);
    int64_t start_us = g_get_monotonic_time(), took_us;
    size_t n;

    run->end_us = start_us + (int64_t)(seconds * 1e6);
    run->latencies = g_array_new(FALSE, FALSE, sizeof(int64_t));
    pthread_mutex_init(&run->lock, NULL);
    for (unsigned i = 0; i < n_connections; i++)
        if (pthread_create(&threads[i], NULL, work, run) != 0)
            g_error("no thread");
    for (unsigned i = 0; i < n_connections; i++)
        pthread_join(threads[i], NULL);
    took_us = g_get_monotonic_time() - start_us;

    n = run->latencies->len;
    g_array_sort(run->latencies, compare_times);
    printf("{\"rate\": %.1f, \"p50_ms\": %.3f, \"p99_ms\": %.3f, \"bad\": %u}\n",
           (double)n * 1e6 / (double)took_us,
           n ? (double)g_array_index(run->latencies, int64_t, n / 2) / 1e3 : 0,
           n ? (double)g_array_index(run->latencies, int64_t, n * 99 / 100) / 1e3 : 0,
           atomic_load(&run->bad));
    g_array_unref(run->latencies);
    return n > 0 && atomic_load(&run->bad) == 0 ? 0 : 1;
}

/* Takes Docker's frames apart: how many, and how many bytes they carry. False for what is no frame header. */
typedef struct Frames {
    uint8_t header[FRAME_HEADER];
    size_t n_header;
    uint64_t left, bytes, count;
} Frames;

static bool
frames_take(Frames *frames, const char *data, size_t n)
{
    while (n > 0) {
        size_t take;

        if (frames->left > 0) {
            take = MIN(n, frames->left);
            frames->left -= take;
            frames->bytes += take;
        } else {
            const uint8_t *h = frames->header;

            take = MIN(n, FRAME_HEADER - frames->n_header);
            memcpy(frames->header + frames->n_header, data, take);
            frames->n_header += take;
            if (frames->n_header == FRAME_HEADER) {
                if (h[0] < 1 || h[0] > 2 || h[1] || h[2] || h[3])
                    return false;
                frames->left = (uint64_t)h[4] << 24 | (uint64_t)h[5] << 16 | (uint64_t)h[6] << 8 | h[7];
                frames->n_header = 0;
                frames->count++;
            }
        }
        data += take;
        n -= take;
    }
    return true;
}

static int
run_stream(const char *socket_path, const char *method, const char *path)
{
    bool is_hijack = g_str_equal(method, "POST");
    g_autofree char *request =
        g_strdup_printf("%s %s HTTP/1.1\r\nHost: d\r\n%s\r\n", method, path,
                        is_hijack ? "Connection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n" : "");
    Frames frames = { .n_header = 0 };
    int64_t first_us = 0;
    const char *data;
    size_t n;
    Conn conn;

    conn_open(&conn, socket_path);
    conn_send(&conn, request, strlen(request));
    if (!conn_head(&conn) || (conn.status != 200 && conn.status != 101))
        g_error("%s %s: status %d", method, path, conn.status);
    if (conn.status == 101)
        conn.length = -1;
    printf("open\n");
    fflush(stdout);
    while ((n = conn_body(&conn, BUFFER, &data)) > 0) {
        if (!first_us)
            first_us = g_get_monotonic_time();
        if (!frames_take(&frames, data, n))
            g_error("not a frame header after %" G_GUINT64_FORMAT " frames", frames.count);
    }
    printf("{\"bytes\": %" G_GUINT64_FORMAT ", \"frames\": %" G_GUINT64_FORMAT
           ", \"seconds\": %.6f, \"torn\": %s}\n",
           frames.bytes, frames.count, first_us ? (double)(g_get_monotonic_time() - first_us) / 1e6 : 0,
           frames.left || frames.n_header ? "true" : "false");
    conn_close(&conn);
    return 0;
}

int
main(int argc, char **argv)
{
    Run run = { .socket_path = argc > 1 ? argv[1] : NULL };
    g_autofree char *body = NULL;

    if (argc == 5 && g_str_equal(argv[2], "stream"))
        return run_stream(argv[1], argv[3], argv[4]);
    if (argc != 6 || (!g_str_equal(argv[2], "get") && !g_str_equal(argv[2], "create-rm"))) {
        fprintf(stderr, "usage: bench_load SOCKET get|create-rm CONNECTIONS SECONDS PATH|FILE, or bench_load "
                        "SOCKET stream METHOD PATH\n");
        return 2;
    }
    run.path = argv[5];
    if (g_str_equal(argv[2], "create-rm")) {
        if (!g_file_get_contents(argv[5], &body, NULL, NULL))
            g_error("%s cannot be read", argv[5]);
        run.body = body;
    }
    return run_load(&run, (unsigned)g_ascii_strtoull(argv[3], NULL, 10), g_ascii_strtod(argv[4], NULL));
}
