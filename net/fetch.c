#include "net/fetch.h"

#include "common/clock.h"
#include "common/thread.h"

#include <curl/curl.h>
#include <netdb.h>
#include <string.h>
#include <sys/socket.h>

enum {
    DEFAULT_CONNECT_MS = 10 * 1000,
    DEFAULT_STALL_MS = 60 * 1000,
    DEFAULT_MAX_BODY = 4 * 1024 * 1024,
    MAX_HEADERS = 256 * 1024, /* bytes of one answer's */
    MAX_POLL_MS = 1000,
    IDLE_LANES = 8,
};

/* What one call needs of libcurl. Its connections stay with the multi handle, for the next call that takes
 * this lane. */
typedef struct Lane Lane;
struct Lane {
    CURLM *multi;
    CURL *easy;
    Lane *next;
};

struct SlFetcher {
    char *user_agent, *proxy, *ca_file;
    int connect_timeout_ms, stall_timeout_ms;

    pthread_mutex_t lock; /* of what follows */
    Lane *idle;
    unsigned n_idle;
};

/* One call. */
typedef struct Transfer {
    SlFetcher *fetcher;
    const SlFetch *fetch;
    Lane *lane;
    struct curl_slist *headers;
    char *where, *host, *port; /* of the URL, for the error's sentence; where is without user and query */
    bool is_tls;
    char words[CURL_ERROR_SIZE];

    unsigned status;
    GHashTable *reply_headers;
    GByteArray *body;
    size_t max_body, n_header_bytes;
    bool is_cut;         /* a long body of an answer that is not 2xx: what was kept will do */
    curl_off_t moved;    /* bytes so far, both ways */
    int64_t progress_ms; /* when moved last changed */
    GError *error;       /* of the sink, or of the limits */
    GError *refusal;     /* admit's last: the failure, unless another address would do */
} Transfer;

static void
transfer_clear(Transfer *transfer)
{
    curl_slist_free_all(transfer->headers);
    g_free(transfer->where);
    g_free(transfer->host);
    g_free(transfer->port);
    g_clear_pointer(&transfer->reply_headers, g_hash_table_unref);
    if (transfer->body)
        g_byte_array_unref(transfer->body);
    g_clear_error(&transfer->error);
    g_clear_error(&transfer->refusal);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Transfer, transfer_clear)

/* ---- lanes ---- */

static void
lane_free(Lane *lane)
{
    curl_easy_cleanup(lane->easy);
    curl_multi_cleanup(lane->multi);
    g_free(lane);
}

static Lane *
lane_take(SlFetcher *fetcher)
{
    Lane *lane;

    pthread_mutex_lock(&fetcher->lock);
    lane = fetcher->idle;
    if (lane) {
        fetcher->idle = lane->next;
        fetcher->n_idle--;
    }
    pthread_mutex_unlock(&fetcher->lock);
    if (lane)
        return lane;
    lane = g_new0(Lane, 1);
    lane->multi = curl_multi_init();
    lane->easy = curl_easy_init();
    return lane;
}

static void
lane_return(SlFetcher *fetcher, Lane *lane)
{
    curl_easy_reset(lane->easy);
    pthread_mutex_lock(&fetcher->lock);
    if (fetcher->n_idle < IDLE_LANES) {
        lane->next = fetcher->idle;
        fetcher->idle = g_steal_pointer(&lane);
        fetcher->n_idle++;
    }
    pthread_mutex_unlock(&fetcher->lock);
    if (lane)
        lane_free(lane);
}

static void
global_init(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

SlFetcher *
sl_fetcher_new(const SlFetchConfig *config)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    SlFetcher *fetcher = g_new0(SlFetcher, 1);

    pthread_once(&once, global_init);
    fetcher->user_agent = g_strdup(config->user_agent);
    fetcher->proxy = g_strdup(config->proxy ? config->proxy : ""); /* "": none, not even the environment's */
    fetcher->ca_file = g_strdup(config->ca_file);
    fetcher->connect_timeout_ms =
        config->connect_timeout_ms ? config->connect_timeout_ms : DEFAULT_CONNECT_MS;
    fetcher->stall_timeout_ms = config->stall_timeout_ms ? config->stall_timeout_ms : DEFAULT_STALL_MS;
    pthread_mutex_init(&fetcher->lock, NULL);
    return fetcher;
}

