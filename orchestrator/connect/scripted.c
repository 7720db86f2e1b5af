/*
 * The connector's life: opening (configuration, script, credentials), the line of new jobs, other
 * scripts, closing. What happens to one job is in steps.c.
 *
 * Nothing is reported from inside send: new jobs begin from a timer of 0, in the next turn.
 */
#include "connect/scripted.h"

#include <stdlib.h>
#include <string.h>

#include "connect/answer.h"
#include "connect/http_text.h"
#include "connect/scripted_parts.h"

/* ---- opening ---- */

static int read_allow(struct tg_connector *c, struct tg_error *err)
{
    const struct tg_config_destination *d = c->config;
    struct tg_error inner;

    c->allow = calloc(d->allow_count + 1, sizeof(*c->allow));
    if (c->allow == NULL) {
        return tg_error_set(err, "out of memory");
    }
    for (size_t i = 0; i < d->allow_count; i++) {
        if (tg_prefix_parse(tg_str_of(d->allow[i]), &c->allow[i], &inner) != 0) {
            return tg_error_set(err, "allow `%.64s`: %.200s", d->allow[i], inner.text);
        }
    }
    c->site = (struct tg_http_site){.allow = c->allow,
                                    .allow_count = d->allow_count,
                                    .ca_file = d->ca_file,
                                    .cert_file = d->cert_file,
                                    .key_file = d->key_file};
    return 0;
}

/* An address in the url is known now; a name's is checked whenever it is connected to. */
static int check_address(const struct tg_connector *c, struct tg_error *err)
{
    struct sockaddr_storage address;
    char host[TG_HTTP_URL_MAX_BYTES];
    const char *fault;

    if (!tg_http_url_host(c->config->url, host, sizeof(host)) ||
        tg_address_parse(tg_str_of(host), &address) != 0 ||
        tg_address_is_listed((struct sockaddr *)&address, c->allow, c->site.allow_count)) {
        return 0;
    }
    fault = tg_address_fault((struct sockaddr *)&address);
    if (fault == NULL && tg_http_url_is_tls(c->config->url)) {
        return 0;
    }
    return tg_error_set(err, "url: the address %.64s is %s; add it to `allow` if it is meant", host,
                        fault != NULL ? fault : "to be reached without TLS");
}

static json_t *make_options(const struct tg_config_destination *d)
{
    json_t *options = json_object();

    for (size_t i = 0; i < d->option_count; i++) {
        if (json_object_set_new(options, d->options[i].name, json_string(d->options[i].value)) !=
            0) {
            json_decref(options);
            return NULL;
        }
    }
    return options;
}

static int make_ctx(struct tg_connector *c, const char *tenant, struct tg_error *err)
{
    json_t *options = make_options(c->config);

    c->ctx = options == NULL
                 ? NULL
                 : json_pack("{s:s, s:s, s:o, s:s*}", "destination", c->config->name, "tenant",
                             tenant, "options", options, "user", c->config->user);
    return c->ctx != NULL ? 0 : tg_error_set(err, "out of memory, or a text is not UTF-8");
}

json_t *tg_job_ctx(const struct tg_connector *c, json_t *known)
{
    json_t *ctx = json_copy(c->ctx);

    if (ctx != NULL && json_object_set(ctx, "known", known) != 0) {
        json_decref(ctx);
        return NULL;
    }
    return ctx;
}

/* A function of the context alone. */
static json_t *call_with_ctx(const struct tg_connector *c, const struct tg_scripts *scripts,
                             const char *function, const json_t *response, struct tg_error *err)
{
    json_t *none = json_object();
    json_t *ctx = none != NULL ? tg_job_ctx(c, none) : NULL;
    json_t *args = json_array(), *result = NULL;
    bool ok = ctx != NULL && args != NULL;

    if (ok && response != NULL) {
        ok = json_array_append(args, (json_t *)response) == 0;
    }
    if (ok && json_array_append(args, ctx) == 0) {
        result = scripts->ops->call(scripts->version, c->config->connector, function, args, err);
    } else {
        (void)tg_error_set(err, "out of memory");
    }
    json_decref(args);
    json_decref(ctx);
    json_decref(none);
    return result;
}

