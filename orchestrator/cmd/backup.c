/*
 * backup.c: `tallygate backup`, `restore` and `migrate`: copies of the journal. A backup is made
 * beside a running `serve`; the other two need the journal for themselves.
 */
#include "journal/backup.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "cmd/config.h"
#include "cmd/files.h"
#include "cmd/out.h"
#include "cmd/token.h"
#include "common/codec.h"

#define HASH_TEXT_BYTES (2 * TG_SHA256_BYTES + 1)
#define SIZE_TEXT_BYTES 32

struct options {
    const char *name; /* of the command */
    const char *config, *path, *public_key;
    bool json, replace, accept_findings, redis_too, dry_run;
    json_t *findings; /* with --json; owned by run */
};

/* What went wrong, with --json as {"error", "findings"?} on standard output too. */
static __attribute__((format(printf, 2, 3))) int failed(const struct options *o, const char *fmt,
                                                        ...)
{
    char text[TG_ERROR_MAX_BYTES];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    if (o->json) {
        (void)tg_out_json(o->name,
                          json_pack("{s:s, s:O*}", "error", text, "findings",
                                    json_array_size(o->findings) > 0 ? o->findings : NULL));
    }
    return tg_cmd_failed(o->name, "%s", text);
}

/* ---- Ctrl-C: gives up, and leaves no half file ---- */

static volatile sig_atomic_t stop;

static void on_signal(int number)
{
    (void)number;
    stop = 1;
}

static void catch_signals(void)
{
    struct sigaction action;

    memset(&action, 0, sizeof(action));
    action.sa_handler = on_signal;
    (void)sigemptyset(&action.sa_mask);
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
}

/* ---- texts ---- */

static void hash_text(const unsigned char hash[TG_SHA256_BYTES], char out[HASH_TEXT_BYTES])
{
    tg_hex_encode(hash, TG_SHA256_BYTES, out);
    out[HASH_TEXT_BYTES - 1] = '\0';
}

static void time_text(int64_t ms, char out[TG_RFC3339_BYTES])
{
    if (ms <= 0 || tg_rfc3339_format(ms, out, TG_RFC3339_BYTES) != 0) {
        memcpy(out, "unknown", sizeof("unknown"));
    }
}

/* "1.4 MiB (1474560 bytes)", whole numbers only. */
static void size_text(int64_t bytes, char out[SIZE_TEXT_BYTES])
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB"};
    int64_t tenths = bytes * 10 / 1024;
    size_t unit = 0;

    if (bytes < 1024) {
        (void)snprintf(out, SIZE_TEXT_BYTES, "%" PRId64 " bytes", bytes);
        return;
    }
    while (tenths >= 10240 && unit + 1 < sizeof(units) / sizeof(units[0])) {
        tenths /= 1024;
        unit++;
    }
    (void)snprintf(out, SIZE_TEXT_BYTES, "%" PRId64 ".%" PRId64 " %s", tenths / 10, tenths % 10,
                   units[unit]);
}

static json_t *report_json(const struct tg_backup_report *b)
{
    char head[HASH_TEXT_BYTES], made[TG_RFC3339_BYTES];

    hash_text(b->audit_head, head);
    time_text(b->made_ms, made);
    return json_pack("{s:s, s:I, s:i, s:I, s:I, s:I, s:s}", "made_at", made, "bytes",
                     (json_int_t)b->bytes, "schema", b->schema, "events", (json_int_t)b->events,
                     "postings", (json_int_t)b->postings, "audit_rows", (json_int_t)b->audit_rows,
                     "audit_hash", head);
}

static void print_report(const struct tg_backup_report *b)
{
    char head[HASH_TEXT_BYTES], made[TG_RFC3339_BYTES], size[SIZE_TEXT_BYTES];

    hash_text(b->audit_head, head);
    time_text(b->made_ms, made);
    size_text(b->bytes, size);
    printf("made at      %s\nsize         %s\nschema       %d\nevents       %" PRId64
           "\npostings     %" PRId64 "\naudit rows   %" PRId64 "\naudit hash   %s\n",
           made, size, b->schema, b->events, b->postings, b->audit_rows, head);
}

/* ---- backup ---- */

static int backup(const struct options *o, const struct tg_config *config)
{
    struct tg_error err = {""};
    struct tg_backup_report report;
    json_t *json;

    if (tg_backup_make(config->journal.path, o->path, &stop, &report, &err) != 0) {
        return failed(o, "%s", err.text);
    }
    if (config->redis.keep_ms == 0) {
        fprintf(stderr,
                "tallygate backup: note: redis.keep is 0, so the stream may have dropped what came "
                "after this backup by the time it is restored\n");
    }
    if (o->json) {
        json = report_json(&report);
        if (json != NULL) {
            (void)json_object_set_new(json, "path", json_string(o->path));
        }
        if (tg_out_json(o->name, json) != TG_EXIT_OK) {
            return TG_EXIT_FAILED;
        }
    } else {
        print_report(&report);
    }
    fprintf(tg_out_last(o->json), "backup: ok (%s, verified)\n", o->path);
    return TG_EXIT_OK;
}

