"""Finds what another program has changed in an app's directory, and restores it for readers in a single step."""

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from enum import Enum, auto
from typing import TYPE_CHECKING

from lessee.core.errors import WriteError
from lessee.core.generation import File, Generation
from lessee.core.immutable import ImmutableStruct, replace
from lessee.host.clock import boot_time
from lessee.host.directories import open_subdirectory, translate_write_errors
from lessee.protocol.events import FilesChecked
from lessee.publishing import publication_record
from lessee.publishing.files_watch import LIVE, FilesWatch
from lessee.publishing.generations import OWN_PREFIX, open_parent, read_file
from lessee.publishing.publication import FoundOwnership, Publisher, VisibleFiles, ownership
from lessee.publishing.sweeper import sweep
from lessee.rendering.render import MAX_SIZE

if TYPE_CHECKING:
    from lessee.config import App
    from lessee.publishing.publication_store import AppDirectory
    from lessee.publishing.state_store import StateStore

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CHUNK = 1 << 16
_MAX_NAMED = 5


class _Part(Enum):
    DIRECTORY = auto()
    OWNERSHIP = auto()
    """Mode and owner of the app's directory."""
    LIVE = auto()
    LINK = auto()
    GENERATION = auto()
    MARKER = auto()


class _Finding(ImmutableStruct, frozen=True):
    part: _Part
    text: str
    changed: bool = True
    """Whether readers may have read something else than the published files."""


class Guard:
    """Compares the directories of all apps with what was published in them. Only the loop's thread may call it."""

    def __init__(self, state_store: "StateStore", open_again: "Callable[[App], AppDirectory]") -> None:
        """`open_again` opens an app's directory by its path, or makes it. It raises WriteError."""
        self._state_store = state_store
        self._open_again = open_again
        self._watch = FilesWatch()

    def check(self, directory: "AppDirectory", *, notify: bool, touched: Callable[[], None]) -> FilesChecked:
        """Restore what differs from what was published; `touched` is called for each change from now on.

        A directory that was replaced is opened again, and `directory` refers to the new one then. `notify`: if readers
        may have read something else, the record says that the app must be notified.
        """
        name, visible = directory.app.name, directory.visible
        if visible is None:
            return FilesChecked(name)
        number = visible.live.number
        try:
            with translate_write_errors(directory.publisher.path):
                if visible.files is None:
                    visible = directory.visible = _read(visible, directory)
                self._watch.follow(name, directory.publisher, visible, touched)
                found = tuple(_find(directory, visible))
        except WriteError as exc:
            return FilesChecked(name, number, error=str(exc))
        if not found:
            return FilesChecked(name, number)
        changed = any(finding.changed for finding in found)
        texts = tuple(finding.text for finding in found[:_MAX_NAMED])
        if len(found) > _MAX_NAMED:
            texts = (*texts, f"and {len(found) - _MAX_NAMED} more")
        try:
            failure = self._restore(directory, visible, found, changed=changed, notify=changed and notify)
        except WriteError as exc:
            is_lost = any(finding.part is _Part.DIRECTORY for finding in found)
            visible = directory.visible or visible
            return FilesChecked(name, visible.live.number, texts, error=str(exc), is_lost=is_lost)
        visible = directory.visible or visible
        self._watch.follow(name, directory.publisher, visible, touched)
        if failure is None:
            touched()  # It may have been changed before it was watched.
        return FilesChecked(name, visible.live.number, texts, changed, str(failure) if failure is not None else None)

    def forget(self, app: str) -> None:
        """Watch the directory of this app no longer."""
        self._watch.forget(app)

    def close(self) -> None:
        """Watch nothing any longer."""
        self._watch.close()

    def _restore(
        self,
        directory: "AppDirectory",
        visible: VisibleFiles,
        found: Iterable[_Finding],
        *,
        changed: bool,
        notify: bool,
    ) -> WriteError | None:
        """Restore everything, except for a directory's mode and owner where it returns the reason."""
        parts = {finding.part for finding in found}
        if _Part.DIRECTORY in parts:
            self._publish_in_new_directory(directory, visible, notify=notify)
            return None
        failure: WriteError | None = None
        if _Part.OWNERSHIP in parts:
            # Without it the agent itself may be unable to do the rest.
            try:
                directory.publisher.restore_ownership()
            except WriteError as exc:
                failure = exc
        publisher = directory.publisher
        with translate_write_errors(publisher.path):
            if changed and _Part.GENERATION not in parts:
                # Before the repair: whatever happens, the app must be notified.
                record = self._record(directory, visible)
                number = visible.live.number
                record = publication_record.before_restoration(record, number, number, notify=notify)
                self._state_store.store_app(directory.app.name, replace(record, published_at=boot_time()))
            if _Part.LIVE in parts:
                _point(visible.live.folder, publisher)
            if _Part.LINK in parts:
                _remove_empty_directories(visible, publisher.fd)
            if _Part.GENERATION in parts:
                self._publish(directory, visible, changed=changed, notify=notify)
            if _Part.LINK in parts:
                publisher.relink(visible.names)
            if _Part.MARKER in parts:
                directory.write_marker(visible.fallback)
        return failure

    def _publish_in_new_directory(self, directory: "AppDirectory", visible: VisibleFiles, *, notify: bool) -> None:
        """Publish the files in the directory that has the path now, or in a new one."""
        other = self._open_again(directory.app)
        try:
            publisher = other.publisher
            with translate_write_errors(publisher.path):
                _refuse_generations(publisher)
                publisher.continue_after(visible.live.number)
                visible = self._publish(other, visible, changed=True, notify=notify)
                other.write_marker(visible.fallback)
        except BaseException:
            other.publisher.close()
            raise
        directory.replace_by(other)

    def _publish(
        self, directory: "AppDirectory", visible: VisibleFiles, *, changed: bool, notify: bool
    ) -> VisibleFiles:
        """Publish the same files as another generation."""
        publisher, name = directory.publisher, directory.app.name
        assert visible.files is not None
        staged = publisher.stage(Generation(name, visible.files), force=True)
        assert staged is not None
        try:
            record = publication_record.before_restoration(
                self._record(directory, visible), visible.live.number, staged.number, notify=notify
            )
            self._state_store.store_app(name, record)
        except BaseException:
            publisher.discard(staged)
            raise
        live = publisher.publish(staged)
        if changed:
            # The record is sufficient already: without the time, the app is notified whenever it started.
            with suppress(WriteError):
                self._state_store.store_app(name, replace(record, published_at=boot_time()))
        directory.visible = replace(visible, live=live, folders=publisher.ownerships(live.folder, visible.files))
        return directory.visible

    def _record(self, directory: "AppDirectory", visible: VisibleFiles) -> publication_record.AppRecord:
        number = visible.live.number
        stored = self._state_store.app(directory.app.name)
        return publication_record.reconcile(stored, number, {number, *directory.publisher.numbers()})


