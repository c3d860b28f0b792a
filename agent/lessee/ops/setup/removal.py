"""Undoes one environment: its roles, policies, engines and secrets, and at last the record of them."""

from collections import Counter
from collections.abc import Callable, Iterator

from lessee.config import Config
from lessee.core.errors import LesseeError
from lessee.core.immutable import ImmutableStruct
from lessee.ops.setup.discovery import Looking
from lessee.ops.setup.policy.desired_state import record_path
from lessee.ops.setup.policy.fingerprints import Recorded
from lessee.ops.setup.policy.objects import Kind, name_of
from lessee.vault.admin import AdminClient

_ORDER = (Kind.ROLE, Kind.POLICY, Kind.ENGINE)
"""First nobody logs in any more; then the tokens that are left may do nothing."""

Tell = Callable[[str], None]


class Going(ImmutableStruct, frozen=True):
    """What would be removed: objects by kind and path, and paths in the KV mount, the record's last."""

    objects: tuple[tuple[Kind, str], ...]
    mount: str
    secrets: tuple[str, ...]

    def count(self) -> str:
        """How many of each kind, in words."""
        kinds = Counter(kind for kind, _ in self.objects)
        parts = [_many(kinds[kind], kind.value) for kind in _ORDER if kinds[kind]]
        return ", ".join((*parts, f"{_many(len(self.secrets) - 1, 'secret')} with all versions"))


def going(client: AdminClient, config: Config) -> Going | None:
    """What setup made in the configuration's environment; None where it made nothing there.

    Raises RefusedError or VaultUnreachableError.
    """
    environment = config.environment
    assert environment is not None
    mount, prefix = config.secrets.mount, config.secrets.prefix
    record = record_path(config, environment)
    looking = Looking(client)
    recorded = looking.recorded(config, environment)
    if recorded is None:
        return None
    secrets = [path for path in _below(client, mount, prefix) if path != record]
    return Going(tuple(_objects(recorded)), mount, (*secrets, record))


def remove(client: AdminClient, going: Going, tell: Tell) -> None:
    """Remove it all. What is gone already is no error. Raises RefusedError or VaultUnreachableError; it can be run again."""
    for kind, path in going.objects:
        try:
            client.delete(path)
        except LesseeError as exc:
            if kind is not Kind.ENGINE:
                raise
            name = name_of(kind, path)
            todo = exc.todo or f"can its leases be revoked? else: `bao lease revoke -force -prefix {name}`; then again"
            raise type(exc)(exc.what, where=path, todo=todo) from None
        tell(f"  - {kind} {name_of(kind, path)}")
    for path in going.secrets:
        client.delete(f"{going.mount}/metadata/{path}")
        tell(f"  - secret {going.mount}/{path}")


def _objects(recorded: Recorded) -> Iterator[tuple[Kind, str]]:
    """By the record, and not by their names: a neighbour's may begin alike."""
    for kind in _ORDER:
        yield from ((kind, path) for path, entry in sorted(recorded.items()) if entry.kind is kind)


def _below(client: AdminClient, mount: str, folder: str) -> Iterator[str]:
    for name in client.list(f"{mount}/metadata/{folder}"):
        if name.endswith("/"):
            yield from _below(client, mount, f"{folder}{name}")
        else:
            yield f"{folder}{name}"


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what.removesuffix('y')}{'ies' if what[-1] == 'y' else 's'}"
