/* The API over its real socket: a real journal, the shipped rules, schemas and master data. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "api/api.h"
#include "cmd/config.h"
#include "common/shard.h"
#include "core/metrics.h"
#include "journal_rows.h"

#define ANSWER_BYTES (2 * 1024 * 1024)
#define BIG_BODY_BYTES (TG_API_BODY_MAX_BYTES + 1)
#define GOOD_ENTRY                                                                                 \
    "{\"id\":\"TE-1\",\"version\":1,\"worker\":\"W-001\",\"project\":\"P-101\",\"task\":\"T-1\","  \
    "\"date\":\"2026-11-16\",\"hours\":\"7.50\",\"approved_at\":\"2026-11-20T17:00:00Z\","         \
    "\"approved_by\":\"W-900\"}"

struct fixture {
    struct jt *jt;
    struct tg_config *config;
    struct tg_schemas *schemas;
    struct tg_catalogue *catalogue;
    struct tg_master *masters[1];
    struct tg_api_shared shared;
    struct tg_api *api;
    char sock[96];
};

static struct fixture fx;

static void write_config(const char *path, const char *dir)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    fprintf(f,
            "redis: {url: 'unix:%s/no-redis.sock'}\n"
            "journal: {path: %s}\n"
            "api: {listen: 'unix:%s/api.sock', threads: 2}\n"
            "tenants:\n"
            "  - id: acme\n"
            "    sources: {psa: {decoder: canonical, uri: 'urn:acme:psa'}}\n"
            "    master: conf/demo/master.json\n"
            "    calendar: conf/demo/calendar.yaml\n"
            "    destinations: {erp: {connector: file, path: o}, payroll: {connector: file, path: "
            "p}}\n",
            dir, fx.jt->path, dir);
    assert_int_equal(fclose(f), 0);
}

static void start_api(void)
{
    struct tg_error err = {""};
    struct tg_api_options o = {.config = fx.config,
                               .schemas = fx.schemas,
                               .catalogue = fx.catalogue,
                               .shared = &fx.shared};

    fx.api = tg_api_start(&o, &err);
    if (fx.api == NULL) {
        fail_msg("%s", err.text);
    }
}

static int setup(void **state)
{
    struct tg_error err = {""};
    char path[128];

    if (jt_setup(state) != 0) {
        return -1;
    }
    memset(&fx, 0, sizeof(fx));
    fx.jt = *state;
    snprintf(path, sizeof(path), "%s/t.yaml", fx.jt->dir);
    snprintf(fx.sock, sizeof(fx.sock), "%s/api.sock", fx.jt->dir);
    write_config(path, fx.jt->dir);
    fx.config = tg_config_load(path, &err);
    fx.schemas = tg_schemas_load("conf/schemas", &err);
    fx.catalogue = tg_catalogue_load("conf/catalogue.yaml", &err);
    fx.masters[0] = tg_master_load(&(struct tg_master_files){.master = "conf/demo/master.json",
                                                             .calendar = "conf/demo/calendar.yaml"},
                                   &err);
    fx.shared.bundle = tg_bundle_load("lua_rules", &err);
    assert_string_equal(err.text, "");
    fx.shared.masters = fx.masters;
    assert_int_equal(pthread_mutex_init(&fx.shared.lock, NULL), 0);
    atomic_store(&fx.shared.journal_ready, true);
    atomic_store(&fx.shared.redis_ready, true);
    start_api();
    return 0;
}

static int teardown(void **state)
{
    tg_api_stop(fx.api);
    assert_int_equal(access(fx.sock, F_OK), -1);
    pthread_mutex_destroy(&fx.shared.lock);
    tg_bundle_unref(fx.shared.bundle);
    tg_master_unref(fx.masters[0]);
    tg_catalogue_free(fx.catalogue);
    tg_schemas_free(fx.schemas);
    tg_config_free(fx.config);
    return jt_teardown(state);
}

/* ---- a small client ---- */

