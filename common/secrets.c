#include "common/secrets.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

#include "common/codec.h"

#define SECRET_PREFIX "whsec_"
#define SECRET_PREFIX_LEN (sizeof(SECRET_PREFIX) - 1)
#define TEXT_PREFIX "text:"
#define TEXT_PREFIX_LEN (sizeof(TEXT_PREFIX) - 1)
#define FIELDS_MAX 3
#define DECOY_BYTES 32

/* One line, before sorting. */
struct row {
    struct tg_str name; /* into the table's names buffer */
    size_t line;
    struct tg_secret secret;
};

struct name {
    struct tg_str text; /* into the table's names buffer */
    size_t first;       /* index of its first secret */
    size_t count;
};

struct tg_secrets {
    unsigned char *names_buffer;
    struct name *names; /* sorted */
    size_t name_count;
    struct tg_secret *secrets; /* those of one name lie together */
    size_t secret_count;
    struct tg_secret decoys[TG_SECRETS_PER_NAME_MAX];
    size_t most; /* secrets of one name */
};

static int compare_text(struct tg_str a, struct tg_str b)
{
    const size_t shorter = a.len < b.len ? a.len : b.len;
    const int order = shorter > 0 ? memcmp(a.data, b.data, shorter) : 0;

    if (order != 0) {
        return order;
    }
    return (a.len > b.len) - (a.len < b.len);
}

/* By name, then as in the file. The rows are sorted through pointers: no copy of a secret stays. */
static int compare_rows(const void *left, const void *right)
{
    const struct row *a = *(const struct row *const *)left;
    const struct row *b = *(const struct row *const *)right;
    const int order = compare_text(a->name, b->name);

    return order != 0 ? order : (a->line > b->line) - (a->line < b->line);
}

static bool has_prefix(struct tg_str text, const char *prefix, size_t len)
{
    return text.len >= len && memcmp(text.data, prefix, len) == 0;
}

/* A secret that its sender shows as text; that text is the key. */
static int parse_text(struct tg_str text, size_t line, struct tg_secret *out, struct tg_error *err)
{
    if (text.len < TG_SECRET_TEXT_MIN_BYTES || !tg_str_is_printable(text, sizeof(out->data))) {
        return tg_error_set(
            err, "line %zu: a secret after " TEXT_PREFIX " has %d to %d printable ASCII characters",
            line, TG_SECRET_TEXT_MIN_BYTES, TG_SECRET_MAX_BYTES);
    }
    memcpy(out->data, text.data, text.len);
    out->len = text.len;
    return 0;
}

static int parse_secret(struct tg_str text, size_t line, struct tg_secret *out,
                        struct tg_error *err)
{
    int n;

    if (has_prefix(text, TEXT_PREFIX, TEXT_PREFIX_LEN)) {
        text.data += TEXT_PREFIX_LEN;
        text.len -= TEXT_PREFIX_LEN;
        return parse_text(text, line, out, err);
    }
    if (!has_prefix(text, SECRET_PREFIX, SECRET_PREFIX_LEN)) {
        return tg_error_set(err,
                            "line %zu: a secret is " SECRET_PREFIX " and base64, or " TEXT_PREFIX
                            " and the text itself",
                            line);
    }
    text.data += SECRET_PREFIX_LEN;
    text.len -= SECRET_PREFIX_LEN;
    n = tg_base64_decode(text, out->data, sizeof(out->data));
    if (n < TG_SECRET_MIN_BYTES) {
        return tg_error_set(err,
                            "line %zu: a secret is " SECRET_PREFIX
                            " and the base64, with padding, of %d to %d bytes",
                            line, TG_SECRET_MIN_BYTES, TG_SECRET_MAX_BYTES);
    }
    out->len = (size_t)n;
    return 0;
}

/* Fields between blanks. Returns their number, FIELDS_MAX + 1 when there are more. */
static size_t split_fields(struct tg_str line, struct tg_str fields[FIELDS_MAX])
{
    size_t count = 0;
    size_t i = 0;

    while (i < line.len) {
        size_t start = i;

        while (i < line.len && line.data[i] != ' ' && line.data[i] != '\t') {
            i++;
        }
        if (i > start) {
            if (count == FIELDS_MAX) {
                return FIELDS_MAX + 1;
            }
            fields[count].data = line.data + start;
            fields[count].len = i - start;
            count++;
        }
        i += i < line.len ? 1 : 0;
    }
    return count;
}

