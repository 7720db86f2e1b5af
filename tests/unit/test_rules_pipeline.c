/* The product's own schemas, catalogue and rules, and small bundles of bad rules. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/codec.h"
#include "rules/pipeline.h"

#define EVENT "com.tallygate.time_entry.approved.v1"

static struct tg_schemas *schemas;
static struct tg_catalogue *catalogue;
static struct tg_bundle *bundle;
static struct tg_rules *rules;
static struct tg_master *master;
static char dir[] = "/tmp/tg_pipeline_XXXXXX";

static struct tg_config_source sources[] = {{.name = (char *)"psa", .decoder = (char *)"canonical"},
                                            {.name = (char *)"x", .decoder = (char *)"absent"}};
static struct tg_config_destination destinations[] = {{.name = (char *)"erp"},
                                                      {.name = (char *)"payroll"}};
static struct tg_config_tenant acme = {.id = (char *)"acme",
                                       .sources = sources,
                                       .source_count = 2,
                                       .destinations = destinations,
                                       .destination_count = 2};

static json_t *event_with(const char *key, json_t *value)
{
    json_t *e =
        json_pack("{s:s,s:i,s:s,s:s,s:s,s:s,s:s,s:s,s:s}", "id", "TE-000123", "version", 1,
                  "worker", "W-001", "project", "P-100", "task", "T-1", "date", "2026-11-16",
                  "hours", "7.50", "approved_at", "2026-11-20T17:00:00Z", "approved_by", "W-900");

    assert_non_null(e);
    if (key != NULL) {
        assert_int_equal(json_object_set_new(e, key, value), 0);
    }
    return e;
}

static struct tg_pipeline_input input_of(const json_t *data)
{
    struct tg_pipeline_input in = {.type = EVENT,
                                   .data = data,
                                   .tenant = &acme,
                                   .source = &sources[0],
                                   .master = master,
                                   .received_ms = INT64_C(1795194000000)};

    return in;
}

/* Takes data. */
static void run(struct tg_rules *with, json_t *data, struct tg_pipeline_result *out)
{
    struct tg_pipeline p = {with, schemas, catalogue};
    struct tg_pipeline_input in = input_of(data);

    assert_int_equal(tg_pipeline_run(&p, &in, out), 0);
    json_decref(data);
}

static const char *member(const json_t *list, size_t i, const char *key)
{
    const char *s = json_string_value(json_object_get(json_array_get(list, i), key));

    return s != NULL ? s : "(none)";
}

static bool has_code(const struct tg_pipeline_result *r, const char *code)
{
    for (size_t i = 0; i < json_array_size(r->violations); i++) {
        if (strcmp(member(r->violations, i, "code"), code) == 0) {
            return true;
        }
    }
    return false;
}

/* Exactly one violation, and neither object trust nor postings with it. Clears. */
static void one_violation(struct tg_pipeline_result *r, const char *code, const char *message)
{
    if (json_array_size(r->violations) != 1 ||
        strcmp(member(r->violations, 0, "code"), code) != 0 ||
        strstr(member(r->violations, 0, "message"), message) == NULL) {
        fail_msg("expected %s `%s`, got %s `%s`", code, message, member(r->violations, 0, "code"),
                 member(r->violations, 0, "message"));
    }
    assert_int_equal(json_array_size(r->postings), 0);
    tg_pipeline_clear(r);
}

static void test_valid(void **state)
{
    struct tg_pipeline_result r;

    (void)state;
    run(rules, event_with(NULL, NULL), &r);
    assert_int_equal(json_array_size(r.violations), 0);
    assert_string_equal(r.object_kind, "time_entry");
    assert_string_equal(r.object_id, "TE-000123");
    assert_int_equal(r.object_version, 1);
    assert_string_equal(json_string_value(json_object_get(r.object, "hours")), "7.5");
    assert_int_equal(json_array_size(r.postings), 2);
    assert_string_equal(member(r.postings, 0, "destination"), "erp");
    assert_string_equal(member(r.postings, 0, "quantity"), "7.5");
    assert_string_equal(member(r.postings, 0, "period"), "2026-11");
    assert_string_equal(member(r.postings, 1, "period"), "2026-W47");
    tg_pipeline_clear(&r);
}

