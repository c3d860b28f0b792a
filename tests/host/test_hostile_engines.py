"""A hostile server in the place of MariaDB, RabbitMQ or a directory: a login ends soon, with an error of its own."""

import socket
import struct
import threading
import time
from contextlib import suppress
from itertools import chain, repeat

import pytest

from lessee.core.credentials import LdapLogin, MysqlLogin, RabbitmqLogin
from lessee.host import amqp_login, mysql_client
from lessee.host.amqp_login import AmqpError
from lessee.host.ldap_client import Directory, LdapError
from lessee.host.mysql_client import MysqlError
from support.programs.sidecar import PATIENCE

TIMEOUT = 2.0
MIB = 1 << 20
PASSWORD = "canary-1c5b77"
ATTACKS = {
    "zeros": lambda: repeat(bytes(MIB)),
    "ones": lambda: repeat(b"\xff" * MIB),
    "no bytes": lambda: [0.0],
    "silence": lambda: [PATIENCE],
    "HTTP": lambda: [b"HTTP/1.1 400 Bad Request\r\n\r\n"],
    "a byte now and then": lambda: chain.from_iterable(repeat((b"\0", 0.2))),
    # Of MySQL: packets, an endless greeting, and an error that quotes what was sent.
    "empty packets": lambda: chain.from_iterable((bytes([0, 0, 0, number % 256]),) for number in range(1 << 16)),
    "an endless packet": lambda: chain([b"\xff\xff\xff\0"], repeat(b"\x0a" * MIB)),
    "an error": lambda: [b"\x20\0\0\0\xff\x15\x04#28000Access denied " + PASSWORD.encode()],
    "a greeting alone": lambda: [b"\x0a\0\0\0\x0a5.5.5-x\0\0"],
    # Of AMQP: frames.
    "an endless frame": lambda: chain([b"\x01\0\0\xff\xff\xff\xff"], repeat(b"\0" * MIB)),
    "frames without an end": lambda: repeat(struct.pack(">BHI", 8, 0, 0) + b"\xce"),
    "a method of another class": lambda: [struct.pack(">BHIHH", 1, 0, 4, 99, 99) + b"\xce"],
    "a table that is longer than its frame": lambda: [
        struct.pack(">BHIHHBBI", 1, 0, 10, 10, 10, 0, 9, 0xFFFFFFFF) + b"\xce"
    ],
    # Of LDAP: messages.
    "an endless message": lambda: chain([b"\x30\x84\xff\xff\xff\xff"], repeat(b"\0" * MIB)),
    "a length of many octets": lambda: [b"\x30\xff" + b"\xff" * 127],
    "a length without octets": lambda: [b"\x30\x80\0\0"],
    "an element that is longer than its message": lambda: [b"\x30\x05\x02\x01\x01\x61\x7f"],
    "the answer to another request": lambda: [b"\x30\x0c\x02\x01\x07\x61\x07\x0a\x01\0\x04\0\x04\0"],
    "an answer without a code": lambda: [b"\x30\x07\x02\x01\x01\x61\x02\x0a\0"],
}


class Peer:
    """Sends these pieces to each client, which need not say anything; numbers are pauses in seconds."""

    def __init__(self, pieces):
        self._pieces, self._ended = pieces, threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._ended.set()
        self._listener.close()

    def _accept(self):
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with client, suppress(OSError):
            for piece in self._pieces():
                if self._ended.is_set():
                    return
                if isinstance(piece, float):
                    self._ended.wait(piece)
                else:
                    client.sendall(piece)


def log_in_to_mysql(port):
    login = MysqlLogin("127.0.0.1", port, "shop", "app", PASSWORD, tls=False, ca_file="")
    with mysql_client.session(login, extra="rotate", program="test", timeout=TIMEOUT, total=TIMEOUT) as session:
        session.rows("SELECT 1")


def log_in_to_rabbitmq(port):
    amqp_login.log_in(RabbitmqLogin("127.0.0.1", port, "/", "app", PASSWORD, tls=False, ca_file=""), TIMEOUT)


def bind(port):
    with Directory(
        LdapLogin("127.0.0.1", port, "cn=app", PASSWORD, tls=False, start_tls=False, ca_file=""), TIMEOUT
    ) as one:
        one.bind("cn=app", PASSWORD)


@pytest.mark.thorough(each=2)
@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize(
    ("log_in", "error"),
    [(log_in_to_mysql, MysqlError), (log_in_to_rabbitmq, AmqpError), (bind, LdapError)],
    ids=["mysql", "rabbitmq", "ldap"],
)
def test_a_login_to_a_hostile_server_ends_with_an_error_that_quotes_nothing(log_in, error, attack):
    began = time.monotonic()
    with Peer(ATTACKS[attack]) as peer, pytest.raises(error) as caught:
        log_in(peer.port)
    assert time.monotonic() - began < PATIENCE
    assert PASSWORD not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
