/* One job's way through a scripted connector; scripted_parts.h draws it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "connect/answer.h"
#include "connect/http_text.h"
#include "connect/scripted_parts.h"

#define DETAIL_BYTES TG_CONNECT_DETAIL_MAX_BYTES

static void send_message(struct tg_job *job);

/* ---- ends ---- */

static bool is_utf8(const char *text, size_t len)
{
    json_t *read = json_stringn(text, len);

    json_decref(read);
    return read != NULL;
}

/*
 * A text for a person: without our secrets, whole UTF-8 (it goes into JSON), and cut to what is
 * kept. Scrubbed before it is cut: half a secret would not be recognised.
 */
static const char *clean(const struct tg_job *job, const char *detail, char out[DETAIL_BYTES])
{
    char text[TG_ERROR_MAX_BYTES];
    size_t len = strlen(detail);

    len = len < sizeof(text) - 1 ? len : sizeof(text) - 1;
    memcpy(text, detail, len);
    text[len] = '\0';
    tg_auth_scrub(job->c->auth, text);
    len = strlen(text);
    if (len >= DETAIL_BYTES) {
        len = DETAIL_BYTES - 1;
        while (len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80) {
            len--;
        }
    }
    if (!is_utf8(text, len)) {
        for (size_t i = 0; i < len; i++) {
            text[i] = (char)((unsigned char)text[i] < 0x80 ? text[i] : '?');
        }
    }
    memcpy(out, text, len);
    out[len] = '\0';
    return len > 0 ? out : NULL;
}

/* Every way out but a result of the script's. detail may be NULL. */
static void end_send(struct tg_job *job, enum tg_outcome outcome, const char *detail,
                     const char *exception, int64_t retry_after_ms)
{
    char text[DETAIL_BYTES];
    struct tg_connect_result r = {.outcome = outcome,
                                  .detail = detail != NULL ? clean(job, detail, text) : NULL,
                                  .exception = exception,
                                  .retry_after_ms = retry_after_ms};

    tg_job_end(job, &r);
}

static void end_lookup(struct tg_job *job, enum tg_lookup lookup, const char *ref,
                       const char *detail, int64_t retry_after_ms)
{
    char text[DETAIL_BYTES];
    struct tg_connect_result r = {.lookup = lookup,
                                  .ref = ref,
                                  .detail = detail != NULL ? clean(job, detail, text) : NULL,
                                  .retry_after_ms = retry_after_ms};

    tg_job_end(job, &r);
}

/* Nothing of the posting itself was sent. */
static void end_unsent(struct tg_job *job, enum tg_outcome outcome, const char *detail,
                       int64_t retry_after_ms)
{
    if (!job->is_lookup) {
        end_send(job, outcome, detail, NULL, retry_after_ms);
    } else if (outcome == TG_OUTCOME_THROTTLED) {
        end_lookup(job, TG_LOOKUP_THROTTLED, NULL, detail, retry_after_ms);
    } else {
        end_lookup(job, outcome == TG_OUTCOME_DOWN ? TG_LOOKUP_DOWN : TG_LOOKUP_UNKNOWN, NULL,
                   detail, 0);
    }
}

/* The script is wrong, before anything of the posting was sent: as with any rule, a person's. */
static void end_fault(struct tg_job *job, const char *function, const struct tg_error *err)
{
    char text[TG_ERROR_MAX_BYTES];

    (void)snprintf(text, sizeof(text), "%s of connectors/%.64s.lua: %.400s", function,
                   job->c->config->connector, err->text);
    if (job->is_lookup) {
        end_lookup(job, TG_LOOKUP_UNKNOWN, NULL, text, 0);
    } else {
        end_send(job, TG_OUTCOME_REJECTED, text, "rule_fault", 0);
    }
}

/* ---- calls of the script ---- */

/* function(first [, second], ctx): the arguments are borrowed, second may be NULL. */
static json_t *call(struct tg_job *job, const char *function, json_t *first, json_t *second,
                    struct tg_error *err)
{
    json_t *ctx = tg_job_ctx(job->c, job->known);
    json_t *args = json_array(), *result = NULL;

    if (ctx != NULL && args != NULL && json_array_append(args, first) == 0 &&
        (second == NULL || json_array_append(args, second) == 0) &&
        json_array_append(args, ctx) == 0) {
        result = job->scripts.ops->call(job->scripts.version, job->c->config->connector, function,
                                        args, err);
    } else {
        (void)tg_error_set(err, "out of memory");
    }
    json_decref(args);
    json_decref(ctx);
    return result;
}

