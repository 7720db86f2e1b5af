/*
 * exceptions.c: `tallygate exceptions list|show`: open items that need a person, read from the
 * journal beside a running `serve`; nothing is changed. The verbs are exceptions_verbs.c's.
 */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/rows.h"
#include "cmd/cmd.h"
#include "cmd/config.h"
#include "cmd/exceptions_verbs.h"
#include "cmd/options.h"
#include "cmd/out.h"
#include "common/codec.h"
#include "journal/journal.h"
#include "master/catalogue.h"

#define COMMAND "exceptions"
#define STATE_OPEN_AND_ASSIGNED (-1)

struct options {
    const char *config, *tenant;
    int state;
    bool json;
    int64_t id; /* show */
};

struct view {
    const struct tg_catalogue *catalogue;
    const struct options *options;
    json_t *rows; /* with --json */
    size_t count;
    int64_t last;
    bool failed;
};

static void time_text(int64_t ms, char out[TG_RFC3339_BYTES])
{
    if (ms <= 0 || tg_rfc3339_format(ms, out, TG_RFC3339_BYTES) != 0) {
        memcpy(out, "-", 2);
    }
}

/* ---- list ---- */

static bool on_row(void *arg, const struct tg_row_exception *row)
{
    struct view *v = arg;
    char opened[TG_RFC3339_BYTES];

    v->last = row->id;
    v->count++;
    if (v->rows != NULL) {
        v->failed = json_array_append_new(v->rows, tg_exception_json(v->catalogue, row)) != 0;
        return !v->failed;
    }
    if (v->count == 1) {
        printf("%-8s %-24s %-12s %-24s %-12s %-9s %-12s %s\n", "ID", "OPENED", "TENANT", "CODE",
               "OWNER", "STATE", "ASSIGNEE", "SUBJECT");
    }
    time_text(row->opened_ms, opened);
    printf("%-8" PRId64 " %-24s %-12s %-24s %-12s %-9s %-12s %s\n", row->id, opened, row->tenant,
           row->code, row->owner, tg_exception_state_name(row->state),
           row->assignee[0] != '\0' ? row->assignee : "-", row->subject);
    return true;
}

/* Page after page: the journal hands out at most TG_JOURNAL_PAGE_MAX rows at once. */
static int read_pages(struct tg_reader *r, struct view *v, struct tg_error *err)
{
    const struct options *o = v->options;
    size_t before;

    do {
        before = v->count;
        if (tg_reader_exceptions(r, o->tenant, o->state, v->last, TG_JOURNAL_PAGE_MAX, on_row, v,
                                 err) < 0) {
            return -1;
        }
        if (v->failed) {
            return tg_error_set(err, "out of memory");
        }
    } while (v->count - before == TG_JOURNAL_PAGE_MAX);
    return 0;
}

/* The result line; with --json on standard error, so that standard output is JSON alone. */
static void print_count(const struct options *o, size_t count)
{
    fprintf(tg_out_last(o->json), "exceptions: %zu %s\n", count,
            o->state == STATE_OPEN_AND_ASSIGNED
                ? "open"
                : tg_exception_state_name((enum tg_exception_state)o->state));
}

static int list(struct tg_reader *r, struct view *v, struct tg_error *err)
{
    json_t *all = NULL;
    int rc;

    if (v->options->json) {
        v->rows = json_array();
        all = json_pack("{s:o}", "exceptions", v->rows);
        if (all == NULL) {
            return tg_error_set(err, "out of memory");
        }
    }
    rc = read_pages(r, v, err);
    if (rc == 0 && all != NULL) {
        rc = tg_out_borrowed(COMMAND, all) == TG_EXIT_OK ? 0 : tg_error_set(err, "out of memory");
    }
    json_decref(all);
    if (rc == 0) {
        print_count(v->options, v->count);
    }
    return rc;
}

/* ---- show ---- */

static bool on_one(void *arg, const struct tg_row_exception *row)
{
    struct view *v = arg;
    const char *tenant = v->options->tenant;

    if (tenant == NULL || strcmp(tenant, row->tenant) == 0) {
        v->rows = tg_exception_json(v->catalogue, row);
        v->failed = v->rows == NULL;
        v->count = 1;
    }
    return false;
}

static void print_one(const json_t *row)
{
    static const char *const names[] = {
        "tenant",   "subject",   "code",      "title",     "owner",   "runbook", "state",
        "assignee", "opened_at", "closed_at", "closed_by", "outcome", "reason"};
    char *detail = json_dumps(json_object_get(row, "detail"), JSON_INDENT(2) | JSON_ENCODE_ANY);

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const char *value = json_string_value(json_object_get(row, names[i]));

        printf("%-10s %s\n", names[i], value != NULL ? value : "-");
    }
    printf("%-10s %s\n", "detail", detail != NULL ? detail : "-");
    free(detail);
}

