"""Those who must know are told: by signed webhook and by mail, once, and again only when asked."""
import os
import sqlite3
import time

import pytest

from tests.harness import sign
from tests.harness.receivers import MailServer, Receiver, certificate, closed_port
from tests.harness.stack import wait_for

QUICK = "quiet: 2s, settle: 2s, after: 0, repeat: 0"


@pytest.fixture
def receiver():
    r = Receiver()
    yield r
    r.close()


@pytest.fixture
def mail_server():
    made = []

    def make(**kw):
        made.append(MailServer(**kw))
        return made[-1]
    yield make
    for m in made:
        m.close()


def alerts(firm, receiver=None, mail=None, extra=QUICK, smtp="", **kw):
    """Writes `alerts:` into the firm's configuration."""
    secret = sign.new_secret()
    (firm.redis.secrets / "alerts").write_text(secret + "\n")
    lines = [f"alerts:\n  name: test-1\n  {extra.replace(', ', chr(10) + '  ')}\n"]
    if receiver:
        url = receiver if isinstance(receiver, str) else receiver.url
        lines.append(f"  webhook: {{ url: '{url}', secret_file: {firm.redis.secrets}/alerts"
                     f"{kw.get('allow', ', allow: [127.0.0.1]')} }}\n")
    if mail:
        tls = "off" if mail.tls is None else "required"
        lines.append(f"  smtp: {{ url: '{mail.url}', from: tally@acme.example, to: "
                     f"{kw.get('to', '[ops@acme.example]')}, allow: [127.0.0.1], "
                     f"tls: {kw.get('tls', tls)}{smtp} }}\n")
    firm.yaml.write_text(firm.yaml.read_text().replace("tenants:\n", "".join(lines) + "tenants:\n"))
    return secret


def gone(firm, name):
    out = firm.path(f"out/{name}")
    os.rename(out, firm.path(f"out/{name}.away"))
    out.write_text("")

    def back():
        out.unlink()
        os.rename(firm.path(f"out/{name}.away"), out)
    return back


def test_a_new_exception_is_told_once_signed_and_without_data(make_firm, receiver, mail_server):
    firm, mail = make_firm(start=False), mail_server()
    secret = alerts(firm, receiver, mail)
    firm.start()
    with firm.client() as http:
        event = firm.hook(http, firm.entry(1, worker="W-999")).json()["id"]
        firm.settled(http, event)
        wait_for(lambda: receiver.events() and mail.mails, 30, "told")
        headers, body = receiver.requests[0]
        (e,) = receiver.events()
        assert e["specversion"] == "1.0" and e["type"] == "com.tallygate.alert.firing.v1"
        assert e["source"] == "urn:tallygate:test-1" and e["subject"].startswith("exception_open/")
        data = e["data"]
        assert (data["kind"], data["notice"], data["thing"]) == \
            ("exception_open", "firing", "acme/worker_unknown")
        assert (data["count"], data["severity"]) == (1, "warning")
        assert headers["content-type"] == "application/cloudevents+json"
        assert headers["webhook-id"] == e["id"]
        assert abs(int(headers["webhook-timestamp"]) - time.time()) < 60
        assert headers["webhook-signature"] == sign.webhook_headers(
            secret, e["id"], body, int(headers["webhook-timestamp"]))["webhook-signature"]
        m = mail.mails[0]
        assert m["to"] == ["ops@acme.example"]
        assert m["message"]["Subject"] == \
            "[tallygate test-1] firing: exception_open acme/worker_unknown"
        assert m["message"]["Auto-Submitted"] == "auto-generated"
        text = m["message"].get_content()
        assert "Worker is not in the master data" in text and "owner master-data" in text
        # neither who it is about nor what it holds
        for secretive in ("W-999", "TE-000001", "P-102"):
            assert secretive not in body.decode() and secretive not in text
        # two more: one notice that speaks of both
        for n in (2, 3):
            firm.settled(http, firm.hook(http, firm.entry(n, worker="W-999")).json()["id"])
        wait_for(lambda: len(receiver.events()) > 1, 30, "the new ones")
        wait_for(lambda: sum(e["data"]["new"] for e in receiver.events()) == 3, 30, "all three")
        assert {n for _, n, _ in receiver.notices()} == {"firing", "more"}
        # they are mended: that is told too
        for n in (1, 2, 3):
            firm.settled(http, firm.hook(http, firm.entry(n, version=2)).json()["id"])
        wait_for(lambda: receiver.notices()[-1][1] == "resolved", 30, "resolved")
        assert receiver.events()[-1]["type"] == "com.tallygate.alert.resolved.v1"
    ids = [e["id"] for e in receiver.events()]
    assert len(ids) == len(set(ids))
    # counted when the receiver's answer is here, which is after it noted the notice
    line = f'tallygate_alerts_total{{channel="webhook"}} {len(ids)}\n'
    wait_for(lambda: line in firm.orchestrator.get("/metrics")[2].decode(), 10, line)


