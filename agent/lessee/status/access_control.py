"""Whether a request for the status is answered, decided by what it says of itself."""

import binascii
import re
from collections.abc import Callable

from lessee.core.immutable import Record

FREE = ("/healthz", "/readyz")
"""What probes ask, who have no token and name a host as they please: over TCP they tell yes or no and nothing else."""

# A page that has its own name point here reaches us by that name (DNS rebinding), and never by an address.
_ADDRESS = r"[0-9]{1,3}(\.[0-9]{1,3}){3}|\[[0-9a-f:.]+\]"
_HOST = r"(?P<name>[a-z0-9_.-]+|\[[0-9a-f:.]+\])(:[0-9]{0,5})?"
_CHALLENGES = (
    ("WWW-Authenticate", 'Bearer realm="lessee"'),
    ("WWW-Authenticate", 'Basic realm="lessee", charset="UTF-8"'),
)


class Asked(Record, frozen=True):
    """A request. `headers` are (name in small letters, value), in their order; one may stand there twice."""

    hidden = ("headers",)

    method: str
    path: str
    headers: tuple[tuple[str, str], ...]

    def all(self, name: str) -> list[str]:
        """What each header of that name says."""
        return [value for known, value in self.headers if known == name]


class Transport(Record, frozen=True):
    """Where a request came in: the port, or the socket (`is_port` false), to which the file's mode is the guard.

    `names`: of hosts by which the port may be asked, in small letters.
    """

    is_port: bool
    names: frozenset[str] = frozenset()


class Refusal(Record, frozen=True):
    """The answer to who is not served."""

    code: int
    text: str
    headers: tuple[tuple[str, str], ...] = ()


def refusal(asked: Asked, door: Transport, knows: Callable[[bytes], bool] | None) -> Refusal | None:
    """None where it is served. `knows` says whether a token is the right one; None: none is wanted."""
    if not door.is_port:
        return _of_a_browser(asked)
    if asked.method not in {"GET", "HEAD"}:
        return Refusal(405, "over TCP there is GET and HEAD; refresh over the socket", (("Allow", "GET, HEAD"),))
    if asked.path in FREE:
        return None
    return _by_a_strange_way(asked, door) or _without_token(asked, knows)


def _by_a_strange_way(asked: Asked, door: Transport) -> Refusal | None:
    """None where it came straight here, and by a name of ours."""
    if any(name == "forwarded" or name.startswith("x-forwarded-") for name, _ in asked.headers):
        return Refusal(403, "a proxy sent this on: ask here directly, for behind it nobody knows who reads")
    hosts = asked.all("host")
    if len(hosts) != 1:
        return Refusal(400, "one Host header is wanted")
    name = _name(hosts[0])
    if name == "localhost" or name in door.names or re.fullmatch(_ADDRESS, name):
        return None
    return Refusal(421, "it is asked by a name that is not its own; write it into `status: {hosts: [...]}`")


def _of_a_browser(asked: Asked) -> Refusal | None:
    """Who carries the socket to a port of his own (ssh -L) opens it to the pages that his browser shows."""
    if asked.method == "POST" and asked.all("origin"):
        return Refusal(403, "no page of a browser may ask for this")
    # A name with a dot may be a page's own, which it lets point here; `curl --unix-socket` writes any other.
    for name in map(_name, asked.all("host")):
        if "." in name.strip(".") and not re.fullmatch(_ADDRESS, name):
            return Refusal(421, "over the socket it is called localhost")
    return None


def _without_token(asked: Asked, knows: Callable[[bytes], bool] | None) -> Refusal | None:
    if knows is None:
        return None
    shown = asked.all("authorization")
    if len(shown) == 1 and (token := _token(shown[0])) and knows(token):
        return None
    what = "the token of `status.token_file` is wanted: as Bearer, or as the password of any user"
    return Refusal(401, what, _CHALLENGES)


def _token(authorization: str) -> bytes:
    """What is shown, as Bearer (RFC 6750) or as the password of Basic (RFC 7617); empty where it is neither."""
    scheme, _, rest = authorization.strip().partition(" ")
    match scheme.lower():
        case "bearer":
            return rest.strip().encode("latin-1", "replace")
        case "basic":
            try:
                return binascii.a2b_base64(rest.strip(), strict_mode=True).partition(b":")[2]
            except ValueError:
                return b""
        case _:
            return b""


def _name(host: str) -> str:
    """Without its port, in small letters; empty where it is no name of a host."""
    found = re.fullmatch(_HOST, host.strip().lower())
    return found["name"].removesuffix(".") if found else ""
