#include "cmd/config_table.h"

#include "api/listen.h"
#include "common/redis_url.h"
#include "connect/address.h"
#include "connect/http_text.h"
#include "core/config.h"

static int listen_form(struct tg_str text)
{
    struct tg_listen listen;

    return tg_listen_parse(text, &listen, NULL);
}

static int redis_form(struct tg_str text)
{
    struct tg_redis_url url;

    return tg_redis_url_parse(text, &url, NULL);
}

static int url_form(struct tg_str text)
{
    return tg_http_url_check(text, NULL);
}

static int prefix_form(struct tg_str text)
{
    struct tg_prefix prefix;

    return tg_prefix_parse(text, &prefix, NULL);
}

static int header_form(struct tg_str text)
{
    return tg_http_is_token(text) && !tg_http_is_reserved_header(text) ? 0 : -1;
}

/* ---- redis, journal, api, rules, issuers ---- */

static const struct tg_config_key redis_keys[] = {
    {.name = "url",
     .kind = TG_CONFIG_TEXT,
     .required = true,
     .accepted = "unix:PATH or redis://HOST:PORT/DB (the password goes into password_file)",
     .help = "Where the stream is. PATH is relative to the working directory.",
     .offset = offsetof(struct tg_config, redis.url),
     .max = TG_CONFIG_PATH_MAX_BYTES,
     .form = redis_form},
    {.name = "user",
     .kind = TG_CONFIG_TEXT,
     .accepted = "a Redis user, 1 to 64 bytes",
     .help = "ACL user; without it the password alone is sent, or nothing.",
     .offset = offsetof(struct tg_config, redis.user),
     .max = 64},
    {.name = "password_file",
     .kind = TG_CONFIG_TEXT,
     .accepted = "the path of a file whose first line is the password",
     .help = "Read again at every connect, so that it can be changed.",
     .offset = offsetof(struct tg_config, redis.password_file),
     .max = TG_CONFIG_PATH_MAX_BYTES},
    {.name = "prefix",
     .kind = TG_CONFIG_NAME,
     .fallback = "tg",
     .accepted = "1 to " NUMBER_TEXT(TG_PREFIX_MAX_BYTES) " of A-Z a-z 0-9 . _ -",
     .help = "First part of every Redis key; the same as at the edge.",
     .offset = offsetof(struct tg_config, redis.prefix),
     .max = TG_PREFIX_MAX_BYTES},
    {.name = "shards",
     .kind = TG_CONFIG_NUMBER,
     .fallback = NUMBER_TEXT(TG_SHARD_COUNT_DEFAULT),
     .accepted = "a whole number from 1 to " NUMBER_TEXT(TG_SHARD_COUNT_MAX),
     .help = "Fixed for the life of a deployment; the same as at the edge.",
     .offset = offsetof(struct tg_config, redis.shards),
     .min = 1,
     .max = TG_SHARD_COUNT_MAX},
    {.name = "keep",
     .kind = TG_CONFIG_TIME,
     .fallback = "0",
     .accepted = "0, or a whole number and s, m, h or d, at most 30d",
     .help =
         "Entries stay in the stream so long after they were journalled, to be read again after "
         "a restore: longer than the time between two backups.",
     .offset = offsetof(struct tg_config, redis.keep_ms),
     .max = TG_REDIS_KEEP_MAX_MS},
};
static const struct tg_config_table redis_table = TABLE(redis_keys);

static const struct tg_config_key checkpoint_keys[] = {
    {.name = "dir",
     .kind = TG_CONFIG_TEXT,
     .required = true,
     .accepted = "the path of a directory",
     .help = "Where signed checkpoints of the audit chain go; keep it on another disk.",
     .offset = offsetof(struct tg_config, journal.checkpoint_dir),
     .max = TG_CONFIG_PATH_MAX_BYTES},
    {.name = "key",
     .kind = TG_CONFIG_TEXT,
     .required = true,
     .accepted = "the path of an Ed25519 private key in PEM",
     .help = "Signs the checkpoints; `tallygate token keys --alg EdDSA` makes one.",
     .offset = offsetof(struct tg_config, journal.checkpoint_key),
     .max = TG_CONFIG_PATH_MAX_BYTES},
};
static const struct tg_config_table checkpoint_table = TABLE(checkpoint_keys);

