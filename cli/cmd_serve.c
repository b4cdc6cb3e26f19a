#include "cli/cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/child.h"
#include "cli/health.h"
#include "cli/paths.h"
#include "cli/ready.h"
#include "common/clock.h"
#include "common/daemon.h"
#include "common/fd.h"
#include "common/log.h"
#include "net/address.h"
#include "net/tls_settings.h"

enum {
    FRONTEND_GRACE_MS = 12000,
    BACKEND_GRACE_MS = 20000,
    SOCKETS_ABOVE = 64, /* our listening sockets are kept up here, so that a child can have them as 3… */
    INNER_NAME_CHARS = 12,
    HUNG_AFTER_MS = 30000,
    BACKEND_POLL_MS = 2,
    MAX_LOOK_MS = 5000, /* how often to look whether the programs answer */
};

typedef struct Settings {
    char **addresses;
    char *backend, *data, *log_level, *log_format, *config;
    char **allowed_hosts, **registry_mirrors, **insecure_registries;
    char *log_driver, **log_opts;
    char *builtin_images, *base_image, *agent, *sandbox;
    int64_t hung_after_ms;
    SlTlsSettings tls;
    bool allow_public, help;
} Settings;

const SlSetting sl_serve_settings[] = {
    SL_SETTING(Settings, addresses, "addr", SL_SETTING_STRV, "ADDR",
               "where to listen: unix:///PATH, HOST:PORT or :PORT (loopback); may repeat; default: "
               "unix:///run/sockerless/docker.sock, or below $XDG_RUNTIME_DIR"),
    { .name = "backend",
      .kind = SL_SETTING_CHOICE,
      .offset = offsetof(Settings, backend),
      .value_name = "NAME",
      .help = "where containers run",
      .choices = "memory" },
    SL_SETTING(Settings, data, "data", SL_SETTING_STRING, "DIR",
               "where state is kept; default: /var/lib/sockerless, or sockerless below $XDG_STATE_HOME"),
    SL_SETTING(Settings, allow_public, "allow-insecure-tcp", SL_SETTING_BOOL, NULL,
               "listen beyond loopback without --tlsverify: whoever reaches the port controls this machine's "
               "containers"),
    SL_TLS_SETTINGS(Settings, tls),
    SL_SETTING(Settings, allowed_hosts, "allowed-host", SL_SETTING_STRV, "NAME",
               "a Host header to accept on TCP beside localhost and addresses; may repeat"),
    { .name = "builtin-images",
      .kind = SL_SETTING_CHOICE,
      .offset = offsetof(Settings, builtin_images),
      .value_name = "WHEN",
      .help = "serve alpine and busybox from the built-in image when no registry can be reached",
      .choices = "auto|always|off" },
    SL_SETTING(Settings, registry_mirrors, "registry-mirror", SL_SETTING_STRV, "URL",
               "a mirror of Docker Hub to ask first; may repeat"),
    SL_SETTING(Settings, insecure_registries, "insecure-registry", SL_SETTING_STRV, "HOST:PORT",
               "a registry to speak to without verified TLS; may repeat"),
    SL_SETTING(Settings, log_driver, "log-driver", SL_SETTING_STRING, "NAME",
               "the log driver of containers that name none: json-file, local or none"),
    SL_SETTING(Settings, log_opts, "log-opt", SL_SETTING_STRV, "NAME=VALUE",
               "its options, as max-size=10m; may repeat"),
    SL_SETTING(Settings, base_image, "base-image", SL_SETTING_STRING, "FILE",
               "the userland of the built-in image, if not beside this program"),
    SL_SETTING(Settings, agent, "agent", SL_SETTING_STRING, "FILE",
               "the agent's program, if not beside this one"),
    SL_SETTING(Settings, sandbox, "sandbox", SL_SETTING_STRING, "FILE",
               "the sandbox's program, if not beside this one"),
    SL_SETTING(Settings, hung_after_ms, "hung-after", SL_SETTING_DURATION, "TIME",
               "end and start again a program of ours that has not answered for so long; 0: never"),
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
    { 0 },
};

typedef struct Serve {
    Settings settings;
    int *sockets; /* listening; ours for as long as we live, so that a frontend that starts again loses no
                     connection */
    size_t n_sockets;
    GPtrArray *addresses;  /* of them: strings */
    GPtrArray *made_paths; /* unix sockets that we made: removed at the end */
    int lock;              /* held on the data folder */
    char *inner;           /* address between frontend and backend */
    SlChild backend, frontend;
    SlReady *ready;
    SlHealth *backend_health, *frontend_health; /* NULL: not watched */
    bool is_ready, is_frontend_held;
} Serve;

