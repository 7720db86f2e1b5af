/* The chain: how a row is hashed, and the walk that proves nothing was touched. */
#include "journal/audit.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/digest.h"
#include "journal/checkpoint.h"
#include "journal/internal.h"

#define NUMBER_BYTES 8
#define TEXTS 4

static void put_be64(uint64_t value, unsigned char out[NUMBER_BYTES])
{
    for (int i = 0; i < NUMBER_BYTES; i++) {
        out[i] = (unsigned char)(value >> (56 - 8 * i));
    }
}

/*
 * Canonical bytes: seq and at_ms as 8 bytes, big end first; then actor, action, subject and detail,
 * each after its length in 8 bytes, so that no byte can move from one to the next unseen.
 */
int tg_audit_hash(const unsigned char prev[TG_SHA256_BYTES], const struct tg_audit_row *row,
                  unsigned char out[TG_SHA256_BYTES])
{
    const char *const texts[TEXTS] = {row->actor, row->action, row->subject, row->detail};
    unsigned char numbers[2][NUMBER_BYTES];
    unsigned char lengths[TEXTS][NUMBER_BYTES];
    struct tg_str parts[3 + 2 * TEXTS];
    size_t n = 0;

    put_be64((uint64_t)row->seq, numbers[0]);
    put_be64((uint64_t)row->at_ms, numbers[1]);
    parts[n++] = (struct tg_str){prev, TG_SHA256_BYTES};
    parts[n++] = (struct tg_str){numbers[0], NUMBER_BYTES};
    parts[n++] = (struct tg_str){numbers[1], NUMBER_BYTES};
    for (size_t i = 0; i < TEXTS; i++) {
        struct tg_str text = tg_str_of(texts[i]);

        put_be64(text.len, lengths[i]);
        parts[n++] = (struct tg_str){lengths[i], NUMBER_BYTES};
        parts[n++] = text;
    }
    return tg_sha256v(parts, n, out);
}

/* ---- verification ---- */

/* Notes what is wrong with row seq; always false. */
static bool broken(struct tg_audit_report *out, int64_t seq, const char *what)
{
    out->bad_seq = seq == 0 ? -1 : seq; /* 0 says intact; only a forged row has it */
    (void)snprintf(out->reason, sizeof(out->reason), "row %" PRId64 " %s", seq, what);
    return false;
}

/* False when the stored text has a NUL inside: the rest would escape the hash. */
static bool text_whole(sqlite3_stmt *q, int column, const char **out)
{
    *out = tg_column_text(q, column);
    return strlen(*out) == (size_t)sqlite3_column_bytes(q, column);
}

static bool hash_column(sqlite3_stmt *q, int column, unsigned char out[TG_SHA256_BYTES])
{
    const void *blob = sqlite3_column_blob(q, column);

    if (blob == NULL || sqlite3_column_bytes(q, column) != TG_SHA256_BYTES) {
        return false;
    }
    memcpy(out, blob, TG_SHA256_BYTES);
    return true;
}

/* One row against the one before it. True: intact, out->head is its hash. */
static bool row_verify(sqlite3_stmt *q, struct tg_audit_report *out)
{
    struct tg_audit_row row = {.seq = sqlite3_column_int64(q, 0),
                               .at_ms = sqlite3_column_int64(q, 1)};
    unsigned char computed[TG_SHA256_BYTES];
    int64_t expected = out->rows + 1;

    if (row.seq > expected) {
        return broken(out, expected, "is missing");
    }
    if (row.seq < expected) {
        return broken(out, row.seq, "does not belong to the chain");
    }
    if (!text_whole(q, 2, &row.actor) || !text_whole(q, 3, &row.action) ||
        !text_whole(q, 4, &row.subject) || !text_whole(q, 5, &row.detail) ||
        !hash_column(q, 6, row.prev) || !hash_column(q, 7, row.hash)) {
        return broken(out, row.seq, "was changed");
    }
    if (memcmp(row.prev, out->head, TG_SHA256_BYTES) != 0) {
        return broken(out, row.seq, "does not follow the row before it");
    }
    if (tg_audit_hash(row.prev, &row, computed) != 0 ||
        memcmp(computed, row.hash, TG_SHA256_BYTES) != 0) {
        return broken(out, row.seq, "was changed");
    }
    out->rows = row.seq;
    memcpy(out->head, row.hash, TG_SHA256_BYTES);
    return true;
}

/* Compares the checkpoints of the row just verified. *next is the first one not yet met. */
static bool checkpoints_match(const struct tg_checkpoints *c, size_t *next,
                              struct tg_audit_report *out)
{
    while (*next < c->count && c->items[*next].seq <= out->rows) {
        const struct tg_checkpoint *p = &c->items[*next];

        if (p->seq != out->rows || memcmp(p->hash, out->head, TG_SHA256_BYTES) != 0) {
            return broken(out, p->seq, "is not the one its checkpoint signed");
        }
        out->checkpoints++;
        (*next)++;
    }
    return true;
}

static int walk(struct tg_reader *r, const struct tg_checkpoints *c, bool is_copy,
                struct tg_audit_report *out, struct tg_error *err)
{
    sqlite3_stmt *q = NULL;
    size_t next = 0;
    bool intact = true;
    int result = sqlite3_prepare_v2(r->db,
                                    "SELECT seq, at_ms, actor, action, subject, detail, prev, hash "
                                    "FROM audit ORDER BY seq",
                                    -1, &q, NULL);

    if (result == SQLITE_OK) {
        result = sqlite3_step(q);
    }
    while (result == SQLITE_ROW && intact) {
        intact = row_verify(q, out) && checkpoints_match(c, &next, out);
        result = intact ? sqlite3_step(q) : result;
    }
    if (result != SQLITE_ROW && result != SQLITE_DONE) {
        (void)tg_reader_failed(r, "the audit chain", err);
    } else if (intact && is_copy) {
        out->newer = c->count - next;
    } else if (intact && next < c->count) {
        intact =
            broken(out, c->items[next].seq, "is gone: a checkpoint signed it, the tail was cut");
    }
    sqlite3_finalize(q);
    if (result != SQLITE_ROW && result != SQLITE_DONE) {
        return -1;
    }
    return intact ? 0 : 1;
}

static int verify(struct tg_reader *r, const char *checkpoint_dir, const char *public_key_pem,
                  bool is_copy, struct tg_audit_report *out, struct tg_error *err)
{
    struct tg_checkpoints c = {NULL, 0};
    int result = 0;

    memset(out, 0, sizeof(*out));
    /* Checkpoints first, rows after: one written meanwhile must not look like a cut tail. */
    if (checkpoint_dir != NULL) {
        result = tg_checkpoints_load(&c, checkpoint_dir, public_key_pem, out, err);
        out->newest = c.count > 0 ? c.items[c.count - 1].seq : 0;
    }
    if (result == 0) {
        result = walk(r, &c, is_copy, out, err);
    }
    free(c.items);
    return result;
}

int tg_audit_verify(struct tg_reader *r, const char *checkpoint_dir, const char *public_key_pem,
                    struct tg_audit_report *out, struct tg_error *err)
{
    return verify(r, checkpoint_dir, public_key_pem, false, out, err);
}

int tg_audit_verify_copy(struct tg_reader *r, const char *checkpoint_dir,
                         const char *public_key_pem, struct tg_audit_report *out,
                         struct tg_error *err)
{
    return verify(r, checkpoint_dir, public_key_pem, true, out, err);
}
