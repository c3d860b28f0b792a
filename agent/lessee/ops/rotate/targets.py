"""Builds what rotates a target from the configuration's `rotation:` block, and reads its journal."""

import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path

from lessee.config import Config
from lessee.config.grammar.rotation import MARKS, Rotation, admin_of
from lessee.core.errors import ConfigError, LesseeError
from lessee.core.immutable import ImmutableStruct, replace
from lessee.core.redaction import Redactor
from lessee.ops.rotate.documents import ConsumerStore, DocumentStore, journal_in
from lessee.ops.rotate.kinds import kind_of
from lessee.ops.rotate.kinds.kind import KindContext
from lessee.ops.rotate.lock_owner import new_owner_id
from lessee.ops.rotate.policy.journal import FOLDER, Journal
from lessee.ops.rotate.ports import Ports, Target
from lessee.ops.rotate.rotation import TargetRotation
from lessee.telemetry.logs import log
from lessee.vault.admin import AdminClient

_REDACTION_SOURCES = 32
"""More than one run has sets of values to redact."""


class Terminal(ImmutableStruct, frozen=True):
    """The user at the terminal. `ask` returns what the user types, without echo."""

    ask: Callable[[str], str]
    say: Callable[[str], None]


class Project(ImmutableStruct, frozen=True):
    """What all targets of one configuration share. `path` is the configuration file's."""

    hidden = ("environ",)

    config: Config
    path: Path
    environ: Mapping[str, str]
    redactor: Redactor
    terminal: Terminal | None = None

    def target(self, name: str) -> Target:
        """The target of this name. Raises ConfigError where there is no such target."""
        config, prefix = self.config_of(name), self.config.secrets.prefix
        return Target(
            name=name,
            secret=config.secret,
            path=f"{prefix}{config.secret}",
            journal=f"{prefix}{FOLDER}{name}",
            consumers=config.consumers,
            confirmation_timeout=config.confirmation_timeout,
            revoke_delay=config.revoke_delay,
            has_consumers=config.has_consumers,
            stays_valid=config.stays_valid,
        )

    def config_of(self, name: str) -> Rotation:
        """A target's block of the configuration. Raises ConfigError where there is no such target."""
        if name not in self.config.rotation:
            todo = f"the targets are: {', '.join(self.config.rotation) or 'none'}"
            raise ConfigError([LesseeError(f"unknown rotation target {name!r}", where=self.path.name, todo=todo)])
        return self.config.rotation[name]


def read_journal(project: Project, target: Target, client: AdminClient) -> Journal:
    """A target's journal. Raises DeniedError, also where it is not a journal, and VaultUnreachableError."""
    mount = project.config.secrets.mount
    document = DocumentStore(client, mount).read(target.journal)
    journal = journal_in(document, f"{mount}/{target.journal}").clamped(time.time())
    both = (*journal.current.items(), *journal.pending.items())
    # The time of a rotation is no secret, and the status prints it.
    values = [value for key, value in both if key not in MARKS]
    project.redactor.learn(f"journal {target.name}", values)
    return journal


@contextmanager
def open_rotation(
    project: Project,
    name: str,
    client: AdminClient,
    *,
    immediate: bool = False,
    sleep: Callable[[float], None] = time.sleep,
    owner_id: str | None = None,
) -> Iterator[TargetRotation]:
    """The rotation of one target, with the admin's credentials as they are now.

    `immediate`: the old credential is revoked when the new one is published, without a wait for consumers and without
    retention. `owner_id`: a service's id for the lock, so that it can continue what it has interrupted itself. It must
    rotate a target only once at a time.

    Raises ConfigError, also where the admin's secret does not exist, DeniedError and VaultUnreachableError.
    """
    config, target, mount = project.config_of(name), project.target(name), project.config.secrets.mount
    store = DocumentStore(client, mount)
    store.check()
    consumers = ConsumerStore(client, mount, project.config.secrets.prefix)
    remove_consumer = consumers.remove
    if immediate:
        target = replace(target, confirmation_timeout=0.0, revoke_delay=0.0, delays_deletion=False, immediate=True)
        remove_consumer = _keep_consumer  # A consumer that had no time to confirm still runs.

    # Each run reuses the same sources, so that a service's redactor does not grow: it forgets the oldest values.
    numbers = cycle(range(_REDACTION_SOURCES))

    def redact(values: Iterable[str]) -> None:
        project.redactor.learn(f"rotation {name} {next(numbers)}", values)

    context = KindContext(
        name=name,
        admin=_admin(project, config, store, redact),
        folder=project.path.parent,
        environ=project.environ,
        vault=client,
        mount=mount,
        prefix=project.config.secrets.prefix,
        immediate=immediate,
        ask=project.terminal.ask if project.terminal else None,
        say=project.terminal.say if project.terminal else None,
    )
    kind = kind_of(config, context)
    ports = Ports(
        store=store,
        confirmations=consumers.read,
        remove_consumer=remove_consumer,
        own_id=owner_id or new_owner_id(),
        clock=time.time,
        sleep=sleep,
        log=log,
        redact=redact,
        new_id=lambda: secrets.token_hex(8),
    )
    try:
        yield TargetRotation(target, kind, ports)
    finally:
        kind.close()


def _keep_consumer(name: str) -> None:
    del name


def _admin(
    project: Project, config: Rotation, store: DocumentStore, redact: Callable[[Iterable[str]], None]
) -> Mapping[str, object]:
    path = admin_of(config)
    if path is None:
        return {}
    where = f"{project.config.secrets.prefix}{path}"
    found = store.read(where)
    if not found.fields:
        todo = "write the admin's credentials there, or correct `admin_secret`"
        place = f"{project.config.secrets.mount}/{where}"
        raise ConfigError([LesseeError("the admin's secret does not exist", where=place, todo=todo)])
    redact(str(value) for value in found.fields.values() if isinstance(value, str))
    return found.fields
