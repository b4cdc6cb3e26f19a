#include "common/settings.h"

#include <stdint.h>
#include <string.h>
#include <unistd.h>

enum { HELP_COLUMN = 28, HELP_WIDTH = 80 };

/* Where a value comes from, as the error names it: "--addr", "SOCKERLESS_ADDR", "/etc/sockerless.conf:
 * addr". */
typedef struct Source {
    const char *name;
    bool is_first; /* of a list: what was there before goes */
    bool is_flag;  /* one element of a list, commas and all */
} Source;

static void *
member_of(const SlSetting *setting, void *config)
{
    return (char *)config + setting->offset;
}

/* ---- values ---- */

static void
list_append(char ***list, char **more /* taken */)
{
    guint n = *list ? g_strv_length(*list) : 0, n_more = g_strv_length(more);

    *list = g_renew(char *, *list, n + n_more + 1);
    memcpy(*list + n, more, (n_more + 1) * sizeof(char *));
    g_free(more);
}

static char **
split_list(const char *text)
{
    char **items = g_strsplit(text, ",", -1);
    guint n = 0;

    for (guint i = 0; items[i]; i++) {
        g_strstrip(items[i]);
        if (*items[i])
            items[n++] = items[i];
        else
            g_free(items[i]);
    }
    items[n] = NULL;
    return items;
}

static void
set_list(char ***list, const Source *source, const char *text)
{
    char **more;

    if (source->is_first)
        g_clear_pointer(list, g_strfreev);
    if (source->is_flag) {
        more = g_new0(char *, 2);
        more[0] = g_strdup(text);
    } else {
        more = split_list(text);
    }
    list_append(list, more);
}

static bool
set_bool(bool *value, const Source *source, const char *text, GError **error)
{
    static const char *const yes[] = { "true", "1", "yes", "on", NULL };
    static const char *const no[] = { "false", "0", "no", "off", NULL };
    g_autofree char *lower = g_ascii_strdown(text, -1);

    if (!g_strv_contains(yes, lower) && !g_strv_contains(no, lower))
        return sl_fail(error, SL_ERROR_INVALID, "%s: \"%s\" is neither true nor false", source->name, text);
    *value = g_strv_contains(yes, lower);
    return true;
}

typedef struct Unit {
    const char *name;
    int64_t factor;
} Unit;

static const Unit no_units[] = { { "", 1 }, { 0 } };
static const Unit size_units[] = {
    { "", 1 }, { "b", 1 }, { "k", 1 << 10 }, { "m", 1 << 20 }, { "g", 1 << 30 }, { "t", INT64_C(1) << 40 },
    { 0 }
};
static const Unit duration_units[] = { { "", 1000 },   { "ms", 1 },      { "s", 1000 },
                                       { "m", 60000 }, { "h", 3600000 }, { 0 } };

static bool
set_number(int64_t *value, const Source *source, const char *text, const Unit *units, const char *what,
           GError **error)
{
    size_t n_digits = strspn(text + (*text == '-'), "0123456789") + (*text == '-');
    g_autofree char *digits = g_strndup(text, n_digits);
    g_autofree char *suffix = g_ascii_strdown(text + n_digits, -1);
    gint64 number, product;

    for (; units->name; units++)
        if (g_str_equal(suffix, units->name))
            break;
    if (!units->name || !g_ascii_string_to_signed(digits, 10, G_MININT64, G_MAXINT64, &number, NULL) ||
        __builtin_mul_overflow(number, units->factor, &product))
        return sl_fail(error, SL_ERROR_INVALID, "%s: \"%s\" is not %s", source->name, text, what);
    if (number < 0 && units->factor != 1)
        return sl_fail(error, SL_ERROR_INVALID, "%s: \"%s\" is below zero", source->name, text);
    *value = product;
    return true;
}

static bool
set_choice(char **value, const SlSetting *setting, const Source *source, const char *text, GError **error)
{
    g_auto(GStrv) choices = g_strsplit(setting->choices, "|", -1);
    g_autofree char *list = g_strjoinv(", ", choices);

    if (!g_strv_contains((const char *const *)choices, text))
        return sl_fail(error, SL_ERROR_INVALID, "%s: \"%s\" is not one of %s", source->name, text, list);
    g_free(*value);
    *value = g_strdup(text);
    return true;
}

