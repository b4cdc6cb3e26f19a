/*
 * Settings: one table gives a program its flags, its SOCKERLESS_* variables, its config file keys and its
 * --help.
 *
 *     static const SlSetting settings[] = {
 *         SL_SETTING(ServeConfig, data, "data", SL_SETTING_STRING, "DIR", "where state is kept"),
 *         { 0 },
 *     };
 *
 * Order: flag, then SOCKERLESS_DATA (upper case, "-" → "_"), then the key "data" in the [program] or
 * [sockerless] group of the config file (key file as in systemd), then what the struct held before. A wrong
 * value stops the start with a sentence that names the setting and where it came from. Flags: --name VALUE,
 * --name=VALUE, --flag, --no-flag; "--" ends them.
 */
#pragma once

#include "common/error.h"

#include <stddef.h>

typedef enum SlSettingKind {
    SL_SETTING_STRING = 1, /* char * */
    SL_SETTING_STRV,       /* GStrv; a flag may repeat; in variables and file separated by commas */
    SL_SETTING_BOOL,       /* bool */
    SL_SETTING_INT,        /* int64_t */
    SL_SETTING_SIZE,       /* int64_t bytes: 512, 16k, 2m, 1g */
    SL_SETTING_DURATION,   /* int64_t milliseconds: 500ms, 10s, 2m, 1h; a bare number is seconds */
    SL_SETTING_CHOICE,     /* char *, one of choices */
} SlSettingKind;

typedef struct SlSetting {
    const char *name; /* as the flag, without dashes; NULL ends the table */
    SlSettingKind kind;
    size_t offset;
    const char *value_name; /* in --help */
    const char *help;
    const char *choices; /* "text|json" */
} SlSetting;

#define SL_SETTING(Type, member, name_, kind_, value_name_, help_)                                           \
    {                                                                                                        \
        .name = name_, .kind = kind_, .offset = offsetof(Type, member), .value_name = value_name_,           \
        .help = help_                                                                                        \
    }

/* Reads into config, which may hold defaults (owned, g_malloc'ed strings). argv[0] is skipped; ret_rest gets
 * a new GStrv of what is not a flag (NULL: such an argument is an error). config_file: path or NULL; a named
 * file that is missing is an error. environ_: "NAME=value" strings, NULL-ended. Errors: SL_ERROR_INVALID. */
bool sl_settings_read(const SlSetting *settings, const char *group, void *config, char **argv,
                      char **environ_, const char *config_file, char ***ret_rest, GError **error);
void sl_settings_clear(const SlSetting *settings, void *config);
/* The options part of --help, wrapped at 80 columns. Caller frees. */
char *sl_settings_help(const SlSetting *settings);
/* The file to read: what --config or SOCKERLESS_CONFIG names ("": none), else the first that exists of
 * $XDG_CONFIG_HOME/sockerless/sockerless.conf (~/.config; not for root) and /etc/sockerless/sockerless.conf;
 * NULL for none. Caller frees. */
char *sl_settings_find_file(char **argv, char **environ_);
