#include "connect/totals.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/codec.h"
#include "connect/fs.h"
#include "core/decimal.h"

#define NAME_BYTES 160

struct tg_totals {
    const struct tg_sheet *sheet;
    char csv_name[NAME_BYTES], name[NAME_BYTES];
    json_int_t lines;
    struct tg_decimal hours;
    json_t *workers; /* worker -> millionths of an hour */
    EVP_MD_CTX *sha;
};

static int set_names(struct tg_totals *t, const char *csv_name)
{
    size_t len = strlen(csv_name);
    int n;

    if (len < 4 || !tg_str_copy(tg_str_of(csv_name), t->csv_name, sizeof(t->csv_name))) {
        return -1;
    }
    n = snprintf(t->name, sizeof(t->name), "%.*s.totals.json", (int)(len - 4), csv_name);
    return n > 0 && (size_t)n < sizeof(t->name) ? 0 : -1;
}

struct tg_totals *tg_totals_new(const struct tg_sheet *sheet, const char *csv_name)
{
    struct tg_totals *t = calloc(1, sizeof(*t));

    if (t == NULL) {
        return NULL;
    }
    t->sheet = sheet;
    t->workers = json_object();
    t->sha = EVP_MD_CTX_new();
    if (t->workers == NULL || t->sha == NULL || set_names(t, csv_name) != 0 ||
        EVP_DigestInit_ex(t->sha, EVP_sha256(), NULL) != 1 ||
        EVP_DigestUpdate(t->sha, sheet->header, strlen(sheet->header)) != 1) {
        tg_totals_free(t);
        return NULL;
    }
    return t;
}

void tg_totals_free(struct tg_totals *t)
{
    if (t == NULL) {
        return;
    }
    json_decref(t->workers);
    EVP_MD_CTX_free(t->sha);
    free(t);
}

int tg_totals_add(struct tg_totals *t, struct tg_str line, const struct tg_csv_record *record)
{
    struct tg_str worker = record->field[t->sheet->worker];
    struct tg_decimal hours, sum, own;
    json_t *have = json_object_getn(t->workers, (const char *)worker.data, worker.len);

    own.micros = have != NULL ? json_integer_value(have) : 0;
    if (tg_decimal_parse(record->field[t->sheet->hours], &hours) != 0 ||
        tg_decimal_add(t->hours, hours, &sum) != 0 || tg_decimal_add(own, hours, &own) != 0) {
        return -1;
    }
    if (json_object_setn_new(t->workers, (const char *)worker.data, worker.len,
                             json_integer(own.micros)) != 0 ||
        EVP_DigestUpdate(t->sha, line.data, line.len) != 1 ||
        EVP_DigestUpdate(t->sha, "\n", 1) != 1) {
        return -1;
    }
    t->hours = sum;
    t->lines++;
    return 0;
}

/* Digest of the file so far, as hex; the running one goes on. */
static int digest_hex(const struct tg_totals *t, char out[2 * TG_SHA256_BYTES + 1])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    EVP_MD_CTX *copy = EVP_MD_CTX_new();
    int rc = -1;

    if (copy != NULL && EVP_MD_CTX_copy_ex(copy, t->sha) == 1 &&
        EVP_DigestFinal_ex(copy, digest, NULL) == 1) {
        tg_hex_encode(digest, TG_SHA256_BYTES, out);
        out[2 * TG_SHA256_BYTES] = '\0';
        rc = 0;
    }
    EVP_MD_CTX_free(copy);
    return rc;
}

static json_t *decimal_json(int64_t micros)
{
    char text[TG_DECIMAL_TEXT_BYTES];

    (void)tg_decimal_format((struct tg_decimal){micros}, 2, text);
    return json_string(text);
}

static json_t *make_document(const struct tg_totals *t)
{
    char sha[2 * TG_SHA256_BYTES + 1];
    json_t *workers = json_object();
    const char *name;
    json_t *micros;

    if (workers == NULL || digest_hex(t, sha) != 0) {
        json_decref(workers);
        return NULL;
    }
    json_object_foreach(t->workers, name, micros)
    {
        if (json_object_set_new(workers, name, decimal_json(json_integer_value(micros))) != 0) {
            json_decref(workers);
            return NULL;
        }
    }
    return json_pack("{s:s, s:I, s:o, s:s, s:o}", "file", t->csv_name, "lines", t->lines, "hours",
                     decimal_json(t->hours.micros), "sha256", sha, "hours_by_worker", workers);
}

/* Is that text what the file holds already? */
static bool is_on_disk(const struct tg_totals *t, int dirfd, struct tg_str text)
{
    int fd = openat(dirfd, t->name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    char *have = fd >= 0 ? malloc(text.len + 1) : NULL;
    ssize_t n = have != NULL ? pread(fd, have, text.len + 1, 0) : -1;
    bool same = n >= 0 && (size_t)n == text.len && memcmp(have, text.data, text.len) == 0;

    free(have);
    if (fd >= 0) {
        (void)close(fd);
    }
    return same;
}

int tg_totals_write(struct tg_totals *t, int dirfd, struct tg_error *err)
{
    json_t *doc = make_document(t);
    char *dump = doc != NULL ? json_dumps(doc, JSON_INDENT(2) | JSON_SORT_KEYS) : NULL;
    struct tg_buf text;
    int rc = -1;

    json_decref(doc);
    tg_buf_init(&text, TG_TOTALS_FILE_MAX_BYTES);
    if (dump == NULL || tg_buf_append_c(&text, dump) != 0 || tg_buf_append_char(&text, '\n') != 0) {
        (void)tg_error_set(err, "%s: no memory to write it", t->name);
    } else if (is_on_disk(t, dirfd, tg_buf_view(&text)) ||
               tg_fs_replace(dirfd, t->name, tg_buf_view(&text)) == 0) {
        rc = 0;
    } else {
        (void)tg_error_set(err, "%s: cannot write: %s", t->name, strerror(errno));
    }
    free(dump);
    tg_buf_free(&text);
    return rc;
}
