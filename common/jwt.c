#include "common/jwt.h"

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <string.h>
#include <strings.h>

#include "common/cloudevent.h"
#include "common/codec.h"
#include "common/scope.h"

#define PART_MAX_BYTES (TG_TOKEN_MAX_BYTES / 4 * 3)
#define SIGNATURE_MAX_BYTES (TG_RSA_MAX_BITS / 8)
#define ES256_HALF_BYTES 32
#define ES256_DER_MAX_BYTES 72 /* two integers of up to 33 bytes and three heads of two */

struct parts {
    struct tg_str header, payload, signature;
    struct tg_str signed_text; /* header.payload */
};

static int split(struct tg_str token, struct parts *out)
{
    const unsigned char *first;
    const unsigned char *second;
    const unsigned char *end;

    if (token.len == 0 || token.len > TG_TOKEN_MAX_BYTES) {
        return -1;
    }
    end = token.data + token.len;
    first = memchr(token.data, '.', token.len);
    if (first == NULL) {
        return -1;
    }
    second = memchr(first + 1, '.', (size_t)(end - first - 1));
    if (second == NULL || memchr(second + 1, '.', (size_t)(end - second - 1)) != NULL) {
        return -1;
    }
    out->header = (struct tg_str){token.data, (size_t)(first - token.data)};
    out->payload = (struct tg_str){first + 1, (size_t)(second - first - 1)};
    out->signature = (struct tg_str){second + 1, (size_t)(end - second - 1)};
    out->signed_text = (struct tg_str){token.data, (size_t)(second - token.data)};
    return 0;
}

/* A base64url part as a JSON object; NULL when it is not one. */
static json_t *load_part(struct tg_str part)
{
    unsigned char bytes[PART_MAX_BYTES];
    const int n = tg_base64url_decode(part, bytes, sizeof(bytes));
    struct tg_str text = {bytes, 0};
    json_error_t ignored;
    json_t *object;

    if (n <= 0) {
        return NULL;
    }
    text.len = (size_t)n;
    if (tg_json_depth(text, TG_TOKEN_JSON_DEPTH_MAX) < 0) {
        return NULL;
    }
    object = json_loadb((const char *)bytes, text.len, JSON_REJECT_DUPLICATES, &ignored);
    if (object != NULL && !json_is_object(object)) {
        json_decref(object);
        return NULL;
    }
    return object;
}

static struct tg_str view_of(const json_t *string)
{
    struct tg_str view = {NULL, 0};

    if (json_is_string(string)) {
        view.data = (const unsigned char *)json_string_value(string);
        view.len = json_string_length(string);
    }
    return view;
}

static struct tg_str without_application(struct tg_str type)
{
    static const char prefix[] = "application/";
    const size_t len = sizeof(prefix) - 1;

    if (type.len > len && strncasecmp((const char *)type.data, prefix, len) == 0) {
        type.data += len;
        type.len -= len;
    }
    return type;
}

/* RFC 7515 section 4.1.9: a media type, its "application/" left out as a rule. */
static bool typ_matches(struct tg_str have, struct tg_str wanted)
{
    have = without_application(have);
    wanted = without_application(wanted);
    return have.len == wanted.len && have.len > 0 &&
           strncasecmp((const char *)have.data, (const char *)wanted.data, have.len) == 0;
}

/* kid: NULL when absent. jku, x5u, jwk and x5c name keys the sender chose: they are not read. */
static enum tg_jwt_result read_header(const json_t *header, const struct tg_jwt_policy *policy,
                                      enum tg_alg *alg, const json_t **kid)
{
    *alg = tg_alg_of(view_of(json_object_get(header, "alg")));
    if (*alg == TG_ALG_NONE || ((unsigned)*alg & policy->algs) == 0) {
        return TG_JWT_ALG;
    }
    if (json_object_get(header, "crit") != NULL) {
        return TG_JWT_TYP;
    }
    if (policy->typ.len > 0 && !typ_matches(view_of(json_object_get(header, "typ")), policy->typ)) {
        return TG_JWT_TYP;
    }
    *kid = json_object_get(header, "kid");
    return *kid == NULL || json_is_string(*kid) ? TG_JWT_OK : TG_JWT_MALFORMED;
}