static bool
set_value(const SlSetting *setting, const Source *source, const char *text, void *config, GError **error)
{
    void *member = member_of(setting, config);

    switch (setting->kind) {
    case SL_SETTING_STRING:
        g_free(*(char **)member);
        *(char **)member = g_strdup(text);
        return true;
    case SL_SETTING_STRV:
        set_list(member, source, text);
        return true;
    case SL_SETTING_BOOL:
        return set_bool(member, source, text, error);
    case SL_SETTING_INT:
        return set_number(member, source, text, no_units, "a whole number", error);
    case SL_SETTING_SIZE:
        return set_number(member, source, text, size_units, "a size such as 512, 16k, 2m or 1g", error);
    case SL_SETTING_DURATION:
        return set_number(member, source, text, duration_units, "a duration such as 500ms, 10s, 2m or 1h",
                          error);
    case SL_SETTING_CHOICE:
        return set_choice(member, setting, source, text, error);
    }
    g_assert_not_reached();
}

static const SlSetting *
find_setting(const SlSetting *settings, const char *name)
{
    for (; settings->name; settings++)
        if (g_str_equal(settings->name, name))
            return settings;
    return NULL;
}

/* ---- the file ---- */

/* A group of our own holds only what we know; the common one also has settings of other programs. */
static bool
check_keys(const SlSetting *settings, GKeyFile *file, const char *group, const char *path, GError **error)
{
    g_auto(GStrv) keys = g_key_file_get_keys(file, group, NULL, NULL);

    for (char **key = keys; key && *key; key++)
        if (!find_setting(settings, *key))
            return sl_fail(error, SL_ERROR_INVALID, "%s: there is no setting \"%s\" for [%s]", path, *key,
                           group);
    return true;
}

static bool
read_file(const SlSetting *settings, const char *group, void *config, const char *path, GError **error)
{
    g_autoptr(GKeyFile) file = g_key_file_new();
    g_autoptr(GError) problem = NULL;

    if (!g_key_file_load_from_file(file, path, G_KEY_FILE_NONE, &problem))
        return sl_fail(error, SL_ERROR_INVALID, "settings file %s: %s", path, problem->message);
    if (!check_keys(settings, file, group, path, error))
        return false;
    for (; settings->name; settings++) {
        g_autofree char *name = g_strdup_printf("%s: %s", path, settings->name);
        g_autofree char *own = g_key_file_get_string(file, group, settings->name, NULL);
        g_autofree char *common = g_key_file_get_string(file, "sockerless", settings->name, NULL);
        const Source source = { .name = name, .is_first = true };

        if ((own || common) && !set_value(settings, &source, own ? own : common, config, error))
            return false;
    }
    return true;
}

char *
sl_settings_find_file(char **argv, char **environ_)
{
    g_autofree char *own = NULL;
    const char *named = g_environ_getenv(environ_, "SOCKERLESS_CONFIG");

    for (char **arg = argv + 1; *arg && !g_str_equal(*arg, "--"); arg++) {
        if (g_str_has_prefix(*arg, "--config="))
            named = *arg + strlen("--config=");
        else if (g_str_equal(*arg, "--config") && arg[1])
            named = arg[1];
    }
    if (named)
        return *named ? g_strdup(named) : NULL;
    own = g_build_filename(g_get_user_config_dir(), "sockerless", "sockerless.conf", NULL);
    if (geteuid() != 0 && g_file_test(own, G_FILE_TEST_EXISTS))
        return g_steal_pointer(&own);
    if (g_file_test("/etc/sockerless/sockerless.conf", G_FILE_TEST_EXISTS))
        return g_strdup("/etc/sockerless/sockerless.conf");
    return NULL;
}

/* ---- variables and flags ---- */

static char *
variable_name(const char *setting)
{
    g_autofree char *upper = g_ascii_strup(setting, -1);

    return g_strdup_printf("SOCKERLESS_%s", g_strdelimit(upper, "-", '_'));
}

static bool
read_variables(const SlSetting *settings, void *config, char **environ_, GError **error)
{
    for (; settings->name; settings++) {
        g_autofree char *name = variable_name(settings->name);
        const char *value = g_environ_getenv(environ_, name);
        const Source source = { .name = name, .is_first = true };

        /* An empty variable is how shells and service managers unset one. */
        if (value && *value && !set_value(settings, &source, value, config, error))
            return false;
    }
    return true;
}

