/* Hostile and clumsy rules: each must end as an error, and the next call must work. */
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "rules/internal.h"

#define RESULT_MAX_BYTES ((size_t)16 * 1024 * 1024) /* of a document, while it is read */
#define CALL_MAX_S 10 /* far above TG_LUA_CPU_MAX_MS; sanitizers are slow */

static char dir[] = "/tmp/tg_rules_XXXXXX";
static char file[64], lib_dir[64], lib_file[64];

static void write_bytes(const char *path, const char *text, size_t len)
{
    FILE *f = fopen(path, "wb");

    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
}

static void write_text(const char *path, const char *text)
{
    write_bytes(path, text, strlen(text));
}

static struct tg_rules *rules_of(const char *chunk, struct tg_error *err)
{
    struct tg_bundle *b;
    struct tg_rules *r;

    write_text(file, chunk);
    b = tg_bundle_load(dir, err);
    assert_non_null(b);
    r = tg_rules_new(b, err);
    tg_bundle_unref(b);
    return r;
}

/* Body of decode(headers, body); good(headers, body) works when body.good is set. */
static struct tg_rules *rules_with_body(const char *body)
{
    char chunk[4096];
    struct tg_error err = {""};
    struct tg_rules *r;
    int n = snprintf(chunk, sizeof(chunk),
                     "return {decode = function(headers, body)\n"
                     "if body.good then return {{kind = 'k', v = body.good}} end\n"
                     "%s\nend}",
                     body);

    assert_true(n > 0 && (size_t)n < sizeof(chunk));
    r = rules_of(chunk, &err);
    if (r == NULL) {
        fail_msg("%s", err.text);
    }
    return r;
}

static const struct tg_rules_ctx no_ctx = {.tenant = "", .source = "", .today = ""};

static json_t *decode(struct tg_rules *r, const char *body_text, struct tg_error *err)
{
    json_t *body = json_loads(body_text, JSON_DECODE_ANY, NULL), *headers = json_object(), *out;

    assert_non_null(body);
    out = tg_rules_decode(r, "x", headers, body, NULL, &no_ctx, err);
    json_decref(body);
    json_decref(headers);
    return out;
}

static void still_works(struct tg_rules *r)
{
    struct tg_error err = {""};
    json_t *out = decode(r, "{\"good\": 7}", &err);

    if (out == NULL) {
        fail_msg("%s", err.text);
    }
    assert_int_equal(json_integer_value(json_object_get(json_array_get(out, 0), "v")), 7);
    json_decref(out);
}

static void ends(const char *body, const char *expected)
{
    struct tg_rules *r = rules_with_body(body);
    struct timespec before, after;
    struct tg_error err = {""};
    json_t *out;

    still_works(r);
    assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &before), 0);
    out = decode(r, "{}", &err);
    assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &after), 0);
    if (out != NULL || strstr(err.text, expected) == NULL) {
        fail_msg("`%s`: got `%s`, expected `%s`", body, err.text, expected);
    }
    assert_true(after.tv_sec - before.tv_sec < CALL_MAX_S);
    still_works(r);
    tg_rules_free(r);
}

/* The body's result, dumped. */
static void gives(const char *body, const char *expected)
{
    struct tg_rules *r = rules_with_body(body);
    struct tg_error err = {""};
    json_t *out =
        decode(r, "{\"list\": [3, 1], \"none\": null, \"real\": 7.25, \"empty\": []}", &err);
    char *text;

    if (out == NULL) {
        fail_msg("`%s`: %s", body, err.text);
    }
    text = json_dumps(json_object_get(json_array_get(out, 0), "v"), JSON_ENCODE_ANY | JSON_COMPACT);
    assert_non_null(text);
    if (strcmp(text, expected) != 0) {
        fail_msg("`%s`: got `%s`, expected `%s`", body, text, expected);
    }
    free(text);
    json_decref(out);
    tg_rules_free(r);
}

