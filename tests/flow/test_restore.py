"""A backup beside a running serve, and an old one put back: nothing doubled, nothing lost."""
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import threading
import time
from collections import Counter

import pytest

from tests.harness import stack
from tests.harness.rest import Rest
from tests.harness.stack import wait_for


def settings(firm, old, new):
    text = firm.yaml.read_text()
    assert old in text
    firm.yaml.write_text(text.replace(old, new))


def keep(firm, value="24h"):
    settings(firm, "user: orchestrator,", f"user: orchestrator, keep: {value},")


def run(firm, command, *args, **kw):
    return firm.orchestrator.run(command, "-c", firm.yaml, *args, **kw)


def ok(done):
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def sql(path, query, *args):
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return db.execute(query, args).fetchall()
    finally:
        db.close()


def all_posted(firm, n):
    """n entries accepted, nothing of them on its way any more."""
    def done():
        rows = sql(firm.path("journal.db"), "SELECT state, count(*) FROM postings GROUP BY state")
        return rows == [(6, 2 * n)] and rows
    return wait_for(done, 60, f"{n} entries posted")


def each_once(firm, numbers):
    want = Counter(f"TE-{n:06}" for n in numbers)
    assert Counter(r["entry"] for r in firm.labor()) == want
    assert Counter(r["entry"] for r in firm.payroll()) == want


def sound(firm):
    done = ok(run(firm, "check", "--journal"))
    assert "ok: journal" in done.stdout
    ok(firm.orchestrator.run("audit", "verify", "-c", firm.yaml))


def send(firm, http, numbers, **kw):
    for n in numbers:  # as a sender does: a 503 (Redis is late) is sent again under the same key
        wait_for(lambda n=n: firm.hook(http, firm.entry(n, **kw)).status_code == 202, what="accepted")


def test_a_backup_beside_a_running_serve_is_whole(make_firm):
    firm = make_firm()
    sent, stop = [], threading.Event()

    def sender():
        with firm.client() as c:
            while not stop.is_set():
                sent.append(len(sent) + 1)
                send(firm, c, sent[-1:])
    thread = threading.Thread(target=sender)
    thread.start()
    try:
        wait_for(lambda: len(sent) > 20, what="some events")
        for k in range(5):
            target = firm.path(f"backup-{k}.db")
            done = ok(run(firm, "backup", "--to", target, "--json"))
            said = json.loads(done.stdout)
            (rows, head), = sql(target, "SELECT max(seq), (SELECT lower(hex(hash)) FROM audit "
                                        "ORDER BY seq DESC LIMIT 1) FROM audit")
            assert (said["audit_rows"], said["audit_hash"]) == (rows, head)
            assert said["bytes"] == os.path.getsize(target)
            assert said["events"] == sql(target, "SELECT count(*) FROM events")[0][0]
            assert sql(target, "PRAGMA integrity_check") == [("ok",)]
            assert target.stat().st_mode & 0o777 == 0o600
    finally:
        stop.set()
        thread.join()
    assert not [p for p in os.listdir(firm.dir) if p.startswith("backup-") and "tmp" in p]
    # each is a journal in its own right: check and audit read it
    other = firm.path("other.yaml")
    other.write_text(firm.yaml.read_text().replace(f"{firm.dir}/journal.db", str(target)))
    assert firm.orchestrator.run("check", "-c", other, "--journal").returncode == 0
    assert firm.orchestrator.run("audit", "verify", "-c", other).returncode == 0
    # and what is there stays
    before = target.read_bytes()
    done = run(firm, "backup", "--to", target)
    assert done.returncode == 1 and "is there already" in done.stderr
    assert target.read_bytes() == before
    all_posted(firm, len(sent))


class Gone:
    """A destination's directory is away, a file in its place: sends find it unreachable."""

    def __init__(self, directory):
        self.directory = directory
        self.away = directory.with_name(directory.name + ".away")
        os.rename(directory, self.away)
        directory.write_text("")

    def back(self):
        self.directory.unlink()
        os.rename(self.away, self.directory)


