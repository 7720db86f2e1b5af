/*
 * reading.h: a stream entry, checked field by field, as the event row it becomes. Pure.
 *
 * Nothing in an entry is trusted: a field that is missing, too long or not text makes the event
 * `event_undecodable`, with what is there kept, so that no entry can be unjournalable.
 *
 * Ownership: tg_reading_clear ends a reading; its texts and JSON belong to it. The entry's bytes
 * must outlive it (the body is a view).
 */
#ifndef TG_INTAKE_READING_H
#define TG_INTAKE_READING_H

#include <jansson.h>

#include "common/event_id.h"
#include "common/stream.h"
#include "core/config.h"
#include "journal/journal.h"

/* One stream entry: views, nothing checked but that the fields are named once. */
struct tg_entry {
    char event_id[TG_EVENT_ID_MAX_BYTES];
    int64_t stream_ms; /* from the stream id */
    struct tg_str field[TG_STREAM_FIELD_COUNT];
    bool present[TG_STREAM_FIELD_COUNT];
    bool broken; /* unknown or repeated fields, or no field list at all */
};

struct tg_reading {
    struct tg_row_event event; /* id, state and duplicate_of are not set */
    const struct tg_config_tenant *tenant;
    const struct tg_config_source *source;
    json_t *document;
    json_t *data;     /* inside document: what the decoder gets */
    json_t *headers;  /* the event's attributes, for the decoder */
    const char *code; /* refused before any rule: code of the catalogue; NULL: go on */
    char message[TG_ERROR_MAX_BYTES];
    char *text; /* the cleaned copies */
    char sha256[2 * TG_SHA256_BYTES + 1];
};

/* 0, or -1: out of memory. */
int tg_reading_make(const struct tg_entry *e, const struct tg_config *c, struct tg_reading *out);
void tg_reading_clear(struct tg_reading *r);

/* Copies at most max bytes as valid UTF-8 without control characters, others become '?'; NUL added.
 * Returns whether nothing had to be changed or cut. out holds max + 1. */
bool tg_reading_clean(struct tg_str s, size_t max, char *out);

/* No object or array is nested deeper than TG_EVENT_JSON_DEPTH_MAX. */
bool tg_reading_depth_ok(struct tg_str json);

#endif
