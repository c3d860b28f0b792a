"""Another local user made the state directory or the status socket: the agent and its clients believe neither."""

import json
import os
import socketserver
import threading
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import msgspec
import pytest

from lessee.config.parsing import parse
from lessee.core.leases import Lease
from lessee.core.paths import DynamicSecret
from lessee.core.secrets import Secret
from lessee.core.tokens import Token
from lessee.host.clock import boot_time
from lessee.host.openbao import ROOT_TOKEN
from lessee.publishing.state_records import key_of
from lessee.publishing.state_store import StateStore
from support.programs.forks import run_lessee
from support.programs.sidecar import eventually

FORKED_AGENTS = True
STRANGER = 12345
CANARY = "canary-secret-id-7b1"
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to act as another user")


@contextmanager
def thief():
    """A server that records what it is sent, as `received`, and answers each request like a Vault that denies it."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            server.received.append(f"{self.path} {dict(self.headers)} {body}")
            answer = b'{"errors": ["permission denied"]}'
            self.send_response(403)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_PUT = do_POST  # noqa: N815  # http.server names them so.

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.received = []
    server.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def plant(state, address, auth, *, app="web", key=None, lease_id="database/creds/planted/xyz"):
    """Records of a login at `address` that the app still has a lease of, as an agent writes them."""
    vault = parse(json.dumps({"vault": {"address": address, "auth": auth}}), source="x", environ={}).vault
    key = key or key_of(vault)
    lease = Lease(
        id="b2",
        need=DynamicSecret("database/creds/planted", (), "GET"),
        secret=Secret({"password": "planted"}, None),
        lease_id=lease_id,
        token="a1",
        issued_at=boot_time(),
        sent_at=boot_time(),
        ttl=9000.0,
        renewable=True,
        apps=frozenset({app}),
    )
    with closing(StateStore(state, allow_disk=False)) as store:
        store.store_identity(key, msgspec.json.encode(vault))
        store.store_token(key, Token("accessor", boot_time(), 9000.0, renewable=True, id="a1"), "planted-token")
        store.store_lease(key, lease)


def give(path, uid):
    for place in (path, *path.rglob("*")):
        os.lchown(place, uid, uid)


@pytest.fixture
def web(sidecar, bao, folder):
    """A sidecar that is about to start, and has credentials in its environment and in a file."""
    bao.put(f"testing/{folder}/db", password="first")
    sidecar.template("app.txt.j2", f'{{{{ secret("{folder}/db").password }}}}')
    (sidecar.disk / "secret_id").write_text(CANARY)
    sidecar.write_config()
    return sidecar


def logins(sidecar):
    """The logins that a record may name, with what each would send."""
    file = str(sidecar.disk / "secret_id")
    return {
        "variable": ({"method": "token"}, ROOT_TOKEN),
        "token_file": ({"method": "token", "token_file": file}, CANARY),
        "approle": ({"method": "approle", "role_id": "r", "secret_id_file": file}, CANARY),
        "jwt": ({"method": "jwt", "role": "r", "jwt_file": file}, CANARY),
        "userpass": ({"method": "userpass", "username": "u", "password_file": file}, CANARY),
    }


def command_of(sidecar, *arguments):
    """A one-shot command, or `run` where it ends by itself."""
    return run_lessee(*arguments, cwd=sidecar.disk, env=sidecar.environ)


LOGINS = ("variable", "token_file", "approle", "jwt", "userpass")


@pytest.mark.parametrize("command", ["run", "clean"])
@pytest.mark.parametrize("kind", ["variable", "approle"])
def test_a_state_directory_that_another_user_made_is_refused_and_no_credential_leaves(web, command, kind):
    auth, secret = logins(web)[kind]
    with thief() as server:
        plant(web.state, server.address, auth)
        give(web.state, STRANGER)
        done = command_of(web, command)
        assert not any(secret in line for line in server.received)
        assert server.received == []
    assert done.returncode == 73, done.stderr
    assert f"{web.state} belongs to uid {STRANGER}" in done.stderr
    assert "chown" not in done.stderr


@pytest.mark.thorough
@pytest.mark.parametrize("kind", LOGINS)
def test_a_record_that_names_a_login_of_no_configuration_gets_no_credential(web, kind):
    auth, secret = logins(web)[kind]
    with thief() as server:
        plant(web.state, server.address, auth)
        web.start()
        web.until_file("app.txt", "first")
        eventually(lambda: any("planted-token" in line for line in server.received), "the end of the planted token")
        eventually(lambda: any(event["event"] == "login failed" for event in web.events()), "a refused login")
        # All of it ends: nothing else is sent to that address.
        web.stop()
        assert not any(secret in line for line in server.received)
    found = [event for event in web.events() if event["event"] == "earlier identity found"]
    assert [event["vault"] for event in found] == [server.address]


@pytest.mark.parametrize("kind", LOGINS)
def test_clean_sends_no_credential_to_an_address_that_only_a_record_names(web, kind):
    auth, secret = logins(web)[kind]
    with thief() as server:
        plant(web.state, server.address, auth)
        done = command_of(web, "clean")
        assert any("planted-token" in line for line in server.received)
        assert not any(secret in line for line in server.received)
    assert done.returncode in {0, 69}, done.stderr


def test_a_record_whose_address_was_exchanged_is_refused_and_logged(web):
    with thief() as server:
        # Under the key of the login that the configuration has.
        configured = parse((web.disk / "lessee.yaml").read_text(), source="x", environ=web.environ).vault
        plant(web.state, server.address, {"method": "token"}, key=key_of(configured))
        web.start()
        web.until_file("app.txt", "first")
        web.stop()
        assert server.received == []
    assert any(event["event"] == "state record refused" for event in web.events())


def test_a_record_has_no_lease_of_another_path_revoked(web):
    configured = parse((web.disk / "lessee.yaml").read_text(), source="x", environ=web.environ).vault
    address = web.config["vault"]["address"]
    assert key_of(configured) == key_of(
        parse(json.dumps({"vault": {"address": address}}), source="x", environ={}).vault
    )
    plant(web.state, address, {"method": "token"}, lease_id="pki/issue/another/xyz")
    web.start()
    web.until_file("app.txt", "first")
    assert web.status()["leases"] == []
    (refused,) = [event for event in web.events() if event["event"] == "state record refused"]
    assert refused["lease"] == "pki/issue/another/xyz"


def test_records_that_another_user_left_in_the_agent_s_own_directory_are_ignored_and_logged(web):
    with thief() as server:
        plant(web.state, server.address, {"method": "token"})
        for record in web.state.glob("*-*"):
            os.chown(record, STRANGER, STRANGER)
        web.start()
        web.until_file("app.txt", "first")
        web.stop()
        assert server.received == []
    assert any(event["event"] == "state record ignored" for event in web.events())


@pytest.mark.parametrize("mode", [0o770, 0o702, 0o1777])
def test_a_state_directory_that_others_may_write_to_is_refused(web, mode):
    web.state.mkdir()
    web.state.chmod(mode)
    done = command_of(web, "run")
    assert done.returncode == 73
    assert "may write into" in done.stderr


def test_a_state_directory_below_one_of_another_user_is_refused(web):
    web.config["state_dir"] = str(web.memory / "theirs" / "state")
    web.state = web.memory / "theirs" / "state"
    web.state.mkdir(parents=True, mode=0o700)
    os.chown(web.state.parent, STRANGER, STRANGER)
    web.write_config()
    done = command_of(web, "run")
    assert done.returncode == 73
    assert f"{web.state.parent} belongs to uid {STRANGER}" in done.stderr


def test_a_state_directory_behind_a_link_of_another_user_is_refused(web):
    (web.memory / "real").mkdir(mode=0o700)
    web.state.symlink_to(web.memory / "real")
    os.lchown(web.state, STRANGER, STRANGER)
    done = command_of(web, "run")
    assert done.returncode == 73
    assert f"a symbolic link that uid {STRANGER} made" in done.stderr


# -- the status socket ----------------------------------------------------------------------------------------------


@contextmanager
def forged_socket(path, answer, owner):
    """A server at the socket that records requests, as `requests`, and answers each with these bytes."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self):
            server.requests.append(self.rfile.readline())
            length = 0
            while line := self.rfile.readline().strip():
                name, _, value = line.partition(b":")
                length = int(value) if name.lower() == b"content-length" else length
            self.rfile.read(length)  # A client that is still sending gets no answer.
            self.wfile.write(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(answer), answer))

    server = socketserver.ThreadingUnixStreamServer(str(path), Handler)
    server.requests = []
    os.chown(path, owner, owner)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def shared(web):
    """A directory like /tmp."""
    folder = web.memory / "shared"
    folder.mkdir()
    folder.chmod(0o1777)
    return folder


