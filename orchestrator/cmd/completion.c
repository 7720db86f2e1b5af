/*
 * completion.c: `tallygate completion bash|zsh`: a script for the shell, written from the usage
 * texts, so that it knows what the binary knows.
 */
#include <stdio.h>
#include <string.h>

#include "cmd/cmd.h"
#include "cmd/usage.h"

#define COMMAND "completion"

/* Every form of every command, in order. False: a usage text cannot be read. */
typedef void (*form_fn)(FILE *out, const struct tg_command *c, const struct tg_usage_form *f);

static bool each_form(FILE *out, form_fn fn)
{
    struct tg_usage_form f;
    bool broken = false;

    for (size_t i = 0; i < tg_command_count(); i++) {
        const struct tg_command *c = tg_command_at(i);

        for (size_t k = 0; tg_usage_form(c, k, &f, &broken); k++) {
            fn(out, c, &f);
        }
        if (broken) {
            return false;
        }
    }
    return true;
}

static bool takes_config(const struct tg_usage_form *f)
{
    for (size_t i = 0; i < f->option_count; i++) {
        if (strcmp(f->options[i].name, "-c") == 0) {
            return true;
        }
    }
    return false;
}

static void put_words(FILE *out, const char *choice)
{
    for (; *choice != '\0'; choice++) {
        (void)fputc(*choice == '|' ? ' ' : *choice, out);
    }
}

/* ---- bash ---- */

static const char bash_head[] =
    "# bash completion for tallygate, made by `tallygate completion bash`\n"
    "_tallygate() {\n"
    "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n"
    "    local command=${COMP_WORDS[1]} verb=${COMP_WORDS[2]} words= operand=\n"
    "    COMPREPLY=()\n"
    "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
    "        COMPREPLY=($(compgen -W \"$_tallygate_commands --help --version\" -- \"$cur\"))\n"
    "        return\n"
    "    fi\n"
    "    case \"$command $prev\" in\n";

static const char bash_middle[] = "    esac\n"
                                  "    if [ -n \"$words\" ]; then\n"
                                  "        COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
                                  "        return\n"
                                  "    fi\n"
                                  "    case \"$command $verb\" in\n";

static const char bash_tail[] =
    "    esac\n"
    "    case \"$cur\" in\n"
    "    -*) COMPREPLY=($(compgen -W \"$words --help\" -- \"$cur\")) ;;\n"
    "    *)\n"
    "        if [ \"$COMP_CWORD\" -eq 2 ]; then\n"
    "            case \"$command\" in\n";

static void bash_value(FILE *out, const struct tg_command *c, const struct tg_usage_form *f)
{
    for (size_t i = 0; i < f->option_count; i++) {
        const struct tg_usage_option *o = &f->options[i];

        if (o->value == NULL) {
            continue;
        }
        fprintf(out, "    '%s %s'%s%s%s) ", c->name, o->name,
                strcmp(o->name, "-c") == 0 ? "|'" : "", strcmp(o->name, "-c") == 0 ? c->name : "",
                strcmp(o->name, "-c") == 0 ? " --config'" : "");
        if (tg_usage_is_choice(o->value)) {
            fprintf(out, "words='");
            put_words(out, o->value);
            fprintf(out, "' ;;\n");
        } else if (tg_usage_is_path(o->value)) {
            fprintf(out, "COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n");
        } else {
            fprintf(out, "return ;;\n");
        }
    }
}

static void bash_options(FILE *out, const struct tg_command *c, const struct tg_usage_form *f)
{
    fprintf(out, "    '%s '%s) words+=\"", c->name, f->verb[0] != '\0' ? f->verb : "*");
    for (size_t i = 0; i < f->option_count; i++) {
        fprintf(out, " %s", f->options[i].name);
    }
    fprintf(out, "%s\"%s ;;&\n", takes_config(f) ? " --config" : "",
            f->operand != NULL && tg_usage_is_path(f->operand) ? " operand=file" : "");
}

static void put_verbs(FILE *out, const struct tg_command *c, const char *lead, const char *tail)
{
    struct tg_usage_form f;
    char last[TG_SOURCE_NAME_MAX_BYTES] = "";
    bool broken = false, any = false;

    for (size_t k = 0; tg_usage_form(c, k, &f, &broken); k++) {
        if (f.verb[0] != '\0' && strcmp(f.verb, last) != 0) {
            fprintf(out, "%s%s", any ? " " : lead, f.verb);
            (void)snprintf(last, sizeof(last), "%s", f.verb);
            any = true;
        }
    }
    if (any) {
        fprintf(out, "%s", tail);
    }
}

