/*
 * The stream, and what orchestrator/intake does with it: what the journal has is looked up
 * (known.c there), the product's tg_decide plans, and the plan becomes marks of one batch (write.c
 * there). One batch is out at a time; an object is decided once in a batch, and not while a mark
 * of one of its postings is on its way.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"

#define CATALOGUE "conf/catalogue.yaml"
#define BATCH_MAX 4
#define KIND "labor"
#define PERIOD "2026-11"

static struct tg_catalogue *catalogue;
static struct tg_config_source source = {.name = (char *)"psa"};

int sim_intake_begin(struct tg_error *err)
{
    catalogue = tg_catalogue_load(CATALOGUE, err);
    return catalogue != NULL ? 0 : -1;
}

void sim_intake_end(void)
{
    tg_catalogue_free(catalogue);
}

/* ---- what the sources say ---- */

static const char *object_id(uint32_t object)
{
    static char text[16];

    (void)snprintf(text, sizeof(text), "TE-%u", object);
    return text;
}

static void make_version(struct sim *s, struct sim_object *o, unsigned version)
{
    struct sim_says *v = &o->versions[version - 1];

    v->withdrawn = sim_below(s, 6) == 0;
    v->refused = !v->withdrawn && sim_below(s, 12) == 0;
    v->leg_count = v->withdrawn || v->refused ? 0 : (unsigned)sim_between(s, 1, SIM_LEGS_MAX);
    for (unsigned i = 0; i < v->leg_count; i++) {
        v->legs[i].place = (uint32_t)sim_below(s, s->place_count);
        v->legs[i].micros = sim_between(s, 1, 1000 * TG_DECIMAL_ONE);
    }
}

static void add_entry(struct sim *s, const struct sim_entry *e, int64_t at_ms)
{
    if (s->entry_count == SIM_ENTRIES_MAX) {
        return; /* fewer is as good */
    }
    s->entries[s->entry_count] = *e;
    sim_at(s, at_ms, SIM_EV_ENTRY, (uint32_t)s->entry_count++, 0, 0);
}

/* Most versions come in order and far enough apart for the one before to be posted; others not. */
static void make_object(struct sim *s, uint32_t object)
{
    struct sim_object *o = &s->objects[object];
    const int64_t apart_ms = sim_below(s, 2) == 0 ? 2000 : 600000;
    int64_t at_ms = s->now_ms + sim_between(s, 0, 120000);

    (void)tg_object_key(tg_str_of("acme"), tg_str_of("time_entry"), tg_str_of(source.name),
                        tg_str_of(object_id(object)), o->key);
    o->version_count = (unsigned)sim_between(s, 1, SIM_VERSIONS_MAX);
    for (unsigned v = 1; v <= o->version_count; v++) {
        const struct sim_entry e = {.object = object, .version = v};
        const int64_t this_ms =
            sim_below(s, 5) == 0 ? at_ms + sim_between(s, -apart_ms, 2 * apart_ms) : at_ms;

        make_version(s, o, v);
        add_entry(s, &e, this_ms > s->now_ms ? this_ms : s->now_ms);
        if (sim_below(s, 8) == 0) {
            const struct sim_entry again = {
                .object = object, .version = v, .conflict = sim_below(s, 3) == 0};

            add_entry(s, &again, this_ms + sim_between(s, 1, apart_ms) + apart_ms);
        }
        at_ms += sim_between(s, 0, apart_ms);
    }
}

static void make_plain(struct sim *s, uint64_t n)
{
    int64_t at_ms = s->now_ms;

    for (uint64_t i = 0; i < n; i++) {
        const struct sim_entry e = {.is_plain = true,
                                    .object = (uint32_t)sim_below(s, s->place_count),
                                    .micros = sim_between(s, 1, 1000 * TG_DECIMAL_ONE)};
        const uint32_t entry = (uint32_t)s->entry_count;

        at_ms += sim_below(s, 3) == 0 ? sim_between(s, 0, 20000) : 0;
        add_entry(s, &e, at_ms);
        if (sim_chance(s, 15)) {
            sim_at(s, at_ms + sim_between(s, 0, sim_below(s, 2) == 0 ? 5000 : 300000),
                   SIM_EV_CANCEL, entry, 0, 0);
        }
    }
}

