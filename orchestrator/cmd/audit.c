/*
 * audit.c: `tallygate audit verify` walks the chain of the journal and its signed checkpoints;
 * `tallygate audit checkpoint` signs the newest row. Both beside a running `serve`.
 */
#include "journal/audit.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "cmd/config.h"
#include "cmd/files.h"
#include "cmd/options.h"
#include "cmd/out.h"
#include "cmd/token.h"
#include "common/codec.h"

#define COMMAND "audit"
#define HASH_TEXT_BYTES (2 * TG_SHA256_BYTES + 1)

struct options {
    const char *config, *public_key;
    bool json;
};

/* ---- verify ---- */

static void hash_text(const unsigned char hash[TG_SHA256_BYTES], char out[HASH_TEXT_BYTES])
{
    tg_hex_encode(hash, TG_SHA256_BYTES, out);
    out[HASH_TEXT_BYTES - 1] = '\0';
}

static int print_report_json(const struct tg_audit_report *report, bool intact)
{
    char head[HASH_TEXT_BYTES];
    int rc;

    hash_text(report->head, head);
    rc = tg_out_json(COMMAND, json_pack("{s:b, s:I, s:s, s:I, s:o, s:s?}", "intact", intact, "rows",
                                        (json_int_t)report->rows, "head", head, "checkpoints",
                                        (json_int_t)report->checkpoints, "bad_seq",
                                        intact ? json_null() : json_integer(report->bad_seq),
                                        "reason", intact ? NULL : report->reason));
    if (rc == TG_EXIT_OK) {
        fprintf(tg_out_last(true), "audit: %s\n", intact ? "ok" : "BROKEN");
    }
    return intact ? rc : TG_EXIT_FAILED;
}

static int print_report(const struct tg_audit_report *report, bool intact)
{
    char head[HASH_TEXT_BYTES];

    hash_text(report->head, head);
    printf("rows         %" PRId64 "\nhead         %s\ncheckpoints  %zu\n", report->rows, head,
           report->checkpoints);
    if (!intact) {
        printf("audit: BROKEN: %s\n", report->reason);
        return TG_EXIT_FAILED;
    }
    printf("audit: ok (%" PRId64 " rows, %zu checkpoints)\n", report->rows, report->checkpoints);
    return TG_EXIT_OK;
}

static int verify_chain(const struct options *o, const struct tg_config *config, const char *dir,
                        const char *public_key)
{
    struct tg_error err = {""};
    struct tg_audit_report report;
    struct tg_reader *r = tg_reader_open(config->journal.path, &err);
    int rc;

    if (r == NULL) {
        return tg_cmd_failed(COMMAND, "%s", err.text);
    }
    memset(&report, 0, sizeof(report));
    rc = tg_audit_verify(r, dir, public_key, &report, &err);
    tg_reader_close(r);
    if (rc < 0) {
        return tg_cmd_failed(COMMAND, "%s", err.text);
    }
    return o->json ? print_report_json(&report, rc == 0) : print_report(&report, rc == 0);
}

/*
 * A directory that was never written to has no checkpoint to hold against the chain. Who gives a
 * public key says that there are some: then a missing directory is a failure, not a note.
 */
static int verify(const struct options *o, const struct tg_config *config)
{
    struct tg_error err = {""};
    const char *dir = config->journal.checkpoint_dir;
    char *public_key;
    int rc;

    if (dir == NULL && o->public_key != NULL) {
        return tg_cmd_failed(COMMAND,
                             "%s has no journal.checkpoints, so --public-key proves "
                             "nothing; name their dir there",
                             config->file);
    }
    if (dir != NULL && o->public_key == NULL && access(dir, F_OK) != 0 && errno == ENOENT) {
        fprintf(stderr, "tallygate audit: no checkpoints in %s yet\n", dir);
        dir = NULL;
    }
    if (dir == NULL) {
        return verify_chain(o, config, NULL, NULL);
    }
    public_key = o->public_key != NULL
                     ? tg_file_text(o->public_key, &err)
                     : tg_key_public_of_file(config->journal.checkpoint_key, &err);
    if (public_key == NULL) {
        return tg_cmd_failed(COMMAND, "%s", err.text);
    }
    rc = verify_chain(o, config, dir, public_key);
    free(public_key);
    return rc;
}

/* ---- checkpoint ---- */

static int checkpoint(const struct tg_config *config)
{
    struct tg_error err = {""};
    const char *dir = config->journal.checkpoint_dir;
    struct tg_reader *r;
    char *key;
    int rc = -1;

    if (dir == NULL) {
        return tg_cmd_failed(COMMAND, "%s has no journal.checkpoints; name dir and key there",
                             config->file);
    }
    key = tg_file_read(config->journal.checkpoint_key, &err);
    r = key != NULL ? tg_reader_open(config->journal.path, &err) : NULL;
    if (r != NULL) {
        rc = tg_audit_checkpoint(r, dir, key, &err);
        tg_reader_close(r);
    }
    tg_file_free(key);
    if (rc < 0) {
        return tg_cmd_failed(COMMAND, "%s", err.text);
    }
    if (rc == 0) {
        printf("audit: checkpoint written to %s\n", dir);
    } else {
        printf("audit: nothing to sign, the journal has no rows yet\n");
    }
    return TG_EXIT_OK;
}

/* ---- arguments ---- */

/* Whether to go on; if not, *rc is the exit code. */
static bool parse(int argc, char **argv, bool is_verify, struct options *o, int *rc)
{
    const struct tg_cmd_option of_verify[] = {{"config", &o->config, NULL},
                                              {"public-key", &o->public_key, NULL},
                                              {"json", NULL, &o->json},
                                              {0}};
    const struct tg_cmd_option of_checkpoint[] = {{"config", &o->config, NULL}, {0}};
    int first = tg_cmd_options(COMMAND, argc, argv, is_verify ? of_verify : of_checkpoint, rc);

    return tg_cmd_no_more(COMMAND, argc, argv, first, rc);
}

int tg_cmd_audit(int argc, char **argv)
{
    struct options o = {.config = TG_CONFIG_DEFAULT_PATH};
    struct tg_error err = {""};
    struct tg_config *config;
    bool is_verify;
    int rc;

    if (argc < 2) {
        return tg_cmd_usage_error(COMMAND, "say `verify` or `checkpoint`");
    }
    is_verify = strcmp(argv[1], "verify") == 0;
    if (!is_verify && strcmp(argv[1], "checkpoint") != 0) {
        return tg_cmd_usage_error(COMMAND, "there is no `%s`; accepted: verify, checkpoint",
                                  argv[1]);
    }
    if (!parse(argc - 1, argv + 1, is_verify, &o, &rc)) {
        return rc;
    }
    config = tg_config_load(o.config, &err);
    if (config == NULL) {
        return tg_cmd_failed(COMMAND, "%s", err.text);
    }
    rc = is_verify ? verify(&o, config) : checkpoint(config);
    tg_config_free(config);
    return rc;
}
