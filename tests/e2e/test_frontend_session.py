"""The session app of compose/frontend survives invalid requests, and they do not grant access."""

import base64
import hashlib
import json
import os
import socket
import subprocess
import sys
from contextlib import closing
from http.client import HTTPConnection

import pytest

from lessee.host.openbao import free_port
from support.paths import ROOT
from support.programs.sidecar import eventually

SITE = "https://site.example"
PASSWORD = "canary-ann"
SALT = b"0123456789abcdef"


def hash_of(password):
    digest = hashlib.scrypt(password.encode("utf-8", "surrogatepass"), salt=SALT, n=16384, r=8, p=1)
    return f"scrypt:16384:8:1:{SALT.hex()}:{digest.hex()}"


USERS = {"ann": hash_of(PASSWORD), "bob": "canary-not-hashed", "eve": "scrypt:1:2:3:canary:hash"}


class App:
    """The session app, which the test calls in place of nginx."""

    def __init__(self, port, log):
        self.port, self.log = port, log

    def ask(self, method, body=None, **headers):
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=10)) as connection:
            connection.request(method, "/api/session", body, {"Host": "site.example", "Origin": SITE} | headers)
            response = connection.getresponse()
            return response.status, response.headers["Set-Cookie"], response.read().decode()

    def log_in(self, user="ann", password=PASSWORD, **headers):
        body = json.dumps({"user": user, "password": password})
        return self.ask("POST", body, **{"Content-Type": "application/json"} | headers)

    def cookie(self):
        return self.log_in()[1].partition(";")[0]

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), 60)


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    folder = tmp_path_factory.mktemp("session")
    (folder / "users.json").write_text(json.dumps(USERS))
    app = App(free_port(), folder / "log")
    environ = os.environ | {"USERS": str(folder / "users.json"), "PORT": str(app.port)}
    with app.log.open("wb") as log:
        process = subprocess.Popen([sys.executable, ROOT / "compose/frontend/app/session.py"], env=environ, stderr=log)
    try:
        eventually(lambda: listens(app.port), "the session's app", 60)
        yield app
    finally:
        process.terminate()
        process.wait(10)
    log = app.log.read_text()
    assert {line.partition(":")[0] for line in log.splitlines()} <= {"'bob' cannot log in", "'eve' cannot log in"}
    assert "canary" not in log.replace(str(folder), "")


def listens(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "", "Host": ""},
        {"Origin": "https://[site.example"},
        {"Origin": "https://site.example@evil.example"},
        {"Origin": "https://site.example:444"},
        {"Host": "evil.example"},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Length": "5000"},
        {"Content-Length": "-1"},
        {"Content-Length": "1e1"},
    ],
)
def test_a_login_with_invalid_headers_is_rejected(app, headers):
    assert app.log_in(**headers)[:2] == (403, None)


@pytest.mark.parametrize("body", [b"", b"1", b"[]", b"{}", b'{"user":"ann"}', b"\xff", b"[" * 4000, b'"' + b"a" * 4000])
def test_a_login_with_an_invalid_body_is_rejected(app, body):
    assert app.ask("POST", body, **{"Content-Type": "application/json"})[:2] == (403, None)


@pytest.mark.parametrize(
    ("user", "password"),
    [
        ("ann", "wrong"), ("unknown", "canary-ann"), ("ann", "\ud800"), ("\ud800", "x"), ("ann", ["canary-ann"]),
        ("ann", ""), ("bob", "canary-not-hashed"), ("eve", "canary"), ("ann\r\nSet-Cookie: a=b", "canary-ann"),
    ],
)  # fmt: skip
def test_a_wrong_user_or_password_is_rejected(app, user, password):
    assert app.log_in(user, password) == (401, None, '{"error": "wrong user or password"}')


def test_an_unknown_user_takes_as_long_as_a_known_one():
    """Both use the same scrypt parameters; a test cannot measure the time reliably."""
    source = (ROOT / "compose/frontend/app/session.py").read_text()
    [unknown] = [line.split('"')[1] for line in source.splitlines() if line.startswith("UNKNOWN_USER_HASH")]
    assert unknown.rpartition(":")[0].rpartition(":")[0] == hash_of("x").rpartition(":")[0].rpartition(":")[0]


def test_cookies_of_others_on_the_same_host_do_not_end_a_session(app):
    """Cookies are not separated by port, and another program on the host may set any cookie."""
    cookie = app.cookie()
    for others in ('prefs={"a": 1}; {}', "{}; b[]=\x7f", 'a="; {}', "__Host-sessions=x; session=y; {}"):
        assert app.ask("GET", Cookie=others.replace("{}", cookie))[0] == 200, others


@pytest.mark.parametrize("cookie", ["", "__Host-session", "__Host-session=", "session={}", "x__Host-session={}"])
def test_only_the_exact_cookie_is_accepted(app, cookie):
    value = app.cookie().partition("=")[2]
    assert app.ask("GET", Cookie=cookie.replace("{}", value))[0] == 401


def test_a_planted_cookie_does_not_fix_the_session(app):
    planted = "__Host-session=" + base64.urlsafe_b64encode(bytes(32)).decode().rstrip("=")
    status, cookie, _ = app.log_in(Cookie=planted)
    assert status == 200
    assert not cookie.startswith(planted)
    assert app.ask("GET", Cookie=planted)[0] == 401


def test_a_login_ends_the_previous_session(app):
    before = app.cookie()
    assert app.log_in(Cookie=before)[0] == 200
    assert app.ask("GET", Cookie=before)[0] == 401


def test_a_logout_ends_the_session_of_a_copied_cookie(app):
    cookie = app.cookie()
    assert app.ask("DELETE", Cookie=cookie, Origin="http://evil.example")[0] == 403
    assert app.ask("GET", Cookie=cookie)[0] == 200
    assert app.ask("DELETE", Cookie=cookie)[1].startswith("__Host-session=; Max-Age=0; Path=/;")
    assert app.ask("GET", Cookie=cookie)[0] == 401


@pytest.mark.thorough
def test_slow_and_silent_clients_are_disconnected(app):
    head = b"POST /api/session HTTP/1.1\r\nHost: site.example\r\nOrigin: https://site.example\r\n"
    body = b"Content-Type: application/json\r\nContent-Length: 40\r\n\r\n{"
    with app.connect() as silent, app.connect() as without_end, app.connect() as without_body:
        without_end.sendall(head)
        without_body.sendall(head + body)
        assert app.log_in()[0] == 200  # no other client waits for them
        assert [connection.recv(4096) for connection in (silent, without_end, without_body)] == [b""] * 3


def test_an_invalid_request_is_rejected(app):
    for request in (b"\x16\x03\x01\x02\n\n", b"GET / HTTP/9\r\n\r\n", b"GET /" + b"a" * 65536):
        with app.connect() as connection:
            connection.sendall(request)
            assert b"200 OK" not in connection.recv(4096)
    assert app.ask("PUT", b"")[0] == 501
