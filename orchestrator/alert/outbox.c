/*
 * The outbox. A notice stays until every channel has delivered it or given it up. Channels are
 * apart: a mail server that is down delays no webhook. One request or mail of a channel at a time.
 */
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "alert/inner.h"
#include "common/digest.h"
#include "common/log.h"
#include "common/secrets.h"
#include "common/signature.h"
#include "core/metrics.h"
#include "core/retry.h"

#define SIGNATURE_HEADER_BYTES (TG_SECRETS_PER_NAME_MAX * (TG_SIGNATURE_STANDARD_BYTES + 1) + 32)

enum channel { WEBHOOK, SMTP, CHANNELS };

struct note {
    struct tg_alert_post post;
    bool wanted[CHANNELS]; /* not yet delivered there */
    unsigned tries[CHANNELS];
};

/* Attempts that failed in a row, and when the next may be. */
struct pace {
    unsigned failures;
    int64_t next_ms;
    bool busy;
};

struct tg_alert_outbox {
    struct tg_alert_outbox_options o;
    struct note *notes[TG_ALERT_OUTBOX_MAX]; /* in order */
    size_t count;
    struct pace pace[CHANNELS];
    bool has[CHANNELS];
    uint64_t random;

    struct tg_http *http;
    struct tg_http_site site;
    struct tg_prefix webhook_allow[TG_ALERT_ALLOW_MAX], smtp_allow[TG_ALERT_ALLOW_MAX];
    char posting[TG_ALERT_ID_BYTES]; /* id of what the webhook has in hand */
    char *body;

    uv_work_t work; /* a mail */
    struct tg_mail_server server;
    char *mail;
    char mailed[TG_ALERT_MAIL_NOTICES][TG_ALERT_ID_BYTES];
    size_t mailed_count;
    int mail_result;
    struct tg_error mail_error;

    bool closing;
    _Atomic bool stop;
    size_t open; /* http client, mail in hand */
    void (*closed)(void *arg);
    void *closed_arg;
};

static const char *const channel_names[] = {"webhook", "mail"};

