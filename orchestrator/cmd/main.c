#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "cmd/cmd.h"

static void print_help(FILE *out)
{
    fprintf(out, "usage: tallygate COMMAND [arguments]\n\ncommands:\n");
    for (size_t i = 0; i < tg_command_count(); i++) {
        const struct tg_command *command = tg_command_at(i);

        fprintf(out, "  %-12s %s\n", command->name, command->summary);
    }
    fprintf(out, "\n  --help       this text; `tallygate COMMAND --help` for one command\n"
                 "  --version    the version\n"
                 "\nexit status: 0 done, 1 a finding or a failure, 2 the command line is wrong\n");
}

static int unknown_command(const char *name)
{
    fprintf(stderr, "tallygate: there is no command `%s`; accepted:", name);
    for (size_t i = 0; i < tg_command_count(); i++) {
        fprintf(stderr, "%s %s", i > 0 ? "," : "", tg_command_at(i)->name);
    }
    fprintf(stderr, "\n");
    return TG_EXIT_USAGE;
}

/* What was printed may be all a caller sees: a full disk or a closed pipe is a failure. */
static int finish(const char *name, int status)
{
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "tallygate %s: cannot write to standard output\n", name);
        return status == TG_EXIT_OK ? TG_EXIT_FAILED : status;
    }
    return status;
}

/* Anywhere, for every command and verb. */
static bool wants_help(int argc, char **argv)
{
    for (int i = 2; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            return true;
        }
    }
    return false;
}

int main(int argc, char **argv)
{
    const struct tg_command *command;

    /* A reader that leaves (`| head`) is a failed write, not the end of a journal writer. */
    if (signal(SIGPIPE, SIG_IGN) == SIG_ERR) {
        perror("tallygate: SIGPIPE");
        return TG_EXIT_FAILED;
    }
    if (argc < 2) {
        print_help(stderr);
        return TG_EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0) {
        print_help(stdout);
        return TG_EXIT_OK;
    }
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
        printf("tallygate %s\n", TG_VERSION);
        return TG_EXIT_OK;
    }
    command = tg_command_find(argv[1]);
    if (command == NULL) {
        return unknown_command(argv[1]);
    }
    return finish(command->name, wants_help(argc, argv) ? tg_cmd_help(command->name)
                                                        : command->fn(argc - 1, argv + 1));
}
