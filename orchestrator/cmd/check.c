/*
 * check.c: `tallygate check`: would `serve` start with these files, and does the journal hold what
 * it must? Everything is looked at, also after a finding, so that one run names them all.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cmd/agree.h"
#include "cmd/cmd.h"
#include "cmd/config.h"
#include "cmd/options.h"
#include "cmd/out.h"
#include "cmd/probe.h"
#include "journal/journal.h"
#include "master/catalogue.h"
#include "rules/rules.h"
#include "rules/schema.h"

#define COMMAND "check"
#define LINE_BYTES 8192 /* of one finding */
#define TIME_ENTRY_EVENT "com.tallygate.time_entry.approved.v1"
#define TIME_ENTRY_OBJECT "canonical/time_entry"
#define WITHDRAWAL_EVENT "com.tallygate.time_entry.withdrawn.v1"
#define WITHDRAWAL_OBJECT "canonical/withdrawal"

struct check {
    const struct tg_config *config;
    size_t findings;
    json_t *good, *found; /* with --json: the lines */
};

static void line(json_t *list, const char *lead, const char *fmt, va_list args)
{
    char text[LINE_BYTES];

    if (vsnprintf(text, sizeof(text), fmt, args) < 0) {
        text[0] = '\0';
    }
    if (list != NULL) {
        (void)json_array_append_new(list, json_string(text));
    } else {
        printf("%s: %s\n", lead, text);
    }
}

static __attribute__((format(printf, 2, 3))) void finding(struct check *k, const char *fmt, ...)
{
    va_list args;

    k->findings++;
    va_start(args, fmt);
    line(k->found, "finding", fmt, args);
    va_end(args);
}

static __attribute__((format(printf, 2, 3))) void good(struct check *k, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    line(k->good, "ok", fmt, args);
    va_end(args);
}

static void check_catalogue(struct check *k)
{
    struct tg_error err = {""};
    struct tg_catalogue *c = tg_catalogue_load(k->config->catalogue, &err);

    if (c == NULL) {
        finding(k, "catalogue: %s", err.text);
        return;
    }
    good(k, "catalogue %s: %zu codes", k->config->catalogue, tg_catalogue_count(c));
    tg_catalogue_free(c);
}

static void check_schemas(struct check *k)
{
    static const char *const needed[] = {TIME_ENTRY_EVENT, TIME_ENTRY_OBJECT, WITHDRAWAL_EVENT,
                                         WITHDRAWAL_OBJECT};
    struct tg_error err = {""};
    struct tg_schemas *s = tg_schemas_load(k->config->schemas, &err);
    size_t missing = 0;

    if (s == NULL) {
        finding(k, "schemas: %s", err.text);
        return;
    }
    for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
        if (!tg_schemas_has(s, needed[i])) {
            finding(k, "schemas: %s/%s.json is missing", k->config->schemas, needed[i]);
            missing++;
        }
    }
    if (missing == 0) {
        good(k, "schemas %s", k->config->schemas);
    }
    tg_schemas_free(s);
}

static void on_disagreement(void *arg, const char *text)
{
    finding(arg, "%s", text);
}

struct fixtures {
    struct check *k;
    size_t count;
};

static void on_fixture(void *arg, const char *file, bool passed, const char *message)
{
    struct fixtures *f = arg;

    f->count++;
    if (!passed) {
        finding(f->k, "rules: fixture %s: %s", file, message != NULL ? message : "failed");
    }
}

static void check_fixtures(struct check *k)
{
    struct fixtures f = {.k = k};
    struct tg_error err = {""};
    int failed = tg_rules_test(k->config->rules.path, on_fixture, &f, &err);

    if (failed < 0) {
        finding(k, "rules: fixtures: %s", err.text);
    } else if (failed == 0) {
        good(k, "rules %s: %zu fixtures pass", k->config->rules.path, f.count);
    }
}

static void on_destination_finding(void *arg, const char *text)
{
    finding(arg, "%s", text);
}

static void check_connectors(struct check *k, struct tg_bundle *bundle)
{
    const size_t before = k->findings;
    struct tg_error err = {""};
    int count = tg_probe(k->config, bundle, on_destination_finding, k, &err);

    if (count < 0) {
        finding(k, "%s", err.text);
    } else if (count > 0 && k->findings == before) {
        good(k, "%d destinations with a script would open", count);
    }
}

static void check_rules(struct check *k)
{
    struct tg_error err = {""};
    struct tg_bundle *bundle = tg_bundle_load(k->config->rules.path, &err);
    struct tg_rules *rules = bundle != NULL ? tg_rules_new(bundle, &err) : NULL;

    if (rules == NULL) {
        finding(k, "rules: %s", err.text);
    } else {
        good(k, "rules %s: sha256 %.16s", k->config->rules.path, tg_bundle_sha256(bundle));
        if (tg_agree(k->config, rules, on_disagreement, k, &err) < 0) {
            finding(k, "%s", err.text);
        }
        tg_rules_free(rules);
        check_fixtures(k);
        check_connectors(k, bundle);
    }
    if (bundle != NULL) {
        tg_bundle_unref(bundle);
    }
}

static void check_masters(struct check *k)
{
    for (size_t i = 0; i < k->config->tenant_count; i++) {
        const struct tg_config_tenant *t = &k->config->tenants[i];
        struct tg_error err = {""};
        struct tg_master *m = tg_master_load_tenant(t, &err);

        if (m == NULL) {
            finding(k, "tenant %s: %s", t->id, err.text);
            continue;
        }
        good(k, "tenant %s: master data %s", t->id, tg_master_version(m));
        tg_master_unref(m);
    }
}

