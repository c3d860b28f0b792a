"""A JWT-SVID from the SPIFFE Workload API, at the Unix socket of an agent such as SPIRE's.

https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE_Workload_API.md. The two messages of this call are so short
that they are encoded here: grpcio is the only library that it needs.
"""

import hashlib
from collections.abc import Iterator, Mapping

from lessee.core.errors import LesseeError
from lessee.core.failures import Failure, Kind
from lessee.host.optional_dependencies import library
from lessee.vault.responses import RequestFailedError

EXTRA = "spiffe"
SOCKET = "SPIFFE_ENDPOINT_SOCKET"
_METHOD = "/SpiffeWorkloadAPI/FetchJWTSVID"
_HEADER = (("workload.spiffe.io", "true"),)
"""Without it the API answers nothing, so that no browser can be made to ask."""
_SECONDS = 5.0
_MAX_SIZE = 1 << 16
_BYTES_FIELD = 2
"""The wire type of texts and messages: https://protobuf.dev/programming-guides/encoding."""
_SVIDS, _SVID = 1, 2


class SpiffeJwt:
    """A JWT-SVID for an audience, which is fetched again at each login."""

    name = "the JWT-SVID of the Workload API"

    def __init__(self, environ: Mapping[str, str], audience: str) -> None:
        self._environ = environ
        self._audience = audience

    def jwt(self) -> str:
        """Raises RequestFailedError."""
        target = self._environ.get(SOCKET, "").strip()
        path = target.removeprefix("unix:").removeprefix("//")
        if not target.startswith("unix:") or not path.startswith("/"):
            todo = f"set ${SOCKET}, as in unix:///run/spire/agent.sock"
            raise RequestFailedError(Failure(Kind.UNAVAILABLE, f"there is no Workload API: {todo}"))
        try:
            grpc = library("grpc", EXTRA)
        except LesseeError as exc:
            raise RequestFailedError(Failure(Kind.DENIED, str(exc))) from None
        options = [("grpc.max_receive_message_length", _MAX_SIZE), ("grpc.enable_http_proxy", 0)]
        try:
            with grpc.insecure_channel(f"unix:{path}", options) as channel:
                answer = channel.unary_unary(_METHOD)(encoded(self._audience), timeout=_SECONDS, metadata=_HEADER)
        except grpc.RpcError as exc:
            raise RequestFailedError(_failure(grpc, exc.code(), path)) from None
        if (svid := first_svid(answer)) is None:
            raise RequestFailedError(Failure(Kind.UNAVAILABLE, f"the answer of {path} has no JWT-SVID"))
        return svid

    def fingerprint(self) -> bytes:
        """A hash of what is asked, and whom."""
        return hashlib.sha256(f"{self._environ.get(SOCKET, '')}\0{self._audience}".encode()).digest()


def _failure(grpc: object, code: object, path: str) -> Failure:
    # The other side wrote the text of the error.
    status = getattr(grpc, "StatusCode")  # noqa: B009  # An optional library has no types.
    if code is status.PERMISSION_DENIED:
        text = "the Workload API has no identity for this process; register it, as by `spire-server entry create`"
    else:
        text = f"the Workload API at {path} gives no JWT-SVID ({getattr(code, 'name', 'unknown')})"
    return Failure(Kind.UNAVAILABLE, text)


def encoded(audience: str) -> bytes:
    """The message JWTSVIDRequest with one audience."""
    content = audience.encode()
    return bytes([1 << 3 | _BYTES_FIELD, *_number(len(content))]) + content


def first_svid(answer: bytes) -> str | None:
    """The JWT of the first SVID in the message JWTSVIDResponse; None if it is not such a message."""
    try:
        entry = next(value for field, value in _fields(answer) if field == _SVIDS)
        return next(value for field, value in _fields(entry) if field == _SVID).decode("ascii") or None
    except (StopIteration, IndexError, ValueError):
        return None


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """The numbers and contents of the fields with contents. Raises IndexError and ValueError."""
    position = 0
    while position < len(message):
        key, position = _read_number(message, position)
        length, position = _read_number(message, position)
        if key & 7 == 0:
            continue  # A number, which was the second one.
        if key & 7 != _BYTES_FIELD or position + length > len(message):
            raise ValueError
        yield key >> 3, message[position : position + length]
        position += length


def _read_number(message: bytes, position: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = message[position]
        position, number = position + 1, number | (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004  # The highest bit says that another byte follows.
            return number, position
        shift += 7
        if shift > 63:  # noqa: PLR2004  # No number has more than 64 bits.
            raise ValueError


def _number(value: int) -> Iterator[int]:
    while value > 0x7F:  # noqa: PLR2004  # As above.
        yield value & 0x7F | 0x80
        value >>= 7
    yield value
