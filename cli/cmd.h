/* The verbs of `sockerless`. argv[0] is the verb; the result is the process's exit status: 0, 1 (it failed),
 * 2 (wrong usage). */
#pragma once

#include "common/settings.h"

typedef struct SlCommand {
    const char *name; /* NULL ends the table */
    const char *summary;
    const SlSetting *settings;
    int (*run)(char **argv);
} SlCommand;

extern const SlCommand sl_commands[];

int cmd_serve(char **argv);
int cmd_status(char **argv);
int cmd_version(char **argv);
int cmd_completion(char **argv);

extern const SlSetting sl_serve_settings[], sl_status_settings[], sl_version_settings[],
    sl_completion_settings[];

/* Reads a verb's settings. False: it has been said on standard error why (2), or --help was printed (0);
 * *ret_status is for exit. */
bool sl_cmd_read(const char *verb, const char *usage, const SlSetting *settings, void *config,
                 const bool *help, char **argv, char ***ret_rest, int *ret_status);
