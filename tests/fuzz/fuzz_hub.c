/*
 * The signature of GitHub and Jira: both headers, a file of secrets and the body, between zero
 * bytes. It passes only if the header that counts is one of the MACs in hex, and never for a
 * stranger.
 */
#include "fuzz.h"

#include "common/codec.h"
#include "common/digest.h"
#include "common/signature.h"

/* "sha256=" and the MAC of one of the secrets, in either case of letters. */
static int is_right(struct tg_str value, struct tg_str body, struct tg_secret_list secrets)
{
    for (size_t i = 0; i < secrets.count; i++) {
        const struct tg_str key = {secrets.items[i].data, secrets.items[i].len};
        unsigned char mac[TG_SHA256_BYTES];
        char hex[2 * TG_SHA256_BYTES];
        size_t same = 0;

        FUZZ_CHECK(tg_hmac_sha256v(key, &body, 1, mac) == 0);
        tg_hex_encode(mac, sizeof(mac), hex);
        if (value.len != 7 + sizeof(hex) || memcmp(value.data, "sha256=", 7) != 0) {
            return 0;
        }
        for (size_t k = 0; k < sizeof(hex); k++) {
            const unsigned char c = value.data[7 + k];

            same += (c >= 'A' && c <= 'F' ? c + 32 : c) == (unsigned char)hex[k];
        }
        if (same == sizeof(hex)) {
            return 1;
        }
    }
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tg_str rest = {data, size};
    struct tg_signature_github h;
    struct tg_str file;
    struct tg_secrets *table;
    struct tg_error err;

    h.sha256 = fuzz_cut(&rest);
    h.any = fuzz_cut(&rest);
    file = fuzz_cut(&rest);
    (void)tg_signature_github_precheck(&h);
    table = tg_secrets_parse(file, tg_str_of("hook"), &err);
    if (table != NULL) {
        const struct tg_secret_list known = tg_secrets_find(table, tg_str_of("hook"));
        const struct tg_secret_list stranger = tg_secrets_find(table, tg_str_of("other"));
        const struct tg_str value = h.sha256.len > 0 ? h.sha256 : h.any;
        const int ok = tg_signature_github_verify(&h, &rest, 1, known) == TG_SIGNATURE_OK;

        FUZZ_CHECK(ok == is_right(value, rest, known));
        FUZZ_CHECK(!ok || tg_signature_github_precheck(&h) == TG_SIGNATURE_OK);
        FUZZ_CHECK(tg_signature_github_verify(&h, &rest, 1, stranger) != TG_SIGNATURE_OK);
    }
    tg_secrets_free(table);
    return 0;
}
