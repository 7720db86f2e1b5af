/*
 * Filters are compared here, row by row; what SQLite is asked for is only where to walk. So a walk
 * knows how many rows it looked at, and no text of a caller comes near SQL.
 */
#include "journal/query.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "journal/internal.h"

bool tg_query_is_of(const char *destination_id, const char *tenant)
{
    size_t len = strlen(tenant);

    return strncmp(destination_id, tenant, len) == 0 && destination_id[len] == '/';
}

bool tg_query_in(const struct tg_span *span, int64_t ms)
{
    return ms >= span->since_ms && ms < span->until_ms;
}

static bool matches(struct tg_str wanted, const char *text)
{
    return wanted.data == NULL || tg_str_equal_c(wanted, text);
}

int tg_reader_destinations_of(struct tg_reader *r, const char *tenant, tg_number_fn fn, void *arg,
                              struct tg_error *err)
{
    /* '0' is the character behind '/' */
    sqlite3_stmt *s = tg_reader_statement(r, TG_READ_DESTINATIONS_OF,
                                          "SELECT id, name FROM destinations "
                                          "WHERE name >= ?1 || '/' AND name < ?1 || '0' "
                                          "ORDER BY id LIMIT ?2",
                                          err);
    struct tg_bind b;
    int result;

    if (s == NULL) {
        return -1;
    }
    b = tg_bind_begin(s);
    tg_bind_text(&b, tenant);
    tg_bind_i64(&b, TG_JOURNAL_PAGE_MAX);
    result = b.result == SQLITE_OK ? sqlite3_step(s) : b.result;
    while (result == SQLITE_ROW) {
        fn(arg, (uint32_t)sqlite3_column_int64(s, 0), tg_column_text(s, 1));
        result = sqlite3_step(s);
    }
    return tg_reader_finish(r, s, result, 1, false, "the destinations", err);
}

/* ---- exceptions ---- */

struct exception_list {
    const struct tg_exception_query *q;
    struct tg_walk *walk;
    tg_exception_fn fn;
    void *arg;
    size_t looked;
    bool full;
};

static bool goes_to(struct tg_str wanted, const char *tenant, const char *destination_id)
{
    return wanted.data == NULL || (tg_query_is_of(destination_id, tenant) &&
                                   tg_str_equal_c(wanted, destination_id + strlen(tenant) + 1));
}

static bool begins_with(struct tg_str wanted, const char *text)
{
    return wanted.data == NULL || strncmp(text, (const char *)wanted.data, wanted.len) == 0;
}

/* "TE-1" is every version of it: "TE-1@2". An id with an @ of its own is taken as it stands. */
static bool is_about(struct tg_str wanted, const struct tg_row_exception *x)
{
    const char *at = strrchr(x->subject, '@');

    return wanted.data == NULL || tg_str_equal_c(wanted, x->subject) ||
           tg_str_equal_c(wanted, x->event_id) ||
           (at != NULL && tg_str_equal(wanted, (struct tg_str){(const unsigned char *)x->subject,
                                                               (size_t)(at - x->subject)}));
}

bool tg_query_has_exception(const struct tg_exception_query *q, const struct tg_row_exception *x)
{
    bool state = q->state == TG_QUERY_ANY_STATE || (int)x->state == q->state ||
                 (q->state == TG_QUERY_OPEN && x->state <= TG_EXCEPTION_ASSIGNED);

    return state && strcmp(x->tenant, q->tenant) == 0 && matches(q->code, x->code) &&
           matches(q->owner, x->owner) && matches(q->assignee, x->assignee) &&
           goes_to(q->destination, q->tenant, x->destination_id) && is_about(q->subject, x) &&
           begins_with(q->prefix, x->subject) && tg_query_in(&q->span, x->opened_ms);
}

static bool on_exception(void *arg, const struct tg_row_exception *row)
{
    struct exception_list *l = arg;

    l->looked++;
    l->walk->at[0] = row->id;
    if (tg_query_has_exception(l->q, row)) {
        l->full = !l->fn(l->arg, row);
    }
    return !l->full;
}

int tg_reader_list_exceptions(struct tg_reader *r, const struct tg_exception_query *q,
                              struct tg_walk *w, tg_exception_fn fn, void *arg,
                              struct tg_error *err)
{
    struct exception_list l = {.q = q, .walk = w, .fn = fn, .arg = arg};
    const bool open = q->state == TG_QUERY_OPEN || q->state == (int)TG_EXCEPTION_OPEN ||
                      q->state == (int)TG_EXCEPTION_ASSIGNED;
    size_t before, asked;

