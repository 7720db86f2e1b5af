
/*
 * ngx_http_tally.h: the edge.  One request's way through the module:
 *
 *   ACCESS      token.c       bearer token -> verified -> scope; or the
 *                             signature headers' form and time window
 *   CONTENT     publish.c     body -> SHA-256 -> signature -> CloudEvent ->
 *                             allow-list -> one script call -> 202
 *   PRECONTENT  precontent.c  proxied locations: (body -> signature ->)
 *                             one script call (rates) -> on to proxy_pass
 *
 * The configuration is read-only after load.  All state of a request is in
 * its ngx_http_tally_ctx_t; all state of a worker is in the link, issuer,
 * secret and cache objects that init_process creates.  Only counters are in
 * shared memory.
 *
 * Ownership: conf objects live in the cycle's pool; ctx in r->pool; an op
 * lives on the heap, because hiredis keeps it until its reply comes, which
 * may be after the request is gone.
 */

#ifndef _NGX_HTTP_TALLY_H_INCLUDED_
#define _NGX_HTTP_TALLY_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "common/admit.h"
#include "common/cloudevent.h"
#include "common/jwt.h"
#include "common/problem.h"
#include "common/rate.h"
#include "common/scope.h"
#include "common/secrets.h"
#include "common/signature.h"
#include "common/stream.h"


/* limits of the edge; those both halves share are in common/limits.h */

#define NGX_HTTP_TALLY_REDIS_MAX          16     /* tally_redis objects */
#define NGX_HTTP_TALLY_ISSUERS_MAX        16
#define NGX_HTTP_TALLY_SCOPE_RULES_MAX    16     /* per location */
#define NGX_HTTP_TALLY_PENDING_MAX        4096   /* ops per link */
#define NGX_HTTP_TALLY_OBUF_MAX           (64 * 1024 * 1024)
#define NGX_HTTP_TALLY_CACHE_MAX          1024   /* verified tokens a worker */
#define NGX_HTTP_TALLY_WATCH_MS           1000   /* key and secret files */
#define NGX_HTTP_TALLY_BACKOFF_MIN_MS     50
#define NGX_HTTP_TALLY_BACKOFF_MAX_MS     3000
#define NGX_HTTP_TALLY_DETAIL_MAX         512
#define NGX_HTTP_TALLY_PROBLEM_MAX        2048
#define NGX_HTTP_TALLY_RETRY_AFTER_S      1      /* with 503 and 409 */
#define NGX_HTTP_TALLY_SECRETS_MAX        64     /* tally_secret(s) files */
#define NGX_HTTP_TALLY_RATES_NAMED_MAX    1024   /* tally_rate lines in all */
#define NGX_HTTP_TALLY_MEDIA_MAX          16     /* media= of one publish */
#define NGX_HTTP_TALLY_ISS_MAX            512    /* bytes of an iss claim */
#define NGX_HTTP_TALLY_CLAIM_MAX          4096   /* bytes of $tally_claim_X */
#define NGX_HTTP_TALLY_DB_MAX             1023
#define NGX_HTTP_TALLY_TIMEOUT_MAX_MS     60000
#define NGX_HTTP_TALLY_LEEWAY_MAX_S       300
#define NGX_HTTP_TALLY_TOLERANCE_MAX_S    3600
#define NGX_HTTP_TALLY_IDEM_TTL_MAX_S     (30 * 24 * 3600)


typedef struct ngx_http_tally_redis_s   ngx_http_tally_redis_t;
typedef struct ngx_http_tally_link_s    ngx_http_tally_link_t;
typedef struct ngx_http_tally_issuer_s  ngx_http_tally_issuer_t;
typedef struct ngx_http_tally_secret_s  ngx_http_tally_secret_t;
typedef struct ngx_http_tally_op_s      ngx_http_tally_op_t;
typedef struct ngx_http_tally_ctx_s     ngx_http_tally_ctx_t;
typedef struct ngx_http_tally_call_s    ngx_http_tally_call_t;


/*
 * Checks that tally_failure knows.  SIGNATURE and TOKEN never touch Redis.
 */

#define NGX_HTTP_TALLY_CHECK_RATE         0x01
#define NGX_HTTP_TALLY_CHECK_IDEMPOTENCY  0x02
#define NGX_HTTP_TALLY_CHECK_PUBLISH      0x04


