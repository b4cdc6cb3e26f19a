#include "backends/core/system_api.h"

#include "api/names.h"
#include "backends/core/core.h"
#include "backends/core/recover.h"
#include "common/clock.h"

#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#define DOCKER_HUB "https://index.docker.io/v1/"
#ifndef SL_GIT_COMMIT
#define SL_GIT_COMMIT "unknown"
#endif
#ifndef SL_BUILD_TIME
#define SL_BUILD_TIME "unknown"
#endif

/* Go's name, which clients compare with an image's. */
static const char *
go_architecture(const char *machine)
{
    if (strcmp(machine, "x86_64") == 0)
        return "amd64";
    return strcmp(machine, "aarch64") == 0 ? "arm64" : machine;
}

/* GET /_ping: from the loop itself, so that whoever watches us learns of a loop that hangs and is not misled by a busy pool. */
static bool
system_ping(SlCall *call, GError **error)
{
    return sl_call_reply_empty(call, 200, error);
}

/* GET /version */
static bool
system_version(SlCall *call, GError **error)
{
    struct utsname machine;
    const char *arch;

    uname(&machine);
    arch = go_architecture(machine.machine);
    return sl_call_reply_json(
        call, 200,
        json_pack("{s:{s:s}, s:[{s:s, s:s, s:{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}}], s:s, s:s, s:s, s:s, "
                  "s:s, s:s, s:s, s:s}",
                  "Platform", "Name", "Sockerless", "Components", "Name", "Engine", "Version", SL_VERSION,
                  "Details", "ApiVersion", DK_API_VERSION_TEXT, "Arch", arch, "BuildTime", SL_BUILD_TIME,
                  "Experimental", "false", "GitCommit", SL_GIT_COMMIT, "KernelVersion", machine.release,
                  "MinAPIVersion", DK_API_VERSION_MIN_TEXT, "Os", "linux", "Version", SL_VERSION,
                  "ApiVersion", DK_API_VERSION_TEXT, "MinAPIVersion", DK_API_VERSION_MIN_TEXT, "GitCommit",
                  SL_GIT_COMMIT, "Os", "linux", "Arch", arch, "KernelVersion", machine.release, "BuildTime",
                  SL_BUILD_TIME),
        error);
}

/* ---- GET /info ---- */

static void
add_counts(json_t *info, SlCore *core)
{
    unsigned running, paused, stopped;

    sl_core_count(core, &running, &paused, &stopped);
    json_object_set_new(info, "Containers", json_integer((json_int_t)running + paused + stopped));
    json_object_set_new(info, "ContainersRunning", json_integer(running));
    json_object_set_new(info, "ContainersPaused", json_integer(paused));
    json_object_set_new(info, "ContainersStopped", json_integer(stopped));
    json_object_set_new(info, "Images", json_integer(sl_images_count(core->images)));
}

static void
add_driver(json_t *info, SlCore *core)
{
    g_autoptr(json_t) status = json_object();
    json_t *pairs = json_array(), *text;
    const char *name;

    core->driver->ops.info(core->driver, status);
    json_object_foreach(status, name, text)
        json_array_append_new(pairs, json_pack("[s, O]", name, text));
    json_object_set_new(info, "Driver", json_string(core->driver->ops.name));
    json_object_set_new(info, "DriverStatus", pairs);
    json_object_set_new(info, "Plugins",
                        json_pack("{s:[s], s:[s, s, s], s:n, s:[s, s]}", "Volume", "local", "Network",
                                  "bridge", "host", "null", "Authorization", "Log", "json-file", "local"));
    json_object_set_new(info, "LoggingDriver", json_string(sl_log_defaults_driver(&core->log_defaults)));
    json_object_set_new(info, "DefaultRuntime", json_string("sandbox"));
    json_object_set_new(info, "Runtimes", json_pack("{s:{s:s}}", "sandbox", "path", "sockerless-sandbox"));
}

/* Limits are those of the host's kernel for the whole engine; none is set for one container. */
static void
add_limits(json_t *info)
{
    static const char *const absent[] = { "MemoryLimit",       "SwapLimit",      "CpuCfsPeriod",
                                          "CpuCfsQuota",       "CPUShares",      "CPUSet",
                                          "PidsLimit",         "IPv4Forwarding", "BridgeNfIptables",
                                          "BridgeNfIp6tables", "OomKillDisable", "Debug",
                                          "ExperimentalBuild" };

    for (size_t i = 0; i < G_N_ELEMENTS(absent); i++)
        json_object_set_new(info, absent[i], json_false());
    json_object_set_new(info, "LiveRestoreEnabled", json_true()); /* agents outlive the daemon */
    json_object_set_new(info, "CgroupDriver", json_string("none"));
    json_object_set_new(info, "CgroupVersion", json_string("2"));
}

static void
add_machine(json_t *info, SlCore *core)
{
    g_autofree char *host_system = g_get_os_info(G_OS_INFO_KEY_PRETTY_NAME);
    g_autofree char *host_version = g_get_os_info(G_OS_INFO_KEY_VERSION_ID);
    g_autofree char *now = sl_clock_format(sl_clock_now_ns());
    struct utsname machine;

    uname(&machine);
    json_object_set_new(info, "SystemTime", json_string(now));
    json_object_set_new(info, "KernelVersion", json_string(machine.release));
    json_object_set_new(info, "OperatingSystem",
                        json_sprintf("Sockerless %s (%s backend) on %s", SL_VERSION, core->driver->ops.name,
                                     host_system ? host_system : "Linux"));
    json_object_set_new(info, "OSVersion", json_string(host_version ? host_version : ""));
    json_object_set_new(info, "OSType", json_string("linux"));
    json_object_set_new(info, "Architecture", json_string(machine.machine));
    json_object_set_new(info, "NCPU", json_integer(sysconf(_SC_NPROCESSORS_ONLN)));
    json_object_set_new(info, "MemTotal",
                        json_integer((json_int_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE)));
    json_object_set_new(info, "Name", json_string(machine.nodename));
    json_object_set_new(info, "DockerRootDir", json_string(core->data));
}