struct answer {
    int status;
    char *text;       /* owned: head and body */
    const char *body; /* into text */
    json_t *json;     /* owned; NULL when the body is not JSON */
};

static int connect_api(void)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    struct timeval limit = {60, 0};

    memcpy(addr.sun_path, fx.sock, strlen(fx.sock));
    assert_true(fd >= 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&addr, sizeof(addr)), 0);
    return fd;
}

static void send_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, data, len, MSG_NOSIGNAL);

        assert_true(n > 0);
        data += n;
        len -= (size_t)n;
    }
}

static struct answer receive(int fd)
{
    struct answer a = {0, calloc(1, ANSWER_BYTES), NULL, NULL};
    size_t len = 0;
    ssize_t n;

    while ((n = recv(fd, a.text + len, ANSWER_BYTES - 1 - len, 0)) > 0) {
        len += (size_t)n;
    }
    assert_int_equal(n, 0);
    close(fd);
    a.body = strstr(a.text, "\r\n\r\n");
    assert_non_null(a.body);
    a.body += 4;
    assert_int_equal(sscanf(a.text, "HTTP/1.1 %d", &a.status), 1);
    a.json = json_loads(a.body, 0, NULL);
    return a;
}

static struct answer ask(const char *method, const char *path, const char *headers,
                         const char *body)
{
    char head[2048];
    int n = snprintf(head, sizeof(head),
                     "%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %zu\r\n%s"
                     "\r\n",
                     method, path, strlen(body), headers);
    int fd = connect_api();

    send_all(fd, head, (size_t)n);
    send_all(fd, body, strlen(body));
    return receive(fd);
}

static void drop(struct answer a)
{
    json_decref(a.json);
    free(a.text);
}

static const char *member(const json_t *o, const char *name)
{
    const char *text = json_string_value(json_object_get(o, name));

    return text != NULL ? text : "(none)";
}

#define ACME "X-Tally-Tenant: acme\r\n"
#define AS_JSON "Content-Type: application/json\r\n"
#define VALIDATE "/v1/time-entries/validate"

static void expect_problem(struct answer a, int status, const char *code, const char *detail)
{
    assert_int_equal(a.status, status);
    assert_non_null(strstr(a.text, "Content-Type: application/problem+json"));
    assert_non_null(a.json);
    assert_string_equal(member(a.json, "code"), code);
    assert_int_equal(json_integer_value(json_object_get(a.json, "status")), status);
    if (strstr(member(a.json, "detail"), detail) == NULL) {
        fail_msg("no `%s` in `%s`", detail, member(a.json, "detail"));
    }
    drop(a);
}

/* ---- paths, methods, headers ---- */

static void health_and_metrics(void **state)
{
    struct answer a = ask("GET", "/healthz", "", "");

    (void)state;
    assert_int_equal(a.status, 200);
    assert_string_equal(member(a.json, "status"), "ok");
    drop(a);
    a = ask("GET", "/metrics", "", "");
    assert_int_equal(a.status, 200);
    assert_non_null(strstr(a.text, "text/plain; version=0.0.4"));
    assert_non_null(strstr(a.body, "# TYPE tallygate_api_requests_total counter"));
    drop(a);
    a = ask("HEAD", "/healthz", "", "");
    assert_int_equal(a.status, 200);
    assert_string_equal(a.body, "");
    drop(a);
}

static void ready_says_what_is_not(void **state)
{
    struct answer a = ask("GET", "/readyz", "", "");

    (void)state;
    assert_int_equal(a.status, 200);
    assert_true(json_is_true(json_object_get(a.json, "ready")));
    drop(a);
    atomic_store(&fx.shared.redis_ready, false);
    a = ask("GET", "/readyz", "", "");
    assert_int_equal(a.status, 503);
    assert_string_equal(member(json_object_get(a.json, "parts"), "redis"), "not ready");
    assert_string_equal(member(json_object_get(a.json, "parts"), "journal"), "ok");
    drop(a);
    atomic_store(&fx.shared.redis_ready, true);
    atomic_store(&fx.shared.stopping, true);
    a = ask("GET", "/readyz", "", "");
    assert_int_equal(a.status, 503);
    assert_true(json_is_true(json_object_get(a.json, "stopping")));
    drop(a);
}