static int ask_about(const struct tg_connector *c, const struct tg_scripts *scripts,
                     struct tg_script_about *out, struct tg_error *err)
{
    struct tg_error inner = {""};
    json_t *about = call_with_ctx(c, scripts, "about", NULL, &inner);
    int rc = about != NULL ? tg_script_read_about(about, out, &inner) : -1;

    json_decref(about);
    return rc == 0 ? 0
                   : tg_error_set(err, "about of connectors/%.64s.lua: %.380s",
                                  c->config->connector, inner.text);
}

/*
 * The engine wants to know how long after the first send a repeat is surely recognised: less than
 * the destination's own time by what a send takes, and by what the clocks may be apart.
 */
static int64_t safe_ttl_ms(const struct tg_connector *c, const struct tg_script_about *p)
{
    return p->ttl_ms - c->config->timeout_ms - TG_IDEMPOTENCY_MARGIN_MS;
}

static int take_promise(struct tg_connector *c, struct tg_error *err)
{
    const struct tg_script_about *p = &c->promised;

    c->about = (struct tg_connect_about){
        .dedupe = p->dedupe, .max_execution_ms = p->max_execution_ms, .reversible = p->reversible};
    if (p->dedupe != TG_DEDUPE_IDEMPOTENCY) {
        return 0;
    }
    c->about.idempotency_ttl_ms = safe_ttl_ms(c, p);
    return c->about.idempotency_ttl_ms > 0
               ? 0
               : tg_error_set(err, "keys are known for %lld s there, too short to repeat safely",
                              (long long)(p->ttl_ms / 1000));
}

/* ---- log-in by script ---- */

static int login_request(void *arg, const char *password, struct tg_message *out,
                         struct tg_error *err)
{
    struct tg_connector *c = arg;
    struct tg_error inner = {""};
    char url[TG_HTTP_URL_MAX_BYTES];
    json_t *result = call_with_ctx(c, &c->env.scripts, "login", NULL, &inner);
    int rc = result != NULL ? tg_script_read_request(result, password, out, &inner) : -1;

    json_decref(result);
    if (rc == 0) {
        rc = tg_http_url_join(c->config->url, tg_str_of(out->target), url, sizeof(url), &inner);
        free(out->target);
        out->target = rc == 0 ? strdup(url) : NULL;
        if (out->target == NULL) {
            tg_message_clear(out);
            rc = -1;
        }
    }
    return rc == 0 ? 0
                   : tg_error_set(err, "login of connectors/%.64s.lua: %.380s",
                                  c->config->connector, inner.text);
}

static enum tg_grant_result login_answer(void *arg, const struct tg_http_answer *a,
                                         struct tg_grant *out, struct tg_error *err)
{
    struct tg_connector *c = arg;
    struct tg_error inner = {""};
    enum tg_grant_result result = TG_GRANT_FAILED;
    json_t *response, *session = NULL;

    memset(out, 0, sizeof(*out));
    if (a->end != TG_HTTP_WHOLE) {
        (void)tg_error_set(err, "the log-in got no answer: %.300s", a->why);
        return TG_GRANT_FAILED;
    }
    response = tg_answer_document(a);
    if (response != NULL) {
        session = call_with_ctx(c, &c->env.scripts, "session", response, &inner);
    }
    if (session != NULL) {
        result = tg_script_read_session(session, out, &inner);
    }
    json_decref(session);
    json_decref(response);
    if (result == TG_GRANT_REFUSED) {
        (void)tg_error_set(err, "the log-in was refused: %.300s", inner.text);
    } else if (result == TG_GRANT_FAILED) {
        (void)tg_error_set(err,
                           "the log-in was answered %d; session of connectors/%.64s.lua: %.300s",
                           a->status, c->config->connector, inner.text);
    }
    return result;
}

static int open_auth(struct tg_connector *c, struct tg_error *err)
{
    const struct tg_scripts *s = &c->env.scripts;
    const bool logs_in = s->ops->has(s->version, c->config->connector, "login") &&
                         s->ops->has(s->version, c->config->connector, "session");
    const struct tg_auth_login login = {login_request, login_answer, c};
    const struct tg_auth_options o = {.loop = c->env.loop,
                                      .http = c->env.http,
                                      .site = &c->site,
                                      .config = c->config,
                                      .kind = c->config->auth != NULL ? c->config->auth
                                              : logs_in               ? "session"
                                                                      : "none",
                                      .login = logs_in ? &login : NULL};

    c->auth = tg_auth_new(&o, err);
    return c->auth != NULL ? 0 : -1;
}