/* Takes the script's request in hand. 0 or -1 with err. */
static int take_message(struct tg_job *job, const json_t *from, enum tg_job_step step,
                        struct tg_error *err)
{
    tg_message_clear(&job->message);
    job->step = step;
    job->again = false;
    return tg_script_read_request(from, NULL, &job->message, err);
}

/* ---- prepared requests ---- */

static const char *function_of(const struct tg_job *job)
{
    if (job->is_lookup) {
        return "lookup";
    }
    return json_object_get(job->document, "reverses") != NULL ? "reverse" : "request";
}

static uint64_t now_ms(const struct tg_job *job)
{
    return uv_now(job->c->env.loop);
}

/* What of the list is not known yet is sent for, one by one; then the script is asked again. */
static void next_prepared(struct tg_job *job)
{
    struct tg_error err = {""};

    while (job->prepare_at < json_array_size(job->prepare)) {
        const json_t *item = json_array_get(job->prepare, job->prepare_at);
        const char *name = tg_script_prepare_name(item, &err);
        json_t *value = NULL;

        if (name == NULL) {
            end_fault(job, function_of(job), &err);
            return;
        }
        if (json_object_get(job->known, name) == NULL) {
            value = tg_known_get(job->c->known, name, now_ms(job));
            if (value == NULL) {
                if (take_message(job, item, TG_STEP_PREPARE, &err) != 0) {
                    end_fault(job, function_of(job), &err);
                } else {
                    send_message(job);
                }
                return;
            }
            (void)json_object_set(job->known, name, value);
            job->learned = true;
        }
        job->prepare_at++;
    }
    json_decref(job->prepare);
    job->prepare = NULL;
    if (!job->learned) {
        (void)tg_error_set(&err, "prepares again what it was given");
        end_fault(job, function_of(job), &err);
        return;
    }
    tg_job_run(job);
}

static void start_prepare(struct tg_job *job, const json_t *list)
{
    const size_t n = json_array_size(list);
    struct tg_error err;

    job->rounds++;
    if (n == 0 || n > TG_SCRIPT_PREPARE_MAX || job->rounds > TG_SCRIPT_ROUNDS_MAX) {
        (void)tg_error_set(&err, "prepares %zu requests in round %u; at most %d in each of %d", n,
                           job->rounds, TG_SCRIPT_PREPARE_MAX, TG_SCRIPT_ROUNDS_MAX);
        end_fault(job, function_of(job), &err);
        return;
    }
    job->prepare = json_incref((json_t *)list);
    job->prepare_at = 0;
    job->learned = false;
    next_prepared(job);
}

void tg_job_run(struct tg_job *job)
{
    const char *function = function_of(job);
    const bool may_lack =
        job->is_lookup &&
        !job->scripts.ops->has(job->scripts.version, job->c->config->connector, function);
    struct tg_error err = {""};
    json_t *result = may_lack ? json_null() : call(job, function, job->document, NULL, &err);

    if (result == NULL) {
        end_fault(job, function, &err);
        return;
    }
    if (json_is_null(result) && job->is_lookup) {
        /* It cannot be asked for. Where a repeat is recognised, the repeat itself is the question.
         */
        const bool repeat = job->c->about.dedupe == TG_DEDUPE_UNIQUE ||
                            job->c->about.dedupe == TG_DEDUPE_IDEMPOTENCY;

        end_lookup(job, repeat ? TG_LOOKUP_ABSENT : TG_LOOKUP_UNKNOWN, NULL,
                   "this destination cannot be asked for a posting", 0);
    } else if (tg_script_prepare_list(result) != NULL) {
        start_prepare(job, tg_script_prepare_list(result));
    } else if (take_message(job, result, TG_STEP_MAIN, &err) != 0) {
        end_fault(job, function, &err);
    } else {
        send_message(job);
    }
    json_decref(result);
}

/* ---- answers ---- */

static void forget_known(struct tg_job *job)
{
    const char *name;
    json_t *value;

    json_object_foreach(job->known, name, value)
    {
        tg_known_drop(job->c->known, name);
    }
}

static const char *broken_off(const struct tg_http_answer *a, char *out, size_t size)
{
    if (a->end == TG_HTTP_CUT) {
        (void)snprintf(out, size, "answer %d broke off: %.200s", a->status, a->why);
        return out;
    }
    return a->why;
}

/* Not now, whatever it was about. -1: it says no such thing. Milliseconds, 0: no time said. */
static int64_t throttled_ms(const struct tg_http_answer *a)
{
    if (a->status == 429) {
        return a->retry_after_ms > 0 ? a->retry_after_ms : 0;
    }
    return a->status == 503 && a->retry_after_ms >= 0 ? a->retry_after_ms : -1;
}

