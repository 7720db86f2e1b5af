/*
 * Webhooks: id, timestamp and signature headers, a file of secrets and the body, between zero
 * bytes. A stranger never gets past a secret he does not know.
 */
#include "fuzz.h"

#include "common/signature.h"

#define NOW INT64_C(1800000000)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tg_str rest = {data, size};
    struct tg_signature_standard h;
    struct tg_str file;
    struct tg_secrets *named;
    struct tg_secrets *many;
    struct tg_error err;

    h.id = fuzz_cut(&rest);
    h.timestamp = fuzz_cut(&rest);
    h.signature = fuzz_cut(&rest);
    file = fuzz_cut(&rest);
    (void)tg_signature_standard_precheck(&h, NOW, 300);
    named = tg_secrets_parse(file, tg_str_of("hook"), &err);
    many = tg_secrets_parse(file, tg_str_of(""), &err);
    FUZZ_CHECK(named == NULL || many == NULL);
    if (named != NULL) {
        const struct tg_secret_list known = tg_secrets_find(named, tg_str_of("hook"));
        const struct tg_secret_list decoy = tg_secrets_find(named, h.id);

        FUZZ_CHECK(known.known && known.count >= 1 && known.count <= TG_SECRETS_PER_NAME_MAX);
        (void)tg_signature_standard_verify(&h, &rest, 1, known, NOW, INT64_MAX);
        if (!decoy.known) {
            FUZZ_CHECK(tg_signature_standard_verify(&h, &rest, 1, decoy, NOW, INT64_MAX) !=
                       TG_SIGNATURE_OK);
        }
    }
    if (many != NULL) {
        FUZZ_CHECK(tg_secrets_count(many) >= 1);
        (void)tg_secrets_find(many, h.id);
    }
    tg_secrets_free(named);
    tg_secrets_free(many);
    return 0;
}