static int open_parts(struct tg_connector *c, const char *tenant, struct tg_error *err)
{
    struct tg_error inner = {""};

    if (c->env.http == NULL || c->env.scripts.ops == NULL) {
        return tg_error_set(err, "there is no HTTP client");
    }
    if (c->config->url == NULL) {
        return tg_error_set(err, "connector %.64s needs a `url`", c->config->connector);
    }
    if (tg_http_url_check(tg_str_of(c->config->url), &inner) != 0) {
        return tg_error_set(err, "url %s", inner.text);
    }
    c->known = tg_known_new();
    if (c->known == NULL) {
        return tg_error_set(err, "out of memory");
    }
    if (read_allow(c, err) != 0 || check_address(c, err) != 0 || make_ctx(c, tenant, err) != 0 ||
        ask_about(c, &c->env.scripts, &c->promised, err) != 0 || take_promise(c, err) != 0) {
        return -1;
    }
    return open_auth(c, err);
}

static void free_parts(struct tg_connector *c)
{
    tg_auth_free(c->auth);
    tg_known_free(c->known);
    json_decref(c->ctx);
    free(c->allow);
    if (c->env.scripts.ops != NULL) {
        c->env.scripts.ops->unref(c->env.scripts.version);
    }
    free(c);
}

/* ---- jobs ---- */

static void on_kick(uv_timer_t *timer)
{
    struct tg_connector *c = timer->data;

    while (c->first_new != NULL && !c->closing) {
        struct tg_job *job = c->first_new;

        c->first_new = job->next_new;
        if (c->first_new == NULL) {
            c->last_new = &c->first_new;
        }
        tg_job_run(job);
    }
}

static struct tg_connector *scripted_open(const struct tg_connect_env *env,
                                          const struct tg_config_destination *d, const char *tenant,
                                          tg_connect_done done, void *arg, struct tg_error *err)
{
    struct tg_error inner = {""};
    struct tg_connector *c = calloc(1, sizeof(*c));

    if (c == NULL) {
        (void)tg_error_set(err, "destination %s: out of memory", d->id);
        return NULL;
    }
    c->env = *env;
    if (env->scripts.ops != NULL) {
        c->env.scripts.version = env->scripts.ops->ref(env->scripts.version);
    }
    c->config = d;
    c->done = done;
    c->arg = arg;
    c->last_new = &c->first_new;
    if (open_parts(c, tenant, &inner) != 0) {
        free_parts(c);
        (void)tg_error_set(err, "destination %.130s: %.370s", d->id, inner.text);
        return NULL;
    }
    (void)uv_timer_init(env->loop, &c->kick); /* cannot fail */
    c->kick.data = c;
    return c;
}

static void scripted_about(const struct tg_connector *c, struct tg_connect_about *out)
{
    *out = c->about;
}

/* The posting as the script sees it. NULL: no memory, or a payload that is no JSON. */
static json_t *make_document(const struct tg_connect_job *from)
{
    json_t *payload = json_loads(from->payload, JSON_DECODE_ANY, NULL);
    json_t *reverses = NULL;

    if (from->reverses_key != NULL) {
        reverses = json_pack("{s:s, s:s*}", "key", from->reverses_key, "ref", from->reverses_ref);
        if (reverses == NULL) {
            json_decref(payload);
            return NULL;
        }
    }
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:i, s:o, s:o*}", "key", from->key, "kind",
                     from->kind, "leg", from->leg, "subject",
                     from->subject != NULL ? from->subject : "", "correlation_id",
                     from->correlation_id != NULL ? from->correlation_id : "", "attempt",
                     (int)from->attempt, "payload", payload, "reverses", reverses);
}

static void job_free(struct tg_job *job)
{
    tg_auth_leave(&job->wait);
    json_decref(job->document);
    json_decref(job->known);
    json_decref(job->prepare);
    tg_message_clear(&job->message);
    job->scripts.ops->unref(job->scripts.version);
    free(job);
}

void tg_job_end(struct tg_job *job, struct tg_connect_result *result)
{
    struct tg_connector *c = job->c;

    result->posting = job->posting;
    result->is_lookup = job->is_lookup;
    *job->link = job->next;
    if (job->next != NULL) {
        job->next->link = job->link;
    }
    c->done(c->arg, result); /* may begin new jobs */
    job_free(job);
}

