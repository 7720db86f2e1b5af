#include "connect/script.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "connect/http_text.h"

#define SECONDS_MAX (INT64_C(10) * 365 * 24 * 3600)

/* ---- members ---- */

static const char *text_of(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

/* Every member is one of `allowed` (NULL-ended). */
static int check_members(const json_t *object, const char *const *allowed, struct tg_error *err)
{
    const char *name;
    json_t *v;

    if (!json_is_object(object)) {
        return tg_error_set(err, "must give a table with names");
    }
    json_object_foreach((json_t *)object, name, v)
    {
        size_t i = 0;

        while (allowed[i] != NULL && strcmp(allowed[i], name) != 0) {
            i++;
        }
        if (allowed[i] == NULL) {
            return tg_error_set(err, "gives `%.40s`, which means nothing here", name);
        }
    }
    return 0;
}

/* An absent text is "". A longer one is cut at a whole UTF-8 character. */
static int read_text(const json_t *object, const char *name, char *out, size_t out_size,
                     struct tg_error *err)
{
    const json_t *v = json_object_get(object, name);
    size_t len;

    out[0] = '\0';
    if (v == NULL) {
        return 0;
    }
    if (!json_is_string(v)) {
        return tg_error_set(err, "`%s` is not a text", name);
    }
    len = json_string_length(v);
    if (len >= out_size) {
        len = out_size - 1;
        while (len > 0 && ((unsigned char)json_string_value(v)[len] & 0xc0) == 0x80) {
            len--;
        }
    }
    memcpy(out, json_string_value(v), len);
    out[len] = '\0';
    return 0;
}

/* Seconds as a whole number, to milliseconds; absent: 0. */
static int read_seconds(const json_t *object, const char *name, int64_t *out_ms,
                        struct tg_error *err)
{
    const json_t *v = json_object_get(object, name);

    *out_ms = 0;
    if (v == NULL) {
        return 0;
    }
    if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) > SECONDS_MAX) {
        return tg_error_set(err, "`%s` is not a whole number of seconds", name);
    }
    *out_ms = json_integer_value(v) * 1000;
    return 0;
}

static int read_flag(const json_t *object, const char *name, bool *out, struct tg_error *err)
{
    const json_t *v = json_object_get(object, name);

    *out = json_is_true(v);
    return v == NULL || json_is_boolean(v) ? 0
                                           : tg_error_set(err, "`%s` is not true or false", name);
}

/* The position of a word in a NULL-ended list; -1 with err. */
static int read_word(const json_t *object, const char *name, const char *const *words,
                     struct tg_error *err)
{
    const char *text = text_of(object, name);

    for (int i = 0; text != NULL && words[i] != NULL; i++) {
        if (strcmp(words[i], text) == 0) {
            return i;
        }
    }
    return tg_error_set(err, "`%s` is %s%.40s; accepted: %s, %s, %s...", name,
                        text != NULL ? "" : "missing", text != NULL ? text : "", words[0], words[1],
                        words[2]);
}

/* ---- about ---- */

int tg_script_read_about(const json_t *from, struct tg_script_about *out, struct tg_error *err)
{
    static const char *const members[] = {"dedupe", "ttl_s", "max_execution_s", "reversible", NULL};
    static const char *const words[] = {"unique", "idempotency", "lookup_only", "none", NULL};
    static const enum tg_dedupe classes[] = {TG_DEDUPE_UNIQUE, TG_DEDUPE_IDEMPOTENCY,
                                             TG_DEDUPE_LOOKUP_ONLY, TG_DEDUPE_NONE};
    int word;

    *out = (struct tg_script_about){.dedupe = TG_DEDUPE_NONE};
    if (check_members(from, members, err) != 0) {
        return -1;
    }
    word = read_word(from, "dedupe", words, err);
    if (word < 0 || read_seconds(from, "ttl_s", &out->ttl_ms, err) != 0 ||
        read_seconds(from, "max_execution_s", &out->max_execution_ms, err) != 0 ||
        read_flag(from, "reversible", &out->reversible, err) != 0) {
        return -1;
    }
    out->dedupe = classes[word];
    if ((out->dedupe == TG_DEDUPE_IDEMPOTENCY) != (out->ttl_ms > 0)) {
        return tg_error_set(err, "`ttl_s` belongs to dedupe idempotency, and is needed there");
    }
    return 0;
}

/* ---- requests ---- */

static int out_of_memory(struct tg_error *err)
{
    return tg_error_set(err, "out of memory");
}

