#include "cmd/agree.h"

#include <stdio.h>
#include <string.h>

struct agree {
    const struct tg_config *config;
    tg_agree_fn fn;
    void *arg;
    int count;
};

static bool lists(const json_t *names, const char *name)
{
    size_t i;
    json_t *item;

    json_array_foreach((json_t *)names, i, item)
    {
        if (strcmp(json_string_value(item), name) == 0) {
            return true;
        }
    }
    return false;
}

/* "erp, payroll"; a long list is cut. */
static void say_names(const json_t *names, char *out, size_t size)
{
    size_t len = 0;
    size_t i;
    json_t *item;

    out[0] = '\0';
    json_array_foreach((json_t *)names, i, item)
    {
        int n = snprintf(out + len, size - len, "%s%s", i > 0 ? ", " : "", json_string_value(item));

        if (n < 0 || (size_t)n >= size - len) {
            return;
        }
        len += (size_t)n;
    }
    if (len == 0) {
        (void)snprintf(out, size, "nothing, the rules have none");
    }
}

static void disagree(struct agree *a, unsigned line, const char *tenant, const char *what,
                     const char *name, const char *why, const json_t *names)
{
    char accepted[TG_ERROR_MAX_BYTES / 2];
    struct tg_error text;

    a->count++;
    say_names(names, accepted, sizeof(accepted));
    (void)tg_error_set(&text, "%.120s:%u: tenant `%s`: %s `%s`%s; accepted: %s", a->config->file,
                       line, tenant, what, name, why, accepted);
    a->fn(a->arg, text.text);
}

static void check_tenant(struct agree *a, const struct tg_config_tenant *t, const json_t *decoders,
                         const json_t *destinations)
{
    for (size_t i = 0; i < t->source_count; i++) {
        const struct tg_config_source *s = &t->sources[i];

        if (!lists(decoders, s->decoder)) {
            disagree(a, s->decoder_line, t->id, "decoder", s->decoder,
                     " is no file in sources/ of the rules", decoders);
        }
    }
    for (size_t i = 0; i < t->destination_count; i++) {
        const struct tg_config_destination *d = &t->destinations[i];

        if (!tg_rules_plan_for(destinations, d->name)) {
            disagree(a, d->line, t->id, "destination", d->name,
                     ": no file in route/ of the rules plans for a destination of that name",
                     destinations);
        }
    }
}

int tg_agree(const struct tg_config *c, const struct tg_rules *rules, tg_agree_fn fn, void *arg,
             struct tg_error *err)
{
    struct agree a = {.config = c, .fn = fn, .arg = arg};
    json_t *decoders = tg_bundle_decoders(tg_rules_bundle(rules));
    json_t *destinations = tg_rules_destinations(rules);

    if (decoders == NULL || destinations == NULL) {
        a.count = tg_error_set(err, "rules: no memory");
    }
    for (size_t i = 0; a.count >= 0 && i < c->tenant_count; i++) {
        check_tenant(&a, &c->tenants[i], decoders, destinations);
    }
    json_decref(decoders);
    json_decref(destinations);
    return a.count;
}