static void wrong_paths_and_methods(void **state)
{
    static const char *const paths[] = {"/",
                                        "/v1",
                                        "/v1/events",
                                        "/v1/events/",
                                        "/v1/events/a/b",
                                        "/v1/time-entries",
                                        "/v1/expenses/validate",
                                        "/healthz/",
                                        "/healthz%00"};
    struct answer a;

    (void)state;
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        expect_problem(ask("GET", paths[i], ACME, ""), 404, "not_found", "no such path");
    }
    a = ask("GET", VALIDATE, ACME, "");
    assert_non_null(strstr(a.text, "Allow: POST\r\n"));
    expect_problem(a, 405, "method_not_allowed", "takes POST");
    a = ask("DELETE", "/v1/events/s07-1-1", ACME, "");
    assert_non_null(strstr(a.text, "Allow: GET, HEAD\r\n"));
    expect_problem(a, 405, "method_not_allowed", "takes GET, HEAD");
}

static void nothing_without_a_tenant(void **state)
{
    (void)state;
    expect_problem(ask("POST", VALIDATE, AS_JSON, GOOD_ENTRY), 403, "tenant_missing", "");
    expect_problem(ask("GET", "/v1/events/s07-1-1", "", ""), 403, "tenant_missing", "");
    expect_problem(ask("POST", VALIDATE, AS_JSON "X-Tally-Tenant: \r\n", GOOD_ENTRY), 403,
                   "tenant_missing", "");
    expect_problem(ask("POST", VALIDATE, AS_JSON "X-Tally-Tenant: other\r\n", GOOD_ENTRY), 403,
                   "tenant_missing", "not configured");
}

static void the_correlation_id_comes_back(void **state)
{
    struct answer a = ask("GET", "/v1/nothing", "X-Correlation-ID: abc-1\r\n", "");

    (void)state;
    assert_non_null(strstr(a.text, "X-Correlation-ID: abc-1\r\n"));
    assert_string_equal(member(a.json, "correlation_id"), "abc-1");
    drop(a);
    a = ask("GET", "/healthz", "X-Correlation-ID: abc-2\r\n", "");
    assert_non_null(strstr(a.text, "X-Correlation-ID: abc-2\r\n"));
    drop(a);
    a = ask("GET", "/healthz", "X-Correlation-ID: a\tb\r\n", "");
    assert_null(strstr(a.text, "X-Correlation-ID"));
    drop(a);
}

/* ---- validate ---- */

static void one_good_entry(void **state)
{
    struct answer a = ask("POST", VALIDATE, ACME AS_JSON, GOOD_ENTRY);
    const json_t *one = json_array_get(json_object_get(a.json, "results"), 0);

    (void)state;
    if (a.status != 200 || !json_is_true(json_object_get(a.json, "valid"))) {
        fail_msg("%s", a.text);
    }
    assert_int_equal(json_integer_value(json_object_get(one, "index")), 0);
    assert_string_equal(member(one, "id"), "TE-1");
    assert_int_equal(json_array_size(json_object_get(one, "violations")), 0);
    drop(a);
}