static int read_headers(const json_t *from, struct tg_lines *out, struct tg_error *err)
{
    const char *name;
    json_t *v;

    if (from != NULL && !json_is_object(from)) {
        return tg_error_set(err, "`headers` is not a table of texts");
    }
    if (json_object_size(from) >= TG_HTTP_HEADERS_MAX) {
        return tg_error_set(err, "has more than %d headers", TG_HTTP_HEADERS_MAX - 1);
    }
    json_object_foreach((json_t *)from, name, v)
    {
        const char *value = json_string_value(v);

        if (!tg_http_is_token(tg_str_of(name)) || tg_http_is_reserved_header(tg_str_of(name))) {
            return tg_error_set(err, "header `%.40s` cannot be set", name);
        }
        if (value == NULL || !tg_http_is_value(tg_str_of(value))) {
            return tg_error_set(err, "header `%.40s` is not a text of visible ASCII", name);
        }
        if (tg_lines_add(out, name, value) != 0) {
            return out_of_memory(err);
        }
    }
    return 0;
}

/* names and values, percent-encoded and joined, after what is in out. */
static int add_pairs(const json_t *pairs, const char *what, char *out, size_t size, size_t *used,
                     const char *password, struct tg_error *err)
{
    const char *name;
    json_t *v;

    if (pairs != NULL && !json_is_object(pairs)) {
        return tg_error_set(err, "`%s` is not a table of texts", what);
    }
    json_object_foreach((json_t *)pairs, name, v)
    {
        const char *value = json_string_value(v);

        if (value == NULL) {
            return tg_error_set(err, "`%.40s` of `%s` is not a text", name, what);
        }
        if (password != NULL && strcmp(value, TG_SCRIPT_PASSWORD) == 0) {
            value = password;
        }
        if (!tg_http_query_add(out, size, used, tg_str_of(name), tg_str_of(value))) {
            return tg_error_set(err, "`%s` is too long", what);
        }
    }
    return 0;
}

static int read_path(const json_t *from, struct tg_message *out, struct tg_error *err)
{
    const json_t *path = json_object_get(from, "path");
    char joined[TG_HTTP_URL_MAX_BYTES];
    size_t used;

    if (path != NULL && !json_is_string(path)) {
        return tg_error_set(err, "`path` is not a text");
    }
    if (tg_http_url_join("", tg_str_of(json_string_value(path)), joined, sizeof(joined), err) !=
        0) {
        return -1;
    }
    used = strlen(joined);
    if (add_pairs(json_object_get(from, "query"), "query", joined, sizeof(joined), &used, NULL,
                  err) != 0) {
        return -1;
    }
    out->target = strdup(joined);
    return out->target != NULL ? 0 : out_of_memory(err);
}

/* A copy with the password in its places; NULL: out of memory. As deep as rules may go. */
static json_t *with_password(const json_t *v, const char *password)
{
    json_t *out = NULL, *item;
    const char *name;
    size_t i;

    if (json_is_string(v)) {
        return strcmp(json_string_value(v), TG_SCRIPT_PASSWORD) == 0 ? json_string(password)
                                                                     : json_deep_copy(v);
    }
    if (json_is_object(v)) {
        out = json_object();
        json_object_foreach((json_t *)v, name, item)
        {
            if (json_object_set_new(out, name, with_password(item, password)) != 0) {
                json_decref(out);
                return NULL;
            }
        }
        return out;
    }
    if (json_is_array(v)) {
        out = json_array();
        json_array_foreach((json_t *)v, i, item)
        {
            if (json_array_append_new(out, with_password(item, password)) != 0) {
                json_decref(out);
                return NULL;
            }
        }
        return out;
    }
    return json_deep_copy(v);
}

static int write_json(const json_t *value, const char *password, struct tg_message *out,
                      struct tg_error *err)
{
    json_t *filled = password != NULL ? with_password(value, password) : NULL;
    const json_t *what = password != NULL ? filled : value;

    out->body = what != NULL ? json_dumps(what, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    json_decref(filled);
    if (out->body == NULL) {
        return tg_error_set(err, "`json` cannot be written");
    }
    out->body_len = strlen(out->body);
    return 0;
}

static int write_form(const json_t *pairs, const char *password, struct tg_message *out,
                      struct tg_error *err)
{
    const size_t size = TG_HTTP_URL_MAX_BYTES;
    size_t used = 0;

    out->body = calloc(1, size);
    if (out->body == NULL) {
        return out_of_memory(err);
    }
    if (add_pairs(pairs, "form", out->body, size, &used, password, err) != 0) {
        return -1;
    }
    if (used > 0) { /* without the ? of a query */
        memmove(out->body, out->body + 1, used);
        used--;
    }
    out->body_len = used;
    return 0;
}

static int write_text(const json_t *text, struct tg_message *out, struct tg_error *err)
{
    if (!json_is_string(text)) {
        return tg_error_set(err, "`body` is not a text");
    }
    out->body = strdup(json_string_value(text));
    if (out->body == NULL) {
        return out_of_memory(err);
    }
    out->body_len = json_string_length(text);
    return 0;
}

static int read_body(const json_t *from, const char *password, struct tg_message *out,
                     struct tg_error *err)
{
    const json_t *value = json_object_get(from, "json");
    const json_t *form = json_object_get(from, "form");
    const json_t *text = json_object_get(from, "body");
    const char *type = NULL;
    int rc = 0;

