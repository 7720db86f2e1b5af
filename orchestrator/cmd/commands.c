#include <getopt.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cmd/cmd.h"

static const struct tg_command commands[] = {
    {"serve", "run the orchestrator: stream to journal to destinations, and the API",
     "serve [-c FILE]\n", tg_cmd_serve},
    {"check", "check configuration, rules, schemas, catalogue and master data",
     "check [-c FILE] [--journal] [--json]\n"
     "check --keys [--json]\n",
     tg_cmd_check},
    {"token", "make keys and tokens for demos and tests",
     "token keys --out DIR [--name NAME] [--alg RS256|ES256|EdDSA] [--kid ID] [--force]\n"
     "token sign --key FILE --iss URL --aud AUD --sub SUBJECT [--kid ID] [--alg ALG]\n"
     "           [--client ID] [--tenant TENANT] [--scope \"A B\"] [--ttl SECONDS]\n"
     "           [--typ TYPE] [--claim NAME=VALUE]...\n",
     tg_cmd_token},
    {"events", "show the whole story of one entry, from the webhook to the destination",
     "events show [-c FILE] [--tenant TENANT] [--json] ID\n"
     "events show --object KIND/ID [-c FILE] [--tenant TENANT] [--source SOURCE] [--json]\n",
     tg_cmd_events},
    {"exceptions", "list and show open items that need a person, and do something about them",
     "exceptions list [-c FILE] [--tenant TENANT] [--json]\n"
     "           [--state open|assigned|replayed|edited|discarded|auto_closed|resolved]\n"
     "exceptions show [-c FILE] [--tenant TENANT] [--json] ID\n"
     "exceptions assign [-c FILE] [--tenant TENANT] [--reason TEXT] [--json] --to NAME ID\n"
     "exceptions replay [-c FILE] [--tenant TENANT] [--reason TEXT] [--json] ID\n"
     "exceptions resolve [-c FILE] [--tenant TENANT] [--reason TEXT] [--json]\n"
     "           --outcome posted|absent [--reference REF] ID\n"
     "exceptions discard [-c FILE] [--tenant TENANT] [--json] --reason TEXT ID\n"
     "exceptions edit [-c FILE] [--tenant TENANT] [--reason TEXT] [--json] [--file FILE]\n"
     "           [--period PERIOD] ID\n",
     tg_cmd_exceptions},
    {"replay", "replay open exceptions together, after a look at which they are",
     "replay --filter NAME=VALUE,... [-c FILE] [--tenant TENANT] [--reason TEXT] [--dry-run]\n"
     "       [--json]\n"
     "replay --status ID [-c FILE] [--tenant TENANT] [--json]\n",
     tg_cmd_replay},
    {"approvals", "what waits for a second person, and that person's word",
     "approvals list [-c FILE] [--tenant TENANT] [--json]\n"
     "approvals approve [-c FILE] [--tenant TENANT] [--reason TEXT] [--json] ID\n"
     "approvals refuse [-c FILE] [--tenant TENANT] [--reason TEXT] [--json] ID\n",
     tg_cmd_approvals},
    {"destinations", "what the running process says of its destinations; hold or release one",
     "destinations list [-c FILE] [--tenant TENANT] [--json]\n"
     "destinations pause [-c FILE] [--tenant TENANT] [--reason TEXT] [--json] NAME\n"
     "destinations resume [-c FILE] [--tenant TENANT] [--reason TEXT] [--json] NAME\n",
     tg_cmd_destinations},
    {"alerts", "send a test notice to those who are told when something is wrong",
     "alerts test [-c FILE] [--json]\n", tg_cmd_alerts},
    {"audit", "verify the audit chain, write a signed checkpoint",
     "audit verify [-c FILE] [--public-key FILE] [--json]\n"
     "audit checkpoint [-c FILE]\n",
     tg_cmd_audit},
    {"reconcile", "control totals against the sum of the postings they are made of",
     "reconcile [-c FILE] [--tenant TENANT] [--destination NAME] [--period PERIOD] [--json]\n",
     tg_cmd_reconcile},
    {"kpis", "figures of a time: how long, how much, how often wrong",
     "kpis [-c FILE] [--tenant TENANT] [--from TIME] [--to TIME] [--json]\n", tg_cmd_kpis},
    {"backup", "copy the journal while it is in use, and verify the copy",
     "backup --to PATH [-c FILE] [--json]\n", tg_cmd_backup},
    {"restore", "put a backup in the journal's place",
     "restore --from PATH [-c FILE] [--replace] [--redis-too] [--accept-findings]\n"
     "        [--public-key FILE] [--json]\n",
     tg_cmd_restore},
    {"migrate", "bring the journal's schema up to date, a backup first",
     "migrate [-c FILE] [--dry-run] [--backup PATH] [--json]\n", tg_cmd_migrate},
    {"rules", "run the fixtures of the rule bundle", "rules test [-c FILE] [--json] [PATH]\n",
     tg_cmd_rules},
    {"health", "ask a process of this machine whether it is well",
     "health [-c FILE | --at unix:PATH|ADDRESS:PORT] [--path PATH] [--timeout SECONDS]\n"
     "       [--json]\n",
     tg_cmd_health},
    {"completion", "print a script that completes commands and options in a shell",
     "completion bash\n"
     "completion zsh\n",
     tg_cmd_completion},
};

