#include "core/life.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/codec.h"
#include "common/digest.h"

#define KEY_PARTS_MAX 5
#define LENGTH_BYTES 4
#define HEX_BYTES ((size_t)2 * TG_POSTING_KEY_BYTES)
#define SUBJECT_BYTES (HEX_BYTES + 32)

struct edge {
    enum tg_posting_state from;
    enum tg_posting_event event;
    enum tg_posting_state to;
};

#define EDGE(from, event, to)                                                                      \
    {                                                                                              \
        TG_POSTING_##from, TG_PE_##event, TG_POSTING_##to                                          \
    }

/* Design section 5, row by row. A pair that is not here does not exist. */
static const struct edge EDGES[] = {
    EDGE(PLANNED, PLAN_READY, READY),
    EDGE(PLANNED, HOLD, HELD),
    EDGE(PLANNED, SUPERSEDED, CANCELLED),

    EDGE(HELD, RELEASE, READY),
    EDGE(HELD, HOLD_EXPIRED, EXCEPTION),
    EDGE(HELD, SUPERSEDED, CANCELLED),

    EDGE(READY, SEND, SENT),
    EDGE(READY, SUPERSEDED, CANCELLED),

    EDGE(SENT, ANSWER_POSTED, POSTED),
    EDGE(SENT, ANSWER_REJECTED, REJECTED),
    EDGE(SENT, ANSWER_RETRY, RETRY),
    EDGE(SENT, ANSWER_UNCLEAR, IN_DOUBT),

    EDGE(RETRY, DUE, READY),
    EDGE(RETRY, ATTEMPTS_USED_UP, EXCEPTION),
    EDGE(RETRY, SUPERSEDED, CANCELLED),

    EDGE(IN_DOUBT, FOUND, POSTED),
    EDGE(IN_DOUBT, ABSENT_SAFE, READY),
    EDGE(IN_DOUBT, ABSENT_UNSAFE, EXCEPTION),
    EDGE(IN_DOUBT, LOOKUP_GAVE_UP, EXCEPTION),

    EDGE(REJECTED, OPEN_EXCEPTION, EXCEPTION),
    EDGE(REJECTED, SUPERSEDED, CANCELLED),

    EDGE(EXCEPTION, RELEASE, READY),
    EDGE(EXCEPTION, REPLAY, READY),
    EDGE(EXCEPTION, SUPERSEDED, CANCELLED),

    EDGE(POSTED, REVERSAL_POSTED, REVERSED),

    EDGE(READY, RESTORED, IN_DOUBT),
    EDGE(SENT, RESTORED, IN_DOUBT),
    EDGE(RETRY, RESTORED, IN_DOUBT),
    EDGE(HELD, RELEASE_DOUBT, IN_DOUBT),
    EDGE(EXCEPTION, RELEASE_DOUBT, IN_DOUBT),

    EDGE(EXCEPTION, HOLD, HELD),
    EDGE(EXCEPTION, REPLAY_DOUBT, IN_DOUBT),
    EDGE(EXCEPTION, RESOLVED_POSTED, POSTED),
    EDGE(EXCEPTION, DISCARD, CANCELLED),
    EDGE(EXCEPTION, EDITED, CANCELLED),
};

#undef EDGE

int tg_posting_next(enum tg_posting_state s, enum tg_posting_event e, enum tg_posting_state *next)
{
    for (size_t i = 0; i < sizeof(EDGES) / sizeof(EDGES[0]); i++) {
        if (EDGES[i].from == s && EDGES[i].event == e) {
            *next = EDGES[i].to;
            return 0;
        }
    }
    return -1;
}

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* The numbers come from the journal, so a wrong one has an answer too. */
static const char *name_at(const char *const *names, size_t n, int value)
{
    return value >= 0 && (size_t)value < n ? names[value] : "unknown";
}

#define STATE_FINAL(name, value, text, final) [value] = (final),
#define STATE_NAME(name, value, text, final) [value] = (text),
#define EVENT_NAME(name, text) [TG_PE_##name] = (text),

bool tg_posting_is_final(enum tg_posting_state s)
{
    static const bool finals[TG_POSTING_STATE_COUNT] = {TG_POSTING_STATE_TABLE(STATE_FINAL)};

    return (int)s >= 0 && (int)s < TG_POSTING_STATE_COUNT && finals[s];
}

const char *tg_posting_state_name(enum tg_posting_state s)
{
    static const char *const names[] = {TG_POSTING_STATE_TABLE(STATE_NAME)};

    return name_at(names, COUNT_OF(names), (int)s);
}

const char *tg_posting_event_name(enum tg_posting_event e)
{
    static const char *const names[] = {TG_POSTING_EVENT_TABLE(EVENT_NAME)};

    return name_at(names, COUNT_OF(names), (int)e);
}

#undef STATE_FINAL
#undef STATE_NAME
#undef EVENT_NAME

const char *tg_event_state_name(enum tg_event_state s)
{
    static const char *const names[] = {"in_stream", "accepted", "duplicate", "exception"};

    return name_at(names, COUNT_OF(names), (int)s);
}

