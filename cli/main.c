#include <stdio.h>
#include <string.h>

#include "cli/cmd.h"
#include "common/json_fields.h"

const SlCommand sl_commands[] = {
    { "serve", "run the daemon: a Docker Engine API and a backend below it", sl_serve_settings, cmd_serve },
    { "status", "ask a running daemon how it is", sl_status_settings, cmd_status },
    { "version", "print the version", sl_version_settings, cmd_version },
    { "completion", "print completions for bash, zsh or fish", sl_completion_settings, cmd_completion },
    { 0 },
};

static void
print_usage(FILE *file)
{
    fputs("Usage: sockerless COMMAND [OPTION]…\n\n"
          "Docker containers on serverless capacity.\n\nCommands:\n",
          file);
    for (const SlCommand *command = sl_commands; command->name; command++)
        fprintf(file, "  %-12s%s\n", command->name, command->summary);
    fputs("\n`sockerless COMMAND --help` tells more.\n", file);
}

int
main(int argc, char **argv)
{
    const char *verb = argc > 1 ? argv[1] : "";

    sl_json_setup();
    if (strcmp(verb, "--help") == 0 || strcmp(verb, "-h") == 0 || strcmp(verb, "help") == 0) {
        print_usage(stdout);
        return 0;
    }
    if (strcmp(verb, "--version") == 0)
        return cmd_version(argv + 1);
    for (const SlCommand *command = sl_commands; command->name; command++)
        if (strcmp(command->name, verb) == 0)
            return command->run(argv + 1);
    if (*verb)
        fprintf(stderr, "sockerless: there is no command \"%s\"\n\n", verb);
    print_usage(stderr);
    return 2;
}
