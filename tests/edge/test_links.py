"""tally_redis over TCP with another database, a changed password, two Redis objects in one NGINX."""
import hashlib
import secrets

import redis as redis_py

from tests.edge.conftest import SLOW, assert_problem, default_config
from tests.harness import stack


def test_tcp_and_database(make_edge):
    redis = stack.Redis(stack.scratch("edge"), tcp=True).start()

    def config(e, **kw):
        return default_config(e, **kw).replace(e.redis.url(),
                                               f"redis://127.0.0.1:{redis.port}/2")
    edge = make_edge(config=config, redis=redis)
    with edge.client() as c:
        event = edge.post(c).json()["id"]
        assert redis.added() == 0  # nothing in database 0
        db2 = redis_py.Redis(unix_socket_path=redis.sock, db=2, username="admin",
                             password=redis.passwords["admin"])
        assert sum(db2.xlen(k) for k in db2.scan_iter("tg:*:events")) >= 2  # ready() sent one before
        redis.kill()
        assert_problem(edge.post(c), 503, "redis_unavailable")
        redis.start()
        stack.wait_for(lambda: edge.post(c).status_code == 202, 20 * SLOW, "accepts again")
    assert event.startswith("s")


def test_password_rotation(make_edge):
    """The file is read at each connect: a new password needs no reload."""
    edge = make_edge()
    word = secrets.token_hex(16)
    edge.admin.execute_command("ACL", "SETUSER", "edge", "resetpass",
                               "#" + hashlib.sha256(word.encode()).hexdigest())
    (edge.redis.secrets / "redis-edge").write_text(word + "\n")
    for c in edge.admin.client_list():
        if c["name"].startswith("tallygate-edge"):
            edge.admin.client_kill_filter(_id=c["id"])
    with edge.client() as c:
        stack.wait_for(lambda: edge.post(c).status_code == 202, 20 * SLOW, "the new password")


def test_a_second_redis_for_rates(make_edge):
    """A rate-only location on an unpersisted Redis works, and does not touch the durable one."""
    other = stack.Redis(stack.scratch("edge"), durable=False).start()

    def config(e, **kw):
        return default_config(e, locations=f"""
            location = /rates {{
                tally_redis {other.url()} name=rates user=edge
                    password_file={other.secrets}/redis-edge;
                tally_auth main;
                tally_rate 6r/h burst=1;
                proxy_pass http://127.0.0.1:{e.port}/up;
            }}
            location = /up {{ return 200 up; }}
        """, **kw)
    edge = make_edge(config=config)
    h = {"Authorization": f"Bearer {edge.token()}"}
    with edge.client() as c:
        stack.wait_for(lambda: len(list(other.client().scan_iter("tg:*:meta"))) == 16, 20 * SLOW,
                       "the second link")
        assert [c.get("/rates", headers=h).status_code for _ in range(3)] == [200, 200, 429]
    assert len(list(other.client().scan_iter("tg:*:rate:*"))) == 1
    assert not list(edge.admin.scan_iter("tg:*:rate:*"))
    other.kill()