static int64_t wall_ms(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* ---- what happened to a notice ---- */

static struct note *find(struct tg_alert_outbox *x, const char *id)
{
    for (size_t i = 0; i < x->count; i++) {
        if (strcmp(x->notes[i]->post.id, id) == 0) {
            return x->notes[i];
        }
    }
    return NULL;
}

/* Removes those that no channel wants any more. */
static void sweep(struct tg_alert_outbox *x)
{
    size_t kept = 0;

    for (size_t i = 0; i < x->count; i++) {
        struct note *n = x->notes[i];

        if (n->wanted[WEBHOOK] || n->wanted[SMTP]) {
            x->notes[kept++] = n;
            continue;
        }
        x->o.done(x->o.arg, &n->post);
        free(n);
    }
    x->count = kept;
}

static void delivered(struct tg_alert_outbox *x, enum channel c, const char *id)
{
    struct note *n = find(x, id);

    if (n != NULL && n->wanted[c]) {
        n->wanted[c] = false;
        tg_metric_add(c == WEBHOOK ? TG_METRIC_ALERTS_WEBHOOK : TG_METRIC_ALERTS_SMTP, 1);
    }
}

static void say_given_up(const struct tg_alert_outbox *x, enum channel c, const struct note *n)
{
    tg_log(TG_LOG_ERROR, "alert", "notice %s %s %s could not be delivered by %s in %u tries",
           tg_alert_notice_name(n->post.notice), tg_alert_kind_word(n->post.kind), n->post.thing,
           channel_names[c], x->o.attempts_max);
}

static void failed(struct tg_alert_outbox *x, enum channel c, const char *id)
{
    struct note *n = find(x, id);

    if (n == NULL || !n->wanted[c]) {
        return;
    }
    n->tries[c]++;
    if (n->tries[c] < x->o.attempts_max) {
        return;
    }
    n->wanted[c] = false;
    if (x->o.attempts_max > 1) {
        say_given_up(x, c, n);
    }
}

/* After one try of a channel. */
static void paced(struct tg_alert_outbox *x, enum channel c, bool ok, int64_t retry_after_ms,
                  const char *why)
{
    struct pace *p = &x->pace[c];

    p->busy = false;
    if (x->o.tried != NULL) {
        x->o.tried(x->o.arg, channel_names[c], ok, ok ? "" : why);
    }
    if (ok) {
        p->failures = 0;
        p->next_ms = 0;
        return;
    }
    p->failures++;
    p->next_ms = wall_ms() + tg_retry_delay_ms(p->failures, retry_after_ms > 0 ? retry_after_ms : 0,
                                               tg_random_next(&x->random));
    tg_metric_add(TG_METRIC_ALERT_FAILURES, 1);
    tg_log(TG_LOG_WARN, "alert", "%s: %s; tried again", channel_names[c], why);
}

/* ---- webhook ---- */

/* "webhook-signature: v1,... v1,...": one for each secret of the file. 0 or -1. */
static int sign(const struct tg_alert_outbox *x, const char *id, const char *timestamp,
                char out[SIGNATURE_HEADER_BYTES], struct tg_error *err)
{
    const char *path = x->o.config->webhook.secret_file;
    char text[TG_ALERT_SECRET_FILE_MAX_BYTES];
    FILE *f = fopen(path, "re");
    struct tg_secrets *table;
    struct tg_secret_list list;
    size_t n, used = (size_t)snprintf(out, SIGNATURE_HEADER_BYTES, "webhook-signature:");

    if (f == NULL) {
        return tg_error_set(err, "secret file %s cannot be read", path);
    }
    n = fread(text, 1, sizeof(text), f);
    (void)fclose(f);
    table = tg_secrets_parse((struct tg_str){(unsigned char *)text, n}, tg_str_of("alerts"), err);
    explicit_bzero(text, sizeof(text));
    if (table == NULL) {
        return -1;
    }
    list = tg_secrets_find(table, tg_str_of("alerts"));
    for (size_t i = 0; i < list.count; i++) {
        out[used++] = ' ';
        if (tg_signature_standard_make(tg_str_of(id), tg_str_of(timestamp), tg_str_of(x->body),
                                       &list.items[i], out + used) != 0) {
            tg_secrets_free(table);
            return tg_error_set(err, "the signature cannot be made");
        }
        used += strlen(out + used);
    }
    tg_secrets_free(table);
    return list.count > 0 ? 0 : tg_error_set(err, "secret file %s holds no secret", path);
}

static void on_answer(void *arg, const struct tg_http_answer *a)
{
    struct tg_alert_outbox *x = arg;
    bool ok = a->end == TG_HTTP_WHOLE && a->status >= 200 && a->status < 300;
    char why[TG_ERROR_MAX_BYTES];

    if (a->end == TG_HTTP_WHOLE) {
        (void)snprintf(why, sizeof(why), "the receiver answered %d", a->status);
    } else {
        (void)snprintf(why, sizeof(why), "%s", a->why != NULL ? a->why : "no answer");
    }
    if (ok) {
        delivered(x, WEBHOOK, x->posting);
    } else {
        failed(x, WEBHOOK, x->posting);
    }
    paced(x, WEBHOOK, ok, a->retry_after_ms, why);
    free(x->body);
    x->body = NULL;
    sweep(x);
    tg_alert_outbox_run(x);
}

static int post(struct tg_alert_outbox *x, const struct tg_alert_post *p, struct tg_error *err)
{
    char id[TG_ALERT_ID_BYTES + 16], at[24], stamp[48], signature[SIGNATURE_HEADER_BYTES];
    const char *const headers[] = {"Content-Type: application/cloudevents+json", id, stamp,
                                   signature};
    struct tg_http_request r = {.site = &x->site,
                                .method = "POST",
                                .url = x->o.config->webhook.url,
                                .headers = headers,
                                .header_count = sizeof(headers) / sizeof(headers[0]),
                                .connect_ms = TG_ALERT_WEBHOOK_MS,
                                .total_ms = TG_ALERT_WEBHOOK_MS};

    x->body = tg_alert_event(p, x->o.name);
    if (x->body == NULL) {
        return tg_error_set(err, "out of memory");
    }
    (void)snprintf(id, sizeof(id), "webhook-id: %s", p->id);
    (void)snprintf(at, sizeof(at), "%" PRId64, wall_ms() / 1000);
    (void)snprintf(stamp, sizeof(stamp), "webhook-timestamp: %s", at);
    if (sign(x, p->id, at, signature, err) != 0) {
        return -1;
    }
    r.body = tg_str_of(x->body);
    memcpy(x->posting, p->id, sizeof(x->posting));
    return tg_http_send(x->http, &r, on_answer, x) != NULL ? 0 : tg_error_set(err, "out of memory");
}

static void run_webhook(struct tg_alert_outbox *x)
{
    struct tg_error err = {""};

    for (size_t i = 0; i < x->count; i++) {
        if (!x->notes[i]->wanted[WEBHOOK]) {
            continue;
        }
        x->pace[WEBHOOK].busy = true;
        if (post(x, &x->notes[i]->post, &err) != 0) {
            free(x->body);
            x->body = NULL;
            failed(x, WEBHOOK, x->notes[i]->post.id);
            paced(x, WEBHOOK, false, 0, err.text);
            sweep(x);
        }
        return;
    }
}

/* ---- mail ---- */

static void close_part(struct tg_alert_outbox *x)
{
    x->open--;
    if (x->open == 0) {
        x->closed(x->closed_arg);
    }
}

static void mail_work(uv_work_t *work)
{
    struct tg_alert_outbox *x = work->data;
    const struct tg_config_alerts *c = x->o.config;
    const struct tg_mail m = {.from = c->smtp.from,
                              .to = (const char *const *)c->smtp.to,
                              .to_count = c->smtp.to_count,
                              .message = tg_str_of(x->mail)};

    x->mail_result = tg_mail_send(&x->server, &m, &x->mail_error);
}

static void mail_done(uv_work_t *work, int status)
{
    struct tg_alert_outbox *x = work->data;
    bool ok = status == 0 && x->mail_result == 0;

    free(x->mail);
    x->mail = NULL;
    if (x->closing) {
        close_part(x);
        return;
    }
    for (size_t i = 0; i < x->mailed_count; i++) {
        if (ok) {
            delivered(x, SMTP, x->mailed[i]);
        } else {
            failed(x, SMTP, x->mailed[i]);
        }
    }
    if (ok && x->mail_error.text[0] != '\0') {
        tg_log(TG_LOG_WARN, "alert", "mail: %s", x->mail_error.text);
    }
    paced(x, SMTP, ok, 0, x->mail_error.text);
    sweep(x);
    tg_alert_outbox_run(x);
}

static void run_smtp(struct tg_alert_outbox *x)
{
    const struct tg_alert_post *posts[TG_ALERT_MAIL_NOTICES];
    size_t n = 0;

    for (size_t i = 0; i < x->count && n < TG_ALERT_MAIL_NOTICES; i++) {
        if (x->notes[i]->wanted[SMTP]) {
            posts[n] = &x->notes[i]->post;
            memcpy(x->mailed[n], posts[n]->id, TG_ALERT_ID_BYTES);
            n++;
        }
    }
    if (n == 0) {
        return;
    }
    x->mailed_count = n;
    x->mail = tg_alert_mail(posts, n, x->o.name, x->o.version, x->o.config, wall_ms());
    x->work.data = x;
    x->pace[SMTP].busy = true;
    if (x->mail == NULL || uv_queue_work(x->o.loop, &x->work, mail_work, mail_done) != 0) {
        free(x->mail);
        x->mail = NULL;
        paced(x, SMTP, false, 0, "out of memory");
    }
}

/* ---- the outside ---- */

void tg_alert_outbox_run(struct tg_alert_outbox *x)
{
    static void (*const run[])(struct tg_alert_outbox *) = {run_webhook, run_smtp};

    for (int c = 0; c < CHANNELS && !x->closing; c++) {
        if (x->has[c] && !x->pace[c].busy && x->count > 0 && wall_ms() >= x->pace[c].next_ms) {
            run[c](x);
        }
    }
}

bool tg_alert_outbox_add(struct tg_alert_outbox *x, const struct tg_alert_post *p)
{
    struct note *n;

    if (x->closing || x->count == TG_ALERT_OUTBOX_MAX) {
        return false;
    }
    n = calloc(1, sizeof(*n));
    if (n == NULL) {
        return false;
    }
    n->post = *p;
    memcpy(n->wanted, x->has, sizeof(n->wanted));
    x->notes[x->count++] = n;
    return true;
}

/* The configuration was checked: each parses. */
static void set_allow(char *const *texts, size_t n, struct tg_prefix out[TG_ALERT_ALLOW_MAX])
{
    for (size_t i = 0; i < n && i < TG_ALERT_ALLOW_MAX; i++) {
        (void)tg_prefix_parse(tg_str_of(texts[i]), &out[i], NULL);
    }
}

static void set_server(struct tg_alert_outbox *x)
{
    const struct tg_config_alerts *c = x->o.config;

    set_allow(c->smtp.allow, c->smtp.allow_count, x->smtp_allow);
    x->server = (struct tg_mail_server){.url = c->smtp.url,
                                        .user = c->smtp.user,
                                        .password_file = c->smtp.password_file,
                                        .ca_file = c->smtp.ca_file,
                                        .allow = x->smtp_allow,
                                        .allow_count = c->smtp.allow_count,
                                        .stop = &x->stop};
    x->server.tls = strcmp(c->smtp.tls, "off") == 0       ? TG_MAIL_TLS_OFF
                    : strcmp(c->smtp.tls, "offered") == 0 ? TG_MAIL_TLS_OFFERED
                                                          : TG_MAIL_TLS_REQUIRED;
}

struct tg_alert_outbox *tg_alert_outbox_new(const struct tg_alert_outbox_options *o,
                                            struct tg_error *err)
{
    struct tg_alert_outbox *x = calloc(1, sizeof(*x));
    const struct tg_config_alerts *c = o->config;

    if (x == NULL || tg_mail_global() != 0) {
        free(x);
        (void)tg_error_set(err, "alerts: out of memory, or libcurl cannot start");
        return NULL;
    }
    x->o = *o;
    x->random = (uint64_t)wall_ms();
    x->has[WEBHOOK] = c->webhook.url != NULL;
    x->has[SMTP] = c->smtp.url != NULL;
    if (x->has[WEBHOOK]) {
        set_allow(c->webhook.allow, c->webhook.allow_count, x->webhook_allow);
        x->site = (struct tg_http_site){.allow = x->webhook_allow,
                                        .allow_count = c->webhook.allow_count,
                                        .ca_file = c->webhook.ca_file};
        x->http = tg_http_new(o->loop, err);
        if (x->http == NULL) {
            free(x);
            return NULL;
        }
    }
    if (x->has[SMTP]) {
        set_server(x);
    }
    return x;
}

static void on_http_closed(void *arg)
{
    close_part(arg);
}

void tg_alert_outbox_close(struct tg_alert_outbox *x, void (*closed)(void *arg), void *arg)
{
    x->closing = true;
    atomic_store(&x->stop, true);
    x->closed = closed;
    x->closed_arg = arg;
    x->open = 1; /* until all parts were asked */
    if (x->pace[SMTP].busy) {
        x->open++;
        (void)uv_cancel((uv_req_t *)&x->work); /* one that runs ends in its own time */
    }
    if (x->http != NULL) {
        x->open++;
        tg_http_close(x->http, on_http_closed, x);
    }
    close_part(x);
}

void tg_alert_outbox_free(struct tg_alert_outbox *x)
{
    if (x == NULL) {
        return;
    }
    for (size_t i = 0; i < x->count; i++) {
        free(x->notes[i]);
    }
    free(x->body);
    free(x->mail);
    free(x);
}
