/*
 * cloudevent.h: the context attributes of a structured-mode CloudEvent (CloudEvents 1.0.2 JSON
 * format), read at the edge without touching data.
 *
 * Ownership: the struct owns one jansson object; tg_cloudevent_clear ends it; views point into it.
 */
#ifndef TG_COMMON_CLOUDEVENT_H
#define TG_COMMON_CLOUDEVENT_H

#include <jansson.h>

#include "common/str.h"

struct tg_cloudevent {
    json_t *json;                   /* owned: the whole event; extensions are kept */
    struct tg_str id, source, type; /* required, not empty */
    struct tg_str subject, time, dataschema, datacontenttype; /* empty when absent */
};

/*
 * Checks: JSON object without duplicate members, specversion "1.0", required attributes, their
 * type and TG_CE_ATTRIBUTE_MAX_BYTES, time is RFC 3339, not both data and data_base64.
 * 0, or -1 with err naming the attribute (never its value).
 */
int tg_cloudevent_parse(struct tg_str body, struct tg_cloudevent *out, struct tg_error *err);
void tg_cloudevent_clear(struct tg_cloudevent *ce);

/* Nesting of JSON text, counted without building it; -1 when over max. Strings are skipped. */
int tg_json_depth(struct tg_str text, int max);

#endif
