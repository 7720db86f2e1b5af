#include "common/signature.h"

#include <string.h>

#include "common/codec.h"
#include "common/digest.h"

#define SCHEME "v1,"
#define SCHEME_LEN (sizeof(SCHEME) - 1)
#define HUB "sha256="
#define HUB_LEN (sizeof(HUB) - 1)

struct candidates {
    unsigned char mac[TG_SIGNATURES_PER_HEADER_MAX][TG_SHA256_BYTES];
    size_t count;
};

/* A dot in the id would let id and timestamp trade bytes under one signature. */
static bool is_id(struct tg_str id)
{
    return tg_str_is_printable(id, TG_WEBHOOK_ID_MAX_BYTES) && memchr(id.data, '.', id.len) == NULL;
}

/* Entries of other versions (v1a) are passed over; a v1 entry that cannot match is, too. */
static int read_signatures(struct tg_str header, struct candidates *out)
{
    size_t entries = 0;
    size_t i = 0;

    out->count = 0;
    if (header.len > TG_SIGNATURE_HEADER_MAX_BYTES) {
        return -1;
    }
    while (i < header.len) {
        struct tg_str entry = {header.data + i, 0};

        while (i < header.len && header.data[i] != ' ') {
            i++;
            entry.len++;
        }
        i += i < header.len ? 1 : 0;
        if (entry.len == 0) {
            continue;
        }
        if (entries++ == TG_SIGNATURES_PER_HEADER_MAX) {
            return -1;
        }
        if (entry.len <= SCHEME_LEN || memcmp(entry.data, SCHEME, SCHEME_LEN) != 0) {
            continue;
        }
        entry.data += SCHEME_LEN;
        entry.len -= SCHEME_LEN;
        if (tg_base64_decode(entry, out->mac[out->count], TG_SHA256_BYTES) == TG_SHA256_BYTES) {
            out->count++;
        }
    }
    return out->count > 0 ? 0 : -1;
}

static enum tg_signature_result precheck(const struct tg_signature_standard *h, int64_t now_s,
                                         int64_t tolerance_s, struct candidates *out)
{
    int64_t sent_s;

    if (h->id.len == 0 || h->timestamp.len == 0 || h->signature.len == 0) {
        return TG_SIGNATURE_MISSING;
    }
    if (!is_id(h->id) || !tg_str_to_i64(h->timestamp, &sent_s) ||
        read_signatures(h->signature, out) != 0) {
        return TG_SIGNATURE_MALFORMED;
    }
    /* sent_s is not negative, so neither difference overflows for a clock after 1970. */
    if (now_s < 0 || now_s - sent_s > tolerance_s || sent_s - now_s > tolerance_s) {
        return TG_SIGNATURE_WINDOW;
    }
    return TG_SIGNATURE_OK;
}

enum tg_signature_result tg_signature_standard_precheck(const struct tg_signature_standard *h,
                                                        int64_t now_s, int64_t tolerance_s)
{
    struct candidates candidates;

    return precheck(h, now_s, tolerance_s, &candidates);
}

/*
 * Every secret and every decoy against every candidate: what is computed depends on neither. The
 * one place where a signature is compared.
 */
static enum tg_signature_result match(const struct tg_str *head, size_t heads,
                                      const struct tg_str *body, size_t pieces,
                                      const struct tg_secret_list *secrets,
                                      const struct candidates *candidates)
{
    unsigned matches = 0;

    for (size_t s = 0; s < secrets->count + secrets->decoy_count; s++) {
        const bool own = s < secrets->count;
        const struct tg_secret *secret =
            own ? &secrets->items[s] : &secrets->decoys[s - secrets->count];
        const struct tg_str key = {secret->data, secret->len};
        unsigned char mac[TG_SHA256_BYTES];

        if (tg_hmac_sha256vv(key, head, heads, body, pieces, mac) != 0) {
            return TG_SIGNATURE_INTERNAL;
        }
        for (size_t c = 0; c < candidates->count; c++) {
            const bool equal = tg_equal_ct(mac, candidates->mac[c], TG_SHA256_BYTES);

            matches += equal && own ? 1U : 0U;
        }
    }
    return secrets->known && matches > 0 ? TG_SIGNATURE_OK : TG_SIGNATURE_WRONG;
}

