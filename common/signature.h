/*
 * signature.h: webhook signatures, two schemes, both HMAC-SHA-256 over the raw bytes of the body.
 *
 *   standard   Standard Webhooks (spec v1.0.0, standardwebhooks.com): signed is
 *              `id.timestamp.body`, the header is a list of `v1,BASE64` between blanks
 *   github     GitHub, Jira Cloud, Jira Data Center: signed is the body alone, the header is
 *              `sha256=HEX`. Nothing says when it was signed, and no identifier is covered: what
 *              protects from a replay is the body's own digest (docs/reference/directives.md)
 *
 * Every (secret, signature) pair is compared in constant time and no comparison is skipped after a
 * match. Every check of one table computes the same number of HMACs, decoys included, whether the
 * name is known, unknown or in rotation (see secrets.h). No clock inside.
 */
#ifndef TG_COMMON_SIGNATURE_H
#define TG_COMMON_SIGNATURE_H

#include "common/secrets.h"
#include "common/str.h"

enum tg_signature_scheme { TG_SIGNATURE_NONE, TG_SIGNATURE_STANDARD, TG_SIGNATURE_GITHUB };

enum tg_signature_result {
    TG_SIGNATURE_OK,
    TG_SIGNATURE_MISSING,   /* a header that the scheme needs is absent or empty */
    TG_SIGNATURE_MALFORMED, /* standard: id with a dot or not printable, timestamp not digits, no v1
                               entry; github: not sha256= and 64 hex digits */
    TG_SIGNATURE_WINDOW,    /* standard only: too old or too far in the future */
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

/* "v1," and base64 of an HMAC, with NUL */
#define TG_SIGNATURE_STANDARD_BYTES 48

/* The other side of it, for what we send: one entry of the header. 0 or -1. */
int tg_signature_standard_make(struct tg_str id, struct tg_str timestamp, struct tg_str body,
                               const struct tg_secret *secret,
                               char out[TG_SIGNATURE_STANDARD_BYTES]);

struct tg_signature_github {
    struct tg_str sha256; /* value of X-Hub-Signature-256 */
    struct tg_str any;    /* of X-Hub-Signature: counts only without the other, and with sha256= */
};

enum tg_signature_result tg_signature_github_precheck(const struct tg_signature_github *h);
enum tg_signature_result tg_signature_github_verify(const struct tg_signature_github *h,
                                                    const struct tg_str *body, size_t pieces,
                                                    struct tg_secret_list secrets);

/* A static sentence for the sender. */
const char *tg_signature_reason(enum tg_signature_scheme scheme, enum tg_signature_result r);

#endif
