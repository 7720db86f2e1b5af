/*
 * people.h: what people do about exceptions, on the loop. Exceptions of postings are done here; one
 * of an event or an object is intake's (intake/again.h), and the answer says so. Deciding is
 * core/person.h's.
 *
 * Every verb is one commit: the posting's change, what follows from it, the end of the exception
 * and the audit row with the actor, or nothing. Given twice, the second one changes nothing.
 *
 * Ownership: a request is copied; an answer is valid inside the callback only.
 */
#ifndef TG_DISPATCH_PEOPLE_H
#define TG_DISPATCH_PEOPLE_H

#include "core/person.h"
#include "dispatch/dispatch.h"

enum tg_people_verb {
    TG_PEOPLE_ASSIGN, /* of any exception */
    TG_PEOPLE_REPLAY,
    TG_PEOPLE_RESOLVE_POSTED,
    TG_PEOPLE_RESOLVE_ABSENT,
    TG_PEOPLE_DISCARD,
    TG_PEOPLE_EDIT
};

enum tg_people_result {
    TG_PEOPLE_DONE,      /* it is on disk */
    TG_PEOPLE_UNCHANGED, /* it was so already */
    TG_PEOPLE_REFUSED,   /* nothing was done, see message */
    TG_PEOPLE_INVALID,   /* likewise: what an edit puts in its place is not sound */
    TG_PEOPLE_NOT_FOUND, /* the tenant has no such exception */
    TG_PEOPLE_OF_EVENT,  /* it is open, and about an event or its object: see event */
    TG_PEOPLE_STOPPING   /* nothing was done: the process stops */
};

struct tg_people_answer {
    enum tg_people_result result;
    int64_t exception;
    enum tg_exception_state state; /* of the exception, afterwards */
    const char *assignee, *outcome, *closed_by, *reason;
    int64_t event;   /* OF_EVENT: events.id */
    int64_t posting; /* 0: none */
    enum tg_posting_state posting_state;
    int64_t made; /* EDIT: the posting in its place; 0: none */
    const char *message;
};

typedef void (*tg_people_done)(void *arg, const struct tg_people_answer *answer);

struct tg_people_request {
    enum tg_people_verb verb;
    int64_t exception;
    const char *tenant;
    const char *actor;    /* a token's client, or cli:USER */
    const char *reason;   /* NULL: none */
    bool only_ask;        /* could it be done? DONE, and nothing is */
    int64_t approval;     /* that ends in the same commit (journal/approvals.h); 0: none */
    const char *second;   /* with it: who approves */
    const char *said;     /* likewise: why */
    const char *assignee; /* ASSIGN */
    const char *ref;      /* RESOLVE_POSTED: the destination's, at most TG_CONNECT_REF_MAX_BYTES */
    const char *payload;  /* EDIT: a JSON object */
    const char *period;   /* EDIT: of the control totals; NULL: as it was */
    /* EDIT with another period: may a posting go from one to the other? arg is that of done; on the
     * loop, before done. NULL: no. */
    bool (*may_move)(void *arg, const char *from, const char *to, struct tg_error *why);
    tg_people_done done; /* once, on the loop: after the commit, or when nothing was done */
    void *arg;
};

/* 0, or -1: no memory, TG_PEOPLE_MAX wait, or the process stops; done does not come then. */
int tg_people_submit(struct tg_dispatch *d, const struct tg_people_request *request);

/*
 * The payload of an edit as it is stored (malloc'ed), or NULL with *why. It must be a JSON object
 * that differs from the old one and has all its members. Numbers, hours, money, the worker and what
 * it is about stay; what named the old period names the new one.
 */
char *tg_people_payload(const char *old, const char *edited, const char *old_period,
                        const char *period, struct tg_error *why);

/* Is that what the edit put in its place? */
bool tg_people_same_content(struct tg_str stored, const char *content);

#endif
