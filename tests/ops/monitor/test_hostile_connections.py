"""Clients of the audit socket that are no server: they fill no memory, and take no server's place."""

import socket
from contextlib import ExitStack
from pathlib import Path

import pytest

from lessee.ops.monitor.sources import MAX_CONNECTIONS, MAX_UNFINISHED, LineMemory
from support.programs.monitor import AUDIT_SOCKET, Audited, Monitor
from support.programs.sidecar import eventually

MIB = 1 << 20
MOST_MEMORY = 200
"""MiB: a monitor, and the unfinished lines of all connections."""


@pytest.fixture
def address(memory):
    return str(memory / "audit.sock")


@pytest.fixture
def monitor(address, tmp_path, memory):
    with Monitor(tmp_path / "lessee", memory, {"socket": address}) as monitor:
        monitor.start().until(lambda status: status["ready"])
        yield monitor


def peak(monitor):
    """The most memory that it has used (RSS), in MiB."""
    text = Path(f"/proc/{monitor.pid}/status").read_text()
    return next(int(line.split()[1]) / 1024 for line in text.splitlines() if line.startswith("VmHWM:"))


def connect(address):
    client = socket.socket(socket.AF_UNIX)
    client.connect(address)
    return client


def test_endless_lines_on_many_connections_take_bounded_memory(monitor, address):
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(address)) for _ in range(MAX_CONNECTIONS // 2)]
        for _ in range(12):
            for client in clients:
                client.sendall(b"x" * MIB)
        for client in clients:
            client.sendall(b"\n")
        monitor.until(lambda status: status["sources"][0]["invalid_lines"] >= len(clients))
    assert peak(monitor) <= MOST_MEMORY


def test_connections_that_send_nothing_take_no_servers_place(monitor, address, tmp_path):
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(address)) for _ in range(MAX_CONNECTIONS)]
        with Audited(tmp_path, config=AUDIT_SOCKET % (address, "unix")) as bao:
            bao.put("monitored/one", password="canary")
            monitor.until(lambda status: status["accesses"]["total"])
            # More of them do not end the server's own connection.
            clients += [stack.enter_context(connect(address)) for _ in range(MAX_CONNECTIONS)]
            clients[0].settimeout(0)
            eventually(lambda: clients[0].recv(1) == b"", "the end of the oldest")
            before = monitor.status()["accesses"]["total"]
            bao.put("monitored/two", password="canary")
            monitor.until(lambda status: status["accesses"]["total"] > before)
    warnings = [event for event in monitor.events() if event["event"] == "audit connection refused"]
    assert len(warnings) == 1


def test_the_longest_line_fits_while_others_are_short():
    lines = LineMemory()
    assert lines.hold("long", MAX_UNFINISHED)
    assert not lines.hold("second", MIB)
    assert lines.hold("usual", 1000)
    assert lines.hold("long", 0)
    assert lines.hold("second", MIB)
