#include "frontends/docker/frontend.h"

#include <string.h>
#include <sys/socket.h>

#include "api/names.h"
#include "common/log.h"
#include "common/thread.h"
#include "frontends/docker/headers.h"

const char *const sl_frontend_headers[] = {
    "Api-Version",
    DK_API_VERSION_TEXT,
    "Docker-Experimental",
    "false",
    "Ostype",
    "linux",
    "Server",
    "Sockerless/" SL_VERSION " (linux)",
    NULL,
};

struct SlFrontend {
    const SlFrontendConfig *config;
    SlTls *tls, *backend_tls; /* NULL: none */
    SlToken *token;
    SlHttpClient *client;
    SlLoop *loop;
    SlRelay *relay;
    SlServer *server;
    GPtrArray *addresses; /* strings, NULL-ended once open */
    char *backend;
    pthread_mutex_t lock; /* of version */
    GBytes *version;
};

static bool
is_tcp(int fd)
{
    struct sockaddr_storage name;
    socklen_t n = sizeof name;

    return getsockname(fd, (struct sockaddr *)&name, &n) == 0 && name.ss_family != AF_UNIX;
}

static void
add_listener(SlFrontend *frontend, int fd)
{
    bool tcp = is_tcp(fd);

    if (tcp && frontend->tls)
        sl_server_add_tls_listener(frontend->server, fd, frontend->tls);
    else
        sl_server_add_listener(frontend->server, fd, tcp);
}

static bool
listen_on(SlFrontend *frontend, const char *text, GError **error)
{
    g_auto(SlAddress) address = { 0 };
    g_autofree int *fds = NULL;
    bool allow_public = frontend->config->allow_public || sl_tls_settings_verify(&frontend->config->tls);
    size_t n;

    if (!sl_address_parse(text, &address, error) ||
        !sl_address_listen(&address, allow_public, &fds, &n, error))
        return false;
    for (size_t i = 0; i < n; i++)
        add_listener(frontend, fds[i]);
    g_ptr_array_add(frontend->addresses, sl_address_format(&address));
    return true;
}

/* Sockets of a supervisor come beside those of --addr. */
static bool
listen_all(SlFrontend *frontend, char **environ_, GError **error)
{
    g_autofree int *passed = NULL;
    size_t n_passed = sl_address_take_passed(environ_, &passed);

    for (size_t i = 0; i < n_passed; i++)
        add_listener(frontend, passed[i]);
    for (char **address = frontend->config->addresses; address && *address; address++)
        if (!listen_on(frontend, *address, error))
            return false;
    if (n_passed == 0 && frontend->addresses->len == 0)
        return sl_fail(error, SL_ERROR_INVALID, "--addr: say where to listen, e.g. --addr :2375");
    g_ptr_array_add(frontend->addresses, NULL);
    return true;
}

/* The way to the backend: an address, TLS for https://, and the token. */
static bool
connect_backend(SlFrontend *frontend, GError **error)
{
    static const char https[] = "https://";
    const SlFrontendConfig *config = frontend->config;
    const SlTlsFiles files = { config->backend_ca, config->backend_cert, config->backend_key, "backend-" };
    bool is_https = config->backend && g_str_has_prefix(config->backend, https);
    g_autofree char *text =
        is_https ? g_strconcat("tcp://", config->backend + strlen(https), NULL) : g_strdup(config->backend);
    g_auto(SlAddress) backend = { 0 };

    if (!text)
        return sl_fail(error, SL_ERROR_INVALID,
                       "--backend: say where the backend is, e.g. --backend http://localhost:9100");
    if (!is_https && (files.ca || files.cert || files.key))
        return sl_fail(error, SL_ERROR_INVALID,
                       "--backend-tls…: certificates are of no use for %s: write https://", config->backend);
    if (!sl_address_parse(text, &backend, error))
        return false;
    if (is_https && !(frontend->backend_tls = sl_tls_client_new(&files, error)))
        return false;
    if (config->token_file &&
        !(frontend->token = sl_token_open("--internal-token-file", config->token_file, error)))
        return false;
    if (frontend->token && !is_https && !sl_address_is_loopback(&backend))
        sl_warn("the token travels unencrypted: use https backend=%s", config->backend);
    frontend->backend = sl_address_format(&backend);
    frontend->client = sl_http_client_new(&backend);
    sl_http_client_secure(frontend->client, frontend->backend_tls, frontend->token);
    return true;
}