static const struct tg_config_key journal_keys[] = {
    {.name = "path",
     .kind = TG_CONFIG_TEXT,
     .required = true,
     .accepted = "the path of the SQLite file",
     .help = "The book of record. Its directory must exist and be writable.",
     .offset = offsetof(struct tg_config, journal.path),
     .max = TG_CONFIG_PATH_MAX_BYTES},
    {.name = "checkpoints",
     .kind = TG_CONFIG_MAPPING,
     .accepted = "a mapping with dir, key",
     .help = "Signed checkpoints, by which a cut tail of the audit chain shows.",
     .offset = 0,
     .table = &checkpoint_table},
};
static const struct tg_config_table journal_table = TABLE(journal_keys);

static const struct tg_config_key api_keys[] = {
    {.name = "listen",
     .kind = TG_CONFIG_TEXT,
     .required = true,
     .accepted = "unix:PATH (at most " NUMBER_TEXT(
         TG_LISTEN_PATH_MAX_BYTES) " bytes), 127.0.0.1:PORT or [::1]:PORT; NGINX alone may reach "
                                   "it",
     .help = "Where NGINX finds the API. Loopback only: identity comes from NGINX in headers.",
     .offset = offsetof(struct tg_config, api.listen),
     .max = TG_CONFIG_PATH_MAX_BYTES,
     .form = listen_form},
    {.name = "threads",
     .kind = TG_CONFIG_NUMBER,
     .fallback = "2",
     .accepted = "a whole number from 1 to " NUMBER_TEXT(TG_API_THREADS_MAX),
     .help = "API threads; each has its own Lua state and journal reader.",
     .offset = offsetof(struct tg_config, api.threads),
     .min = 1,
     .max = TG_API_THREADS_MAX},
};
static const struct tg_config_table api_table = TABLE(api_keys);

static const char *const second_words[] = {"off", "on", NULL};

static const struct tg_config_key approvals_keys[] = {
    {.name = "discard",
     .kind = TG_CONFIG_WORD,
     .fallback = "off",
     .accepted = "off or on",
     .help = "Whether a second person must approve before an exception is discarded.",
     .offset = offsetof(struct tg_config, approvals.discard),
     .words = second_words},
    {.name = "replay_above",
     .kind = TG_CONFIG_NUMBER,
     .fallback = "0",
     .accepted = "a whole number from 0 to 10000; 0: never",
     .help = "Replaying more exceptions than this together needs a second person.",
     .offset = offsetof(struct tg_config, approvals.replay_above),
     .max = TG_REPLAY_ITEMS_MAX},
    {.name = "expires",
     .kind = TG_CONFIG_TIME,
     .fallback = "72h",
     .accepted = "a whole number and a unit, from 1m to 30d: 15m, 24h, 7d",
     .help = "How long a wish waits for the second person.",
     .offset = offsetof(struct tg_config, approvals.expires_ms),
     .min = 60 * 1000,
     .max = INT64_C(30) * 24 * 3600 * 1000},
};

static const struct tg_config_table approvals_table = TABLE(approvals_keys);

static const char *const approval_words[] = {"off", NULL};

static const struct tg_config_key rules_keys[] = {
    {.name = "path",
     .kind = TG_CONFIG_TEXT,
     .fallback = "lua_rules",
     .accepted = "the path of a directory",
     .help = "The rule bundle: sources/, validate/, route/, connectors/.",
     .offset = offsetof(struct tg_config, rules.path),
     .max = TG_CONFIG_PATH_MAX_BYTES},
    {.name = "approval",
     .kind = TG_CONFIG_WORD,
     .fallback = "off",
     .accepted = "off",
     .help = "Whether a second person must approve a new bundle.",
     .offset = offsetof(struct tg_config, rules.approval),
     .words = approval_words},
};
static const struct tg_config_table rules_table = TABLE(rules_keys);

