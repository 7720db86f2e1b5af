/*
 * revoke.h: how a revocation is written in Redis, and which tokens it concerns. The orchestrator
 * writes, the edge reads.
 *
 *   PREFIX:{sNN}:revoked      sorted set of the tenant's shard; score: unix seconds at which the
 * last token that the member can concern has expired PREFIX:{sNN}:revoked_at   hash: member -> unix
 * seconds of the revocation; field TG_REVOKE_GENERATION counts the changes, so that a reader of the
 * whole set need not read it again
 *
 * A member is TENANT|KIND|ISSUER|VALUE. ISSUER is the name of tally_issuer and of tallygate.yaml,
 * never its URL. In each part `%`, `|` and what is not visible ASCII stands as %XX, upper case: one
 * part has one spelling, and no part can end another. A token without tenant is looked for with an
 * empty TENANT, in the shard of the empty string.
 *
 * Times are the issuer's seconds (iat) against Redis' (revoked_at): clocks that differ by a second
 * let a token of that second through, or stop one too many.
 *
 * Ownership: plain values; nothing is allocated.
 */
#ifndef TG_COMMON_REVOKE_H
#define TG_COMMON_REVOKE_H

#include "common/str.h"

enum tg_revoke_kind {
    TG_REVOKE_JTI,   /* one token, by its jti */
    TG_REVOKE_SUB,   /* tokens of a subject, issued until now */
    TG_REVOKE_CLIENT /* tokens of a client (client_id, else azp, else sub), issued until now */
};
#define TG_REVOKE_KINDS 3

#define TG_REVOKE_GENERATION "#" /* no member: each has three | */

struct tg_revoke_member {
    char text[TG_REVOKE_MEMBER_MAX_BYTES + 1]; /* with NUL */
    size_t len;
};

/* Decoded parts of a member, each with NUL. */
struct tg_revoke_parts {
    char tenant[TG_TENANT_MAX_BYTES + 1];
    enum tg_revoke_kind kind;
    char issuer[TG_ISSUER_NAME_MAX_BYTES + 1];
    char value[TG_REVOKE_VALUE_MAX_BYTES + 1];
};

/* "jti", "sub", "client". */
const char *tg_revoke_kind_name(enum tg_revoke_kind kind);
bool tg_revoke_kind_of(struct tg_str name, enum tg_revoke_kind *out);

/*
 * 0, or -1: value or issuer is empty, or a part is longer than its maximum. A token whose jti is so
 * long cannot be revoked by it, only by sub and client, which are never longer in a token taken.
 */
int tg_revoke_member(struct tg_str tenant, enum tg_revoke_kind kind, struct tg_str issuer,
                     struct tg_str value, struct tg_revoke_member *out);

/* 0, or -1: it is not what tg_revoke_member writes. */
int tg_revoke_parse(struct tg_str member, struct tg_revoke_parts *out);

/*
 * Does a revocation that stands until until_s and was made at revoked_at_s (0: not known) concern a
 * token of that iat (0: it has none) now? In doubt it does.
 */
bool tg_revoke_concerns(enum tg_revoke_kind kind, int64_t until_s, int64_t revoked_at_s,
                        int64_t iat_s, int64_t now_s);

#endif