static void
add_registry(json_t *info)
{
    json_object_set_new(info, "IndexServerAddress", json_string(DOCKER_HUB));
    json_object_set_new(info, "RegistryConfig",
                        json_pack("{s:n, s:n, s:[s], s:{s:{s:s, s:[], s:b, s:b}}, s:n}",
                                  "AllowNondistributableArtifactsCIDRs",
                                  "AllowNondistributableArtifactsHostnames", "InsecureRegistryCIDRs",
                                  "127.0.0.0/8", "IndexConfigs", "docker.io", "Name", "docker.io", "Mirrors",
                                  "Secure", 1, "Official", 1, "Mirrors"));
}

/* Keys that clients print or look at, and of which there is nothing here. */
static void
add_absent(json_t *info)
{
    static const char *const texts[] = { "HttpProxy", "HttpsProxy", "NoProxy",
                                         "Isolation", "InitBinary", "ProductLicense" };
    static const char *const commits[] = { "ContainerdCommit", "RuncCommit", "InitCommit" };

    for (size_t i = 0; i < G_N_ELEMENTS(texts); i++)
        json_object_set_new(info, texts[i], json_string(""));
    for (size_t i = 0; i < G_N_ELEMENTS(commits); i++)
        json_object_set_new(info, commits[i], json_pack("{s:s, s:s}", "ID", "", "Expected", ""));
    json_object_set_new(info, "GenericResources", json_null());
    json_object_set_new(info, "Labels", json_array());
    json_object_set_new(info, "SecurityOptions", json_array());
    json_object_set_new(info, "Swarm",
                        json_pack("{s:s, s:s, s:s, s:b, s:s, s:n}", "NodeID", "", "NodeAddr", "",
                                  "LocalNodeState", "inactive", "ControlAvailable", 0, "Error", "",
                                  "RemoteManagers"));
}

static bool
system_info(SlCall *call, GError **error)
{
    SlCore *core = sl_call_core(call);
    json_t *info = json_pack("{s:s, s:s}", "ID", core->engine_id, "ServerVersion", SL_VERSION);
    json_t *warnings = json_array();

    add_counts(info, core);
    add_driver(info, core);
    add_limits(info);
    add_machine(info, core);
    add_registry(info);
    add_absent(info);
    sl_core_add_damage_warnings(core, warnings);
    json_object_set_new(info, "Warnings", warnings);
    return sl_call_reply_json(call, 200, info, error);
}

/* ---- the rest ---- */

/* POST /auth → 200; 401 refused by the registry. */
static bool
system_auth(SlCall *call, GError **error)
{
    g_auto(DkAuthConfig) config = { 0 };
    g_autoptr(GError) local = NULL;
    SlRegistryAuth auth;

    if (!sl_call_json(call, dk_auth_config_fields, &config, error))
        return false;
    auth = (SlRegistryAuth){ config.username, config.password, config.identitytoken, config.registrytoken };
    if (!sl_registry_login(sl_call_core(call)->registry, sl_call_cancel(call),
                           config.serveraddress && *config.serveraddress ? config.serveraddress : DOCKER_HUB,
                           &auth, &local)) {
        if (g_error_matches(local, SL_ERROR, SL_ERROR_UNAVAILABLE))
            local->code = SL_ERROR_SYSTEM; /* it is the registry that does not answer: Docker says 500 */
        g_propagate_error(error, g_steal_pointer(&local));
        return false;
    }
    return sl_call_reply_json(
        call, 200, json_pack("{s:s, s:s}", "IdentityToken", "", "Status", "Login Succeeded"), error);
}

static bool
system_events(SlCall *call, GError **error)
{
    return sl_events_serve(sl_call_core(call)->events, call, error);
}

static bool
volumes_list(SlCall *call, GError **error)
{
    return sl_call_reply_json(call, 200, json_pack("{s:[], s:n}", "Volumes", "Warnings"), error);
}

static bool
volume_inspect(SlCall *call, GError **error)
{
    return sl_fail(error, SL_ERROR_NOT_FOUND, "get %s: no such volume", sl_call_param(call, "name"));
}

static bool
plugins_list(SlCall *call, GError **error)
{
    return sl_call_reply_json(call, 200, json_array(), error);
}

static bool
plugin_inspect(SlCall *call, GError **error)
{
    return sl_fail(error, SL_ERROR_NOT_FOUND, "plugin \"%s\" not found", sl_call_param(call, "name"));
}

const SlRoute sl_system_routes[] = {
    { "GET", "/internal/v1/info", system_info, 0 },
    { "GET", "/internal/v1/_ping", system_ping, SL_ROUTE_FAST },
    { "GET", "/internal/v1/version", system_version, 0 },
    { "POST", "/internal/v1/auth", system_auth, 0 },
    { "GET", "/internal/v1/events", system_events, 0 },
    { "GET", "/internal/v1/volumes", volumes_list, 0 },
    { "GET", "/internal/v1/volumes/{name}", volume_inspect, 0 },
    { "GET", "/internal/v1/plugins", plugins_list, 0 },
    { "GET", "/internal/v1/plugins/{name...}/json", plugin_inspect, 0 },
    { 0 },
};