static void test_many_violations(void **state)
{
    struct tg_pipeline_result r;
    json_t *e = event_with("project", json_string("P-300"));

    (void)state;
    assert_int_equal(json_object_set_new(e, "worker", json_string("W-002")), 0);
    assert_int_equal(json_object_set_new(e, "hours", json_string("25")), 0);
    run(rules, e, &r);
    assert_int_equal(json_array_size(r.violations), 5);
    assert_true(has_code(&r, "worker_inactive"));
    assert_true(has_code(&r, "project_closed"));
    assert_true(has_code(&r, "task_closed"));
    assert_true(has_code(&r, "assignment_missing"));
    assert_true(has_code(&r, "hours_invalid"));
    assert_string_equal(member(r.violations, 0, "owner"), "master-data");
    assert_string_equal(member(r.violations, 1, "owner"), "finance");
    assert_string_equal(member(r.violations, 1, "field"), "project");
    assert_int_equal(json_array_size(r.postings), 0);
    assert_non_null(r.object);
    tg_pipeline_clear(&r);
}

static void test_schema(void **state)
{
    struct tg_pipeline_result r;
    json_t *e = event_with("worker", json_integer(7));

    (void)state;
    assert_int_equal(json_object_set_new(e, "date", json_string("2026-11-31")), 0);
    run(rules, e, &r);
    assert_int_equal(json_array_size(r.violations), 2);
    assert_string_equal(member(r.violations, 0, "code"), "schema_invalid");
    assert_string_equal(member(r.violations, 0, "field"), "worker");
    assert_non_null(strstr(member(r.violations, 0, "message"), "worker must be string"));
    assert_string_equal(member(r.violations, 1, "field"), "date");
    assert_null(r.object);
    tg_pipeline_clear(&r);
    run(rules, json_array(), &r);
    one_violation(&r, "schema_invalid", "the event must be object");
}

static void test_unknown_type(void **state)
{
    static const char *const types[] = {"com.tallygate.time_entry.approved.v2", "",
                                        "canonical/time_entry", "master", "com.x/../y"};
    struct tg_pipeline p = {rules, schemas, catalogue};
    json_t *e = event_with(NULL, NULL);
    struct tg_pipeline_result r;

    (void)state;
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        struct tg_pipeline_input in = input_of(e);

        in.type = types[i];
        assert_int_equal(tg_pipeline_run(&p, &in, &r), 0);
        one_violation(&r, "event_type_unknown", types[i]);
    }
    json_decref(e);
}

static void test_aliases(void **state)
{
    struct tg_pipeline_result r;
    json_t *e = event_with("worker", json_string("u-17"));

    (void)state;
    assert_int_equal(json_object_set_new(e, "project", json_string("prj-9")), 0);
    run(rules, e, &r);
    assert_int_equal(json_array_size(r.violations), 0);
    assert_string_equal(json_string_value(json_object_get(r.object, "worker")), "W-001");
    assert_string_equal(json_string_value(json_object_get(r.object, "project")), "P-100");
    assert_string_equal(json_string_value(json_object_get(
                            json_object_get(json_array_get(r.postings, 0), "payload"), "worker")),
                        "W-001");
    tg_pipeline_clear(&r);
}

/* Another source's alias means nothing here. */
static void test_alias_of_another_source(void **state)
{
    struct tg_pipeline p = {rules, schemas, catalogue};
    json_t *e = event_with("worker", json_string("u-17"));
    struct tg_config_source hr = {.name = (char *)"hr", .decoder = (char *)"canonical"};
    struct tg_pipeline_input in = input_of(e);
    struct tg_pipeline_result r;

    (void)state;
    in.source = &hr;
    assert_int_equal(tg_pipeline_run(&p, &in, &r), 0);
    assert_true(has_code(&r, "worker_unknown"));
    tg_pipeline_clear(&r);
    json_decref(e);
}

