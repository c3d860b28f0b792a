"""Access control of the status server: which requests it answers."""

import binascii
import re
from collections.abc import Callable

from lessee.core.immutable import ImmutableStruct

PROBE_PATHS = ("/healthz", "/readyz")
"""Probes have no token and use any host name. Over TCP, they get only a status code."""

# In DNS rebinding, a page has its own name resolve to this address: such a request has the page's name as its host.
_ADDRESS = r"[0-9]{1,3}(\.[0-9]{1,3}){3}|\[[0-9a-f:.]+\]"
_HOST = r"(?P<name>[a-z0-9_.-]+|\[[0-9a-f:.]+\])(:[0-9]{0,5})?"
# RFC 7239, RFC 9110 (7.6.3), and what proxies and content delivery networks add without a standard.
_PROXY_HEADERS = frozenset({
    "forwarded", "via", "x-real-ip", "x-client-ip", "x-original-forwarded-for", "x-original-host", "x-proxyuser-ip",
    "client-ip", "true-client-ip", "cf-connecting-ip", "fastly-client-ip", "x-azure-clientip",
    "x-cluster-client-ip", "x-envoy-external-address", "x-appengine-user-ip", "proxy-connection",
})  # fmt: skip
_CHALLENGES = (
    ("WWW-Authenticate", 'Bearer realm="lessee"'),
    ("WWW-Authenticate", 'Basic realm="lessee", charset="UTF-8"'),
)


class StatusRequest(ImmutableStruct, frozen=True):
    """A request. `headers` are pairs of lower-case name and value in their order; a name may occur twice."""

    hidden = ("headers",)

    method: str
    path: str
    headers: tuple[tuple[str, str], ...]

    def all(self, name: str) -> list[str]:
        """The values of all headers with this name."""
        return [value for header, value in self.headers if header == name]


class Endpoint(ImmutableStruct, frozen=True):
    """The endpoint that received a request: a TCP port, or the Unix socket, which its file mode protects.

    `names`: the host names under which clients may address the port, in lower case.
    """

    is_tcp: bool
    names: frozenset[str] = frozenset()


class Refusal(ImmutableStruct, frozen=True):
    """The response to a request that is not answered."""

    code: int
    text: str
    headers: tuple[tuple[str, str], ...] = ()


def refusal(request: StatusRequest, endpoint: Endpoint, is_token: Callable[[bytes], bool] | None) -> Refusal | None:
    """None if the request may be answered. `is_token` checks a token; None: no token is required."""
    if not endpoint.is_tcp:
        return _refuse_browser(request)
    if request.method not in {"GET", "HEAD"}:
        return Refusal(405, "only GET and HEAD over TCP; send POST /refresh over the socket", (("Allow", "GET, HEAD"),))
    if request.path in PROBE_PATHS:
        return None
    return _refuse_indirect(request, endpoint) or _refuse_without_token(request, is_token)


def _refuse_indirect(request: StatusRequest, endpoint: Endpoint) -> Refusal | None:
    """None if the client connected directly, and by a name of this endpoint."""
    if any(name in _PROXY_HEADERS or name.startswith("x-forwarded") for name, _ in request.headers):
        return Refusal(403, "a proxy forwarded this request, which hides its client; connect directly")
    hosts = request.all("host")
    if len(hosts) != 1:
        return Refusal(400, "the request needs exactly one Host header")
    name = _host_name(hosts[0])
    if name == "localhost" or name in endpoint.names or re.fullmatch(_ADDRESS, name):
        return None
    return Refusal(421, "unknown host name; add it to `status: {allowed_hosts: [...]}`")


def _refuse_browser(request: StatusRequest) -> Refusal | None:
    """None unless a page sent it. A socket forwarded to a local port (`ssh -L`) is open to every page in a browser."""
    if request.method == "POST" and request.all("origin"):
        return Refusal(403, "a browser's page may not send this request")
    # A name with a dot may be a page's own that resolves to this host; `curl --unix-socket` sends any other.
    for name in map(_host_name, request.all("host")):
        if "." in name.strip(".") and not re.fullmatch(_ADDRESS, name):
            return Refusal(421, "over the socket, the host name must be localhost")
    return None


def _refuse_without_token(request: StatusRequest, is_token: Callable[[bytes], bool] | None) -> Refusal | None:
    if is_token is None:
        return None
    credentials = request.all("authorization")
    if len(credentials) == 1 and (token := _token(credentials[0])) and is_token(token):
        return None
    what = "send the token in `status.token_file`, as Bearer or as the password of any user"
    return Refusal(401, what, _CHALLENGES)


def _token(authorization: str) -> bytes:
    """The token sent as Bearer (RFC 6750) or as the password of Basic (RFC 7617); empty for another scheme."""
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


def _host_name(host: str) -> str:
    """The host name without its port, in lower case; empty if it is invalid."""
    found = re.fullmatch(_HOST, host.strip().lower())
    return found["name"].removesuffix(".") if found else ""
