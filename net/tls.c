#include "net/tls.h"

#include "common/thread.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

struct SlTls {
    char *ca, *cert, *key, *prefix;
    bool is_server, must_verify;
    pthread_mutex_t lock; /* of context */
    SSL_CTX *context;
};

typedef struct Link {
    SSL *ssl;
    int fd;
    bool read_wants_out, write_wants_in;
    bool
        has_unsent; /* a record that the descriptor has not taken whole: nothing else may be sent before it */
    bool is_ready;  /* the handshake is done */
    bool has_failed;
    char *why; /* it failed */
} Link;

G_DEFINE_AUTOPTR_CLEANUP_FUNC(SSL_CTX, SSL_CTX_free)

/* OpenSSL's first complaint in words; its queue is empty afterwards. */
static const char *
take_complaint(void)
{
    unsigned long code = ERR_get_error();
    const char *words = code ? ERR_reason_error_string(code) : NULL;

    ERR_clear_error();
    return words ? words : "no reason given";
}

/* ---- contexts ---- */

/* A key with a passphrase is refused, not asked for on a terminal. */
static int
no_passphrase(char *buffer, int n, int is_writing, void *user)
{
    return -1;
}

static bool
is_readable(const SlTls *tls, const char *flag, const char *path, GError **error)
{
    g_autofree char *text = NULL;
    g_autoptr(GError) local = NULL;

    if (g_file_get_contents(path, &text, NULL, &local))
        return true;
    return sl_fail(error, SL_ERROR_INVALID, "--%s%s: %s", tls->prefix, flag, local->message);
}

static bool
load_ca(SlTls *tls, SSL_CTX *context, GError **error)
{
    STACK_OF(X509_NAME) * names;

    if (!tls->ca && tls->is_server)
        return true;
    if (!tls->ca)
        return SSL_CTX_set_default_verify_paths(context) == 1 ||
               sl_fail(error, SL_ERROR_INVALID, "--%stlscacert: name one: the system has no certificates",
                       tls->prefix);
    if (!is_readable(tls, "tlscacert", tls->ca, error))
        return false;
    if (SSL_CTX_load_verify_file(context, tls->ca) != 1)
        return sl_fail(error, SL_ERROR_INVALID, "--%stlscacert: %s holds no certificate in PEM form: %s",
                       tls->prefix, tls->ca, take_complaint());
    names = tls->is_server ? SSL_load_client_CA_file(tls->ca) : NULL;
    if (names)
        SSL_CTX_set_client_CA_list(context, names); /* taken; clients choose their certificate by it */
    return true;
}

static bool
load_own(SlTls *tls, SSL_CTX *context, GError **error)
{
    if (!tls->cert && !tls->key && !tls->is_server)
        return true;
    if (!tls->cert || !tls->key)
        return sl_fail(error, SL_ERROR_INVALID, "--%stlscert and --%stlskey: TLS needs both", tls->prefix,
                       tls->prefix);
    if (!is_readable(tls, "tlscert", tls->cert, error) || !is_readable(tls, "tlskey", tls->key, error))
        return false;
    if (SSL_CTX_use_certificate_chain_file(context, tls->cert) != 1)
        return sl_fail(error, SL_ERROR_INVALID, "--%stlscert: %s holds no certificate that can be used: %s",
                       tls->prefix, tls->cert, take_complaint());
    if (SSL_CTX_use_PrivateKey_file(context, tls->key, SSL_FILETYPE_PEM) != 1) {
        bool is_foreign = ERR_GET_REASON(ERR_peek_error()) == X509_R_KEY_VALUES_MISMATCH ||
                          ERR_GET_REASON(ERR_peek_error()) == X509_R_KEY_TYPE_MISMATCH;
        const char *words = take_complaint();

        if (is_foreign)
            return sl_fail(error, SL_ERROR_INVALID, "--%stlskey: %s is not the key of the certificate in %s",
                           tls->prefix, tls->key, tls->cert);
        return sl_fail(error, SL_ERROR_INVALID,
                       "--%stlskey: %s holds no private key in PEM form without a passphrase: %s",
                       tls->prefix, tls->key, words);
    }
    if (SSL_CTX_check_private_key(context) != 1)
        return sl_fail(error, SL_ERROR_INVALID, "--%stlskey: %s is not the key of the certificate in %s",
                       tls->prefix, tls->key, tls->cert);
    return true;
}

