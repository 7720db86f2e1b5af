/*
 * The journal's rules as questions in SQL: each row of an answer is a finding. All are asked of one
 * snapshot, so they may run beside a writer; on a large journal each walks a table once.
 */
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "journal/internal.h"

/*
 * Numbers are the states of core/life.h. The file itself comes first: the rest relies on it. Its
 * check takes no argument: from 3.46 on, SQLite takes one for the name of a table.
 */
static const char *const questions[] = {
    "SELECT 'file: ' || quick_check FROM pragma_quick_check WHERE quick_check <> 'ok'",
    "SELECT 'row ' || rowid || ' of ' || \"table\" || ' names a row of ' || parent "
    "|| ' that is not there' FROM pragma_foreign_key_check",

    /* a read-only connection does not look at CHECK constraints */
    "SELECT 'event ' || event_id || ' has state ' || state FROM events "
    "WHERE state NOT BETWEEN 1 AND 3 "
    "UNION ALL SELECT 'object ' || id || ' has state ' || state FROM objects "
    "WHERE state NOT BETWEEN 0 AND 4 "
    "UNION ALL SELECT 'posting ' || id || ' has state ' || state FROM postings "
    "WHERE state NOT BETWEEN 0 AND 10 "
    "UNION ALL SELECT 'exception ' || id || ' has state ' || state FROM exceptions "
    "WHERE state NOT BETWEEN 0 AND 6",

    /* conservation */
    "SELECT 'event ' || event_id || ' is accepted and has no object' FROM events e "
    "WHERE state = 1 AND NOT EXISTS (SELECT 1 FROM objects o WHERE o.event = e.id)",
    "SELECT 'event ' || e.event_id || ' is a duplicate of nothing with its identity' "
    "FROM events e LEFT JOIN events f ON f.id = e.duplicate_of "
    "WHERE e.state = 2 AND (f.id IS NULL OR f.state = 2 OR f.identity <> e.identity)",
    "SELECT 'event ' || event_id || ' names an original and is no duplicate' FROM events NOT "
    "INDEXED "
    "WHERE state <> 2 AND duplicate_of IS NOT NULL",
    "SELECT 'event ' || event_id || ' is refused and has no exception' FROM events e "
    "WHERE state = 3 AND NOT EXISTS (SELECT 1 FROM exceptions x WHERE x.event = e.id)",
    "SELECT 'object ' || id || ' is validated and has no posting' FROM objects o "
    "WHERE state = 1 AND kind <> 'worker' "
    "AND NOT EXISTS (SELECT 1 FROM postings p WHERE p.object = o.id)",
    "SELECT 'object ' || id || ' is validated master data and has no row of it' FROM objects o "
    "WHERE state = 1 AND kind = 'worker' "
    "AND NOT EXISTS (SELECT 1 FROM master m WHERE m.object = o.id)",
    "SELECT 'object ' || id || ' is in exception and has no exception' FROM objects o "
    "WHERE state = 4 AND NOT EXISTS (SELECT 1 FROM exceptions x WHERE x.object = o.id) "
    "AND NOT EXISTS (SELECT 1 FROM exceptions x WHERE x.event = o.event)",
    "SELECT 'object ' || min(o.id) || ' and object ' || max(o.id) || ' are both validated as "
    "version ' || o.version || ' of one thing' FROM "
    "(SELECT key, version FROM objects GROUP BY key, version HAVING count(*) > 1) d "
    "CROSS JOIN objects o ON o.key = d.key AND o.version = d.version WHERE o.state = 1 "
    "GROUP BY o.key, o.version HAVING count(*) > 1",
    "SELECT 'posting key ' || lower(hex(key)) || ' is there ' || count(*) || ' times' "
    "FROM postings GROUP BY key HAVING count(*) > 1",

    /* life cycle */
    "SELECT 'posting ' || id || ' is past its sending and was never sent' FROM postings "
    "WHERE state IN (3, 5, 6, 10) AND first_sent_ms <= 0",
    "SELECT 'posting ' || id || ' is to be retried and has no time' FROM postings "
    "WHERE state = 4 AND due_ms <= 0",
    "SELECT 'posting ' || id || ' waits for a person and has no exception' FROM postings p "
    "WHERE state IN (7, 9) AND NOT EXISTS (SELECT 1 FROM exceptions x WHERE x.posting = p.id)",
    "SELECT 'exception ' || id || ' is closed and has no time of closing' FROM exceptions "
    "WHERE state > 1 AND closed_ms <= 0",
    "SELECT 'exception ' || id || ' is open and has a time of closing' FROM exceptions "
    "WHERE state <= 1 AND closed_ms <> 0",

    "SELECT 'approval ' || id || ' is decided by nobody, or by the one who asked' FROM approvals "
    "WHERE state NOT BETWEEN 0 AND 4 OR (state > 0) <> (decided_by <> '' AND decided_ms > 0) "
    "OR decided_by = asked_by",

    /* holds: a posting that is not final, or a time; and never in a circle */
    "SELECT 'posting ' || id || ' is held and does not say why' FROM postings "
    "WHERE state = 1 AND hold = ''",
    "SELECT 'posting ' || p.id || ' is held, waits for no open posting and has no time' "
    "FROM postings p LEFT JOIN postings w ON w.id = p.hold_on "
    "WHERE p.state = 1 AND p.due_ms <= 0 AND (w.id IS NULL OR w.state IN (6, 8, 10))",
    "SELECT 'posting ' || id || ' is not held and still waits for posting ' || hold_on "
    "FROM postings INDEXED BY postings_hold_on WHERE hold_on IS NOT NULL AND state NOT IN (1, 9)",
    "SELECT 'posting ' || p.id || ' is held behind posting ' || w.id || ' of no older version' "
    "FROM postings p JOIN objects o ON o.id = p.object JOIN postings w ON w.id = p.hold_on "
    "JOIN objects v ON v.id = w.object "
    "WHERE p.hold = 'order' AND (v.key <> o.key OR v.version > o.version OR v.id = o.id)",

    "SELECT 'object ' || id || ' is held and names nothing it waits for, or has no time' "
    "FROM objects INDEXED BY objects_held WHERE state = 0 AND (waits_for = '' OR due_ms <= 0)",

    /* corrections */
    "SELECT 'posting ' || id || ' is reversed and no reversal of it is posted' FROM postings p "
    "WHERE state = 10 AND NOT EXISTS (SELECT 1 FROM postings r INDEXED BY postings_reverses "
    "WHERE r.reverses = p.id AND r.state = 6)",
    "SELECT 'posting ' || r.id || ' is posted and the posting ' || p.id || ' it reverses is not "
    "reversed' FROM postings r INDEXED BY postings_reverses JOIN postings p ON p.id = r.reverses "
    "WHERE r.reverses IS NOT NULL AND r.state = 6 AND p.state <> 10",
    "SELECT 'posting ' || r.id || ' is on its way and the posting ' || p.id || ' it reverses is "
    "not posted' FROM postings r INDEXED BY postings_reverses JOIN postings p ON p.id = r.reverses "
    "WHERE r.reverses IS NOT NULL AND " TG_STATE_OPEN("r.") " AND p.state <> 6",
    "SELECT 'posting ' || reverses || ' has ' || count(*) || ' reversals' "
    "FROM postings INDEXED BY postings_reverses WHERE reverses IS NOT NULL AND state <> 8 "
    "GROUP BY reverses HAVING count(*) > 1",
    "SELECT 'posting ' || r.id || ' does not take back the posting ' || p.id || ' it reverses' "
    "FROM postings r INDEXED BY postings_reverses JOIN postings p ON p.id = r.reverses "
    "WHERE r.reverses IS NOT NULL AND (r.quantity_micros <> -p.quantity_micros "
    "OR r.destination <> p.destination OR r.kind <> p.kind OR r.object <> p.object "
    "OR p.reverses IS NOT NULL)",
    "SELECT 'posting ' || p.id || ' is still to be sent and its version ended' "
    "FROM postings p JOIN objects o ON o.id = p.object WHERE o.state IN (2, 3) "
    "AND p.reverses IS NULL AND (p.state = 4 OR (p.state IN (0, 1, 2) AND p.first_sent_ms = 0))",
    /* but for a reversal that a person discarded */
    "SELECT 'posting ' || p.id || ' stands or may stand, its version ended and nothing reverses "
    "it' "
    "FROM postings p JOIN objects o ON o.id = p.object WHERE o.state IN (2, 3) "
    "AND p.reverses IS NULL AND (p.state IN (2, 3, 5, 6, 9) "
    "OR (p.state = 1 AND p.first_sent_ms > 0)) "
    "AND NOT EXISTS (SELECT 1 FROM postings r INDEXED BY postings_reverses "
    "WHERE r.reverses = p.id AND (r.state <> 8 OR EXISTS "
    "(SELECT 1 FROM exceptions x WHERE x.posting = r.id AND x.state = 4)))",
    /* a reversal follows its original alone, which a person may have said is there */
    "SELECT 'posting ' || m.id || ' is on its way before posting ' || p.id || ' of an older "
    "version is final' FROM postings m INDEXED BY postings_open "
    "CROSS JOIN objects mo ON mo.id = m.object "
    "CROSS JOIN objects o INDEXED BY objects_key ON o.key = mo.key AND o.version < mo.version "
    "CROSS JOIN postings p INDEXED BY postings_object ON p.object = o.id "
    "WHERE " TG_STATE_OPEN("m.") " AND m.reverses IS NULL "
                                 "AND p.destination = m.destination "
                                 "AND p.state NOT IN (6, 8, 10)",

    /* control totals, both ways; what was reversed stays in them, beside its reversal */
    "WITH s AS MATERIALIZED (SELECT destination AS d, kind AS k, period AS p, count(*) AS c, "
    "sum(quantity_micros) AS q FROM postings WHERE state IN (6, 10) GROUP BY 1, 2, 3), "
    "both_ways AS (SELECT d, k, p, c, q, coalesce(t.count, 0) AS tc, "
    "coalesce(t.quantity_micros, 0) AS tq FROM s LEFT JOIN control_totals t "
    "ON t.destination = d AND t.kind = k AND t.period = p "
    "UNION ALL SELECT t.destination, t.kind, t.period, 0, 0, t.count, t.quantity_micros "
    "FROM control_totals t WHERE NOT EXISTS (SELECT 1 FROM s "
    "WHERE t.destination = d AND t.kind = k AND t.period = p)) "
    "SELECT 'control total of ' || n.name || ' ' || k || ' ' || p || ' says ' || tc || ' postings, "
    "' "
    "|| tq || ' micros; posted are ' || c || ', ' || q "
    "FROM both_ways LEFT JOIN destinations n ON n.id = d WHERE c <> tc OR q <> tq",

    /* the book against the chain, both ways: who alters both has to alter the chain too */
    "SELECT 'posting ' || p.id || ' is posted and the audit has no row of it' FROM postings p "
    "WHERE p.state IN (6, 10) AND p.id NOT IN (SELECT CAST(substr(subject, 9) AS INTEGER) "
    "FROM audit WHERE action = 'posting.posted')",
    "SELECT 'audit row ' || a.seq || ' has ' || a.subject || ' posted, which is not so' "
    "FROM audit a LEFT JOIN postings p ON p.id = CAST(substr(a.subject, 9) AS INTEGER) "
    "WHERE a.action = 'posting.posted' AND (p.id IS NULL OR p.state NOT IN (6, 10))",
    "SELECT a.subject || ' is not what audit row ' || a.seq || ' says was posted' "
    "FROM audit a JOIN postings p ON p.id = CAST(substr(a.subject, 9) AS INTEGER) "
    "WHERE a.action = 'posting.posted' "
    "AND (json_extract(a.detail, '$.payload') <> payload_digest(p.payload) "
    "OR json_extract(a.detail, '$.quantity') <> p.quantity_micros "
    "OR json_extract(a.detail, '$.key') <> lower(hex(p.key)))",
    "SELECT 'master row ' || id || ' is there and the audit has no row of it' FROM master "
    "WHERE id NOT IN (SELECT CAST(substr(subject, 8) AS INTEGER) "
    "FROM audit WHERE action = 'master.changed')",
    "SELECT a.subject || ' is not what audit row ' || a.seq || ' says it is' "
    "FROM audit a LEFT JOIN master m ON m.id = CAST(substr(a.subject, 8) AS INTEGER) "
    "WHERE a.action = 'master.changed' AND (m.id IS NULL "
    "OR json_extract(a.detail, '$.attributes') <> payload_digest(m.attributes) "
    "OR json_extract(a.detail, '$.name') <> m.name OR json_extract(a.detail, '$.from') <> "
    "m.from_day)",
};

