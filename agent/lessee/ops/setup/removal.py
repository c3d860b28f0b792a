"""Removes one environment: its roles, policies, engines and secrets, and finally their record."""

from collections import Counter
from collections.abc import Callable, Iterator

from lessee.config import Config
from lessee.core.errors import VaultRequestError
from lessee.core.immutable import ImmutableStruct
from lessee.core.printable import counted
from lessee.ops.setup.discovery import Discovery
from lessee.ops.setup.policy.desired_state import record_path
from lessee.ops.setup.policy.objects import Kind, display_name
from lessee.ops.setup.policy.server_state import SetupRecord
from lessee.vault.admin import AdminClient

_ORDER = (Kind.ROLE, Kind.POLICY, Kind.ENGINE)
"""Roles first, so that no client logs in any more; then policies, so that remaining tokens may do nothing."""

Report = Callable[[str], None]


class Removal(ImmutableStruct, frozen=True):
    """What will be removed: objects by kind and path, and paths in the KV mount, with the record last."""

    objects: tuple[tuple[Kind, str], ...]
    mount: str
    secrets: tuple[str, ...]

    def count(self) -> str:
        """The number of objects of each kind, as text."""
        kinds = Counter(kind for kind, _ in self.objects)
        parts = [counted(kinds[kind], kind.value) for kind in _ORDER if kinds[kind]]
        return ", ".join((*parts, f"{counted(len(self.secrets) - 1, 'secret')} with all versions"))


def plan_removal(client: AdminClient, config: Config) -> Removal | None:
    """What setup created in the configuration's environment; None where it created nothing.

    Raises DeniedError or VaultUnreachableError.
    """
    environment = config.environment
    assert environment is not None
    mount, prefix = config.secrets.mount, config.secrets.prefix
    record = record_path(config, environment)
    discovery = Discovery(client)
    recorded = discovery.recorded(config, environment)
    if recorded is None:
        return None
    secrets = [path for path in _below(client, mount, prefix) if path != record]
    return Removal(tuple(_objects(recorded)), mount, (*secrets, record))


def remove(client: AdminClient, plan_removal: Removal, report: Report) -> None:
    """Remove everything that still exists. After an error it can run again.

    Raises DeniedError or VaultUnreachableError.
    """
    for kind, path in plan_removal.objects:
        try:
            client.delete(path)
        except VaultRequestError as exc:
            if kind is not Kind.ENGINE:
                raise
            name = display_name(kind, path)
            todo = (
                exc.todo or f"if its leases cannot be revoked: `bao lease revoke -force -prefix {name}`; then run again"
            )
            raise exc.replace(where=path, todo=todo) from None
        report(f"  - {kind} {display_name(kind, path)}")
    for path in plan_removal.secrets:
        client.delete(f"{plan_removal.mount}/metadata/{path}")
        report(f"  - secret {plan_removal.mount}/{path}")


def _objects(recorded: SetupRecord) -> Iterator[tuple[Kind, str]]:
    """Selected by the record, not by name: another environment's names may start with the same letters."""
    for kind in _ORDER:
        yield from ((kind, path) for path, entry in sorted(recorded.items()) if entry.kind is kind)


def _below(client: AdminClient, mount: str, folder: str) -> Iterator[str]:
    for name in client.list(f"{mount}/metadata/{folder}"):
        if name.endswith("/"):
            yield from _below(client, mount, f"{folder}{name}")
        else:
            yield f"{folder}{name}"
