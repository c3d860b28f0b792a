"""A hostile server in the place of Redis or of an object store: a command that uses it ends soon and stays small."""

import os
import ssl
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType, SimpleNamespace

import pytest
import yaml

from lessee.host.openbao import ROOT_TOKEN
from support.environments.backups import make_key
from support.programs.sidecar import PATIENCE, eventually
from support.servers.certificate_authority import Authority
from support.servers.hostile_peer import REDIS, STORE, HostilePeer
from support.servers.redis_server import Redis
from support.thorough import sampled

MOST_MEMORY = 120
"""MiB of a command's largest process."""
CHECK_TIMEOUT = 6
"""Seconds for each check of `lessee validate`."""
PASSWORD = "canary-1c5b77"


@pytest.fixture
def command(bao, tmp_path, folder):
    """Run a command of lessee in an environment with these secrets, and measure it."""

    def run(*words, secrets, environ=MappingProxyType({}), **blocks):
        for path, fields in secrets.items():
            bao.put(f"{folder}/{path}", **fields)
        vault = {"address": bao.address, "auth": {"method": "token"}}
        (tmp_path / "lessee.yaml").write_text(yaml.safe_dump({"environment": folder, "vault": vault, **blocks}))
        environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "VAULT_TOKEN": ROOT_TOKEN, **environ}
        process = subprocess.Popen(
            [sys.executable, "-m", "lessee", *words],
            cwd=tmp_path, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        peak, ended = [0], threading.Event()
        watcher = threading.Thread(target=watch, args=(process.pid, peak, ended))
        watcher.start()
        began = time.monotonic()
        try:
            text, _ = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
            ended.set()
            watcher.join()
        assert PASSWORD not in text
        return SimpleNamespace(text=text, code=process.returncode, peak=peak[0], seconds=time.monotonic() - began)

    return run


@pytest.fixture
def backup_environ(tmp_path):
    """The variables of `lessee backup`, with a key of its own and one of the bucket."""
    key = tmp_path / "key.txt"
    make_key(key)
    keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": PASSWORD}
    return {"LESSEE_BACKUP_KEY_FILE": str(key), **keys}


def watch(pid, peak, ended):
    """Note the most memory of a process and its children, in MiB."""
    while not ended.wait(0.005):
        with suppress(OSError):
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            for one in (pid, *children):
                lines = Path(f"/proc/{one}/status").read_text().splitlines()
                found = [int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")]
                peak[0] = max(peak[0], *found, 0)


def cache(port, **more):
    return {"cache/redis": {"host": "127.0.0.1", "port": str(port), "password": PASSWORD, **more}}


def store(port, **more):
    keys = {"access_key": "key", "secret_key": PASSWORD, "bucket": "docs"}
    return {"storage/minio": {"endpoint": f"127.0.0.1:{port}", **keys, **more}}


@pytest.mark.thorough(each=5)
@pytest.mark.parametrize("attack", REDIS)
def test_validate_withstands_a_server_in_the_place_of_redis(command, attack):
    blocks = {"validate": {"timeout": f"{CHECK_TIMEOUT}s", "mcp_cache": {"redis": "cache/redis"}}}
    with HostilePeer(REDIS[attack]) as peer:
        done = command("validate", "--component", "mcp_cache", secrets=cache(peer.port), **blocks)
        assert done.peak <= MOST_MEMORY
        assert f"127.0.0.1:{peer.port}" in done.text
        assert done.code == 1, done.text
        assert "internal error" not in done.text
        eventually(lambda: peer.connections == 0, "the end of all connections")


@pytest.mark.thorough(each=6)
@pytest.mark.parametrize("attack", STORE)
def test_validate_withstands_a_server_in_the_place_of_an_object_store(command, attack):
    blocks = {"validate": {"timeout": f"{CHECK_TIMEOUT}s", "storage": {}}}
    with HostilePeer(STORE[attack]) as peer:
        done = command("validate", "--component", "storage", secrets=store(peer.port), **blocks)
        assert done.peak <= MOST_MEMORY
        assert f"127.0.0.1:{peer.port}" in done.text
        assert done.code == 1, done.text
        assert "internal error" not in done.text
        eventually(lambda: peer.connections == 0, "the end of all connections")


@pytest.mark.thorough
@pytest.mark.parametrize("attack", ["a list of 10^12 errors", "a byte now and then", "lists in lists"])
def test_rotate_withstands_a_server_in_the_place_of_redis(command, attack):
    target = {"kind": "redis", "secret": "cache/redis", "admin_secret": "cache/admin", "user": "app"}
    with HostilePeer(REDIS[attack]) as peer:
        secrets = cache(peer.port, username="app") | {"cache/admin": cache(peer.port, username="admin")["cache/redis"]}
        done = command("rotate", "cache", secrets=secrets, rotation={"cache": target})
        assert done.peak <= MOST_MEMORY
        # The port is hidden, as every field of a secret.
        assert "127.0.0.1:***: Redis " in done.text
        assert done.code != 0
        eventually(lambda: peer.connections == 0, "the end of all connections")


@pytest.mark.thorough(each=4)
@pytest.mark.parametrize("attack", ["endless elements", "a byte of the body now and then", "an XML bomb"])
@pytest.mark.parametrize("kind", ["s3", "minio"])
def test_rotate_withstands_a_server_in_the_place_of_an_object_store(command, kind, attack):
    target = {"kind": kind, "secret": "storage/minio", "admin_secret": "storage/admin", "user": "app"}
    with HostilePeer(STORE[attack]) as peer:
        secrets = store(peer.port) | {"storage/admin": store(peer.port)["storage/minio"]}
        done = command("rotate", "store", secrets=secrets, rotation={"store": target})
        assert done.peak <= MOST_MEMORY
        assert "http://***: no response (an answer " in done.text
        assert done.code != 0
        eventually(lambda: peer.connections == 0, "the end of all connections")


FLOODS = [(name, command) for name in STORE if "now and then" not in name for command in ("save", "list")]
TRIED = list(sampled(FLOODS, of=3, key="of a bucket"))


@pytest.mark.thorough(each=4)
@pytest.mark.parametrize(("attack", "subcommand"), TRIED)
def test_backup_withstands_a_server_in_the_place_of_its_bucket(command, backup_environ, subcommand, attack):
    with HostilePeer(STORE[attack]) as peer:
        bucket = {"endpoint": f"http://127.0.0.1:{peer.port}", "bucket": "docs"}
        done = command("backup", subcommand, secrets={}, environ=backup_environ, backup={"s3": bucket})
        assert done.peak <= MOST_MEMORY
        assert "s3://docs/" in done.text
        assert done.code != 0
        eventually(lambda: peer.connections == 0, "the end of all connections")


@pytest.fixture(scope="module")
def common_name(tmp_path_factory):
    """A CA, and a certificate that names localhost as its subject alone."""
    folder = tmp_path_factory.mktemp("common-name")
    authority = Authority(folder / "ca.pem")
    authority.issue(folder / "server.pem", 30, common_name="localhost", names=())
    return folder


def test_a_certificate_of_redis_is_matched_by_its_alternative_names_alone(command, common_name):
    blocks = {"validate": {"mcp_cache": {"redis": "cache/redis"}}}
    with Redis(common_name, common_name / "server.pem", acl=[]) as server:
        secure = {"host": "localhost", "tls": "true", "ca_file": str(common_name / "ca.pem")}
        secrets = cache(server.tls_port, **secure, password=server.password)
        done = command("validate", "--component", "mcp_cache", secrets=secrets, **blocks)
    assert f"the TLS connection to localhost:{server.tls_port} fails" in done.text, done.text


def test_a_certificate_of_an_object_store_is_matched_by_its_alternative_names_alone(command, common_name):
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(common_name / "server.pem")
    secure = {"ca_file": str(common_name / "ca.pem")}
    with HostilePeer(STORE["an endless error"], tls) as peer:
        secrets = store(peer.port, **secure, endpoint=f"https://localhost:{peer.port}")
        done = command("validate", "--component", "storage", secrets=secrets, validate={"storage": {}})
    assert f"the TLS connection to https://localhost:{peer.port} fails" in done.text, done.text
    assert b"".join(peer.received) == b""
