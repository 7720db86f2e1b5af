/*
 * options.h: the options of a command, read into where the command keeps them.
 *
 * Ownership: texts are argv's; nothing is kept.
 */
#ifndef TG_CMD_OPTIONS_H
#define TG_CMD_OPTIONS_H

#include <stdbool.h>

#define TG_CMD_OPTIONS_MAX 8 /* of one command; more is a mistake in its table */

struct tg_cmd_option {
    const char *name;  /* long, without --; "config" is -c as well */
    const char **text; /* takes a value; NULL: it takes none */
    bool *flag;        /* set when it is there; NULL: it takes a value */
};

/* argv[0] is the command or its verb. `options` ends with a row of zeros. The index of the first
 * argument that is no option, argc when there is none: argv is put in that order. Below 0: it has
 * been said what is wrong, and *rc is the exit code. */
int tg_cmd_options(const char *command, int argc, char **argv, const struct tg_cmd_option *options,
                   int *rc);

/* Whether the command is to go on: `first` (of tg_cmd_options, or later) is argc. Where argv has
 * more that has been said and *rc is the exit code; below 0 it was before. */
bool tg_cmd_no_more(const char *command, int argc, char **argv, int first, int *rc);

#endif
