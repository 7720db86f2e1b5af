"""tallygate events show: the whole story of one entry, from the webhook to the destination."""
import hashlib
import json
import os
import sqlite3
import uuid

from tests.harness.stack import wait_for


def number():
    return uuid.uuid4().int % 900000 + 100000


def show(firm, *args, status=0):
    done = firm.orchestrator.run("events", "show", "-c", firm.yaml, *args)
    assert done.returncode == status, done.stdout + done.stderr
    return done


def story(firm, *args):
    done = show(firm, *args, "--json")
    assert done.stderr.startswith("events: ")
    return json.loads(done.stdout)


def lines(done):
    out = done.stdout.splitlines()
    assert not [line for line in out if len(line) > 100], "wider than a screen"
    assert "\x1b" not in done.stdout
    return out


def test_the_story_of_a_posted_entry(firm, http):
    data = firm.entry(number(), hours="7.50")
    answer = firm.hook(http, data, msg_id="msg-" + data["id"])
    event = answer.json()["id"]
    firm.settled(http, event)
    s = story(firm, event)
    e = s["event"]
    assert (e["id"], e["status"], e["tenant"], e["client"]) == (event, "accepted", "acme", "hook:psa")
    assert e["correlation_id"] == answer.headers["x-correlation-id"]
    assert e["key"] == "msg-" + data["id"] and e["duplicate_of"] is None
    assert len(e["body_sha256"]) == 64 and e["body_bytes"] > 100
    assert e["received_at"] <= e["journalled_at"]
    (obj,) = s["objects"]
    assert obj["fields"]["hours"] == "7.5" and obj["version"] == 1 and obj["stage"] == "posted"
    assert len(obj["rules"]) == 64 and obj["master"].startswith("2026-")
    assert {(p["destination"], p["state"]) for p in obj["postings"]} == \
        {("acme/erp", "posted"), ("acme/payroll", "posted")}
    (labor,) = [r for r in firm.labor() if r["entry"] == data["id"]]
    erp = next(p for p in obj["postings"] if p["destination"] == "acme/erp")
    assert erp["key"] == labor["key"] and erp["ref"].startswith("labor-")
    assert erp["payload"]["amount"] == labor["amount"]
    assert [(a["attempt"], a["outcome"]) for a in erp["attempts"]] == [(1, "posted")]
    assert {(a["action"], a["subject"]) for a in s["audit"]} == \
        {("posting.posted", f"posting {p['posting']}") for p in obj["postings"]}
    assert [a["seq"] for a in s["audit"]] == sorted(a["seq"] for a in s["audit"])
    # the hashes are the chain's own
    db = sqlite3.connect(f"file:{firm.path('journal.db')}?mode=ro", uri=True)
    for a in s["audit"]:
        assert db.execute("SELECT lower(hex(hash)) FROM audit WHERE seq = ?",
                          (a["seq"],)).fetchone() == (a["hash"],)
    db.close()
    text = lines(show(firm, event))
    assert len(text) <= 45, "one screen"
    assert text[0] == f"event        {event}"
    assert any(line.split() == ["acme/erp", "posted", "as", erp["ref"]] for line in text)
    assert text[-1] == f"events: {event}: 2 postings, 0 open exceptions"
    assert any(erp["key"] in line for line in text)
    # by the key that stands at the destination, and by object
    assert story(firm, labor["key"])["event"]["id"] == event
    by_object = story(firm, "--object", f"time_entry/{data['id']}")
    assert [o["postings"] for o in by_object["objects"]] == [obj["postings"]]
    assert [e["id"] for e in by_object["events"]] == [event]


def test_versions_duplicates_and_exceptions_are_told(firm, http):
    n = number()
    bad = firm.entry(n) | {"worker": "W-999"}
    first = firm.hook(http, bad).json()["id"]
    firm.settled(http, first)
    s = story(firm, first)
    (x,) = s["exceptions"]
    assert (x["code"], x["owner"], x["state"]) == ("worker_unknown", "master-data", "open")
    assert x["runbook"] == "docs/runbooks/worker_unknown.md"
    text = "\n".join(lines(show(firm, first)))
    assert "Worker is not in the master data" in text and "W-999 is not in the master data" in text
    second = firm.hook(http, firm.entry(n, version=2)).json()["id"]
    firm.settled(http, second)
    again = firm.send(http, firm.entry(n, version=2), event_id=f"evt-TE-{n:06}-2",
                      ).json()["id"]  # another client: not a duplicate, superseded
    firm.settled(http, again)
    s = story(firm, first)
    assert s["exceptions"][0]["state"] == "auto_closed" and s["exceptions"][0]["closed_at"]
    assert {(v["version"], v["state"], v["event"]) for v in s["objects"][0]["other_versions"]} == \
        {(2, "validated", second), (2, "superseded", again)}
    s = story(firm, "--object", f"time_entry/TE-{n:06}")
    assert [o["version"] for o in s["objects"]] == [1, 2, 2]
    assert len(s["events"]) == 3 and len(s["exceptions"]) == 1
    text = "\n".join(lines(show(firm, "--object", f"time_entry/TE-{n:06}")))
    assert text.count("time_entry TE-") >= 3
    actions = [a["action"] for a in s["audit"]]
    assert actions.index("exception.opened") < actions.index("exception.closed")
    twin = firm.hook(http, firm.entry(n, version=2), msg_id="twin-of-" + second).json()["id"]
    firm.settled(http, twin)
    s = story(firm, twin)
    assert s["event"]["status"] == "duplicate" and s["event"]["duplicate_of"] == second
    assert f"duplicate of {second}" in show(firm, twin).stdout