void sim_make_objects(struct sim *s)
{
    const bool plain_only = sim_below(s, 4) == 0;

    s->first_id = sim_between(s, 1, 1000000);
    s->hold_timeout_ms = sim_below(s, 2) == 0 ? sim_between(s, 30000, 120000)
                                              : sim_between(s, 300000, SIM_HOLD_MAX_MS);
    make_plain(s, (uint64_t)sim_between(s, 1, plain_only ? SIM_PLAIN_MAX : 8));
    s->object_count = plain_only ? 0 : (size_t)sim_between(s, 1, SIM_OBJECTS_MAX);
    for (uint32_t i = 0; i < s->object_count; i++) {
        make_object(s, i);
    }
}

/* ---- keys ---- */

void sim_key_of_plain(uint32_t entry, unsigned generation, unsigned char out[TG_POSTING_KEY_BYTES])
{
    memset(out, 0xff, TG_POSTING_KEY_BYTES);
    memcpy(out, &entry, sizeof(entry));
    memcpy(out + sizeof(entry), &generation, sizeof(generation));
}

void sim_key_of(struct sim *s, uint32_t object, unsigned version, unsigned leg, unsigned generation,
                unsigned char out[TG_POSTING_KEY_BYTES])
{
    const struct sim_says *v = &s->objects[object].versions[version - 1];
    char subject[2 * TG_POSTING_KEY_BYTES + 16];
    char name[16];

    for (size_t i = 0; i < TG_POSTING_KEY_BYTES; i++) {
        (void)snprintf(subject + 2 * i, 3, "%02x", s->objects[object].key[i]);
    }
    (void)snprintf(subject + 2 * TG_POSTING_KEY_BYTES, 16, "@%u", version);
    (void)snprintf(name, sizeof(name), "l%u", leg);
    if (tg_posting_key(tg_str_of(s->places[v->legs[leg].place].id), tg_str_of(subject),
                       tg_str_of(KIND), tg_str_of(name), generation, out) != 0) {
        sim_fault(s, "no key");
    }
}

int sim_doc_of(struct sim *s, const unsigned char key[TG_POSTING_KEY_BYTES])
{
    for (size_t i = 0; i < s->doc_count; i++) {
        if (memcmp(s->docs[i].key, key, TG_POSTING_KEY_BYTES) == 0) {
            return (int)i;
        }
    }
    return -1;
}

/* The same key is the same document, in whichever life of the journal. */
static uint32_t doc_for(struct sim *s, const struct sim_doc *like)
{
    const int at = sim_doc_of(s, like->key);
    struct sim_doc *d;

    if (at >= 0) {
        if (s->docs[at].place != like->place || s->docs[at].original != like->original ||
            tg_decimal_cmp(s->docs[at].amount, like->amount) != 0) {
            sim_fault(s, "one key stands for two things");
        }
        return (uint32_t)at;
    }
    if (s->doc_count == SIM_DOCS_MAX) {
        sim_fault(s, "more than %d documents", SIM_DOCS_MAX);
        return 0;
    }
    d = &s->docs[s->doc_count++];
    *d = *like;
    d->poisoned = sim_below(s, 100) < 10;
    d->poisoned_ms = sim_below(s, 2) == 0 ? 0 : s->now_ms + sim_between(s, 0, 300000);
    return (uint32_t)(d - s->docs);
}

/* ---- what is known ---- */

static bool counts_more(const struct tg_known_version *have, const struct sim_version *v)
{
    return have->id == 0 ||
           (have->version == (int64_t)v->version && have->state == TG_VERSION_SUPERSEDED);
}

