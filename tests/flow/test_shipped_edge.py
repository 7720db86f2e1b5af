"""What conf/nginx.conf itself must get right: room for what is promised, and an answer when the
orchestrator does not give one."""
import pytest

from tests.harness import stack
from tests.harness.firm import Firm


@pytest.fixture(scope="module")
def firm():
    f = Firm("shipped").start()
    yield f
    found = f.stop()
    f.remove()
    assert not found


def test_five_hundred_entries_with_long_notes(firm):
    entries = [firm.entry(n) | {"note": "x" * 900} for n in range(500)]
    with firm.client() as c:
        answer = firm.validate(c, entries)
        assert answer.status_code == 200, answer.text[:300]
        assert len(answer.json()["results"]) == 500 and answer.json()["valid"] is True


@pytest.mark.parametrize("size,status", [(8192, 200), (8193, 401)])
def test_a_token_of_eight_kilobytes(firm, size, status):
    """8192 bytes is the largest token taken; a longer one is told so by us, not by NGINX."""
    token, pad = "", size // 2
    for _ in range(60):
        token = firm.token("validate", pad="x" * pad)
        if len(token) == size:
            break
        pad += 1 if len(token) < size else -1
    if len(token) != size:  # base64 leaves out every fourth length
        token = firm.token("validate", pad="x" * (size * 3 // 4 + (200 if size > 8192 else -600)))
        assert (len(token) > 8192) == (status == 401)
    with firm.client() as c:
        answer = c.post("/v1/time-entries/validate", json=firm.entry(1),
                        headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == status, answer.text[:300]
        if status == 401:
            assert answer.json()["code"] == "token_invalid"


def test_the_orchestrator_is_down(firm):
    assert firm.orchestrator.stop() == 0
    try:
        with firm.client() as c:
            for answer in (firm.validate(c, firm.entry(1)), firm.status(c, "s00-1-0"),
                           c.get("/readyz")):
                assert answer.status_code == 503, answer.text[:200]
                assert answer.headers["content-type"] == "application/problem+json"
                assert answer.headers["retry-after"] == "5"
                assert answer.json()["code"] == "unavailable"
                assert answer.json()["correlation_id"]
            assert firm.send(c, firm.entry(1)).status_code == 202, "what is sent is taken all the same"
    finally:
        firm.orchestrator.start()
        firm.edge_ready()
    stack.wait_for(lambda: any(r["entry"] == "TE-000001" for r in firm.labor()), 20, "posted")
