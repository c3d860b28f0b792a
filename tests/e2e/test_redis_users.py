"""Redis without a broker: connections outlive each rotation, and at a Unix socket an app needs no password."""

import re
import shutil
import subprocess
import threading

import pytest
import redis

from support.environments.rotation_targets import RotationTarget
from support.needs import need
from support.paths import ROOT
from support.programs.sidecar import eventually
from support.systems.redis import AclUser

CLIENTS, ROTATIONS = 8, 3
PAGE = ROOT / "docs/how-to/brokers.md"


@pytest.mark.thorough
def test_no_connection_is_dropped_while_the_password_is_rotated(bao, tmp_path):
    (tmp_path / "target").mkdir()
    with AclUser.started(tmp_path) as new:
        target = RotationTarget(bao, tmp_path / "target", new())
        first, counts, errors, over = target.fields(), [0] * CLIENTS, [], threading.Event()

        def query(number):
            with redis.Redis(port=first["port"], username=first["username"], password=first["password"]) as client:
                connection = client.connection_pool.get_connection()
                connection.retry.update_supported_errors([])
                while not over.wait(0.002):
                    try:
                        connection.send_command("INCR", f"app:{number}")
                        counts[number] = connection.read_response()
                    except redis.RedisError as exc:
                        errors.append(repr(exc))
                client.connection_pool.release(connection)

        threads = [threading.Thread(target=query, args=(number,)) for number in range(CLIENTS)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(ROTATIONS):
                before = list(counts)
                target.rotate()
                eventually(
                    lambda before=before: all(now > old for now, old in zip(counts, before, strict=True)), "queries"
                )
        finally:
            over.set()
            for thread in threads:
                thread.join()
        assert errors == []
        assert target.system.accepts(target.fields())
        assert not target.system.accepts(first)
        received = target.system.server.ask("INFO", "stats")["total_connections_received"]
        assert received < 100  # No client has connected again; each login of a rotator counts too.


@pytest.fixture
def socket(tmp_path):
    """The socket of a Redis with the settings of the page."""
    need(shutil.which("redis-server"), "needs Redis: apt install redis-server")
    blocks = re.findall(r"```\n(# redis.conf\n.*?)```\n.*?```\n(# users.acl\n.*?)```", PAGE.read_text(), re.DOTALL)
    ((conf, acl),) = blocks
    conf = conf.replace("/run/redis", str(tmp_path)).replace("/etc/redis", str(tmp_path))
    (tmp_path / "redis.conf").write_text(conf)
    (tmp_path / "users.acl").write_text("".join(f"{line}\n" for line in acl.splitlines() if not line.startswith("#")))
    log = (tmp_path / "log").open("wb")
    with log, subprocess.Popen(["redis-server", "redis.conf"], cwd=tmp_path, stdout=log, stderr=log) as process:
        eventually(lambda: process.poll() is not None or (tmp_path / "redis.sock").exists(), "Redis")
        assert process.poll() is None, (tmp_path / "log").read_text()
        yield tmp_path / "redis.sock"
        process.kill()


def test_at_the_socket_an_app_has_its_keys_without_a_password_and_nothing_else(socket):
    with redis.Redis(unix_socket_path=str(socket)) as client:
        assert client.set("app:x", "1")
        assert client.get("app:x") == b"1"
        for command in (
            ("GET", "other:x"), ("CONFIG", "GET", "*"), ("ACL", "LIST"), ("ACL", "SETUSER", "default", "allkeys"),
            ("FLUSHALL",), ("KEYS", "*"), ("MONITOR",), ("SHUTDOWN",), ("SAVE",),
            ("REPLICAOF", "203.0.113.1", "6379"), ("MODULE", "LIST"), ("CLIENT", "LIST"), ("PUBLISH", "x", "y"),
            ("EVAL", "return redis.call('GET', 'other:x')", "0"),
        ):  # fmt: skip
            with pytest.raises(redis.exceptions.NoPermissionError if command[0] != "EVAL" else redis.ResponseError):
                client.execute_command(*command)
    assert socket.stat().st_mode & 0o777 == 0o770
