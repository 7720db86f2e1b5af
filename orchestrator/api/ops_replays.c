/*
 * ops_replays.c: POST /v1/ops/replays and GET /v1/ops/replays/{id}. A dry run says which open
 * exceptions a filter finds, and gives a token over them; the real run quotes it and is refused
 * when the filter finds anything else by then. So what was looked at is what is run. The replaying
 * itself is the loop's (replays.h).
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "api/ops_call.h"
#include "api/ops_list.h"
#include "api/rows.h"
#include "common/codec.h"
#include "common/digest.h"
#include "journal/replays.h"

#define TIME_DIGITS 16 /* of a token: when it was made, so that each dry run has its own */
#define MAC_DIGITS 48
#define TOKEN_DIGITS (TIME_DIGITS + MAC_DIGITS)
#define ACCEPTED                                                                                   \
    "accepted: {\"filter\": {...}, \"dry_run\", \"token\", \"reason\"}, and in the filter at "     \
    "least one of code, owner, destination, subject_prefix, since, until, ids"

struct group {
    char code[TG_CODE_MAX_BYTES + 1], owner[TG_CODE_MAX_BYTES + 1];
    char destination[TG_SOURCE_NAME_MAX_BYTES + 1];
    size_t count;
    int64_t oldest_ms;
};

struct asked {
    struct tg_ops_list list; /* scope, tenant, reader */
    struct tg_error err;
    json_t *body;         /* owned */
    const json_t *filter; /* of body */
    const char *token, *reason;
    bool dry;
    struct tg_exception_query q;
    /* what it finds */
    json_t *items; /* owned */
    struct group groups[TG_REPLAY_GROUPS_MAX];
    size_t group_count;
    bool too_many;
};

/* ---- the body ---- */

static bool refuse(struct asked *a, const char *why)
{
    tg_reply_problem(a->list.out, TG_PROBLEM_BODY_INVALID, a->list.rq->correlation_id, "%s; %s",
                     why, ACCEPTED);
    return false;
}

static struct tg_str text_member(const json_t *o, const char *name)
{
    return tg_str_of(json_string_value(json_object_get(o, name)));
}

static bool read_time(struct asked *a, const char *name, int64_t *out)
{
    const json_t *value = json_object_get(a->filter, name);

    return value == NULL || (json_is_string(value) &&
                             tg_rfc3339_parse(tg_str_of(json_string_value(value)), out) == 0)
               ? true
               : refuse(a, "`since` and `until` are RFC 3339 times");
}

static bool read_ids(struct asked *a, const json_t *ids)
{
    size_t i;
    json_t *id;

    if (ids == NULL) {
        return true;
    }
    if (!json_is_array(ids) || json_array_size(ids) == 0 ||
        json_array_size(ids) > TG_REPLAY_IDS_MAX) {
        return refuse(a, "`ids` is a list of 1 to 1000 numbers of exceptions");
    }
    json_array_foreach(ids, i, id)
    {
        if (!json_is_integer(id) || json_integer_value(id) <= 0) {
            return refuse(a, "`ids` is a list of 1 to 1000 numbers of exceptions");
        }
    }
    return true;
}

static bool read_filter(struct asked *a)
{
    static const char *const texts[] = {"code", "owner", "destination", "subject_prefix"};
    struct tg_str *const into[] = {&a->q.code, &a->q.owner, &a->q.destination, &a->q.prefix};
    size_t known = 0;

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        const json_t *value = json_object_get(a->filter, texts[i]);
        const struct tg_str text = text_member(a->filter, texts[i]);

        if (value != NULL && !tg_str_is_line(text, TG_SUBJECT_MAX_BYTES)) {
            return refuse(a, "code, owner, destination and subject_prefix are one line each");
        }
        *into[i] = value != NULL ? text : (struct tg_str){NULL, 0};
        known += value != NULL ? 1 : 0;
    }
    known += json_object_get(a->filter, "since") != NULL ? 1 : 0;
    known += json_object_get(a->filter, "until") != NULL ? 1 : 0;
    known += json_object_get(a->filter, "ids") != NULL ? 1 : 0;
    if (known == 0 || known != json_object_size(a->filter)) {
        return refuse(a, "the filter is empty, or has a member that is not taken");
    }
    a->q.tenant = a->list.tenant->id;
    a->q.state = TG_QUERY_OPEN;
    a->q.span = (struct tg_span){0, INT64_MAX};
    return read_time(a, "since", &a->q.span.since_ms) &&
           read_time(a, "until", &a->q.span.until_ms) &&
           read_ids(a, json_object_get(a->filter, "ids"));
}