static void test_no_destination(void **state)
{
    struct tg_pipeline p = {rules, schemas, catalogue};
    struct tg_config_tenant poor = {.id = (char *)"poor"};
    json_t *e = event_with(NULL, NULL);
    struct tg_pipeline_input in = input_of(e);
    struct tg_pipeline_result r;

    (void)state;
    in.tenant = &poor;
    assert_int_equal(tg_pipeline_run(&p, &in, &r), 0);
    one_violation(&r, "no_destination", "tenant poor has no fitting destination");
    in = input_of(e);
    in.source = &sources[1];
    assert_int_equal(tg_pipeline_run(&p, &in, &r), 0);
    one_violation(&r, "rule_fault", "the rules have no file sources/absent.lua");
    in = input_of(e);
    in.received_ms = -1;
    assert_int_equal(tg_pipeline_run(&p, &in, &r), 0);
    one_violation(&r, "rule_fault", "no time of arrival");
    in = input_of(e);
    in.source = NULL; /* a validate call need not name one */
    assert_int_equal(tg_pipeline_run(&p, &in, &r), 0);
    assert_int_equal(json_array_size(r.violations), 0);
    tg_pipeline_clear(&r);
    json_decref(e);
}

static void write_rule(const char *name, const char *text)
{
    char path[128];
    FILE *f;

    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

#define GOOD_DECODE                                                                                \
    "return {decode = function(_, b) return {{kind = 'time_entry', id = b.id, version = "          \
    "b.version, worker = b.worker, project = b.project, task = b.task, date = b.date, hours = "    \
    "b.hours, approved_at = b.approved_at, approved_by = b.approved_by}} end}"
#define GOOD_CHECK "return {check = function() return {} end}"
#define GOOD_PLAN "return {destinations = {'erp'}, plan = function() return {} end}"
#define DECODE(body) "return {decode = function(_, b) " body " end}"
#define CHECK(body) "return {check = function(o, m, c) " body " end}"
#define PLAN(body) "return {destinations = {'erp', 'gone'}, plan = function(o, m, c) " body " end}"
#define POSTING                                                                                    \
    "{destination = 'erp', kind = 'k', leg = 'l', period = 'p', quantity = '1', payload = {}}"

static void with_rules(const char *decode, const char *check, const char *plan, const char *code,
                       const char *message)
{
    struct tg_error err = {""};
    struct tg_pipeline_result r;
    struct tg_rules *bad;
    struct tg_bundle *b;

    write_rule("sources/canonical.lua", decode);
    write_rule("validate/time_entry.lua", check);
    write_rule("route/time_entry.lua", plan);
    b = tg_bundle_load(dir, &err);
    assert_non_null(b);
    bad = tg_rules_new(b, &err);
    if (bad == NULL) {
        fail_msg("%s", err.text);
    }
    for (int i = 0; i < 2; i++) { /* and the state lives on */
        run(bad, event_with(NULL, NULL), &r);
        one_violation(&r, code, message);
    }
    tg_rules_free(bad);
    tg_bundle_unref(b);
}

static void test_a_decoder_says_why_it_cannot(void **state)
{
    (void)state;
    with_rules(DECODE("return {{code = 'project_unmapped', field = 'x', message = 'no row'}}"),
               GOOD_CHECK, GOOD_PLAN, "project_unmapped", "no row");
    with_rules(DECODE("return {{code = 'made_up', field = 'x', message = 'no row'}}"), GOOD_CHECK,
               GOOD_PLAN, "rule_fault", "`made_up`, which the catalogue does not have");
    with_rules(DECODE("return {{code = 'project_unmapped', field = 'x'}}"), GOOD_CHECK, GOOD_PLAN,
               "rule_fault", "a violation must be");
    with_rules(DECODE("return {{code = 'project_unmapped', field = 'x', message = 'y'}, "
                      "{kind = 'time_entry', id = 'b', version = 1}}"),
               GOOD_CHECK, GOOD_PLAN, "rule_fault", "a violation must be");
}

/* Both know the tenant's master data, and who sends. */
static void test_a_decoder_has_master_and_ctx(void **state)
{
    (void)state;
    with_rules("return {decode = function(h, b, m, c) return {{code = 'worker_unknown', field = "
               "c.source, message = c.tenant .. m:find('worker', 'u-17', c.source).name}} end}",
               GOOD_CHECK, GOOD_PLAN, "worker_unknown", "acmeAda");
}

static void test_bad_decoders(void **state)
{
    (void)state;
    with_rules(DECODE("return {}"), GOOD_CHECK, GOOD_PLAN, "rule_fault", "gave 0 objects");
    with_rules(DECODE("return {{kind = 'a'}, {kind = 'b'}}"), GOOD_CHECK, GOOD_PLAN, "rule_fault",
               "gave 2 objects");
    with_rules(DECODE("return {{kind = 'a'}}"), GOOD_CHECK, GOOD_PLAN, "rule_fault",
               "without kind, id or whole-number version");
    with_rules(DECODE("return {{kind = 'a', id = 'b', version = '1'}}"), GOOD_CHECK, GOOD_PLAN,
               "rule_fault", "without kind, id or whole-number version");
    with_rules(DECODE("return {{kind = 'a', id = 'b', version = 1}}"), GOOD_CHECK, GOOD_PLAN,
               "rule_fault", "no schema conf/schemas/canonical/a.json");
    with_rules(DECODE("return {{kind = 'time_entry', id = 'b', version = 1}}"), GOOD_CHECK,
               GOOD_PLAN, "rule_fault", "the decoder made an object whose");
    with_rules(DECODE("while true do end"), GOOD_CHECK, GOOD_PLAN, "rule_fault", "budget");
}

static void test_bad_checks(void **state)
{
    (void)state;
    with_rules(GOOD_DECODE, CHECK("error('broken')"), GOOD_PLAN, "rule_fault", "broken");
    with_rules(GOOD_DECODE, CHECK("return o.x.y"), GOOD_PLAN, "rule_fault", "attempt to index");
    with_rules(GOOD_DECODE, CHECK("while true do end"), GOOD_PLAN, "rule_fault", "budget");
    with_rules(GOOD_DECODE, CHECK("local t = {} while true do t = {t, {}, {}, {}, {}} end"),
               GOOD_PLAN, "rule_fault", "used up its memory");
    with_rules(GOOD_DECODE, CHECK("return nil"), GOOD_PLAN, "rule_fault", "no JSON form");
    with_rules(GOOD_DECODE, CHECK("return {{code = 'x'}}"), GOOD_PLAN, "rule_fault",
               "a violation must be");
    with_rules(GOOD_DECODE, CHECK("return {{code = 'made_up', field = '', message = ''}}"),
               GOOD_PLAN, "rule_fault", "`made_up`, which the catalogue does not have");
    with_rules(GOOD_DECODE,
               CHECK("return {{code = 'hours_invalid', field = '', message = ('x'):rep(1001)}}"),
               GOOD_PLAN, "rule_fault", "is too long");
    with_rules(GOOD_DECODE,
               CHECK("local t = {} for i = 1, 65 do t[i] = {code = 'hours_invalid', field = '', "
                     "message = ''} end return t"),
               GOOD_PLAN, "rule_fault", "too many violations");
    with_rules(GOOD_DECODE,
               CHECK("return {{code = 'hours_invalid', field = 'h', message = 'm', owner = 'me'}}"),
               GOOD_PLAN, "hours_invalid", "m");
    with_rules(GOOD_DECODE,
               CHECK("return {{code = 'hours_invalid', field = 'h', message = "
                     "m:period(nil, o.date).id .. c.tenant .. c.source .. c.today}}"),
               GOOD_PLAN, "hours_invalid", "2026-11acmepsa2026-11-");
    with_rules(GOOD_DECODE, CHECK("m:period(nil, '2026-11-31')"), GOOD_PLAN, "rule_fault",
               "not a calendar day");
    with_rules(GOOD_DECODE, CHECK("m.find('worker', 'W-001')"), GOOD_PLAN, "rule_fault",
               "table expected");
    with_rules(GOOD_DECODE, CHECK("m.find = nil"), GOOD_PLAN, "rule_fault", "cannot be set");
    with_rules(GOOD_DECODE,
               CHECK("m:find('worker', 'W-001').name = 'changed' "
                     "return {{code = 'hours_invalid', field = '', message = m:find('worker', "
                     "'W-001').name}}"),
               GOOD_PLAN, "hours_invalid", "Ada");
}

static void test_bad_plans(void **state)
{
    (void)state;
    with_rules(GOOD_DECODE, GOOD_CHECK, GOOD_PLAN, "no_destination", "plan no posting");
    with_rules(GOOD_DECODE, GOOD_CHECK, PLAN("return {{}}"), "rule_fault", "a posting must be");
    with_rules(GOOD_DECODE, GOOD_CHECK, PLAN("return {" POSTING ", " POSTING "}"), "rule_fault",
               "the same destination, kind and leg");
    with_rules(GOOD_DECODE, GOOD_CHECK,
               PLAN("local p = " POSTING " p.destination = 'moon' return {p}"), "rule_fault",
               "a destination the tenant does not have");
    with_rules(GOOD_DECODE, GOOD_CHECK, PLAN("local p = " POSTING " p.quantity = 'x' return {p}"),
               "rule_fault", "not a decimal text");
    with_rules(GOOD_DECODE, GOOD_CHECK, PLAN("local p = " POSTING " p.leg = '' return {p}"),
               "rule_fault", "is empty or has odd characters");
    with_rules(GOOD_DECODE, GOOD_CHECK, PLAN("local p = " POSTING " p.extra = 1 return {p}"),
               "rule_fault", "a posting must be");
    with_rules(GOOD_DECODE, GOOD_CHECK,
               PLAN("local t = {} for i = 1, 17 do t[i] = " POSTING " t[i].leg = 'l' .. i end "
                    "return t"),
               "rule_fault", "too many postings");
}

static void assert_texts(json_t *list, const char *const *want)
{
    size_t n = 0;

    while (want[n] != NULL) {
        assert_string_equal(json_string_value(json_array_get(list, n)), want[n]);
        n++;
    }
    assert_int_equal(json_array_size(list), n);
    json_decref(list);
}

/* A configuration is held against these: a name no rule knows would drop what is owed there. */
static void test_what_a_bundle_declares(void **state)
{
    static const char *const bad[] = {
        "return {plan = function() return {} end}",
        "return {destinations = {}, plan = function() return {} end}",
        "return {destinations = 'erp', plan = function() return {} end}",
        "return {destinations = {'erp', 7}, plan = function() return {} end}",
        "return {destinations = {'not a name'}, plan = function() return {} end}",
        "return {destinations = {'.*'}, plan = function() return {} end}",
        "return {destinations = {'erp.*.*'}, plan = function() return {} end}",
        "return {destinations = function() end, plan = function() return {} end}",
    };
    static const char *const places[] = {"erp", "erp.*", "payroll", NULL};
    static const char *const decoders[] = {"canonical", NULL};
    struct tg_error err = {""};
    struct tg_bundle *b;

    (void)state;
    assert_texts(tg_rules_destinations(rules), places);
    with_rules(GOOD_DECODE, GOOD_CHECK,
               PLAN("local p = " POSTING " p.destination = 'payroll' return {p}"), "rule_fault",
               "`destinations` of the file does not name");
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        write_rule("route/time_entry.lua", bad[i]);
        b = tg_bundle_load(dir, &err);
        assert_non_null(b);
        assert_texts(tg_bundle_decoders(b), decoders);
        assert_null(tg_rules_new(b, &err));
        assert_non_null(strstr(err.text, "route/time_entry.lua"));
        if (i < 7) {
            assert_non_null(strstr(err.text, "destinations = {\"erp\", \"payroll\"}"));
        }
        tg_bundle_unref(b);
    }
    write_rule("route/time_entry.lua", GOOD_PLAN); /* for the next test */
}

