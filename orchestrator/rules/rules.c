#include "rules/rules.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rules/internal.h"

struct call {
    char file[TG_RULE_PATH_MAX_BYTES];
    const char *function;
    bool optional;                  /* no function, or nothing returned: null */
    const json_t *first, *second;   /* decode: headers, body; else: object, NULL */
    const struct tg_rules_ctx *ctx; /* master and ctx are the last arguments */
};

struct tg_rules *tg_rules_new(struct tg_bundle *b, struct tg_error *err)
{
    struct tg_rules *r = calloc(1, sizeof(*r));

    if (r == NULL) {
        tg_error_set(err, "rules: out of memory");
        return NULL;
    }
    r->bundle = tg_bundle_ref(b);
    r->cpu_max_ms = TG_LUA_CPU_MAX_MS;
    if (tg_re_init(&r->re) != 0) {
        tg_error_set(err, "rules: out of memory");
        tg_rules_free(r);
        return NULL;
    }
    if (tg_state_open(r, err) != 0) {
        tg_rules_free(r);
        return NULL;
    }
    return r;
}

void tg_rules_free(struct tg_rules *r)
{
    if (r == NULL) {
        return;
    }
    tg_state_close(r);
    tg_re_clear(&r->re);
    json_decref(r->declared);
    tg_bundle_unref(r->bundle);
    free(r);
}

const struct tg_bundle *tg_rules_bundle(const struct tg_rules *r)
{
    return r->bundle;
}

static void push_ctx(lua_State *L, const struct tg_rules_ctx *ctx)
{
    lua_createtable(L, 0, 5);
    lua_pushstring(L, ctx->tenant);
    lua_setfield(L, -2, "tenant");
    lua_pushstring(L, ctx->source);
    lua_setfield(L, -2, "source");
    lua_pushstring(L, ctx->today);
    lua_setfield(L, -2, "today");
    tg_json_push(L, ctx->destinations);
    lua_setfield(L, -2, "destinations");
    tg_json_push(L, ctx->change);
    lua_setfield(L, -2, "change");
}

static int call_body(lua_State *L)
{
    const struct call *c = lua_touserdata(L, 1);

    lua_newtable(L);
    tg_slot_take(L, TG_SLOT_LOADED);
    tg_state_run_chunk(L, c->file);
    if (lua_type(L, -1) != LUA_TTABLE || lua_getfield(L, -1, c->function) != LUA_TFUNCTION) {
        if (c->optional && lua_isnil(L, -1)) {
            tg_json_push(L, json_null());
            return 1;
        }
        return luaL_error(L, "gives no function `%s`", c->function);
    }
    tg_json_push(L, c->first);
    if (c->second != NULL) {
        tg_json_push(L, c->second);
    }
    tg_slot_push(L, TG_SLOT_MASTER);
    push_ctx(L, c->ctx);
    lua_call(L, c->second != NULL ? 4 : 3, 1);
    if (c->optional && lua_isnil(L, -1)) {
        tg_json_push(L, json_null());
    }
    return 1;
}

/* The result as JSON; the state is whole again afterwards, or marked to be made anew. */
static json_t *run(struct tg_rules *r, struct call *c, struct tg_master *m, struct tg_error *err)
{
    struct tg_error inner = {""};
    json_t *result = NULL;

    if (tg_bundle_find(r->bundle, c->file) == NULL) {
        tg_error_set(err, "the rules have no file %s", c->file);
        return NULL;
    }
    if (r->L == NULL && tg_state_open(r, err) != 0) {
        return NULL;
    }
    r->master = m;
    if (tg_state_call(r, call_body, c, &inner) == 0) {
        result = tg_json_read(r->L, -1, &inner);
        lua_settop(r->L, 0);
    }
    r->master = NULL;
    if (r->broken != NULL) {
        tg_state_close(r);
    }
    if (result == NULL) {
        tg_error_set(err, "%s of %.100s: %.380s", c->function, c->file, inner.text);
    }
    return result;
}

/* The same, of a function that gives a list. */
static json_t *run_list(struct tg_rules *r, struct call *c, struct tg_master *m,
                        struct tg_error *err)
{
    json_t *result = run(r, c, m, err);

    if (result == NULL) {
        return NULL;
    }
    if (json_is_object(result) && json_object_size(result) == 0) {
        json_decref(result); /* an empty table: nothing */
        result = json_array();
    }
    if (!json_is_array(result)) {
        tg_error_set(err, "%s of %.100s: must return a list", c->function, c->file);
        json_decref(result);
        return NULL;
    }
    return result;
}

