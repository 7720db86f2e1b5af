#include "connect/auth.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/codec.h"
#include "common/log.h"
#include "connect/http_text.h"
#include "connect/oauth.h"
#include "connect/secret.h"

#define SCRUB_MIN_BYTES 6 /* a shorter secret is not told from ordinary text */

enum kind { NONE, BASIC, BEARER, API_KEY, OAUTH2, SESSION };

struct tg_auth {
    struct tg_auth_options o;
    struct tg_auth_login login;
    enum kind kind;
    struct tg_secret *secret; /* NULL with NONE */
    unsigned secret_version;  /* that lines were made of, or a log-in was refused with */
    struct tg_lines lines;    /* "" none yet */
    unsigned generation;      /* of lines; rises with each change */
    bool good;                /* lines are to be used */
    /* OAUTH2, SESSION; times of the loop */
    uint64_t renew_at_ms, ends_at_ms; /* 0: never */
    uint64_t wait_until_ms, backoff_ms;
    bool throttled; /* wait_until_ms is what the other side asked for */
    struct tg_http_call *flight;
    struct tg_auth_wait *first, **tail;
    char detail[TG_ERROR_MAX_BYTES]; /* of the last failure */
    bool complained;
};

static const char *const kind_names[] = {"none", "basic", "bearer", "api_key", "oauth2", "session"};

static bool is_fetched(const struct tg_auth *a)
{
    return a->kind == OAUTH2 || a->kind == SESSION;
}

/* ---- configuration ---- */

static int kind_of(const char *name)
{
    for (int i = 0; i <= SESSION; i++) {
        if (strcmp(kind_names[i], name) == 0) {
            return i;
        }
    }
    return -1;
}

struct need {
    const char *key, *value;
};

int tg_auth_check(const struct tg_config_destination *d, const char *kind, struct tg_error *err)
{
    const struct need needs[][3] = {
        [NONE] = {{NULL, NULL}},
        [BASIC] = {{"user", d->user}, {"password_file", d->password_file}},
        [BEARER] = {{"token_file", d->token_file}},
        [API_KEY] = {{"api_key_file", d->api_key_file}, {"api_key_header", d->api_key_header}},
        [OAUTH2] = {{"token_url", d->token_url},
                    {"client_id", d->client_id},
                    {"client_secret_file", d->client_secret_file}},
        [SESSION] = {{"user", d->user}, {"password_file", d->password_file}},
    };
    int k = kind_of(kind);

    if (k < 0) {
        return tg_error_set(err, "auth `%.40s` is not known", kind);
    }
    for (size_t i = 0; i < 3 && needs[k][i].key != NULL; i++) {
        if (needs[k][i].value == NULL) {
            return tg_error_set(err, "auth %s needs `%s`", kind, needs[k][i].key);
        }
    }
    return 0;
}

static const char *secret_file(const struct tg_config_destination *d, enum kind kind)
{
    switch (kind) {
    case BASIC:
    case SESSION:
        return d->password_file;
    case BEARER:
        return d->token_file;
    case API_KEY:
        return d->api_key_file;
    case OAUTH2:
        return d->client_secret_file;
    case NONE:
        break;
    }
    return NULL;
}

struct tg_auth *tg_auth_new(const struct tg_auth_options *o, struct tg_error *err)
{
    struct tg_auth *a;

    if (tg_auth_check(o->config, o->kind, err) != 0) {
        return NULL;
    }
    a = calloc(1, sizeof(*a));
    if (a == NULL) {
        (void)tg_error_set(err, "out of memory");
        return NULL;
    }
    a->o = *o;
    a->kind = (enum kind)kind_of(o->kind);
    a->tail = &a->first;
    if (o->login != NULL) {
        a->login = *o->login;
    } else if (a->kind == SESSION) {
        (void)tg_error_set(err, "auth session: the connector has no log-in");
        tg_auth_free(a);
        return NULL;
    }
    if (a->kind != NONE) {
        a->secret = tg_secret_new(secret_file(o->config, a->kind));
        if (a->secret == NULL) {
            (void)tg_error_set(err, "out of memory");
            tg_auth_free(a);
            return NULL;
        }
    }
    return a;
}

