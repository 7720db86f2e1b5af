/* What is looked at, what becomes of it, and the words it is told in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alert/inner.h"
#include "journal_rows.h"

#define NOW INT64_C(1763685804123)
#define HOUR INT64_C(3600000)

static const struct tg_alert_policy policy = {
    .repeat_ms = 4 * HOUR, .again_ms = 600000, .settle_ms = 120000, .resolved = true};

/* ---- the look ---- */

static struct tg_alert_look look_with(const struct tg_config_alerts *c,
                                      const struct tg_catalogue *catalogue, struct tg_reader *r)
{
    struct tg_alert_look l = {.config = c,
                              .catalogue = catalogue,
                              .reader = r,
                              .now_ms = NOW,
                              .facts = {.redis_up = true}};

    return l;
}

static const struct tg_alert_item *item_of(const struct tg_alert_look *l, const char *kind,
                                           const char *thing)
{
    for (size_t i = 0; i < l->items.count; i++) {
        if (strcmp(tg_alert_kind_word(l->items.items[i].kind), kind) == 0 &&
            strcmp(l->items.items[i].thing, thing) == 0) {
            return &l->items.items[i];
        }
    }
    return NULL;
}

static struct tg_catalogue *catalogue(void)
{
    struct tg_error err = {{0}};
    struct tg_catalogue *c = tg_catalogue_load("conf/catalogue.yaml", &err);

    if (c == NULL) {
        fail_msg("%s", err.text);
    }
    return c;
}

static void add_exception(struct jt *t, int64_t id, const char *code, int64_t opened_ms)
{
    struct tg_batch *b = tg_batch_new();
    struct tg_row_exception x = jt_exception(id, 1, code);

    x.opened_ms = opened_ms;
    assert_int_equal(tg_batch_exception(b, &x), 0);
    jt_commit(t, b);
}

static void add_audit(struct jt *t, const char *action, const char *detail)
{
    struct tg_batch *b = tg_batch_new();

    assert_int_equal(tg_batch_audit(b, "orchestrator", action, "s07", detail), 0);
    jt_commit(t, b);
}

static void the_journal_is_looked_at(void **state)
{
    struct jt *t = *state;
    const struct tg_config_alerts c = {.exception_age_ms = 24 * HOUR, .posting_age_ms = HOUR};
    struct tg_catalogue *cat = catalogue();
    struct tg_reader *r;
    struct tg_alert_look l;
    struct tg_batch *b = tg_batch_new();
    const struct tg_alert_item *item;

    (void)jt_add_ready(t, b, 1);
    jt_commit(t, b);
    jt_sql(t, "UPDATE events SET journalled_ms = 1763685804123 - 2 * 3600000");
    add_exception(t, 1, "worker_unknown", NOW - 30 * HOUR);
    add_exception(t, 2, "worker_unknown", NOW - HOUR);
    add_exception(t, 3, "period_closed", NOW - HOUR);
    r = jt_reader(t);
    l = look_with(&c, cat, r);
    l.marks.exceptions = 1;
    tg_alert_look_run(&l);
    assert_int_equal(l.result, 0);
    item = item_of(&l, "exception_open", "acme/worker_unknown");
    assert_non_null(item);
    assert_int_equal(item->count, 2);
    assert_int_equal(item->fresh, 1);
    assert_non_null(strstr(item->text, "Worker is not in the master data"));
    assert_int_equal(l.marks.exceptions, 3);
    item = item_of(&l, "exception_ageing", "acme/finance");
    assert_non_null(item);
    assert_int_equal(item->fresh, 0);
    assert_non_null(strstr(item->text, "(30 h)"));
    item = item_of(&l, "posting_ageing", "acme/erp");
    assert_non_null(item);
    assert_non_null(strstr(item->text, "posting 1,"));
    assert_non_null(strstr(item->text, "(120 min)"));
    assert_null(item_of(&l, "data_loss", "stream"));
    for (size_t i = 1; i < l.items.count; i++) { /* sorted: the things rely on it */
        assert_true(l.items.items[i - 1].kind <= l.items.items[i].kind);
    }
    tg_alert_look_clear(&l);

    /* the audit chain: only what is behind the mark */
    add_audit(t, "stream.entry_lost", NULL);
    add_audit(t, "stream.entries_missing", "{\"missing\":41}");
    add_audit(t, "journal.restored", NULL);
    l = look_with(&c, cat, r);
    l.marks.exceptions = 3;
    tg_alert_look_run(&l);
    item = item_of(&l, "data_loss", "stream");
    assert_non_null(item);
    assert_int_equal(item->fresh, 42);
    assert_non_null(item_of(&l, "journal_restored", "journal"));
    assert_int_equal(item_of(&l, "exception_open", "acme/period_closed")->fresh, 0);
    {
        const struct tg_alert_marks marks = l.marks;

        tg_alert_look_clear(&l);
        l = look_with(&c, cat, r);
        l.marks = marks;
        tg_alert_look_run(&l);
        assert_null(item_of(&l, "data_loss", "stream"));
    }
    tg_alert_look_clear(&l);
    tg_reader_close(r);
    tg_catalogue_free(cat);
}