#define BUDGET "used up its instruction budget"
#define MEMORY "used up its memory"
#define OUT(expr) "return {{kind = 'k', v = " expr "}}"

static void test_endless(void **state)
{
    (void)state;
    ends("while true do end", BUDGET);
    ends("local function f() return f() end f()", BUDGET);
    ends("for i = 1, math.maxinteger do end", BUDGET);
    ends("while true do pcall(function() while true do end end) end", BUDGET);
    ends("pcall(function() while true do end end) " OUT("1"), BUDGET);
    ends("pcall(pcall, pcall, function() while true do end end) " OUT("1"), BUDGET);
    ends("xpcall(function() while true do end end, function() while true do end end)", BUDGET);
    ends("xpcall(error, function() while true do end end)", BUDGET);
    ends("table.sort({3, 2, 1}, function() while true do end end)", BUDGET);
    ends("local t = {} for i = 1, 1e9 do t[i % 7] = i end", BUDGET);
    ends("local t = {3, 1, 2} while true do table.sort(t) end", BUDGET);
    ends("while true do pairs({1}) end", BUDGET);
    ends("local s = string.rep('a', 60000) while true do re.match(s, 'b') end", BUDGET);
    ends("local s = string.rep('a', 1000000) while true do string.find(s, 'b') end", BUDGET);
    ends("while true do local x = decimal.of(1) + 1 end", BUDGET);
    ends("while true do master = nil end", "`master` cannot be set");
}

static void test_memory(void **state)
{
    (void)state;
    ends("local t = {} for i = 1, 1e7 do t[i] = 'x' .. i end", MEMORY);
    ends("local s = 'x' while true do s = s .. s end", MEMORY);
    ends("local t while true do t = {t, {}, {}, {}, {}} end", MEMORY);
    ends("pcall(function() local s = 'x' while true do s = s .. s end end) " OUT("1"), MEMORY);
    ends("string.rep('x', 1 << 40)", "rep: result is longer than 1048576 bytes");
    ends("('x'):rep(1 << 40)", "rep: result is longer than 1048576 bytes");
    ends("string.rep('', 1 << 40) string.rep('ab', math.maxinteger)", "rep: result is longer");
    ends("local t = {} for i = 1, 100 do t[i] = string.rep('x', 1000000) .. i end", MEMORY);
    ends("local t = {} local s = string.rep('x', 100000) for i = 1, 100 do t[i] = s end "
         "table.concat(t)",
         MEMORY);
    ends("table.unpack({}, 1, 1e8)", "too many results");
    ends("string.format(string.rep('%s', 1000))", "value expected");
    ends("local s = '' for i = 1, 100000 do s = s .. 'xxxxxxxxxxxxxxxxxxxxxxxx' end",
         "used up its");
}

static void test_depth(void **state)
{
    (void)state;
    ends("local function f() return 1 + f() end f()", MEMORY);
    ends("local function f() pcall(f) end f() error('back')", "back");
    ends("local function f(a, b) table.sort({1, 2}, f) return false end f()", "C stack overflow");
    ends("local t = {kind = 'k'} t.t = t return {t}", "a table that holds itself");
    ends("local t = {kind = 'k'} for i = 1, 40 do t = {t} end return {t}", "nested too deep");
    ends("local t = {} for i = 1, 20 do t = {t, t} end return {{kind = 'k', t = t}}",
         "too many values");
}

static size_t json_bytes, json_peak_bytes;

static void *json_take(size_t n)
{
    void *p = malloc(n);

    if (p != NULL) {
        json_bytes += malloc_usable_size(p);
        json_peak_bytes = json_bytes > json_peak_bytes ? json_bytes : json_peak_bytes;
    }
    return p;
}

static void json_give(void *p)
{
    if (p != NULL) {
        json_bytes -= malloc_usable_size(p);
        free(p);
    }
}