def test_a_restart_repeats_nothing(make_firm, receiver):
    firm = make_firm(start=False)
    alerts(firm, receiver, extra="quiet: 1s, settle: 60s, after: 0, repeat: 0")
    firm.start()
    back = gone(firm, "payroll")
    with firm.client() as http:
        for n in range(1, 8):
            firm.hook(http, firm.entry(n))
        firm.hook(http, firm.entry(9, worker="W-999"))
        want = {("breaker_open", "firing", "acme/payroll"),
                ("exception_open", "firing", "acme/worker_unknown")}
        wait_for(lambda: want <= set(receiver.notices()), 30, "told")

        def noted():
            db = sqlite3.connect(f"file:{firm.path('journal.db')}?mode=ro", uri=True)
            n = db.execute("SELECT count(*) FROM alerts WHERE told = 1").fetchone()[0]
            db.close()
            return n == 2
        wait_for(noted, 20, "noted")
        told = len(receiver.requests)
        for how in (firm.orchestrator.kill, firm.orchestrator.stop):
            how()
            back()  # it does not start without
            firm.orchestrator.start()
            back = gone(firm, "payroll")
            for n in range(1, 8):
                firm.hook(http, firm.entry(100 * told + n))
            firm.settled(http, firm.hook(http, firm.entry(20 + told + hash(how) % 100,
                                                          worker="W-998")).json()["id"])
            wait_for(lambda: len(receiver.requests) > told, 30, "only what is new is told")
            fresh = receiver.notices()[told:]
            assert {k for k, _, _ in fresh} == {"exception_open"} and fresh[0][1] == "more"
            wait_for(noted, 20, "noted")
            told = len(receiver.requests)
        back()


def test_an_open_breaker_and_what_waits_too_long(make_firm, receiver):
    firm = make_firm(start=False)
    alerts(firm, receiver, extra=QUICK + ", posting_age: 3s, exception_age: 3s")
    firm.start()
    back = gone(firm, "payroll")
    with firm.client() as http:
        for n in range(1, 8):
            firm.hook(http, firm.entry(n))
        firm.hook(http, firm.entry(8, worker="W-999"))
        for kind, thing in (("breaker_open", "acme/payroll"), ("posting_ageing", "acme/payroll"),
                            ("exception_ageing", "acme/master-data")):
            wait_for(lambda: (kind, "firing", thing) in receiver.notices(), 40, kind)
        data = {e["data"]["kind"]: e["data"] for e in receiver.events()}
        assert data["breaker_open"]["severity"] == "critical"
        assert "none is lost" in data["breaker_open"]["text"]
        back()
        for kind in ("breaker_open", "posting_ageing"):
            wait_for(lambda: (kind, "resolved", "acme/payroll") in receiver.notices(), 60, kind)


def test_a_receiver_that_fails_is_tried_again_with_the_same_id(make_firm, receiver, mail_server):
    firm, mail = make_firm(start=False), mail_server()
    receiver.status = lambda n: 503 if n < 2 else 204
    alerts(firm, receiver, mail)
    firm.start()
    with firm.client() as http:
        firm.hook(http, firm.entry(1, worker="W-999"))
        wait_for(lambda: len(receiver.requests) >= 3, 60, "third try")
        wait_for(lambda: mail.mails, 30, "mail, not held up by the webhook")
    ids = [h["webhook-id"] for h, _ in receiver.requests[:3]]
    assert len(set(ids)) == 1
    assert len({body for _, body in receiver.requests[:3]}) == 1
    log = firm.orchestrator.process.text()
    assert "webhook: the receiver answered 503; tried again" in log