def _find(directory: "AppDirectory", visible: VisibleFiles) -> Iterator[_Finding]:
    publisher = directory.publisher
    if (replaced := _replaced(publisher)) is not None:
        yield replaced
        return
    status = ownership(os.fstat(publisher.fd))
    if status != publisher.ownership:
        yield _Finding(_Part.OWNERSHIP, f"the directory: {_described(status, publisher.ownership)}", changed=False)
    if (what := _link_finding(LIVE, visible.live.folder, publisher.fd)) is not None:
        yield _Finding(_Part.LIVE, f"{LIVE}: {what}")
    for name in sorted(visible.names):
        if (what := _link_finding(name, f"{LIVE}/{name}", publisher.fd)) is not None:
            yield _Finding(_Part.LINK, f"{name}: {what}", not _is_copy(name, visible, publisher.fd))
    yield from _generation_findings(visible, publisher.fd)
    if visible.fallback is not None and not directory.has_marker_of(visible.fallback):
        yield _Finding(_Part.MARKER, ".degraded: removed or altered", changed=False)


def _refuse_generations(publisher: Publisher) -> None:
    """Raise WriteError for a directory that was published in: it may be another app's, moved by the parent's owner."""
    if publisher.numbers():
        what = "another directory that holds generations, perhaps of another app, is in its place"
        raise WriteError(what, where=str(publisher.path), todo="move that one away, or restart the agent")


def _replaced(publisher: Publisher) -> _Finding | None:
    try:
        status = publisher.path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return _Finding(_Part.DIRECTORY, "the directory: removed")
    if os.path.samestat(status, os.fstat(publisher.fd)):
        return None
    return _Finding(_Part.DIRECTORY, "the directory: replaced")


def _link_finding(name: str, target: str, directory: int) -> str | None:
    """What is wrong with a link."""
    try:
        return None if os.readlink(name, dir_fd=directory) == target else "leads elsewhere"
    except FileNotFoundError:
        return "removed"
    except OSError:
        return "replaced"


def _is_copy(name: str, visible: VisibleFiles, directory: int) -> bool:
    """Whether a link was replaced by a regular file of the same content, as by an editor."""
    file = next((file for file in visible.files or () if file.name == name), None)
    if file is None:
        return False
    try:
        return read_file(name, directory, len(file.content)) == file.content
    except OSError:
        return False


def _generation_findings(visible: VisibleFiles, directory: int) -> Iterator[_Finding]:
    try:
        with open_subdirectory(visible.live.folder, directory) as fd:
            for folder, expected in sorted(visible.folders.items()):
                name = folder or visible.live.folder
                try:
                    with _opened(folder, fd) as inner:
                        status = ownership(os.fstat(inner))
                        if status != expected:
                            text = f"{name}: {_described(status, expected)}"
                            yield _Finding(_Part.GENERATION, text, changed=False)
                        yield from _file_findings(folder, visible.files or (), inner)
                except OSError as exc:
                    yield _unreachable(name, exc)
    except OSError as exc:
        yield _unreachable(visible.live.folder, exc)


