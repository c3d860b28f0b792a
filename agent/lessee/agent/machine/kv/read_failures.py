"""What a refused or failed reading changes: its own path waits or is asked otherwise, the others go on."""

from lessee.agent.machine.kv.planning import again_at, next_look
from lessee.agent.machine.kv.reading import listed, look_at_each, missing, source_failed
from lessee.agent.machine.protocol.commands import DetectKvVersion, ListFolder, ReadMetadata, ReadSecret
from lessee.agent.machine.protocol.events import FolderListed
from lessee.agent.machine.session.login import suspect_token
from lessee.agent.machine.state import NEVER, Group, Source
from lessee.agent.machine.transaction import Turn
from lessee.core.failures import Failure, Kind
from lessee.core.immutable import replace
from lessee.core.paths import Ref
from lessee.core.secrets import VersionMetadata


def reading_failed(
    turn: Turn,
    command: DetectKvVersion | ListFolder | ReadMetadata | ReadSecret,
    failure: Failure,
    metadata: VersionMetadata | None,
) -> None:
    """A request failed for a reason of its path; other paths go on."""
    if failure.kind is Kind.DENIED and not (isinstance(command, DetectKvVersion) and turn.mounts[command.mount].tries):
        suspect_token(turn)
    match command:
        case DetectKvVersion():
            _mount_failed(turn, command.mount, failure)
        case ListFolder() if command.folder in turn.groups:
            _list_failed(turn, command, turn.groups[command.folder], failure)
        case ReadMetadata() if command.ref in turn.sources:
            _look_failed(turn, command.ref, turn.sources[command.ref], failure)
        case ReadSecret() if failure.kind is Kind.UNSUPPORTED:
            _mount_failed(turn, command.ref.mount, Failure(Kind.NOT_FOUND, "the mount is not there any more"))
        case ReadSecret() if command.ref in turn.sources:
            source = turn.sources[command.ref]
            by_list = next_look(turn, command.ref) == NEVER and command.ref.version is None
            again = again_at(turn, command.ref, source, failure)
            if failure.kind is Kind.NOT_FOUND:
                failure = missing(metadata)
                source = replace(source, seen=metadata)
                again = NEVER if by_list else again  # the list tells when it is there again
            source_failed(turn, command.ref, source, failure, next_at=again)
        case _:
            pass  # what it was for is no longer wanted


def _mount_failed(turn: Turn, name: str, failure: Failure) -> None:
    mount = turn.mounts[name]
    if mount.failure != failure:
        turn.tell("warning", "mount cannot be used", mount=name, reason=failure.text)
    again, since = turn.retry_at(mount, failure), turn.began(mount)
    turn.edit_mounts()[name] = replace(
        mount, version=0, failure=failure, tries=mount.tries + 1, since=since, next_at=again
    )


def _list_failed(turn: Turn, command: ListFolder, group: Group, failure: Failure) -> None:
    folder = command.folder
    if failure.kind is Kind.NOT_FOUND:  # Vault says so of an empty folder
        listed(turn, command, FolderListed(command.call, {}))
    elif command.detailed and failure.kind in {Kind.DENIED, Kind.UNSUPPORTED, Kind.INVALID}:
        look_at_each(turn, folder, group, why=failure.text)
    else:
        if group.failure != failure:
            turn.tell("warning", "folder cannot be listed", folder=str(folder), reason=failure.text)
        again, since = turn.retry_at(group, failure, base=group.refresh), turn.began(group)
        turn.edit_groups()[folder] = replace(group, failure=failure, tries=group.tries + 1, since=since, next_at=again)


def _look_failed(turn: Turn, ref: Ref, source: Source, failure: Failure) -> None:
    if failure.kind in {Kind.DENIED, Kind.UNSUPPORTED, Kind.INVALID}:
        turn.tell("info", "looking by reading", secret=str(ref), reason=failure.text)
        turn.edit_sources()[ref] = replace(source, blind=True, next_at=turn.now)
    else:
        failure = missing(None) if failure.kind is Kind.NOT_FOUND else failure
        source_failed(turn, ref, source, failure, next_at=again_at(turn, ref, source, failure))