/* where a directive stands, for messages of checks made after parsing */

typedef struct {
    ngx_str_t                    file;          /* NUL-terminated */
    ngx_uint_t                   line;          /* 0: not given */
} ngx_http_tally_at_t;


/* a watched file: what it was when this worker last looked at it */

typedef struct {
    ngx_str_t                    path;          /* full, NUL-terminated */
    time_t                       mtime;
    long                         mtime_ns;
    off_t                        size;
    ngx_file_uniq_t              uniq;
    unsigned                     seen:1;        /* the above are set */
    unsigned                     missing:1;     /* and logged so */
} ngx_http_tally_file_t;


/* tally_redis: one object a directive, shared by all locations that use it */

struct ngx_http_tally_redis_s {
    ngx_str_t                    name;          /* "default" */
    ngx_str_t                    url;           /* as written, for messages */
    ngx_addr_t                   addr;          /* resolved at load time */
    ngx_str_t                    numeric_host;  /* NUL-terminated; or path */
    in_port_t                    port;
    unsigned                     is_unix:1;
    ngx_uint_t                   db;
    ngx_str_t                    user;
    ngx_str_t                    password_file; /* full path; read by link */
    ngx_str_t                    prefix;        /* "tg" */
    ngx_msec_t                   timeout;
    ngx_msec_t                   connect_timeout;
    ngx_uint_t                   shards;        /* shards=16 */
    unsigned                     needs_aof:1;   /* a location publishes here */
    ngx_uint_t                   index;         /* in main conf, of its link */
};


/* tally_issuer */

struct ngx_http_tally_issuer_s {
    ngx_str_t                    name;
    struct tg_jwt_policy         policy;        /* views into cycle memory */
    ngx_http_tally_file_t        file;          /* the JWKS */
    struct tg_jwks              *keys;          /* of this process, or NULL */
    ngx_uint_t                   generation;    /* +1 with each new key set */
    ngx_msec_t                   kid_warned;    /* last WARN of unknown kid */
    unsigned                     kid_seen:1;    /* kid_warned is set */
};


/* tally_secret, tally_secrets: a watched table */

struct ngx_http_tally_secret_s {
    ngx_str_t                    name;          /* "" for tally_secrets */
    ngx_http_tally_file_t        file;
    struct tg_secrets           *table;         /* of this process; or NULL */
};


typedef struct {
    ngx_uint_t                   methods;       /* NGX_HTTP_GET|...; 0: all */
    enum tg_scope_mode           mode;
    struct tg_str                scopes[TG_SCOPES_MAX];
    size_t                       count;
} ngx_http_tally_scope_rule_t;


typedef struct {
    ngx_str_t                    name;
    struct tg_rate               rate;
    ngx_http_complex_value_t    *key;           /* NULL: client */
    ngx_http_complex_value_t    *cost;          /* NULL: 1 */
    ngx_http_tally_at_t          at;
} ngx_http_tally_rate_t;


typedef enum {
    NGX_HTTP_TALLY_IDEM_OFF = 0,
    NGX_HTTP_TALLY_IDEM_OPTIONAL,
    NGX_HTTP_TALLY_IDEM_REQUIRED
} ngx_http_tally_idem_e;


typedef enum {
    NGX_HTTP_TALLY_PUBLISH_OFF = 0,
    NGX_HTTP_TALLY_PUBLISH_CLOUDEVENTS,
    NGX_HTTP_TALLY_PUBLISH_TYPE
} ngx_http_tally_publish_e;


typedef struct {
    ngx_array_t                  redis;         /* ngx_http_tally_redis_t * */
    ngx_array_t                  issuers;       /* ngx_http_tally_issuer_t * */
    ngx_array_t                  secrets;       /* ngx_http_tally_secret_t * */
    ngx_array_t                  rates;         /* ngx_http_tally_rate_t: all */
    ngx_shm_zone_t              *zone;          /* counters; may be NULL */
    ngx_http_tally_at_t          metrics_at;
} ngx_http_tally_main_conf_t;


