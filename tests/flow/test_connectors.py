"""A connector of one's own: a Lua file and its fixture; what check says of it; and how a reload takes it."""
import json
import shutil
import signal
import uuid

import pytest

from tests.harness import stack
from tests.harness.rest import Rest

LUA = """\
local function request(posting, ctx)
  return {{method = "PUT", path = "/labor/" .. posting.key, json = {{entry = posting.payload.entry, by = "{by}"}}}}
end
local function classify(response, posting, ctx)
  if response.status < 300 then
    return {{outcome = "posted", ref = "{by}-" .. response.json.id}}
  end
  return {{outcome = "in_doubt"}}
end
return {{about = {{dedupe = "{dedupe}"}}, request = request, classify = classify}}
"""
FIXTURE = {"input": {"call": "classify", "response": {"status": 500, "headers": {}, "body": ""}, "posting": {}},
           "expected": {"result": {"outcome": "in_doubt"}}}


def write(rules, by, dedupe="unique"):
    folder = rules / "connectors"
    (folder / "mine.fixtures").mkdir(exist_ok=True)
    (folder / "mine.lua").write_text(LUA.format(by=by, dedupe=dedupe))
    (folder / "mine.fixtures/doubt.json").write_text(json.dumps(FIXTURE))


@pytest.fixture
def rules(tmp_path):
    copy = tmp_path / "rules"
    shutil.copytree(stack.ROOT / "lua_rules", copy)
    write(copy, "one")
    return copy


def erp(url, **more):
    return json.dumps({"connector": "mine", "url": url, "allow": ["127.0.0.1"]} | more)[1:-1]


def post(firm):
    with firm.client() as c:
        answer = firm.hook(c, firm.entry(uuid.uuid4().int % 900000 + 100000))
        (obj,) = firm.settled(c, answer.json()["id"], 40)["objects"]
    return next(p for p in obj["postings"] if p["destination"] == "erp")


def reload(firm, said):
    before = firm.orchestrator.process.text().count(said)
    firm.orchestrator.process.send(signal.SIGHUP)
    stack.wait_for(lambda: firm.orchestrator.process.text().count(said) > before, 30, said)


def test_a_new_script_is_in_force_after_a_reload_and_one_that_promises_otherwise_is_not(make_firm, rules):
    with Rest() as rest:
        firm = make_firm(rules=rules, erp=erp(rest.url))
        assert post(firm)["ref"] == "one-1"
        write(rules, "two")
        reload(firm, "are in force")
        assert post(firm)["ref"] == "two-2"
        write(rules, "three", dedupe="none")
        reload(firm, "promises something else than before")
        assert post(firm)["ref"] == "two-3"
        (rules / "connectors/mine.lua").unlink()
        reload(firm, "connectors/mine.lua is gone")
        assert post(firm)["ref"] == "two-4"
        assert [b["by"] for b in rest.bodies()] == ["one", "two", "two", "two"]


@pytest.mark.parametrize("change,says", [
    ({"connector": "http-json", "options": {"dedupe": "uniqe"}}, "option `dedupe` must be unique"),
    ({"connector": "http-json", "options": {"dedupe": "none", "pth": "/x"}}, "option `pth` is not known"),
    ({"connector": "tryton", "auth": "none", "options": {"compani.A": "1"}}, "option `compani.A` is not known"),
    ({"connector": "yours"}, "connector `yours` is not known; accepted: file, http-json, mine, tryton"),
    ({"allow": []}, "the address 127.0.0.1 is loopback"),
    ({"auth": "bearer", "token_file": "/nowhere/token"}, "token_file: cannot read /nowhere/token"),
    ({"tls": {"ca_file": "/nowhere/ca.pem"}}, "tls.ca_file: cannot read /nowhere/ca.pem")])
def test_check_names_what_would_not_open(make_firm, rules, change, says):
    firm = make_firm(start=False, rules=rules, erp=erp("http://127.0.0.1:9/", **change))
    done = firm.orchestrator.run("check", "--journal", "-c", firm.yaml)
    assert done.returncode == 1
    assert "finding: destination acme/erp: " in done.stdout and says in done.stdout, done.stdout


def test_check_is_content_with_a_good_one(make_firm, rules):
    firm = make_firm(start=False, rules=rules, erp=erp("http://127.0.0.1:9/"))
    done = firm.orchestrator.run("check", "--journal", "-c", firm.yaml)
    assert "ok: 1 destinations with a script would open" in done.stdout, done.stdout


def test_a_connector_without_fixtures_is_not_taken(make_firm, rules):
    shutil.rmtree(rules / "connectors/mine.fixtures")
    firm = make_firm(start=False, rules=rules, erp=erp("http://127.0.0.1:9/"))
    done = firm.orchestrator.run("rules", "test", str(rules))
    assert done.returncode == 1
    assert "FAIL connectors/mine.lua: has no fixtures" in done.stdout