/* A small table that stands for a large document; what it asks for outside Lua is counted. */
static void ends_small(const char *body, const char *expected)
{
    json_bytes = json_peak_bytes = 0;
    json_set_alloc_funcs(json_take, json_give);
    ends(body, expected);
    json_set_alloc_funcs(malloc, free);
    assert_int_equal(json_bytes, 0);
    if (json_peak_bytes > RESULT_MAX_BYTES) {
        fail_msg("`%s`: reading took %zu bytes", body, json_peak_bytes);
    }
}

#define SPARSE                                                                                     \
    "local t = {} for _, k in ipairs {1, 2, 4, 5, 8, 9} do t[k] = 1 end "                          \
    "for i = 4, 28 do t[1 << i] = 1 end "

static void test_result_lists(void **state)
{
    (void)state;
    ends_small(SPARSE OUT("t"), "at /1/v: too many values, or a list with a hole");
    ends_small("local t = {} for i = 1, 20001 do t[i] = 1 end " OUT("t"), "too many values");
    ends_small("local t = {} for i = 1, 18000 do t[i] = 1 end " OUT("{t, t}"), "too many values");
    ends(OUT("{1, nil, 3}"), "at /1/v: a list has a hole; a missing item is null");
    ends("local t = {1, 2} t[10] = 3 " OUT("t"), "a list has a hole or a named member");
    ends("local t = {1, 2} t[0] = 3 " OUT("t"), "a list has a hole or a named member");
    ends("local t = {1, 2} t.x = 3 " OUT("t"), "a list has a hole or a named member");
    ends("local t = array {} t.x = 3 " OUT("t"), "a list has a hole or a named member");
    gives(OUT("{1, null, 3}"), "[1,null,3]");
    gives(OUT("{[3] = 'c', [2] = 'b', [1] = 'a'}"), "[\"a\",\"b\",\"c\"]");
}

#define HALF "local half = string.rep('x', 1 << 20) "

static void test_result_texts(void **state)
{
    struct tg_error err = {""};
    struct tg_rules *r;
    json_t *out, *v;

    (void)state;
    ends_small(
        "local s = string.rep('x', 1000000) local t = {} for i = 1, 9000 do t[i] = s end " OUT("t"),
        "at /1/v/3: too many bytes of text");
    ends_small(
        "local s = string.rep('x', 1000000) local t = {} for i = 1, 9000 do t[i] = {[s] = 1} "
        "end " OUT("t"),
        "too many bytes of text");
    /* to the byte: `kind`, `k` and `v` are text too */
    ends_small(HALF OUT("{half, half:sub(6)}"), "too many bytes of text");
    r = rules_with_body(HALF OUT("{half, half:sub(7)}"));
    out = decode(r, "{}", &err);
    if (out == NULL) {
        fail_msg("%s", err.text);
    }
    v = json_object_get(json_array_get(out, 0), "v");
    assert_int_equal(json_string_length(json_array_get(v, 0)), 1 << 20);
    assert_int_equal(json_string_length(json_array_get(v, 1)), (1 << 20) - 6);
    json_decref(out);
    tg_rules_free(r);
}

/* Empty slots are passed over one by one, and a table of many may be in many places. The limit is
 * far below what that takes on any machine; the real one a fast machine might just keep. */
static void test_result_time(void **state)
{
    struct tg_rules *r = rules_with_body(
        "local e = {} for i = 1, 70000 do e[i] = 1 end for i = 1, 70000 do e[i] = nil end "
        "local t = {} for i = 1, 19000 do t[i] = e end " OUT("t"));
    struct tg_error err = {""};

    (void)state;
    r->cpu_max_ms = 50;
    assert_null(decode(r, "{}", &err));
    assert_non_null(strstr(err.text, "used up its CPU time"));
    still_works(r);
    tg_rules_free(r);
}

