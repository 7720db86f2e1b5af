#include "cmd/events_text.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "common/limits.h"

#define COLUMNS 100
#define LABEL_COLUMNS 13
#define SHORT_HASH 16
#define PAIR_BYTES 1024

/* ---- values ---- */

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text != NULL ? text : "";
}

static bool has(const json_t *object, const char *name)
{
    return text_of(object, name)[0] != '\0';
}

/* Text from outside may hold what moves a cursor: it is printed as `?`. */
static void put_safe(FILE *out, const char *text)
{
    for (const unsigned char *c = (const unsigned char *)text; *c != '\0'; c++) {
        bool c1 = c[0] == 0xc2 && c[1] >= 0x80 && c[1] <= 0x9f;

        if (c1) {
            c++;
        }
        (void)fputc(c1 || *c < 0x20 || *c == 0x7f ? '?' : *c, out);
    }
}

/* What a person sees of UTF-8: bytes that begin a character. */
static size_t width_of(const char *text)
{
    size_t n = 0;

    for (; *text != '\0'; text++) {
        n += ((unsigned char)*text & 0xc0) != 0x80;
    }
    return n;
}

static __attribute__((format(printf, 3, 4))) void line(FILE *out, const char *label,
                                                       const char *fmt, ...)
{
    char text[PAIR_BYTES];
    va_list args;

    va_start(args, fmt);
    if (vsnprintf(text, sizeof(text), fmt, args) < 0) {
        text[0] = '\0';
    }
    va_end(args);
    fprintf(out, "%-*s", LABEL_COLUMNS, label);
    put_safe(out, text);
    (void)fputc('\n', out);
}

/* ---- flowing text ---- */

struct flow {
    FILE *out;
    size_t indent, column;
};

static void flow_break(struct flow *f)
{
    fprintf(f->out, "\n%*s", (int)f->indent, "");
    f->column = f->indent;
}

/* One piece that stays together; gap: blanks before it, unless it begins a line. */
static void flow_put(struct flow *f, const char *piece, size_t gap)
{
    size_t width = width_of(piece);

    if (f->column > f->indent && f->column + gap + width > COLUMNS) {
        flow_break(f);
    } else if (f->column > f->indent) {
        fprintf(f->out, "%*s", (int)gap, "");
        f->column += gap;
    }
    put_safe(f->out, piece);
    f->column += width;
}

static void flow_words(struct flow *f, const char *text)
{
    char word[PAIR_BYTES];

    while (*text != '\0') {
        size_t len = strcspn(text, " \n\t");

        if (len > 0) {
            (void)snprintf(word, sizeof(word), "%.*s", (int)len, text);
            flow_put(f, word, 1);
        }
        text += len + (text[len] != '\0' ? 1 : 0);
    }
}

static void value_text(const json_t *value, char *out, size_t size)
{
    char *dumped;

    if (json_is_string(value)) {
        (void)snprintf(out, size, "%s", json_string_value(value));
        return;
    }
    dumped = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    (void)snprintf(out, size, "%s", dumped != NULL ? dumped : "?");
    free(dumped);
}

/* "name value   name value": the fields of an object or payload. */
static void print_fields(FILE *out, const char *label, size_t indent, const json_t *fields)
{
    struct flow f = {.out = out, .indent = indent + LABEL_COLUMNS - 2};
    const char *name;
    json_t *value;
    char text[PAIR_BYTES - 128], pair[PAIR_BYTES];

    f.column = f.indent;
    fprintf(out, "%*s%-*s", (int)indent, "", LABEL_COLUMNS - 2, label);
    if (!json_is_object(fields)) {
        value_text(fields, text, sizeof(text));
        flow_words(&f, text);
    }
    json_object_foreach((json_t *)(uintptr_t)fields, name, value)
    {
        if (!json_is_null(value)) {
            value_text(value, text, sizeof(text));
            (void)snprintf(pair, sizeof(pair), "%.100s %s", name, text);
            flow_put(&f, pair, 3);
        }
    }
    (void)fputc('\n', out);
}

