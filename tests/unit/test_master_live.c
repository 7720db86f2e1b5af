/* Master data as events change it: what holds on a day, whatever the order in which they came. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/codec.h"
#include "master/change.h"
#include "master/live.h"

/* W-001 is in it: ACME-DE, CC-100, senior, REG, psa calls him u-17. */
#define MASTER "lua_rules/fixtures/master.json"
#define OWNERSHIP "lua_rules/fixtures/ownership.yaml"

struct event {
    const char *name, *source;
    int64_t version;
    const char *from, *attributes;
};

static bool changed;

static struct tg_master *files(void)
{
    struct tg_error err = {""};
    struct tg_master *m =
        tg_master_load(&(struct tg_master_files){.master = MASTER, .ownership = OWNERSHIP}, &err);

    assert_string_equal(err.text, "");
    return m;
}

static struct tg_live *fresh(void)
{
    struct tg_master *m = files();
    struct tg_live *l = tg_live_new(m, &changed);

    assert_non_null(l);
    tg_master_unref(m);
    return l;
}

static void apply(struct tg_live *l, int64_t id, const struct event *e)
{
    json_t *attributes = json_loads(e->attributes, 0, NULL);
    struct tg_error err = {""};

    assert_non_null(attributes);
    changed = false;
    assert_int_equal(tg_live_apply(l,
                                   &(struct tg_master_change){.id = id,
                                                              .kind = "worker",
                                                              .name = e->name,
                                                              .source = e->source,
                                                              .version = e->version,
                                                              .from = e->from,
                                                              .attributes = attributes},
                                   &err),
                     0);
    assert_true(changed);
    json_decref(attributes);
}

static const json_t *row(const struct tg_live *l, const char *key, const char *source,
                         const char *day)
{
    int32_t number = 0;

    assert_int_equal(tg_date_parse(tg_str_of(day), &number), 0);
    return tg_master_find_on(tg_live_current(l), tg_str_of("worker"), tg_str_of(key),
                             tg_str_of(source), number);
}

/* "attribute" on a day; "" when there is no such worker. */
static const char *on(const struct tg_live *l, const char *key, const char *attribute,
                      const char *day)
{
    const json_t *r = row(l, key, "", day);

    return r != NULL ? json_string_value(json_object_get(r, attribute)) : "";
}

static bool employed(const struct tg_live *l, const char *key, const char *day)
{
    int32_t number = 0;

    assert_int_equal(tg_date_parse(tg_str_of(day), &number), 0);
    return tg_master_in_force(json_object_get(row(l, key, "", day), "employment"), number, NULL);
}

#define HIRE                                                                                       \
    "{\"name\":\"Finn\",\"legal_entity\":\"ACME-DE\",\"cost_center\":\"CC-100\","                  \
    "\"labor_category\":\"senior\",\"pay_code\":\"REG\","                                          \
    "\"employment\":[{\"from\":\"2026-11-18\"}],\"aliases\":{\"psa\":\"u-41\"}}"

static void test_hired(void **state)
{
    struct tg_live *l = fresh();

    (void)state;
    assert_string_equal(on(l, "W-041", "name", "2026-11-18"), "");
    apply(l, 1, &(struct event){"W-041", "hr", 1, "2026-11-18", HIRE});
    assert_string_equal(on(l, "W-041", "name", "2026-11-18"), "Finn");
    assert_string_equal(on(l, "W-041", "cost_center", "2027-06-01"), "CC-100");
    /* before the first day he is known, and not employed */
    assert_string_equal(on(l, "W-041", "name", "2026-11-17"), "Finn");
    assert_false(employed(l, "W-041", "2026-11-17"));
    assert_true(employed(l, "W-041", "2026-11-18"));
    assert_non_null(row(l, "u-41", "psa", "2026-11-18"));
    assert_null(row(l, "u-41", "jira", "2026-11-18"));
    /* nobody else is touched */
    assert_string_equal(on(l, "W-001", "name", "2026-11-18"), "Ada");
    assert_non_null(row(l, "u-17", "psa", "2026-11-18"));
    tg_live_free(l);
}