void
sl_fetcher_free(SlFetcher *fetcher)
{
    if (!fetcher)
        return;
    for (Lane *lane; (lane = fetcher->idle);) {
        fetcher->idle = lane->next;
        lane_free(lane);
    }
    pthread_mutex_destroy(&fetcher->lock);
    g_free(fetcher->user_agent);
    g_free(fetcher->proxy);
    g_free(fetcher->ca_file);
    g_free(fetcher);
}

void
sl_fetch_reply_clear(SlFetchReply *reply)
{
    g_clear_pointer(&reply->headers, g_hash_table_unref);
    g_free(reply->body);
    *reply = (SlFetchReply){ 0 };
}

/* ---- libcurl's callbacks ---- */

static void
header_add(GHashTable *headers, const char *line, size_t n)
{
    const char *colon = memchr(line, ':', n);
    g_autofree char *name = NULL;
    g_autofree char *value = NULL;
    const char *before;

    if (!colon || colon == line)
        return;
    name = g_ascii_strdown(line, colon - line);
    value = g_strstrip(g_strndup(colon + 1, n - (size_t)(colon + 1 - line)));
    before = g_hash_table_lookup(headers, name);
    if (before) {
        char *joined = g_strconcat(before, ", ", value, NULL);

        g_free(value);
        value = joined;
    }
    g_hash_table_replace(headers, g_steal_pointer(&name), g_steal_pointer(&value));
}

static size_t
on_header(char *line, size_t size, size_t n, void *user)
{
    Transfer *transfer = user;

    if (n > 5 && memcmp(line, "HTTP/", 5) == 0) { /* after a 100 Continue comes the real one */
        g_hash_table_remove_all(transfer->reply_headers);
        transfer->n_header_bytes = 0;
    }
    transfer->n_header_bytes += n;
    if (transfer->n_header_bytes > MAX_HEADERS) {
        sl_fail(&transfer->error, SL_ERROR_UNAVAILABLE, "the answer's headers are larger than %d bytes",
                MAX_HEADERS);
        return 0;
    }
    header_add(transfer->reply_headers, line, n);
    return n;
}

static size_t
on_body(char *data, size_t size, size_t n, void *user)
{
    Transfer *transfer = user;
    const SlFetch *fetch = transfer->fetch;
    long status = 0;
    bool is_good;
    size_t room;

    curl_easy_getinfo(transfer->lane->easy, CURLINFO_RESPONSE_CODE, &status);
    is_good = status >= 200 && status < 300;
    if (is_good && fetch->sink) {
        bool ok = fetch->sink(fetch->sink_user, data, n, &transfer->error);

        transfer->progress_ms = sl_clock_monotonic_ms(); /* a slow sink is not a stalled server */
        return ok ? n : 0;
    }
    room = transfer->max_body - transfer->body->len;
    g_byte_array_append(transfer->body, (const guint8 *)data, (guint)MIN(n, room));
    if (n <= room)
        return n;
    if (is_good)
        sl_fail(&transfer->error, SL_ERROR_TOO_LARGE, "the answer is larger than %zu bytes",
                transfer->max_body);
    else
        transfer->is_cut = true;
    return 0;
}

static bool
admit(Transfer *transfer, const char *address)
{
    const SlFetch *fetch = transfer->fetch;

    g_clear_error(&transfer->refusal);
    return fetch->admit(fetch->admit_user, address, &transfer->refusal);
}

