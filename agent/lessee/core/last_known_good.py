"""What an app's files were last made from, as it is kept over the loss of all else; and when it may serve again."""

from collections.abc import Mapping
from typing import Any

import msgspec

from lessee.core.errors import LesseeError
from lessee.core.immutable import ImmutableStruct
from lessee.core.paths import Dynamic, Folder, Need, Ref
from lessee.core.secrets import Secret

FORMAT = 1
AHEAD = 300.0
"""Seconds that the clock may have gone back since, before an age is not believed."""


class Label(ImmutableStruct, frozen=True):
    """Whose it is, and of when: what may be read without the key, and what cannot be changed without it."""

    app: str
    environment: str
    kept_at: float
    """Seconds since 1970."""
    format: int = FORMAT


class Issued(ImmutableStruct, frozen=True):
    """What Vault had made. `ends_at` in seconds since 1970; None: it does not end."""

    hidden = ("data",)

    need: Dynamic
    data: dict[str, Any]
    ends_at: float | None


class Good(ImmutableStruct, frozen=True):
    """All that the templates of an app read."""

    hidden = ("secrets", "folders", "issued")

    secrets: list[tuple[Ref, dict[str, Any]]]
    folders: list[tuple[Folder, dict[str, dict[str, Any]]]]
    issued: list[Issued]


class Served(ImmutableStruct, frozen=True):
    """What a rendering is made from."""

    hidden = ("secrets", "folders", "dynamic")

    secrets: Mapping[Ref, Secret]
    folders: Mapping[Folder, Mapping[str, Secret]]
    dynamic: Mapping[Dynamic, Secret]


def pack(
    secrets: Mapping[Ref, Secret],
    folders: Mapping[Folder, Mapping[str, Secret]],
    dynamic: Mapping[Dynamic, Secret],
    ends: Mapping[Dynamic, float],
) -> bytes:
    """What is to be kept. `ends` in seconds since 1970."""
    return msgspec.json.encode(
        Good(
            [(ref, dict(secret.data)) for ref, secret in secrets.items()],
            [(folder, {name: dict(one.data) for name, one in inside.items()}) for folder, inside in folders.items()],
            [Issued(need, dict(secret.data), ends.get(need)) for need, secret in dynamic.items()],
        )
    )


def refuse_label(label: Label, app: str, environment: str, max_age: float | None, now: float) -> None:
    """Raises LesseeError where what is kept is another's, too old, or of another version. `now` as `kept_at`."""
    if label.format != FORMAT:
        raise LesseeError("it was kept by another version of lessee", todo="it is kept anew once Vault is there")
    if (label.app, label.environment) != (app, environment):
        of = f"app {label.app} in {label.environment or 'no environment'}"
        raise LesseeError(f"it is of {of}", todo="give each app and environment a file of its own")
    if max_age is None:
        return
    age = now - label.kept_at
    if age > max_age:
        raise LesseeError(f"it is {_days(age)} old", todo="`max_age` says how old it may be")
    if age < -AHEAD:
        raise LesseeError("it was kept later than this machine's clock says it is", todo="set the clock")


def unpack(kept: bytes, needs: frozenset[Need], now: float) -> Served:
    """What these needs read. Raises LesseeError where it does not suffice, or has ended by `now`."""
    try:
        good = msgspec.json.decode(kept, type=Good)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise LesseeError("what is kept in it is not lessee's", todo="remove it") from None
    secrets = {ref: Secret(data) for ref, data in good.secrets if ref in needs}
    folders = {
        folder: {name: Secret(data) for name, data in inside.items()}
        for folder, inside in good.folders
        if folder in needs
    }
    issued = [one for one in good.issued if one.need in needs]
    ended = sorted(str(one.need) for one in issued if one.ends_at is not None and one.ends_at <= now)
    if ended:
        raise LesseeError(f"what Vault had made has ended: {', '.join(ended)}")
    dynamic = {one.need: Secret(one.data) for one in issued}
    missing = sorted(str(need) for need in needs - secrets.keys() - folders.keys() - dynamic.keys())
    if missing:
        raise LesseeError(f"the templates read what was not kept: {', '.join(missing)}")
    return Served(secrets, folders, dynamic)


def _days(seconds: float) -> str:
    days = seconds / 86400
    return f"{days:.0f} days" if days >= 2 else f"{seconds / 3600:.0f} hours"  # noqa: PLR2004  # Of one day, hours say more.
