#include "intake/known.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

/* Newest first. Of several rows of this entry's version the one that is not superseded counts. */
static bool on_version(void *arg, const struct tg_row_object *row)
{
    struct versions *v = arg;
    struct tg_known *k = v->known;
    bool ok = true;

    v->seen++;
    if (k->latest.id == 0) {
        ok = take_version(v, &k->latest, row);
    }
    if (ok && row->version == v->version &&
        (k->same.id == 0 || k->same.state == TG_VERSION_SUPERSEDED)) {
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
    int64_t object;
    bool no_memory;
};

static void note_unsure(struct tg_known *k, const struct tg_row_exception *row)
{
    for (size_t i = 0; i < k->posting_count; i++) {
        if (row->posting == k->postings[i].id && strcmp(row->code, "outcome_unknown") == 0) {
            k->postings[i].unsent = false;
        }
    }
}

static bool on_exception(void *arg, const struct tg_row_exception *row)
{
    struct exceptions *x = arg;
    struct tg_known *k = x->known;
    struct tg_known_exception *to;

    if (row->object != x->object) {
        return true;
    }
    note_unsure(k, row);
    if ((row->state != TG_EXCEPTION_OPEN && row->state != TG_EXCEPTION_ASSIGNED) ||
        k->exception_count == TG_INTAKE_EXCEPTIONS_MAX) {
        return true;
    }
    if (k->exceptions == NULL) {
        k->exceptions = calloc(TG_INTAKE_EXCEPTIONS_MAX, sizeof(*k->exceptions));
    }
    if (k->exceptions == NULL) {
        x->no_memory = true;
        return false;
    }
    to = &k->exceptions[k->exception_count++];
    to->id = row->id;
    to->object = row->object;
    to->opened_ms = row->opened_ms;
    (void)snprintf(to->tenant, sizeof(to->tenant), "%s", row->tenant);
    (void)snprintf(to->code, sizeof(to->code), "%s", row->code);
    (void)snprintf(to->owner, sizeof(to->owner), "%s", row->owner);
    return true;
}

static int find_exceptions(struct tg_reader *r, const struct tg_known_version *v,
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

/* ---- postings ---- */

struct postings {
    struct tg_known *known;
    struct tg_dispatch *dispatch;
};

static bool is_unsent(struct tg_dispatch *d, const struct tg_row_posting *row)
{
    switch (row->state) {
    case TG_POSTING_READY:
    case TG_POSTING_RETRY:
        return d != NULL && tg_dispatch_may_cancel(d, row->id, row->destination);
    case TG_POSTING_PLANNED:
    case TG_POSTING_HELD:
    case TG_POSTING_CANCELLED:
    case TG_POSTING_EXCEPTION: /* unless its exception says that nobody knows: note_unsure */
        return true;
    default:
        return false;
    }
}

static bool on_posting(void *arg, const struct tg_row_posting *row)
{
    struct postings *p = arg;
    struct tg_known *k = p->known;

    if (k->posting_count == TG_POSTINGS_PER_OBJECT_MAX) {
        k->uncertain = true;
        return false;
    }
    k->postings[k->posting_count++] =
        (struct tg_known_posting){.id = row->id,
                                  .destination = row->destination,
                                  .state = row->state,
                                  .attempt = row->attempt,
                                  .unsent = is_unsent(p->dispatch, row)};
    return true;
}

int tg_known_object(struct tg_reader *r, struct tg_dispatch *dispatch,
                    const unsigned char key[TG_POSTING_KEY_BYTES], int64_t version,
                    struct tg_known *out, struct tg_error *err)
{
    struct versions v = {.known = out, .version = version};
    struct postings p = {.known = out, .dispatch = dispatch};

    if (tg_reader_object_versions(r, key, on_version, &v, err) < 0) {
        return -1;
    }
    if (v.no_memory) {
        return tg_error_set(err, "intake: no memory");
    }
    out->uncertain = v.seen >= TG_JOURNAL_PAGE_MAX;
    if (out->live.id != 0 &&
        tg_reader_postings_of_object(r, out->live.id, on_posting, &p, err) < 0) {
        return -1;
    }
    if (find_exceptions(r, &out->live, out, err) != 0) {
        return -1;
    }
    return out->latest.id != out->live.id ? find_exceptions(r, &out->latest, out, err) : 0;
}