static curl_socket_t
on_open_socket(void *user, curlsocktype purpose, struct curl_sockaddr *address)
{
    char text[INET6_ADDRSTRLEN + 32] = "";

    if (getnameinfo(&address->addr, address->addrlen, text, sizeof text, NULL, 0, NI_NUMERICHOST) != 0 ||
        !admit(user, text))
        return CURL_SOCKET_BAD;
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/* Kept connections come by here too. */
static int
on_request(void *user, char *address, char *own_address, int port, int own_port)
{
    return admit(user, address) ? CURL_PREREQFUNC_OK : CURL_PREREQFUNC_ABORT;
}

static int
on_progress(void *user, curl_off_t n_down, curl_off_t down, curl_off_t n_up, curl_off_t up)
{
    Transfer *transfer = user;
    curl_off_t moved = down + up + (curl_off_t)transfer->n_header_bytes;

    if (moved != transfer->moved) {
        transfer->moved = moved;
        transfer->progress_ms = sl_clock_monotonic_ms();
    }
    return 0;
}

/* ---- one call ---- */

static bool
parse_url(Transfer *transfer, GError **error)
{
    CURLU *url = curl_url();
    char *scheme = NULL, *host = NULL, *port = NULL, *path = NULL;
    bool ok = curl_url_set(url, CURLUPART_URL, transfer->fetch->url, 0) == CURLUE_OK &&
              curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
              curl_url_get(url, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
              curl_url_get(url, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK &&
              curl_url_get(url, CURLUPART_PATH, &path, 0) == CURLUE_OK &&
              (strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0);

    if (ok) {
        bool is_default;

        transfer->is_tls = strcmp(scheme, "https") == 0;
        is_default = strcmp(port, transfer->is_tls ? "443" : "80") == 0;
        transfer->where = g_strdup_printf("%s://%s%s%s%s", scheme, host, is_default ? "" : ":",
                                          is_default ? "" : port, path);
        transfer->host = g_strdup(host);
        transfer->port = g_strdup(port);
    }
    curl_free(scheme);
    curl_free(host);
    curl_free(port);
    curl_free(path);
    curl_url_cleanup(url);
    return ok || sl_fail(error, SL_ERROR_INVALID, "not a URL for http or https");
}

static bool
set_headers(Transfer *transfer, GError **error)
{
    const char *const *header = transfer->fetch->headers;
    bool has_type = false;

    for (; header && header[0]; header += 2) {
        g_autofree char *line = NULL;

        if (!header[1] || strpbrk(header[0], "\r\n:; ") || strpbrk(header[1], "\r\n"))
            return sl_fail(error, SL_ERROR_INVALID, "header %s cannot be sent",
                           strpbrk(header[0], "\r\n") ? "" : header[0]);
        has_type |= g_ascii_strcasecmp(header[0], "Content-Type") == 0;
        line =
            *header[1] ? g_strdup_printf("%s: %s", header[0], header[1]) : g_strdup_printf("%s;", header[0]);
        transfer->headers = curl_slist_append(transfer->headers, line);
    }
    transfer->headers = curl_slist_append(transfer->headers, "Expect:");
    if (!has_type) /* libcurl would call every body a form */
        transfer->headers = curl_slist_append(transfer->headers, "Content-Type:");
    return true;
}

static void
set_method(Transfer *transfer)
{
    const SlFetch *fetch = transfer->fetch;
    CURL *easy = transfer->lane->easy;
    bool has_body = fetch->n_body > 0 || strcmp(fetch->method, "POST") == 0 ||
                    strcmp(fetch->method, "PUT") == 0 || strcmp(fetch->method, "PATCH") == 0;

    if (has_body) {
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)fetch->n_body);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, fetch->body ? fetch->body : "");
    }
    if (strcmp(fetch->method, "HEAD") == 0)
        curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
    else
        curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, fetch->method);
}