typedef struct {
    ngx_http_tally_redis_t      *redis;

    ngx_flag_t                   auth;          /* tally_auth given, not off */
    ngx_array_t                 *auth_names;    /* ngx_str_t */
    ngx_array_t                 *auth_issuers;  /* ngx_http_tally_issuer_t * */
    ngx_array_t                 *scopes;        /* ..._scope_rule_t */
    ngx_http_complex_value_t    *tenant;

    ngx_uint_t                   signature;     /* tg_signature_scheme */
    ngx_http_complex_value_t    *signature_secret;
    time_t                       signature_tolerance;
    ngx_uint_t                   signature_failure;  /* 401 */

    ngx_http_complex_value_t    *allow_types;
    ngx_http_complex_value_t    *allow_sources;

    ngx_array_t                 *rates;         /* ngx_http_tally_rate_t */

    ngx_uint_t                   idempotency;   /* ngx_http_tally_idem_e */
    ngx_http_complex_value_t    *idem_key;      /* NULL: the default headers */
    time_t                       idem_ttl;

    ngx_uint_t                   publish;       /* ngx_http_tally_publish_e */
    ngx_http_complex_value_t    *publish_type;
    ngx_http_complex_value_t    *publish_source;
    ngx_http_complex_value_t    *publish_subject;
    ngx_array_t                 *publish_media; /* ngx_str_t */
    unsigned                     ack_memory:1;  /* ack=memory; default aof */

    ngx_uint_t                   failure_allow; /* mask of CHECK_* */
    ngx_uint_t                   failure_set;   /* mask of CHECK_* given */

    ngx_uint_t                   idempotency_inherit;  /* for inner blocks */
    time_t                       idem_ttl_inherit;
    ngx_http_complex_value_t    *idem_key_inherit;

    ngx_http_tally_at_t          auth_at;
    ngx_http_tally_at_t          scope_at;
    ngx_http_tally_at_t          signature_at;
    ngx_http_tally_at_t          rate_at;
    ngx_http_tally_at_t          idem_at;
    ngx_http_tally_at_t          publish_at;
} ngx_http_tally_loc_conf_t;


/* where a request is; one handler each, closed is a state */

typedef enum {
    NGX_HTTP_TALLY_START = 0,
    NGX_HTTP_TALLY_ADMITTED,      /* ACCESS passed */
    NGX_HTTP_TALLY_BODY,          /* reading it */
    NGX_HTTP_TALLY_WAITING,       /* an op is out */
    NGX_HTTP_TALLY_DECIDED,       /* reply or time-out is in ctx */
    NGX_HTTP_TALLY_ANSWERED       /* nothing more to do */
} ngx_http_tally_state_e;


/* what the op brought back */

typedef enum {
    NGX_HTTP_TALLY_OP_PENDING = 0,
    NGX_HTTP_TALLY_OP_REPLY,        /* ctx->reply is valid */
    NGX_HTTP_TALLY_OP_NOT_SENT,     /* no link: nothing happened in Redis */
    NGX_HTTP_TALLY_OP_BUSY,         /* Redis refused: nothing happened */
    NGX_HTTP_TALLY_OP_FULL,         /* short of memory: nothing happened */
    NGX_HTTP_TALLY_OP_UNKNOWN,      /* sent, no answer in time */
    NGX_HTTP_TALLY_OP_FAULT         /* an answer that should not be: 500 */
} ngx_http_tally_outcome_e;


/*
 * A bucket that this request has paid (or that Redis, being away, was not
 * asked about), and what it said then.
 */

typedef struct {
    ngx_http_tally_redis_t      *redis;
    unsigned char                digest[TG_IDEM_DIGEST_BYTES];
    struct tg_rate_state         state;
} ngx_http_tally_paid_t;


struct ngx_http_tally_ctx_s {
    ngx_http_request_t          *request;
    ngx_http_tally_state_e       state;

    ngx_str_t                    correlation_id;
    ngx_str_t                    traceparent;    /* well-formed or empty */

    /* ACCESS */
    struct tg_jwt                jwt;            /* claims: own reference */
    unsigned                     has_token:1;
    unsigned                     counted:1;      /* in REQUESTS */
    unsigned                     denied:1;       /* by us, satisfy any */
    unsigned                     answered:1;     /* our own answer is made */
    unsigned                     replaced:1;     /* by the body filter */
    enum tg_problem_code         denied_code;
    ngx_str_t                    denied_detail;
    ngx_str_t                    client;
    ngx_str_t                    tenant;
    ngx_str_t                    subject;        /* of the token */
    ngx_str_t                    scope;          /* space separated */
    ngx_str_t                    secret_name;    /* secret= of this request */