    if ((value != NULL) + (form != NULL) + (text != NULL) > 1) {
        return tg_error_set(err, "has more than one of `json`, `form` and `body`");
    }
    if (value != NULL) {
        type = "application/json";
        rc = write_json(value, password, out, err);
    } else if (form != NULL) {
        type = "application/x-www-form-urlencoded";
        rc = write_form(form, password, out, err);
    } else if (text != NULL) {
        rc = write_text(text, out, err);
        if (rc == 0 && !tg_lines_has(&out->headers, "content-type")) {
            rc = tg_error_set(err, "`body` needs a header Content-Type");
        }
    }
    if (rc == 0 && type != NULL && !tg_lines_has(&out->headers, "content-type")) {
        rc = tg_lines_add(&out->headers, "Content-Type", type) == 0 ? 0 : out_of_memory(err);
    }
    return rc;
}

static int read_method(const json_t *from, struct tg_message *out, struct tg_error *err)
{
    static const char *const words[] = {"GET", "POST", "PUT", "PATCH", "DELETE", NULL};
    int word = read_word(from, "method", words, err);

    if (word < 0) {
        return -1;
    }
    (void)snprintf(out->method, sizeof(out->method), "%s", words[word]);
    return 0;
}

int tg_script_read_request(const json_t *from, const char *password, struct tg_message *out,
                           struct tg_error *err)
{
    static const char *const members[] = {"method", "path", "query", "headers", "json",
                                          "form",   "body", "name",  NULL};

    memset(out, 0, sizeof(*out));
    if (check_members(from, members, err) != 0 || read_method(from, out, err) != 0 ||
        read_path(from, out, err) != 0 ||
        read_headers(json_object_get(from, "headers"), &out->headers, err) != 0 ||
        read_body(from, password, out, err) != 0) {
        tg_message_clear(out);
        return -1;
    }
    return 0;
}

const json_t *tg_script_prepare_list(const json_t *from)
{
    const json_t *list = json_object_get(from, "prepare");

    return json_is_array(list) && json_object_size(from) == 1 ? list : NULL;
}

const char *tg_script_prepare_name(const json_t *item, struct tg_error *err)
{
    const char *name = text_of(item, "name");

    if (name == NULL || name[0] == '\0' || strlen(name) > TG_SCRIPT_NAME_MAX_BYTES) {
        (void)tg_error_set(err, "a prepared request has no `name` of 1 to %d bytes",
                           TG_SCRIPT_NAME_MAX_BYTES);
        return NULL;
    }
    return name;
}

/* ---- verdicts ---- */

static int check_verdict(const struct tg_script_verdict *v, const json_t *from,
                         struct tg_error *err)
{
    const bool waits = v->outcome == TG_OUTCOME_RETRY || v->outcome == TG_OUTCOME_THROTTLED;

