/* The API's listening socket and the Redis address: what is accepted, and the socket file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "api/listen.h"
#include "common/redis_url.h"

static char dir[] = "/tmp/tg-listen-XXXXXX";

static int make_dir(void **state)
{
    (void)state;
    return mkdtemp(dir) != NULL ? 0 : -1;
}

static int remove_dir(void **state)
{
    (void)state;
    return rmdir(dir); /* also shows that every socket file was removed */
}

static struct tg_listen listen_on(const char *name)
{
    struct tg_listen l;
    char text[128];

    snprintf(text, sizeof(text), "unix:%s/%s", dir, name);
    assert_int_equal(tg_listen_parse(tg_str_of(text), &l, NULL), 0);
    return l;
}

static void addresses_are_loopback(void **state)
{
    static const char *const good[] = {"unix:a", "unix:/a/b.sock", "127.0.0.1:1", "127.9.9.9:65535",
                                       "[::1]:8080"};
    static const char *const bad[] = {"",
                                      "unix:",
                                      "a",
                                      "0.0.0.0:80",
                                      "10.0.0.1:80",
                                      "localhost:80",
                                      "127.0.0.1",
                                      "127.0.0.1:",
                                      "127.0.0.1:0",
                                      "127.0.0.1:65536",
                                      "127.0.0.1:+1",
                                      "127.0.0.1:000080",
                                      "127.1:80",
                                      "[::]:80",
                                      "[::1]:0",
                                      ":80"};
    struct tg_listen l;
    struct tg_error err;
    char long_path[TG_LISTEN_PATH_MAX_BYTES + 7];

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        if (tg_listen_parse(tg_str_of(good[i]), &l, &err) != 0) {
            fail_msg("`%s` is refused", good[i]);
        }
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (tg_listen_parse(tg_str_of(bad[i]), &l, &err) == 0) {
            fail_msg("`%s` is accepted", bad[i]);
        }
        assert_non_null(strstr(err.text, "accepted: unix:PATH"));
    }
    memset(long_path, 'a', sizeof(long_path));
    memcpy(long_path, "unix:", 5);
    long_path[sizeof(long_path) - 1] = '\0';
    assert_int_equal(tg_listen_parse(tg_str_of(long_path), &l, &err), -1);
    long_path[sizeof(long_path) - 2] = '\0';
    assert_int_equal(tg_listen_parse(tg_str_of(long_path), &l, &err), 0);
}

static void the_socket_has_its_mode_and_goes(void **state)
{
    struct tg_listen l = listen_on("a.sock");
    struct tg_error err = {""};
    struct stat st;
    int fd = tg_listen_open(&l, &err);

    (void)state;
    assert_string_equal(err.text, "");
    assert_true(fd >= 0);
    assert_int_equal(stat(l.path, &st), 0);
    assert_true(S_ISSOCK(st.st_mode));
    assert_int_equal(st.st_mode & 07777, 0660);
    tg_listen_close(&l, fd);
    assert_int_equal(stat(l.path, &st), -1);
}

static void a_stale_socket_is_replaced(void **state)
{
    struct tg_listen l = listen_on("b.sock");
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    struct tg_error err = {""};
    int old = socket(AF_UNIX, SOCK_STREAM, 0), fd;

    (void)state;
    memcpy(addr.sun_path, l.path, strlen(l.path));
    assert_int_equal(bind(old, (const struct sockaddr *)&addr, sizeof(addr)), 0);
    assert_int_equal(close(old), 0); /* the file stays, nobody answers */
    fd = tg_listen_open(&l, &err);
    assert_string_equal(err.text, "");
    assert_true(fd >= 0);
    tg_listen_close(&l, fd);
}

static void a_socket_in_use_is_left_alone(void **state)
{
    struct tg_listen first = listen_on("c.sock"), second = first;
    struct tg_error err = {""};
    struct stat st;
    int fd = tg_listen_open(&first, &err);

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(tg_listen_open(&second, &err), -1);
    assert_non_null(strstr(err.text, "another process answers"));
    assert_int_equal(stat(first.path, &st), 0);
    tg_listen_close(&first, fd);
}

