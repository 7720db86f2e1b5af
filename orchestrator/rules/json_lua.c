/*
 * json_lua.c: JSON <-> Lua, by copy, without recursion, at most TG_EVENT_JSON_DEPTH_MAX deep and
 * TG_LUA_JSON_NODES_MAX values.
 *
 *   null <-> null (a value of its own)   integer <-> integer      text <-> text (UTF-8)
 *   array <-> list (marked, see array)   object <-> table         real -> decimal, never a float
 *
 * A real becomes a decimal only when some number of at most six digits after the point is what it
 * stands for; else the document is refused. A decimal becomes a JSON string. A Lua float is
 * refused. Object members leave sorted, so that equal tables give equal bytes.
 *
 * Reading happens out of the hook's sight and allocates outside Lua's memory, and a small table can
 * stand for a large document: one text in many places, a list whose length is mostly holes, a table
 * of many empty slots read again and again. So reading has bounds of its own: values, bytes of
 * text, no holes, and the CPU time of the call.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rules/internal.h"

#define STACK_PER_LEVEL 4
#define REAL_MAX 1e9 /* above it, neighbouring doubles are more than a millionth apart */

/* ---- JSON -> Lua: may raise, holds nothing of its own ---- */

struct push_frame {
    const json_t *container;
    void *iter;   /* object */
    size_t index; /* array */
};

static void push_real(lua_State *L, double v)
{
    char text[64];
    struct tg_decimal d;
    int n = v > -REAL_MAX && v < REAL_MAX ? snprintf(text, sizeof(text), "%.6f", v) : -1;

    if (n < 0 || strtod(text, NULL) != v || tg_decimal_parse(tg_str_of(text), &d) != 0) {
        luaL_error(L, "a JSON number has more than six digits after the point or is too large");
        return;
    }
    tg_decimal_push(L, d);
}

/* True: a whole value is on top. False: a new table is, and its frame was opened. */
static bool push_one(lua_State *L, const json_t *v, struct push_frame *frame)
{
    switch (json_typeof(v)) {
    case JSON_OBJECT:
        lua_newtable(L);
        *frame = (struct push_frame){v, json_object_iter((json_t *)v), 0};
        return false;
    case JSON_ARRAY:
        lua_newtable(L);
        tg_slot_push(L, TG_SLOT_ARRAY);
        lua_setmetatable(L, -2);
        *frame = (struct push_frame){v, NULL, 0};
        return false;
    case JSON_STRING:
        lua_pushlstring(L, json_string_value(v), json_string_length(v));
        return true;
    case JSON_INTEGER:
        lua_pushinteger(L, json_integer_value(v));
        return true;
    case JSON_REAL:
        push_real(L, json_real_value(v));
        return true;
    case JSON_TRUE:
    case JSON_FALSE:
        lua_pushboolean(L, json_is_true(v));
        return true;
    case JSON_NULL:
        lua_pushlightuserdata(L, NULL);
        return true;
    }
    return true;
}

/* The next member of a frame, its key pushed below where the value will be; NULL: none left. */
static const json_t *next_member(lua_State *L, struct push_frame *f)
{
    const json_t *v;

    if (json_is_array(f->container)) {
        return json_array_get(f->container, f->index++);
    }
    if (f->iter == NULL) {
        return NULL;
    }
    lua_pushlstring(L, json_object_iter_key(f->iter), json_object_iter_key_len(f->iter));
    v = json_object_iter_value(f->iter);
    f->iter = json_object_iter_next((json_t *)f->container, f->iter);
    return v;
}

static void store_member(lua_State *L, const struct push_frame *f)
{
    if (json_is_array(f->container)) {
        lua_rawseti(L, -2, (lua_Integer)f->index);
    } else {
        lua_rawset(L, -3);
    }
}

void tg_json_push(lua_State *L, const json_t *value)
{
    struct push_frame frames[TG_EVENT_JSON_DEPTH_MAX + 1];
    size_t depth = 0, nodes = 0;

    if (value == NULL) {
        lua_pushnil(L);
        return;
    }
    luaL_checkstack(L, (TG_EVENT_JSON_DEPTH_MAX + 1) * STACK_PER_LEVEL, "JSON");
    for (;;) {
        const json_t *next = value;

        if (++nodes > TG_LUA_JSON_NODES_MAX || depth > TG_EVENT_JSON_DEPTH_MAX) {
            luaL_error(L, "a JSON document has more than %d values or %d levels",
                       TG_LUA_JSON_NODES_MAX, TG_EVENT_JSON_DEPTH_MAX);
        }
        tg_state_charge(L, 2);
        if (!push_one(L, next, &frames[depth])) {
            depth++;
        } else if (depth > 0) {
            store_member(L, &frames[depth - 1]);
        }
        /* close what is complete */
        while (depth > 0 && (value = next_member(L, &frames[depth - 1])) == NULL) {
            depth--;
            if (depth > 0) {
                store_member(L, &frames[depth - 1]);
            }
        }
        if (depth == 0) {
            return;
        }
    }
}