static void
serve_clear(Serve *serve)
{
    g_clear_pointer(&serve->ready, sl_ready_free);
    g_clear_pointer(&serve->backend_health, sl_health_free);
    g_clear_pointer(&serve->frontend_health, sl_health_free);
    for (size_t i = 0; i < serve->n_sockets; i++)
        close(serve->sockets[i]);
    for (guint i = 0; serve->made_paths && i < serve->made_paths->len; i++)
        unlink(serve->made_paths->pdata[i]);
    g_clear_pointer(&serve->made_paths, g_ptr_array_unref);
    g_clear_pointer(&serve->addresses, g_ptr_array_unref);
    g_clear_pointer(&serve->sockets, g_free);
    sl_fd_clear(&serve->lock);
    g_clear_pointer(&serve->inner, g_free);
    sl_child_clear(&serve->backend);
    sl_child_clear(&serve->frontend);
    sl_settings_clear(sl_serve_settings, &serve->settings);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Serve, serve_clear)

/* ---- listening ---- */

/* fds' descriptors are taken. */
static bool
keep_sockets(Serve *serve, const int *fds, size_t n, GError **error)
{
    serve->sockets = g_renew(int, serve->sockets, serve->n_sockets + n);
    for (size_t i = 0; i < n; i++) {
        int high = fcntl(fds[i], F_DUPFD_CLOEXEC, SOCKETS_ABOVE);

        close(fds[i]);
        if (high < 0)
            return sl_fail_errno(error, errno, "keeping a socket");
        serve->sockets[serve->n_sockets++] = high;
    }
    return true;
}

static bool
listen_on(Serve *serve, const char *text, GError **error)
{
    g_auto(SlAddress) address = { 0 };
    g_autofree char *folder = NULL;
    g_autofree int *fds = NULL;
    bool allow_public = serve->settings.allow_public || sl_tls_settings_verify(&serve->settings.tls);
    size_t n;

    if (!sl_address_parse(text, &address, error))
        return false;
    folder = address.path ? g_path_get_dirname(address.path) : NULL;
    if (folder && !sl_folder_make(folder, 0755, error))
        return false;
    if (!sl_address_listen(&address, allow_public, &fds, &n, error))
        return false;
    if (address.path)
        g_ptr_array_add(serve->made_paths, g_strdup(address.path));
    g_ptr_array_add(serve->addresses, sl_address_format(&address));
    return keep_sockets(serve, fds, n, error);
}

/* The address of a socket that a supervisor passed, as far as it can be written down. */
static char *
socket_address(int fd)
{
    struct sockaddr_un name = { 0 };
    socklen_t n = sizeof name;

    if (getsockname(fd, (struct sockaddr *)&name, &n) == 0 && name.sun_family == AF_UNIX && name.sun_path[0])
        return g_strdup_printf("unix://%s", name.sun_path);
    return NULL;
}

static bool
listen_all(Serve *serve, GError **error)
{
    g_autofree int *passed = NULL;
    size_t n_passed = sl_address_take_passed(environ, &passed);

    for (size_t i = 0; i < n_passed; i++) {
        char *address = socket_address(passed[i]);

        if (address)
            g_ptr_array_add(serve->addresses, address);
    }
    serve->is_frontend_held = n_passed > 0;
    if (!keep_sockets(serve, passed, n_passed, error))
        return false;
    for (char **address = serve->settings.addresses; address && *address; address++)
        if (!listen_on(serve, *address, error))
            return false;
    return true;
}

/* ---- the children ---- */

/*
 * Ours without what was for us alone: a child is told by flags. The file goes to the backend, which has
 * settings that are none of our business; flags win over it.
 */
static char **
child_environ(const char *config)
{
    static const char *const ours[] = { "NOTIFY_SOCKET",   "LISTEN_FDS",
                                        "LISTEN_PID",      "LISTEN_FDNAMES",
                                        "SOCKERLESS_ADDR", "SOCKERLESS_BACKEND",
                                        "SOCKERLESS_DATA", NULL };
    char **environ_ = g_strdupv(environ);

    for (const char *const *name = ours; *name; name++)
        environ_ = g_environ_unsetenv(environ_, *name);
    return g_environ_setenv(environ_, "SOCKERLESS_CONFIG", config ? config : "", TRUE);
}

static void
add_flag(GPtrArray *argv, const char *name, const char *value)
{
    if (!value)
        return;
    g_ptr_array_add(argv, g_strdup(name));
    g_ptr_array_add(argv, g_strdup(value));
}