def test_nobody_waits_for_a_mail_server_that_hangs(make_firm, receiver, mail_server):
    firm, mail = make_firm(start=False), mail_server(hang=True)
    alerts(firm, receiver, mail)
    firm.start()
    with firm.client() as http:
        firm.hook(http, firm.entry(1, worker="W-999"))
        wait_for(lambda: receiver.events(), 30, "webhook")
        for n in range(2, 30):
            firm.settled(http, firm.hook(http, firm.entry(n)).json()["id"])
    started = time.monotonic()
    assert firm.orchestrator.stop() == 0
    assert time.monotonic() - started < 15
    firm.orchestrator.start()


def test_mail_is_sent_in_clear_only_when_told_so(make_firm, mail_server, tmp_path):
    plain = mail_server()
    firm = make_firm(start=False)
    alerts(firm, None, plain, tls="required")
    firm.start()
    with firm.client() as http:
        firm.hook(http, firm.entry(1, worker="W-999"))
        wait_for(lambda: "mail: " in firm.orchestrator.process.text(), 30, "refused")
    assert not plain.mails and "MAIL" not in {c for c, _ in plain.commands}


def test_starttls_login_and_a_refused_recipient(make_firm, mail_server, tmp_path):
    cert = certificate(tmp_path)
    mail = mail_server(tls=cert, users={"tally": "s3cret"}, refuse={"gone@acme.example"})
    (tmp_path / "password").write_text("s3cret\n")
    firm = make_firm(start=False)
    alerts(firm, None, mail, to="[ops@acme.example, gone@acme.example]",
           smtp=f", user: tally, password_file: {tmp_path}/password, ca_file: {cert[0]}")
    firm.start()
    with firm.client() as http:
        firm.hook(http, firm.entry(1, worker="W-999"))
        wait_for(lambda: mail.mails, 30, "mail")
    m = mail.mails[0]
    assert m["tls"] and m["user"] == "tally" and m["to"] == ["ops@acme.example"]
    assert not [c for c, tls in mail.commands if c in ("AUTH", "MAIL", "DATA") and not tls]
    log = wait_for(lambda: "a recipient was refused" in firm.orchestrator.process.text() and
                   firm.orchestrator.process.text(), 10, "warned")
    assert "s3cret" not in log


def test_a_certificate_of_somebody_else_is_not_believed(make_firm, mail_server, tmp_path):
    mail = mail_server(tls=certificate(tmp_path))
    firm = make_firm(start=False)
    alerts(firm, None, mail)  # the system's certificates do not know it
    firm.start()
    with firm.client() as http:
        firm.hook(http, firm.entry(1, worker="W-999"))
        wait_for(lambda: "mail: " in firm.orchestrator.process.text(), 30, "refused")
    assert not mail.mails


def test_an_address_that_is_not_allowed_is_not_reached(make_firm, receiver):
    firm = make_firm(start=False)
    alerts(firm, receiver, allow="")
    firm.start()
    with firm.client() as http:
        firm.hook(http, firm.entry(1, worker="W-999"))
        wait_for(lambda: "webhook: " in firm.orchestrator.process.text(), 30, "refused")
    assert "loopback" in firm.orchestrator.process.text()
    assert receiver.requests == []


def test_data_loss_is_told_after_a_restart_too(make_firm, receiver):
    """The loss is in the audit chain: whoever was not told of it before the crash is told after."""
    firm = make_firm(start=False)
    dead = f"http://127.0.0.1:{closed_port()}/x"
    alerts(firm, dead)
    firm.start()
    with firm.client() as http:
        firm.settled(http, firm.hook(http, firm.entry(1)).json()["id"])
    firm.orchestrator.stop()
    r = firm.redis.client()
    (stream,) = [k for k in r.scan_iter("tg:*:events") if r.xlen(k)]
    lost = r.xadd(stream, {"id": "x"})
    r.xreadgroup("orchestrator", "orchestrator-1", {stream: ">"})
    r.xdel(stream, lost)  # pending, and its body is gone
    firm.orchestrator.start()
    wait_for(lambda: "data loss" in firm.orchestrator.process.text(), 60, "found lost")
    firm.orchestrator.kill()
    firm.yaml.write_text(firm.yaml.read_text().replace(dead, receiver.url))
    firm.orchestrator.start()
    wait_for(lambda: ("data_loss", "firing", "stream") in receiver.notices(), 30, "told")
    assert "accepted events" in [e["data"]["text"] for e in receiver.events()
                                   if e["data"]["kind"] == "data_loss"][0].lower()