static void many_entries_each_with_its_violations(void **state)
{
    struct answer a = ask("POST", VALIDATE "?source=psa",
                          ACME "Content-Type: application/json; charset=utf-8\r\n",
                          "[" GOOD_ENTRY ",{\"id\":\"TE-2\",\"version\":1,\"worker\":\"W-none\","
                          "\"project\":\"P-none\",\"task\":\"T-1\",\"date\":\"2026-11-16\","
                          "\"hours\":\"7.50\",\"approved_at\":\"2026-11-20T17:00:00Z\","
                          "\"approved_by\":\"W-900\"},{\"id\":\"TE-3\"},5]");
    const json_t *results = json_object_get(a.json, "results");
    const json_t *violations, *first;

    (void)state;
    assert_int_equal(a.status, 200);
    assert_true(json_is_false(json_object_get(a.json, "valid")));
    assert_int_equal(json_array_size(results), 4);
    assert_true(json_is_true(json_object_get(json_array_get(results, 0), "valid")));
    violations = json_object_get(json_array_get(results, 1), "violations");
    assert_true(json_array_size(violations) >= 2); /* every one at once */
    first = json_array_get(violations, 0);
    assert_string_equal(member(first, "code"), "worker_unknown");
    assert_string_equal(member(first, "owner"), "master-data");
    assert_string_not_equal(member(first, "message"), "(none)");
    assert_string_equal(member(json_array_get(results, 2), "id"), "TE-3");
    for (size_t i = 2; i < 4; i++) {
        violations = json_object_get(json_array_get(results, i), "violations");
        assert_true(json_array_size(violations) > 0);
        assert_string_equal(member(json_array_get(violations, 0), "code"), "schema_invalid");
    }
    assert_true(json_is_null(json_object_get(json_array_get(results, 3), "id")));
    drop(a);
}

static char *array_of(size_t n, const char *item)
{
    size_t len = strlen(item), size = n * (len + 1) + 3, at = 1;
    char *out = malloc(size);

    assert_non_null(out);
    out[0] = '[';
    for (size_t i = 0; i < n; i++) {
        memcpy(out + at, item, len);
        at += len;
        out[at++] = i + 1 < n ? ',' : ']';
    }
    out[at] = '\0';
    return out;
}

static void the_array_has_a_limit(void **state)
{
    char *most = array_of(TG_VALIDATE_ARRAY_MAX, GOOD_ENTRY);
    char *more = array_of(TG_VALIDATE_ARRAY_MAX + 1, "{}");
    struct answer a = ask("POST", VALIDATE, ACME AS_JSON, most);

    (void)state;
    assert_int_equal(a.status, 200);
    assert_int_equal(json_array_size(json_object_get(a.json, "results")), TG_VALIDATE_ARRAY_MAX);
    assert_true(json_is_true(json_object_get(a.json, "valid")));
    drop(a);
    expect_problem(ask("POST", VALIDATE, ACME AS_JSON, more), 400, "body_invalid", "501 items");
    expect_problem(ask("POST", VALIDATE, ACME AS_JSON, "[]"), 400, "body_invalid", "0 items");
    free(most);
    free(more);
}

static void bodies_that_are_not_taken(void **state)
{
    char deep[TG_EVENT_JSON_DEPTH_MAX * 2 + 3];

    (void)state;
    expect_problem(ask("POST", VALIDATE, ACME, GOOD_ENTRY), 415, "media_type", "application/json");
    expect_problem(ask("POST", VALIDATE, ACME "Content-Type: application/jsonp\r\n", GOOD_ENTRY),
                   415, "media_type", "application/json");
    expect_problem(ask("POST", VALIDATE, ACME AS_JSON, ""), 400, "body_invalid", "empty");
    expect_problem(ask("POST", VALIDATE, ACME AS_JSON, "{\n\"id\": }"), 400, "body_invalid",
                   "line 2, column");
    expect_problem(ask("POST", VALIDATE, ACME AS_JSON, "{\"secret\":tru}"), 400, "body_invalid",
                   "not JSON");
    expect_problem(ask("POST", VALIDATE, ACME AS_JSON, "{\"a\":1,\"a\":2}"), 400, "body_invalid",
                   "duplicate");
    expect_problem(ask("POST", VALIDATE, ACME AS_JSON, "7"), 400, "body_invalid", "one object");
    expect_problem(ask("POST", VALIDATE "?source=hr", ACME AS_JSON, GOOD_ENTRY), 404, "not_found",
                   "no source of that name");
    memset(deep, '[', sizeof(deep));
    memset(deep + TG_EVENT_JSON_DEPTH_MAX + 1, ']', sizeof(deep) - TG_EVENT_JSON_DEPTH_MAX - 1);
    deep[sizeof(deep) - 1] = '\0';
    expect_problem(ask("POST", VALIDATE, ACME AS_JSON, deep), 400, "body_invalid", "deeper than");
}

