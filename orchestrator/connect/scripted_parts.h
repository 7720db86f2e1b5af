/*
 * scripted_parts.h: what scripted.c (the connector) and steps.c (one job's way) share.
 *
 * A job's way: ask the script for a request; if it wants others first, send those one by one and
 * let the script learn from each, then ask again; get credentials; send; on a 401 once more with
 * new credentials; let the script read the answer.
 *
 * Ownership: a connector owns its jobs; a job owns its documents and holds one version of the
 * scripts from its begin to its end, so that the version that made a request also reads its answer.
 */
#ifndef TG_CONNECT_SCRIPTED_PARTS_H
#define TG_CONNECT_SCRIPTED_PARTS_H

#include "connect/auth.h"
#include "connect/connect.h"
#include "connect/known.h"

enum tg_job_step { TG_STEP_PREPARE, TG_STEP_MAIN };

struct tg_job {
    struct tg_job *next, **link; /* in jobs of the connector */
    struct tg_job *next_new;     /* in the line of those not begun */
    struct tg_connector *c;
    int64_t posting;
    bool is_lookup;
    struct tg_scripts scripts;
    json_t *document; /* the posting, for the script */
    json_t *known;    /* name -> value: what was learned and is used for it */
    /* the list of prepared requests in hand; NULL: none */
    json_t *prepare;
    size_t prepare_at;
    bool learned; /* something new in this round */
    unsigned rounds;
    /* the request in hand */
    enum tg_job_step step;
    struct tg_message message;
    bool again; /* it is sent a second time, after a 401 */
    struct tg_auth_wait wait;
    unsigned generation; /* of the credentials it went with */
    struct tg_http_call *call;
};

struct tg_connector {
    struct tg_connect_env env;
    const struct tg_config_destination *config;
    tg_connect_done done;
    void *arg;
    struct tg_connect_about about;
    struct tg_script_about promised; /* as the script said it */
    json_t *ctx;                     /* {destination, tenant, user, options} */
    struct tg_prefix *allow;
    struct tg_http_site site;
    struct tg_auth *auth;
    const char *auth_kind; /* static */
    struct tg_known_values *known;
    struct tg_job *jobs;
    struct tg_job *first_new, **last_new;
    uv_timer_t kick; /* begins new jobs, never from inside send */
    bool closing;
    tg_connect_closed closed;
    void *closed_arg;
};

/* ---- scripted.c ---- */

/* Unlinks and frees it, then reports. result's posting and is_lookup are filled here. */
void tg_job_end(struct tg_job *job, struct tg_connect_result *result);

/* ---- steps.c ---- */

/* Begins it: asks the script for the request. */
void tg_job_run(struct tg_job *job);

/* The context for a call of a script: the connector's with `known`. New; NULL: no memory. */
json_t *tg_job_ctx(const struct tg_connector *c, json_t *known);

#endif