/* The answer to one of the prepared requests. */
static void prepared(struct tg_job *job, const struct tg_http_answer *a, json_t *response)
{
    const json_t *item = json_array_get(job->prepare, job->prepare_at);
    const char *name = json_string_value(json_object_get(item, "name"));
    struct tg_script_verdict verdict = {.outcome = TG_OUTCOME_RETRY};
    struct tg_error err = {""};
    const json_t *value = NULL;
    json_t *name_text = json_string(name);
    json_t *result = name_text != NULL ? call(job, "learn", response, name_text, &err) : NULL;
    int rc = result != NULL ? tg_script_read_learned(result, &value, &verdict, &err) : -1;

    json_decref(name_text);
    if (rc != 0) {
        end_fault(job, "learn", &err);
    } else if (value != NULL) {
        (void)json_object_set(job->known, name, (json_t *)value);
        tg_known_put(job->c->known, name, (json_t *)value, now_ms(job));
        job->learned = true;
        job->prepare_at++;
        next_prepared(job);
    } else if (verdict.outcome == TG_OUTCOME_REJECTED && !job->is_lookup) {
        end_send(job, TG_OUTCOME_REJECTED, verdict.detail,
                 verdict.code[0] != '\0' ? verdict.code : NULL, 0);
    } else {
        /* in doubt about a question is no doubt about the posting */
        end_unsent(
            job, verdict.outcome == TG_OUTCOME_THROTTLED ? TG_OUTCOME_THROTTLED : TG_OUTCOME_RETRY,
            verdict.detail,
            verdict.retry_after_ms > a->retry_after_ms ? verdict.retry_after_ms
                                                       : a->retry_after_ms);
    }
    json_decref(result);
}

/* The answer to the posting's own request. */
static void answered(struct tg_job *job, const struct tg_http_answer *a, json_t *response)
{
    struct tg_script_verdict v = {.outcome = TG_OUTCOME_IN_DOUBT};
    struct tg_error err = {""};
    json_t *result = call(job, "classify", response, job->document, &err);
    struct tg_connect_result r;
    char fault[TG_ERROR_MAX_BYTES], text[DETAIL_BYTES];

    if (result == NULL || tg_script_read_verdict(result, &v, &err) != 0) {
        json_decref(result);
        (void)snprintf(fault, sizeof(fault), "answer %d; classify of connectors/%.64s.lua: %.300s",
                       a->status, job->c->config->connector, err.text);
        end_send(job, TG_OUTCOME_IN_DOUBT, fault, NULL, 0);
        return;
    }
    json_decref(result);
    if (v.forget) {
        forget_known(job);
    }
    r = (struct tg_connect_result){.outcome = v.outcome,
                                   .ref = v.ref[0] != '\0' ? v.ref : NULL,
                                   .detail = clean(job, v.detail, text),
                                   .exception = v.code[0] != '\0' ? v.code : NULL};
    if (v.outcome == TG_OUTCOME_THROTTLED || v.outcome == TG_OUTCOME_RETRY) {
        r.retry_after_ms =
            v.retry_after_ms > a->retry_after_ms ? v.retry_after_ms : a->retry_after_ms;
    }
    tg_job_end(job, &r);
}

static void looked_up(struct tg_job *job, const struct tg_http_answer *a, json_t *response)
{
    struct tg_script_found f = {.lookup = TG_LOOKUP_UNKNOWN};
    struct tg_error err = {""};
    json_t *result = call(job, "found", response, job->document, &err);

    if (result == NULL || tg_script_read_found(result, &f, &err) != 0) {
        (void)snprintf(f.detail, sizeof(f.detail),
                       "answer %d; found of connectors/%.64s.lua: %.150s", a->status,
                       job->c->config->connector, err.text);
        f.lookup = TG_LOOKUP_UNKNOWN;
        f.ref[0] = '\0';
    }
    json_decref(result);
    end_lookup(job, f.lookup, f.ref[0] != '\0' ? f.ref : NULL,
               f.detail[0] != '\0' ? f.detail : NULL, 0);
}

