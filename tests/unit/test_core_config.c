/* The finders of the configuration, on one built by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/config.h"

static char *copy(const char *text)
{
    char *s = strdup(text);

    assert_non_null(s);
    return s;
}

static void *zeroed(size_t n, size_t size)
{
    void *p = calloc(n, size);

    assert_non_null(p);
    return p;
}

static void fill_tenant(struct tg_config_tenant *t, const char *id, uint32_t first)
{
    t->id = copy(id);
    t->master = copy("master.json");
    t->source_count = 2;
    t->sources = zeroed(2, sizeof(*t->sources));
    t->sources[0].name = copy("psa");
    t->sources[0].uri = copy("urn:acme:psa");
    t->sources[1].name = copy("hr");
    t->sources[1].client_count = 2;
    t->sources[1].clients = zeroed(2, sizeof(char *));
    t->sources[1].clients[0] = copy("svc-hr");
    t->sources[1].clients[1] = copy("svc-hr-2");
    t->destination_count = 2;
    t->destinations = zeroed(2, sizeof(*t->destinations));
    t->destinations[0].name = copy("erp");
    t->destinations[0].index = first;
    t->destinations[1].name = copy("payroll");
    t->destinations[1].index = first + 1;
}

static struct tg_config *make(void)
{
    struct tg_config *c = zeroed(1, sizeof(*c));

    c->file = copy("tallygate.yaml");
    c->redis.url = copy("unix:x");
    c->tenant_count = 2;
    c->tenants = zeroed(2, sizeof(*c->tenants));
    fill_tenant(&c->tenants[0], "acme", 0);
    fill_tenant(&c->tenants[1], "globex", 2);
    c->destination_count = 4;
    return c;
}

static const struct tg_config_source *source(const struct tg_config_tenant *t, const char *uri,
                                             const char *client)
{
    return tg_config_source(t, tg_str_of(uri), tg_str_of(client));
}

static void finds(void **state)
{
    struct tg_config *c = make();
    const struct tg_config_tenant *acme = tg_config_tenant(c, tg_str_of("acme"));

    (void)state;
    assert_ptr_equal(acme, &c->tenants[0]);
    assert_null(tg_config_tenant(c, tg_str_of("acm")));
    assert_null(tg_config_tenant(c, tg_str_of("")));
    assert_ptr_equal(source(acme, "urn:acme:psa", "hook:psa"), &acme->sources[0]);
    assert_null(source(acme, "psa", "hook:psa")); /* it has a uri of its own */
    assert_null(source(acme, "urn:acme:psa", "hook:hr"));
    assert_null(source(acme, "urn:acme:psa", "hook:"));
    assert_null(source(acme, "urn:acme:psa", "psa"));
    assert_null(source(acme, "urn:acme:psa", ""));
    assert_ptr_equal(source(acme, "hr", "svc-hr-2"), &acme->sources[1]);
    assert_null(source(acme, "hr", "hook:hr")); /* the list replaces the default */
    assert_string_equal(tg_config_destination(c, 3)->name, "payroll");
    assert_ptr_equal(tg_config_destination(c, 2), &c->tenants[1].destinations[0]);
    assert_null(tg_config_destination(c, 4));
    tg_config_free(c);
}

static void frees_what_was_half_built(void **state)
{
    struct tg_config *c = zeroed(1, sizeof(*c));

    (void)state;
    tg_config_free(NULL);
    c->tenant_count = 3; /* counted, and then memory ran out */
    tg_config_free(c);
    c = zeroed(1, sizeof(*c));
    c->tenant_count = 1;
    c->tenants = zeroed(1, sizeof(*c->tenants));
    c->tenants[0].source_count = 5;
    tg_config_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds),
        cmocka_unit_test(frees_what_was_half_built),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
