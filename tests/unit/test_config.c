/* tallygate.yaml: what a good file gives, and each wrong one by its exact line and message. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "cmd/config.h"

#define GOOD                                                                                       \
    "redis:\n"                              /* 1 */                                                \
    "  url: unix:run/redis.sock\n"          /* 2 */                                                \
    "journal:\n"                            /* 3 */                                                \
    "  path: lib/journal.db\n"              /* 4 */                                                \
    "api:\n"                                /* 5 */                                                \
    "  listen: unix:run/api.sock\n"         /* 6 */                                                \
    "tenants:\n"                            /* 7 */                                                \
    "  - id: acme\n"                        /* 8 */                                                \
    "    sources:\n"                        /* 9 */                                                \
    "      psa: {decoder: canonical}\n"     /* 10 */                                               \
    "    master: m.json\n"                  /* 11 */                                               \
    "    calendar: c.yaml\n"                /* 12 */                                               \
    "    destinations:\n"                   /* 13 */                                               \
    "      erp: {connector: file, path: o}" /* 14 */                                               \
    "\n"

static char dir[] = "/tmp/tg-config-XXXXXX";
static char path[64];

static int make_dir(void **state)
{
    (void)state;
    if (mkdtemp(dir) == NULL) {
        return -1;
    }
    snprintf(path, sizeof(path), "%s/t.yaml", dir);
    return 0;
}

static int remove_dir(void **state)
{
    (void)state;
    (void)unlink(path);
    return rmdir(dir);
}

static struct tg_config *load(const char *text, struct tg_error *err)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
    assert_int_equal(fclose(f), 0);
    err->text[0] = '\0';
    return tg_config_load(path, err);
}

/* GOOD with the first `from` replaced. */
static char *changed(const char *from, const char *to)
{
    const char *at = strstr(GOOD, from);
    size_t size = strlen(GOOD) + strlen(to) + 1;
    char *out = malloc(size);

    assert_non_null(at);
    assert_non_null(out);
    snprintf(out, size, "%.*s%s%s", (int)(at - GOOD), GOOD, to, at + strlen(from));
    return out;
}

static void defaults_are_filled_in(void **state)
{
    struct tg_error err;
    struct tg_config *c = load(GOOD, &err);
    const struct tg_config_tenant *t;

    (void)state;
    assert_string_equal(err.text, "");
    assert_non_null(c);
    assert_string_equal(c->file, path);
    assert_string_equal(c->redis.prefix, "tg");
    assert_int_equal(c->redis.shards, TG_SHARD_COUNT_DEFAULT);
    assert_null(c->redis.user);
    assert_null(c->journal.checkpoint_dir);
    assert_int_equal(c->api.threads, 2);
    assert_string_equal(c->rules.path, "lua_rules");
    assert_string_equal(c->rules.approval, "off");
    assert_string_equal(c->schemas, "conf/schemas");
    assert_string_equal(c->catalogue, "conf/catalogue.yaml");
    assert_int_equal(c->tenant_count, 1);
    assert_int_equal(c->destination_count, 1);
    t = &c->tenants[0];
    assert_string_equal(t->sources[0].uri, "psa");
    assert_int_equal(t->sources[0].client_count, 1);
    assert_string_equal(t->sources[0].clients[0], "hook:psa");
    assert_string_equal(t->destinations[0].id, "acme/erp");
    assert_int_equal(t->destinations[0].concurrency, 64);
    assert_int_equal(t->destinations[0].rate.capacity, 0);
    tg_config_free(c);
}