def test_an_old_backup_restored_doubles_nothing_and_loses_nothing(make_firm):
    """Backup while postings wait (ready and retry); all is posted and more; then the old one."""
    firm = make_firm(start=False)
    keep(firm)
    settings(firm, "path: {d}/out/erp }}".format(d=firm.dir),
             f"path: {firm.dir}/out/erp, concurrency: 1, rate: 10/s }}")
    firm.start()
    gone = Gone(firm.path("out/payroll"))
    with firm.client() as http:
        send(firm, http, range(1, 41))
        wait_for(lambda: sql(firm.path("journal.db"), "SELECT count(*) FROM postings")[0][0] == 80,
                 what="journalled")
        wait_for(lambda: sql(firm.path("journal.db"),
                             "SELECT 1 FROM postings WHERE state = 4"), what="one in retry")
        backup = firm.path("old.db")
        ok(run(firm, "backup", "--to", backup))
        states = dict(sql(backup, "SELECT state, count(*) FROM postings GROUP BY state"))
        assert states.get(2) and states.get(4), states  # ready and retry are in it
        gone.back()
        send(firm, http, range(41, 101))
        all_posted(firm, 100)
    each_once(firm, range(1, 101))
    firm.orchestrator.stop()
    newer = sql(firm.path("journal.db"), "SELECT max(seq) FROM audit")[0][0]

    done = ok(run(firm, "restore", "--from", backup, "--replace", "--json"))
    said = json.loads(done.stdout)
    assert said["in_doubt"] == states.get(2, 0) + states.get(3, 0) + states.get(4, 0)
    assert sql(said["replaced"], "SELECT max(seq) FROM audit")[0][0] == newer
    assert dict(sql(firm.path("journal.db"),
                    "SELECT state, count(*) FROM postings GROUP BY state")).keys() <= {5, 6}
    ((detail,),) = sql(firm.path("journal.db"),
                       "SELECT detail FROM audit WHERE action = 'journal.restored'")
    assert json.loads(detail)["in_doubt"] == said["in_doubt"]

    firm.orchestrator.start()
    all_posted(firm, 100)
    each_once(firm, range(1, 101))
    sound(firm)
    # new work goes the usual way, and a second start does not read the stream again
    with firm.client() as http:
        send(firm, http, [101])
        all_posted(firm, 101)
    firm.orchestrator.stop()
    firm.orchestrator.start()
    assert sql(firm.path("journal.db"),
               "SELECT count(*) FROM audit WHERE action = 'stream.reread'") == [(1,)]
    each_once(firm, range(1, 102))
    sent = sql(firm.path("journal.db"), "SELECT DISTINCT outcome FROM attempts a JOIN postings p "
                                        "ON p.id = a.posting WHERE p.object > 40")
    assert ("posted",) in sent  # the new one; those read again were found
    assert sql(firm.path("journal.db"),
               "SELECT count(*) FROM attempts WHERE outcome = 'found'")[0][0] >= 120


def test_what_redis_no_longer_has_is_told(make_firm):
    """Without redis.keep the stream is trimmed: a restored backup says what it cannot know."""
    firm = make_firm()
    backup = firm.path("old.db")
    with firm.client() as http:
        send(firm, http, range(1, 6))
        all_posted(firm, 5)
        ok(run(firm, "backup", "--to", backup))
        send(firm, http, range(6, 13))
        all_posted(firm, 12)
    firm.orchestrator.stop()
    r = firm.redis.client()
    (stream,) = [k for k in r.scan_iter("tg:*:events") if r.xlen(k)]
    r.xtrim(stream, maxlen=3, approximate=False)
    ok(run(firm, "restore", "--from", backup, "--replace"))
    firm.orchestrator.start()
    ((subject, detail),) = wait_for(lambda: sql(
        firm.path("journal.db"), "SELECT subject, detail FROM audit WHERE action = "
                                 "'stream.entries_missing'"), 20, "the gap told")
    assert stream.decode() == f"tg:{{{subject}}}:events"
    assert json.loads(detail)["missing"] == 4
    assert "4 events" in firm.orchestrator.process.text()
    metrics = firm.orchestrator.get("/metrics")[2].decode()
    assert "tallygate_intake_data_loss_total 4" in metrics
    all_posted(firm, 8)  # five of the backup, three of the stream
    each_once(firm, range(1, 13))  # what the destinations had, they still have once
    sound(firm)


