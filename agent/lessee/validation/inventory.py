"""The secrets of an environment: all that the token may list, or else those that the configuration names."""

import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from lessee.core.errors import LesseeError, Refused
from lessee.core.machine.failures import Failure, Kind
from lessee.core.paths import Folder, Ref
from lessee.core.record import Record
from lessee.core.secrets import Marker, Secret
from lessee.core.validation.fields import Place, fields, is_plain
from lessee.validation.side_by_side import each
from lessee.vault import kv
from lessee.vault.door import RequestFailed
from lessee.vault.operator import Operator

if TYPE_CHECKING:
    from lessee.validation.subject import Subject

MOST = 2000
"""Secrets that are looked at."""
_OWN = "lessee/"
"""What lessee itself keeps in an environment: fingerprints and journals, which are alike everywhere."""
_SHARE = 0.6
"""Of a check's time: what was seen until then is judged in the rest of it."""


class Inventory(Record, frozen=True):
    """What was seen. Of a secret that is deleted, its marker alone."""

    hidden = ("secrets",)

    secrets: Mapping[Ref, Secret]
    deleted: Mapping[Ref, Marker]
    listed: bool
    """Whether the token may list the environment's folder."""
    refused: tuple[str, ...] = ()
    """Paths that the token may not read."""
    unseen: int = 0
    """Secrets for which the time did not suffice, or that are too many; the latter are counted as one."""

    def values(self) -> Iterator[tuple[Place, str]]:
        """All that is to be kept secret, by where it belongs."""
        for ref, secret in self.secrets.items():
            for key, value in fields(secret.data):
                if not is_plain(key, value):
                    yield Place(str(ref), key), value


def take(subject: "Subject") -> Inventory:
    """Of the environment itself. Raises NotLooked where Vault does not serve, Refused or VaultUnreachable."""
    asking, version = subject.operator(), subject.kv_version()
    deadline = time.monotonic() + subject.timeout * _SHARE
    found, whole = _names(asking, Folder(subject.space.mount, subject.space.prefix), version, deadline)
    refs = sorted({*(found or ()), *_named(subject)})
    return _read(asking, refs[:MOST], version, deadline, listed=found is not None, more=not whole or len(refs) > MOST)


def take_other(subject: "Subject", prefix: str, deadline: float) -> Inventory | None:
    """Of another environment, which lies below `prefix`, by then on the monotonic clock.

    None where the token may not list it, as it should be.
    """
    asking, version = subject.operator(), subject.kv_version()
    found, whole = _names(asking, Folder(subject.space.mount, prefix), version, deadline)
    if found is None:
        return None
    return _read(asking, found[:MOST], version, deadline, listed=True, more=not whole or len(found) > MOST)


def _named(subject: "Subject") -> set[Ref]:
    """Those that templates read, and that the operator's blocks name."""
    said = subject.config.validate
    blocks = [said.database, said.storage, said.mcp_cache, said.mcp_auth, *said.api_keys.values()]
    named = {block.secret for block in blocks if block is not None}
    named |= {said.mcp_cache.redis} if said.mcp_cache is not None else set()
    named |= {one.secret for one in subject.config.rotation.values()}
    refs = set()
    for path in named - {None}:
        with suppress(Refused):  # The check that wants it tells of it.
            refs.add(subject.space.secret(str(path)))
    try:
        needs = subject.needs()
    except LesseeError:
        needs = frozenset()  # An app's own checks tell of it.
    return refs | {Ref(need.mount, need.path) for need in needs if isinstance(need, Ref)}


def _names(asking: Operator, root: Folder, version: int, deadline: float) -> tuple[list[Ref] | None, bool]:
    """The secrets below a folder, breadth first, and whether these are all; None where it may not be listed."""
    found: list[Ref] = []
    own = Folder(root.mount, f"{root.path}{_OWN}")
    waiting = deque([root])
    while waiting and len(found) <= MOST and time.monotonic() < deadline:
        folder = waiting.popleft()
        try:
            names = _list(asking, folder, version)
        except RequestFailed as exc:
            if folder == root and exc.failure.kind is Kind.DENIED:
                return None, True
            continue
        found += [folder.ref(name) for name in names if not name.endswith("/")]
        below = (Folder(folder.mount, folder.path + name) for name in names if name.endswith("/"))
        waiting += [one for one in below if one != own]
    return found, not waiting


def _list(asking: Operator, folder: Folder, version: int) -> list[str]:
    path = f"{folder.mount}/{'metadata/' if version != 1 else ''}{folder.path}"
    try:
        return list(asking.door.ask("GET", path, token=asking.token, params={"list": "true"}).data.get("keys") or ())
    except RequestFailed as exc:
        if exc.failure.kind is Kind.MISSING:
            return []
        raise


def _read(asking: Operator, refs: list[Ref], version: int, deadline: float, *, listed: bool, more: bool) -> Inventory:
    seen = each(refs, partial(_look, asking, version), max(deadline - time.monotonic(), 0))
    return Inventory(
        secrets={ref: one for ref, one in sorted(seen.items()) if isinstance(one, Secret)},
        deleted={ref: one for ref, one in sorted(seen.items()) if isinstance(one, Marker)},
        listed=listed,
        refused=tuple(str(ref) for ref, one in sorted(seen.items()) if isinstance(one, Failure)),
        unseen=len(refs) - len(seen) + more,
    )


def _look(asking: Operator, version: int, ref: Ref) -> Secret | Marker | Failure | None:
    try:
        return kv.read(asking.door, asking.token, ref, version)
    except RequestFailed as exc:
        if exc.failure.kind is Kind.MISSING:
            return kv.deleted(exc)
        return exc.failure
