"""Logs in a person, who confirms it in a browser: OAuth 2.0 device authorization (RFC 8628) by OpenBao."""

import secrets
import sys
from collections.abc import Callable

from lessee.core.failures import Failure, Kind
from lessee.core.printable import spelled_out
from lessee.vault.auth.login import Clock, Grant, grant_of
from lessee.vault.responses import SMALL
from lessee.vault.transport import RequestFailedError, Transport

_WAITING = Failure(Kind.PENDING, "waiting until a person has confirmed the login; the URL is at the terminal")


class DeviceLogin:
    """A login that takes several calls: the first one shows a URL and a code, and each other asks whether it is
    confirmed. Neither is stored or logged.
    """

    def __init__(self, mount: str, role: str | None, show: Callable[[str], bool] | None = None) -> None:
        """`show`: writes a text to the person's terminal; False without a terminal. Default: stderr."""
        self._path = f"auth/{mount}/oidc"
        self._role = role
        self._show = show or _show
        self._begun: dict[str, str] | None = None
        self._next_poll_at = 0.0
        self._interval = _INTERVAL

    def login(self, transport: Transport, clock: Clock) -> Grant:
        if self._begun is None:
            self._begin(transport, clock)
        if clock() < self._next_poll_at:
            raise RequestFailedError(_WAITING)
        sent_at = clock()
        self._next_poll_at = sent_at + self._interval
        try:
            answer = transport.request("POST", f"{self._path}/poll", token=None, body=self._begun, limits=SMALL)
        except RequestFailedError as exc:
            match exc.failure.kind:
                case Kind.PENDING:
                    raise RequestFailedError(_WAITING) from None
                case Kind.RATE_LIMITED:  # RFC 8628, section 3.5, has the client wait longer from now on.
                    self._interval += _INTERVAL
                    self._next_poll_at = sent_at + self._interval
                    raise RequestFailedError(_WAITING) from None
                case Kind.INVALID | Kind.DENIED:
                    self._begun = None
                    text = "the login was not confirmed in time, or Vault does not accept the person"
                    raise RequestFailedError(Failure(Kind.DENIED, f"{text} at {self._path}{self._setting}")) from None
                case _:
                    raise
        self._begun = None
        return grant_of(answer, self._path, sent_at)

    def fingerprint(self) -> bytes:
        return b""

    @property
    def _setting(self) -> str:
        return f", role {self._role}" if self._role is not None else ""

    def _begin(self, transport: Transport, clock: Clock) -> None:
        nonce = secrets.token_urlsafe(24)
        body = {"client_nonce": nonce} | ({"role": self._role} if self._role is not None else {})
        try:
            data = transport.request("POST", f"{self._path}/auth_url", token=None, body=body, limits=SMALL).data
        except RequestFailedError as exc:
            if exc.failure.kind in {Kind.INVALID, Kind.DENIED, Kind.UNSUPPORTED}:
                text = f"Vault starts no login at {self._path}/auth_url{self._setting}: {exc.failure.text}; {_NEEDS}"
                raise RequestFailedError(Failure(Kind.DENIED, text)) from None
            raise
        url, state, code = (str(data.get(key) or "") for key in ("auth_url", "state", "user_code"))
        if not url or not state:
            text = f"{self._path}/auth_url{self._setting} starts no login that a device can wait for; {_NEEDS}"
            raise RequestFailedError(Failure(Kind.DENIED, text))
        if not url.startswith("https://") and not url.startswith("http://"):
            raise RequestFailedError(Failure(Kind.DENIED, f"{self._path}/auth_url returned no URL of the web"))
        asked = f", and enter the code {spelled_out(code)}" if code else ""
        if not self._show(f"lessee: to log in, open {spelled_out(url)}{asked}\n"):
            text = "method oidc needs a person at a terminal; use another method for a machine, such as approle"
            raise RequestFailedError(Failure(Kind.DENIED, text))
        interval = str(data.get("poll_interval"))
        self._interval = float(interval) if interval in _INTERVALS else _INTERVAL
        self._begun, self._next_poll_at = {"client_nonce": nonce, "state": state}, clock() + self._interval


_NEEDS = "the role needs callback_mode=device (OpenBao)"
_INTERVAL = 5.0
"""Seconds between two polls, if the server says nothing."""
_INTERVALS = frozenset(map(str, range(1, 61)))


def _show(text: str) -> bool:
    if not sys.stderr.isatty():
        return False
    sys.stderr.write(text)
    sys.stderr.flush()
    return True
