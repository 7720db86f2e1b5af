"""README's first curl, word for word: the token it makes is taken, and the answer is what it says."""
import re
import shlex
import subprocess

from tests.harness import stack
from tests.harness.firm import Firm


def commands():
    """The shell example as words: how the token is made, how the curl goes."""
    text = (stack.ROOT / "README.md").read_text(encoding="utf-8")
    block = re.search(r"```sh\n(.*?)```", text, re.S).group(1).replace("\\\n", " ")
    token, call = re.match(r"TOKEN=\$\((.*?)\)\s*\n(.*)", block, re.S).groups()
    return shlex.split(token), shlex.split(call)


def test_the_first_curl_says_that_the_project_is_closed():
    sign, curl = commands()
    firm = Firm("readme")
    try:
        # the demo's keys, made as conf/demo/demo.py makes them, where this firm's NGINX looks
        done = firm.orchestrator.run("token", "keys", "--out", firm.dir / "keys", "--name", "demo",
                                     "--alg", "ES256", "--kid", "demo-1", "--force")
        assert done.returncode == 0, done.stderr
        sign = [w.replace("var/keys", f"{firm.dir}/keys") for w in sign]
        done = subprocess.run(sign, cwd=stack.ROOT, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        firm.redis.start()
        firm.orchestrator.start()
        firm.nginx.start([firm.port])
        curl = [w.replace("$TOKEN", done.stdout.strip()).replace("http://127.0.0.1:8080", firm.base)
                for w in curl]

        def answered():
            said = subprocess.run(curl, capture_output=True, text=True, timeout=60).stdout
            return said if '"results"' in said else None
        said = stack.wait_for(answered, 20, "an answer of the rules")
        assert re.findall(r'"code":"(\w+)"', said) == ["project_closed"]
        assert '"field":"project"' in said and '"owner":"finance"' in said
        assert firm.redis.added() == 0
    finally:
        found = firm.stop()
    assert not found, found[:4000]
    firm.remove()
