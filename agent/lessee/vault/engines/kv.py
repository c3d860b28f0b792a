"""The KV secrets engine, versions 1 and 2."""

from collections.abc import Mapping
from typing import Any

from lessee.core.failures import Failure, Kind
from lessee.core.paths import Folder, Ref
from lessee.core.secrets import Secret, VersionMetadata
from lessee.vault.transport import RequestFailedError, Transport


def mount_version(transport: Transport, token: str, mount: str) -> int:
    """1 or 2. Any token that may do anything below the mount may ask; raises RequestFailedError."""
    try:
        answer = transport.ask("GET", f"sys/internal/ui/mounts/{mount}", token=token)
    except RequestFailedError as exc:
        if exc.failure.kind is Kind.DENIED:
            text = "there is no such mount, or the token's policy grants nothing in it"
            raise RequestFailedError(Failure(Kind.DENIED, text)) from None
        raise
    if answer.data.get("type") not in {"kv", "generic"}:
        raise RequestFailedError(Failure(Kind.INVALID, "the mount is no KV engine"))
    options = answer.data.get("options") or {}
    return 2 if str(options.get("version")) == "2" else 1


def is_detailed(transport: Transport, token: str, mount: str) -> bool:
    """Whether a folder's names come with their versions, by the help, for which any valid token may ask.

    A listing would tell less: KV answers 404 both for an empty folder and for what it does not know. Raises
    RequestFailedError.
    """
    try:
        answer = transport.ask("GET", f"{mount}/detailed-metadata/", token=token, params={"help": "1"})
    except RequestFailedError as exc:
        if exc.failure.kind in {Kind.UNAVAILABLE, Kind.RATE_LIMITED, Kind.DENIED}:
            raise
        return False
    return "^detailed-metadata/" in answer.help


def read(transport: Transport, token: str, ref: Ref, version: int) -> Secret:
    """A secret's fields. Raises RequestFailedError; of a deleted version, its metadata comes along (see `deleted`)."""
    if version == 1:
        if ref.version is not None:
            raise RequestFailedError(Failure(Kind.INVALID, "KV version 1 keeps no versions to pin"))
        return Secret(transport.ask("GET", f"{ref.mount}/{ref.path}", token=token).data)
    params = {"version": str(ref.version)} if ref.version is not None else None
    answer = transport.ask("GET", f"{ref.mount}/data/{ref.path}", token=token, params=params)
    return Secret(answer.data.get("data") or {}, _marker_of_version(answer.data.get("metadata") or {}))


def deleted(failed: RequestFailedError) -> VersionMetadata | None:
    """The version that a 404 says is deleted."""
    metadata = failed.data.get("metadata")
    return _marker_of_version(metadata) if isinstance(metadata, dict) else None


def look(transport: Transport, token: str, ref: Ref) -> VersionMetadata:
    """The newest version, by metadata alone. Raises RequestFailedError."""
    return _marker(transport.ask("GET", f"{ref.mount}/metadata/{ref.path}", token=token).data)


def list_folder(
    transport: Transport, token: str, folder: Folder, version: int, *, detailed: bool
) -> Mapping[str, VersionMetadata | None]:
    """The secrets in a folder, not its sub-folders. `detailed`: with metadata, where the server has it (OpenBao 2.3)."""
    view = "detailed-metadata/" if detailed else "metadata/"
    path = f"{folder.mount}/{view if version != 1 else ''}{folder.path}"
    answer = transport.ask("GET", path, token=token, params={"list": "true"})
    names = [name for name in answer.data.get("keys") or () if not name.endswith("/")]
    if not detailed:
        return dict.fromkeys(names)
    details = answer.data.get("key_info") or {}
    return {name: _marker(details[name]) if name in details else None for name in names}


def _marker(metadata: Mapping[str, Any]) -> VersionMetadata:
    number = metadata.get("current_version") or 0
    newest = (metadata.get("versions") or {}).get(str(number)) or {}
    return _marker_of_version({**newest, "version": number})


def _marker_of_version(metadata: Mapping[str, Any]) -> VersionMetadata:
    gone = "destroyed" if metadata.get("destroyed") else metadata.get("deletion_time") or ""
    return VersionMetadata(int(metadata.get("version") or 0), str(metadata.get("created_time") or ""), gone)
