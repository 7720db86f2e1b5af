/* What is doubtful after a restore, and whether something is missing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include <hiredis/hiredis.h>

#include "intake/stream.h"

static struct tg_event_id id(uint64_t ms, uint64_t seq)
{
    return (struct tg_event_id){.ms = ms, .seq = seq};
}

static struct tg_reread decide(const struct tg_reread_facts *f, bool doubt_all)
{
    struct tg_reread d;

    tg_reread_decide(f, doubt_all, &d);
    return d;
}

/* Entries 1..300 were added, the group read up to 290, 244..300 are left, the journal has to 200.
 */
static struct tg_reread_facts usual(void)
{
    struct tg_reread_facts f = {.length = 57,
                                .added = 300,
                                .first = id(244, 0),
                                .generated = id(300, 0),
                                .delivered = id(290, 0),
                                .newest = id(200, 0),
                                .journalled = 200};

    return f;
}

static void doubtful_is_what_was_delivered(void **state)
{
    struct tg_reread_facts f = usual();

    (void)state;
    assert_int_equal(decide(&f, false).upto.ms, 290);
    assert_int_equal(decide(&f, true).upto.ms, 300); /* Redis came from a copy too */
    f.carried = id(290, 7);                          /* a restore that was not done says more */
    assert_int_equal(decide(&f, false).upto.ms, 290);
    assert_int_equal(decide(&f, false).upto.seq, 7);
    f.carried = id(10, 0);
    assert_int_equal(decide(&f, false).upto.seq, 0);
    f.delivered = id(0, 0); /* the group was made anew: it says nothing of before */
    assert_int_equal(decide(&f, false).upto.ms, 300);
    f.length = 0;
    f.carried = id(0, 0);
    assert_int_equal(decide(&f, false).upto.ms, 0);
}

static void what_is_missing(void **state)
{
    struct tg_reread_facts f = usual();
    struct tg_reread d = decide(&f, false);

    (void)state;
    assert_true(d.gap);
    assert_int_equal(d.missing, 43); /* 201..243 */
    f.newest = id(243, 0);
    f.journalled = 243;
    assert_false(decide(&f, false).gap); /* everything that is gone is in the journal */
    f.newest = id(250, 0);
    f.journalled = 100; /* older ones were in another journal */
    assert_false(decide(&f, false).gap);
    f = usual();
    f.journalled = 5000; /* Redis was emptied since: its counts began anew */
    d = decide(&f, false);
    assert_true(d.gap);
    assert_int_equal(d.missing, 0);
    f = usual();
    f.length = 0; /* all trimmed */
    d = decide(&f, false);
    assert_true(d.gap);
    assert_int_equal(d.missing, 100);
    f.newest = id(300, 0);
    f.journalled = 300;
    assert_false(decide(&f, false).gap);
    f = (struct tg_reread_facts){.length = 0}; /* a stream nobody wrote to */
    assert_false(decide(&f, false).gap);
    f.newest = id(5, 0);
    f.journalled = 5;
    assert_false(decide(&f, false).gap);
}

/* Small numbers, every one: a gap is called only when an id between is in neither. */
static void against_a_model(void **state)
{
    (void)state;
    for (unsigned total = 0; total <= 6; total++) {
        for (unsigned gone = 0; gone <= total; gone++) {
            for (unsigned have = 0; have <= total; have++) {
                struct tg_reread_facts f = {.length = total - gone,
                                            .added = total,
                                            .first = id(gone < total ? gone + 1 : 0, 0),
                                            .generated = id(total, 0),
                                            .delivered = id(total, 0),
                                            .newest = id(have, 0),
                                            .journalled = have};
                struct tg_reread d = decide(&f, false);

                assert_int_equal(d.gap, have < gone);
                assert_int_equal(d.missing, have < gone ? gone - have : 0);
            }
        }
    }
}

/* ---- Redis' replies ---- */

static redisReply *parse(const char *resp)
{
    redisReader *reader = redisReaderCreate();
    void *reply = NULL;

    assert_int_equal(redisReaderFeed(reader, resp, strlen(resp)), REDIS_OK);
    assert_int_equal(redisReaderGetReply(reader, &reply), REDIS_OK);
    redisReaderFree(reader);
    assert_non_null(reply);
    return reply;
}

static void replies(void **state)
{
    struct tg_reread_facts f = {.length = 0};
    struct tg_event_id at = id(9, 9);
    redisReply *r;

    (void)state;
    r = parse("*10\r\n$6\r\nlength\r\n:2\r\n$17\r\nlast-generated-id\r\n$3\r\n7-1\r\n"
              "$13\r\nentries-added\r\n:5\r\n$11\r\nfirst-entry\r\n*2\r\n$3\r\n4-0\r\n*2\r\n$1\r\na"
              "\r\n$1\r\nb\r\n$10\r\nlast-entry\r\n$-1\r\n");
    assert_int_equal(tg_stream_facts(r, 7, &f), 0);
    assert_int_equal(f.length, 2);
    assert_int_equal(f.added, 5);
    assert_int_equal(f.first.ms, 4);
    assert_int_equal(f.generated.seq, 1);
    freeReplyObject(r);
    r = parse("*1\r\n*4\r\n$4\r\nname\r\n$12\r\norchestrator\r\n$17\r\nlast-delivered-id\r\n"
              "$3\r\n6-2\r\n");
    assert_int_equal(tg_stream_delivered(r, 7, &at), 0);
    assert_int_equal(at.ms, 6);
    freeReplyObject(r);
    /* none of ours, errors, cut ones */
    static const char *const bad[] = {
        "*0\r\n",
        "-ERR no such key\r\n",
        ":1\r\n",
        "$2\r\nab\r\n",
        "*1\r\n*4\r\n$4\r\nname\r\n$5\r\nother\r\n$17\r\nlast-delivered-id\r\n$3\r\n6-2\r\n",
        "*1\r\n*2\r\n$4\r\nname\r\n$12\r\norchestrator\r\n",
        "*2\r\n$6\r\nlength\r\n:-2\r\n",
        ("*6\r\n$6\r\nlength\r\n:2\r\n$17\r\nlast-generated-id\r\n$3\r\n7-1\r\n"
         "$13\r\nentries-added\r\n:5\r\n")};

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        r = parse(bad[i]);
        assert_int_equal(tg_stream_facts(r, 7, &f), -1);
        assert_int_equal(tg_stream_delivered(r, 7, &at), -1);
        freeReplyObject(r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(doubtful_is_what_was_delivered),
        cmocka_unit_test(what_is_missing),
        cmocka_unit_test(against_a_model),
        cmocka_unit_test(replies),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