static void every_key_is_kept(void **state)
{
    static const char text[] =
        "redis: {url: 'redis://127.0.0.1:7000/3', user: u, password_file: p, prefix: x, shards: "
        "4}\n"
        "journal: {path: j, checkpoints: {dir: d, key: k}}\n"
        "api: {listen: '127.0.0.1:9000', threads: 32}\n"
        "rules: {path: r, approval: off}\n"
        "schemas: s\n"
        "catalogue: c\n"
        "issuers: [{name: demo, jwks_uri: '', file: f}]\n"
        "tenants:\n"
        "  - id: a\n"
        "    sources: {one: {decoder: d, uri: 'urn:a:1', clients: [c1, 'hook:one']},\n"
        "              two: {decoder: e}}\n"
        "    master: m\n"
        "    calendar: k\n"
        "    ownership: o\n"
        "    destinations: {}\n"
        "  - id: b\n"
        "    sources: {one: {decoder: d}}\n"
        "    master: m\n"
        "    calendar: k\n"
        "    destinations:\n"
        "      x: {connector: file, path: px, concurrency: 256, rate: 100/s}\n"
        "      y: {connector: file, path: py, rate: 60r/m}\n";
    struct tg_error err;
    struct tg_config *c = load(text, &err);
    const struct tg_config_destination *y;

    (void)state;
    assert_string_equal(err.text, "");
    assert_non_null(c);
    assert_string_equal(c->redis.url, "redis://127.0.0.1:7000/3");
    assert_string_equal(c->redis.user, "u");
    assert_string_equal(c->redis.password_file, "p");
    assert_string_equal(c->redis.prefix, "x");
    assert_int_equal(c->redis.shards, 4);
    assert_string_equal(c->journal.checkpoint_dir, "d");
    assert_string_equal(c->journal.checkpoint_key, "k");
    assert_int_equal(c->api.threads, 32);
    assert_int_equal(c->tenants[0].source_count, 2);
    assert_string_equal(c->tenants[0].sources[0].clients[1], "hook:one");
    assert_string_equal(c->tenants[0].ownership, "o");
    assert_int_equal(c->tenants[0].destination_count, 0);
    assert_int_equal(c->destination_count, 2);
    assert_int_equal(c->tenants[1].destinations[0].rate.emission_us, 10000);
    assert_int_equal(c->tenants[1].destinations[0].rate.capacity, 256);
    y = tg_config_destination(c, 1);
    assert_non_null(y);
    assert_string_equal(y->id, "b/y");
    assert_int_equal(y->rate.emission_us, 1000000);
    assert_int_equal(y->rate.capacity, 64);
    tg_config_free(c);
}

static void the_keys_of_a_scripted_destination_are_kept(void **state)
{
    char *text = changed(
        "connector: file, path: o",
        "connector: http-json, url: 'https://erp.example/api', auth: oauth2, token_url: "
        "'https://idp.example/token', client_id: gw, client_secret_file: s, client_auth: post, "
        "scope: 'a b', token_params: {audience: erp}, tls: {ca_file: ca, cert_file: c, key_file: "
        "k}, timeout: 7s, allow: [10.0.0.0/8, '::1'], options: {path: /labor, ttl: 60}, user: u, "
        "password_file: p, token_file: t, api_key_file: a, api_key_header: X-Key");
    struct tg_error err;
    struct tg_config *c = load(text, &err);
    const struct tg_config_destination *d;

    (void)state;
    assert_string_equal(err.text, "");
    assert_non_null(c);
    d = &c->tenants[0].destinations[0];
    assert_string_equal(d->connector, "http-json");
    assert_string_equal(d->url, "https://erp.example/api");
    assert_string_equal(d->auth, "oauth2");
    assert_string_equal(d->token_url, "https://idp.example/token");
    assert_string_equal(d->client_id, "gw");
    assert_string_equal(d->client_secret_file, "s");
    assert_string_equal(d->client_auth, "post");
    assert_string_equal(d->scope, "a b");
    assert_int_equal(d->token_param_count, 1);
    assert_string_equal(d->token_params[0].name, "audience");
    assert_string_equal(d->token_params[0].value, "erp");
    assert_string_equal(d->ca_file, "ca");
    assert_string_equal(d->cert_file, "c");
    assert_string_equal(d->key_file, "k");
    assert_int_equal(d->timeout_ms, 7000);
    assert_int_equal(d->allow_count, 2);
    assert_string_equal(d->allow[1], "::1");
    assert_int_equal(d->option_count, 2);
    assert_string_equal(d->options[1].name, "ttl");
    assert_string_equal(d->options[1].value, "60");
    assert_string_equal(d->user, "u");
    assert_string_equal(d->password_file, "p");
    assert_string_equal(d->token_file, "t");
    assert_string_equal(d->api_key_file, "a");
    assert_string_equal(d->api_key_header, "X-Key");
    assert_null(d->path);
    tg_config_free(c);
    free(text);
}

