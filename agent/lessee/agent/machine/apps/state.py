"""What the agent knows of an app: the job under way, and the generation that its readers see."""

from collections.abc import Mapping

from msgspec import field

from lessee.agent.machine.session.state import LONG_AGO, NEVER
from lessee.agent.machine.table import TableKind
from lessee.core.failures import Failure
from lessee.core.generation import FallbackKind, Generation
from lessee.core.immutable import ImmutableStruct, replace
from lessee.protocol.app_spec import AppSpec, Supply

NOTIFIED_GRACE = 5.0
"""Seconds for which a replaced generation and its leases remain after the notification: a reader may have just opened
its files."""
UNNOTIFIED_GRACE = 60.0
"""The same after the publication, if the app is not or cannot be notified."""


class Contents(ImmutableStruct, frozen=True):
    """The secrets in a generation that must outlive it, or that the rotator asks about."""

    leases: frozenset[str] | None = None
    """The ids of its leases. None: unknown, it may contain any."""
    versions: Mapping[str, int] | None = None
    """The versions of its rotated secrets, by path. None: unknown, or not reported."""

    def may_contain(self, lease_id: str) -> bool:
        """Whether the generation may contain this lease."""
        return self.leases is None or lease_id in self.leases


class Staged(ImmutableStruct, frozen=True):
    """A rendered generation that readers do not see yet."""

    hidden = ("generation",)

    generation: Generation
    contents: Contents
    fallback: FallbackKind | None = None


class Rendering(ImmutableStruct, frozen=True):
    """The app's templates are being rendered."""

    id: int
    contents: Contents


class RenderingFallback(ImmutableStruct, frozen=True):
    """The app's fallback is being rendered."""

    id: int


class Checking(ImmutableStruct, frozen=True):
    """The app's `check` runs on the staged generation."""

    id: int
    staged: Staged


class Publishing(ImmutableStruct, frozen=True):
    """The staged generation is being written to the app's directory."""

    id: int
    staged: Staged


class Notifying(ImmutableStruct, frozen=True):
    """The app is being notified."""

    id: int


Job = Rendering | RenderingFallback | Checking | Publishing | Notifying
"""Only the event with the job's `id` ends it."""


class Rejected(ImmutableStruct, frozen=True):
    """The templates, the secrets or the app's `check` do not allow a new generation. It waits for other inputs."""

    text: str


class WriteFailed(ImmutableStruct, frozen=True):
    """The files could not be written. The agent tries again at `next_at`."""

    text: str
    next_at: float
    attempts: int = 0
    since: float = 0.0


class PendingNotification(ImmutableStruct, frozen=True):
    """The app is still to be notified of the published generation."""

    next_at: float
    attempts: int = 0
    error: str | None = None
    absent: bool = False
    """The last attempt found no process to notify."""


class PreviousGeneration(ImmutableStruct, frozen=True):
    """The last generation that was ready: the agent rolls back to it if the published one is not."""

    hidden = ("environ",)

    number: int
    contents: Contents
    environ: tuple[tuple[str, str], ...] | None = None


class FailedGeneration(ImmutableStruct, frozen=True):
    """A generation with which the app was not ready. It is not published again until its secrets change."""

    fingerprint: str
    error: str | None
    """None: it failed in a previous run."""


class ProbeDue(ImmutableStruct, frozen=True):
    """The next probe starts at `next_at`, but not before the app is notified."""

    next_at: float


class Probing(ImmutableStruct, frozen=True):
    """A probe runs. Only the event with this `job` ends it."""

    job: int


class RollingBack(ImmutableStruct, frozen=True):
    """The probe failed, and the previous generation is being published again."""

    to: PreviousGeneration
    failed: FailedGeneration


class Ready(ImmutableStruct, frozen=True):
    """The app works with the published generation, or has no readiness probe."""


class Unverified(ImmutableStruct, frozen=True):
    """No probe of the published generation has succeeded yet."""

    stage: ProbeDue | Probing | RollingBack
    attempts: int = 0
    error: str | None = None
    """Why the last probe failed."""
    previous: PreviousGeneration | None = None
    fingerprint: str | None = None
    """The fingerprint of the published generation, if known."""


Readiness = Ready | Unverified


class Publication(ImmutableStruct, frozen=True):
    """The generation that readers see."""

    hidden = ("generation", "environ")

    number: int
    published_at: float
    contents: Contents = Contents()
    generation: Generation | None = None
    """None: a previous run published it, or it was rendered from previous templates."""
    environ: tuple[tuple[str, str], ...] | None = None
    fallback: FallbackKind | None = None
    notification: PendingNotification | None = None
    readiness: Readiness = Ready()
    rolled_back: FailedGeneration | None = None
    """The newer generation that it replaced in a rollback."""


class FallbackState(ImmutableStruct, frozen=True):
    """When the app's fallback may be rendered, and why it could not be."""

    next_at: float = 0.0
    attempts: int = 0
    since: float = 0.0
    error: str | None = None
    barred: bool = False
    """Vault denied one of the app's secrets, or does not have it: the fallback must not hide that."""


class SnapshotState(ImmutableStruct, frozen=True):
    """When to save the last-known-good snapshot next, and why the last attempt failed."""

    next_at: float = 0.0
    error: str | None = None


