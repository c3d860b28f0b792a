"""Requests to object stores and IAM by the APIs of AWS, which other systems implement too."""

import os
import time
from collections.abc import Mapping
from functools import cache
from typing import Any

from lessee.core import credentials as wanted
from lessee.core.credentials import S3Login
from lessee.host.answer_limits import broken_limit
from lessee.host.aws_client import limit_answers
from lessee.ops.rotate.kinds import library
from lessee.ops.rotate.kinds.kind import Case, SystemRefusedError, SystemUnavailableError
from lessee.telemetry.logs import log

REGION = "us-east-1"
TIMEOUTS = (2.0, 4.0)
"""Seconds for a connection, and for each read."""
REQUEST_TIMEOUT = sum(TIMEOUTS)
"""Seconds that one request may take with its whole response."""
_PAUSE = 0.25
_PROBE = "lessee-rotate/probe"
_BUSY = {
    "InternalError",
    "InternalFailure",
    "RequestLimitExceeded",
    "RequestTimeout",
    "ServiceFailure",
    "ServiceUnavailable",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequests",
}
UNKNOWN_KEY = {
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidToken",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
DENIED = {"AccessDenied", "AccessDeniedException", "AllAccessDisabled", "Forbidden", "UnauthorizedAccess"}
_SERVER = 500
_NOT_IMPLEMENTED = 501


def client(service: str, login: S3Login, region: str) -> Any:
    """A client of `service` at the login's endpoint, without retries and with short timeouts."""
    config = library("botocore.config").Config(
        retries={"max_attempts": 0},
        connect_timeout=TIMEOUTS[0],
        read_timeout=TIMEOUTS[1],
        s3={"addressing_style": "path"},
    )
    found = _session().create_client(
        service,
        region_name=region,
        endpoint_url=login.url,
        verify=login.ca_file or None,
        aws_access_key_id=login.access_key,
        aws_secret_access_key=login.secret_key,
        config=config,
    )
    return limit_answers(found, seconds=REQUEST_TIMEOUT, timeouts=TIMEOUTS, extra="rotate")


@cache
def _session() -> Any:
    """One session for all clients: it reads the descriptions of the services once."""
    session = library("botocore.session").Session()
    # The user's own AWS configuration must not change what the secret says.
    for variable in ("config_file", "credentials_file"):
        session.set_config_variable(variable, os.devnull)
    session.set_config_variable("profile", None)
    return session


def call(client: Any, operation: str, **parameters: Any) -> tuple[str, Mapping[str, Any]]:
    """An error code, or "" and the response. Raises SystemUnavailableError, without the library's own texts."""
    exceptions, parsers = library("botocore.exceptions"), library("botocore.parsers")
    try:
        return "", getattr(client, operation)(**parameters)
    except exceptions.ClientError as exc:
        code, status = _code(exc.response)
    except (exceptions.BotoCoreError, parsers.ResponseParserError) as exc:
        todo = "check that it runs, and `endpoint`, `secure` and `ca_file` in the secret"
        raise SystemUnavailableError(
            f"no response ({broken_limit(exc) or type(exc).__name__})", where=client.meta.endpoint_url, todo=todo
        ) from None
    if code in _BUSY or (status >= _SERVER and status != _NOT_IMPLEMENTED):
        raise SystemUnavailableError(
            f"temporarily unavailable ({code})", where=client.meta.endpoint_url, todo="see its own log"
        ) from None
    return code, {}


def accepts_key(where: str, fields: Mapping[str, Any], timeout: float) -> bool:
    """Whether the store accepts a secret's key; False after it has rejected the key for `timeout` seconds.

    Raises SystemUnavailableError, LesseeError where the secret is not usable, and SystemRefusedError where the store
    knows the key but denies all access to the bucket: another key of the same user would not help.
    """
    login = wanted.s3(where, fields)
    store = client("s3", login, region_of(fields))
    deadline = time.monotonic() + timeout
    try:
        # AWS takes some seconds to propagate a new key to all its servers.
        while code := _access_error(store, login.bucket):
            if time.monotonic() >= deadline:
                return _judge(code, where, login)
            time.sleep(_PAUSE)
        return True
    finally:
        store.close()


def is_known(login: S3Login, region: str) -> bool:
    """Whether the store knows this key and its secret key, whatever they may do. Raises SystemUnavailableError."""
    store = client("s3", login, region)
    try:
        return call(store, "list_buckets")[0] not in UNKNOWN_KEY
    finally:
        store.close()


def access_key(fields: Mapping[str, Any]) -> str:
    """The access key's id, which is not secret; empty where the secret has no key."""
    key = fields.get("access_key")
    return key if isinstance(key, str) else ""


def short(key: str) -> str:
    """The last characters of an access key's id, by which a user finds it in a list."""
    return f"…{key[-4:]}"


def key_to_revoke(case: Case) -> str:
    """The id of the key to revoke: the old one, or the new one where a user has restored the old one manually."""
    key = access_key(case.current)
    return access_key(case.pending) if key and key == access_key(case.secret) else key


def is_revocable(key: str, case: Case, admin: str) -> bool:
    """Whether a key may be revoked: not the one that the apps read, and not the admin's."""
    if key == admin:
        log("warning", "old key not revoked", key=short(key), reason="it is the admin's own key")
    return key not in {"", admin, access_key(case.secret)}


def region_of(fields: Mapping[str, Any]) -> str:
    """The region for a signature, which hardly any store except AWS checks."""
    region = fields.get("region")
    return region if isinstance(region, str) and region else REGION


def _access_error(store: Any, bucket: str) -> str:
    """The error code; "" where the key may do at least one of listing, reading and writing."""
    code, _ = call(store, "list_objects_v2", Bucket=bucket, MaxKeys=1)
    if code not in DENIED:
        return code
    code, _ = call(store, "get_object", Bucket=bucket, Key=_PROBE)
    if code not in DENIED:
        return "" if code == "NoSuchKey" else code
    code, _ = call(store, "put_object", Bucket=bucket, Key=_PROBE, Body=b"")
    if not code and call(store, "delete_object", Bucket=bucket, Key=_PROBE)[0]:
        log("warning", "probe object not deleted", bucket=bucket, key=_PROBE)
    return code


def _judge(code: str, where: str, login: S3Login) -> bool:
    if code in UNKNOWN_KEY:
        return False
    if code in DENIED:
        todo = "grant s3:ListBucket, s3:GetObject or s3:PutObject in the policies of the user or the bucket"
        raise SystemRefusedError(
            f"the key is valid, but has no access to the bucket {login.bucket}", where=where, todo=todo
        )
    todo = "check `endpoint`, `region` and `bucket` in the secret, and this machine's clock"
    raise SystemRefusedError(f"the object store at {login.url} answers with {code}", where=where, todo=todo)


def _code(response: Mapping[str, Any]) -> tuple[str, int]:
    # SeaweedFS rejects IAM requests in the XML of S3 before they reach its IAM.
    code = response.get("Error", {}).get("Code") or response.get("Code")
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return str(code or "no error code"), status if isinstance(status, int) else 0


def administrator(path: str, fields: Mapping[str, Any], key: str) -> S3Login:
    """The admin's login at the endpoint in the field `key`, or at the store's endpoint. Raises LesseeError."""
    at = fields.get(key) or fields.get("endpoint")
    return wanted.s3(path, {**fields, "endpoint": at}, bucket=False)
