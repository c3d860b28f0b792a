"""A read socket: an app reads what its templates read, with any client of Vault's API, and no other user does."""

import json
import os
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import hvac
import pytest

from lessee.host.openbao import OpenBao, find_bao
from lessee.status.client import UnixConnection
from support.programs.sidecar import Sidecar, eventually
from support.servers.fault_proxy import Fault, Proxy

FORKED_AGENTS = True
TOKEN = "a-token-of-the-apps-own-port"
POLICY = """
path "secret/*" { capabilities = ["read", "list"] }
path "old/*" { capabilities = ["read", "list"] }
path "database/creds/*" { capabilities = ["read"] }
path "sys/leases/revoke" { capabilities = ["update"] }
"""
TEMPLATE = """\
password={{ secret("db").password }}
first={{ secret("db", version=1).password }}
old={{ secret("old", mount="old").key }}
keys={% for name, key in secrets("keys") | items %}{{ name }}:{{ key.value }} {% endfor %}
{% set gone = secret("gone", optional=true) %}{% if gone %}gone={{ gone.value }}{% endif %}
"""
AS_USER = """
import os, socket, sys
os.setgroups([]); os.setgid(int(sys.argv[2])); os.setuid(int(sys.argv[1]))
with socket.socket(socket.AF_UNIX) as client:
    client.connect(sys.argv[3])
    client.sendall(b"GET /files/app.txt HTTP/1.0\\r\\n\\r\\n")
    print(client.makefile("rb").read().decode())
"""
FLOOD = """
import os, socket, sys
os.setgroups([]); os.setgid(99); os.setuid(99)
clients = []
for _ in range(150):
    client = socket.socket(socket.AF_UNIX)
    client.connect(sys.argv[1])
    remote = socket.socket()
    remote.connect((sys.argv[2], int(sys.argv[3])))
    clients += [client, remote]
print("connected", flush=True)
sys.stdin.read()
"""
AS_MANY_USERS = """
import os, socket, sys
refused = 0
for uid in range(100_000, 101_000):
    os.seteuid(uid)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(sys.argv[1])
        client.sendall(b"GET /healthz HTTP/1.0\\r\\n\\r\\n")
        refused += b" 403 " in client.recv(100)
    os.seteuid(0)
print(refused)
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with OpenBao(tmp_path_factory.mktemp("server")) as bao:
        bao.ask("POST", "sys/mounts/old", {"type": "kv", "options": {"version": "1"}})
        yield bao


@pytest.fixture
def sidecar(server, tmp_path, memory, folder):
    server.put(f"{folder}/db", password="first-password")
    server.put(f"{folder}/db", password="second-password", port=5432)
    server.put(f"{folder}/keys/mail", value="of mail")
    server.put(f"{folder}/keys/maps", value="of maps")
    server.put(f"{folder}/other", value="of another app")
    server.ask("POST", f"old/{folder}/old", {"key": "of version one"})
    agent = Sidecar(server.address, tmp_path, memory)
    agent.config["secrets"] = {"prefix": f"{folder}/", "mounts": {"old": {}}}
    agent.log_in_by_approle(server, POLICY)
    agent.template("app.txt", TEMPLATE)
    (tmp_path / "token").write_text(TOKEN)
    agent.web["socket"] = {"path": str(memory / "read" / "web.sock"), "uids": [os.geteuid()]}
    agent.reads = memory / "read" / "web.sock"
    agent.folder = folder
    yield agent
    agent.close()


def ask(path, target, method="GET", headers=()):
    """The status, the headers and the body of one request."""
    connection = UnixConnection(path, 10)
    try:
        connection.request(method, target, headers=dict(headers))
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read().decode()
    finally:
        connection.close()


def answers(path, target):
    """Whether there is a server that answers."""
    with suppress(OSError):
        return ask(path, target)[0] == 200


def test_an_app_reads_its_files_of_one_generation_and_waits_for_the_next(sidecar, server):
    sidecar.start()
    code, headers, text = ask(sidecar.reads, "/files/app.txt")
    assert (code, text) == (200, (sidecar.directory / "app.txt").read_text())
    assert "password=second-password" in text
    known = {"If-None-Match": headers["ETag"]}
    assert ask(sidecar.reads, "/files/app.txt", headers=known)[0] == 304
    assert json.loads(ask(sidecar.reads, "/files")[2])["files"] == {"app.txt": text}
    found = []
    waiting = threading.Thread(target=lambda: found.append(ask(sidecar.reads, "/generation?wait=60", headers=known)))
    waiting.start()
    server.put(f"{sidecar.folder}/db", password="third-password")
    waiting.join(30)
    [(code, headers, body)] = found
    assert (code, json.loads(body)["files"]) == (200, ["app.txt"])
    code, newest, text = ask(sidecar.reads, "/files/app.txt")
    assert "password=third-password" in text
    assert newest["ETag"] == headers["ETag"] != known["If-None-Match"]


def test_secrets_have_the_names_that_templates_give_them(sidecar):
    sidecar.start()
    assert json.loads(ask(sidecar.reads, "/secret/db")[2]) == {"password": "second-password", "port": 5432}
    assert ask(sidecar.reads, "/secret/db?key=password")[2] == "second-password"
    assert json.loads(ask(sidecar.reads, "/secret/db?key=port")[2]) == 5432
    assert ask(sidecar.reads, "/secret/db?version=1&key=password")[2] == "first-password"
    assert ask(sidecar.reads, "/secret/keys/mail?key=value")[2] == "of mail"
    assert ask(sidecar.reads, "/secret/old?mount=old&key=key")[2] == "of version one"
    assert ask(sidecar.reads, "/secret/gone")[0] == 404
    code, _, text = ask(sidecar.reads, "/secret/other")
    assert (code, "no template of web reads" in text) == (403, True)


def test_clients_of_vault_read_unchanged(sidecar, tmp_path):
    sidecar.web["socket"] |= {"listen": (port := free_port()), "token_file": str(tmp_path / "token")}
    sidecar.start()
    client = hvac.Client(url=f"http://{port}", token=TOKEN)
    where = {"path": f"{sidecar.folder}/db", "raise_on_deleted_version": False}
    answer = client.secrets.kv.v2.read_secret_version(**where)
    assert answer["data"]["data"] == {"password": "second-password", "port": 5432}
    assert answer["data"]["metadata"]["version"] == 2
    assert client.secrets.kv.v2.read_secret_version(version=1, **where)["data"]["data"]["password"] == "first-password"
    metadata = client.secrets.kv.v2.read_secret_metadata(f"{sidecar.folder}/db")
    assert metadata["data"]["current_version"] == 2
    listed = client.secrets.kv.v2.list_secrets(f"{sidecar.folder}/keys")
    assert listed["data"]["keys"] == ["mail", "maps"]
    old = client.secrets.kv.v1.read_secret(f"{sidecar.folder}/old", mount_point="old")
    assert old["data"] == {"key": "of version one"}
    assert client.is_authenticated()
    assert client.sys.is_sealed() is False
    with pytest.raises(hvac.exceptions.Forbidden, match="no template of web reads"):
        client.secrets.kv.v2.read_secret_version(f"{sidecar.folder}/other", raise_on_deleted_version=False)
    with pytest.raises(hvac.exceptions.Forbidden):
        client.secrets.kv.v2.list_secrets(sidecar.folder)
    with pytest.raises(hvac.exceptions.InvalidPath):
        client.secrets.kv.v2.read_secret_version(f"{sidecar.folder}/gone", raise_on_deleted_version=False)
    with pytest.raises(hvac.exceptions.VaultError, match="lessee only reads"):
        client.secrets.kv.v2.create_or_update_secret(f"{sidecar.folder}/db", {"password": "mine"})
    with pytest.raises(hvac.exceptions.Unauthorized):
        hvac.Client(url=f"http://{port}", token="another-token-than-that").secrets.kv.v2.read_secret_version(**where)


@pytest.mark.parametrize("arguments", [["kv", "get"], ["kv", "get", "-version=1"]])
def test_the_cli_of_vault_reads_through_the_socket(sidecar, arguments):
    sidecar.start()
    environ = {"PATH": os.environ["PATH"], "VAULT_ADDR": f"unix://{sidecar.reads}", "HOME": str(sidecar.disk)}
    command = [find_bao(), *arguments, "-format=json", "-mount=secret", f"{sidecar.folder}/db"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    wanted = "first-password" if len(arguments) > 2 else "second-password"
    assert json.loads(done.stdout)["data"]["data"]["password"] == wanted


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to act as another user")
def test_only_the_users_of_the_configuration_may_read(sidecar):
    sidecar.web["socket"] |= {"uids": [1234], "gids": [4321]}
    sidecar.start()
    sidecar.memory.chmod(0o711)  # The other users must reach the socket.

    def reads(uid, gid):
        command = [sys.executable, "-c", AS_USER, str(uid), str(gid), str(sidecar.reads)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        return "second-password" in done.stdout

    assert reads(1234, 99)
    assert reads(99, 4321)
    assert not any(reads(uid, 99) for uid in (0, 1, 99, 1233, 1235, 4321))
    assert [line["uid"] for line in sidecar.events() if line["event"] == "reader refused"][:1] == ["0"]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to act as another user")
def test_a_user_or_group_above_two_thousand_million_may_read(sidecar):
    sidecar.web["socket"] |= {"uids": [3_000_000_000], "gids": [3_500_000_000]}
    sidecar.start()
    sidecar.memory.chmod(0o711)
    for uid, gid in (("3000000000", "99"), ("99", "3500000000")):
        command = [sys.executable, "-c", AS_USER, uid, gid, str(sidecar.reads)]
        assert "second-password" in subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to act as another user")
def test_users_that_may_not_read_do_not_push_out_the_app(sidecar, tmp_path):
    sidecar.web["socket"] |= {"listen": (port := free_port()), "token_file": str(tmp_path / "token")}
    sidecar.start()
    sidecar.memory.chmod(0o711)
    host, _, number = port.partition(":")
    with socket.socket(socket.AF_UNIX) as local, socket.create_connection((host, int(number)), 10) as remote:
        local.settimeout(10)
        local.connect(str(sidecar.reads))
        for client in (local, remote):
            assert healthy(client)
        command = [sys.executable, "-c", FLOOD, str(sidecar.reads), host, number]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as flood:
            assert flood.stdout.readline() == "connected\n"
            assert healthy(local)
            assert healthy(remote)
            assert ask(sidecar.reads, "/secret/db?key=password")[2] == "second-password"
            flood.stdin.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to act as other users")
def test_a_thousand_users_that_may_not_read_do_not_flood_the_log(sidecar):
    sidecar.start()
    sidecar.memory.chmod(0o711)
    command = [sys.executable, "-c", AS_MANY_USERS, str(sidecar.reads)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "1000\n"
    lines = [line for line in sidecar.events() if line["event"] == "reader refused"]
    assert 50 < len(lines) <= 110  # Several threads may pass the limit at the same moment.


def healthy(client):
    """Whether one more request on a connection gets its answer."""
    client.sendall(f"GET /healthz HTTP/1.1\r\nX-Vault-Token: {TOKEN}\r\n\r\n".encode())
    return client.recv(4096).startswith(b"HTTP/1.1 200")


def test_a_reload_ends_the_connections_of_users_that_may_not_read_any_more(sidecar):
    sidecar.start()
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(sidecar.reads))
        assert healthy(client)
        sidecar.web["socket"]["uids"] = [4242]
        sidecar.write_config()
        assert client.recv(1) == b""
    eventually(lambda: refused(sidecar.reads), "the refusal")


def refused(path):
    with suppress(OSError):
        return ask(path, "/secret/db")[0] == 403


def test_a_client_that_leaves_while_it_waits_takes_no_thread(sidecar):
    sidecar.start()
    etag = ask(sidecar.reads, "/generation")[1]["ETag"]
    before = threads(sidecar.pid)
    clients = [socket.socket(socket.AF_UNIX) for _ in range(20)]
    for client in clients:
        client.connect(str(sidecar.reads))
        client.sendall(f"GET /generation?wait=300 HTTP/1.1\r\nIf-None-Match: {etag}\r\n\r\n".encode())
    eventually(lambda: threads(sidecar.pid) >= before + 20, "the threads that wait")
    for client in clients:
        client.close()
    eventually(lambda: threads(sidecar.pid) <= before + 2, "the end of the threads")


def threads(pid):
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


@pytest.mark.thorough
def test_a_second_agent_leaves_the_socket_to_the_first_until_its_end(sidecar, server, tmp_path):
    sidecar.start()
    (tmp_path / "second").mkdir()
    second = Sidecar(server.address, tmp_path / "second", sidecar.memory / "second")
    second.config |= {key: sidecar.config[key] for key in ("secrets",)}
    second.config["vault"] = sidecar.config["vault"]
    second.template("app.txt", TEMPLATE)
    second.web["socket"] = sidecar.web["socket"]
    try:
        second.start()
        [reason] = [line["reason"] for line in second.events() if line["event"] == "read socket not opened"]
        assert f"web has no read socket: {reason}" in second.status()["problems"]
        assert "another process serves this path" in reason
        assert ask(sidecar.reads, "/healthz")[0] == 200
        sidecar.stop()
        eventually(lambda: answers(sidecar.reads, "/healthz"), "the second agent's answer")
    finally:
        second.close()
    assert [line["event"] for line in second.events()].count("read socket not opened") == 1


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def test_a_reload_opens_moves_and_closes_a_socket(sidecar):
    settings = sidecar.web.pop("socket")
    sidecar.start()
    sidecar.web["socket"] = settings
    sidecar.write_config()
    eventually(lambda: answers(sidecar.reads, "/healthz"), "the socket")
    sidecar.web["socket"] = {**settings, "path": str(sidecar.reads.with_name("other.sock"))}
    sidecar.write_config()
    eventually(lambda: sidecar.reads.with_name("other.sock").exists() and not sidecar.reads.exists(), "the other one")
    eventually(lambda: answers(sidecar.reads.with_name("other.sock"), "/files/app.txt"), "the other socket's answer")
    del sidecar.web["socket"]
    sidecar.write_config()
    eventually(lambda: not sidecar.reads.with_name("other.sock").exists(), "the end of the socket")


@pytest.fixture
def proxy(server):
    with Proxy(server.port) as proxy:
        yield proxy


def test_during_an_outage_the_socket_answers_with_the_last_values(sidecar, proxy):
    sidecar.config["vault"]["address"] = proxy.address
    sidecar.start()
    proxy.fault = Fault.REFUSE
    assert ask(sidecar.reads, "/secret/db?key=password")[2] == "second-password"
    sidecar.process.kill()
    sidecar.process.wait()
    sidecar.start(wait=False)
    eventually(lambda: answers(sidecar.reads, "/files/app.txt"), "the files of the process before")
    assert ask(sidecar.reads, "/secret/db")[0] == 503


def test_rubbish_is_refused_and_the_next_client_is_served(sidecar):
    sidecar.start()
    for rubbish in (b"\x00" * 100, b"GET\r\n\r\n", b"GET /files/../../etc/passwd HTTP/1.1\r\n\r\n", b"A" * 40_000):
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(20)
            client.connect(str(sidecar.reads))
            client.sendall(rubbish)
            client.shutdown(socket.SHUT_WR)
            assert client.recv(100)[:12] in {b"HTTP/1.1 400", b"HTTP/1.1 431", b""}
    assert ask(sidecar.reads, "/healthz")[0] == 200