/* r || s of RFC 7518 section 3.4 as the DER that OpenSSL takes. Returns its length, -1 on error. */
static int es256_to_der(const unsigned char *raw, unsigned char der[ES256_DER_MAX_BYTES])
{
    ECDSA_SIG *sig = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(raw, ES256_HALF_BYTES, NULL);
    BIGNUM *s = BN_bin2bn(raw + ES256_HALF_BYTES, ES256_HALF_BYTES, NULL);
    unsigned char *at = der;
    int len = -1;

    if (sig == NULL || r == NULL || s == NULL || ECDSA_SIG_set0(sig, r, s) != 1) {
        BN_free(r);
        BN_free(s);
    } else if (i2d_ECDSA_SIG(sig, NULL) <= ES256_DER_MAX_BYTES) {
        len = i2d_ECDSA_SIG(sig, &at);
    }
    ECDSA_SIG_free(sig);
    return len;
}

static enum tg_jwt_result check_signature(const struct tg_jwk *key, struct tg_str signed_text,
                                          const unsigned char *signature, size_t len)
{
    unsigned char der[ES256_DER_MAX_BYTES];
    EVP_MD_CTX *ctx;
    int verified;

    if (key->alg == TG_ALG_ES256) {
        int n;

        if (len != 2 * ES256_HALF_BYTES) {
            return TG_JWT_SIGNATURE;
        }
        n = es256_to_der(signature, der);
        if (n <= 0) {
            return TG_JWT_INTERNAL;
        }
        signature = der;
        len = (size_t)n;
    }
    ctx = EVP_MD_CTX_new();
    if (ctx == NULL || EVP_MD_CTX_copy_ex(ctx, key->ready) != 1) {
        EVP_MD_CTX_free(ctx);
        return TG_JWT_INTERNAL;
    }
    verified = EVP_DigestVerify(ctx, signature, len, signed_text.data, signed_text.len);
    EVP_MD_CTX_free(ctx);
    return verified == 1 ? TG_JWT_OK : TG_JWT_SIGNATURE;
}

static enum tg_jwt_result verify_with(const struct tg_jwks *keys, enum tg_alg alg,
                                      const json_t *kid, const struct parts *parts)
{
    const struct tg_str name = view_of(kid);
    unsigned char signature[SIGNATURE_MAX_BYTES];
    const int len = tg_base64url_decode(parts->signature, signature, sizeof(signature));
    enum tg_jwt_result result = TG_JWT_KEY_UNKNOWN;
    int tries = 0;

    if (len <= 0) {
        return TG_JWT_MALFORMED;
    }
    if (kid != NULL && name.len == 0) {
        return TG_JWT_KEY_UNKNOWN;
    }
    for (size_t i = 0; i < keys->count && tries < TG_JWT_KEY_TRIES_MAX; i++) {
        const struct tg_jwk *key = &keys->keys[i];

        if (kid != NULL && !tg_str_equal_c(name, key->kid)) {
            continue;
        }
        if (key->alg != alg) {
            /* Without kid a key of another algorithm is just not meant. */
            result = kid != NULL && tries == 0 ? TG_JWT_ALG : result;
            continue;
        }
        tries++;
        result = check_signature(key, parts->signed_text, signature, (size_t)len);
        if (result != TG_JWT_SIGNATURE) {
            break;
        }
    }
    return result;
}

/* RFC 7519 NumericDate: whole or with a fraction, which is cut. Absent: *present is false. */
static enum tg_jwt_result take_date(const json_t *claims, const char *name, bool *present,
                                    int64_t *out)
{
    const json_t *value = json_object_get(claims, name);

    *present = value != NULL;
    if (value == NULL) {
        return TG_JWT_OK;
    }
    if (json_is_integer(value)) {
        *out = json_integer_value(value);
        return *out >= 0 && *out <= TG_NUMERIC_DATE_MAX_S ? TG_JWT_OK : TG_JWT_CLAIM;
    }
    if (json_is_real(value)) {
        const double real = json_real_value(value);

        if (real >= 0.0 && real <= (double)TG_NUMERIC_DATE_MAX_S) {
            *out = (int64_t)real;
            return TG_JWT_OK;
        }
    }
    return TG_JWT_CLAIM;
}

static enum tg_jwt_result check_times(const json_t *claims, const struct tg_jwt_policy *policy,
                                      int64_t now_s, int64_t *exp_s)
{
    int64_t nbf_s;
    int64_t iat_s;
    bool has_exp;
    bool has_nbf;
    bool has_iat;

    if (take_date(claims, "exp", &has_exp, exp_s) != TG_JWT_OK ||
        take_date(claims, "nbf", &has_nbf, &nbf_s) != TG_JWT_OK ||
        take_date(claims, "iat", &has_iat, &iat_s) != TG_JWT_OK) {
        return TG_JWT_CLAIM;
    }
    if (!has_exp || now_s - policy->leeway_s >= *exp_s) {
        return TG_JWT_EXPIRED;
    }
    if (has_nbf && now_s + policy->leeway_s < nbf_s) {
        return TG_JWT_NOT_YET;
    }
    return TG_JWT_OK;
}