class Drift(ImmutableStruct, frozen=True):
    """What other programs have changed in the app's directory, and when to look at it next."""

    look_at: float = NEVER
    last_look_at: float = LONG_AGO
    total: int = 0
    """How often something was found."""
    found: str = ""
    found_at: float | None = None
    spent: float = 0.0
    """The repairs that count at `found_at`; see `apps/drift.py`."""
    is_fought: bool = False
    """Another program changes the files again and again."""
    attempts: int = 0
    error: str | None = None
    """Why the files are not as they were published."""


NO_DRIFT = Drift()


class App(ImmutableStruct, frozen=True):
    """An app: its spec, the job under way, the published generation, and what still happens to older ones."""

    spec: AppSpec
    dirty: bool = True
    """Its inputs have changed since its files were rendered."""
    job: Job | None = None
    problem: Rejected | WriteFailed | None = None
    """Why the newest generation is not published."""
    publication: Publication | None = None
    old_generations: tuple[tuple[int, float], ...] = ()
    """Generations that a reader may still use, oldest first: the number, and when it was replaced."""
    notified_at: float | None = None
    ended_at: float | None = None
    """When the agent found that the app's process had ended after a notification, and was not back."""
    fallback: FallbackState = FallbackState()
    snapshot: SnapshotState = SnapshotState()
    supplies: Mapping[str, Supply] = {}
    """What other machines supply, by `spec.sources`."""
    retained: bool = False
    """The files of a previous run stay, because they may contain what is missing now. Until an input changes."""
    supply: Supply | None = None
    """What this machine supplies, if `spec.supplies` says so. Then the publication is that of the other machine."""
    drift: Drift = NO_DRIFT

    def awaits(self, job: int) -> bool:
        """Whether the event with this job number ends the job under way."""
        return self.job is not None and self.job.id == job

    @property
    def notification(self) -> PendingNotification | None:
        """The pending notification."""
        return self.publication.notification if self.publication is not None else None

    @property
    def unverified(self) -> Unverified | None:
        """The readiness of the published generation while it is not verified."""
        readiness = self.publication.readiness if self.publication is not None else None
        return readiness if isinstance(readiness, Unverified) else None

    @property
    def previous(self) -> PreviousGeneration | None:
        """The generation to which the agent may have to roll back."""
        return self.unverified.previous if self.unverified is not None else None

    @property
    def active_fallback(self) -> FallbackKind | None:
        """The fallback from which the published generation was rendered."""
        return self.publication.fallback if self.publication is not None else None

    def may_publish(self, lease_id: str) -> bool:
        """Whether the published generation may contain this lease."""
        return self.publication is not None and self.publication.contents.may_contain(lease_id)

    def is_being_published(self, lease_id: str) -> bool:
        """Whether the job under way renders or publications a generation that may contain this lease."""
        match self.job:
            case Rendering(contents=contents):
                return contents.may_contain(lease_id)
            case Checking(staged=staged) | Publishing(staged=staged):
                return staged.contents.may_contain(lease_id)
            case _:
                return False

    @property
    def readers_changed_at(self) -> float:
        """When readers last received a new generation or the notification of it; 0.0 if never."""
        published_at = self.publication.published_at if self.publication is not None else 0.0
        return max(self.notified_at or 0.0, published_at)


FIRST_LOOK_DELAY = 0.3
"""Seconds after a publication until the agent watches the files: the first publications come first."""
MANY_APPS = 100
"""With more apps than these it takes longer until all of them are published."""


def look_due_at(app: App) -> float:
    """When to look whether another program has changed the app's files."""
    return app.drift.look_at if app.publication is not None else NEVER


def to_be_watched(app: App, now: float, *, among: int) -> Drift:
    """The drift of one of so many apps, which has just got new files."""
    look_at = now + FIRST_LOOK_DELAY * max(1.0, among / MANY_APPS)
    return (
        app.drift if not app.spec.keeps_files or app.drift.look_at <= look_at else replace(app.drift, look_at=look_at)
    )


def is_done(app: App) -> bool:
    """Whether readers see the app's current secrets, and know of them; all that a one-shot command waits for."""
    publication = app.publication
    if publication is None or publication.generation is None or app.job is not None:
        return False
    is_current = not app.dirty or publication.fallback is not None
    return is_current and (publication.notification is None or publication.notification.absent)


def has_problem(app: App) -> bool:
    """Whether the newest generation could not be published, or the app not be notified of the published one."""
    return app.problem is not None or (app.notification is not None and app.notification.error is not None)


APPS = TableKind[App](predicates=(is_done, has_problem))


class VersionReport(ImmutableStruct, frozen=True):
    """What this process last reported at `path`: the versions of rotated secrets that an app uses."""

    path: str = ""
    versions: Mapping[str, int] = field(default_factory=dict)
    unanswered: Mapping[str, int] = field(default_factory=dict)
    """The versions in later reports, which Vault may have stored: none of them was answered."""
    denied: Mapping[str, int] | None = None
    """The versions that Vault refused to store."""
    uncertain: bool = False
    """The server may have lost the report."""
    next_at: float = 0.0
    attempts: int = 0
    since: float = 0.0
    failure: Failure | None = None
    request: int | None = None