static void check_readable(struct check *k, const char *what, const char *path)
{
    if (path != NULL && access(path, R_OK) != 0) {
        finding(k, "%s: cannot read %s: %s", what, path, strerror(errno));
    }
}

static void on_journal_finding(void *arg, const char *what)
{
    finding(arg, "journal: %s", what);
}

/* Postings that wait for a destination nobody configures any more would wait for ever. */
static void on_destination(void *arg, const char *destination_id, uint64_t open)
{
    struct check *k = arg;

    for (size_t t = 0; t < k->config->tenant_count; t++) {
        const struct tg_config_tenant *tenant = &k->config->tenants[t];

        for (size_t d = 0; d < tenant->destination_count; d++) {
            if (strcmp(tenant->destinations[d].id, destination_id) == 0) {
                return;
            }
        }
    }
    if (open > 0) {
        finding(k, "journal: %" PRIu64 " postings wait for %s, which is not configured", open,
                destination_id);
    }
}

static void check_journal(struct check *k)
{
    struct tg_error err = {""};
    struct tg_reader *r = tg_reader_open(k->config->journal.path, &err);
    char id[TG_JOURNAL_ID_BYTES + 1];
    int found;

    if (r == NULL) {
        finding(k, "journal: %s", err.text);
        return;
    }
    found = tg_reader_journal_id(r, id, &err) == 0
                ? tg_journal_check(r, on_journal_finding, k, &err)
                : -1;
    if (found < 0) {
        finding(k, "journal: %s", err.text);
    } else if (found == 0) {
        good(k, "journal %s: id %s", k->config->journal.path, id);
    }
    if (tg_reader_destinations(r, on_destination, k, &err) != 0) {
        finding(k, "journal: %s", err.text);
    }
    tg_reader_close(r);
}

/* The lines of --json, and the one that says the result. */
static int say(struct check *k, bool with_journal, bool json)
{
    if (json &&
        tg_out_json(COMMAND, json_pack("{s:b, s:o, s:o}", "ok", k->findings == 0, "findings",
                                       k->found, "good", k->good)) != TG_EXIT_OK) {
        return TG_EXIT_FAILED;
    }
    if (k->findings > 0) {
        fprintf(tg_out_last(json), "check: %zu findings\n", k->findings);
        return TG_EXIT_FAILED;
    }
    fprintf(tg_out_last(json), "check: ok%s\n",
            with_journal ? "" : " (the journal is looked at with --journal)");
    return TG_EXIT_OK;
}

static int run(const char *path, bool with_journal, bool json)
{
    struct tg_error err = {""};
    struct tg_config *config = tg_config_load(path, &err);
    struct check k = {
        .config = config, .good = json ? json_array() : NULL, .found = json ? json_array() : NULL};

    if (config == NULL) {
        finding(&k, "%s", err.text);
    } else {
        good(&k, "configuration %s: %zu tenants, %zu destinations", path, config->tenant_count,
             config->destination_count);
        check_catalogue(&k);
        check_schemas(&k);
        check_rules(&k);
        check_masters(&k);
        check_readable(&k, "redis.password_file", config->redis.password_file);
        check_readable(&k, "journal.checkpoints.key", config->journal.checkpoint_key);
        check_readable(&k, "alerts.webhook.secret_file", config->alerts.webhook.secret_file);
        check_readable(&k, "alerts.webhook.ca_file", config->alerts.webhook.ca_file);
        check_readable(&k, "alerts.smtp.password_file", config->alerts.smtp.password_file);
        check_readable(&k, "alerts.smtp.ca_file", config->alerts.smtp.ca_file);
        if (with_journal) {
            check_journal(&k);
        }
        tg_config_free(config);
    }
    return say(&k, with_journal, json);
}

struct keys {
    size_t count;
    json_t *rows; /* with --json */
};

static void print_key(void *arg, const struct tg_config_key_doc *key)
{
    struct keys *k = arg;

    k->count++;
    if (k->rows != NULL) {
        (void)json_array_append_new(
            k->rows, json_pack("{s:s, s:s, s:b, s:s?, s:s, s:s}", "key", key->path, "kind",
                               key->kind, "required", key->required, "default", key->fallback,
                               "accepted", key->accepted, "meaning", key->help));
        return;
    }
    printf("| `%s` | %s | %s | %s | %s |\n", key->path, key->kind,
           key->required           ? "required"
           : key->fallback != NULL ? key->fallback
                                   : "none",
           key->accepted, key->help);
}

static int print_keys(bool json)
{
    struct keys k = {.rows = json ? json_array() : NULL};

    if (!json) {
        printf("| key | kind | default | accepted | meaning |\n|---|---|---|---|---|\n");
    }
    tg_config_keys(print_key, &k);
    if (json && tg_out_json(COMMAND, json_pack("{s:o}", "keys", k.rows)) != TG_EXIT_OK) {
        return TG_EXIT_FAILED;
    }
    fprintf(tg_out_last(json), "check: %zu keys\n", k.count);
    return TG_EXIT_OK;
}

int tg_cmd_check(int argc, char **argv)
{
    const char *path = TG_CONFIG_DEFAULT_PATH;
    bool with_journal = false, keys = false, json = false;
    const struct tg_cmd_option options[] = {{"config", &path, NULL},
                                            {"journal", NULL, &with_journal},
                                            {"keys", NULL, &keys},
                                            {"json", NULL, &json},
                                            {0}};
    int rc, first = tg_cmd_options(COMMAND, argc, argv, options, &rc);

    if (!tg_cmd_no_more(COMMAND, argc, argv, first, &rc)) {
        return rc;
    }
    return keys ? print_keys(json) : run(path, with_journal, json);
}