static const char *const empty_words[] = {"", NULL};

static const struct tg_config_key issuer_keys[] = {
    {.name = "name",
     .kind = TG_CONFIG_NAME,
     .required = true,
     .accepted = "1 to 64 of A-Z a-z 0-9 . _ -",
     .help = "The issuer's name at the edge (tally_issuer).",
     .offset = TG_CONFIG_NOT_KEPT,
     .max = 64},
    {.name = "jwks_uri",
     .kind = TG_CONFIG_WORD,
     .fallback = "\"\"",
     .accepted = "\"\" (this version fetches no key set: put it into `file` by other means)",
     .help = "Must be empty in this version.",
     .offset = TG_CONFIG_NOT_KEPT,
     .words = empty_words},
    {.name = "file",
     .kind = TG_CONFIG_TEXT,
     .required = true,
     .accepted = "the path of the JWKS file that the edge watches",
     .help = "The key set the edge reads.",
     .offset = TG_CONFIG_NOT_KEPT,
     .max = TG_CONFIG_PATH_MAX_BYTES},
};
static const struct tg_config_table issuer_table = TABLE(issuer_keys);

/* ---- tenants ---- */

static const struct tg_config_key source_keys[] = {
    {.name = "decoder",
     .kind = TG_CONFIG_NAME,
     .required = true,
     .accepted = "the name of a file in RULES/sources, without .lua",
     .help = "Which rule turns this source's events into canonical objects.",
     .offset = offsetof(struct tg_config_source, decoder),
     .max = TG_SOURCE_NAME_MAX_BYTES},
    {.name = "uri",
     .kind = TG_CONFIG_TEXT,
     .accepted = "the CloudEvents source, 1 to " NUMBER_TEXT(TG_CE_ATTRIBUTE_MAX_BYTES) " bytes",
     .help = "The `source` its events must carry. Default: the source's name.",
     .offset = offsetof(struct tg_config_source, uri),
     .max = TG_CE_ATTRIBUTE_MAX_BYTES},
    {.name = "clients",
     .kind = TG_CONFIG_TEXTS,
     .accepted = "a list of 1 to " NUMBER_TEXT(TG_CLIENTS_PER_SOURCE_MAX) " client names",
     .help = "Who may send for it: a token's client, or hook:NAME. Default: hook:NAME.",
     .offset = offsetof(struct tg_config_source, clients),
     .count_offset = offsetof(struct tg_config_source, client_count),
     .min = 1,
     .max = TG_CLIENTS_PER_SOURCE_MAX},
    {.name = "project_map",
     .kind = TG_CONFIG_TEXT,
     .accepted = "the path of a YAML file with issues and projects",
     .help =
         "What this source calls a piece of work, and our project and task. Read anew by SIGHUP.",
     .offset = offsetof(struct tg_config_source, project_map),
     .max = TG_CONFIG_PATH_MAX_BYTES},
};
static const struct tg_config_table source_table = TABLE(source_keys);

static const char *const auth_words[] = {"none",   "basic",   "bearer", "api_key",
                                         "oauth2", "session", NULL};
static const char *const client_auth_words[] = {"basic", "post", NULL};

#define SECRET_ACCEPTED "the path of a file whose first line is the secret"