static int print_bash(FILE *out)
{
    char lead[64];

    fprintf(out, "_tallygate_commands='");
    for (size_t i = 0; i < tg_command_count(); i++) {
        fprintf(out, "%s%s", i > 0 ? " " : "", tg_command_at(i)->name);
    }
    fprintf(out, "'\n%s", bash_head);
    if (!each_form(out, bash_value)) {
        return -1;
    }
    fprintf(out, "%s", bash_middle);
    if (!each_form(out, bash_options)) {
        return -1;
    }
    fprintf(out, "%s", bash_tail);
    for (size_t i = 0; i < tg_command_count(); i++) {
        (void)snprintf(lead, sizeof(lead), "            '%s') words='", tg_command_at(i)->name);
        put_verbs(out, tg_command_at(i), lead, "' ;;\n");
    }
    fprintf(out, "            *) words= ;;\n            esac\n"
                 "            COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
                 "        fi\n"
                 "        if [ -z \"${COMPREPLY[*]}\" ] && [ \"$operand\" = file ]; then\n"
                 "            COMPREPLY=($(compgen -f -- \"$cur\"))\n"
                 "        fi ;;\n"
                 "    esac\n}\ncomplete -o filenames -F _tallygate tallygate\n");
    return 0;
}

/* ---- zsh ---- */

static void zsh_option(FILE *out, const struct tg_usage_option *o)
{
    fprintf(out, " '%s", o->name);
    if (o->value != NULL) {
        fprintf(out, ":%s:", tg_usage_is_choice(o->value) ? "word" : o->value);
        if (tg_usage_is_choice(o->value)) {
            fprintf(out, "(");
            put_words(out, o->value);
            fprintf(out, ")");
        } else if (tg_usage_is_path(o->value)) {
            fprintf(out, "_files");
        } else {
            fprintf(out, " ");
        }
    }
    fprintf(out, "'");
}

static void zsh_form(FILE *out, const struct tg_command *c, const struct tg_usage_form *f)
{
    fprintf(out, "  '%s%s%s') specs+=(", c->name, f->verb[0] != '\0' ? " " : "", f->verb);
    for (size_t i = 0; i < f->option_count; i++) {
        zsh_option(out, &f->options[i]);
        if (strcmp(f->options[i].name, "-c") == 0) {
            fprintf(out, " '--config:FILE:_files'");
        }
    }
    if (f->operand != NULL) {
        fprintf(out, " '*:%s:%s'", f->operand, tg_usage_is_path(f->operand) ? "_files" : " ");
    }
    fprintf(out, " ) ;|\n");
}

static int print_zsh(FILE *out)
{
    char lead[64];

    fprintf(out, "#compdef tallygate\n# zsh completion, made by `tallygate completion zsh`\n"
                 "_tallygate() {\n  local -a commands verbs specs\n  commands=(\n");
    for (size_t i = 0; i < tg_command_count(); i++) {
        const struct tg_command *c = tg_command_at(i);

        fprintf(out, "    '%s:", c->name);
        for (const char *s = c->summary; *s != '\0'; s++) {
            fprintf(out, *s == '\'' ? "'\\''" : "%c", *s);
        }
        fprintf(out, "'\n");
    }
    fprintf(out, "  )\n  if (( CURRENT == 2 )); then\n    _describe command commands\n    return\n"
                 "  fi\n  local key=$words[2] drop=1\n  case $words[2] in\n");
    for (size_t i = 0; i < tg_command_count(); i++) {
        (void)snprintf(lead, sizeof(lead), "  '%s') verbs=(", tg_command_at(i)->name);
        put_verbs(out, tg_command_at(i), lead, ") ;;\n");
    }
    fprintf(out, "  esac\n  if (( $#verbs )); then\n    if (( CURRENT == 3 )); then\n"
                 "      compadd -a verbs\n      return\n    fi\n"
                 "    key=\"$words[2] $words[3]\" drop=2\n  fi\n  specs=('--help')\n"
                 "  case $key in\n");
    if (!each_form(out, zsh_form)) {
        return -1;
    }
    fprintf(out, "  esac\n  shift $drop words\n  (( CURRENT -= drop ))\n"
                 "  _arguments -A '-*' ${(u)specs}\n}\n"
                 "if [[ $funcstack[1] == _tallygate ]]; then\n  _tallygate \"$@\"\nelse\n"
                 "  compdef _tallygate tallygate\nfi\n");
    return 0;
}

int tg_cmd_completion(int argc, char **argv)
{
    int rc;

    if (argc != 2) {
        return tg_cmd_usage_error(COMMAND, "say `bash` or `zsh`");
    }
    if (strcmp(argv[1], "bash") == 0) {
        rc = print_bash(stdout);
    } else if (strcmp(argv[1], "zsh") == 0) {
        rc = print_zsh(stdout);
    } else {
        return tg_cmd_usage_error(COMMAND, "there is no `%s`; accepted: bash, zsh", argv[1]);
    }
    return rc == 0 ? TG_EXIT_OK : tg_cmd_failed(COMMAND, "a usage text cannot be read: a bug");
}
