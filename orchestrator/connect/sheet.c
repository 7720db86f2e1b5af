#include "connect/sheet.h"

#include <stdio.h>
#include <string.h>

#include "common/codec.h"
#include "core/decimal.h"

#define NUMBER_BYTES 32

static const struct tg_column labor_columns[] = {
    {"entry", TG_COLUMN_TEXT},
    {"version", TG_COLUMN_INTEGER},
    {"date", TG_COLUMN_DATE},
    {"period", TG_COLUMN_TEXT},
    {"worker", TG_COLUMN_TEXT},
    {"project", TG_COLUMN_TEXT},
    {"task", TG_COLUMN_TEXT},
    {"legal_entity", TG_COLUMN_OPTIONAL},
    {"cost_center", TG_COLUMN_TEXT},
    {"labor_category", TG_COLUMN_OPTIONAL},
    {"hours", TG_COLUMN_DECIMAL},
    {"cost_rate", TG_COLUMN_OPTIONAL_DECIMAL},
    {"amount", TG_COLUMN_DECIMAL},
    {"currency", TG_COLUMN_CURRENCY},
    {"posting_date", TG_COLUMN_OPTIONAL_DATE},
    {"reverses", TG_COLUMN_REVERSES},
};

static const struct tg_column hours_columns[] = {
    {"entry", TG_COLUMN_TEXT},      {"version", TG_COLUMN_INTEGER},   {"date", TG_COLUMN_DATE},
    {"pay_period", TG_COLUMN_TEXT}, {"worker", TG_COLUMN_TEXT},       {"pay_code", TG_COLUMN_TEXT},
    {"hours", TG_COLUMN_DECIMAL},   {"reverses", TG_COLUMN_REVERSES},
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

const struct tg_sheet tg_sheet_labor = {
    .kind = "labor",
    .prefix = "labor-",
    .period = "period",
    .header = "entry,version,date,period,worker,project,task,legal_entity,cost_center,"
              "labor_category,hours,cost_rate,amount,currency,posting_date,reverses,key\n",
    .columns = labor_columns,
    .column_count = COUNT(labor_columns),
    .entry = 0,
    .version = 1,
    .date = 2,
    .worker = 4,
    .project = 5,
    .task = 6,
    .cost_center = 8,
    .hours = 10,
    .amount = 12,
    .currency = 13,
    .posting_date = 14,
    .reverses = 15,
};

const struct tg_sheet tg_sheet_hours = {
    .kind = "hours",
    .prefix = "payroll-",
    .period = "pay_period",
    .header = "entry,version,date,pay_period,worker,pay_code,hours,reverses,key\n",
    .columns = hours_columns,
    .column_count = COUNT(hours_columns),
    .entry = 0,
    .version = 1,
    .date = 2,
    .worker = 4,
    .hours = 6,
    .project = SIZE_MAX,
    .task = SIZE_MAX,
    .cost_center = SIZE_MAX,
    .amount = SIZE_MAX,
    .currency = SIZE_MAX,
    .posting_date = SIZE_MAX,
    .reverses = 7,
};

static const struct tg_sheet *const sheets[] = {&tg_sheet_labor, &tg_sheet_hours};

const struct tg_sheet *tg_sheet_find(const char *kind)
{
    for (size_t i = 0; i < COUNT(sheets); i++) {
        if (strcmp(sheets[i]->kind, kind) == 0) {
            return sheets[i];
        }
    }
    return NULL;
}

const struct tg_sheet *tg_sheet_of_file(const char *name)
{
    size_t len = strlen(name);

    for (size_t i = 0; i < COUNT(sheets); i++) {
        size_t prefix = strlen(sheets[i]->prefix);

        if (len > prefix + 4 && strncmp(name, sheets[i]->prefix, prefix) == 0 &&
            strcmp(name + len - 4, ".csv") == 0) {
            return sheets[i];
        }
    }
    return NULL;
}

int tg_sheet_file(const struct tg_sheet *s, const json_t *payload, char *out, size_t out_size,
                  struct tg_error *err)
{
    const char *period = json_string_value(json_object_get(payload, s->period));
    int n;

    if (period == NULL || !tg_str_is_name(tg_str_of(period), TG_SOURCE_NAME_MAX_BYTES)) {
        return tg_error_set(err, "field %s is missing or not made of letters, digits, . _ -",
                            s->period);
    }
    n = snprintf(out, out_size, "%s%s.csv", s->prefix, period);
    if (n < 0 || (size_t)n >= out_size) {
        return tg_error_set(err, "field %s is too long", s->period);
    }
    return 0;
}

static bool is_currency(struct tg_str s)
{
    return s.len == 3 && s.data[0] >= 'A' && s.data[0] <= 'Z' && s.data[1] >= 'A' &&
           s.data[1] <= 'Z' && s.data[2] >= 'A' && s.data[2] <= 'Z';
}

/* JSON strings may hold NUL; views keep it, so that it is refused like any control character. */
static struct tg_str json_view(const json_t *v)
{
    return (struct tg_str){(const unsigned char *)json_string_value(v), json_string_length(v)};
}

static int append_decimal(const struct tg_column *c, struct tg_str text, bool negate,
                          struct tg_buf *line, struct tg_error *err)
{
    const struct tg_decimal zero = {0};
    struct tg_decimal d;
    char out[TG_DECIMAL_TEXT_BYTES];

    if (tg_decimal_parse(text, &d) != 0 || (negate && tg_decimal_sub(zero, d, &d) != 0)) {
        return tg_error_set(err, "field %s is not a decimal number", c->name);
    }
    (void)tg_decimal_format(d, 2, out);
    return tg_csv_append_plain(line, tg_str_of(out)) == 0 ? 0 : -2;
}

static int append_integer(const struct tg_column *c, const json_t *v, struct tg_buf *line,
                          struct tg_error *err)
{
    char out[NUMBER_BYTES];

    if (!json_is_integer(v)) {
        return tg_error_set(err, "field %s is not a whole number", c->name);
    }
    (void)snprintf(out, sizeof(out), "%lld", (long long)json_integer_value(v));
    return tg_csv_append_plain(line, tg_str_of(out)) == 0 ? 0 : -2;
}

static bool is_optional(const struct tg_column *c)
{
    return c->type == TG_COLUMN_OPTIONAL || c->type == TG_COLUMN_OPTIONAL_DECIMAL ||
           c->type == TG_COLUMN_OPTIONAL_DATE;
}

static bool is_wrong_date(const struct tg_column *c, struct tg_str text)
{
    int32_t day;

    if (c->type != TG_COLUMN_DATE && (c->type != TG_COLUMN_OPTIONAL_DATE || text.len == 0)) {
        return false;
    }
    return tg_date_parse(text, &day) != 0;
}

static int append_column(const struct tg_column *c, const json_t *v, bool negate,
                         struct tg_buf *line, struct tg_error *err)
{
    struct tg_str text = json_view(v);
    bool optional = is_optional(c);

    if (c->type == TG_COLUMN_INTEGER) {
        return append_integer(c, v, line, err);
    }
    if (optional && (v == NULL || json_is_null(v))) {
        return 0;
    }
    if (!json_is_string(v) || (!optional && text.len == 0)) {
        return tg_error_set(err, "field %s is missing or not text", c->name);
    }
    if (!tg_csv_is_text(text)) {
        return tg_error_set(err, "field %s holds control characters or is longer than %d bytes",
                            c->name, TG_CE_ATTRIBUTE_MAX_BYTES);
    }
    if (c->type == TG_COLUMN_DECIMAL || (c->type == TG_COLUMN_OPTIONAL_DECIMAL && text.len != 0)) {
        return append_decimal(c, text, negate, line, err);
    }
    if (is_wrong_date(c, text)) {
        return tg_error_set(err, "field %s is not a date (YYYY-MM-DD)", c->name);
    }
    if (c->type == TG_COLUMN_CURRENCY && !is_currency(text)) {
        return tg_error_set(err, "field %s is not a currency (three capital letters)", c->name);
    }
    return tg_csv_append_text(line, text) == 0 ? 0 : -2;
}

int tg_sheet_line(const struct tg_sheet *s, const json_t *payload, const char *key_hex,
                  const char *reverses, struct tg_buf *line, struct tg_error *err)
{
    size_t start = line->len;
    int rc = 0;

    for (size_t i = 0; i < s->column_count && rc == 0; i++) {
        const struct tg_column *c = &s->columns[i];
        bool negate = reverses != NULL && (i == s->hours || i == s->amount);

        if (c->type != TG_COLUMN_REVERSES) {
            rc = append_column(c, json_object_get(payload, c->name), negate, line, err);
        } else if (reverses != NULL && tg_buf_append_c(line, reverses) != 0) {
            rc = -2;
        }
        if (rc == 0 && tg_buf_append_char(line, ',') != 0) {
            rc = -2;
        }
    }
    if (rc == 0 && (tg_buf_append_c(line, key_hex) != 0 || tg_buf_append_char(line, '\n') != 0)) {
        rc = -2;
    }
    if (rc == 0 && line->len - start > TG_FILE_LINE_MAX_BYTES) {
        rc = tg_error_set(err, "the line is longer than %d bytes", TG_FILE_LINE_MAX_BYTES);
    }
    if (rc != 0) {
        line->len = start;
    }
    return rc;
}

/*
 * hledger gives a meaning to ':', ';', two spaces, brackets and more in account names. Letters,
 * digits, '.', '_', '-' and bytes of UTF-8 stay, all else becomes %XX: different names stay
 * different.
 */
static int append_name(struct tg_buf *b, struct tg_str s)
{
    static const char hex[] = "0123456789ABCDEF";

    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = s.data[i];
        struct tg_str one = {&c, 1};
        char escape[3] = {'%', hex[c >> 4], hex[c & 15]};
        int rc;

        rc = c >= 0x80 || tg_str_is_name(one, 1)
                 ? tg_buf_append(b, one)
                 : tg_buf_append(b, (struct tg_str){(unsigned char *)escape, sizeof(escape)});
        if (rc != 0) {
            return -1;
        }
    }
    return 0;
}

