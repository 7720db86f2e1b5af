/* The scripted connector: what dispatch is told, and what the destination really got. */
#include <stdio.h>
#include <string.h>

#include "connect/scripted.h"
#include "rules/scripts.h"
#include "scripted_rig.h"

/* ---- one posting ---- */

static void posted_rejected_in_doubt(void **state)
{
    static const struct hs_act acts[] = {POSTED,
                                         ANSWER("422 No", "{\"message\":\"who?\"}", "18"),
                                         ANSWER("200 OK", "[]", "2"),
                                         {NULL, HS_CLOSE, false},
                                         {HS_OK("{\"id\"", "30"), HS_CLOSE, false}};
    struct sr *g = *state;
    const struct sr_result *r;
    struct tg_connect_about about;

    sr_open_with(g, SIMPLE SIMPLE_END, acts, 5);
    tg_connector_scripted.about(g->connector, &about);
    assert_int_equal(about.dedupe, TG_DEDUPE_UNIQUE);
    assert_true(about.reversible);
    r = sr_post(g, 1);
    assert_int_equal(r->outcome, TG_OUTCOME_POSTED);
    assert_int_equal(r->posting, 1);
    assert_string_equal(r->ref, "A1");
    assert_true(sr_seen(g, 0, "POST /api/labor HTTP/1.1"));
    assert_true(sr_seen(g, 0, "{\"entry\":\"TE-1\",\"key\":\"00000000000000000000000000000001\"}"));
    r = sr_post(g, 2);
    assert_int_equal(r->outcome, TG_OUTCOME_REJECTED);
    assert_string_equal(r->detail, "who?");
    assert_string_equal(r->exception, "worker_unknown");
    r = sr_post(g, 3); /* without a reference */
    assert_int_equal(r->outcome, TG_OUTCOME_POSTED);
    r = sr_post(g, 4);
    assert_int_equal(r->outcome, TG_OUTCOME_IN_DOUBT);
    r = sr_post(g, 5);
    assert_int_equal(r->outcome, TG_OUTCOME_IN_DOUBT);
    assert_non_null(strstr(r->detail, "answer 200 broke off"));
    sr_look(g, 1); /* no lookup function: the repeat is the question */
    r = sr_wait_results(g, 6);
    assert_true(r->is_lookup);
    assert_int_equal(r->lookup, TG_LOOKUP_ABSENT);
}

static void nobody_listens(void **state)
{
    struct sr *g = *state;
    struct tg_error err;

    sr_load_scripts(g, SIMPLE SIMPLE_END, &g->scripts);
    (void)snprintf(g->url, sizeof(g->url), "http://127.0.0.1:1/");
    assert_int_equal(sr_try_open(g, &err), 0);
    assert_int_equal(sr_post(g, 1)->outcome, TG_OUTCOME_DOWN);
    assert_true(g->results[0].detail[0] != '\0');
}

static void faults_of_scripts(void **state)
{
    static const struct hs_act acts[] = {POSTED};
    static const char lua[] =
        "local function request(p, ctx)\n"
        "  if p.key == '00000000000000000000000000000001' then error('no such thing') end\n"
        "  if p.key == '00000000000000000000000000000002' then while true do end end\n"
        "  if p.key == '00000000000000000000000000000003' then return {method = 'EAT'} end\n"
        "  return {method = 'POST', path = '/x'}\n"
        "end\n"
        "local function classify(r, p, ctx)\n"
        "  if p.key == '00000000000000000000000000000004' then error('what is this') end\n"
        "  return {outcome = 'maybe'}\n"
        "end\n" SIMPLE_END;
    struct sr *g = *state;
    const struct sr_result *r;

    sr_open_with(g, lua, acts, 1);
    for (int64_t i = 1; i <= 3; i++) { /* nothing was sent: a person's */
        r = sr_post(g, i);
        assert_int_equal(r->outcome, TG_OUTCOME_REJECTED);
        assert_string_equal(r->exception, "rule_fault");
        assert_non_null(strstr(r->detail, "request of connectors/t.lua: "));
    }
    assert_non_null(strstr(g->results[0].detail, "no such thing"));
    assert_non_null(strstr(g->results[1].detail, "instruction budget"));
    assert_non_null(strstr(g->results[2].detail, "`method` is EAT"));
    assert_int_equal(g->server.requests, 0);
    r = sr_post(g, 4); /* it was sent */
    assert_int_equal(r->outcome, TG_OUTCOME_IN_DOUBT);
    assert_non_null(strstr(r->detail, "answer 200; classify of connectors/t.lua: "));
    r = sr_post(g, 5);
    assert_int_equal(r->outcome, TG_OUTCOME_IN_DOUBT);
    assert_non_null(strstr(r->detail, "`outcome` is maybe"));
}

