"""What is asked of Vault, and what its answers change."""

from lessee.agent.machine.kv.planning import again_at, look_anew, members, next_look, next_round, touch
from lessee.agent.machine.protocol.commands import DetectKvVersion, ListFolder, ReadingCommand, ReadMetadata, ReadSecret
from lessee.agent.machine.protocol.events import FolderListed, MetadataRead, SecretRead
from lessee.agent.machine.session.login import blame_token
from lessee.agent.machine.state import NEVER, Group, Mount, Source, State
from lessee.agent.machine.transaction import Turn
from lessee.core.failures import Failure, Kind
from lessee.core.immutable import replace
from lessee.core.paths import Folder, Ref
from lessee.core.secrets import VersionMetadata

IN_FLIGHT = 8
"""Requests under way at most: enough to keep a few connections busy, few enough for any server."""


def plan_reading(turn: Turn) -> None:
    """Ask for what is due, within the budget."""
    if turn.session.token is None or turn.session.weather is not None:
        return
    room = IN_FLIGHT - under_way(turn)
    for due in _due_mounts, _due_groups, _due_sources:
        room -= due(turn, max(0, room))


def under_way(known: State | Turn) -> int:
    """How many requests of reading there are."""
    return sum(isinstance(call.command, ReadingCommand) for call in known.calls.values())


def _due_mounts(turn: Turn, room: int) -> int:
    due = [n for n, m in turn.mounts.items() if not m.version and m.call is None and turn.now >= m.next_at][:room]
    for name in due:
        call = turn.next_id()
        turn.edit_mounts()[name] = replace(turn.mounts[name], call=call)
        turn.ask(DetectKvVersion(call, name))
    return len(due)


def _due_groups(turn: Turn, room: int) -> int:
    asked = 0
    for folder, group in turn.groups.items():
        if min(group.next_at, group.told_at) > turn.now or group.call is not None or asked >= room:
            continue
        version = turn.mounts[folder.mount].version
        if not version:
            continue
        call = turn.next_id()
        # A round serves what was told as well; a hint leaves the rounds of a folder as they are, if there are any.
        next_at = next_round(turn, group.refresh) if group.next_at <= turn.now else group.next_at
        turn.edit_groups()[folder] = replace(group, call=call, next_at=next_at, told_at=NEVER)
        turn.ask(ListFolder(call, folder, version, detailed=group.by_list))
        asked += 1
    return asked


def _due_sources(turn: Turn, room: int) -> int:
    asked = 0
    for ref, source in turn.sources.items():
        if min(source.next_at, source.told_at) > turn.now or source.call is not None or asked >= room:
            continue
        version = turn.mounts[ref.mount].version
        if not version:
            continue
        call = turn.next_id()
        is_told = source.told_at <= turn.now
        turn.edit_sources()[ref] = replace(source, call=call, told_at=NEVER if is_told else source.told_at)
        look = not (source.stale or source.blind or is_told)
        turn.ask(ReadMetadata(call, ref) if look else ReadSecret(call, ref, version))
        asked += 1
    return asked


def mount_found(turn: Turn, name: str, version: int) -> None:
    """The mount's version is known; version 1 has no metadata to look at."""
    lost = turn.mounts[name].tries > 0
    turn.edit_mounts()[name] = Mount(version=version)
    turn.tell("debug", "found the mount", mount=name, kv_version=version)
    if lost:
        look_anew(turn, name)
    if version == 1:
        for folder, group in turn.groups.items():
            if folder.mount == name:
                look_at_each(turn, folder, group, why="KV version 1 has no metadata")


def look_at_each(turn: Turn, folder: Folder, group: Group, *, why: str) -> None:
    turn.tell("info", "looking at each secret", folder=str(folder), reason=why)
    blind = turn.mounts[folder.mount].version == 1
    next_at = turn.now if group.wants_names else NEVER
    turn.edit_groups()[folder] = replace(group, by_list=False, next_at=next_at)
    for ref in members(turn, folder):
        source = turn.sources[ref]
        next_at = source.next_at if source.next_at != NEVER else turn.now
        turn.edit_sources()[ref] = replace(source, blind=source.blind or blind, next_at=next_at)


