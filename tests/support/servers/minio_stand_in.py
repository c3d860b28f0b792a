"""A stand-in for MinIO, whose server no package has: its admin API for service accounts, and one bucket.

It checks signatures and permissions itself, and encrypts with MinIO's own library; tests check it with MinIO's own
client. It is not MinIO: it accepts what only a real MinIO would reject.
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


_REAL = crypto.hash_secret_raw


def weaken_encryption():
    """Derive encryption keys with little memory, which is fast. Both sides must do so."""
    crypto.hash_secret_raw = lambda **settings: _REAL(**{**settings, "memory_cost": 8 * settings["parallelism"]})


@contextmanager
def weak_encryption():
    """Weaken the encryption inside this context."""
    before = crypto.hash_secret_raw
    weaken_encryption()
    try:
        yield
    finally:
        crypto.hash_secret_raw = before


@contextmanager
def real_encryption():
    """That of MinIO's own client inside this context, which may be in one of `weak_encryption`."""
    before, crypto.hash_secret_raw = crypto.hash_secret_raw, _REAL
    try:
        yield
    finally:
        crypto.hash_secret_raw = before


class Minio:
    """A server on loopback with an admin and a user, in memory."""

    admin = MappingProxyType({"access_key": "minio-admin", "secret_key": "minio-admin-secret"})

    def __init__(self):
        self.users = {"minio-admin": "minio-admin-secret", "simba": "simba-secret-key"}
        self.accounts = {}
        self.admin_allowed = True
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
        """The secret of an access key; None where the key is unknown or disabled."""
        account = self.accounts.get(key)
        if account is not None:
            return account["secretKey"] if account["accountStatus"] == "on" else None
        return self.users.get(key)

    def do(self, user, command, query, body):
        """The status, and the response or an error code."""
        if user != "minio-admin" or not self.admin_allowed:
            return 403, "AccessDenied"
        key = query.get("accessKey", "")
        if command == "add-service-account":
            return self._add(user, body)
        if key not in self.accounts:
            return 404, "XMinioInvalidIAMCredentials"
        match command:
            case "info-service-account":
                return 200, _info(self.accounts[key])
            case "delete-service-account":
                del self.accounts[key]
                return 204, None
            case "update-service-account":
                status = {"enabled": "on", "disabled": "off"}.get(body.get("newStatus"), body.get("newStatus"))
                new = {"secretKey": body.get("newSecretKey"), "accountStatus": status}
                self.accounts[key].update({name: value for name, value in new.items() if value})
                return 204, None
        return 404, "NotFound"

    def _add(self, user, body):
        key, parent = body["accessKey"], body.get("targetUser") or user
        if not 3 <= len(key) <= 20 or not 8 <= len(body["secretKey"]) <= 40:
            return 400, "XMinioAdminInvalidAccessKey"
        if parent not in self.users:
            return 404, "XMinioAdminNoSuchUser"
        if key in self.accounts or key in self.users:
            return 409, "XMinioIAMAccountExists"
        more = {name: body[name] for name in ("policy", "name", "description") if body.get(name)}
        self.accounts[key] = {"secretKey": body["secretKey"], "parentUser": parent, "accountStatus": "on", **more}
        return 200, {"credentials": {"accessKey": key, "secretKey": body["secretKey"]}}


def _info(account):
    policy = account.get("policy")
    public = {name: value for name, value in account.items() if name != "secretKey"}
    return {**public, "impliedPolicy": policy is None, "policy": json.dumps(policy or {"Statement": []})}


class _Handler(BaseHTTPRequestHandler):
    minio: Minio
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # One packet for each response.

    def __getattr__(self, name):
        if name.startswith("do_"):
            return self._serve
        raise AttributeError(name)

    def _serve(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        parts = urlsplit(self.path)
        user, error = self._signer(parts, body)
        if not parts.path.startswith(_ADMIN):
            self._store(parts.path, error)
        elif error:
            self._answer(403, json.dumps({"Code": error, "Message": "m"}).encode())
        else:
            self._administer(user, parts, body)

    def _administer(self, user, parts, body):
        secret = self.minio.secret_of(user)
        try:
            request = json.loads(decrypt(_Connection(body), secret)) if body else {}
        except (ValueError, OSError):
            self._answer(400, json.dumps({"Code": "XMinioAdminConfigBadJSON"}).encode())
            return
        query = dict(parse_qsl(parts.query))
        status, answer = self.minio.do(user, parts.path.removeprefix(_ADMIN), query, request)
        if isinstance(answer, str):
            self._answer(status, json.dumps({"Code": answer, "Message": "m"}).encode())
        else:
            self._answer(status, b"" if answer is None else encrypt(json.dumps(answer).encode(), secret))

    def _store(self, path, error):
        code = error or ("" if path == f"/{BUCKET}" and self.command == "GET" else "NoSuchBucket")
        if code:
            self._answer(403, f"<Error><Code>{code}</Code><Message>m</Message></Error>".encode(), "application/xml")
        else:
            self._answer(200, _EMPTY, "application/xml")

    def _signer(self, parts, body):
        """Who signed the request, and an error code: https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html."""
        words = dict(word.strip().split("=", 1) for word in self.headers["Authorization"].partition(" ")[2].split(","))
        user, *scope = words["Credential"].split("/")
        secret = self.minio.secret_of(user)
        if secret is None:
            return user, "InvalidAccessKeyId"
        digest = self.headers["X-Amz-Content-Sha256"]
        if digest != hashlib.sha256(body).hexdigest():
            return user, "XAmzContentSHA256Mismatch"
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
        return user, "" if hmac.compare_digest(key.hex(), words["Signature"]) else "SignatureDoesNotMatch"

    def _answer(self, status, content, kind="application/json"):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        if status != 204:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        """Log nothing."""


class _Connection(io.BytesIO):
    def release_conn(self):
        """As a response of urllib3."""
