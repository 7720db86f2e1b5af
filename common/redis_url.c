#include "common/redis_url.h"

#include <string.h>

#define REDIS_PORT 6379
#define REDIS_DB_MAX 255

static int bad_url(struct tg_error *err)
{
    return tg_error_set(err, "not a Redis address; accepted: unix:PATH or redis://HOST:PORT/DB");
}

static bool cut_prefix(struct tg_str *text, const char *prefix)
{
    size_t len = strlen(prefix);

    if (text->len < len || memcmp(text->data, prefix, len) != 0) {
        return false;
    }
    text->data += len;
    text->len -= len;
    return true;
}

/* Everything before the byte; *text keeps what follows it. Without it, all, and *text is empty. */
static struct tg_str cut_at(struct tg_str *text, char byte, bool *found)
{
    const unsigned char *p = text->len > 0 ? memchr(text->data, byte, text->len) : NULL;
    struct tg_str head = *text;

    *found = p != NULL;
    if (p != NULL) {
        head.len = (size_t)(p - text->data);
        text->len -= head.len + 1;
        text->data = p + 1;
    } else {
        text->len = 0;
    }
    return head;
}

static bool is_host(struct tg_str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] <= 0x20 || s.data[i] >= 0x7f || s.data[i] == '@' || s.data[i] == '/') {
            return false;
        }
    }
    return s.len > 0;
}

int tg_redis_url_parse(struct tg_str text, struct tg_redis_url *out, struct tg_error *err)
{
    struct tg_str rest = text, host, port;
    bool has_db, has_port;
    int64_t number;

    memset(out, 0, sizeof(*out));
    out->port = REDIS_PORT;
    if (cut_prefix(&rest, "unix:")) {
        out->is_unix = true;
        if (rest.len == 0 || rest.len > TG_LISTEN_PATH_MAX_BYTES ||
            memchr(rest.data, '\0', rest.len) != NULL ||
            !tg_str_copy(rest, out->host, sizeof(out->host))) {
            return bad_url(err);
        }
        return 0;
    }
    if (!cut_prefix(&rest, "redis://")) {
        return bad_url(err);
    }
    port = cut_at(&rest, '/', &has_db);
    host = cut_at(&port, ':', &has_port);
    if (!is_host(host) || !tg_str_copy(host, out->host, sizeof(out->host))) {
        return bad_url(err);
    }
    if (has_port) {
        if (!tg_str_to_i64(port, &number) || number < 1 || number > UINT16_MAX) {
            return bad_url(err);
        }
        out->port = (uint16_t)number;
    }
    if (has_db && rest.len > 0) {
        if (!tg_str_to_i64(rest, &number) || number > REDIS_DB_MAX) {
            return bad_url(err);
        }
        out->db = (unsigned)number;
    }
    return 0;
}
