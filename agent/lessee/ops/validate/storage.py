"""An object store, with the key in Vault: whom it lets in, whom it does not, and whether it keeps what it is given."""

import os
import uuid
from collections.abc import Generator, Iterator
from functools import partial
from typing import Any

from lessee.config.grammar.validate import StorageCheck
from lessee.core import credentials as wanted
from lessee.core.credentials import S3Login
from lessee.core.immutable import replace
from lessee.host.http_client import is_loopback
from lessee.ops.validate.checks import Check
from lessee.ops.validate.context import Subject
from lessee.ops.validate.credentials import credentials, library
from lessee.ops.validate.network import reach
from lessee.ops.validate.policy import thresholds
from lessee.ops.validate.policy.results import Result, Teller

_TELL = Teller("storage")
_NAMES = (
    "s3-secret",
    "s3-reachable",
    "s3-tls",
    "s3-key",
    "s3-bucket",
    "s3-list",
    "s3-put-get",
    "s3-refuses-anonymous",
    "s3-delete",
    "s3-refuses-wrong-key",
)
_SHARE = 0.4
"""Of a check's time, for each answer."""
_REFUSED = {
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "InvalidToken",
    "ExpiredToken",
    "UnrecognizedClientException",
}
_CLOSED = _REFUSED | {"AccessDenied", "AllAccessDisabled", "Forbidden", "Unauthorized", "401", "403"}
"""Of who has no key, or not the right one."""
_GONE = {"NoSuchBucket", "404"}


def checks(subject: Subject) -> Iterator[Check]:
    """Those of the bucket of the apps."""
    said = subject.config.validate.storage
    path = (said or StorageCheck()).secret
    yield Check("storage", _NAMES, partial(_look, subject, path, configured=said is not None))


def _look(subject: Subject, path: str, *, configured: bool) -> Iterator[Result]:
    login, timeout = credentials(subject, path, wanted.s3, configured=configured), subject.timeout * _SHARE
    yield _TELL.passed("s3-secret", f"Object store credentials found in Vault ({path})")
    if silence := reach(login.host, login.port, timeout):
        todo = "start it, or mend the secret's endpoint and the network on the way"
        yield _TELL.critical("s3-reachable", f"the object store does not answer at {login.url}: {silence}", todo)
        return
    yield _TELL.passed("s3-reachable", f"the object store answers at {login.url}")
    store = _Store(login, timeout)
    code, _ = store.ask(store.client, "list_objects_v2", MaxKeys=1)
    if code == "SSLError":
        todo = "does the server speak TLS at this port, and does its certificate fit ca_file and host?"
        yield _TELL.critical("s3-tls", f"no TLS connection to {login.url} comes about", todo)
        return
    loopback = is_loopback(login.host)
    yield thresholds.wire(_TELL, "s3-tls", "the object store", loopback=loopback, tls=login.tls, verified=login.tls)
    if (yield from _inside(code, login.bucket)):
        yield from _probe(store)
    yield _liar(store)


class _Store:
    """Clients of one store: with the key, without one, and with a wrong one."""

    def __init__(self, login: S3Login, timeout: float) -> None:
        self._login = login
        self._timeout = timeout
        self._session = library("botocore.session").Session()
        # What the operator's own files and variables say is not what the apps will use.
        for variable in ("config_file", "credentials_file"):
            self._session.set_config_variable(variable, os.devnull)
        self._session.set_config_variable("profile", None)
        self.client = self._make(login)

    def anonymous(self) -> Any:
        return self._make(None)

    def wrong(self) -> Any:
        return self._make(replace(self._login, secret_key=uuid.uuid4().hex))

    def ask(self, client: Any, operation: str, **said: Any) -> tuple[str, Any]:
        """The code of an error, or "" and the answer."""
        exceptions = library("botocore.exceptions")
        try:
            answer = getattr(client, operation)(Bucket=self._login.bucket, **said)
            return "", answer["Body"].read() if operation == "get_object" else answer
        except exceptions.ClientError as exc:
            return str(exc.response.get("Error", {}).get("Code") or "an error without a code"), None
        except exceptions.BotoCoreError as exc:
            return type(exc).__name__, None

    def _make(self, login: S3Login | None) -> Any:
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
        return self._session.create_client(
            "s3",
            region_name="us-east-1",
            endpoint_url=self._login.url,
            verify=self._login.ca_file or None,
            config=library("botocore.config").Config(**settings),
            **keys,
        )