static void a_body_over_the_limit(void **state)
{
    char *big = malloc(BIG_BODY_BYTES + 1);
    int fd;
    char head[256];

    (void)state;
    assert_non_null(big);
    memset(big, ' ', BIG_BODY_BYTES);
    big[BIG_BODY_BYTES] = '\0';
    expect_problem(ask("POST", VALIDATE, ACME AS_JSON, big), 413, "body_too_large", "1048576");
    /* exactly the limit is read, and found to be no JSON */
    big[TG_API_BODY_MAX_BYTES] = '\0';
    expect_problem(ask("POST", VALIDATE, ACME AS_JSON, big), 400, "body_invalid", "not JSON");
    free(big);
    /* far over the limit, as announced: answered without reading it */
    fd = connect_api();
    snprintf(head, sizeof(head),
             "POST " VALIDATE " HTTP/1.1\r\nHost: x\r\n" ACME AS_JSON "Content-Length: %d\r\n\r\n",
             TG_API_DISCARD_MAX_BYTES + 1);
    send_all(fd, head, strlen(head));
    expect_problem(receive(fd), 413, "body_too_large", "1048576");
}

static void no_rules_no_verdict(void **state)
{
    struct tg_bundle *bundle = fx.shared.bundle;

    (void)state;
    tg_api_stop(fx.api);
    fx.shared.bundle = NULL;
    start_api();
    expect_problem(ask("POST", VALIDATE, ACME AS_JSON, GOOD_ENTRY), 503, "unavailable",
                   "not loaded");
    pthread_mutex_lock(&fx.shared.lock);
    fx.shared.bundle = bundle;
    fx.shared.generation++;
    pthread_mutex_unlock(&fx.shared.lock);
    one_good_entry(NULL);
}

/* ---- events ---- */

/* Events 1..5: posted, exception of its own, duplicate of 1, other tenant's, posting in exception
 */
