/*
 * inner.h: what the files of this folder share; nothing outside includes it.
 *
 *   look.c     the loop's facts and the journal -> items that are wrong (in the pool)
 *   things.c   items against what is known of each thing -> notices (pure, but for memory)
 *   text.c     a notice as words: CloudEvent, mail (pure)
 *   outbox.c   notices -> webhook and mail server
 *   alert.c    the tick, and what is noted in the journal
 *
 * Ownership: said at each struct.
 */
#ifndef TG_ALERT_INNER_H
#define TG_ALERT_INNER_H

#include "alert/alert.h"
#include "connect/http.h"
#include "connect/mail.h"
#include "core/alert.h"
#include "journal/alerts.h"

/* X(enumerator, word, severity, title); docs/operating.md has a paragraph for each word */
#define TG_ALERT_KIND_TABLE(X)                                                                     \
    X(EXCEPTION_OPEN, "exception_open", "warning", "Exceptions wait for a person")                 \
    X(EXCEPTION_AGEING, "exception_ageing", "warning", "Exceptions wait too long")                 \
    X(POSTING_AGEING, "posting_ageing", "warning", "Postings do not get through")                  \
    X(BREAKER_OPEN, "breaker_open", "critical", "A destination cannot be reached")                 \
    X(STREAM_BACKLOG, "stream_backlog", "critical", "Events wait in the stream")                   \
    X(DATA_LOSS, "data_loss", "critical", "Accepted events are lost")                              \
    X(JOURNAL_STUCK, "journal_stuck", "critical", "The journal cannot be written")                 \
    X(REDIS_DOWN, "redis_down", "critical", "Redis cannot be reached")                             \
    X(JOURNAL_RESTORED, "journal_restored", "warning", "The journal came from a backup")           \
    X(TEST, "test", "info", "A test of the alerts")

#define TG_ALERT_KIND_ENUM(name, word, severity, title) TG_ALERT_##name,
enum tg_alert_kind { TG_ALERT_KIND_TABLE(TG_ALERT_KIND_ENUM) TG_ALERT_KIND_COUNT };
#undef TG_ALERT_KIND_ENUM

const char *tg_alert_kind_word(enum tg_alert_kind k);
const char *tg_alert_kind_severity(enum tg_alert_kind k);
const char *tg_alert_kind_title(enum tg_alert_kind k);
enum tg_alert_kind tg_alert_kind_of(const char *word); /* COUNT: none */
bool tg_alert_kind_is_event(enum tg_alert_kind k);     /* an event, not a state */

#define TG_ALERT_THING_BYTES 200
#define TG_ALERT_TEXT_BYTES 512
#define TG_ALERT_ID_BYTES 33
#define TG_ALERT_NAME_BYTES 65

/* What this installation is called: the configured name, or the host's. */
void tg_alert_name(const struct tg_config *c, char out[TG_ALERT_NAME_BYTES]);

/* Something that is wrong now. Plain. */
struct tg_alert_item {
    enum tg_alert_kind kind;
    char thing[TG_ALERT_THING_BYTES]; /* "acme/erp" */
    uint64_t fresh, count;
    char text[TG_ALERT_TEXT_BYTES]; /* a sentence or two */
};

/* Growing list; items is owned. */
struct tg_alert_items {
    struct tg_alert_item *items;
    size_t count, capacity;
    bool cut; /* more than TG_ALERT_THINGS_MAX, or no memory */
};

/* A fresh one at the end, zero but for kind and thing; NULL: no room. */
struct tg_alert_item *tg_alert_items_add(struct tg_alert_items *l, enum tg_alert_kind kind,
                                         const char *thing);
void tg_alert_items_clear(struct tg_alert_items *l);

struct tg_alert_facts {
    bool redis_up, journal_stuck;
    uint64_t backlog;
    struct tg_alert_items breakers;
};

/* ---- look.c ---- */

struct tg_alert_look {
    /* in */
    const struct tg_config_alerts *config;
    const struct tg_catalogue *catalogue;
    struct tg_reader *reader;
    struct tg_alert_facts facts; /* owned; already only what lasted long enough */
    int64_t now_ms;
    /* in and out */
    struct tg_alert_marks marks;
    /* out */
    struct tg_alert_items items; /* owned, sorted */
    struct tg_error err;
    int result; /* 0 or -1 with err */
};

