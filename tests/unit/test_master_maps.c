/* Project maps: what a source calls work, read whole or refused with file and line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "master/master.h"

#define MASTER "lua_rules/fixtures/master.json"

static char dir[] = "/tmp/tg_maps_XXXXXX";
static char path[64];

static struct tg_master *load(const char *text, struct tg_error *err)
{
    const struct tg_master_map_file map = {"jira", path};
    FILE *f = fopen(path, "wb");

    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
    assert_int_equal(fclose(f), 0);
    return tg_master_load(&(struct tg_master_files){.master = MASTER, .maps = &map, .map_count = 1},
                          err);
}

static const char *mapped(const struct tg_master *m, const char *source, const char *list,
                          const char *key)
{
    static char text[64];
    const json_t *row = tg_master_mapped(m, tg_str_of(source), tg_str_of(list), tg_str_of(key));

    if (row == NULL) {
        return "";
    }
    (void)snprintf(text, sizeof(text), "%s/%s", json_string_value(json_object_get(row, "project")),
                   json_string_value(json_object_get(row, "task")));
    return text;
}

static void test_look_ups(void **state)
{
    struct tg_error err = {""};
    struct tg_master *m = load("issues:\n"
                               "  - {key: \"10012\", project: P-100, task: T-1}\n"
                               "  - {key: WEB-7, project: P-100, task: T-2}\n"
                               "projects:\n"
                               "  - {key: WEB, project: P-300, task: T-1}\n",
                               &err);

    (void)state;
    assert_string_equal(err.text, "");
    assert_string_equal(mapped(m, "jira", "issues", "10012"), "P-100/T-1");
    assert_string_equal(mapped(m, "jira", "issues", "WEB-7"), "P-100/T-2");
    assert_string_equal(mapped(m, "jira", "projects", "WEB"), "P-300/T-1");
    assert_string_equal(mapped(m, "jira", "projects", "WEB-7"), "");
    assert_string_equal(mapped(m, "jira", "issues", "WEB"), "");
    assert_string_equal(mapped(m, "jira", "tasks", "10012"), "");
    assert_string_equal(mapped(m, "jira", "issues", ""), "");
    assert_string_equal(mapped(m, "psa", "issues", "10012"), "");
    assert_string_equal(mapped(m, "", "", ""), "");
    tg_master_unref(m);
}

static void test_empty_lists(void **state)
{
    static const char *const texts[] = {"issues: []\n", "projects: []\n",
                                        "issues: []\nprojects: []"};
    struct tg_error err = {""};

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct tg_master *m = load(texts[i], &err);

        assert_string_equal(err.text, "");
        assert_string_equal(mapped(m, "jira", "issues", "1"), "");
        tg_master_unref(m);
    }
}

static void test_the_map_is_part_of_the_version(void **state)
{
    struct tg_error err = {""};
    struct tg_master *a = load("issues:\n  - {key: A, project: P, task: T}\n", &err);
    struct tg_master *b = load("issues:\n  - {key: A, project: P, task: U}\n", &err);
    struct tg_master *c = load("issues:\n  - {key: A, project: P, task: T}\n# words\n", &err);

    (void)state;
    assert_string_not_equal(tg_master_version(a), tg_master_version(b));
    assert_string_equal(tg_master_version(a), tg_master_version(c));
    tg_master_unref(a);
    tg_master_unref(b);
    tg_master_unref(c);
}

static void refused(const char *text, const char *place, const char *says)
{
    char start[128];
    struct tg_error err = {""};

    assert_null(load(text, &err));
    (void)snprintf(start, sizeof(start), "%s:%s", path, place);
    if (strncmp(err.text, start, strlen(start)) != 0 || strstr(err.text, says) == NULL) {
        fail_msg("\"%s\" does not begin with \"%s\" and say \"%s\"", err.text, start, says);
    }
}

static void test_refused(void **state)
{
    (void)state;
    refused("issue: []\n", "1", "issue");
    refused("issues: 1\n", "1", "must be a list");
    refused("issues: {\"1\": P}\n", "1", "must be a list");
    refused("issues:\n  - \"10012\"\n", "2", "");
    refused("issues:\n  - {key: A, project: P}\n", "2", "`task` is missing");
    refused("issues:\n  - {project: P, task: T}\n", "2", "`key` is missing");
    refused("issues:\n  - {key: A, task: T}\n", "2", "`project` is missing");
    refused("issues:\n  - {key: A, project: \"\", task: T}\n", "2", "`project` must be");
    refused("issues:\n  - {key: A, project: P, task: \"\xc3\xa9\"}\n", "2", "`task` must be");
    refused("issues:\n  - {key: A, project: P, task: T, note: x}\n", "2", "note");
    refused("issues:\n  - {key: A, project: P, task: T}\n  - {key: A, project: Q, task: T}\n", "3",
            "`A` has a row already");
    refused("- a\n", "1", "");
}

static void test_a_missing_file(void **state)
{
    const struct tg_master_map_file map = {"jira", "/nonexistent/map.yaml"};
    struct tg_error err = {""};

    (void)state;
    assert_null(tg_master_load(
        &(struct tg_master_files){.master = MASTER, .maps = &map, .map_count = 1}, &err));
    assert_non_null(strstr(err.text, "/nonexistent/map.yaml"));
}

static int open_dir(void **state)
{
    (void)state;
    if (mkdtemp(dir) == NULL) {
        return -1;
    }
    (void)snprintf(path, sizeof(path), "%s/map.yaml", dir);
    return 0;
}

static int close_dir(void **state)
{
    (void)state;
    (void)unlink(path);
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_look_ups),
        cmocka_unit_test(test_empty_lists),
        cmocka_unit_test(test_the_map_is_part_of_the_version),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_a_missing_file),
    };

    return cmocka_run_group_tests(tests, open_dir, close_dir);
}