/* ---- Lua -> JSON: raises nothing, so that no JSON is ever lost to a jump ---- */

struct read_frame {
    json_t *out;
    int table;     /* index of the table; the key of lua_next is above it */
    size_t length; /* array: its items, all there */
};

struct reading {
    lua_State *L;
    struct tg_error *err;
    struct read_frame frames[TG_EVENT_JSON_DEPTH_MAX + 1];
    size_t depth, nodes, text_bytes;
};

static void add_step(char *out, size_t out_size, size_t *used, lua_State *L, int key)
{
    int n;

    if (lua_type(L, key) == LUA_TSTRING) {
        n = snprintf(out + *used, out_size - *used, "/%.40s", lua_tolstring(L, key, NULL));
    } else {
        n = snprintf(out + *used, out_size - *used, "/%lld", (long long)lua_tointeger(L, key));
    }
    if (n > 0) {
        *used += (size_t)n < out_size - *used ? (size_t)n : out_size - *used - 1;
    }
}

/* err = "at /a/3: message". Always NULL. */
static json_t *refuse(struct reading *r, const char *message)
{
    char path[160] = "";
    size_t used = 0;

    for (size_t i = 0; i < r->depth; i++) {
        add_step(path, sizeof(path), &used, r->L, r->frames[i].table + 1);
    }
    for (size_t i = 0; i < used; i++) {
        path[i] = path[i] >= 0x20 && path[i] < 0x7f ? path[i] : '?';
    }
    tg_error_set(r->err, "%s%s%s%s", used > 0 ? "at " : "", path, used > 0 ? ": " : "", message);
    return NULL;
}

/* A text in many places is one string in Lua and as many copies in JSON. */
static bool has_room(struct reading *r, size_t len)
{
    if (len > TG_LUA_JSON_TEXT_MAX_BYTES - r->text_bytes) {
        return false;
    }
    r->text_bytes += len;
    return true;
}

static json_t *read_text(struct reading *r)
{
    size_t len;
    const char *s = lua_tolstring(r->L, -1, &len);
    json_t *out;

    if (!has_room(r, len)) {
        return refuse(r, "too many bytes of text");
    }
    out = memchr(s, '\0', len) == NULL ? json_stringn(s, len) : NULL;
    return out != NULL ? out : refuse(r, "a text is not UTF-8 without NUL");
}

static json_t *read_userdata(struct reading *r)
{
    const struct tg_decimal *d = tg_decimal_at(r->L, -1);
    char text[TG_DECIMAL_TEXT_BYTES];
    json_t *out;

    if (d == NULL) {
        return refuse(r, "a value has no JSON form");
    }
    out = json_stringn_nocheck(text, tg_decimal_format(*d, 0, text));
    return out != NULL ? out : refuse(r, "out of memory");
}

/* The length of a table with holes may be any number, so the items themselves are looked at. */
static bool is_dense(lua_State *L, size_t length)
{
    for (size_t i = 1; i <= length; i++) {
        int type = lua_rawgeti(L, -1, (lua_Integer)i);

        lua_pop(L, 1);
        if (type == LUA_TNIL) {
            return false;
        }
    }
    return true;
}

/* Opens a frame for the table on top. An unmarked empty table is an object. */
static json_t *open_table(struct reading *r)
{
    struct read_frame *f = &r->frames[r->depth];
    size_t length = lua_rawlen(r->L, -1);
    bool marked = false;

    if (lua_getmetatable(r->L, -1)) {
        tg_slot_push(r->L, TG_SLOT_ARRAY);
        marked = lua_rawequal(r->L, -1, -2);
        lua_pop(r->L, 2);
        if (!marked) {
            return refuse(r, "a library or the master data has no JSON form");
        }
    }
    if (length > TG_LUA_JSON_NODES_MAX - r->nodes) {
        return refuse(r, "too many values, or a list with a hole; a missing item is null");
    }
    if (!is_dense(r->L, length)) {
        return refuse(r, "a list has a hole; a missing item is null");
    }
    if (r->depth == TG_EVENT_JSON_DEPTH_MAX) {
        return refuse(r, "nested too deep, or a table that holds itself");
    }
    f->out = marked || length > 0 ? json_array() : json_object();
    f->table = lua_gettop(r->L);
    f->length = length;
    if (f->out == NULL) {
        return refuse(r, "out of memory");
    }
    r->depth++;
    lua_pushnil(r->L);
    return f->out;
}