    /* body */
    ngx_str_t                    body;           /* in one piece */
    unsigned char                body_sha256[TG_SHA256_BYTES];

    /* event */
    struct tg_cloudevent         event;          /* cleared by cleanup */
    ngx_str_t                    event_type;
    ngx_str_t                    event_source;
    ngx_str_t                    event_subject;

    /* idempotency */
    ngx_str_t                    idem_key;       /* empty: none */

    /* the one script call */
    ngx_http_tally_call_t       *call;           /* of PRECONTENT */
    ngx_array_t                 *paid;           /* ..._paid_t; NULL: none */
    ngx_http_tally_op_t         *op;             /* while WAITING */
    ngx_http_tally_outcome_e     outcome;
    struct tg_admit_reply        reply;
    ngx_msec_t                   redis_sent_at;  /* set by op_start */
    ngx_msec_t                   redis_ms;       /* until outcome, */
    unsigned                     redis_timed:1;  /* when there was a call */

    /* for the log and the answer */
    ngx_str_t                    decision;       /* accepted refused error */
    ngx_str_t                    reason;         /* problem code or verdict */
};


/* metrics: the one table; X(enumerator, name, label text or "", help) */

#define NGX_HTTP_TALLY_METRIC_TABLE(X)                                        \
    X(REQUESTS, "tallygate_edge_requests_total", "",                          \
      "Requests that reached a tally location")                               \
    X(ACCEPTED, "tallygate_edge_decisions_total", "decision=\"accepted\"",    \
      "Decisions")                                                            \
    X(REPLAYED, "tallygate_edge_decisions_total", "decision=\"replayed\"",    \
      "Decisions")                                                            \
    X(PASSED, "tallygate_edge_decisions_total", "decision=\"passed\"",        \
      "Decisions")                                                            \
    X(CACHE_HIT, "tallygate_edge_token_cache_total", "result=\"hit\"",        \
      "Look-ups of verified tokens")                                          \
    X(CACHE_MISS, "tallygate_edge_token_cache_total", "result=\"miss\"",      \
      "Look-ups of verified tokens")                                          \
    X(REDIS_CALLS, "tallygate_edge_redis_calls_total", "",                    \
      "Script calls sent")                                                    \
    X(REDIS_TIMEOUTS, "tallygate_edge_redis_timeouts_total", "",              \
      "Script calls without an answer in time")                               \
    X(REDIS_CONNECTS, "tallygate_edge_redis_connects_total", "",              \
      "Handshakes that succeeded")                                            \
    X(REDIS_FAILURES, "tallygate_edge_redis_failures_total", "",              \
      "Links lost or refused")                                                \
    X(RATE_UNCHECKED, "tallygate_edge_rate_unchecked_total", "",              \
      "Requests let pass without a rate check, Redis being away")             \
    X(KEYS_RELOADED, "tallygate_edge_keys_reloaded_total", "",                \
      "Key sets and secret files read anew")                                  \
    X(KEYS_REFUSED, "tallygate_edge_keys_refused_total", "",                  \
      "Key sets and secret files that did not parse; the old stay")           \
    X(UNKNOWN_KID, "tallygate_edge_unknown_kid_total", "",                    \
      "Tokens with a key id that is in no set")

#define NGX_HTTP_TALLY_METRIC_ENUM(name, text, label, help)                   \
    NGX_HTTP_TALLY_METRIC_##name,

typedef enum {
    NGX_HTTP_TALLY_METRIC_TABLE(NGX_HTTP_TALLY_METRIC_ENUM)
    /* then one tallygate_edge_refused_total{code="..."} for each problem */
    NGX_HTTP_TALLY_METRIC_REFUSED_FIRST,
    NGX_HTTP_TALLY_METRIC_COUNT = NGX_HTTP_TALLY_METRIC_REFUSED_FIRST
                                  + TG_PROBLEM_COUNT
} ngx_http_tally_metric_e;


extern ngx_module_t  ngx_http_tally_module;


/* ngx_str_t and tg_str are the same two words in another order */

static ngx_inline struct tg_str
ngx_http_tally_tg(const ngx_str_t *s)
{
    struct tg_str  t;

    t.data = s->data;
    t.len = s->len;

    return t;
}


/* ---- _ctx.c ---- */

