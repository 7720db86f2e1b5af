#include "intake/known.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "journal/restored.h"

static bool on_first_event(void *arg, const struct tg_row_event *row, int64_t journalled_ms)
{
    struct tg_known *k = arg;

    (void)journalled_ms;
    (void)snprintf(k->identity_sha256, sizeof(k->identity_sha256), "%s", row->body_sha256);
    return false;
}

int tg_known_identity(struct tg_reader *r, const unsigned char identity[TG_POSTING_KEY_BYTES],
                      struct tg_known *out, struct tg_error *err)
{
    int64_t event = 0;
    int rc = tg_reader_identity(r, identity, &event, err);

    if (rc != 0) {
        return rc < 0 ? -1 : 0;
    }
    out->identity_event = event;
    rc = tg_reader_event_row(r, event, on_first_event, out, err);
    return rc == 0 ? 0 : tg_error_set(err, "journal: event %lld is not there", (long long)event);
}

/* ---- an event id used twice ---- */

struct reuse {
    const struct tg_row_event *event;
    bool same;
};

static bool on_holder(void *arg, const struct tg_row_event *row, int64_t journalled_ms)
{
    struct reuse *u = arg;

    (void)journalled_ms;
    u->same = memcmp(row->identity, u->event->identity, TG_POSTING_KEY_BYTES) == 0 &&
              strcmp(row->body_sha256, u->event->body_sha256) == 0;
    return false;
}

int tg_known_reuse(struct tg_reader *r, const struct tg_row_event *event, char *out,
                   struct tg_error *err)
{
    struct reuse u = {.event = event};

    (void)snprintf(out, TG_EVENT_ID_STORED_MAX_BYTES, "%s", event->event_id);
    for (unsigned n = 1; n <= TG_EVENT_ID_REUSES_MAX + 1; n++) {
        int rc = tg_reader_event(r, out, on_holder, &u, err);

        if (rc != 0 || u.same) {
            return rc;
        }
        (void)snprintf(out, TG_EVENT_ID_STORED_MAX_BYTES, "%s-r%u", event->event_id, n);
    }
    return tg_error_set(err, "intake: event id %s came with more than %d different events",
                        event->event_id, TG_EVENT_ID_REUSES_MAX);
}

/* ---- versions ---- */

struct versions {
    struct tg_known *known;
    int64_t version;
    size_t seen;
    bool no_memory;
};

static bool take_version(struct versions *v, struct tg_known_version *to,
                         const struct tg_row_object *row)
{
    free(to->json);
    *to = (struct tg_known_version){
        .id = row->id, .event = row->event, .version = row->version, .state = row->state};
    to->json = strdup(row->json);
    v->no_memory = v->no_memory || to->json == NULL;
    return to->json != NULL;
}

/* The first row of a version is taken, and a later one for one that came again and did nothing. */
static bool counts_more(const struct tg_known_version *have, const struct tg_row_object *row)
{
    return have->id == 0 || (have->version == row->version && have->state == TG_VERSION_SUPERSEDED);
}

/* Newest first. Of several rows of one version the one that is not superseded counts. */
static bool on_version(void *arg, const struct tg_row_object *row)
{
    struct versions *v = arg;
    struct tg_known *k = v->known;
    bool ok = true;

    v->seen++;
    if (counts_more(&k->latest, row)) {
        ok = take_version(v, &k->latest, row);
    }
    if (ok && row->version == v->version && counts_more(&k->same, row)) {
        ok = take_version(v, &k->same, row);
    }
    if (ok && row->state == TG_VERSION_VALIDATED) {
        ok = take_version(v, &k->live, row);
    }
    return ok;
}

/* ---- exceptions ---- */

struct exceptions {
    struct tg_known *known;
    int64_t object;                   /* its own ones; 0: those of the posting */
    struct tg_known_posting *posting; /* NULL: none */
    int64_t newest;                   /* of the posting's, open or closed */
    bool was_unknown;                 /* one of them said so */
    bool no_memory;
};

static bool keep_exception(struct tg_known *k, const struct tg_row_exception *row)
{
    struct tg_known_exception *to;

    if (k->exceptions == NULL) {
        k->exceptions = calloc(TG_INTAKE_EXCEPTIONS_MAX, sizeof(*k->exceptions));
    }
    if (k->exceptions == NULL) {
        return false;
    }
    to = &k->exceptions[k->exception_count++];
    to->id = row->id;
    to->object = row->object;
    to->posting = row->posting;
    to->opened_ms = row->opened_ms;
    (void)snprintf(to->tenant, sizeof(to->tenant), "%s", row->tenant);
    (void)snprintf(to->code, sizeof(to->code), "%s", row->code);
    (void)snprintf(to->owner, sizeof(to->owner), "%s", row->owner);
    return true;
}

static bool on_exception(void *arg, const struct tg_row_exception *row)
{
    struct exceptions *x = arg;

    x->newest = row->id > x->newest ? row->id : x->newest;
    x->was_unknown = x->was_unknown || strcmp(row->code, "outcome_unknown") == 0;
    if (x->posting == NULL && (row->object != x->object || row->posting != 0)) {
        return true;
    }
    if ((row->state != TG_EXCEPTION_OPEN && row->state != TG_EXCEPTION_ASSIGNED) ||
        x->known->exception_count == TG_INTAKE_EXCEPTIONS_MAX) {
        return true;
    }
    x->no_memory = !keep_exception(x->known, row);
    return !x->no_memory;
}

static int exceptions_of_version(struct tg_reader *r, const struct tg_known_version *v,
                                 struct tg_known *out, struct tg_error *err)
{
    struct exceptions x = {.known = out, .object = v->id};

