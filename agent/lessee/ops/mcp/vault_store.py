"""What moves into Vault: looked at first, written only where nothing else is, and read back."""

from collections.abc import Callable, Iterable, Mapping

from lessee.config import Config
from lessee.core.errors import RefusedError, WriteError
from lessee.core.immutable import ImmutableStruct
from lessee.ops.mcp.policy.plan import Wrapped
from lessee.ops.setup.migration import mount_at
from lessee.rendering.app_templates import space_of
from lessee.vault.admin import AdminClient


def store(server: AdminClient, config: Config, wrapped: Iterable[Wrapped], tell: Callable[[str], None]) -> None:
    """Raises WriteError before the first one is written where another value is in the place of any.

    Raises RefusedError or VaultUnreachableError; what was written then stays, and is found equal the next time.
    """
    space = space_of(config)
    if not mount_at(server, space.mount).is_versioned:
        todo = "make it one: `bao kv enable-versioning`"
        raise WriteError("the mount is KV version 1, which writes over what is there", where=space.mount, todo=todo)
    places = {str(space.secret(one.secret).path): one.fields for one in wrapped}
    found = [_look(server, space.mount, path, fields) for path, fields in places.items()]
    for one in found:
        missing = {key: value for key, value in one.wanted.items() if key not in one.there}
        if missing:
            _write(server, one)
        tell(f"{'+' if missing else '='} {one.mount}/{one.path}: {', '.join(sorted(one.wanted))}")


class _Place(ImmutableStruct, frozen=True):
    hidden = ("wanted", "there")

    mount: str
    path: str
    wanted: Mapping[str, str]
    there: Mapping[str, object]
    version: int


def _look(server: AdminClient, mount: str, path: str, wanted: Mapping[str, str]) -> _Place:
    found = server.read(f"{mount}/data/{path}") or {}
    there = found.get("data") or {}
    other = sorted(key for key, value in wanted.items() if key in there and there[key] != value)
    if other:
        todo = "nothing was written; name another folder by --path, or make the two equal"
        raise WriteError(f"another value is there of {', '.join(other)}", where=f"{mount}/{path}", todo=todo)
    version = int((found.get("metadata") or {}).get("version") or _deleted(server, mount, path))
    return _Place(mount, path, wanted, there, version)


def _deleted(server: AdminClient, mount: str, path: str) -> int:
    """The version that was deleted, of which no data is told; 0 where there never was one, or it is not to be seen."""
    try:
        return int((server.read(f"{mount}/metadata/{path}") or {}).get("current_version") or 0)
    except RefusedError:
        return 0


def _write(server: AdminClient, one: _Place) -> None:
    path, fields = f"{one.mount}/data/{one.path}", {**one.there, **one.wanted}
    try:
        server.write(path, {"data": fields, "options": {"cas": one.version}})
    except RefusedError as exc:
        todo = exc.todo or "did somebody write it at this moment? run it again"
        raise RefusedError(exc.what, where=path, todo=todo) from None
    if ((server.read(path) or {}).get("data") or {}) != fields:
        raise WriteError("it does not read back as it was written", where=path, todo="run it again")