    do {
        before = l.looked;
        asked = TG_QUERY_ROWS_MAX - l.looked;
        asked = asked > TG_JOURNAL_PAGE_MAX ? TG_JOURNAL_PAGE_MAX : asked;
        if ((open ? tg_reader_exceptions(r, q->tenant, -1, w->at[0], asked, on_exception, &l, err)
                  : tg_reader_exceptions_all(r, w->at[0], asked, on_exception, &l, err)) < 0) {
            return -1;
        }
    } while (!l.full && l.looked - before == asked && l.looked < TG_QUERY_ROWS_MAX);
    w->over = !l.full && l.looked - before < asked;
    return 0;
}

/* ---- from a time to a place ---- */

int tg_query_time_at(struct tg_reader *r, enum tg_timed which, int64_t id, int64_t *ms,
                     struct tg_error *err)
{
    sqlite3_stmt *s =
        which == TG_TIMED_EVENTS
            ? tg_reader_statement(
                  r, TG_READ_EVENT_TIME,
                  "SELECT journalled_ms FROM events WHERE id >= ?1 ORDER BY id LIMIT 1", err)
            : tg_reader_statement(r, TG_READ_AUDIT_TIME,
                                  "SELECT at_ms FROM audit WHERE seq >= ?1 ORDER BY seq LIMIT 1",
                                  err);
    struct tg_bind b;
    int result;

    if (s == NULL) {
        return -1;
    }
    b = tg_bind_begin(s);
    tg_bind_i64(&b, id);
    result = b.result == SQLITE_OK ? sqlite3_step(s) : b.result;
    *ms = result == SQLITE_ROW ? sqlite3_column_int64(s, 0) : INT64_MAX;
    return tg_reader_finish(r, s, result, 1, false, "a time", err);
}

/*
 * The first id from which on rows are of `ms` or later, in a table whose times grow with its ids,
 * but for a clock that was set back: hence the slack. The newest id is found on the way.
 */
static int first_at(struct tg_reader *r, enum tg_timed which, int64_t ms, int64_t *id,
                    struct tg_error *err)
{
    int64_t low = 1, high = INT64_MAX / 2, at;

