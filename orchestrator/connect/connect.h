/*
 * connect.h: the only place that talks to the outside. A connector sends postings to one
 * destination and looks them up by key; it decides nothing and remembers nothing the journal
 * should know.
 *
 * All calls and callbacks are on the loop thread. The result of every job comes exactly once, also
 * on close (then TG_OUTCOME_IN_DOUBT if it may have been sent, TG_OUTCOME_RETRY if surely not).
 *
 * Ownership: jobs are copied; the strings of a result are valid inside the callback only.
 */
#ifndef TG_CONNECT_CONNECT_H
#define TG_CONNECT_CONNECT_H

#include <uv.h>

#include "connect/http.h"
#include "connect/script.h"
#include "core/config.h"
#include "core/engine.h"

struct tg_connector;

/* What all connectors of one dispatch share. */
struct tg_connect_env {
    uv_loop_t *loop;
    struct tg_http *http;      /* NULL: there are no HTTP connectors */
    struct tg_scripts scripts; /* in force; ops NULL: none */
};

struct tg_connect_job {
    int64_t posting;
    char key[2 * TG_POSTING_KEY_BYTES + 1]; /* hex */
    const char *kind, *leg, *payload;       /* payload: JSON */
    const char *subject, *correlation_id;
    unsigned attempt;
    /* A reversal takes back what another posting did; payload is that one's, perhaps with another
     * period. The key in hex, and the destination's reference of it. NULL: not one; none. */
    const char *reverses_key, *reverses_ref;
};

struct tg_connect_result {
    int64_t posting;
    bool is_lookup;
    enum tg_outcome outcome; /* of a send */
    enum tg_lookup lookup;   /* of a look-up */
    const char *ref;         /* the destination's reference; NULL: none */
    const char *detail;      /* for a person, UTF-8; NULL: none */
    const char *exception;   /* REJECTED: code of the catalogue; NULL: destination_rejected */
    int64_t retry_after_ms;
};

typedef void (*tg_connect_done)(void *arg, const struct tg_connect_result *result);
typedef void (*tg_connect_closed)(void *arg);
typedef void (*tg_connect_usable)(void *arg);

/* What a destination promises about repeats; the engine trusts it. */
struct tg_connect_about {
    enum tg_dedupe dedupe;
    int64_t idempotency_ttl_ms; /* what struct tg_engine_destination asks for */
    int64_t max_execution_ms;   /* how long a request may go on there after its time-out */
    bool reversible;
};

struct tg_connector_ops {
    const char *name; /* "file"; NULL: scripts, by the connector's name */
    /* Recovers what a crash left (torn lines), creates directories. env is copied. NULL with err.
     */
    struct tg_connector *(*open)(const struct tg_connect_env *env,
                                 const struct tg_config_destination *d, const char *tenant,
                                 tg_connect_done done, void *arg, struct tg_error *err);
    void (*about)(const struct tg_connector *c, struct tg_connect_about *out);
    int (*send)(struct tg_connector *c, const struct tg_connect_job *job);   /* 0, -1: no memory */
    int (*lookup)(struct tg_connector *c, const struct tg_connect_job *job); /* 0, -1: no memory */
    /* Other scripts. check changes nothing: -1 with err when they do not fit this destination, or
     * promise something else than before (the engine would have to be made anew). take puts them in
     * force for the jobs that come; those on their way keep theirs. NULL: no scripts are used. */
    int (*check)(const struct tg_connector *c, const struct tg_scripts *scripts,
                 struct tg_error *err);
    void (*take)(struct tg_connector *c, const struct tg_scripts *scripts);
    /* Asks to be told, with the arg of open, when what was answered STUCK may work now. NULL:
     * this connector never answers STUCK. */
    void (*watch)(struct tg_connector *c, tg_connect_usable usable);
    void (*close)(struct tg_connector *c, tg_connect_closed closed, void *arg);
};

/* A connector in C by its name; NULL: it may be a script's. `names` for the error text: "file". */
const struct tg_connector_ops *tg_connector_find(const char *name);
const char *tg_connector_names(void);

/* The same, or else the script of that name; NULL with err: there is neither. */
const struct tg_connector_ops *
tg_connector_choose(const char *name, const struct tg_scripts *scripts, struct tg_error *err);

#endif
