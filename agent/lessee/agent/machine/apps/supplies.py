"""What an app reads under another identity, or can be rendered without: one machine supplies it to that of the app.

    secrets and leases ──► Supply ──► the app's machine renders
              ▲                              │
              └──── leases in use ◄──────────┘

The supplying machine has an app of its own for this, whose `spec.supplies` names the identity. It renders nothing.
"""

from collections.abc import Iterable, Mapping
from typing import TypeVar

from lessee.agent.machine.apps.fallback import COLD_START_DELAY
from lessee.agent.machine.apps.inputs import TEMPORARY, folder_content, has_input_failures
from lessee.agent.machine.apps.state import App
from lessee.agent.machine.leases.renewal import ends_at
from lessee.agent.machine.session.state import NEVER
from lessee.agent.machine.transaction import Transaction
from lessee.core.failures import Failure, Kind
from lessee.core.immutable import replace
from lessee.core.paths import DynamicSecret, Folder, Need, Ref
from lessee.core.secrets import Secret
from lessee.protocol.app_spec import Supply
from lessee.protocol.events import ReadersChanged, Supplied

_K = TypeVar("_K")


def plan_supply(tx: Transaction, name: str) -> None:
    """Note what is supplied now, if that has changed."""
    app = tx.apps[name]
    if not _may_have_changed(tx, app):
        return
    found = _found(tx, app)
    if found.is_pending and app.supply is None:
        return
    supply = _supply(tx, name, app, found)
    if app.supply is None or not _is_same(app.supply, supply):
        app = replace(app, supply=supply)
    if app.dirty and not found.is_pending:
        app = replace(app, dirty=False)
    if app is not tx.apps[name]:
        tx.apps[name] = app


def _may_have_changed(tx: Transaction, app: App) -> bool:
    """Whether more than the time of a check has changed: without that, a thousand secrets need no look at each."""
    if app.dirty or app.supply is None or app.supply.missing or tx.leases.changes:
        return True
    return tx.concerns_all or has_input_failures(tx)


def on_supplied(tx: Transaction, event: Supplied) -> None:
    """Render the app again if another machine supplies other contents."""
    app = tx.apps.get(event.app)
    if app is not None:
        before = app.supplies.get(event.source)
        changed = before is None or not _has_same_contents(before, event.supply)
        supplies = {**app.supplies, event.source: event.supply}
        tx.apps[event.app] = replace(app, supplies=supplies, dirty=app.dirty or changed)


def on_readers_changed(tx: Transaction, event: ReadersChanged) -> None:
    """The readers of an app may use other leases than before."""
    app, reader = tx.apps.get(event.app), event.reader
    assert isinstance(reader, App)
    if app is not None:
        tx.apps[event.app] = replace(
            app, publication=reader.publication, job=reader.job, notified_at=reader.notified_at
        )


def _found(tx: Transaction, app: App) -> "_Found":
    """What is known of the needs, up to the first one that is being read."""
    found = _Found(app.supply)
    for need in app.spec.needs:
        content = _content(tx, need)
        found.add(
            _with_identity(need, app.spec.supplies or ""), content, _failure(tx, need) if content is None else None
        )
        if found.is_pending:
            break
    return found


def _supply(tx: Transaction, name: str, app: App, found: "_Found") -> Supply:
    identity = app.spec.supplies or ""
    leases = [held.lease for held in tx.leases.values() if name in held.lease.apps and held.ended_at is None]
    live = frozenset(lease.id for lease in leases)
    if found.is_pending:
        assert app.supply is not None
        return replace(app.supply, live=live)  # What changes together is supplied together.
    current = [lease for lease in leases if tx.issuances[lease.need].lease == lease.id and lease.need in app.spec.needs]
    ends = ((lease.need, ends_at(tx, lease)) for lease in current)
    return Supply(
        found.secrets,
        found.folders,
        found.dynamic,
        found.missing,
        leases=frozenset(lease.id for lease in current),
        live=live,
        ends={_dynamic(need, identity): end for need, end in ends if end != NEVER},
    )