static void reversals_and_lookups(void **state)
{
    static const struct hs_act acts[] = {POSTED, ANSWER("404 No", "", "0"),
                                         ANSWER("200 OK", "{\"id\":\"A9\"}", "11"),
                                         ANSWER("500 No", "", "0"), ANSWER("429 No", "", "0")};
    static const char lua[] = SIMPLE
        "local function reverse(p, ctx)\n"
        "  return {method = 'DELETE', path = '/' .. p.reverses.key .. '/' .. (p.reverses.ref or "
        "'none')}\n"
        "end\n"
        "local function lookup(p, ctx) return {method = 'GET', path = '/' .. p.key} end\n"
        "local function found(r, p, ctx)\n"
        "  if r.status == 200 then return {lookup = 'found', ref = r.json.id} end\n"
        "  return {lookup = r.status == 404 and 'absent' or 'unknown'}\n"
        "end\n"
        "return {about = {dedupe = 'lookup_only', reversible = true}, request = request, classify "
        "= classify, reverse = reverse, lookup = lookup, found = found}\n";
    struct sr *g = *state;
    struct tg_connect_job job = sr_job_of(2);
    const struct sr_result *r;

    sr_open_with(g, lua, acts, 5);
    job.reverses_key = "00000000000000000000000000000001";
    job.reverses_ref = "A1";
    assert_int_equal(tg_connector_scripted.send(g->connector, &job), 0);
    assert_int_equal(sr_wait_results(g, 1)->outcome, TG_OUTCOME_POSTED);
    assert_true(sr_seen(g, 0, "DELETE /api/00000000000000000000000000000001/A1 "));
    sr_look(g, 3);
    assert_int_equal(sr_wait_results(g, 2)->lookup, TG_LOOKUP_ABSENT);
    sr_look(g, 3);
    r = sr_wait_results(g, 3);
    assert_int_equal(r->lookup, TG_LOOKUP_FOUND);
    assert_string_equal(r->ref, "A9");
    sr_look(g, 3);
    assert_int_equal(sr_wait_results(g, 4)->lookup, TG_LOOKUP_UNKNOWN);
    sr_look(g, 3);
    assert_int_equal(sr_wait_results(g, 5)->lookup, TG_LOOKUP_THROTTLED);
    assert_int_equal(g->server.connections, 2); /* the send had one of its own */
}

/* ---- prepared requests ---- */

#define PREPARED                                                                                   \
    "local function request(p, ctx)\n"                                                             \
    "  local who = ctx.known['worker:' .. p.payload.worker]\n"                                     \
    "  local company = ctx.known.company\n"                                                        \
    "  if not who or not company then\n"                                                           \
    "    local list = array {}\n"                                                                  \
    "    if not company then table.insert(list, {name = 'company', method = 'GET', path = "        \
    "'/company'}) end\n"                                                                           \
    "    if not who then table.insert(list, {name = 'worker:' .. p.payload.worker, method = "      \
    "'GET', path = '/worker'}) end\n"                                                              \
    "    return {prepare = list}\n"                                                                \
    "  end\n"                                                                                      \
    "  return {method = 'POST', path = '/labor', json = {company = company, worker = who}}\n"      \
    "end\n"                                                                                        \
    "local function learn(r, name, ctx)\n"                                                         \
    "  if r.status == 200 then return {value = r.json.id} end\n"                                   \
    "  if r.status == 404 then return {outcome = 'rejected', code = 'worker_unknown', detail = "   \
    "name} end\n"                                                                                  \
    "  return {outcome = 'in_doubt'}\n"                                                            \
    "end\n"                                                                                        \
    "local function classify(r, p, ctx)\n"                                                         \
    "  if r.status == 409 then return {outcome = 'retry', forget = true} end\n"                    \
    "  return {outcome = 'posted'}\n"                                                              \
    "end\n"                                                                                        \
    "return {about = {dedupe = 'unique'}, request = request, learn = learn, classify = "           \
    "classify}\n"

static void prepared_once_and_remembered(void **state)
{
    static const struct hs_act acts[] = {ANSWER("200 OK", "{\"id\":7}", "8"),
                                         ANSWER("200 OK", "{\"id\":8}", "8"),
                                         POSTED,
                                         POSTED,
                                         ANSWER("409 No", "", "0"),
                                         ANSWER("200 OK", "{\"id\":9}", "8"),
                                         ANSWER("200 OK", "{\"id\":10}", "9"),
                                         POSTED};
    struct sr *g = *state;

    sr_open_with(g, PREPARED, acts, 8);
    assert_int_equal(sr_post(g, 1)->outcome, TG_OUTCOME_POSTED);
    assert_true(sr_seen(g, 0, "GET /api/company"));
    assert_true(sr_seen(g, 1, "GET /api/worker"));
    assert_true(sr_seen(g, 2, "{\"company\":7,\"worker\":8}"));
    assert_int_equal(sr_post(g, 2)->outcome, TG_OUTCOME_POSTED);
    assert_int_equal(g->server.requests, 4);
    assert_int_equal(sr_post(g, 3)->outcome,
                     TG_OUTCOME_RETRY); /* it says that they are out of date */
    assert_int_equal(sr_post(g, 3)->outcome, TG_OUTCOME_POSTED);
    assert_int_equal(g->server.requests, 8);
    assert_true(sr_seen(g, 7, "{\"company\":9,\"worker\":10}"));
}

