"""The last-known-good snapshot: the secrets from which an app's files were last rendered, and when it may be used."""

from collections.abc import Mapping
from typing import Any

import msgspec

from lessee.core.errors import LesseeError
from lessee.core.immutable import ImmutableStruct
from lessee.core.paths import DynamicSecret, Folder, Need, Ref
from lessee.core.secrets import Secret

FORMAT = 2
"""Format 1 is that of lessee 0.1.0: see `last_known_good_format_1`."""
MAX_CLOCK_STEP = 300.0
"""Seconds. A snapshot that was saved further in the future has an age that cannot be trusted."""


class SnapshotHeader(ImmutableStruct, frozen=True):
    """The app and time of a snapshot: readable without the key, and authenticated by it."""

    app: str
    environment: str
    saved_at: float
    """Seconds since 1970."""
    format: int = FORMAT


class _Format(msgspec.Struct):
    format: int = 0


class IssuedSecret(ImmutableStruct, frozen=True):
    """A dynamic secret in a snapshot. `expires_at` in seconds since 1970; None: it does not expire."""

    hidden = ("data",)

    need: DynamicSecret
    data: dict[str, Any]
    expires_at: float | None


class SnapshotSecrets(ImmutableStruct, frozen=True):
    """The secrets that a decoded snapshot provides to the templates."""

    hidden = ("secrets", "folders", "dynamic")

    secrets: Mapping[Ref, Secret]
    folders: Mapping[Folder, Mapping[str, Secret]]
    dynamic: Mapping[DynamicSecret, Secret]


class _Snapshot(ImmutableStruct, frozen=True):
    hidden = ("secrets", "folders", "issued")

    secrets: list[tuple[Ref, dict[str, Any]]]
    folders: list[tuple[Folder, dict[str, dict[str, Any]]]]
    issued: list[IssuedSecret]


def encode_snapshot(
    secrets: Mapping[Ref, Secret],
    folders: Mapping[Folder, Mapping[str, Secret]],
    dynamic: Mapping[DynamicSecret, Secret],
    expiries: Mapping[DynamicSecret, float],
) -> bytes:
    """The content of a snapshot. `expiries` in seconds since 1970."""
    return msgspec.json.encode(
        _Snapshot(
            [(ref, dict(secret.data)) for ref, secret in secrets.items()],
            [
                (folder, {name: dict(secret.data) for name, secret in inside.items()})
                for folder, inside in folders.items()
            ],
            [IssuedSecret(need, dict(secret.data), expiries.get(need)) for need, secret in dynamic.items()],
        )
    )


def parse_header(text: bytes) -> SnapshotHeader:
    """The header, also of format 1. Raises LesseeError."""
    try:
        found = msgspec.json.decode(text, type=_Format).format
        if found == 1:
            from lessee.core.last_known_good_format_1 import Header1  # noqa: PLC0415  # After an upgrade alone.

            old = msgspec.json.decode(text, type=Header1)
            return SnapshotHeader(old.app, old.environment, old.kept_at, 1)
        if found <= FORMAT:
            return msgspec.json.decode(text, type=SnapshotHeader)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise LesseeError("it does not begin like a snapshot of lessee", todo="remove the file") from None
    what = f"a newer version of lessee saved this snapshot, in format {found}; this one reads {FORMAT}"
    raise LesseeError(what, todo="the agent saves a new one as soon as Vault is available")


def check_header(header: SnapshotHeader, app: str, environment: str, max_age: float | None, now: float) -> None:
    """Raises LesseeError if the snapshot is of another app or too old. `now`: seconds since 1970."""
    if (header.app, header.environment) != (app, environment):
        owner = f"app {header.app} in {header.environment or 'no environment'}"
        raise LesseeError(f"the snapshot is of {owner}", todo="configure a separate file for each app and environment")
    if max_age is None:
        return
    age = now - header.saved_at
    if age > max_age:
        raise LesseeError(f"the snapshot is {_days(age)} old", todo="`max_age` sets how old it may be")
    if age < -MAX_CLOCK_STEP:
        raise LesseeError("the snapshot was saved later than this machine's clock says it is", todo="set the clock")


def decode_snapshot(content: bytes, needs: frozenset[Need], now: float, version: int = FORMAT) -> SnapshotSecrets:
    """The secrets for these needs. Raises LesseeError if one is missing or has expired by `now`.

    `version`: the format that its header names.
    """
    try:
        if version == 1:
            from lessee.core.last_known_good_format_1 import upgrade_content  # noqa: PLC0415  # As above.

            content = upgrade_content(content)
        snapshot = msgspec.json.decode(content, type=_Snapshot)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise LesseeError("the file does not contain a snapshot of lessee", todo="remove it") from None
    secrets = {ref: Secret(data) for ref, data in snapshot.secrets if ref in needs}
    folders = {
        folder: {name: Secret(data) for name, data in inside.items()}
        for folder, inside in snapshot.folders
        if folder in needs
    }
    issued = [secret for secret in snapshot.issued if secret.need in needs]
    expired = sorted(
        str(secret.need) for secret in issued if secret.expires_at is not None and secret.expires_at <= now
    )
    if expired:
        raise LesseeError(f"dynamic secrets in the snapshot have expired: {', '.join(expired)}")
    dynamic = {secret.need: Secret(secret.data) for secret in issued}
    missing = sorted(str(need) for need in needs - secrets.keys() - folders.keys() - dynamic.keys())
    if missing:
        raise LesseeError(f"the templates read secrets that are not in the snapshot: {', '.join(missing)}")
    return SnapshotSecrets(secrets, folders, dynamic)


def _days(seconds: float) -> str:
    days = seconds / 86400
    return f"{days:.0f} days" if days >= 2 else f"{seconds / 3600:.0f} hours"  # noqa: PLR2004  # Hours are more precise.
