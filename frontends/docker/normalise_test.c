#include "frontends/docker/normalise.h"

#include <string.h>

/* Reads body as a client of version would send it; the written form, or NULL with the error. */
static json_t *
normalise(int version, const char *body, GError **error)
{
    g_autoptr(json_t) json = sl_json_parse(body, strlen(body), "test", error);
    g_auto(DkContainerCreate) create = { 0 };

    g_assert_nonnull(json);
    if (!sl_json_read(json, dk_container_create_fields, &create, "test", error) ||
        !sl_normalise_create(version, &create, error))
        return NULL;
    return sl_json_write(dk_container_create_fields, &create);
}

/* "HostConfig.Mounts.0.BindOptions" → that value as text. */
static char *
value_at(const json_t *json, const char *path)
{
    g_auto(GStrv) keys = g_strsplit(path, ".", -1);

    for (char **key = keys; *key && json; key++)
        json = json_is_array(json) ? json_array_get(json, (size_t)g_ascii_strtoull(*key, NULL, 10))
                                   : json_object_get(json, *key);
    return json ? sl_json_dump(json) : NULL;
}

static void
test_each_version_means_what_it_said(void)
{
    static const struct {
        int version;
        const char *body, *path, *value; /* value NULL: absent */
    } cases[] = {
        { 1044, "{}", "HostConfig.NetworkMode", "\"default\"" },
        { 1044, "{\"HostConfig\":{\"NetworkMode\":\"host\"}}", "HostConfig.NetworkMode", "\"host\"" },
        { 1044, "{}", "NetworkingConfig.EndpointsConfig", "{}" },
        { 1024, "{\"HostConfig\":{\"AutoRemove\":true}}", "HostConfig.AutoRemove", "false" },
        { 1025, "{\"HostConfig\":{\"AutoRemove\":true}}", "HostConfig.AutoRemove", "true" },
        { 1039, "{}", "HostConfig.IpcMode", "\"shareable\"" },
        { 1039, "{\"HostConfig\":{\"IpcMode\":\"host\"}}", "HostConfig.IpcMode", "\"host\"" },
        { 1040, "{}", "HostConfig.IpcMode", "\"\"" },
        { 1039, "{\"HostConfig\":{\"KernelMemoryTCP\":5}}", "HostConfig.KernelMemoryTCP", NULL },
        { 1040, "{\"HostConfig\":{\"KernelMemoryTCP\":5}}", "HostConfig.KernelMemoryTCP", "5" },
        { 1041, "{\"HostConfig\":{\"KernelMemory\":5}}", "HostConfig.KernelMemory", "5" },
        { 1042, "{\"HostConfig\":{\"KernelMemory\":5}}", "HostConfig.KernelMemory", NULL },
        { 1041, "{\"HostConfig\":{\"ConsoleSize\":[1,2]}}", "HostConfig.ConsoleSize", "[0,0]" },
        { 1042, "{\"HostConfig\":{\"ConsoleSize\":[1,2]}}", "HostConfig.ConsoleSize", "[1,2]" },
        { 1042, "{\"HostConfig\":{\"Annotations\":{\"a\":\"b\"}}}", "HostConfig.Annotations", NULL },
        { 1043, "{\"HostConfig\":{\"Annotations\":{\"a\":\"b\"}}}", "HostConfig.Annotations",
          "{\"a\":\"b\"}" },
        { 1044, "{\"HostConfig\":{\"PidsLimit\":-1}}", "HostConfig.PidsLimit", "null" },
        { 1044, "{\"HostConfig\":{\"PidsLimit\":9}}", "HostConfig.PidsLimit", "9" },
        { 1043, "{\"Healthcheck\":{\"StartInterval\":5,\"Retries\":1}}", "Healthcheck", "{\"Retries\":1}" },
        { 1044, "{\"Healthcheck\":{\"StartInterval\":5}}", "Healthcheck", "{\"StartInterval\":5}" },
        { 1043, "{\"HostConfig\":{\"Mounts\":[{\"Type\":\"bind\",\"ReadOnly\":true}]}}",
          "HostConfig.Mounts.0.BindOptions", "{\"ReadOnlyNonRecursive\":true}" },
        { 1044, "{\"HostConfig\":{\"Mounts\":[{\"Type\":\"bind\",\"ReadOnly\":true}]}}",
          "HostConfig.Mounts.0.BindOptions", NULL },
        { 1041, "{\"HostConfig\":{\"Mounts\":[{\"Type\":\"bind\",\"VolumeOptions\":{}}]}}",
          "HostConfig.Mounts.0.VolumeOptions", NULL },
        { 1039, "{\"HostConfig\":{\"Mounts\":[{\"Type\":\"bind\",\"BindOptions\":{\"NonRecursive\":true}}]}}",
          "HostConfig.Mounts.0.BindOptions", "{}" },
        { 1043, "{\"MacAddress\":\"02:00:00:00:00:01\",\"HostConfig\":{\"NetworkMode\":\"n\"}}",
          "NetworkingConfig.EndpointsConfig.n.MacAddress", "\"02:00:00:00:00:01\"" },
        { 1043, "{\"NetworkingConfig\":{\"EndpointsConfig\":{\"n\":{\"MacAddress\":\"02:00:00:00:00:01\"}}}}",
          "NetworkingConfig.EndpointsConfig.n.MacAddress", "\"\"" },
        { 1044, "{\"NetworkingConfig\":{\"EndpointsConfig\":{\"n\":{\"MacAddress\":\"02:00:00:00:00:01\"}}}}",
          "NetworkingConfig.EndpointsConfig.n.MacAddress", "\"02:00:00:00:00:01\"" },
        { 1044, "{\"MacAddress\":\"02:00:00:00:00:01\",\"HostConfig\":{\"NetworkMode\":\"host\"}}",
          "NetworkingConfig.EndpointsConfig", "{}" },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(json_t) create = normalise(cases[i].version, cases[i].body, &error);
        g_autofree char *value = create ? value_at(create, cases[i].path) : NULL;

        g_assert_no_error(error);
        g_test_message("%d %s %s", cases[i].version, cases[i].body, cases[i].path);
        g_assert_cmpstr(value, ==, cases[i].value);
    }
}