static char *json_of(uint32_t object, unsigned version, bool conflict)
{
    json_t *doc = json_pack("{s:s, s:i, s:b}", "id", object_id(object), "version", (int)version,
                            "other", (int)conflict);
    char *text = doc != NULL ? json_dumps(doc, JSON_COMPACT | JSON_SORT_KEYS) : NULL;

    json_decref(doc);
    return text;
}

static void take_version(struct tg_known_version *to, const struct sim_version *v)
{
    free(to->json);
    *to = (struct tg_known_version){.id = v->id, .version = (int64_t)v->version, .state = v->state};
    to->json = json_of(v->object, v->version, v->conflict);
}

/* Newest first, as the journal's reader does. */
static void known_versions(struct sim *s, const struct sim_entry *e, struct tg_known *k)
{
    for (unsigned number = SIM_VERSIONS_MAX; number > 0; number--) {
        for (size_t i = s->version_count; i > 0; i--) {
            const struct sim_version *v = &s->versions[i - 1];

            if (!v->written || v->object != e->object || v->version != number) {
                continue;
            }
            if (counts_more(&k->latest, v)) {
                take_version(&k->latest, v);
            }
            if (number == e->version && counts_more(&k->same, v)) {
                take_version(&k->same, v);
            }
            if (v->state == TG_VERSION_VALIDATED) {
                take_version(&k->live, v);
            }
        }
    }
}

static bool is_over(struct sim *s, const struct sim_row *r)
{
    if (r->state == TG_POSTING_CANCELLED && r->reverses != 0 &&
        s->mutation != SIM_MUTATION_DISCARD_FORGOTTEN) { /* a person's: that is decided */
        const enum tg_posting_state original = s->rows[sim_row_of(s, r->reverses)].state;

        return original == TG_POSTING_CANCELLED || original == TG_POSTING_REVERSED;
    }
    return r->state == TG_POSTING_CANCELLED || r->state == TG_POSTING_REVERSED ||
           (r->state == TG_POSTING_POSTED && r->reverses != 0);
}

static void known_effect(struct sim *s, struct tg_known_posting *to, const struct sim_row *r)
{
    const struct sim_place *p = &s->places[r->place];
    const struct tg_effect_told told = {.state = r->state,
                                        .first_sent_ms = r->first_sent_ms,
                                        .was_unknown = r->was_unknown,
                                        .ran_out = r->hold_on != 0 &&
                                                   s->mutation != SIM_MUTATION_RAN_OUT_IS_KNOWN,
                                        .restored = r->exception_restored};
    const bool telling = r->hold_marking || r->cancelling || r->person_marking || r->judged;

    *to = (struct tg_known_posting){
        .id = r->id,
        .object = r->version,
        .reverses = r->reverses,
        .destination = r->place,
        .state = r->state,
        .attempt = r->attempt,
        .generation = r->generation,
        .let_go = tg_let_go(telling, tg_engine_grip(s->engine, r->id), r->state, r->first_sent_ms),
        .unknown = tg_effect_is_unknown(&told),
        .reversible = p->reversible,
        .quantity_micros = r->amount.micros,
        .destination_id = strdup(p->id),
        .period = strdup(PERIOD),
        .payload = strdup("{}"),
        .reversal = json_object()};
    memcpy(to->key, s->docs[r->doc].key, TG_POSTING_KEY_BYTES);
    (void)snprintf(to->kind, sizeof(to->kind), KIND);
    (void)snprintf(to->leg, sizeof(to->leg), "l");
}

