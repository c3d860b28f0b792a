"""All that the agent knows in one identity's name, as one value."""

from collections.abc import Mapping
from typing import Literal

from msgspec import field

from lessee.agent.machine.apps.version_report import Statement
from lessee.agent.machine.protocol.app_spec import Want
from lessee.agent.machine.protocol.commands import VaultCommand
from lessee.agent.machine.status.counters import Totals
from lessee.core.failures import Failure
from lessee.core.generation import FallbackKind, Generation
from lessee.core.immutable import ImmutableStruct
from lessee.core.leases import Lease
from lessee.core.paths import DynamicSecret, Folder, Need, Ref
from lessee.core.secrets import Secret, VersionMetadata
from lessee.core.tokens import Token

NEVER = float("inf")
KEEP_TOLD = 5.0
"""Seconds that what was replaced outlives the telling: a reader may just have opened it."""
KEEP_UNTOLD = 60.0
"""As above, where the reader is not told, or cannot be."""


class Outage(ImmutableStruct, frozen=True):
    """Vault cannot be asked: since when, after how many probes, and when the next one is due."""

    since: float
    tries: int
    """0: it is only suspected."""
    next_at: float
    text: str
    seen_at: float = float("-inf")
    """When the last probe was not served."""


class Former(ImmutableStruct, frozen=True):
    """A token that another one has replaced: it lives on for the leases under it, and is then revoked."""

    token: Token
    next_at: float = 0.0
    tries: int = 0
    since: float = 0.0
    call: int | None = None
    left: bool = False
    """It cannot be revoked: it ends by itself."""


class Session(ImmutableStruct, frozen=True):
    """The standing with Vault."""

    token: Token | None = None
    fresh: bool = False
    """The next login may not adopt the kept token: it was found to be no good, or is at its end."""
    renew_at: float = NEVER
    login_at: float = 0.0
    ask_at: float = 0.0
    """Before this a login that was refused is tried again only with other credentials."""
    tries: int = 0
    since: float = 0.0
    check_at: float = NEVER
    """When to look the token up: something was denied that may be the token's fault."""
    checked_at: float = float("-inf")
    idle_at: float = NEVER
    """When to look the token up where nothing else has been asked meanwhile that would tell of its end."""
    idle_every: float = NEVER
    """The shortest `refresh` of the apps that hold leases, which end with the token."""
    check_wait: float = 10.0
    """Seconds between two such look-ups; more where they were in vain."""
    vain: int = 0
    """Look-ups in a row that found the token invalid."""
    failure: Failure | None = None
    weather: Outage | None = None
    past: Outage | None = None
    """The last bad weather, which goes on if Vault is away again a moment later."""
    back_at: float = float("-inf")
    """When it ended."""
    reached_at: float | None = None
    """When Vault last gave any answer."""
    strain: int = 0
    """Paths that were not served since any other was."""
    former: Mapping[str, Former] = field(default_factory=dict)
    """By the token's id."""


class Source(ImmutableStruct, frozen=True):
    """A KV secret that some template reads."""

    secret: Secret | None = None
    metadata: VersionMetadata | None = None
    """The state that was last read or, of a deleted one, seen."""
    seen: VersionMetadata | None = None
    """The state that was last listed or looked at."""
    stale: bool = True
    """It is to be read: it never was, or it has changed."""
    blind: bool = False
    """Its metadata may not be read, or there is none (v1): look by reading the value."""
    next_at: float = 0.0
    """When it is due to be read or looked at."""
    looked_at: float | None = None
    read_at: float | None = None
    tries: int = 0
    since: float = 0.0
    """When the first of these tries failed."""
    failure: Failure | None = None
    call: int | None = None
    told_at: float = NEVER
    """When to read it, for somebody said that it has changed."""


class Group(ImmutableStruct, frozen=True):
    """The secrets of one folder that templates read, and how changes in them are noticed."""

    refresh: float
    refs: tuple[Ref, ...]
    wants_names: bool
    """Some template reads the folder as a whole."""
    by_list: bool
    """One LIST with version metadata serves the whole folder; else each secret is looked at."""
    names: tuple[str, ...] | None = None
    next_at: float = 0.0
    looked_at: float | None = None
    tries: int = 0
    since: float = 0.0
    failure: Failure | None = None
    call: int | None = None
    told_at: float = NEVER
    """As of Source."""


class Mount(ImmutableStruct, frozen=True):
    """A KV mount. `version` 0: not found out yet."""

    version: int = 0
    next_at: float = 0.0
    tries: int = 0
    since: float = 0.0
    failure: Failure | None = None
    call: int | None = None


class Supply(ImmutableStruct, frozen=True):
    """A dynamic secret that some template reads: the lease that serves it, and how its successor is got."""

    refresh: float
    lease: str | None = None
    """The id of the newest one."""
    next_at: float = 0.0
    """Before this Vault is not asked for one."""
    tries: int = 0
    since: float = 0.0
    """When the first of these tries failed."""
    failure: Failure | None = None
    call: int | None = None


Standing = Literal["current", "superseded", "unwanted"]
"""Of a lease: nothing has taken its place, its successor is here, no template reads it any more."""