static void test_names_that_stand_for_several(void **state)
{
    json_t *declared = json_pack("[s, s]", "erp.*", "payroll");

    (void)state;
    assert_true(tg_rules_plan_for(declared, "payroll"));
    assert_true(tg_rules_plan_for(declared, "erp.ACME-UK"));
    assert_true(tg_rules_plan_for(declared, "erp.a.b"));
    assert_false(tg_rules_plan_for(declared, "erp"));
    assert_false(tg_rules_plan_for(declared, "erp."));
    assert_false(tg_rules_plan_for(declared, "erpx"));
    assert_false(tg_rules_plan_for(declared, "er"));
    assert_false(tg_rules_plan_for(declared, "payroll.x"));
    assert_false(tg_rules_plan_for(declared, "pay"));
    json_decref(declared);
}

/* ---- withdrawals and reversals ---- */

static void test_withdrawal(void **state)
{
    struct tg_pipeline p = {rules, schemas, catalogue};
    json_t *data =
        json_pack("{s:s, s:i, s:s, s:s, s:s}", "id", "TE-1", "version", 2, "withdrawn_by", "W-900",
                  "withdrawn_at", "2026-11-21T08:00:00Z", "reason", "wrong day");
    json_t *headers = json_pack("{s:s}", "ce-type", "com.tallygate.time_entry.withdrawn.v1");
    struct tg_pipeline_input in = input_of(data);
    struct tg_pipeline_result r;

    (void)state;
    in.type = "com.tallygate.time_entry.withdrawn.v1";
    in.headers = headers;
    assert_int_equal(tg_pipeline_run(&p, &in, &r), 0);
    assert_int_equal(json_array_size(r.violations), 0);
    assert_true(r.withdrawn);
    assert_string_equal(r.object_kind, "time_entry");
    assert_int_equal(r.object_version, 2);
    assert_int_equal(json_array_size(r.postings), 0); /* no rule was asked */
    tg_pipeline_clear(&r);
    assert_int_equal(json_object_del(data, "reason"), 0);
    assert_int_equal(tg_pipeline_run(&p, &in, &r), 0);
    one_violation(&r, "schema_invalid", "reason");
    json_decref(data);
    json_decref(headers);
    /* a decoder cannot smuggle an entry past its rules as a withdrawal of other form */
    with_rules(DECODE("return {{kind = 'time_entry', id = b.id, version = b.version, withdrawn = "
                      "true}}"),
               GOOD_CHECK, GOOD_PLAN, "rule_fault", "the decoder made an object whose");
}