static void the_loops_facts(void **state)
{
    struct jt *t = *state;
    const struct tg_config_alerts c = {.backlog = 100};
    struct tg_catalogue *cat = catalogue();
    struct tg_reader *r = jt_reader(t);
    struct tg_alert_look l = look_with(&c, cat, r);

    l.facts.redis_up = false;
    l.facts.journal_stuck = true;
    l.facts.backlog = 101;
    tg_alert_fact_breaker(&l.facts, "acme/payroll");
    tg_alert_look_run(&l);
    assert_non_null(item_of(&l, "redis_down", "redis"));
    assert_non_null(item_of(&l, "journal_stuck", "journal"));
    assert_int_equal(item_of(&l, "stream_backlog", "stream")->count, 101);
    assert_non_null(strstr(item_of(&l, "breaker_open", "acme/payroll")->text, "none is lost"));
    tg_alert_look_clear(&l);
    l = look_with(&c, cat, r);
    l.facts.backlog = 100;
    tg_alert_look_run(&l);
    assert_int_equal(l.items.count, 0);
    tg_alert_look_clear(&l);
    tg_reader_close(r);
    tg_catalogue_free(cat);
}

static void more_than_can_be_held(void **state)
{
    struct tg_alert_facts f = {.redis_up = true};
    char name[32];

    (void)state;
    for (int i = 0; i < TG_ALERT_THINGS_MAX + 10; i++) {
        (void)snprintf(name, sizeof(name), "acme/d%d", i);
        tg_alert_fact_breaker(&f, name);
    }
    assert_int_equal(f.breakers.count, TG_ALERT_THINGS_MAX);
    assert_true(f.breakers.cut);
    tg_alert_items_clear(&f.breakers);
}

/* ---- things ---- */

struct posts {
    struct tg_alert_post last;
    size_t count, room;
};

static bool take(void *arg, const struct tg_alert_post *p)
{
    struct posts *x = arg;

    if (x->count == x->room) {
        return false;
    }
    x->last = *p;
    x->count++;
    return true;
}

static void step(struct tg_alert_things *t, const char *thing, uint64_t fresh, int64_t now,
                 struct posts *posts)
{
    struct tg_alert_items items = {.items = NULL};

    if (thing != NULL) {
        struct tg_alert_item *item = tg_alert_items_add(&items, TG_ALERT_EXCEPTION_OPEN, thing);

        item->fresh = fresh;
        (void)snprintf(item->text, sizeof(item->text), "words");
    }
    assert_int_equal(tg_alert_things_step(t, &items, now, &policy, take, posts), 0);
    tg_alert_items_clear(&items);
}

static void deliver(struct tg_alert_things *t, const struct tg_alert_post *p, int64_t now)
{
    struct tg_alert_thing *x = tg_alert_things_find(t, p->kind, p->thing);

    assert_non_null(x);
    x->out = false;
    tg_alert_told(&x->state, p->notice, p->fresh, now);
}