    if (v->id == 0) {
        return 0;
    }
    if (tg_reader_exceptions_of_event(r, v->event, on_exception, &x, err) < 0) {
        return -1;
    }
    return x.no_memory ? tg_error_set(err, "intake: no memory") : 0;
}

/* What is told of one in exception. */
static int exceptions_of_posting(struct tg_reader *r, const struct tg_restored *restored,
                                 struct tg_known_posting *p, struct tg_known *out,
                                 struct tg_error *err)
{
    struct exceptions x = {.known = out, .posting = p};
    struct tg_effect_told told = {
        .state = p->state, .first_sent_ms = p->first_sent_ms, .ran_out = p->hold_on != 0};

    if (tg_reader_exceptions_of_posting(r, p->id, on_exception, &x, err) < 0) {
        return -1;
    }
    told.was_unknown = x.was_unknown;
    told.restored = p->id <= restored->postings && x.newest <= restored->exceptions;
    p->unknown = tg_effect_is_unknown(&told);
    return x.no_memory ? tg_error_set(err, "intake: no memory") : 0;
}

static int exceptions_of_postings(struct tg_reader *r, struct tg_known *out, struct tg_error *err)
{
    struct tg_restored restored;
    bool read = false;

    for (size_t i = 0; i < out->posting_count; i++) {
        struct tg_known_posting *p = &out->postings[i];

        if (p->state != TG_POSTING_EXCEPTION) {
            continue;
        }
        if (!read && tg_reader_restored(r, &restored, err) < 0) {
            return -1;
        }
        read = true;
        if (exceptions_of_posting(r, &restored, p, out, err) != 0) {
            return -1;
        }
    }
    return 0;
}

/* ---- effects ---- */

struct effects {
    struct tg_known *known;
    struct tg_dispatch *dispatch;
    bool later, no_memory;
};

static bool copy_effect(struct effects *e, struct tg_known_posting *to,
                        const struct tg_row_posting *row)
{
    struct tg_effect_told told;

    *to = (struct tg_known_posting){.id = row->id,
                                    .object = row->object,
                                    .reverses = row->reverses,
                                    .destination = row->destination,
                                    .state = row->state,
                                    .attempt = row->attempt,
                                    .generation = row->generation,
                                    .quantity_micros = row->quantity_micros,
                                    .first_sent_ms = row->first_sent_ms,
                                    .hold_on = row->hold_on};
    told = (struct tg_effect_told){.state = row->state, .first_sent_ms = row->first_sent_ms};
    to->unknown = tg_effect_is_unknown(&told); /* of one in exception there is more to read */
    memcpy(to->key, row->key, sizeof(to->key));
    (void)snprintf(to->kind, sizeof(to->kind), "%s", row->kind);
    (void)snprintf(to->leg, sizeof(to->leg), "%s", row->leg);
    to->let_go = e->dispatch != NULL ? tg_dispatch_may_cancel(e->dispatch, row) : TG_LET_GO_NO;
    to->reversible =
        e->dispatch != NULL && tg_dispatch_is_reversible(e->dispatch, row->destination);
    to->destination_id = strdup(row->destination_id);
    to->period = strdup(row->period);
    to->payload = strdup(row->payload);
    return to->destination_id != NULL && to->period != NULL && to->payload != NULL;
}

static bool on_effect(void *arg, const struct tg_row_posting *row)
{
    struct effects *e = arg;
    struct tg_known *k = e->known;

    if (k->posting_count == TG_EFFECTS_MAX) {
        k->uncertain = true;
        return false;
    }
    if (k->postings == NULL) {
        k->postings = calloc(TG_EFFECTS_MAX, sizeof(*k->postings));
    }
    if (k->postings == NULL || !copy_effect(e, &k->postings[k->posting_count++], row)) {
        e->no_memory = true;
        return false;
    }
    e->later = k->postings[k->posting_count - 1].let_go == TG_LET_GO_LATER;
    return !e->later;
}

static void note_reversals(struct tg_known *k)
{
    for (size_t i = 0; i < k->posting_count; i++) {
        for (size_t j = 0; j < k->posting_count; j++) {
            if (k->postings[j].reverses == k->postings[i].id) {
                k->postings[i].is_reversed = true;
            }
        }
    }
}

static int find_effects(struct tg_reader *r, struct tg_dispatch *dispatch,
                        const unsigned char key[TG_POSTING_KEY_BYTES], struct tg_known *out,
                        struct tg_error *err)
{
    struct effects e = {.known = out, .dispatch = dispatch};

    if (tg_reader_effects(r, key, on_effect, &e, err) < 0) {
        return -1;
    }
    if (e.no_memory) {
        return tg_error_set(err, "intake: no memory");
    }
    note_reversals(out);
    return e.later ? 1 : 0;
}

int tg_known_object(struct tg_reader *r, struct tg_dispatch *dispatch,
                    const unsigned char key[TG_POSTING_KEY_BYTES], int64_t version,
                    struct tg_known *out, struct tg_error *err)
{
    struct versions v = {.known = out, .version = version};
    int rc;

    if (tg_reader_object_versions(r, key, on_version, &v, err) < 0) {
        return -1;
    }
    if (v.no_memory) {
        return tg_error_set(err, "intake: no memory");
    }
    out->uncertain = v.seen >= TG_JOURNAL_PAGE_MAX;
    rc = v.seen != 0 ? find_effects(r, dispatch, key, out, err) : 0;
    if (rc != 0) {
        return rc;
    }
    if (exceptions_of_postings(r, out, err) != 0 ||
        exceptions_of_version(r, &out->live, out, err) != 0) {
        return -1;
    }
    return out->latest.id != out->live.id ? exceptions_of_version(r, &out->latest, out, err) : 0;
}
