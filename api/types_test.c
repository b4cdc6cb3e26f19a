#include "api/gen/types.gen.h"

#include <string.h>

/* The HostConfig and Config that an engine shows for a create without options (20.10.24, members since 1.44
 * and the order of 25.0 after its source; KernelMemory is gone there). */
static const char default_host_config[] =
    "{\"Binds\":null,\"ContainerIDFile\":\"\",\"LogConfig\":{\"Type\":\"json-file\",\"Config\":{}},"
    "\"NetworkMode\":\"none\","
    "\"PortBindings\":{},\"RestartPolicy\":{\"Name\":\"\",\"MaximumRetryCount\":0},\"AutoRemove\":false,"
    "\"VolumeDriver\":\"\",\"VolumesFrom\":null,\"ConsoleSize\":[0,0],\"CapAdd\":null,\"CapDrop\":null,"
    "\"CgroupnsMode\":\"host\",\"Dns\":null,\"DnsOptions\":null,\"DnsSearch\":null,\"ExtraHosts\":null,"
    "\"GroupAdd\":null,"
    "\"IpcMode\":\"private\",\"Cgroup\":\"\",\"Links\":null,\"OomScoreAdj\":0,\"PidMode\":\"\","
    "\"Privileged\":false,"
    "\"PublishAllPorts\":false,\"ReadonlyRootfs\":false,\"SecurityOpt\":null,\"UTSMode\":\"\",\"UsernsMode\":"
    "\"\","
    "\"ShmSize\":67108864,\"Runtime\":\"runc\",\"Isolation\":\"\",\"CpuShares\":0,\"Memory\":0,\"NanoCpus\":"
    "0,"
    "\"CgroupParent\":\"\",\"BlkioWeight\":0,\"BlkioWeightDevice\":null,\"BlkioDeviceReadBps\":null,"
    "\"BlkioDeviceWriteBps\":null,\"BlkioDeviceReadIOps\":null,\"BlkioDeviceWriteIOps\":null,\"CpuPeriod\":0,"
    "\"CpuQuota\":0,\"CpuRealtimePeriod\":0,\"CpuRealtimeRuntime\":0,\"CpusetCpus\":\"\",\"CpusetMems\":\"\","
    "\"Devices\":null,\"DeviceCgroupRules\":null,\"DeviceRequests\":null,\"MemoryReservation\":0,"
    "\"MemorySwap\":0,"
    "\"MemorySwappiness\":null,\"OomKillDisable\":false,\"PidsLimit\":null,\"Ulimits\":null,\"CpuCount\":0,"
    "\"CpuPercent\":0,\"IOMaximumIOps\":0,\"IOMaximumBandwidth\":0,\"MaskedPaths\":[\"/proc/asound\"],"
    "\"ReadonlyPaths\":[\"/proc/bus\"]}";

static const char default_config[] = "{\"Hostname\":\"656ba7499f1f\",\"Domainname\":\"\",\"User\":\"\","
                                     "\"AttachStdin\":false,\"AttachStdout\":false,"
                                     "\"AttachStderr\":false,\"Tty\":false,\"OpenStdin\":false,\"StdinOnce\":"
                                     "false,\"Env\":null,\"Cmd\":[\"/bin/true\"],"
                                     "\"Image\":\"t:1\",\"Volumes\":null,\"WorkingDir\":\"\",\"Entrypoint\":"
                                     "null,\"OnBuild\":null,\"Labels\":{}}";

static json_t *
parse(const char *text)
{
    json_t *json = sl_json_parse(text, strlen(text), "test", NULL);

    g_assert_nonnull(json);
    return json;
}