static void test_patterns(void **state)
{
    (void)state;
    ends("return re.match(string.rep('a', 40) .. '!', '^(a+)+$')", "costs too much");
    ends("return re.match(string.rep('a', 5000) .. '!', '(?:(?:a|b)(?:a|b)?)*$')",
         "costs too much");
    ends("while true do pcall(re.match, string.rep('a', 40) .. '!', '^(a+)+$') end", BUDGET);
    ends("re.match('x', '(')", "re: bad pattern at byte 1");
    ends("re.match('x', string.rep('(', 200) .. string.rep(')', 200))", "re: bad pattern");
    ends("re.match('x', string.rep('x', 1025))", "pattern is too long");
    ends("re.match(string.rep('x', 65537), 'x')", "subject is too long");
    ends("re.match('x', string.rep('()', 40))", "re: bad pattern");
    ends("re.match('\\xff', 'x')", "re: match failed");
    ends("for i = 1, 200 do re.match('x', 'a' .. i) end error('filled the cache')",
         "filled the cache");
    gives(OUT("re.match('7:30', [[^(\\d+):(\\d\\d)$]])"), "\"7\"");
    gives(OUT("re.match('abc', 'b')"), "\"b\"");
    gives(OUT("re.match('abc', 'x') == nil"), "true");
    gives("local a, b, c = re.match('ac', '(a)(b)?(c)') " OUT("{a, b == nil, c}"),
          "[\"a\",true,\"c\"]");
    gives(OUT("re.match('ac\\n', '^ac$') == nil"), "true");
}

static void test_outside(void **state)
{
    static const char *const absent[] = {
        "load",         "loadstring", "loadfile", "dofile", "collectgarbage", "rawset", "rawget",
        "rawequal",     "rawlen",     "next",     "print",  "setmetatable",   "io",     "os",
        "getmetatable", "debug",      "package",  "warn",   "coroutine",      "_G",     "utf8"};
    static const char *const members[] = {"string.match", "string.gsub", "string.gmatch",
                                          "string.dump",  "string.pack", "math.random",
                                          "table.move",   "('').gsub",   "string.reverse"};
    char body[128];

    (void)state;
    for (size_t i = 0; i < sizeof(absent) / sizeof(absent[0]); i++) {
        (void)snprintf(body, sizeof(body), "return %s", absent[i]);
        ends(body, "is not defined");
    }
    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
        (void)snprintf(body, sizeof(body), "%s('x', 'x')", members[i]);
        ends(body, "attempt to call a nil value");
    }
    ends("require '../x'", "the bundle has no module `../x`");
    ends("require '/etc/passwd'", "the bundle has no module `/etc/passwd`");
    ends("require 'lib..x'", "the bundle has no module");
    ends("require 'lib.nothing'", "the bundle has no module");
    ends("require 'lib/x'", "the bundle has no module");
    ends("require 'lib.x\\0'", "the bundle has no module");
    ends("require ''", "the bundle has no module");
    ends("require {}", "string expected");
}

static void test_globals(void **state)
{
    (void)state;
    ends("x = 1", "`x` cannot be set");
    ends("string.rep = nil", "`rep` cannot be set");
    ends("table.insert(string, 1)", "cannot be set");
    ends("_ENV.y = 1", "`y` cannot be set");
    ends("_ENV[{}] = 1", "`table` cannot be set");
    ends("decimal.of(1).x = 1", "attempt to index");
    ends("local f = decimal.of(1).format decimal.of(1).format.x = f", "attempt to index");
    ends("return typo", "`typo` is not defined");
    ends("return _ENV", "a library or the master data has no JSON form");
    gives("local _ENV = {y = 1} " OUT("y"), "1");
    gives("local n = 0 for _ in pairs(string) do n = n + 1 end " OUT("n"), "0");
}