/*
 * The request's ctx, made at the first call with correlation id and
 * traceparent set.  Found again after an internal redirect (r->ctx[] is
 * zeroed then) through its pool cleanup.  NULL: out of memory.
 */
ngx_http_tally_ctx_t *ngx_http_tally_get_ctx(ngx_http_request_t *r);

/* The same, but never makes one: for variables and the log. */
ngx_http_tally_ctx_t *ngx_http_tally_find_ctx(ngx_http_request_t *r);


/* The one header of that lower-case name; *count says how many there are. */
ngx_table_elt_t *ngx_http_tally_header(ngx_http_request_t *r,
    const char *name, ngx_uint_t *count);


/* ---- _conf.c: configuration objects, merge and the checks of a whole ---- */

void *ngx_http_tally_create_main_conf(ngx_conf_t *cf);
char *ngx_http_tally_init_main_conf(ngx_conf_t *cf, void *conf);
void *ngx_http_tally_create_loc_conf(ngx_conf_t *cf);
char *ngx_http_tally_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);


/* ---- _conf_util.c: words of directives ---- */

/* one NAME=VALUE of a directive */

typedef struct {
    const char                  *name;          /* "iss=" */
    ngx_str_t                    value;
    ngx_array_t                 *values;        /* ngx_str_t: may repeat */
    ngx_uint_t                   given;
    ngx_str_t                    word;          /* name and value */
} ngx_http_tally_param_t;

#define ngx_http_tally_param(name)                                            \
    { name, ngx_null_string, NULL, 0, ngx_null_string }

/*
 * Fills params from words; the list ends with a NULL name.  A word that is
 * none of them, an empty value and a repetition are errors.
 */
char *ngx_http_tally_params(ngx_conf_t *cf, ngx_command_t *cmd,
    ngx_str_t *words, ngx_uint_t n, ngx_http_tally_param_t *params);

/* "DIRECTIVE: \"WORD\" is not accepted, expected ..."; NGX_CONF_ERROR. */
char *ngx_http_tally_bad(ngx_conf_t *cf, ngx_command_t *cmd, ngx_str_t *word,
    const char *expected);

/* A value that may contain variables, in the cycle's pool; NULL on error. */
ngx_http_complex_value_t *ngx_http_tally_compile(ngx_conf_t *cf,
    ngx_str_t *text);

void ngx_http_tally_here(ngx_conf_t *cf, ngx_http_tally_at_t *at);

/* EMERG with the file and line of at; NGX_CONF_ERROR. */
char *ngx_http_tally_fail_at(ngx_conf_t *cf, ngx_http_tally_at_t *at,
    const char *fmt, ...);

/* Full path, relative to the configuration's prefix, NUL-terminated. */
char *ngx_http_tally_path(ngx_conf_t *cf, ngx_str_t *name, ngx_str_t *full);


/* ---- _conf_*.c: setters of directives (see the table in _module.c) ---- */

