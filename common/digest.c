#include "common/digest.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>

/*
 * Fetched once for the life of the process: an implicit fetch (EVP_sha256) costs more than the
 * digest of a short text. hmac_ready is a keyed context that is only ever copied.
 */
static CRYPTO_ONCE fetch_once = CRYPTO_ONCE_STATIC_INIT;
static EVP_MD *sha256;
static EVP_MAC_CTX *hmac_ready;

static void fetch(void)
{
    static const unsigned char zeros[TG_SHA256_BYTES];
    char name[] = "SHA256";
    OSSL_PARAM params[2];
    EVP_MAC *hmac;
    EVP_MAC_CTX *ctx;

    sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    if (hmac == NULL) {
        return;
    }
    ctx = EVP_MAC_CTX_new(hmac);
    EVP_MAC_free(hmac); /* the context keeps its own reference */
    if (ctx == NULL) {
        return;
    }
    params[0] = OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, name, 0);
    params[1] = OSSL_PARAM_construct_end();
    if (EVP_MAC_init(ctx, zeros, sizeof(zeros), params) != 1) {
        EVP_MAC_CTX_free(ctx);
        return;
    }
    hmac_ready = ctx;
}

void tg_digest_done(void)
{
    EVP_MAC_CTX_free(hmac_ready);
    EVP_MD_free(sha256);
    hmac_ready = NULL;
    sha256 = NULL;
}

int tg_sha256v(const struct tg_str *parts, size_t n, unsigned char out[TG_SHA256_BYTES])
{
    EVP_MD_CTX *ctx;
    int ok;

    if (CRYPTO_THREAD_run_once(&fetch_once, fetch) != 1 || sha256 == NULL) {
        return -1;
    }
    ctx = EVP_MD_CTX_new();
    if (ctx == NULL) {
        return -1;
    }
    ok = EVP_DigestInit_ex(ctx, sha256, NULL);
    for (size_t i = 0; ok == 1 && i < n; i++) {
        if (parts[i].len > 0) {
            ok = EVP_DigestUpdate(ctx, parts[i].data, parts[i].len);
        }
    }
    if (ok == 1) {
        ok = EVP_DigestFinal_ex(ctx, out, NULL);
    }
    EVP_MD_CTX_free(ctx);
    return ok == 1 ? 0 : -1;
}

int tg_sha256(struct tg_str data, unsigned char out[TG_SHA256_BYTES])
{
    return tg_sha256v(&data, 1, out);
}

static int mac_update(EVP_MAC_CTX *ctx, const struct tg_str *parts, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (parts[i].len > 0 && EVP_MAC_update(ctx, parts[i].data, parts[i].len) != 1) {
            return 0;
        }
    }
    return 1;
}

int tg_hmac_sha256vv(struct tg_str key, const struct tg_str *head, size_t heads,
                     const struct tg_str *body, size_t pieces, unsigned char out[TG_SHA256_BYTES])
{
    /* OpenSSL takes a NULL key as "keep the old one". */
    const unsigned char *key_data = key.len > 0 ? key.data : (const unsigned char *)"";
    EVP_MAC_CTX *ctx;
    size_t len = 0;
    int ok;

    if (CRYPTO_THREAD_run_once(&fetch_once, fetch) != 1 || hmac_ready == NULL) {
        return -1;
    }
    ctx = EVP_MAC_CTX_dup(hmac_ready);
    if (ctx == NULL) {
        return -1;
    }
    ok = EVP_MAC_init(ctx, key_data, key.len, NULL) == 1 && mac_update(ctx, head, heads) &&
         mac_update(ctx, body, pieces) && EVP_MAC_final(ctx, out, &len, TG_SHA256_BYTES) == 1 &&
         len == TG_SHA256_BYTES;
    EVP_MAC_CTX_free(ctx);
    return ok ? 0 : -1;
}

int tg_hmac_sha256v(struct tg_str key, const struct tg_str *parts, size_t n,
                    unsigned char out[TG_SHA256_BYTES])
{
    return tg_hmac_sha256vv(key, parts, n, NULL, 0, out);
}

bool tg_equal_ct(const unsigned char *a, const unsigned char *b, size_t len)
{
    return CRYPTO_memcmp(a, b, len) == 0;
}
