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

/* Versions, the live one's postings, open exceptions. dispatch NULL: nothing can be cancelled. */
int tg_known_object(struct tg_reader *r, struct tg_dispatch *dispatch,
                    const unsigned char key[TG_POSTING_KEY_BYTES], int64_t version,
                    struct tg_known *out, struct tg_error *err);

#endif