char *ngx_http_tally_redis(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_tally_issuer(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_tally_auth(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_tally_scope(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_tally_tenant(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_tally_secret(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_tally_secrets(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_tally_signature(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_tally_allow(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_tally_rate(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_tally_idempotency(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_tally_publish(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_tally_failure(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_tally_zone(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_tally_metrics(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);


/* ---- _token.c ---- */

/* ACCESS phase handler: token and scope, or the signature's headers. */
ngx_int_t ngx_http_tally_access_handler(ngx_http_request_t *r);


/* Whether a rule of tally_scope is for this request's method. */
ngx_uint_t ngx_http_tally_scope_applies(ngx_http_request_t *r,
    ngx_http_tally_scope_rule_t *rule);


/* ---- _cache.c: verified tokens of this worker ---- */

ngx_int_t ngx_http_tally_cache_init(ngx_cycle_t *cycle);
void ngx_http_tally_cache_done(void);

/*
 * Fills *out with a copy that owns its own reference, NGX_OK, or
 * NGX_DECLINED.  exp is re-checked by the caller (tg_jwt_recheck).
 */
ngx_int_t ngx_http_tally_cache_get(const unsigned char *digest,
    ngx_http_tally_issuer_t *issuer, struct tg_jwt *out);
void ngx_http_tally_cache_put(const unsigned char *digest,
    ngx_http_tally_issuer_t *issuer, const struct tg_jwt *jwt);


/* ---- _watch.c: key sets and secrets of this worker ---- */

/*
 * Read and parse a file as a worker would; the caller owns the result.  NULL
 * with err set.  file may be NULL, or gets the identity of what was read.
 */
struct tg_jwks *ngx_http_tally_read_keys(ngx_http_tally_issuer_t *issuer,
    ngx_http_tally_file_t *file, struct tg_error *err);
struct tg_secrets *ngx_http_tally_read_secrets(
    ngx_http_tally_secret_t *secret, ngx_http_tally_file_t *file,
    struct tg_error *err);

ngx_int_t ngx_http_tally_watch_init(ngx_cycle_t *cycle,
    ngx_http_tally_main_conf_t *mcf);
void ngx_http_tally_watch_done(ngx_http_tally_main_conf_t *mcf);


/* ---- _signature.c ---- */

/*
 * Both set ctx->client to hook:SOURCE, unless a token has named it.
 * NGX_OK: go on.  NGX_DECLINED with a detail: refuse with signature_invalid
 * and the location's signature_failure status.  NGX_BUSY (precheck only):
 * no secrets are loaded, refuse with unavailable.  NGX_ERROR: out of memory.
 */
ngx_int_t ngx_http_tally_signature_precheck(ngx_http_request_t *r,
    ngx_http_tally_ctx_t *ctx, ngx_str_t *detail);
ngx_int_t ngx_http_tally_signature_verify(ngx_http_request_t *r,
    ngx_http_tally_ctx_t *ctx, ngx_str_t *detail);


/* ---- _event.c ---- */

/*
 * Media type, CloudEvent or type=, allow-list: fills ctx->event_*.
 * NGX_OK, NGX_DECLINED with *code and *detail, NGX_ERROR.
 */
ngx_int_t ngx_http_tally_event_read(ngx_http_request_t *r,
    ngx_http_tally_ctx_t *ctx, enum tg_problem_code *code, ngx_str_t *detail);


/* ---- _key.c ---- */

/*
 * Fills ctx->idem_key, empty where the location asks for none; the body must
 * have been taken.  NGX_OK, NGX_DECLINED with *code and *detail, NGX_ERROR.
 */
ngx_int_t ngx_http_tally_idem_key(ngx_http_request_t *r,
    ngx_http_tally_ctx_t *ctx, enum tg_problem_code *code, ngx_str_t *detail);

/* The id of the event that is published, after the above.  Or NGX_ERROR. */
ngx_int_t ngx_http_tally_event_id(ngx_http_request_t *r,
    ngx_http_tally_ctx_t *ctx, ngx_str_t *id);


/* ---- _link.c, _handshake.c: the one connection a worker and Redis ---- */

ngx_int_t ngx_http_tally_link_init(ngx_cycle_t *cycle,
    ngx_http_tally_main_conf_t *mcf);
void ngx_http_tally_link_done(void);

/* Handshake done and not being torn down. */
ngx_uint_t ngx_http_tally_link_ready(ngx_http_tally_redis_t *redis);


/* ---- _admit.c: arguments of the script, and its reply ---- */

struct ngx_http_tally_call_s {
    int                          argc;
    const char                 **argv;          /* EVALSHA sha nkeys ... */
    size_t                      *argvlen;
    size_t                       nrates;        /* in the call */
    uint32_t                     skipped;       /* bit i: conf's rate i, not */
    uint32_t                     paid;          /* of these: paid before */
    unsigned char                digest[TG_RATES_MAX][TG_IDEM_DIGEST_BYTES];
};

/*
 * Builds the call in r->pool, but for argv[0] and argv[1], which op_start
 * fills in.  A rate whose key is empty or whose bucket is in ctx->paid is
 * left out.  NGX_OK, NGX_ERROR, or NGX_DECLINED (*code).
 */
ngx_int_t ngx_http_tally_admit_build(ngx_http_request_t *r,
    ngx_http_tally_ctx_t *ctx, ngx_http_tally_call_t *call,
    enum tg_problem_code *code, ngx_str_t *detail);


/* The entry of ctx->paid for rate i of the call, or NULL. */
ngx_http_tally_paid_t *ngx_http_tally_find_paid(ngx_http_tally_ctx_t *ctx,
    ngx_http_tally_redis_t *redis, ngx_http_tally_call_t *call, ngx_uint_t i);


/* ---- _op.c ---- */

/*
 * ctx->reply by the order of the location's rates: those of the call from
 * reply, those paid before as they were then, the others as untouched.
 */
void ngx_http_tally_op_spread(ngx_http_request_t *r,
    ngx_http_tally_ctx_t *ctx, ngx_http_tally_call_t *call,
    struct tg_admit_reply *reply);

/*
 * Sends the script call for ctx and arms the deadline.  call must live in
 * r->pool.  NGX_AGAIN: wait, the request will be resumed through its posted
 * write event with ctx->state DECIDED; NGX_OK: ctx->outcome is already there
 * (no link); NGX_ERROR: out of memory.
 */
ngx_int_t ngx_http_tally_op_start(ngx_http_request_t *r,
    ngx_http_tally_ctx_t *ctx, ngx_http_tally_call_t *call);


/* ---- _publish.c, _precontent.c ---- */

ngx_int_t ngx_http_tally_publish_handler(ngx_http_request_t *r);
ngx_int_t ngx_http_tally_precontent_handler(ngx_http_request_t *r);


/* ---- _answer.c ---- */

/*
 * Sends application/problem+json with the headers that belong to the code
 * (WWW-Authenticate, RateLimit*, Retry-After, X-Correlation-ID), counts it,
 * sets decision and reason, logs at INFO.  status 0: the table's.  Returns
 * what ngx_http_finalize_request wants.  Not through error_page.
 */
ngx_int_t ngx_http_tally_refuse(ngx_http_request_t *r,
    ngx_http_tally_ctx_t *ctx, enum tg_problem_code code, ngx_uint_t status,
    ngx_str_t *detail);

/* 202 with Location and {"id","status"}; Idempotent-Replayed on a replay. */
ngx_int_t ngx_http_tally_accept(ngx_http_request_t *r,
    ngx_http_tally_ctx_t *ctx);

/* ---- _headers.c ---- */

/* RateLimit, RateLimit-Policy and X-Correlation-ID, on every answer. */
ngx_int_t ngx_http_tally_add_headers(ngx_http_request_t *r,
    ngx_http_tally_ctx_t *ctx);


/*
 * WWW-Authenticate of a 401, 403 or 400 of ours, also remembered in
 * r->headers_out, so that satisfy any can take it back.
 */
ngx_int_t ngx_http_tally_challenge(ngx_http_request_t *r,
    ngx_http_tally_ctx_t *ctx, enum tg_problem_code code, ngx_str_t *detail);

/* The problem document in r->pool. */
ngx_int_t ngx_http_tally_problem(ngx_http_request_t *r,
    ngx_http_tally_ctx_t *ctx, enum tg_problem_code code, ngx_str_t *detail,
    ngx_str_t *body);

/* Counts, sets decision and reason, logs at INFO. */
void ngx_http_tally_note_refusal(ngx_http_request_t *r,
    ngx_http_tally_ctx_t *ctx, enum tg_problem_code code, ngx_uint_t status,
    ngx_str_t *detail);

/* Cache-Control, Allow, Retry-After and what add_headers adds. */
ngx_int_t ngx_http_tally_refusal_headers(ngx_http_request_t *r,
    ngx_http_tally_ctx_t *ctx, enum tg_problem_code code, ngx_uint_t status);

/* Pushes a response header; key is a literal. */
ngx_int_t ngx_http_tally_push_header(ngx_http_request_t *r, const char *key,
    ngx_str_t *value);


/* ---- _filter.c ---- */

/*
 * Our headers on every answer of a tally location, and NGINX's own 413, 400
 * (body) and deferred 401/403 pages as problem documents.
 */
ngx_int_t ngx_http_tally_filter_init(ngx_conf_t *cf);


/* ---- _vars.c ---- */

ngx_int_t ngx_http_tally_add_variables(ngx_conf_t *cf);


/* ---- _metrics.c ---- */

/* The zone's counters for this process; NULL zone: counting is off. */
void ngx_http_tally_count_init(ngx_shm_zone_t *zone);
void ngx_http_tally_count(ngx_uint_t metric);
void ngx_http_tally_count_refused(enum tg_problem_code code);
ngx_int_t ngx_http_tally_metrics_handler(ngx_http_request_t *r);
ngx_int_t ngx_http_tally_init_zone(ngx_shm_zone_t *shm_zone, void *data);


#endif /* _NGX_HTTP_TALLY_H_INCLUDED_ */
