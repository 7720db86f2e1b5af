/* What waits for a second person: once, ended once, and never by the one who asked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "journal/approvals.h"
#include "journal_rows.h"

static struct tg_row_approval wish(const char *subject)
{
    return (struct tg_row_approval){.tenant = "acme",
                                    .verb = "discard",
                                    .subject = subject,
                                    .what = "{\"exception\":5}",
                                    .reason = "a \"test\"",
                                    .asked_by = "anna",
                                    .expires_ms = 9000000000000};
}

static void ask(struct jt *t, const struct tg_row_approval *row)
{
    struct tg_batch *b = tg_batch_new();

    assert_non_null(b);
    assert_int_equal(tg_batch_approval(b, row), 0);
    jt_commit(t, b);
}

static void end(struct jt *t, int64_t id, enum tg_approval_state to, const char *actor, bool taken)
{
    struct tg_batch *b = tg_batch_new();

    assert_non_null(b);
    assert_int_equal(tg_batch_approval_end(b, id, to, actor, "agreed"), 0);
    if (taken) {
        jt_commit(t, b);
    } else {
        jt_commit_refused(t, b);
    }
}

static bool on_row(void *arg, const struct tg_row_approval *row)
{
    struct tg_row_approval *got = arg;

    got->id = row->id;
    got->state = row->state;
    got->expires_ms = row->expires_ms;
    assert_string_equal(row->tenant, "acme");
    assert_string_equal(row->asked_by, "anna");
    assert_string_equal(row->what, "{\"exception\":5}");
    assert_string_equal(row->reason, "a \"test\"");
    assert_true(row->asked_ms > 1600000000000);
    return true;
}

static void one_wish_waits_once_and_ends_once(void **state)
{
    struct jt *t = *state;
    struct tg_row_approval w = wish("exception 5"), got = {0};
    struct tg_reader *r;
    struct tg_error err;

    ask(t, &w);
    ask(t, &w);
    r = jt_reader(t);
    assert_int_equal(jt_sql_int(t, "SELECT count(*) FROM approvals"), 1);
    assert_int_equal(jt_sql_int(t, "SELECT count(*) FROM audit WHERE action = 'approval.asked'"),
                     1);
    assert_int_equal(
        tg_reader_approval_waits(r, "acme", "discard", "exception 5", on_row, &got, &err), 0);
    assert_int_equal(got.id, 1);
    assert_int_equal(
        tg_reader_approval_waits(r, "other", "discard", "exception 5", on_row, &got, &err), 1);
    end(t, 1, TG_APPROVAL_DONE, "ben", true);
    end(t, 1, TG_APPROVAL_REFUSED, "ben", false);
    assert_non_null(strstr(t->last.text, "approval 1"));
    end(t, 7, TG_APPROVAL_DONE, "ben", false);
    assert_int_equal(
        tg_reader_approval_waits(r, "acme", "discard", "exception 5", on_row, &got, &err), 1);
    ask(t, &w); /* what has ended can be asked for again */
    assert_int_equal(jt_sql_int(t, "SELECT count(*) FROM approvals"), 2);
    assert_int_equal(tg_reader_approval(r, 1, on_row, &got, &err), 0);
    assert_int_equal(got.state, TG_APPROVAL_DONE);
    assert_int_equal(tg_reader_approval(r, 9, on_row, &got, &err), 1);
    assert_int_equal(jt_sql_int(t, "SELECT count(*) FROM audit WHERE actor = 'ben' AND action = "
                                   "'approval.done' AND subject = 'approval 1'"),
                     1);
    tg_reader_close(r);
}

static void nobody_approves_their_own_wish(void **state)
{
    struct jt *t = *state;
    const struct tg_row_approval w = wish("exception 5");

    ask(t, &w);
    end(t, 1, TG_APPROVAL_DONE, "anna", false);
    end(t, 1, TG_APPROVAL_APPROVED, "anna", false);
    assert_int_equal(jt_sql_int(t, "SELECT state FROM approvals"), TG_APPROVAL_PENDING);
}

static void states_go_one_way(void **state)
{
    struct jt *t = *state;
    const struct tg_row_approval w = wish("exception 5");

    ask(t, &w);
    end(t, 1, TG_APPROVAL_PENDING, "ben", false);
    end(t, 1, TG_APPROVAL_APPROVED, "ben", true);
    end(t, 1, TG_APPROVAL_APPROVED, "ben", false);
    ask(t, &w); /* it is being done */
    assert_int_equal(jt_sql_int(t, "SELECT count(*) FROM approvals"), 1);
    end(t, 1, TG_APPROVAL_DONE, "ben", true);
    end(t, 1, TG_APPROVAL_EXPIRED, "ben", false);
}

struct seen {
    int64_t ids[8];
    size_t count;
};

static bool on_listed(void *arg, const struct tg_row_approval *row)
{
    struct seen *s = arg;

    s->ids[s->count++] = row->id;
    return s->count < 8;
}

static void listed_by_tenant(void **state)
{
    struct jt *t = *state;
    struct tg_row_approval w;
    struct seen s = {.count = 0};
    struct tg_reader *r;
    struct tg_error err;
    char subject[32];

    for (int i = 1; i <= 4; i++) {
        (void)snprintf(subject, sizeof(subject), "exception %d", i);
        w = wish(subject);
        w.tenant = i == 3 ? "other" : "acme";
        ask(t, &w);
    }
    end(t, 2, TG_APPROVAL_REFUSED, "ben", true);
    r = jt_reader(t);
    assert_int_equal(tg_reader_approvals(r, "acme", false, 0, 10, on_listed, &s, &err), 0);
    assert_int_equal(s.count, 2);
    assert_int_equal(s.ids[0], 1);
    assert_int_equal(s.ids[1], 4);
    s.count = 0;
    assert_int_equal(tg_reader_approvals(r, "acme", true, 1, 10, on_listed, &s, &err), 0);
    assert_int_equal(s.count, 2);
    assert_int_equal(s.ids[0], 2);
    tg_reader_close(r);
}

static void names(void **state)
{
    (void)state;
    assert_string_equal(tg_approval_state_name(TG_APPROVAL_PENDING), "pending");
    assert_string_equal(tg_approval_state_name(TG_APPROVAL_EXPIRED), "expired");
    assert_string_equal(tg_approval_state_name((enum tg_approval_state)5), "unknown");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, jt_setup, jt_teardown)
    const struct CMUnitTest tests[] = {
        T(one_wish_waits_once_and_ends_once),
        T(nobody_approves_their_own_wish),
        T(states_go_one_way),
        T(listed_by_tenant),
        cmocka_unit_test(names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
