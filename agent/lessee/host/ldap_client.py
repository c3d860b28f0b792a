"""A client of LDAP directories: a simple bind, one entry's values, and their change; bounded in time and size.

RFC 4511 has the messages, X.690 their encoding. Lengths are definite, as RFC 4511, 5.1 requires.
"""

import socket
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from enum import IntEnum
from typing import Self

from lessee.core.credentials import LdapLogin
from lessee.host.answer_limits import AnswerLimits, LimitedSocket, broken_limit
from lessee.host.tls import client_context

_ANSWERS = 1 << 20
"""Bytes of all answers of a connection."""
_VERSION = 3
_SEQUENCE, _SET, _INTEGER, _BOOLEAN, _OCTETS, _ENUMERATED = 0x30, 0x31, 0x02, 0x01, 0x04, 0x0A
_BIND, _BOUND, _UNBIND = 0x60, 0x61, 0x42
_SEARCH, _ENTRY, _SEARCHED, _REFERENCE = 0x63, 0x64, 0x65, 0x73
_MODIFY, _MODIFIED = 0x66, 0x67
_EXTENDED, _ANSWERED = 0x77, 0x78
_SIMPLE, _REQUEST_NAME, _PRESENT = 0x80, 0x80, 0x87
_CONTROLS, _AND, _NOT, _EQUAL = 0xA0, 0xA0, 0xA2, 0xA3
_ASSERTION = b"1.3.6.1.1.12"
_START_TLS = b"1.3.6.1.4.1.1466.20037"
_LONG_LENGTH, _MAX_LENGTH_OCTETS = 0x80, 4


class Operation(IntEnum):
    """What a change of an attribute does; RFC 4511, 4.6."""

    ADD = 0
    DELETE = 1
    REPLACE = 2


class Code(IntEnum):
    """Results that a caller tells apart; RFC 4511, 4.1.9."""

    SUCCESS = 0
    STRONGER_AUTH_REQUIRED = 8
    REFERRAL = 10
    UNSUPPORTED_CONTROL = 12
    CONFIDENTIALITY_REQUIRED = 13
    NO_SUCH_ATTRIBUTE = 16
    CONSTRAINT_VIOLATION = 19
    EXISTS = 20
    NO_SUCH_OBJECT = 32
    INAPPROPRIATE_AUTHENTICATION = 48
    INVALID_CREDENTIALS = 49
    INSUFFICIENT_ACCESS = 50
    BUSY = 51
    UNAVAILABLE = 52
    UNWILLING = 53
    ASSERTION_FAILED = 122


class LdapError(Exception):
    """There is no answer, or none of LDAP. The text holds nothing that was sent or received."""