static void a_notice_at_a_time_and_nothing_forgotten(void **state)
{
    struct tg_alert_things t = {.items = NULL};
    struct posts posts = {.room = 0};
    char first[TG_ALERT_ID_BYTES];

    (void)state;
    step(&t, "acme/a", 2, NOW, &posts); /* the outbox is full: decided again */
    assert_int_equal(posts.count, 0);
    posts.room = 10;
    step(&t, "acme/a", 1, NOW + 1000, &posts);
    assert_int_equal(posts.count, 1);
    assert_int_equal(posts.last.fresh, 3);
    memcpy(first, posts.last.id, sizeof(first));
    step(&t, "acme/a", 4, NOW + 2000, &posts); /* on its way: nothing new is decided */
    assert_int_equal(posts.count, 1);
    deliver(&t, &posts.last, NOW + 3000);
    assert_int_equal(tg_alert_things_find(&t, TG_ALERT_EXCEPTION_OPEN, "acme/a")->state.fresh, 4);
    step(&t, "acme/a", 0, NOW + 3000 + 600000, &posts);
    assert_int_equal(posts.count, 2);
    assert_int_equal(posts.last.notice, TG_ALERT_MORE);
    assert_int_equal(posts.last.fresh, 4);
    assert_string_not_equal(posts.last.id, first);
    deliver(&t, &posts.last, NOW + HOUR);
    step(&t, NULL, 0, NOW + HOUR, &posts);
    step(&t, NULL, 0, NOW + 2 * HOUR, &posts);
    assert_int_equal(posts.last.notice, TG_ALERT_RESOLVED);
    tg_alert_things_clear(&t);
}

/* Many of them, in any order: found again, and each stepped once. */
static void many_things(void **state)
{
    struct tg_alert_things t = {.items = NULL};
    struct posts posts = {.room = 100000};
    char name[32];

    (void)state;
    for (int i = 0; i < 1000; i++) {
        const struct tg_alert_state s = {.told = true, .since_ms = NOW, .told_ms = NOW};

        (void)snprintf(name, sizeof(name), "acme/%d", i * 7919 % 1000);
        assert_int_equal(tg_alert_things_load(&t, TG_ALERT_BREAKER_OPEN, name, &s), 0);
    }
    for (size_t i = 1; i < t.count; i++) {
        assert_true(strcmp(t.items[i - 1].thing, t.items[i].thing) < 0);
    }
    step(&t, "acme/x", 1, NOW + 1, &posts);
    assert_int_equal(posts.count, 1);
    step(&t, "acme/x", 0, NOW + HOUR, &posts); /* the thousand are right and settle */
    assert_int_equal(posts.count, 1001);
    tg_alert_things_clear(&t);
}

static void on_alert(void *arg, const char *kind, const char *thing, const struct tg_alert_state *s)
{
    struct tg_alert_things *t = arg;

    assert_int_equal(tg_alert_things_load(t, tg_alert_kind_of(kind), thing, s), 0);
}

