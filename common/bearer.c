#include "common/bearer.h"

#define SCHEME "bearer"
#define SCHEME_LEN (sizeof(SCHEME) - 1)

static bool is_alnum(unsigned char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* b68token of RFC 6750, without its trailing "=". */
static bool is_token_byte(unsigned char c)
{
    return is_alnum(c) || c == '-' || c == '.' || c == '_' || c == '~' || c == '+' || c == '/';
}

/* "Bearer" in any case, and the scheme name ends there. */
static bool has_scheme(struct tg_str header)
{
    if (header.len < SCHEME_LEN) {
        return false;
    }
    for (size_t i = 0; i < SCHEME_LEN; i++) {
        if ((header.data[i] | 0x20) != (unsigned char)SCHEME[i]) {
            return false;
        }
    }
    return header.len == SCHEME_LEN ||
           (!is_alnum(header.data[SCHEME_LEN]) && header.data[SCHEME_LEN] != '-' &&
            header.data[SCHEME_LEN] != '_');
}

enum tg_bearer_result tg_bearer_parse(struct tg_str header, struct tg_str *token)
{
    size_t start = SCHEME_LEN;
    size_t at;

    if (!has_scheme(header)) {
        return TG_BEARER_MISSING;
    }
    while (start < header.len && header.data[start] == ' ') {
        start++;
    }
    if (start == SCHEME_LEN || start == header.len) {
        return TG_BEARER_MALFORMED;
    }
    if (header.len - start > TG_TOKEN_MAX_BYTES) {
        return TG_BEARER_TOO_LARGE;
    }
    at = start;
    while (at < header.len && is_token_byte(header.data[at])) {
        at++;
    }
    if (at == start) {
        return TG_BEARER_MALFORMED;
    }
    while (at < header.len && header.data[at] == '=') {
        at++;
    }
    if (at != header.len) {
        return TG_BEARER_MALFORMED;
    }
    token->data = header.data + start;
    token->len = header.len - start;
    return TG_BEARER_OK;
}
