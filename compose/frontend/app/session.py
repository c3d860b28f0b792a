"""Sessions of a web site: who logs in gets a cookie that no script can read, and never a token of Vault.

The users are in a file that lessee renders; it is read for each request, so it takes no signal. Sessions are in memory:
they end with the process, with the user, and when the password is changed.
"""

# ruff: noqa: INP001  # A program on its own.

import hashlib
import hmac
import json
import os
import secrets
import sys
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

USERS = Path(os.environ.get("USERS", "/run/secrets/app/users.json"))
COOKIE = "__Host-session"  # The prefix binds it to this host, its root and HTTPS.
LIFE = 3600
LARGEST = 4096
SAFE = {"GET", "HEAD", "OPTIONS"}
NOBODY = "scrypt:16384:8:1:00:00"
"""What is tried for a user that there is not, so that it takes as long."""

sessions: dict[bytes, tuple[str, str, float]] = {}
"""By the hash of their cookie: the user, the hash of the password then, and when it ends."""
lock = threading.Lock()
one_at_a_time = threading.Lock()
"""Each trial of a password takes 16 MiB."""


def users() -> dict[str, str]:
    """The hash of each user's password: `scrypt:N:r:p:SALT:HASH`, the last two in hexadecimal."""
    return {str(name): str(value) for name, value in json.loads(USERS.read_text()).items()}


def is_right(password: str, stored: str) -> bool:
    """Whether it is the password that was hashed. Raises ValueError where that is no hash."""
    _, n, r, p, salt, wanted = stored.split(":")
    with one_at_a_time:
        raw = password.encode(errors="surrogatepass")
        found = hashlib.scrypt(raw, salt=bytes.fromhex(salt), n=int(n), r=int(r), p=int(p))
    return hmac.compare_digest(found, bytes.fromhex(wanted))


def begin(name: str, password: str, before: str) -> str | None:
    """A new session's cookie, in place of the one `before`; None where the user or the password is wrong."""
    stored = users().get(name)
    try:
        if not is_right(password, stored or NOBODY) or stored is None:
            return None
    except ValueError:  # Its text may be the password that somebody forgot to hash.
        sys.stderr.write(f"{name!r} cannot log in: what is in {USERS} is no hash\n")
        return None
    cookie = secrets.token_urlsafe(32)
    now = time.monotonic()
    with lock:
        for key in [key for key, (_, _, end) in sessions.items() if end < now]:
            del sessions[key]
        sessions.pop(digest(before), None)
        sessions[digest(cookie)] = name, stored, now + LIFE
    return cookie


def user_of(cookie: str) -> str | None:
    """Whose session it is, if it is one still."""
    with lock:
        name, stored, end = sessions.get(digest(cookie), ("", "", 0.0))
    return name if time.monotonic() < end and users().get(name) == stored else None


def digest(cookie: str) -> bytes:
    """What is kept of a cookie."""
    return hashlib.sha256(cookie.encode()).digest()


class Handler(BaseHTTPRequestHandler):
    """GET: who am I? POST: log in. DELETE: log out."""

    timeout = 5
    """Seconds without a byte, after which it is let go. What nginx passes on is whole."""

    def do_GET(self) -> None:
        # Asked by nginx on behalf of another request, it judges that one.
        if not self.is_ours(self.headers.get("X-Method", "GET")):
            self.answer(HTTPStatus.FORBIDDEN, {"error": "not from this site"})
        elif (user := user_of(self.cookie())) is None:
            self.answer(HTTPStatus.UNAUTHORIZED, {"error": "log in"})
        else:
            self.answer(HTTPStatus.OK, {"user": user})

    def do_POST(self) -> None:
        said = self.said()
        if not self.is_ours("POST") or said is None:
            self.answer(HTTPStatus.FORBIDDEN, {"error": "not from this site, or no JSON"})
        elif (cookie := begin(*said, self.cookie())) is None:
            self.answer(HTTPStatus.UNAUTHORIZED, {"error": "wrong user or password"})
        else:
            self.answer(HTTPStatus.OK, {"user": said[0]}, f"{COOKIE}={cookie}; Max-Age={LIFE}")

    def do_DELETE(self) -> None:
        if not self.is_ours("DELETE"):
            self.answer(HTTPStatus.FORBIDDEN, {"error": "not from this site"})
            return
        with lock:
            sessions.pop(digest(self.cookie()), None)
        self.answer(HTTPStatus.OK, {}, f"{COOKIE}=; Max-Age=0")

    def is_ours(self, method: str) -> bool:
        """SameSite keeps other sites away, and this other hosts of the same site."""
        if method in SAFE:
            return True
        try:
            origin = urlsplit(self.headers.get("Origin", "")).netloc
        except ValueError:
            return False
        return origin != "" and origin == self.headers.get("Host")

    def cookie(self) -> str:
        # SimpleCookie gives up at a cookie that it does not like, and those of other programs on this host come too.
        cookies = (one.strip().partition("=") for one in self.headers.get("Cookie", "").split(";"))
        return next((value for name, _, value in cookies if name == COOKIE), "")

    def said(self) -> tuple[str, str] | None:
        """User and password, as JSON: a form of another site cannot send that."""
        try:
            size = int(self.headers.get("Content-Length", "0"))
            if self.headers.get_content_type() != "application/json" or not 0 < size <= LARGEST:
                return None
            body = json.loads(self.rfile.read(size))
            return str(body["user"]), str(body["password"])
        except (ValueError, TypeError, KeyError, RecursionError):
            return None

    def answer(self, status: HTTPStatus, body: dict[str, str], cookie: str | None = None) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.send_header("Cache-Control", "no-store")
        if cookie is not None:
            self.send_header("Set-Cookie", f"{cookie}; Path=/; HttpOnly; Secure; SameSite=Strict")
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        """Say nothing: the requests are nginx's to log."""


# After a restart of the host the Engine starts all containers at once: the app may be there before its file.
while not USERS.exists():
    time.sleep(0.1)
ThreadingHTTPServer(("", int(os.environ.get("PORT", "8000"))), Handler).serve_forever()