static void
test_what_a_version_refuses(void)
{
    static const struct {
        int version;
        const char *body, *message;
    } cases[] = {
        { 1043, "{\"NetworkingConfig\":{\"EndpointsConfig\":{\"a\":{},\"b\":{}}}}",
          "Container cannot be created with multiple network endpoints" },
        { 1042, "{\"HostConfig\":{\"Mounts\":[{\"Type\":\"bind\",\"VolumeOptions\":{}}]}}",
          "VolumeOptions must not be specified on mount type \"bind\"" },
        { 1044, "{\"HostConfig\":{\"Mounts\":[{\"Type\":\"volume\",\"TmpfsOptions\":{}}]}}",
          "TmpfsOptions must not be specified on mount type \"volume\"" },
        { 1043,
          "{\"HostConfig\":{\"Mounts\":[{\"Type\":\"bind\",\"BindOptions\":{\"ReadOnlyForceRecursive\":true}}"
          "]}}",
          "BindOptions.ReadOnlyForceRecursive needs API v1.44 or newer" },
        { 1044,
          "{\"MacAddress\":\"02:00:00:00:00:01\",\"HostConfig\":{\"NetworkMode\":\"n\"},"
          "\"NetworkingConfig\":{\"EndpointsConfig\":{\"m\":{}}}}",
          "if a container-wide MAC address is supplied, HostConfig.NetworkMode must match the identity of a "
          "network in "
          "NetworkSettings.Networks" },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;

        g_assert_null(normalise(cases[i].version, cases[i].body, &error));
        g_assert_error(error, SL_ERROR, SL_ERROR_INVALID);
        g_assert_cmpstr(error->message, ==, cases[i].message);
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    sl_json_setup();
    g_test_add_func("/frontend/create/each-version-means-what-it-said", test_each_version_means_what_it_said);
    g_test_add_func("/frontend/create/what-a-version-refuses", test_what_a_version_refuses);
    return g_test_run();
}
