/*
 * state.c: one Lua state with its caps. Why it is built as it is:
 *
 * - The count hook does not fire inside C functions, so every C function of the sandbox that loops
 *   over data charges the budget itself, and single allocations are capped.
 * - An error raised by a hook can be caught by the script, and a message handler of xpcall would
 *   even run with hooks off. So the error is sticky: `broken` makes each pcall raise again, and
 *   handlers run only after unwinding (sandbox.c).
 * - __gc and __close would run script code while an error unwinds. Scripts have no setmetatable,
 *   hence no metamethods of their own; nor coroutines, whose hooks are set apart.
 * - Anything that may allocate runs inside lua_pcall: outside, an error would end the process.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "rules/internal.h"

static const char slots[TG_SLOT_COUNT];

void tg_slot_push(lua_State *L, enum tg_slot slot)
{
    lua_rawgetp(L, LUA_REGISTRYINDEX, &slots[slot]);
}

void tg_slot_take(lua_State *L, enum tg_slot slot)
{
    lua_rawsetp(L, LUA_REGISTRYINDEX, &slots[slot]);
}

struct tg_rules *tg_rules_of(lua_State *L)
{
    struct tg_rules *r;

    memcpy(&r, lua_getextraspace(L), sizeof(r));
    return r;
}

/* When ptr is NULL, old_bytes is a type tag of Lua's, not a size. */
static void *allocate(void *arg, void *ptr, size_t old_bytes, size_t new_bytes)
{
    struct tg_rules *r = arg;
    size_t held = ptr != NULL ? old_bytes : 0;
    void *block;

    if (new_bytes == 0) {
        r->used_bytes -= held;
        free(ptr);
        return NULL;
    }
    if (new_bytes > held && (new_bytes > TG_LUA_BLOCK_MAX_BYTES ||
                             r->used_bytes - held > TG_LUA_MEMORY_MAX_BYTES - new_bytes)) {
        return NULL;
    }
    block = realloc(ptr, new_bytes);
    if (block != NULL) {
        r->used_bytes = r->used_bytes - held + new_bytes;
    }
    return block;
}

static int64_t cpu_ns(void)
{
    struct timespec t;

    if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t) != 0) {
        return 0;
    }
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

bool tg_state_is_late(lua_State *L)
{
    return cpu_ns() > tg_rules_of(L)->cpu_stop_ns;
}

int tg_state_break(lua_State *L, const char *why)
{
    struct tg_rules *r = tg_rules_of(L);

    if (r->broken == NULL) {
        r->broken = why;
    }
    return luaL_error(L, "%s", r->broken);
}

static void spend(lua_State *L, size_t units)
{
    struct tg_rules *r = tg_rules_of(L);

    if (r->broken != NULL) {
        tg_state_break(L, r->broken);
    }
    r->budget -= units > TG_LUA_INSTRUCTIONS_MAX ? TG_LUA_INSTRUCTIONS_MAX : (int64_t)units;
    if (r->budget <= 0) {
        tg_state_break(L, "used up its instruction budget (an endless loop?)");
    }
    if (r->budget > r->clock_at) {
        return; /* reading the clock costs a system call */
    }
    r->clock_at = r->budget - TG_LUA_HOOK_INSTRUCTIONS;
    if (tg_state_is_late(L)) {
        tg_state_break(L, "used up its CPU time");
    }
}

static void hook(lua_State *L, lua_Debug *ar)
{
    (void)ar;
    spend(L, TG_LUA_HOOK_INSTRUCTIONS);
}

void tg_state_charge(lua_State *L, size_t units)
{
    spend(L, units);
}

static void arm(struct tg_rules *r)
{
    r->budget = TG_LUA_INSTRUCTIONS_MAX;
    r->clock_at = r->budget - TG_LUA_HOOK_INSTRUCTIONS;
    r->cpu_stop_ns = cpu_ns() + r->cpu_max_ms * 1000000;
    lua_sethook(r->L, hook, LUA_MASKCOUNT, TG_LUA_HOOK_INSTRUCTIONS);
}

/* The error value on top, said in one line. Only strings are touched: others would allocate. */
static void explain(struct tg_rules *r, int status, struct tg_error *err)
{
    char text[TG_LUA_MESSAGE_MAX_BYTES];
    const char *said;
    size_t len;

    if (r->broken != NULL) {
        tg_error_set(err, "%s", r->broken);
        return;
    }
    if (status == LUA_ERRMEM || lua_type(r->L, -1) != LUA_TSTRING) {
        tg_error_set(err, "raised a %s instead of a message",
                     lua_typename(r->L, lua_type(r->L, -1)));
        return;
    }
    said = lua_tolstring(r->L, -1, &len);
    len = len < sizeof(text) - 1 ? len : sizeof(text) - 1;
    for (size_t i = 0; i < len; i++) {
        text[i] = said[i] >= 0x20 && said[i] < 0x7f ? said[i] : '?';
    }
    text[len] = '\0';
    tg_error_set(err, "%s", text);
}