static bool read_body(struct asked *a)
{
    const struct tg_api_request *rq = a->list.rq;
    const json_t *dry, *token, *reason;
    size_t known = 0;

    a->body = json_loadb((const char *)rq->body.data, rq->body.len, JSON_REJECT_DUPLICATES, NULL);
    a->filter = json_object_get(a->body, "filter");
    dry = json_object_get(a->body, "dry_run");
    token = json_object_get(a->body, "token");
    reason = json_object_get(a->body, "reason");
    known += a->filter != NULL ? 1 : 0;
    known += dry != NULL ? 1 : 0;
    known += token != NULL ? 1 : 0;
    known += reason != NULL ? 1 : 0;
    if (!json_is_object(a->filter) || known != json_object_size(a->body)) {
        return refuse(a, "the body is not one JSON object of the right members");
    }
    a->dry = dry == NULL || json_is_true(dry);
    a->token = json_string_value(token);
    a->reason = json_string_value(reason);
    if ((dry != NULL && !json_is_boolean(dry)) || !tg_ops_is_text(reason, TG_REASON_MAX_BYTES)) {
        return refuse(a, "`dry_run` is true or false, `reason` one line of at most 200 bytes that "
                         "is not blank");
    }
    if (!a->dry && (a->token == NULL || strlen(a->token) != TOKEN_DIGITS)) {
        return refuse(a, "a real run quotes the `token` of a dry run with the same filter");
    }
    return read_filter(a);
}

/* ---- what the filter finds ---- */

static bool count_in(struct asked *a, const struct tg_row_exception *x)
{
    const char *to = tg_short_destination(x->destination_id, a->list.rq->tenant);
    struct group *g = a->groups;
    struct group *end = a->groups + a->group_count;

    while (g < end && (strcmp(g->code, x->code) != 0 || strcmp(g->owner, x->owner) != 0 ||
                       strcmp(g->destination, to) != 0)) {
        g++;
    }
    if (g == a->groups + TG_REPLAY_GROUPS_MAX) {
        a->too_many = true;
        return false;
    }
    if (g == end) {
        a->group_count++;
        (void)snprintf(g->code, sizeof(g->code), "%s", x->code);
        (void)snprintf(g->owner, sizeof(g->owner), "%s", x->owner);
        (void)snprintf(g->destination, sizeof(g->destination), "%s", to);
        g->oldest_ms = x->opened_ms;
    }
    g->count++;
    g->oldest_ms = x->opened_ms < g->oldest_ms ? x->opened_ms : g->oldest_ms;
    return true;
}

static bool on_found(void *arg, const struct tg_row_exception *row)
{
    struct asked *a = arg;

    if (json_array_size(a->items) == TG_REPLAY_ITEMS_MAX) {
        a->too_many = true;
        return false;
    }
    if (json_array_append_new(a->items, json_integer(row->id)) != 0) {
        a->list.failed = true;
        return false;
    }
    return count_in(a, row);
}

/* Named one by one: each still has to pass the filter. */
static bool on_named(void *arg, const struct tg_row_exception *row)
{
    struct asked *a = arg;

    if (tg_query_has_exception(&a->q, row)) {
        (void)on_found(a, row);
    }
    return false;
}

static int by_number(const void *left, const void *right)
{
    const json_int_t l = *(const json_int_t *)left, r = *(const json_int_t *)right;

    return (l > r) - (l < r);
}

/* In order and once each, as a walk would find them. */
static int find_named(struct asked *a, const json_t *ids)
{
    const size_t n = json_array_size(ids);
    json_int_t *sorted = calloc(n + 1, sizeof(*sorted));
    int rc = sorted != NULL ? 0 : -1;

    a->list.failed = sorted == NULL;
    for (size_t i = 0; i < n && rc == 0; i++) {
        sorted[i] = json_integer_value(json_array_get(ids, i));
    }
    if (rc == 0) {
        qsort(sorted, n, sizeof(*sorted), by_number);
    }
    for (size_t i = 0; i < n && rc >= 0; i++) {
        if (i == 0 || sorted[i] != sorted[i - 1]) {
            rc = tg_reader_exception(a->list.reader, sorted[i], on_named, a, &a->err);
        }
    }
    free(sorted);
    return rc < 0 ? -1 : 0;
}

