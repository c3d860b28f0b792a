"""Asking an object store, and AWS's IAM, by the APIs of AWS that others speak too."""

import os
import time
from collections.abc import Mapping
from functools import cache
from typing import Any

from lessee.core import credentials as wanted
from lessee.core.credentials import S3Login
from lessee.ops.rotate.kinds import library
from lessee.ops.rotate.kinds.kind import Case, SystemRefusedError, SystemUnavailableError
from lessee.telemetry.logs import log

REGION = "us-east-1"
TIMEOUTS = (2.0, 4.0)
"""Seconds for a connection, and for an answer."""
LONGEST = sum(TIMEOUTS)
"""Seconds that one request may take."""
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
_UNKNOWN_KEY = {
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
    """A client of `service` at the login's endpoint, which tries once and does not wait long."""
    once = library("botocore.config").Config(
        retries={"max_attempts": 0},
        connect_timeout=TIMEOUTS[0],
        read_timeout=TIMEOUTS[1],
        s3={"addressing_style": "path"},
    )
    return _session().create_client(
        service,
        region_name=region,
        endpoint_url=login.url,
        verify=login.ca_file or None,
        aws_access_key_id=login.access_key,
        aws_secret_access_key=login.secret_key,
        config=once,
    )


@cache
def _session() -> Any:
    """One for all clients: it reads the descriptions of the services once."""
    session = library("botocore.session").Session()
    # What the operator's own files and variables say is not what the secret says.
    for variable in ("config_file", "credentials_file"):
        session.set_config_variable(variable, os.devnull)
    session.set_config_variable("profile", None)
    return session


def ask(asked: Any, operation: str, **said: Any) -> tuple[str, Mapping[str, Any]]:
    """The code of a refusal, or "" and the answer. Raises SystemUnavailableError; no text of the library's is ever shown."""
    exceptions, parsers = library("botocore.exceptions"), library("botocore.parsers")
    try:
        return "", getattr(asked, operation)(**said)
    except exceptions.ClientError as exc:
        code, status = _code(exc.response)
    except (exceptions.BotoCoreError, parsers.ResponseParserError) as exc:
        todo = "is it up, and are endpoint, secure and ca_file in the secret right?"
        raise SystemUnavailableError(
            f"no answer ({type(exc).__name__})", where=asked.meta.endpoint_url, todo=todo
        ) from None
    if code in _BUSY or (status >= _SERVER and status != _NOT_IMPLEMENTED):
        raise SystemUnavailableError(
            f"it cannot serve now ({code})", where=asked.meta.endpoint_url, todo="see its own log"
        ) from None
    return code, {}


def lets_in(where: str, fields: Mapping[str, Any], patience: float) -> bool:
    """Whether the store takes a secret's key; False once it has refused it for so many seconds.

    Raises SystemUnavailableError; LesseeError where the secret is no use; and SystemRefusedError where the store knows the key, but
    that may do nothing in the bucket: another key of the same user would not help.
    """
    login = wanted.s3(where, fields)
    store = client("s3", login, region_of(fields))
    deadline = time.monotonic() + patience
    try:
        # AWS takes some seconds until all its servers know a new key.
        while code := _refusal(store, login.bucket):
            if time.monotonic() >= deadline:
                return _judged(code, where, login)
            time.sleep(_PAUSE)
        return True
    finally:
        store.close()


def access_key(fields: Mapping[str, Any]) -> str:
    """A key's name, which is no secret; empty where there is none."""
    key = fields.get("access_key")
    return key if isinstance(key, str) else ""


def short(key: str) -> str:
    """As much of a key's name as a person needs, who sees them in a list."""
    return f"…{key[-4:]}"


def to_retire(case: Case) -> str:
    """Which key is to go, by its name: where somebody has put the old one back by hand, the new one."""
    key = access_key(case.current)
    return access_key(case.pending) if key and key == access_key(case.secret) else key


def may_go(key: str, case: Case, admin: str) -> bool:
    """Whether a key may be taken out of use: never what the apps read, nor what the admin works with."""
    if key == admin:
        log("warning", "the old key is the admin's own, and stays as it is", key=short(key))
    return key not in {"", admin, access_key(case.secret)}


def region_of(fields: Mapping[str, Any]) -> str:
    """For a signature; few but AWS look at it."""
    said = fields.get("region")
    return said if isinstance(said, str) and said else REGION


def _refusal(store: Any, bucket: str) -> str:
    """The least that any key may do is enough; "" if it may."""
    code, _ = ask(store, "list_objects_v2", Bucket=bucket, MaxKeys=1)
    if code not in DENIED:
        return code
    code, _ = ask(store, "get_object", Bucket=bucket, Key=_PROBE)
    if code not in DENIED:
        return "" if code == "NoSuchKey" else code
    code, _ = ask(store, "put_object", Bucket=bucket, Key=_PROBE, Body=b"")
    if not code and ask(store, "delete_object", Bucket=bucket, Key=_PROBE)[0]:
        log("warning", "probe object left", bucket=bucket, key=_PROBE)
    return code


def _judged(code: str, where: str, login: S3Login) -> bool:
    if code in _UNKNOWN_KEY:
        return False
    if code in DENIED:
        todo = (
            "what do the policies of the user and of the bucket say? Grant s3:ListBucket, s3:GetObject or s3:PutObject"
        )
        raise SystemRefusedError(
            f"the key is known, but closed out of the bucket {login.bucket}", where=where, todo=todo
        )
    todo = "are endpoint, region and bucket in the secret right, and is the clock?"
    raise SystemRefusedError(f"the object store at {login.url} answers with {code}", where=where, todo=todo)


def _code(response: Mapping[str, Any]) -> tuple[str, int]:
    # SeaweedFS answers for IAM in the XML of S3 where it refuses before IAM is asked.
    code = response.get("Error", {}).get("Code") or response.get("Code")
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return str(code or "an error without a code"), status if isinstance(status, int) else 0


def administrator(path: str, fields: Mapping[str, Any], key: str) -> S3Login:
    """The admin's login at the endpoint that `key` names, or at the store's own. Raises LesseeError."""
    at = fields.get(key) or fields.get("endpoint")
    return wanted.s3(path, {**fields, "endpoint": at}, bucket=False)