    while (low < high) {
        int64_t middle = low + (high - low) / 2;

        if (tg_query_time_at(r, which, middle, &at, err) != 0) {
            return -1;
        }
        if (at >= ms) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    *id = low;
    return 0;
}

int tg_query_places(struct tg_reader *r, enum tg_timed which, const struct tg_span *span,
                    int64_t *low, int64_t *high, struct tg_error *err)
{
    *low = 0;
    *high = INT64_MAX;
    if (span->since_ms > TG_QUERY_SLACK_MS &&
        first_at(r, which, span->since_ms - TG_QUERY_SLACK_MS, low, err) != 0) {
        return -1;
    }
    return span->until_ms < INT64_MAX - TG_QUERY_SLACK_MS
               ? first_at(r, which, span->until_ms + TG_QUERY_SLACK_MS, high, err)
               : 0;
}

/* ---- postings ---- */

struct posting_list {
    struct tg_reader *r;
    const struct tg_posting_query *q;
    struct tg_walk *walk;
    tg_posting_fn fn;
    void *arg;
    struct tg_error *err;
    size_t looked;
    int place;      /* of `at` that holds the posting */
    int64_t behind; /* postings up to this id were given */
    bool full, failed;
    uint32_t numbers[TG_JOURNAL_PAGE_MAX]; /* of the tenant's destinations */
    size_t number_count;
};

static bool is_stopped(const struct posting_list *l)
{
    return l->full || l->failed || l->looked >= TG_QUERY_ROWS_MAX;
}

static bool state_matches(int wanted, enum tg_posting_state state)
{
    if (wanted == TG_QUERY_OPEN) {
        return state >= TG_POSTING_READY && state <= TG_POSTING_IN_DOUBT;
    }
    return wanted == TG_QUERY_ANY_STATE || (int)state == wanted;
}

static bool posting_matches(const struct tg_posting_query *q, const struct tg_row_posting *p)
{
    return tg_query_is_of(p->destination_id, q->tenant) && state_matches(q->state, p->state) &&
           matches(q->destination, p->destination_id + strlen(q->tenant) + 1) &&
           matches(q->period, p->period) && tg_query_in(&q->span, p->journalled_ms);
}

static bool on_posting(void *arg, const struct tg_row_posting *row)
{
    struct posting_list *l = arg;

    l->looked++;
    if (row->id <= l->behind) {
        return true;
    }
    l->walk->at[l->place] = row->id;
    if (posting_matches(l->q, row)) {
        l->full = !l->fn(l->arg, row);
    }
    return !is_stopped(l);
}

static void on_number(void *arg, uint32_t destination, const char *destination_id)
{
    struct posting_list *l = arg;
    const char *name = destination_id + strlen(l->q->tenant) + 1;

    if (matches(l->q->destination, name)) {
        l->numbers[l->number_count++] = destination;
    }
}

/* One destination, from at[1] on. */
static int walk_destination(struct posting_list *l, uint32_t number)
{
    const bool aside =
        l->q->state >= 0 && !state_matches(TG_QUERY_OPEN, (enum tg_posting_state)l->q->state);
    size_t before, asked;

    do {
        before = l->looked;
        asked = TG_QUERY_ROWS_MAX - l->looked;
        asked = asked > TG_JOURNAL_PAGE_MAX ? TG_JOURNAL_PAGE_MAX : asked;
        if ((aside ? tg_reader_aside_postings : tg_reader_open_postings)(
                l->r, number, l->walk->at[1], asked, on_posting, l, l->err) < 0) {
            return -1;
        }
    } while (!is_stopped(l) && l->looked - before == asked);
    return 0;
}

/* at: number + 1, posting. */
static int walk_queues(struct posting_list *l)
{
    struct tg_walk *w = l->walk;

    l->place = 1;
    if (tg_reader_destinations_of(l->r, l->q->tenant, on_number, l, l->err) != 0) {
        return -1;
    }
    for (size_t i = 0; i < l->number_count && !is_stopped(l); i++) {
        const int64_t place = (int64_t)l->numbers[i] + 1;

        if (place < w->at[0]) {
            continue;
        }
        w->at[1] = place == w->at[0] ? w->at[1] : 0;
        w->at[0] = place;
        if (walk_destination(l, l->numbers[i]) != 0) {
            return -1;
        }
    }
    w->over = !is_stopped(l);
    return 0;
}

/* The postings of one object version, behind `behind`. */
static bool walk_object(struct posting_list *l, int64_t object, int64_t behind)
{
    l->behind = behind;
    l->walk->at[l->place] = behind;
    l->failed = tg_reader_postings_of_object(l->r, object, on_posting, l, l->err) < 0 || l->failed;
    return !is_stopped(l);
}

/* ---- postings of one object ---- */

struct version_walk {
    struct posting_list *list;
    int64_t version, from; /* from: the object row where the last page ended; 0: none */
};

static bool on_version(void *arg, const struct tg_row_object *row)
{
    struct version_walk *v = arg;
    struct posting_list *l = v->list;
    int64_t behind = 0;

    l->looked++;
    if (v->from != 0 && row->id != v->from) {
        return true;
    }
    if (v->from == row->id) {
        behind = l->walk->at[2];
        v->from = 0;
    }
    if (v->version >= 0 && row->version != v->version) {
        return true;
    }
    l->walk->at[1] = row->id;
    return walk_object(l, row->id, behind);
}

/* at: choice + 1, object row, posting. */
static int walk_choices(struct posting_list *l)
{
    struct tg_walk *w = l->walk;
    size_t i = w->at[0] > 0 ? (size_t)(w->at[0] - 1) : 0;

    l->place = 2;
    for (; i < l->q->object_count && !is_stopped(l); i++) {
        struct version_walk v = {.list = l, .version = l->q->objects[i].version};

        if ((int64_t)i + 1 == w->at[0]) {
            v.from = w->at[1];
        } else {
            w->at[0] = (int64_t)i + 1;
            w->at[1] = w->at[2] = 0;
        }
        if (tg_reader_object_versions(l->r, l->q->objects[i].key, on_version, &v, l->err) < 0) {
            return -1;
        }
    }
    w->over = !is_stopped(l);
    return l->failed ? -1 : 0;
}

/* ---- postings of the newest events ---- */

/* at: event, object row, posting; the object where the last page ended comes once more. */
static int walk_events(struct posting_list *l)
{
    struct tg_walk *w = l->walk;
    sqlite3_stmt *s =
        tg_reader_statement(l->r, TG_READ_OBJECTS_DOWN,
                            "SELECT event, id, tenant FROM objects INDEXED BY objects_event "
                            "WHERE event >= ?1 AND event <= ?2 AND (event < ?2 OR id <= ?3) "
                            "ORDER BY event DESC, id DESC LIMIT ?4",
                            l->err);
    const int64_t from = w->at[1];
    int64_t low, high, behind = w->at[2];
    struct tg_bind b;
    int result;

    l->place = 2;
    if (s == NULL ||
        tg_query_places(l->r, TG_TIMED_EVENTS, &l->q->span, &low, &high, l->err) != 0) {
        return -1;
    }
    b = tg_bind_begin(s);
    tg_bind_i64(&b, low);
    tg_bind_i64(&b, w->at[0] > 0 ? w->at[0] : high);
    tg_bind_i64(&b, w->at[0] > 0 ? from : INT64_MAX);
    tg_bind_i64(&b, TG_QUERY_ROWS_MAX);
    result = b.result == SQLITE_OK ? sqlite3_step(s) : b.result;
    while (result == SQLITE_ROW && !is_stopped(l)) {
        w->at[0] = sqlite3_column_int64(s, 0);
        w->at[1] = sqlite3_column_int64(s, 1);
        l->looked++;
        if (strcmp(tg_column_text(s, 2), l->q->tenant) == 0) {
            (void)walk_object(l, w->at[1], w->at[1] == from ? behind : 0);
        } else {
            w->at[2] = 0;
        }
        result = is_stopped(l) ? result : sqlite3_step(s);
    }
    w->over = result == SQLITE_DONE && !is_stopped(l);
    return tg_reader_finish(l->r, s, result, 1, false, "postings", l->err) != 0 || l->failed ? -1
                                                                                             : 0;
}

int tg_reader_list_postings(struct tg_reader *r, const struct tg_posting_query *q,
                            struct tg_walk *w, tg_posting_fn fn, void *arg, struct tg_error *err)
{
    struct posting_list l = {.r = r, .q = q, .walk = w, .fn = fn, .arg = arg, .err = err};

