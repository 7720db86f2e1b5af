/*
 * config.h: tallygate.yaml as plain data. Filled by cmd/config.c, read by everyone, never changed
 * after load.
 *
 * Ownership: one struct tg_config owns every string below it; tg_config_free ends all.
 */
#ifndef TG_CORE_CONFIG_H
#define TG_CORE_CONFIG_H

#include "common/rate.h"
#include "common/str.h"

struct tg_config_source {
    char *name;     /* "psa" */
    char *decoder;  /* lua_rules/sources/DECODER.lua */
    char *uri;      /* the CloudEvents source it must carry; default: its name */
    char **clients; /* who may send for it; default: hook:NAME */
    size_t client_count;
    unsigned decoder_line; /* of the file, for messages */
    char *project_map;     /* YAML file: its names of work, and ours; NULL: none */
};

struct tg_config_pair {
    char *name, *value;
};

struct tg_config_destination {
    char *name;      /* "erp" */
    char *id;        /* "acme/erp": unique over all tenants */
    char *connector; /* "file", or a file of RULES/connectors */
    char *path;      /* file: directory; the rest is for the others; NULL: not given */
    char *url;
    char *auth; /* "none", "basic", "bearer", "api_key", "oauth2", "session"; NULL: not given */
    char *user, *password_file;                                             /* basic, session */
    char *token_file;                                                       /* bearer */
    char *api_key_file, *api_key_header;                                    /* api_key */
    char *token_url, *client_id, *client_secret_file, *client_auth, *scope; /* oauth2 */
    struct tg_config_pair *token_params; /* oauth2: added to the request for a token */
    size_t token_param_count;
    char *ca_file, *cert_file, *key_file; /* TLS */
    int64_t timeout_ms;                   /* of one request */
    char **allow; /* addresses that are not public: ADDRESS or PREFIX/BITS */
    size_t allow_count;
    struct tg_config_pair *options; /* for the script: ctx.options */
    size_t option_count;
    char *account;           /* NULL: its own, shared with nobody */
    uint32_t account_number; /* 0: its own; else the same for all of that account */
    unsigned concurrency;    /* of its account, as rate */
    struct tg_rate rate;     /* capacity 0: none */
    uint32_t index;          /* over all tenants, the engine's destination */
    unsigned line;           /* of the file where its name is, for messages */
};

struct tg_config_tenant {
    char *id;
    struct tg_config_source *sources;
    size_t source_count;
    struct tg_config_destination *destinations;
    size_t destination_count;
    char *master;            /* JSON file of master data */
    char *calendar;          /* YAML file of periods and pay cycles */
    char *ownership;         /* NULL: none */
    char *corrections;       /* "reverse", "review" */
    int64_t hold_timeout_ms; /* how long something may be held; 0: not at all */
};

/* Whom to tell when something is wrong; neither webhook nor mail: nobody. */
struct tg_config_alerts {
    char *name; /* of this installation, for readers; NULL: the host's */
    int64_t repeat_ms, quiet_ms, settle_ms, after_ms, exception_age_ms, posting_age_ms;
    unsigned backlog;
    char *resolved; /* "on" or "off" */
    struct {
        char *url, *secret_file, *ca_file; /* url NULL: none */
        char **allow;
        size_t allow_count;
    } webhook;
    struct {
        char *url, *from, *user, *password_file, *tls, *ca_file; /* url NULL: none */
        char **to, **allow;
        size_t to_count, allow_count;
    } smtp;
};

struct tg_config {
    char *file; /* where it came from, for messages */
    struct {
        char *url, *user, *password_file, *prefix;
        unsigned shards;
        int64_t keep_ms; /* entries stay so long after they were journalled; 0: not at all */
    } redis;
    struct {
        char *path;
        char *checkpoint_dir; /* NULL: no signed checkpoints */
        char *checkpoint_key; /* Ed25519 private key, PEM */
    } journal;
    struct {
        char *listen; /* "unix:PATH" or "127.0.0.1:PORT" */
        unsigned threads;
    } api;
    struct {
        char *path;
        char *approval; /* "off" */
    } rules;
    struct tg_config_alerts alerts;
    struct {
        char *discard;         /* "on": giving something up needs a second person; or "off" */
        unsigned replay_above; /* exceptions that one person may replay together; 0: any number */
        int64_t expires_ms;    /* how long a wish waits for one */
    } approvals;
    char *schemas;   /* directory; default conf/schemas */
    char *catalogue; /* default conf/catalogue.yaml */
    struct tg_config_tenant *tenants;
    size_t tenant_count;
    size_t destination_count; /* over all tenants */
};

void tg_config_free(struct tg_config *c);
const struct tg_config_tenant *tg_config_tenant(const struct tg_config *c, struct tg_str id);
/* The source of a tenant by CloudEvents source and client; NULL: not its own. */
const struct tg_config_source *tg_config_source(const struct tg_config_tenant *t, struct tg_str uri,
                                                struct tg_str client);
const struct tg_config_destination *tg_config_destination(const struct tg_config *c,
                                                          uint32_t index);

#endif
