"""A program in the place of an app whose image cannot be had: it logs in to each store that its settings name.

/etc/app.json has the logins as URLs, in which {NAME} is a variable of the environment and {/path} a file. On its ports
it answers 200 only if all logins work at that moment. GET /state says which values it has: never them, but their
SHA-256. A program named in `once` ends with the first success. Of `files`, NAME_FILE gives the value of NAME.
"""

import hashlib
import hmac
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

TIMEOUT = 30.0
PERIOD = 3.0
"""Seconds between two rounds of logins."""
SETTINGS = json.loads(Path("/etc/app.json").read_text())


def main():
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    for name in SETTINGS["files"]:  # As the entrypoints of many images do.
        if file := os.environ.pop(f"{name}_FILE", ""):
            os.environ[name] = Path(file).read_text()
    checks = Checks(SETTINGS["logins"])
    if Path(sys.argv[0]).name in SETTINGS["once"]:
        while not checks.state()["ok"]:
            time.sleep(0.2)
        return
    for port in SETTINGS["ports"]:
        threading.Thread(target=server(port, checks).serve_forever).start()


class Checks:
    """All logins, again and again, so that an answer takes no time."""

    def __init__(self, logins):
        self._logins = logins
        self._state = {"ok": False, "errors": {"start": "NotYet"}, "passwords": {}, "variables": {}}
        threading.Thread(target=self._follow, daemon=True).start()

    def state(self):
        return self._state

    def _follow(self):
        while True:
            self._state = self._look()
            time.sleep(PERIOD)

    def _look(self):
        errors, passwords = {}, {}
        for login in self._logins:
            try:
                url = urlsplit(filled(login))
                passwords[login] = digest(unquote(url.password or ""))
                KINDS[url.scheme.partition("+")[0]](url)
            except (OSError, subprocess.SubprocessError, LookupError, ValueError) as exc:
                # A text may have the password.
                errors[login] = type(exc).__name__
        variables = {name: digest(value) for name, value in os.environ.items()}
        return {"ok": not errors, "errors": errors, "passwords": passwords, "variables": variables}


def server(port, checks):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            state = checks.state()
            content = json.dumps(state).encode() if self.path == "/state" else b"ok" if state["ok"] else b"not ready"
            self.send_response(200 if state["ok"] or self.path == "/state" else 503)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    return ThreadingHTTPServer(("", port), Handler)


def filled(login):
    """The URL with the values of the variables and files, as a part of a URL where it is one. Raises KeyError."""
    if whole := re.fullmatch(r"\{(\w+)\}", login):
        return os.environ[whole[1]]

    def value(found):
        name = found[1]
        return quote(Path(name).read_text().strip() if name.startswith("/") else os.environ[name], safe="")

    return re.sub(r"\{([^{}]+)\}", value, login)


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


def run(*words, **environ):
    """A client program; its password is in its environment, where no other user sees it."""
    subprocess.run(words, env={**os.environ, **environ}, check=True, capture_output=True, timeout=TIMEOUT)


def postgres(url):
    words = ["-h", url.hostname, "-p", str(url.port or 5432), "-U", unquote(url.username), "-d", url.path[1:]]
    run("psql", "-X", *words, "-Atc", "select 1", PGPASSWORD=unquote(url.password), PGCONNECT_TIMEOUT="20")


def mysql(url):
    words = ["-h", url.hostname, "-P", str(url.port or 3306), "-u", unquote(url.username)]
    run("mariadb", "--no-defaults", *words, "-e", "select 1", url.path[1:], MYSQL_PWD=unquote(url.password))


def redis(url):
    with socket.create_connection((url.hostname, url.port or 6379), TIMEOUT) as connection:
        password = unquote(url.password or "")
        answers = []
        for words in ([["AUTH", password]] if password else []) + [["PING"]]:
            text = "".join(f"${len(word.encode())}\r\n{word}\r\n" for word in words)
            connection.sendall(f"*{len(words)}\r\n{text}".encode())
            answers.append(connection.recv(200))
        if answers != ([b"+OK\r\n"] if password else []) + [b"+PONG\r\n"]:
            raise PermissionError


def amqp(url):
    """The handshake of AMQP 0-9-1, until the virtual host is open."""
    with socket.create_connection((url.hostname, url.port or 5672), TIMEOUT) as connection:
        file = connection.makefile("rwb")
        file.write(b"AMQP\0\0\x09\x01")
        file.flush()
        method(file, (10, 10))
        response = f"\0{unquote(url.username)}\0{unquote(url.password)}".encode()
        start = struct.pack(">I", 0) + short("PLAIN") + struct.pack(">I", len(response)) + response + short("en_US")
        send(file, (10, 11), start)
        tune = method(file, (10, 30))
        send(file, (10, 31), tune)
        send(file, (10, 40), short(unquote(url.path[1:]) or "/") + b"\0\0")
        method(file, (10, 41))


def short(text):
    return bytes([len(text.encode())]) + text.encode()


def send(file, which, arguments):
    payload = struct.pack(">HH", *which) + arguments
    file.write(struct.pack(">BHI", 1, 0, len(payload)) + payload + b"\xce")
    file.flush()


def method(file, expected):
    """The arguments of the next method. Raises PermissionError if it is another one, or the last one was."""
    head = file.read(7)
    if len(head) < 7:
        raise PermissionError
    payload = file.read(struct.unpack(">BHI", head)[2] + 1)
    if struct.unpack(">HH", payload[:4]) != expected:
        raise PermissionError
    return payload[4:-1]


def s3(url):
    """The list of buckets, signed as AWS's signature 4 says."""
    key, secret = unquote(url.username), unquote(url.password)
    host, now = f"{url.hostname}:{url.port or 9000}", datetime.now(UTC)
    date, scope = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d/us-east-1/s3/aws4_request")
    nothing = hashlib.sha256(b"").hexdigest()
    headers = {"host": host, "x-amz-content-sha256": nothing, "x-amz-date": date}
    names = ";".join(headers)
    lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
    canonical = f"GET\n/\n\n{lines}\n{names}\n{nothing}"
    text = f"AWS4-HMAC-SHA256\n{date}\n{scope}\n{digest(canonical)}"
    own = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        own = hmac.digest(own, part.encode(), "sha256")
    signature = hmac.digest(own, text.encode(), "sha256").hex()
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={key}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
    connection = HTTPConnection(host, timeout=TIMEOUT)
    connection.request("GET", "/", headers=headers)
    status = connection.getresponse().status
    connection.close()
    if status != 200:
        raise PermissionError


KINDS = {
    "postgres": postgres,
    "postgresql": postgres,
    "mysql": mysql,
    "mariadb": mysql,
    "redis": redis,
    "amqp": amqp,
    "s3": s3,
}

if __name__ == "__main__":
    main()