void tg_auth_free(struct tg_auth *a)
{
    if (a == NULL) {
        return;
    }
    if (a->flight != NULL) {
        (void)tg_http_cancel(a->flight);
    }
    tg_secret_free(a->secret);
    tg_lines_clear(&a->lines);
    free(a);
}

bool tg_auth_has_credentials(const struct tg_auth *a)
{
    return a->kind != NONE;
}

/* ---- headers made of a file ---- */

static int basic_value(const char *user, const char *password, char *out, size_t size)
{
    char plain[2 * TG_SECRET_FILE_MAX_BYTES];
    int n = snprintf(plain, sizeof(plain), "%s:%s", user, password);
    int rc = -1;

    if (n > 0 && (size_t)n < sizeof(plain)) {
        memcpy(out, "Basic ", 7);
        rc = tg_base64_encode((unsigned char *)plain, (size_t)n, out + 6, size - 6) > 0 ? 0 : -1;
    }
    explicit_bzero(plain, sizeof(plain));
    return rc;
}

static int make_lines(struct tg_auth *a, const char *secret, struct tg_error *err)
{
    char value[TG_HTTP_VALUE_MAX_BYTES + 8] = "";
    const struct tg_config_destination *d = a->o.config;
    const char *name = a->kind == API_KEY ? d->api_key_header : "Authorization";
    int rc = 0;

    if (a->kind == BASIC) {
        rc = basic_value(d->user, secret, value, sizeof(value));
    } else {
        int n = snprintf(value, sizeof(value), "%s%s", a->kind == BEARER ? "Bearer " : "", secret);

        rc = n > 0 && (size_t)n < sizeof(value) ? 0 : -1;
    }
    tg_lines_clear(&a->lines);
    if (rc == 0 && tg_http_is_value(tg_str_of(value))) {
        rc = tg_lines_add(&a->lines, name, value);
    } else {
        rc = -1;
    }
    explicit_bzero(value, sizeof(value));
    return rc == 0 ? 0
                   : tg_error_set(err, "%s: the secret does not fit into a header",
                                  secret_file(d, a->kind));
}

/* Makes them anew when the file changed. 0 or -1 with err. */
static int refresh_lines(struct tg_auth *a, struct tg_error *err)
{
    const char *secret = tg_secret_text(a->secret, err);

    if (secret == NULL) {
        return -1;
    }
    if (a->good && a->secret_version == tg_secret_version(a->secret)) {
        return 0;
    }
    a->good = false;
    a->secret_version = tg_secret_version(a->secret);
    if (make_lines(a, secret, err) != 0) {
        return -1;
    }
    a->good = true;
    a->generation++;
    return 0;
}

/* ---- fetching ---- */

static uint64_t now_ms(const struct tg_auth *a)
{
    return uv_now(a->o.loop);
}

/* Those that wait leave the line before they are told: they may come back to it. */
static void tell_all(struct tg_auth *a, const struct tg_auth_failure *failure)
{
    struct tg_auth_wait *list = a->first;

    if (list != NULL) {
        list->link = &list;
    }
    a->first = NULL;
    a->tail = &a->first;
    while (list != NULL) {
        struct tg_auth_wait *w = list;

        list = w->next;
        if (list != NULL) {
            list->link = &list;
        }
        w->next = NULL;
        w->link = NULL;
        w->done(w, failure);
    }
}

static void complain(struct tg_auth *a)
{
    tg_auth_scrub(a, a->detail);
    tg_log(a->complained ? TG_LOG_DEBUG : TG_LOG_ERROR, "connect", "%s: no credentials: %s",
           a->o.config->id, a->detail);
    a->complained = true;
}