static int find(struct asked *a)
{
    const json_t *ids = json_object_get(a->filter, "ids");
    struct tg_walk w = {{0}, false};

    a->items = json_array();
    if (a->items == NULL) {
        a->list.failed = true;
        return -1;
    }
    if (ids != NULL) {
        return find_named(a, ids);
    }
    for (size_t page = 0; !w.over && !a->too_many && !a->list.failed; page++) {
        if (page == TG_REPLAY_PAGES_MAX) {
            a->too_many = true;
        } else if (tg_reader_list_exceptions(a->list.reader, &a->q, &w, on_found, a, &a->err) !=
                   0) {
            return -1;
        }
    }
    return a->list.failed ? -1 : 0;
}

/* ---- the token ---- */

/* Over the journal, the tenant, the filter, what it finds, and the time in it. */
static int token_of(struct asked *a, const char *time_digits, char out[TOKEN_DIGITS + 1])
{
    char *filter = json_dumps(a->filter, JSON_COMPACT | JSON_SORT_KEYS);
    char *items = json_dumps(a->items, JSON_COMPACT);
    const struct tg_str parts[] = {
        tg_str_of("replay"), a->list.rq->tenant,
        tg_str_of("\n"),     {(const unsigned char *)time_digits, TIME_DIGITS},
        tg_str_of(filter),   tg_str_of(items)};
    unsigned char mac[TG_SHA256_BYTES];
    int rc =
        filter != NULL && items != NULL
            ? tg_hmac_sha256v(tg_str_of(a->list.key), parts, sizeof(parts) / sizeof(parts[0]), mac)
            : -1;

    free(filter);
    free(items);
    if (rc == 0) {
        memmove(out, time_digits, TIME_DIGITS);
        tg_hex_encode(mac, MAC_DIGITS / 2, out + TIME_DIGITS);
        out[TOKEN_DIGITS] = '\0';
    }
    return rc;
}