#define QUESTIONS (sizeof(questions) / sizeof(questions[0]))

static int ask(struct tg_reader *r, const char *sql, size_t *count, tg_check_finding fn, void *arg,
               struct tg_error *err)
{
    sqlite3_stmt *q = NULL;
    int result = sqlite3_prepare_v2(r->db, sql, -1, &q, NULL);

    if (result == SQLITE_OK) {
        result = sqlite3_step(q);
    }
    while (result == SQLITE_ROW) {
        if (*count < TG_CHECK_FINDINGS_MAX) {
            fn(arg, tg_column_text(q, 0));
        }
        (*count)++;
        result = sqlite3_step(q);
    }
    if (result != SQLITE_DONE) {
        (void)tg_reader_failed(r, "the journal", err);
    }
    sqlite3_finalize(q);
    return result == SQLITE_DONE ? 0 : -1;
}

static void payload_digest(sqlite3_context *c, int n, sqlite3_value **values)
{
    struct tg_str payload = {sqlite3_value_text(values[0]), (size_t)sqlite3_value_bytes(values[0])};
    char out[TG_PAYLOAD_DIGEST_BYTES];

    (void)n;
    if (tg_payload_digest(payload, out) != 0) {
        sqlite3_result_error_nomem(c);
        return;
    }
    sqlite3_result_text(c, out, -1, SQLITE_TRANSIENT);
}