static void test_a_change_has_a_first_day(void **state)
{
    struct tg_live *l = fresh();

    (void)state;
    apply(l, 1, &(struct event){"W-001", "hr", 1, "2026-11-18", "{\"cost_center\":\"CC-200\"}"});
    assert_string_equal(on(l, "W-001", "cost_center", "2026-11-17"), "CC-100");
    assert_string_equal(on(l, "W-001", "cost_center", "2026-11-18"), "CC-200");
    assert_string_equal(on(l, "W-001", "pay_code", "2026-11-18"), "REG");
    assert_string_equal(on(l, "W-001", "name", "2026-11-18"), "Ada");
    /* without a day: the latest */
    assert_string_equal(
        json_string_value(json_object_get(tg_master_find(tg_live_current(l), tg_str_of("worker"),
                                                         tg_str_of("u-17"), tg_str_of("psa")),
                                          "cost_center")),
        "CC-200");
    /* a change in between does not undo the later one */
    apply(l, 2, &(struct event){"W-001", "hr", 2, "2026-11-10", "{\"cost_center\":\"CC-300\"}"});
    assert_string_equal(on(l, "W-001", "cost_center", "2026-11-09"), "CC-100");
    assert_string_equal(on(l, "W-001", "cost_center", "2026-11-10"), "CC-300");
    assert_string_equal(on(l, "W-001", "cost_center", "2026-11-18"), "CC-200");
    /* the same day again: a correction */
    apply(l, 3, &(struct event){"W-001", "hr", 3, "2026-11-18", "{\"cost_center\":\"CC-400\"}"});
    assert_string_equal(on(l, "W-001", "cost_center", "2026-11-18"), "CC-400");
    tg_live_free(l);
}

static void test_an_old_version_undoes_nothing(void **state)
{
    struct tg_live *l = fresh();

    (void)state;
    apply(l, 1,
          &(struct event){"W-001", "hr", 7, "2026-11-18",
                          "{\"cost_center\":\"CC-700\",\"name\":\"Ada L.\",\"employment\":"
                          "[{\"from\":\"2024-01-01\",\"to\":\"2026-11-17\"}]}"});
    apply(l, 2,
          &(struct event){"W-001", "hr", 6, "2026-11-18",
                          "{\"cost_center\":\"CC-600\",\"name\":\"Ada K.\",\"employment\":"
                          "[{\"from\":\"2024-01-01\"}]}"});
    assert_string_equal(on(l, "W-001", "cost_center", "2026-11-18"), "CC-700");
    assert_string_equal(on(l, "W-001", "name", "2026-11-18"), "Ada L.");
    assert_false(employed(l, "W-001", "2026-11-18"));
    /* but it says what held before */
    apply(l, 3, &(struct event){"W-001", "hr", 5, "2026-11-01", "{\"cost_center\":\"CC-500\"}"});
    assert_string_equal(on(l, "W-001", "cost_center", "2026-11-17"), "CC-500");
    assert_string_equal(on(l, "W-001", "cost_center", "2026-11-18"), "CC-700");
    tg_live_free(l);
}