/* What a rule keeps in a local of its file must not reach the next event. */
static void test_no_memory_of_calls(void **state)
{
    struct tg_error err = {""};
    struct tg_rules *r;

    (void)state;
    write_text(lib_file, "local n = 0 return {up = function() n = n + 1 return n end}");
    r = rules_of("local m = require 'lib.m' local n = 0 local first = _ENV\n"
                 "return {decode = function() n = n + 1\n"
                 "  local same = require 'lib.m' == m\n"
                 "  return {{kind = 'k', v = n, lib = m.up(), same = same}} end}",
                 &err);
    if (r == NULL) {
        fail_msg("%s", err.text);
    }
    for (int i = 0; i < 3; i++) {
        json_t *out = decode(r, "{}", &err);

        assert_non_null(out);
        assert_int_equal(json_integer_value(json_object_get(json_array_get(out, 0), "v")), 1);
        assert_int_equal(json_integer_value(json_object_get(json_array_get(out, 0), "lib")), 1);
        assert_true(json_is_true(json_object_get(json_array_get(out, 0), "same")));
        json_decref(out);
    }
    tg_rules_free(r);

    /* a chunk that replaces its _ENV finds the true one again in the next call */
    r = rules_of("local had = pcall(function() return kept end) _ENV = {kept = 1}\n"
                 "return {decode = function() return {{kind = 'k', v = had}} end}",
                 &err);
    assert_non_null(r);
    for (int i = 0; i < 2; i++) {
        json_t *out = decode(r, "{}", &err);

        assert_true(json_is_false(json_object_get(json_array_get(out, 0), "v")));
        json_decref(out);
    }
    tg_rules_free(r);
    assert_int_equal(unlink(lib_file), 0);
}

static void loads(const char *chunk, const char *expected)
{
    struct tg_error err = {""};
    struct tg_rules *r = rules_of(chunk, &err);

    tg_rules_free(r);
    if (r != NULL || strstr(err.text, expected) == NULL) {
        fail_msg("`%.100s`: got `%s`", chunk, err.text);
    }
}

static void test_load(void **state)
{
    static const char bytecode[] = "\x1bLua\x54\x00\x19\x93\r\n\x1a\n";
    struct tg_error err = {""};
    struct tg_bundle *b;
    char nested[2048];

    (void)state;
    loads("return", "must return a table with the function `decode`");
    loads("return {}", "must return a table with the function `decode`");
    loads("return {decode = 1}", "must return a table with the function `decode`");
    loads("return {decode =", "sources/x.lua:1:");
    loads("while true do end", BUDGET);
    loads("error({})", "raised a table instead of a message");
    memset(nested, '(', sizeof(nested) - 1);
    nested[sizeof(nested) - 1] = '\0';
    loads(nested, "overflow");

    write_bytes(file, bytecode, sizeof(bytecode));
    b = tg_bundle_load(dir, &err);
    assert_non_null(b);
    assert_null(tg_rules_new(b, &err));
    assert_non_null(strstr(err.text, "attempt to load a binary chunk"));
    tg_bundle_unref(b);
}

static void test_require(void **state)
{
    struct tg_error err = {""};

    (void)state;
    write_text(lib_file, "require 'lib.m' return {}");
    loads("return {decode = function() end}", "`lib.m` needs itself");
    write_text(lib_file, "return 7");
    loads("local m = require 'lib.m' return {decode = m}", "must return a table or a function");
    write_text(lib_file, "leak = 1 return {}");
    loads("return {decode = function() end}", "`leak` cannot be set");
    write_text(lib_file, "return {n = 5}");
    tg_rules_free(rules_of("local m = require 'lib.m' assert(m.n == 5)\n"
                           "return {decode = function() end}",
                           &err));
    assert_string_equal(err.text, "");
    assert_int_equal(unlink(lib_file), 0);
}

