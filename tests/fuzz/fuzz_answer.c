/* An answer of a destination, whole or cut, as the document a script sees. The input: header lines
 * "name: value" (each to its zero byte), an empty one, then the body. */
#include "fuzz.h"

#include "common/limits.h"
#include "connect/answer.h"
#include "connect/http_text.h"

#define TEXT_BYTES 256

struct headers {
    struct tg_http_header items[TG_HTTP_HEADERS_MAX];
    char texts[TG_HTTP_HEADERS_MAX][2][TEXT_BYTES];
    size_t count;
};

/* As http.c keeps it: the name a token in lower case, the value visible ASCII. */
static bool keep(struct tg_str from, bool is_name, char *out)
{
    if ((is_name && !tg_http_is_token(from)) || !tg_str_copy(from, out, TEXT_BYTES)) {
        return false;
    }
    for (size_t i = 0; i < from.len; i++) {
        if (is_name && out[i] >= 'A' && out[i] <= 'Z') {
            out[i] = (char)(out[i] + 32);
        } else if (out[i] < 0x20 || out[i] == 0x7f) {
            out[i] = '?';
        }
    }
    return true;
}

static void add(struct headers *h, struct tg_str line)
{
    const unsigned char *colon = line.len > 0 ? memchr(line.data, ':', line.len) : NULL;
    const size_t at = colon != NULL ? (size_t)(colon - line.data) : line.len;
    const size_t after = colon != NULL ? at + 1 : at;
    char(*text)[TEXT_BYTES] = h->texts[h->count];

    if (keep((struct tg_str){line.data, at}, true, text[0]) &&
        keep((struct tg_str){line.data + after, line.len - after}, false, text[1])) {
        h->items[h->count++] = (struct tg_http_header){text[0], text[1]};
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct headers headers;
    struct tg_str rest = {data, size};
    struct tg_http_answer answer = {.end = TG_HTTP_WHOLE, .status = 200, .retry_after_ms = -1};
    json_t *doc;

    headers.count = 0;
    while (rest.len > 0 && headers.count < TG_HTTP_HEADERS_MAX) {
        const struct tg_str line = fuzz_cut(&rest);

        if (line.len == 0) {
            break;
        }
        add(&headers, line);
    }
    answer.headers = headers.items;
    answer.header_count = headers.count;
    answer.body = rest;
    answer.end = rest.len % 3 == 0 ? TG_HTTP_CUT : TG_HTTP_WHOLE;
    doc = tg_answer_document(&answer);
    FUZZ_CHECK(doc != NULL);
    FUZZ_CHECK(json_integer_value(json_object_get(doc, "status")) == 200);
    FUZZ_CHECK(json_is_object(json_object_get(doc, "headers")));
    FUZZ_CHECK(json_object_get(doc, "json") == NULL || json_object_get(doc, "body") == NULL);
    json_decref(doc);
    return 0;
}