/* What is known at the end is a function of the set of changes, not of their order. */
static void test_any_order(void **state)
{
    static const struct event events[] = {
        {"W-041", "hr", 1, "2026-11-18", HIRE},
        {"W-041", "hr", 2, "2026-12-01", "{\"cost_center\":\"CC-200\",\"pay_code\":\"OT\"}"},
        {"W-041", "hr", 3, "2026-11-25", "{\"cost_center\":\"CC-300\"}"},
        {"W-041", "hr", 4, "2026-12-01", "{\"cost_center\":\"CC-400\",\"aliases\":{\"psa\":null}}"},
        {"W-041", "finance", 1, "2026-12-10", "{\"labor_category\":\"junior\"}"},
    };
    static const char *const days[] = {"2026-11-18", "2026-11-25", "2026-12-01", "2026-12-10"};
    static const char *const centers[] = {"CC-100", "CC-300", "CC-400", "CC-400"};
    size_t order[] = {0, 1, 2, 3, 4};
    unsigned tries = 0;

    (void)state;
    for (unsigned n = 0; n < 3125; n++) { /* every order of five among all words of five letters */
        struct tg_live *l;
        unsigned rest = n, seen = 0;

        for (size_t i = 0; i < 5; i++) {
            order[i] = rest % 5;
            rest /= 5;
            seen |= 1U << order[i];
        }
        if (seen != 31) {
            continue;
        }
        tries++;
        l = fresh();
        for (size_t i = 0; i < 5; i++) {
            apply(l, (int64_t)i + 1, &events[order[i]]);
        }
        for (size_t i = 0; i < 4; i++) {
            assert_string_equal(on(l, "W-041", "cost_center", days[i]), centers[i]);
        }
        assert_string_equal(on(l, "W-041", "pay_code", "2026-11-30"), "REG");
        assert_string_equal(on(l, "W-041", "pay_code", "2026-12-01"), "OT");
        assert_string_equal(on(l, "W-041", "labor_category", "2026-12-09"), "senior");
        assert_string_equal(on(l, "W-041", "labor_category", "2026-12-10"), "junior");
        assert_null(row(l, "u-41", "psa", "2026-12-01"));
        tg_live_free(l);
    }
    assert_int_equal(tries, 120);
}

static void test_aliases(void **state)
{
    struct tg_live *l = fresh();

    (void)state;
    /* one more, and none lost */
    apply(l, 1,
          &(struct event){"W-001", "hr", 1, "2026-11-18", "{\"aliases\":{\"jira\":\"j-1\"}}"});
    assert_non_null(row(l, "u-17", "psa", "2026-11-18"));
    assert_non_null(row(l, "j-1", "jira", "2026-11-18"));
    /* another one: the old one of the file leads nowhere */
    apply(l, 2,
          &(struct event){"W-001", "hr", 2, "2026-11-18", "{\"aliases\":{\"psa\":\"u-99\"}}"});
    assert_null(row(l, "u-17", "psa", "2026-11-18"));
    assert_non_null(row(l, "u-99", "psa", "2026-11-18"));
    /* and may become someone else's, who keeps it when the first changes again */
    apply(l, 3,
          &(struct event){"W-004", "hr", 1, "2026-11-18", "{\"aliases\":{\"psa\":\"u-17\"}}"});
    apply(l, 4, &(struct event){"W-001", "hr", 3, "2026-11-19", "{\"cost_center\":\"CC-2\"}"});
    assert_string_equal(
        json_string_value(json_object_get(row(l, "u-17", "psa", "2026-11-18"), "id")), "W-004");
    apply(l, 5, &(struct event){"W-001", "hr", 4, "2026-11-19", "{\"aliases\":{\"jira\":null}}"});
    assert_null(row(l, "j-1", "jira", "2026-11-18"));
    tg_live_free(l);
}

static void test_a_row_that_is_not_whole_is_not_shown(void **state)
{
    struct tg_live *l = fresh();

    (void)state;
    apply(l, 1, &(struct event){"W-050", "hr", 2, "2026-12-01", "{\"cost_center\":\"CC-100\"}"});
    assert_null(row(l, "W-050", "", "2026-12-01"));
    apply(l, 2, &(struct event){"W-050", "hr", 1, "2026-11-18", HIRE});
    assert_non_null(row(l, "W-050", "", "2026-11-18"));
    assert_string_equal(on(l, "W-050", "cost_center", "2026-12-01"), "CC-100");
    tg_live_free(l);
}