static void what_was_told_outlives_the_process(void **state)
{
    struct jt *t = *state;
    struct tg_alert_things things = {.items = NULL}, again = {.items = NULL};
    struct posts posts = {.room = 10};
    struct tg_batch *b = tg_batch_new();
    struct tg_alert_marks marks = {.exceptions = 5, .audit = 17};
    struct tg_error err = {{0}};
    struct tg_reader *r;

    step(&things, "acme/a", 2, NOW, &posts);
    deliver(&things, &posts.last, NOW);
    assert_int_equal(tg_alert_things_note(&things, b, NOW, &policy), 0);
    assert_int_equal(tg_batch_alert_marks(b, &marks), 0);
    jt_commit(t, b);
    b = tg_batch_new(); /* nothing changed: nothing is written */
    assert_int_equal(tg_alert_things_note(&things, b, NOW, &policy), 0);
    assert_int_equal(tg_batch_ops(b), 0);
    tg_batch_free(b);

    r = jt_reader(t);
    memset(&marks, 0, sizeof(marks));
    assert_int_equal(tg_reader_alert_marks(r, &marks, &err), 0);
    assert_int_equal(marks.exceptions, 5);
    assert_int_equal(marks.audit, 17);
    assert_int_equal(tg_reader_alerts(r, on_alert, &again, &err), 0);
    assert_int_equal(again.count, 1);
    step(&again, "acme/a", 0, NOW + 1000, &posts);
    assert_int_equal(posts.count, 1); /* told already */
    step(&again, NULL, 0, NOW + HOUR, &posts);
    step(&again, NULL, 0, NOW + 2 * HOUR, &posts);
    assert_int_equal(posts.last.notice, TG_ALERT_RESOLVED);
    deliver(&again, &posts.last, NOW + 2 * HOUR);
    b = tg_batch_new();
    assert_int_equal(tg_alert_things_note(&again, b, NOW + 3 * HOUR, &policy), 0);
    jt_commit(t, b);
    assert_int_equal(again.count, 0);
    assert_int_equal(jt_sql_int(t, "SELECT count(*) FROM alerts"), 0);
    tg_reader_close(r);
    tg_alert_things_clear(&things);
    tg_alert_things_clear(&again);
}

/* ---- words ---- */

static struct tg_alert_post post_of(enum tg_alert_kind kind, const char *thing, const char *text)
{
    struct tg_alert_post p = {.kind = kind,
                              .notice = TG_ALERT_FIRING,
                              .fresh = 2,
                              .count = 3,
                              .since_ms = NOW,
                              .at_ms = NOW};

    (void)snprintf(p.thing, sizeof(p.thing), "%s", thing);
    (void)snprintf(p.text, sizeof(p.text), "%s", text);
    tg_alert_id(&p, p.id);
    return p;
}

static void the_event_is_json_whatever_is_in_it(void **state)
{
    struct tg_alert_post p = post_of(TG_ALERT_BREAKER_OPEN, "acme/\"erp\"", "a \"b\" \\ \n c");
    char *text = tg_alert_event(&p, "prod-1");
    json_t *e = json_loads(text, 0, NULL);
    json_t *data = json_object_get(e, "data");

    (void)state;
    assert_non_null(e);
    assert_string_equal(json_string_value(json_object_get(e, "source")), "urn:tallygate:prod-1");
    assert_string_equal(json_string_value(json_object_get(data, "thing")), "acme/\"erp\"");
    assert_int_equal(json_integer_value(json_object_get(data, "count")), 3);
    assert_int_equal(json_integer_value(json_object_get(data, "new")), 2);
    json_decref(e);
    free(text);
    p.notice = TG_ALERT_RESOLVED;
    text = tg_alert_event(&p, "prod-1");
    assert_non_null(strstr(text, "com.tallygate.alert.resolved.v1"));
    assert_non_null(strstr(text, "is right again"));
    free(text);
    p = post_of(TG_ALERT_DATA_LOSS, "stream", ""); /* noted by a process that did not live */
    text = tg_alert_event(&p, "prod-1");
    assert_non_null(strstr(text, "2 new"));
    free(text);
}

