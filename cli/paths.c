#include "cli/paths.h"

#include <unistd.h>

char *
sl_path_data(void)
{
    /* g_get_user_state_dir: XDG_STATE_HOME or ~/.local/state */
    return geteuid() == 0 ? g_strdup("/var/lib/sockerless")
                          : g_build_filename(g_get_user_state_dir(), "sockerless", NULL);
}

char *
sl_path_runtime(const char *data)
{
    const char *session = g_getenv("XDG_RUNTIME_DIR");

    if (geteuid() == 0)
        return g_strdup("/run/sockerless");
    return session && g_path_is_absolute(session) ? g_build_filename(session, "sockerless", NULL)
                                                  : g_build_filename(data, "run", NULL);
}

char *
sl_path_default_address(const char *data)
{
    g_autofree char *runtime = sl_path_runtime(data);

    return g_strdup_printf("unix://%s/docker.sock", runtime);
}

char *
sl_path_program(const char *name, GError **error)
{
    g_autofree char *self = g_file_read_link("/proc/self/exe", error);
    g_autofree char *folder = self ? g_path_get_dirname(self) : NULL;
    g_autofree char *beside = folder ? g_build_filename(folder, name, NULL) : NULL;
    g_autofree char *libexec =
        folder ? g_build_filename(folder, "..", "libexec", "sockerless", name, NULL) : NULL;

    if (!self)
        return NULL;
    if (access(beside, X_OK) == 0)
        return g_steal_pointer(&beside);
    if (access(libexec, X_OK) == 0)
        return g_steal_pointer(&libexec);
    sl_fail(error, SL_ERROR_NOT_FOUND, "the program %s is neither %s nor %s", name, beside, libexec);
    return NULL;
}