static void test_snapshots_stay_as_they_are(void **state)
{
    struct tg_live *l = fresh();
    struct tg_master *before = tg_master_ref(tg_live_current(l)), *between;
    char version[TG_MASTER_VERSION_MAX_BYTES];

    (void)state;
    apply(l, 1, &(struct event){"W-041", "hr", 1, "2026-11-18", HIRE});
    between = tg_master_ref(tg_live_current(l));
    (void)snprintf(version, sizeof(version), "%s", tg_master_version(between));
    apply(l, 2, &(struct event){"W-041", "hr", 2, "2026-11-18", "{\"name\":\"Finn B.\"}"});
    assert_null(tg_master_find(before, tg_str_of("worker"), tg_str_of("W-041"), tg_str_of(NULL)));
    assert_string_equal(
        json_string_value(json_object_get(
            tg_master_find(between, tg_str_of("worker"), tg_str_of("W-041"), tg_str_of(NULL)),
            "name")),
        "Finn");
    assert_string_equal(on(l, "W-041", "name", "2026-11-18"), "Finn B.");
    assert_string_equal(tg_master_version(between), version);
    assert_string_not_equal(tg_master_version(before), version);
    assert_string_not_equal(tg_master_version(tg_live_current(l)), version);
    assert_non_null(strstr(version, "+m1"));
    tg_master_unref(before);
    tg_master_unref(between);
    tg_live_free(l);
}

static void test_other_files_under_the_same_changes(void **state)
{
    struct tg_live *l = fresh();
    struct tg_master *again = files();

    (void)state;
    apply(l, 1,
          &(struct event){"W-001", "hr", 1, "2026-11-18", "{\"aliases\":{\"psa\":\"u-99\"}}"});
    apply(l, 2,
          &(struct event){"W-004", "hr", 1, "2026-11-18", "{\"aliases\":{\"psa\":\"u-17\"}}"});
    apply(l, 3, &(struct event){"W-041", "hr", 1, "2026-11-18", HIRE});
    changed = false;
    assert_int_equal(tg_live_rebase(l, again), 0);
    assert_true(changed);
    assert_string_equal(on(l, "W-041", "name", "2026-11-18"), "Finn");
    assert_string_equal(
        json_string_value(json_object_get(row(l, "u-17", "psa", "2026-11-18"), "id")), "W-004");
    assert_non_null(strstr(tg_master_version(tg_live_current(l)), "+m3"));
    tg_master_unref(again);
    tg_live_free(l);
}

static void test_an_attribute_changes_hands(void **state)
{
    struct tg_live *l = fresh();

    (void)state;
    apply(l, 1, &(struct event){"W-001", "hr", 900, "2026-11-18", "{\"cost_center\":\"CC-9\"}"});
    /* versions of two sources cannot be compared: what came last holds */
    apply(l, 2, &(struct event){"W-001", "finance", 1, "2026-11-18", "{\"cost_center\":\"CC-1\"}"});
    assert_string_equal(on(l, "W-001", "cost_center", "2026-11-18"), "CC-1");
    tg_live_free(l);
}

static void test_what_came(void **state)
{
    struct tg_live *l = fresh();
    json_t *names;
    char *text;

    (void)state;
    assert_null(tg_live_take_arrived(l));
    apply(l, 1, &(struct event){"W-041", "hr", 1, "2026-11-18", HIRE});
    apply(l, 2,
          &(struct event){"W-001", "hr", 1, "2026-11-18",
                          "{\"aliases\":{\"psa\":null,\"jira\":\"j-1\"}}"});
    names = tg_live_take_arrived(l);
    text = json_dumps(names, JSON_COMPACT);
    assert_string_equal(text, "[\"worker:W-041\",\"worker:u-41\",\"worker:W-001\",\"worker:j-1\"]");
    free(text);
    json_decref(names);
    assert_null(tg_live_take_arrived(l));
    apply(l, 3, &(struct event){"W-001", "hr", 2, "2026-11-18", "{\"name\":\"Ada\"}"});
    tg_live_free(l); /* with what nobody took */
}

static void test_a_bad_row(void **state)
{
    struct tg_live *l = fresh();
    json_t *none = json_object(), *list = json_array();
    struct tg_master_change c = {.id = 1,
                                 .kind = "worker",
                                 .name = "W-001",
                                 .source = "hr",
                                 .version = 1,
                                 .from = "2026-02-30",
                                 .attributes = none};
    struct tg_error err = {""};

    (void)state;
    assert_int_equal(tg_live_apply(l, &c, &err), -1);
    assert_non_null(strstr(err.text, "row 1"));
    c.from = "2026-02-28";
    c.attributes = list;
    assert_int_equal(tg_live_apply(l, &c, &err), -1);
    c.attributes = NULL;
    assert_int_equal(tg_live_apply(l, &c, &err), -1);
    json_decref(none);
    json_decref(list);
    tg_live_free(l);
}