def test_a_correction_after_posting_is_told(firm, http):
    n = number()
    first = firm.hook(http, firm.entry(n, hours="2")).json()["id"]
    firm.settled(http, first)
    second = firm.hook(http, firm.entry(n, version=2, hours="3")).json()["id"]
    firm.settled(http, second)

    def done():
        s = story(firm, "--object", f"time_entry/TE-{n:06}")
        states = {p["state"] for o in s["objects"] for p in o["postings"]}
        return s if states == {"posted", "reversed"} else None
    s = wait_for(done, 20, "reversed and posted anew")
    old, new = s["objects"]
    assert (old["state"], new["state"]) == ("superseded", "validated")
    originals = [p for p in old["postings"] if p["reverses"] is None]
    reversals = {p["reverses"]: p for p in old["postings"] if p["reverses"] is not None}
    assert {p["posting"] for p in originals} == set(reversals)
    for p in originals:
        assert p["state"] == "reversed"
        assert reversals[p["posting"]]["quantity"] == "-" + p["quantity"]
    text = "\n".join(lines(show(firm, first)))
    for p in originals:
        assert f"takes back posting {p['posting']}" in text
        assert f"by posting {reversals[p['posting']]['posting']}, which is posted" in text


def test_attempts_and_waiting_are_told(make_firm):
    firm = make_firm()
    out = firm.path("out/payroll")
    os.rename(out, firm.path("out/away"))
    out.write_text("")
    with firm.client() as http:
        event = firm.hook(http, firm.entry(1)).json()["id"]

        def waiting():
            done = firm.orchestrator.run("events", "show", "-c", firm.yaml, event, "--json")
            if done.returncode != 0:
                return None
            rows = [p for o in json.loads(done.stdout)["objects"] for p in o["postings"]
                    if p["destination"] == "acme/payroll" and p["state"] == "retry"]
            return rows
        (p,) = wait_for(waiting, 20, "in retry")
        assert p["due_at"] and p["attempts"][0]["outcome"] == "down"
        assert "payroll" in p["attempts"][0]["detail"]
        text = "\n".join(lines(show(firm, event)))
        assert "next try or look-up" in text and "attempt 1: down" in text.replace("attempt 0", "attempt 1")
        out.unlink()
        os.rename(firm.path("out/away"), out)
        firm.settled(http, event, 30)
    assert "posted as payroll-" in show(firm, event).stdout


def test_what_is_not_there_is_said(firm, http):
    other = f"time_entry/TE-{number()}"
    for args, words in ((("s00-1-0",), "not in the journal"), (("nonsense",), "not in the journal"),
                        (("0" * 32,), "no posting with key"), (("--object", other), other)):
        done = show(firm, *args, status=1)
        assert words in done.stderr and done.stdout == ""
    for args in ((), ("a", "b"), ("--object", "TE-1"), ("--object", "time_entry/"),
                 ("x", "--object", "a/b")):
        done = show(firm, *args, status=2)
        assert "usage: tallygate events" in done.stderr
    event = firm.hook(http, firm.entry(number())).json()["id"]
    firm.settled(http, event)
    assert "no such event of tenant other" in show(firm, event, "--tenant", "other",
                                                   status=1).stderr
    assert story(firm, event, "--tenant", "acme")["event"]["id"] == event


def test_text_from_outside_moves_no_cursor(firm, http):
    data = firm.entry(number()) | {"worker": "W\x1b[31m\u009b2J\u00e9\u6f22"}
    event = firm.send(http, data).json()["id"]
    firm.settled(http, event)
    text = "\n".join(lines(show(firm, event)))
    assert "\x1b" not in text and "\x9b" not in text
    assert json.dumps(story(firm, event), ensure_ascii=True)
    assert hashlib.sha256(text.encode()).digest()
