"""What the needs of an app come to: which secrets, whether they are all here, and how fresh."""

from collections.abc import Iterable, Mapping

from lessee.agent.machine.kv.planning import is_named
from lessee.agent.machine.state import State
from lessee.agent.machine.transaction import Turn
from lessee.core.failures import Kind
from lessee.core.immutable import ImmutableStruct
from lessee.core.paths import DynamicSecret, Folder, Need, Ref
from lessee.core.secrets import Secret

SETTLE = 2.0
"""Seconds that a rendering waits for what is being issued: several that end together are one generation."""


class Inputs(ImmutableStruct, frozen=True):
    """What an app's files are rendered from. `leases`: the ids of those among it."""

    hidden = ("secrets", "folders", "dynamic")

    secrets: Mapping[Ref, Secret]
    folders: Mapping[Folder, Mapping[str, Secret]]
    dynamic: Mapping[DynamicSecret, Secret]
    leases: frozenset[str]


def inputs(state: State | Turn, needs: frozenset[Need]) -> Inputs | None:
    """The secrets as they are now; None where one of them is not here, not current, or has ended."""
    secrets: dict[Ref, Secret] = {}
    folders: dict[Folder, dict[str, Secret]] = {}
    dynamic: dict[DynamicSecret, Secret] = {}
    leases = set()
    for need in needs:
        if isinstance(need, DynamicSecret):
            held = state.leases.get(state.supplies[need].lease or "")
            if held is None or held.ended_at is not None:
                return None
            dynamic[need] = held.lease.secret
            leases.add(held.lease.id)
        elif isinstance(need, Folder):
            inside = _inside(state, need)
            if inside is None:
                return None
            folders[need] = inside
        else:
            source = state.sources[need]
            if source.secret is None or source.stale or source.failure is not None:
                return None
            secrets[need] = source.secret
    return Inputs(secrets, folders, dynamic, frozenset(leases))


def settles_at(state: State | Turn, needs: frozenset[Need]) -> float:
    """Until when a rendering waits for what is being issued for it."""
    asked = [state.supplies[need].call for need in needs if isinstance(need, DynamicSecret)]
    return max((state.calls[call].sent_at + SETTLE for call in asked if call is not None), default=0.0)


def _inside(state: State | Turn, folder: Folder) -> dict[str, Secret] | None:
    group = state.groups[folder]
    if group.names is None or group.failure is not None:
        return None
    inside: dict[str, Secret] = {}
    for name in group.names:
        source = state.sources[folder.ref(name)]
        if source.failure is not None and source.failure.kind is Kind.NOT_FOUND:
            continue  # a folder goes on without a secret that is gone
        if source.secret is None or source.stale or source.failure is not None:
            return None
        inside[name] = source.secret
    return inside


def inputs_of(state: State | Turn, needs: frozenset[Need]) -> set[Ref]:
    """The KV secrets that these needs come to."""
    refs = {need for need in needs if isinstance(need, Ref)}
    for need in needs:
        if isinstance(need, Folder):
            refs |= {need.ref(name) for name in state.groups[need].names or ()}
    return refs


def unknown(state: State, paths: Iterable[str]) -> list[str]:
    """Those of the paths by which no secret and no folder can be meant that a template reads."""
    known: list[Need] = [*state.sources, *state.groups, *state.supplies]
    return [path for path in paths if not any(is_named(at, path) for at in known)]


def looked_at(state: State, ref: Ref) -> float | None:
    """When it was last known to be as it is: by itself or with its folder."""
    group = state.groups.get(ref.folder)
    times = [state.sources[ref].looked_at, group.looked_at if group is not None and group.by_list else None]
    return max((time for time in times if time is not None), default=None)