const char *tg_version_state_name(enum tg_version_state s)
{
    static const char *const names[] = {"held", "validated", "superseded", "withdrawn",
                                        "exception"};

    return name_at(names, COUNT_OF(names), (int)s);
}

const char *tg_business_state_name(enum tg_business_state s)
{
    static const char *const names[] = {"received", "validated", "posted",   "billed",
                                        "paid",     "reversed",  "exception"};

    return name_at(names, COUNT_OF(names), (int)s);
}

const char *tg_exception_state_name(enum tg_exception_state s)
{
    static const char *const names[] = {"open",      "assigned",    "replayed", "edited",
                                        "discarded", "auto_closed", "resolved"};

    return name_at(names, COUNT_OF(names), (int)s);
}

enum tg_business_state tg_business_state_of(enum tg_version_state v,
                                            const enum tg_posting_state *postings, size_t n)
{
    size_t posted = 0;
    size_t reversed = 0;
    size_t open = 0;

    if (v == TG_VERSION_EXCEPTION) {
        return TG_BUSINESS_EXCEPTION;
    }
    for (size_t i = 0; i < n; i++) {
        switch ((int)postings[i]) {
        case TG_POSTING_EXCEPTION:
        case TG_POSTING_REJECTED:
            return TG_BUSINESS_EXCEPTION;
        case TG_POSTING_POSTED:
            posted++;
            break;
        case TG_POSTING_REVERSED:
            reversed++;
            break;
        case TG_POSTING_CANCELLED:
            break;
        default:
            open++;
            break;
        }
    }
    if (open == 0 && posted > 0) {
        return TG_BUSINESS_POSTED;
    }
    if (open == 0 && reversed > 0) {
        return TG_BUSINESS_REVERSED;
    }
    return v == TG_VERSION_VALIDATED ? TG_BUSINESS_VALIDATED : TG_BUSINESS_RECEIVED;
}

static void put_u32(uint32_t value, unsigned char out[LENGTH_BYTES])
{
    out[0] = (unsigned char)(value >> 24);
    out[1] = (unsigned char)(value >> 16);
    out[2] = (unsigned char)(value >> 8);
    out[3] = (unsigned char)value;
}

/* First bytes of SHA-256 over the parts, each behind its length as 4 bytes big endian. */
static int key_of(const struct tg_str *parts, size_t n, unsigned char out[TG_POSTING_KEY_BYTES])
{
    unsigned char lengths[KEY_PARTS_MAX][LENGTH_BYTES];
    unsigned char full[TG_SHA256_BYTES];
    struct tg_str pieces[2 * KEY_PARTS_MAX];

    for (size_t i = 0; i < n; i++) {
        if (parts[i].len > UINT32_MAX) {
            return -1;
        }
        put_u32((uint32_t)parts[i].len, lengths[i]);
        pieces[2 * i].data = lengths[i];
        pieces[2 * i].len = LENGTH_BYTES;
        pieces[2 * i + 1] = parts[i];
    }
    if (tg_sha256v(pieces, 2 * n, full) != 0) {
        return -1;
    }
    memcpy(out, full, TG_POSTING_KEY_BYTES);
    return 0;
}

int tg_posting_key(struct tg_str destination, struct tg_str subject, struct tg_str kind,
                   struct tg_str leg, unsigned generation, unsigned char out[TG_POSTING_KEY_BYTES])
{
    unsigned char number[LENGTH_BYTES];
    const struct tg_str parts[] = {destination, subject, kind, leg, {number, sizeof(number)}};

    put_u32(generation, number);
    return key_of(parts, COUNT_OF(parts), out);
}

int tg_version_posting_key(struct tg_str destination,
                           const unsigned char object[TG_POSTING_KEY_BYTES], int64_t version,
                           const char *kind, const char *leg, unsigned generation,
                           unsigned char out[TG_POSTING_KEY_BYTES])
{
    char subject[SUBJECT_BYTES];

    tg_hex_encode(object, TG_POSTING_KEY_BYTES, subject);
    (void)snprintf(subject + HEX_BYTES, sizeof(subject) - HEX_BYTES, "@%" PRId64, version);
    return tg_posting_key(destination, tg_str_of(subject), tg_str_of(kind), tg_str_of(leg),
                          generation, out);
}

int tg_event_identity(struct tg_str tenant, struct tg_str client, struct tg_str source,
                      struct tg_str id, unsigned char out[TG_POSTING_KEY_BYTES])
{
    const struct tg_str parts[] = {tenant, client, source, id};

    return key_of(parts, COUNT_OF(parts), out);
}

int tg_object_key(struct tg_str tenant, struct tg_str kind, struct tg_str source, struct tg_str id,
                  unsigned char out[TG_POSTING_KEY_BYTES])
{
    const struct tg_str parts[] = {tenant, kind, source, id};

    return key_of(parts, COUNT_OF(parts), out);
}
