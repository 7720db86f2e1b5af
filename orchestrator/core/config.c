#include "core/config.h"

#include <stdlib.h>
#include <string.h>

static void texts_free(char **texts, size_t n)
{
    for (size_t i = 0; texts != NULL && i < n; i++) {
        free(texts[i]);
    }
    free(texts);
}

static void source_clear(struct tg_config_source *s)
{
    free(s->name);
    free(s->decoder);
    free(s->uri);
    free(s->project_map);
    texts_free(s->clients, s->client_count);
}

static void pairs_clear(struct tg_config_pair *pairs, size_t n)
{
    for (size_t i = 0; pairs != NULL && i < n; i++) {
        free(pairs[i].name);
        free(pairs[i].value);
    }
    free(pairs);
}

static void destination_clear(struct tg_config_destination *d)
{
    char *const texts[] = {d->name,
                           d->id,
                           d->connector,
                           d->path,
                           d->url,
                           d->auth,
                           d->user,
                           d->password_file,
                           d->token_file,
                           d->api_key_file,
                           d->api_key_header,
                           d->token_url,
                           d->client_id,
                           d->client_secret_file,
                           d->client_auth,
                           d->scope,
                           d->ca_file,
                           d->cert_file,
                           d->key_file,
                           d->account};

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        free(texts[i]);
    }
    for (size_t i = 0; d->allow != NULL && i < d->allow_count; i++) {
        free(d->allow[i]);
    }
    free(d->allow);
    pairs_clear(d->token_params, d->token_param_count);
    pairs_clear(d->options, d->option_count);
}

static void tenant_clear(struct tg_config_tenant *t)
{
    free(t->id);
    for (size_t i = 0; t->sources != NULL && i < t->source_count; i++) {
        source_clear(&t->sources[i]);
    }
    free(t->sources);
    for (size_t i = 0; t->destinations != NULL && i < t->destination_count; i++) {
        destination_clear(&t->destinations[i]);
    }
    free(t->destinations);
    free(t->master);
    free(t->calendar);
    free(t->ownership);
    free(t->corrections);
}

static void alerts_clear(struct tg_config_alerts *a)
{
    free(a->name);
    free(a->resolved);
    free(a->webhook.url);
    free(a->webhook.secret_file);
    free(a->webhook.ca_file);
    texts_free(a->webhook.allow, a->webhook.allow_count);
    free(a->smtp.url);
    free(a->smtp.from);
    free(a->smtp.user);
    free(a->smtp.password_file);
    free(a->smtp.tls);
    free(a->smtp.ca_file);
    texts_free(a->smtp.to, a->smtp.to_count);
    texts_free(a->smtp.allow, a->smtp.allow_count);
}

void tg_config_free(struct tg_config *c)
{
    if (c == NULL) {
        return;
    }
    free(c->file);
    free(c->redis.url);
    free(c->redis.user);
    free(c->redis.password_file);
    free(c->redis.prefix);
    free(c->journal.path);
    free(c->journal.checkpoint_dir);
    free(c->journal.checkpoint_key);
    free(c->api.listen);
    free(c->rules.path);
    free(c->rules.approval);
    free(c->approvals.discard);
    alerts_clear(&c->alerts);
    free(c->schemas);
    free(c->catalogue);
    for (size_t i = 0; c->tenants != NULL && i < c->tenant_count; i++) {
        tenant_clear(&c->tenants[i]);
    }
    free(c->tenants);
    free(c);
}

const struct tg_config_tenant *tg_config_tenant(const struct tg_config *c, struct tg_str id)
{
    for (size_t i = 0; i < c->tenant_count; i++) {
        if (tg_str_equal_c(id, c->tenants[i].id)) {
            return &c->tenants[i];
        }
    }
    return NULL;
}

/* The clients of the file, or hook:NAME when it lists none. */
static bool may_send(const struct tg_config_source *s, struct tg_str client)
{
    static const char hook[] = "hook:";
    const size_t hook_len = sizeof(hook) - 1;

    for (size_t i = 0; i < s->client_count; i++) {
        if (tg_str_equal_c(client, s->clients[i])) {
            return true;
        }
    }
    if (s->client_count > 0 || client.len <= hook_len || memcmp(client.data, hook, hook_len) != 0) {
        return false;
    }
    client.data += hook_len;
    client.len -= hook_len;
    return tg_str_equal_c(client, s->name);
}

const struct tg_config_source *tg_config_source(const struct tg_config_tenant *t, struct tg_str uri,
                                                struct tg_str client)
{
    for (size_t i = 0; i < t->source_count; i++) {
        const struct tg_config_source *s = &t->sources[i];

        if (tg_str_equal_c(uri, s->uri != NULL ? s->uri : s->name) && may_send(s, client)) {
            return s;
        }
    }
    return NULL;
}

const struct tg_config_destination *tg_config_destination(const struct tg_config *c, uint32_t index)
{
    for (size_t i = 0; i < c->tenant_count; i++) {
        for (size_t k = 0; k < c->tenants[i].destination_count; k++) {
            if (c->tenants[i].destinations[k].index == index) {
                return &c->tenants[i].destinations[k];
            }
        }
    }
    return NULL;
}
