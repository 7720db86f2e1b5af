/*
 * re.c: re.match(subject, pattern) on PCRE2, with limits on pattern, subject, steps, depth and
 * heap, so that no pattern can run for minutes. Without the JIT, whose limits count differently.
 * Returns the captures (an unset one is nil), or the whole match when there are none; nil: no.
 */
#include <stdlib.h>
#include <string.h>

#include "rules/internal.h"

#define MATCH_UNITS 200 /* of budget, for the steps the hook does not see */

int tg_re_init(struct tg_re *re)
{
    re->compile = pcre2_compile_context_create(NULL);
    re->match = pcre2_match_context_create(NULL);
    re->data = pcre2_match_data_create(TG_RE_CAPTURES_MAX, NULL);
    if (re->compile == NULL || re->match == NULL || re->data == NULL ||
        pcre2_set_max_pattern_length(re->compile, TG_RE_PATTERN_MAX_BYTES) != 0 ||
        pcre2_set_match_limit(re->match, TG_RE_MATCH_LIMIT) != 0 ||
        pcre2_set_depth_limit(re->match, TG_RE_DEPTH_LIMIT) != 0 ||
        pcre2_set_heap_limit(re->match, TG_RE_HEAP_LIMIT_KIB) != 0) {
        return -1;
    }
    return 0;
}

static void drop(struct tg_re_entry *e)
{
    pcre2_code_free(e->code);
    free(e->pattern);
    memset(e, 0, sizeof(*e));
}

void tg_re_clear(struct tg_re *re)
{
    for (size_t i = 0; i < TG_RE_CACHE_MAX; i++) {
        drop(&re->cache[i]);
    }
    pcre2_match_data_free(re->data);
    pcre2_match_context_free(re->match);
    pcre2_compile_context_free(re->compile);
    memset(re, 0, sizeof(*re));
}

/* 0, or a PCRE2 error. The entry owns the code before anything can raise. */
static int compile(struct tg_re *re, const char *pattern, size_t len, struct tg_re_entry *e,
                   size_t *offset)
{
    uint32_t options = PCRE2_UTF | PCRE2_NEVER_BACKSLASH_C | PCRE2_DOLLAR_ENDONLY;
    uint32_t captures = 0;
    int error = 0;

    drop(e);
    *offset = 0;
    e->pattern = malloc(len + 1);
    if (e->pattern == NULL) {
        return PCRE2_ERROR_NOMEMORY;
    }
    memcpy(e->pattern, pattern, len);
    e->len = len;
    e->code = pcre2_compile((PCRE2_SPTR)pattern, len, options, &error, offset, re->compile);
    if (e->code != NULL && pcre2_pattern_info(e->code, PCRE2_INFO_CAPTURECOUNT, &captures) == 0 &&
        captures >= TG_RE_CAPTURES_MAX) {
        error = PCRE2_ERROR_NOMEMORY;
    } else if (e->code != NULL) {
        return 0;
    }
    drop(e);
    return error;
}

static const pcre2_code *find_code(lua_State *L, struct tg_re *re, const char *pattern, size_t len)
{
    unsigned char said[128] = "";
    struct tg_re_entry *e;
    size_t offset;
    int error;

    for (size_t i = 0; i < TG_RE_CACHE_MAX; i++) {
        e = &re->cache[i];
        if (e->code != NULL && e->len == len && memcmp(e->pattern, pattern, len) == 0) {
            return e->code;
        }
    }
    e = &re->cache[re->next];
    re->next = (re->next + 1) % TG_RE_CACHE_MAX;
    tg_state_charge(L, MATCH_UNITS + len);
    error = compile(re, pattern, len, e, &offset);
    if (error != 0) {
        if (pcre2_get_error_message(error, said, sizeof(said)) < 0) {
            said[0] = '\0';
        }
        luaL_error(L, "re: bad pattern at byte %d: %s", (int)offset, (const char *)said);
    }
    return e->code;
}

static int push_captures(lua_State *L, const struct tg_re *re, const char *subject, int pairs)
{
    const PCRE2_SIZE *v = pcre2_get_ovector_pointer(re->data);
    int first = pairs > 1 ? 1 : 0;

    luaL_checkstack(L, pairs, "too many captures");
    for (int i = first; i < pairs; i++) {
        /* \K in a look-ahead may end a match before its start */
        if (v[2 * i] == PCRE2_UNSET || v[2 * i + 1] < v[2 * i]) {
            lua_pushnil(L);
        } else {
            lua_pushlstring(L, subject + v[2 * i], v[2 * i + 1] - v[2 * i]);
        }
    }
    return pairs - first;
}

static int match(lua_State *L)
{
    struct tg_re *re = &tg_rules_of(L)->re;
    size_t len, pattern_len;
    const char *subject = luaL_checklstring(L, 1, &len);
    const char *pattern = luaL_checklstring(L, 2, &pattern_len);
    const pcre2_code *code;
    uint32_t captures = 0;
    int rc;

    luaL_argcheck(L, len <= TG_RE_SUBJECT_MAX_BYTES, 1, "subject is too long");
    luaL_argcheck(L, pattern_len <= TG_RE_PATTERN_MAX_BYTES, 2, "pattern is too long");
    code = find_code(L, re, pattern, pattern_len);
    tg_state_charge(L, MATCH_UNITS + len / 16);
    rc = pcre2_match(code, (PCRE2_SPTR)subject, len, 0, 0, re->data, re->match);
    if (rc == PCRE2_ERROR_NOMATCH) {
        lua_pushnil(L);
        return 1;
    }
    if (rc == PCRE2_ERROR_MATCHLIMIT || rc == PCRE2_ERROR_DEPTHLIMIT ||
        rc == PCRE2_ERROR_HEAPLIMIT) {
        /* it cost as much as a good part of a call */
        tg_state_charge(L, TG_RE_MATCH_LIMIT);
        return luaL_error(L, "re: pattern costs too much on this text");
    }
    if (rc < 0) {
        return luaL_error(L, "re: match failed (%d; is the text UTF-8?)", rc);
    }
    if (pcre2_pattern_info(code, PCRE2_INFO_CAPTURECOUNT, &captures) != 0) {
        return luaL_error(L, "re: match failed");
    }
    /* pairs past rc exist and are unset */
    return push_captures(L, re, subject, (int)captures + 1);
}

void tg_re_open(lua_State *L)
{
    static const luaL_Reg functions[] = {{"match", match}, {NULL, NULL}};

    luaL_newlib(L, functions);
}
