"""The commands as a person or script meets them: exit status, the last line, what errors say."""
import base64
import json
import os
import shutil
import stat
import subprocess
import time
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

ROOT = Path(__file__).resolve().parents[2]
BINARY = ROOT / "build/tallygate"
COMMANDS = ["serve", "check", "token", "events", "exceptions", "approvals", "alerts", "audit", "backup", "restore", "migrate", "rules",
            "health", "completion"]


def run(*args, **kw):
    return subprocess.run([str(BINARY), *[str(a) for a in args]], cwd=kw.pop("cwd", ROOT),
                          capture_output=True, text=True, timeout=120, **kw)


def last_line(done):
    return done.stdout.strip().splitlines()[-1]


# ---- the command line ----

def test_help_and_version():
    done = run("--help")
    assert done.returncode == 0
    for command in COMMANDS:
        assert f"\n  {command} " in done.stdout
    assert run("--version").stdout.startswith("tallygate ")
    assert run().returncode == 2


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help(command):
    done = run(command, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith(f"usage: tallygate {command}")
    assert done.stderr == ""


def test_an_unknown_command_names_those_there_are():
    done = run("post")
    assert done.returncode == 2
    assert "`post`" in done.stderr
    assert all(c in done.stderr for c in COMMANDS)


@pytest.mark.parametrize("args", [
    ["check", "--nothing"], ["check", "extra"], ["token"], ["token", "make"], ["token", "keys"],
    ["token", "keys", "--out", "x", "--alg", "HS256"], ["token", "keys", "--out", "x", "--name", "a/b"],
    ["token", "sign"], ["token", "sign", "--key", "k", "--iss", "i", "--aud", "a"],
    ["token", "sign", "--key", "k", "--iss", "i", "--aud", "a", "--sub", "s", "--ttl", "1h"],
    ["token", "sign", "--key", "k", "--iss", "i", "--aud", "a", "--sub", "s", "--claim", "novalue"],
    ["exceptions"], ["exceptions", "close"], ["exceptions", "show"], ["exceptions", "show", "x"],
    ["exceptions", "list", "extra"], ["exceptions", "list", "--state", "lost"], ["audit"],
    ["audit", "prove"], ["audit", "checkpoint", "--json"], ["rules"], ["rules", "run"],
    ["rules", "test", "a", "b"], ["serve", "--nothing"], ["health", "x"], ["health", "--path", "x"],
    ["health", "--timeout", "0"], ["health", "--timeout", "61"], ["health", "--timeout", "1s"],
    ["backup"], ["backup", "--to"], ["alerts"], ["alerts", "list"], ["alerts", "test", "x"],
    ["completion"], ["completion", "fish"],
    ["events"], ["events", "list"],
    ["events", "show"], ["events", "show", "a", "--object", "b/c"],
    ["backup", "--to", "x", "y"], ["restore"], ["restore", "--from", "x", "--force"],
    ["migrate", "--to", "x"]])
def test_a_wrong_command_line_is_2_with_the_usage(args):
    done = run(*args)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith(f"tallygate {args[0]}: ")
    assert f"usage: tallygate {args[0]}" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("args", [
    ["serve"], ["exceptions", "list"], ["exceptions", "show", "1"], ["audit", "verify"],
    ["audit", "checkpoint"], ["rules", "test"], ["alerts", "test"], ["health"], ["backup", "--to", "/tmp/x"], ["events", "show", "s00-1-0"],
    ["restore", "--from", "/tmp/x"], ["migrate"]])
def test_a_missing_configuration_is_1_and_named(args):
    done = run(*args, "-c", "/nonexistent/t.yaml")
    assert done.returncode == 1
    assert "/nonexistent/t.yaml" in done.stderr + done.stdout


def test_a_full_disk_is_not_a_success():
    with open("/dev/full", "w") as full:
        done = subprocess.run([str(BINARY), "check", "--keys"], stdout=full, cwd=ROOT,
                              stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 1
    assert "cannot write" in done.stderr


# ---- check ----

def world(tmp_path, **change):
    """A configuration of its own whose parts can be broken one at a time."""
    for name in ("conf", "lua_rules"):
        shutil.copytree(ROOT / name, tmp_path / name)
    text = f"""\
redis: {{url: 'unix:redis.sock'}}
journal: {{path: {tmp_path}/journal.db}}
api: {{listen: 'unix:api.sock'}}
rules: {{path: {tmp_path}/lua_rules}}
schemas: {tmp_path}/conf/schemas
catalogue: {tmp_path}/conf/catalogue.yaml
tenants:
  - id: acme
    sources: {{psa: {{decoder: {change.get('decoder', 'canonical')}}}}}
    master: {tmp_path}/conf/demo/master.json
    calendar: {tmp_path}/conf/demo/calendar.yaml
    destinations: {{erp: {{connector: file, path: {tmp_path}/out}}}}
"""
    path = tmp_path / "t.yaml"
    path.write_text(change.get("edit", lambda t: t)(text))
    return path


def test_check_of_good_files(tmp_path):
    done = run("check", "-c", world(tmp_path))
    assert done.returncode == 0, done.stdout
    assert last_line(done).startswith("check: ok")
    assert "finding" not in done.stdout


def test_check_names_the_line_of_a_mistake(tmp_path):
    path = world(tmp_path, edit=lambda t: t.replace("api: {", "api: {thread: 2, "))
    done = run("check", "-c", path)
    assert done.returncode == 1
    assert f"finding: {path}:3: unknown key `thread`; accepted: listen, threads" in done.stdout
    assert last_line(done) == "check: 1 findings"


def break_rules(d):
    (d / "lua_rules/validate/time_entry.lua").write_text("this is not Lua")


def break_schema(d):
    (d / "conf/schemas/com.tallygate.time_entry.approved.v1.json").unlink()


def break_catalogue(d):
    (d / "conf/catalogue.yaml").write_text("- just\n- words\n")


def break_master(d):
    (d / "conf/demo/master.json").write_text('{"version": 3}')


def break_calendar(d):
    (d / "conf/demo/calendar.yaml").write_text("perods: []\n")


@pytest.mark.parametrize("break_, word", [
    (break_rules, "time_entry.lua"), (break_schema, "com.tallygate.time_entry.approved.v1"),
    (break_catalogue, "catalogue.yaml"), (break_master, "master.json"),
    (break_calendar, "perods")])
def test_check_finds_what_is_broken(tmp_path, break_, word):
    path = world(tmp_path)
    break_(tmp_path)
    done = run("check", "-c", path)
    assert done.returncode == 1
    findings = [line for line in done.stdout.splitlines() if line.startswith("finding: ")]
    assert any(word in f for f in findings), done.stdout
    assert last_line(done) == f"check: {len(findings)} findings"


def test_check_names_everything_at_once(tmp_path):
    path = world(tmp_path, decoder="absent")
    break_catalogue(tmp_path)
    break_master(tmp_path)
    done = run("check", "-c", path, "--journal")
    assert done.returncode == 1
    for word in ("catalogue.yaml", "master.json", "decoder `absent`", "journal.db"):
        assert word in done.stdout
    assert last_line(done) == "check: 4 findings"


TYPOS = [
    (lambda t: t.replace("erp: {", "epr: {"), 12,
     "tenant `acme`: destination `epr`: no file in route/ of the rules plans for a destination of "
     "that name; accepted: erp, erp.*, payroll"),
    (lambda t: t.replace("canonical}", "canonicl}"), 9,
     "tenant `acme`: decoder `canonicl` is no file in sources/ of the rules; accepted: canonical"),
]


@pytest.mark.parametrize("edit, line, said", TYPOS, ids=["destination", "decoder"])
def test_a_name_the_rules_do_not_know(tmp_path, edit, line, said):
    """A destination no route plans for would get nothing, and its leg would be owed to nobody."""
    path = world(tmp_path, edit=edit)
    done = run("check", "-c", path)
    assert done.returncode == 1
    assert f"finding: {path}:{line}: {said}" in done.stdout
    assert last_line(done) == "check: 1 findings"
    done = run("serve", "-c", path)
    assert done.returncode == 1
    assert f"cannot start: {path}:{line}: {said}" in json.loads(done.stderr.splitlines()[-1])["msg"]


GUTTED = "return { check = function() return {} end }\n"


def test_check_runs_the_fixtures(tmp_path):
    path = world(tmp_path)
    (tmp_path / "lua_rules/validate/time_entry.lua").write_text(GUTTED)
    done = run("check", "-c", path)
    assert done.returncode == 1
    findings = [line for line in done.stdout.splitlines() if line.startswith("finding: ")]
    named = {line.split(": ")[2].removeprefix("fixture ") for line in findings}
    # the rule that finds nothing fails every fixture that expects a violation, and no other
    folder = tmp_path / "lua_rules/validate/time_entry.fixtures"
    expected = {f"validate/time_entry.fixtures/{p.name}" for p in folder.glob("*.json")
                if json.loads(p.read_text())["expected"] != {"violations": []}}
    assert expected and named == expected, done.stdout
    assert last_line(done) == f"check: {len(expected)} findings"


# ---- serve ----

def test_serve_does_not_start_with_failing_fixtures(tmp_path):
    path = world(tmp_path)
    (tmp_path / "lua_rules/validate/time_entry.lua").write_text(GUTTED)
    done = run("serve", "-c", path)  # its deadline is the failure of a server that runs
    assert done.returncode == 1
    text = done.stderr.strip().splitlines()[-1]
    assert "cannot start: " in text and "fixtures fail" in text, done.stderr
    assert "validate/time_entry.fixtures/assignment_missing.json" in text


# ---- rules test ----

def test_the_fixtures_pass():
    done = run("rules", "test", "lua_rules")
    assert done.returncode == 0, done.stdout
    assert last_line(done).startswith("rules: ok (")
    assert run("rules", "test").stdout == done.stdout  # rules.path of conf/tallygate.yaml


def test_a_failing_fixture_is_named(tmp_path):
    shutil.copytree(ROOT / "lua_rules", tmp_path / "rules")
    fixture = sorted((tmp_path / "rules/validate/time_entry.fixtures").glob("*.json"))[0]
    text = json.loads(fixture.read_text())
    text["expected"] = [{"code": "never"}]
    fixture.write_text(json.dumps(text))
    done = run("rules", "test", tmp_path / "rules")
    assert done.returncode == 1
    assert any(line.startswith("FAIL ") and fixture.name in line for line in done.stdout.splitlines())
    assert "1 of" in last_line(done)


def test_no_fixtures_is_no_success(tmp_path):
    shutil.copytree(ROOT / "lua_rules", tmp_path / "rules")
    for folder in list((tmp_path / "rules").rglob("*.fixtures")):
        shutil.rmtree(folder)
    done = run("rules", "test", tmp_path / "rules")
    assert done.returncode == 1
    assert "has no fixtures" in done.stdout
    (tmp_path / "empty").mkdir()
    done = run("rules", "test", tmp_path / "empty")
    assert done.returncode == 1
    assert "empty" in done.stderr


# ---- token: held against another implementation ----

def b64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def number(text):
    return int.from_bytes(b64(text), "big")


def public_key(jwk):
    if jwk["kty"] == "RSA":
        return rsa.RSAPublicNumbers(number(jwk["e"]), number(jwk["n"])).public_key()
    if jwk["kty"] == "EC":
        assert jwk["crv"] == "P-256" and len(b64(jwk["x"])) == len(b64(jwk["y"])) == 32
        return ec.EllipticCurvePublicNumbers(number(jwk["x"]), number(jwk["y"]),
                                             ec.SECP256R1()).public_key()
    assert jwk["kty"] == "OKP" and jwk["crv"] == "Ed25519"
    return ed25519.Ed25519PublicKey.from_public_bytes(b64(jwk["x"]))


def verify(key, signed, signature):
    if isinstance(key, rsa.RSAPublicKey):
        key.verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
    elif isinstance(key, ec.EllipticCurvePublicKey):
        assert len(signature) == 64
        der = utils.encode_dss_signature(int.from_bytes(signature[:32], "big"),
                                         int.from_bytes(signature[32:], "big"))
        key.verify(der, signed, ec.ECDSA(hashes.SHA256()))
    else:
        key.verify(signature, signed)


@pytest.mark.parametrize("alg", ["RS256", "ES256", "EdDSA"])
def test_keys_and_a_token(tmp_path, alg):
    out = tmp_path / "keys"
    done = run("token", "keys", "--out", out, "--name", "n", "--alg", alg, "--kid", "k-1")
    assert done.returncode == 0, done.stderr
    assert last_line(done).startswith("token: ")
    assert stat.S_IMODE((out / "n.pem").stat().st_mode) == 0o600
    serialization.load_pem_private_key((out / "n.pem").read_bytes(), None)
    (jwk,) = json.loads((out / "n.jwks").read_text())["keys"]
    assert (jwk["kid"], jwk["alg"], jwk["use"]) == ("k-1", alg, "sig")
    assert "d" not in jwk and "p" not in jwk

    before = int(time.time())
    done = run("token", "sign", "--key", out / "n.pem", "--kid", "k-1", "--alg", alg, "--iss",
               "https://idp.example", "--aud", "tallygate", "--sub", "me", "--client", "svc",
               "--tenant", "acme", "--scope", "validate status:read", "--ttl", "60", "--claim",
               "plan=gold=1")
    assert done.returncode == 0, done.stderr
    assert done.stderr == "" and "\n" not in done.stdout
    head, body, signature = done.stdout.split(".")
    assert json.loads(b64(head)) == {"alg": alg, "typ": "at+jwt", "kid": "k-1"}
    claims = json.loads(b64(body))
    assert before <= claims["iat"] <= time.time() and claims["exp"] == claims["iat"] + 60
    assert {k: v for k, v in claims.items() if k not in ("iat", "exp", "jti")} == {
        "iss": "https://idp.example", "aud": "tallygate", "sub": "me", "client_id": "svc",
        "tenant": "acme", "scope": "validate status:read", "plan": "gold=1"}
    verify(public_key(jwk), f"{head}.{body}".encode(), b64(signature))
    with pytest.raises(InvalidSignature):
        verify(public_key(jwk), f"{head}.{body}x".encode(), b64(signature))


def test_a_private_key_is_not_replaced_by_accident(tmp_path):
    assert run("token", "keys", "--out", tmp_path, "--name", "n").returncode == 0
    pem, jwks = (tmp_path / "n.pem").read_text(), (tmp_path / "n.jwks").read_text()
    done = run("token", "keys", "--out", tmp_path, "--name", "n")
    assert done.returncode == 1
    assert "--force" in done.stderr
    assert (tmp_path / "n.pem").read_text() == pem and (tmp_path / "n.jwks").read_text() == jwks
    assert run("token", "keys", "--out", tmp_path, "--name", "n", "--force").returncode == 0
    assert (tmp_path / "n.pem").read_text() != pem
    assert sorted(os.listdir(tmp_path)) == ["n.jwks", "n.pem"]


def test_an_expired_token_can_be_made(tmp_path):
    run("token", "keys", "--out", tmp_path, "--name", "n")
    done = run("token", "sign", "--key", tmp_path / "n.pem", "--iss", "i", "--aud", "a", "--sub",
               "s", "--ttl", "-10")
    assert json.loads(b64(done.stdout.split(".")[1]))["exp"] < time.time()


@pytest.mark.parametrize("content, word", [
    ("", "not a private key"), ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
                                "not a private key"), (None, "cannot read it")])
def test_keys_that_cannot_sign(tmp_path, content, word):
    path = tmp_path / "k.pem"
    if content is not None:
        path.write_text(content)
    done = run("token", "sign", "--key", path, "--iss", "i", "--aud", "a", "--sub", "s")
    assert done.returncode == 1
    assert word in done.stderr and str(path) in done.stderr
    assert done.stdout == ""


def test_the_algorithm_must_be_the_keys(tmp_path):
    run("token", "keys", "--out", tmp_path, "--name", "n", "--alg", "EdDSA")
    done = run("token", "sign", "--key", tmp_path / "n.pem", "--alg", "RS256", "--iss", "i",
               "--aud", "a", "--sub", "s")
    assert done.returncode == 1
    assert "this key signs EdDSA" in done.stderr


def test_an_encrypted_key_is_refused_without_asking(tmp_path):
    key = ec.generate_private_key(ec.SECP256R1())
    path = tmp_path / "k.pem"
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                       serialization.BestAvailableEncryption(b"word")))
    done = run("token", "sign", "--key", path, "--iss", "i", "--aud", "a", "--sub", "s",
               stdin=subprocess.DEVNULL)
    assert done.returncode == 1
    assert "without a passphrase" in done.stderr