static int new_token(struct asked *a, char out[TOKEN_DIGITS + 1])
{
    struct timespec t;
    char digits[TIME_DIGITS + 1];

    if (clock_gettime(CLOCK_REALTIME, &t) != 0) {
        return -1;
    }
    (void)snprintf(digits, sizeof(digits), "%016" PRIx64,
                   (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000);
    return token_of(a, digits, out);
}

/* ---- answers ---- */

static json_t *group_json(const struct group *g)
{
    return json_pack("{s:s, s:s, s:o, s:I, s:o}", "code", g->code, "owner", g->owner, "destination",
                     tg_json_text(g->destination), "count", (json_int_t)g->count, "oldest_at",
                     tg_json_time(g->oldest_ms));
}

static void answer_dry(struct asked *a)
{
    char token[TOKEN_DIGITS + 1];
    const size_t count = json_array_size(a->items);
    json_t *groups = json_array();

    for (size_t i = 0; i < a->group_count; i++) {
        if (json_array_append_new(groups, group_json(&a->groups[i])) != 0) {
            json_decref(groups);
            groups = NULL;
        }
    }
    if (new_token(a, token) != 0) {
        json_decref(groups);
        groups = NULL;
    }
    tg_reply_json(a->list.out, 200,
                  groups != NULL
                      ? json_pack("{s:b, s:I, s:o, s:s?}", "dry_run", 1, "count", (json_int_t)count,
                                  "groups", groups, "token", count > 0 ? token : NULL)
                      : NULL,
                  a->list.rq->correlation_id);
}

static json_t *replay_json(const struct tg_row_replay *r)
{
    return json_pack("{s:I, s:s, s:s, s:o, s:o, s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:o}", "id",
                     (json_int_t)r->id, "state", r->ended_ms == 0 ? "running" : "ended", "by",
                     r->actor, "reason", tg_json_text(r->reason), "at", tg_json_time(r->at_ms),
                     "ended_at", tg_json_time(r->ended_ms), "filter", tg_json_any(r->filter),
                     "total", (json_int_t)r->total, "done", (json_int_t)r->done, "unchanged",
                     (json_int_t)r->unchanged, "refused", (json_int_t)r->refused, "left",
                     (json_int_t)(r->total - r->position), "refusals", tg_json_any(r->refusals));
}

struct shown {
    struct tg_ops_list *list;
    json_t *json;
};

static bool on_replay(void *arg, const struct tg_row_replay *row)
{
    struct shown *s = arg;

    if (strcmp(row->tenant, s->list->tenant->id) == 0) {
        s->json = replay_json(row);
        s->list->failed = s->json == NULL;
    }
    return false;
}

/* ---- the real run ---- */

static void begin(struct asked *a)
{
    const struct tg_api_request *rq = a->list.rq;
    struct tg_control *c = tg_ops_control(rq, TG_CONTROL_REPLAYS, a->list.out);
    struct shown s = {.list = &a->list};
    int rc;

    if (c == NULL) {
        return;
    }
    c->body =
        json_pack("{s:O, s:O, s:s}", "filter", a->filter, "items", a->items, "token", a->token);
    if (a->reason != NULL) {
        (void)tg_str_copy(tg_str_of(a->reason), c->reason, sizeof(c->reason));
    }
    if (c->body == NULL) {
        tg_reply_problem(a->list.out, TG_PROBLEM_INTERNAL, rq->correlation_id, "out of memory");
    } else if (!tg_ops_call(a->list.ctx, rq, c, a->list.out)) {
        /* the reply says why */
    } else if (json_object_get(c->result, "approval") != NULL) { /* nothing was done yet */
        tg_reply_json(a->list.out, 202, json_incref(c->result), rq->correlation_id);
    } else {
        rc = tg_reader_replay(a->list.reader, json_integer_value(json_object_get(c->result, "id")),
                              on_replay, &s, &a->err);
        tg_ops_show_end(&a->list, rc, &a->err, s.json);
    }
    tg_control_drop(c);
}

/* Sent a second time, since the answer was lost: true, and the reply is that replay. */
static bool is_begun(struct asked *a)
{
    struct shown s = {.list = &a->list};
    int rc = tg_reader_replay_of(a->list.reader, a->token, on_replay, &s, &a->err);

    if (rc == 1 || (rc == 0 && s.json == NULL && !a->list.failed)) {
        return false;
    }
    tg_ops_show_end(&a->list, rc, &a->err, s.json);
    return true;
}

static void run(struct asked *a)
{
    char token[TOKEN_DIGITS + 1];

    if (token_of(a, a->token, token) != 0) {
        tg_reply_problem(a->list.out, TG_PROBLEM_INTERNAL, a->list.rq->correlation_id,
                         "out of memory");
    } else if (!tg_equal_ct((const unsigned char *)token, (const unsigned char *)a->token,
                            TOKEN_DIGITS)) {
        tg_reply_problem(a->list.out, TG_PROBLEM_CONFLICT, a->list.rq->correlation_id,
                         "what this filter finds is not what the dry run of this token showed: it "
                         "finds %zu open exceptions now; nothing was done, look at a new dry run",
                         json_array_size(a->items));
    } else if (json_array_size(a->items) == 0) {
        tg_reply_problem(a->list.out, TG_PROBLEM_CONFLICT, a->list.rq->correlation_id,
                         "this filter finds no open exception: there is nothing to replay");
    } else {
        begin(a);
    }
}

static void answer(struct asked *a)
{
    if (!read_body(a) || (!a->dry && is_begun(a))) {
        return;
    }
    if (find(a) != 0) {
        tg_ops_show_end(&a->list, -1, &a->err, NULL);
    } else if (a->too_many) {
        tg_reply_problem(a->list.out, TG_PROBLEM_CONFLICT, a->list.rq->correlation_id,
                         "this filter finds more than %d exceptions, or has too many to look at: "
                         "name a code, a destination or a time as well",
                         TG_REPLAY_ITEMS_MAX);
    } else if (a->dry) {
        answer_dry(a);
    } else {
        run(a);
    }
}

void tg_api_ops_replays(struct tg_api_context *ctx, const struct tg_api_request *rq,
                        struct tg_reply *out)
{
    static const char *const names[] = {NULL};
    struct asked *a;

    if (!tg_api_may(rq, TG_API_WRITE_SCOPE, out)) {
        return;
    }
    a = calloc(1, sizeof(*a));
    if (a == NULL) {
        tg_reply_problem(out, TG_PROBLEM_INTERNAL, rq->correlation_id, "out of memory");
        return;
    }
    if (tg_ops_open(&a->list, ctx, rq, names, out)) {
        answer(a);
    }
    json_decref(a->body);
    json_decref(a->items);
    free(a);
}

void tg_api_ops_replay_status(struct tg_api_context *ctx, const struct tg_api_request *rq,
                              struct tg_reply *out)
{
    static const char *const names[] = {NULL};
    struct tg_error err = {""};
    struct tg_ops_list l;
    struct shown s = {.list = &l};
    int64_t id;
    int rc = 1;

    if (!tg_ops_list_begin(&l, ctx, rq, NULL, names, out)) {
        return;
    }
    if (tg_str_to_i64(rq->rest, &id)) {
        rc = tg_reader_replay(l.reader, id, on_replay, &s, &err);
    }
    tg_ops_show_end(&l, rc, &err, s.json);
}