static void print_words(FILE *out, const char *label, size_t indent, const char *text)
{
    struct flow f = {.out = out, .indent = indent + LABEL_COLUMNS - 2};

    f.column = f.indent;
    fprintf(out, "%*s%-*s", (int)indent, "", LABEL_COLUMNS - 2, label);
    flow_words(&f, text);
    (void)fputc('\n', out);
}

/* ---- the event ---- */

static const char *stage_of(const json_t *trail)
{
    const char *stage = "";
    size_t i;
    json_t *object;

    json_array_foreach(json_object_get(trail, "objects"), i, object)
    {
        const char *mine = text_of(object, "stage");

        if (stage[0] == '\0' || strcmp(mine, "exception") == 0) {
            stage = mine;
        }
    }
    return stage;
}

/* What most people want to know: where did it go. */
static void print_short(FILE *out, const json_t *trail)
{
    const char *label = "in short";
    size_t i, k;
    json_t *object, *posting, *x;

    json_array_foreach(json_object_get(trail, "objects"), i, object)
    {
        line(out, label, "%s %s version %lld: %s", text_of(object, "kind"), text_of(object, "id"),
             (long long)json_integer_value(json_object_get(object, "version")),
             text_of(object, "state"));
        label = "";
        json_array_foreach(json_object_get(object, "postings"), k, posting)
        {
            line(out, "", "  %-20s %s%s%s", text_of(posting, "destination"),
                 text_of(posting, "state"), has(posting, "ref") ? " as " : "",
                 text_of(posting, "ref"));
            if (json_is_integer(json_object_get(posting, "reverses"))) {
                line(out, "", "  %-20s   takes back posting %lld", "",
                     (long long)json_integer_value(json_object_get(posting, "reverses")));
            }
        }
    }
    json_array_foreach(json_object_get(trail, "exceptions"), i, x)
    {
        line(out, label, "exception %lld: %s, %s, owner %s",
             (long long)json_integer_value(json_object_get(x, "id")), text_of(x, "code"),
             text_of(x, "state"), text_of(x, "owner"));
        label = "";
    }
}

static void print_event(FILE *out, const json_t *e, const char *stage, const json_t *trail)
{
    line(out, "event", "%s", text_of(e, "id"));
    if (has(e, "duplicate_of")) {
        line(out, "state",
             "duplicate of %s: the same id from the same sender came before; nothing "
             "was done",
             text_of(e, "duplicate_of"));
    } else {
        line(out, "state", "%s%s%s", text_of(e, "status"), stage[0] != '\0' ? ", " : "", stage);
    }
    if (trail != NULL) {
        print_short(out, trail);
        (void)fputc('\n', out);
    }
    line(out, "received", "%s from %s for tenant %s", text_of(e, "received_at"),
         text_of(e, "client"), text_of(e, "tenant"));
    line(out, "journalled", "%s", text_of(e, "journalled_at"));
    line(out, "type", "%s", text_of(e, "type"));
    line(out, "source", "%s, its id there %s", text_of(e, "source"), text_of(e, "source_id"));
    if (has(e, "time")) {
        line(out, "time", "%s, by the source", text_of(e, "time"));
    }
    if (has(e, "key")) {
        line(out, "key", "%s", text_of(e, "key"));
    }
    if (has(e, "correlation_id")) {
        line(out, "correlation", "%s", text_of(e, "correlation_id"));
    }
    if (has(e, "traceparent")) {
        line(out, "traceparent", "%s", text_of(e, "traceparent"));
    }
    line(out, "body", "%lld bytes %s, sha256 %.*s",
         (long long)json_integer_value(json_object_get(e, "body_bytes")),
         text_of(e, "content_type"), SHORT_HASH, text_of(e, "body_sha256"));
}

/* ---- objects and postings ---- */

