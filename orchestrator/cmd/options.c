#include "cmd/options.h"

#include <getopt.h>
#include <string.h>

#include "cmd/cmd.h"

/* What getopt_long returns for a row of the table: no letter, so no mark of getopt's either. */
#define FIRST_ROW 256

static size_t to_getopt(const struct tg_cmd_option *options,
                        struct option out[TG_CMD_OPTIONS_MAX + 1])
{
    size_t n = 0;

    for (; n < TG_CMD_OPTIONS_MAX && options[n].name != NULL; n++) {
        out[n] =
            (struct option){.name = options[n].name,
                            .has_arg = options[n].text != NULL ? required_argument : no_argument,
                            .val = FIRST_ROW + (int)n};
    }
    out[n] = (struct option){0};
    return n;
}

static const char **config_of(const struct tg_cmd_option *options, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(options[i].name, "config") == 0) {
            return options[i].text;
        }
    }
    return NULL;
}

int tg_cmd_options(const char *command, int argc, char **argv, const struct tg_cmd_option *options,
                   int *rc)
{
    struct option known[TG_CMD_OPTIONS_MAX + 1];
    size_t n = to_getopt(options, known);
    const char **config = config_of(options, n);
    int c;

    tg_cmd_getopt_reset();
    while ((c = getopt_long(argc, argv, config != NULL ? ":c:" : ":", known, NULL)) != -1) {
        if (c == ':') {
            *rc = tg_cmd_usage_error(command, "`%s` takes a value", argv[optind - 1]);
            return -1;
        }
        if (c == 'c' && config != NULL) {
            *config = optarg;
        } else if (c < FIRST_ROW) {
            *rc = tg_cmd_usage_error(command, "`%s` is not understood", argv[optind - 1]);
            return -1;
        } else if (options[c - FIRST_ROW].text != NULL) {
            *options[c - FIRST_ROW].text = optarg;
        } else {
            *options[c - FIRST_ROW].flag = true;
        }
    }
    *rc = TG_EXIT_OK;
    return optind;
}

bool tg_cmd_no_more(const char *command, int argc, char **argv, int first, int *rc)
{
    if (first >= 0 && first < argc) {
        *rc = tg_cmd_usage_error(command, "`%s` is not understood", argv[first]);
    }
    return first == argc;
}
