#include "connect/csv.h"

#include <string.h>

bool tg_csv_is_text(struct tg_str s)
{
    if (s.len > TG_CE_ATTRIBUTE_MAX_BYTES) {
        return false;
    }
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = s.data[i];

        if (c < 0x20 || c == 0x7f) {
            return false;
        }
        if (c == 0xc2 && i + 1 < s.len && s.data[i + 1] < 0xa0) {
            return false;
        }
    }
    return true;
}

static bool starts_formula(unsigned char c)
{
    return c == '=' || c == '+' || c == '-' || c == '@';
}

static bool needs_quotes(struct tg_str s)
{
    if (s.len == 0) {
        return false;
    }
    return memchr(s.data, ',', s.len) != NULL || memchr(s.data, '"', s.len) != NULL ||
           s.data[0] == ' ' || s.data[s.len - 1] == ' ';
}

static int append_inside(struct tg_buf *b, struct tg_str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] == '"' && tg_buf_append_char(b, '"') != 0) {
            return -1;
        }
        if (tg_buf_append_char(b, (char)s.data[i]) != 0) {
            return -1;
        }
    }
    return 0;
}

static int append_field(struct tg_buf *b, struct tg_str s, bool apostrophe)
{
    bool quoted = needs_quotes(s);

    if (quoted && tg_buf_append_char(b, '"') != 0) {
        return -1;
    }
    if (apostrophe && tg_buf_append_char(b, '\'') != 0) {
        return -1;
    }
    if (append_inside(b, s) != 0) {
        return -1;
    }
    return quoted ? tg_buf_append_char(b, '"') : 0;
}

int tg_csv_append_text(struct tg_buf *b, struct tg_str s)
{
    return append_field(b, s, s.len != 0 && (starts_formula(s.data[0]) || s.data[0] == '\''));
}

int tg_csv_append_plain(struct tg_buf *b, struct tg_str s)
{
    return append_field(b, s, false);
}

/* One field from *at on; *at ends on the comma or the end of the line. Length written, or -1. */
static int read_field(struct tg_str line, size_t *at, char *out)
{
    size_t i = *at;
    int n = 0;

    if (i >= line.len || line.data[i] != '"') {
        while (i < line.len && line.data[i] != ',') {
            if (line.data[i] == '"') {
                return -1;
            }
            out[n++] = (char)line.data[i++];
        }
        *at = i;
        return n;
    }
    for (i++; i < line.len; i++) {
        if (line.data[i] == '"') {
            if (i + 1 >= line.len || line.data[i + 1] != '"') {
                break;
            }
            i++;
        }
        out[n++] = (char)line.data[i];
    }
    if (i >= line.len || (i + 1 < line.len && line.data[i + 1] != ',')) {
        return -1;
    }
    *at = i + 1;
    return n;
}

int tg_csv_split(struct tg_str line, struct tg_csv_record *out)
{
    size_t at = 0;
    size_t used = 0;

    out->count = 0;
    if (line.len >= sizeof(out->text)) {
        return -1;
    }
    for (;;) {
        int n;
        const unsigned char *field = (const unsigned char *)out->text + used;

        if (out->count == TG_FILE_COLUMNS_MAX) {
            return -1;
        }
        n = read_field(line, &at, out->text + used);
        if (n < 0) {
            return -1;
        }
        used += (size_t)n;
        if (n >= 2 && field[0] == '\'' && (starts_formula(field[1]) || field[1] == '\'')) {
            field++;
            n--;
        }
        out->field[out->count++] = (struct tg_str){field, (size_t)n};
        if (at >= line.len) {
            return 0;
        }
        at++; /* the comma */
    }
}