/* One flag at **argv; moves past its value. given counts each setting's flags. */
static bool
read_flag(const SlSetting *settings, void *config, char ***argv, unsigned *given, GError **error)
{
    const char *arg = **argv, *equals = strchr(arg, '=');
    g_autofree char *flag = equals ? g_strndup(arg, (gsize)(equals - arg)) : g_strdup(arg);
    const char *value = equals ? equals + 1 : NULL;
    const SlSetting *setting = find_setting(settings, g_str_equal(flag, "-h") ? "help" : flag + 2);
    Source source = { .name = flag, .is_flag = true };

    if (!setting && !equals && g_str_has_prefix(flag, "--no-")) {
        setting = find_setting(settings, flag + strlen("--no-"));
        value = "false";
        if (setting && setting->kind != SL_SETTING_BOOL)
            setting = NULL;
    }
    if (!setting || (flag[1] != '-' && !g_str_equal(flag, "-h")))
        return sl_fail(error, SL_ERROR_INVALID, "unknown option %s", flag);
    if (!value && setting->kind == SL_SETTING_BOOL)
        value = "true";
    if (!value && (*argv)[1])
        value = *++*argv;
    if (!value)
        return sl_fail(error, SL_ERROR_INVALID, "%s: a value is missing", flag);
    source.is_first = given[setting - settings]++ == 0;
    return set_value(setting, &source, value, config, error);
}

static bool
read_flags(const SlSetting *settings, void *config, char **argv, GPtrArray *rest, GError **error)
{
    g_autofree unsigned *given = NULL;
    size_t n = 0;

    while (settings[n].name)
        n++;
    given = g_new0(unsigned, n + 1);
    for (char **arg = *argv ? argv + 1 : argv; *arg; arg++) {
        if (g_str_equal(*arg, "--")) {
            while (*++arg)
                g_ptr_array_add(rest, g_strdup(*arg));
            return true;
        }
        if ((*arg)[0] != '-' || !(*arg)[1])
            g_ptr_array_add(rest, g_strdup(*arg));
        else if (!read_flag(settings, config, &arg, given, error))
            return false;
    }
    return true;
}

bool
sl_settings_read(const SlSetting *settings, const char *group, void *config, char **argv, char **environ_,
                 const char *config_file, char ***ret_rest, GError **error)
{
    g_autoptr(GPtrArray) rest = g_ptr_array_new_with_free_func(g_free);

    if (config_file && !read_file(settings, group, config, config_file, error))
        return false;
    if (!read_variables(settings, config, environ_, error) ||
        !read_flags(settings, config, argv, rest, error))
        return false;
    if (!ret_rest && rest->len > 0)
        return sl_fail(error, SL_ERROR_INVALID, "unexpected argument \"%s\"", (char *)rest->pdata[0]);
    if (ret_rest) {
        g_ptr_array_add(rest, NULL);
        *ret_rest = (char **)g_ptr_array_free(g_steal_pointer(&rest), FALSE);
    }
    return true;
}

void
sl_settings_clear(const SlSetting *settings, void *config)
{
    for (; settings->name; settings++) {
        void *member = member_of(settings, config);

        if (settings->kind == SL_SETTING_STRING || settings->kind == SL_SETTING_CHOICE)
            g_clear_pointer((char **)member, g_free);
        else if (settings->kind == SL_SETTING_STRV)
            g_clear_pointer((char ***)member, g_strfreev);
        else if (settings->kind == SL_SETTING_BOOL)
            *(bool *)member = false;
        else
            *(int64_t *)member = 0;
    }
}

/* ---- help ---- */

static void
append_wrapped(GString *text, size_t column, const char *words)
{
    g_auto(GStrv) list = g_strsplit(words, " ", -1);

    for (char **word = list; *word; word++) {
        size_t n = (size_t)g_utf8_strlen(*word, -1);

        if (column > HELP_COLUMN && column + 1 + n > HELP_WIDTH) {
            g_string_append_printf(text, "\n%*s", HELP_COLUMN, "");
            column = HELP_COLUMN;
        } else if (word != list) {
            g_string_append_c(text, ' ');
            column++;
        }
        g_string_append(text, *word);
        column += n;
    }
    g_string_append_c(text, '\n');
}

char *
sl_settings_help(const SlSetting *settings)
{
    g_autoptr(GString) text = g_string_new("Options:\n");

    for (; settings->name; settings++) {
        g_autofree char *choices =
            settings->choices ? g_strdup_printf(" (%s)", settings->choices) : g_strdup("");
        g_autofree char *help = g_strconcat(settings->help, choices, NULL);
        g_autofree char *flag = g_strdup_printf("  --%s%s%s", settings->name, settings->value_name ? " " : "",
                                                settings->value_name ? settings->value_name : "");

        g_string_append(text, flag);
        if (strlen(flag) >= HELP_COLUMN)
            g_string_append_printf(text, "\n%*s", HELP_COLUMN, "");
        else
            g_string_append_printf(text, "%*s", (int)(HELP_COLUMN - strlen(flag)), "");
        append_wrapped(text, HELP_COLUMN, help);
    }
    return g_string_free(g_steal_pointer(&text), FALSE);
}