static void
set_rules(SlTls *tls, SSL_CTX *context)
{
    static const unsigned char name[] = "sockerless";

    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_cipher_list(context,
                            "ECDHE+AESGCM:ECDHE+CHACHA20"); /* of TLS 1.2; those of 1.3 are all good */
    /* A client that closes without close_notify ends its input as one that sends it; HTTP's own framing tells
     * what was cut off. */
    SSL_CTX_set_options(context,
                        SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                  SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF); /* tickets do without */
    SSL_CTX_set_session_id_context(context, name, sizeof name - 1);
    if (!tls->is_server)
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    else if (tls->must_verify)
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
}

static SSL_CTX *
context_new(SlTls *tls, GError **error)
{
    g_autoptr(SSL_CTX) context = SSL_CTX_new(tls->is_server ? TLS_server_method() : TLS_client_method());

    ERR_clear_error();
    if (!context) {
        sl_fail(error, SL_ERROR_SYSTEM, "TLS cannot be set up: %s", take_complaint());
        return NULL;
    }
    SSL_CTX_set_default_passwd_cb(context, no_passphrase);
    set_rules(tls, context);
    if (tls->must_verify && tls->is_server && !tls->ca) {
        sl_fail(error, SL_ERROR_INVALID,
                "--%stlscacert: --tlsverify needs it, to know whose certificates to take", tls->prefix);
        return NULL;
    }
    if (!load_own(tls, context, error) || !load_ca(tls, context, error))
        return NULL;
    return g_steal_pointer(&context);
}

static SlTls *
tls_new(const SlTlsFiles *files, bool is_server, bool must_verify, GError **error)
{
    g_autoptr(SlTls) tls = g_new0(SlTls, 1);

    pthread_mutex_init(&tls->lock, NULL);
    tls->ca = g_strdup(files->ca);
    tls->cert = g_strdup(files->cert);
    tls->key = g_strdup(files->key);
    tls->prefix = g_strdup(files->prefix ? files->prefix : "");
    tls->is_server = is_server;
    tls->must_verify = must_verify;
    tls->context = context_new(tls, error);
    return tls->context ? g_steal_pointer(&tls) : NULL;
}

SlTls *
sl_tls_server_new(const SlTlsFiles *files, bool must_verify, GError **error)
{
    return tls_new(files, true, must_verify, error);
}

SlTls *
sl_tls_client_new(const SlTlsFiles *files, GError **error)
{
    return tls_new(files, false, true, error);
}

bool
sl_tls_reload(SlTls *tls, GError **error)
{
    g_autoptr(SSL_CTX) context = context_new(tls, error);
    SSL_CTX *before;

    if (!context)
        return false;
    pthread_mutex_lock(&tls->lock);
    before = tls->context;
    tls->context = g_steal_pointer(&context);
    pthread_mutex_unlock(&tls->lock);
    SSL_CTX_free(before); /* connections hold references of their own */
    return true;
}

bool
sl_tls_verifies(SlTls *tls)
{
    return tls->must_verify;
}

void
sl_tls_free(SlTls *tls)
{
    if (!tls)
        return;
    SSL_CTX_free(tls->context);
    pthread_mutex_destroy(&tls->lock);
    g_free(tls->ca);
    g_free(tls->cert);
    g_free(tls->key);
    g_free(tls->prefix);
    g_free(tls);
}

/* ---- the layer ---- */

static ssize_t
link_fail(Link *link, int kind)
{
    int errnum = errno;

    link->has_failed = true;
    if (!link->why && kind == SSL_ERROR_SYSCALL)
        link->why = g_strdup(errnum ? g_strerror(errnum) : "the connection was closed");
    else if (!link->why)
        link->why = g_strdup_printf("TLS: %s", take_complaint());
    errno = kind == SSL_ERROR_SYSCALL && errnum ? errnum : EPROTO;
    return SL_STREAM_FAILED;
}

