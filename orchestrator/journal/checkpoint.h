/*
 * checkpoint.h: signed files that say how far the audit chain had come. Inside the folder only;
 * writing one is tg_audit_checkpoint of audit.h.
 *
 * A file is {"seq","hash","at","signature"}: hash in hex, signature in base64, Ed25519 over
 * "tallygate.checkpoint.v1\nSEQ\nHASH\nAT\n".
 *
 * Ownership: tg_checkpoints_load fills items; the caller frees them, also after a failure.
 */
#ifndef TG_JOURNAL_CHECKPOINT_H
#define TG_JOURNAL_CHECKPOINT_H

#include "journal/audit.h"

struct tg_checkpoint {
    int64_t seq;
    unsigned char hash[TG_SHA256_BYTES];
};

struct tg_checkpoints {
    struct tg_checkpoint *items; /* by seq */
    size_t count;
};

/*
 * Reads every checkpoint-SEQ.json of the directory and verifies its signature. 0; 1 when one is
 * not as it was signed (out->bad_seq and out->reason say which); -1 when it cannot read.
 */
int tg_checkpoints_load(struct tg_checkpoints *c, const char *dir, const char *public_key_pem,
                        struct tg_audit_report *out, struct tg_error *err);

/*
 * Moves the checkpoints of rows behind `after` into the directory `to`, made when needed: they
 * belong to a journal that was replaced. 0 with how many, or -1.
 */
int tg_checkpoints_set_aside(const char *dir, int64_t after, const char *to, size_t *moved,
                             struct tg_error *err);

#endif