void tg_alert_look_run(struct tg_alert_look *l);
void tg_alert_look_clear(struct tg_alert_look *l);

/* ---- things.c ---- */

struct tg_alert_thing {
    enum tg_alert_kind kind;
    char thing[TG_ALERT_THING_BYTES];
    struct tg_alert_state state;
    struct tg_alert_state noted; /* as the journal has it */
    bool is_noted;               /* the journal has a row of it */
    bool out;                    /* a notice of it is in the outbox */
    uint64_t count;
    char text[TG_ALERT_TEXT_BYTES]; /* when it was last wrong */
};

/* Sorted by kind and name; items is owned. */
struct tg_alert_things {
    struct tg_alert_thing *items;
    size_t count, capacity;
};

struct tg_alert_post {
    char id[TG_ALERT_ID_BYTES]; /* the same for every try */
    enum tg_alert_kind kind;
    enum tg_alert_notice notice;
    char thing[TG_ALERT_THING_BYTES];
    char text[TG_ALERT_TEXT_BYTES];
    uint64_t fresh, count;
    int64_t since_ms, at_ms;
};

/* Takes a notice; false: no room, it is decided again at the next look. */
typedef bool (*tg_alert_post_fn)(void *arg, const struct tg_alert_post *p);

/* One step for each thing that is, or was, wrong. items is sorted. 0, or -1: no memory. */
int tg_alert_things_step(struct tg_alert_things *t, const struct tg_alert_items *items,
                         int64_t now_ms, const struct tg_alert_policy *p, tg_alert_post_fn post,
                         void *arg);
/* From the journal at the start. 0 or -1. */
int tg_alert_things_load(struct tg_alert_things *t, enum tg_alert_kind kind, const char *thing,
                         const struct tg_alert_state *state);
struct tg_alert_thing *tg_alert_things_find(struct tg_alert_things *t, enum tg_alert_kind kind,
                                            const char *thing);
/* Rows that changed into the batch, and notes that they did; idle ones are dropped. 0 or -1. */
int tg_alert_things_note(struct tg_alert_things *t, struct tg_batch *b, int64_t now_ms,
                         const struct tg_alert_policy *p);
void tg_alert_things_clear(struct tg_alert_things *t);

/* ---- text.c ---- */

/* Each NULL: no memory. The caller frees. */
char *tg_alert_event(const struct tg_alert_post *p, const char *name);
/* A whole mail, CRLF. */
char *tg_alert_mail(const struct tg_alert_post *const *posts, size_t n, const char *name,
                    const char *version, const struct tg_config_alerts *c, int64_t now_ms);
void tg_alert_id(const struct tg_alert_post *p, char out[TG_ALERT_ID_BYTES]);
/* "26 h", "3 min" */
void tg_alert_age(int64_t ms, char *out, size_t size);

/* ---- outbox.c ---- */

struct tg_alert_outbox;

struct tg_alert_outbox_options {
    uv_loop_t *loop;
    const struct tg_config_alerts *config;
    const char *name, *version;
    unsigned attempts_max;
    /* After each try of a channel ("webhook", "mail"); NULL: nobody asks. why: "" when ok. */
    void (*tried)(void *arg, const char *channel, bool ok, const char *why);
    /* Every channel has delivered it, or given it up. */
    void (*done)(void *arg, const struct tg_alert_post *p);
    void *arg;
};

struct tg_alert_outbox *tg_alert_outbox_new(const struct tg_alert_outbox_options *o,
                                            struct tg_error *err);
/* False: full. */
bool tg_alert_outbox_add(struct tg_alert_outbox *x, const struct tg_alert_post *p);
/* Sends what is due. Called at each tick, and after something was added. */
void tg_alert_outbox_run(struct tg_alert_outbox *x);
void tg_alert_outbox_close(struct tg_alert_outbox *x, void (*closed)(void *arg), void *arg);
void tg_alert_outbox_free(struct tg_alert_outbox *x); /* after closed */

#endif
