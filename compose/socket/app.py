"""A stand-in for your app: it reads its secret at a socket, and waits there for the next one."""

# ruff: noqa: INP001, T201  # A standalone program, whose result is its output.

import hashlib
import http.client
import json
import socket
import time

SOCKET = "/run/sockets/app.sock"


class Connection(http.client.HTTPConnection):
    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(SOCKET)


def get(path: str, etag: str = "") -> tuple[int, str, bytes]:
    connection = Connection("localhost")
    try:
        connection.request("GET", path, headers={"If-None-Match": etag} if etag else {})
        response = connection.getresponse()
        return response.status, response.headers["ETag"] or "", response.read()
    finally:
        connection.close()


etag = ""
while True:
    try:
        status, etag, _ = get("/generation?wait=60", etag)
        if status == http.client.OK:
            # The whole secret, as it is in Vault. A fingerprint instead of the value, which must not be logged.
            password = json.loads(get("/secret/database")[2])["password"]
            print(f"read: {hashlib.sha256(password.encode()).hexdigest()[:12]}", flush=True)
    except (OSError, http.client.HTTPException, ValueError, KeyError):
        time.sleep(0.2)  # The agent has not started yet, or is starting again.