static void
test_inspect_comes_out_as_it_went_in(void)
{
    g_auto(DkHostConfig) host = { 0 };
    g_auto(DkContainerConfig) config = { 0 };
    g_autoptr(json_t) host_in = parse(default_host_config);
    g_autoptr(json_t) config_in = parse(default_config);
    g_autoptr(json_t) host_out = NULL;
    g_autoptr(json_t) config_out = NULL;
    g_autofree char *host_text = NULL;
    g_autofree char *config_text = NULL;

    g_assert_true(sl_json_read(host_in, dk_host_config_fields, &host, "test", NULL));
    g_assert_true(host.has_oom_kill_disable);
    g_assert_false(host.has_pids_limit);
    host_out = sl_json_write(dk_host_config_fields, &host);
    host_text = sl_json_dump(host_out);
    g_assert_cmpstr(host_text, ==, default_host_config);

    g_assert_true(sl_json_read(config_in, dk_container_config_fields, &config, "test", NULL));
    config_out = sl_json_write(dk_container_config_fields, &config);
    config_text = sl_json_dump(config_out);
    g_assert_cmpstr(config_text, ==, default_config);
}

/* The body of `docker run -d -p 8080:80 --init --stop-timeout 3 --network n --health-cmd x`, shortened. */
static void
test_create_is_one_struct_with_a_config_in_front(void)
{
    g_autoptr(json_t) in =
        parse("{\"Hostname\":\"h\",\"Image\":\"nginx\",\"cmd\":\"sh\",\"ExposedPorts\":{\"80/"
              "tcp\":{}},\"StopTimeout\":0,"
              "\"Healthcheck\":{\"Test\":[\"CMD-SHELL\",\"x\"],\"Interval\":1000000000},\"Unknown\":1,"
              "\"HostConfig\":{\"Init\":true,\"PortBindings\":{\"80/"
              "tcp\":[{\"HostPort\":\"8080\"}]},\"Memory\":4096,"
              "\"Ulimits\":[{\"Name\":\"nofile\",\"Soft\":1,\"Hard\":2}],\"Mounts\":[{\"Type\":\"volume\","
              "\"Target\":\"/v\","
              "\"VolumeOptions\":{}}]},"
              "\"NetworkingConfig\":{\"EndpointsConfig\":{\"n\":{\"Aliases\":[\"a\"],\"IPAMConfig\":{}},"
              "\"m\":null}}}");
    g_auto(DkContainerCreate) create = { 0 };
    g_autoptr(GError) error = NULL;
    g_autoptr(json_t) config = NULL;
    g_autofree char *ports = NULL;
    const DkUlimit *ulimit;
    const DkMount *mount;
    json_t *endpoint;

    g_assert_true(sl_json_read(in, dk_container_create_fields, &create, "test", &error));
    g_assert_no_error(error);
    g_assert_cmpstr(create.cmd[0], ==, "sh");
    g_assert_true(create.has_stop_timeout);
    g_assert_true(create.has_healthcheck);
    g_assert_cmpint(create.healthcheck.interval, ==, 1000000000);
    g_assert_true(create.host_config.init);
    g_assert_true(create.host_config.has_init);
    ports = sl_json_dump(create.host_config.port_bindings);
    g_assert_cmpstr(ports, ==, "{\"80/tcp\":[{\"HostIp\":\"\",\"HostPort\":\"8080\"}]}");
    ulimit = create.host_config.ulimits.items;
    g_assert_cmpint(ulimit->hard, ==, 2);
    mount = create.host_config.mounts.items;
    g_assert_true(mount->has_volume_options);
    g_assert_false(mount->has_bind_options);
    endpoint = json_object_get(create.networking_config.endpoints_config, "n");
    g_assert_true(json_is_object(json_object_get(endpoint, "IPAMConfig")));
    endpoint = json_object_get(create.networking_config.endpoints_config, "m");
    g_assert_true(json_is_null(json_object_get(endpoint, "IPAMConfig")));
    g_assert_true(json_is_null(json_object_get(endpoint, "Aliases")));

    config = sl_json_write(dk_container_config_fields, &create);
    g_assert_null(json_object_get(config, "HostConfig"));
    g_assert_cmpint(json_integer_value(json_object_get(config, "StopTimeout")), ==, 0);
    g_assert_nonnull(json_object_get(config, "StopTimeout"));
}

