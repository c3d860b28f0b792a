"""One request to Vault: what it is sent with, how long it may take, and what its answer means."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import hvac
import hvac.adapters
import msgspec
import requests
import requests.adapters
import requests.utils
import urllib3

from lessee.core.failures import Failure, Kind

CONNECT_TIMEOUT = 3.0
READ_TIMEOUT = 10.0


@dataclass(frozen=True, slots=True)
class Address:
    """Where Vault is and how it is to prove itself. Files are PEM."""

    url: str
    namespace: str | None = None
    ca_file: str | None = None
    server_name: str | None = None
    client_cert_file: str | None = None
    client_key_file: str | None = None
    insecure: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """A good answer. `auth` and `data` as Vault names them."""

    data: Mapping[str, Any] = field(repr=False)
    auth: Mapping[str, Any] = field(repr=False)
    warnings: tuple[str, ...] = field(repr=False)


class RequestFailed(Exception):  # noqa: N818  # It reads as what happened.
    """A request failed; `body` holds what a 404 still tells."""

    def __init__(self, failure: Failure, data: Mapping[str, Any] | None = None) -> None:
        super().__init__(failure.text)
        self.failure = failure
        self.data = data or {}


class Door:
    """The connection to one Vault, for all threads. It follows no redirect: that would carry the token away."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._adapter = hvac.adapters.RawAdapter(
            base_uri=address.url,
            namespace=address.namespace,
            timeout=(CONNECT_TIMEOUT, READ_TIMEOUT),
            allow_redirects=False,
            session=_session(address),
            verify=_verify(address),
        )

    def ask(
        self,
        method: str,
        path: str,
        *,
        token: str | None,
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> Answer:
        """Raises RequestFailed, whose text is made here: a server's own error text may repeat what it was sent."""
        try:
            response = self._adapter.request(
                method,
                f"/v1/{quote(path)}",
                headers={"X-Vault-Token": token} if token else {},
                raise_exception=False,
                json=body,
                params=params,
            )
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as exc:
            raise RequestFailed(Failure(Kind.WEATHER, _transport(exc))) from None
        if response.status_code not in {200, 204}:
            raise _refusal(response) from None
        return _parse(response.content)


def _session(address: Address) -> requests.Session:
    session = requests.Session()
    # requests would look through the environment and ~/.netrc at every request: once is enough.
    session.trust_env = False
    session.proxies.update(requests.utils.get_environ_proxies(address.url))
    session.verify = _verify(address)
    if address.client_cert_file:
        key = address.client_key_file
        session.cert = (address.client_cert_file, key) if key else address.client_cert_file
    session.mount("https://", _Named(address.server_name))
    if address.insecure:
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    return session


def _verify(address: Address) -> bool | str:
    return False if address.insecure else address.ca_file or True


class _Named(requests.adapters.HTTPAdapter):
    """Expects the certificate of `server_name` where the address is another."""

    def __init__(self, server_name: str | None) -> None:
        self._server_name = server_name
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        if self._server_name:
            kwargs |= {"server_hostname": self._server_name, "assert_hostname": self._server_name}
        super().init_poolmanager(*args, **kwargs)


def _transport(exc: Exception) -> str:
    # The texts of requests and urllib3 hold URLs and more; the kind of error is all that is needed.
    match exc:
        case requests.exceptions.SSLError():
            return "the server's certificate was not accepted (see vault.ca_file and server_name)"
        case requests.exceptions.ProxyError():
            return "the proxy does not let us through"
        case requests.exceptions.ConnectTimeout():
            return f"no connection within {CONNECT_TIMEOUT:.0f} s"
        case requests.exceptions.Timeout():
            return f"no answer within {READ_TIMEOUT:.0f} s"
        case requests.exceptions.ConnectionError() if "NameResolutionError" in repr(exc):
            return "its name cannot be resolved"
        case requests.exceptions.ConnectionError() if "Connection refused" in repr(exc):
            return "connection refused"
        case requests.exceptions.ConnectionError():
            return "the connection broke"
        case _:
            return f"the request failed ({type(exc).__name__})"


_TEXTS = {
    400: "Vault refused the request (400)",
    403: "permission denied (403)",
    404: "it is not there (404)",
    405: "the server has no such endpoint (405)",
    412: "the server is behind (412)",
    429: "asked too often (429)",
    472: "the node is a disaster-recovery standby (472)",
    473: "the node is a performance standby (473)",
    501: "Vault is not initialised (501)",
    502: "a proxy has no Vault behind it (502)",
    503: "Vault is sealed or in maintenance (503)",
    504: "a proxy got no answer from Vault (504)",
}
_KINDS = {
    400: Kind.INVALID,
    403: Kind.DENIED,
    404: Kind.MISSING,
    405: Kind.UNSUPPORTED,
    412: Kind.WEATHER,
    429: Kind.LIMITED,
    472: Kind.WEATHER,
    473: Kind.WEATHER,
}


def _refusal(response: requests.Response) -> RequestFailed:
    status = response.status_code
    if 300 <= status < 400:  # noqa: PLR2004  # The class of redirects.
        text = "it redirects elsewhere, where the token is not taken; name the active node in vault.address"
        return RequestFailed(Failure(Kind.WEATHER, text))
    kind = _KINDS.get(status, Kind.WEATHER if status >= 500 else Kind.INVALID)  # noqa: PLR2004  # Server errors.
    data: Mapping[str, Any] = {}
    if kind is Kind.MISSING:
        try:
            body = msgspec.json.decode(response.content)
        except msgspec.DecodeError:
            body = {}
        # An empty list of errors means: nothing there. Words mean: no such path on this server.
        if isinstance(body, dict) and body.get("errors"):
            kind = Kind.UNSUPPORTED
        data = body.get("data") or {} if isinstance(body, dict) else {}
    text = _TEXTS.get(status, f"Vault answered {status}")
    return RequestFailed(Failure(kind, text, _retry_after(response)), data)


def _retry_after(response: requests.Response) -> float | None:
    value = response.headers.get("Retry-After", "")
    return float(value) if value.isdecimal() else None


class _Body(msgspec.Struct):
    data: dict[str, Any] | None = None
    auth: dict[str, Any] | None = None
    warnings: list[str] | None = None


def _parse(content: bytes) -> Answer:
    if not content:
        return Answer({}, {}, ())
    try:
        body = msgspec.json.decode(content, type=_Body)
    except msgspec.MsgspecError:
        raise RequestFailed(Failure(Kind.WEATHER, "the answer is cut or is not Vault's")) from None
    return Answer(body.data or {}, body.auth or {}, tuple(body.warnings or ()))
