#include "cmd/lives.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"

/* ---- the journal's rows ---- */

struct replay {
    const struct tg_config *config;
    struct tg_lives *lives;
    struct tg_error *err;
    int64_t last;
    uint64_t rows, strangers;
    bool failed;
};

static bool on_row(void *arg, const struct tg_row_master *row)
{
    struct replay *p = arg;
    const struct tg_config_tenant *tenant = tg_config_tenant(p->config, tg_str_of(row->tenant));
    json_t *attributes;

    p->last = row->id;
    if (tenant == NULL) { /* no longer configured: its rows wait */
        p->strangers++;
        return true;
    }
    attributes = json_loads(row->attributes, JSON_REJECT_DUPLICATES, NULL);
    p->failed = tg_live_apply(p->lives->items[tenant - p->config->tenants],
                              &(struct tg_master_change){.id = row->id,
                                                         .kind = row->kind,
                                                         .name = row->name,
                                                         .source = row->source,
                                                         .version = row->version,
                                                         .from = row->from_day,
                                                         .attributes = attributes},
                              p->err) != 0;
    json_decref(attributes);
    p->rows++;
    return !p->failed;
}

static int replay_rows(struct replay *p)
{
    struct tg_reader *r = tg_reader_open(p->config->journal.path, p->err);
    int64_t after;

    if (r == NULL) {
        return -1;
    }
    do {
        after = p->last;
        p->failed =
            tg_reader_master(r, after, TG_JOURNAL_PAGE_MAX, on_row, p, p->err) != 0 || p->failed;
    } while (!p->failed && p->last > after);
    tg_reader_close(r);
    return p->failed ? -1 : 0;
}

/* ---- the face ---- */

int tg_lives_open(const struct tg_config *c, struct tg_master *const *bases, struct tg_lives *out,
                  struct tg_error *err)
{
    struct replay p = {.config = c, .lives = out, .err = err};

    *out = (struct tg_lives){.items = calloc(c->tenant_count + 1, sizeof(struct tg_live *))};
    if (out->items == NULL) {
        return tg_error_set(err, "master data: out of memory");
    }
    for (size_t i = 0; i < c->tenant_count; i++) {
        out->items[i] = tg_live_new(bases[i], &out->changed);
        if (out->items[i] == NULL) {
            tg_lives_clear(out);
            return tg_error_set(err, "master data: out of memory");
        }
        out->count = i + 1;
    }
    if (replay_rows(&p) != 0) {
        tg_lives_clear(out);
        return -1;
    }
    for (size_t i = 0; i < out->count; i++) {
        json_decref(tg_live_take_arrived(out->items[i])); /* intake begins with all that is held */
    }
    if (p.rows != 0 || p.strangers != 0) {
        tg_log(TG_LOG_INFO, "serve",
               "master data: %" PRIu64 " changes by events lie over the files, %" PRIu64
               " are of tenants that are not configured",
               p.rows, p.strangers);
    }
    return 0;
}

void tg_lives_clear(struct tg_lives *l)
{
    for (size_t i = 0; i < l->count; i++) {
        tg_live_free(l->items[i]);
    }
    free(l->items);
    *l = (struct tg_lives){.items = NULL};
}

int tg_lives_rebase(struct tg_lives *l, struct tg_master *const *bases, struct tg_error *err)
{
    for (size_t i = 0; i < l->count; i++) {
        if (tg_live_rebase(l->items[i], bases[i]) != 0) {
            return tg_error_set(err, "master data: out of memory");
        }
    }
    return 0;
}

void tg_lives_publish(struct tg_lives *l, struct tg_api_shared *shared)
{
    if (!l->changed) {
        return;
    }
    l->changed = false;
    (void)pthread_mutex_lock(&shared->lock);
    for (size_t i = 0; i < l->count; i++) {
        struct tg_master *now = tg_live_current(l->items[i]);

        if (shared->masters[i] != now) {
            tg_master_unref(shared->masters[i]);
            shared->masters[i] = tg_master_ref(now);
        }
    }
    shared->masters_generation++;
    (void)pthread_mutex_unlock(&shared->lock);
}

void tg_lives_arrived(struct tg_lives *l, const struct tg_config *c, struct tg_intake *intake)
{
    for (size_t i = 0; i < l->count; i++) {
        json_t *names = tg_live_take_arrived(l->items[i]), *name;
        size_t k;

        json_array_foreach(names, k, name)
        {
            tg_holds_arrived(intake, c->tenants[i].id, json_string_value(name));
        }
        json_decref(names);
    }
}
