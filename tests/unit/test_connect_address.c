/* Which addresses are refused, and the pure parts of HTTP: addresses, headers, Retry-After. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "connect/address.h"
#include "connect/http_text.h"

static const char *fault(const char *text)
{
    struct sockaddr_storage a;

    if (tg_address_parse(tg_str_of(text), &a) != 0) {
        fail_msg("%s is no address", text);
    }
    return tg_address_fault((struct sockaddr *)&a);
}

static void special_addresses_are_refused(void **state)
{
    static const char *const refused[] = {"0.0.0.0",
                                          "10.0.0.1",
                                          "10.255.255.255",
                                          "100.64.0.1",
                                          "100.127.255.254",
                                          "127.0.0.1",
                                          "127.255.255.255",
                                          "169.254.169.254",
                                          "172.16.0.1",
                                          "172.31.255.255",
                                          "192.0.0.8",
                                          "192.0.2.1",
                                          "192.88.99.1",
                                          "192.168.1.1",
                                          "198.18.0.1",
                                          "198.19.255.255",
                                          "198.51.100.7",
                                          "203.0.113.9",
                                          "224.0.0.1",
                                          "239.255.255.250",
                                          "240.0.0.1",
                                          "255.255.255.255",
                                          "::",
                                          "::1",
                                          "::127.0.0.1",
                                          "::ffff:127.0.0.1",
                                          "::ffff:10.0.0.1",
                                          "64:ff9b::7f00:1",
                                          "64:ff9b:1::1",
                                          "100::1",
                                          "2001::1",
                                          "2001:db8::1",
                                          "2002:7f00:1::1",
                                          "3fff::1",
                                          "fc00::1",
                                          "fd12::1",
                                          "fe80::1",
                                          "fec0::1",
                                          "ff02::1",
                                          "5f00::1"};
    static const char *const taken[] = {
        "1.1.1.1",         "9.255.255.255", "100.63.255.255", "100.128.0.0", "172.15.255.255",
        "172.32.0.0",      "192.0.1.1",     "::ffff:1.1.1.1", "198.20.0.0",  "223.255.255.255",
        "2606:4700::1111", "2001:200::1",   "2a00::1"};

    (void)state;
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        if (fault(refused[i]) == NULL) {
            fail_msg("%s is taken", refused[i]);
        }
    }
    for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++) {
        if (fault(taken[i]) != NULL) {
            fail_msg("%s is refused: %s", taken[i], fault(taken[i]));
        }
    }
    assert_string_equal(fault("169.254.169.254"), "link-local");
    assert_string_equal(fault("::ffff:127.0.0.1"), "loopback");
    assert_non_null(tg_address_fault(&(struct sockaddr){.sa_family = AF_UNIX}));
}

static bool listed(const char *prefix, const char *address)
{
    struct tg_prefix p;
    struct sockaddr_storage a;
    struct tg_error err;

    assert_int_equal(tg_prefix_parse(tg_str_of(prefix), &p, &err), 0);
    assert_int_equal(tg_address_parse(tg_str_of(address), &a), 0);
    return tg_address_is_listed((struct sockaddr *)&a, &p, 1);
}

static void prefixes(void **state)
{
    static const char *const bad[] = {
        "",          "10.0.0.0/33", "10.0.0.0/",    "10.0.0.0/-1",
        "10.0.0/8",  "::/129",      "10.0.0.1/8",   "host",
        "1.2.3.4/x", "fd00::1/64",  "10.0.0.0/8/9", "::ffff:10.0.0.0/104"};
    struct tg_prefix p;
    struct tg_error err;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (tg_prefix_parse(tg_str_of(bad[i]), &p, &err) == 0) {
            fail_msg("%s is taken", bad[i]);
        }
    }
    assert_true(listed("10.0.0.0/8", "10.200.0.1"));
    assert_true(listed("10.0.0.0/8", "::ffff:10.0.0.1"));
    assert_false(listed("10.0.0.0/8", "11.0.0.1"));
    assert_true(listed("127.0.0.1", "127.0.0.1"));
    assert_false(listed("127.0.0.1", "127.0.0.2"));
    assert_true(listed("192.168.4.0/22", "192.168.7.255"));
    assert_false(listed("192.168.4.0/22", "192.168.8.0"));
    assert_true(listed("0.0.0.0/0", "1.2.3.4"));
    assert_false(listed("0.0.0.0/0", "::1"));
    assert_true(listed("fd00::/8", "fd12::9"));
    assert_true(listed("::1", "::1"));
}

static bool url_is_good(const char *text)
{
    struct tg_error err;

    return tg_http_url_check(tg_str_of(text), &err) == 0;
}

static void urls(void **state)
{
    static const char *const good[] = {"http://127.0.0.1:8000/tt/", "https://erp.example",
                                       "HTTPS://erp.example/a/b", "https://[::1]:8443/"};
    static const char *const bad[] = {"",
                                      "erp.example",
                                      "ftp://erp.example/",
                                      "file:///etc/passwd",
                                      "https://",
                                      "https:///x",
                                      "https://u:p@erp.example/",
                                      "https://u@erp.example/",
                                      "https://erp.example/?a=b",
                                      "https://erp.example/#a",
                                      "https://erp.example/a?",
                                      "https://erp.example#",
                                      "https://erp example/",
                                      "https://erp.example:99999/",
                                      "https://erp.example/\xc3\xa4"};
    char host[64];

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        if (!url_is_good(good[i])) {
            fail_msg("%s is refused", good[i]);
        }
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (url_is_good(bad[i])) {
            fail_msg("%s is taken", bad[i]);
        }
    }
    assert_true(tg_http_url_host("https://[::1]:8443/", host, sizeof(host)));
    assert_string_equal(host, "::1");
    assert_true(tg_http_url_host("http://127.0.0.1:8000/tt/", host, sizeof(host)));
    assert_string_equal(host, "127.0.0.1");
    assert_false(tg_http_url_host("http://127.0.0.1/", host, 4));
    assert_true(tg_http_url_is_tls("HTTPS://x/"));
    assert_false(tg_http_url_is_tls("http://x/"));
}

static const char *joined(const char *base, const char *path)
{
    static char out[64];
    struct tg_error err;

    return tg_http_url_join(base, tg_str_of(path), out, sizeof(out), &err) == 0 ? out : NULL;
}

static void paths(void **state)
{
    static const char *const bad[] = {"x",         "/../x",     "/a/../b", "/a/..",  "/.",
                                      "/%2e%2e",   "/a/%2E./b", "/a b",    "/a#b",   "/a\\b",
                                      "/\xc3\xa4", "/a\r\nb",   "@evil/",  "//a/./b"};
    char query[40] = "https://h/x";
    size_t used = strlen(query);

    (void)state;
    assert_string_equal(joined("https://h/tt/", ""), "https://h/tt/");
    assert_string_equal(joined("https://h/tt/", "/x"), "https://h/tt/x");
    assert_string_equal(joined("https://h", "/x?..=/.."), "https://h/x?..=/..");
    assert_string_equal(joined("https://h/a", "?x=1"), "https://h/a?x=1");
    assert_string_equal(joined("https://h", "/..a/.b/c.."), "https://h/..a/.b/c..");
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (joined("https://h", bad[i]) != NULL) {
            fail_msg("%s is taken", bad[i]);
        }
    }
    assert_null(joined("https://h/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "/aaaa"));
    assert_true(tg_http_query_add(query, sizeof(query), &used, tg_str_of("q"), tg_str_of("a b&")));
    assert_string_equal(query, "https://h/x?q=a%20b%26");
    assert_true(tg_http_query_add(query, sizeof(query), &used, tg_str_of("n"), tg_str_of("1")));
    assert_string_equal(query, "https://h/x?q=a%20b%26&n=1");
    assert_false(
        tg_http_query_add(query, sizeof(query), &used, tg_str_of("long"), tg_str_of("%%%%%%%%%%")));
}

static void headers(void **state)
{
    (void)state;
    assert_true(tg_http_is_token(tg_str_of("Idempotency-Key")));
    assert_false(tg_http_is_token(tg_str_of("")));
    assert_false(tg_http_is_token(tg_str_of("a b")));
    assert_false(tg_http_is_token(tg_str_of("a:b")));
    assert_false(tg_http_is_token(tg_str_of("a\r\nb")));
    assert_true(tg_http_is_value(tg_str_of("")));
    assert_true(tg_http_is_value(tg_str_of("a b\tc")));
    assert_false(tg_http_is_value(tg_str_of("a\r\nX: y")));
    assert_true(tg_http_is_reserved_header(tg_str_of("Content-length")));
    assert_true(tg_http_is_reserved_header(tg_str_of("HOST")));
    assert_false(tg_http_is_reserved_header(tg_str_of("Content-Type")));
}

static int64_t after(const char *value, const char *date)
{
    return tg_http_retry_after(tg_str_of(value), tg_str_of(date), INT64_C(1763632800000));
}

static void retry_after(void **state)
{
    (void)state;
    /* a year that no clock has, and whose milliseconds no number holds */
    assert_int_equal(tg_http_date(tg_str_of("S-1:NoV-684444444")), -1);
    assert_true(after("0", NULL) == 0);
    assert_true(after("120", NULL) == 120000);
    assert_true(after("999999999999999999999", NULL) == TG_RETRY_AFTER_MAX_MS);
    assert_true(after("604801", NULL) == TG_RETRY_AFTER_MAX_MS);
    assert_true(after("-5", NULL) == -1);
    assert_true(after("", NULL) == -1);
    assert_true(after("soon", NULL) == -1);
    assert_true(after("1.5", NULL) == -1);
    /* 2025-11-20T10:00:00Z is now_ms */
    assert_true(after("Thu, 20 Nov 2025 10:00:30 GMT", NULL) == 30000);
    assert_true(after("Thursday, 20-Nov-25 10:00:30 GMT", NULL) == 30000);
    assert_true(after("Thu Nov 20 10:00:30 2025", NULL) == 30000);
    assert_true(after("Thu, 20 Nov 2025 09:00:00 GMT", NULL) == 0);
    assert_true(after("Thu, 20 Nov 2036 09:00:00 GMT", NULL) == TG_RETRY_AFTER_MAX_MS);
    /* the destination's clock is wrong: its own Date counts */
    assert_true(after("Thu, 20 Nov 2025 12:00:30 GMT", "Thu, 20 Nov 2025 12:00:00 GMT") == 30000);
    assert_true(after("Thu, 20 Nov 2025 10:00:30 GMT", "no date") == 30000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(special_addresses_are_refused),
        cmocka_unit_test(prefixes),
        cmocka_unit_test(urls),
        cmocka_unit_test(paths),
        cmocka_unit_test(headers),
        cmocka_unit_test(retry_after),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