def listed(turn: Turn, command: ListFolder, event: FolderListed) -> None:
    """A folder's names, with version metadata if the server returned it."""
    folder = command.folder
    group = turn.groups.get(folder)
    if group is None:
        return
    names = tuple(sorted(event.secrets))
    turn.edit_groups()[folder] = replace(group, names=names, failure=None, tries=0, looked_at=turn.now)
    if group.wants_names and names != group.names:
        _follow_names(turn, folder, group.names or (), names)
    if command.detailed and group.by_list:
        for ref in members(turn, folder):
            _compare(turn, ref, event.secrets.get(ref.path.removeprefix(folder.path)))


def _follow_names(turn: Turn, folder: Folder, before: tuple[str, ...], names: tuple[str, ...]) -> None:
    group = turn.groups[folder]
    kept = set(group.refs)
    sources = turn.edit_sources()
    for name in names:
        sources.setdefault(folder.ref(name), Source(blind=turn.mounts[folder.mount].version == 1))
    for name in set(before) - set(names):
        ref = folder.ref(name)
        if ref not in kept:
            sources.pop(ref, None)
    touch(turn, folder)


def looked(turn: Turn, ref: Ref, event: MetadataRead) -> None:
    """A secret's newest version."""
    source = turn.sources.get(ref)
    if source is None:
        return
    turn.edit_sources()[ref] = source = replace(source, looked_at=turn.now)
    if event.metadata.deletion_time:
        failure = missing(event.metadata)
        again = again_at(turn, ref, source, failure)
        source_failed(turn, ref, replace(source, seen=event.metadata), failure, next_at=again)
        return
    _compare(turn, ref, event.metadata)
    source = turn.sources[ref]
    if not source.stale:
        turn.edit_sources()[ref] = replace(source, next_at=next_look(turn, ref), tries=0)


def _compare(turn: Turn, ref: Ref, metadata: VersionMetadata | None) -> None:
    source = turn.sources[ref]
    if metadata is None or metadata.deletion_time:
        failure = missing(metadata)
        if source.failure != failure or source.seen != metadata:
            source_failed(turn, ref, replace(source, seen=metadata), failure, next_at=NEVER)
        return
    missed = source.failure is not None and source.failure.kind is Kind.NOT_FOUND
    # What is stale and was seen so before waits for its own time: it may be denied.
    if (metadata != source.metadata or missed) and (source.seen != metadata or not source.stale):
        turn.edit_sources()[ref] = replace(source, seen=metadata, stale=True, next_at=turn.now, tries=0)


def missing(metadata: VersionMetadata | None) -> Failure:
    return Failure(Kind.NOT_FOUND, "it is not there" if metadata is None else "its newest version is deleted")


def source_failed(turn: Turn, ref: Ref, source: Source, failure: Failure, *, next_at: float) -> None:
    if source.failure != failure:
        turn.tell("warning", "secret cannot be read", secret=str(ref), reason=failure.text)
        if failure.kind is Kind.NOT_FOUND:
            touch(turn, ref.folder)  # a folder goes on without a secret that is gone
    tries, since = source.tries + 1, turn.began(source)
    turn.edit_sources()[ref] = replace(source, failure=failure, tries=tries, since=since, stale=True, next_at=next_at)


def read(turn: Turn, ref: Ref, event: SecretRead) -> None:
    """A secret's value."""
    source = turn.sources.get(ref)
    if source is None:
        return
    secret = event.secret
    version = secret.metadata.version if secret.metadata else None
    if source.failure is not None:
        turn.tell("info", "secret is back", secret=str(ref), version=version)
        if source.failure.kind is Kind.DENIED:
            blame_token(turn)
        if source.failure.kind is Kind.NOT_FOUND:
            touch(turn, ref.folder)  # which went on without it
    # repr tells true from 1 and 1 from 1.0, which == does not.
    if source.secret is None or repr(source.secret.data) != repr(secret.data):
        turn.tell("debug", "read", secret=str(ref), version=version)
        touch(turn, ref)
    else:  # The same object tells a rendering that nothing changed.
        secret = replace(secret, data=source.secret.data)
    turn.edit_sources()[ref] = replace(
        source,
        secret=secret,
        metadata=secret.metadata,
        stale=False,
        failure=None,
        tries=0,
        looked_at=turn.now,
        read_at=turn.now,
        next_at=next_look(turn, ref),
    )