class Held(ImmutableStruct, frozen=True):
    """A lease that we hold, and what is due for it."""

    lease: Lease
    standing: Standing = "current"
    renew_at: float = NEVER
    replace_at: float = NEVER
    """When its successor is to be asked for."""
    proved: bool = True
    """False: from an earlier life, and not looked up yet."""
    ended_at: float | None = None
    """When it was seen to have ended, or to be unknown to Vault."""
    acted: bool = False
    """The apps' `on_expiry` was seen to."""
    left: bool = False
    """It cannot be revoked: it ends by itself."""
    next_at: float = 0.0
    """Before this nothing is asked about it."""
    tries: int = 0
    since: float = 0.0
    failure: Failure | None = None
    call: int | None = None


class Backup(ImmutableStruct, frozen=True):
    """The generation that readers see again, should the one after it not work."""

    hidden = ("environ",)

    number: int
    shows: frozenset[str] | None
    """As `App.shows`."""
    environ: tuple[tuple[str, str], ...] | None = None
    rotated: Mapping[str, int] | None = None
    """As `App.shows_rotated`."""


class Readiness(ImmutableStruct, frozen=True):
    """Whether what readers see is known to work, and what becomes of it if not."""

    open: bool = False
    """It is not known yet."""
    job: int | None = None
    """It is being looked at: only the answer to this job counts."""
    next_at: float = 0.0
    tries: int = 0
    error: str | None = None
    """Why it does not work, as last seen."""
    backup: Backup | None = None
    fingerprint: str | None = None
    """Of what readers see, where it is known."""
    bad: str | None = None
    """The fingerprint of the generation that did not work: readers see the one before it again."""


class Fallback(ImmutableStruct, frozen=True):
    """What an app has to do with its fallback."""

    shown: FallbackKind | None = None
    """What readers see comes from it."""
    staged: FallbackKind | None = None
    """What is being checked and published does."""
    next_at: float = 0.0
    """Not tried before this."""
    tries: int = 0
    since: float = 0.0
    error: str | None = None
    """Why it could not serve, as last seen."""
    barred: bool = False
    """Vault refused something of the app's, or had no such secret: nothing makes up for that."""
    keep_at: float = 0.0
    """When the good is to be kept the next time."""
    keep_error: str | None = None
    """Why it was not, as last seen."""


class App(ImmutableStruct, frozen=True):
    """An app: what it has, and what is under way for it."""

    hidden = ("generation", "staged", "environ")

    want: Want
    dirty: bool = True
    """Its inputs changed since its files were last rendered."""
    job: int | None = None
    """Something is under way: only the answer to this job counts."""
    publish_at: float = 0.0
    """After a failure to write: not before this."""
    tries: int = 0
    since: float = 0.0
    generation: Generation | None = None
    """What was last published by this process."""
    shows: frozenset[str] | None = None
    """The ids of the leases in it; None: what readers see was made by an earlier life."""
    shows_rotated: Mapping[str, int] | None = None
    """The versions of rotated secrets in it; None where they are not known."""
    environ: tuple[tuple[str, str], ...] | None = None
    """The environment that belongs to what readers see."""
    staged: Generation | None = None
    """What is being checked and published."""
    using: frozenset[str] = frozenset()
    """The ids of the leases in what is being rendered and published."""
    using_rotated: Mapping[str, int] | None = None
    """As above, the versions of rotated secrets."""
    number: int | None = None
    published_at: float | None = None
    owed: bool = False
    notify_at: float = 0.0
    notify_tries: int = 0
    notify_error: str | None = None
    proof: Readiness = Readiness()
    fallback: Fallback = Fallback()
    absent: bool = False
    """Nobody was there to be told."""
    told_at: float | None = None
    old: tuple[tuple[int, float], ...] = ()
    """Generations that readers may still hold, oldest first: the number, and when it was replaced."""
    problem: str | None = None
    """Why the old files stay."""
    rejected: bool = False
    """The problem lies in the template or the values: state `refused`."""


class Call(ImmutableStruct, frozen=True):
    """A request under way, and when it is given up."""

    command: VaultCommand
    sent_at: float
    guard: float


class Heard(ImmutableStruct, frozen=True):
    """How changes are told, by whoever sees them."""

    live: bool = False
    """He is there."""
    poll: float = 0.0
    """Seconds between two looks at each secret meanwhile."""
    spread: float = 0.0
    """Seconds within which, by chance, what is told is looked at."""
    until: float = float("-inf")
    """When he was last known to be there, before he was gone."""
    slots: Mapping[Need, float] = field(default_factory=dict)
    """Of what was named of late: when it would be due if it were named at a steady rate."""
    all_slots: float = 0.0
    """As above, of all together."""


class State(ImmutableStruct, frozen=True):
    """The whole of it. `chance` is the state of the dice, so that step needs no other randomness."""

    chance: int
    session: Session = Session()
    mounts: Mapping[str, Mount] = field(default_factory=dict)
    groups: Mapping[Folder, Group] = field(default_factory=dict)
    sources: Mapping[Ref, Source] = field(default_factory=dict)
    supplies: Mapping[DynamicSecret, Supply] = field(default_factory=dict)
    leases: Mapping[str, Held] = field(default_factory=dict)
    apps: Mapping[str, App] = field(default_factory=dict)
    reports: Mapping[str, Statement] = field(default_factory=dict)
    """By app."""
    calls: Mapping[int, Call] = field(default_factory=dict)
    hearing: Heard = Heard()
    elsewhere: frozenset[str] = frozenset()
    """Apps that another identity serves from now on, and whose readers may still hold leases of this one."""
    last_id: int = 0
    stopping: bool = False
    leaving: bool = False
    totals: Totals = Totals()