struct wrong {
    const char *from, *to; /* of GOOD */
    unsigned line;
    const char *says[2]; /* parts of the message; NULL: none */
};

static const struct wrong table[] = {
    /* unknown keys, at every level */
    {"redis:\n", "rediss: 1\nredis:\n", 1, {"unknown key `rediss`", "accepted: redis, journal"}},
    {"  listen", "  thread: 2\n  listen", 6, {"unknown key `thread`", "accepted: listen, threads"}},
    {"    master", "    project: x\n    master", 11, {"unknown key `project`", "accepted: id"}},
    {"decoder: canonical",
     "decoder: d, map: x",
     10,
     {"unknown key `map`", "decoder, uri, clients"}},
    {"path: o", "path: o, uri: 'http://h'", 14, {"unknown key `uri`", "accepted: connector, path"}},
    /* missing keys */
    {"  url: unix:run/redis.sock\n", "  prefix: a\n", 2, {"`redis.url` is missing", "unix:PATH"}},
    {"  path: lib/journal.db\n",
     "  checkpoints: {dir: d, key: k}\n",
     4,
     {"`journal.path` is", NULL}},
    {"  path: lib/journal.db\n",
     "  path: j\n  checkpoints:\n    dir: d\n",
     6,
     {"checkpoints.key", "PEM"}},
    {"    master: m.json\n", "", 8, {"`tenants[0].master` is missing", "JSON file"}},
    {"decoder: canonical", "uri: u", 10, {"`tenants[0].sources.psa.decoder` is missing", NULL}},
    {"connector: file, ", "", 14, {"destinations.erp.connector` is missing", NULL}},
    {", path: o", "", 14, {"destination `erp` has no `path`", "accepted: the path"}},
    /* wrong kinds */
    {"redis:\n  url: unix:run/redis.sock\n",
     "redis: x\n",
     1,
     {"`redis` is a plain value", "a mapping with url"}},
    {"unix:run/redis.sock", "[a]", 2, {"`redis.url` is a list", "unix:PATH"}},
    {"lib/journal.db", "{a: b}", 4, {"`journal.path` is a mapping", NULL}},
    {"{decoder: canonical}", "canonical", 10, {"accepted: decoder, uri, clients", NULL}},
    {"decoder: canonical",
     "decoder: d, clients: c",
     10,
     {"clients` is a plain value", "accepted: a list of 1"}},
    {"decoder: canonical",
     "decoder: d, clients: [[c]]",
     10,
     {"clients` is a list", "accepted: a list of 1"}},
    {"decoder: canonical",
     "decoder: d, clients: []",
     10,
     {"clients` has 0 items", "accepted: a list of 1"}},
    /* wrong values */
    {"lib/journal.db", "''", 4, {"`journal.path` is empty", "SQLite"}},
    {"lib/journal.db", "\"a\\0b\"", 4, {"NUL", NULL}},
    {"unix:run/redis.sock", "http://h", 2, {"`redis.url` is not accepted", "redis://HOST:PORT/DB"}},
    {"unix:run/redis.sock",
     "redis://u:secret@h:1/0",
     2,
     {"`redis.url` is not accepted", "password_file"}},
    {"unix:run/redis.sock", "redis://h:70000/0", 2, {"`redis.url`", "unix:PATH"}},
    {"redis.sock\n", "redis.sock\n  shards: 0\n", 3, {"`redis.shards` is `0`", "from 1 to 100"}},
    {"redis.sock\n",
     "redis.sock\n  shards: 101\n",
     3,
     {"`redis.shards` is `101`", "from 1 to 100"}},
    {"redis.sock\n", "redis.sock\n  shards: -1\n", 3, {"`redis.shards` is `-1`", NULL}},
    {"redis.sock\n", "redis.sock\n  shards: 1.5\n", 3, {"`redis.shards` is `1.5`", NULL}},
    {"redis.sock\n", "redis.sock\n  shards: 99999999999999999999\n", 3, {"`redis.shards`", NULL}},
    {"redis.sock\n", "redis.sock\n  prefix: 'a b'\n", 3, {"`redis.prefix` is `a b`", "1 to 32 of"}},
    {"unix:run/api.sock", "0.0.0.0:80", 6, {"`api.listen` is not accepted", "127.0.0.1:PORT"}},
    {"unix:run/api.sock", "127.0.0.1:0", 6, {"`api.listen`", "127.0.0.1:PORT"}},
    {"api.sock\n", "api.sock\n  threads: 33\n", 7, {"`api.threads` is `33`", "from 1 to 32"}},
    {"tenants:",
     "rules: {approval: required}\ntenants:",
     7,
     {"`rules.approval` is `required`", "accepted: off"}},
    {"tenants:",
     "issuers: [{name: a, file: f, jwks_uri: 'https://i'}]\ntenants:",
     7,
     {"`issuers[0].jwks_uri` is `https://i`", "this version fetches no key set"}},
    {"id: acme", "id: 'a/b'", 8, {"`tenants[0].id` is `a/b`", "1 to 64 of A-Z"}},
    {"path: o", "path: o, concurrency: 0", 14, {"concurrency` is `0`", "from 1 to 256"}},
    {"path: o", "path: o, concurrency: 257", 14, {"concurrency` is `257`", "from 1 to 256"}},
    {"path: o", "path: o, rate: fast", 14, {"rate` is `fast`", "100/s, 100/m"}},
    {"path: o", "path: o, rate: 0/s", 14, {"rate` is `0/s`", "100/s, 100/m"}},
    {"path: o", "path: o, rate: 1/w", 14, {"rate` is `1/w`", NULL}},
    {"path: o", "path: o, rate: /s", 14, {"rate` is `/s`", NULL}},
    {"path: o", "path: o, rate: 100", 14, {"rate` is `100`", NULL}},
    {"connector: file, path: o",
     "connector: tryton",
     14,
     {"destination `erp` has no `url`", "accepted: file, or a `url`"}},
    {"connector: file, ", "connector: x, url: 'https://h/', ", 14, {"`path` has no meaning", NULL}},
    {"path: o",
     "path: o, url: 'https://h/'",
     14,
     {"`url` has no meaning for connector file", NULL}},
    {"connector: file, path: o",
     "connector: x, url: 'https://u:hunter2@h/'",
     14,
     {"url` is not accepted", "no user, password"}},
    {"connector: file, path: o",
     "connector: x, url: 'https://h/', allow: [10.0.0.1/8]",
     14,
     {"allow` is `10.0.0.1/8`", "ADDRESS or PREFIX/BITS"}},
    {"connector: file, path: o",
     "connector: x, url: 'https://h/', auth: digest",
     14,
     {"auth` is `digest`", "none, basic, bearer"}},
    {"connector: file, path: o",
     "connector: x, url: 'https://h/', auth: oauth2, client_id: c",
     14,
     {"auth oauth2 needs `token_url`", NULL}},
    {"connector: file, path: o",
     "connector: x, url: 'https://h/', auth: api_key, api_key_file: f, api_key_header: Host",
     14,
     {"api_key_header` is not accepted", "the name of a header"}},
    {"connector: file, path: o",
     "connector: x, url: 'https://h/', tls: {cert_file: c}",
     14,
     {"`tls` has one of cert_file and key_file", NULL}},
    {"connector: file, path: o",
     "connector: x, url: 'https://h/', timeout: 0",
     14,
     {"timeout` is `0`", "from 1s to 1h"}},
    {"connector: file, path: o",
     "connector: x, url: 'https://h/', options: {a: [b]}",
     14,
     {"options` has a name", NULL}},
    {"connector: file, path: o",
     "connector: x, url: 'https://h/', options: [a]",
     14,
     {"options` is a list", NULL}},
    /* names and counts */
    {"      psa:", "      'p s':", 10, {"`tenants[0].sources` has a name", "A-Z a-z 0-9"}},
    {"      erp:", "      'a/b':", 14, {"`tenants[0].destinations` has a name", NULL}},
    {"\n      psa: {decoder: canonical}",
     " {}",
     9,
     {"`tenants[0].sources` has 0 items", "1 to 64 names"}},
    /* what no single key can say */
    {"      erp:", "      erp: {connector: file, path: a}\n      erp:", 15, {"erp", NULL}},
    {"      psa:", "      psa: {decoder: d}\n      psa:", 11, {"psa", NULL}},
    {"      psa: {decoder: canonical}",
     "      psa: {decoder: d, uri: u, clients: [c, x]}\n      b: {decoder: d, uri: u, clients: "
     "[x]}",
     11,
     {"sources `psa` and `b` of tenant `acme`", "accepted: a uri or a client"}},
    {"  - id: acme\n",
     "  - {id: acme, sources: {a: {decoder: d}}, master: m, calendar: c, destinations: {}}\n"
     "  - id: acme\n",
     9,
     {"tenant `acme` is already at line 8", "each tenant once"}},
    {"      erp:",
     "      a: {connector: file, path: twice}\n      b: {connector: file, path: twice}\n      erp:",
     15,
     {"path `twice` is already at line 14", "a directory of its own"}},
};