int tg_journal_check(struct tg_reader *r, tg_check_finding fn, void *arg, struct tg_error *err)
{
    size_t count = 0;
    int result = 0;
    char cache[64];
    char more[64];

    (void)snprintf(cache, sizeof(cache), "PRAGMA cache_size = -%d; BEGIN", TG_JOURNAL_CACHE_KIB);
    if (sqlite3_create_function(r->db, "payload_digest", 1, SQLITE_UTF8 | SQLITE_DETERMINISTIC,
                                NULL, payload_digest, NULL, NULL) != SQLITE_OK ||
        sqlite3_exec(r->db, cache, NULL, NULL, NULL) != SQLITE_OK) {
        return tg_reader_failed(r, "the journal", err);
    }
    for (size_t i = 0; i < QUESTIONS && result == 0; i++) {
        result = ask(r, questions[i], &count, fn, arg, err);
    }
    /* Nothing was written: ending the snapshot cannot lose anything. */
    (void)sqlite3_exec(r->db, "ROLLBACK", NULL, NULL, NULL);
    if (result != 0) {
        return -1;
    }
    if (count > TG_CHECK_FINDINGS_MAX) {
        (void)snprintf(more, sizeof(more), "and %zu more", count - TG_CHECK_FINDINGS_MAX);
        fn(arg, more);
    }
    return count > INT_MAX ? INT_MAX : (int)count;
}