/* 1: not now, a mark of one of them is on its way. */
static int known_effects(struct sim *s, const struct sim_entry *e, struct tg_known *k)
{
    bool later = false;

    k->postings = calloc(TG_EFFECTS_MAX, sizeof(*k->postings));
    for (size_t i = 0; k->postings != NULL && i < s->row_count; i++) {
        const struct sim_row *r = &s->rows[i];

        if (!r->planned || r->version == 0 || is_over(s, r) ||
            sim_version_of(s, r->version)->object != e->object) {
            continue;
        }
        if (k->posting_count == TG_EFFECTS_MAX) {
            k->uncertain = true;
            break;
        }
        known_effect(s, &k->postings[k->posting_count++], r);
        later = later || k->postings[k->posting_count - 1].let_go == TG_LET_GO_LATER;
    }
    for (size_t i = 0; i < k->posting_count; i++) {
        for (size_t j = 0; j < k->posting_count; j++) {
            k->postings[i].is_reversed =
                k->postings[i].is_reversed || (k->postings[j].reverses == k->postings[i].id &&
                                               s->mutation != SIM_MUTATION_REVERSED_TWICE);
        }
        if (s->mutation == SIM_MUTATION_LATER_IS_YES && k->postings[i].let_go == TG_LET_GO_LATER) {
            k->postings[i].let_go = TG_LET_GO_YES;
        }
    }
    if (later) {
        sim_see(s, SIM_SEEN_INTAKE_LATER);
    }
    return later && s->mutation != SIM_MUTATION_LATER_IS_YES ? 1 : 0;
}

/* ---- what the rules say ---- */

static json_t *postings_of(const struct sim *s, const struct sim_says *v)
{
    json_t *out = json_array();

    for (unsigned i = 0; i < v->leg_count; i++) {
        char leg[16], quantity[32];

        (void)snprintf(leg, sizeof(leg), "l%u", i);
        (void)snprintf(quantity, sizeof(quantity), "%lld.%06lld",
                       (long long)(v->legs[i].micros / TG_DECIMAL_ONE),
                       (long long)(v->legs[i].micros % TG_DECIMAL_ONE));
        (void)json_array_append_new(out, json_pack("{s:s, s:s, s:s, s:s, s:s, s:{}}", "destination",
                                                   s->places[v->legs[i].place].name, "kind", KIND,
                                                   "leg", leg, "period", PERIOD, "quantity",
                                                   quantity, "payload"));
    }
    return out;
}

static void run_rules(struct sim *s, const struct sim_entry *e, struct tg_pipeline_result *r)
{
    const struct sim_says *v = &s->objects[e->object].versions[e->version - 1];

    *r = (struct tg_pipeline_result){
        .object = json_pack("{s:s, s:i, s:b}", "id", object_id(e->object), "version",
                            (int)e->version, "other", (int)e->conflict),
        .violations = json_array(),
        .postings = postings_of(s, v),
        .withdrawn = v->withdrawn,
        .object_version = (int64_t)e->version};
    (void)snprintf(r->object_kind, sizeof(r->object_kind), "time_entry");
    (void)snprintf(r->object_id, sizeof(r->object_id), "%s", object_id(e->object));
    if (v->refused) {
        (void)json_array_append_new(r->violations,
                                    json_pack("{s:s, s:s, s:s}", "code", "worker_unknown",
                                              "message", "no such worker", "owner", "hr"));
    }
}

/* ---- the plan becomes marks ---- */

struct batch {
    struct sim_mark marks[SIM_MARKS_MAX];
    size_t count;
    uint32_t objects[BATCH_MAX];
    size_t object_count;
};

static struct sim_mark *put(struct sim *s, struct batch *b, enum sim_mark_kind kind, uint32_t row)
{
    if (b->count == SIM_MARKS_MAX) {
        sim_fault(s, "a batch of intake with more than %d marks", SIM_MARKS_MAX);
        return &b->marks[0];
    }
    b->marks[b->count] =
        (struct sim_mark){.kind = kind, .by = SIM_BY_INTAKE, .row = row, .at_ms = sim_wall_ms(s)};
    return &b->marks[b->count++];
}

struct sim_row *sim_new_row(struct sim *s, const struct sim_doc *doc)
{
    struct sim_row *r = &s->rows[s->row_count];

