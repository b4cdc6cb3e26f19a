#include "cli/cmd.h"

#include <stdio.h>

#include "cli/paths.h"
#include "common/json_fields.h"
#include "common/thread.h"
#include "net/http_client.h"

enum { REPLY_MAX = 4 * 1024 * 1024 };

typedef struct Settings {
    char *address;
    int64_t timeout_ms;
    bool help;
} Settings;

const SlSetting sl_status_settings[] = {
    SL_SETTING(Settings, address, "addr", SL_SETTING_STRING, "ADDR",
               "the daemon to ask; default: DOCKER_HOST, then serve's default"),
    SL_SETTING(Settings, timeout_ms, "timeout", SL_SETTING_DURATION, "TIME",
               "how long to wait for its answers; default 10s"),
    SL_SETTING(Settings, help, "help", SL_SETTING_BOOL, NULL, "print this"),
    { 0 },
};

static void
settings_clear(Settings *settings)
{
    sl_settings_clear(sl_status_settings, settings);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Settings, settings_clear)

typedef struct Deadline {
    SlCancel *cancel, *ended;
    int timeout_ms;
} Deadline;

/* Fires cancel when the time is up before the answers are there. */
static void *
watch_time(void *data)
{
    Deadline *deadline = data;

    if (sl_cancel_sleep(deadline->ended, deadline->timeout_ms, NULL))
        sl_cancel_fire(deadline->cancel);
    return NULL;
}

static json_t *
ask(SlHttpClient *client, SlCancel *cancel, const char *target, GError **error)
{
    const SlHttpRequest request = { .method = "GET", .target = target, .http_minor = 1 };
    g_autoptr(SlHttpReply) reply = sl_http_client_call(client, cancel, &request, error);
    g_autofree char *body = NULL;
    unsigned status;
    size_t n;

    if (!reply || !sl_http_reply_read_all(reply, cancel, REPLY_MAX, &body, &n, error))
        return NULL;
    status = sl_http_reply_status(reply);
    if (status != 200) {
        sl_fail(error, sl_error_code_from_http(status), "GET %s answered %u: %s", target, status,
                g_strchomp(body));
        return NULL;
    }
    return sl_json_parse(body, n, target, error);
}

static const char *
text_of(const json_t *json, const char *key)
{
    const char *text = json_string_value(json_object_get(json, key));

    return text && *text ? text : "?";
}

static int64_t
number_of(const json_t *json, const char *key)
{
    return json_integer_value(json_object_get(json, key));
}

static bool
print_status(SlHttpClient *client, SlCancel *cancel, const char *address, GError **error)
{
    g_autoptr(json_t) version = ask(client, cancel, "/version", error);
    g_autoptr(json_t) info = version ? ask(client, cancel, "/info", error) : NULL;

    if (!info)
        return false;
    printf("address     %s\n", address);
    printf("server      %s %s, API %s (oldest %s)\n", text_of(json_object_get(version, "Platform"), "Name"),
           text_of(version, "Version"), text_of(version, "ApiVersion"), text_of(version, "MinAPIVersion"));
    printf("driver      %s\n", text_of(info, "Driver"));
    printf("containers  %" G_GINT64_FORMAT " (%" G_GINT64_FORMAT " running, %" G_GINT64_FORMAT
           " paused, %" G_GINT64_FORMAT " stopped)\n",
           number_of(info, "Containers"), number_of(info, "ContainersRunning"),
           number_of(info, "ContainersPaused"), number_of(info, "ContainersStopped"));
    printf("images      %" G_GINT64_FORMAT "\n", number_of(info, "Images"));
    return true;
}

static bool
status_of(const char *text, int timeout_ms, GError **error)
{
    g_auto(SlAddress) address = { 0 };
    g_autofree char *name = NULL;
    g_autoptr(SlHttpClient) client = NULL;
    g_autoptr(SlCancel) cancel = sl_cancel_new();
    g_autoptr(SlCancel) ended = sl_cancel_new();
    Deadline deadline = { .cancel = cancel, .ended = ended, .timeout_ms = timeout_ms };
    pthread_t thread;
    bool ok;

    if (!sl_address_parse(text, &address, error))
        return false;
    name = sl_address_format(&address);
    client = sl_http_client_new(&address);
    if (!sl_thread_start("deadline", watch_time, &deadline, &thread, error))
        return false;
    ok = print_status(client, cancel, name, error);
    sl_cancel_fire(ended);
    pthread_join(thread, NULL);
    if (!ok && error && g_error_matches(*error, SL_ERROR, SL_ERROR_CANCELLED)) {
        g_clear_error(error);
        return sl_fail(error, SL_ERROR_DEADLINE, "no answer within %d ms", timeout_ms);
    }
    return ok;
}

int
cmd_status(char **argv)
{
    g_auto(Settings) settings = { .timeout_ms = 10000 };
    const char *host = g_getenv("DOCKER_HOST");
    g_autofree char *data = sl_path_data();
    g_autoptr(GError) error = NULL;
    int status;

    if (!sl_cmd_read("status", "status [OPTION]…", sl_status_settings, &settings, &settings.help, argv, NULL,
                     &status))
        return status;
    if (!settings.address)
        settings.address = host && *host ? g_strdup(host) : sl_path_default_address(data);
    if (status_of(settings.address, (int)CLAMP(settings.timeout_ms, 1, G_MAXINT), &error))
        return 0;
    fprintf(stderr, "sockerless status: the daemon at %s: %s\n", settings.address, error->message);
    return 1;
}