def _unreachable(name: str, exc: OSError) -> _Finding:
    if isinstance(exc, PermissionError):
        return _Finding(_Part.GENERATION, f"{name}: not accessible", changed=False)
    what = "removed" if isinstance(exc, FileNotFoundError) else "replaced"
    return _Finding(_Part.GENERATION, f"{name}: {what}")


def _file_findings(folder: str, files: Iterable[File], directory: int) -> Iterator[_Finding]:
    for file in files:
        parent, _, name = file.name.rpartition("/")
        if parent != folder:
            continue
        try:
            status = os.stat(name, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            yield _Finding(_Part.GENERATION, f"{file.name}: removed")
            continue
        if not stat.S_ISREG(status.st_mode):
            yield _Finding(_Part.GENERATION, f"{file.name}: replaced")
            continue
        expected = (file.mode, os.geteuid() if file.uid is None else file.uid, _gid(file))
        if ownership(status) != expected:
            text = f"{file.name}: {_described(ownership(status), expected)}"
            yield _Finding(_Part.GENERATION, text, changed=False)
        if status.st_size != len(file.content) or not _holds(name, file.content, directory):
            yield _Finding(_Part.GENERATION, f"{file.name}: altered")


def _holds(name: str, content: bytes, directory: int) -> bool:
    """Whether a file has this content, also where it cannot be read because its mode was changed."""
    try:
        fd = os.open(name, _READ, dir_fd=directory)
    except PermissionError:
        return True
    except OSError:
        return False
    try:
        rest = memoryview(content)
        while chunk := os.read(fd, _CHUNK):
            if rest[: len(chunk)] != chunk:
                return False
            rest = rest[len(chunk) :]
        return not rest
    finally:
        os.close(fd)


def _gid(file: File) -> int:
    return os.getegid() if file.gid is None else file.gid


def _described(found: FoundOwnership, expected: FoundOwnership) -> str:
    differences = []
    if found[0] != expected[0]:
        differences.append(f"mode {found[0]:04o} instead of {expected[0]:04o}")
    if found[1:] != expected[1:]:
        differences.append("owner {}:{} instead of {}:{}".format(*found[1:], *expected[1:]))
    return ", ".join(differences)


def _point(folder: str, publisher: Publisher) -> None:
    """Have `..data` lead to the live folder again, whatever has taken its place."""
    fd, link = publisher.fd, f"{OWN_PREFIX}{os.urandom(4).hex()}"
    os.symlink(folder, link, dir_fd=fd)
    try:
        os.rename(link, LIVE, src_dir_fd=fd, dst_dir_fd=fd)
    except IsADirectoryError:
        aside = f"{OWN_PREFIX}{os.urandom(4).hex()}"
        os.rename(LIVE, aside, src_dir_fd=fd, dst_dir_fd=fd)
        os.rename(link, LIVE, src_dir_fd=fd, dst_dir_fd=fd)
        sweep([aside], fd, publisher.path)


def _remove_empty_directories(visible: VisibleFiles, directory: int) -> None:
    """Docker makes a directory where a file to mount does not exist; one that holds anything is an error."""
    for name in visible.names:
        with suppress(OSError):
            os.rmdir(name, dir_fd=directory)


def _read(visible: VisibleFiles, directory: "AppDirectory") -> VisibleFiles:
    """What a previous run, or a rollback, has published: only the disk has it. Raises OSError or WriteError.

    The files are those of the configuration, with its modes and owners: an app that owns its directory may have added
    others, or exchanged these.
    """
    files, left = [], MAX_SIZE
    with open_subdirectory(visible.live.folder, directory.publisher.fd) as fd:
        for file in directory.app.files:
            try:
                with open_parent(file.name, fd) as (parent, last):
                    content = read_file(last, parent, left)
            except FileNotFoundError:
                continue  # Another configuration published this generation.
            left -= len(content)
            if left < 0:
                what = f"its files have more than {MAX_SIZE >> 20} MiB"
                raise WriteError(what, where=str(directory.publisher.path), todo="remove what another program wrote")
            uid, gid = file.owner or (None, None)
            files.append(File(file.name, content, file.mode, uid, gid))
    read = tuple(files)
    return replace(visible, files=read, folders=directory.publisher.ownerships(visible.live.folder, read))


@contextmanager
def _opened(folder: str, directory: int) -> Iterator[int]:
    """A folder in the open directory, whose name may have several elements; none of them is a link."""
    with ExitStack() as stack:
        for name in filter(None, folder.split("/")):
            directory = stack.enter_context(open_subdirectory(name, directory))
        yield directory
