"""Which secrets and folders the apps want, and how changes in each are noticed."""

from collections.abc import Mapping, Sequence

from lessee.agent.machine.kv.event_source import pace
from lessee.agent.machine.protocol.app_spec import Want
from lessee.agent.machine.state import NEVER, Group, Mount, Source
from lessee.agent.machine.transaction import Turn
from lessee.core.failures import Failure, Kind
from lessee.core.immutable import replace
from lessee.core.paths import DynamicSecret, Folder, Need, Ref

FEW = 3.0
"""Failing paths that may each be asked for as if they were the only one."""


def configure_reading(turn: Turn, wants: Mapping[str, Want]) -> None:
    """Read what the apps want: what was read before is kept, what nobody wants any more is dropped."""
    refreshes: dict[Ref | Folder, float] = {}
    for want in wants.values():
        for need in want.needs:
            if isinstance(need, DynamicSecret):
                continue
            refreshes[need] = min(want.refresh, refreshes.get(need, want.refresh))
    mounts = turn.edit_mounts()
    for name in {need.mount for need in refreshes}:
        mounts.setdefault(name, Mount())
    _configure_groups(turn, refreshes)
    before, sources = turn.sources, turn.edit_sources()
    wanted = {need for need in refreshes if isinstance(need, Ref)}
    wanted |= {ref for folder in turn.groups for ref in members(turn, folder)}
    kept = {ref: before[ref] for ref in wanted if ref in before}
    sources.clear()
    for ref in sorted(wanted, key=str):
        sources[ref] = kept.get(ref) or Source(blind=mounts[ref.mount].version == 1)
        if ref not in kept:
            continue
        group = turn.groups.get(ref.folder)
        if group is not None and not group.by_list and ref.version is None:
            sources[ref] = replace(sources[ref], next_at=_not_later(turn, sources[ref].next_at, group.refresh))


def _configure_groups(turn: Turn, refreshes: Mapping[Ref | Folder, float]) -> None:
    members: dict[Folder, list[Ref]] = {}
    for need in refreshes:
        if isinstance(need, Folder):
            members.setdefault(need, [])
        elif need.version is None:
            members.setdefault(need.folder, []).append(need)
    before = turn.groups
    groups = {}
    for folder, refs in members.items():
        wanted: list[Ref | Folder] = [folder, *refs]
        refresh = min(refreshes[need] for need in wanted if need in refreshes)
        names = folder in refreshes
        by_list = _by_list(turn, folder, refs, names=names)
        old = before.get(folder)
        if old is not None and old.wants_names == names and (len(old.refs) > 1) == (len(refs) > 1):
            next_at = NEVER if old.next_at == NEVER else _not_later(turn, old.next_at, refresh)
            groups[folder] = replace(old, refresh=refresh, refs=tuple(sorted(refs)), next_at=next_at)
        else:
            next_at = turn.now if names or by_list else NEVER
            groups[folder] = Group(refresh, tuple(sorted(refs)), names, by_list, next_at=next_at)
    edited = turn.edit_groups()
    edited.clear()
    edited.update(groups)


def _not_later(turn: Turn, at: float, refresh: float) -> float:
    """Where `refresh` has become shorter, what was put off by the longer one comes sooner."""
    return min(at, turn.now + refresh)


def with_new_token(turn: Turn) -> None:
    """Another token may have other rights: what was denied is asked again, and ways of looking are found out anew."""
    for name, mount in turn.mounts.items():
        if mount.failure is not None:
            turn.edit_mounts()[name] = replace(mount, next_at=turn.now)
        look_anew(turn, name, denied_alone=True)


def look_anew(turn: Turn, mount: str, *, denied_alone: bool = False) -> None:
    """Find out anew how changes in a mount are noticed, and ask for all that failed there, or was denied."""
    for folder, group in turn.groups.items():
        by_list = _by_list(turn, folder, group.refs, names=group.wants_names)
        if folder.mount == mount and (by_list != group.by_list or group.failure is not None):
            turn.edit_groups()[folder] = replace(group, by_list=by_list, next_at=turn.now)
    blind = turn.mounts[mount].version == 1
    for ref, source in turn.sources.items():
        if ref.mount != mount:
            continue
        failed = source.failure is not None and (not denied_alone or source.failure.kind is Kind.DENIED)
        if failed or source.blind != blind:
            turn.edit_sources()[ref] = replace(source, blind=blind, next_at=turn.now if failed else source.next_at)