/* refused: the destination knows us and says no. */
static void failed(struct tg_auth *a, bool refused, int64_t retry_after_ms)
{
    struct tg_auth_failure f = {.outcome =
                                    retry_after_ms > 0 ? TG_OUTCOME_THROTTLED : TG_OUTCOME_DOWN,
                                .retry_after_ms = retry_after_ms,
                                .detail = a->detail};

    if (refused) {
        a->backoff_ms = a->backoff_ms == 0 ? TG_AUTH_BACKOFF_MIN_MS : 2 * a->backoff_ms;
        if (a->backoff_ms > TG_AUTH_BACKOFF_MAX_MS) {
            a->backoff_ms = TG_AUTH_BACKOFF_MAX_MS;
        }
        a->wait_until_ms = now_ms(a) + a->backoff_ms;
    }
    a->throttled = retry_after_ms > 0;
    if (a->throttled) {
        a->wait_until_ms = now_ms(a) + (uint64_t)retry_after_ms;
    }
    complain(a);
    tell_all(a, &f);
}

static void granted(struct tg_auth *a, struct tg_grant *g)
{
    const uint64_t life = (uint64_t)g->life_ms;
    const uint64_t early = life / 5 < TG_AUTH_RENEW_MS ? life / 5 : TG_AUTH_RENEW_MS;

    tg_lines_clear(&a->lines);
    a->lines = g->headers;
    g->headers = (struct tg_lines){0};
    a->good = true;
    a->generation++;
    a->ends_at_ms = life > 0 ? now_ms(a) + life : 0;
    a->renew_at_ms = life > 0 ? a->ends_at_ms - early : 0;
    a->backoff_ms = 0;
    a->wait_until_ms = 0;
    a->complained = false;
    tell_all(a, NULL);
}

static void on_answer(void *arg, const struct tg_http_answer *answer)
{
    struct tg_auth *a = arg;
    struct tg_error err = {""};
    struct tg_grant grant = {0};
    const bool throttled =
        answer->end == TG_HTTP_WHOLE && (answer->status == 429 || answer->status == 503);
    enum tg_grant_result result;

    a->flight = NULL;
    result = a->kind == OAUTH2 ? tg_oauth_answer(answer, &grant, &err)
                               : a->login.answer(a->login.arg, answer, &grant, &err);
    if (result == TG_GRANT_OK) {
        granted(a, &grant);
    } else {
        (void)snprintf(a->detail, sizeof(a->detail), "%s", err.text);
        failed(a, result == TG_GRANT_REFUSED,
               throttled && answer->retry_after_ms > 0 ? answer->retry_after_ms : 0);
    }
    tg_grant_clear(&grant);
}

/* 0: it is out. -1 with err: nothing was sent. */
static int start_flight(struct tg_auth *a, struct tg_error *err)
{
    const char *secret = tg_secret_text(a->secret, err);
    struct tg_http_request r = {
        .site = a->o.site, .connect_ms = TG_HTTP_CONNECT_MS, .total_ms = a->o.config->timeout_ms};
    struct tg_message m;
    int rc;

    if (secret == NULL) {
        return -1;
    }
    a->secret_version = tg_secret_version(a->secret);
    rc = a->kind == OAUTH2 ? tg_oauth_request(a->o.config, secret, &m, err)
                           : a->login.request(a->login.arg, secret, &m, err);
    if (rc != 0) {
        return -1;
    }
    r.method = m.method;
    r.url = m.target;
    r.headers = (const char *const *)m.headers.items;
    r.header_count = m.headers.count;
    r.body = (struct tg_str){(unsigned char *)m.body, m.body_len};
    a->flight = tg_http_send(a->o.http, &r, on_answer, a);
    tg_message_clear(&m);
    return a->flight != NULL ? 0 : tg_error_set(err, "out of memory");
}

static bool in_backoff(struct tg_auth *a)
{
    struct tg_error ignored;

    if (now_ms(a) >= a->wait_until_ms) {
        return false;
    }
    /* a new secret may be the right one */
    return tg_secret_text(a->secret, &ignored) == NULL ||
           a->secret_version == tg_secret_version(a->secret);
}