static json_t *read_value(struct reading *r)
{
    json_t *out = NULL;

    if (++r->nodes > TG_LUA_JSON_NODES_MAX) {
        return refuse(r, "too many values");
    }
    if (r->nodes % TG_LUA_JSON_CLOCK_NODES == 0 && tg_state_is_late(r->L)) {
        return refuse(r, "used up its CPU time");
    }
    switch (lua_type(r->L, -1)) {
    case LUA_TTABLE:
        return open_table(r);
    case LUA_TSTRING:
        return read_text(r);
    case LUA_TBOOLEAN:
        out = json_boolean(lua_toboolean(r->L, -1));
        break;
    case LUA_TNUMBER:
        if (!lua_isinteger(r->L, -1)) {
            return refuse(r, "a float is not exact; use decimal or a text");
        }
        out = json_integer(lua_tointeger(r->L, -1));
        break;
    case LUA_TLIGHTUSERDATA:
        out = json_null();
        break;
    case LUA_TUSERDATA:
        return read_userdata(r);
    default:
        return refuse(r, "a value has no JSON form");
    }
    return out != NULL ? out : refuse(r, "out of memory");
}

/* Puts v (taken over) under the key at table + 1. 0 or -1. */
static int put(struct reading *r, struct read_frame *f, json_t *v)
{
    int key = f->table + 1;
    bool named = lua_type(r->L, key) == LUA_TSTRING;
    const char *name;
    size_t len = 0;
    int rc;

    if (json_is_object(f->out)) {
        name = named ? lua_tolstring(r->L, key, &len) : NULL;
        if (name != NULL && !has_room(r, len)) {
            json_decref(v);
            refuse(r, "too many bytes of text");
            return -1;
        }
        if (name == NULL || memchr(name, '\0', len) != NULL) {
            json_decref(v);
            rc = -1;
        } else {
            rc = json_object_setn_new(f->out, name, len, v); /* takes v even when it fails */
        }
        if (rc != 0) {
            refuse(r, "a member name is not a UTF-8 text");
        }
        return rc;
    }
    /* lua_next gives the items in any order when some live in the hash part */
    if (!lua_isinteger(r->L, key) || lua_tointeger(r->L, key) < 1 ||
        (lua_Unsigned)lua_tointeger(r->L, key) > f->length) {
        json_decref(v);
        refuse(r, "a list has a hole or a named member");
        return -1;
    }
    while (json_array_size(f->out) < (size_t)lua_tointeger(r->L, key)) {
        if (json_array_append_new(f->out, json_null()) != 0) {
            json_decref(v);
            refuse(r, "out of memory");
            return -1;
        }
    }
    rc = json_array_set_new(f->out, (size_t)lua_tointeger(r->L, key) - 1, v);
    if (rc != 0) {
        refuse(r, "out of memory");
    }
    return rc;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* A new object with the members of `in` (taken over) in order; NULL: out of memory. */
static json_t *sorted(json_t *in)
{
    size_t n = json_object_size(in), i = 0;
    const char **keys = calloc(n + 1, sizeof(*keys));
    json_t *out = json_object(), *v;
    const char *key;
    bool ok = true;

    if (keys == NULL || out == NULL) {
        free(keys);
        json_decref(out);
        json_decref(in);
        return NULL;
    }
    json_object_foreach(in, key, v)
    {
        keys[i++] = key;
    }
    qsort(keys, n, sizeof(*keys), by_name);
    for (i = 0; ok && i < n; i++) {
        ok = json_object_set_nocheck(out, keys[i], json_object_get(in, keys[i])) == 0;
    }
    free(keys);
    json_decref(in);
    if (!ok) {
        json_decref(out);
        return NULL;
    }
    return out;
}

/* Ends the frame on top; its value is given back, NULL with err. */
static json_t *close_table(struct reading *r)
{
    struct read_frame *f = &r->frames[r->depth - 1];
    json_t *out = f->out;

    lua_settop(r->L, f->table);
    r->depth--;
    if (json_is_array(out)) {
        return out;
    }
    out = sorted(out);
    return out != NULL ? out : refuse(r, "out of memory");
}

/* The value is on top of the stack. */
static json_t *read_all(struct reading *r)
{
    json_t *v = read_value(r);

    while (v != NULL && r->depth > 0) {
        struct read_frame *f = &r->frames[r->depth - 1];
        bool opened = v == f->out && lua_gettop(r->L) == f->table + 1;

        if (!opened) { /* a finished value: the key is below it */
            if (put(r, f, v) != 0) {
                return NULL;
            }
            lua_settop(r->L, f->table + 1);
        }
        v = lua_next(r->L, f->table) ? read_value(r) : close_table(r);
    }
    return v;
}

json_t *tg_json_read(lua_State *L, int index, struct tg_error *err)
{
    struct reading r = {.L = L, .err = err};
    int top = lua_gettop(L);
    json_t *out;

    index = lua_absindex(L, index);
    if (!lua_checkstack(L, (TG_EVENT_JSON_DEPTH_MAX + 1) * STACK_PER_LEVEL)) {
        tg_error_set(err, "out of memory");
        return NULL;
    }
    lua_pushvalue(L, index);
    out = read_all(&r);
    if (out == NULL) {
        while (r.depth > 0) {
            json_decref(r.frames[--r.depth].out);
        }
    }
    lua_settop(L, top);
    return out;
}
