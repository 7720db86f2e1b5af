/*
 * cmd.h: the subcommands of `tallygate` as one table; main.c picks from it, --help prints it, and
 * docs/reference/cli.md is checked against it.
 *
 * Each command reads its own arguments (options.h), writes what it found to standard output,
 * complaints to standard error, and ends with one line that says the result.
 *
 * Ownership: the table is static; a command gets argv with its own name in argv[0] and keeps
 * nothing after it returns.
 */
#ifndef TG_CMD_CMD_H
#define TG_CMD_CMD_H

#include "common/str.h"

#define TG_VERSION "0.1.0"

/* Exit codes of every command. */
enum tg_exit {
    TG_EXIT_OK = 0,     /* done, nothing found wrong */
    TG_EXIT_FAILED = 1, /* a finding, or it could not be done */
    TG_EXIT_USAGE = 2   /* the command line itself is wrong */
};

struct tg_command {
    const char *name;
    const char *summary; /* one line of --help */
    const char *usage;   /* lines after "usage: tallygate ", each ends with \n */
    int (*fn)(int argc, char **argv);
};

size_t tg_command_count(void);
const struct tg_command *tg_command_at(size_t i);
const struct tg_command *tg_command_find(const char *name); /* NULL: none */

/* "tallygate NAME: message" and the usage on standard error; returns TG_EXIT_USAGE. */
int tg_cmd_usage_error(const char *name, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* "tallygate NAME: message" on standard error; returns TG_EXIT_FAILED. */
int tg_cmd_failed(const char *name, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The usage on standard output (--help); returns TG_EXIT_OK. */
int tg_cmd_help(const char *name);

/* Sets getopt back to its start; for a command that reads its options itself. */
void tg_cmd_getopt_reset(void);

/* Who runs this command, as the audit chain names a person at a shell: "cli:USER". Static. */
const char *tg_cmd_actor(void);

/* The one configuration file used when -c is not given. */
#define TG_CONFIG_DEFAULT_PATH "conf/tallygate.yaml"

int tg_cmd_serve(int argc, char **argv);
int tg_cmd_check(int argc, char **argv);
int tg_cmd_token(int argc, char **argv);
int tg_cmd_exceptions(int argc, char **argv);
int tg_cmd_reconcile(int argc, char **argv);
int tg_cmd_kpis(int argc, char **argv);
int tg_cmd_replay(int argc, char **argv);
int tg_cmd_approvals(int argc, char **argv);
int tg_cmd_destinations(int argc, char **argv);
int tg_cmd_audit(int argc, char **argv);
int tg_cmd_rules(int argc, char **argv);
int tg_cmd_health(int argc, char **argv);
int tg_cmd_completion(int argc, char **argv);
int tg_cmd_alerts(int argc, char **argv);
int tg_cmd_events(int argc, char **argv);
int tg_cmd_backup(int argc, char **argv);
int tg_cmd_restore(int argc, char **argv);
int tg_cmd_migrate(int argc, char **argv);

#endif
