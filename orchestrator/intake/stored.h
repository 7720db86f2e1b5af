/*
 * stored.h: an event of the journal as the stream entry it was, with what waits of it.
 *
 * Ownership: tg_stored_clear ends it; the entry's views point into it.
 */
#ifndef TG_INTAKE_STORED_H
#define TG_INTAKE_STORED_H

#include "intake/decide.h"

struct tg_stored {
    struct tg_entry entry;
    char event_id[TG_EVENT_ID_STORED_MAX_BYTES];
    char *memory; /* the entry's bytes */
    /* its object that is HELD or in EXCEPTION; object 0: the event itself is in exception */
    int64_t object, version;
    enum tg_version_state object_state;
    unsigned char key[TG_POSTING_KEY_BYTES];
    char waits_for[TG_WAITS_FOR_MAX_BYTES + 1];
    char code[TG_CODE_MAX_BYTES + 1]; /* of its open exception; "": none */
    size_t exception_count;           /* open ones of the event itself */
    struct tg_known_exception exceptions[TG_API_OBJECTS_MAX];
};

/*
 * body: in the place of the event's own; len 0: its newest edit, or its own. 0; 1: there is no such
 * event, or nothing of it waits; -1 with err.
 */
int tg_stored_read(struct tg_reader *r, int64_t event, struct tg_str body, struct tg_stored *out,
                   struct tg_error *err);
void tg_stored_clear(struct tg_stored *s);

#endif
