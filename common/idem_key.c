#include "common/idem_key.h"

#include <string.h>

/* The inside of a Structured Field string (RFC 8941 section 3.3.3), its closing quote included. */
static int unquote(struct tg_str text, char out[TG_IDEM_KEY_MAX_BYTES], size_t *out_len)
{
    size_t n = 0;

    for (size_t i = 1; i < text.len; i++) {
        unsigned char c = text.data[i];

        if (c == '"') {
            if (i + 1 != text.len || n == 0) {
                return -1;
            }
            *out_len = n;
            return 0;
        }
        if (c == '\\') {
            i++;
            if (i == text.len || (text.data[i] != '"' && text.data[i] != '\\')) {
                return -1;
            }
            c = text.data[i];
        }
        if (c < 0x20 || c > 0x7e || n == TG_IDEM_KEY_MAX_BYTES) {
            return -1;
        }
        out[n++] = (char)c;
    }
    return -1;
}

int tg_idem_key_parse(struct tg_str header, char out[TG_IDEM_KEY_MAX_BYTES], size_t *out_len)
{
    if (header.len > 0 && header.data[0] == '"') {
        return unquote(header, out, out_len);
    }
    if (!tg_str_is_printable(header, TG_IDEM_KEY_MAX_BYTES)) {
        return -1;
    }
    memcpy(out, header.data, header.len);
    *out_len = header.len;
    return 0;
}