static void read_whole(struct tg_job *job, const struct tg_http_answer *a)
{
    const bool questions = job->step == TG_STEP_PREPARE || job->is_lookup;
    json_t *response;

    if (questions && throttled_ms(a) >= 0) {
        end_unsent(job, TG_OUTCOME_THROTTLED, "the destination asks to wait", throttled_ms(a));
        return;
    }
    response = tg_answer_document(a);
    if (response == NULL) {
        if (questions) {
            end_unsent(job, TG_OUTCOME_RETRY, "no memory to read the answer", 0);
        } else {
            end_send(job, TG_OUTCOME_IN_DOUBT, "no memory to read the answer", NULL, 0);
        }
        return;
    }
    if (job->step == TG_STEP_PREPARE) {
        prepared(job, a, response);
    } else if (job->is_lookup) {
        looked_up(job, a, response);
    } else {
        answered(job, a, response);
    }
    json_decref(response);
}

/* 401: it was not executed. Once more with other credentials, if there are any. */
static void unauthorized(struct tg_job *job)
{
    if (!job->again && tg_auth_refused(job->c->auth, job->generation)) {
        job->again = true;
        send_message(job);
        return;
    }
    end_unsent(job, TG_OUTCOME_DOWN, "the destination refuses our credentials (401)", 0);
}

static void on_answer(void *arg, const struct tg_http_answer *a)
{
    struct tg_job *job = arg;
    char text[DETAIL_BYTES];

    job->call = NULL;
    if (a->end == TG_HTTP_WHOLE) {
        if (a->status == 401 && tg_auth_has_credentials(job->c->auth)) {
            unauthorized(job);
        } else {
            read_whole(job, a);
        }
    } else if (a->end == TG_HTTP_NOT_SENT) {
        end_unsent(job, TG_OUTCOME_DOWN, a->why, 0);
    } else if (job->step == TG_STEP_PREPARE || job->is_lookup) {
        end_unsent(job, TG_OUTCOME_RETRY, broken_off(a, text, sizeof(text)), 0);
    } else {
        end_send(job, TG_OUTCOME_IN_DOUBT, broken_off(a, text, sizeof(text)), NULL, 0);
    }
}

/* ---- sending ---- */

static void on_credentials(struct tg_auth_wait *w, const struct tg_auth_failure *failure)
{
    struct tg_job *job = (struct tg_job *)((char *)w - offsetof(struct tg_job, wait));

    if (failure != NULL) {
        end_unsent(job, failure->outcome, failure->detail, failure->retry_after_ms);
    } else {
        send_message(job);
    }
}

static void transmit(struct tg_job *job, const struct tg_lines *credentials)
{
    const struct tg_connector *c = job->c;
    const size_t own = job->message.headers.count, n = own + credentials->count;
    const bool doubt_is_a_persons =
        c->about.dedupe == TG_DEDUPE_LOOKUP_ONLY || c->about.dedupe == TG_DEDUPE_NONE;
    const int64_t total_ms = c->config->timeout_ms;
    const char **lines = calloc(n + 1, sizeof(*lines));
    char url[TG_HTTP_URL_MAX_BYTES];
    struct tg_error err = {""};
    struct tg_http_request r = {
        .site = &c->site,
        .method = job->message.method,
        .url = url,
        .headers = lines,
        .header_count = n,
        .body = {(unsigned char *)job->message.body, job->message.body_len},
        .connect_ms = total_ms < TG_HTTP_CONNECT_MS ? total_ms : TG_HTTP_CONNECT_MS,
        .total_ms = total_ms,
        .fresh = doubt_is_a_persons && job->step == TG_STEP_MAIN && !job->is_lookup};

    if (tg_http_url_join(c->config->url, tg_str_of(job->message.target), url, sizeof(url), &err) !=
        0) {
        free(lines);
        end_fault(job, job->step == TG_STEP_MAIN ? function_of(job) : "prepare", &err);
        return;
    }
    for (size_t i = 0; lines != NULL && i < n; i++) {
        lines[i] = i < own ? job->message.headers.items[i] : credentials->items[i - own];
    }
    job->call = lines != NULL ? tg_http_send(c->env.http, &r, on_answer, job) : NULL;
    free(lines);
    if (job->call == NULL) {
        end_unsent(job, TG_OUTCOME_RETRY, "no memory to send a request", 0);
    }
}

static void send_message(struct tg_job *job)
{
    const struct tg_lines *credentials;
    struct tg_auth_failure failure;

    job->wait.done = on_credentials;
    switch (tg_auth_get(job->c->auth, &job->wait, &credentials, &job->generation, &failure)) {
    case TG_AUTH_READY:
        transmit(job, credentials);
        break;
    case TG_AUTH_FAILED:
        end_unsent(job, failure.outcome, failure.detail, failure.retry_after_ms);
        break;
    case TG_AUTH_WAITS:
        break;
    }
}