static void a_mail_of_many(void **state)
{
    static struct tg_alert_post posts[TG_ALERT_MAIL_NOTICES];
    const struct tg_alert_post *list[TG_ALERT_MAIL_NOTICES];
    char *to[TG_MAIL_RECIPIENTS_MAX];
    char address[TG_MAIL_ADDRESS_MAX_BYTES + 1], text[TG_ALERT_TEXT_BYTES],
        thing[TG_ALERT_THING_BYTES];
    struct tg_config_alerts c = {.repeat_ms = 0};
    char *mail, *body;

    (void)state;
    memset(address, 'a', sizeof(address) - 1);
    memcpy(address + 1, "@", 1);
    address[sizeof(address) - 1] = '\0';
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    memset(thing, 't', sizeof(thing) - 1);
    thing[sizeof(thing) - 1] = '\0';
    for (size_t i = 0; i < TG_MAIL_RECIPIENTS_MAX; i++) {
        to[i] = address;
    }
    c.smtp.from = address;
    c.smtp.to = to;
    c.smtp.to_count = TG_MAIL_RECIPIENTS_MAX;
    for (size_t i = 0; i < TG_ALERT_MAIL_NOTICES; i++) {
        posts[i] = post_of(TG_ALERT_EXCEPTION_OPEN, thing, text);
        list[i] = &posts[i];
    }
    mail = tg_alert_mail(list, TG_ALERT_MAIL_NOTICES, "prod-1", "0.1.0", &c, NOW);
    assert_non_null(mail);
    assert_non_null(strstr(mail, "Date: Fri, 21 Nov 2025 00:43:24 +0000\r\n"));
    body = strstr(mail, "\r\n\r\n");
    assert_non_null(body);
    for (const char *line = mail; line < body; line = strchr(line, '\n') + 1) {
        assert_true(strcspn(line, "\r\n") < 998); /* RFC 5322 */
    }
    for (const char *c2 = mail; (c2 = strchr(c2, '\n')) != NULL; c2++) {
        assert_true(c2 > mail && c2[-1] == '\r');
    }
    free(mail);
}

static void kinds_and_ages(void **state)
{
    char age[32];

    (void)state;
    for (int k = 0; k < TG_ALERT_KIND_COUNT; k++) {
        const char *word = tg_alert_kind_word((enum tg_alert_kind)k);

        assert_int_equal(tg_alert_kind_of(word), k);
        assert_true(strlen(tg_alert_kind_title((enum tg_alert_kind)k)) > 0);
    }
    assert_int_equal(tg_alert_kind_of("nonsense"), TG_ALERT_KIND_COUNT);
    tg_alert_age(59000, age, sizeof(age));
    assert_string_equal(age, "59 s");
    tg_alert_age(179 * 60000, age, sizeof(age));
    assert_string_equal(age, "179 min");
    tg_alert_age(71 * HOUR, age, sizeof(age));
    assert_string_equal(age, "71 h");
    tg_alert_age(240 * HOUR, age, sizeof(age));
    assert_string_equal(age, "10 days");
}

static void addresses_of_mail(void **state)
{
    static const char *const good[] = {"a@b", "ops+x@acme.example", "o'neil@acme.example"};
    static const char *const bad[] = {"",          "a",     "@b",      "a@",    "a@b@c",  "a b@c",
                                      "a@b\r\nX:", "<a@b>", "a@b,c@d", "a;b@c", "\"a\"@b"};
    struct tg_error err;

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_true(tg_mail_is_address(tg_str_of(good[i])));
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(tg_mail_is_address(tg_str_of(bad[i])));
    }
    assert_int_equal(tg_mail_url_check(tg_str_of("smtp://mail.acme.example:587"), &err), 0);
    assert_int_equal(tg_mail_url_check(tg_str_of("smtps://[::1]:465"), &err), 0);
    assert_int_equal(tg_mail_url_check(tg_str_of("smtp://"), &err), -1);
    assert_int_equal(tg_mail_url_check(tg_str_of("smtp://u:p@h"), &err), -1);
    assert_int_equal(tg_mail_url_check(tg_str_of("http://h"), &err), -1);
    assert_int_equal(tg_mail_url_check(tg_str_of("smtp://h/x"), &err), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_journal_is_looked_at, jt_setup, jt_teardown),
        cmocka_unit_test_setup_teardown(the_loops_facts, jt_setup, jt_teardown),
        cmocka_unit_test(more_than_can_be_held),
        cmocka_unit_test(a_notice_at_a_time_and_nothing_forgotten),
        cmocka_unit_test(many_things),
        cmocka_unit_test_setup_teardown(what_was_told_outlives_the_process, jt_setup, jt_teardown),
        cmocka_unit_test(the_event_is_json_whatever_is_in_it),
        cmocka_unit_test(a_mail_of_many),
        cmocka_unit_test(kinds_and_ages),
        cmocka_unit_test(addresses_of_mail),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
