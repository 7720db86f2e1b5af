#include "api/rows.h"

#include <string.h>

#include "common/codec.h"
#include "core/decimal.h"

json_t *tg_json_text(const char *text)
{
    return text != NULL && text[0] != '\0' ? json_string(text) : json_null();
}

json_t *tg_json_time(int64_t ms)
{
    char text[TG_RFC3339_BYTES];

    return ms > 0 && ms != INT64_MAX && tg_rfc3339_format(ms, text, sizeof(text)) == 0
               ? json_string(text)
               : json_null();
}

json_t *tg_json_key(const unsigned char key[TG_POSTING_KEY_BYTES])
{
    char text[2 * TG_POSTING_KEY_BYTES];

    tg_hex_encode(key, TG_POSTING_KEY_BYTES, text);
    return json_stringn(text, sizeof(text));
}

json_t *tg_json_micros(int64_t micros)
{
    char text[TG_DECIMAL_TEXT_BYTES];

    return tg_decimal_format((struct tg_decimal){micros}, 0, text) > 0 ? json_string(text)
                                                                       : json_null();
}

json_t *tg_json_any(const char *text)
{
    json_t *parsed =
        text != NULL && text[0] != '\0' ? json_loads(text, JSON_DECODE_ANY, NULL) : json_null();

    return parsed != NULL ? parsed : json_string(text);
}

const char *tg_short_destination(const char *destination_id, struct tg_str tenant)
{
    if (tenant.len > 0 && strncmp(destination_id, (const char *)tenant.data, tenant.len) == 0 &&
        destination_id[tenant.len] == '/') {
        return destination_id + tenant.len + 1;
    }
    return destination_id;
}

json_t *tg_exception_json(const struct tg_catalogue *catalogue, const struct tg_row_exception *row)
{
    const struct tg_catalogue_entry *e = tg_catalogue_find(catalogue, tg_str_of(row->code));

    return json_pack(
        "{s:I, s:s, s:s, s:o, s:s, s:o, s:s, s:o, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, "
        "s:o}",
        "id", (json_int_t)row->id, "tenant", row->tenant, "code", row->code, "title",
        tg_json_text(e != NULL ? e->title : NULL), "owner", row->owner, "runbook",
        tg_json_text(e != NULL ? e->runbook : NULL), "state", tg_exception_state_name(row->state),
        "assignee", tg_json_text(row->assignee), "subject", row->subject, "event",
        tg_json_text(row->event_id), "posting",
        row->posting != 0 ? tg_json_key(row->posting_key) : json_null(), "destination",
        tg_json_text(tg_short_destination(row->destination_id, tg_str_of(row->tenant))),
        "opened_at", tg_json_time(row->opened_ms), "closed_at", tg_json_time(row->closed_ms),
        "closed_by", tg_json_text(row->closed_by), "outcome", tg_json_text(row->outcome), "reason",
        tg_json_text(row->reason), "detail", tg_json_any(row->detail));
}

json_t *tg_posting_json(const struct tg_row_posting *p, struct tg_str tenant)
{
    return json_pack(
        "{s:o, s:I, s:s, s:s, s:s, s:s, s:i, s:o, s:o, s:s, s:i, s:o, s:o, s:o, s:o, s:o, s:o}",
        "key", tg_json_key(p->key), "id", (json_int_t)p->id, "destination",
        tg_short_destination(p->destination_id, tenant), "subject", p->subject, "kind", p->kind,
        "leg", p->leg, "generation", (int)p->generation, "period", tg_json_text(p->period),
        "quantity", tg_json_micros(p->quantity_micros), "state", tg_posting_state_name(p->state),
        "attempt", (int)p->attempt, "ref", tg_json_text(p->ref), "hold", tg_json_text(p->hold),
        "reverses", p->reverses != 0 ? tg_json_key(p->reverses_key) : json_null(), "journalled_at",
        tg_json_time(p->journalled_ms), "first_sent_at", tg_json_time(p->first_sent_ms), "due_at",
        tg_json_time(p->due_ms));
}

json_t *tg_attempt_json(const struct tg_row_attempt *row)
{
    return json_pack("{s:o, s:i, s:s, s:o}", "at", tg_json_time(row->at_ms), "attempt",
                     (int)row->attempt, "outcome", row->outcome, "detail",
                     tg_json_text(row->detail));
}

json_t *tg_audit_json(const struct tg_audit_row *row)
{
    char hash[2 * TG_SHA256_BYTES];

    tg_hex_encode(row->hash, TG_SHA256_BYTES, hash);
    return json_pack("{s:I, s:o, s:s, s:s, s:s, s:o, s:s#}", "seq", (json_int_t)row->seq, "at",
                     tg_json_time(row->at_ms), "actor", row->actor, "action", row->action,
                     "subject", row->subject, "detail", tg_json_any(row->detail), "hash", hash,
                     (int)sizeof(hash));
}

json_t *tg_reconciled_json(const struct tg_reconciled *row, struct tg_str tenant)
{
    return json_pack("{s:s, s:s, s:s, s:{s:I, s:o}, s:{s:o, s:o}, s:o}", "destination",
                     tg_short_destination(row->destination_id, tenant), "kind", row->kind, "period",
                     row->period, "control_total", "count", (json_int_t)row->total_count,
                     "quantity", tg_json_micros(row->total_micros), "postings", "count",
                     row->summed ? json_integer(row->posted_count) : json_null(), "quantity",
                     row->summed ? tg_json_micros(row->posted_micros) : json_null(), "equal",
                     row->summed ? json_boolean(row->equal) : json_null());
}
