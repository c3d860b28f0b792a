"""The gateway between a drill's agents and their server."""

import os
import socket
import subprocess
import sys
import threading

import pytest

from lessee.ops.drill.gateway import Gateway
from support.needs import need
from support.programs.sidecar import PATIENCE, eventually
from support.programs.users import as_user


@pytest.fixture
def echo(tmp_path):
    """A server on a socket that returns what it gets."""
    path = str(tmp_path / "echo.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        threading.Thread(target=_accept, args=(listener,), daemon=True).start()
        yield path
        listener.shutdown(socket.SHUT_RDWR)


def _accept(listener):
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_echo, args=(connection,), daemon=True).start()


def _echo(connection):
    with connection:
        while chunk := connection.recv(4096):
            connection.sendall(chunk)


def connect(gateway):
    return socket.create_connection(("127.0.0.1", gateway.port), PATIENCE)


def says(connection, text):
    connection.sendall(text)
    return connection.recv(4096)


def is_refused(gateway):
    """Whether a new connection ends without an answer."""
    try:
        with connect(gateway) as connection:
            return says(connection, b"x") == b""
    except OSError:
        return True


def test_it_forwards_both_ways_and_several_connections(echo):
    with Gateway(echo) as gateway, connect(gateway) as one, connect(gateway) as other:
        assert says(one, b"one") == b"one"
        assert says(other, b"other") == b"other"
        assert says(one, b"again") == b"again"


def test_a_cut_ends_all_connections_and_refuses_new_ones_on_the_same_port(echo):
    with Gateway(echo) as gateway:
        with connect(gateway) as connection:
            assert says(connection, b"one") == b"one"
            gateway.cut()
            assert connection.recv(1) == b""
        assert is_refused(gateway)
        port = gateway.port
        gateway.connect(echo)
        with connect(gateway) as connection:
            assert says(connection, b"two") == b"two"
        assert gateway.port == port


def test_a_server_that_does_not_answer_is_a_refusal(tmp_path):
    with Gateway(str(tmp_path / "none")) as gateway:
        assert is_refused(gateway)


def test_another_user_of_the_machine_is_refused(echo, memory):
    memory.chmod(0o755)
    need(os.geteuid() == 0, "needs root, to run a client as another user")
    client = "import socket, sys\n"
    client += "found = socket.create_connection(('127.0.0.1', int(sys.argv[1])))\n"
    client += "found.sendall(b'x')\nprint(found.recv(1))"
    with Gateway(echo) as gateway:
        command = [f"{sys.base_prefix}/bin/python3", "-c", client, str(gateway.port)]
        own = subprocess.run(command, capture_output=True, text=True, check=False)
        command = [*as_user(memory, 65534, 65534), *command]
        other = subprocess.run(command, capture_output=True, text=True, check=False)
    assert own.stdout == "b'x'\n"
    # Python ran, and its connection ended without an answer.
    assert other.stdout == "b''\n" or "ConnectionResetError" in other.stderr


def test_another_user_that_closes_its_connection_immediately_is_not_taken_for_root(tmp_path, memory):
    memory.chmod(0o755)
    need(os.geteuid() == 0, "needs root, to run a client as another user")
    client = "import contextlib, socket, sys\n"
    client += "for _ in range(100):\n"
    client += "    with socket.socket() as found:\n"
    client += "        found.connect(('127.0.0.1', int(sys.argv[1])))\n"
    client += "        with contextlib.suppress(ConnectionError):\n"  # It may be refused before this.
    client += "            found.sendall(b'x')\n"
    path = str(tmp_path / "server.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(200)
        listener.settimeout(0.5)
        with Gateway(path) as gateway:
            command = [f"{sys.base_prefix}/bin/python3", "-c", client, str(gateway.port)]
            subprocess.run([*as_user(memory, 65534, 65534), *command], check=True)
            with pytest.raises(TimeoutError):
                listener.accept()


def test_it_forwards_to_an_address_too(echo):
    with Gateway(echo) as first, Gateway(("127.0.0.1", first.port)) as second, connect(second) as connection:
        assert says(connection, b"far") == b"far"


def test_a_closed_gateway_listens_no_more_and_leaves_no_thread(echo):
    with Gateway(echo) as gateway, connect(gateway) as connection:
        assert says(connection, b"one") == b"one"
    with pytest.raises(OSError, match="refused"):
        connect(gateway)
    eventually(lambda: not [one for one in threading.enumerate() if one.name == "lessee-gateway"], "their end")
