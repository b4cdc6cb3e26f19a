#include "cli/cmd.h"

#include <stdio.h>
#include <string.h>

typedef struct Settings {
    bool help;
} Settings;

const SlSetting sl_completion_settings[] = {
    SL_SETTING(Settings, help, "help", SL_SETTING_BOOL, NULL, "print this"),
    { 0 },
};

/* "--addr --data", or the verbs. */
static char *
words_of(const SlSetting *settings)
{
    GString *words = g_string_new(NULL);

    for (; settings->name; settings++)
        g_string_append_printf(words, "%s--%s", words->len ? " " : "", settings->name);
    return g_string_free(words, FALSE);
}

static char *
verbs(void)
{
    GString *words = g_string_new(NULL);

    for (const SlCommand *command = sl_commands; command->name; command++)
        g_string_append_printf(words, "%s%s", words->len ? " " : "", command->name);
    return g_string_free(words, FALSE);
}

/* A setting's choices as words, after the flag itself. */
static void
print_bash_choices(void)
{
    for (const SlCommand *command = sl_commands; command->name; command++)
        for (const SlSetting *setting = command->settings; setting->name; setting++)
            if (setting->choices) {
                g_autofree char *choices = g_strdelimit(g_strdup(setting->choices), "|", ' ');

                printf("    %s:--%s) COMPREPLY=($(compgen -W '%s' -- \"$word\")); return ;;\n", command->name,
                       setting->name, choices);
            }
}

static void
print_bash(void)
{
    g_autofree char *all = verbs();

    printf("_sockerless() {\n"
           "    local word=${COMP_WORDS[COMP_CWORD]} verb=${COMP_WORDS[1]}\n"
           "    if [ \"$COMP_CWORD\" = 1 ]; then\n"
           "        COMPREPLY=($(compgen -W '%s' -- \"$word\"))\n"
           "        return\n"
           "    fi\n"
           "    case $verb:${COMP_WORDS[COMP_CWORD-1]} in\n",
           all);
    print_bash_choices();
    printf("    esac\n"
           "    case $verb in\n");
    for (const SlCommand *command = sl_commands; command->name; command++) {
        g_autofree char *words = words_of(command->settings);

        printf("    %s) COMPREPLY=($(compgen -W '%s%s' -- \"$word\")) ;;\n", command->name, words,
               strcmp(command->name, "completion") == 0 ? " bash zsh fish" : "");
    }
    printf("    esac\n"
           "    [ ${#COMPREPLY[@]} -gt 0 ] || COMPREPLY=($(compgen -f -- \"$word\"))\n"
           "}\n"
           "complete -F _sockerless sockerless\n");
}

/* Quotes and brackets would end zsh's word. */
static char *
plain(const char *text)
{
    return g_strdelimit(g_strdup(text), "'[]:", ' ');
}

static void
print_zsh(void)
{
    printf("#compdef sockerless\n"
           "_sockerless() {\n"
           "    local -a verbs\n"
           "    verbs=(");
    for (const SlCommand *command = sl_commands; command->name; command++) {
        g_autofree char *summary = plain(command->summary);

        printf(" '%s:%s'", command->name, summary);
    }
    printf(" )\n"
           "    if (( CURRENT == 2 )); then\n"
           "        _describe command verbs\n"
           "        return\n"
           "    fi\n"
           "    local verb=$words[2]\n"
           "    shift words; (( CURRENT-- ))\n"
           "    case $verb in\n");
    for (const SlCommand *command = sl_commands; command->name; command++) {
        printf("    %s) _arguments", command->name);
        for (const SlSetting *setting = command->settings; setting->name; setting++) {
            g_autofree char *help = plain(setting->help);
            g_autofree char *choices =
                setting->choices ? g_strdelimit(g_strdup(setting->choices), "|", ' ') : NULL;

            printf(" '*--%s[%s]", setting->name, help);
            if (setting->value_name)
                printf(":%s:%s%s%s", setting->value_name, choices ? "(" : "_files", choices ? choices : "",
                       choices ? ")" : "");
            printf("'");
        }
        printf("%s ;;\n", strcmp(command->name, "completion") == 0 ? " '1:shell:(bash zsh fish)'" : "");
    }
    printf("    esac\n"
           "}\n"
           "compdef _sockerless sockerless\n");
}

static void
print_fish(void)
{
    for (const SlCommand *command = sl_commands; command->name; command++) {
        g_autofree char *summary = plain(command->summary);

        printf("complete -c sockerless -f -n __fish_use_subcommand -a %s -d '%s'\n", command->name, summary);
        for (const SlSetting *setting = command->settings; setting->name; setting++) {
            g_autofree char *help = plain(setting->help);
            g_autofree char *choices =
                setting->choices ? g_strdelimit(g_strdup(setting->choices), "|", ' ') : NULL;

            printf("complete -c sockerless -n '__fish_seen_subcommand_from %s' -l %s -d '%s'%s",
                   command->name, setting->name, help, setting->value_name ? " -r" : "");
            if (choices)
                printf(" -f -a '%s'", choices);
            printf("\n");
        }
    }
    printf("complete -c sockerless -f -n '__fish_seen_subcommand_from completion' -a 'bash zsh fish'\n");
}

int
cmd_completion(char **argv)
{
    static const struct {
        const char *name;
        void (*print)(void);
    } shells[] = { { "bash", print_bash }, { "zsh", print_zsh }, { "fish", print_fish } };
    Settings settings = { 0 };
    g_auto(GStrv) rest = NULL;
    int status;

    if (!sl_cmd_read("completion", "completion bash|zsh|fish", sl_completion_settings, &settings,
                     &settings.help, argv, &rest, &status))
        return status;
    for (size_t i = 0; i < G_N_ELEMENTS(shells); i++)
        if (rest[0] && !rest[1] && strcmp(rest[0], shells[i].name) == 0) {
            shells[i].print();
            return 0;
        }
    fprintf(stderr, "sockerless completion: say one of bash, zsh, fish\n");
    return 2;
}
