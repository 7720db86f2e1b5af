/*
 * usage.h: the usage texts of the command table read as data. They are the one place that says
 * which options a command takes; --help prints them, completion and the man page follow from them.
 *
 * A text has a form a line (continuation lines begin with blanks): words of the command, options
 * (--NAME or -c, in brackets or not, with the name of their value if they take one), then the names
 * of operands in capitals. A value of words with | between them is one of those words.
 *
 * Ownership: a form points into the table and into its own text.
 */
#ifndef TG_CMD_USAGE_H
#define TG_CMD_USAGE_H

#include "cmd/cmd.h"

#define TG_USAGE_OPTIONS_MAX 32
#define TG_USAGE_TEXT_BYTES 1024

struct tg_usage_option {
    const char *name;  /* "--tenant" */
    const char *value; /* "TENANT"; NULL: it takes none */
};

struct tg_usage_form {
    const char *verb; /* "show" of `exceptions show`; "": the command has none */
    struct tg_usage_option options[TG_USAGE_OPTIONS_MAX];
    size_t option_count;
    const char *operand; /* "ID"; NULL: none */
    char text[TG_USAGE_TEXT_BYTES];
};

/* Form number i of a command. False: there are no more, or (*broken) it cannot be read. */
bool tg_usage_form(const struct tg_command *command, size_t i, struct tg_usage_form *out,
                   bool *broken);

/* The value is one of words with | between them. */
bool tg_usage_is_choice(const char *value);
/* The value is a file or directory. */
bool tg_usage_is_path(const char *value);

#endif
