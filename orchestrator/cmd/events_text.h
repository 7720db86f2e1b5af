/*
 * events_text.h: the story of an entry (api/trail.h) as plain text, at most 100 columns where words
 * allow it, no colours: made to be read by a person in finance, pasted into a mail, compared.
 *
 * Ownership: borrows the JSON.
 */
#ifndef TG_CMD_EVENTS_TEXT_H
#define TG_CMD_EVENTS_TEXT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

/* of_object: the story is that of an object over its versions. */
void tg_events_print(FILE *out, const json_t *trail, bool of_object);

#endif
