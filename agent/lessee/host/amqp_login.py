"""A login to a broker by AMQP 0-9-1, which ends when the broker has opened the virtual host, or refused it.

The frames and methods are those of the specification, https://www.rabbitmq.com/resources/specs/amqp0-9-1.pdf.
"""

import socket
import struct
from collections.abc import Iterator
from contextlib import closing, suppress
from enum import Enum, auto

from lessee.core.credentials import RabbitmqLogin
from lessee.host.answer_limits import AnswerLimits, LimitedSocket, broken_limit
from lessee.host.tls import client_context

_HEADER = b"AMQP\0\0\x09\x01"
_METHOD, _HEARTBEAT, _END = 1, 8, 0xCE
_FRAME = struct.Struct(">BHI")
_START, _START_OK = (10, 10), (10, 11)
_TUNE, _TUNE_OK = (10, 30), (10, 31)
_OPEN, _OPEN_OK = (10, 40), (10, 41)
_CLOSE = (10, 50)
_ACCESS_REFUSED, _NOT_ALLOWED = 403, 530
_MAX_FRAME = 1 << 17
_ANSWERS = 1 << 18
_FRAMES = 16
"""A broker needs four to let a client log in."""


class Outcome(Enum):
    """What the broker answers to a login."""

    ACCEPTED = auto()
    REJECTED = auto()
    NO_VHOST = auto()
    """The login is right, but its user may not use the virtual host, or it does not exist."""


class AmqpError(Exception):
    """There is no answer, or none of AMQP. The text holds nothing that was sent or received."""


def log_in(login: RabbitmqLogin, timeout: float) -> Outcome:
    """Log in, within `timeout` seconds in all. Raises AmqpError, and LesseeError if `ca_file` is not usable."""
    try:
        with closing(_connect(login, timeout)) as connection:
            connection.sendall(_HEADER)
            frames = _methods(connection)
            method, arguments = next(frames, (None, b""))
            if method is None:
                raise AmqpError("the connection was closed")
            if method != _START:
                raise AmqpError("not AMQP 0-9-1")
            if b"PLAIN" not in _mechanisms(arguments):
                raise AmqpError("the broker does not take passwords: it lacks the mechanism PLAIN")
            _send(connection, _START_OK, _start_ok(login))
            for method, arguments in frames:
                match method:
                    case (10, 30):
                        _send(connection, _TUNE_OK, arguments[:8])
                        _send(connection, _OPEN, _short(login.vhost.encode()) + b"\0\0")
                    case (10, 41):
                        with suppress(OSError):
                            _send(connection, _CLOSE, struct.pack(">H", 200) + _short(b"") + bytes(4))
                        return Outcome.ACCEPTED
                    case (10, 50):
                        return _refusal(arguments)
                    case _:
                        raise AmqpError("not AMQP 0-9-1")
    except OSError as exc:
        reason = broken_limit(exc) or str(getattr(exc, "reason", "") or exc.strerror or type(exc).__name__)
        raise AmqpError(reason) from None
    except (struct.error, IndexError, UnicodeError, ValueError):
        raise AmqpError("not AMQP 0-9-1") from None
    raise AmqpError("the connection was closed")


def _connect(login: RabbitmqLogin, timeout: float) -> LimitedSocket:
    limits = AnswerLimits(timeout, _ANSWERS)
    plain = socket.create_connection((login.host, login.port), timeout)
    try:
        if not login.tls:
            return LimitedSocket(plain, limits)
        plain.settimeout(limits.left(timeout))
        context = client_context(login.ca_file or None)
        return LimitedSocket(context.wrap_socket(plain, server_hostname=login.host), limits)
    except BaseException:
        plain.close()
        raise


def _methods(connection: LimitedSocket) -> Iterator[tuple[tuple[int, int], bytes]]:
    """The broker's methods, each with its arguments, until it closes the connection."""
    for _ in range(_FRAMES):
        head = _read(connection, _FRAME.size)
        if not head:
            return
        kind, _, size = _FRAME.unpack(head)
        if size > _MAX_FRAME:
            raise ValueError
        frame = _read(connection, size + 1)
        if frame[-1:] != bytes([_END]):
            raise ValueError
        if kind == _METHOD:
            one, other = struct.unpack_from(">HH", frame)
            yield (one, other), frame[4:-1]
        elif kind != _HEARTBEAT:
            raise ValueError


def _read(connection: LimitedSocket, size: int) -> bytes:
    """So many bytes; fewer where the broker closes the connection."""
    found = b""
    while len(found) < size and (chunk := connection.recv(size - len(found))):
        found += chunk
    return found


def _mechanisms(arguments: bytes) -> list[bytes]:
    """The mechanisms in the broker's first method, behind its version and a table of its properties."""
    (table,) = struct.unpack_from(">I", arguments, 2)
    (size,) = struct.unpack_from(">I", arguments, 6 + table)
    return arguments[10 + table : 10 + table + size].split()


def _start_ok(login: RabbitmqLogin) -> bytes:
    # With this capability a broker says why it closes the connection.
    capabilities = _short(b"authentication_failure_close") + b"t\x01"
    properties = _short(b"product") + b"S" + _long(b"lessee") + _short(b"capabilities") + b"F" + _long(capabilities)
    answer = b"\0" + login.username.encode() + b"\0" + login.password.encode()
    return _long(properties) + _short(b"PLAIN") + _long(answer) + _short(b"en_US")


def _refusal(arguments: bytes) -> Outcome:
    (code,) = struct.unpack_from(">H", arguments)
    if code == _ACCESS_REFUSED:
        return Outcome.REJECTED
    if code == _NOT_ALLOWED:
        return Outcome.NO_VHOST
    raise AmqpError(f"the broker closes the connection with code {code}")


def _send(connection: LimitedSocket, method: tuple[int, int], arguments: bytes) -> None:
    payload = struct.pack(">HH", *method) + arguments
    connection.sendall(_FRAME.pack(_METHOD, 0, len(payload)) + payload + bytes([_END]))


def _short(text: bytes) -> bytes:
    return bytes([len(text)]) + text


def _long(text: bytes) -> bytes:
    return struct.pack(">I", len(text)) + text
