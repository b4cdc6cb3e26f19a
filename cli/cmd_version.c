#include "cli/cmd.h"

#include <stdio.h>

#include "api/names.h"

typedef struct Settings {
    bool help;
} Settings;

const SlSetting sl_version_settings[] = {
    SL_SETTING(Settings, help, "help", SL_SETTING_BOOL, NULL, "print this"),
    { 0 },
};

int
cmd_version(char **argv)
{
    Settings settings = { 0 };
    int status;

    if (!sl_cmd_read("version", "version", sl_version_settings, &settings, &settings.help, argv, NULL,
                     &status))
        return status;
    printf("sockerless %s\nDocker Engine API %s (oldest %s)\n", SL_VERSION, DK_API_VERSION_TEXT,
           DK_API_VERSION_MIN_TEXT);
    return 0;
}
