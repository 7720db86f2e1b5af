/*
 * sheet.h: the two kinds of records the file connector writes, as tables: labor (to ERP: CSV and
 * ledger) and hours (to payroll: CSV and control totals). Pure: JSON payload -> CSV line -> ledger
 * entry.
 *
 * Ownership: static tables; lines are appended to the caller's buffer.
 */
#ifndef TG_CONNECT_SHEET_H
#define TG_CONNECT_SHEET_H

#include <jansson.h>

#include "connect/csv.h"

enum tg_column_type {
    TG_COLUMN_TEXT,     /* required */
    TG_COLUMN_OPTIONAL, /* text; missing or null gives the empty field */
    TG_COLUMN_DATE,     /* YYYY-MM-DD */
    TG_COLUMN_OPTIONAL_DATE,
    TG_COLUMN_INTEGER,
    TG_COLUMN_DECIMAL, /* written with at least two digits after the point */
    TG_COLUMN_OPTIONAL_DECIMAL,
    TG_COLUMN_CURRENCY, /* three capital letters */
    TG_COLUMN_REVERSES  /* not of the payload: the key that this line takes back, or empty */
};

struct tg_column {
    const char *name;
    enum tg_column_type type;
};

struct tg_sheet {
    const char *kind;   /* of the posting */
    const char *prefix; /* of the file name: "labor-" */
    const char *period; /* which column names the file */
    const char *header; /* line of column names, "key" last */
    const struct tg_column *columns;
    size_t column_count;                                       /* without key */
    size_t hours, worker, project, task, date, entry, version; /* column numbers; SIZE_MAX: none */
    size_t cost_center, amount, currency, posting_date, reverses;
};

extern const struct tg_sheet tg_sheet_labor, tg_sheet_hours;

/* The sheet of a posting's kind; NULL: this connector does not take it. */
const struct tg_sheet *tg_sheet_find(const char *kind);

/* The sheet a file of this name belongs to ("labor-2026-11.csv"); NULL: none. */
const struct tg_sheet *tg_sheet_of_file(const char *name);

/*
 * File name of a payload, and its record (\n included) appended to line. key_hex: 32 digits.
 * reverses: NULL, or the key of the line it takes back: the payload is that line's, and hours and
 * amount are written negated. 0, -1: the payload is not one this sheet takes (err names the field),
 * -2: no memory.
 */
int tg_sheet_file(const struct tg_sheet *s, const json_t *payload, char *out, size_t out_size,
                  struct tg_error *err);
int tg_sheet_line(const struct tg_sheet *s, const json_t *payload, const char *key_hex,
                  const char *reverses, struct tg_buf *line, struct tg_error *err);

/*
 * The ledger entry of a labor record, five lines and an empty one, appended to out. Hours move from
 * the worker to work in progress, cost from the cost center to the project; each commodity balances
 * by itself. It is dated with the day of posting, where that is another than the day of the work.
 * 0, or -1: no memory.
 */
int tg_sheet_ledger_entry(const struct tg_csv_record *record, struct tg_buf *out);

#endif
