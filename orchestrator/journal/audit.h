/*
 * audit.h: the append-only chain. Row n carries SHA-256(hash of row n-1, canonical bytes of row n);
 * row 1 starts from 32 zero bytes. A cut tail shows only against a checkpoint kept elsewhere:
 * {"seq","hash","at"} signed with Ed25519, exported as a file (checkpoint.h has the form).
 *
 * Ownership: a report is the caller's and points nowhere. Keys are PEM text, not paths.
 */
#ifndef TG_JOURNAL_AUDIT_H
#define TG_JOURNAL_AUDIT_H

#include "journal/journal.h"

struct tg_audit_row {
    int64_t seq, at_ms;
    const char *actor, *action, *subject, *detail; /* detail "" when none */
    unsigned char prev[TG_SHA256_BYTES], hash[TG_SHA256_BYTES];
};

/* The one hash function of writer and verifier. 0 or -1. */
int tg_audit_hash(const unsigned char prev[TG_SHA256_BYTES], const struct tg_audit_row *row,
                  unsigned char out[TG_SHA256_BYTES]);

struct tg_audit_report {
    int64_t rows;
    unsigned char head[TG_SHA256_BYTES];
    int64_t bad_seq;    /* 0: intact; else the row named in reason */
    char reason[128];   /* "row 17 was changed", "row 18 is missing" */
    size_t checkpoints; /* verified */
    size_t newer;       /* of a copy: checkpoints of rows it does not have yet */
    int64_t newest;     /* the highest row a checkpoint signed; 0: none */
};

/*
 * Walks the chain; with checkpoint_dir also verifies every checkpoint file's signature (public key
 * in PEM) and that its row still has that hash. 0 intact, 1 broken, -1 cannot read.
 */
int tg_audit_verify(struct tg_reader *r, const char *checkpoint_dir, const char *public_key_pem,
                    struct tg_audit_report *out, struct tg_error *err);

/*
 * The same for a copy of the journal (a backup): checkpoints of rows behind its end were signed
 * after it was made. They are counted in newer and say nothing against it.
 */
int tg_audit_verify_copy(struct tg_reader *r, const char *checkpoint_dir,
                         const char *public_key_pem, struct tg_audit_report *out,
                         struct tg_error *err);

/* Writes DIR/checkpoint-SEQ.json (tmp + rename + fsync) for the newest row. 0, 1: empty, -1. */
int tg_audit_checkpoint(struct tg_reader *r, const char *dir, const char *private_key_pem,
                        struct tg_error *err);

#endif
