/*
 * exceptions_verbs.h: `tallygate exceptions assign|replay|resolve|discard|edit`: what a person does
 * about one, by the running process.
 */
#ifndef TG_CMD_EXCEPTIONS_VERBS_H
#define TG_CMD_EXCEPTIONS_VERBS_H

#include <stdbool.h>

/* Is this one of them? */
bool tg_cmd_exceptions_is_verb(const char *word);
/* argv[0] is the verb. An exit code. */
int tg_cmd_exceptions_verb(int argc, char **argv);

#endif