static void print_attempt(FILE *out, const json_t *a)
{
    struct flow f = {.out = out, .indent = 30};
    char text[64];

    (void)snprintf(text, sizeof(text), "attempt %lld: %.40s",
                   (long long)json_integer_value(json_object_get(a, "attempt")),
                   text_of(a, "outcome"));
    f.column = f.indent;
    fprintf(out, "    %-26s", text_of(a, "at"));
    flow_words(&f, text);
    if (has(a, "detail")) {
        flow_put(&f, "-", 1);
        flow_words(&f, text_of(a, "detail"));
    }
    (void)fputc('\n', out);
}

/* The posting of this object that reverses p; NULL: none. */
static const json_t *reversal_of(const json_t *postings, const json_t *p)
{
    const json_int_t id = json_integer_value(json_object_get(p, "posting"));
    json_t *other;
    size_t i;

    json_array_foreach(postings, i, other)
    {
        if (json_integer_value(json_object_get(other, "reverses")) == id &&
            strcmp(text_of(other, "state"), "cancelled") != 0) {
            return other;
        }
    }
    return NULL;
}

static void print_relations(FILE *out, const json_t *postings, const json_t *p)
{
    const json_t *by = reversal_of(postings, p);

    if (json_is_integer(json_object_get(p, "reverses"))) {
        fprintf(out, "    %-*sposting %lld\n", LABEL_COLUMNS - 2, "takes back",
                (long long)json_integer_value(json_object_get(p, "reverses")));
    }
    if (by != NULL) {
        fprintf(out, "    %-*sby posting %lld, which is %s\n", LABEL_COLUMNS - 2, "taken back",
                (long long)json_integer_value(json_object_get(by, "posting")),
                text_of(by, "state"));
    }
    if (has(p, "held_for")) {
        fprintf(out, "    %-*s%s, waits for posting %lld\n", LABEL_COLUMNS - 2, "held for",
                text_of(p, "held_for"),
                (long long)json_integer_value(json_object_get(p, "held_on")));
    }
}

static void print_posting(FILE *out, const json_t *postings, const json_t *p)
{
    struct flow f = {.out = out, .indent = 4};
    char text[PAIR_BYTES];
    size_t i;
    json_t *a;

    f.column = f.indent;
    fprintf(out, "\n  > ");
    (void)snprintf(text, sizeof(text), "%s %s %s, period %s, quantity %s: %s",
                   text_of(p, "destination"), text_of(p, "kind"), text_of(p, "leg"),
                   has(p, "period") ? text_of(p, "period") : "-", text_of(p, "quantity"),
                   text_of(p, "state"));
    flow_words(&f, text);
    if (has(p, "ref")) {
        flow_words(&f, "as");
        flow_put(&f, text_of(p, "ref"), 1);
    }
    (void)fputc('\n', out);
    fprintf(out, "    %-*s%s, posting %lld, generation %lld\n", LABEL_COLUMNS - 2, "key",
            text_of(p, "key"), (long long)json_integer_value(json_object_get(p, "posting")),
            (long long)json_integer_value(json_object_get(p, "generation")));
    print_relations(out, postings, p);
    print_fields(out, "sends", 4, json_object_get(p, "payload"));
    if (has(p, "first_sent_at")) {
        fprintf(out, "    %-26sfirst sent\n", text_of(p, "first_sent_at"));
    }
    json_array_foreach(json_object_get(p, "attempts"), i, a)
    {
        print_attempt(out, a);
    }
    if (has(p, "due_at")) {
        fprintf(out, "    %-26s%s\n", text_of(p, "due_at"),
                has(p, "held_for") ? "held until then at most" : "next try or look-up");
    }
}

static void print_object(FILE *out, const json_t *o)
{
    json_t *item;
    size_t i;

    (void)fputc('\n', out);
    put_safe(out, text_of(o, "kind"));
    (void)fputc(' ', out);
    put_safe(out, text_of(o, "id"));
    fprintf(out, " version %lld: %s\n",
            (long long)json_integer_value(json_object_get(o, "version")), text_of(o, "state"));
    fprintf(out, "  %-*s%.*s, master data %s, source %s\n", LABEL_COLUMNS - 2, "rules", SHORT_HASH,
            text_of(o, "rules"), text_of(o, "master"), text_of(o, "source"));
    fprintf(out, "  %-*s%s\n", LABEL_COLUMNS - 2, "event", text_of(o, "event"));
    print_fields(out, "fields", 2, json_object_get(o, "fields"));
    json_array_foreach(json_object_get(o, "other_versions"), i, item)
    {
        fprintf(out, "  %-*sversion %lld: %s, event %s\n", LABEL_COLUMNS - 2, "see also",
                (long long)json_integer_value(json_object_get(item, "version")),
                text_of(item, "state"), text_of(item, "event"));
    }
    json_array_foreach(json_object_get(o, "postings"), i, item)
    {
        print_posting(out, json_object_get(o, "postings"), item);
    }
}

