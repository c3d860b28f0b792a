"""The inputs of an app: the secrets that it needs, if all of them are available and current."""

from collections.abc import Iterable, Mapping

from lessee.agent.machine.apps.state import App
from lessee.agent.machine.kv.needs import matches
from lessee.agent.machine.kv.state import has_failed
from lessee.agent.machine.leases.state import not_issued
from lessee.agent.machine.state import State
from lessee.agent.machine.transaction import StateView
from lessee.core.failures import Failure, Kind
from lessee.core.immutable import ImmutableStruct
from lessee.core.paths import DynamicSecret, Folder, Need, Ref
from lessee.core.secrets import Secret

SETTLE_DELAY = 2.0
"""Seconds for which a rendering waits for leases being issued: those that end together become one generation."""


TEMPORARY = frozenset({Kind.UNAVAILABLE, Kind.RATE_LIMITED, Kind.PATH_ERROR, Kind.PENDING})
"""Failures that may pass by themselves; with any other kind, Vault has given a definite answer."""


class Inputs(ImmutableStruct, frozen=True):
    """The secrets from which an app's files are rendered. `leases`: the ids of the leases among them."""

    hidden = ("secrets", "folders", "dynamic")

    secrets: Mapping[Ref, Secret]
    folders: Mapping[Folder, Mapping[str, Secret]]
    dynamic: Mapping[DynamicSecret, Secret]
    leases: frozenset[str]


def inputs(state: StateView, needs: frozenset[Need]) -> Inputs | None:
    """The current secrets; None if one of them is not available, not current, or has expired."""
    secrets: dict[Ref, Secret] = {}
    folders: dict[Folder, dict[str, Secret]] = {}
    dynamic: dict[DynamicSecret, Secret] = {}
    leases = set()
    for need in needs:
        if isinstance(need, DynamicSecret):
            held = state.leases.get(state.issuances[need].lease or "")
            if held is None or held.ended_at is not None:
                return None
            dynamic[need] = held.lease.secret
            # What is only read has no end, and a rollback may return to its previous value.
            if not (held.lease.static and need.is_polled):
                leases.add(held.lease.id)
        elif isinstance(need, Folder):
            content = folder_content(state, need)
            if content is None:
                return None
            folders[need] = content
        else:
            known = state.secrets[need]
            if known.secret is None or known.stale or known.failure is not None:
                return None
            secrets[need] = known.secret
    return Inputs(secrets, folders, dynamic, frozenset(leases))


def inputs_of(state: StateView, app: App) -> Inputs | None:
    """The current secrets of an app, with what other machines supply. None if one that is not optional is missing."""
    own = inputs(state, app.spec.needs)
    if own is None or not app.spec.sources:
        return own
    supplies = [supply for source in app.spec.sources if (supply := app.supplies.get(source)) is not None]
    if len(supplies) < len(app.spec.sources) or required_missing(app):
        return None
    if any(not supply.leases <= supply.live for supply in supplies):
        return None  # A successor of a lease is being issued.
    return Inputs(
        {**own.secrets, **{ref: secret for supply in supplies for ref, secret in supply.secrets.items()}},
        {**own.folders, **{folder: inside for supply in supplies for folder, inside in supply.folders.items()}},
        {**own.dynamic, **{need: secret for supply in supplies for need, secret in supply.dynamic.items()}},
        own.leases.union(*(supply.leases for supply in supplies)),
    )


def required_missing(app: App) -> Mapping[Need, Failure]:
    """What the app cannot be rendered without, and other machines cannot supply."""
    missing = _missing(app)
    return {need: failure for need, failure in missing if need not in app.spec.optional}


def optional_missing(app: App) -> Mapping[Need, Failure]:
    """What the app is rendered without although it may exist."""
    missing = _missing(app)
    return {need: why for need, why in missing if need in app.spec.optional and why.kind is not Kind.NOT_FOUND}


def _missing(app: App) -> Iterable[tuple[Need, Failure]]:
    supplies = (supply for source, supply in app.supplies.items() if source in app.spec.sources)
    return (item for supply in supplies for item in supply.missing.items())


def settled_at(state: StateView, needs: frozenset[Need]) -> float:
    """Until when a rendering waits for leases that are being issued for it."""
    pending = [state.issuances[need].request for need in needs if isinstance(need, DynamicSecret)]
    return max((state.requests[id_].sent_at + SETTLE_DELAY for id_ in pending if id_ is not None), default=0.0)


def folder_content(state: StateView, name: Folder) -> dict[str, Secret] | None:
    """The secrets in a folder; None if one of them is not available or not current."""
    folder = state.folders[name]
    if folder.names is None or folder.failure is not None:
        return None
    content: dict[str, Secret] = {}
    for secret in folder.names:
        known = state.secrets[name.ref(secret)]
        if known.failure is not None and known.failure.kind is Kind.NOT_FOUND:
            continue  # A folder is rendered without a secret that does not exist.
        if known.secret is None or known.stale or known.failure is not None:
            return None
        content[secret] = known.secret
    return content


def kv_secrets_of(state: StateView, needs: frozenset[Need]) -> set[Ref]:
    """The KV secrets that these needs name, by themselves or with their folder."""
    refs = {need for need in needs if isinstance(need, Ref)}
    for need in needs:
        if isinstance(need, Folder):
            refs |= {need.ref(name) for name in state.folders[need].names or ()}
    return refs


def unknown_paths(state: State, paths: Iterable[str]) -> list[str]:
    """Those of the paths that match no secret and no folder that a template reads."""
    known: list[Need] = [*state.secrets, *state.folders, *state.issuances]
    return [path for path in paths if not any(matches(need, path) for need in known)]


def last_checked_at(state: State, ref: Ref) -> float | None:
    """When the agent last made sure that a secret had not changed, by itself or with its folder."""
    folder = state.folders.get(ref.folder)
    by_list = folder.last_checked_at if folder is not None and folder.lists_metadata else None
    times = [state.secrets[ref].last_checked_at, by_list]
    return max((time for time in times if time is not None), default=None)


def has_input_failures(state: StateView) -> bool:
    """Whether a secret, folder or mount could not be read, or a dynamic secret not be issued."""
    failed = sum(table.count(has_failed) for table in (state.mounts, state.folders, state.secrets))
    return bool(failed or state.issuances.count(not_issued))


def input_failures(state: StateView, app: App) -> Mapping[str, Failure]:
    """Why inputs of an app are not available, by path."""
    if not has_input_failures(state):
        return {}  # The usual case, while a thousand secrets are read.
    failures: dict[str, Failure | None] = {}
    for need in app.spec.needs:
        if isinstance(need, DynamicSecret):
            failures[str(need)] = state.issuances[need].failure
            continue
        if isinstance(need, Folder):
            failures[str(need)] = state.folders[need].failure
        failures[f"{need.mount}/"] = state.mounts[need.mount].failure
    for ref in kv_secrets_of(state, app.spec.needs):
        failure = state.secrets[ref].failure
        # A folder is rendered without a secret that does not exist.
        if failure is not None and (failure.kind is not Kind.NOT_FOUND or ref in app.spec.needs):
            failures[str(ref)] = failure
    return {path: failure for path, failure in failures.items() if failure is not None}
