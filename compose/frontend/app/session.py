"""Sessions of a web site: a user who logs in gets a cookie that no script can read, and never a Vault token.

The users are in a file that lessee renders. The app reads it for each request, so it needs no signal. Sessions are in
memory: they end with the process, when the user is deleted, and when the password changes.
"""

# ruff: noqa: INP001  # A standalone program.

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
COOKIE = "__Host-session"  # The prefix binds the cookie to this host, its root and HTTPS.
LIFETIME = 3600
MAX_BODY = 4096
SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
UNKNOWN_USER_HASH = "scrypt:16384:8:1:00:00"
"""Checked for an unknown user, so that the answer takes as long as for a known one."""

sessions: dict[bytes, tuple[str, str, float]] = {}
"""Cookie's hash: the user, the hash of the password at login, and the end of the session."""
lock = threading.Lock()
hashing = threading.Lock()
"""One password at a time, because each check uses 16 MiB."""


def users() -> dict[str, str]:
    """The hash of each user's password: `scrypt:N:r:p:SALT:HASH`, the last two in hexadecimal."""
    return {str(name): str(value) for name, value in json.loads(USERS.read_text()).items()}


def is_correct(password: str, stored: str) -> bool:
    """Whether the password matches the hash. Raises ValueError if `stored` is not a hash."""
    _, n, r, p, salt, expected = stored.split(":")
    with hashing:
        raw = password.encode(errors="surrogatepass")
        actual = hashlib.scrypt(raw, salt=bytes.fromhex(salt), n=int(n), r=int(r), p=int(p))
    return hmac.compare_digest(actual, bytes.fromhex(expected))


def log_in(name: str, password: str, old_cookie: str) -> str | None:
    """Replace the session of `old_cookie`, and return the new cookie; None if the user or the password is wrong."""
    stored = users().get(name)
    try:
        if not is_correct(password, stored or UNKNOWN_USER_HASH) or stored is None:
            return None
    except ValueError:  # The exception's text may contain a password that was not hashed.
        sys.stderr.write(f"{name!r} cannot log in: the value in {USERS} is not a hash\n")
        return None
    cookie = secrets.token_urlsafe(32)
    now = time.monotonic()
    with lock:
        for key in [key for key, (_, _, end) in sessions.items() if end < now]:
            del sessions[key]
        sessions.pop(digest(old_cookie), None)
        sessions[digest(cookie)] = name, stored, now + LIFETIME
    return cookie


def user_of(cookie: str) -> str | None:
    """The user of a valid session, or None."""
    with lock:
        name, stored, end = sessions.get(digest(cookie), ("", "", 0.0))
    return name if time.monotonic() < end and users().get(name) == stored else None


def digest(cookie: str) -> bytes:
    """The hash under which a cookie's session is stored."""
    return hashlib.sha256(cookie.encode()).digest()


class Handler(BaseHTTPRequestHandler):
    """GET: the user of the session. POST: log in. DELETE: log out."""

    timeout = 5
    """Seconds without a byte after which the connection is closed. nginx forwards only complete requests."""

    def do_GET(self) -> None:
        # nginx sends this before another request (`auth_request`), with that request's method.
        if not self.is_same_origin(self.headers.get("X-Method", "GET")):
            self.answer(HTTPStatus.FORBIDDEN, {"error": "not from this site"})
        elif (user := user_of(self.cookie())) is None:
            self.answer(HTTPStatus.UNAUTHORIZED, {"error": "log in"})
        else:
            self.answer(HTTPStatus.OK, {"user": user})

    def do_POST(self) -> None:
        credentials = self.credentials()
        if not self.is_same_origin("POST") or credentials is None:
            self.answer(HTTPStatus.FORBIDDEN, {"error": "not from this site, or not JSON"})
        elif (cookie := log_in(*credentials, self.cookie())) is None:
            self.answer(HTTPStatus.UNAUTHORIZED, {"error": "wrong user or password"})
        else:
            self.answer(HTTPStatus.OK, {"user": credentials[0]}, f"{COOKIE}={cookie}; Max-Age={LIFETIME}")

    def do_DELETE(self) -> None:
        if not self.is_same_origin("DELETE"):
            self.answer(HTTPStatus.FORBIDDEN, {"error": "not from this site"})
            return
        with lock:
            sessions.pop(digest(self.cookie()), None)
        self.answer(HTTPStatus.OK, {}, f"{COOKIE}=; Max-Age=0")

    def is_same_origin(self, method: str) -> bool:
        """SameSite rejects other sites, and this check rejects other hosts of the same site."""
        if method in SAFE_METHODS:
            return True
        try:
            origin = urlsplit(self.headers.get("Origin", "")).netloc
        except ValueError:
            return False
        return origin != "" and origin == self.headers.get("Host")

    def cookie(self) -> str:
        # SimpleCookie stops at an invalid cookie, and the browser also sends those of other programs on this host.
        cookies = (cookie.strip().partition("=") for cookie in self.headers.get("Cookie", "").split(";"))
        return next((value for name, _, value in cookies if name == COOKIE), "")

    def credentials(self) -> tuple[str, str] | None:
        """User and password from JSON, which a form of another site cannot send."""
        try:
            size = int(self.headers.get("Content-Length", "0"))
            if self.headers.get_content_type() != "application/json" or not 0 < size <= MAX_BODY:
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
        """Log nothing, because nginx logs the requests."""


# After a restart of the host the Engine starts all containers concurrently: the app may start before its file.
while not USERS.exists():
    time.sleep(0.1)
ThreadingHTTPServer(("", int(os.environ.get("PORT", "8000"))), Handler).serve_forever()
