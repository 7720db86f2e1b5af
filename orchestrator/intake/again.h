/*
 * again.h: events that are in the journal, judged again: what was held and may go now, and what a
 * person replays or edits. On the loop.
 *
 * Judging again is deciding anew with the rules and the master data of now. The event's row stays
 * as it came. If something else comes out, the object's row is SUPERSEDED, its exceptions close,
 * and a new row of the same version takes its place, all in one commit, with an audit row that
 * names the actor. If the same comes out (held for the same name, the same exception code), nothing
 * is written. What a person ends so says who, and why (tg_batch_act). An edit is kept beside the
 * event; from then on the event is judged by its newest edit.
 *
 * Ownership: requests are copied; the texts of an answer are valid inside the callback only.
 */
#ifndef TG_INTAKE_AGAIN_H
#define TG_INTAKE_AGAIN_H

#include "intake/intake.h"

enum tg_again_why {
    TG_AGAIN_RELEASE, /* what it waits for may be there: a version that is held */
    TG_AGAIN_REPLAY,  /* a person: rules or master data were corrected */
    TG_AGAIN_EDIT,    /* a person: .body in place of what the source sent */
    TG_AGAIN_DISCARD  /* a person: .exception ends, nothing is judged, what it is about stays */
};

enum tg_again_result {
    TG_AGAIN_DONE,      /* something else came out, and is on disk */
    TG_AGAIN_UNCHANGED, /* it is as it was */
    TG_AGAIN_INVALID,   /* EDIT: what a person wrote is no event, see message; nothing was done */
    TG_AGAIN_REFUSED,   /* it cannot be judged again, see message */
    TG_AGAIN_STOPPING   /* nothing was done: the process stops */
};

struct tg_again_answer {
    enum tg_again_result result;
    int64_t object;    /* the new row; 0: none */
    const char *state; /* of the object (tg_version_state_name), or "exception"; "" when refused */
    const char *code;  /* of the exception there is now; "" none */
    const char *message; /* for a person: what waits_for, the exception or the refusal is about */
};

typedef void (*tg_again_done)(void *arg, const struct tg_again_answer *answer);

struct tg_again_request {
    int64_t event; /* events.id */
    enum tg_again_why why;
    int64_t exception;         /* DISCARD: which */
    int64_t approval;          /* DISCARD: that ends in the same commit; 0: none */
    const char *second, *said; /* with it: who approves, and why */
    struct tg_str body;        /* EDIT: the whole event, at most TG_BODY_MAX_BYTES */
    const char *actor;         /* a token's client, or cli:USER */
    const char *reason;        /* for the audit; NULL: none */
    tg_again_done done;        /* once, on the loop, after the commit; NULL: nobody waits */
    void *arg;
};

/* 0, or -1: no memory, TG_AGAIN_MAX wait already, or intake is stopping; done is not called then.
 */
int tg_again_submit(struct tg_intake *i, const struct tg_again_request *request);

/*
 * This name is there now ("worker:W-041", "period:2026-10"; call it for each name and alias a thing
 * is known by): every version of the tenant that is held for it is judged again. tenant NULL: of
 * all tenants; name NULL: whatever they wait for, as after a reload. Cheap; the work comes later.
 */
void tg_holds_arrived(struct tg_intake *i, const char *tenant, const char *name);

#endif