static void each_mistake_is_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        const struct wrong *w = &table[i];
        char *text = changed(w->from, w->to);
        char place[96];
        struct tg_error err;
        struct tg_config *c = load(text, &err);

        snprintf(place, sizeof(place), "%s:%u: ", path, w->line);
        if (c != NULL || strncmp(err.text, place, strlen(place)) != 0) {
            fail_msg("`%s` -> `%s`: wanted line %u, got: %s", w->from, w->to, w->line, err.text);
        }
        for (size_t k = 0; k < 2 && w->says[k] != NULL; k++) {
            if (strstr(err.text, w->says[k]) == NULL) {
                fail_msg("`%s` -> `%s`: no `%s` in: %s", w->from, w->to, w->says[k], err.text);
            }
        }
        free(text);
    }
}

static void a_secret_in_an_address_is_not_shown(void **state)
{
    char *text = changed("unix:run/redis.sock", "redis://u:hunter2@h:1/0");
    struct tg_error err;

    (void)state;
    assert_null(load(text, &err));
    assert_null(strstr(err.text, "hunter2"));
    free(text);
}

static void files_that_are_no_configuration(void **state)
{
    static const char *const texts[] = {"", "just a word\n", "- a\n- b\n", "a: [\n",
                                        "tenants: []\n"};
    struct tg_error err;

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        assert_null(load(texts[i], &err));
        assert_non_null(strstr(err.text, path));
    }
    assert_null(tg_config_load("/nonexistent/tallygate.yaml", &err));
    assert_non_null(strstr(err.text, "/nonexistent/tallygate.yaml"));
}