size_t tg_command_count(void)
{
    return sizeof(commands) / sizeof(commands[0]);
}

const struct tg_command *tg_command_at(size_t i)
{
    return i < tg_command_count() ? &commands[i] : NULL;
}

const struct tg_command *tg_command_find(const char *name)
{
    for (size_t i = 0; i < tg_command_count(); i++) {
        if (strcmp(commands[i].name, name) == 0) {
            return &commands[i];
        }
    }
    return NULL;
}

/* The usage text holds several lines; each gets the same lead, continuation lines keep theirs. */
static void print_usage(FILE *out, const char *name)
{
    const struct tg_command *command = tg_command_find(name);
    const char *line = command != NULL ? command->usage : "";
    const char *lead = "usage: tallygate ";

    while (*line != '\0') {
        size_t len = strcspn(line, "\n");

        fprintf(out, "%s%.*s\n", *line == ' ' ? "                 " : lead, (int)len, line);
        line += len + (line[len] == '\n' ? 1 : 0);
        lead = "       tallygate ";
    }
}

int tg_cmd_usage_error(const char *name, const char *fmt, ...)
{
    va_list args;

    fprintf(stderr, "tallygate %s: ", name);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fprintf(stderr, "\n");
    print_usage(stderr, name);
    return TG_EXIT_USAGE;
}

int tg_cmd_failed(const char *name, const char *fmt, ...)
{
    va_list args;

    fprintf(stderr, "tallygate %s: ", name);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fprintf(stderr, "\n");
    return TG_EXIT_FAILED;
}

int tg_cmd_help(const char *name)
{
    const struct tg_command *command = tg_command_find(name);

    print_usage(stdout, name);
    if (command != NULL) {
        printf("\n%s\n", command->summary);
    }
    printf("-c FILE: the configuration, default %s. Details: docs/reference/cli.md\n",
           TG_CONFIG_DEFAULT_PATH);
    return TG_EXIT_OK;
}

const char *tg_cmd_actor(void)
{
    static char actor[TG_CLIENT_MAX_BYTES + 1];
    const struct passwd *user = getpwuid(geteuid());

    /* A name of odd bytes, or none: the number says as much. */
    if (user != NULL && tg_str_is_name(tg_str_of(user->pw_name), TG_CLIENT_MAX_BYTES - 8)) {
        (void)snprintf(actor, sizeof(actor), "cli:%s", user->pw_name);
    } else {
        (void)snprintf(actor, sizeof(actor), "cli:%lu", (unsigned long)geteuid());
    }
    return actor;
}

void tg_cmd_getopt_reset(void)
{
    optind = 0; /* glibc: 0 also forgets the place inside a word */
    opterr = 0; /* the commands say it themselves */
}
