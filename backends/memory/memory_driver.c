#include "backends/memory/memory_driver.h"

#include "agent/protocol.h"
#include "backends/memory/memory_network.h"
#include "backends/memory/memory_options.h"
#include "backends/memory/memory_root.h"
#include "common/failpoint.h"
#include "common/fd.h"
#include "common/json_fields.h"
#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

typedef struct MemoryDriver {
    SlDriver base;
    char *agent, *sandbox;
    MemoryNetworks *networks;
    MemoryRootKind root_kind;
    char *root_reason;
} MemoryDriver;

enum {
    BACKLOG = 16,
    EXIT_FILE_MAX = 4096,
};

static MemoryDriver *
memory_driver(SlDriver *driver)
{
    return (MemoryDriver *)driver;
}

static void
memory_close(SlDriver *driver)
{
    MemoryDriver *self = memory_driver(driver);

    memory_networks_close(self->networks);
    g_free(self->agent);
    g_free(self->sandbox);
    g_free(self->root_reason);
    g_free(self);
}

static void
memory_info(SlDriver *driver, json_t *status)
{
    MemoryDriver *self = memory_driver(driver);

    json_object_set_new(status, "Runtime", json_string("WebAssembly sandbox (busybox userland)"));
    json_object_set_new(status, "Root filesystems",
                        json_sprintf("%s%s%s", memory_root_kind_name(self->root_kind),
                                     self->root_reason ? ": " : "",
                                     self->root_reason ? self->root_reason : ""));
    json_object_set_new(status, "Networking",
                        json_string("unix sockets between containers; TCP and UDP to the outside"));
}

static const SlOption *
memory_options_op(SlDriver *driver)
{
    return memory_options;
}

/* ---- launch ---- */

static bool
listen_socket(const SlLaunchSpec *spec, int *ret_fd, GError **error)
{
    struct sockaddr_un address;
    sl_autofd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return sl_fail_errno(error, errno, "making the agent's socket");
    unlinkat(spec->folder_fd, SL_AGENT_SOCKET_NAME, 0);
    sl_unix_address_at(spec->folder_fd, SL_AGENT_SOCKET_NAME, &address);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, BACKLOG) < 0)
        return sl_fail_errno(error, errno, "binding the agent's socket");
    *ret_fd = sl_fd_steal(&fd);
    return true;
}

static bool
spawn_agent(MemoryDriver *self, const SlLaunchSpec *spec, int listener, int log_fd, pid_t *ret_pid,
            GError **error)
{
    g_autofree char *token = g_strdup_printf(SL_AGENT_TOKEN_VARIABLE "=%s", spec->agent_token);
    char *argv[] = { self->agent, NULL };
    g_autofree char *failpoint = g_strdup(sl_failpoint_variable());
    char *envp[] = { token, failpoint, NULL };
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    sigset_t all, none;
    int failed;

    sigfillset(&all);
    sigemptyset(&none);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDWR, 0);
    posix_spawn_file_actions_adddup2(&actions, STDIN_FILENO, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, log_fd, STDERR_FILENO);
    posix_spawn_file_actions_addfchdir_np(&actions, spec->folder_fd);
    posix_spawn_file_actions_adddup2(&actions, listener, SL_AGENT_LISTEN_FD);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setsigdefault(&attr, &all);
    posix_spawnattr_setsigmask(&attr, &none);
    /* A session of its own: what ends the daemon's group must not end containers. */
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
    failed = posix_spawn(ret_pid, self->agent, &actions, &attr, argv, envp);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&actions);
    return failed == 0 || sl_fail_errno(error, failed, "starting %s", self->agent);
}

static bool
write_hosts(MemoryDriver *self, const SlLaunchSpec *spec, GError **error)
{
    g_autofree char *address = NULL;
    g_autofree char *gateway = NULL;

    memory_networks_address(self->networks, spec->container_id, &address, &gateway);
    return memory_root_write_hosts(self->root_kind, spec, address, gateway, error);
}