static void preparing_fails(void **state)
{
    static const struct hs_act acts[] = {ANSWER("200 OK", "{\"id\":7}", "8"),
                                         ANSWER("404 No", "", "0"),
                                         ANSWER("500 No", "", "0"),
                                         {NULL, HS_CLOSE, false},
                                         {"HTTP/1.1 429 No\r\nRetry-After: 9\r\nContent-Length: "
                                          "0\r\n\r\n",
                                          HS_KEEP, false}};
    struct sr *g = *state;
    const struct sr_result *r;

    sr_open_with(g, PREPARED, acts, 5);
    r = sr_post(g, 1);
    assert_int_equal(r->outcome, TG_OUTCOME_REJECTED);
    assert_string_equal(r->exception, "worker_unknown");
    assert_string_equal(r->detail, "worker:W-1");
    assert_int_equal(sr_post(g, 2)->outcome, TG_OUTCOME_RETRY); /* 500: nothing of it was sent */
    assert_int_equal(sr_post(g, 3)->outcome, TG_OUTCOME_RETRY); /* lost */
    r = sr_post(g, 4);
    assert_int_equal(r->outcome, TG_OUTCOME_THROTTLED);
    assert_true(r->retry_after_ms == 9000);
}

static void preparing_for_ever(void **state)
{
    static const struct hs_act acts[] = {ANSWER("200 OK", "{\"id\":7}", "8")};
    static const char again[] =
        "local function request(p, ctx)\n"
        "  return {prepare = {{name = 'a', method = 'GET'}}}\n"
        "end\n"
        "local function classify(r, p, ctx) return {outcome = 'posted'} end\n"
        "local function learn(r, n, ctx) return {value = 1} end\n"
        "return {about = {dedupe = 'unique'}, request = request, classify = classify, learn = "
        "learn}\n";
    static const char more[] =
        "local function request(p, ctx)\n"
        "  local n = 0\n"
        "  for _ in pairs(ctx.known) do n = n + 1 end\n"
        "  return {prepare = {{name = 'a' .. n, method = 'GET'}}}\n"
        "end\n"
        "local function classify(r, p, ctx) return {outcome = 'posted'} end\n"
        "local function learn(r, n, ctx) return {value = 1} end\n"
        "return {about = {dedupe = 'unique'}, request = request, classify = classify, learn = "
        "learn}\n";
    struct sr *g = *state;
    struct tg_scripts other;
    const struct sr_result *r;

    sr_open_with(g, again, acts, 1);
    r = sr_post(g, 1);
    assert_string_equal(r->exception, "rule_fault");
    assert_non_null(strstr(r->detail, "prepares again what it was given"));
    sr_load_scripts(g, more, &other);
    tg_connector_scripted.take(g->connector, &other);
    tg_scripts_unref(&other);
    r = sr_post(g, 2);
    assert_string_equal(r->exception, "rule_fault");
    assert_non_null(strstr(r->detail, "in round 9"));
    assert_true(g->server.requests <= 1 + TG_SCRIPT_ROUNDS_MAX);
}

/* ---- opening ---- */

static void refused_at_the_start(void **state)
{
    static const struct {
        const char *url, *auth, *says;
    } bad[] = {
        {"http://10.1.2.3/", NULL, "10.1.2.3 is private"},
        {"https://169.254.169.254/", NULL, "link-local"},
        {"http://8.8.8.8/", NULL, "without TLS"},
        {"https://[::1]/", NULL, "::1 is loopback"},
        {"https://u:p@h/", NULL, "url "},
        {"http://127.0.0.1:1/", "session", "no log-in"},
        {"http://127.0.0.1:1/", "bearer", "needs `token_file`"},
        {"http://127.0.0.1:1/", "kerberos", "not known"},
    };
    struct sr *g = *state;
    struct tg_error err;

    sr_load_scripts(g, SIMPLE SIMPLE_END, &g->scripts);
    g->config.user = "u";
    g->config.password_file = "p";
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        (void)snprintf(g->url, sizeof(g->url), "%s", bad[i].url);
        g->config.auth = (char *)(uintptr_t)bad[i].auth;
        if (sr_try_open(g, &err) == 0 || strstr(err.text, bad[i].says) == NULL ||
            strstr(err.text, "acme/erp") == NULL) {
            fail_msg("%s: wanted `%s`, got: %s", bad[i].url, bad[i].says, err.text);
        }
    }
    assert_null(strstr(err.text, "u:p"));
}