static ssize_t
link_read(void *user, void *data, size_t n)
{
    Link *link = user;
    size_t got;
    int kind;

    if (link->has_failed) {
        errno = EPROTO;
        return SL_STREAM_FAILED;
    }
    link->read_wants_out = false;
    ERR_clear_error();
    errno = 0;
    if (SSL_read_ex(link->ssl, data, n, &got) == 1)
        return (ssize_t)got;
    kind = SSL_get_error(link->ssl, 0);
    if (kind == SSL_ERROR_ZERO_RETURN)
        return 0;
    if (kind != SSL_ERROR_WANT_READ && kind != SSL_ERROR_WANT_WRITE)
        return link_fail(link, kind);
    link->read_wants_out = kind == SSL_ERROR_WANT_WRITE;
    return SL_STREAM_AGAIN;
}

static ssize_t
link_write(void *user, const void *data, size_t n)
{
    Link *link = user;
    size_t done = 0, sent;
    int kind;

    if (link->has_failed) {
        errno = EPIPE;
        return SL_STREAM_FAILED;
    }
    link->write_wants_in = false;
    ERR_clear_error();
    while (done < n) {
        errno = 0;
        if (SSL_write_ex(link->ssl, (const char *)data + done, n - done, &sent) == 1) {
            link->has_unsent = false;
            done += sent;
            continue;
        }
        kind = SSL_get_error(link->ssl, 0);
        if (kind != SSL_ERROR_WANT_READ && kind != SSL_ERROR_WANT_WRITE)
            return link_fail(link, kind);
        link->has_unsent = true;
        link->write_wants_in = kind == SSL_ERROR_WANT_READ;
        break;
    }
    return done > 0 || n == 0 ? (ssize_t)done : SL_STREAM_AGAIN;
}

static size_t
link_n_pending(void *user)
{
    Link *link = user;
    int n = link->has_failed ? 0 : SSL_pending(link->ssl);

    return (size_t)MAX(n, 0);
}

/* close_notify: the other direction goes on. */
static bool
link_shutdown_write(void *user)
{
    Link *link = user;
    int said;

    if (link->has_failed || link->has_unsent || !link->is_ready) {
        shutdown(link->fd, SHUT_WR);
        return true;
    }
    ERR_clear_error();
    said = SSL_shutdown(link->ssl);
    return said >= 0 || SSL_get_error(link->ssl, said) != SSL_ERROR_WANT_WRITE;
}

static short
link_poll_events(void *user, short events)
{
    Link *link = user;
    short wanted = 0;

    if (events & POLLIN)
        wanted |= link->read_wants_out ? POLLOUT : POLLIN;
    if (events & POLLOUT)
        wanted |= link->write_wants_in ? POLLIN : POLLOUT;
    return wanted;
}

static const char *
link_failure(void *user)
{
    return ((Link *)user)->why;
}

static void
link_free(void *user)
{
    Link *link = user;

    if (link->is_ready && !link->has_failed && !link->has_unsent &&
        !(SSL_get_shutdown(link->ssl) & SSL_SENT_SHUTDOWN)) {
        ERR_clear_error();
        SSL_shutdown(link->ssl);
    }
    SSL_free(link->ssl);
    ERR_clear_error();
    g_free(link->why);
    g_free(link);
}

static const SlStreamLayer tls_layer = {
    .read = link_read,
    .write = link_write,
    .n_pending = link_n_pending,
    .shutdown_write = link_shutdown_write,
    .poll_events = link_poll_events,
    .failure = link_failure,
    .free = link_free,
};

static SlStream *
stream_new(SlTls *tls, int fd, Link **ret_link)
{
    Link *link = g_new0(Link, 1);
    SlStream *stream = sl_stream_new_layered(fd, &tls_layer, link);

    link->fd = fd;
    pthread_mutex_lock(&tls->lock);
    link->ssl = SSL_new(tls->context);
    pthread_mutex_unlock(&tls->lock);
    g_assert(link->ssl && SSL_set_fd(link->ssl, fd) == 1); /* both fail for want of memory only */
    *ret_link = link;
    return stream;
}

/* ---- handshakes ---- */

SlStream *
sl_tls_accept(SlTls *tls, int fd)
{
    Link *link;
    SlStream *stream = stream_new(tls, fd, &link);

    SSL_set_accept_state(link->ssl);
    return stream;
}

