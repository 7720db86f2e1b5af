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
 *   6. an older version is live and something of it was sent or may have been: event ACCEPTED,
 *      object EXCEPTION correction_after_posting (its own violations first), the older one stays
 *   7. otherwise older versions end (SUPERSEDED, postings CANCELLED, exceptions AUTO_CLOSED), and
 *      with violations: object EXCEPTION with the first one's code; without: VALIDATED and its
 *      postings READY, or EXCEPTION no_destination when there is none
 *
 * At most one version of an object is VALIDATED (`live`): 7 is the only step that makes one, and it
 * ends the one before in the same commit.
 *
 * Ownership: tg_plan_clear ends a plan. It points into reading, result, known and config.
 */
#ifndef TG_INTAKE_DECIDE_H
#define TG_INTAKE_DECIDE_H

#include "intake/reading.h"
#include "master/catalogue.h"
#include "rules/pipeline.h"

struct tg_known_posting {
    int64_t id;
    uint32_t destination;
    enum tg_posting_state state;
    unsigned attempt;
    bool unsent; /* surely: it can be cancelled now, or ended without having been sent */
};

struct tg_known_exception {
    int64_t id, object;
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
    size_t posting_count;           /* of live */
    struct tg_known_posting postings[TG_POSTINGS_PER_OBJECT_MAX];
    bool uncertain;         /* more postings or versions than are looked at: nothing is cancelled */
    size_t exception_count; /* open ones of latest and live */
    struct tg_known_exception *exceptions;
};
void tg_known_clear(struct tg_known *k);

struct tg_plan_posting {
    const struct tg_config_destination *destination;
    const char *kind, *leg, *period;
    char *payload; /* owned */
    int64_t quantity_micros;
    unsigned char key[TG_POSTING_KEY_BYTES];
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

    size_t posting_count;
    struct tg_plan_posting postings[TG_POSTINGS_PER_OBJECT_MAX];

    const char *code, *owner; /* of the exception to open; code NULL: none */
    char *detail;             /* owned */

    int64_t supersede[2]; /* objects that end, and with them their exceptions in known */
    size_t supersede_count;
    bool cancel; /* every posting of known->live that is not final */
};

/* Key of the object in the result; to look versions up by before tg_decide. 0 or -1. */
int tg_decide_object_key(const struct tg_reading *r, const struct tg_pipeline_result *p,
                         unsigned char out[TG_POSTING_KEY_BYTES]);

/* Does the result hold an object that can be known by a key and a version? */
bool tg_decide_has_object(const struct tg_pipeline_result *p);

/* result NULL: not run (steps 1 and 2). 0, or -1: out of memory. */
int tg_decide(const struct tg_reading *r, const struct tg_pipeline_result *result,
              const struct tg_known *known, const struct tg_catalogue *catalogue,
              struct tg_plan *out);
void tg_plan_clear(struct tg_plan *p);

#endif
