/*
 * tables.c: the table library of a rule, and pairs in an order that is the same in every run.
 *
 * insert, remove, unpack and sort are Lua's own behind a charge for their length; move is left out
 * (its range may be endless), and so is next.
 */
#include <stdlib.h>
#include <string.h>

#include "rules/internal.h"

#define ITEMS_PER_UNIT 8

struct key {
    const char *text; /* NULL: an integer */
    size_t len;
    lua_Integer number;
};

static int by_key(const void *a, const void *b)
{
    const struct key *x = a, *y = b;
    size_t shorter = x->len < y->len ? x->len : y->len;
    int c;

    if (x->text == NULL || y->text == NULL) {
        if (x->text == NULL && y->text == NULL) {
            return (x->number > y->number) - (x->number < y->number);
        }
        return x->text == NULL ? -1 : 1;
    }
    c = memcmp(x->text, y->text, shorter);
    return c != 0 ? c : (x->len > y->len) - (x->len < y->len);
}

static size_t count_keys(lua_State *L, int table)
{
    size_t n = 0;

    lua_pushnil(L);
    while (lua_next(L, table)) {
        lua_pop(L, 1);
        n++;
    }
    return n;
}

/* Fills keys from the table; the texts live as long as it holds them. */
static void collect_keys(lua_State *L, int table, struct key *keys)
{
    size_t n = 0;

    lua_pushnil(L);
    while (lua_next(L, table)) {
        struct key *k = &keys[n++];

        lua_pop(L, 1);
        if (lua_type(L, -1) == LUA_TSTRING) {
            k->text = lua_tolstring(L, -1, &k->len);
        } else if (lua_isinteger(L, -1)) {
            *k = (struct key){NULL, 0, lua_tointeger(L, -1)};
        } else {
            luaL_error(L, "pairs: a key is a %s; only texts and integers have an order",
                       luaL_typename(L, -1));
        }
    }
}

/* Upvalues: table, list of keys, position. */
static int pairs_step(lua_State *L)
{
    lua_Integer i = lua_tointeger(L, lua_upvalueindex(3));

    for (;;) {
        i++;
        lua_pushinteger(L, i);
        lua_replace(L, lua_upvalueindex(3));
        if (lua_rawgeti(L, lua_upvalueindex(2), i) == LUA_TNIL) {
            return 1;
        }
        lua_pushvalue(L, -1);
        if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL) {
            return 2;
        }
        lua_pop(L, 2); /* removed meanwhile */
        tg_state_charge(L, 1);
    }
}

int tg_tables_pairs(lua_State *L)
{
    struct key *keys;
    size_t n;

    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    n = count_keys(L, 1);
    tg_state_charge(L, 8 + 4 * n);
    keys = lua_newuserdatauv(L, (n + 1) * sizeof(*keys), 0);
    memset(keys, 0, (n + 1) * sizeof(*keys));
    collect_keys(L, 1, keys);
    qsort(keys, n, sizeof(*keys), by_key);

    lua_pushvalue(L, 1);
    lua_createtable(L, n < 1024 ? (int)n : 1024, 0);
    for (size_t i = 0; i < n; i++) {
        if (keys[i].text != NULL) {
            lua_pushlstring(L, keys[i].text, keys[i].len);
        } else {
            lua_pushinteger(L, keys[i].number);
        }
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_pushinteger(L, 0);
    lua_pushcclosure(L, pairs_step, 3);
    return 1;
}

static size_t charged_length(lua_State *L)
{
    size_t n;

    luaL_checktype(L, 1, LUA_TTABLE);
    n = lua_rawlen(L, 1);
    tg_state_charge(L, 1 + n / ITEMS_PER_UNIT);
    return n;
}

/* concat(list [, separator]): texts, integers and decimals. */
static int concat(lua_State *L)
{
    size_t n = charged_length(L), sep_len;
    const char *sep = luaL_optlstring(L, 2, "", &sep_len);
    luaL_Buffer b;

    tg_state_charge(L, n * (1 + sep_len / 64));
    luaL_buffinit(L, &b);
    for (size_t i = 1; i <= n; i++) {
        int type;

        if (i > 1) {
            luaL_addlstring(&b, sep, sep_len);
        }
        type = lua_rawgeti(L, 1, (lua_Integer)i);
        if (type != LUA_TSTRING && type != LUA_TNUMBER && tg_decimal_at(L, -1) == NULL) {
            return luaL_error(L, "concat: item %d is a %s", (int)i, lua_typename(L, type));
        }
        tg_sandbox_push_text(L, -1);
        lua_remove(L, -2);
        luaL_addvalue(&b);
    }
    luaL_pushresult(&b);
    return 1;
}

/* Upvalue: Lua's own function. */
static int original(lua_State *L)
{
    (void)charged_length(L);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
    return lua_gettop(L);
}

static size_t longest_text(lua_State *L, size_t n)
{
    size_t longest = 0;

    for (size_t i = 1; i <= n; i++) {
        if (lua_rawgeti(L, 1, (lua_Integer)i) == LUA_TSTRING && lua_rawlen(L, -1) > longest) {
            longest = lua_rawlen(L, -1);
        }
        lua_pop(L, 1);
    }
    return longest;
}

/* Comparing happens inside C, out of the hook's sight: n log n, times the length of the texts. */
static int sort(lua_State *L)
{
    size_t n = charged_length(L), steps = 1;

    for (size_t m = n; m > 1; m /= 2) {
        steps++;
    }
    lua_settop(L, 2);
    tg_state_charge(L, n * steps * (1 + longest_text(L, n) / 64));
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, 2, 0);
    return 0;
}

void tg_tables_open(lua_State *L)
{
    static const struct {
        const char *name;
        lua_CFunction wrapper;
    } kept[] = {{"insert", original}, {"remove", original}, {"sort", sort}, {"unpack", original}};

    lua_createtable(L, 0, 5);
    lua_pushcfunction(L, concat);
    lua_setfield(L, -2, "concat");
    luaL_requiref(L, LUA_TABLIBNAME, luaopen_table, 0);
    for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
        lua_getfield(L, -1, kept[i].name);
        lua_pushcclosure(L, kept[i].wrapper, 1);
        lua_setfield(L, -3, kept[i].name);
    }
    lua_pop(L, 1);
}
