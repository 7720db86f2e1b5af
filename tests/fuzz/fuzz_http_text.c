/* What a destination answers, and what a rule builds from a document's texts: dates, Retry-After,
 * addresses. */
#include "fuzz.h"

#include "common/limits.h"
#include "connect/http_text.h"

#define URL_BYTES 512
#define NOW_MS INT64_C(1790000000000)

static void times(struct tg_str value, struct tg_str date)
{
    const int64_t wait_ms = tg_http_retry_after(value, date, NOW_MS);
    const int64_t at_ms = tg_http_date(date);

    FUZZ_CHECK(wait_ms >= -1 && wait_ms <= TG_RETRY_AFTER_MAX_MS);
    FUZZ_CHECK(at_ms >= -1);
    /* A date in the past, on its own clock, is no wait. */
    FUZZ_CHECK(at_ms < 0 || tg_http_retry_after(date, date, NOW_MS) == 0);
}

static void url_of(struct tg_str base, struct tg_str path)
{
    char text[URL_BYTES], out[2 * URL_BYTES], host[URL_BYTES];
    struct tg_error err;

    if (base.len >= sizeof(text) || tg_http_url_check(base, &err) != 0) {
        return;
    }
    memcpy(text, base.data, base.len);
    text[base.len] = '\0';
    FUZZ_CHECK(strlen(text) == base.len && strpbrk(text, "?# ") == NULL);
    FUZZ_CHECK(tg_http_url_is_tls(text) == (text[4] == 's' || text[4] == 'S'));
    FUZZ_CHECK(tg_http_url_host(text, host, sizeof(host)) && host[0] != '\0');
    if (tg_http_url_join(text, path, out, sizeof(out), &err) == 0) {
        /* what the path adds cannot leave the base, which the configuration chose */
        FUZZ_CHECK(strncmp(out, text, base.len - 1) == 0);
        FUZZ_CHECK(strchr(out, '#') == NULL);
        out[base.len - 1 + strcspn(out + base.len - 1, "?")] = '\0';
        FUZZ_CHECK(strstr(out + base.len - 1, "/../") == NULL);
    }
}

static void encode(struct tg_str text)
{
    char out[URL_BYTES];
    size_t used = 0;

    if (tg_http_encode(out, sizeof(out), &used, text)) {
        FUZZ_CHECK(used < sizeof(out) && used >= text.len);
        for (size_t i = 0; i < used; i++) {
            FUZZ_CHECK(out[i] > ' ' && out[i] < 0x7f && strchr("&=?#/+\"", out[i]) == NULL);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tg_str rest = {data, size};
    const struct tg_str first = fuzz_cut(&rest);

    times(first, rest);
    url_of(first, rest);
    encode(first);
    if (tg_http_is_value(first)) {
        FUZZ_CHECK(first.len <= TG_HTTP_VALUE_MAX_BYTES);
        FUZZ_CHECK(first.len == 0 || memchr(first.data, '\n', first.len) == NULL);
        FUZZ_CHECK(first.len == 0 || memchr(first.data, '\r', first.len) == NULL);
    }
    if (tg_http_is_token(first)) {
        FUZZ_CHECK(first.len >= 1 && first.len <= 64 && tg_http_is_value(first));
    }
    (void)tg_http_is_reserved_header(first);
    return 0;
}
