"""Looks at what engines keep: leases, secrets, what databases can rotate."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import datetime

from lessee.core.errors import LesseeError
from lessee.ops.incident.policy.exposure import Kept
from lessee.ops.incident.policy.findings import Database, Secret
from lessee.ops.incident.requests import side_by_side
from lessee.vault.admin import AdminClient


def leases(client: AdminClient, prefix: str) -> int:
    """How many there are below a prefix. Raises as `AdminClient.read`, as all here do."""
    return _leases(client, f"{prefix.removesuffix('/')}/")


def database(client: AdminClient, mount: str, others: Iterable[str]) -> Database:
    """What a database engine can rotate by itself, and what of it `others`, engines too, have part in.

    Of others, what the token may not look at is passed over.
    """
    connections = client.list(f"{mount}/config")
    theirs: dict[tuple[str, str], str] = {}
    for other in others:
        with suppress(LesseeError):
            for name in client.list(f"{other}/config"):
                theirs.setdefault(_user(client, other, name), f"{other}/{name}")
    own = {name: theirs.get(_user(client, mount, name)) for name in connections if theirs}
    shared = {name: other for name, other in own.items() if other is not None}
    return Database(mount, client.list(f"{mount}/static-roles"), connections, shared)


def certificates(client: AdminClient, mount: str) -> int:
    """How many a PKI engine has issued."""
    return len(client.list(f"{mount}certs"))


def is_there(client: AdminClient, one: Kept) -> bool:
    """Whether it is a secret, be it deleted, or a folder."""
    base, path = _listed(one), one.path.removesuffix("/")
    folder = bool(client.list(f"{base}{path}/"))
    return folder or (not one.path.endswith("/") and client.read(f"{base}{path}") is not None)


def secrets(client: AdminClient, places: Iterable[Kept]) -> tuple[Secret, ...]:
    """All that lies there, with the newest version of each; of KV version 1 nobody can tell."""
    return tuple(secret for place in places for secret in _secrets(client, place))


def _user(client: AdminClient, mount: str, name: str) -> tuple[str, str]:
    """As whom a connection logs in, and where."""
    data = client.read(f"{mount}/config/{name}") or {}
    details = data.get("connection_details") or {}
    before, _, after = str(details.get("connection_url") or "").rpartition("@")
    # The address begins behind the login and ends at the database's name; a URL may name the user itself.
    said = details.get("username") or before.rpartition("//")[2].partition(":")[0]
    return str(said), after.partition("/")[0] or f"{mount}/{name}"


def _leases(client: AdminClient, folder: str) -> int:
    names = client.list(f"sys/leases/lookup/{folder}")
    deeper = (_leases(client, f"{folder}{name}") for name in names if name.endswith("/"))
    return sum(not name.endswith("/") for name in names) + sum(deeper)


def _secrets(client: AdminClient, place: Kept) -> Iterator[Secret]:
    base, mount = _listed(place), place.mount
    paths = list(_paths(client, base, place.path))
    if mount.version == 1:
        yield from (Secret(f"{mount.path}{path}") for path in paths)
        return
    for path, data in zip(paths, side_by_side(lambda path: client.read(f"{base}{path}"), paths), strict=True):
        if isinstance(data, LesseeError):
            raise data
        if data is not None:
            yield Secret(
                f"{mount.path}{path}", int(data.get("current_version") or 0), _created(data.get("updated_time"))
            )


def _paths(client: AdminClient, base: str, path: str) -> Iterator[str]:
    """A secret by its path, and what lies below it."""
    if path and not path.endswith("/"):
        yield path
        path = f"{path}/"
    for name in client.list(f"{base}{path}"):
        if name.endswith("/"):
            yield from _paths(client, base, f"{path}{name}")
        else:
            yield f"{path}{name}"


def _listed(place: Kept) -> str:
    return f"{place.mount.path}{'metadata/' if place.mount.version != 1 else ''}"


def _created(text: object) -> float | None:
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return None
