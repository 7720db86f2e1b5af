/*
 * decimal_lua.c: the decimal type of rules, over core/decimal.h. decimal.of(x) takes a text, an
 * integer or a decimal and raises; decimal.parse(text) gives nil instead. + and - are exact; * is
 * exact or an error; a:mul(b, how), a:div(b, how), a:round(digits, how) name their rounding
 * (half_up, half_even, down). Comparisons take integers too. A float is refused everywhere.
 */
#include "rules/internal.h"

const struct tg_decimal *tg_decimal_at(lua_State *L, int index)
{
    const struct tg_decimal *d = NULL;

    index = lua_absindex(L, index);
    if (lua_type(L, index) != LUA_TUSERDATA || !lua_getmetatable(L, index)) {
        return NULL;
    }
    tg_slot_push(L, TG_SLOT_DECIMAL);
    if (lua_rawequal(L, -1, -2)) {
        d = lua_touserdata(L, index);
    }
    lua_pop(L, 2);
    return d;
}

void tg_decimal_push(lua_State *L, struct tg_decimal d)
{
    struct tg_decimal *held = lua_newuserdatauv(L, sizeof(*held), 0);

    *held = d;
    tg_slot_push(L, TG_SLOT_DECIMAL);
    lua_setmetatable(L, -2);
}

static struct tg_decimal from_integer(lua_State *L, lua_Integer n)
{
    struct tg_decimal d;

    if (__builtin_mul_overflow((int64_t)n, TG_DECIMAL_ONE, &d.micros)) {
        luaL_error(L, "decimal: %I is too large", (LUAI_UACINT)n);
    }
    return d;
}

/* A decimal or an integer. */
static struct tg_decimal operand(lua_State *L, int index)
{
    const struct tg_decimal *d = tg_decimal_at(L, index);

    if (d != NULL) {
        return *d;
    }
    if (!lua_isinteger(L, index)) {
        luaL_error(L,
                   lua_type(L, index) == LUA_TNUMBER
                       ? "decimal: a float is not exact; write decimal.of(\"0.5\")"
                       : "decimal: expected a decimal or an integer, got a %s",
                   luaL_typename(L, index));
    }
    return from_integer(L, lua_tointeger(L, index));
}

static enum tg_round rounding(lua_State *L, int index)
{
    static const char *const words[] = {"half_up", "half_even", "down", NULL};
    static const enum tg_round ways[] = {TG_ROUND_HALF_UP, TG_ROUND_HALF_EVEN, TG_ROUND_DOWN};

    return ways[luaL_checkoption(L, index, NULL, words)];
}

static int push_checked(lua_State *L, int rc, struct tg_decimal d)
{
    if (rc != 0) {
        return luaL_error(L, "decimal: the result does not fit");
    }
    tg_decimal_push(L, d);
    return 1;
}

static bool parse_at(lua_State *L, int index, struct tg_decimal *out)
{
    size_t len;
    const char *s = lua_tolstring(L, index, &len);
    struct tg_str text = {(const unsigned char *)s, len};

    return tg_decimal_parse(text, out) == 0;
}

static int of(lua_State *L)
{
    struct tg_decimal d;

    if (lua_type(L, 1) != LUA_TSTRING) {
        d = operand(L, 1);
    } else if (!parse_at(L, 1, &d)) {
        return luaL_error(L, "decimal: `%s` is not a decimal number", lua_tostring(L, 1));
    }
    tg_decimal_push(L, d);
    return 1;
}

static int parse(lua_State *L)
{
    struct tg_decimal d;

    if (lua_type(L, 1) == LUA_TSTRING && parse_at(L, 1, &d)) {
        tg_decimal_push(L, d);
    } else {
        lua_pushnil(L);
    }
    return 1;
}

static int add(lua_State *L)
{
    struct tg_decimal out = {0};
    int rc = tg_decimal_add(operand(L, 1), operand(L, 2), &out);

    return push_checked(L, rc, out);
}

static int sub(lua_State *L)
{
    struct tg_decimal out = {0};
    int rc = tg_decimal_sub(operand(L, 1), operand(L, 2), &out);

    return push_checked(L, rc, out);
}