static const struct tg_config_key tls_keys[] = {
    {.name = "ca_file",
     .kind = TG_CONFIG_TEXT,
     .accepted = "the path of a PEM file",
     .help = "Who may sign the destination's certificate. Default: the system's list.",
     .offset = offsetof(struct tg_config_destination, ca_file),
     .max = TG_CONFIG_PATH_MAX_BYTES},
    {.name = "cert_file",
     .kind = TG_CONFIG_TEXT,
     .accepted = "the path of a PEM file",
     .help = "Our certificate, for destinations that ask for one (mutual TLS).",
     .offset = offsetof(struct tg_config_destination, cert_file),
     .max = TG_CONFIG_PATH_MAX_BYTES},
    {.name = "key_file",
     .kind = TG_CONFIG_TEXT,
     .accepted = "the path of a PEM file",
     .help = "The private key of cert_file.",
     .offset = offsetof(struct tg_config_destination, key_file),
     .max = TG_CONFIG_PATH_MAX_BYTES},
};
static const struct tg_config_table tls_table = TABLE(tls_keys);

static const struct tg_config_key destination_keys[] = {
    {.name = "connector",
     .kind = TG_CONFIG_NAME,
     .required = true,
     .accepted = "file, or the name of a file in RULES/connectors, without .lua",
     .help = "How to talk to it: file, or a script of the rules such as http-json or tryton.",
     .offset = offsetof(struct tg_config_destination, connector),
     .max = 64},
    {.name = "path",
     .kind = TG_CONFIG_TEXT,
     .accepted = "the path of a directory",
     .help = "Connector file: the directory of its files. Required there.",
     .offset = offsetof(struct tg_config_destination, path),
     .max = TG_CONFIG_PATH_MAX_BYTES},
    {.name = "url",
     .kind = TG_CONFIG_TEXT,
     .accepted = "https://HOST/PATH, or http:// with its address in `allow`; no user, password, "
                 "query or fragment",
     .help = "Scripts: where requests go; a script adds to it. Required there.",
     .offset = offsetof(struct tg_config_destination, url),
     .max = TG_HTTP_URL_MAX_BYTES / 2,
     .form = url_form},
    {.name = "auth",
     .kind = TG_CONFIG_WORD,
     .accepted = "none, basic, bearer, api_key, oauth2 or session",
     .help = "How we say who we are. Default: session if the script has a log-in, else none.",
     .offset = offsetof(struct tg_config_destination, auth),
     .words = auth_words},
    {.name = "user",
     .kind = TG_CONFIG_TEXT,
     .accepted = "1 to 255 bytes",
     .help = "auth basic and session: the user.",
     .offset = offsetof(struct tg_config_destination, user),
     .max = 255},
    {.name = "password_file",
     .kind = TG_CONFIG_TEXT,
     .accepted = SECRET_ACCEPTED,
     .help = "auth basic and session. Read again when it changes, like every secret file here.",
     .offset = offsetof(struct tg_config_destination, password_file),
     .max = TG_CONFIG_PATH_MAX_BYTES},
    {.name = "token_file",
     .kind = TG_CONFIG_TEXT,
     .accepted = SECRET_ACCEPTED,
     .help = "auth bearer: the token.",
     .offset = offsetof(struct tg_config_destination, token_file),
     .max = TG_CONFIG_PATH_MAX_BYTES},
    {.name = "api_key_file",
     .kind = TG_CONFIG_TEXT,
     .accepted = SECRET_ACCEPTED,
     .help = "auth api_key: the key.",
     .offset = offsetof(struct tg_config_destination, api_key_file),
     .max = TG_CONFIG_PATH_MAX_BYTES},
    {.name = "api_key_header",
     .kind = TG_CONFIG_TEXT,
     .accepted = "the name of a header",
     .help = "auth api_key: the header that carries the key.",
     .offset = offsetof(struct tg_config_destination, api_key_header),
     .max = 64,
     .form = header_form},
    {.name = "token_url",
     .kind = TG_CONFIG_TEXT,
     .accepted = "as url",
     .help = "auth oauth2: the token endpoint (client credentials, RFC 6749 4.4).",
     .offset = offsetof(struct tg_config_destination, token_url),
     .max = TG_HTTP_URL_MAX_BYTES / 2,
     .form = url_form},
    {.name = "client_id",
     .kind = TG_CONFIG_TEXT,
     .accepted = "1 to 255 bytes",
     .help = "auth oauth2.",
     .offset = offsetof(struct tg_config_destination, client_id),
     .max = 255},
    {.name = "client_secret_file",
     .kind = TG_CONFIG_TEXT,
     .accepted = SECRET_ACCEPTED,
     .help = "auth oauth2.",
     .offset = offsetof(struct tg_config_destination, client_secret_file),
     .max = TG_CONFIG_PATH_MAX_BYTES},
    {.name = "client_auth",
     .kind = TG_CONFIG_WORD,
     .fallback = "basic",
     .accepted = "basic or post",
     .help = "auth oauth2: the secret goes into a header, or into the body.",
     .offset = offsetof(struct tg_config_destination, client_auth),
     .words = client_auth_words},
    {.name = "scope",
     .kind = TG_CONFIG_TEXT,
     .accepted = "scopes with a space between",
     .help = "auth oauth2: what is asked for. Default: the client's own.",
     .offset = offsetof(struct tg_config_destination, scope),
     .max = 1024},
    {.name = "token_params",
     .kind = TG_CONFIG_PAIRS,
     .accepted = "a mapping of at most 16 names to texts",
     .help = "auth oauth2: further parameters, such as audience or resource.",
     .offset = offsetof(struct tg_config_destination, token_params),
     .count_offset = offsetof(struct tg_config_destination, token_param_count),
     .max = 16},
    {.name = "tls",
     .kind = TG_CONFIG_MAPPING,
     .accepted = "a mapping with ca_file, cert_file, key_file",
     .help = "Certificates. Changed files are used for new connections, in " NUMBER_TEXT(
         TG_HTTP_CONNECTION_LIFE_S) " s at the latest.",
     .offset = 0,
     .table = &tls_table},
    {.name = "timeout",
     .kind = TG_CONFIG_TIME,
     .fallback = "30s",
     .accepted = "a whole number and a unit, from 1s to 1h",
     .help = "How long one request may take before its outcome is in doubt.",
     .offset = offsetof(struct tg_config_destination, timeout_ms),
     .min = 1000,
     .max = 3600 * 1000},
    {.name = "allow",
     .kind = TG_CONFIG_TEXTS,
     .accepted = "a list of at most " NUMBER_TEXT(
         TG_HTTP_ALLOW_MAX) " ADDRESS or PREFIX/BITS, IPv4 or IPv6",
     .help = "Addresses it may have that are not public (loopback, private ...), or that are "
             "reached without TLS. All others of those are refused.",
     .offset = offsetof(struct tg_config_destination, allow),
     .count_offset = offsetof(struct tg_config_destination, allow_count),
     .max = TG_HTTP_ALLOW_MAX,
     .form = prefix_form},
    {.name = "options",
     .kind = TG_CONFIG_PAIRS,
     .accepted = "a mapping of at most " NUMBER_TEXT(TG_SCRIPT_OPTIONS_MAX) " names to texts",
     .help = "For the script, as ctx.options; each script says which it takes. No secrets.",
     .offset = offsetof(struct tg_config_destination, options),
     .count_offset = offsetof(struct tg_config_destination, option_count),
     .max = TG_SCRIPT_OPTIONS_MAX},
    {.name = "account",
     .kind = TG_CONFIG_NAME,
     .accepted = "1 to " NUMBER_TEXT(TG_SOURCE_NAME_MAX_BYTES) " of A-Z a-z 0-9 . _ -",
     .help = "Destinations of one account, of any tenant, share `concurrency`, `rate` and the "
             "breaker, and take turns. Default: an account of its own.",
     .offset = offsetof(struct tg_config_destination, account),
     .max = TG_SOURCE_NAME_MAX_BYTES},
    {.name = "concurrency",
     .kind = TG_CONFIG_NUMBER,
     .fallback = "64",
     .accepted = "a whole number from 1 to " NUMBER_TEXT(TG_DEST_CONCURRENCY_MAX),
     .help = "How many postings may be on their way at once.",
     .offset = offsetof(struct tg_config_destination, concurrency),
     .min = 1,
     .max = TG_DEST_CONCURRENCY_MAX},
    {.name = "rate",
     .kind = TG_CONFIG_RATE,
     .accepted = "a whole number from 1 to 1000000 and a unit: 100/s, 100/m, 100/h or 100/d",
     .help = "At most so many sends, `concurrency` of them at once. Default: no limit.",
     .offset = offsetof(struct tg_config_destination, rate)},
};
static const struct tg_config_table destination_table = TABLE(destination_keys);

