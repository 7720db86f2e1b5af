#include "common/event_id.h"

#include <inttypes.h>
#include <stdio.h>

/* Digits without a leading zero, from *at on; *at ends behind them. */
static bool read_u64(struct tg_str text, size_t *at, uint64_t *out)
{
    size_t start = *at;
    size_t i = start;
    uint64_t value = 0;

    while (i < text.len && text.data[i] >= '0' && text.data[i] <= '9') {
        unsigned digit = (unsigned)(text.data[i] - '0');

        if (value > (UINT64_MAX - digit) / 10) {
            return false;
        }
        value = value * 10 + digit;
        i++;
    }
    if (i == start || (text.data[start] == '0' && i - start > 1)) {
        return false;
    }
    *at = i;
    *out = value;
    return true;
}

int tg_event_id_from_stream(unsigned shard, struct tg_str stream_id, struct tg_event_id *out)
{
    struct tg_event_id id = {.shard = shard};
    size_t at = 0;

    if (shard >= TG_SHARD_COUNT_MAX || !read_u64(stream_id, &at, &id.ms) || at >= stream_id.len ||
        stream_id.data[at] != '-') {
        return -1;
    }
    at++;
    if (!read_u64(stream_id, &at, &id.seq) || at != stream_id.len) {
        return -1;
    }
    *out = id;
    return 0;
}

int tg_event_id_compare(const struct tg_event_id *a, const struct tg_event_id *b)
{
    if (a->ms != b->ms) {
        return a->ms < b->ms ? -1 : 1;
    }
    return a->seq < b->seq ? -1 : a->seq > b->seq;
}

int tg_event_id_parse(struct tg_str text, struct tg_event_id *out)
{
    struct tg_str rest;
    unsigned shard;

    if (text.len < 5 || text.data[0] != 's' || text.data[1] < '0' || text.data[1] > '9' ||
        text.data[2] < '0' || text.data[2] > '9' || text.data[3] != '-') {
        return -1;
    }
    shard = (unsigned)(text.data[1] - '0') * 10 + (unsigned)(text.data[2] - '0');
    rest.data = text.data + 4;
    rest.len = text.len - 4;
    return tg_event_id_from_stream(shard, rest, out);
}

size_t tg_event_id_format(const struct tg_event_id *id, char *out)
{
    int n = snprintf(out, TG_EVENT_ID_MAX_BYTES, "s%02u-%" PRIu64 "-%" PRIu64,
                     id->shard % TG_SHARD_COUNT_MAX, id->ms, id->seq);

    return n > 0 ? (size_t)n : 0;
}
