/*
 * csv.h: one record of a CSV file (RFC 4180) on one line.
 *
 * Text that a spreadsheet would run as a formula (first byte = + - @) gets a leading apostrophe; so
 * does text that starts with an apostrophe, so that reading back is exact. Control characters are
 * refused before they come here (tg_csv_is_text), so a record never spans lines.
 *
 * Ownership: fields of a split line are copied into the caller's struct.
 */
#ifndef TG_CONNECT_CSV_H
#define TG_CONNECT_CSV_H

#include "connect/buf.h"

/* No C0, DEL or C1 control character, at most TG_CE_ATTRIBUTE_MAX_BYTES bytes. */
bool tg_csv_is_text(struct tg_str s);

/* A field as free text / as it is (numbers, dates: they cannot start a formula that does harm). */
int tg_csv_append_text(struct tg_buf *b, struct tg_str s);
int tg_csv_append_plain(struct tg_buf *b, struct tg_str s);

struct tg_csv_record {
    size_t count;
    struct tg_str field[TG_FILE_COLUMNS_MAX]; /* views of text */
    char text[TG_FILE_LINE_MAX_BYTES];
};

/* A line without its \n. Apostrophes put by tg_csv_append_text are taken off. 0 or -1. */
int tg_csv_split(struct tg_str line, struct tg_csv_record *out);

#endif