FORGED = b'{"version": "1", "ready": true, "fresh": true, "unknown": []}'


@pytest.mark.parametrize("command", [["status"], ["status", "--json"], ["refresh"]])
def test_a_socket_in_a_directory_that_another_user_made_is_refused(web, shared, command):
    folder = shared / "agent"
    folder.mkdir(mode=0o755)
    os.chown(folder, STRANGER, STRANGER)
    with forged_socket(folder / "status.sock", FORGED, STRANGER) as server:
        done = command_of(web, *command, "--socket", str(folder / "status.sock"))
        assert server.requests == []
    assert (done.returncode, done.stdout) == (69, "")
    assert f"{folder} belongs to uid {STRANGER}" in done.stderr


def test_a_socket_that_another_user_made_in_a_shared_directory_is_refused(web, shared):
    with forged_socket(shared / "status.sock", FORGED, STRANGER) as server:
        done = command_of(web, "status", "--socket", str(shared / "status.sock"))
        assert server.requests == []
    assert (done.returncode, f"it belongs to uid {STRANGER}" in done.stderr) == (69, True), done.stderr


def test_validate_does_not_believe_a_forged_socket(web, shared):
    web.config["status"] = {"socket": str(shared / "status.sock")}
    web.write_config()
    with forged_socket(shared / "status.sock", FORGED, STRANGER) as server:
        done = command_of(web, "validate")
        assert server.requests == []
    assert "another user could have made this socket" in done.stdout, done.stderr