    if (s->row_count == SIM_ROWS_MAX) {
        sim_fault(s, "more than %d postings", SIM_ROWS_MAX);
        return &s->rows[0];
    }
    *r = (struct sim_row){.place = doc->place, .amount = doc->amount, .generation = 1};
    r->id = s->row_count == 0 ? s->first_id : s->rows[s->row_count - 1].id + 1;
    r->doc = doc_for(s, doc);
    for (size_t i = 0; i < s->row_count; i++) {
        if (s->rows[i].doc == r->doc) {
            sim_fault(s, "posting %lld has the key of posting %lld", (long long)r->id,
                      (long long)s->rows[i].id);
        }
    }
    s->row_count++;
    return r;
}

/* When it may first have been sent, by another life of the journal. */
static int64_t sent_before_ms(const struct sim *s, const struct sim_entry *e, int64_t reverses)
{
    if (s->mutation == SIM_MUTATION_REREAD_BLINDLY) {
        return 0;
    }
    if (e->sent_ms == 0 && reverses != 0 && reverses <= s->restored_row) {
        return s->restored_ms;
    }
    return e->sent_ms;
}

static void begin_row(struct sim *s, const struct sim_entry *e, struct sim_row *r)
{
    r->first_sent_ms = sent_before_ms(s, e, r->reverses);
    r->restored = r->first_sent_ms > 0;
    r->state = tg_posting_begins(r->hold != NULL, r->first_sent_ms);
    r->due_ms = r->state == TG_POSTING_IN_DOUBT ? sim_wall_ms(s) : 0;
    if (r->state == TG_POSTING_HELD) {
        r->due_ms = sim_wall_ms(s) + s->hold_timeout_ms;
    }
    r->told = r->state;
    sim_trace(s,
              "row %u is posting %lld: doc %u, place %u, object %u version %u%s, begins %s on %lld",
              (unsigned)(r - s->rows), (long long)r->id, r->doc, r->place, s->docs[r->doc].object,
              s->docs[r->doc].version, r->reverses != 0 ? ", a reversal" : "",
              tg_posting_state_name(r->state), (long long)r->hold_on);
}

static void write_posting(struct sim *s, struct batch *b, const struct sim_entry *e,
                          const struct tg_plan *p, size_t at, int64_t version, int64_t *ids)
{
    const struct tg_plan_posting *from = &p->postings[at];
    struct sim_doc doc = {.place = from->destination,
                          .original = -1,
                          .object = e->object,
                          .version = e->version,
                          .amount = {from->quantity_micros}};
    struct sim_row *r;

    memcpy(doc.key, from->key, TG_POSTING_KEY_BYTES);
    if (from->reverses != NULL) {
        version = from->reverses->object;
        doc.version = sim_version_of(s, version)->version;
        doc.original = sim_doc_of(s, from->reverses->key);
    } else {
        doc.leg = (unsigned)(from->leg[1] - '0');
    }
    (void)put(s, b, SIM_MARK_ROW, (uint32_t)s->row_count);
    r = sim_new_row(s, &doc);
    ids[at] = r->id;
    r->version = version;
    r->reverses = from->reverses != NULL ? from->reverses->id : 0;
    if (from->hold != NULL &&
        s->mutation !=
            (from->reverses != NULL ? SIM_MUTATION_REVERSAL_AT_ONCE : SIM_MUTATION_ORDER_IGNORED)) {
        r->hold = from->hold;
        r->hold_on = from->hold_on != 0 ? from->hold_on : ids[from->hold_on_planned];
    }
    begin_row(s, e, r);
}

static void see_correction(struct sim *s, const struct sim_row *r, enum tg_correction c)
{
    const bool was_sent = r->first_sent_ms > 0;

    if (c == TG_CORRECT_CANCEL && !was_sent) {
        sim_see(s, SIM_SEEN_CORRECTED_BEFORE);
    } else if (c == TG_CORRECT_REVERSE) {
        sim_see(s, SIM_SEEN_CORRECTED_AFTER);
    } else if (c == TG_CORRECT_REVERSE_WHEN_POSTED) {
        sim_see(s, r->state == TG_POSTING_EXCEPTION ? SIM_SEEN_CORRECTED_UNKNOWN
                                                    : SIM_SEEN_CORRECTED_DURING);
    }
    if (r->state == TG_POSTING_HELD) {
        sim_see(s, SIM_SEEN_CORRECTED_HELD);
    }
}