static void
add_flags(GPtrArray *argv, const char *name, char **values)
{
    for (; values && *values; values++)
        add_flag(argv, name, *values);
}

static void
finish_argv(SlChild *child, GPtrArray *argv, const Settings *settings)
{
    add_flag(argv, "--log-level", settings->log_level);
    add_flag(argv, "--log-format", settings->log_format);
    g_ptr_array_add(argv, NULL);
    child->argv = (char **)g_ptr_array_free(argv, FALSE);
}

static bool
describe_backend(Serve *serve, const char *config, GError **error)
{
    const Settings *settings = &serve->settings;
    g_autofree char *name = g_strdup_printf("sockerless-backend-%s", settings->backend);
    char *program = sl_path_program(name, error);
    GPtrArray *argv;

    if (!program)
        return false;
    argv = g_ptr_array_new();
    g_ptr_array_add(argv, program);
    add_flag(argv, "--addr", serve->inner);
    add_flag(argv, "--data", settings->data);
    add_flag(argv, "--builtin-images", settings->builtin_images);
    add_flags(argv, "--registry-mirror", settings->registry_mirrors);
    add_flags(argv, "--insecure-registry", settings->insecure_registries);
    add_flag(argv, "--log-driver", settings->log_driver);
    add_flags(argv, "--log-opt", settings->log_opts);
    add_flag(argv, "--base-image", settings->base_image);
    add_flag(argv, "--agent", settings->agent);
    add_flag(argv, "--sandbox", settings->sandbox);
    finish_argv(&serve->backend, argv, settings);
    serve->backend.role = "backend";
    serve->backend.environ_ = child_environ(config);
    return true;
}

static bool
describe_frontend(Serve *serve, GError **error)
{
    const Settings *settings = &serve->settings;
    char *program = sl_path_program("sockerless-frontend-docker", error);
    GPtrArray *argv;

    if (!program)
        return false;
    argv = g_ptr_array_new();
    g_ptr_array_add(argv, program);
    add_flag(argv, "--backend", serve->inner);
    add_flags(argv, "--allowed-host", settings->allowed_hosts);
    if (settings->tls.is_on)
        g_ptr_array_add(argv, g_strdup("--tls"));
    if (settings->tls.must_verify)
        g_ptr_array_add(argv, g_strdup("--tlsverify"));
    add_flag(argv, "--tlscacert", settings->tls.ca);
    add_flag(argv, "--tlscert", settings->tls.cert);
    add_flag(argv, "--tlskey", settings->tls.key);
    finish_argv(&serve->frontend, argv, settings);
    serve->frontend.role = "frontend";
    serve->frontend.environ_ =
        g_environ_setenv(child_environ(NULL), "NOTIFY_SOCKET", sl_ready_get_socket(serve->ready), TRUE);
    serve->frontend.sockets = serve->sockets;
    serve->frontend.n_sockets = serve->n_sockets;
    return true;
}

/*
 * Two of us on the same data would share the inner socket, and the second would take the first one's backend
 * for its own. (The backend has a lock too, against its like.)
 */
static bool
lock_data(Serve *serve, GError **error)
{
    g_autofree char *path = g_build_filename(serve->settings.data, "serve.lock", NULL);

    if (!sl_folder_make(serve->settings.data, 0700, error))
        return false;
    serve->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (serve->lock < 0)
        return sl_fail_errno(error, errno, "opening %s", path);
    if (flock(serve->lock, LOCK_EX | LOCK_NB) < 0)
        return sl_fail(error, SL_ERROR_CONFLICT, "another sockerless serve uses the data folder %s",
                       serve->settings.data);
    return true;
}

/* A socket that only we can reach; its name comes from the data folder, so that two daemons never share
 * one. */
static bool
choose_inner(Serve *serve, GError **error)
{
    g_autofree char *data = g_canonicalize_filename(serve->settings.data, NULL);
    g_autofree char *digest = g_compute_checksum_for_string(G_CHECKSUM_SHA256, data, -1);
    g_autofree char *runtime = sl_path_runtime(data);
    g_autofree char *folder = g_build_filename(runtime, "internal", NULL);

    if (!sl_folder_make(runtime, 0755, error) || !sl_folder_make(folder, 0700, error))
        return false;
    serve->inner = g_strdup_printf("unix://%s/%.*s.sock", folder, INNER_NAME_CHARS, digest);
    g_ptr_array_add(serve->made_paths, g_strdup(serve->inner + strlen("unix://")));
    return true;
}

