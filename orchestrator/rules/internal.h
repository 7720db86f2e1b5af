/*
 * internal.h: what the files of this folder share about a Lua state; not for other folders.
 *
 * How a call runs: rules.c arms the budget, and inside one lua_pcall runs the file's chunk anew (so
 * nothing a rule kept in a local survives a call), copies the arguments in and calls the function;
 * outside it copies the result out with functions that cannot raise. A budget or memory error sets
 * `broken`; from then on every hook and every pcall of the state raises, and the state is thrown
 * away after the call.
 *
 * Ownership: tg_rules owns its state and the pattern cache; `master` is borrowed during a call.
 */
#ifndef TG_RULES_INTERNAL_H
#define TG_RULES_INTERNAL_H

#define PCRE2_CODE_UNIT_WIDTH 8

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <pcre2.h>
#include <stdatomic.h>

#include "core/decimal.h"
#include "rules/rules.h"

/* ---- bundle.c ---- */

struct tg_bundle_file {
    char *name; /* "validate/time_entry.lua" */
    char *text;
    size_t len;
};

struct tg_bundle {
    atomic_uint references;
    char *path;
    struct tg_bundle_file *files; /* sorted by name */
    size_t count;
    char sha256[2 * TG_SHA256_BYTES + 1];
};

/* NULL: the bundle has no such file. */
const struct tg_bundle_file *tg_bundle_find(const struct tg_bundle *b, const char *name);

/* ---- state.c ---- */

struct tg_re_entry {
    char *pattern;
    size_t len;
    pcre2_code *code;
};

struct tg_re {
    pcre2_compile_context *compile;
    pcre2_match_context *match;
    pcre2_match_data *data;
    struct tg_re_entry cache[TG_RE_CACHE_MAX];
    size_t next; /* the slot to be replaced next */
};

struct tg_rules {
    struct tg_bundle *bundle;
    lua_State *L; /* NULL: broken by the last call, made again before the next */
    size_t used_bytes;
    int64_t budget;           /* instructions left of this call */
    int64_t clock_at;         /* look at the clock when the budget has come down to this */
    int64_t cpu_max_ms;       /* of one call: TG_LUA_CPU_MAX_MS; tests make it short */
    int64_t cpu_stop_ns;      /* thread CPU time at which the call ends */
    const char *broken;       /* why the state is finished; NULL: it is fine */
    struct tg_master *master; /* of the call; NULL: none */
    json_t *declared;         /* route file -> the destinations it plans for; NULL: no such file */
    struct tg_re re;
};

/* Keys of the registry: addresses, so that a look-up allocates nothing and cannot raise. */
enum tg_slot {
    TG_SLOT_ENV,     /* the frozen globals every chunk sees */
    TG_SLOT_CHUNKS,  /* file name -> compiled chunk */
    TG_SLOT_LOADED,  /* module name -> its value, of this call only */
    TG_SLOT_MASTER,  /* the frozen master object */
    TG_SLOT_DECIMAL, /* metatable of decimals */
    TG_SLOT_ARRAY,   /* marks a table as a JSON array */
    TG_SLOT_COUNT
};
void tg_slot_push(lua_State *L, enum tg_slot slot);
void tg_slot_take(lua_State *L, enum tg_slot slot); /* pops the value */

struct tg_rules *tg_rules_of(lua_State *L);

/* Makes the state, the environment, compiles every file and runs each once. 0 or -1. */
int tg_state_open(struct tg_rules *r, struct tg_error *err);
void tg_state_close(struct tg_rules *r);

/* Arms the budget, runs fn(arg as light userdata) protected, one result. 0: it is on the stack. */
int tg_state_call(struct tg_rules *r, lua_CFunction fn, void *arg, struct tg_error *err);

/* Raises when the budget is used up. For work a hook cannot see: C loops over data. */
void tg_state_charge(lua_State *L, size_t units);
/* Has the call, or the one that just ended, used up its CPU time? Never raises. */
bool tg_state_is_late(lua_State *L);
/* Marks the state as finished and raises. */
int tg_state_break(lua_State *L, const char *why);

/* Runs a chunk with a fresh environment; its one value is left on the stack. Raises. */
void tg_state_run_chunk(lua_State *L, const char *file);

/* ---- sandbox.c, text.c, tables.c, re.c, decimal_lua.c, master_lua.c: each pushes one table ----
 */

void tg_sandbox_open(lua_State *L);                 /* leaves TG_SLOT_ENV set */
void tg_sandbox_freeze(lua_State *L);               /* table on top -> read-only view of it */
int tg_sandbox_tostring(lua_State *L);              /* value -> text without addresses */
void tg_sandbox_push_text(lua_State *L, int index); /* the same, for C */
void tg_text_open(lua_State *L);
void tg_tables_open(lua_State *L);
int tg_tables_pairs(lua_State *L); /* in order: integers, then strings by bytes */
void tg_re_open(lua_State *L);
int tg_re_init(struct tg_re *re); /* 0, or -1: out of memory */
void tg_re_clear(struct tg_re *re);
void tg_decimal_open(lua_State *L);
void tg_master_open(lua_State *L);

/* A decimal at that index (of any type)? Never raises, never allocates. */
const struct tg_decimal *tg_decimal_at(lua_State *L, int index);
void tg_decimal_push(lua_State *L, struct tg_decimal d);

/* ---- declares.c ---- */

/* Must a file of that name declare `destinations`? */
bool tg_declares_destinations(const char *file);
/* Keeps what it declares. -1 with err when it is not a list of names. */
int tg_declares_take(struct tg_rules *r, const char *file, json_t *list, struct tg_error *err);
bool tg_json_lists(const json_t *list, const char *text); /* is it one of a list's texts? */
bool tg_declares_has(const struct tg_rules *r, const char *file, const char *destination);

/* ---- json_lua.c ---- */

/* Raises. A NULL value pushes nil. */
void tg_json_push(lua_State *L, const json_t *value);
/* Never raises; the stack is as before. NULL with err. */
json_t *tg_json_read(lua_State *L, int index, struct tg_error *err);

#endif
