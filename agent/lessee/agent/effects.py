"""What obeys the agent's commands: of each there is one form for the sidecar, and others for what runs once."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from lessee.core.config import App
from lessee.core.generation import Generation
from lessee.core.leases import Lease
from lessee.core.machine.events import Token
from lessee.host.project import Stamp


class Shelf(Protocol):
    """Where generations are shown; what cannot be written raises CannotWrite."""

    def open(self, apps: Iterable[App]) -> Mapping[str, tuple[int | None, bool]]: ...

    def publish(self, generation: Generation, *, owe: bool) -> tuple[int, bool]: ...

    def prune(self, app: str, up_to: int) -> None: ...

    def withdraw(self, app: str) -> None: ...

    def settle(self, app: str) -> None: ...


class Keeper(Protocol):
    """Where tokens and leases outlive the agent, by identity; what cannot be written raises CannotWrite."""

    def identities(self) -> Mapping[str, bytes]: ...

    def keep_identity(self, identity: str, block: bytes) -> None: ...

    def forget_identity(self, identity: str) -> None: ...

    def tokens(self, identity: str) -> Sequence[tuple[Token, str]]: ...

    def keep_token(self, identity: str, token: Token, value: str) -> None: ...

    def forget_token(self, identity: str, token_id: str) -> None: ...

    def leases(self, identity: str) -> Sequence[Lease]: ...

    def keep_lease(self, identity: str, lease: Lease) -> None: ...

    def forget_lease(self, identity: str, lease_id: str) -> None: ...


class Watcher(Protocol):
    """Calls `Agent.reload` when one of the files changes."""

    def watch(self, stamps: Mapping[Path, Stamp], *, all_beside: bool = False) -> None: ...