static void
set_options(Transfer *transfer)
{
    const SlFetcher *fetcher = transfer->fetcher;
    CURL *easy = transfer->lane->easy;

    curl_easy_setopt(easy, CURLOPT_URL, transfer->fetch->url);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, transfer->headers);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, fetcher->user_agent);
    curl_easy_setopt(easy, CURLOPT_PROXY, fetcher->proxy);
    if (fetcher->ca_file)
        curl_easy_setopt(easy, CURLOPT_CAINFO, fetcher->ca_file);
    if (transfer->fetch->insecure_tls) {
        curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0L);
        curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0L);
    }
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)fetcher->connect_timeout_ms);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L); /* a signature covers the path as it is */
    curl_easy_setopt(easy, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
    curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->words);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, transfer);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
    curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(easy, CURLOPT_XFERINFODATA, transfer);
    if (transfer->fetch->admit && !*fetcher->proxy) {
        curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
        curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, transfer);
        curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, on_request);
        curl_easy_setopt(easy, CURLOPT_PREREQDATA, transfer);
    }
    set_method(transfer);
}

static bool
has_connected(Transfer *transfer)
{
    curl_off_t connect_us = 0, tls_us = 0;

    curl_easy_getinfo(transfer->lane->easy, CURLINFO_CONNECT_TIME_T, &connect_us);
    curl_easy_getinfo(transfer->lane->easy, CURLINFO_APPCONNECT_TIME_T, &tls_us);
    return connect_us > 0 && (!transfer->is_tls || tls_us > 0);
}

static char *
words_of_timeout(Transfer *transfer)
{
    curl_off_t connect_us = 0;

    curl_easy_getinfo(transfer->lane->easy, CURLINFO_CONNECT_TIME_T, &connect_us);
    if (connect_us == 0)
        return g_strdup_printf("dial tcp %s:%s: i/o timeout", transfer->host, transfer->port);
    if (!has_connected(transfer))
        return g_strdup("net/http: TLS handshake timeout");
    if (transfer->n_header_bytes == 0)
        return g_strdup("net/http: timeout awaiting response headers");
    return g_strdup("context deadline exceeded while reading body");
}

/* Go's words where Docker's users know them from there. */
static char *
words_of_failure(Transfer *transfer, CURLcode code)
{
    const char *words = *transfer->words ? transfer->words : curl_easy_strerror(code);
    long errnum = 0;

    switch ((int)code) {
    case CURLE_COULDNT_RESOLVE_HOST:
        return g_strdup_printf("dial tcp: lookup %s: no such host", transfer->host);
    case CURLE_COULDNT_RESOLVE_PROXY:
        return g_strdup("proxyconnect tcp: lookup of the proxy: no such host");
    case CURLE_COULDNT_CONNECT: {
        g_autofree char *reason = NULL;

        curl_easy_getinfo(transfer->lane->easy, CURLINFO_OS_ERRNO, &errnum);
        reason = g_strdup(errnum ? g_strerror((int)errnum) : "connection refused");
        reason[0] = g_ascii_tolower(reason[0]);
        return g_strdup_printf("dial tcp %s:%s: connect: %s", transfer->host, transfer->port, reason);
    }
    case CURLE_OPERATION_TIMEDOUT:
        return words_of_timeout(transfer);
    case CURLE_PEER_FAILED_VERIFICATION:
        return g_strdup_printf("tls: failed to verify certificate: x509: %s", words);
    case CURLE_SSL_CONNECT_ERROR:
        if (strstr(words, "wrong version number"))
            return g_strdup("http: server gave HTTP response to HTTPS client");
        return g_strdup_printf("tls: %s", words);
    case CURLE_GOT_NOTHING:
        return g_strdup("EOF");
    case CURLE_PARTIAL_FILE:
        return g_strdup("unexpected EOF");
    default:
        return g_strdup(words);
    }
}

/* Get "https://registry/v2/": dial tcp … The URL is without query and user, which may be secrets. */
static void
prefix_error(Transfer *transfer, GError **error)
{
    g_autofree char *method = g_ascii_strdown(transfer->fetch->method, -1);

    method[0] = g_ascii_toupper(method[0]);
    g_prefix_error(error, "%s \"%s\": ", method, transfer->where);
}

