/*
 * signature.h: Standard Webhooks signatures (spec v1.0.0, standardwebhooks.com).
 *
 * Signed content is `id.timestamp.body`, HMAC-SHA-256, in the header as a space separated list of
 * `v1,BASE64`. Every (secret, signature) pair is compared in constant time and no comparison is
 * skipped after a match. Every check of one table computes the same number of HMACs, decoys
 * included, whether the name is known, unknown or in rotation (see secrets.h). No clock inside.
 */
#ifndef TG_COMMON_SIGNATURE_H
#define TG_COMMON_SIGNATURE_H

#include "common/secrets.h"
#include "common/str.h"

enum tg_signature_result {
    TG_SIGNATURE_OK,
    TG_SIGNATURE_MISSING,   /* one of the three headers is absent or empty */
    TG_SIGNATURE_MALFORMED, /* id with a dot or not printable, timestamp not digits, no v1 entry */
    TG_SIGNATURE_WINDOW,    /* too old or too far in the future */
    TG_SIGNATURE_WRONG,
    TG_SIGNATURE_INTERNAL
};

struct tg_signature_standard {
    struct tg_str id, timestamp, signature; /* header values */
};

/* Headers only: presence, form and time window; before any body is read. */
enum tg_signature_result tg_signature_standard_precheck(const struct tg_signature_standard *h,
                                                        int64_t now_s, int64_t tolerance_s);

/* All of it. body may be several pieces. */
enum tg_signature_result tg_signature_standard_verify(const struct tg_signature_standard *h,
                                                      const struct tg_str *body, size_t pieces,
                                                      struct tg_secret_list secrets, int64_t now_s,
                                                      int64_t tolerance_s);

const char *tg_signature_reason(enum tg_signature_result r); /* static sentence */

#endif