static void test_errors(void **state)
{
    (void)state;
    ends("error('plain')", "decode of sources/x.lua: sources/x.lua:3: plain");
    ends("error({})", "raised a table instead of a message");
    ends("error()", "raised a nil instead of a message");
    ends("error(7)", "raised a number instead of a message");
    ends("error(decimal)", "raised a table instead of a message");
    ends("error('two\\nlines\\xff')", "two?lines?");
    ends("error(string.rep('x', 100000))", "xxxxx");
    ends("return 7", "must return a list");
    ends("return", "has no JSON form");
    ends("return {7}", "an object has no `kind`");
    ends("return {{kind = 'k'}, nil, {kind = 'k'}, x = 1}", "a list has a hole");
    ends("local t = {} t[1] = 1 t[3] = 1 " OUT("{a = t}"), "at /1/v/a");
    ends(OUT("1.5"), "at /1/v: a float is not exact");
    ends(OUT("0/0"), "a float is not exact");
    ends(OUT("print"), "is not defined");
    ends(OUT("type"), "has no JSON form");
    ends(OUT("'\\xff'"), "not UTF-8");
    ends(OUT("'a\\0b'"), "not UTF-8");
    ends(OUT("{[true] = 1}"), "not a UTF-8 text");
    ends("assert(false)", "assertion failed");
    ends("assert(nil, 'said')", "said");
    gives("local ok, e = pcall(error, {1}) " OUT("{ok, e}"), "[false,[1]]");
    gives("local ok, e = xpcall(error, function(e) return e .. '!' end, 'a') " OUT("{ok, e}"),
          "[false,\"a!\"]");
    gives("local ok, a, b = xpcall(function(x, y) return y, x end, error, 1, 2) " OUT("{ok, a, b}"),
          "[true,2,1]");
    gives(OUT("{pcall(function() end)}"), "[true]");
}

static void test_library(void **state)
{
    (void)state;
    gives(OUT("body.list"), "[3,1]");
    gives(OUT("body.none == null"), "true");
    gives(OUT("{body.none, null}"), "[null,null]");
    gives(OUT("body.empty"), "[]");
    gives(OUT("{}"), "{}");
    gives(OUT("array {}"), "[]");
    gives(OUT("array(body.list)"), "[3,1]");
    gives(OUT("type(body.real)"), "\"decimal\"");
    gives(OUT("body.real"), "\"7.25\"");
    gives(OUT("{b = 1, a = 2, c = {z = 1, y = 2}}"), "{\"a\":2,\"b\":1,\"c\":{\"y\":2,\"z\":1}}");
    gives(
        "local s = '' for k, v in pairs({b = 1, a = 2, [10] = 3, [2] = 4}) do s = s .. k end " OUT(
            "s"),
        "\"210ab\"");
    gives("local n = 0 local t = {a = 1, b = 2} for k in pairs(t) do t.b = nil n = n + 1 end " OUT(
              "n"),
          "1");
    gives("local n = 0 for i, v in ipairs({5, 6, nil, 7}) do n = n + v end " OUT("n"), "11");
    gives(OUT("{tostring({}), tostring(type), tostring(null), tostring(1), tostring(nil)}"),
          "[\"table\",\"function\",\"null\",\"1\",\"nil\"]");
    gives(OUT("{tonumber('12'), tonumber('7.5') == nil, tonumber('x') == nil}"), "[12,true,true]");
    gives(OUT("{select('#', 1, nil, 3), select(2, 'a', 'b'), (select(-1, 1, 9))}"), "[3,\"b\",9]");
    gives(OUT("{('a,b,,c'):split(',')}"), "[[\"a\",\"b\",\"\",\"c\"]]");
    gives(OUT("{string.find('a.b', '.')}"), "[2,2]");
    gives(OUT("{string.find('aXbX', 'X', 3)}"), "[4,4]");
    gives(OUT("{(' a b '):trim(), ('ab'):starts_with('a'), ('ab'):ends_with('a')}"),
          "[\"a b\",true,false]");
    gives(OUT("{('ab'):upper(), #'abc', ('abc'):sub(-2), string.byte('A'), string.char(66)}"),
          "[\"AB\",3,\"bc\",65,\"B\"]");
    gives(OUT("string.format('%s|%d|%03d|%5s|%-3s|%%|%s', 'a', 7, 7, 'x', 'y', decimal.of('1.5'))"),
          "\"a|7|007|    x|y  |%|1.5\"");
    gives("local t = {3, 1, 2} table.sort(t) table.insert(t, 9) table.remove(t, 1) " OUT("t"),
          "[2,3,9]");
    gives(OUT("table.concat({'a', 1, decimal.of('0.5')}, '-')"), "\"a-1-0.5\"");
    gives(OUT("{table.unpack({1, 2, 3}, 2)}"), "[2,3]");
    gives(OUT("{math.max(1, 3), math.floor(7), math.tointeger(4)}"), "[3,7,4]");
    ends("string.format('%f', 1)", "format: only");
    ends("string.format('%999d', 1)", "format: only");
    ends("string.format('%05s', 1)", "format: only");
    ends("string.format('%--5s', 1)", "format: only");
    ends("string.format('%')", "format: only");
    gives(OUT("string.format('%-99s', 'x'):len()"), "99");
    gives(OUT("string.format('%099d', math.mininteger):len()"), "99");
    ends("string.format('%d', 'x')", "number expected");
    ends("string.split('a', '')", "separator is empty");
    ends("for k in pairs({[true] = 1}) do end", "only texts and integers have an order");
    ends("for k in pairs({[1.5] = 1}) do end", "only texts and integers have an order");
    ends("table.concat({{}})", "concat: item 1 is a table");
    ends("table.sort({1, 'x'})", "attempt to compare");
    ends("array(string)", "not a plain table");
}