/* ---- restore ---- */

static void on_finding(void *arg, const char *what)
{
    const struct options *o = arg;

    if (o->findings != NULL) {
        (void)json_array_append_new(o->findings, json_string(what));
    }
    fprintf(tg_out_last(o->json), "finding: %s\n", what);
}

/* The key of the checkpoints, when there are any to hold against the backup. 0 or -1. */
static int checkpoint_key(const struct options *o, const struct tg_config *config, char **key,
                          struct tg_error *err)
{
    const char *dir = config->journal.checkpoint_dir;

    *key = NULL;
    if (dir == NULL || (access(dir, F_OK) != 0 && errno == ENOENT)) {
        return 0;
    }
    *key = o->public_key != NULL ? tg_file_text(o->public_key, err)
                                 : tg_key_public_of_file(config->journal.checkpoint_key, err);
    return *key != NULL ? 0 : -1;
}

static int restore_json(const struct options *o, const struct tg_restore_report *r)
{
    json_t *backup_json = report_json(&r->backup);
    json_t *json =
        json_pack("{s:s, s:o, s:I, s:I, s:i, s:s?, s:i, s:s?}", "from", o->path, "backup",
                  backup_json, "in_doubt", (json_int_t)r->in_doubt, "held", (json_int_t)r->held,
                  "findings", r->findings, "replaced", r->aside[0] != '\0' ? r->aside : NULL,
                  "checkpoints_set_aside", (int)r->checkpoints_aside, "checkpoints_dir",
                  r->checkpoints_aside_dir[0] != '\0' ? r->checkpoints_aside_dir : NULL);

    return tg_out_json(o->name, json);
}

static void print_restore(const struct tg_restore_report *r)
{
    print_report(&r->backup);
    printf("in doubt     %" PRId64 " postings are looked up before anything is sent again\n",
           r->in_doubt);
    if (r->held > 0) {
        printf("held         %" PRId64 " postings are looked up when they are let go\n", r->held);
    }
    if (r->aside[0] != '\0') {
        printf("set aside    %s\n", r->aside);
    }
    if (r->checkpoints_aside_dir[0] != '\0') {
        printf("             %zu newer checkpoints in %s\n", r->checkpoints_aside,
               r->checkpoints_aside_dir);
    }
    printf("next         start tallygate serve: it reads the stream again from its oldest entry\n");
}

static int restore(const struct options *o, const struct tg_config *config)
{
    struct tg_error err = {""};
    struct tg_restore_options options = {.journal = config->journal.path,
                                         .from = o->path,
                                         .actor = tg_cmd_actor(),
                                         .replace = o->replace,
                                         .accept_findings = o->accept_findings,
                                         .doubt_all = o->redis_too,
                                         .stop = &stop,
                                         .finding = on_finding,
                                         .finding_arg = (void *)(uintptr_t)o};
    struct tg_restore_report report;
    char *key;
    int rc;

    if (checkpoint_key(o, config, &key, &err) != 0) {
        return failed(o, "%s", err.text);
    }
    options.checkpoint_dir = key != NULL ? config->journal.checkpoint_dir : NULL;
    options.public_key_pem = key;
    rc = tg_restore_run(&options, &report, &err);
    free(key);
    if (rc != 0) {
        return failed(o, "%s", err.text);
    }
    if (o->json) {
        if (restore_json(o, &report) != TG_EXIT_OK) {
            return TG_EXIT_FAILED;
        }
    } else {
        print_restore(&report);
    }
    fprintf(tg_out_last(o->json), "restore: ok (%s is now what %s holds)\n", config->journal.path,
            o->path);
    return TG_EXIT_OK;
}

/* ---- migrate ---- */

/* JOURNAL.schema-1-TIME, unless --backup says where. */
static int backup_name(const struct options *o, const char *journal, int schema,
                       char out[TG_BACKUP_PATH_MAX_BYTES])
{
    time_t now = time(NULL);
    struct tm tm;
    int n;

    if (o->path != NULL) {
        n = snprintf(out, TG_BACKUP_PATH_MAX_BYTES, "%s", o->path);
    } else if (gmtime_r(&now, &tm) == NULL) {
        n = -1;
    } else {
        n = snprintf(out, TG_BACKUP_PATH_MAX_BYTES, "%s.schema-%d-%04d%02d%02dT%02d%02d%02dZ",
                     journal, schema, tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour,
                     tm.tm_min, tm.tm_sec);
    }
    return n > 0 && n < TG_BACKUP_PATH_MAX_BYTES ? 0 : -1;
}

static int migrate_said(const struct options *o, int from, int to, const char *kept,
                        const char *what)
{
    if (o->json && tg_out_json(o->name, json_pack("{s:i, s:i, s:s?, s:s}", "from", from, "to", to,
                                                  "backup", kept, "result", what)) != TG_EXIT_OK) {
        return TG_EXIT_FAILED;
    }
    if (!o->json) {
        printf("from schema  %d\nto schema    %d\n", from, to);
        if (kept != NULL) {
            printf("backup       %s\n", kept);
        }
    }
    fprintf(tg_out_last(o->json), "migrate: %s\n", what);
    return TG_EXIT_OK;
}