static bool
memory_launch(SlDriver *driver, SlCancel *cancel, const SlLaunchSpec *spec, char **ret_handle, GError **error)
{
    MemoryDriver *self = memory_driver(driver);
    sl_autofd int listener = -1;
    sl_autofd int log_fd =
        openat(spec->folder_fd, "agent.log", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    pid_t pid;

    if (log_fd < 0)
        return sl_fail_errno(error, errno, "opening the agent's log");
    memory_networks_clean(self->networks, spec->container_id);
    if (!memory_root_make(self->root_kind, spec, cancel, error) || !write_hosts(self, spec, error))
        return false;
    if (!sl_failpoint("driver.root.made"))
        return sl_fail_errno(error, errno, "making the container's filesystem");
    if (!listen_socket(spec, &listener, error))
        return false;
    if (!sl_failpoint("driver.socket.bound"))
        return sl_fail_errno(error, errno, "binding the agent's socket");
    if (!spawn_agent(self, spec, listener, log_fd, &pid, error))
        return false;
    sl_failpoint("driver.agent.spawned");
    *ret_handle = g_strdup_printf("%d", (int)pid);
    return true;
}

static bool
memory_agent_setup(SlDriver *driver, const SlLaunchSpec *spec, json_t *start, GError **error)
{
    MemoryDriver *self = memory_driver(driver);
    json_t *runtime = json_pack("[s]", self->sandbox);

    json_object_set_new(start, "root", memory_root_describe(self->root_kind, spec));
    json_object_set_new(start, "runtime", runtime);
    memory_networks_add_options(self->networks, spec, runtime);
    return true;
}

static bool
memory_agent_connect(SlDriver *driver, SlCancel *cancel, const SlLaunchSpec *spec, int *ret_fd,
                     GError **error)
{
    struct sockaddr_un address;
    sl_autofd int fd = -1;

    /* A start asks this for every container there is: most have none, and a look costs less than a try. */
    if (faccessat(spec->folder_fd, SL_AGENT_SOCKET_NAME, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
        return sl_fail(error, SL_ERROR_UNAVAILABLE, "container %s has no agent: %s", spec->container_id,
                       g_strerror(errno));
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return sl_fail_errno(error, errno, "making a socket");
    sl_unix_address_at(spec->folder_fd, SL_AGENT_SOCKET_NAME, &address);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
        return sl_fail(error, SL_ERROR_UNAVAILABLE, "the agent of container %s does not answer: %s",
                       spec->container_id, g_strerror(errno));
    *ret_fd = sl_fd_steal(&fd);
    return true;
}

/* ---- ends ---- */

/* Not a pid that was given to something else meanwhile: only one that runs our agent's program. (An agent is not dumpable, so an ordinary user can read its
 * command line and not the link to its program.) */
static bool
is_agent(MemoryDriver *self, pid_t pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/cmdline", (int)pid);
    g_autofree char *command = NULL;

    return g_file_get_contents(path, &command, NULL, NULL) && strcmp(command, self->agent) == 0;
}

static bool
memory_terminate(SlDriver *driver, SlCancel *cancel, const char *handle, const char *reason, GError **error)
{
    pid_t pid = handle ? (pid_t)g_ascii_strtoll(handle, NULL, 10) : 0;

    if (pid <= 1 || !is_agent(memory_driver(driver), pid))
        return true;
    if (kill(pid, SIGTERM) < 0 && errno != ESRCH)
        return sl_fail_errno(error, errno, "ending the agent with pid %d", (int)pid);
    return true;
}

static bool
memory_poll(SlDriver *driver, SlCancel *cancel, const SlLaunchSpec *spec, const char *handle,
            SlWorkloadStatus *ret_status, GError **error)
{
    char text[EXIT_FILE_MAX];
    sl_autofd int fd = openat(spec->folder_fd, SL_AGENT_EXIT_NAME, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof text) : 0;
    g_autoptr(json_t) exited = n > 0 ? sl_json_parse(text, (size_t)n, SL_AGENT_EXIT_NAME, NULL) : NULL;
    json_int_t started_ns, finished_ns, length;

    *ret_status = (SlWorkloadStatus){ .state = SL_WORKLOAD_GONE, .log_length = -1 };
    if (exited &&
        json_unpack(exited, "{s:i, s:I, s:I, s:I}", "exit_code", &ret_status->exit_code, "started_ns",
                    &started_ns, "finished_ns", &finished_ns, "length", &length) == 0) {
        ret_status->has_exit = true;
        ret_status->started_ns = started_ns;
        ret_status->finished_ns = finished_ns;
        ret_status->log_length = length;
    } else {
        ret_status->reason = g_strdup("the container's agent was killed before it could tell an exit code");
    }
    return true;
}

static char *
memory_create_warning(SlDriver *driver, const SlLaunchSpec *spec)
{
    return memory_root_native_warning(spec);
}

static bool
memory_network_create(SlDriver *driver, const SlNetworkSpec *network, GError **error)
{
    return memory_networks_create(memory_driver(driver)->networks, network, error);
}

static bool
memory_network_remove(SlDriver *driver, const SlNetworkSpec *network, GError **error)
{
    return memory_networks_remove(memory_driver(driver)->networks, network, error);
}

static bool
memory_network_join(SlDriver *driver, const SlEndpointSpec *endpoint, GError **error)
{
    return memory_networks_join(memory_driver(driver)->networks, endpoint, error);
}

static bool
memory_network_leave(SlDriver *driver, const SlEndpointSpec *endpoint, GError **error)
{
    return memory_networks_leave(memory_driver(driver)->networks, endpoint, error);
}

static bool
memory_network_configure(SlDriver *driver, const SlLaunchSpec *spec, const SlEndpointSpec *endpoints,
                         size_t n, GError **error)
{
    return memory_networks_configure(memory_driver(driver)->networks, spec, endpoints, n, error);
}

static bool
memory_forget(SlDriver *driver, SlCancel *cancel, const SlLaunchSpec *spec, const char *handle,
              GError **error)
{
    memory_networks_forget(memory_driver(driver)->networks, spec->container_id);
    return true;
}

static const SlDriverOps memory_ops = {
    .name = "memory",
    .close = memory_close,
    .info = memory_info,
    .options = memory_options_op,
    .create_warning = memory_create_warning,
    .launch = memory_launch,
    .agent_setup = memory_agent_setup,
    .agent_connect = memory_agent_connect,
    .terminate = memory_terminate,
    .poll = memory_poll,
    .network_create = memory_network_create,
    .network_remove = memory_network_remove,
    .network_join = memory_network_join,
    .network_leave = memory_network_leave,
    .network_configure = memory_network_configure,
    .forget = memory_forget,
};

static bool
check_program(const char *path, const char *setting, char **ret_path, GError **error)
{
    char *real = path && *path ? realpath(path, NULL) : NULL;

    if (!real || access(real, X_OK) < 0) {
        free(real);
        return sl_fail(error, SL_ERROR_INVALID, "%s: %s is not a program that can be run", setting,
                       path ? path : "(none)");
    }
    *ret_path = g_strdup(real);
    free(real);
    return true;
}

SlDriver *
memory_driver_open(const MemoryConfig *config, GError **error)
{
    MemoryDriver *self = g_new0(MemoryDriver, 1);

    sl_driver_init(&self->base, &memory_ops);
    if (!check_program(config->agent, "agent", &self->agent, error) ||
        !check_program(config->sandbox, "sandbox", &self->sandbox, error)) {
        memory_close(&self->base);
        return NULL;
    }
    self->networks = memory_networks_open(config->data, error);
    if (!self->networks) {
        memory_close(&self->base);
        return NULL;
    }
    self->root_kind = memory_root_probe(config->data, &self->root_reason);
    sl_info("memory backend opened roots=%s%s%s", memory_root_kind_name(self->root_kind),
            self->root_reason ? " reason=" : "", self->root_reason ? self->root_reason : "");
    return &self->base;
}