static void a_file_that_is_no_socket_is_left_alone(void **state)
{
    struct tg_listen l = listen_on("d.sock");
    struct tg_error err = {""};
    FILE *f = fopen(l.path, "w");

    (void)state;
    assert_non_null(f);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(tg_listen_open(&l, &err), -1);
    assert_non_null(strstr(err.text, "is not a socket"));
    assert_int_equal(unlink(l.path), 0);
}

static void a_later_owner_keeps_its_socket(void **state)
{
    struct tg_listen first = listen_on("e.sock"), second = first;
    struct tg_error err = {""};
    struct stat st;
    int a = tg_listen_open(&first, &err), b;

    (void)state;
    assert_true(a >= 0);
    assert_int_equal(unlink(first.path), 0);
    b = tg_listen_open(&second, &err);
    assert_true(b >= 0);
    tg_listen_close(&first, a);
    assert_int_equal(stat(second.path, &st), 0);
    tg_listen_close(&second, b);
}

static void a_missing_directory_is_named(void **state)
{
    struct tg_listen l = listen_on("none/f.sock");
    struct tg_error err = {""};

    (void)state;
    assert_int_equal(tg_listen_open(&l, &err), -1);
    assert_non_null(strstr(err.text, "does its directory exist?"));
}

static void redis_addresses(void **state)
{
    static const struct {
        const char *text;
        int rc;
        bool is_unix;
        const char *host;
        unsigned port, db;
    } table[] = {
        {"unix:var/run/redis.sock", 0, true, "var/run/redis.sock", 6379, 0},
        {"unix:/r", 0, true, "/r", 6379, 0},
        {"redis://h", 0, false, "h", 6379, 0},
        {"redis://h/", 0, false, "h", 6379, 0},
        {"redis://127.0.0.1:7000", 0, false, "127.0.0.1", 7000, 0},
        {"redis://127.0.0.1:7000/15", 0, false, "127.0.0.1", 7000, 15},
        {"", -1, false, NULL, 0, 0},
        {"unix:", -1, false, NULL, 0, 0},
        {"redis://", -1, false, NULL, 0, 0},
        {"redis://:6379", -1, false, NULL, 0, 0},
        {"redis://h:", -1, false, NULL, 0, 0},
        {"redis://h:0", -1, false, NULL, 0, 0},
        {"redis://h:65536", -1, false, NULL, 0, 0},
        {"redis://h:1/256", -1, false, NULL, 0, 0},
        {"redis://h:1/a", -1, false, NULL, 0, 0},
        {"redis://user:word@h:1/0", -1, false, NULL, 0, 0},
        {"redis://word@h", -1, false, NULL, 0, 0},
        {"rediss://h:1/0", -1, false, NULL, 0, 0},
        {"http://h", -1, false, NULL, 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct tg_redis_url url;
        struct tg_error err = {""};

        if (tg_redis_url_parse(tg_str_of(table[i].text), &url, &err) != table[i].rc) {
            fail_msg("`%s`: %s", table[i].text, err.text);
        }
        if (table[i].rc == 0) {
            assert_int_equal(url.is_unix, table[i].is_unix);
            assert_string_equal(url.host, table[i].host);
            assert_int_equal(url.port, table[i].port);
            assert_int_equal(url.db, table[i].db);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_are_loopback),
        cmocka_unit_test(the_socket_has_its_mode_and_goes),
        cmocka_unit_test(a_stale_socket_is_replaced),
        cmocka_unit_test(a_socket_in_use_is_left_alone),
        cmocka_unit_test(a_file_that_is_no_socket_is_left_alone),
        cmocka_unit_test(a_later_owner_keeps_its_socket),
        cmocka_unit_test(a_missing_directory_is_named),
        cmocka_unit_test(redis_addresses),
    };

    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
