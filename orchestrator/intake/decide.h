/*
 * decide.h: the decision about one stream entry: a pure function of the entry's reading, the
 * pipeline's result and what the journal knows, to a plan of rows. No I/O, no clock, no ids: the
 * shell (intake.c) looks things up before and gives ids after.
 *
 * In order:
 *   1. identity known                   event DUPLICATE of the first; if the body differs, an open
 *                                       exception duplicate_version_conflict beside it
 *   2. refused by the reading           event EXCEPTION
 *   3. no canonical object came out     event EXCEPTION with the first violation's code
 *   4. this version is known            same JSON: event ACCEPTED, object SUPERSEDED, nothing is
 * owed twice; other JSON: event EXCEPTION duplicate_version_conflict
 *   5. a newer version is known         event ACCEPTED, object SUPERSEDED, nothing is owed
 *   6. an older version has effects that stand, or may, and this one cannot take them back (it has
 *      violations, the tenant wants corrections reviewed, a destination takes no reversals, the
 *      rules refuse one, or there is more than is looked at): event ACCEPTED, object EXCEPTION with
 *      its own violations first, else correction_after_posting or the rules' code; the older one
 *      stays, whole
 *   7. otherwise older versions end (SUPERSEDED, exceptions AUTO_CLOSED): of their effects
 *      (core/correct.h) what surely did nothing is CANCELLED, what stands gets a reversal, what may
 *      stand a reversal that is HELD on it. With violations: object EXCEPTION with the first one's
 *      code; without: VALIDATED and its postings READY, or HELD (`order`) where one of an older
 *      version is not final at that destination; EXCEPTION no_destination when there is none. A
 *      withdrawal plans nothing of its own and is WITHDRAWN; also when no other version is known,
 *      so that a late lower one is SUPERSEDED by it
 *
 * Wherever 6 and 7 say EXCEPTION for violations or for what the rules refuse to take back: if each
 * of them names what would cure it (waits_for) and the tenant lets things be held, the version is
 * HELD with the first name instead, and no exception is opened.
 *
 * Master data (a worker) owes no postings and has no order: what it says holds from a day on. So 5
 * to 7 are for it: with violations object EXCEPTION, what holds goes on holding; without: its row
 * of master data, and VALIDATED, or SUPERSEDED when a newer version is known; only a newer one ends
 * older ones.
 *
 * At most one version of an object is VALIDATED (`live`): 7 is the only step that makes one, and it
 * ends the one before in the same commit. An exception that says nobody knows what happened stays
 * open: only its posting can end it.
 *
 * Ownership: tg_plan_clear ends a plan. It points into reading, result, known and config.
 */
#ifndef TG_INTAKE_DECIDE_H
#define TG_INTAKE_DECIDE_H

#include "core/correct.h"
#include "dispatch/dispatch.h"
#include "intake/reading.h"
#include "master/catalogue.h"
#include "rules/pipeline.h"

/* A posting of an older version that is not over, or an open reversal of one. */
struct tg_known_posting {
    int64_t id, object, reverses; /* reverses 0: not a reversal */
    int64_t first_sent_ms, hold_on;
    uint32_t destination;
    enum tg_posting_state state;
    unsigned attempt, generation;
    enum tg_let_go let_go;
    bool unknown;     /* nobody can say whether it landed */
    bool is_reversed; /* a reversal of it is open */
    bool reversible;  /* its destination takes reversals */
    unsigned char key[TG_POSTING_KEY_BYTES];
    char kind[TG_SOURCE_NAME_MAX_BYTES + 1];
    char leg[TG_SOURCE_NAME_MAX_BYTES + 1];
    char *destination_id, *period, *payload; /* owned */
    int64_t quantity_micros;
    json_t *reversal; /* what the rules say, tg_pipeline_reversal; NULL: nothing to reverse */
};

struct tg_known_exception {
    int64_t id, event, object, posting; /* posting 0: of the object; object 0: of the event */
    char tenant[TG_TENANT_MAX_BYTES + 1];
    char code[TG_SOURCE_NAME_MAX_BYTES + 1];
    char owner[TG_SOURCE_NAME_MAX_BYTES + 1];
    int64_t opened_ms;
};

/* A version of the object in the journal. id 0: there is none. */
struct tg_known_version {
    int64_t id, event, version;
    enum tg_version_state state;
    char *json;
};

struct tg_known {
    int64_t identity_event; /* 0: the identity is new */
    char identity_sha256[2 * TG_SHA256_BYTES + 1];
    struct tg_known_version latest; /* the newest version */
    struct tg_known_version same;   /* the version of this entry */
    struct tg_known_version live;   /* the VALIDATED one */
    size_t posting_count;           /* over all versions */
    struct tg_known_posting *postings;
    bool uncertain;         /* more of them than are looked at: nothing is touched */
    bool is_overdue;        /* this version was held for long enough: it is not held again */
    size_t exception_count; /* open ones of latest and live, and of postings in exception */
    struct tg_known_exception *exceptions;
};
void tg_known_clear(struct tg_known *k);
/* What a later version does to it. */
enum tg_correction tg_known_correction(const struct tg_known_posting *p);

struct tg_plan_posting {
    uint32_t destination;
    const char *kind, *leg, *period;
    const char *payload; /* of the plan's own, or the reversed posting's */
    char *made;          /* payload, owned; NULL: not the plan's own */
    int64_t quantity_micros;
    unsigned char key[TG_POSTING_KEY_BYTES];
    const struct tg_known_posting *reverses; /* NULL: not a reversal */
    const char *hold;                        /* NULL: ready */
    int64_t hold_on;                         /* the posting it waits for; 0: see below */
    size_t hold_on_planned;                  /* index in the plan, when hold_on is 0 */
};

struct tg_plan {
    enum tg_event_state event_state;
    int64_t duplicate_of;
    bool conflict; /* audited: the same identity or version came with other content */

    bool has_object;
    enum tg_version_state object_state;
    unsigned char object_key[TG_POSTING_KEY_BYTES];
    const char *kind, *object_id;
    int64_t version;
    char *json; /* owned */

    size_t posting_count; /* reversals first: their ids are lower than those of what waits */
    struct tg_plan_posting postings[TG_EFFECTS_MAX + TG_POSTINGS_PER_OBJECT_MAX];

    struct {
        const char *name, *from;
        const json_t *attributes;
        char *attributes_text, *refused_text; /* owned; NULL: no row of master data */
        size_t refused;
    } change;

    const char *waits_for;    /* HELD: the name; NULL otherwise */
    const char *code, *owner; /* of the exception to open; code NULL: none */
    char *detail;             /* owned */

    int64_t supersede[2]; /* objects that end, and with them their exceptions in known */
    size_t supersede_count;
    bool correct; /* do to each of known->postings what tg_known_correction says */
};

/* Key of the object in the result; to look versions up by before tg_decide. 0 or -1. */
int tg_decide_object_key(const struct tg_reading *r, const struct tg_pipeline_result *p,
                         unsigned char out[TG_POSTING_KEY_BYTES]);

/* Does the result hold an object that can be known by a key and a version? */
bool tg_decide_has_object(const struct tg_pipeline_result *p);

/* result NULL: not run (steps 1 and 2). Asked only when no posting's let_go is LATER. 0, or -1: out
 * of memory. */
int tg_decide(const struct tg_reading *r, const struct tg_pipeline_result *result,
              const struct tg_known *known, const struct tg_catalogue *catalogue,
              struct tg_plan *out);
void tg_plan_clear(struct tg_plan *p);

#endif