static int negate(lua_State *L)
{
    struct tg_decimal out = {0}, zero = {0};
    int rc = tg_decimal_sub(zero, operand(L, 1), &out);

    return push_checked(L, rc, out);
}

static int exact_mul(lua_State *L)
{
    struct tg_decimal a = operand(L, 1), b = operand(L, 2), out = {0};

    if ((__int128)a.micros * b.micros % TG_DECIMAL_ONE != 0) {
        return luaL_error(L, "decimal: the product needs rounding; write a:mul(b, \"half_up\")");
    }
    return push_checked(L, tg_decimal_mul(a, b, TG_ROUND_DOWN, &out), out);
}

static int mul(lua_State *L)
{
    struct tg_decimal out = {0};
    int rc = tg_decimal_mul(operand(L, 1), operand(L, 2), rounding(L, 3), &out);

    return push_checked(L, rc, out);
}

static int divide(lua_State *L)
{
    struct tg_decimal b = operand(L, 2), out = {0};

    if (b.micros == 0) {
        return luaL_error(L, "decimal: division by zero");
    }
    return push_checked(L, tg_decimal_div(operand(L, 1), b, rounding(L, 3), &out), out);
}

static unsigned digits_at(lua_State *L, int index)
{
    lua_Integer n = luaL_optinteger(L, index, 0);

    luaL_argcheck(L, n >= 0 && n <= TG_DECIMAL_SCALE, index, "digits must be 0 to 6");
    return (unsigned)n;
}

static int round_to(lua_State *L)
{
    struct tg_decimal out = {0};
    int rc = tg_decimal_round(operand(L, 1), digits_at(L, 2), rounding(L, 3), &out);

    return push_checked(L, rc, out);
}

/* format(digits): at least so many after the point; nothing is ever cut. */
static int format(lua_State *L)
{
    char text[TG_DECIMAL_TEXT_BYTES];
    size_t len = tg_decimal_format(operand(L, 1), digits_at(L, 2), text);

    lua_pushlstring(L, text, len);
    return 1;
}

static int to_text(lua_State *L)
{
    lua_settop(L, 1);
    return format(L);
}

static int less(lua_State *L)
{
    lua_pushboolean(L, tg_decimal_cmp(operand(L, 1), operand(L, 2)) < 0);
    return 1;
}

static int less_or_equal(lua_State *L)
{
    lua_pushboolean(L, tg_decimal_cmp(operand(L, 1), operand(L, 2)) <= 0);
    return 1;
}

/* Lua compares a decimal with an integer as unequal by itself: use d:equals(0). */
static int equal(lua_State *L)
{
    lua_pushboolean(L, tg_decimal_cmp(operand(L, 1), operand(L, 2)) == 0);
    return 1;
}

static int concat(lua_State *L)
{
    lua_settop(L, 2);
    for (int i = 1; i <= 2; i++) {
        if (lua_type(L, i) != LUA_TSTRING && lua_type(L, i) != LUA_TNUMBER) {
            (void)operand(L, i);
        }
        tg_sandbox_push_text(L, i);
    }
    lua_concat(L, 2);
    return 1;
}

void tg_decimal_open(lua_State *L)
{
    static const luaL_Reg functions[] = {{"of", of}, {"parse", parse}, {NULL, NULL}};
    static const luaL_Reg methods[] = {{"div", divide}, {"equals", equal},   {"format", format},
                                       {"mul", mul},    {"round", round_to}, {NULL, NULL}};
    static const luaL_Reg operators[] = {{"__add", add},          {"__sub", sub},
                                         {"__mul", exact_mul},    {"__unm", negate},
                                         {"__lt", less},          {"__le", less_or_equal},
                                         {"__eq", equal},         {"__concat", concat},
                                         {"__tostring", to_text}, {NULL, NULL}};

    luaL_newlib(L, operators);
    luaL_newlib(L, methods);
    tg_sandbox_freeze(L);
    lua_setfield(L, -2, "__index");
    lua_pushliteral(L, "decimal");
    lua_setfield(L, -2, "__name");
    tg_slot_take(L, TG_SLOT_DECIMAL);
    luaL_newlib(L, functions);
}