static void
test_wrong_members_are_named(void)
{
    g_autoptr(json_t) in =
        parse("{\"Image\":\"a\",\"HostConfig\":{\"PortBindings\":{\"80/tcp\":[{\"HostPort\":8080}]}}}");
    g_auto(DkContainerCreate) create = { 0 };
    g_autoptr(GError) error = NULL;

    g_assert_false(sl_json_read(in, dk_container_create_fields, &create, "invalid request body", &error));
    g_assert_cmpstr(error->message, ==,
                    "invalid request body: HostConfig.PortBindings.80/tcp[0].HostPort must be a string");
    g_assert_null(create.image);
}

static void
test_update_shares_the_resources(void)
{
    g_autoptr(json_t) in =
        parse("{\"Memory\":1048576,\"RestartPolicy\":{\"Name\":\"always\"},\"PidsLimit\":0}");
    g_auto(DkContainerUpdate) update = { 0 };

    g_assert_true(sl_json_read(in, dk_container_update_fields, &update, "test", NULL));
    g_assert_cmpint(update.memory, ==, 1048576);
    g_assert_true(update.has_pids_limit);
    g_assert_false(update.has_memory_swappiness);
    g_assert_cmpstr(update.restart_policy.name, ==, "always");
}

/* What is stored of a container reads back as the container. */
static void
test_sparse_reads_back_the_same(void)
{
    static const char *const texts[] = {
        "{\"Image\":\"a\"}",
        "{\"Image\":\"a\",\"Cmd\":[],\"Entrypoint\":[\"\"],\"Env\":[\"A=\"],\"Tty\":true,\"User\":\"\","
        "\"Labels\":{},"
        "\"ExposedPorts\":{\"80/tcp\":{}},\"StopTimeout\":0,\"HostConfig\":{\"PidsLimit\":0,\"Memory\":5,"
        "\"MemorySwappiness\":0,\"OomKillDisable\":false,\"Dns\":[],\"ConsoleSize\":[0,0],\"Ulimits\":[],"
        "\"Devices\":[{\"PathOnHost\":\"/dev/null\",\"PathInContainer\":\"\",\"CgroupPermissions\":\"\"}],"
        "\"LogConfig\":{\"Type\":\"local\",\"Config\":{\"max-size\":\"1m\"}},\"RestartPolicy\":{\"Name\":"
        "\"always\"}}}",
    };

    for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
        g_autoptr(json_t) in = parse(texts[i]);
        g_autoptr(json_t) sparse = NULL;
        g_autoptr(json_t) before = NULL;
        g_autoptr(json_t) after = NULL;
        g_autofree char *text = NULL;
        g_auto(DkContainerCreate) create = { 0 };
        g_auto(DkContainerCreate) again = { 0 };

        g_assert_true(sl_json_read(in, dk_container_create_fields, &create, "test", NULL));
        before = sl_json_write(dk_container_create_fields, &create);
        sparse = sl_json_write_sparse(dk_container_create_fields, &create);
        text = sl_json_dump(sparse);
        g_assert_cmpuint(strlen(text), <=, strlen(texts[i]) + 40);
        g_assert_true(sl_json_read(sparse, dk_container_create_fields, &again, "test", NULL));
        after = sl_json_write(dk_container_create_fields, &again);
        g_assert_true(json_equal(before, after));
        g_assert_true(create.host_config.has_pids_limit == again.host_config.has_pids_limit);
        g_assert_true(!create.cmd == !again.cmd);
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    sl_json_setup();
    g_test_add_func("/api/types/inspect-comes-out-as-it-went-in", test_inspect_comes_out_as_it_went_in);
    g_test_add_func("/api/types/create-begins-as-a-config", test_create_is_one_struct_with_a_config_in_front);
    g_test_add_func("/api/types/wrong-members-are-named", test_wrong_members_are_named);
    g_test_add_func("/api/types/update-shares-the-resources", test_update_shares_the_resources);
    g_test_add_func("/api/types/sparse-reads-back-the-same", test_sparse_reads_back_the_same);
    return g_test_run();
}
