/*
 * cursor.h: where a list goes on, as text that only its own list understands.
 *
 * It holds the place and a digest (HMAC-SHA-256, its first 16 bytes) over the list's name, the
 * tenant, the filters and the place. So a cursor of another list, of other filters or of another
 * tenant, and one that was altered, are all refused. It guards against mistakes, not against who
 * reads the journal: a list asks for the tenant's own rows whatever a cursor says.
 *
 * Ownership: views belong to the caller.
 */
#ifndef TG_API_CURSOR_H
#define TG_API_CURSOR_H

#include "common/str.h"

/* What a cursor is bound to. A value with data NULL was not given, which is not the empty text. */
struct tg_cursor_of {
    struct tg_str key; /* of this journal */
    const char *list;
    struct tg_str tenant;
    const char *const *names; /* of the filters */
    const struct tg_str *values;
    size_t count; /* at most TG_API_ARGS_MAX */
};

/* place: 1 to TG_CURSOR_PLACE_MAX_BYTES, no NUL in it. 0, or -1: too long, or no memory. */
int tg_cursor_write(const struct tg_cursor_of *of, const char *place,
                    char out[TG_CURSOR_MAX_BYTES + 1]);
/* 0 with the place, NUL at its end; 1: not a cursor of this; -1: no memory. */
int tg_cursor_read(const struct tg_cursor_of *of, struct tg_str text,
                   char place[TG_CURSOR_PLACE_MAX_BYTES + 1]);

#endif
