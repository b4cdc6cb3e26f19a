/* sockerless-backend-memory: the engine on this machine, its containers in the WebAssembly sandbox. */
#include "backends/core/core.h"
#include "backends/memory/memory_driver.h"
#include "common/daemon.h"
#include "common/fd.h"
#include "common/log.h"
#include "common/settings.h"
#include "net/http_server.h"
#include "net/tls_settings.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

enum { DRAIN_MS = 10 * 1000 };

typedef struct BackendConfig {
    char **addr;
    char *data;
    char *agent, *sandbox, *base_image;
    char *builtin_images;
    char **registry_mirror, **insecure_registry;
    char *log_driver, **log_opt;
    bool allow_insecure_tcp, help, version;
    SlTlsSettings tls;
    char *token_file;
    char *config, *log_level, *log_format;
} BackendConfig;

static const SlSetting settings[] = {
    SL_SETTING(BackendConfig, addr, "addr", SL_SETTING_STRV, "ADDR",
               "listen here: unix:///path or [HOST]:PORT; may repeat"),
    SL_SETTING(BackendConfig, data, "data", SL_SETTING_STRING, "DIR", "where all state is kept"),
    SL_SETTING(BackendConfig, agent, "agent", SL_SETTING_STRING, "FILE", "the sockerless-agent program"),
    SL_SETTING(BackendConfig, sandbox, "sandbox", SL_SETTING_STRING, "FILE",
               "the sockerless-sandbox program"),
    SL_SETTING(BackendConfig, base_image, "base-image", SL_SETTING_STRING, "FILE",
               "the userland of the built-in image, a tar"),
    { .name = "builtin-images",
      .kind = SL_SETTING_CHOICE,
      .offset = offsetof(BackendConfig, builtin_images),
      .value_name = "WHEN",
      .help =
          "serve alpine and busybox from the built-in image: auto (no registry can be reached), always, off",
      .choices = "auto|always|off" },
    SL_SETTING(BackendConfig, registry_mirror, "registry-mirror", SL_SETTING_STRV, "URL",
               "asked before docker.io; may repeat"),
    SL_SETTING(BackendConfig, insecure_registry, "insecure-registry", SL_SETTING_STRV, "HOST",
               "may be plain HTTP; may repeat"),
    SL_SETTING(BackendConfig, log_driver, "log-driver", SL_SETTING_STRING, "NAME",
               "of containers that name none: json-file, local or none"),
    SL_SETTING(BackendConfig, log_opt, "log-opt", SL_SETTING_STRV, "NAME=VALUE",
               "its options, as max-size=10m; may repeat"),
    SL_SETTING(
        BackendConfig, allow_insecure_tcp, "allow-insecure-tcp", SL_SETTING_BOOL, NULL,
        "listen beyond loopback with neither --tlsverify nor a token: whoever reaches it controls this "
        "daemon"),
    SL_TLS_SETTINGS(BackendConfig, tls),
    SL_SETTING(BackendConfig, token_file, "internal-token-file", SL_SETTING_STRING, "FILE",
               "a secret that every caller has to know; the frontend gets the same file"),
    SL_SETTING(BackendConfig, config, "config", SL_SETTING_STRING, "FILE", "read settings from FILE"),
    { .name = "log-level",
      .kind = SL_SETTING_CHOICE,
      .offset = offsetof(BackendConfig, log_level),
      .value_name = "LEVEL",
      .help = "debug, info, warn or error",
      .choices = "debug|info|warn|error" },
    { .name = "log-format",
      .kind = SL_SETTING_CHOICE,
      .offset = offsetof(BackendConfig, log_format),
      .value_name = "FORMAT",
      .help = "text or json",
      .choices = "text|json" },
    SL_SETTING(BackendConfig, help, "help", SL_SETTING_BOOL, NULL, "show this and exit"),
    SL_SETTING(BackendConfig, version, "version", SL_SETTING_BOOL, NULL, "show the version and exit"),
    { 0 },
};

/* Beside this program, as built and as installed; data files in ../share of an installed one. */
static char *
find_beside(const char *name, const char *built, const char *installed)
{
    g_autofree char *program = g_file_read_link("/proc/self/exe", NULL);
    g_autofree char *folder = program ? g_path_get_dirname(program) : NULL;
    const char *places[] = { ".", built, installed };

    for (size_t i = 0; folder && i < G_N_ELEMENTS(places); i++) {
        g_autofree char *path = g_build_filename(folder, places[i], name, NULL);

        if (access(path, R_OK) == 0)
            return g_steal_pointer(&path);
    }
    return NULL;
}

static void
fill_defaults(BackendConfig *config)
{
    if (!config->addr || !config->addr[0]) {
        g_strfreev(config->addr);
        config->addr = g_strdupv((char *[]){ (char[]){ ":9100" }, NULL });
    }
    if (!config->data)
        config->data = getuid() == 0
                           ? g_strdup("/var/lib/sockerless")
                           : g_build_filename(g_get_user_data_dir(), "..", "state", "sockerless", NULL);
    if (!config->agent)
        config->agent = find_beside("sockerless-agent", "../../agent", "../libexec/sockerless");
    if (!config->sandbox)
        config->sandbox = find_beside("sockerless-sandbox", "../../sandbox", "../libexec/sockerless");
    if (!config->base_image)
        config->base_image = find_beside("base-rootfs.tar", "../../sandbox", "../share/sockerless");
}

/* What callers have to prove, on TCP or (the token) everywhere. */
typedef struct Access {
    SlTls *tls;     /* or NULL */
    SlToken *token; /* or NULL */
} Access;