enum tg_signature_result tg_signature_standard_verify(const struct tg_signature_standard *h,
                                                      const struct tg_str *body, size_t pieces,
                                                      struct tg_secret_list secrets, int64_t now_s,
                                                      int64_t tolerance_s)
{
    const struct tg_str head[] = {h->id, tg_str_of("."), h->timestamp, tg_str_of(".")};
    struct candidates candidates;
    enum tg_signature_result result = precheck(h, now_s, tolerance_s, &candidates);

    if (result != TG_SIGNATURE_OK) {
        return result;
    }
    return match(head, sizeof(head) / sizeof(head[0]), body, pieces, &secrets, &candidates);
}

/* ---- github ---- */

/* With X-Hub-Signature-256 the other header (GitHub's SHA-1) does not count, whatever it says. */
static enum tg_signature_result read_hub(const struct tg_signature_github *h,
                                         struct candidates *out)
{
    struct tg_str value = h->sha256.len > 0 ? h->sha256 : h->any;

    if (value.len == 0) {
        return TG_SIGNATURE_MISSING;
    }
    if (value.len != HUB_LEN + 2 * TG_SHA256_BYTES || memcmp(value.data, HUB, HUB_LEN) != 0) {
        return TG_SIGNATURE_MALFORMED;
    }
    value.data += HUB_LEN;
    value.len -= HUB_LEN;
    if (tg_hex_decode(value, out->mac[0], TG_SHA256_BYTES) != TG_SHA256_BYTES) {
        return TG_SIGNATURE_MALFORMED;
    }
    out->count = 1;
    return TG_SIGNATURE_OK;
}

enum tg_signature_result tg_signature_github_precheck(const struct tg_signature_github *h)
{
    struct candidates candidates;

    return read_hub(h, &candidates);
}

enum tg_signature_result tg_signature_github_verify(const struct tg_signature_github *h,
                                                    const struct tg_str *body, size_t pieces,
                                                    struct tg_secret_list secrets)
{
    struct candidates candidates;
    enum tg_signature_result result = read_hub(h, &candidates);

    return result == TG_SIGNATURE_OK ? match(NULL, 0, body, pieces, &secrets, &candidates) : result;
}

/* ---- making ---- */

int tg_signature_standard_make(struct tg_str id, struct tg_str timestamp, struct tg_str body,
                               const struct tg_secret *secret,
                               char out[TG_SIGNATURE_STANDARD_BYTES])
{
    const struct tg_str key = {secret->data, secret->len};
    const struct tg_str dot = tg_str_of(".");
    const struct tg_str parts[] = {id, dot, timestamp, dot, body};
    unsigned char mac[TG_SHA256_BYTES];

    if (tg_hmac_sha256v(key, parts, sizeof(parts) / sizeof(parts[0]), mac) != 0) {
        return -1;
    }
    memcpy(out, "v1,", 3);
    return tg_base64_encode(mac, sizeof(mac), out + 3, TG_SIGNATURE_STANDARD_BYTES - 3) > 0 ? 0
                                                                                            : -1;
}

/* ---- words ---- */

const char *tg_signature_reason(enum tg_signature_scheme scheme, enum tg_signature_result r)
{
    const bool github = scheme == TG_SIGNATURE_GITHUB;

    switch (r) {
    case TG_SIGNATURE_OK:
        return "the signature is valid";
    case TG_SIGNATURE_MISSING:
        return github ? "X-Hub-Signature-256 (or X-Hub-Signature) is missing"
                      : "webhook-id, webhook-timestamp or webhook-signature is missing";
    case TG_SIGNATURE_MALFORMED:
        return github ? "X-Hub-Signature-256 (or X-Hub-Signature) is not one sha256= and 64 hex "
                        "digits"
                      : "webhook-id, webhook-timestamp or webhook-signature is malformed";
    case TG_SIGNATURE_WINDOW:
        return "webhook-timestamp is too far from now";
    case TG_SIGNATURE_WRONG:
        return "no signature matches the body";
    case TG_SIGNATURE_INTERNAL:
        return "the signature could not be checked";
    }
    return "the signature could not be checked";
}