    if (q->objects != NULL) {
        return walk_choices(&l);
    }
    if (q->state == TG_QUERY_ANY_STATE || q->state == (int)TG_POSTING_POSTED ||
        q->state == (int)TG_POSTING_CANCELLED || q->state == (int)TG_POSTING_REVERSED) {
        return walk_events(&l);
    }
    return walk_queues(&l);
}

/* ---- audit ---- */

/*
 * Whose thing a row is about, as "TENANT/..."; NULL for what is nobody's: the process, a gap. A
 * subject is a word and a number ("posting 17"), or an event id.
 */
#define WHOSE                                                                                      \
    "CASE substr(a.subject, 1, instr(a.subject, ' ')) "                                            \
    "WHEN 'posting ' THEN (SELECT d.name FROM postings p JOIN destinations d "                     \
    "ON d.id = p.destination WHERE p.id = CAST(substr(a.subject, 9) AS INTEGER)) "                 \
    "WHEN 'event ' THEN (SELECT tenant || '/' FROM events "                                        \
    "WHERE id = CAST(substr(a.subject, 7) AS INTEGER)) "                                           \
    "WHEN 'object ' THEN (SELECT tenant || '/' FROM objects "                                      \
    "WHERE id = CAST(substr(a.subject, 8) AS INTEGER)) "                                           \
    "WHEN 'exception ' THEN (SELECT tenant || '/' FROM exceptions "                                \
    "WHERE id = CAST(substr(a.subject, 11) AS INTEGER)) "                                          \
    "WHEN 'master ' THEN (SELECT tenant || '/' FROM master "                                       \
    "WHERE id = CAST(substr(a.subject, 8) AS INTEGER)) "                                           \
    "WHEN 'destination ' THEN (SELECT name FROM destinations "                                     \
    "WHERE id = CAST(substr(a.subject, 13) AS INTEGER)) "                                          \
    "WHEN 'approval ' THEN (SELECT tenant || '/' FROM approvals "                                  \
    "WHERE id = CAST(substr(a.subject, 10) AS INTEGER)) "                                          \
    "WHEN 'replay ' THEN (SELECT tenant || '/' FROM replays "                                      \
    "WHERE id = CAST(substr(a.subject, 8) AS INTEGER)) "                                           \
    "WHEN 'approval ' THEN (SELECT tenant || '/' FROM approvals "                                  \
    "WHERE id = CAST(substr(a.subject, 10) AS INTEGER)) "                                          \
    "WHEN '' THEN (SELECT tenant || '/' FROM events WHERE event_id = a.subject) END "
#define AUDIT_SELECT                                                                               \
    "SELECT a.seq, a.at_ms, a.actor, a.action, a.subject, a.detail, a.prev, a.hash, " WHOSE
#define AUDIT_PLACE "AND a.seq < ?1 AND a.seq >= ?2 ORDER BY a.seq DESC LIMIT ?3"

struct event_of_subject {
    char also[64]; /* "event 17" */
};

static bool on_subject_event(void *arg, const struct tg_row_event *row, int64_t journalled_ms)
{
    struct event_of_subject *e = arg;

    (void)journalled_ms;
    (void)snprintf(e->also, sizeof(e->also), "event %" PRId64, row->id);
    return false;
}

static bool action_matches(struct tg_str wanted, const char *action)
{
    size_t len = strlen(action);

    return wanted.data == NULL || tg_str_equal_c(wanted, action) ||
           (wanted.len < len && memcmp(action, wanted.data, wanted.len) == 0 &&
            action[wanted.len] == '.');
}

static bool audit_matches(const struct tg_audit_query *q, const struct tg_audit_row *a,
                          const char *whose)
{
    return tg_query_is_of(whose, q->tenant) && action_matches(q->action, a->action) &&
           matches(q->actor, a->actor) && tg_query_in(&q->span, a->at_ms);
}

static int audit_walk(struct tg_reader *r, const struct tg_audit_query *q, struct tg_walk *w,
                      struct tg_bind *b, tg_audit_fn fn, void *arg, struct tg_error *err)
{
    sqlite3_stmt *s = b->statement;
    int result = b->result == SQLITE_OK ? sqlite3_step(s) : b->result;
    size_t looked = 0;
    bool full = false;

