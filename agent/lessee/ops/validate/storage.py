"""Checks an object store with the key in Vault: it must accept only this key, and store what it is sent."""

import os
import uuid
from collections.abc import Generator, Iterator
from functools import partial
from typing import Any

from lessee.config.grammar.validate import StorageCheck
from lessee.core import credentials as wanted
from lessee.core.credentials import S3Login
from lessee.core.immutable import replace
from lessee.host.answer_limits import broken_limit
from lessee.host.aws_client import limit_answers
from lessee.host.http_client import is_loopback
from lessee.ops.validate.checks import Check
from lessee.ops.validate.context import ValidationContext
from lessee.ops.validate.credentials import library, read_login
from lessee.ops.validate.network import connection_error
from lessee.ops.validate.policy import thresholds
from lessee.ops.validate.policy.results import Reporter, Result

_REPORTER = Reporter("storage")
_NAMES = (
    "s3-secret",
    "s3-reachable",
    "s3-tls",
    "s3-key",
    "s3-bucket",
    "s3-list",
    "s3-put-get",
    "s3-rejects-anonymous",
    "s3-delete",
    "s3-rejects-wrong-key",
)
_SHARE = 0.4
"""Of a check's time, for each response."""
_UNKNOWN_KEY = {
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "InvalidToken",
    "ExpiredToken",
    "UnrecognizedClientException",
}
_REJECTED = _UNKNOWN_KEY | {"AccessDenied", "AllAccessDisabled", "Forbidden", "Unauthorized", "401", "403"}
"""The codes for clients without a key, or with a wrong one."""
_NO_BUCKET = {"NoSuchBucket", "404"}


def checks(context: ValidationContext) -> Iterator[Check]:
    """The check of the apps' bucket."""
    block = context.config.validate.storage
    path = (block or StorageCheck()).secret
    yield Check("storage", _NAMES, partial(_check, context, path, configured=block is not None))


def _check(context: ValidationContext, path: str, *, configured: bool) -> Iterator[Result]:
    login, timeout = read_login(context, path, wanted.s3, configured=configured), context.timeout * _SHARE
    yield _REPORTER.passed("s3-secret", f"Object store credentials found in Vault ({path})")
    if error := connection_error(login.host, login.port, timeout):
        todo = "start it, or correct the endpoint in the secret, or the network"
        yield _REPORTER.critical("s3-reachable", f"the object store does not answer at {login.url}: {error}", todo)
        return
    yield _REPORTER.passed("s3-reachable", f"the object store answers at {login.url}")
    store = _Store(login, timeout)
    code, _ = store.call(store.client, "list_objects_v2", MaxKeys=1)
    if code == "SSLError":
        todo = "check that the server has TLS at this port, and a certificate that matches ca_file and host"
        yield _REPORTER.critical("s3-tls", f"the TLS connection to {login.url} fails", todo)
        return
    loopback = is_loopback(login.host)
    yield thresholds.encryption(
        _REPORTER, "s3-tls", "the object store", loopback=loopback, tls=login.tls, verified=login.tls
    )
    if (yield from _check_bucket(code, login.bucket)):
        yield from _check_probe(store)
    yield _check_wrong_key(store)


class _Store:
    """Clients of one store: with the key, without a key, and with a wrong one."""

    def __init__(self, login: S3Login, timeout: float) -> None:
        self._login = login
        self._timeout = timeout
        self._session = library("botocore.session").Session()
        # The apps do not use the operator's own AWS configuration.
        for variable in ("config_file", "credentials_file"):
            self._session.set_config_variable(variable, os.devnull)
        self._session.set_config_variable("profile", None)
        self.client = self._create(login)

    def anonymous(self) -> Any:
        return self._create(None)

    def with_wrong_key(self) -> Any:
        return self._create(replace(self._login, secret_key=uuid.uuid4().hex))

    def call(self, client: Any, operation: str, **parameters: Any) -> tuple[str, Any]:
        """An error code, or "" and the response."""
        exceptions = library("botocore.exceptions")
        try:
            answer = getattr(client, operation)(Bucket=self._login.bucket, **parameters)
            return "", answer["Body"].read() if operation == "get_object" else answer
        except exceptions.ClientError as exc:
            return str(exc.response.get("Error", {}).get("Code") or "no error code"), None
        except (exceptions.BotoCoreError, library("botocore.parsers").ResponseParserError) as exc:
            return broken_limit(exc) or type(exc).__name__, None

    def _create(self, login: S3Login | None) -> Any:
        settings = {
            "retries": {"max_attempts": 0},
            "connect_timeout": self._timeout,
            "read_timeout": self._timeout,
            "s3": {"addressing_style": "path"},
        }
        keys = {}
        if login is None:
            settings["signature_version"] = library("botocore").UNSIGNED
        else:
            keys = {"aws_access_key_id": login.access_key, "aws_secret_access_key": login.secret_key}
        client = self._session.create_client(
            "s3",
            region_name="us-east-1",
            endpoint_url=self._login.url,
            verify=self._login.ca_file or None,
            config=library("botocore.config").Config(**settings),
            **keys,
        )
        timeouts = self._timeout, self._timeout
        return limit_answers(client, seconds=self._timeout, timeouts=timeouts, extra="validate")