def test_a_restore_is_refused_clearly(make_firm, tmp_path):
    firm = make_firm()
    backup, db = firm.path("old.db"), firm.path("journal.db")
    with firm.client() as http:
        send(firm, http, [1])
        all_posted(firm, 1)
    ok(run(firm, "backup", "--to", backup))
    pid = firm.orchestrator.process.pid
    for args in (("--replace",), ()):
        done = run(firm, "restore", "--from", backup, *args)
        assert done.returncode == 1 and f"in use by process {pid}" in done.stderr
    firm.orchestrator.stop()
    before = db.read_bytes()

    def refused(words, *args, source=backup):
        done = run(firm, "restore", "--from", source, *args)
        assert done.returncode == 1 and words in done.stderr, done.stderr
        assert db.read_bytes() == before
        assert not [p for p in os.listdir(firm.dir) if "restoring" in p]
    refused("--replace sets it aside")
    refused("No such file", "--replace", source=firm.path("none.db"))
    refused("is the journal itself", "--replace", source=db)
    refused("not a journal", "--replace", source=_other_database(tmp_path))
    newer = tmp_path / "newer.db"
    shutil.copy(backup, newer)
    _write(newer, "PRAGMA user_version = 99")
    refused("run the newer tallygate", "--replace", source=newer)
    touched = tmp_path / "touched.db"
    shutil.copy(backup, touched)
    _write(touched, "DROP TRIGGER audit_no_update", "UPDATE audit SET actor = 'me' WHERE seq = 2")
    refused("row 2 was changed", "--replace", source=touched)
    (firm.path("journal.db.restoring")).write_text("")  # as a kill would leave it
    firm.orchestrator.start(ready=False)
    wait_for(lambda: not firm.orchestrator.process.alive(), what="serve gives up")
    assert "did not come to its end" in firm.orchestrator.process.text()
    ok(run(firm, "restore", "--from", backup, "--replace"))
    firm.orchestrator.start()


def _write(path, *statements):
    db = sqlite3.connect(path)
    for statement in statements:
        db.execute(statement)
    db.commit()
    db.close()


def _other_database(tmp_path):
    path = tmp_path / "other.db"
    _write(path, "CREATE TABLE t(a)")
    return path


def test_checkpoints_of_the_replaced_journal_are_set_aside(make_firm):
    firm = make_firm(start=False, checkpoints=True)
    ok(firm.orchestrator.run("token", "keys", "--out", firm.path("keys"), "--name", "audit",
                             "--alg", "EdDSA"))
    firm.start()

    def checkpoint():
        ok(firm.orchestrator.run("audit", "checkpoint", "-c", firm.yaml))
    with firm.client() as http:
        send(firm, http, [1])
        all_posted(firm, 1)
        checkpoint()
        ok(run(firm, "backup", "--to", firm.path("old.db")))
        send(firm, http, [2])
        all_posted(firm, 2)
        checkpoint()
    firm.orchestrator.stop()
    names = {p.name for p in firm.path("checkpoints").glob("*.json")}
    done = ok(run(firm, "restore", "--from", firm.path("old.db"), "--replace", "--json"))
    said = json.loads(done.stdout)
    assert said["checkpoints_set_aside"] == 2  # the second one, and the one of the stop
    left = {p.name for p in firm.path("checkpoints").glob("*.json")}
    moved = {p.name for p in firm.path("checkpoints").glob("before-restore-*/*.json")}
    assert left and left | moved == names and not left & moved
    firm.orchestrator.start()
    all_posted(firm, 2)
    checkpoint()
    sound(firm)
    # a checkpoint of another journal within the backup's rows: not this journal's backup
    firm.orchestrator.stop()
    (first,) = left
    shutil.copy(sorted(firm.path("checkpoints").glob("before-restore-*/*.json"))[0],
                firm.path("checkpoints") / first)
    done = run(firm, "restore", "--from", firm.path("old.db"), "--replace")
    assert done.returncode == 1 and "not as it was signed" in done.stderr
    (firm.path("checkpoints") / first).unlink()
    firm.orchestrator.start()


def schema_one(path):
    db = sqlite3.connect(path)
    db.executescript((stack.ROOT / "tests/data/journal-schema1.sql").read_text())
    db.close()