static const char *const correction_words[] = {"reverse", "review", NULL};

static const struct tg_config_key tenant_keys[] = {
    {.name = "id",
     .kind = TG_CONFIG_NAME,
     .required = true,
     .accepted = "1 to " NUMBER_TEXT(TG_TENANT_MAX_BYTES) " of A-Z a-z 0-9 . _ -, each tenant once",
     .help = "The tenant, as in the token's tenant claim and in /hooks/TENANT/SOURCE.",
     .offset = offsetof(struct tg_config_tenant, id),
     .max = TG_TENANT_MAX_BYTES},
    {.name = "sources",
     .kind = TG_CONFIG_NAMED,
     .required = true,
     .accepted = "a mapping of 1 to " NUMBER_TEXT(
         TG_SOURCES_PER_TENANT_MAX) " names (A-Z a-z 0-9 . _ -) to {decoder, uri, clients, "
                                    "project_map}",
     .help = "Who sends events for this tenant.",
     .offset = offsetof(struct tg_config_tenant, sources),
     .min = 1,
     .max = TG_SOURCES_PER_TENANT_MAX,
     .table = &source_table,
     .count_offset = offsetof(struct tg_config_tenant, source_count),
     .item_bytes = sizeof(struct tg_config_source),
     .name_offset = offsetof(struct tg_config_source, name)},
    {.name = "master",
     .kind = TG_CONFIG_TEXT,
     .required = true,
     .accepted = "the path of a JSON file of master data",
     .help = "Workers, projects, assignments and so on.",
     .offset = offsetof(struct tg_config_tenant, master),
     .max = TG_CONFIG_PATH_MAX_BYTES},
    {.name = "calendar",
     .kind = TG_CONFIG_TEXT,
     .required = true,
     .accepted = "the path of a YAML file of periods and pay cycles",
     .help = "Accounting periods and pay cycles.",
     .offset = offsetof(struct tg_config_tenant, calendar),
     .max = TG_CONFIG_PATH_MAX_BYTES},
    {.name = "ownership",
     .kind = TG_CONFIG_TEXT,
     .accepted = "the path of a YAML file: attribute to source",
     .help = "Which source may set which attribute of a worker by events. Default: none. Read anew "
             "by SIGHUP.",
     .offset = offsetof(struct tg_config_tenant, ownership),
     .max = TG_CONFIG_PATH_MAX_BYTES},
    {.name = "corrections",
     .kind = TG_CONFIG_WORD,
     .fallback = "reverse",
     .accepted = "reverse or review",
     .help = "What a later version does to what is posted: reverses it, or waits for finance.",
     .offset = offsetof(struct tg_config_tenant, corrections),
     .words = correction_words},
    {.name = "hold_timeout",
     .kind = TG_CONFIG_TIME,
     .fallback = "24h",
     .accepted = "a whole number and a unit, at most 30d: 500ms, 30s, 15m, 24h, 7d; or 0",
     .help = "How long something is held before a person is told. 0: versions are not held at all.",
     .offset = offsetof(struct tg_config_tenant, hold_timeout_ms),
     .min = 0,
     .max = INT64_C(30) * 24 * 3600 * 1000},
    {.name = "destinations",
     .kind = TG_CONFIG_NAMED,
     .required = true,
     .accepted = "a mapping of 0 to " NUMBER_TEXT(
         TG_DESTINATIONS_PER_TENANT_MAX) " names (A-Z a-z 0-9 . _ -) to what is below",
     .help = "Where postings go. The rules plan only for names that are here.",
     .offset = offsetof(struct tg_config_tenant, destinations),
     .min = 0,
     .max = TG_DESTINATIONS_PER_TENANT_MAX,
     .table = &destination_table,
     .count_offset = offsetof(struct tg_config_tenant, destination_count),
     .item_bytes = sizeof(struct tg_config_destination),
     .name_offset = offsetof(struct tg_config_destination, name)},
};
static const struct tg_config_table tenant_table = TABLE(tenant_keys);