static void
access_clear(Access *access)
{
    g_clear_pointer(&access->tls, sl_tls_free);
    g_clear_pointer(&access->token, sl_token_free);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Access, access_clear)

static bool
access_open(Access *access, const BackendConfig *config, GError **error)
{
    if (!sl_tls_settings_open(&config->tls, &access->tls, error))
        return false;
    if (config->token_file)
        access->token = sl_token_open("--internal-token-file", config->token_file, error);
    return !config->token_file || access->token;
}

static void
access_reload(Access *access)
{
    g_autoptr(GError) tls = NULL, token = NULL;

    if (access->tls && !sl_tls_reload(access->tls, &tls))
        sl_error("certificates stay as they were: %s", tls->message);
    if (access->token && !sl_token_reload(access->token, &token))
        sl_error("the token stays as it was: %s", token->message);
    sl_info("settings read again");
}

static void
add_listener(SlServer *server, int fd, bool is_tcp, const Access *access)
{
    if (is_tcp && access->tls)
        sl_server_add_tls_listener(server, fd, access->tls);
    else
        sl_server_add_listener(server, fd, is_tcp);
}

static bool
listen_all(SlServer *server, const BackendConfig *config, const Access *access, GError **error)
{
    bool allow_public = config->allow_insecure_tcp || access->token || sl_tls_settings_verify(&config->tls);

    for (char **text = config->addr; *text; text++) {
        g_auto(SlAddress) address = { 0 };
        g_autofree int *fds = NULL;
        g_autofree char *shown = NULL;
        size_t n;

        if (!sl_address_parse(*text, &address, error) ||
            !sl_address_listen(&address, allow_public, &fds, &n, error))
            return false;
        for (size_t i = 0; i < n; i++)
            add_listener(server, fds[i], !address.path, access);
        if (access->token && !access->tls && !sl_address_is_loopback(&address))
            sl_warn("the token and all else travel unencrypted: use --tls address=%s", *text);
        shown = sl_address_format(&address);
        sl_info("listening address=%s", shown);
    }
    return true;
}

static bool
serve(const BackendConfig *config, const sigset_t *stop_signals, GError **error)
{
    g_auto(Access) access = { 0 };
    g_autofree SlRoute *routes = NULL;
    g_autoptr(SlCore) core = NULL;
    g_autoptr(SlServer) server = NULL;
    SlDriver *driver;
    int signal_number;

    if (!access_open(&access, config, error) || !sl_folder_make(config->data, 0700, error))
        return false;
    driver = memory_driver_open(&(MemoryConfig){ config->agent, config->sandbox, config->data }, error);
    if (!driver)
        return false;
    core = sl_core_open(&(SlCoreConfig){ .data = config->data,
                                         .driver = driver,
                                         .registry_mirrors = config->registry_mirror,
                                         .insecure_registries = config->insecure_registry,
                                         .builtin_images = config->builtin_images,
                                         .base_tar = config->base_image,
                                         .log_driver = config->log_driver,
                                         .log_opts = config->log_opt },
                        error);
    if (!core)
        return false;
    routes = sl_core_routes_new();
    /* Where a token is asked for, a page that a browser was tricked into has nothing to show. */
    server = sl_server_new(&(SlServerConfig){ .routes = routes,
                                              .context = core,
                                              .relay = core->relay,
                                              .token = access.token,
                                              .check_origin = !access.token },
                           error);
    if (!server || !listen_all(server, config, &access, error))
        return false;

    sl_daemon_notify("READY=1");
    while (sigwait(stop_signals, &signal_number) == 0 && signal_number == SIGHUP)
        access_reload(&access);
    sl_daemon_notify("STOPPING=1");
    sl_info("stopping signal=%d", signal_number);
    sl_server_drain(server, DRAIN_MS);
    return true;
}

static void
backend_config_clear(BackendConfig *config)
{
    sl_settings_clear(settings, config);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(BackendConfig, backend_config_clear)

static void
print_help(void)
{
    g_autofree char *options = sl_settings_help(settings);

    printf("Usage: sockerless-backend-memory [OPTION]…\n\nRuns containers in a WebAssembly sandbox on this "
           "machine and serves the internal "
           "API to a frontend.\n\n%s",
           options);
}

int
main(int argc, char **argv)
{
    g_auto(BackendConfig) config = { .log_level = g_strdup("info"),
                                     .log_format = g_strdup("text"),
                                     .builtin_images = g_strdup("auto") };
    g_autofree char *file = sl_settings_find_file(argv, environ);
    g_autoptr(GError) error = NULL;
    sigset_t stop_signals;
    SlLogLevel level;

    sl_daemon_prepare(&stop_signals);
    sl_daemon_take_hangup(&stop_signals);
    sl_json_setup();
    signal(SIGCHLD, SIG_IGN); /* agents end by themselves and are nobody's business when they do */
    if (!sl_settings_read(settings, "backend-memory", &config, argv, environ, file, NULL, &error)) {
        fprintf(stderr, "sockerless-backend-memory: %s\n", error->message);
        return 2;
    }
    if (config.help || config.version) {
        if (config.help)
            print_help();
        else
            printf("sockerless-backend-memory %s\n", SL_VERSION);
        return 0;
    }
    sl_log_level_parse(config.log_level, &level);
    sl_log_setup("backend-memory", level, g_str_equal(config.log_format, "json"));
    fill_defaults(&config);
    if (serve(&config, &stop_signals, &error))
        return 0;
    sl_error("cannot serve: %s", error->message);
    return 1;
}