static int show(struct tg_reader *r, struct view *v, struct tg_error *err)
{
    const struct options *o = v->options;
    int rc = tg_reader_exception(r, o->id, on_one, v, err);

    if (rc < 0) {
        return -1;
    }
    if (v->failed) {
        return tg_error_set(err, "out of memory");
    }
    if (v->count == 0) {
        return tg_error_set(err, "there is no exception %" PRId64 "%s%s", o->id,
                            o->tenant != NULL ? " of tenant " : "",
                            o->tenant != NULL ? o->tenant : "");
    }
    if (o->json) {
        rc = tg_out_borrowed(COMMAND, v->rows) == TG_EXIT_OK ? 0
                                                             : tg_error_set(err, "out of memory");
    } else {
        print_one(v->rows);
    }
    if (rc == 0) {
        fprintf(tg_out_last(o->json), "exceptions: %" PRId64 " is %s\n", o->id,
                json_string_value(json_object_get(v->rows, "state")));
    }
    json_decref(v->rows);
    return rc == 0 ? 0 : -1;
}

/* ---- arguments ---- */

static int parse_state(const char *text, int *out)
{
    for (int s = TG_EXCEPTION_OPEN; s <= (int)TG_EXCEPTION_RESOLVED; s++) {
        if (strcmp(text, tg_exception_state_name((enum tg_exception_state)s)) == 0) {
            *out = s;
            return TG_EXIT_OK;
        }
    }
    return tg_cmd_usage_error(
        COMMAND,
        "state `%s`; accepted: open, assigned, replayed, edited, discarded, auto_closed, resolved",
        text);
}

/* Whether to go on; if not, *rc is the exit code. */
static bool parse(int argc, char **argv, bool is_show, struct options *o, int *rc)
{
    const char *state = NULL;
    const struct tg_cmd_option options[] = {{"config", &o->config, NULL},
                                            {"tenant", &o->tenant, NULL},
                                            {"state", &state, NULL},
                                            {"json", NULL, &o->json},
                                            {0}};
    int first = tg_cmd_options(COMMAND, argc, argv, options, rc);

    if (first < 0) {
        return false;
    }
    if (state != NULL) {
        *rc = parse_state(state, &o->state);
        if (*rc != TG_EXIT_OK) {
            return false;
        }
    }
    if (is_show) {
        if (first >= argc || !tg_str_to_i64(tg_str_of(argv[first]), &o->id)) {
            *rc = tg_cmd_usage_error(COMMAND, "show takes one ID, the number of `list`");
            return false;
        }
        first++;
    }
    return tg_cmd_no_more(COMMAND, argc, argv, first, rc);
}

static int run(const struct options *o, bool is_show)
{
    struct tg_error err = {""};
    struct tg_config *config = tg_config_load(o->config, &err);
    struct tg_catalogue *catalogue =
        config != NULL ? tg_catalogue_load(config->catalogue, &err) : NULL;
    struct tg_reader *r = catalogue != NULL ? tg_reader_open(config->journal.path, &err) : NULL;
    struct view v = {.catalogue = catalogue, .options = o};
    int rc = -1;

    if (r != NULL) {
        rc = is_show ? show(r, &v, &err) : list(r, &v, &err);
        tg_reader_close(r);
    }
    if (catalogue != NULL) {
        tg_catalogue_free(catalogue);
    }
    tg_config_free(config);
    return rc == 0 ? TG_EXIT_OK : tg_cmd_failed(COMMAND, "%s", err.text);
}

int tg_cmd_exceptions(int argc, char **argv)
{
    struct options o = {.config = TG_CONFIG_DEFAULT_PATH, .state = STATE_OPEN_AND_ASSIGNED};
    bool is_show;
    int rc;

    if (argc < 2) {
        return tg_cmd_usage_error(
            COMMAND, "say `list`, `show`, `assign`, `replay`, `resolve`, `discard` or `edit`");
    }
    if (tg_cmd_exceptions_is_verb(argv[1])) {
        return tg_cmd_exceptions_verb(argc - 1, argv + 1);
    }
    is_show = strcmp(argv[1], "show") == 0;
    if (!is_show && strcmp(argv[1], "list") != 0) {
        return tg_cmd_usage_error(
            COMMAND,
            "there is no `%s`; accepted: list, show, assign, replay, resolve, discard, edit",
            argv[1]);
    }
    return parse(argc - 1, argv + 1, is_show, &o, &rc) ? run(&o, is_show) : rc;
}
