#include "backends/core/start_message.h"

#include "api/names.h"

#include <string.h>

static const char default_path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

json_t *
sl_json_strings(char *const *strings)
{
    json_t *list = json_array();

    for (; strings && *strings; strings++)
        json_array_append_new(list, json_string(*strings));
    return list;
}

static bool
is_root(const char *user)
{
    return !user || !*user || strcmp(user, "root") == 0 || strcmp(user, "0") == 0 ||
           g_str_has_prefix(user, "0:") || g_str_has_prefix(user, "root:");
}

/* What Docker puts before the image's and the user's variables. */
static char **
environment(SlContainer *container, const char *user, bool has_tty, char *const *more)
{
    const DkContainerCreate *config = &container->config;
    g_autofree char *hostname = g_strdup_printf("HOSTNAME=%s", config->hostname);
    const char *defaults[] = { default_path, hostname, is_root(user) ? "HOME=/root" : "HOME=/",
                               has_tty ? "TERM=xterm" : NULL, NULL };
    char **env = g_strdupv((char **)(uintptr_t)defaults);

    if (config->env)
        env = dk_env_merge(env, (const char *const *)config->env);
    if (more)
        env = dk_env_merge(env, (const char *const *)more);
    return env;
}

static void
put_process(json_t *message, char *const *env, const char *cwd, const char *user, const int *console_size)
{
    json_object_set_new(message, "env", sl_json_strings(env));
    json_object_set_new(message, "cwd", json_string(cwd && *cwd ? cwd : "/"));
    json_object_set_new(message, "user", json_string(user ? user : ""));
    if (console_size[0] > 0 && console_size[1] > 0) {
        json_object_set_new(message, "rows", json_integer(console_size[0]));
        json_object_set_new(message, "cols", json_integer(console_size[1]));
    }
}

static json_t *
rlimits(const DkHostConfig *host)
{
    json_t *list = json_array();
    const DkUlimit *limits = host->ulimits.items;

    for (size_t i = 0; i < host->ulimits.n; i++)
        json_array_append_new(list, json_sprintf("%s=%" G_GINT64_FORMAT ":%" G_GINT64_FORMAT, limits[i].name,
                                                 limits[i].soft, limits[i].hard));
    return list;
}

json_t *
sl_start_message(SlContainer *container)
{
    const DkContainerCreate *config = &container->config;
    g_auto(GStrv) env = environment(container, config->user, config->tty, NULL);
    json_t *argv = sl_json_strings(config->entrypoint);
    json_t *cmd = sl_json_strings(config->cmd);
    SlLogKeeping keeping = sl_log_config_keeping(&config->host_config.log_config);
    json_t *message;

    json_array_extend(argv, cmd);
    json_decref(cmd);
    message = json_pack("{s:s, s:s, s:o, s:s, s:b, s:b, s:b, s:o}", "type", "start", "container",
                        container->id, "argv", argv, "hostname", config->hostname, "tty", config->tty,
                        "open_stdin", config->open_stdin, "stdin_once", config->stdin_once, "rlimits",
                        rlimits(&config->host_config));
    json_object_set_new(message, "log_max_size", json_integer(keeping.max_size));
    json_object_set_new(message, "log_max_files", json_integer(keeping.max_files));
    put_process(message, env, config->working_dir, config->user, config->host_config.console_size);
    return message;
}

json_t *
sl_exec_message(SlContainer *container, const DkExecCreate *config)
{
    const char *user = config->user && *config->user ? config->user : container->config.user;
    g_auto(GStrv) env = environment(container, user, config->tty, config->env);
    json_t *message =
        json_pack("{s:s, s:o, s:b, s:b, s:b, s:b}", "type", "exec", "argv", sl_json_strings(config->cmd),
                  "tty", config->tty, "stdin", config->attach_stdin, "stdout", config->attach_stdout,
                  "stderr", config->attach_stderr);

    put_process(message, env,
                config->working_dir && *config->working_dir ? config->working_dir
                                                            : container->config.working_dir,
                user, config->console_size);
    json_object_set_new(message, "config", sl_json_write(dk_exec_create_fields, config));
    return message;
}
