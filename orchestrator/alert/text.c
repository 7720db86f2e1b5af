#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "alert/inner.h"
#include "common/codec.h"
#include "common/digest.h"

#define HELP "docs/operating.md#alerts"
#define DATE_BYTES 40

/* ---- kinds ---- */

struct kind {
    const char *word, *severity, *title;
};

#define KIND_ROW(name, word, severity, title) {word, severity, title},
static const struct kind kinds[] = {TG_ALERT_KIND_TABLE(KIND_ROW)};
#undef KIND_ROW

const char *tg_alert_kind_word(enum tg_alert_kind k)
{
    return k < TG_ALERT_KIND_COUNT ? kinds[k].word : "unknown";
}

const char *tg_alert_kind_severity(enum tg_alert_kind k)
{
    return k < TG_ALERT_KIND_COUNT ? kinds[k].severity : "warning";
}

const char *tg_alert_kind_title(enum tg_alert_kind k)
{
    return k < TG_ALERT_KIND_COUNT ? kinds[k].title : "";
}

enum tg_alert_kind tg_alert_kind_of(const char *word)
{
    int k = 0;

    while (k < TG_ALERT_KIND_COUNT && strcmp(kinds[k].word, word) != 0) {
        k++;
    }
    return (enum tg_alert_kind)k;
}

bool tg_alert_kind_is_event(enum tg_alert_kind k)
{
    return k == TG_ALERT_DATA_LOSS || k == TG_ALERT_JOURNAL_RESTORED || k == TG_ALERT_TEST;
}

/* ---- small things ---- */

void tg_alert_age(int64_t ms, char *out, size_t size)
{
    const int64_t minutes = ms / 60000;

    if (minutes < 1) {
        (void)snprintf(out, size, "%" PRId64 " s", ms / 1000);
    } else if (minutes < 180) {
        (void)snprintf(out, size, "%" PRId64 " min", minutes);
    } else if (minutes < 72 * 60) {
        (void)snprintf(out, size, "%" PRId64 " h", minutes / 60);
    } else {
        (void)snprintf(out, size, "%" PRId64 " days", minutes / (24 * 60));
    }
}

/* Of what it says, so that every try of it is the same message to the reader. */
void tg_alert_id(const struct tg_alert_post *p, char out[TG_ALERT_ID_BYTES])
{
    unsigned char digest[TG_SHA256_BYTES];
    char text[TG_ALERT_THING_BYTES + 96];
    int n = snprintf(text, sizeof(text), "%s\n%s\n%s\n%" PRId64, tg_alert_kind_word(p->kind),
                     p->thing, tg_alert_notice_name(p->notice), p->at_ms);

    memset(digest, 0, sizeof(digest));
    (void)tg_sha256((struct tg_str){(const unsigned char *)text, n > 0 ? (size_t)n : 0}, digest);
    tg_hex_encode(digest, (TG_ALERT_ID_BYTES - 1) / 2, out);
    out[TG_ALERT_ID_BYTES - 1] = '\0';
}

static void time_text(int64_t ms, char out[TG_RFC3339_BYTES])
{
    if (tg_rfc3339_format(ms, out, TG_RFC3339_BYTES) != 0) {
        memcpy(out, "1970-01-01T00:00:00Z", sizeof("1970-01-01T00:00:00Z"));
    }
}

/* A resolved one says so; what was wrong is in the notices before. One that a process noted and did
 * not live to tell has no words left. */
static void sentence(const struct tg_alert_post *p, char *out, size_t size)
{
    if (p->notice == TG_ALERT_RESOLVED) {
        (void)snprintf(out, size, "%s: %.180s is right again.", tg_alert_kind_title(p->kind),
                       p->thing);
    } else if (p->text[0] != '\0') {
        (void)snprintf(out, size, "%s", p->text);
    } else {
        (void)snprintf(out, size, "%s: %.180s, %" PRIu64 " new; the audit chain says more.",
                       tg_alert_kind_title(p->kind), p->thing, p->fresh);
    }
}

/* ---- the CloudEvent ---- */

static json_t *event_data(const struct tg_alert_post *p)
{
    char since[TG_RFC3339_BYTES], text[TG_ALERT_TEXT_BYTES];

    time_text(p->since_ms, since);
    sentence(p, text, sizeof(text));
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:s, s:s, s:s}", "kind",
                     tg_alert_kind_word(p->kind), "notice", tg_alert_notice_name(p->notice),
                     "severity", tg_alert_kind_severity(p->kind), "title",
                     tg_alert_kind_title(p->kind), "thing", p->thing, "count", (json_int_t)p->count,
                     "new", (json_int_t)p->fresh, "since", since, "text", text, "help", HELP);
}

