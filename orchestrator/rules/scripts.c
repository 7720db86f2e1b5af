#include "rules/scripts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rules/internal.h"

#define FOLDER "connectors/"
#define SUFFIX ".lua"

struct tg_script_version {
    unsigned references;
    struct tg_rules *rules;
};

struct call {
    char file[TG_RULE_PATH_MAX_BYTES];
    const char *function;
    const json_t *args; /* array; NULL: only ask whether there is such a function */
};

/* ---- one call ---- */

static int call_body(lua_State *L)
{
    const struct call *c = lua_touserdata(L, 1);
    size_t n = json_array_size(c->args);
    int type;

    lua_newtable(L);
    tg_slot_take(L, TG_SLOT_LOADED);
    tg_state_run_chunk(L, c->file);
    type = lua_type(L, -1) == LUA_TTABLE ? lua_getfield(L, -1, c->function) : LUA_TNIL;
    if (c->args == NULL) {
        lua_pushboolean(L, type == LUA_TFUNCTION);
        return 1;
    }
    if (type == LUA_TTABLE && strcmp(c->function, "about") == 0) {
        return 1;
    }
    if (type != LUA_TFUNCTION) {
        return luaL_error(L, "gives no function `%s`", c->function);
    }
    luaL_checkstack(L, (int)n + 1, "arguments");
    for (size_t i = 0; i < n; i++) {
        tg_json_push(L, json_array_get(c->args, i));
    }
    lua_call(L, (int)n, 1);
    if (lua_isnil(L, -1)) { /* "no such request" is an answer, too */
        lua_pushlightuserdata(L, NULL);
    }
    return 1;
}

static json_t *run(struct tg_rules *r, struct call *c, struct tg_error *err)
{
    json_t *result = NULL;

    if (r->L == NULL && tg_state_open(r, err) != 0) {
        return NULL;
    }
    r->master = NULL;
    if (tg_state_call(r, call_body, c, err) == 0) {
        result = tg_json_read(r->L, -1, err);
        lua_settop(r->L, 0);
    }
    if (r->broken != NULL) {
        tg_state_close(r);
    }
    return result;
}

static int name_file(struct call *c, const struct tg_bundle *b, const char *connector,
                     struct tg_error *err)
{
    int n = snprintf(c->file, sizeof(c->file), FOLDER "%s" SUFFIX, connector);

    if (n < 0 || (size_t)n >= sizeof(c->file) || tg_bundle_find(b, c->file) == NULL) {
        return tg_error_set(err, "the rules have no file " FOLDER "%.64s" SUFFIX, connector);
    }
    return 0;
}

json_t *tg_rules_connector(struct tg_rules *r, const char *connector, const char *function,
                           const json_t *args, struct tg_error *err)
{
    struct call c = {.function = function, .args = args};

    return name_file(&c, r->bundle, connector, err) == 0 ? run(r, &c, err) : NULL;
}

/* ---- the functions of connect/script.h ---- */

static struct tg_script_version *ref(struct tg_script_version *v)
{
    v->references++;
    return v;
}

static void unref(struct tg_script_version *v)
{
    v->references--;
    if (v->references == 0) {
        tg_rules_free(v->rules);
        free(v);
    }
}

static bool has(struct tg_script_version *v, const char *connector, const char *function)
{
    struct call c = {.function = function, .args = NULL};
    struct tg_error ignored;
    json_t *answer;
    bool yes;

    if (name_file(&c, v->rules->bundle, connector, &ignored) != 0) {
        return false;
    }
    if (function == NULL) {
        return true;
    }
    answer = run(v->rules, &c, &ignored);
    yes = json_is_true(answer);
    json_decref(answer);
    return yes;
}

static json_t *call(struct tg_script_version *v, const char *connector, const char *function,
                    const json_t *args, struct tg_error *err)
{
    return tg_rules_connector(v->rules, connector, function, args, err);
}

static void names(struct tg_script_version *v, char *out, size_t out_size)
{
    const struct tg_bundle *b = v->rules->bundle;
    size_t used = 0;

    out[0] = '\0';
    for (size_t i = 0; i < b->count; i++) {
        const char *name = b->files[i].name;
        size_t len = strlen(name);
        int n;

        if (strncmp(name, FOLDER, sizeof(FOLDER) - 1) != 0) {
            continue;
        }
        len -= sizeof(FOLDER) - 1 + sizeof(SUFFIX) - 1;
        n = snprintf(out + used, out_size - used, "%s%.*s", used > 0 ? ", " : "", (int)len,
                     name + sizeof(FOLDER) - 1);
        if (n < 0 || (size_t)n >= out_size - used) {
            return;
        }
        used += (size_t)n;
    }
}

static const struct tg_script_ops ops = {
    .ref = ref, .unref = unref, .has = has, .call = call, .names = names};

int tg_scripts_new(struct tg_bundle *b, struct tg_scripts *out, struct tg_error *err)
{
    struct tg_script_version *v = calloc(1, sizeof(*v));

    *out = (struct tg_scripts){NULL, NULL};
    if (v == NULL) {
        return tg_error_set(err, "rules: out of memory");
    }
    v->references = 1;
    v->rules = tg_rules_new(b, err);
    if (v->rules == NULL) {
        free(v);
        return -1;
    }
    out->ops = &ops;
    out->version = v;
    return 0;
}

void tg_scripts_unref(struct tg_scripts *s)
{
    if (s->ops != NULL) {
        s->ops->unref(s->version);
    }
    *s = (struct tg_scripts){NULL, NULL};
}
