#include "common/admit.h"

#include <string.h>

#define HEAD_PARTS 4
#define PARTS_PER_RATE 3

static int verdict_of(struct tg_str text, enum tg_verdict *out)
{
    static const struct {
        const char *name;
        enum tg_verdict verdict;
    } names[] = {
        {"accepted", TG_VERDICT_ACCEPTED}, {"replay", TG_VERDICT_REPLAY},
        {"mismatch", TG_VERDICT_MISMATCH}, {"in_flight", TG_VERDICT_IN_FLIGHT},
        {"limited", TG_VERDICT_LIMITED},   {"contract", TG_VERDICT_CONTRACT},
    };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (tg_str_equal_c(text, names[i].name)) {
            *out = names[i].verdict;
            return 0;
        }
    }
    return -1;
}

/* "0,2": indexes below rates, each once. */
static int violated_of(struct tg_str text, size_t rates, uint32_t *out)
{
    uint32_t mask = 0;
    size_t start = 0;

    for (size_t i = 0; text.len > 0 && i <= text.len; i++) {
        struct tg_str item;
        int64_t index;

        if (i < text.len && text.data[i] != ',') {
            continue;
        }
        item.data = text.data + start;
        item.len = i - start;
        if (!tg_str_to_i64(item, &index) || (uint64_t)index >= rates ||
            (mask & UINT32_C(1) << index) != 0) {
            return -1;
        }
        mask |= UINT32_C(1) << index;
        start = i + 1;
    }
    *out = mask;
    return 0;
}

static int rate_of(const struct tg_str parts[PARTS_PER_RATE], struct tg_rate_state *out)
{
    if (!tg_str_to_i64(parts[0], &out->remaining) || !tg_str_to_i64(parts[1], &out->reset_us)) {
        return -1;
    }
    if (tg_str_equal_c(parts[2], "-1")) {
        out->retry_after_us = -1;
        return 0;
    }
    return tg_str_to_i64(parts[2], &out->retry_after_us) ? 0 : -1;
}

/* The id belongs to accepted and replay only, the violated rates to limited only. */
static int check_sense(const struct tg_admit_reply *r)
{
    const bool may_have_id = r->verdict == TG_VERDICT_ACCEPTED || r->verdict == TG_VERDICT_REPLAY;

    if (r->event_id_len > 0 && !may_have_id) {
        return -1;
    }
    return (r->verdict == TG_VERDICT_LIMITED) == (r->violated != 0) ? 0 : -1;
}

int tg_admit_decode(const struct tg_str *parts, size_t n, size_t expected_rates,
                    struct tg_admit_reply *out)
{
    struct tg_event_id id;

    memset(out, 0, sizeof(*out));
    if (n < HEAD_PARTS || expected_rates > TG_RATES_MAX ||
        verdict_of(parts[0], &out->verdict) != 0 || !tg_str_to_i64(parts[1], &out->redis_us)) {
        return -1;
    }
    /* Another version of the script cannot know how many rates were meant. */
    if (out->verdict == TG_VERDICT_CONTRACT) {
        return 0;
    }
    if (n != HEAD_PARTS + PARTS_PER_RATE * expected_rates ||
        violated_of(parts[3], expected_rates, &out->violated) != 0) {
        return -1;
    }
    if (parts[2].len > 0) {
        if (tg_event_id_parse(parts[2], &id) != 0) {
            return -1;
        }
        out->event_id_len = tg_event_id_format(&id, out->event_id);
    }
    for (size_t i = 0; i < expected_rates; i++) {
        if (rate_of(parts + HEAD_PARTS + PARTS_PER_RATE * i, &out->rates[i]) != 0) {
            return -1;
        }
    }
    out->rate_count = expected_rates;
    return check_sense(out);
}

enum tg_redis_error tg_redis_error_of(struct tg_str text)
{
    static const char *const busy[] = {"LOADING",  "BUSY",       "MASTERDOWN", "CLUSTERDOWN",
                                       "READONLY", "NOREPLICAS", "MISCONF"};
    static const char *const auth[] = {"NOAUTH", "NOPERM", "WRONGPASS"};
    static const char full[] = "ERR max number of clients reached";
    struct tg_str word = {text.data, 0};

    while (word.len < text.len && text.data[word.len] != ' ') {
        word.len++;
    }
    if (tg_str_equal_c(word, "NOSCRIPT")) {
        return TG_REDIS_NOSCRIPT;
    }
    if (tg_str_equal_c(word, "OOM")) {
        return TG_REDIS_FULL;
    }
    for (size_t i = 0; i < sizeof(busy) / sizeof(busy[0]); i++) {
        if (tg_str_equal_c(word, busy[i])) {
            return TG_REDIS_BUSY;
        }
    }
    for (size_t i = 0; i < sizeof(auth) / sizeof(auth[0]); i++) {
        if (tg_str_equal_c(word, auth[i])) {
            return TG_REDIS_AUTH;
        }
    }
    if (text.len >= sizeof(full) - 1 && memcmp(text.data, full, sizeof(full) - 1) == 0) {
        return TG_REDIS_BUSY;
    }
    return TG_REDIS_OTHER;
}