def test_a_test_notice_says_which_channel_works(make_firm, receiver, mail_server):
    firm, mail = make_firm(start=False), mail_server()
    done = firm.orchestrator.run("alerts", "test", "-c", firm.yaml)
    assert done.returncode == 1 and "neither alerts.webhook nor alerts.smtp" in done.stderr
    alerts(firm, receiver, mail)
    done = firm.orchestrator.run("alerts", "test", "-c", firm.yaml)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "alerts: ok"
    assert receiver.notices() == [("test", "firing", "test-1")] and len(mail.mails) == 1
    receiver.status = 401
    done = firm.orchestrator.run("alerts", "test", "-c", firm.yaml)
    assert done.returncode == 1
    assert "webhook   NOT delivered: the receiver answered 401" in done.stdout
    assert "mail      delivered" in done.stdout
    (firm.redis.secrets / "alerts").write_text("not a secret\n")
    done = firm.orchestrator.run("alerts", "test", "-c", firm.yaml)
    assert done.returncode == 1 and "webhook   NOT delivered: " in done.stdout
    assert "not a secret" not in done.stdout
    os.unlink(firm.redis.secrets / "alerts")
    done = firm.orchestrator.run("check", "--journal", "-c", firm.yaml)
    assert "finding: alerts.webhook.secret_file" in done.stdout
    (firm.redis.secrets / "alerts").write_text(sign.new_secret() + "\n")


def test_two_secrets_sign_both(make_firm, receiver):
    firm = make_firm(start=False)
    old = alerts(firm, receiver)
    new = sign.new_secret()
    (firm.redis.secrets / "alerts").write_text(f"{old}\n{new}\n")
    assert firm.orchestrator.run("alerts", "test", "-c", firm.yaml).returncode == 0
    headers, body = receiver.requests[0]
    want = [sign.webhook_headers(s, headers["webhook-id"], body, int(
        headers["webhook-timestamp"]))["webhook-signature"] for s in (old, new)]
    assert headers["webhook-signature"].split(" ") == want


def test_what_is_wrong_with_the_settings_is_said(make_firm):
    firm = make_firm(start=False)
    base = firm.yaml.read_text()

    def finding(block):
        firm.yaml.write_text(base.replace("tenants:\n", "alerts:\n" + block + "tenants:\n"))
        done = firm.orchestrator.run("check", "--journal", "-c", firm.yaml)
        assert done.returncode == 1
        return done.stdout
    ok = "  webhook: { url: 'https://a.example/x', secret_file: s }\n"
    for block, words in (
            ("  repeat: 4h\n", "neither by webhook nor by smtp"),
            (ok + "  quiet: soon\n", "`alerts.quiet` is `soon`; accepted: 0, or a whole number"),
            ("  webhook: { url: 'ftp://a', secret_file: s }\n", "alerts.webhook.url"),
            ("  webhook: { url: 'https://u:p@a.example/', secret_file: s }\n", "alerts.webhook.url"),
            ("  webhook: { url: 'https://a.example/' }\n", "`alerts.webhook.secret_file` is missing"),
            ("  smtp: { url: 'smtp://h', from: nobody, to: [a@b] }\n", "alerts.smtp.from"),
            ("  smtp: { url: 'smtp://h', from: a@b, to: [a] }\n", "`alerts.smtp.to` is `a`"),
            ("  smtp: { url: 'smtp://h', from: a@b, to: [] }\n", "alerts.smtp.to"),
            ("  smtp: { url: 'smtp://h/x', from: a@b, to: [a@b] }\n", "alerts.smtp.url"),
            ("  smtp: { url: 'smtp://h', from: a@b, to: [a@b], user: x }\n", "user and password_file"),
            ("  smtp: { url: 'smtp://h', from: a@b, to: [a@b], tls: maybe }\n", "alerts.smtp.tls"),
            ("  webhook: { url: 'https://a.example/', secret_file: s, allow: [nowhere] }\n",
             "`alerts.webhook.allow` is `nowhere`")):
        text = finding(block)
        assert words in text, text
        assert f"{firm.yaml}:" in text and "accepted:" in text
    firm.yaml.write_text(base)
