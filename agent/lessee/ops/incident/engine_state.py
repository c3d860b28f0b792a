"""Looks at what engines keep: leases, secrets, what databases can rotate."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import datetime

from lessee.core.errors import LesseeError
from lessee.ops.incident.policy.exposure import Kept
from lessee.ops.incident.policy.findings import Database, Secret
from lessee.ops.incident.requests import side_by_side
from lessee.vault.admin import Operator


def leases(operator: Operator, prefix: str) -> int:
    """How many there are below a prefix. Raises as `Operator.read`, as all here do."""
    return _leases(operator, f"{prefix.removesuffix('/')}/")


def database(operator: Operator, mount: str, others: Iterable[str]) -> Database:
    """What a database engine can rotate by itself, and what of it `others`, engines too, have part in.

    Of others, what the token may not look at is passed over.
    """
    connections = operator.list(f"{mount}/config")
    theirs: dict[tuple[str, str], str] = {}
    for other in others:
        with suppress(LesseeError):
            for name in operator.list(f"{other}/config"):
                theirs.setdefault(_user(operator, other, name), f"{other}/{name}")
    own = {name: theirs.get(_user(operator, mount, name)) for name in connections if theirs}
    shared = {name: other for name, other in own.items() if other is not None}
    return Database(mount, operator.list(f"{mount}/static-roles"), connections, shared)


def certificates(operator: Operator, mount: str) -> int:
    """How many a PKI engine has issued."""
    return len(operator.list(f"{mount}certs"))


def is_there(operator: Operator, one: Kept) -> bool:
    """Whether it is a secret, be it deleted, or a folder."""
    base, path = _listed(one), one.path.removesuffix("/")
    folder = bool(operator.list(f"{base}{path}/"))
    return folder or (not one.path.endswith("/") and operator.read(f"{base}{path}") is not None)


def secrets(operator: Operator, places: Iterable[Kept]) -> tuple[Secret, ...]:
    """All that lies there, with the newest version of each; of KV version 1 nobody can tell."""
    return tuple(secret for place in places for secret in _secrets(operator, place))


def _user(operator: Operator, mount: str, name: str) -> tuple[str, str]:
    """As whom a connection logs in, and where."""
    data = operator.read(f"{mount}/config/{name}") or {}
    details = data.get("connection_details") or {}
    before, _, after = str(details.get("connection_url") or "").rpartition("@")
    # The address begins behind the login and ends at the database's name; a URL may name the user itself.
    said = details.get("username") or before.rpartition("//")[2].partition(":")[0]
    return str(said), after.partition("/")[0] or f"{mount}/{name}"


def _leases(operator: Operator, folder: str) -> int:
    names = operator.list(f"sys/leases/lookup/{folder}")
    deeper = (_leases(operator, f"{folder}{name}") for name in names if name.endswith("/"))
    return sum(not name.endswith("/") for name in names) + sum(deeper)


def _secrets(operator: Operator, place: Kept) -> Iterator[Secret]:
    base, mount = _listed(place), place.mount
    paths = list(_paths(operator, base, place.path))
    if mount.version == 1:
        yield from (Secret(f"{mount.path}{path}") for path in paths)
        return
    for path, data in zip(paths, side_by_side(lambda path: operator.read(f"{base}{path}"), paths), strict=True):
        if isinstance(data, LesseeError):
            raise data
        if data is not None:
            yield Secret(
                f"{mount.path}{path}", int(data.get("current_version") or 0), _created(data.get("updated_time"))
            )


def _paths(operator: Operator, base: str, path: str) -> Iterator[str]:
    """A secret by its path, and what lies below it."""
    if path and not path.endswith("/"):
        yield path
        path = f"{path}/"
    for name in operator.list(f"{base}{path}"):
        if name.endswith("/"):
            yield from _paths(operator, base, f"{path}{name}")
        else:
            yield f"{path}{name}"


def _listed(place: Kept) -> str:
    return f"{place.mount.path}{'metadata/' if place.mount.version != 1 else ''}"


def _created(text: object) -> float | None:
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return None
