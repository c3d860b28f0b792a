"""Undoes one environment: its roles, policies, engines and secrets, and at last the record of them."""

from collections import Counter
from collections.abc import Callable, Iterator

from lessee.config import Config
from lessee.core.errors import LesseeError
from lessee.core.immutable import ImmutableStruct
from lessee.ops.setup.discovery import Discovery
from lessee.ops.setup.policy.desired_state import record_path
from lessee.ops.setup.policy.objects import Kind, display_name
from lessee.ops.setup.policy.server_state import SetupRecord
from lessee.vault.admin import AdminClient

_ORDER = (Kind.ROLE, Kind.POLICY, Kind.ENGINE)
"""InitialSecret nobody logs in any more; then the tokens that are left may do nothing."""

Tell = Callable[[str], None]


class Removal(ImmutableStruct, frozen=True):
    """What would be removed: objects by kind and path, and paths in the KV mount, the record's last."""

    objects: tuple[tuple[Kind, str], ...]
    mount: str
    secrets: tuple[str, ...]

    def count(self) -> str:
        """How many of each kind, in words."""
        kinds = Counter(kind for kind, _ in self.objects)
        parts = [_many(kinds[kind], kind.value) for kind in _ORDER if kinds[kind]]
        return ", ".join((*parts, f"{_many(len(self.secrets) - 1, 'secret')} with all versions"))


def plan_removal(client: AdminClient, config: Config) -> Removal | None:
    """What setup made in the configuration's environment; None where it made nothing there.

    Raises DeniedError or VaultUnreachableError.
    """
    environment = config.environment
    assert environment is not None
    mount, prefix = config.secrets.mount, config.secrets.prefix
    record = record_path(config, environment)
    looking = Discovery(client)
    recorded = looking.recorded(config, environment)
    if recorded is None:
        return None
    secrets = [path for path in _below(client, mount, prefix) if path != record]
    return Removal(tuple(_objects(recorded)), mount, (*secrets, record))


def remove(client: AdminClient, plan_removal: Removal, tell: Tell) -> None:
    """Remove it all. What is gone already is no error. Raises DeniedError or VaultUnreachableError; it can be run again."""
    for kind, path in plan_removal.objects:
        try:
            client.delete(path)
        except LesseeError as exc:
            if kind is not Kind.ENGINE:
                raise
            name = display_name(kind, path)
            todo = exc.todo or f"can its leases be revoked? else: `bao lease revoke -force -prefix {name}`; then again"
            raise type(exc)(exc.what, where=path, todo=todo) from None
        tell(f"  - {kind} {display_name(kind, path)}")
    for path in plan_removal.secrets:
        client.delete(f"{plan_removal.mount}/metadata/{path}")
        tell(f"  - secret {plan_removal.mount}/{path}")


def _objects(recorded: SetupRecord) -> Iterator[tuple[Kind, str]]:
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