/* "    ROOT:NAME[:NAME2]  [-]AMOUNT COMMODITY\n"; negate turns the sign of a decimal text. */
static int append_posting(struct tg_buf *b, const char *root, struct tg_str name,
                          struct tg_str second, struct tg_str amount, bool negate,
                          struct tg_str commodity)
{
    bool negative = amount.len != 0 && amount.data[0] == '-';
    struct tg_str digits = {amount.data + (negative ? 1 : 0), amount.len - (negative ? 1 : 0)};

    if (tg_buf_append_c(b, "    ") != 0 || tg_buf_append_c(b, root) != 0 ||
        tg_buf_append_char(b, ':') != 0 || append_name(b, name) != 0) {
        return -1;
    }
    if (second.len != 0 && (tg_buf_append_char(b, ':') != 0 || append_name(b, second) != 0)) {
        return -1;
    }
    if (tg_buf_append_c(b, negative != negate ? "  -" : "  ") != 0 ||
        tg_buf_append(b, digits) != 0 || tg_buf_append_char(b, ' ') != 0 ||
        tg_buf_append(b, commodity) != 0 || tg_buf_append_char(b, '\n') != 0) {
        return -1;
    }
    return 0;
}

/* "2026-11-16 * (TE-1@1) labor  ; key:..., reverses:..., worked:2026-10-30\n" */
static int append_head(struct tg_buf *b, const struct tg_csv_record *record)
{
    const struct tg_sheet *s = &tg_sheet_labor;
    const struct tg_str *f = record->field;
    bool moved = f[s->posting_date].len != 0;
    bool reversal = f[s->reverses].len != 0;

    if (tg_buf_append(b, f[moved ? s->posting_date : s->date]) != 0 ||
        tg_buf_append_c(b, " * (") != 0 || append_name(b, f[s->entry]) != 0 ||
        tg_buf_append_char(b, '@') != 0 || tg_buf_append(b, f[s->version]) != 0 ||
        tg_buf_append_c(b, reversal ? ") labor reversed  ; key:" : ") labor  ; key:") != 0 ||
        tg_buf_append(b, f[record->count - 1]) != 0) {
        return -1;
    }
    if (reversal &&
        (tg_buf_append_c(b, ", reverses:") != 0 || tg_buf_append(b, f[s->reverses]) != 0)) {
        return -1;
    }
    if (moved && (tg_buf_append_c(b, ", worked:") != 0 || tg_buf_append(b, f[s->date]) != 0)) {
        return -1;
    }
    return tg_buf_append_char(b, '\n');
}

int tg_sheet_ledger_entry(const struct tg_csv_record *record, struct tg_buf *out)
{
    const struct tg_sheet *s = &tg_sheet_labor;
    const struct tg_str *f = record->field;
    const struct tg_str none = {0};
    struct tg_str h = tg_str_of("h");
    size_t start = out->len;

    if (append_head(out, record) == 0 &&
        append_posting(out, "wip", f[s->project], f[s->task], f[s->hours], false, h) == 0 &&
        append_posting(out, "labor", f[s->worker], none, f[s->hours], true, h) == 0 &&
        append_posting(out, "cost", f[s->project], none, f[s->amount], false, f[s->currency]) ==
            0 &&
        append_posting(out, "absorbed", f[s->cost_center], none, f[s->amount], true,
                       f[s->currency]) == 0 &&
        tg_buf_append_char(out, '\n') == 0) {
        return 0;
    }
    out->len = start;
    return -1;
}