/* ---- change.h ---- */

static json_t *change_of(const struct tg_live *l, const char *source, const char *attributes)
{
    json_t *said = json_loads(attributes, 0, NULL);
    json_t *object = json_pack("{s:s, s:s, s:s, s:o}", "kind", "worker", "worker", "W-001",
                               "effective_from", "2026-11-18", "attributes", said);
    json_t *change = tg_change_make(tg_live_current(l), object, source);

    assert_non_null(change);
    json_decref(object);
    return change;
}

static void test_only_the_owner(void **state)
{
    struct tg_live *l = fresh();
    json_t *c =
        change_of(l, "hr", "{\"name\":\"Eve\",\"pay_code\":\"OT\",\"labor_category\":\"x\"}");
    const json_t *taken = json_object_get(c, "attributes"),
                 *refused = json_object_get(c, "refused");

    (void)state;
    assert_int_equal(json_object_size(taken), 1);
    assert_string_equal(json_string_value(json_object_get(taken, "name")), "Eve");
    assert_int_equal(json_object_size(refused), 2);
    assert_string_equal(json_string_value(json_object_get(refused, "pay_code")), "file");
    assert_string_equal(json_string_value(json_object_get(refused, "labor_category")), "finance");
    assert_string_equal(json_string_value(json_object_get(json_object_get(c, "row"), "name")),
                        "Eve");
    assert_string_equal(json_string_value(json_object_get(json_object_get(c, "row"), "pay_code")),
                        "REG");
    json_decref(c);
    c = change_of(l, "psa", "{\"name\":\"Eve\"}");
    assert_int_equal(json_object_size(json_object_get(c, "attributes")), 0);
    json_decref(c);
    /* and the file's own row is what it was */
    assert_string_equal(on(l, "W-001", "name", "2026-11-18"), "Ada");
    tg_live_free(l);
}

static void test_ownership_refused(void **state)
{
    static const struct {
        const char *text, *says;
    } bad[] = {
        {"worker: {name: crm}\n", "`name` belongs to no source of this tenant"},
        {"worker: {shoe_size: hr}\n", "shoe_size"},
        {"project: {name: hr}\n", "project"},
        {"worker: hr\n", ""},
        {"worker: {name: \"a b\"}\n", "`name` belongs"},
    };
    static const char *const sources[] = {"hr", "psa"};
    char path[] = "/tmp/tg_owner_XXXXXX";
    const int fd = mkstemp(path);

    (void)state;
    assert_true(fd >= 0);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct tg_error err = {""};
        FILE *f = fopen(path, "wb");

        assert_non_null(f);
        assert_true(fputs(bad[i].text, f) >= 0);
        assert_int_equal(fclose(f), 0);
        assert_null(tg_master_load(
            &(struct tg_master_files){
                .master = MASTER, .ownership = path, .sources = sources, .source_count = 2},
            &err));
        assert_non_null(strstr(err.text, ":1: "));
        assert_non_null(strstr(err.text, bad[i].says));
    }
    (void)close(fd);
    assert_int_equal(unlink(path), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hired),
        cmocka_unit_test(test_a_change_has_a_first_day),
        cmocka_unit_test(test_an_old_version_undoes_nothing),
        cmocka_unit_test(test_any_order),
        cmocka_unit_test(test_aliases),
        cmocka_unit_test(test_a_row_that_is_not_whole_is_not_shown),
        cmocka_unit_test(test_snapshots_stay_as_they_are),
        cmocka_unit_test(test_other_files_under_the_same_changes),
        cmocka_unit_test(test_an_attribute_changes_hands),
        cmocka_unit_test(test_what_came),
        cmocka_unit_test(test_a_bad_row),
        cmocka_unit_test(test_only_the_owner),
        cmocka_unit_test(test_ownership_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
