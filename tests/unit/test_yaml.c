#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "master/yaml.h"

static char path[] = "/tmp/tg_yaml_XXXXXX";

static struct tg_yaml *load_n(const char *text, size_t len, struct tg_error *err)
{
    FILE *f = fopen(path, "wb");

    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
    return tg_yaml_load(path, err);
}

static struct tg_yaml *load(const char *text, struct tg_error *err)
{
    return load_n(text, strlen(text), err);
}

static void refused(const char *text, const char *expected)
{
    struct tg_error err = {""};
    struct tg_yaml *doc = load(text, &err);
    char whole[TG_ERROR_MAX_BYTES];

    assert_null(doc);
    (void)snprintf(whole, sizeof(whole), "%s:%s", path, expected);
    if (strncmp(err.text, whole, strlen(whole)) != 0) {
        fail_msg("got `%s`, expected `%s`", err.text, whole);
    }
}

static void test_tree(void **state)
{
    struct tg_error err = {""};
    struct tg_yaml *doc = load("redis: { url: \"unix:x\", shards: 16 }\n"
                               "list:\n  - a\n  - [b, 'c d']\nempty:\n",
                               &err);
    const struct tg_yaml_node *root, *list;

    (void)state;
    assert_non_null(doc);
    root = tg_yaml_root(doc);
    assert_int_equal(tg_yaml_kind(root), TG_YAML_MAPPING);
    assert_int_equal(tg_yaml_count(root), 3);
    assert_true(tg_str_equal_c(tg_yaml_key(root, 1), "list"));
    assert_true(
        tg_str_equal_c(tg_yaml_text(tg_yaml_get(tg_yaml_get(root, "redis"), "shards")), "16"));
    list = tg_yaml_get(root, "list");
    assert_int_equal(tg_yaml_kind(list), TG_YAML_SEQUENCE);
    assert_int_equal(tg_yaml_line(list), 3);
    assert_int_equal(tg_yaml_line(tg_yaml_item(list, 1)), 4);
    assert_true(tg_str_equal_c(tg_yaml_text(tg_yaml_item(tg_yaml_item(list, 1), 1)), "c d"));
    assert_null(tg_yaml_item(list, 2));
    assert_null(tg_yaml_value(list, 0));
    assert_null(tg_yaml_get(list, "redis"));
    assert_int_equal(tg_yaml_text(tg_yaml_get(root, "empty")).len, 0);
    assert_ptr_equal(tg_yaml_value(root, 1), list);
    tg_yaml_free(doc);
}

static void test_refusals(void **state)
{
    (void)state;
    refused("", "1: the file is empty");
    refused("# only a comment\n", "1: the file is empty");
    refused("a: 1\nb: 2\na: 3\n", "3: key `a` is already given on line 1");
    refused("a: &x 1\n", "1: anchors");
    refused("a: 1\nb: *a\n", "2: aliases");
    refused("a: !!str 1\n", "1: tags");
    refused("a: !x {b: 1}\n", "1: tags");
    refused("a: 1\n---\nb: 2\n", "2: a second document");
    refused("a: [1, 2\nb: 3\n", "2: did not find expected");
    refused("? [a]\n: 1\n", "1: a key must be a plain word");
    refused("? {a: 1}\n: 1\n", "1: a key must be a plain word");
    refused("\"\": 1\n", "1: a key must be a plain word");
    refused("a: \"x\\0y\"\n", "1: a value holds a NUL");
    refused("a:\n\t- b\n", "2: found character that cannot start any token");
}

static void test_depth(void **state)
{
    struct tg_error err = {""};
    char text[2 * (TG_YAML_DEPTH_MAX + 1) + 1];
    struct tg_yaml *doc;

    (void)state;
    memset(text, '[', TG_YAML_DEPTH_MAX);
    memset(text + TG_YAML_DEPTH_MAX, ']', TG_YAML_DEPTH_MAX);
    doc = load_n(text, 2 * TG_YAML_DEPTH_MAX, &err);
    assert_non_null(doc);
    tg_yaml_free(doc);
    memset(text, '[', TG_YAML_DEPTH_MAX + 1);
    memset(text + TG_YAML_DEPTH_MAX + 1, ']', TG_YAML_DEPTH_MAX + 1);
    assert_null(load_n(text, 2 * (TG_YAML_DEPTH_MAX + 1), &err));
    assert_non_null(strstr(err.text, "nested deeper than 32 levels"));
}

static void test_sizes(void **state)
{
    struct tg_error err = {""};
    size_t len = TG_YAML_FILE_MAX_BYTES + 1;
    char *text = malloc(len);
    size_t used = 0;

    (void)state;
    assert_non_null(text);
    memset(text, '#', len);
    assert_null(load_n(text, len, &err));
    assert_non_null(strstr(err.text, "larger than 4194304 bytes"));
    for (int i = 0; i <= TG_YAML_KEYS_MAX; i++) {
        used += (size_t)snprintf(text + used, len - used, "k%d: 1\n", i);
    }
    assert_null(load_n(text, used, &err));
    assert_non_null(strstr(err.text, ":1025: more than 1024 keys"));
    free(text);
    assert_null(tg_yaml_load("/nonexistent/x.yaml", &err));
    assert_non_null(strstr(err.text, "/nonexistent/x.yaml: cannot be opened"));
}

static void test_keys_and_errors(void **state)
{
    static const char *const accepted[] = {"listen", "threads", NULL};
    struct tg_error err = {""};
    struct tg_yaml *doc = load("api:\n  listen: x\n  thread: 2\n", &err);
    const struct tg_yaml_node *api;
    char expected[TG_ERROR_MAX_BYTES];

    (void)state;
    assert_non_null(doc);
    api = tg_yaml_get(tg_yaml_root(doc), "api");
    assert_int_equal(tg_yaml_check_keys(doc, api, accepted, &err), -1);
    (void)snprintf(expected, sizeof(expected),
                   "%s:3: unknown key `thread`; accepted: listen, threads", path);
    assert_string_equal(err.text, expected);
    assert_int_equal(tg_yaml_check_keys(doc, tg_yaml_get(api, "listen"), accepted, &err), -1);
    assert_non_null(strstr(err.text, ":2: expected `key: value` lines"));
    assert_int_equal(tg_yaml_error(doc, api, &err, "bad %d", 7), -1);
    assert_non_null(strstr(err.text, ":2: bad 7"));
    tg_yaml_free(doc);
}

static int make_file(void **state)
{
    int fd = mkstemp(path);

    (void)state;
    return fd >= 0 ? close(fd) : -1;
}

static int drop_file(void **state)
{
    (void)state;
    return unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tree),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_keys_and_errors),
    };

    return cmocka_run_group_tests(tests, make_file, drop_file);
}
