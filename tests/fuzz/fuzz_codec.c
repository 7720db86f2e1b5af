/* hex, base64, base64url, JSON escape and times: what is decoded is encoded to the same text. */
#include "fuzz.h"

#include <jansson.h>

#include "common/codec.h"

static void bytes_codecs(struct tg_str text)
{
    unsigned char *raw = malloc(text.len + 1);
    char *back = malloc(2 * text.len + 8);
    int n;

    if (raw != NULL && back != NULL) {
        n = tg_base64url_decode(text, raw, text.len);
        if (n > 0) {
            FUZZ_CHECK(tg_base64url_encode(raw, (size_t)n, back, 2 * text.len + 8) == text.len);
            FUZZ_CHECK(memcmp(back, text.data, text.len) == 0);
        }
        n = tg_base64_decode(text, raw, text.len);
        if (n > 0) {
            FUZZ_CHECK(tg_base64_encode(raw, (size_t)n, back, 2 * text.len + 8) == text.len);
            FUZZ_CHECK(memcmp(back, text.data, text.len) == 0);
        }
        tg_hex_encode(text.data, text.len, back);
        n = tg_hex_decode((struct tg_str){(unsigned char *)back, 2 * text.len}, raw, text.len);
        FUZZ_CHECK(n == (int)text.len && memcmp(raw, text.data, text.len) == 0);
        (void)tg_hex_decode(text, raw, text.len);
        /* Room that is too small is refused, never overrun. */
        (void)tg_base64url_decode(text, raw, text.len / 2);
    }
    free(raw);
    free(back);
}

/* Whatever comes in, what goes out is a JSON string. */
static void json_codec(struct tg_str text)
{
    const size_t room = 6 * text.len + 2;
    char *out = malloc(room);
    json_t *string;
    int n;

    if (out == NULL) {
        return;
    }
    out[0] = '"';
    n = tg_json_escape(text, out + 1, room - 2);
    FUZZ_CHECK(n >= 0);
    out[n + 1] = '"';
    string = json_loadb(out, (size_t)n + 2, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    FUZZ_CHECK(json_is_string(string));
    json_decref(string);
    free(out);
}

static void times(struct tg_str text)
{
    char out[TG_RFC3339_BYTES];
    int64_t ms;
    int64_t again;
    int32_t days;

    if (tg_rfc3339_parse(text, &ms) == 0 && tg_rfc3339_format(ms, out, sizeof(out)) == 0) {
        FUZZ_CHECK(tg_rfc3339_parse(tg_str_of(out), &again) == 0 && again == ms);
    }
    (void)tg_date_parse(text, &days);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const unsigned char nothing[1];
    const struct tg_str text = {size > 0 ? data : nothing, size};

    bytes_codecs(text);
    json_codec(text);
    times(text);
    return 0;
}