def test_migrate_brings_an_old_journal_up_to_date(make_firm):
    firm = make_firm(start=False)
    db = firm.path("journal.db")
    schema_one(db)
    done = firm.orchestrator.run("exceptions", "list", "-c", firm.yaml)
    assert done.returncode == 1 and "run tallygate migrate" in done.stderr
    before = db.read_bytes()
    done = ok(run(firm, "migrate", "--dry-run"))
    assert "from schema  1\n" in done.stdout and "would do it" in done.stdout
    assert db.read_bytes() == before
    assert not [p for p in os.listdir(firm.dir) if ".try-" in p]
    done = ok(run(firm, "migrate", "--json"))
    said = json.loads(done.stdout)
    assert said["from"] == 1 and said["to"] > 1 and said["result"] == "ok"
    assert sql(said["backup"], "PRAGMA user_version") == [(1,)]
    assert sql(said["backup"], "SELECT count(*) FROM events") == [(6,)]
    assert sql(db, "PRAGMA user_version") == [(said["to"],)]
    assert "nothing to do" in ok(run(firm, "migrate")).stdout
    firm.start()
    sound(firm)
    done = run(firm, "migrate")
    assert done.returncode == 0  # nothing to do needs no lock


def test_migrate_needs_the_journal_for_itself_and_a_backup_first(make_firm):
    firm = make_firm(start=False)
    db = firm.path("journal.db")
    schema_one(db)
    taken = firm.path("taken.db")
    taken.write_text("mine")
    done = run(firm, "migrate", "--backup", taken)
    assert done.returncode == 1 and "is there already" in done.stderr
    assert sql(db, "PRAGMA user_version") == [(1,)] and taken.read_text() == "mine"
    _write(db, "UPDATE postings SET quantity_micros = 1 WHERE id = 1")
    done = run(firm, "migrate", "--dry-run")
    said = run(firm, "migrate", "--json", "--backup", taken)
    assert said.returncode == 1 and json.loads(said.stdout) == {
        "error": said.stderr.removeprefix("tallygate migrate: ").rstrip("\n")}, said.stdout
    assert done.returncode == 1 and "finding: " in done.stdout
    said = run(firm, "migrate", "--dry-run", "--json")
    told = json.loads(said.stdout)
    assert said.returncode == 1 and told["error"] == "the check of the migrated copy found this"
    assert told["findings"] and all(f"finding: {f}\n" in said.stderr for f in told["findings"])
    for args in (("backup", "--to", taken), ("restore", "--from", taken)):
        said = run(firm, *args, "--json")
        assert said.returncode == 1 and json.loads(said.stdout)["error"] in said.stderr, said.stdout


def test_an_old_backup_is_migrated_when_it_is_restored(make_firm):
    firm = make_firm(start=False)
    old = firm.path("schema1.db")
    schema_one(old)
    said = json.loads(ok(run(firm, "restore", "--from", old, "--json")).stdout)
    assert said["backup"]["schema"] == 1 and said["backup"]["made_at"] != "unknown"
    assert sql(old, "PRAGMA user_version") == [(1,)]
    firm.start()
    sound(firm)
    assert len(firm.exceptions()) == 1


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_restores_while_work_goes_on_and_processes_die(make_firm, seed):
    """Backups taken at random, an old one restored at random, kills between: each entry once."""
    rng = random.Random(seed)
    firm = make_firm(start=False)
    keep(firm)
    firm.start()
    n, backups = 0, []
    with firm.client() as http:
        for turn in range(4):
            for _ in range(rng.randint(1, 4)):
                k = rng.randint(1, 25)
                send(firm, http, range(n + 1, n + k + 1))
                n += k
                if rng.random() < 0.6:
                    backups.append(firm.path(f"b{len(backups)}.db"))
                    ok(run(firm, "backup", "--to", backups[-1]))
                if rng.random() < 0.3:
                    firm.orchestrator.kill()
                    firm.orchestrator.start()
            if not backups:
                continue
            firm.orchestrator.kill() if rng.random() < 0.5 else firm.orchestrator.stop()
            ok(run(firm, "restore", "--from", rng.choice(backups), "--replace"))
            firm.orchestrator.start()
            if rng.random() < 0.5:  # in the middle of reading again
                firm.orchestrator.kill()
                firm.orchestrator.start()
        all_posted(firm, n)
    each_once(firm, range(1, n + 1))
    sound(firm)


# ---- destinations that do not drop repeats ----