/* The next line of *rest without its end; false at the end of the text. */
static bool next_line(struct tg_str *rest, struct tg_str *line)
{
    const unsigned char *end;

    if (rest->len == 0) {
        return false;
    }
    end = memchr(rest->data, '\n', rest->len);
    line->data = rest->data;
    line->len = end != NULL ? (size_t)(end - rest->data) : rest->len;
    rest->data += line->len + (end != NULL ? 1 : 0);
    rest->len -= line->len + (end != NULL ? 1 : 0);
    if (line->len > 0 && line->data[line->len - 1] == '\r') {
        line->len--;
    }
    return true;
}

/* One line of the many-tenants form; its name is written to *names, which moves on. */
static int parse_named(const struct tg_str fields[FIELDS_MAX], size_t count, size_t line,
                       unsigned char **names, struct row *row, struct tg_error *err)
{
    unsigned char *at = *names;

    if (count != 3) {
        return tg_error_set(err, "line %zu: a line is TENANT SOURCE SECRET", line);
    }
    if (!tg_str_is_name(fields[0], TG_TENANT_MAX_BYTES) ||
        !tg_str_is_name(fields[1], TG_SOURCE_NAME_MAX_BYTES)) {
        return tg_error_set(err, "line %zu: tenant and source are 1 to %d of A-Z a-z 0-9 . _ -",
                            line, TG_TENANT_MAX_BYTES);
    }
    memcpy(at, fields[0].data, fields[0].len);
    at[fields[0].len] = '/';
    memcpy(at + fields[0].len + 1, fields[1].data, fields[1].len);
    row->name.data = at;
    row->name.len = fields[0].len + 1 + fields[1].len;
    *names = at + row->name.len;
    return parse_secret(fields[2], line, &row->secret, err);
}

/* Fills rows (room for one a line). Returns their number, or -1. */
static int parse_rows(struct tg_str text, struct tg_str only_name, unsigned char *names,
                      struct row *rows, struct tg_error *err)
{
    struct tg_str fields[FIELDS_MAX];
    struct tg_str line;
    size_t number = 0;
    int count = 0;

    if (only_name.len > 0) {
        memcpy(names, only_name.data, only_name.len);
        only_name.data = names;
    }
    while (next_line(&text, &line)) {
        struct row *row = &rows[count];
        size_t n = split_fields(line, fields);

        number++;
        if (n == 0 || fields[0].data[0] == '#') {
            continue;
        }
        row->line = number;
        if (only_name.len == 0) {
            if (parse_named(fields, n, number, &names, row, err) != 0) {
                return -1;
            }
        } else {
            row->name = only_name;
            if (n != 1) {
                return tg_error_set(err, "line %zu: a line is one secret", number);
            }
            if (parse_secret(fields[0], number, &row->secret, err) != 0) {
                return -1;
            }
        }
        count++;
    }
    return count > 0 ? count : tg_error_set(err, "the file holds no secret");
}

/* Sorts the rows and moves them into the table's arrays. */
static int fill(struct tg_secrets *table, struct row *rows, size_t count, struct tg_error *err)
{
    const size_t pointer_bytes = sizeof(struct row *); /* NOLINT(bugprone-sizeof-expression) */
    struct row **order = calloc(count, pointer_bytes);

    table->names = calloc(count, sizeof(*table->names));
    table->secrets = calloc(count, sizeof(*table->secrets));
    if (order == NULL || table->names == NULL || table->secrets == NULL) {
        free(order);
        return tg_error_set(err, "out of memory");
    }
    for (size_t i = 0; i < count; i++) {
        order[i] = &rows[i];
    }
    qsort(order, count, pointer_bytes, compare_rows);
    for (size_t i = 0; i < count; i++) {
        struct name *last = table->name_count > 0 ? &table->names[table->name_count - 1] : NULL;

        if (last == NULL || !tg_str_equal(last->text, order[i]->name)) {
            last = &table->names[table->name_count++];
            last->text = order[i]->name;
            last->first = i;
        }
        if (last->count == TG_SECRETS_PER_NAME_MAX) {
            (void)tg_error_set(err, "line %zu: a name has at most %d secrets", order[i]->line,
                               TG_SECRETS_PER_NAME_MAX);
            free(order);
            return -1;
        }
        last->count++;
        table->most = last->count > table->most ? last->count : table->most;
        table->secrets[i] = order[i]->secret;
        table->secret_count++;
    }
    free(order);
    return 0;
}

