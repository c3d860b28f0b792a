"""What stands in for MinIO, of which no package has a server: its admin API for service accounts, and one bucket.

It looks at signatures and at rights by itself, and enciphers by MinIO's own library; MinIO's own client is let loose on
it in the tests. It is no MinIO: what only a real one would refuse, nobody has seen here.
"""

import hashlib
import hmac
import io
import json
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import MappingProxyType
from urllib.parse import parse_qsl, quote, urlsplit

from minio import crypto
from minio.crypto import decrypt, encrypt

BUCKET = "docs"
_ADMIN = "/minio/admin/v3/"
_EMPTY = b'<?xml version="1.0"?><ListBucketResult><Name>docs</Name><IsTruncated>false</IsTruncated></ListBucketResult>'


def cheapen():
    """Derive the keys of what is enciphered with little memory, and so in no time. Both sides must do so.

    How it was done before.
    """
    inner = crypto.hash_secret_raw
    crypto.hash_secret_raw = lambda **said: inner(**{**said, "memory_cost": 8 * said["parallelism"]})
    return inner


@contextmanager
def cheaply():
    """As long as this lasts."""
    inner = cheapen()
    try:
        yield
    finally:
        crypto.hash_secret_raw = inner


class Minio:
    """A server on loopback with an administrator and a user. It keeps nothing."""

    admin = MappingProxyType({"access_key": "minio-admin", "secret_key": "minio-admin-secret"})

    def __init__(self):
        self.users = {"minio-admin": "minio-admin-secret", "simba": "simba-secret-key"}
        self.accounts = {}
        self.may = True
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"minio": self}))
        self._server.daemon_threads = True
        self.port = self._server.server_port

    def __enter__(self):
        Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    def secret_of(self, key):
        """None: nobody, or somebody who is disabled."""
        account = self.accounts.get(key)
        if account is not None:
            return account["secretKey"] if account["accountStatus"] == "on" else None
        return self.users.get(key)

    def do(self, who, command, query, said):
        """The status and the answer, or the code of a refusal."""
        if who != "minio-admin" or not self.may:
            return 403, "AccessDenied"
        key = query.get("accessKey", "")
        if command == "add-service-account":
            return self._add(who, said)
        if key not in self.accounts:
            return 404, "XMinioInvalidIAMCredentials"
        match command:
            case "info-service-account":
                return 200, _shown(self.accounts[key])
            case "delete-service-account":
                del self.accounts[key]
                return 204, None
            case "update-service-account":
                status = {"enabled": "on", "disabled": "off"}.get(said.get("newStatus"), said.get("newStatus"))
                new = {"secretKey": said.get("newSecretKey"), "accountStatus": status}
                self.accounts[key].update({name: value for name, value in new.items() if value})
                return 204, None
        return 404, "NotFound"

    def _add(self, who, said):
        key, parent = said["accessKey"], said.get("targetUser") or who
        if not 3 <= len(key) <= 20 or not 8 <= len(said["secretKey"]) <= 40:
            return 400, "XMinioAdminInvalidAccessKey"
        if parent not in self.users:
            return 404, "XMinioAdminNoSuchUser"
        if key in self.accounts or key in self.users:
            return 409, "XMinioIAMAccountExists"
        more = {name: said[name] for name in ("policy", "name", "description") if said.get(name)}
        self.accounts[key] = {"secretKey": said["secretKey"], "parentUser": parent, "accountStatus": "on", **more}
        return 200, {"credentials": {"accessKey": key, "secretKey": said["secretKey"]}}


def _shown(account):
    policy = account.get("policy")
    seen = {name: value for name, value in account.items() if name != "secretKey"}
    return {**seen, "impliedPolicy": policy is None, "policy": json.dumps(policy or {"Statement": []})}


class _Handler(BaseHTTPRequestHandler):
    minio: Minio
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # One answer is one packet.

    def __getattr__(self, name):
        if name.startswith("do_"):
            return self._serve
        raise AttributeError(name)

    def _serve(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        parts = urlsplit(self.path)
        who, refusal = self._signed_by(parts, body)
        if not parts.path.startswith(_ADMIN):
            self._store(parts.path, refusal)
        elif refusal:
            self._answer(403, json.dumps({"Code": refusal, "Message": "m"}).encode())
        else:
            self._administer(who, parts, body)

    def _administer(self, who, parts, body):
        secret = self.minio.secret_of(who)
        try:
            said = json.loads(decrypt(_Connection(body), secret)) if body else {}
        except (ValueError, OSError):
            self._answer(400, json.dumps({"Code": "XMinioAdminConfigBadJSON"}).encode())
            return
        query = dict(parse_qsl(parts.query))
        status, answer = self.minio.do(who, parts.path.removeprefix(_ADMIN), query, said)
        if isinstance(answer, str):
            self._answer(status, json.dumps({"Code": answer, "Message": "m"}).encode())
        else:
            self._answer(status, b"" if answer is None else encrypt(json.dumps(answer).encode(), secret))

    def _store(self, path, refusal):
        code = refusal or ("" if path == f"/{BUCKET}" and self.command == "GET" else "NoSuchBucket")
        if code:
            self._answer(403, f"<Error><Code>{code}</Code><Message>m</Message></Error>".encode(), "application/xml")
        else:
            self._answer(200, _EMPTY, "application/xml")

    def _signed_by(self, parts, body):
        """Whose request it is, and why it is refused: https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html."""
        words = dict(word.strip().split("=", 1) for word in self.headers["Authorization"].partition(" ")[2].split(","))
        who, *scope = words["Credential"].split("/")
        secret = self.minio.secret_of(who)
        if secret is None:
            return who, "InvalidAccessKeyId"
        digest = self.headers["X-Amz-Content-Sha256"]
        if digest != hashlib.sha256(body).hexdigest():
            return who, "XAmzContentSHA256Mismatch"
        names = words["SignedHeaders"]
        pairs = sorted(parse_qsl(parts.query, keep_blank_values=True))
        query = "&".join(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in pairs)
        headers = "".join(f"{name}:{' '.join(self.headers[name].split())}\n" for name in names.split(";"))
        canonical = f"{self.command}\n{parts.path}\n{query}\n{headers}\n{names}\n{digest}"
        hashed = hashlib.sha256(canonical.encode()).hexdigest()
        text = "\n".join(("AWS4-HMAC-SHA256", self.headers["X-Amz-Date"], "/".join(scope), hashed))
        key = f"AWS4{secret}".encode()
        for part in (*scope, text):
            key = hmac.digest(key, part.encode(), "sha256")
        return who, "" if hmac.compare_digest(key.hex(), words["Signature"]) else "SignatureDoesNotMatch"

    def _answer(self, status, content, kind="application/json"):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        if status != 204:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        """Nobody reads it."""


class _Connection(io.BytesIO):
    def release_conn(self):
        """As of urllib3's answers."""