class _Found:
    """The contents of an app's needs, as far as they are known or were supplied before."""

    def __init__(self, before: Supply | None) -> None:
        self._before = before
        self.secrets: dict[Ref, Secret] = {}
        self.folders: dict[Folder, Mapping[str, Secret]] = {}
        self.dynamic: dict[DynamicSecret, Secret] = {}
        self.missing: dict[Need, Failure] = {}
        self.is_pending = False

    def add(self, need: Need, content: Secret | Mapping[str, Secret] | None, failure: Failure | None) -> None:
        if content is None and failure is not None and failure.kind is not Kind.NOT_FOUND:
            # A secret that cannot be read is still the one that was read. A lease that has ended is not.
            content = self._last(need)
        if content is None and failure is not None:
            self.missing[need] = failure
        elif content is None:
            self.is_pending = True
        elif isinstance(need, Folder):
            assert not isinstance(content, Secret)
            self.folders[need] = content
        else:
            assert isinstance(content, Secret)
            if isinstance(need, Ref):
                self.secrets[need] = content
            else:
                self.dynamic[need] = content

    def _last(self, need: Need) -> Secret | Mapping[str, Secret] | None:
        if self._before is None or isinstance(need, DynamicSecret):
            return None
        return self._before.secrets.get(need) if isinstance(need, Ref) else self._before.folders.get(need)


def _content(tx: Transaction, need: Need) -> Secret | Mapping[str, Secret] | None:
    """What the need has now; None if it is not known."""
    match need:
        case Ref():
            known = tx.secrets[need]
            return None if known.stale or known.failure is not None else known.secret
        case Folder():
            return folder_content(tx, need)
        case _:
            held = tx.leases.get(tx.issuances[need].lease or "")
            return held.lease.secret if held is not None and held.ended_at is None else None


def _failure(tx: Transaction, need: Need) -> Failure | None:
    """Why a need is not known; None if it may soon be."""
    session = tx.session
    for failure, since in _failures(tx, need):
        if failure is not None and (failure.kind not in TEMPORARY or tx.now - since >= COLD_START_DELAY):
            return failure
    if session.token is None and session.failure is not None:
        return session.failure
    outage = session.outage
    if outage is not None and outage.last_failure_at >= outage.since + COLD_START_DELAY:
        return Failure(Kind.UNAVAILABLE, outage.text)
    return None


def _failures(tx: Transaction, need: Need) -> Iterable[tuple[Failure | None, float]]:
    """The failures on the way to a need, and since when each request fails."""
    match need:
        case DynamicSecret():
            issuance = tx.issuances[need]
            yield issuance.failure, issuance.since
            return
        case Folder():
            folder = tx.folders[need]
            yield folder.failure, folder.since
            refs = [need.ref(name) for name in folder.names or ()]
        case _:
            refs = [need]
    yield tx.mounts[need.mount].failure, tx.mounts[need.mount].since
    for secret in map(tx.secrets.__getitem__, refs):
        # A folder is rendered without a secret that does not exist.
        if isinstance(need, Ref) or (secret.failure is not None and secret.failure.kind is not Kind.NOT_FOUND):
            yield secret.failure, secret.since


def _with_identity(need: Need, identity: str) -> Need:
    return replace(need, identity=identity) if identity else need


def _dynamic(need: DynamicSecret, identity: str) -> DynamicSecret:
    return replace(need, identity=identity) if identity else need


def _is_same(one: Supply, other: Supply) -> bool:
    same = one.live == other.live and one.leases == other.leases and one.ends == other.ends
    return same and one.missing == other.missing and _has_same_contents(one, other)


def _has_same_contents(one: Supply, other: Supply) -> bool:
    """Whether the templates get the same. The data of an unchanged secret is the same object."""
    if one.missing.keys() != other.missing.keys() or not _are_same(one.secrets, other.secrets):
        return False
    if not _are_same(one.dynamic, other.dynamic) or one.folders.keys() != other.folders.keys():
        return False
    return all(_are_same(inside, other.folders[folder]) for folder, inside in one.folders.items())


def _are_same(one: Mapping[_K, Secret], other: Mapping[_K, Secret]) -> bool:
    return one.keys() == other.keys() and all(secret.data is other[key].data for key, secret in one.items())