    if (v->ref[0] != '\0' && v->outcome != TG_OUTCOME_POSTED) {
        return tg_error_set(err, "gives a `ref` for what is not posted");
    }
    if (v->code[0] != '\0' && v->outcome != TG_OUTCOME_REJECTED) {
        return tg_error_set(err, "gives a `code` for what is not rejected");
    }
    if (json_object_get(from, "retry_after_s") != NULL && !waits) {
        return tg_error_set(err, "gives `retry_after_s` for what is not tried again");
    }
    return 0;
}

int tg_script_read_verdict(const json_t *from, struct tg_script_verdict *out, struct tg_error *err)
{
    static const char *const members[] = {"outcome",       "ref",    "detail", "code",
                                          "retry_after_s", "forget", NULL};
    static const char *const words[] = {"posted",   "rejected",  "retry",
                                        "in_doubt", "throttled", NULL};
    static const enum tg_outcome outcomes[] = {TG_OUTCOME_POSTED, TG_OUTCOME_REJECTED,
                                               TG_OUTCOME_RETRY, TG_OUTCOME_IN_DOUBT,
                                               TG_OUTCOME_THROTTLED};
    int word;

    *out = (struct tg_script_verdict){.outcome = TG_OUTCOME_IN_DOUBT};
    if (check_members(from, members, err) != 0) {
        return -1;
    }
    word = read_word(from, "outcome", words, err);
    if (word < 0 || read_text(from, "ref", out->ref, sizeof(out->ref), err) != 0 ||
        read_text(from, "detail", out->detail, sizeof(out->detail), err) != 0 ||
        read_text(from, "code", out->code, sizeof(out->code), err) != 0 ||
        read_seconds(from, "retry_after_s", &out->retry_after_ms, err) != 0 ||
        read_flag(from, "forget", &out->forget, err) != 0) {
        return -1;
    }
    out->outcome = outcomes[word];
    return check_verdict(out, from, err);
}

int tg_script_read_found(const json_t *from, struct tg_script_found *out, struct tg_error *err)
{
    static const char *const members[] = {"lookup", "ref", "detail", NULL};
    static const char *const words[] = {"found", "absent", "unknown", NULL};
    static const enum tg_lookup lookups[] = {TG_LOOKUP_FOUND, TG_LOOKUP_ABSENT, TG_LOOKUP_UNKNOWN};
    int word;

    *out = (struct tg_script_found){.lookup = TG_LOOKUP_UNKNOWN};
    if (check_members(from, members, err) != 0) {
        return -1;
    }
    word = read_word(from, "lookup", words, err);
    if (word < 0 || read_text(from, "ref", out->ref, sizeof(out->ref), err) != 0 ||
        read_text(from, "detail", out->detail, sizeof(out->detail), err) != 0) {
        return -1;
    }
    out->lookup = lookups[word];
    if (out->ref[0] != '\0' && out->lookup != TG_LOOKUP_FOUND) {
        return tg_error_set(err, "gives a `ref` for what is not found");
    }
    return 0;
}

int tg_script_read_learned(const json_t *from, const json_t **value,
                           struct tg_script_verdict *verdict, struct tg_error *err)
{
    *value = json_object_get(from, "value");
    if (*value != NULL) {
        return json_object_size(from) == 1 ? 0 : tg_error_set(err, "gives more than a `value`");
    }
    if (tg_script_read_verdict(from, verdict, err) != 0) {
        return -1;
    }
    if (verdict->outcome == TG_OUTCOME_POSTED) {
        return tg_error_set(err, "says `posted` of a prepared request");
    }
    return 0;
}

/* ---- sessions ---- */

enum tg_grant_result tg_script_read_session(const json_t *from, struct tg_grant *out,
                                            struct tg_error *err)
{
    static const char *const members[] = {"headers", "ttl_s", "refused", NULL};
    char refused[TG_CONNECT_DETAIL_MAX_BYTES];

    memset(out, 0, sizeof(*out));
    if (check_members(from, members, err) != 0 ||
        read_text(from, "refused", refused, sizeof(refused), err) != 0 ||
        read_seconds(from, "ttl_s", &out->life_ms, err) != 0) {
        return TG_GRANT_FAILED;
    }
    if (refused[0] != '\0') {
        (void)tg_error_set(err, "%s", refused);
        return TG_GRANT_REFUSED;
    }
    if (json_object_size(json_object_get(from, "headers")) == 0) {
        (void)tg_error_set(err, "gives neither `headers` nor `refused`");
        return TG_GRANT_FAILED;
    }
    if (read_headers(json_object_get(from, "headers"), &out->headers, err) != 0) {
        tg_grant_clear(out);
        return TG_GRANT_FAILED;
    }
    return TG_GRANT_OK;
}

/* ---- fixtures ---- */

static int check_request(const json_t *result, struct tg_error *err)
{
    const json_t *list = tg_script_prepare_list(result), *item;
    struct tg_message r;
    size_t i;

    if (list == NULL) {
        if (tg_script_read_request(result, NULL, &r, err) != 0) {
            return -1;
        }
        tg_message_clear(&r);
        return 0;
    }
    json_array_foreach((json_t *)list, i, item)
    {
        if (tg_script_prepare_name(item, err) == NULL ||
            tg_script_read_request(item, NULL, &r, err) != 0) {
            return -1;
        }
        tg_message_clear(&r);
    }
    return i > 0 ? 0 : tg_error_set(err, "prepares nothing");
}

int tg_script_check_result(const char *function, const json_t *result, struct tg_error *err)
{
    struct tg_script_about about;
    struct tg_script_verdict verdict;
    struct tg_script_found found;
    struct tg_grant grant;
    int rc;
    const json_t *value;

    if (strcmp(function, "about") == 0) {
        return tg_script_read_about(result, &about, err);
    }
    if (strcmp(function, "classify") == 0) {
        return tg_script_read_verdict(result, &verdict, err);
    }
    if (strcmp(function, "found") == 0) {
        return tg_script_read_found(result, &found, err);
    }
    if (strcmp(function, "learn") == 0) {
        return tg_script_read_learned(result, &value, &verdict, err);
    }
    if (strcmp(function, "session") == 0) {
        rc = tg_script_read_session(result, &grant, err) == TG_GRANT_FAILED ? -1 : 0;
        tg_grant_clear(&grant);
        return rc;
    }
    if (strcmp(function, "lookup") == 0 && json_is_null(result)) {
        return 0;
    }
    return check_request(result, err);
}