static bool
serve_open(Serve *serve, const char *config, GError **error)
{
    Settings *settings = &serve->settings;

    serve->addresses = g_ptr_array_new_with_free_func(g_free);
    serve->made_paths = g_ptr_array_new_with_free_func(g_free);
    if (!settings->data)
        settings->data = sl_path_data();
    if (!settings->addresses && !g_environ_getenv(environ, "LISTEN_FDS")) {
        settings->addresses = g_new0(char *, 2);
        settings->addresses[0] = sl_path_default_address(settings->data);
    }
    serve->ready = sl_ready_new(error);
    if (!serve->ready)
        return false;
    /* The sockets before anything else: a second daemon on them finds out before it has touched our state. */
    return listen_all(serve, error) && lock_data(serve, error) && choose_inner(serve, error) &&
           describe_backend(serve, config, error) && describe_frontend(serve, error) &&
           sl_child_start(&serve->backend, error) &&
           (serve->is_frontend_held || sl_child_start(&serve->frontend, error));
}

/* ---- watching ---- */

static int
look_every_ms(const Serve *serve)
{
    return (int)CLAMP(serve->settings.hung_after_ms / 3, 1, MAX_LOOK_MS);
}

/* A daemon on passed sockets or TLS alone has no plain address of ours to ask: then only the backend is watched. */
static void
watch_health(Serve *serve)
{
    g_autoptr(GError) error = NULL;
    int every_ms = look_every_ms(serve);
    const char *first = serve->addresses->len > 0 ? serve->addresses->pdata[0] : NULL;

    if (serve->settings.hung_after_ms <= 0)
        return;
    serve->backend_health = sl_health_watch(serve->inner, "/internal/v1/_ping", every_ms, &error);
    if (serve->backend_health && first && g_str_has_prefix(first, "unix://"))
        serve->frontend_health = sl_health_watch(first, "/_ping", every_ms, &error);
    if (error)
        sl_warn("programs are not watched for hanging: %s", error->message);
}

/* Its end is reaped as any other, and so it is started again. Containers do not notice. */
static void
end_if_hung(const Serve *serve, const SlChild *child, SlHealth *health)
{
    int64_t open_ms = health && child->pid != 0 ? sl_health_overdue_ms(health, child->started_ms,
                                                                       (int)serve->settings.hung_after_ms)
                                                : 0;

    if (open_ms == 0)
        return;
    sl_error("does not answer, killed role=%s pid=%d open_ms=%" G_GINT64_FORMAT, child->role, (int)child->pid,
             open_ms);
    kill(child->pid, SIGKILL);
}

static void
announce(Serve *serve)
{
    const char *first = serve->addresses->len > 0 ? serve->addresses->pdata[0] : NULL;

    serve->is_ready = true;
    watch_health(serve);
    sl_info("ready address=%s backend=%s data=%s", first ? first : "passed", serve->settings.backend,
            serve->settings.data);
    if (first) {
        printf("export DOCKER_HOST=%s\n", first);
        if (serve->settings.tls.must_verify && g_str_has_prefix(first, "tcp:"))
            printf("export DOCKER_TLS_VERIFY=1\n");
        fflush(stdout);
    }
    sl_daemon_notify("READY=1");
}

static SlChild *
child_of(Serve *serve, pid_t pid)
{
    return serve->backend.pid == pid ? &serve->backend : serve->frontend.pid == pid ? &serve->frontend : NULL;
}

/* False when one ended before everything was ready: it has said why, and would say it again. */
static bool
reap(Serve *serve, GError **error)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        SlChild *child = child_of(serve, pid);

        if (!child)
            continue;
        sl_child_ended(child, status);
        if (!serve->is_ready)
            return sl_fail(error, SL_ERROR_SYSTEM,
                           "the %s ended before it was ready; its last lines above say why", child->role);
    }
    return true;
}

static bool
backend_listens(const Serve *serve)
{
    struct sockaddr_un name = { .sun_family = AF_UNIX };
    sl_autofd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    g_strlcpy(name.sun_path, serve->inner + strlen("unix://"), sizeof name.sun_path);
    return fd >= 0 && connect(fd, (struct sockaddr *)&name, sizeof name) == 0;
}

/* With passed sockets the first caller may be why we were started: it waits for a backend instead of hearing that there is none. */
static void
release_frontend(Serve *serve)
{
    if (serve->is_frontend_held && backend_listens(serve)) {
        serve->is_frontend_held = false;
        serve->frontend.restart_ms = 0;
    }
}

