#include "cli/cmd.h"

#include <stdio.h>
#include <unistd.h>

bool
sl_cmd_read(const char *verb, const char *usage, const SlSetting *settings, void *config, const bool *help,
            char **argv, char ***ret_rest, int *ret_status)
{
    g_autofree char *file = sl_settings_find_file(argv, environ);
    g_autofree char *options = NULL;
    g_autoptr(GError) error = NULL;

    if (!sl_settings_read(settings, verb, config, argv, environ, file, ret_rest, &error)) {
        fprintf(stderr, "sockerless %s: %s\n", verb, error->message);
        *ret_status = 2;
        return false;
    }
    if (!*help)
        return true;
    options = sl_settings_help(settings);
    printf("Usage: sockerless %s\n\n%s", usage, options);
    *ret_status = 0;
    return false;
}
