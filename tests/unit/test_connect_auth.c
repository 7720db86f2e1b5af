/* Who we say we are: files that change, tokens, sessions, a 401, and secrets that show nowhere. */
#include <stdio.h>
#include <string.h>

#include "scripted_rig.h"

static void a_file_that_changes(void **state)
{
    static const struct hs_act acts[] = {POSTED, POSTED, ANSWER("401 No", "", "0"), POSTED,
                                         ANSWER("401 No", "", "0")};
    struct sr *g = *state;
    const struct sr_result *r;

    sr_write_file(g->secret, "first-token\n");
    g->config.auth = "bearer";
    g->config.token_file = g->secret;
    sr_open_with(g, SIMPLE SIMPLE_END, acts, 5);
    assert_int_equal(sr_post(g, 1)->outcome, TG_OUTCOME_POSTED);
    assert_true(sr_seen(g, 0, "Authorization: Bearer first-token\r\n"));
    sr_write_file(g->secret, "second-one\n");
    assert_int_equal(sr_post(g, 2)->outcome, TG_OUTCOME_POSTED);
    assert_true(sr_seen(g, 1, "Authorization: Bearer second-one\r\n"));
    sr_write_file(g->secret, ""); /* being written: the old one is used on */
    sr_begin(g, 3);
    sr_until_requests(g, 3);
    assert_true(sr_seen(g, 2, "Bearer second-one"));
    r = sr_wait_results(g, 3); /* 401, and there is no other */
    assert_int_equal(r->outcome, TG_OUTCOME_DOWN);
    assert_non_null(strstr(r->detail, "refuses our credentials"));
    sr_write_file(g->secret, "third-token");
    assert_int_equal(sr_post(g, 3)->outcome, TG_OUTCOME_POSTED);
    assert_true(sr_seen(g, 3, "Bearer third-token"));
    assert_int_equal(sr_post(g, 4)->outcome, TG_OUTCOME_DOWN);
    assert_int_equal(g->server.requests, 5);
}

static void no_secret_file(void **state)
{
    static const struct hs_act acts[] = {POSTED};
    struct sr *g = *state;
    const struct sr_result *r;

    g->config.auth = "basic";
    g->config.user = "gateway";
    g->config.password_file = g->secret;
    sr_open_with(g, SIMPLE SIMPLE_END, acts, 1);
    r = sr_post(g, 1);
    assert_int_equal(r->outcome, TG_OUTCOME_DOWN);
    assert_non_null(strstr(r->detail, g->secret));
    assert_int_equal(g->server.requests, 0);
    sr_write_file(g->secret, "Aladdin:open\nsecond line\n");
    assert_int_equal(sr_post(g, 1)->outcome, TG_OUTCOME_POSTED);
    assert_true(sr_seen(g, 0, "Authorization: Basic Z2F0ZXdheTpBbGFkZGluOm9wZW4=\r\n"));
}

static void api_key(void **state)
{
    static const struct hs_act acts[] = {POSTED};
    struct sr *g = *state;

    sr_write_file(g->secret, "k3y-of-ours");
    g->config.auth = "api_key";
    g->config.api_key_file = g->secret;
    g->config.api_key_header = "X-Api-Key";
    sr_open_with(g, SIMPLE SIMPLE_END, acts, 1);
    assert_int_equal(sr_post(g, 1)->outcome, TG_OUTCOME_POSTED);
    assert_true(sr_seen(g, 0, "X-Api-Key: k3y-of-ours\r\n"));
}

static void a_secret_never_gets_into_a_text(void **state)
{
    static const struct hs_act acts[] = {
        ANSWER("422 No", "{\"message\":\"bad token s3cr3t-tok3n, Bearer s3cr3t-tok3n!\"}", "58")};
    struct sr *g = *state;
    const struct sr_result *r;

    sr_write_file(g->secret, "s3cr3t-tok3n");
    g->config.auth = "bearer";
    g->config.token_file = g->secret;
    sr_open_with(g, SIMPLE SIMPLE_END, acts, 1);
    r = sr_post(g, 1);
    assert_int_equal(r->outcome, TG_OUTCOME_REJECTED);
    assert_string_equal(r->detail, "bad token ***, Bearer ***!");
}