class Directory:
    """A connection to the directory of a login. Its methods raise LdapError."""

    def __init__(self, login: LdapLogin, timeout: float) -> None:
        """`timeout`: seconds for all that the connection does. Raises LesseeError if `ca_file` is not usable."""
        self._limits = AnswerLimits(timeout, _ANSWERS)
        self._number = 0
        try:
            plain = socket.create_connection((login.host, login.port), timeout)
        except OSError as exc:
            raise LdapError(_reason(exc)) from None
        self._socket = LimitedSocket(plain, self._limits)
        try:
            if login.start_tls:
                self._start_tls()
            if login.tls or login.start_tls:
                plain.settimeout(self._limits.left(timeout))
                context = client_context(login.ca_file or None)
                self._socket = LimitedSocket(context.wrap_socket(plain, server_hostname=login.host), self._limits)
        except OSError as exc:
            plain.close()
            raise LdapError(_reason(exc)) from None
        except BaseException:
            plain.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with closing(self._socket), suppress(LdapError, OSError):
            self._send(_UNBIND, b"")

    def bind(self, dn: str, password: str) -> int:
        """Log in. Returns the result's code."""
        if not password:
            # RFC 4513, 5.1.2: a bind without a password succeeds, as an anonymous client.
            return Code.INVALID_CREDENTIALS
        credentials = _element(_SIMPLE, password.encode())
        return self._result(_BIND, _integer(_VERSION) + _octets(dn.encode()) + credentials, _BOUND)

    def values(self, dn: str, attribute: str) -> tuple[int, frozenset[bytes]]:
        """The values of an entry's attribute, as far as the login may read them, and the result's code."""
        everything = _element(_PRESENT, b"objectClass")
        request = (
            _octets(dn.encode())
            + _element(_ENUMERATED, b"\0")  # The entry itself.
            + _element(_ENUMERATED, b"\0")  # No alias is followed.
            + _integer(1)
            + _integer(0)
            + _element(_BOOLEAN, b"\0")
            + everything
            + _element(_SEQUENCE, _octets(attribute.encode()))
        )
        self._send(_SEARCH, request)
        found: frozenset[bytes] = frozenset()
        while True:
            tag, content = self._receive()
            if tag == _SEARCHED:
                return _code(content), found
            if tag == _ENTRY:
                found |= _values(content, attribute)
            elif tag != _REFERENCE:
                raise _not_ldap()

    def modify(
        self,
        dn: str,
        attribute: str,
        changes: Iterable[tuple[Operation, Iterable[bytes]]],
        expected: Iterable[bytes] | None = None,
    ) -> int:
        """Change values of an entry's attribute: all, or none. Returns the result's code.

        `expected`: change them only if the attribute has these values, or has none; by the assertion control, RFC 4528.
        """
        spelled = b"".join(
            _element(
                _SEQUENCE,
                _element(_ENUMERATED, bytes([operation]))
                + _element(
                    _SEQUENCE,
                    _octets(attribute.encode()) + _element(_SET, b"".join(_octets(value) for value in sorted(values))),
                ),
            )
            for operation, values in changes
        )
        controls = b"" if expected is None else _assertion(attribute, sorted(expected))
        return self._result(_MODIFY, _octets(dn.encode()) + _element(_SEQUENCE, spelled), _MODIFIED, controls)

    def _start_tls(self) -> None:
        """RFC 4511, 4.14."""
        code = self._result(_EXTENDED, _element(_REQUEST_NAME, _START_TLS), _ANSWERED)
        if code != Code.SUCCESS:
            raise LdapError(f"the directory refuses StartTLS, with code {code}")

    def _result(self, tag: int, content: bytes, expected: int, controls: bytes = b"") -> int:
        self._send(tag, content, controls)
        answered, answer = self._receive()
        if answered != expected:
            raise _not_ldap()
        return _code(answer)

    def _send(self, tag: int, content: bytes, controls: bytes = b"") -> None:
        self._number += 1
        message = _element(_SEQUENCE, _integer(self._number) + _element(tag, content) + controls)
        try:
            self._socket.sendall(message)
        except OSError as exc:
            raise LdapError(_reason(exc)) from None

    def _receive(self) -> tuple[int, bytes]:
        """The tag and the content of the answer to the last request."""
        try:
            message = self._message()
            (number, content), operation, *_ = list(elements(message))
        except OSError as exc:
            raise LdapError(_reason(exc)) from None
        except ValueError:
            raise _not_ldap() from None
        if number != _INTEGER or int.from_bytes(content, signed=True) != self._number:
            raise _not_ldap()  # Also a notice of disconnection, whose number is 0.
        return operation

    def _message(self) -> bytes:
        """The content of the next message. Raises OSError and ValueError."""
        tag, first = self._read(2)
        size = first
        if first & _LONG_LENGTH:
            count = first & ~_LONG_LENGTH
            if not 0 < count <= _MAX_LENGTH_OCTETS:
                raise ValueError
            size = int.from_bytes(self._read(count))
        if tag != _SEQUENCE or size > _ANSWERS:
            raise ValueError
        return self._read(size)

    def _read(self, size: int) -> bytes:
        found = bytearray()
        while len(found) < size:
            chunk = self._socket.recv(size - len(found))
            if not chunk:
                raise ConnectionError(0, "the connection was closed")
            found += chunk
        return bytes(found)


def elements(content: bytes) -> Iterator[tuple[int, bytes]]:
    """The elements of an encoded sequence, each with its tag. Raises ValueError."""
    at = 0
    while at < len(content):
        if at + 2 > len(content):
            raise ValueError
        tag, size = content[at], content[at + 1]
        at += 2
        if size & _LONG_LENGTH:
            count = size & ~_LONG_LENGTH
            if not 0 < count <= _MAX_LENGTH_OCTETS:
                raise ValueError
            size = int.from_bytes(content[at : at + count])
            at += count
        if at + size > len(content):
            raise ValueError
        yield tag, content[at : at + size]
        at += size


def _values(entry: bytes, attribute: str) -> frozenset[bytes]:
    """The values of the attribute in an entry. Raises LdapError."""
    found: set[bytes] = set()
    try:
        (_, _), (_, attributes) = elements(entry)
        for _, one in elements(attributes):
            (_, name), (_, values) = elements(one)
            if name.decode().partition(";")[0].lower() == attribute.lower():
                found.update(value for _, value in elements(values))
    except ValueError:
        raise _not_ldap() from None
    return frozenset(found)


def _assertion(attribute: str, values: Iterable[bytes]) -> bytes:
    """The critical control that an entry's attribute has these values, or has none."""
    name = attribute.encode()
    equal = [_element(_EQUAL, _octets(name) + _octets(value)) for value in values]
    wanted = _element(_AND, b"".join(equal)) if equal else _element(_NOT, _element(_PRESENT, name))
    control = _octets(_ASSERTION) + _element(_BOOLEAN, b"\xff") + _octets(wanted)
    return _element(_CONTROLS, _element(_SEQUENCE, control))


def _code(result: bytes) -> int:
    try:
        (tag, code), *_ = elements(result)
    except ValueError:
        raise _not_ldap() from None
    if tag != _ENUMERATED or not code:
        raise _not_ldap()
    return int.from_bytes(code)


def _element(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < _LONG_LENGTH:
        return bytes([tag, size]) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes([tag, _LONG_LENGTH | len(octets)]) + octets + content


def _octets(text: bytes) -> bytes:
    return _element(_OCTETS, text)


def _integer(number: int) -> bytes:
    return _element(_INTEGER, number.to_bytes(number.bit_length() // 8 + 1))


def _not_ldap() -> LdapError:
    return LdapError("the answer is not LDAP")


def _reason(exc: OSError) -> str:
    # An error of TLS has a reason, such as CERTIFICATE_VERIFY_FAILED.
    return broken_limit(exc) or str(getattr(exc, "reason", "") or exc.strerror or type(exc).__name__)
