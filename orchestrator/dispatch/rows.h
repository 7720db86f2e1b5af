/*
 * rows.h: the postings the engine holds, with what it does not need to know: payload, key, texts,
 * and what the connector last said. Found by id; never more than TG_OPEN_POSTINGS_MAX.
 *
 * Ownership: the table owns its rows; a row lives until it is removed.
 */
#ifndef TG_DISPATCH_ROWS_H
#define TG_DISPATCH_ROWS_H

#include "connect/connect.h"
#include "journal/journal.h"

struct tg_open_row {
    int64_t id, object;
    uint32_t destination;
    enum tg_posting_state state; /* after the last mark put into a batch */
    unsigned attempt;
    int64_t due_ms, first_sent_ms; /* as loaded */
    unsigned marks_out;            /* in a batch that is not on disk yet */
    bool out;                      /* with the connector */
    bool superseded;               /* as loaded */
    bool stuck;                    /* the connector's last answer, and recorded */
    int64_t reverses;              /* 0: not a reversal */
    char key_hex[2 * TG_POSTING_KEY_BYTES + 1];
    char reverses_hex[2 * TG_POSTING_KEY_BYTES + 1];
    const char *kind, *leg, *payload, *subject, *correlation_id;
    const char *reverses_ref; /* "": none */
    /* the connector's last answer, until the mark that records it */
    const char *outcome; /* static word; NULL: none to record */
    char ref[TG_CONNECT_REF_MAX_BYTES + 1];
    char detail[TG_CONNECT_DETAIL_MAX_BYTES + 1];
    char exception[TG_SOURCE_NAME_MAX_BYTES + 1];
    char text[]; /* the strings */
};

struct tg_rows;

struct tg_rows *tg_rows_new(void); /* NULL: no memory */
void tg_rows_free(struct tg_rows *r);
struct tg_open_row *tg_rows_find(const struct tg_rows *r, int64_t id);
/* Copies a row of the journal. NULL: no memory, full, or there already. */
struct tg_open_row *tg_rows_add(struct tg_rows *r, const struct tg_row_posting *from);
void tg_rows_remove(struct tg_rows *r, int64_t id);
size_t tg_rows_count(const struct tg_rows *r);

#endif