int tg_state_call(struct tg_rules *r, lua_CFunction fn, void *arg, struct tg_error *err)
{
    int status;

    lua_settop(r->L, 0);
    arm(r);
    lua_pushcfunction(r->L, fn);
    lua_pushlightuserdata(r->L, arg);
    status = lua_pcall(r->L, 1, 1, 0);
    lua_sethook(r->L, NULL, 0, 0);
    if (status == LUA_ERRMEM && r->broken == NULL) {
        r->broken = "used up its memory";
    }
    if (status != LUA_OK || r->broken != NULL) {
        explain(r, status, err);
        lua_settop(r->L, 0);
        return -1;
    }
    return 0;
}

void tg_state_run_chunk(lua_State *L, const char *file)
{
    tg_slot_push(L, TG_SLOT_CHUNKS);
    if (lua_getfield(L, -1, file) != LUA_TFUNCTION) {
        luaL_error(L, "the bundle has no file %s", file);
    }
    /* a chunk may have replaced its _ENV in an earlier call */
    tg_slot_push(L, TG_SLOT_ENV);
    if (lua_setupvalue(L, -2, 1) == NULL) {
        lua_pop(L, 1);
    }
    lua_remove(L, -2);
    lua_call(L, 0, 1);
}

/* Text chunks only: bytecode can be made to break the interpreter. */
static int open_state(lua_State *L)
{
    const struct tg_bundle *b = tg_rules_of(L)->bundle;

    lua_newtable(L);
    tg_slot_take(L, TG_SLOT_ARRAY);
    tg_sandbox_open(L);
    lua_newtable(L);
    for (size_t i = 0; i < b->count; i++) {
        const struct tg_bundle_file *f = &b->files[i];
        const char *chunk_name = lua_pushfstring(L, "@%s", f->name);

        if (luaL_loadbufferx(L, f->text, f->len, chunk_name, "t") != LUA_OK) {
            return lua_error(L);
        }
        lua_setfield(L, -3, f->name);
        lua_pop(L, 1);
    }
    tg_slot_take(L, TG_SLOT_CHUNKS);
    lua_pushboolean(L, 1);
    return 1;
}

struct trial {
    const char *file;
    const char *const *functions; /* NULL-ended */
};

/* Which functions a file of a folder must give; a library gives what it likes. */
static const char *const *functions_of(const char *file)
{
    static const struct {
        const char *folder;
        const char *functions[4];
    } table[] = {{"sources/", {"decode"}},
                 {"validate/", {"check"}},
                 {"route/", {"plan"}},
                 {"connectors/", {"about", "request", "classify"}},
                 {"", {NULL}}};
    size_t i = 0;

    while (strncmp(file, table[i].folder, strlen(table[i].folder)) != 0) {
        i++;
    }
    return table[i].functions;
}

static int try_file(lua_State *L)
{
    const struct trial *t = lua_touserdata(L, 1);

    lua_newtable(L);
    tg_slot_take(L, TG_SLOT_LOADED);
    tg_state_run_chunk(L, t->file);
    for (size_t i = 0; t->functions[i] != NULL; i++) {
        int type = lua_type(L, 2) == LUA_TTABLE ? lua_getfield(L, 2, t->functions[i]) : LUA_TNIL;

        /* a connector's `about` may be the answer itself */
        if (type != LUA_TFUNCTION &&
            (type != LUA_TTABLE || strcmp(t->functions[i], "about") != 0)) {
            return luaL_error(L, "%s: must return a table with the function `%s`", t->file,
                              t->functions[i]);
        }
    }
    if (!tg_declares_destinations(t->file)) {
        lua_pushboolean(L, 1);
    } else {
        lua_getfield(L, -2, "destinations");
    }
    return 1;
}

/* The destinations on top of the stack, which is empty afterwards. */
static int take_declared(struct tg_rules *r, const char *file, struct tg_error *err)
{
    json_t *list = lua_isnil(r->L, -1) ? json_null() : tg_json_read(r->L, -1, err);
    int rc = list != NULL ? tg_declares_take(r, file, list, err) : -1;

    json_decref(list);
    lua_settop(r->L, 0);
    return rc;
}

static int open_files(struct tg_rules *r, struct tg_error *err)
{
    struct tg_error inner = {""};

    if (tg_state_call(r, open_state, NULL, &inner) != 0) {
        return tg_error_set(err, "rules: %.400s", inner.text);
    }
    for (size_t i = 0; i < r->bundle->count; i++) {
        struct trial t = {r->bundle->files[i].name, functions_of(r->bundle->files[i].name)};

        if (tg_state_call(r, try_file, &t, &inner) != 0 ||
            (tg_declares_destinations(t.file) && take_declared(r, t.file, &inner) != 0)) {
            return tg_error_set(err, "rules: %.100s: %.300s", t.file, inner.text);
        }
    }
    return 0;
}

int tg_state_open(struct tg_rules *r, struct tg_error *err)
{
    r->broken = NULL;
    r->used_bytes = 0;
    r->L = lua_newstate(allocate, r);
    if (r->L == NULL) {
        return tg_error_set(err, "rules: out of memory");
    }
    memcpy(lua_getextraspace(r->L), &r, sizeof(r));
    if (open_files(r, err) != 0) {
        tg_state_close(r);
        return -1;
    }
    return 0;
}

void tg_state_close(struct tg_rules *r)
{
    if (r->L != NULL) {
        lua_close(r->L);
        r->L = NULL;
    }
}