/* ---- exceptions ---- */

/* The messages of a detail: {"message"}, a list of them, or words. */
static void print_messages(FILE *out, const json_t *detail)
{
    json_t *item;
    size_t i;

    if (json_is_array(detail)) {
        json_array_foreach(detail, i, item)
        {
            print_messages(out, item);
        }
        return;
    }
    if (json_is_object(json_object_get(detail, "violations")) ||
        json_is_array(json_object_get(detail, "violations"))) {
        print_messages(out, json_object_get(detail, "violations"));
        return;
    }
    if (json_is_object(detail) && has(detail, "message")) {
        print_words(out, "says", 2, text_of(detail, "message"));
    } else if (!json_is_null(detail) && detail != NULL) {
        print_fields(out, "detail", 2, detail);
    }
}

static void print_exception(FILE *out, const json_t *x)
{
    fprintf(out, "\nexception %lld: %s, %s, owner %s\n",
            (long long)json_integer_value(json_object_get(x, "id")), text_of(x, "code"),
            text_of(x, "state"), text_of(x, "owner"));
    print_words(out, "title", 2, text_of(x, "title"));
    print_messages(out, json_object_get(x, "detail"));
    fprintf(out, "  %-*s%s%s%s\n", LABEL_COLUMNS - 2, "opened", text_of(x, "opened_at"),
            has(x, "closed_at") ? ", closed " : "", text_of(x, "closed_at"));
    fprintf(out, "  %-*s%s\n", LABEL_COLUMNS - 2, "runbook", text_of(x, "runbook"));
}

/* ---- audit ---- */

static void print_audit(FILE *out, const json_t *rows)
{
    json_t *row;
    size_t i;

    fprintf(out, "\naudit        rows of the chain, oldest first; `tallygate audit verify` proves "
                 "them\n");
    if (json_array_size(rows) == 0) {
        fprintf(out, "  none: what went well without a look-up is told by the rows above\n");
    }
    json_array_foreach(rows, i, row)
    {
        fprintf(out, "  %-7lld %-24s %-12s %-18s %-14s %.*s\n",
                (long long)json_integer_value(json_object_get(row, "seq")), text_of(row, "at"),
                text_of(row, "actor"), text_of(row, "action"), text_of(row, "subject"), SHORT_HASH,
                text_of(row, "hash"));
    }
}

void tg_events_print(FILE *out, const json_t *trail, bool of_object)
{
    json_t *item;
    size_t i;

    if (of_object) {
        json_array_foreach(json_object_get(trail, "events"), i, item)
        {
            fprintf(out, "%s", i > 0 ? "\n" : "");
            print_event(out, item,
                        text_of(json_array_get(json_object_get(trail, "objects"), i), "stage"),
                        NULL);
            print_object(out, json_array_get(json_object_get(trail, "objects"), i));
        }
    } else {
        print_event(out, json_object_get(trail, "event"), stage_of(trail), trail);
        json_array_foreach(json_object_get(trail, "objects"), i, item)
        {
            print_object(out, item);
        }
    }
    json_array_foreach(json_object_get(trail, "exceptions"), i, item)
    {
        print_exception(out, item);
    }
    print_audit(out, json_object_get(trail, "audit"));
    if (json_is_true(json_object_get(trail, "truncated"))) {
        fprintf(out, "\nnot all of it is shown: a list is longer than %d\n", TG_TRAIL_ROWS_MAX);
    }
}