    while (result == SQLITE_ROW && !full) {
        struct tg_audit_row row = {.seq = sqlite3_column_int64(s, 0),
                                   .at_ms = sqlite3_column_int64(s, 1),
                                   .actor = tg_column_text(s, 2),
                                   .action = tg_column_text(s, 3),
                                   .subject = tg_column_text(s, 4),
                                   .detail = tg_column_text(s, 5)};

        looked++;
        w->at[0] = row.seq;
        tg_column_hash(s, 6, row.prev);
        tg_column_hash(s, 7, row.hash);
        full = audit_matches(q, &row, tg_column_text(s, 8)) && !fn(arg, &row);
        result = full ? result : sqlite3_step(s);
    }
    w->over = result == SQLITE_DONE && looked < TG_QUERY_ROWS_MAX;
    return tg_reader_finish(r, s, result, 1, false, "the audit rows", err);
}

static sqlite3_stmt *audit_statement(struct tg_reader *r, const struct tg_audit_query *q,
                                     struct tg_error *err)
{
    static const char about[] = AUDIT_SELECT
        "FROM audit a INDEXED BY audit_subject WHERE a.subject IN (?4, ?5) " AUDIT_PLACE;
    static const char acts[] = AUDIT_SELECT "FROM audit a INDEXED BY audit_acts WHERE a.actor = ?4 "
                                            "AND a.actor <> 'orchestrator' " AUDIT_PLACE;
    static const char down[] = AUDIT_SELECT "FROM audit a WHERE true " AUDIT_PLACE;

    if (q->subject.data != NULL) {
        return tg_reader_statement(r, TG_READ_AUDIT_ABOUT, about, err);
    }
    return q->actor.data != NULL && !tg_str_equal_c(q->actor, "orchestrator")
               ? tg_reader_statement(r, TG_READ_AUDIT_ACTS, acts, err)
               : tg_reader_statement(r, TG_READ_AUDIT_DOWN, down, err);
}

int tg_reader_list_audit(struct tg_reader *r, const struct tg_audit_query *q, struct tg_walk *w,
                         tg_audit_fn fn, void *arg, struct tg_error *err)
{
    sqlite3_stmt *s = audit_statement(r, q, err);
    struct event_of_subject also = {""};
    char text[TG_SUBJECT_MAX_BYTES + 1] = "";
    int64_t low, high;
    struct tg_bind b;

    if (s == NULL || tg_query_places(r, TG_TIMED_AUDIT, &q->span, &low, &high, err) != 0) {
        return -1;
    }
    /* a text that is too long for a subject is none's */
    if (!tg_str_copy(q->subject.data != NULL ? q->subject : q->actor, text, sizeof(text)) ||
        (q->subject.data != NULL && tg_reader_event(r, text, on_subject_event, &also, err) < 0)) {
        w->over = true;
        return err->text[0] != '\0' ? -1 : 0;
    }
    b = tg_bind_begin(s);
    tg_bind_i64(&b, w->at[0] > 0 ? w->at[0] : high);
    tg_bind_i64(&b, low);
    tg_bind_i64(&b, TG_QUERY_ROWS_MAX);
    if (sqlite3_bind_parameter_count(s) >= 4) {
        tg_bind_text(&b, text);
    }
    if (sqlite3_bind_parameter_count(s) >= 5) {
        tg_bind_text(&b, also.also[0] != '\0' ? also.also : text);
    }
    return audit_walk(r, q, w, &b, fn, arg, err);
}
