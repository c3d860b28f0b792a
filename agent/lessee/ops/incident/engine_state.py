"""Reads what secrets engines hold: leases, secrets, certificates, and what databases can rotate."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import datetime

from lessee.core.errors import LesseeError
from lessee.host.progress import SILENT, Progress
from lessee.ops.incident.policy.exposure import KvLocation
from lessee.ops.incident.policy.findings import Database, Secret
from lessee.ops.incident.requests import request_all
from lessee.ops.rotate.policy.connections import user_and_address
from lessee.vault.admin import AdminClient


def count_leases(client: AdminClient, prefix: str) -> int:
    """The number of leases below a prefix. Raises the errors of `AdminClient.read`, as all functions here."""
    return _count_leases(client, f"{prefix.removesuffix('/')}/")


def read_database(client: AdminClient, mount: str, others: Iterable[str]) -> Database:
    """What a database engine can rotate, and which connections share their user with the engines `others`.

    Other engines that the token may not read are skipped.
    """
    connections = client.list(f"{mount}/config")
    users: dict[tuple[str, str], str] = {}
    for other in others:
        with suppress(LesseeError):
            for name in client.list(f"{other}/config"):
                users.setdefault(_user(client, other, name), f"{other}/{name}")
    own = {name: users.get(_user(client, mount, name)) for name in connections if users}
    shared = {name: other for name, other in own.items() if other is not None}
    return Database(mount, client.list(f"{mount}/static-roles"), connections, shared)


def count_certificates(client: AdminClient, mount: str) -> int:
    """The number of certificates that a PKI engine has issued."""
    return len(client.list(f"{mount}certs"))


def exists(client: AdminClient, location: KvLocation) -> bool:
    """Whether it is a folder, or a secret, even a deleted one."""
    base, path = _metadata_base(location), location.path.removesuffix("/")
    is_folder = bool(client.list(f"{base}{path}/"))
    return is_folder or (not location.path.endswith("/") and client.read(f"{base}{path}") is not None)


def read_secrets(
    client: AdminClient, locations: Iterable[KvLocation], progress: Progress = SILENT
) -> tuple[Secret, ...]:
    """All secrets in the locations, each with its newest version, which KV version 1 does not have."""
    return tuple(secret for location in locations for secret in _secrets(client, location, progress))


def _user(client: AdminClient, mount: str, name: str) -> tuple[str, str]:
    """A connection's user and address."""
    data = client.read(f"{mount}/config/{name}") or {}
    user, address = user_and_address(data.get("connection_details") or {})
    return user, address or f"{mount}/{name}"


def _count_leases(client: AdminClient, folder: str) -> int:
    names = client.list(f"sys/leases/lookup/{folder}")
    deeper = (_count_leases(client, f"{folder}{name}") for name in names if name.endswith("/"))
    return sum(not name.endswith("/") for name in names) + sum(deeper)


def _secrets(client: AdminClient, location: KvLocation, progress: Progress) -> Iterator[Secret]:
    base, mount = _metadata_base(location), location.mount
    paths = list(progress.track(_paths(client, base, location.path), "listing secrets"))
    if mount.version == 1:
        yield from (Secret(f"{mount.path}{path}") for path in paths)
        return
    progress.phase("reading versions of secrets", len(paths))
    found = request_all(lambda path: client.read(f"{base}{path}"), paths, progress)
    for path, data in zip(paths, found, strict=True):
        if isinstance(data, LesseeError):
            raise data
        if data is not None:
            version, created = int(data.get("current_version") or 0), _timestamp(data.get("updated_time"))
            yield Secret(f"{mount.path}{path}", version, created)


def _paths(client: AdminClient, base: str, path: str) -> Iterator[str]:
    """The path itself where it is a secret, and all secrets below it."""
    if path and not path.endswith("/"):
        yield path
        path = f"{path}/"
    for name in client.list(f"{base}{path}"):
        if name.endswith("/"):
            yield from _paths(client, base, f"{path}{name}")
        else:
            yield f"{path}{name}"


def _metadata_base(location: KvLocation) -> str:
    return f"{location.mount.path}{'metadata/' if location.mount.version != 1 else ''}"


def _timestamp(text: object) -> float | None:
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return None
