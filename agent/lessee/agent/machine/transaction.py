"""One step under way: a state that is being changed, and the commands so far."""

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Protocol

from lessee.agent.machine.apps.version_report import Statement
from lessee.agent.machine.protocol.commands import Command, Log, Login, VaultCommand
from lessee.agent.machine.state import App, Call, Group, Heard, Held, Mount, Session, Source, State, Supply
from lessee.agent.machine.status.counters import Totals
from lessee.core.backoff import OUTAGE_DIVISOR, delay
from lessee.core.failures import Failure
from lessee.core.immutable import replace
from lessee.core.paths import DynamicSecret, Folder, Ref

GUARD = 30.0
"""Seconds after which a call is given up that neither answered nor failed by its own timeouts."""
PROBE_GUARD = 3.0
"""As above, where Vault was away a moment ago, so that a probe that hangs does not hide its return."""


class Failing(Protocol):
    """What may have failed a few times in a row."""

    @property
    def tries(self) -> int: ...

    @property
    def since(self) -> float: ...


@dataclass(slots=True)
class Turn:
    """Holds copies, made when first written to, of a state's parts; `done` puts them together again."""

    state: State
    now: float
    commands: list[Command] = field(default_factory=list)
    session: Session = field(init=False)
    totals: Totals = field(init=False)
    hearing: Heard = field(init=False)
    elsewhere: frozenset[str] = field(init=False)
    stopping: bool = field(init=False)
    leaving: bool = field(init=False)
    _chance: int = field(init=False)
    _last_id: int = field(init=False)
    _mounts: MutableMapping[str, Mount] | None = None
    _groups: MutableMapping[Folder, Group] | None = None
    _sources: MutableMapping[Ref, Source] | None = None
    _supplies: MutableMapping[DynamicSecret, Supply] | None = None
    _leases: MutableMapping[str, Held] | None = None
    _apps: MutableMapping[str, App] | None = None
    _reports: MutableMapping[str, Statement] | None = None
    _calls: MutableMapping[int, Call] | None = None

    def __post_init__(self) -> None:
        self.session = self.state.session
        self.totals = self.state.totals
        self.hearing = self.state.hearing
        self.elsewhere = self.state.elsewhere
        self.stopping = self.state.stopping
        self.leaving = self.state.leaving
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
            supplies=self.supplies,
            leases=self.leases,
            apps=self.apps,
            reports=self.reports,
            calls=self.calls,
            last_id=self._last_id,
            totals=self.totals,
            hearing=self.hearing,
            elsewhere=self.elsewhere,
            stopping=self.stopping,
            leaving=self.leaving,
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
    def supplies(self) -> Mapping[DynamicSecret, Supply]:
        return self.state.supplies if self._supplies is None else self._supplies

    @property
    def leases(self) -> Mapping[str, Held]:
        return self.state.leases if self._leases is None else self._leases

    @property
    def apps(self) -> Mapping[str, App]:
        return self.state.apps if self._apps is None else self._apps

    @property
    def reports(self) -> Mapping[str, Statement]:
        return self.state.reports if self._reports is None else self._reports

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

    def edit_supplies(self) -> MutableMapping[DynamicSecret, Supply]:
        self._supplies = dict(self.state.supplies) if self._supplies is None else self._supplies
        return self._supplies

    def edit_leases(self) -> MutableMapping[str, Held]:
        self._leases = dict(self.state.leases) if self._leases is None else self._leases
        return self._leases

    def edit_apps(self) -> MutableMapping[str, App]:
        self._apps = dict(self.state.apps) if self._apps is None else self._apps
        return self._apps

    def edit_reports(self) -> MutableMapping[str, Statement]:
        self._reports = dict(self.state.reports) if self._reports is None else self._reports
        return self._reports

    def edit_calls(self) -> MutableMapping[int, Call]:
        self._calls = dict(self.state.calls) if self._calls is None else self._calls
        return self._calls

    def next_id(self) -> int:
        """A number for a call or a job that none had before."""
        self._last_id += 1
        return self._last_id

    def ask(self, command: VaultCommand, *, within: float = GUARD) -> None:
        """Send a request to Vault; it is given up when it has not been answered within so many seconds."""
        guard = min(GUARD, within)
        if (weather := self.session.weather) is not None:
            guard = min(guard, max(PROBE_GUARD, (self.now - weather.since) / OUTAGE_DIVISOR))
        self.edit_calls()[command.call] = Call(command, sent_at=self.now, guard=self.now + guard)
        if not (isinstance(command, Login) and command.if_changed):  # that is a look at a file
            self.totals = replace(self.totals, requests=self.totals.requests + 1)
        self.commands.append(command)

    def tell(self, level: str, event: str, **fields: object) -> None:
        """Say one line."""
        self.commands.append(Log(level, event, fields))

    def draw(self) -> float:
        """A number in [0, 1): splitmix64, whose state is part of the machine's."""
        self._chance = (self._chance + 0x9E3779B97F4A7C15) % 2**64
        mixed = self._chance
        mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EB % 2**64
        return (mixed ^ (mixed >> 31)) / 2**64

    def began(self, failing: Failing) -> float:
        """When a row of failures began that one more is added to."""
        return failing.since if failing.tries else self.now

    def retry_at(self, failing: Failing, failure: Failure | None = None, *, base: float = 1.0) -> float:
        """When to try again after one more failure; Retry-After holds even over the cap."""
        wait = delay(failing.tries, self.draw(), duration=self.now - self.began(failing), base=base)
        return self.now + self.wait(wait, failure)

    def wait(self, wait: float, failure: Failure | None) -> float:
        """Not less than the server's Retry-After, with jitter on top."""
        if failure is None or failure.retry_after is None:
            return wait
        return max(wait, failure.retry_after * (1 + self.draw() / 10))
