"""What the needs of an app come to: which secrets, whether they are all here, and how fresh."""

from collections.abc import Iterable, Mapping

from lessee.core.machine.failures import Kind
from lessee.core.machine.state import State
from lessee.core.machine.turn import Turn
from lessee.core.machine.wanted import is_named
from lessee.core.paths import Folder, Ref
from lessee.core.secrets import Secret


def inputs(
    state: State | Turn, needs: frozenset[Ref | Folder]
) -> tuple[Mapping[Ref, Secret], Mapping[Folder, Mapping[str, Secret]]] | None:
    """The secrets and folders as they are now; None where one of them is not here, or not current."""
    secrets: dict[Ref, Secret] = {}
    folders: dict[Folder, dict[str, Secret]] = {}
    for need in needs:
        if isinstance(need, Folder):
            inside = _inside(state, need)
            if inside is None:
                return None
            folders[need] = inside
        else:
            source = state.sources[need]
            if source.secret is None or source.stale or source.failure is not None:
                return None
            secrets[need] = source.secret
    return secrets, folders


def _inside(state: State | Turn, folder: Folder) -> dict[str, Secret] | None:
    group = state.groups[folder]
    if group.names is None or group.failure is not None:
        return None
    inside: dict[str, Secret] = {}
    for name in group.names:
        source = state.sources[folder.ref(name)]
        if source.failure is not None and source.failure.kind is Kind.MISSING:
            continue  # a folder goes on without a secret that is gone
        if source.secret is None or source.stale or source.failure is not None:
            return None
        inside[name] = source.secret
    return inside


def inputs_of(state: State, needs: frozenset[Ref | Folder]) -> set[Ref]:
    """The secrets that these needs come to."""
    refs = {need for need in needs if isinstance(need, Ref)}
    for need in needs:
        if isinstance(need, Folder):
            refs |= {need.ref(name) for name in state.groups[need].names or ()}
    return refs


def unknown(state: State, paths: Iterable[str]) -> list[str]:
    """Those of the paths by which no secret and no folder can be meant that a template reads."""
    known: list[Ref | Folder] = [*state.sources, *state.groups]
    return [path for path in paths if not any(is_named(at, path) for at in known)]


def looked_at(state: State, ref: Ref) -> float | None:
    """When it was last known to be as it is: by itself or with its folder."""
    group = state.groups.get(ref.folder)
    times = [state.sources[ref].looked_at, group.looked_at if group is not None and group.by_list else None]
    return max((time for time in times if time is not None), default=None)