static void about_is_asked_with_the_options(void **state)
{
    static const char lua[] =
        "local function about(ctx)\n"
        "  if not ctx.options.class then error('option `class` is missing') end\n"
        "  return {dedupe = ctx.options.class, ttl_s = tonumber(ctx.options.ttl or '')}\n"
        "end\n" SIMPLE "return {about = about, request = request, classify = classify}\n";
    struct tg_config_pair options[] = {{"class", "idempotency"}, {"ttl", "60"}};
    struct sr *g = *state;
    struct tg_connect_about about;
    struct tg_error err;

    sr_load_scripts(g, lua, &g->scripts);
    (void)snprintf(g->url, sizeof(g->url), "http://127.0.0.1:1/");
    assert_int_equal(sr_try_open(g, &err), -1);
    assert_non_null(strstr(err.text, "option `class` is missing"));
    g->config.options = options;
    g->config.option_count = 2;
    assert_int_equal(sr_try_open(g, &err), -1);
    assert_non_null(strstr(err.text, "too short to repeat safely"));
    options[1].value = "86400";
    assert_int_equal(sr_try_open(g, &err), 0);
    tg_connector_scripted.about(g->connector, &about);
    assert_int_equal(about.dedupe, TG_DEDUPE_IDEMPOTENCY);
    assert_true(about.idempotency_ttl_ms == 86400000 - 5000 - TG_IDEMPOTENCY_MARGIN_MS);
}

/* ---- other scripts, and the end ---- */

static void a_reload_reaches_the_next_posting_only(void **state)
{
    static const struct hs_act acts[] = {{NULL, HS_KEEP, false}, POSTED, {NULL, HS_KEEP, false}};
    static const char other_lua[] =
        "local function request(p, ctx) return {method = 'PUT', path = '/new'} end\n"
        "local function classify(r, p, ctx) return {outcome = 'posted', ref = 'new'} "
        "end\n" SIMPLE_END;
    static const char unlike[] =
        SIMPLE "return {about = {dedupe = 'none'}, request = request, classify = classify}\n";
    struct sr *g = *state;
    struct tg_scripts other, no_good;
    struct tg_error err = {""};

    sr_open_with(g, SIMPLE SIMPLE_END, acts, 3);
    sr_begin(g, 1);
    sr_until_requests(g, 1);
    sr_load_scripts(g, unlike, &no_good);
    assert_int_equal(tg_connector_scripted.check(g->connector, &no_good, &err), -1);
    assert_non_null(strstr(err.text, "promises something else"));
    tg_scripts_unref(&no_good);
    sr_load_scripts(g, other_lua, &other);
    assert_int_equal(tg_connector_scripted.check(g->connector, &other, &err), 0);
    tg_connector_scripted.take(g->connector, &other);
    tg_scripts_unref(&other);
    tg_scripts_unref(&g->scripts); /* the first posting alone holds the old ones now */
    assert_string_equal(sr_post(g, 2)->ref, "new");
    assert_true(sr_seen(g, 1, "PUT /api/new"));
    /* the answer to the first comes late: the script that asked reads it */
    g->server.acts = &acts[1];
    (void)uv_try_write(
        (uv_stream_t *)hs_first(&g->server),
        &(uv_buf_t){.base = (char *)(uintptr_t)acts[1].reply, .len = strlen(acts[1].reply)}, 1);
    assert_string_equal(sr_wait_results(g, 2)->ref, "A1");
}

static void closing_tells_what_may_have_happened(void **state)
{
    static const struct hs_act acts[] = {{NULL, HS_KEEP, false}};
    struct sr *g = *state;

    sr_open_with(g, SIMPLE SIMPLE_END, acts, 1);
    sr_begin(g, 1);
    sr_until_requests(g, 1);
    sr_begin(g, 2); /* not begun */
    sr_close_connector(g);
    assert_int_equal(g->count, 2);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(g->results[i].outcome,
                         g->results[i].posting == 1 ? TG_OUTCOME_IN_DOUBT : TG_OUTCOME_RETRY);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, sr_setup, sr_teardown)
        T(posted_rejected_in_doubt),
        T(nobody_listens),
        T(faults_of_scripts),
        T(reversals_and_lookups),
        T(prepared_once_and_remembered),
        T(preparing_fails),
        T(preparing_for_ever),
        T(refused_at_the_start),
        T(about_is_asked_with_the_options),
        T(a_reload_reaches_the_next_posting_only),
        T(closing_tells_what_may_have_happened),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