LOOKED_UP = {"path": "/labor", "dedupe": "lookup_only", "key_field": "external_id",
             "lookup_path": "/labor/{key}"}
BLIND = {"path": "/labor", "dedupe": "none", "key_field": "external_id"}


def erp(url, options):
    return json.dumps({"connector": "http-json", "url": url, "allow": ["127.0.0.1"],
                       "options": options, "concurrency": 1, "rate": "8/s"})[1:-1]


@pytest.mark.parametrize("options", [LOOKED_UP, BLIND], ids=["lookup_only", "none"])
def test_who_does_not_drop_repeats_is_never_sent_anything_twice(make_firm, options):
    """What was posted after the backup is found, or waits for a person; it is never posted again."""
    with Rest(dedupe=False) as rest:
        firm = make_firm(start=False, erp=erp(rest.url, options))
        keep(firm)
        firm.start()
        with firm.client() as http:
            send(firm, http, range(1, 13))
            wait_for(lambda: sql(firm.path("journal.db"), "SELECT count(*) FROM postings")[0][0] == 24,
                     what="journalled")
            backup = firm.path("old.db")
            ok(run(firm, "backup", "--to", backup))
            waiting = sql(backup, "SELECT count(*) FROM postings WHERE state IN (2, 3) AND destination ="
                          " (SELECT id FROM destinations WHERE name = 'acme/erp')")[0][0]
            assert waiting > 0
            send(firm, http, range(13, 17))
            all_posted(firm, 16)
        assert len(rest.keys()) == 16 == len(set(rest.keys()))
        firm.orchestrator.stop()
        ok(run(firm, "restore", "--from", backup, "--replace"))
        firm.orchestrator.start()

        def settled():
            rows = dict(sql(firm.path("journal.db"),
                            "SELECT state, count(*) FROM postings GROUP BY state"))
            return rows if sum(rows.values()) == 32 and rows.keys() <= {6, 9} else None
        states = wait_for(settled, 90, "posted, or with a person")
        assert len(rest.keys()) == 16 == len(set(rest.keys())), "something was sent again"
        if options is LOOKED_UP:
            assert states == {6: 32}
        else:  # nobody can ask it: those that may have been sent wait for a person
            assert states[9] >= waiting and {x["code"] for x in firm.exceptions()} == \
                {"outcome_unknown"}
        sound(firm)
        with firm.client() as http:  # new work goes on as ever
            event = firm.hook(http, firm.entry(20)).json()["id"]
            firm.settled(http, event)
        assert len(rest.keys()) == 17


def test_corrections_of_the_lost_time_are_not_done_twice(make_firm):
    """Version 1 posted, backup, version 2 reverses and rebooks it; then the old backup."""
    firm = make_firm(start=False)
    keep(firm)
    firm.start()
    with firm.client() as http:
        send(firm, http, range(1, 11))
        all_posted(firm, 10)
        ok(run(firm, "backup", "--to", firm.path("old.db")))
        for n in range(1, 11):
            assert firm.hook(http, firm.entry(n, version=2, hours="3")).status_code == 202

        def corrected():
            rows = dict(sql(firm.path("journal.db"),
                            "SELECT state, count(*) FROM postings GROUP BY state"))
            return rows == {6: 40, 10: 20}
        wait_for(corrected, 60, "corrected")
        before = sorted((r["key"], r["hours"]) for r in firm.labor() + firm.payroll())
        firm.orchestrator.kill()
        ok(run(firm, "restore", "--from", firm.path("old.db"), "--replace"))
        firm.orchestrator.start()
        wait_for(corrected, 90, "corrected once more, in the journal alone")
        assert sorted((r["key"], r["hours"]) for r in firm.labor() + firm.payroll()) == before
        sound(firm)
        # and the next version goes on from there
        for n in range(1, 11):
            firm.hook(http, firm.entry(n, version=3, hours="4"))

        def again():
            rows = dict(sql(firm.path("journal.db"),
                            "SELECT state, count(*) FROM postings GROUP BY state"))
            return rows == {6: 60, 10: 40}
        wait_for(again, 60, "version 3")
    net = Counter()
    for r in firm.labor():
        net[r["entry"]] += int(float(r["hours"]) * 100)
    assert set(net.values()) == {400}
    sound(firm)