static void correct_one(struct sim *s, struct batch *b, const struct tg_known_posting *e)
{
    const enum tg_correction c = tg_known_correction(e);
    const uint32_t row = sim_row_of(s, e->id);
    struct sim_row *r = &s->rows[row];
    struct sim_mark *m;

    see_correction(s, r, c);
    r->judged = true;
    if (c != TG_CORRECT_CANCEL && c != TG_CORRECT_REVERSE_WHEN_POSTED) {
        return;
    }
    if (s->mutation != SIM_MUTATION_NOT_SUPERSEDED || c == TG_CORRECT_CANCEL) {
        sim_shell_supersede(s, row);
    }
    if (c != TG_CORRECT_CANCEL) {
        return;
    }
    if (r->held) {
        sim_fault(s, "posting %lld is to be cancelled and the engine holds it", (long long)r->id);
        return;
    }
    sim_judge_cancel(s, row);
    r->cancelling = true;
    m = put(s, b, SIM_MARK_SILENT, row);
    m->from = r->state;
    if (tg_posting_next(r->state, TG_PE_SUPERSEDED, &m->to) != 0) {
        sim_fault(s, "posting %lld cannot be cancelled from %s", (long long)r->id,
                  tg_posting_state_name(r->state));
    }
    r->told = m->to;
}

static int64_t write_version(struct sim *s, struct batch *b, const struct sim_entry *e,
                             const struct tg_plan *p)
{
    struct sim_version *v = &s->versions[s->version_count];

    if (s->version_count == SIM_VERSION_ROWS_MAX) {
        sim_fault(s, "more than %d version rows", SIM_VERSION_ROWS_MAX);
        return 0;
    }
    *v = (struct sim_version){.object = e->object,
                              .version = e->version,
                              .conflict = e->conflict,
                              .state = p->object_state};
    if (p->code != NULL) {
        v->exception = strcmp(p->code, "worker_unknown") == 0 ? "worker_unknown"
                       : strcmp(p->code, "correction_after_posting") == 0
                           ? "correction_after_posting"
                           : "?";
    }
    v->id = s->version_count == 0 ? 1 : s->versions[s->version_count - 1].id + 1;
    (void)put(s, b, SIM_MARK_VERSION, (uint32_t)s->version_count++);
    return v->id;
}

static void see_plan(struct sim *s, const struct tg_plan *p, const struct tg_known *k)
{
    if (p->conflict) {
        sim_see(s, SIM_SEEN_CONFLICT);
    } else if (p->object_state == TG_VERSION_SUPERSEDED) {
        sim_see(s, k->same.id != 0 ? SIM_SEEN_SAME_VERSION : SIM_SEEN_LATE_VERSION);
    } else if (p->object_state == TG_VERSION_WITHDRAWN) {
        sim_see(s, k->latest.id == 0 ? SIM_SEEN_TOMBSTONE : SIM_SEEN_WITHDRAWN);
    } else if (p->object_state == TG_VERSION_EXCEPTION) {
        sim_see(s, strcmp(p->code, "correction_after_posting") == 0 ? SIM_SEEN_NOT_REVERSIBLE
                                                                    : SIM_SEEN_REFUSED_VERSION);
    }
}

static void write_plan(struct sim *s, struct batch *b, const struct sim_entry *e,
                       const struct tg_plan *p, const struct tg_known *k)
{
    int64_t ids[TG_EFFECTS_MAX + TG_POSTINGS_PER_OBJECT_MAX] = {0};
    int64_t version = 0;

    see_plan(s, p, k);
    if (s->mutation == SIM_MUTATION_NO_TOMBSTONE && k->latest.id == 0 &&
        p->object_state == TG_VERSION_WITHDRAWN) {
        return;
    }
    for (size_t i = 0; p->correct && i < k->posting_count; i++) {
        correct_one(s, b, &k->postings[i]);
    }
    for (size_t i = 0; i < p->supersede_count; i++) {
        (void)put(s, b, SIM_MARK_ENDED,
                  (uint32_t)(sim_version_of(s, p->supersede[i]) - s->versions));
    }
    if (p->has_object) {
        version = write_version(s, b, e, p);
    }
    for (size_t i = 0; i < p->posting_count && !s->failed; i++) {
        write_posting(s, b, e, p, i, version, ids);
    }
}

