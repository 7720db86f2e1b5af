/*
 * text.c: the string library of a rule. No Lua patterns: find and split take plain text, patterns
 * are for re.match, which has limits.
 */
#include <stdio.h>
#include <string.h>

#include "rules/internal.h"

#define BYTES_PER_UNIT 64       /* of budget, for work on a string */
#define FORMAT_SPEC_MAX_BYTES 5 /* %-99d */

static const char *text_arg(lua_State *L, int index, size_t *len)
{
    const char *s = luaL_checklstring(L, index, len);

    tg_state_charge(L, 1 + *len / BYTES_PER_UNIT);
    return s;
}

/* find(text, plain [, from]) -> first, last; nil when it is not there. */
static int find(lua_State *L)
{
    size_t len, plain_len;
    const char *s = text_arg(L, 1, &len), *plain = text_arg(L, 2, &plain_len), *at;
    lua_Integer from = luaL_optinteger(L, 3, 1);

    if (from < 1 || (lua_Unsigned)from > len + 1) {
        lua_pushnil(L);
        return 1;
    }
    /* memmem is linear; nested scans would not be */
    at = memmem(s + from - 1, len - (size_t)(from - 1), plain, plain_len);
    if (at == NULL) {
        lua_pushnil(L);
        return 1;
    }
    lua_pushinteger(L, at - s + 1);
    lua_pushinteger(L, at - s + (lua_Integer)plain_len);
    return 2;
}

/* split(text, separator) -> list; a text without the separator is a list of itself. */
static int split(lua_State *L)
{
    size_t len, sep_len;
    const char *s = text_arg(L, 1, &len), *sep = text_arg(L, 2, &sep_len), *end = s + len;
    lua_Integer n = 0;

    luaL_argcheck(L, sep_len > 0, 2, "separator is empty");
    lua_newtable(L);
    for (;;) {
        const char *at = memmem(s, (size_t)(end - s), sep, sep_len);

        tg_state_charge(L, 4);
        lua_pushlstring(L, s, (size_t)((at != NULL ? at : end) - s));
        lua_rawseti(L, -2, ++n);
        if (at == NULL) {
            return 1;
        }
        s = at + sep_len;
    }
}

static int starts_with(lua_State *L)
{
    size_t len, with_len;
    const char *s = text_arg(L, 1, &len), *with = text_arg(L, 2, &with_len);

    lua_pushboolean(L, with_len <= len && memcmp(s, with, with_len) == 0);
    return 1;
}

static int ends_with(lua_State *L)
{
    size_t len, with_len;
    const char *s = text_arg(L, 1, &len), *with = text_arg(L, 2, &with_len);

    lua_pushboolean(L, with_len <= len && memcmp(s + len - with_len, with, with_len) == 0);
    return 1;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static int trim(lua_State *L)
{
    size_t len;
    const char *s = text_arg(L, 1, &len);

    while (len > 0 && is_space(s[len - 1])) {
        len--;
    }
    while (len > 0 && is_space(*s)) {
        s++;
        len--;
    }
    lua_pushlstring(L, s, len);
    return 1;
}

static int repeat(lua_State *L)
{
    size_t len;
    const char *s = text_arg(L, 1, &len);
    lua_Integer n = luaL_checkinteger(L, 2);
    luaL_Buffer b;

    if (n <= 0 || len == 0) {
        lua_pushliteral(L, "");
        return 1;
    }
    if (n > TG_LUA_STRING_MAX_BYTES || (size_t)n > TG_LUA_STRING_MAX_BYTES / len) {
        return luaL_error(L, "rep: result is longer than %d bytes", TG_LUA_STRING_MAX_BYTES);
    }
    tg_state_charge(L, (size_t)n * len / BYTES_PER_UNIT);
    luaL_buffinit(L, &b);
    for (lua_Integer i = 0; i < n; i++) {
        luaL_addlstring(&b, s, len);
    }
    luaL_pushresult(&b);
    return 1;
}

/* One %-spec: -, or 0 with d; a width of at most two digits; s or d. Its length, 0: bad. */
static size_t spec_length(const char *s, const char *end)
{
    size_t n = 1, digits = 0;
    bool zero = s + n < end && s[n] == '0';

    if (s + n < end && (s[n] == '0' || s[n] == '-')) {
        n++;
    }
    while (s + n < end && s[n] >= '0' && s[n] <= '9') {
        if (++digits > 2) {
            return 0;
        }
        n++;
    }
    return s + n < end && (s[n] == 'd' || (s[n] == 's' && !zero)) ? n + 1 : 0;
}

static void add_spec(lua_State *L, luaL_Buffer *b, const char *spec, size_t len, int arg)
{
    char form[FORMAT_SPEC_MAX_BYTES + sizeof("lld")], out[128];
    int n;

    if (len < 2 || len > FORMAT_SPEC_MAX_BYTES) {
        return; /* spec_length lets no such one through */
    }
    memcpy(form, spec, len - 1);
    if (spec[len - 1] == 'd') {
        memcpy(form + len - 1, "lld", sizeof("lld"));
        n = snprintf(out, sizeof(out), form, (long long)luaL_checkinteger(L, arg));
        luaL_addlstring(b, out, n > 0 ? (size_t)n : 0);
        return;
    }
    luaL_checkany(L, arg);
    tg_sandbox_push_text(L, arg);
    if (len > 2 && lua_rawlen(L, -1) < sizeof(out) - 1) { /* a width */
        memcpy(form + len - 1, "s", sizeof("s"));
        n = snprintf(out, sizeof(out), form, lua_tostring(L, -1));
        lua_pop(L, 1);
        luaL_addlstring(b, out, n > 0 ? (size_t)n : 0);
        return;
    }
    luaL_addvalue(b);
}

/* format: %s and %d with width, and %%. Floats have no place in rules. */
static int format(lua_State *L)
{
    size_t len;
    const char *s = text_arg(L, 1, &len), *end = s + len;
    int arg = 1;
    luaL_Buffer b;

    luaL_buffinit(L, &b);
    while (s < end) {
        const char *percent = memchr(s, '%', (size_t)(end - s));
        size_t n;

        tg_state_charge(L, 2);
        if (percent == NULL) {
            luaL_addlstring(&b, s, (size_t)(end - s));
            break;
        }
        luaL_addlstring(&b, s, (size_t)(percent - s));
        s = percent;
        if (s + 1 < end && s[1] == '%') {
            luaL_addchar(&b, '%');
            s += 2;
            continue;
        }
        n = spec_length(s, end);
        if (n == 0) {
            return luaL_error(L, "format: only %%s and %%d (with a width of two digits) and %%%%");
        }
        add_spec(L, &b, s, n, ++arg);
        s += n;
    }
    luaL_pushresult(&b);
    return 1;
}

void tg_text_open(lua_State *L)
{
    static const luaL_Reg ours[] = {
        {"ends_with", ends_with}, {"find", find}, {"format", format},           {"rep", repeat},
        {"split", split},         {"trim", trim}, {"starts_with", starts_with}, {NULL, NULL}};
    static const char *const kept[] = {"byte", "char", "len", "lower", "sub", "upper"};

    luaL_newlib(L, ours);
    luaL_requiref(L, LUA_STRLIBNAME, luaopen_string, 0);
    for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
        lua_getfield(L, -1, kept[i]);
        lua_setfield(L, -3, kept[i]);
    }
    lua_pop(L, 1);
}
