#include "cmd/usage.h"

#include <ctype.h>
#include <string.h>

/* One form: its first line and the continuation lines, as one line. Where the next begins. */
static const char *form_text(const char *at, char out[TG_USAGE_TEXT_BYTES], bool *broken)
{
    size_t used = 0;
    bool first = true;

    while (*at != '\0' && (first || *at == ' ')) {
        size_t len = strcspn(at, "\n");

        if (used + len + 2 > TG_USAGE_TEXT_BYTES) {
            *broken = true;
            return at;
        }
        memcpy(out + used, at, len);
        used += len;
        out[used++] = ' ';
        at += len + (at[len] == '\n' ? 1 : 0);
        first = false;
    }
    out[used] = '\0';
    return at;
}

/* Cuts the next word; quotes keep blanks. NULL at the end. */
static char *next_word(char **at)
{
    char *word = *at + strspn(*at, " ");
    char *end = word;
    bool quoted = false;

    if (*word == '\0') {
        return NULL;
    }
    while (*end != '\0' && (quoted || *end != ' ')) {
        quoted = *end == '"' ? !quoted : quoted;
        end++;
    }
    *at = *end != '\0' ? end + 1 : end;
    *end = '\0';
    return word;
}

/* Takes [ and ] and ... off; *closed: a bracket ended here. */
static char *bare(char *word, bool *closed)
{
    size_t len;

    *closed = false;
    while (*word == '[') {
        word++;
    }
    len = strlen(word);
    while (len > 0 && (word[len - 1] == ']' || word[len - 1] == '.')) {
        *closed = *closed || word[len - 1] == ']';
        word[--len] = '\0';
    }
    return word;
}

static bool is_operand(const char *word)
{
    return isupper((unsigned char)word[0]) != 0;
}

static bool add_option(struct tg_usage_form *f, const char *name)
{
    if (f->option_count == TG_USAGE_OPTIONS_MAX) {
        return false;
    }
    f->options[f->option_count++] = (struct tg_usage_option){name, NULL};
    return true;
}

/* The words behind the command's name. False: the text is not of the form usage.h describes. */
static bool read_words(struct tg_usage_form *f, char *at)
{
    struct tg_usage_option *open = NULL; /* its value may come */
    char *word;
    bool closed;

    f->verb = "";
    while ((word = next_word(&at)) != NULL) {
        word = bare(word, &closed);
        if (strcmp(word, "|") == 0) {
            open = NULL;
        } else if (word[0] == '-') {
            if (!add_option(f, word)) {
                return false;
            }
            open = closed ? NULL : &f->options[f->option_count - 1];
        } else if (open != NULL) {
            open->value = word;
            open = NULL;
        } else if (is_operand(word) && f->operand == NULL) {
            f->operand = word;
        } else if (f->option_count == 0 && f->verb[0] == '\0') {
            f->verb = word;
        } else {
            return false;
        }
    }
    return true;
}

bool tg_usage_form(const struct tg_command *command, size_t i, struct tg_usage_form *out,
                   bool *broken)
{
    const char *at = command->usage;
    char *words;

    memset(out, 0, sizeof(*out));
    *broken = false;
    for (size_t k = 0; k < i && *at != '\0' && !*broken; k++) {
        at = form_text(at, out->text, broken);
    }
    if (*at == '\0' || *broken) {
        return false;
    }
    (void)form_text(at, out->text, broken);
    words = out->text;
    if (!*broken) {
        const char *name = next_word(&words);

        *broken = name == NULL || strcmp(name, command->name) != 0 || !read_words(out, words);
    }
    return !*broken;
}

bool tg_usage_is_choice(const char *value)
{
    if (strchr(value, '|') == NULL) {
        return false;
    }
    for (; *value != '\0'; value++) {
        if (!isalnum((unsigned char)*value) && strchr("|_-", *value) == NULL) {
            return false;
        }
    }
    return true;
}

bool tg_usage_is_path(const char *value)
{
    return strcmp(value, "FILE") == 0 || strcmp(value, "PATH") == 0 || strcmp(value, "DIR") == 0;
}