static bool
connect_parts(SlFrontend *frontend, GError **error)
{
    SlServerConfig server = {
        .routes = sl_frontend_routes,
        .context = frontend,
        .strip_version = true,
        .admit = sl_frontend_admit,
        .headers = sl_frontend_headers,
        .check_origin = true,
        .allowed_hosts = frontend->config->allowed_hosts,
    };

    if (!connect_backend(frontend, error) ||
        !sl_tls_settings_open(&frontend->config->tls, &frontend->tls, error))
        return false;
    frontend->loop = sl_loop_new("relay", error);
    if (!frontend->loop)
        return false;
    frontend->relay = sl_relay_new(frontend->loop);
    server.relay = frontend->relay;
    frontend->server = sl_server_new(&server, error);
    return frontend->server != NULL;
}

SlFrontend *
sl_frontend_open(const SlFrontendConfig *config, char **environ_, GError **error)
{
    SlFrontend *frontend = g_new0(SlFrontend, 1);

    frontend->config = config;
    frontend->addresses = g_ptr_array_new_with_free_func(g_free);
    pthread_mutex_init(&frontend->lock, NULL);
    if (connect_parts(frontend, error) && listen_all(frontend, environ_, error))
        return frontend;
    sl_frontend_close(frontend, 0);
    return NULL;
}

bool
sl_frontend_close(SlFrontend *frontend, int grace_ms)
{
    if (frontend->server && !sl_server_drain(frontend->server, grace_ms)) {
        sl_warn("calls were cut off at the end grace_ms=%d", grace_ms);
        return false;
    }
    g_clear_pointer(&frontend->server, sl_server_free);
    g_clear_pointer(&frontend->relay, sl_relay_free);
    g_clear_pointer(&frontend->loop, sl_loop_free);
    g_clear_pointer(&frontend->client, sl_http_client_free);
    g_clear_pointer(&frontend->tls, sl_tls_free);
    g_clear_pointer(&frontend->backend_tls, sl_tls_free);
    g_clear_pointer(&frontend->token, sl_token_free);
    g_clear_pointer(&frontend->version, g_bytes_unref);
    pthread_mutex_destroy(&frontend->lock);
    g_ptr_array_unref(frontend->addresses);
    g_free(frontend->backend);
    g_free(frontend);
    return true;
}

void
sl_frontend_reload(SlFrontend *frontend)
{
    g_autoptr(GError) own = NULL, client = NULL, token = NULL;

    if (frontend->tls && !sl_tls_reload(frontend->tls, &own))
        sl_error("certificates stay as they were: %s", own->message);
    if (frontend->backend_tls && !sl_tls_reload(frontend->backend_tls, &client))
        sl_error("certificates for the backend stay as they were: %s", client->message);
    if (frontend->token && !sl_token_reload(frontend->token, &token))
        sl_error("the token stays as it was: %s", token->message);
    sl_info("settings read again");
}

const char *const *
sl_frontend_get_addresses(SlFrontend *frontend)
{
    return (const char *const *)frontend->addresses->pdata;
}

SlHttpClient *
sl_frontend_get_client(SlFrontend *frontend)
{
    return frontend->client;
}

SlRelay *
sl_frontend_get_relay(SlFrontend *frontend)
{
    return frontend->relay;
}

const char *
sl_frontend_get_backend(SlFrontend *frontend)
{
    return frontend->backend;
}

GBytes *
sl_frontend_dup_version(SlFrontend *frontend)
{
    SL_LOCK_GUARD(&frontend->lock);

    return frontend->version ? g_bytes_ref(frontend->version) : NULL;
}

void
sl_frontend_keep_version(SlFrontend *frontend, GBytes *version)
{
    SL_LOCK_GUARD(&frontend->lock);

    g_clear_pointer(&frontend->version, g_bytes_unref);
    frontend->version = version ? g_bytes_ref(version) : NULL;
}