static int begin(struct tg_connector *c, const struct tg_connect_job *from, bool is_lookup)
{
    struct tg_job *job = c->closing ? NULL : calloc(1, sizeof(*job));

    if (job == NULL) {
        return -1;
    }
    job->c = c;
    job->posting = from->posting;
    job->is_lookup = is_lookup;
    job->scripts = c->env.scripts;
    job->scripts.version = job->scripts.ops->ref(job->scripts.version);
    job->document = make_document(from);
    job->known = json_object();
    if (job->document == NULL || job->known == NULL) {
        job_free(job);
        return -1;
    }
    job->next = c->jobs;
    job->link = &c->jobs;
    if (job->next != NULL) {
        job->next->link = &job->next;
    }
    c->jobs = job;
    *c->last_new = job;
    c->last_new = &job->next_new;
    (void)uv_timer_start(&c->kick, on_kick, 0, 0);
    return 0;
}

static int scripted_send(struct tg_connector *c, const struct tg_connect_job *job)
{
    return begin(c, job, false);
}

static int scripted_lookup(struct tg_connector *c, const struct tg_connect_job *job)
{
    return begin(c, job, true);
}

/* ---- other scripts ---- */

static int scripted_check(const struct tg_connector *c, const struct tg_scripts *scripts,
                          struct tg_error *err)
{
    struct tg_script_about now = {.dedupe = TG_DEDUPE_NONE};
    struct tg_error inner = {""};

    if (!scripts->ops->has(scripts->version, c->config->connector, NULL)) {
        return tg_error_set(err, "destination %.130s: connectors/%.64s.lua is gone", c->config->id,
                            c->config->connector);
    }
    if (ask_about(c, scripts, &now, &inner) != 0) {
        return tg_error_set(err, "destination %.130s: %.370s", c->config->id, inner.text);
    }
    if (now.dedupe != c->promised.dedupe || now.ttl_ms != c->promised.ttl_ms ||
        now.reversible != c->promised.reversible) {
        return tg_error_set(
            err,
            "destination %.130s: `about` of connectors/%.64s.lua promises something "
            "else than before; restart to take it",
            c->config->id, c->config->connector);
    }
    return 0;
}

static void scripted_take(struct tg_connector *c, const struct tg_scripts *scripts)
{
    struct tg_script_version *old = c->env.scripts.version;

    c->env.scripts.version = scripts->ops->ref(scripts->version);
    scripts->ops->unref(old);
}

/* ---- closing ---- */

static void on_kick_closed(uv_handle_t *handle)
{
    struct tg_connector *c = handle->data;
    tg_connect_closed closed = c->closed;
    void *arg = c->closed_arg;

    free_parts(c);
    closed(arg);
}

/* Only the posting's own request counts: what it prepared did nothing. */
static void abandon(struct tg_job *job)
{
    bool begun = false;
    struct tg_connect_result r = {
        .outcome = TG_OUTCOME_RETRY, .lookup = TG_LOOKUP_UNKNOWN, .detail = "closing"};

    if (job->call != NULL) {
        begun = tg_http_cancel(job->call);
        job->call = NULL;
    }
    if (begun && job->step == TG_STEP_MAIN) {
        r.outcome = TG_OUTCOME_IN_DOUBT;
    }
    tg_job_end(job, &r);
}

static void on_close_time(uv_timer_t *timer)
{
    struct tg_connector *c = timer->data;
    struct tg_job *job = c->jobs;

    while (job != NULL) {
        struct tg_job *next = job->next;

        abandon(job);
        job = next;
    }
    uv_close((uv_handle_t *)&c->kick, on_kick_closed);
}

static void scripted_close(struct tg_connector *c, tg_connect_closed closed, void *arg)
{
    c->closing = true;
    c->closed = closed;
    c->closed_arg = arg;
    (void)uv_timer_start(&c->kick, on_close_time, 0, 0);
}

const struct tg_connector_ops tg_connector_scripted = {
    .name = NULL,
    .open = scripted_open,
    .about = scripted_about,
    .send = scripted_send,
    .lookup = scripted_lookup,
    .check = scripted_check,
    .take = scripted_take,
    .close = scripted_close,
};