static size_t count_lines(struct tg_str text)
{
    struct tg_str line;
    size_t count = 0;

    while (next_line(&text, &line)) {
        count++;
    }
    return count;
}

static int make_decoys(struct tg_secret decoys[TG_SECRETS_PER_NAME_MAX])
{
    for (size_t i = 0; i < TG_SECRETS_PER_NAME_MAX; i++) {
        if (RAND_bytes(decoys[i].data, DECOY_BYTES) != 1) {
            return -1;
        }
        decoys[i].len = DECOY_BYTES;
    }
    return 0;
}

/* Everything after the checks of size. */
static int build(struct tg_secrets *table, struct tg_str text, struct tg_str only_name,
                 size_t lines, struct tg_error *err)
{
    struct row *rows = calloc(lines + 1, sizeof(*rows));
    int count = -1;

    table->names_buffer = malloc(text.len + only_name.len + 1); /* names are parts of lines */
    if (rows == NULL || table->names_buffer == NULL) {
        (void)tg_error_set(err, "out of memory");
    } else if (make_decoys(table->decoys) != 0) {
        (void)tg_error_set(err, "OpenSSL gives no random bytes");
    } else {
        count = parse_rows(text, only_name, table->names_buffer, rows, err);
    }
    if (count > 0 && fill(table, rows, (size_t)count, err) != 0) {
        count = -1;
    }
    if (rows != NULL) {
        OPENSSL_cleanse(rows, (lines + 1) * sizeof(*rows));
    }
    free(rows);
    return count > 0 ? 0 : -1;
}

struct tg_secrets *tg_secrets_parse(struct tg_str text, struct tg_str only_name,
                                    struct tg_error *err)
{
    struct tg_secrets *table;
    size_t lines;

    if (text.len > TG_SECRETS_FILE_MAX_BYTES) {
        (void)tg_error_set(err, "the file is larger than %d bytes", TG_SECRETS_FILE_MAX_BYTES);
        return NULL;
    }
    lines = count_lines(text);
    if (lines > TG_SECRET_LINES_MAX) {
        (void)tg_error_set(err, "the file has more than %d lines", TG_SECRET_LINES_MAX);
        return NULL;
    }
    table = calloc(1, sizeof(*table));
    if (table == NULL) {
        (void)tg_error_set(err, "out of memory");
        return NULL;
    }
    if (build(table, text, only_name, lines, err) != 0) {
        tg_secrets_free(table);
        return NULL;
    }
    return table;
}

void tg_secrets_free(struct tg_secrets *table)
{
    if (table == NULL) {
        return;
    }
    if (table->secrets != NULL) {
        OPENSSL_cleanse(table->secrets, table->secret_count * sizeof(*table->secrets));
    }
    OPENSSL_cleanse(table->decoys, sizeof(table->decoys));
    free(table->secrets);
    free(table->names);
    free(table->names_buffer);
    free(table);
}

struct tg_secret_list tg_secrets_find(const struct tg_secrets *table, struct tg_str name)
{
    struct tg_secret_list list = {NULL, 0, table->decoys, table->most, false};
    size_t low = 0;
    size_t high = table->name_count;

    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const struct name *candidate = &table->names[middle];
        const int order = compare_text(name, candidate->text);

        if (order == 0) {
            list.items = &table->secrets[candidate->first];
            list.count = candidate->count;
            list.decoy_count = table->most - candidate->count;
            list.known = true;
            return list;
        }
        if (order < 0) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return list;
}

size_t tg_secrets_count(const struct tg_secrets *table)
{
    return table->name_count;
}
