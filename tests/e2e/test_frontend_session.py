"""The session's app of compose/frontend by itself: rubbish is refused and it goes on, and no one gets in by it."""

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


def hashed(password):
    found = hashlib.scrypt(password.encode("utf-8", "surrogatepass"), salt=SALT, n=16384, r=8, p=1)
    return f"scrypt:16384:8:1:{SALT.hex()}:{found.hex()}"


USERS = {"ann": hashed(PASSWORD), "bob": "canary-not-hashed", "eve": "scrypt:1:2:3:canary:hash"}


class App:
    """Who asks it stands in nginx's place."""

    def __init__(self, port, log):
        self.port, self.log = port, log

    def ask(self, method, body=None, **headers):
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=10)) as connection:
            connection.request(method, "/api/session", body, {"Host": "site.example", "Origin": SITE} | headers)
            answer = connection.getresponse()
            return answer.status, answer.headers["Set-Cookie"], answer.read().decode()

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
    made = App(free_port(), folder / "log")
    environ = os.environ | {"USERS": str(folder / "users.json"), "PORT": str(made.port)}
    with made.log.open("wb") as log:
        process = subprocess.Popen([sys.executable, ROOT / "compose/frontend/app/session.py"], env=environ, stderr=log)
    try:
        eventually(lambda: listens(made.port), "the session's app", 60)
        yield made
    finally:
        process.terminate()
        process.wait(10)
    told = made.log.read_text()
    assert {line.partition(":")[0] for line in told.splitlines()} <= {"'bob' cannot log in", "'eve' cannot log in"}
    assert "canary" not in told.replace(str(folder), "")


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
def test_a_login_from_elsewhere_or_of_another_kind_is_refused(app, headers):
    assert app.log_in(**headers)[:2] == (403, None)


@pytest.mark.parametrize("body", [b"", b"1", b"[]", b"{}", b'{"user":"ann"}', b"\xff", b"[" * 4000, b'"' + b"a" * 4000])
def test_a_login_that_is_no_json_of_a_user_is_refused(app, body):
    assert app.ask("POST", body, **{"Content-Type": "application/json"})[:2] == (403, None)


@pytest.mark.parametrize(
    ("user", "password"),
    [
        ("ann", "wrong"), ("nobody", "canary-ann"), ("ann", "\ud800"), ("\ud800", "x"), ("ann", ["canary-ann"]),
        ("ann", ""), ("bob", "canary-not-hashed"), ("eve", "canary"), ("ann\r\nSet-Cookie: a=b", "canary-ann"),
    ],
)  # fmt: skip
def test_who_is_not_known_by_a_hash_does_not_get_in(app, user, password):
    assert app.log_in(user, password) == (401, None, '{"error": "wrong user or password"}')


def test_a_user_that_is_not_there_takes_as_long_as_one_that_is():
    """Both are tried with the same parameters: time itself is for no test."""
    source = (ROOT / "compose/frontend/app/session.py").read_text()
    [unknown] = [line.split('"')[1] for line in source.splitlines() if line.startswith("UNKNOWN_USER_HASH")]
    assert unknown.rpartition(":")[0].rpartition(":")[0] == hashed("x").rpartition(":")[0].rpartition(":")[0]


def test_cookies_of_others_on_the_same_host_do_not_end_a_session(app):
    """Cookies know no ports, and a program beside this one may write what it likes into its own."""
    cookie = app.cookie()
    for others in ('prefs={"a": 1}; {}', "{}; b[]=\x7f", 'a="; {}', "__Host-sessions=x; session=y; {}"):
        assert app.ask("GET", Cookie=others.replace("{}", cookie))[0] == 200, others


@pytest.mark.parametrize("cookie", ["", "__Host-session", "__Host-session=", "session={}", "x__Host-session={}"])
def test_only_the_cookie_itself_opens_the_site(app, cookie):
    value = app.cookie().partition("=")[2]
    assert app.ask("GET", Cookie=cookie.replace("{}", value))[0] == 401


def test_a_session_cannot_be_chosen_by_who_planted_a_cookie(app):
    planted = "__Host-session=" + base64.urlsafe_b64encode(bytes(32)).decode().rstrip("=")
    status, cookie, _ = app.log_in(Cookie=planted)
    assert status == 200
    assert not cookie.startswith(planted)
    assert app.ask("GET", Cookie=planted)[0] == 401


def test_a_login_ends_the_session_that_was_there(app):
    before = app.cookie()
    assert app.log_in(Cookie=before)[0] == 200
    assert app.ask("GET", Cookie=before)[0] == 401


def test_a_logout_ends_the_session_wherever_its_cookie_was_copied(app):
    cookie = app.cookie()
    assert app.ask("DELETE", Cookie=cookie, Origin="http://evil.example")[0] == 403
    assert app.ask("GET", Cookie=cookie)[0] == 200
    assert app.ask("DELETE", Cookie=cookie)[1].startswith("__Host-session=; Max-Age=0; Path=/;")
    assert app.ask("GET", Cookie=cookie)[0] == 401


def test_who_sends_slowly_or_never_is_let_go(app):
    head = b"POST /api/session HTTP/1.1\r\nHost: site.example\r\nOrigin: https://site.example\r\n"
    body = b"Content-Type: application/json\r\nContent-Length: 40\r\n\r\n{"
    with app.connect() as silent, app.connect() as without_end, app.connect() as without_body:
        without_end.sendall(head)
        without_body.sendall(head + body)
        assert app.log_in()[0] == 200  # nobody waits for them
        assert [one.recv(4096) for one in (silent, without_end, without_body)] == [b""] * 3


def test_what_is_no_request_is_refused(app):
    for sent in (b"\x16\x03\x01\x02\n\n", b"GET / HTTP/9\r\n\r\n", b"GET /" + b"a" * 65536):
        with app.connect() as connection:
            connection.sendall(sent)
            assert b"200 OK" not in connection.recv(4096)
    assert app.ask("PUT", b"")[0] == 501
