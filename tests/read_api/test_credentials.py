"""The credential socket: systemd gets the file of a unit and no other client gets anything that it could start with."""

import os
import socket
import threading
import time
from contextlib import contextmanager

import pytest

from lessee.config import CredentialSocket
from lessee.core.errors import WriteError
from lessee.read_api import credential_reads, credentials
from lessee.read_api.credentials import MAX_SIZE, CredentialServer
from lessee.read_api.policy.values import Published
from lessee.telemetry.logs import log_listener


class Agent:
    """What the agent has for the app `web`."""

    def __init__(self):
        self.published = None
        self._changes = set()

    def values(self, _app):
        return self

    def scope(self, _app):
        return None

    def publish(self, **files):
        self.published = Published(1, "1", {name: text.encode() for name, text in files.items()})
        for change in list(self._changes):
            os.eventfd_write(change, 1)

    @contextmanager
    def changes(self):
        change = os.eventfd(0, os.EFD_NONBLOCK)
        self._changes.add(change)
        try:
            yield change
        finally:
            self._changes.remove(change)
            os.close(change)


@contextmanager
def serving(path, agent):
    server = CredentialServer("web", CredentialSocket(path=str(path), units=frozenset({"web.service"})), agent)
    thread = threading.Thread(target=server.serve_forever, args=(5.0,))
    thread.start()
    try:
        yield
    finally:
        server.stop()
        thread.join()


@contextmanager
def client(path, unit="web.service", credential="password"):
    """systemd, as it connects while it starts a unit: it sends nothing, and says so."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.bind(f"\0{os.urandom(8).hex()}/unit/{unit}/{credential}".encode())
        connection.settimeout(30)
        connection.connect(str(path))
        connection.shutdown(socket.SHUT_WR)
        yield connection


def read(path, *names):
    with client(path, *names) as connection:
        return read_all(connection)


def read_all(connection):
    return b"".join(iter(lambda: connection.recv(1 << 20), b""))


@pytest.fixture
def cgroups(monkeypatch):
    """This process is in the cgroup of the unit, as far as the agent sees; a test may change that."""
    uid = os.geteuid()
    manager = f"/user.slice/user-{uid}.slice/user@{uid}.service" if uid else ""
    found = [f"0::{manager}/system.slice/web.service\n"]
    monkeypatch.setattr(credentials.procfs, "cgroup", lambda _pid: found[-1])
    return found


def test_a_unit_waits_for_its_file_and_gets_exactly_that(tmp_path, cgroups):
    agent, path = Agent(), tmp_path / "web.sock"
    with serving(path, agent), client(path) as early:
        assert path.stat().st_mode & 0o777 == 0o600
        early.settimeout(0.05)
        with pytest.raises(TimeoutError):
            early.recv(1)
        agent.publish(password="s3cret", other="x" * MAX_SIZE)
        early.settimeout(30)
        assert read_all(early) == b"s3cret"
        assert read(path, "web.service", "other") == b"x" * MAX_SIZE
    assert not path.exists()
    assert len(cgroups) == 1


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (("other.service", "password"), "the configuration does not name this unit"),
        (("web.service", "missing"), "no file of the app has this name"),
        (("web.service", "large"), f"the file has {MAX_SIZE + 1} bytes, and a credential at most {MAX_SIZE}"),
    ],
)
def test_a_refused_unit_gets_more_than_systemd_takes_and_no_secret(tmp_path, cgroups, names, reason):
    agent, path = Agent(), tmp_path / "web.sock"
    agent.publish(password="s3cret", large="x" * (MAX_SIZE + 1))
    logged = []
    with log_listener(lambda event, fields: logged.append((event, fields["reason"]))), serving(path, agent):
        assert read(path, *names) == bytes(MAX_SIZE + 1)
    assert logged == [("credential refused", reason)]
    assert cgroups


def test_a_process_that_only_says_that_it_is_the_unit_gets_nothing(tmp_path, cgroups):
    agent, path = Agent(), tmp_path / "web.sock"
    agent.publish(password="s3cret")
    cgroups.append("0::/system.slice/other.service\n")
    with serving(path, agent):
        assert read(path) == bytes(MAX_SIZE + 1)
        with socket.socket(socket.AF_UNIX) as nameless:
            nameless.connect(str(path))
            assert read_all(nameless) == bytes(MAX_SIZE + 1)


def test_the_end_of_the_agent_is_an_error_for_units_that_wait_and_not_an_empty_credential(tmp_path, cgroups):
    path = tmp_path / "web.sock"
    with client_of_ended_agent(path) as connection, pytest.raises(ConnectionResetError):
        connection.recv(1)
    assert cgroups


@contextmanager
def client_of_ended_agent(path):
    with serving(path, Agent()):
        waiting = client(path)
        connection = waiting.__enter__()
    try:
        yield connection
    finally:
        waiting.__exit__(None, None, None)


def test_units_wait_in_the_queue_of_a_socket_of_systemd_until_the_next_agent_is_there(tmp_path, cgroups, monkeypatch):
    agent, path = Agent(), tmp_path / "web.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        monkeypatch.setattr(credentials, "inherited_socket", lambda _path: listener.dup())
        with client(path) as waiting:
            with serving(path, agent):
                pass
            agent.publish(password="s3cret")
            with serving(path, agent):
                assert read_all(waiting) == b"s3cret"
    assert path.exists()
    assert cgroups


def test_a_path_that_cannot_be_served_is_an_error_that_names_the_key(tmp_path):
    path = tmp_path / "web.sock"
    path.write_text("precious")
    with pytest.raises(WriteError, match=r"apps\.web\.credentials\.socket"):
        CredentialServer("web", CredentialSocket(path=str(path), units=frozenset({"web.service"})), Agent())


def test_a_unit_that_has_read_the_new_credentials_needs_no_restart(monkeypatch):
    monkeypatch.setattr(credential_reads, "_FIRST_READ", 0)
    units = {"a.service", "b.service"}
    assert not credential_reads.have_read("reads", units, 10)
    credential_reads.note("reads", "a.service", "x", 11)
    credential_reads.note("reads", "b.service", "x", 9)
    credential_reads.note("reads", "other.service", "x", 1)
    assert not credential_reads.have_read("reads", units, 10)
    credential_reads.note("reads", "b.service", "x", 12)
    assert credential_reads.have_read("reads", units, 10)
    # Between the reads of one start, a generation was published.
    credential_reads.note("reads", "b.service", "y", 10)
    assert not credential_reads.have_read("reads", units, 10)


def test_units_that_wait_for_the_first_generation_have_a_moment_to_read_it():
    reader = threading.Thread(target=lambda: (time.sleep(0.01), credential_reads.note("first", "a.service", "x", 11)))
    reader.start()
    assert credential_reads.have_read("first", {"a.service"}, 10)
    reader.join()
