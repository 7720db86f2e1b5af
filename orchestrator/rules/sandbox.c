/*
 * sandbox.c: the globals of a rule. What is not set here does not exist for it. Left out on
 * purpose: load and its kin, raw access, setmetatable (state.c says why), next (its order and cost
 * depend on the table's past), print, coroutine, io, os, debug, math.random.
 */
#include <stdio.h>
#include <string.h>

#include "rules/internal.h"

static int refuse_write(lua_State *L)
{
    tg_sandbox_push_text(L, 2);
    return luaL_error(L, "`%s` cannot be set: globals and libraries are read-only, use a local",
                      lua_tostring(L, -1));
}

static int refuse_read(lua_State *L)
{
    tg_sandbox_push_text(L, 2);
    return luaL_error(L, "`%s` is not defined", lua_tostring(L, -1));
}

void tg_sandbox_freeze(lua_State *L)
{
    lua_newtable(L); /* table view */
    lua_createtable(L, 0, 3);
    lua_pushvalue(L, -3);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, refuse_write);
    lua_setfield(L, -2, "__newindex");
    lua_setmetatable(L, -2);
    lua_remove(L, -2);
}

void tg_sandbox_push_text(lua_State *L, int index)
{
    const struct tg_decimal *d;
    char text[TG_DECIMAL_TEXT_BYTES];

    switch (lua_type(L, index)) {
    case LUA_TSTRING:
        lua_pushvalue(L, index);
        break;
    case LUA_TNUMBER:
    case LUA_TBOOLEAN:
    case LUA_TNIL:
        luaL_tolstring(L, index, NULL);
        break;
    default:
        d = tg_decimal_at(L, index);
        if (d != NULL) {
            lua_pushlstring(L, text, tg_decimal_format(*d, 0, text));
        } else if (lua_islightuserdata(L, index)) {
            lua_pushliteral(L, "null");
        } else {
            lua_pushstring(L, luaL_typename(L, index)); /* no address: runs must be alike */
        }
    }
}

int tg_sandbox_tostring(lua_State *L)
{
    luaL_checkany(L, 1);
    tg_sandbox_push_text(L, 1);
    return 1;
}

/* Integers only: what a float would be good for, decimal does exactly. */
static int to_number(lua_State *L)
{
    lua_Integer n;
    int is_integer;

    luaL_checkany(L, 1);
    n = lua_tointegerx(L, 1, &is_integer);
    if (is_integer) {
        lua_pushinteger(L, n);
    } else {
        lua_pushnil(L);
    }
    return 1;
}

static int type_of(lua_State *L)
{
    luaL_checkany(L, 1);
    if (tg_decimal_at(L, 1) != NULL) {
        lua_pushliteral(L, "decimal");
    } else if (lua_islightuserdata(L, 1)) {
        lua_pushliteral(L, "null");
    } else {
        lua_pushstring(L, luaL_typename(L, 1));
    }
    return 1;
}

/* Runs what is on the stack; raises again when the state is finished. True: it went well. */
static bool guarded(lua_State *L, int arguments)
{
    struct tg_rules *r = tg_rules_of(L);
    int status = lua_pcall(L, arguments, LUA_MULTRET, 0);

    if (status == LUA_ERRMEM && r->broken == NULL) {
        r->broken = "used up its memory";
    }
    if (r->broken != NULL) {
        tg_state_break(L, r->broken);
    }
    luaL_checkstack(L, 1, "too many results");
    return status == LUA_OK;
}

static int protected_call(lua_State *L)
{
    bool ok;

    luaL_checkany(L, 1);
    ok = guarded(L, lua_gettop(L) - 1);
    lua_pushboolean(L, ok);
    lua_insert(L, 1);
    return lua_gettop(L);
}

/* xpcall(f, handler, ...): the handler runs after unwinding, with hooks on and the budget armed. */
static int protected_call_with_handler(lua_State *L)
{
    luaL_checktype(L, 2, LUA_TFUNCTION);
    lua_pushvalue(L, 2);
    lua_insert(L, 1); /* handler f handler args */
    lua_remove(L, 3); /* handler f args */
    if (guarded(L, lua_gettop(L) - 2)) {
        lua_pushboolean(L, 1);
        lua_replace(L, 1);
        return lua_gettop(L);
    }
    lua_call(L, 1, LUA_MULTRET); /* handler(error) */
    lua_pushboolean(L, 0);
    lua_insert(L, 1);
    return lua_gettop(L);
}

static int raise_error(lua_State *L)
{
    lua_settop(L, 1);
    if (lua_type(L, 1) == LUA_TSTRING) {
        luaL_where(L, 1);
        lua_insert(L, 1);
        lua_concat(L, 2);
    }
    return lua_error(L);
}

static int assert_true(lua_State *L)
{
    luaL_checkany(L, 1);
    if (lua_toboolean(L, 1)) {
        return lua_gettop(L);
    }
    if (lua_gettop(L) == 1) {
        return luaL_error(L, "assertion failed");
    }
    lua_settop(L, 2);
    return lua_error(L);
}

static int select_from(lua_State *L)
{
    int n = lua_gettop(L);
    lua_Integer from;

    if (lua_type(L, 1) == LUA_TSTRING && strcmp(lua_tostring(L, 1), "#") == 0) {
        lua_pushinteger(L, n - 1);
        return 1;
    }
    from = luaL_checkinteger(L, 1);
    if (from < 0) {
        from = n + from;
    }
    luaL_argcheck(L, from >= 1, 1, "index out of range");
    return from >= n ? 0 : n - (int)from;
}