def _inside(code: str, bucket: str) -> Generator[Result, None, bool]:
    """What a listing ended with; whether there is a bucket to look into."""
    if code in _REFUSED:
        todo = "write a key that the store knows into the secret"
        yield _TELL.critical("s3-key", f"the object store refuses the key ({code})", todo)
        return False
    if code in _GONE:
        yield _TELL.passed("s3-key", "the object store knows the key")
        todo = "make it, or mend `bucket` in the secret"
        yield _TELL.critical("s3-bucket", f"there is no bucket {bucket}", todo)
        return False
    if code and code != "AccessDenied":
        todo = "see the store's own log; is what answers an S3 server?"
        yield _TELL.critical("s3-key", f"the object store answers with {code}", todo)
        return False
    yield _TELL.passed("s3-key", "the object store knows the key")
    yield _TELL.passed("s3-bucket", f"the bucket {bucket} is there")
    if code:
        yield _TELL.warning("s3-list", f"the key may not list {bucket}", "grant it s3:ListBucket, if apps list objects")
    else:
        yield _TELL.passed("s3-list", f"the key may list {bucket}")
    return True


def _probe(store: _Store) -> Iterator[Result]:
    name, content = f"lessee-validate/{uuid.uuid4()}", uuid.uuid4().hex.encode()
    todo = "grant the key s3:PutObject and s3:GetObject on the bucket's objects"
    try:
        put, _ = store.ask(store.client, "put_object", Key=name, Body=content)
        got, found = store.ask(store.client, "get_object", Key=name)
        if put:
            yield _TELL.critical("s3-put-get", f"a probe object cannot be put ({put})", todo)
        elif got or found != content:
            yield _TELL.critical("s3-put-get", f"a probe object cannot be got ({got or 'other content'})", todo)
        else:
            yield _TELL.passed("s3-put-get", "a probe object was put and got")
        yield _stranger(store, name)
    finally:
        code, _ = store.ask(store.client, "delete_object", Key=name)
    if put:
        yield _TELL.unlooked("s3-delete", "there is no probe object to delete")
    elif code:
        todo = f"grant the key s3:DeleteObject, and delete {name}"
        yield _TELL.critical("s3-delete", f"the probe object cannot be deleted ({code})", todo)
    else:
        yield _TELL.passed("s3-delete", "the probe object was deleted")


def _stranger(store: _Store, name: str) -> Result:
    client, own = store.anonymous(), f"{name}-anonymous"
    tried = {
        "list": store.ask(client, "list_objects_v2", MaxKeys=1),
        "get": store.ask(client, "get_object", Key=name),
        "put": store.ask(client, "put_object", Key=own, Body=b""),
    }
    may = [what for what, (code, _) in tried.items() if not code]
    if "put" in may:
        store.ask(store.client, "delete_object", Key=own)
    if may:
        todo = "take the bucket's public policy away, or make a bucket of its own for what is public"
        return _TELL.critical("s3-refuses-anonymous", f"anybody may {', '.join(may)} objects", todo)
    if unclear := sorted({code for code, _ in tried.values()} - _CLOSED):
        text = f"without a key the object store gives no clear answer ({', '.join(unclear)})"
        return _TELL.unlooked("s3-refuses-anonymous", text)
    return _TELL.passed("s3-refuses-anonymous", "the bucket is closed to who has no key")


def _liar(store: _Store) -> Result:
    code, _ = store.ask(store.wrong(), "list_objects_v2", MaxKeys=1)
    if code in _CLOSED:
        return _TELL.passed("s3-refuses-wrong-key", "the object store refuses a wrong key")
    if code:
        text = f"to a wrong key the object store gives no clear answer ({code})"
        return _TELL.unlooked("s3-refuses-wrong-key", text)
    todo = "switch on the store's authentication: it checks no signatures"
    return _TELL.critical("s3-refuses-wrong-key", "the object store takes any secret key", todo)