char *tg_alert_event(const struct tg_alert_post *p, const char *name)
{
    char source[128], subject[TG_ALERT_THING_BYTES + 64], at[TG_RFC3339_BYTES];
    json_t *event, *data = event_data(p);
    char *text;

    time_text(p->at_ms, at);
    (void)snprintf(source, sizeof(source), "urn:tallygate:%.64s", name);
    (void)snprintf(subject, sizeof(subject), "%s/%s", tg_alert_kind_word(p->kind), p->thing);
    event = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:o}", "specversion", "1.0", "id", p->id,
                      "source", source, "type",
                      p->notice == TG_ALERT_RESOLVED ? "com.tallygate.alert.resolved.v1"
                                                     : "com.tallygate.alert.firing.v1",
                      "time", at, "subject", subject, "datacontenttype", "application/json", "data",
                      data);
    text = event != NULL ? json_dumps(event, JSON_COMPACT) : NULL;
    json_decref(event);
    return text;
}

/* ---- the mail ---- */

struct mail {
    char *text;
    size_t used, size;
    bool failed;
};

static __attribute__((format(printf, 2, 3))) void put(struct mail *m, const char *fmt, ...)
{
    va_list args;
    int n;

    va_start(args, fmt);
    n = m->failed ? -1 : vsnprintf(m->text + m->used, m->size - m->used, fmt, args);
    va_end(args);
    if (n < 0 || (size_t)n >= m->size - m->used) {
        m->failed = true;
        return;
    }
    m->used += (size_t)n;
}

static void put_date(struct mail *m, int64_t now_ms)
{
    static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    const time_t seconds = (time_t)(now_ms / 1000);
    struct tm tm;

    if (gmtime_r(&seconds, &tm) == NULL) {
        m->failed = true;
        return;
    }
    put(m, "Date: %s, %02d %s %d %02d:%02d:%02d +0000\r\n", days[tm.tm_wday], tm.tm_mday,
        months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

static void put_headers(struct mail *m, const struct tg_alert_post *const *posts, size_t n,
                        const char *name, const struct tg_config_alerts *c, int64_t now_ms)
{
    put(m, "From: tallygate <%s>\r\nTo: ", c->smtp.from);
    for (size_t i = 0; i < c->smtp.to_count; i++) {
        put(m, "%s<%s>", i > 0 ? ",\r\n " : "", c->smtp.to[i]);
    }
    put(m, "\r\n");
    put_date(m, now_ms);
    put(m, "Message-ID: <%s.%zu@%s>\r\n", posts[0]->id, n, name);
    if (n == 1) {
        put(m, "Subject: [tallygate %s] %s: %s %s\r\n", name,
            tg_alert_notice_name(posts[0]->notice), tg_alert_kind_word(posts[0]->kind),
            posts[0]->thing);
    } else {
        put(m, "Subject: [tallygate %s] %zu notices: %s %s and others\r\n", name, n,
            tg_alert_kind_word(posts[0]->kind), posts[0]->thing);
    }
    put(m, "Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n"
           "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n");
}

static void put_post(struct mail *m, const struct tg_alert_post *p)
{
    char since[TG_RFC3339_BYTES], text[TG_ALERT_TEXT_BYTES];

    time_text(p->since_ms, since);
    sentence(p, text, sizeof(text));
    put(m, "%s  %s  %s %s\r\n  %s\r\n  since %s\r\n\r\n", tg_alert_notice_name(p->notice),
        tg_alert_kind_severity(p->kind), tg_alert_kind_word(p->kind), p->thing, text, since);
}

char *tg_alert_mail(const struct tg_alert_post *const *posts, size_t n, const char *name,
                    const char *version, const struct tg_config_alerts *c, int64_t now_ms)
{
    struct mail m = {.size = 4096 + c->smtp.to_count * (TG_MAIL_ADDRESS_MAX_BYTES + 8) +
                             n * (TG_ALERT_THING_BYTES + 2 * TG_ALERT_TEXT_BYTES)};

    m.text = malloc(m.size);
    if (m.text == NULL) {
        return NULL;
    }
    put_headers(&m, posts, n, name, c, now_ms);
    for (size_t i = 0; i < n; i++) {
        put_post(&m, posts[i]);
    }
    put(&m, "What each means and what to do: " HELP "\r\n-- \r\ntallygate %s at %s\r\n", version,
        name);
    if (m.failed) {
        free(m.text);
        return NULL;
    }
    return m.text;
}
