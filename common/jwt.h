/*
 * jwt.h: verify a signed JSON Web Token (RFC 7519, RFC 7515, advice of RFC 8725).
 *
 * Ownership: tg_jwt_verify fills a struct that owns one jansson object; tg_jwt_clear ends it.
 * Views in it point into that object. No clock inside: the caller passes now.
 */
#ifndef TG_COMMON_JWT_H
#define TG_COMMON_JWT_H

#include <jansson.h>

#include "common/jwks.h"
#include "common/str.h"

/*
 * The edge names a webhook's sender `hook:SOURCE`, by the secret that signed; `tallygate` on the
 * machine itself is `cli:USER`. A token whose client begins so would be taken for that sender or
 * that person, so it is refused (TG_JWT_CLAIM).
 */
#define TG_HOOK_CLIENT_PREFIX "hook:"
#define TG_CLI_CLIENT_PREFIX "cli:"

enum tg_jwt_result {
    TG_JWT_OK,
    TG_JWT_MALFORMED, /* not three base64url parts, bad JSON, duplicate member, too deep, too big */
    TG_JWT_ALG,       /* none, unknown, not allowed by the policy, not the key's */
    TG_JWT_KEY_UNKNOWN, /* no key with that kid (or, without kid, none of that algorithm) */
    TG_JWT_SIGNATURE,
    TG_JWT_ISSUER,
    TG_JWT_AUDIENCE,
    TG_JWT_EXPIRED, /* exp missing or past */
    TG_JWT_NOT_YET, /* nbf in the future */
    TG_JWT_TYP,     /* typ required and other; crit present */
    TG_JWT_CLAIM,   /* a claim of the wrong type or form (sub not a string, exp not a number, tenant
                       not a name ...), none of client_id, azp, sub, or the client begins with a
                       prefix above */
    TG_JWT_INTERNAL /* out of memory */
};

struct tg_jwt_policy {
    unsigned algs; /* mask of enum tg_alg */
    struct tg_str iss;
    struct tg_str
        audiences[TG_AUDIENCES_MAX]; /* any of them is enough; none configured: not checked */
    size_t audience_count;
    int64_t leeway_s;
    struct tg_str typ;          /* empty: not checked. Compared without "application/", no case */
    struct tg_str tenant_claim; /* may be empty */
    struct tg_str scope_claim;  /* a space separated string or an array of strings */
};

struct tg_jwt {
    json_t *claims; /* owned */
    struct tg_str sub;
    struct tg_str client; /* client_id, else azp, else sub */
    struct tg_str tenant; /* empty when the claim is missing */
    struct tg_str scopes[TG_SCOPES_MAX];
    size_t scope_count;
    int64_t exp_s;
};

/* iss of a token without verifying it: only to choose the issuer. Copied into out. 0 or -1. */
int tg_jwt_peek_issuer(struct tg_str token, char *out, size_t out_size);

/* Verifies everything. On TG_JWT_OK out is filled and owned by the caller; else out is empty. */
enum tg_jwt_result tg_jwt_verify(struct tg_str token, const struct tg_jwks *keys,
                                 const struct tg_jwt_policy *policy, int64_t now_s,
                                 struct tg_jwt *out);

/* exp and nbf again, for a cached token. TG_JWT_OK, TG_JWT_EXPIRED, TG_JWT_NOT_YET. */
enum tg_jwt_result tg_jwt_recheck(const struct tg_jwt *jwt, const struct tg_jwt_policy *policy,
                                  int64_t now_s);

void tg_jwt_clear(struct tg_jwt *jwt);

/* A sentence for error_description and the log: "the token has expired". Static. */
const char *tg_jwt_reason(enum tg_jwt_result r);

#endif
