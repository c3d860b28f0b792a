"""Redis and its clients read the templates: the server gets a hash of the password, clients get a URL."""

import hashlib
import re
import shutil
import subprocess
from functools import partial

import pytest
import redis
from dotenv import dotenv_values
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.retry import Retry

from lessee.host.openbao import free_port
from support import readmes
from support.inputs.hostile_values import VALUES
from support.models.template_library import HOSTILE, rendered, use, written
from support.needs import need
from support.programs.sidecar import eventually

PASSWORDS = (HOSTILE, "x ~* &* +@all\nuser evil on nopass ~* &* +@all", "#" * 64, ">", " \t ", "é😀\x00")


@pytest.fixture
def server():
    """A function that starts a Redis with users from a file."""
    need(shutil.which("redis-server") and shutil.which("redis-cli"), "needs Redis: apt install redis-server")
    processes = []

    def start(port, file):
        command = ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--aclfile", str(file)]
        processes.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=file.parent))

    yield start
    for process in processes:
        process.kill()
        process.wait()


def put(bao, port, password):
    bao.put("testing/database/redis", host="127.0.0.1", port=port, database=3, password=password)


def client_of(url):
    return redis.Redis.from_url(url, decode_responses=True, retry=Retry(NoBackoff(), 0))


def can_log_in(url):
    """Whether a client can log in with this URL."""
    try:
        with client_of(url) as client:
            assert client.acl_whoami() == "default"
            assert sorted(client.acl_users()) == ["default", "lessee"]
    except redis.AuthenticationError:
        return False
    return True


def await_answer(port):
    """Wait until the server rejects a client without a password."""
    command = ["redis-cli", "-p", str(port), "PING"]
    ask = partial(subprocess.run, command, capture_output=True, text=True, check=False, timeout=10)
    eventually(lambda: ask().stdout.startswith("NOAUTH"), "a refusal by Redis")


def test_a_client_logs_in_by_the_url_at_a_server_with_the_hash(bao, sidecar, server):
    port = free_port()
    put(bao, port, HOSTILE)
    folder = rendered(sidecar, "redis/users.acl.j2", "redis/redis.env.j2")
    server(port, folder / "users.acl")
    await_answer(port)
    assert can_log_in(dotenv_values(folder / "redis.env")["REDIS_URL"])
    assert not can_log_in(f"redis://:wrong@127.0.0.1:{port}/0")


def test_a_new_password_is_loaded_without_a_restart_and_the_connection_stays(bao, sidecar, server, tmp_path):
    port = free_port()
    put(bao, port, "first")
    command = ["redis-cli", "-e", "-p", str(port), "--user", "lessee", "--pass", "any", "ACL", "LOAD"]
    use(sidecar, "redis/users.acl.j2", "redis/redis.env.j2", notify={"command": command})
    sidecar.start()
    server(port, sidecar.directory / "users.acl")
    await_answer(port)
    with client_of(f"redis://:first@127.0.0.1:{port}/3") as client:
        number = client.client_id()
        for password in PASSWORDS:
            put(bao, port, password)
            url = written("redis/redis.env.j2", "dotenv", secret_of(password, "127.0.0.1", port, 3))
            (tmp_path / "redis.env").write_text(url)
            eventually(
                lambda: can_log_in(dotenv_values(tmp_path / "redis.env")["REDIS_URL"]), f"a login with {password!r}"
            )
            assert client.client_id() == number
    assert not can_log_in(f"redis://:first@127.0.0.1:{port}/3")


def test_the_user_that_loads_users_may_do_nothing_else(bao, sidecar, server):
    port = free_port()
    put(bao, port, HOSTILE)
    server(port, rendered(sidecar, "redis/users.acl.j2") / "users.acl")
    await_answer(port)
    with client_of(f"redis://lessee:any@127.0.0.1:{port}") as client:
        assert client.acl_load()
        for command in (
            "ACL LIST",
            "ACL SAVE",
            "GET x",
            "SET x y",
            "PING",
            "CONFIG GET *",
            "PUBLISH x y",
            "CLIENT LIST",
        ):
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.execute_command(*command.split())


def test_redis_py_reads_every_hostile_password_from_the_url(tmp_path):
    file = tmp_path / "redis.env"
    for value in VALUES:
        file.write_text(written("redis/redis.env.j2", "dotenv", secret_of(value)))
        read = parse_url(dotenv_values(file)["REDIS_URL"])
        assert {"password": ""} | read == {"host": "redis", "port": 6379, "db": 0, "password": value}


def test_every_hostile_password_is_only_a_hash_in_the_users_file():
    for value in VALUES:
        text = written("redis/users.acl.j2", "text", secret_of(value))
        digest = hashlib.sha256(value.encode()).hexdigest()
        assert re.sub("#[0-9a-f]{64} ", f"#{digest} ", text) == text
        assert len(text.splitlines()) == 2


def secret_of(password, host="redis", port=6379, database=0):
    return {"database/redis": {"host": host, "port": port, "database": database, "password": password}}


def test_the_readme_names_every_template_and_its_configurations_are_right(tmp_path):
    readmes.check("redis", tmp_path)