def _check_bucket(code: str, bucket: str) -> Generator[Result, None, bool]:
    """Results by the error code of a list request. Returns whether the bucket exists."""
    if code in _UNKNOWN_KEY:
        todo = "write a key of the store into the secret"
        yield _REPORTER.critical("s3-key", f"the object store rejects the key ({code})", todo)
        return False
    if code in _NO_BUCKET:
        yield _REPORTER.passed("s3-key", "the object store accepts the key")
        todo = "create it, or correct `bucket` in the secret"
        yield _REPORTER.critical("s3-bucket", f"the bucket {bucket} does not exist", todo)
        return False
    if code and code != "AccessDenied":
        todo = "see the store's own log, and check that it is an S3 server"
        yield _REPORTER.critical("s3-key", f"the object store answers with {code}", todo)
        return False
    yield _REPORTER.passed("s3-key", "the object store accepts the key")
    yield _REPORTER.passed("s3-bucket", f"the bucket {bucket} exists")
    if code:
        todo = "grant it s3:ListBucket, if apps list objects"
        yield _REPORTER.warning("s3-list", f"the key may not list {bucket}", todo)
    else:
        yield _REPORTER.passed("s3-list", f"the key may list {bucket}")
    return True


def _check_probe(store: _Store) -> Iterator[Result]:
    name, content = f"lessee-validate/{uuid.uuid4()}", uuid.uuid4().hex.encode()
    todo = "grant the key s3:PutObject and s3:GetObject on the bucket's objects"
    try:
        put, _ = store.call(store.client, "put_object", Key=name, Body=content)
        got, found = store.call(store.client, "get_object", Key=name)
        if put:
            yield _REPORTER.critical("s3-put-get", f"a probe object cannot be written ({put})", todo)
        elif got or found != content:
            reason = got or "its content differs"
            yield _REPORTER.critical("s3-put-get", f"a probe object cannot be read ({reason})", todo)
        else:
            yield _REPORTER.passed("s3-put-get", "a probe object was written and read")
        yield _check_anonymous(store, name)
    finally:
        code, _ = store.call(store.client, "delete_object", Key=name)
    if put:
        yield _REPORTER.skipped("s3-delete", "there is no probe object to delete")
    elif code:
        todo = f"grant the key s3:DeleteObject, and delete {name}"
        yield _REPORTER.critical("s3-delete", f"the probe object cannot be deleted ({code})", todo)
    else:
        yield _REPORTER.passed("s3-delete", "the probe object was deleted")


def _check_anonymous(store: _Store, name: str) -> Result:
    client, own = store.anonymous(), f"{name}-anonymous"
    results = {
        "list": store.call(client, "list_objects_v2", MaxKeys=1),
        "read": store.call(client, "get_object", Key=name),
        "write": store.call(client, "put_object", Key=own, Body=b""),
    }
    allowed = [action for action, (code, _) in results.items() if not code]
    if "write" in allowed:
        store.call(store.client, "delete_object", Key=own)
    if allowed:
        todo = "remove the bucket's public policy, or create another bucket for public objects"
        text = f"clients without a key may {', '.join(allowed)} objects"
        return _REPORTER.critical("s3-rejects-anonymous", text, todo)
    if unclear := sorted({code for code, _ in results.values()} - _REJECTED):
        text = f"the object store does not answer a client without a key ({', '.join(unclear)})"
        return _REPORTER.skipped("s3-rejects-anonymous", text)
    return _REPORTER.passed("s3-rejects-anonymous", "the object store rejects clients without a key")


def _check_wrong_key(store: _Store) -> Result:
    code, _ = store.call(store.with_wrong_key(), "list_objects_v2", MaxKeys=1)
    if code in _REJECTED:
        return _REPORTER.passed("s3-rejects-wrong-key", "the object store rejects a wrong key")
    if code:
        text = f"the object store does not answer a client with a wrong key ({code})"
        return _REPORTER.skipped("s3-rejects-wrong-key", text)
    todo = "enable the store's authentication: it does not check signatures"
    return _REPORTER.critical("s3-rejects-wrong-key", "the object store accepts any secret key", todo)