static void an_event_with_one_uri_may_come_from_two_clients_apart(void **state)
{
    char *text = changed("      psa: {decoder: canonical}",
                         "      psa: {decoder: d, uri: u}\n      b: {decoder: d, uri: u}");
    struct tg_error err;
    struct tg_config *c = load(text, &err);
    const struct tg_config_source *s;

    (void)state;
    assert_non_null(c);
    s = tg_config_source(&c->tenants[0], tg_str_of("u"), tg_str_of("hook:b"));
    assert_non_null(s);
    assert_string_equal(s->name, "b");
    assert_null(tg_config_source(&c->tenants[0], tg_str_of("u"), tg_str_of("hook:c")));
    tg_config_free(c);
    free(text);
}

struct count {
    size_t keys, required;
    bool saw_rate;
};

static void count_key(void *arg, const struct tg_config_key_doc *key)
{
    struct count *n = arg;

    n->keys++;
    n->required += key->required ? 1 : 0;
    n->saw_rate = n->saw_rate || strcmp(key->path, "tenants[].destinations.NAME.rate") == 0;
    assert_true(strlen(key->accepted) > 0);
    assert_true(strlen(key->help) > 0);
}

static void the_tables_name_every_key(void **state)
{
    struct count n = {0, 0, false};

    (void)state;
    tg_config_keys(count_key, &n);
    assert_true(n.keys > 30);
    assert_true(n.required > 10);
    assert_true(n.saw_rate);
}

