#include "cmd/reload.h"

#include <stdlib.h>
#include <string.h>

#include "cmd/agree.h"

struct failures {
    char first[TG_ERROR_MAX_BYTES / 2];
};

static void on_fixture(void *arg, const char *file, bool passed, const char *message)
{
    struct failures *f = arg;
    struct tg_error text;

    if (passed || f->first[0] != '\0') {
        return;
    }
    (void)tg_error_set(&text, "%.120s: %.120s", file, message != NULL ? message : "failed");
    if (!tg_str_copy(tg_str_of(text.text), f->first, sizeof(f->first))) {
        f->first[0] = '\0';
    }
}

/* The fixtures are read from disk; the files must still be the ones of the bundle. */
static int check_fixtures(const struct tg_config *c, const struct tg_bundle *bundle,
                          struct tg_error *err)
{
    struct failures f = {""};
    struct tg_bundle *again;
    bool same;
    int failed = tg_rules_test(c->rules.path, on_fixture, &f, err);

    if (failed < 0) {
        return -1;
    }
    if (failed > 0) {
        return tg_error_set(err,
                            "rules %s: %d fixtures fail (`tallygate rules test` shows each), first "
                            "%s",
                            c->rules.path, failed, f.first);
    }
    again = tg_bundle_load(c->rules.path, err);
    if (again == NULL) {
        return -1;
    }
    same = strcmp(tg_bundle_sha256(again), tg_bundle_sha256(bundle)) == 0;
    tg_bundle_unref(again);
    return same ? 0
                : tg_error_set(err, "rules %s: files changed while they were tested; try again",
                               c->rules.path);
}

static void on_disagreement(void *arg, const char *text)
{
    struct tg_error *first = arg;

    if (first->text[0] == '\0') {
        (void)tg_error_set(first, "%s", text);
    }
}

/* A bundle that no longer knows what the configuration names would drop what is owed there. */
static int check_names(const struct tg_config *c, struct tg_bundle *bundle, struct tg_error *err)
{
    struct tg_error first = {""};
    struct tg_rules *rules = tg_rules_new(bundle, err);
    int count = rules != NULL ? tg_agree(c, rules, on_disagreement, &first, err) : -1;

    tg_rules_free(rules);
    if (count <= 0) {
        return count;
    }
    return tg_error_set(err, "%s", first.text);
}

static int load_masters(const struct tg_config *c, struct tg_loaded *out, struct tg_error *err)
{
    out->masters = calloc(c->tenant_count + 1, sizeof(struct tg_master *));
    if (out->masters == NULL) {
        return tg_error_set(err, "master data: no memory");
    }
    out->master_count = c->tenant_count;
    for (size_t i = 0; i < c->tenant_count; i++) {
        const struct tg_config_tenant *t = &c->tenants[i];

        out->masters[i] = tg_master_load_tenant(t, err);
        if (out->masters[i] == NULL) {
            return -1;
        }
    }
    return 0;
}

int tg_loaded_load(const struct tg_config *c, struct tg_loaded *out, struct tg_error *err)
{
    *out = (struct tg_loaded){0};
    out->bundle = tg_bundle_load(c->rules.path, err);
    if (out->bundle == NULL || load_masters(c, out, err) != 0 ||
        check_names(c, out->bundle, err) != 0 || check_fixtures(c, out->bundle, err) != 0) {
        tg_loaded_clear(out);
        return -1;
    }
    return 0;
}

void tg_loaded_clear(struct tg_loaded *l)
{
    if (l->bundle != NULL) {
        tg_bundle_unref(l->bundle);
    }
    for (size_t i = 0; i < l->master_count; i++) {
        tg_master_unref(l->masters[i]);
    }
    free(l->masters);
    *l = (struct tg_loaded){0};
}