static void test_decimals(void **state)
{
    (void)state;
    gives(OUT("decimal.of('0.1') + decimal.of('0.2')"), "\"0.3\"");
    gives(OUT("decimal.of('7.50'):format(2)"), "\"7.50\"");
    gives(OUT("decimal.of('7.123456'):format(2)"), "\"7.123456\"");
    gives(OUT("decimal.of('7.5') * 85"), "\"637.5\"");
    gives(OUT("2 - decimal.of('0.5')"), "\"1.5\"");
    gives(OUT("-decimal.of('0.5')"), "\"-0.5\"");
    gives(OUT("decimal.of(10):div(60, 'half_up')"), "\"0.166667\"");
    gives(OUT("decimal.of('2.345'):round(2, 'half_even')"), "\"2.34\"");
    gives(OUT("decimal.of('2.345'):round(2, 'half_up')"), "\"2.35\"");
    gives(OUT("decimal.of('0.333333'):mul(decimal.of('0.5'), 'down')"), "\"0.166666\"");
    gives(OUT("{decimal.of('1.0') == decimal.of('1'), decimal.of('1') < 2, 3 <= decimal.of('2')}"),
          "[true,true,false]");
    gives(OUT("{decimal.of('1.0'):equals(1), decimal.parse('x') == nil, decimal.parse(7) == nil}"),
          "[true,true,true]");
    gives(OUT("decimal.of('1.50') .. ' h'"), "\"1.5 h\"");
    ends("return decimal.of('1') + 0.5", "a float is not exact");
    ends("return decimal.of(0.5)", "a float is not exact");
    ends("return decimal.of('1') < 0.5", "a float is not exact");
    ends("return decimal.of('1') + '1'", "expected a decimal or an integer");
    ends("return decimal.of('0.333333') * decimal.of('0.5')", "the product needs rounding");
    ends("return decimal.of('9000000000000') * 9000000", "does not fit");
    ends("return decimal.of(math.maxinteger)", "is too large");
    ends("return decimal.of('9223372036854.775807') + 1", "does not fit");
    ends("return decimal.of('1e3')", "is not a decimal number");
    ends("return decimal.of(nil)", "expected a decimal or an integer, got a nil");
    ends("return decimal.of(1):div(0, 'half_up')", "division by zero");
    ends("return decimal.of(1):div(3, 'up')", "invalid option 'up'");
    ends("return decimal.of(1):round(7, 'down')", "digits must be 0 to 6");
    ends("return decimal.of(1) / 3", "attempt to perform arithmetic");
    ends("return decimal.of({}) .. {}", "expected a decimal or an integer");
}

