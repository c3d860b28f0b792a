"""One step under way: a state that is being changed, and the commands so far."""

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field

from lessee.core.machine.backoff import delay
from lessee.core.machine.commands import Command, Login, Tell, VaultCommand
from lessee.core.machine.failures import Failure
from lessee.core.machine.state import App, Call, Group, Mount, Session, Source, State, Totals
from lessee.core.paths import Folder, Ref
from lessee.core.record import replace

GUARD = 30.0
"""Seconds after which a call is given up that neither answered nor failed by its own timeouts."""


@dataclass(slots=True)
class Turn:
    """Holds copies, made when first written to, of a state's parts; `done` puts them together again."""

    state: State
    now: float
    commands: list[Command] = field(default_factory=list)
    session: Session = field(init=False)
    totals: Totals = field(init=False)
    _chance: int = field(init=False)
    _last_id: int = field(init=False)
    _mounts: MutableMapping[str, Mount] | None = None
    _groups: MutableMapping[Folder, Group] | None = None
    _sources: MutableMapping[Ref, Source] | None = None
    _apps: MutableMapping[str, App] | None = None
    _calls: MutableMapping[int, Call] | None = None

    def __post_init__(self) -> None:
        self.session = self.state.session
        self.totals = self.state.totals
        self._chance = self.state.chance
        self._last_id = self.state.last_id

    def done(self) -> tuple[State, tuple[Command, ...]]:
        """The new state and what it wants done."""
        state = State(
            chance=self._chance,
            session=self.session,
            mounts=self.mounts,
            groups=self.groups,
            sources=self.sources,
            apps=self.apps,
            calls=self.calls,
            last_id=self._last_id,
            totals=self.totals,
        )
        return state, tuple(self.commands)

    @property
    def mounts(self) -> Mapping[str, Mount]:
        return self.state.mounts if self._mounts is None else self._mounts

    @property
    def groups(self) -> Mapping[Folder, Group]:
        return self.state.groups if self._groups is None else self._groups

    @property
    def sources(self) -> Mapping[Ref, Source]:
        return self.state.sources if self._sources is None else self._sources

    @property
    def apps(self) -> Mapping[str, App]:
        return self.state.apps if self._apps is None else self._apps

    @property
    def calls(self) -> Mapping[int, Call]:
        return self.state.calls if self._calls is None else self._calls

    def edit_mounts(self) -> MutableMapping[str, Mount]:
        self._mounts = dict(self.state.mounts) if self._mounts is None else self._mounts
        return self._mounts

    def edit_groups(self) -> MutableMapping[Folder, Group]:
        self._groups = dict(self.state.groups) if self._groups is None else self._groups
        return self._groups

    def edit_sources(self) -> MutableMapping[Ref, Source]:
        self._sources = dict(self.state.sources) if self._sources is None else self._sources
        return self._sources

    def edit_apps(self) -> MutableMapping[str, App]:
        self._apps = dict(self.state.apps) if self._apps is None else self._apps
        return self._apps

    def edit_calls(self) -> MutableMapping[int, Call]:
        self._calls = dict(self.state.calls) if self._calls is None else self._calls
        return self._calls

    def next_id(self) -> int:
        """A number for a call or a job that none had before."""
        self._last_id += 1
        return self._last_id

    def ask(self, command: VaultCommand) -> None:
        """Send a request to Vault."""
        self.edit_calls()[command.call] = Call(command, sent_at=self.now, guard=self.now + GUARD)
        if not (isinstance(command, Login) and command.if_changed):  # that is a look at a file
            self.totals = replace(self.totals, requests=self.totals.requests + 1)
        self.commands.append(command)

    def tell(self, level: str, event: str, **fields: object) -> None:
        """Say one line."""
        self.commands.append(Tell(level, event, fields))

    def draw(self) -> float:
        """A number in [0, 1): splitmix64, whose state is part of the machine's."""
        self._chance = (self._chance + 0x9E3779B97F4A7C15) % 2**64
        mixed = self._chance
        mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EB % 2**64
        return (mixed ^ (mixed >> 31)) / 2**64

    def retry_at(self, tries: int, failure: Failure | None = None, *, base: float = 1.0) -> float:
        """When to try again after `tries` failures before this one; Retry-After holds even over the cap."""
        wait = delay(tries, self.draw(), base=base)
        if failure is not None and failure.retry_after is not None:
            wait = max(wait, failure.retry_after * (1 + self.draw() / 10))
        return self.now + wait
