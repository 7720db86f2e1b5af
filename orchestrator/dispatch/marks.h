/*
 * marks.h: the marks of one loop turn on their way to the journal. They gather in one batch (more,
 * when it is full), go out in order, and come back as "posting so-and-so: one mark is on disk".
 *
 * Ownership: the maker frees it when tg_marks_is_empty, not before: the journal holds pointers.
 */
#ifndef TG_DISPATCH_MARKS_H
#define TG_DISPATCH_MARKS_H

#include "journal/journal.h"

struct tg_marks;

struct tg_marks_options {
    struct tg_journal *journal;
    void (*marked)(void *arg, int64_t posting); /* once a mark, after its commit, in order */
    void (*settled)(void *arg);                 /* once a commit, after its marks */
    void (*fatal)(void *arg, const struct tg_error *err);
    void *arg;
};

struct tg_marks *tg_marks_new(const struct tg_marks_options *o);
void tg_marks_free(struct tg_marks *m);

/*
 * Marks of one posting that belong together, and the exception of the last one (NULL: none), into
 * the same commit. 0, or -1: no memory; the process cannot go on.
 */
int tg_marks_add(struct tg_marks *m, const struct tg_row_mark *mark,
                 const struct tg_row_exception *exception);

/* A mark that goes with the one added before it, and of which nobody is told. 0 or -1, likewise. */
int tg_marks_add_silent(struct tg_marks *m, const struct tg_row_mark *mark);

/* What a destination asked for, on its way with the marks. 0, or -1: no memory. */
int tg_marks_throttle(struct tg_marks *m, uint32_t destination, int64_t until_ms, int64_t said_ms);

/*
 * Keeps the next marks (up to TG_MARKS_TOGETHER_MAX) in one batch, whatever it holds already.
 */
void tg_marks_begin(struct tg_marks *m);

/* Hands over what has gathered. What the journal has no room for stays for the next call. */
void tg_marks_flush(struct tg_marks *m);

bool tg_marks_is_empty(const struct tg_marks *m); /* nothing gathered, nothing on its way */

#endif