/* Starts what is due; returns how long the other can wait, -1 for ever. */
static int64_t
restart_due(Serve *serve)
{
    SlChild *children[] = { &serve->backend, &serve->frontend };
    int64_t now_ms = sl_clock_monotonic_ms(), next_ms = -1;

    for (size_t i = 0; i < G_N_ELEMENTS(children); i++) {
        g_autoptr(GError) error = NULL;
        SlChild *child = children[i];

        if (child->pid != 0 || (child == &serve->frontend && serve->is_frontend_held))
            continue;
        if (child->restart_ms <= now_ms) {
            if (child->n_failures > 0)
                sl_warn("starting again role=%s failures=%u", child->role, child->n_failures);
            if (sl_child_start(child, &error))
                continue;
            sl_error("cannot start again role=%s: %s", child->role, error->message);
            child->restart_ms = now_ms + 1000;
        }
        if (next_ms < 0 || child->restart_ms - now_ms < next_ms)
            next_ms = child->restart_ms - now_ms;
    }
    return next_ms;
}

/* Does what is due; returns how long nothing else will be, -1 for ever. */
static int64_t
next_look_ms(Serve *serve)
{
    int64_t due_ms;

    release_frontend(serve);
    due_ms = restart_due(serve);
    if (serve->is_frontend_held)
        return BACKEND_POLL_MS;
    if (serve->backend_health && (due_ms < 0 || due_ms > look_every_ms(serve)))
        return look_every_ms(serve);
    return due_ms;
}

/* Both read their files again; one that is still starting reads them anyway, and does not know the signal yet. */
static void
reload(Serve *serve)
{
    if (!serve->is_ready)
        return;
    if (serve->frontend.pid > 0)
        kill(serve->frontend.pid, SIGHUP);
    if (serve->backend.pid > 0)
        kill(serve->backend.pid, SIGHUP);
}

/* Until a signal says that it is over. False: something failed before all was ready. */
static bool
serve_watch(Serve *serve, const sigset_t *signals, GError **error)
{
    for (;;) {
        int64_t wait_ms = next_look_ms(serve);
        struct timespec wait = { .tv_sec = wait_ms / 1000, .tv_nsec = wait_ms % 1000 * 1000000 };
        int received = wait_ms < 0 ? sigwaitinfo(signals, NULL) : sigtimedwait(signals, NULL, &wait);

        if (received == SIGTERM || received == SIGINT) {
            sl_info("ending signal=%d", received);
            return true;
        }
        if (received == SIGCHLD && !reap(serve, error))
            return false;
        if (received == SL_READY_SIGNAL && !serve->is_ready)
            announce(serve);
        end_if_hung(serve, &serve->backend, serve->backend_health);
        end_if_hung(serve, &serve->frontend, serve->frontend_health);
        if (received == SIGHUP)
            reload(serve);
    }
}

static bool
serve_run(Serve *serve, const char *config, const sigset_t *signals, GError **error)
{
    bool ok = serve_open(serve, config, error) && sl_ready_watch(serve->ready, serve->inner, error) &&
              serve_watch(serve, signals, error);

    sl_daemon_notify("STOPPING=1");
    /* The frontend first: its clients get their last answers from a backend that is still there. */
    sl_child_stop(&serve->frontend, FRONTEND_GRACE_MS);
    sl_child_stop(&serve->backend, BACKEND_GRACE_MS);
    return ok;
}

int
cmd_serve(char **argv)
{
    g_auto(Serve) serve = { .lock = -1,
                            .settings = { .hung_after_ms = HUNG_AFTER_MS,
                                          .backend = g_strdup("memory"),
                                          .log_level = g_strdup("info"),
                                          .log_format = g_strdup("text") } };
    g_autofree char *config = sl_settings_find_file(argv, environ);
    g_autoptr(GError) error = NULL;
    sigset_t signals;
    SlLogLevel level;
    int status;

    sl_daemon_prepare(&signals);
    sl_daemon_take_hangup(&signals);
    sigaddset(&signals, SIGCHLD);
    sigaddset(&signals, SL_READY_SIGNAL);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    if (!sl_cmd_read("serve", "serve [OPTION]…", sl_serve_settings, &serve.settings, &serve.settings.help,
                     argv, NULL, &status))
        return status;
    sl_log_level_parse(serve.settings.log_level, &level);
    sl_log_setup("serve", level, g_str_equal(serve.settings.log_format, "json"));
    if (serve_run(&serve, config, &signals, &error))
        return 0;
    sl_error("cannot serve: %s", error->message);
    return 1;
}