static bool is_audience(const struct tg_jwt_policy *policy, struct tg_str aud)
{
    for (size_t i = 0; i < policy->audience_count; i++) {
        if (tg_str_equal(aud, policy->audiences[i])) {
            return true;
        }
    }
    return false;
}

static enum tg_jwt_result check_audience(const json_t *claims, const struct tg_jwt_policy *policy)
{
    const json_t *aud = json_object_get(claims, "aud");
    const json_t *item;
    bool found = policy->audience_count == 0;
    size_t i;

    if (aud == NULL) {
        return found ? TG_JWT_OK : TG_JWT_AUDIENCE;
    }
    if (json_is_string(aud)) {
        return found || is_audience(policy, view_of(aud)) ? TG_JWT_OK : TG_JWT_AUDIENCE;
    }
    if (!json_is_array(aud)) {
        return TG_JWT_CLAIM;
    }
    json_array_foreach(aud, i, item)
    {
        if (!json_is_string(item)) {
            return TG_JWT_CLAIM;
        }
        found = found || is_audience(policy, view_of(item));
    }
    return found ? TG_JWT_OK : TG_JWT_AUDIENCE;
}

/* A claim that names someone: absent, or 1 to max bytes without control characters. */
static enum tg_jwt_result take_name(const json_t *claims, const char *claim, size_t max,
                                    struct tg_str *out)
{
    const json_t *value = json_object_get(claims, claim);
    const struct tg_str text = view_of(value);

    if (value == NULL) {
        return TG_JWT_OK;
    }
    if (text.len == 0 || text.len > max) {
        return TG_JWT_CLAIM;
    }
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < 0x20 || text.data[i] == 0x7f) {
            return TG_JWT_CLAIM;
        }
    }
    *out = text;
    return TG_JWT_OK;
}

/* A name that is not a token's to have. */
static bool is_reserved(struct tg_str client)
{
    static const char *const prefixes[] = {TG_HOOK_CLIENT_PREFIX, TG_CLI_CLIENT_PREFIX};

    for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
        const size_t len = strlen(prefixes[i]);

        if (client.len >= len && memcmp(client.data, prefixes[i], len) == 0) {
            return true;
        }
    }
    return false;
}

static enum tg_jwt_result take_identity(struct tg_jwt *jwt, struct tg_str tenant_claim)
{
    struct tg_str client_id = {NULL, 0};
    struct tg_str azp = {NULL, 0};

    if (take_name(jwt->claims, "sub", TG_SUBJECT_MAX_BYTES, &jwt->sub) != TG_JWT_OK ||
        take_name(jwt->claims, "client_id", TG_CLIENT_MAX_BYTES, &client_id) != TG_JWT_OK ||
        take_name(jwt->claims, "azp", TG_CLIENT_MAX_BYTES, &azp) != TG_JWT_OK) {
        return TG_JWT_CLAIM;
    }
    jwt->client = client_id.len > 0 ? client_id : azp.len > 0 ? azp : jwt->sub;
    if (jwt->client.len == 0 || is_reserved(jwt->client)) {
        return TG_JWT_CLAIM;
    }
    if (tenant_claim.len > 0) {
        const json_t *tenant =
            json_object_getn(jwt->claims, (const char *)tenant_claim.data, tenant_claim.len);

        jwt->tenant = view_of(tenant);
        if (tenant != NULL && !tg_str_is_name(jwt->tenant, TG_TENANT_MAX_BYTES)) {
            return TG_JWT_CLAIM;
        }
    }
    return TG_JWT_OK;
}

static enum tg_jwt_result take_scopes(struct tg_jwt *jwt, struct tg_str scope_claim)
{
    const json_t *scope;
    const json_t *item;
    size_t i;

    if (scope_claim.len == 0) {
        return TG_JWT_OK;
    }
    scope = json_object_getn(jwt->claims, (const char *)scope_claim.data, scope_claim.len);
    if (scope == NULL) {
        return TG_JWT_OK;
    }
    if (json_is_string(scope)) {
        const int count = tg_scope_split(view_of(scope), jwt->scopes, TG_SCOPES_MAX);

        jwt->scope_count = count > 0 ? (size_t)count : 0;
        return count >= 0 ? TG_JWT_OK : TG_JWT_CLAIM;
    }
    if (!json_is_array(scope) || json_array_size(scope) > TG_SCOPES_MAX) {
        return TG_JWT_CLAIM;
    }
    json_array_foreach(scope, i, item)
    {
        jwt->scopes[i] = view_of(item);
        if (!tg_scope_is_valid(jwt->scopes[i])) {
            return TG_JWT_CLAIM;
        }
        jwt->scope_count++;
    }
    return TG_JWT_OK;
}