#define TOKEN(name, life)                                                                          \
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"               \
    "{\"access_token\":\"" name "\",\"token_type\":\"bearer\",\"expires_in\":" life "}"

static void use_oauth(struct sr *g, char *url, size_t size)
{
    sr_write_file(g->secret, "s p+ace");
    g->config.auth = "oauth2";
    g->config.client_id = "gate:way";
    g->config.client_secret_file = g->secret;
    g->config.scope = "labor:write";
    g->config.token_url = url;
    (void)snprintf(url, size, "http://127.0.0.1:1/");
}

static void one_token_for_all_who_wait(void **state)
{
    static const struct hs_act acts[] = {{TOKEN("tok-1", "3600"), HS_CLOSE, false}, POSTED};
    struct sr *g = *state;
    char url[80];

    use_oauth(g, url, sizeof(url));
    sr_open_with(g, SIMPLE SIMPLE_END, acts, 2);
    (void)snprintf(url, sizeof(url), "http://127.0.0.1:%d/token", g->server.port);
    for (int64_t i = 1; i <= 5; i++) {
        sr_begin(g, i);
    }
    (void)sr_wait_results(g, 5);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(g->results[i].outcome, TG_OUTCOME_POSTED);
    }
    assert_int_equal(g->server.requests, 6);
    assert_true(sr_seen(g, 0, "POST /token "));
    assert_true(sr_seen(g, 0, "grant_type=client_credentials&scope=labor%3Awrite"));
    /* base64("gate%3Away:s%20p%2Bace") */
    assert_true(sr_seen(g, 0, "Authorization: Basic Z2F0ZSUzQXdheTpzJTIwcCUyQmFjZQ==\r\n"));
    for (size_t i = 1; i < 6; i++) {
        assert_true(sr_seen(g, i, "Authorization: Bearer tok-1\r\n"));
    }
}

static void a_401_gets_a_new_token_and_one_more_try(void **state)
{
    static const struct hs_act acts[] = {{TOKEN("tok-1", "3600"), HS_CLOSE, false},
                                         POSTED,
                                         ANSWER("401 No", "", "0"),
                                         {TOKEN("tok-2", "3600"), HS_CLOSE, false},
                                         POSTED,
                                         ANSWER("401 No", "", "0"),
                                         {TOKEN("tok-3", "3600"), HS_CLOSE, false},
                                         ANSWER("401 No", "", "0")};
    struct sr *g = *state;
    char url[80];

    use_oauth(g, url, sizeof(url));
    g->config.client_auth = "post";
    sr_open_with(g, SIMPLE SIMPLE_END, acts, 8);
    (void)snprintf(url, sizeof(url), "http://127.0.0.1:%d/token", g->server.port);
    assert_int_equal(sr_post(g, 1)->outcome, TG_OUTCOME_POSTED);
    assert_true(sr_seen(g, 0, "&client_id=gate%3Away&client_secret=s%20p%2Bace"));
    assert_false(sr_seen(g, 0, "Authorization"));
    assert_int_equal(sr_post(g, 2)->outcome, TG_OUTCOME_POSTED);
    assert_true(sr_seen(g, 4, "Bearer tok-2"));
    assert_int_equal(sr_post(g, 3)->outcome, TG_OUTCOME_DOWN);
    assert_int_equal(g->server.requests, 8);
}

static void a_token_is_renewed_before_its_end(void **state)
{
    static const struct hs_act acts[] = {{TOKEN("tok-1", "1"), HS_CLOSE, false},    POSTED,
                                         {TOKEN("tok-2", "0"), HS_CLOSE, false},    POSTED,
                                         {TOKEN("tok-3", "3600"), HS_CLOSE, false}, POSTED};
    struct sr *g = *state;
    char url[80];
    uint64_t began;

    use_oauth(g, url, sizeof(url));
    sr_open_with(g, SIMPLE SIMPLE_END, acts, 6);
    (void)snprintf(url, sizeof(url), "http://127.0.0.1:%d/token", g->server.port);
    assert_int_equal(sr_post(g, 1)->outcome, TG_OUTCOME_POSTED);
    began = uv_now(&g->loop);
    while (uv_now(&g->loop) - began < 1100 && !g->late) { /* its whole life */
        (void)uv_run(&g->loop, UV_RUN_NOWAIT);
        uv_sleep(10);
    }
    assert_int_equal(sr_post(g, 2)->outcome, TG_OUTCOME_POSTED);
    assert_true(sr_seen(g, 3, "Bearer tok-2"));
    uv_sleep(5);
    assert_int_equal(sr_post(g, 3)->outcome,
                     TG_OUTCOME_POSTED); /* "0": used once, then fetched anew */
    assert_true(sr_seen(g, 5, "Bearer tok-3"));
}

static void a_refused_client_is_not_asked_again_at_once(void **state)
{
    static const struct hs_act acts[] = {
        ANSWER("401 No", "{\"error\":\"invalid_client\",\"error_description\":\"s p+ace\"}", "56"),
        {TOKEN("tok-1", "3600"), HS_CLOSE, false},
        POSTED};
    struct sr *g = *state;
    const struct sr_result *r;
    char url[80];

    use_oauth(g, url, sizeof(url));
    sr_open_with(g, SIMPLE SIMPLE_END, acts, 3);
    (void)snprintf(url, sizeof(url), "http://127.0.0.1:%d/token", g->server.port);
    r = sr_post(g, 1);
    assert_int_equal(r->outcome, TG_OUTCOME_DOWN);
    assert_string_equal(r->detail, "the token endpoint answered 401, invalid_client");
    r = sr_post(g, 2);
    assert_int_equal(r->outcome, TG_OUTCOME_DOWN);
    assert_int_equal(g->server.requests, 1);
    sr_write_file(g->secret, "the right one");
    assert_int_equal(sr_post(g, 3)->outcome, TG_OUTCOME_POSTED);
}

