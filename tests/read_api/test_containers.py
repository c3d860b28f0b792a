"""A read socket that names containers, while refused processes connect without an end."""

import multiprocessing
import os
import socket
import threading
import time
from contextlib import contextmanager, suppress
from types import SimpleNamespace

import pytest

from lessee.config.grammar.app import LabeledContainer
from lessee.host.bounded_server import MAX_CONNECTIONS
from lessee.read_api import containers, server
from lessee.read_api.containers import RunningContainer
from lessee.read_api.policy.peers import Readers

REQUEST = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
OWN, OTHER = "a" * 64, "b" * 64
FIRST = {OWN: 1, OTHER: 2}
"""The pids of their first processes."""


class Engine:
    """The agent's side: an engine that takes a while, and an app that is not configured any more."""

    def __init__(self):
        self.asked = []
        self._lock = threading.Lock()

    def scope(self, _app):
        return None

    def values(self, _app):
        return None

    def container(self, container_id):
        with self._lock:
            self.asked.append(container_id)
            time.sleep(0.05)
        return RunningContainer(container_id[:1], FIRST[container_id], {"reader": "yes"} if container_id == OWN else {})


@pytest.fixture
def engine():
    return Engine()


@pytest.fixture
def listening(engine, tmp_path, monkeypatch):
    own = {os.getpid(), FIRST[OWN]}
    monkeypatch.setattr(containers.procfs, "cgroup", lambda pid: f"0::/docker/{OWN if pid in own else OTHER}\n")
    settings = SimpleNamespace(path=str(tmp_path / "socket"), containers=(LabeledContainer(label="reader=yes"),))
    found = server._open_unix(settings, "web", engine, Readers(frozenset({os.geteuid()})))
    threading.Thread(target=found.serve_forever, args=(5.0,), daemon=True).start()
    yield settings.path
    found.stop()


@contextmanager
def flood(path, seconds):
    """Connections of another process."""

    def connect():
        open_, end = [], time.monotonic() + seconds
        while time.monotonic() < end:
            with suppress(OSError):
                connection = socket.socket(socket.AF_UNIX)
                connection.settimeout(1)
                connection.connect(path)
                open_ = [*open_[-2 * MAX_CONNECTIONS :], connection]
            time.sleep(0.001)  # A full queue would refuse the reader's connection as well.

    process = multiprocessing.get_context("fork").Process(target=connect)
    process.start()
    try:
        yield
    finally:
        process.join()


def status(path):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        connection.settimeout(10)
        connection.sendall(REQUEST)
        return connection.recv(4096).split(b" ")[1]


def test_refused_connections_take_no_place_and_no_thread_of_others(listening, engine):
    threads, statuses = [], []
    with flood(listening, 2.5):
        for _ in range(10):
            time.sleep(0.1)
            statuses.append(status(listening))
            threads.append(threading.active_count())
    assert statuses == [b"503"] * 10
    assert max(threads) < 3 * MAX_CONNECTIONS
    assert engine.asked.count(OTHER) < 50