/* ---- the root ---- */

static const struct tg_config_key root_keys[] = {
    {.name = "redis",
     .kind = TG_CONFIG_MAPPING,
     .required = true,
     .accepted = "a mapping with url, user, password_file, prefix, shards, keep",
     .help = "The stream.",
     .table = &redis_table},
    {.name = "journal",
     .kind = TG_CONFIG_MAPPING,
     .required = true,
     .accepted = "a mapping with path, checkpoints",
     .help = "The book of record.",
     .table = &journal_table},
    {.name = "api",
     .kind = TG_CONFIG_MAPPING,
     .required = true,
     .accepted = "a mapping with listen, threads",
     .help = "The HTTP API behind NGINX.",
     .table = &api_table},
    {.name = "rules",
     .kind = TG_CONFIG_MAPPING,
     .accepted = "a mapping with path, approval",
     .help = "The Lua rules.",
     .table = &rules_table},
    {.name = "schemas",
     .kind = TG_CONFIG_TEXT,
     .fallback = "conf/schemas",
     .accepted = "the path of a directory",
     .help = "JSON Schemas of events and canonical objects.",
     .offset = offsetof(struct tg_config, schemas),
     .max = TG_CONFIG_PATH_MAX_BYTES},
    {.name = "catalogue",
     .kind = TG_CONFIG_TEXT,
     .fallback = "conf/catalogue.yaml",
     .accepted = "the path of a YAML file",
     .help = "The list of violation and exception codes.",
     .offset = offsetof(struct tg_config, catalogue),
     .max = TG_CONFIG_PATH_MAX_BYTES},
    {.name = "alerts",
     .kind = TG_CONFIG_MAPPING,
     .accepted = "a mapping with name, repeat, quiet, settle, after, resolved, exception_age, "
                 "posting_age, backlog, webhook, smtp",
     .help = "Whom to tell when something is wrong. Without webhook and smtp: nobody.",
     .offset = offsetof(struct tg_config, alerts),
     .table = &tg_config_alerts},
    {.name = "approvals",
     .kind = TG_CONFIG_MAPPING,
     .accepted = "a mapping with discard, replay_above, expires",
     .help = "What needs a second person.",
     .table = &approvals_table},
    {.name = "issuers",
     .kind = TG_CONFIG_LIST,
     .accepted = "a list of at most 64 mappings with name, jwks_uri, file",
     .help = "Token issuers. Checked here, used at the edge.",
     .offset = TG_CONFIG_NOT_KEPT,
     .max = 64,
     .table = &issuer_table},
    {.name = "tenants",
     .kind = TG_CONFIG_LIST,
     .required = true,
     .accepted = "a list of 1 to " NUMBER_TEXT(
         TG_TENANTS_MAX) " mappings with id, sources, master, calendar, ownership, corrections, "
                         "hold_timeout, destinations",
     .help = "The firms whose events these are.",
     .offset = offsetof(struct tg_config, tenants),
     .min = 1,
     .max = TG_TENANTS_MAX,
     .table = &tenant_table,
     .count_offset = offsetof(struct tg_config, tenant_count),
     .item_bytes = sizeof(struct tg_config_tenant)},
};

const struct tg_config_table tg_config_root = TABLE(root_keys);
