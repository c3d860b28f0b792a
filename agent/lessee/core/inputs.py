"""What the needs of an app come to: which secrets, whether they are all here, and how fresh."""

from collections.abc import Mapping

from lessee.core.failures import Kind
from lessee.core.paths import Folder, Ref
from lessee.core.secrets import Secret
from lessee.core.state import State
from lessee.core.turn import Turn


def missing_inputs(state: State | Turn, needs: frozenset[Ref | Folder]) -> tuple[str, ...] | None:
    """None: all of it is here and current. Else why not, a line each; () where it is only being waited for."""
    why: list[str] = []
    waiting = False
    for need in sorted(needs, key=str):
        mount = state.mounts[need.mount]
        if mount.failure is not None:
            why.append(f"{need.mount}/: {mount.failure.text}")
            continue
        if isinstance(need, Folder):
            group = state.groups[need]
            if group.failure is not None:
                why.append(f"{need}: {group.failure.text}")
            waiting = waiting or group.names is None
            refs = [need.ref(name) for name in group.names or ()]
        else:
            refs = [need]
        for ref in refs:
            source = state.sources[ref]
            if source.failure is not None:
                if ref != need and source.failure.kind is Kind.MISSING:
                    continue
                why.append(f"{ref}: {source.failure.text}")
            elif source.stale or source.secret is None:
                waiting = True
    if why:
        return tuple(dict.fromkeys(why))
    return () if waiting else None


def inputs(
    state: State | Turn, needs: frozenset[Ref | Folder]
) -> tuple[Mapping[Ref, Secret], Mapping[Folder, Mapping[str, Secret]]]:
    """The secrets and folders, as they are now."""
    secrets: dict[Ref, Secret] = {}
    folders: dict[Folder, dict[str, Secret]] = {}
    for need in needs:
        if isinstance(need, Ref):
            secret = state.sources[need].secret
            if secret is not None:
                secrets[need] = secret
        else:
            folders[need] = {}
            for name in state.groups[need].names or ():
                source = state.sources[need.ref(name)]
                if source.failure is None and source.secret is not None:
                    folders[need][name] = source.secret
    return secrets, folders


def inputs_of(state: State, needs: frozenset[Ref | Folder]) -> list[Ref]:
    """The secrets that these needs come to."""
    refs = {need for need in needs if isinstance(need, Ref)}
    for need in needs:
        if isinstance(need, Folder):
            refs |= {need.ref(name) for name in state.groups[need].names or ()}
    return sorted(refs, key=str)


def looked_at(state: State, ref: Ref) -> float | None:
    """When it was last known to be as it is: by itself or with its folder."""
    group = state.groups.get(ref.folder)
    times = [state.sources[ref].looked_at, group.looked_at if group is not None and group.by_list else None]
    return max((time for time in times if time is not None), default=None)