static int migrate(const struct options *o, const struct tg_config *config)
{
    const char *journal = config->journal.path;
    struct tg_error err = {""};
    struct tg_backup_report report;
    char kept[TG_BACKUP_PATH_MAX_BYTES];
    int has, writes, found;

    if (tg_migrate_look(journal, &has, &writes, &err) != 0) {
        return failed(o, "%s", err.text);
    }
    if (has == writes) {
        return migrate_said(o, has, writes, NULL, "nothing to do");
    }
    if (o->dry_run) {
        found = tg_migrate_try(journal, &stop, on_finding, (void *)(uintptr_t)o, &err);
        if (found != 0) {
            return failed(o, "%s",
                          found < 0 ? err.text : "the check of the migrated copy found this");
        }
        return migrate_said(o, has, writes, NULL,
                            "would do it; a copy was migrated and the check found nothing");
    }
    if (backup_name(o, journal, has, kept) != 0) {
        return failed(o, "the path of the backup is too long");
    }
    if (tg_migrate_free(journal, &err) != 0 ||
        tg_backup_make(journal, kept, &stop, &report, &err) != 0 ||
        tg_migrate_run(journal, &err) != 0) {
        return failed(o, "%s", err.text);
    }
    return migrate_said(o, has, writes, kept, "ok");
}

/* ---- arguments ---- */

enum {
    OPTION_TO = 256,
    OPTION_FROM,
    OPTION_BACKUP,
    OPTION_KEY,
    OPTION_REPLACE,
    OPTION_ACCEPT,
    OPTION_REDIS,
    OPTION_DRY
};

static const struct option backup_options[] = {{"config", required_argument, NULL, 'c'},
                                               {"to", required_argument, NULL, OPTION_TO},
                                               {"json", no_argument, NULL, 'j'},
                                               {NULL, 0, NULL, 0}};
static const struct option restore_options[] = {
    {"config", required_argument, NULL, 'c'},
    {"from", required_argument, NULL, OPTION_FROM},
    {"replace", no_argument, NULL, OPTION_REPLACE},
    {"redis-too", no_argument, NULL, OPTION_REDIS},
    {"accept-findings", no_argument, NULL, OPTION_ACCEPT},
    {"public-key", required_argument, NULL, OPTION_KEY},
    {"json", no_argument, NULL, 'j'},
    {NULL, 0, NULL, 0}};
static const struct option migrate_options[] = {{"config", required_argument, NULL, 'c'},
                                                {"dry-run", no_argument, NULL, OPTION_DRY},
                                                {"backup", required_argument, NULL, OPTION_BACKUP},
                                                {"json", no_argument, NULL, 'j'},
                                                {NULL, 0, NULL, 0}};

static void take(struct options *o, int c)
{
    switch (c) {
    case 'c':
        o->config = optarg;
        break;
    case 'j':
        o->json = true;
        break;
    case OPTION_TO:
    case OPTION_FROM:
    case OPTION_BACKUP:
        o->path = optarg;
        break;
    case OPTION_KEY:
        o->public_key = optarg;
        break;
    case OPTION_REPLACE:
        o->replace = true;
        break;
    case OPTION_ACCEPT:
        o->accept_findings = true;
        break;
    case OPTION_REDIS:
        o->redis_too = true;
        break;
    default:
        o->dry_run = true;
        break;
    }
}

/* needs: the option that must be there, and what it takes; NULL: none. */
static int run(int argc, char **argv, const char *name, const struct option *options,
               const char *needs, int (*fn)(const struct options *o, const struct tg_config *c))
{
    struct options o = {.name = name, .config = TG_CONFIG_DEFAULT_PATH};
    struct tg_error err = {""};
    struct tg_config *config;
    int c, rc;

    tg_cmd_getopt_reset();
    while ((c = getopt_long(argc, argv, "c:", options, NULL)) != -1) {
        if (c == '?') {
            return tg_cmd_usage_error(name, "`%s` is not understood", argv[optind - 1]);
        }
        take(&o, c);
    }
    if (optind < argc) {
        return tg_cmd_usage_error(name, "`%s` is not understood", argv[optind]);
    }
    if (needs != NULL && o.path == NULL) {
        return tg_cmd_usage_error(name, "%s is missing", needs);
    }
    o.findings = o.json ? json_array() : NULL;
    config = tg_config_load(o.config, &err);
    catch_signals();
    rc = config != NULL ? fn(&o, config) : failed(&o, "%s", err.text);
    tg_config_free(config);
    json_decref(o.findings);
    return rc;
}

int tg_cmd_backup(int argc, char **argv)
{
    return run(argc, argv, "backup", backup_options, "--to PATH", backup);
}

int tg_cmd_restore(int argc, char **argv)
{
    return run(argc, argv, "restore", restore_options, "--from PATH", restore);
}

int tg_cmd_migrate(int argc, char **argv)
{
    return run(argc, argv, "migrate", migrate_options, NULL, migrate);
}
