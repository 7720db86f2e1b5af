"""One firm with every process running, shared by a module's tests; sanitizer findings fail it."""
import pytest

from tests.harness.firm import Firm


@pytest.fixture(scope="module")
def firm():
    f = Firm("flow", checkpoints=False).start()
    yield f
    found = f.stop()
    assert not found, found[:8000]
    f.remove()


@pytest.fixture
def http(firm):
    with firm.client() as c:
        yield c


@pytest.fixture
def make_firm():
    made = []

    def make(start=True, **kw):
        f = Firm("flow", **kw)
        made.append(f)
        return f.start() if start else f
    yield make
    found = [f.stop() for f in made]
    assert not any(found), "\n".join(found)[:8000]
    for f in made:
        f.remove()