static void fill_journal(void)
{
    struct jt *t = fx.jt;
    struct tg_batch *b = tg_batch_new();
    struct tg_row_event e;
    struct tg_row_object o;
    struct tg_row_posting p;
    struct tg_row_exception x;
    struct tg_row_mark m;
    int64_t id[6], posting;

    assert_non_null(b);
    posting = jt_add_ready(t, b, 1);
    id[1] = 1;
    m = jt_mark(posting, TG_POSTING_READY, TG_POSTING_SENT);
    assert_int_equal(tg_batch_mark(b, &m), 0);
    m = jt_mark(posting, TG_POSTING_SENT, TG_POSTING_POSTED);
    m.ref = "labor-2026-11.csv:1";
    m.outcome = "posted";
    assert_int_equal(tg_batch_mark(b, &m), 0);
    jt_commit(t, b);

    b = tg_batch_new();
    id[2] = tg_journal_next_id(t->journal, TG_TABLE_EVENTS);
    e = jt_event(id[2], 2, TG_EVENT_EXCEPTION);
    assert_int_equal(tg_batch_event(b, &e), 0);
    x = jt_exception(tg_journal_next_id(t->journal, TG_TABLE_EXCEPTIONS), id[2], "period_closed");
    assert_int_equal(tg_batch_exception(b, &x), 0);
    id[3] = tg_journal_next_id(t->journal, TG_TABLE_EVENTS);
    e = jt_event(id[3], 3, TG_EVENT_DUPLICATE);
    e.duplicate_of = id[1];
    assert_int_equal(tg_batch_event(b, &e), 0);
    id[4] = tg_journal_next_id(t->journal, TG_TABLE_EVENTS);
    e = jt_event(id[4], 4, TG_EVENT_EXCEPTION);
    e.tenant = "other";
    assert_int_equal(tg_batch_event(b, &e), 0);
    x = jt_exception(tg_journal_next_id(t->journal, TG_TABLE_EXCEPTIONS), id[4], "period_closed");
    x.tenant = "other";
    assert_int_equal(tg_batch_exception(b, &x), 0);
    id[5] = tg_journal_next_id(t->journal, TG_TABLE_EVENTS);
    e = jt_event(id[5], 5, TG_EVENT_ACCEPTED);
    assert_int_equal(tg_batch_event(b, &e), 0);
    o = jt_object(tg_journal_next_id(t->journal, TG_TABLE_OBJECTS), id[5], 5, 1,
                  TG_VERSION_VALIDATED);
    assert_int_equal(tg_batch_object(b, &o), 0);
    p = jt_posting(tg_journal_next_id(t->journal, TG_TABLE_POSTINGS), o.id, t->erp, 5,
                   TG_POSTING_READY);
    assert_int_equal(tg_batch_posting(b, &p), 0);
    jt_commit(t, b);
}

static void a_posted_event(void **state)
{
    struct answer a;
    const json_t *object, *posting;

    (void)state;
    fill_journal();
    a = ask("GET", "/v1/events/s07-1-1", ACME, "");
    assert_int_equal(a.status, 200);
    assert_non_null(strstr(a.text, "Cache-Control: no-store"));
    assert_string_equal(member(a.json, "id"), "s07-1-1");
    assert_string_equal(member(a.json, "status"), "accepted");
    assert_string_equal(member(a.json, "stage"), "posted");
    assert_string_equal(member(a.json, "type"), "com.tallygate.time_entry.approved.v1");
    assert_string_equal(member(a.json, "source"), "urn:acme:psa");
    assert_string_equal(member(a.json, "received_at"), "1970-01-01T00:00:01.001Z");
    assert_string_equal(member(a.json, "correlation_id"), "corr-1");
    assert_null(json_object_get(a.json, "duplicate_of"));
    object = json_array_get(json_object_get(a.json, "objects"), 0);
    assert_string_equal(member(object, "kind"), "time_entry");
    assert_string_equal(member(object, "id"), "TE-000001");
    assert_int_equal(json_integer_value(json_object_get(object, "version")), 1);
    assert_string_equal(member(object, "state"), "validated");
    assert_string_equal(member(object, "business_state"), "posted");
    posting = json_array_get(json_object_get(object, "postings"), 0);
    assert_string_equal(member(posting, "destination"), "erp");
    assert_string_equal(member(posting, "kind"), "labor");
    assert_string_equal(member(posting, "leg"), "cost");
    assert_string_equal(member(posting, "state"), "posted");
    assert_int_equal(strlen(member(posting, "key")), 32);
    assert_string_equal(member(posting, "ref"), "labor-2026-11.csv:1");
    assert_string_equal(member(posting, "period"), "2026-11");
    assert_string_equal(member(posting, "quantity"), "7.5");
    assert_int_equal(json_array_size(json_object_get(a.json, "exceptions")), 0);
    drop(a);
}

