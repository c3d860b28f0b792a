"""From `rotation:` in the configuration to what can be rotated."""

import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path

from lessee.config import Config
from lessee.config.grammar.rotation import Rotation, admin_of
from lessee.core.errors import ConfigError, LesseeError
from lessee.core.immutable import ImmutableStruct, replace
from lessee.core.redaction import Redactor
from lessee.ops.rotate import confirmations
from lessee.ops.rotate.documents import Kept
from lessee.ops.rotate.kinds import kind_of
from lessee.ops.rotate.kinds.kind import Setting
from lessee.ops.rotate.lock_owner import holder
from lessee.ops.rotate.policy import journal
from lessee.ops.rotate.ports import Target, World
from lessee.ops.rotate.rotation import Rotator
from lessee.telemetry.logs import log
from lessee.vault.admin import AdminClient

_SOURCES = 32
"""More than one run has occasions to hide values."""


class Person(ImmutableStruct, frozen=True):
    """Somebody at a terminal. Both show a text; `ask` gives what is typed, unseen."""

    ask: Callable[[str], str]
    say: Callable[[str], None]


class Project(ImmutableStruct, frozen=True):
    """What all targets of one configuration share. `path` is the file's."""

    hidden = ("environ",)

    config: Config
    path: Path
    environ: Mapping[str, str]
    redactor: Redactor
    person: Person | None = None

    def target(self, name: str) -> Target:
        """Raises ConfigError where there is none of this name."""
        said, prefix = self.said(name), self.config.secrets.prefix
        return Target(
            name=name,
            secret=said.secret,
            path=f"{prefix}{said.secret}",
            journal=f"{prefix}{journal.FOLDER}{name}",
            consumers=said.consumers,
            within=said.confirm_within,
            lingers=said.retire_after,
        )

    def said(self, name: str) -> Rotation:
        """What the configuration says of a target. Raises ConfigError where there is none of this name."""
        if name not in self.config.rotation:
            todo = f"there are: {', '.join(self.config.rotation) or 'none'}"
            raise ConfigError([LesseeError(f"there is no rotation target {name!r}", where=self.path.name, todo=todo)])
        return self.config.rotation[name]


@contextmanager
def rotator(
    project: Project,
    name: str,
    client: AdminClient,
    *,
    at_once: bool = False,
    sleep: Callable[[float], None] = time.sleep,
    named: str | None = None,
) -> Iterator[Rotator]:
    """What rotates one target, with the admin's credentials as they are now.

    `at_once`: the old credential ends with the publication: nobody is waited for, and nothing kept. `named`: the
    holder's name, of one who rotates it again and again, and at one moment once; what he left in the middle is then
    his own.

    Raises ConfigError, also where the admin's secret is not there, RefusedError and VaultUnreachableError.
    """
    said, target, secrets_ = project.said(name), project.target(name), project.config.secrets
    kept = Kept(client, secrets_.mount)
    kept.check()
    forget = confirmations.forget(client, secrets_.mount, secrets_.prefix)
    if at_once:
        target = replace(target, within=0.0, lingers=0.0, keeps=False)
        forget = _remember  # Who could not confirm so soon is still there.

    # The same sources in each run, so that a service's redactor does not grow: it forgets what was long ago.
    places = cycle(range(_SOURCES))

    def hide(values: Iterable[str]) -> None:
        project.redactor.learn(f"rotation {name} {next(places)}", values)

    setting = Setting(
        name=name,
        admin=_admin(project, said, kept, hide),
        folder=project.path.parent,
        environ=project.environ,
        vault=client,
        ask=project.person.ask if project.person else None,
        say=project.person.say if project.person else None,
    )
    kind = kind_of(said, setting)
    world = World(
        kept=kept,
        confirmations=confirmations.confirmations(client, secrets_.mount, secrets_.prefix),
        forget=forget,
        holder=named or holder(),
        clock=time.time,
        sleep=sleep,
        tell=log,
        hide=hide,
        new_id=lambda: secrets.token_hex(8),
    )
    try:
        yield Rotator(target, kind, world)
    finally:
        kind.close()


def _remember(name: str) -> None:
    del name


def _admin(project: Project, said: Rotation, kept: Kept, hide: Callable[[Iterable[str]], None]) -> Mapping[str, object]:
    path = admin_of(said)
    if path is None:
        return {}
    where = f"{project.config.secrets.prefix}{path}"
    found = kept.read(where)
    if not found.fields:
        todo = "write it, or mend `admin:`"
        place = f"{project.config.secrets.mount}/{where}"
        raise ConfigError([LesseeError("the admin's secret is not there", where=place, todo=todo)])
    hide(str(value) for value in found.fields.values() if isinstance(value, str))
    return found.fields