static void a_busy_token_endpoint_is_left_alone(void **state)
{
    static const struct hs_act acts[] = {
        {"HTTP/1.1 429 No\r\nRetry-After: 60\r\nContent-Length: 0\r\n\r\n", HS_KEEP, false}};
    struct sr *g = *state;
    char url[80];

    use_oauth(g, url, sizeof(url));
    sr_open_with(g, SIMPLE SIMPLE_END, acts, 1);
    (void)snprintf(url, sizeof(url), "http://127.0.0.1:%d/token", g->server.port);
    for (int64_t i = 1; i <= 2; i++) {
        const struct sr_result *r = sr_post(g, i);

        assert_int_equal(r->outcome, TG_OUTCOME_THROTTLED);
        assert_true(r->retry_after_ms > 55000 && r->retry_after_ms <= 60000);
    }
    assert_int_equal(g->server.requests, 1);
}

#define SESSION                                                                                    \
    SIMPLE                                                                                         \
    "local function login(ctx)\n"                                                                  \
    "  return {method = 'POST', path = '/login', json = {ctx.user, '{{password}}'}}\n"             \
    "end\n"                                                                                        \
    "local function session(r, ctx)\n"                                                             \
    "  if r.status == 403 then return {refused = 'wrong password'} end\n"                          \
    "  return {headers = {Authorization = 'Session ' .. r.json}}\n"                                \
    "end\n"                                                                                        \
    "return {about = {dedupe = 'unique'}, request = request, classify = classify, login = login, " \
    "session = session}\n"

static void a_session_of_the_scripts_own(void **state)
{
    static const struct hs_act acts[] = {
        ANSWER("403 No", "", "0"), ANSWER("200 OK", "\"s-1\"", "5"), POSTED,
        ANSWER("401 No", "", "0"), ANSWER("200 OK", "\"s-2\"", "5"), POSTED,
        ANSWER("401 No", "", "0"), ANSWER("200 OK", "[]", "2")};
    struct sr *g = *state;
    const struct sr_result *r;

    sr_write_file(g->secret, "wrong\"one");
    g->config.user = "gateway";
    g->config.password_file = g->secret;
    sr_open_with(g, SESSION, acts, 8); /* auth is not given: the script has a log-in */
    r = sr_post(g, 1);
    assert_int_equal(r->outcome, TG_OUTCOME_DOWN);
    assert_string_equal(r->detail, "the log-in was refused: wrong password");
    assert_true(sr_seen(g, 0, "POST /api/login"));
    assert_true(sr_seen(g, 0, "[\"gateway\",\"wrong\\\"one\"]"));
    sr_write_file(g->secret, "right");
    assert_int_equal(sr_post(g, 1)->outcome, TG_OUTCOME_POSTED);
    assert_true(sr_seen(g, 2, "Authorization: Session s-1\r\n"));
    assert_int_equal(sr_post(g, 2)->outcome, TG_OUTCOME_POSTED); /* 401: log in once more */
    assert_true(sr_seen(g, 5, "Authorization: Session s-2\r\n"));
    r = sr_post(g, 3);
    assert_int_equal(r->outcome, TG_OUTCOME_DOWN);
    assert_non_null(strstr(r->detail, "session of connectors/t.lua"));
}

static void closing_while_a_token_is_fetched(void **state)
{
    static const struct hs_act acts[] = {{NULL, HS_KEEP, false}};
    struct sr *g = *state;
    char url[80];

    use_oauth(g, url, sizeof(url));
    sr_open_with(g, SIMPLE SIMPLE_END, acts, 1);
    (void)snprintf(url, sizeof(url), "http://127.0.0.1:%d/token", g->server.port);
    sr_begin(g, 1);
    sr_begin(g, 2);
    sr_until_requests(g, 1);
    sr_close_connector(g);
    assert_int_equal(g->count, 2);
    assert_int_equal(g->results[0].outcome, TG_OUTCOME_RETRY);
    assert_int_equal(g->results[1].outcome, TG_OUTCOME_RETRY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, sr_setup, sr_teardown)
        T(a_file_that_changes),
        T(no_secret_file),
        T(api_key),
        T(a_secret_never_gets_into_a_text),
        T(one_token_for_all_who_wait),
        T(a_401_gets_a_new_token_and_one_more_try),
        T(a_token_is_renewed_before_its_end),
        T(a_refused_client_is_not_asked_again_at_once),
        T(a_busy_token_endpoint_is_left_alone),
        T(a_session_of_the_scripts_own),
        T(closing_while_a_token_is_fetched),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