static void other_events_of_the_journal(void **state)
{
    struct answer a;
    const json_t *x;

    (void)state;
    fill_journal();
    a = ask("GET", "/v1/events/s07-1-2", ACME, "");
    assert_int_equal(a.status, 200);
    assert_string_equal(member(a.json, "status"), "exception");
    assert_string_equal(member(a.json, "stage"), "exception");
    x = json_array_get(json_object_get(a.json, "exceptions"), 0);
    assert_string_equal(member(x, "code"), "period_closed");
    assert_string_equal(member(x, "owner"), "finance");
    assert_string_equal(member(x, "state"), "open");
    assert_string_not_equal(member(x, "title"), "(none)");
    assert_string_equal(member(x, "message"), "[{\"code\":\"x\"}]"); /* a form of nobody's */
    assert_int_equal(json_array_size(json_object_get(x, "violations")), 0);
    drop(a);

    a = ask("GET", "/v1/events/s07-1-3", ACME, "");
    assert_int_equal(a.status, 200);
    assert_string_equal(member(a.json, "status"), "duplicate");
    assert_string_equal(member(a.json, "duplicate_of"), "s07-1-1");
    assert_string_equal(member(a.json, "stage"), "posted"); /* as far as what it repeats */
    drop(a);

    a = ask("GET", "/v1/events/s07-1-5", ACME, "");
    assert_string_equal(member(a.json, "status"), "accepted");
    assert_string_equal(member(a.json, "stage"), "validated");
    assert_true(json_is_null(json_object_get(
        json_array_get(
            json_object_get(json_array_get(json_object_get(a.json, "objects"), 0), "postings"), 0),
        "ref")));
    drop(a);
}

static void another_tenants_event_is_not_there(void **state)
{
    struct answer a;

    (void)state;
    fill_journal();
    expect_problem(ask("GET", "/v1/events/s07-1-4", ACME, ""), 404, "not_found", "no event");
    a = ask("GET", "/v1/events/s07-1-4", "X-Tally-Tenant: other\r\n", "");
    assert_int_equal(a.status, 200);
    drop(a);
}

static void ids_that_cannot_be(void **state)
{
    static const char *const ids[] = {"x", "s07-1", "s7-1-1", "s07-01-1", "s07-1-1x", "S07-1-1"};

    (void)state;
    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
        char path[64];

        snprintf(path, sizeof(path), "/v1/events/%s", ids[i]);
        expect_problem(ask("GET", path, ACME, ""), 404, "not_found", "no event");
    }
}

/* Not in the journal, on the tenant's own shard, and Redis away: the answer is not known. */
static void without_redis_the_stream_is_unknown(void **state)
{
    unsigned shard = tg_shard_of(tg_str_of("acme"), TG_SHARD_COUNT_DEFAULT);
    char path[64];

    (void)state;
    snprintf(path, sizeof(path), "/v1/events/s%02u-99-1", shard);
    expect_problem(ask("GET", path, ACME, ""), 503, "unavailable", "the stream");
    snprintf(path, sizeof(path), "/v1/events/s%02u-99-1", (shard + 1) % TG_SHARD_COUNT_DEFAULT);
    expect_problem(ask("GET", path, ACME, ""), 404, "not_found", "no event");
}

/* ---- the life of a connection ---- */

static void one_connection_many_requests(void **state)
{
    static const char two[] = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
                              "POST " VALIDATE " HTTP/1.1\r\nHost: x\r\n" ACME AS_JSON
                              "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
                              "1\r\n{\r\n1\r\n}\r\n0\r\n\r\n";
    struct answer a;
    int fd = connect_api();

    (void)state;
    send_all(fd, two, sizeof(two) - 1);
    a = receive(fd);
    assert_int_equal(a.status, 200);
    assert_non_null(strstr(a.body, "HTTP/1.1 200"));
    assert_non_null(strstr(a.body, "schema_invalid"));
    drop(a);
}

static void *stop_in_background(void *arg)
{
    tg_api_stop(arg);
    return NULL;
}

