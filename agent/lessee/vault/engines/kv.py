"""The KV secrets engine, versions 1 and 2."""

from collections.abc import Mapping
from typing import Any

import msgspec

from lessee.core.failures import Failure, Kind
from lessee.core.immutable import ImmutableStruct
from lessee.core.paths import Folder, Ref
from lessee.core.secrets import Secret, VersionMetadata, excess
from lessee.vault.responses import SECRET, Limits
from lessee.vault.transport import RequestFailedError, Transport

MAX_NAMES = 20_000
"""Secrets in a folder: each is a request of its own."""
_MAX_NUMBER = 2**63 - 1
"""Go's int64, as the server has it."""


def detect_version(transport: Transport, token: str, mount: str) -> int:
    """1 or 2. A token needs any capability below the mount for this. Raises RequestFailedError."""
    try:
        answer = transport.request("GET", f"sys/internal/ui/mounts/{mount}", token=token)
    except RequestFailedError as exc:
        if exc.failure.kind is Kind.DENIED:
            text = "there is no such mount, or the token's policy grants nothing below it"
            raise RequestFailedError(Failure(Kind.DENIED, text)) from None
        raise
    if answer.data.get("type") not in {"kv", "generic"}:
        raise RequestFailedError(Failure(Kind.INVALID, "the mount is not a KV secrets engine"))
    options = answer.data.get("options") or {}
    return 2 if str(options.get("version")) == "2" else 1


def has_detailed_listing(transport: Transport, token: str, mount: str) -> bool:
    """Whether a listing can contain versions, according to the endpoint's help, which any valid token may read.

    A listing does not show it: KV answers 404 both to an empty folder and to an unknown endpoint. Raises
    RequestFailedError.
    """
    try:
        answer = transport.request("GET", f"{mount}/detailed-metadata/", token=token, params={"help": "1"})
    except RequestFailedError as exc:
        if exc.failure.kind in {Kind.UNAVAILABLE, Kind.RATE_LIMITED, Kind.DENIED}:
            raise
        return False
    return "^detailed-metadata/" in answer.help


def read(transport: Transport, token: str, ref: Ref, version: int, *, limits: Limits = SECRET) -> Secret:
    """Read a secret. Raises RequestFailedError; `deleted_version` gets a deleted version's metadata from it."""
    if version == 1:
        if ref.version is not None:
            text = "KV version 1 has no versions; remove the version from the path, or use KV version 2"
            raise RequestFailedError(Failure(Kind.INVALID, text))
        return _bounded(Secret(transport.request("GET", f"{ref.mount}/{ref.path}", token=token, limits=limits).data))
    params = {"version": str(ref.version)} if ref.version is not None else None
    answer = transport.request("GET", f"{ref.mount}/data/{ref.path}", token=token, params=params, limits=limits)
    data = answer.data.get("data") or {}
    if not isinstance(data, dict):
        raise RequestFailedError(Failure(Kind.INVALID, "the data of the answer is not a KV secret"))
    return _bounded(Secret(data, _parse_version(answer.data.get("metadata") or {})))


def _bounded(secret: Secret) -> Secret:
    if (what := excess(secret.data)) is not None:
        raise RequestFailedError(Failure(Kind.INVALID, f"the secret is too large: {what}; split it into several"))
    return secret


def deleted_version(failed: RequestFailedError) -> VersionMetadata | None:
    """The metadata of the deleted version, if a 404 reports one."""
    metadata = failed.data.get("metadata")
    try:
        return _parse_version(metadata) if isinstance(metadata, dict) else None
    except RequestFailedError:
        return None


def read_metadata(transport: Transport, token: str, ref: Ref) -> VersionMetadata:
    """The latest version, without reading the data. Raises RequestFailedError."""
    return _latest_version(transport.request("GET", f"{ref.mount}/metadata/{ref.path}", token=token).data)


class Listing(ImmutableStruct, frozen=True):
    """The secrets in a folder, and a digest of the answer that said so."""

    digest: bytes
    secrets: Mapping[str, VersionMetadata | None]


def list_folder(
    transport: Transport, token: str, folder: Folder, version: int, *, detailed: bool, last: Listing | None = None
) -> Listing:
    """The secrets in a folder, without subfolders. `detailed`: with metadata, on OpenBao 2.3 and later.

    If the answer is that of the `last` listing, the result is that listing: nothing is decoded, and the caller need not
    compare it. Raises RequestFailedError.
    """
    view = "detailed-metadata/" if detailed else "metadata/"
    path = f"{folder.mount}/{view if version != 1 else ''}{folder.path}"
    params = {"list": "true"}
    before = last.digest if last is not None else b""
    digest, data = transport.read_data(path, token=token, params=params, digest=before, type_=_ListedData)
    if last is not None and data is None:
        return last
    listed = data or _ListedData()
    names = [name for name in listed.keys or () if not name.endswith("/")]
    if len(names) > MAX_NAMES:
        text = f"the folder has more than {MAX_NAMES:,} secrets; distribute them over several folders"
        raise RequestFailedError(Failure(Kind.INVALID, text))
    if not detailed:
        return Listing(digest, dict.fromkeys(names))
    details = listed.key_info or {}
    return Listing(digest, {name: _newest(details[name]) if name in details else None for name in names})


class _Version(msgspec.Struct):
    created_time: str = ""
    deletion_time: str | None = ""
    destroyed: bool = False


class _Metadata(msgspec.Struct):
    current_version: int | None = 0
    versions: dict[str, _Version] | None = None


class _ListedData(msgspec.Struct):
    keys: list[str] | None = None
    key_info: dict[str, _Metadata] | None = None


def _newest(metadata: _Metadata) -> VersionMetadata:
    number = _number(metadata.current_version)
    newest = (metadata.versions or {}).get(str(number)) or _Version()
    return VersionMetadata(number, newest.created_time, "destroyed" if newest.destroyed else newest.deletion_time or "")


def _latest_version(metadata: Mapping[str, Any]) -> VersionMetadata:
    number = _number(metadata.get("current_version"))
    newest = (metadata.get("versions") or {}).get(str(number)) or {}
    return _parse_version({**newest, "version": number})


def _parse_version(metadata: Mapping[str, Any]) -> VersionMetadata:
    deleted = "destroyed" if metadata.get("destroyed") else str(metadata.get("deletion_time") or "")
    return VersionMetadata(_number(metadata.get("version")), str(metadata.get("created_time") or ""), deleted)


def _number(version: object) -> int:
    """The number of a version. Raises RequestFailedError."""
    if version is None:
        return 0
    if not isinstance(version, int) or not 0 <= version <= _MAX_NUMBER:
        raise RequestFailedError(Failure(Kind.INVALID, "the metadata of the answer has no number of a version"))
    return version