/* ---- the turn ---- */

static void decide_plain(struct sim *s, struct batch *b, uint32_t entry)
{
    const struct sim_entry *e = &s->entries[entry];
    struct sim_doc doc = {.place = e->object, .original = -1, .amount = {e->micros}};
    struct sim_row *r;

    sim_key_of_plain(entry, 1, doc.key);
    (void)put(s, b, SIM_MARK_ROW, (uint32_t)s->row_count);
    r = sim_new_row(s, &doc);
    r->entry = entry;
    begin_row(s, e, r);
}

/* 1: not in this batch. */
static int decide_object(struct sim *s, struct batch *b, const struct sim_entry *e)
{
    struct tg_config_destination destinations[SIM_PLACES_MAX] = {{.name = NULL}};
    const struct tg_config_tenant tenant = {
        .id = (char *)"acme", .destinations = destinations, .destination_count = s->place_count};
    struct tg_reading reading = {.tenant = &tenant, .source = &source};
    struct tg_known known = {.identity_event = 0};
    struct tg_pipeline_result result;
    struct tg_plan plan;
    int rc;

    reading.event.tenant = "acme";
    for (uint32_t i = 0; i < s->place_count; i++) {
        destinations[i].name = s->places[i].name;
        destinations[i].id = s->places[i].id;
        destinations[i].index = i;
    }
    known_versions(s, e, &known);
    rc = known_effects(s, e, &known);
    if (rc == 0) {
        if (s->mutation == SIM_MUTATION_BY_ARRIVAL && known.same.id == 0) {
            known.latest.version = 0;
        }
        run_rules(s, e, &result);
        if (tg_decide(&reading, &result, &known, catalogue, &plan) != 0) {
            sim_fault(s, "no memory to decide");
        } else {
            write_plan(s, b, e, &plan, &known);
        }
        tg_plan_clear(&plan);
        json_decref(result.object);
        json_decref(result.violations);
        json_decref(result.postings);
    }
    tg_known_clear(&known);
    return rc;
}

static bool in_batch(const struct batch *b, uint32_t object)
{
    for (size_t i = 0; i < b->object_count; i++) {
        if (b->objects[i] == object) {
            return true;
        }
    }
    return false;
}

static int decide(struct sim *s, struct batch *b, uint32_t entry)
{
    struct sim_entry *e = &s->entries[entry];

    if (e->is_plain) {
        decide_plain(s, b, entry);
    } else {
        if (in_batch(b, e->object) || decide_object(s, b, e) != 0) {
            return 1;
        }
        b->objects[b->object_count++] = e->object;
    }
    if (e->sent_ms > 0) {
        sim_see(s, SIM_SEEN_REREAD);
    }
    sim_trace(s, "entry %u decided: object %u version %u", entry, e->object, e->version);
    (void)put(s, b, SIM_MARK_ENTRY, entry);
    return 0;
}

/* The stream in its order; what cannot be decided yet keeps what is behind it waiting. */
void sim_intake_turn(struct sim *s)
{
    static struct batch b;
    uint32_t taken = 0;

    if (!s->alive || s->stopping || s->intake_busy || s->failed) {
        return;
    }
    b.count = b.object_count = 0;
    for (size_t i = 0; i < s->stream_count && taken < BATCH_MAX && !s->failed; i++) {
        if (s->entries[s->stream[i]].done) {
            continue;
        }
        if (decide(s, &b, s->stream[i]) != 0) {
            break;
        }
        taken++;
    }
    if (b.count > 0) {
        s->intake_busy = true;
        sim_shell_submit(s, b.marks, b.count);
    }
}