/* What these rules say to the posting; takes nothing. */
static void reversal(struct tg_rules *with, const char *posting, const char *want)
{
    struct tg_pipeline p = {with, schemas, catalogue};
    struct tg_pipeline_input in = input_of(NULL);
    json_t *asked = json_loads(posting, 0, NULL);
    json_t *answer;
    char *text;

    assert_non_null(asked);
    answer = tg_pipeline_reversal(&p, &in, "time_entry", asked);
    assert_non_null(answer);
    text = json_dumps(answer, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
    if (strstr(text, want) == NULL) {
        fail_msg("expected %s, got %s", want, text);
    }
    free(text);
    json_decref(answer);
    json_decref(asked);
}

static void bad_reversal(const char *route, const char *want)
{
    struct tg_error err = {""};
    struct tg_rules *bad;
    struct tg_bundle *b;

    write_rule("route/time_entry.lua", route);
    b = tg_bundle_load(dir, &err);
    assert_non_null(b);
    bad = tg_rules_new(b, &err);
    assert_non_null(bad);
    reversal(bad, "{\"kind\": \"labor\", \"payload\": {}}", want);
    tg_rules_free(bad);
    tg_bundle_unref(b);
}

#define REVERSAL(body)                                                                             \
    "return {destinations = {'erp'}, plan = function() return {} end, reversal = "                 \
    "function(p, m, c) " body " end}"

static void test_reversals(void **state)
{
    (void)state;
    reversal(rules, "{\"kind\": \"hours\", \"period\": \"2026-W44\", \"payload\": {}}", "null");
    reversal(rules,
             "{\"kind\": \"labor\", \"period\": \"2026-10\", \"payload\": "
             "{\"date\": \"2026-10-30\", \"legal_entity\": \"ACME-DE\"}}",
             "\"code\":\"period_closed\"");
    bad_reversal(GOOD_PLAN, "null"); /* it need not be there */
    bad_reversal(REVERSAL("return nil"), "null");
    bad_reversal(REVERSAL("return {period = 'P', payload = p.payload}"),
                 "{\"payload\":{},\"period\":\"P\"}");
    bad_reversal(REVERSAL("return {period = '', payload = {}}"), "rule_fault");
    bad_reversal(REVERSAL("return {period = 'P', payload = 'x'}"), "must return {period, payload}");
    bad_reversal(REVERSAL("return {period = 'P', payload = {}, more = 1}"), "must return");
    bad_reversal(REVERSAL("return 7"), "rule_fault");
    bad_reversal(REVERSAL("while true do end"), "rule_fault");
    bad_reversal(REVERSAL("error('no')"), "no");
    bad_reversal(REVERSAL("return {code = 'made_up', field = '', message = ''}"),
                 "the catalogue does not have");
    bad_reversal("return {destinations = {'erp'}, plan = function() return {} end, reversal = 7}",
                 "rule_fault");
}

static void count_fixture(void *arg, const char *path, bool passed, const char *message)
{
    int *counts = arg;

    counts[passed ? 0 : 1]++;
    if (!passed) {
        (void)snprintf((char *)(counts + 2), 400, "%s: %.300s", path, message);
    }
}

static void test_fixtures(void **state)
{
    int counts[2 + 100] = {0};
    struct tg_error err = {""};
    char path[128];

    (void)state;
    assert_int_equal(tg_rules_test("lua_rules", count_fixture, counts, &err), 0);
    assert_true(counts[0] >= 35);

    write_rule("sources/canonical.lua", DECODE("return {{kind = b.kind}}"));
    (void)snprintf(path, sizeof(path), "%s/sources/canonical.fixtures", dir);
    assert_int_equal(mkdir(path, 0700), 0);
    write_rule("sources/canonical.fixtures/a.json",
               "{\"input\":{\"body\":{\"kind\":\"x\"}},\"expected\":{\"objects\":[{\"kind\":"
               "\"y\"}]}}");
    memset(counts, 0, sizeof(counts));
    /* the wrong fixture, and two rule files without any */
    assert_int_equal(tg_rules_test(dir, count_fixture, counts, &err), 3);
    assert_int_equal(counts[1], 3);
    assert_non_null(strstr((char *)(counts + 2), "has no fixtures"));
    write_rule("sources/canonical.fixtures/a.json", "{\"input\":{}}");
    assert_int_equal(tg_rules_test(dir, NULL, NULL, &err), 3);
    (void)snprintf(path, sizeof(path), "%s/sources/canonical.fixtures/a.json", dir);
    assert_int_equal(unlink(path), 0);
    (void)snprintf(path, sizeof(path), "%s/sources/canonical.fixtures", dir);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(tg_rules_test("/nonexistent", NULL, NULL, &err), -1);
}

static int open_all(void **state)
{
    static const char *const folders[] = {"sources", "validate", "route"};
    struct tg_error err = {""};
    char path[64];

    (void)state;
    if (mkdtemp(dir) == NULL) {
        return -1;
    }
    for (size_t i = 0; i < 3; i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", dir, folders[i]);
        if (mkdir(path, 0700) != 0) {
            return -1;
        }
    }
    if ((schemas = tg_schemas_load("conf/schemas", &err)) != NULL &&
        (catalogue = tg_catalogue_load("conf/catalogue.yaml", &err)) != NULL &&
        (bundle = tg_bundle_load("lua_rules", &err)) != NULL &&
        (rules = tg_rules_new(bundle, &err)) != NULL &&
        (master = tg_master_load(
             &(struct tg_master_files){.master = "lua_rules/fixtures/master.json",
                                       .calendar = "lua_rules/fixtures/calendar.yaml"},
             &err)) != NULL) {
        return 0;
    }
    (void)fprintf(stderr, "%s\n", err.text);
    return -1;
}

static int close_all(void **state)
{
    static const char *const paths[] = {"sources/canonical.lua",
                                        "validate/time_entry.lua",
                                        "route/time_entry.lua",
                                        "sources",
                                        "validate",
                                        "route"};
    char path[64];

    (void)state;
    tg_master_unref(master);
    tg_rules_free(rules);
    tg_bundle_unref(bundle);
    tg_catalogue_free(catalogue);
    tg_schemas_free(schemas);
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", dir, paths[i]);
        (void)remove(path);
    }
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_valid),
        cmocka_unit_test(test_many_violations),
        cmocka_unit_test(test_schema),
        cmocka_unit_test(test_unknown_type),
        cmocka_unit_test(test_aliases),
        cmocka_unit_test(test_alias_of_another_source),
        cmocka_unit_test(test_no_destination),
        cmocka_unit_test(test_bad_decoders),
        cmocka_unit_test(test_a_decoder_says_why_it_cannot),
        cmocka_unit_test(test_a_decoder_has_master_and_ctx),
        cmocka_unit_test(test_bad_checks),
        cmocka_unit_test(test_bad_plans),
        cmocka_unit_test(test_what_a_bundle_declares),
        cmocka_unit_test(test_names_that_stand_for_several),
        cmocka_unit_test(test_withdrawal),
        cmocka_unit_test(test_reversals),
        cmocka_unit_test(test_fixtures),
    };

    return cmocka_run_group_tests(tests, open_all, close_all);
}