static enum tg_jwt_result read_claims(struct tg_str payload, const struct tg_jwt_policy *policy,
                                      int64_t now_s, struct tg_jwt *jwt)
{
    struct tg_str iss;
    enum tg_jwt_result result;

    jwt->claims = load_part(payload);
    if (jwt->claims == NULL) {
        return TG_JWT_MALFORMED;
    }
    iss = view_of(json_object_get(jwt->claims, "iss"));
    if (iss.len == 0 || !tg_str_equal(iss, policy->iss)) {
        return TG_JWT_ISSUER;
    }
    result = check_audience(jwt->claims, policy);
    if (result == TG_JWT_OK) {
        result = check_times(jwt->claims, policy, now_s, &jwt->exp_s);
    }
    if (result == TG_JWT_OK) {
        result = take_identity(jwt, policy->tenant_claim);
    }
    if (result == TG_JWT_OK) {
        result = take_scopes(jwt, policy->scope_claim);
    }
    return result;
}

enum tg_jwt_result tg_jwt_verify(struct tg_str token, const struct tg_jwks *keys,
                                 const struct tg_jwt_policy *policy, int64_t now_s,
                                 struct tg_jwt *out)
{
    struct parts parts;
    json_t *header;
    const json_t *kid = NULL;
    enum tg_alg alg;
    enum tg_jwt_result result;

    memset(out, 0, sizeof(*out));
    if (split(token, &parts) != 0) {
        return TG_JWT_MALFORMED;
    }
    header = load_part(parts.header);
    if (header == NULL) {
        return TG_JWT_MALFORMED;
    }
    result = read_header(header, policy, &alg, &kid);
    if (result == TG_JWT_OK) {
        /* A wrong signature must not stay in OpenSSL's queue, where NGINX would report it. */
        (void)ERR_set_mark();
        result = verify_with(keys, alg, kid, &parts);
        (void)ERR_pop_to_mark();
    }
    json_decref(header);
    /* Nothing of the payload is looked at before its signature is known to be good. */
    if (result == TG_JWT_OK) {
        result = read_claims(parts.payload, policy, now_s, out);
    }
    if (result != TG_JWT_OK) {
        tg_jwt_clear(out);
    }
    return result;
}

enum tg_jwt_result tg_jwt_recheck(const struct tg_jwt *jwt, const struct tg_jwt_policy *policy,
                                  int64_t now_s)
{
    int64_t exp_s = 0;

    return check_times(jwt->claims, policy, now_s, &exp_s);
}

int tg_jwt_peek_issuer(struct tg_str token, char *out, size_t out_size)
{
    struct parts parts;
    json_t *claims;
    struct tg_str iss;
    bool copied;

    if (split(token, &parts) != 0) {
        return -1;
    }
    claims = load_part(parts.payload);
    if (claims == NULL) {
        return -1;
    }
    iss = view_of(json_object_get(claims, "iss"));
    copied = iss.len > 0 && tg_str_copy(iss, out, out_size);
    json_decref(claims);
    return copied ? 0 : -1;
}

void tg_jwt_clear(struct tg_jwt *jwt)
{
    json_decref(jwt->claims);
    memset(jwt, 0, sizeof(*jwt));
}

const char *tg_jwt_reason(enum tg_jwt_result r)
{
    switch (r) {
    case TG_JWT_OK:
        return "the token is valid";
    case TG_JWT_MALFORMED:
        return "the token is not a well-formed JSON Web Token";
    case TG_JWT_ALG:
        return "the token's algorithm is not accepted";
    case TG_JWT_KEY_UNKNOWN:
        return "the token's key is not known";
    case TG_JWT_SIGNATURE:
        return "the token's signature is wrong";
    case TG_JWT_ISSUER:
        return "the token is from another issuer";
    case TG_JWT_AUDIENCE:
        return "the token is for another audience";
    case TG_JWT_EXPIRED:
        return "the token has expired";
    case TG_JWT_NOT_YET:
        return "the token is not valid yet";
    case TG_JWT_TYP:
        return "the token is of another type";
    case TG_JWT_CLAIM:
        return "a claim of the token is malformed";
    case TG_JWT_INTERNAL:
        return "the token could not be checked";
    }
    return "the token could not be checked";
}
