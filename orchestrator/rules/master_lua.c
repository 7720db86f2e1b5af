/*
 * master_lua.c: the master data as a rule sees it: look-ups that give copies.
 *
 *   master:find(kind, key [, source [, date]])    master:assignment(worker, project, date)
 *   master:period(legal_entity, date)             master:pay_cycle(legal_entity, date)
 *   master:next_open_period(legal_entity, date)   master:closed_periods()
 *   master:mapped(source, list, key)              master:in_force(list, date [, state])
 *
 * Dates are texts YYYY-MM-DD. legal_entity may be nil: then only what holds for every entity.
 */
#include "common/codec.h"
#include "rules/internal.h"

#define LOOKUP_UNITS 20

static struct tg_str text_at(lua_State *L, int index)
{
    struct tg_str s;

    s.data = (const unsigned char *)luaL_checklstring(L, index, &s.len);
    return s;
}

static struct tg_str text_or_none(lua_State *L, int index)
{
    return lua_isnoneornil(L, index) ? tg_str_of(NULL) : text_at(L, index);
}

static int32_t day_at(lua_State *L, int index)
{
    int32_t day = 0;

    if (tg_date_parse(text_at(L, index), &day) != 0) {
        luaL_argerror(L, index, "not a calendar day, YYYY-MM-DD");
    }
    return day;
}

static const struct tg_master *snapshot(lua_State *L)
{
    const struct tg_rules *r = tg_rules_of(L);

    luaL_checktype(L, 1, LUA_TTABLE); /* master:find, not master.find */
    if (r->master == NULL) {
        luaL_error(L, "there is no master data in this call");
    }
    tg_state_charge(L, LOOKUP_UNITS);
    return r->master;
}

static int find(lua_State *L)
{
    const struct tg_master *m = snapshot(L);

    const struct tg_str kind = text_at(L, 2), key = text_at(L, 3), source = text_or_none(L, 4);

    tg_json_push(L, lua_isnoneornil(L, 5) ? tg_master_find(m, kind, key, source)
                                          : tg_master_find_on(m, kind, key, source, day_at(L, 5)));
    return 1;
}

static int assignment(lua_State *L)
{
    const struct tg_master *m = snapshot(L);

    tg_json_push(L, tg_master_assignment(m, text_at(L, 2), text_at(L, 3), day_at(L, 4)));
    return 1;
}

static int period(lua_State *L)
{
    const struct tg_master *m = snapshot(L);

    tg_json_push(L, tg_master_period(m, text_or_none(L, 2), day_at(L, 3)));
    return 1;
}

static int pay_cycle(lua_State *L)
{
    const struct tg_master *m = snapshot(L);

    tg_json_push(L, tg_master_pay_cycle(m, text_or_none(L, 2), day_at(L, 3)));
    return 1;
}

static int mapped(lua_State *L)
{
    const struct tg_master *m = snapshot(L);

    tg_json_push(L, tg_master_mapped(m, text_at(L, 2), text_at(L, 3), text_at(L, 4)));
    return 1;
}

static int next_open_period(lua_State *L)
{
    const struct tg_master *m = snapshot(L);

    tg_json_push(L, tg_master_next_open_period(m, text_or_none(L, 2), day_at(L, 3)));
    return 1;
}

static int closed_periods(lua_State *L)
{
    lua_pushstring(L, tg_master_closed_periods(snapshot(L)));
    return 1;
}

static int in_force(lua_State *L)
{
    int32_t day = day_at(L, 3);
    const char *state = luaL_optstring(L, 4, NULL);
    struct tg_error err = {""};
    json_t *list;
    bool held;

    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_checktype(L, 2, LUA_TTABLE);
    tg_state_charge(L, LOOKUP_UNITS + 4 * lua_rawlen(L, 2));
    list = tg_json_read(L, 2, &err);
    if (list == NULL) {
        return luaL_error(L, "in_force: %s", err.text);
    }
    held = tg_master_in_force(list, day, state); /* raises nothing: the list is ours to end */
    json_decref(list);
    lua_pushboolean(L, held);
    return 1;
}

void tg_master_open(lua_State *L)
{
    static const luaL_Reg methods[] = {{"assignment", assignment},
                                       {"closed_periods", closed_periods},
                                       {"find", find},
                                       {"in_force", in_force},
                                       {"mapped", mapped},
                                       {"next_open_period", next_open_period},
                                       {"pay_cycle", pay_cycle},
                                       {"period", period},
                                       {NULL, NULL}};

    luaL_newlib(L, methods);
}