def _by_list(turn: Turn, folder: Folder, refs: Sequence[Ref], *, names: bool) -> bool:
    # One secret is looked at by its own metadata: that is one request too, and the smaller one.
    return (names or len(refs) > 1) and turn.mounts[folder.mount].version != 1


def nudge(turn: Turn, paths: tuple[str, ...]) -> None:
    """Look now: at everything, or at the secrets and folders that are named."""

    def meant(at: Need) -> bool:
        return not paths or any(is_named(at, path) for path in paths)

    for name, mount in turn.mounts.items():
        if not mount.version:
            turn.edit_mounts()[name] = replace(mount, next_at=turn.now)
    for folder, group in turn.groups.items():
        inside = any(meant(ref) for ref in members(turn, folder))
        if (inside or meant(folder)) and group.next_at != NEVER:
            turn.edit_groups()[folder] = replace(group, next_at=turn.now)
    for dynamic, supply in turn.supplies.items():
        # What was issued stays; what failed, or is a static role, is looked at.
        held = turn.leases.get(supply.lease or "")
        if meant(dynamic):
            turn.edit_supplies()[dynamic] = replace(supply, next_at=min(supply.next_at, turn.now))
            if held is not None and held.lease.static:
                turn.edit_leases()[held.lease.id] = replace(held, replace_at=turn.now)
    for ref, source in turn.sources.items():
        if meant(ref) and ref.version is None:
            # A list serves the folder; but what failed is asked for itself, whatever the list says.
            by_list = next_look(turn, ref) == NEVER and source.failure is None
            if not by_list:
                turn.edit_sources()[ref] = replace(source, next_at=turn.now)


def is_named(at: Need, path: str) -> bool:
    """Whether a person means this secret or folder by `path`: as a template has it, or with prefix and mount."""
    known = at.path if isinstance(at, DynamicSecret) else str(at)
    return f"/{known}".rstrip("/").endswith(f"/{path.rstrip('/')}")


def members(turn: Turn, folder: Folder) -> list[Ref]:
    group = turn.groups[folder]
    named = [folder.ref(name) for name in group.names or ()] if group.wants_names else []
    return list(dict.fromkeys([*group.refs, *named]))


def next_look(turn: Turn, ref: Ref) -> float:
    if ref.version is not None:
        return NEVER  # a pinned version never changes
    group = turn.groups.get(ref.folder)
    return NEVER if group is None or group.by_list else next_round(turn, refresh_of(turn, ref))


def refresh_of(turn: Turn, ref: Ref) -> float:
    group = turn.groups.get(ref.folder)
    return group.refresh if group is not None else 1.0


def next_round(turn: Turn, refresh: float) -> float:
    # Never later than `refresh`, and a little earlier by chance, so that agents drift apart.
    refresh = pace(turn.hearing, refresh)
    return turn.now + refresh * (0.9 + 0.1 * turn.draw())


def again_at(turn: Turn, ref: Ref, source: Source, failure: Failure) -> float:
    base = max(1.0, refresh_of(turn, ref)) * crowd(turn)
    return turn.retry_at(source, failure, base=base)


def crowd(turn: Turn) -> float:
    """The more paths fail, the longer each of them waits, so that all of them together ask seldom."""
    failing = sum(source.failure is not None and source.next_at != NEVER for source in turn.sources.values())
    return max(1.0, failing / FEW)


def touch(turn: Turn, need: Need) -> None:
    """The apps that read this have new inputs."""
    for name, app in turn.apps.items():
        needs = app.want.needs
        if not app.dirty and (need in needs or (isinstance(need, Ref) and need.folder in needs)):
            turn.edit_apps()[name] = replace(app, dirty=True)
