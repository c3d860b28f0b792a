"""The secrets of an environment: all that the token may list, or else those that the configuration names."""

import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from functools import partial

from lessee.core.errors import VaultRequestError
from lessee.core.failures import Failure, Kind
from lessee.core.immutable import ImmutableStruct
from lessee.core.paths import Folder, Ref
from lessee.core.secrets import Secret, VersionMetadata
from lessee.core.sensitive.names import SecretField, fields, is_not_secret
from lessee.ops.validate.concurrency import each
from lessee.vault.admin import AdminClient

MOST = 2000
"""Secrets that are looked at."""
_OWN = "lessee/"
"""What lessee itself keeps in an environment: fingerprints and journals, which are alike everywhere."""


class Inventory(ImmutableStruct, frozen=True):
    """What was seen. Of a secret that is deleted, its version metadata alone."""

    hidden = ("secrets",)

    secrets: Mapping[Ref, Secret]
    deleted: Mapping[Ref, VersionMetadata]
    listed: bool
    """Whether the token may list the environment's folder."""
    refused: tuple[str, ...] = ()
    """Paths that the token may not read, and folders that it may not list."""
    unseen: int = 0
    """Secrets for which the time did not suffice, or that are too many; the latter are counted as one."""

    def values(self) -> Iterator[tuple[SecretField, str]]:
        """All that is to be kept secret, by where it belongs."""
        for ref, secret in self.secrets.items():
            for key, value in fields(secret.data):
                if not is_not_secret(key, value):
                    yield SecretField(str(ref), key), value

    @property
    def plain(self) -> int:
        """How many values are not among those, for their names say that they are no secrets."""
        found = (one for secret in self.secrets.values() for one in fields(secret.data))
        return sum(is_not_secret(key, value) for key, value in found)


def take(client: AdminClient, version: int, root: Folder, named: Iterable[Ref], seconds: float) -> Inventory:
    """Of the folder, and of those that are `named`; it takes no longer than so many seconds."""
    deadline = time.monotonic() + seconds
    names = _names(client, root, version, deadline)
    refs = sorted({*names.found, *named})
    return _read(client, refs, version, deadline, names)


def take_other(client: AdminClient, version: int, root: Folder, seconds: float) -> Inventory | None:
    """Of another environment's folder. None where the token may not list it, as it should be."""
    deadline = time.monotonic() + seconds
    names = _names(client, root, version, deadline)
    return _read(client, names.found, version, deadline, names) if names.listed else None


class _Names(ImmutableStruct, frozen=True):
    """The secrets below a folder. `whole`: there are no more, but for those in folders that are `refused`."""

    found: list[Ref]
    whole: bool
    listed: bool = True
    refused: tuple[str, ...] = ()


def _names(client: AdminClient, root: Folder, version: int, deadline: float) -> _Names:
    """Breadth first."""
    found: list[Ref] = []
    refused: list[str] = []
    whole = True
    own = Folder(root.mount, f"{root.path}{_OWN}")
    waiting = deque([root])
    while waiting and len(found) <= MOST and time.monotonic() < deadline:
        folder = waiting.popleft()
        try:
            names = client.list(f"{folder.mount}/{'metadata/' if version != 1 else ''}{folder.path}")
        except VaultRequestError as exc:
            if exc.kind is not Kind.DENIED:
                whole = False
            elif folder == root:
                return _Names([], whole=True, listed=False)
            else:
                refused.append(str(folder))
            continue
        found += [folder.ref(name) for name in names if not name.endswith("/")]
        below = (Folder(folder.mount, folder.path + name) for name in names if name.endswith("/"))
        waiting += [one for one in below if one != own]
    return _Names(found, whole and not waiting, refused=tuple(refused))


def _read(client: AdminClient, wanted: list[Ref], version: int, deadline: float, names: _Names) -> Inventory:
    refs, more = wanted[:MOST], not names.whole or len(wanted) > MOST
    seen = each(refs, partial(_look, client, version), max(deadline - time.monotonic(), 0))
    refused = (str(ref) for ref, one in sorted(seen.items()) if isinstance(one, Failure))
    return Inventory(
        secrets={ref: one for ref, one in sorted(seen.items()) if isinstance(one, Secret)},
        deleted={ref: one for ref, one in sorted(seen.items()) if isinstance(one, VersionMetadata)},
        listed=names.listed,
        refused=(*names.refused, *refused),
        unseen=len(refs) - len(seen) + more,
    )


def _look(client: AdminClient, version: int, ref: Ref) -> Secret | VersionMetadata | Failure | None:
    try:
        return client.read_secret(ref, version)
    except VaultRequestError as exc:
        return Failure(exc.kind, exc.what)
