#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "common/daemon.h"
#include "common/json_fields.h"
#include "common/log.h"
#include "common/settings.h"
#include "frontends/docker/frontend.h"

enum { GRACE_MS = 10000 };

typedef struct Settings {
    SlFrontendConfig frontend;
    char *config, *log_level, *log_format;
    bool help, version;
} Settings;

static const SlSetting settings_table[] = {
    SL_SETTING(Settings, frontend.addresses, "addr", SL_SETTING_STRV, "ADDR",
               "where to listen: unix:///PATH, HOST:PORT or :PORT (loopback); may repeat"),
    SL_SETTING(Settings, frontend.backend, "backend", SL_SETTING_STRING, "URL",
               "where the backend is: http://HOST:PORT, https://HOST:PORT or unix:///PATH"),
    SL_TLS_SETTINGS(Settings, frontend.tls),
    SL_SETTING(Settings, frontend.backend_ca, "backend-tlscacert", SL_SETTING_STRING, "FILE",
               "who signs an https backend's certificate (PEM); default: the system's"),
    SL_SETTING(Settings, frontend.backend_cert, "backend-tlscert", SL_SETTING_STRING, "FILE",
               "the certificate to show an https backend (PEM)"),
    SL_SETTING(Settings, frontend.backend_key, "backend-tlskey", SL_SETTING_STRING, "FILE",
               "the key of --backend-tlscert (PEM)"),
    SL_SETTING(Settings, frontend.token_file, "internal-token-file", SL_SETTING_STRING, "FILE",
               "the token to show the backend"),
    SL_SETTING(Settings, frontend.allow_public, "allow-insecure-tcp", SL_SETTING_BOOL, NULL,
               "listen beyond loopback without --tlsverify: whoever reaches the port controls the backend"),
    SL_SETTING(Settings, frontend.allowed_hosts, "allowed-host", SL_SETTING_STRV, "NAME",
               "a Host header to accept on TCP beside localhost and addresses; may repeat"),
    { .name = "log-level",
      .kind = SL_SETTING_CHOICE,
      .offset = offsetof(Settings, log_level),
      .value_name = "LEVEL",
      .help = "what to log",
      .choices = "debug|info|warn|error" },
    { .name = "log-format",
      .kind = SL_SETTING_CHOICE,
      .offset = offsetof(Settings, log_format),
      .value_name = "FORMAT",
      .help = "how to log",
      .choices = "text|json" },
    SL_SETTING(Settings, config, "config", SL_SETTING_STRING, "FILE", "a settings file"),
    SL_SETTING(Settings, help, "help", SL_SETTING_BOOL, NULL, "print this"),
    SL_SETTING(Settings, version, "version", SL_SETTING_BOOL, NULL, "print the version"),
    { 0 },
};

static void
settings_clear(Settings *settings)
{
    sl_settings_clear(settings_table, settings);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Settings, settings_clear)

static void
print_help(void)
{
    g_autofree char *options = sl_settings_help(settings_table);

    printf("Usage: sockerless-frontend-docker --addr ADDR --backend URL [OPTION]…\n\n"
           "Serves the Docker Engine API and forwards it to a Sockerless backend.\n\n%s",
           options);
}

static int
serve(const SlFrontendConfig *config, const sigset_t *ends)
{
    g_autoptr(GError) error = NULL;
    SlFrontend *frontend = sl_frontend_open(config, environ, &error);
    int received = 0;

    if (!frontend) {
        sl_error("cannot start: %s", error->message);
        return 1;
    }
    for (const char *const *address = sl_frontend_get_addresses(frontend); *address; address++)
        sl_info("listening address=%s backend=%s", *address, config->backend);
    sl_daemon_notify("READY=1");
    while (sigwait(ends, &received) == 0 && received == SIGHUP)
        sl_frontend_reload(frontend);
    sl_daemon_notify("STOPPING=1");
    sl_info("ending signal=%d", received);
    return sl_frontend_close(frontend, GRACE_MS) ? 0 : 1;
}

int
main(int argc, char **argv)
{
    g_auto(Settings) settings = { .log_level = g_strdup("info"), .log_format = g_strdup("text") };
    g_autofree char *file = sl_settings_find_file(argv, environ);
    g_autoptr(GError) error = NULL;
    SlLogLevel level;
    sigset_t ends;

    sl_daemon_prepare(&ends);
    sl_daemon_take_hangup(&ends);
    sl_json_setup();
    if (!sl_settings_read(settings_table, "frontend-docker", &settings, argv, environ, file, NULL, &error)) {
        fprintf(stderr, "sockerless-frontend-docker: %s\n", error->message);
        return 2;
    }
    if (settings.help || settings.version) {
        if (settings.help)
            print_help();
        else
            printf("sockerless-frontend-docker %s\n", SL_VERSION);
        return 0;
    }
    sl_log_level_parse(settings.log_level, &level);
    sl_log_setup("frontend", level, g_str_equal(settings.log_format, "json"));
    return serve(&settings.frontend, &ends);
}