static int name_file(struct call *c, const char *folder, const char *name, struct tg_error *err)
{
    int n = snprintf(c->file, sizeof(c->file), "%s/%s.lua", folder, name);

    if (n < 0 || (size_t)n >= sizeof(c->file)) {
        return tg_error_set(err, "the rules have no file %s/%.64s...", folder, name);
    }
    return 0;
}

static const char *member(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

/* Drops the list when a check of it failed. */
static json_t *checked(json_t *list, const struct call *c, const char *problem,
                       struct tg_error *err)
{
    if (problem == NULL) {
        return list;
    }
    tg_error_set(err, "%s of %.100s: %s", c->function, c->file, problem);
    json_decref(list);
    return NULL;
}

/* A member that is missing is fine when `required` is false. */
static bool all_texts(const json_t *object, const char *const *names, bool required)
{
    for (size_t i = 0; names[i] != NULL; i++) {
        const json_t *v = json_object_get(object, names[i]);

        if (v == NULL ? required : !json_is_string(v)) {
            return false;
        }
    }
    return true;
}

/* What it waits for, if anything: "worker:W-041". */
static bool is_wait(const json_t *v)
{
    const char *name = member(v, "waits_for");

    return name == NULL || tg_str_is_printable(tg_str_of(name), TG_WAITS_FOR_MAX_BYTES);
}

static const char *problem_of_violations(const json_t *list)
{
    static const char *const needed[] = {"code", "field", "message", NULL};
    static const char *const allowed[] = {"owner", "waits_for", NULL};
    size_t i;
    json_t *v;

    if (json_array_size(list) > TG_VIOLATIONS_MAX) {
        return "too many violations";
    }
    json_array_foreach((json_t *)list, i, v)
    {
        size_t members = 3 + (size_t)(json_object_get(v, "owner") != NULL) +
                         (size_t)(json_object_get(v, "waits_for") != NULL);

        if (!all_texts(v, needed, true) || !all_texts(v, allowed, false) ||
            json_object_size(v) != members) {
            return "a violation must be {code, field, message} and at most owner and waits_for, "
                   "all texts";
        }
        if (!is_wait(v)) {
            return "waits_for of a violation is empty, too long or has odd characters";
        }
        if (json_string_length(json_object_get(v, "field")) > TG_CE_ATTRIBUTE_MAX_BYTES ||
            json_string_length(json_object_get(v, "message")) > TG_VIOLATION_MESSAGE_MAX_BYTES) {
            return "field or message of a violation is too long";
        }
    }
    return NULL;
}

/* All are objects with a kind, or all are violations. */
static const char *problem_of_decoded(const json_t *list)
{
    size_t i;
    json_t *item;

    if (member(json_array_get(list, 0), "code") != NULL) {
        return problem_of_violations(list);
    }
    if (json_array_size(list) > TG_VALIDATE_ARRAY_MAX) {
        return "too many objects";
    }
    json_array_foreach((json_t *)list, i, item)
    {
        if (!tg_str_is_name(tg_str_of(member(item, "kind")), TG_SOURCE_NAME_MAX_BYTES)) {
            return "an object has no `kind`";
        }
    }
    return NULL;
}

json_t *tg_rules_decode(struct tg_rules *r, const char *decoder, const json_t *headers,
                        const json_t *body, struct tg_master *m, const struct tg_rules_ctx *ctx,
                        struct tg_error *err)
{
    struct call c = {.function = "decode", .first = headers, .second = body, .ctx = ctx};
    json_t *list;

    if (name_file(&c, "sources", decoder, err) != 0) {
        return NULL;
    }
    list = run_list(r, &c, m, err);
    return list != NULL ? checked(list, &c, problem_of_decoded(list), err) : NULL;
}

static const char *kind_of(const json_t *object, struct tg_error *err)
{
    const char *kind = member(object, "kind");

    if (kind == NULL) {
        tg_error_set(err, "the object has no `kind`");
    }
    return kind;
}

json_t *tg_rules_check(struct tg_rules *r, const json_t *object, struct tg_master *m,
                       const struct tg_rules_ctx *ctx, struct tg_error *err)
{
    struct call c = {.function = "check", .first = object, .ctx = ctx};
    const char *kind = kind_of(object, err);
    json_t *list;

    if (kind == NULL || name_file(&c, "validate", kind, err) != 0) {
        return NULL;
    }
    list = run_list(r, &c, m, err);
    return list != NULL ? checked(list, &c, problem_of_violations(list), err) : NULL;
}

static bool same_member(const json_t *a, const json_t *b, const char *key)
{
    return strcmp(member(a, key), member(b, key)) == 0;
}

/* Of the posting at that place in what a route file gave. */
static const char *problem_of_posting(const struct tg_rules *r, const struct call *c,
                                      const json_t *list, size_t at)
{
    static const char *const needed[] = {"destination", "kind", "leg", "period", "quantity", NULL};
    const json_t *p = json_array_get(list, at);
    struct tg_decimal quantity;

    if (!all_texts(p, needed, true) || !json_is_object(json_object_get(p, "payload")) ||
        json_object_size(p) != 6) {
        return "a posting must be {destination, kind, leg, period, quantity, payload}";
    }
    if (!tg_str_is_name(tg_str_of(member(p, "kind")), TG_SOURCE_NAME_MAX_BYTES) ||
        !tg_str_is_name(tg_str_of(member(p, "leg")), TG_SOURCE_NAME_MAX_BYTES) ||
        !tg_str_is_printable(tg_str_of(member(p, "period")), TG_CE_ATTRIBUTE_MAX_BYTES)) {
        return "kind, leg or period of a posting is empty or has odd characters";
    }
    if (tg_decimal_parse(tg_str_of(member(p, "quantity")), &quantity) != 0) {
        return "quantity of a posting is not a decimal text";
    }
    if (!tg_json_lists(c->ctx->destinations, member(p, "destination"))) {
        return "a posting goes to a destination the tenant does not have";
    }
    if (!tg_declares_has(r, c->file, member(p, "destination"))) {
        return "a posting goes to a destination that `destinations` of the file does not name";
    }
    for (size_t i = 0; i < at; i++) {
        const json_t *other = json_array_get(list, i);

        /* the posting's key would be the same, so only one of them would ever be sent */
        if (same_member(p, other, "destination") && same_member(p, other, "kind") &&
            same_member(p, other, "leg")) {
            return "two postings have the same destination, kind and leg";
        }
    }
    return NULL;
}

static const char *problem_of_postings(const struct tg_rules *r, const struct call *c,
                                       const json_t *list)
{
    const char *problem = NULL;

    if (json_array_size(list) > TG_POSTINGS_PER_OBJECT_MAX) {
        return "too many postings";
    }
    for (size_t i = 0; problem == NULL && i < json_array_size(list); i++) {
        problem = problem_of_posting(r, c, list, i);
    }
    return problem;
}

json_t *tg_rules_plan(struct tg_rules *r, const json_t *object, struct tg_master *m,
                      const struct tg_rules_ctx *ctx, struct tg_error *err)
{
    struct call c = {.function = "plan", .first = object, .ctx = ctx};
    const char *kind = kind_of(object, err);
    json_t *list;

    if (kind == NULL || name_file(&c, "route", kind, err) != 0) {
        return NULL;
    }
    list = run_list(r, &c, m, err);
    return list != NULL ? checked(list, &c, problem_of_postings(r, &c, list), err) : NULL;
}

static const char *problem_of_reversal(const json_t *v)
{
    static const char *const refusal[] = {"code", "field", "message", NULL};

    if (json_is_null(v)) {
        return NULL;
    }
    if (json_object_size(v) == 3 + (size_t)(member(v, "waits_for") != NULL) &&
        all_texts(v, refusal, true) && is_wait(v)) {
        return json_string_length(json_object_get(v, "field")) <= TG_CE_ATTRIBUTE_MAX_BYTES &&
                       json_string_length(json_object_get(v, "message")) <=
                           TG_VIOLATION_MESSAGE_MAX_BYTES
                   ? NULL
                   : "field or message of the refusal is too long";
    }
    if (json_object_size(v) != 2 || member(v, "period") == NULL ||
        !json_is_object(json_object_get(v, "payload"))) {
        return "must return {period, payload}, {code, field, message} and at most waits_for, or "
               "nothing";
    }
    return tg_str_is_printable(tg_str_of(member(v, "period")), TG_CE_ATTRIBUTE_MAX_BYTES)
               ? NULL
               : "the period is empty or has odd characters";
}

json_t *tg_rules_reversal(struct tg_rules *r, const char *kind, const json_t *posting,
                          struct tg_master *m, const struct tg_rules_ctx *ctx, struct tg_error *err)
{
    struct call c = {.function = "reversal", .optional = true, .first = posting, .ctx = ctx};
    json_t *answer;

    if (name_file(&c, "route", kind, err) != 0) {
        return NULL;
    }
    answer = run(r, &c, m, err);
    return answer != NULL ? checked(answer, &c, problem_of_reversal(answer), err) : NULL;
}