static SlTlsStep
handshake_fail(Link *link, int kind, GError **error)
{
    int errnum = errno;
    long verdict = SSL_get_verify_result(link->ssl);
    bool is_http = ERR_GET_REASON(ERR_peek_error()) == SSL_R_HTTP_REQUEST;

    link->has_failed = true;
    if (kind == SSL_ERROR_SYSCALL)
        sl_fail(error, SL_ERROR_UNAUTHORIZED, "%s",
                errnum ? g_strerror(errnum) : "the other side closed the connection");
    else if (verdict != X509_V_OK)
        sl_fail(error, SL_ERROR_UNAUTHORIZED, "the %s's certificate: %s",
                SSL_is_server(link->ssl) ? "client" : "server", X509_verify_cert_error_string(verdict));
    else
        sl_fail(error, SL_ERROR_UNAUTHORIZED, "%s", take_complaint());
    ERR_clear_error();
    return is_http ? SL_TLS_PLAIN_HTTP : SL_TLS_FAILED;
}

SlTlsStep
sl_tls_handshake(SlStream *stream, GError **error)
{
    Link *link = sl_stream_get_layer(stream, &tls_layer);
    int done, kind;

    ERR_clear_error();
    errno = 0;
    done = SSL_do_handshake(link->ssl);
    if (done == 1) {
        link->is_ready = true;
        link->read_wants_out = false;
        return SL_TLS_DONE;
    }
    kind = SSL_get_error(link->ssl, done);
    if (kind != SSL_ERROR_WANT_READ && kind != SSL_ERROR_WANT_WRITE)
        return handshake_fail(link, kind, error);
    link->read_wants_out = kind == SSL_ERROR_WANT_WRITE;
    return SL_TLS_AGAIN;
}

/* The name that the server's certificate has to have. */
static void
expect_host(Link *link, const char *host)
{
    unsigned char bytes[sizeof(struct in6_addr)];
    bool is_literal = inet_pton(AF_INET, host, bytes) == 1 || inet_pton(AF_INET6, host, bytes) == 1;

    if (is_literal) {
        X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(link->ssl), host);
    } else {
        SSL_set1_host(link->ssl, host);
        SSL_set_tlsext_host_name(link->ssl, host);
    }
}

SlStream *
sl_tls_connect(SlTls *tls, int fd, const char *host, SlCancel *cancel, int timeout_ms, GError **error)
{
    Link *link;
    g_autoptr(SlStream) stream = stream_new(tls, fd, &link);
    g_autoptr(GError) local = NULL;

    SSL_set_connect_state(link->ssl);
    expect_host(link, host);
    for (;;) {
        switch (sl_tls_handshake(stream, &local)) {
        case SL_TLS_DONE:
            return g_steal_pointer(&stream);
        case SL_TLS_AGAIN:
            if (!sl_stream_wait(stream, cancel, POLLIN, timeout_ms, error))
                return NULL;
            break;
        case SL_TLS_FAILED:
        case SL_TLS_PLAIN_HTTP:
            sl_fail(error, SL_ERROR_UNAVAILABLE, "TLS with %s: %s", host, local->message);
            return NULL;
        }
    }
}

char *
sl_tls_dup_peer_name(SlStream *stream)
{
    Link *link = sl_stream_get_layer(stream, &tls_layer);
    X509 *certificate = link ? SSL_get0_peer_certificate(link->ssl) : NULL;
    X509_NAME *subject = certificate ? X509_get_subject_name(certificate) : NULL;
    unsigned char *text = NULL;
    char *name = NULL;
    int at = -1, last = -1, n;

    if (!subject || SSL_get_verify_result(link->ssl) != X509_V_OK)
        return NULL;
    while ((at = X509_NAME_get_index_by_NID(subject, NID_commonName, at)) >= 0)
        last = at; /* of several the last, as Go has it */
    if (last < 0)
        return g_strdup("");
    n = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, last)));
    /* A name with a NUL in it is nobody's. */
    name = n >= 0 && strlen((char *)text) == (size_t)n ? g_strdup((char *)text) : g_strdup("");
    OPENSSL_free(text);
    return name;
}