static void test_json_in(void **state)
{
    struct tg_rules *r = rules_with_body(OUT("body"));
    struct tg_error err = {""};
    char deep[200] = "";
    json_t *out;

    (void)state;
    assert_null(decode(r, "{\"x\": 0.1234567}", &err));
    assert_non_null(strstr(err.text, "more than six digits"));
    assert_null(decode(r, "{\"x\": 1e300}", &err));
    assert_null(decode(r, "{\"x\": 123456789012.5}", &err));
    out = decode(r, "{\"x\": [0.1, -0.000001, 999999999.999999, 9007199254740993]}", &err);
    assert_non_null(out);
    json_decref(out);
    memset(deep, '[', 60);
    memset(deep + 60, ']', 60);
    assert_null(decode(r, deep, &err));
    assert_non_null(strstr(err.text, "32 levels"));
    still_works(r);
    tg_rules_free(r);
}

static void test_bundle(void **state)
{
    struct tg_error err = {""};
    char other[64];
    struct tg_bundle *a, *b;

    (void)state;
    assert_null(tg_bundle_load("/nonexistent", &err));
    assert_non_null(strstr(err.text, "/nonexistent: holds no rule"));
    write_text(file, "return {decode = function() end}");
    a = tg_bundle_load(dir, &err);
    b = tg_bundle_load(dir, &err);
    assert_non_null(a);
    assert_non_null(b);
    assert_int_equal(strlen(tg_bundle_sha256(a)), 64);
    assert_string_equal(tg_bundle_sha256(a), tg_bundle_sha256(b));
    tg_bundle_unref(b);
    write_text(file, "return {decode = function()  end}");
    b = tg_bundle_load(dir, &err);
    assert_non_null(b);
    assert_string_not_equal(tg_bundle_sha256(a), tg_bundle_sha256(b));
    tg_bundle_unref(b);
    tg_bundle_unref(a);
    (void)snprintf(other, sizeof(other), "%s/sources/Bad-Name.lua", dir);
    write_text(other, "return {}");
    assert_null(tg_bundle_load(dir, &err));
    assert_non_null(strstr(err.text, "a rule file is named with a-z, 0-9 and _ only"));
    assert_int_equal(unlink(other), 0);
}

static int make_dir(void **state)
{
    char sub[64];

    (void)state;
    if (mkdtemp(dir) == NULL) {
        return -1;
    }
    (void)snprintf(sub, sizeof(sub), "%s/sources", dir);
    (void)snprintf(lib_dir, sizeof(lib_dir), "%s/lib", dir);
    (void)snprintf(file, sizeof(file), "%s/sources/x.lua", dir);
    (void)snprintf(lib_file, sizeof(lib_file), "%s/lib/m.lua", dir);
    return mkdir(sub, 0700) == 0 && mkdir(lib_dir, 0700) == 0 ? 0 : -1;
}

static int drop_dir(void **state)
{
    char sub[64];

    (void)state;
    (void)snprintf(sub, sizeof(sub), "%s/sources", dir);
    (void)unlink(file);
    (void)unlink(lib_file);
    (void)rmdir(lib_dir);
    (void)rmdir(sub);
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_endless),      cmocka_unit_test(test_memory),
        cmocka_unit_test(test_depth),        cmocka_unit_test(test_result_lists),
        cmocka_unit_test(test_result_texts), cmocka_unit_test(test_result_time),
        cmocka_unit_test(test_patterns),     cmocka_unit_test(test_outside),
        cmocka_unit_test(test_globals),      cmocka_unit_test(test_no_memory_of_calls),
        cmocka_unit_test(test_load),         cmocka_unit_test(test_require),
        cmocka_unit_test(test_errors),       cmocka_unit_test(test_library),
        cmocka_unit_test(test_decimals),     cmocka_unit_test(test_json_in),
        cmocka_unit_test(test_bundle),
    };

    return cmocka_run_group_tests(tests, make_dir, drop_dir);
}