static enum tg_auth_now no_credentials(struct tg_auth *a, struct tg_auth_failure *failure)
{
    const uint64_t now = now_ms(a);

    *failure = (struct tg_auth_failure){.outcome = TG_OUTCOME_DOWN, .detail = a->detail};
    if (a->throttled && now < a->wait_until_ms) {
        failure->outcome = TG_OUTCOME_THROTTLED;
        failure->retry_after_ms = (int64_t)(a->wait_until_ms - now);
    }
    return TG_AUTH_FAILED;
}

static enum tg_auth_now get_fetched(struct tg_auth *a, struct tg_auth_wait *w,
                                    struct tg_auth_failure *failure)
{
    const uint64_t now = now_ms(a);
    struct tg_error err = {""};

    if (a->good && a->ends_at_ms != 0 && now >= a->ends_at_ms) {
        a->good = false;
    }
    if (a->flight == NULL && (!a->good || (a->renew_at_ms != 0 && now >= a->renew_at_ms))) {
        if (in_backoff(a)) {
            return a->good ? TG_AUTH_READY : no_credentials(a, failure);
        }
        if (start_flight(a, &err) != 0) {
            (void)snprintf(a->detail, sizeof(a->detail), "%s", err.text);
            complain(a);
            return a->good ? TG_AUTH_READY : no_credentials(a, failure);
        }
    }
    if (a->good) {
        return TG_AUTH_READY;
    }
    w->auth = a;
    w->next = NULL;
    w->link = a->tail;
    *a->tail = w;
    a->tail = &w->next;
    return TG_AUTH_WAITS;
}

enum tg_auth_now tg_auth_get(struct tg_auth *a, struct tg_auth_wait *w,
                             const struct tg_lines **lines, unsigned *generation,
                             struct tg_auth_failure *failure)
{
    enum tg_auth_now now = TG_AUTH_READY;
    struct tg_error err = {""};

    if (is_fetched(a)) {
        now = get_fetched(a, w, failure);
    } else if (a->kind != NONE && refresh_lines(a, &err) != 0) {
        (void)snprintf(a->detail, sizeof(a->detail), "%s", err.text);
        complain(a);
        now = no_credentials(a, failure);
    }
    *lines = &a->lines;
    *generation = a->generation;
    return now;
}

void tg_auth_leave(struct tg_auth_wait *w)
{
    if (w->link == NULL) {
        return;
    }
    *w->link = w->next;
    if (w->next != NULL) {
        w->next->link = w->link;
    } else if (w->auth->tail == &w->next) {
        w->auth->tail = w->link;
    }
    w->link = NULL;
}

bool tg_auth_refused(struct tg_auth *a, unsigned generation)
{
    struct tg_error ignored;

    if (a->kind == NONE) {
        return false;
    }
    if (generation != a->generation) {
        return true; /* renewed meanwhile */
    }
    if (is_fetched(a)) {
        a->good = false;
        return true;
    }
    return tg_secret_text(a->secret, &ignored) != NULL &&
           a->secret_version != tg_secret_version(a->secret);
}

/* ---- secrets in texts ---- */

static void scrub_one(char *text, const char *secret)
{
    const size_t len = secret != NULL ? strlen(secret) : 0;
    char *at;

    while (len >= SCRUB_MIN_BYTES && (at = strstr(text, secret)) != NULL) {
        memset(at, '*', 3);
        memmove(at + 3, at + len, strlen(at + len) + 1);
    }
}

void tg_auth_scrub(const struct tg_auth *a, char *text)
{
    if (a->secret != NULL) {
        scrub_one(text, tg_secret_peek(a->secret));
    }
    for (size_t i = 0; i < a->lines.count; i++) {
        const char *value = strchr(a->lines.items[i], ':');
        const char *last = value != NULL ? strrchr(value, ' ') : NULL;

        if (value != NULL && last != NULL) {
            scrub_one(text, value + 2);
            scrub_one(text, last + 1);
        }
    }
}