#define ACCOUNTS                                                                                   \
    "redis: {url: 'unix:r.sock'}\n"                                                                \
    "journal: {path: j.db}\n"                                                                      \
    "api: {listen: 'unix:a.sock'}\n"                                                               \
    "tenants:\n"                                                                                   \
    "  - {id: a, sources: {one: {decoder: d}}, master: m, calendar: k, destinations: {\n"          \
    "      own: {connector: file, path: p1, concurrency: 3},\n"                                    \
    "      x: {connector: file, path: p2, account: netsuite}}}\n"                                  \
    "  - {id: b, sources: {one: {decoder: d}}, master: m, calendar: k, destinations: {\n"          \
    "      y: {connector: file, path: p3, account: other, concurrency: 9},\n"

static void an_account_is_said_once(void **state)
{
    struct tg_error err;
    struct tg_config *c =
        load(ACCOUNTS "      z: {connector: file, path: p4, account: netsuite, concurrency: 5, "
                      "rate: 10/s}}}\n",
             &err);
    const struct tg_config_destination *x, *z;

    (void)state;
    assert_string_equal(err.text, "");
    assert_non_null(c);
    assert_int_equal(c->tenants[0].destinations[0].account_number, 0);
    assert_int_equal(c->tenants[0].destinations[0].concurrency, 3);
    x = &c->tenants[0].destinations[1];
    z = &c->tenants[1].destinations[1];
    assert_int_equal(x->account_number, z->account_number);
    assert_int_not_equal(x->account_number, 0);
    assert_int_not_equal(c->tenants[1].destinations[0].account_number, x->account_number);
    assert_int_equal(c->tenants[1].destinations[0].concurrency, 9);
    assert_int_equal(x->concurrency, 5);
    assert_int_equal(x->rate.emission_us, 100000);
    assert_int_equal(x->rate.capacity, 5);
    assert_int_equal(z->rate.capacity, 5);
    tg_config_free(c);
}

static void an_account_has_one_limit(void **state)
{
    struct tg_error err;

    (void)state;
    assert_null(load(ACCOUNTS "      z: {connector: file, path: p4, account: other,\n"
                              "          concurrency: 5}}}\n",
                     &err));
    assert_non_null(strstr(err.text, "t.yaml:11: `concurrency` is not that of destination `b/y` "
                                     "(line 9), which has the same account `other`; accepted: "));
    assert_null(load(ACCOUNTS "      v: {connector: file, path: p4, account: other, rate: 5/s},\n"
                              "      w: {connector: file, path: p5, account: other, rate: 5/m}}}\n",
                     &err));
    assert_non_null(strstr(err.text, "t.yaml:11: `rate` is not that of destination `b/v`"));
    assert_null(load(ACCOUNTS "      z: {connector: file, path: p4, account: 'a b'}}}\n", &err));
    assert_non_null(strstr(err.text, "account"));
}

static void the_shipped_file_loads(void **state)
{
    struct tg_error err = {""};
    struct tg_config *c = tg_config_load("conf/tallygate.yaml", &err);

    (void)state;
    assert_string_equal(err.text, "");
    assert_non_null(c);
    assert_non_null(tg_config_tenant(c, tg_str_of("acme")));
    tg_config_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_filled_in),
        cmocka_unit_test(every_key_is_kept),
        cmocka_unit_test(the_keys_of_a_scripted_destination_are_kept),
        cmocka_unit_test(each_mistake_is_named),
        cmocka_unit_test(a_secret_in_an_address_is_not_shown),
        cmocka_unit_test(files_that_are_no_configuration),
        cmocka_unit_test(an_event_with_one_uri_may_come_from_two_clients_apart),
        cmocka_unit_test(the_tables_name_every_key),
        cmocka_unit_test(an_account_is_said_once),
        cmocka_unit_test(an_account_has_one_limit),
        cmocka_unit_test(the_shipped_file_loads),
    };

    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