def test_a_socket_in_a_directory_that_root_gave_to_the_agent_s_user_is_used(web):
    folder = web.memory / "given"
    folder.mkdir(mode=0o700)
    os.chown(folder, STRANGER, STRANGER)
    with forged_socket(folder / "status.sock", b'{"unknown": [], "identities": []}', STRANGER):
        done = command_of(web, "refresh", "--socket", str(folder / "status.sock"))
    assert (done.returncode, done.stdout) == (0, "checking all secrets\n"), done.stderr


def test_the_agent_serves_no_status_in_a_directory_of_another_user(web, shared):
    folder = shared / "agent"
    folder.mkdir(mode=0o777)
    os.chown(folder, STRANGER, STRANGER)
    web.config["status"] = {"socket": str(folder / "status.sock")}
    web.write_config()
    done = command_of(web, "run")
    assert done.returncode == 73
    assert "another user could replace the status socket" in done.stderr


@pytest.mark.thorough(each=3)
@pytest.mark.parametrize(
    "answer", [b"{}", b"[]", b"3", b'"x"', b"null", b'{"apps": 1}', b"not json", b'{"version": "1", "ready": 1}']
)
@pytest.mark.parametrize("command", [["status"], ["status", "--json"], ["refresh"]])
def test_an_answer_that_is_no_status_is_an_error(web, answer, command):
    with forged_socket(web.memory / "own.sock", answer, 0):
        done = command_of(web, *command, "--socket", str(web.memory / "own.sock"))
    assert (done.returncode, done.stdout) == (69, ""), done.stderr
    assert "internal error" not in done.stderr