static bool
fail_with_code(Transfer *transfer, CURLcode code, GError **error)
{
    g_autofree char *words = NULL;
    bool is_ours =
        code == CURLE_URL_MALFORMAT || code == CURLE_UNSUPPORTED_PROTOCOL || code == CURLE_LOGIN_DENIED;

    if (transfer->error) {
        bool is_sink = transfer->fetch->sink && transfer->status >= 200 && transfer->status < 300;

        g_propagate_error(error, g_steal_pointer(&transfer->error));
        if (!is_sink)
            prefix_error(transfer, error);
        return false;
    }
    if (transfer->refusal) {
        g_propagate_error(error, g_steal_pointer(&transfer->refusal));
        prefix_error(transfer, error);
        return false;
    }
    words = words_of_failure(transfer, code);
    sl_fail(error, is_ours ? SL_ERROR_INVALID : SL_ERROR_UNAVAILABLE, "%s", words);
    prefix_error(transfer, error);
    return false;
}

/* Drives the transfer to its end; *ret_code is libcurl's verdict. Errors: SL_ERROR_CANCELLED. */
static bool
run(Transfer *transfer, SlCancel *cancel, CURLcode *ret_code, GError **error)
{
    CURLM *multi = transfer->lane->multi;
    struct curl_waitfd extra = { .fd = sl_cancel_fd(cancel), .events = CURL_WAIT_POLLIN };
    int stall_ms = transfer->fetcher->stall_timeout_ms;
    int n_running = 1, n_left;
    CURLMsg *message;

    transfer->progress_ms = sl_clock_monotonic_ms();
    for (;;) {
        int64_t left_ms;

        curl_multi_perform(multi, &n_running);
        if (n_running == 0)
            break;
        if (sl_cancel_is_fired(cancel))
            return sl_fail(error, SL_ERROR_CANCELLED, "cancelled");
        left_ms = transfer->progress_ms + stall_ms - sl_clock_monotonic_ms();
        if (left_ms <= 0) {
            *ret_code = CURLE_OPERATION_TIMEDOUT;
            return true;
        }
        curl_multi_poll(multi, extra.fd >= 0 ? &extra : NULL, extra.fd >= 0, (int)MIN(left_ms, MAX_POLL_MS),
                        NULL);
    }
    while ((message = curl_multi_info_read(multi, &n_left)))
        if (message->msg == CURLMSG_DONE)
            *ret_code = message->data.result;
    return true;
}

static void
give_reply(Transfer *transfer, SlFetchReply *ret_reply)
{
    size_t n = transfer->body->len;

    g_byte_array_append(transfer->body, (const guint8 *)"", 1);
    *ret_reply = (SlFetchReply){
        .status = transfer->status,
        .headers = g_steal_pointer(&transfer->reply_headers),
        .body = (char *)g_byte_array_free(g_steal_pointer(&transfer->body), FALSE),
        .n_body = n,
    };
}

bool
sl_fetch(SlFetcher *fetcher, SlCancel *cancel, const SlFetch *fetch, SlFetchReply *ret_reply, GError **error)
{
    g_auto(Transfer) transfer = { .fetcher = fetcher, .fetch = fetch };
    CURLcode code = CURLE_FAILED_INIT;
    long status = 0;
    bool ok;

    if (sl_cancel_is_fired(cancel))
        return sl_fail(error, SL_ERROR_CANCELLED, "cancelled");
    if (!parse_url(&transfer, error) || !set_headers(&transfer, error))
        return false;
    transfer.max_body = fetch->max_body ? fetch->max_body : DEFAULT_MAX_BODY;
    transfer.reply_headers = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    transfer.body = g_byte_array_new();
    transfer.lane = lane_take(fetcher);
    set_options(&transfer);

    curl_multi_add_handle(transfer.lane->multi, transfer.lane->easy);
    ok = run(&transfer, cancel, &code, error);
    curl_easy_getinfo(transfer.lane->easy, CURLINFO_RESPONSE_CODE, &status);
    transfer.status = (unsigned)status;
    if (ok && code != CURLE_OK && !transfer.is_cut)
        ok = fail_with_code(&transfer, code, error);
    curl_multi_remove_handle(transfer.lane->multi, transfer.lane->easy);
    lane_return(fetcher, transfer.lane);

    if (ok)
        give_reply(&transfer, ret_reply);
    return ok;
}