static int ipairs_step(lua_State *L)
{
    lua_Integer i = luaL_checkinteger(L, 2) + 1;

    lua_pushinteger(L, i);
    return lua_geti(L, 1, i) == LUA_TNIL ? 1 : 2;
}

static int ipairs(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_pushcfunction(L, ipairs_step);
    lua_pushvalue(L, 1);
    lua_pushinteger(L, 0);
    return 3;
}

/* array(t): an empty table becomes [] and not {} in JSON. */
static int mark_array(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    tg_slot_push(L, TG_SLOT_ARRAY);
    if (lua_getmetatable(L, 1)) {
        luaL_argcheck(L, lua_rawequal(L, 2, 3), 1, "not a plain table");
        lua_pop(L, 1);
    }
    lua_setmetatable(L, 1);
    lua_settop(L, 1);
    return 1;
}

/* "lib.hours" -> "lib/hours.lua"; false when the name has any other form. */
static bool module_file(const char *module, char *out, size_t out_size)
{
    size_t len = strlen(module);
    bool after_dot = true;

    if (len == 0 || len + sizeof(".lua") > out_size) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        char c = module[i];
        bool word = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';

        if (!word && (c != '.' || after_dot)) {
            return false;
        }
        after_dot = c == '.';
        out[i] = c == '.' ? '/' : c;
    }
    memcpy(out + len, ".lua", sizeof(".lua"));
    return !after_dot;
}

/* LOADED holds false while a module loads: asking again then is a cycle. */
static int require_module(lua_State *L)
{
    const char *module = luaL_checkstring(L, 1);
    char file[TG_RULE_PATH_MAX_BYTES];

    if (strlen(module) != lua_rawlen(L, 1) || !module_file(module, file, sizeof(file)) ||
        tg_bundle_find(tg_rules_of(L)->bundle, file) == NULL) {
        return luaL_error(L, "require: the bundle has no module `%s`", module);
    }
    lua_settop(L, 1);
    tg_slot_push(L, TG_SLOT_LOADED);
    switch (lua_getfield(L, 2, module)) {
    case LUA_TNIL:
        break;
    case LUA_TBOOLEAN:
        return luaL_error(L, "require: `%s` needs itself", module);
    default:
        return 1;
    }
    lua_pushboolean(L, 0);
    lua_setfield(L, 2, module);
    tg_state_run_chunk(L, file);
    if (lua_type(L, -1) != LUA_TTABLE && lua_type(L, -1) != LUA_TFUNCTION) {
        return luaL_error(L, "require: %s must return a table or a function", file);
    }
    lua_pushvalue(L, -1);
    lua_setfield(L, 2, module);
    return 1;
}

/* The integer half of the math library. */
static void open_math(lua_State *L)
{
    static const char *const kept[] = {"abs", "ceil",       "floor",     "fmod",
                                       "max", "min",        "tointeger", "type",
                                       "ult", "maxinteger", "mininteger"};

    lua_newtable(L);
    luaL_requiref(L, LUA_MATHLIBNAME, luaopen_math, 0);
    for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
        lua_getfield(L, -1, kept[i]);
        lua_setfield(L, -3, kept[i]);
    }
    lua_pop(L, 1);
}

void tg_sandbox_open(lua_State *L)
{
    static const luaL_Reg functions[] = {{"array", mark_array},
                                         {"assert", assert_true},
                                         {"error", raise_error},
                                         {"ipairs", ipairs},
                                         {"pairs", tg_tables_pairs},
                                         {"pcall", protected_call},
                                         {"require", require_module},
                                         {"select", select_from},
                                         {"tonumber", to_number},
                                         {"tostring", tg_sandbox_tostring},
                                         {"type", type_of},
                                         {"xpcall", protected_call_with_handler},
                                         {NULL, NULL}};
    static const struct {
        const char *name;
        void (*open)(lua_State *L);
    } libraries[] = {{"decimal", tg_decimal_open},
                     {"math", open_math},
                     {"re", tg_re_open},
                     {"string", tg_text_open},
                     {"table", tg_tables_open}};

    luaL_newlib(L, functions);
    for (size_t i = 0; i < sizeof(libraries) / sizeof(libraries[0]); i++) {
        libraries[i].open(L);
        tg_sandbox_freeze(L);
        lua_setfield(L, -2, libraries[i].name);
    }
    lua_pushlightuserdata(L, NULL);
    lua_setfield(L, -2, "null");

    /* ("x"):upper() finds our functions, never the originals */
    lua_pushliteral(L, "");
    lua_createtable(L, 0, 1);
    lua_getfield(L, -3, "string");
    lua_setfield(L, -2, "__index");
    lua_setmetatable(L, -2);
    lua_pop(L, 1);

    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, refuse_read);
    lua_setfield(L, -2, "__index");
    lua_setmetatable(L, -2);
    tg_sandbox_freeze(L);
    tg_slot_take(L, TG_SLOT_ENV);

    tg_master_open(L);
    tg_sandbox_freeze(L);
    tg_slot_take(L, TG_SLOT_MASTER);
}
