#include "backends/core/inspect.h"

#include "backends/core/container_networks.h"
#include "backends/core/exec.h"
#include "backends/core/start_message.h"
#include "backends/core/update.h"
#include "common/clock.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

static int64_t
tree_bytes(int folder_fd)
{
    DIR *dir = folder_fd >= 0 ? fdopendir(folder_fd) : NULL;
    int64_t bytes = 0;

    if (!dir)
        return 0;
    for (struct dirent *entry; (entry = readdir(dir));) {
        struct stat status;

        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
            fstatat(dirfd(dir), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        if (S_ISDIR(status.st_mode))
            bytes += tree_bytes(
                openat(dirfd(dir), entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
        else
            bytes += status.st_size;
    }
    closedir(dir);
    return bytes;
}

int64_t
sl_container_written_bytes(SlContainer *container)
{
    g_autofree char *upper = g_build_filename(container->folder, "upper", NULL);

    return tree_bytes(open(upper, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

int64_t
sl_container_root_bytes(SlContainer *container)
{
    g_autoptr(SlImageRecord) image = sl_images_resolve(container->core->images, container->image_id, NULL);

    return sl_container_written_bytes(container) + (image ? image->size : 0);
}

/* ---- inspect ---- */

static json_t *
state_json(SlContainer *container, const SlState *state, const char *message)
{
    g_autofree char *started = sl_clock_format(state->started_ns);
    g_autofree char *finished = sl_clock_format(state->finished_ns);
    bool is_up = sl_lifecycle_is_up(state);

    return json_pack("{s:s, s:b, s:b, s:b, s:b, s:b, s:i, s:i, s:s, s:s, s:s}", "Status",
                     sl_phase_status(state), "Running", is_up, "Paused", state->is_paused, "Restarting",
                     is_up && state->phase != SL_PHASE_RUNNING, "OOMKilled", false, "Dead", false, "Pid",
                     state->pid, "ExitCode", state->exit_code, "Error", message ? message : "", "StartedAt",
                     started, "FinishedAt", finished);
}

/* As create was given it, but for what an update changes. */
static json_t *
host_config_json(const DkHostConfig *config, const SlState *state)
{
    json_t *json = sl_json_write(dk_host_config_fields, config);

    json_object_set_new(json, "RestartPolicy", sl_restart_policy_write(&state->restart));
    return json;
}

static json_t *
network_settings(SlContainer *container)
{
    json_t *settings = json_pack(
        "{s:s, s:s, s:{}, s:b, s:s, s:i, s:s, s:n, s:n, s:s, s:s, s:s, s:i, s:s, s:i, s:s, s:s}", "Bridge",
        "", "SandboxID", "", "Ports", "HairpinMode", false, "LinkLocalIPv6Address", "",
        "LinkLocalIPv6PrefixLen", 0, "SandboxKey", "", "SecondaryIPAddresses", "SecondaryIPv6Addresses",
        "EndpointID", "", "Gateway", "", "GlobalIPv6Address", "", "GlobalIPv6PrefixLen", 0, "IPAddress", "",
        "IPPrefixLen", 0, "IPv6Gateway", "", "MacAddress", "");
    SL_LOCK_GUARD(&container->lock);

    sl_container_put_default_network(container, settings);
    json_object_set_new(settings, "Networks", sl_container_networks(container));
    return settings;
}

static json_t *
exec_ids(SlContainer *container)
{
    json_t *ids = json_array();
    SL_LOCK_GUARD(&container->lock);

    for (guint i = 0; i < container->execs->len; i++)
        json_array_append_new(ids, json_string(((SlExec *)container->execs->pdata[i])->id));
    if (json_array_size(ids) > 0)
        return ids;
    json_decref(ids);
    return json_null();
}

/* Docker splits the command into its first word and the rest. */
static void
put_command(json_t *inspect, const DkContainerCreate *config)
{
    json_t *args = sl_json_strings(config->entrypoint);
    json_t *cmd = sl_json_strings(config->cmd);

    json_array_extend(args, cmd);
    json_decref(cmd);
    json_object_set(inspect, "Path", json_array_get(args, 0));
    json_array_remove(args, 0);
    json_object_set_new(inspect, "Args", args);
}

json_t *
sl_container_inspect(SlContainer *container, bool with_size)
{
    const DkContainerCreate *config = &container->config;
    g_autofree char *message = NULL;
    g_autofree char *name = sl_container_dup_name(container);
    g_autofree char *created = sl_clock_format(container->created_ns);
    g_autofree char *log_path = sl_log_dup_path(container->log);
    SlState state = sl_container_get_state(container, &message);
    json_t *inspect = json_pack("{s:s, s:s}", "Id", container->id, "Created", created);

    put_command(inspect, config);
    json_object_set_new(inspect, "State", state_json(container, &state, message));
    json_object_set_new(inspect, "Image", json_string(container->image_id));
    json_object_set_new(inspect, "ResolvConfPath", json_string(""));
    json_object_set_new(inspect, "HostnamePath", json_string(""));
    json_object_set_new(inspect, "HostsPath", json_string(""));
    json_object_set_new(inspect, "LogPath", json_string(state.started_ns ? log_path : ""));
    json_object_set_new(inspect, "Name", json_sprintf("/%s", name));
    json_object_set_new(inspect, "RestartCount", json_integer(state.restart_count));
    json_object_set_new(inspect, "Driver", json_string(container->core->driver->ops.name));
    json_object_set_new(inspect, "Platform", json_string("linux"));
    json_object_set_new(inspect, "MountLabel", json_string(""));
    json_object_set_new(inspect, "ProcessLabel", json_string(""));
    json_object_set_new(inspect, "AppArmorProfile", json_string(""));
    json_object_set_new(inspect, "ExecIDs", exec_ids(container));
    json_object_set_new(inspect, "HostConfig", host_config_json(&config->host_config, &state));
    json_object_set_new(inspect, "GraphDriver",
                        json_pack("{s:n, s:s}", "Data", "Name", container->core->driver->ops.name));
    if (with_size) {
        json_object_set_new(inspect, "SizeRw", json_integer(sl_container_written_bytes(container)));
        json_object_set_new(inspect, "SizeRootFs", json_integer(sl_container_root_bytes(container)));
    }
    json_object_set_new(inspect, "Mounts", json_array());
    /* A create begins with the members of a config, in the same order. */
    json_object_set_new(inspect, "Config", sl_json_write(dk_container_config_fields, config));
    json_object_set_new(inspect, "NetworkSettings", network_settings(container));
    return inspect;
}
