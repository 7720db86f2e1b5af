/*
 * known.h: what the journal (and dispatch's memory) knows about an entry, for decide.h.
 *
 * Ownership: the caller's struct tg_known, ended with tg_known_clear.
 */
#ifndef TG_INTAKE_KNOWN_H
#define TG_INTAKE_KNOWN_H

#include "dispatch/dispatch.h"
#include "intake/decide.h"

/* The first event of this identity, if any. 0, or -1 with err. */
int tg_known_identity(struct tg_reader *r, const unsigned char identity[TG_POSTING_KEY_BYTES],
                      struct tg_known *out, struct tg_error *err);

/*
 * The stream gave an event id that the journal has. 0: it is that event, or one stored before as
 * its reuse: only the acknowledgement is missing. 1: another event under a used id (Redis was
 * emptied and its clock went back); out gets the free id "ID-rN" to store it under. -1 with err.
 * out holds TG_EVENT_ID_STORED_MAX_BYTES.
 */
int tg_known_reuse(struct tg_reader *r, const struct tg_row_event *event, char *out,
                   struct tg_error *err);

/* Versions, effects, open exceptions; everything but the rules' word on reversals. dispatch NULL:
 * nothing can be cancelled. 0; 1: a mark of one of its postings is on its way to the journal, ask
 * again after its commit; -1 with err. */
int tg_known_object(struct tg_reader *r, struct tg_dispatch *dispatch,
                    const unsigned char key[TG_POSTING_KEY_BYTES], int64_t version,
                    struct tg_known *out, struct tg_error *err);

#endif