/* One request on a connection that stays; true when the answer says that it will be closed. */
static bool says_close(int fd)
{
    static const char request[] = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    char text[1024] = "";
    size_t len = 0;

    send_all(fd, request, sizeof(request) - 1);
    while (strstr(text, "\"ok\"}") == NULL) {
        ssize_t n = recv(fd, text + len, sizeof(text) - 1 - len, 0);

        assert_true(n > 0);
        len += (size_t)n;
        text[len] = '\0';
    }
    return strstr(text, "Connection: close") != NULL;
}

/* A request whose body is still coming when the stop begins gets its answer. */
static void a_stop_answers_what_is_in_progress(void **state)
{
    static const char head[] =
        "POST " VALIDATE " HTTP/1.1\r\nHost: x\r\n" ACME AS_JSON "Content-Length: 2\r\n\r\n{";
    uint64_t before = tg_metric_get(TG_METRIC_API_REQUESTS);
    struct timespec pause = {0, 1000 * 1000};
    struct answer a;
    pthread_t stopper;
    int watch = connect_api(), fd = connect_api();

    (void)state;
    assert_false(says_close(watch));
    send_all(fd, head, sizeof(head) - 1);
    for (int i = 0; i < 10000 && tg_metric_get(TG_METRIC_API_REQUESTS) < before + 2; i++) {
        nanosleep(&pause, NULL);
    }
    assert_int_equal(tg_metric_get(TG_METRIC_API_REQUESTS), before + 2);
    assert_int_equal(pthread_create(&stopper, NULL, stop_in_background, fx.api), 0);
    while (!says_close(watch)) { /* the stop has begun once it does; recv has a time limit */
        nanosleep(&pause, NULL);
    }
    close(watch);
    send_all(fd, "}", 1);
    a = receive(fd);
    assert_int_equal(a.status, 200);
    assert_non_null(strstr(a.text, "Connection: close"));
    drop(a);
    assert_int_equal(pthread_join(stopper, NULL), 0);
    fx.api = NULL;
}

static void *ask_often(void *arg)
{
    (void)arg;
    for (int i = 0; i < 20; i++) {
        struct answer a = ask("POST", VALIDATE, ACME AS_JSON, GOOD_ENTRY);

        if (a.status != 200) {
            drop(a);
            return "not 200";
        }
        drop(a);
    }
    return NULL;
}

/* Four clients while the bundle is swapped under them: what TSan looks at. */
static void a_reload_under_load(void **state)
{
    pthread_t clients[4];

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&clients[i], NULL, ask_often, NULL), 0);
    }
    for (int i = 0; i < 10; i++) {
        struct tg_error err = {""};
        struct tg_bundle *fresh = tg_bundle_load("lua_rules", &err), *old;

        assert_non_null(fresh);
        pthread_mutex_lock(&fx.shared.lock);
        old = fx.shared.bundle;
        fx.shared.bundle = fresh;
        fx.shared.generation++;
        pthread_mutex_unlock(&fx.shared.lock);
        tg_bundle_unref(old);
    }
    for (size_t i = 0; i < 4; i++) {
        void *wrong = NULL;

        assert_int_equal(pthread_join(clients[i], &wrong), 0);
        assert_null(wrong);
    }
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(health_and_metrics),
        CASE(ready_says_what_is_not),
        CASE(wrong_paths_and_methods),
        CASE(nothing_without_a_tenant),
        CASE(the_correlation_id_comes_back),
        CASE(one_good_entry),
        CASE(many_entries_each_with_its_violations),
        CASE(the_array_has_a_limit),
        CASE(bodies_that_are_not_taken),
        CASE(a_body_over_the_limit),
        CASE(no_rules_no_verdict),
        CASE(a_posted_event),
        CASE(other_events_of_the_journal),
        CASE(another_tenants_event_is_not_there),
        CASE(ids_that_cannot_be),
        CASE(without_redis_the_stream_is_unknown),
        CASE(one_connection_many_requests),
        CASE(a_stop_answers_what_is_in_progress),
        CASE(a_reload_under_load),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
