/*
 * inner.h: what the files of dispatch share; nothing outside includes it.
 *
 *   dispatch.c   start, stop, the loop's turn, the face
 *   carry.c      the engine's actions carried out, answers and commits fed back
 *   load.c       open postings from the journal into the engine
 *   pause.c      destinations that a person or a maintenance window holds
 *   holds.c      postings that wait for another one: release, cancel, time-out
 *   people.c     postings that wait for a person: what people do about them
 *   marks.c, rows.c, idset.c, words.c have headers of their own
 *
 * Ownership: tg_dispatch owns everything it points to but the options.
 */
#ifndef TG_DISPATCH_INNER_H
#define TG_DISPATCH_INNER_H

#include "dispatch/dispatch.h"
#include "dispatch/idset.h"
#include "dispatch/marks.h"
#include "dispatch/people.h"
#include "dispatch/rows.h"
#include "dispatch/windows.h"

#define TG_LOAD_PAGE 256 /* postings of one destination read in one loop turn */

/* One destination of the engine; ops NULL: known to the journal, not in the configuration. */
struct tg_target {
    const struct tg_config_destination *config;
    const struct tg_config_tenant *tenant;
    const struct tg_connector_ops *ops;
    struct tg_connector *connector;
    struct tg_connect_about about;
    struct tg_dispatch *owner;
    int64_t after;                       /* postings up to this id were loaded */
    bool more;                           /* there may be postings behind it */
    bool parked;                         /* the engine let go of some that are stuck */
    const struct tg_windows_of *windows; /* NULL: none */
    bool away;                           /* in one of them */
    bool held;                           /* so the engine was told: for either reason */
    struct tg_dispatch_pause pause;
    uint64_t paused_serial, resumed_serial; /* the newest change of each kind that was submitted */
};

struct tg_holds;

struct tg_behind {
    int64_t posting;
    uint32_t destination;
};

struct tg_dispatch {
    struct tg_dispatch_options o;
    struct tg_reader *reader;
    struct tg_engine *engine;
    struct tg_rows *rows;
    struct tg_marks *marks;
    struct tg_target *targets;
    uint32_t target_count;
    int64_t fed_ms; /* the clock at the engine's last step */
    struct tg_actions actions;
    size_t action_next;
    bool carrying; /* actions are being carried out: nested steps append */
    struct tg_open_row *page[TG_LOAD_PAGE];
    size_t page_count;
    /* Became open again although the loader is past them: loaded one by one when there is room. */
    struct tg_behind behind[TG_LOAD_BEHIND_MAX];
    size_t behind_count;
    struct tg_idset cancelled; /* by intake, not yet committed: not to be loaded nor released */
    struct tg_idset judged;    /* intake has decided with it in mind, not yet committed */
    struct tg_holds *holds;
    struct tg_people *people;
    struct tg_windows *windows; /* NULL: none */
    int64_t window_ms;          /* when to look at them next */
    int64_t window_seen_ms;     /* when they were last looked at */
    uint64_t change_serial;     /* of pause.c: counts changes submitted */
    size_t changes_out;         /* submitted and not on disk */
    void (*listener)(void *arg);
    void *listener_arg;
    uv_prepare_t turn;
    uv_timer_t timer;
    bool stopping, closing, failed;
    struct tg_connect_env env; /* http: NULL until it is opened, and after it was closed */
    size_t open_connectors, open_handles;
    void (*stopped)(void *arg);
    void *stopped_arg;
};

void tg_dispatch_fail(struct tg_dispatch *d, const struct tg_error *err);
void tg_dispatch_fail_text(struct tg_dispatch *d, const char *text);

/* ---- carry.c ---- */

/* One event for the engine, and everything that follows from it. */
void tg_dispatch_feed(struct tg_dispatch *d, const struct tg_engine_event *ev);
/* Actions the engine kept back because the array was full, and timers that are due. A clock that
 * was set back is told at once: the engine moves its timers with it. */
void tg_dispatch_pump(struct tg_dispatch *d);
/* For struct tg_marks_options and tg_connector_ops.open; arg: the dispatch, the target. */
void tg_dispatch_on_marked(void *arg, int64_t posting);
void tg_dispatch_on_settled(void *arg);
void tg_dispatch_on_marks_fatal(void *arg, const struct tg_error *err);
void tg_dispatch_on_result(void *arg, const struct tg_connect_result *result);
void tg_dispatch_on_usable(void *arg);

/* ---- load.c ---- */

/* A further page of every destination that has more and room for it. */
void tg_dispatch_load(struct tg_dispatch *d);
/* This posting is open in the journal (again), wherever the loader is. */
void tg_dispatch_load_again(struct tg_dispatch *d, int64_t posting, uint32_t destination);

/* ---- holds.c ---- */

struct tg_holds *tg_holds_new(struct tg_dispatch *d); /* NULL: no memory */
void tg_holds_free(struct tg_holds *h);
/* This posting is final in the journal: who waits for it? Looked at in the next turn. */
void tg_holds_ended(struct tg_holds *h, int64_t posting);
/* Once a loop turn. */
void tg_holds_turn(struct tg_holds *h);
bool tg_holds_is_quiet(const struct tg_holds *h); /* nothing of its own is on its way */
/* A mark of holds.c on this posting is on its way to the journal. */
bool tg_holds_has(const struct tg_holds *h, int64_t posting);

/* ---- people.c ---- */

struct tg_people *tg_people_new(struct tg_dispatch *d); /* NULL: no memory */
void tg_people_free(struct tg_people *p);
/* Once a loop turn. */
void tg_people_turn(struct tg_people *p);
/* Nothing of its own is on its way, and nobody waits. */
bool tg_people_is_quiet(const struct tg_people *p);
/* What a person does about this posting is on its way to the journal. */
bool tg_people_has(const struct tg_people *p, int64_t posting);

/* ---- pause.c ---- */

/* What the journal says is held, or asked for a pause, before anything is sent. 0 or -1. */
int tg_dispatch_load_pauses(struct tg_dispatch *d, struct tg_error *err);
/* Once a loop turn: windows that began or ended since. */
void tg_dispatch_windows_turn(struct tg_dispatch *d);

#endif
