"""Reads a growing log across rotations, each line once."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from lessee.core.errors import LesseeError
from lessee.core.immutable import replace
from lessee.ops.monitor.batch import Batch, decode_lines
from lessee.ops.monitor.log_files import READ_ERRORS, Content, files_of, first_time, open_file
from lessee.ops.monitor.policy.cursor import (
    MAX_TAIL,
    File,
    Position,
    candidates,
    hash_of,
    line_tail,
    next_file,
    past_after,
)
from lessee.ops.monitor.policy.request_times import RequestTimes
from lessee.telemetry.logs import log

CHUNK = 1 << 20
"""Bytes of one read."""
_FIRST_LOOK = 1 << 16
MAX_LINE = 1 << 25
"""Bytes of the longest line that is read. A list of a hundred thousand names takes a quarter of it."""


class Tailer:
    """Reads the log for one thread, and never waits."""

    def __init__(
        self,
        name: str,
        path: Path,
        position: Position | None,
        *,
        from_end: bool = False,
        since: float = 0.0,
    ) -> None:
        """`position`: where to continue. None: at the start of the current file, or with `from_end` at its end.

        `since`: instead at the start of the file that has the first entry since this moment.
        """
        self._name, self._path = name, path
        self._from_end, self._since = from_end, since
        self._position = position
        self._open: _OpenFile | None = None
        self._gaps = 0
        self._is_first = False
        self._size = CHUNK
        self._is_skipping = False
        self._requests = RequestTimes()

    def read(self) -> Batch | None:
        """The next lines, or None if there are none now. Raises LesseeError if the log is not readable."""
        while True:
            found = self._open is not None or self._find_file()
            if self._is_first or not found:
                return self._without_lines()
            assert self._open is not None
            try:
                batch = self._read_lines(self._open)
            except _ChangedError:
                self.close()
                continue
            except READ_ERRORS as exc:
                self._skip_damaged(self._open.file, exc)
                continue
            if batch is not None:
                return batch
            if not self._is_finished(self._open):
                return self._without_lines()

    def close(self) -> None:
        """Close the open file. The position stays."""
        if self._open is not None:
            self._open.content.close()
            self._open = None
        self._size, self._is_skipping = CHUNK, False

    # Selects the file.

    def _find_file(self) -> bool:
        while True:
            files = files_of(self._path)
            if self._position is None:
                self._position, self._is_first = self._first_position(files), True
            if self._position.offset:
                if any(self._try_open(file, self._position) for file in candidates(self._position, files)):
                    return True
                self._skip_lost(self._position, files)
                continue
            file = next_file(self._position, files, self._path.name)
            if file is None:
                self._raise_if_unreadable()
                return False
            # A rotation may have given the name to another file by now.
            before = past_after(self._position, file, files)
            if self._try_open(file, replace(self._position, offset=0, tail_length=0, past=before)):
                return True

    def _first_position(self, files: Sequence[File]) -> Position:
        """Before the current file or that of `since`, or at the log's end. Files rotated earlier are not read."""
        if self._since:
            begun = sorted({file.began for file in files if file.began is not None})
            # The file that began last before this moment has its entries.
            earlier = [began for began in begun if began <= self._since][:-1]
            return Position(max(earlier, default=0.0))
        now = next((file for file in files if file.name == self._path.name), None)
        edge = now.began if now is not None and now.began is not None else float("inf")
        before = max((file.began for file in files if file.began is not None and file.began < edge), default=0.0)
        if now is None or now.began is None or not self._from_end:
            return Position(before)
        end = self._end_of(now)
        if end is not None:
            note = "the first start begins at the log's end; to read earlier entries, start once with --since"
            log("info", "audit log opened at its end", source=self._name, skipped_bytes=end.offset, note=note)
        return end or Position(before)

    def _skip_lost(self, position: Position, files: Sequence[File]) -> None:
        """Continue after a file whose rest no longer exists."""
        log("warning", "audit entries lost", source=self._name, file=str(self._path), after=_spelled(position.at),
            reason="the file was truncated, or removed before it was read")  # fmt: skip
        self._gaps += 1
        edited = [file for file in files if file.name == self._path.name and file.began == position.began]
        self._position = (self._end_of(edited[0]) if edited else None) or _after(position)

    def _end_of(self, file: File) -> Position | None:
        try:
            with open_file(self._path.with_name(file.name)) as log_file:
                start = max(0, file.size - MAX_LINE)
                log_file.seek(start)
                text = log_file.read(file.size - start)
        except READ_ERRORS:
            return None
        whole = text.rfind(b"\n") + 1
        assert file.began is not None
        tail = line_tail(text[:whole])
        return Position(file.began, file.device, file.inode, start + whole, hash_of(tail), len(tail)) if whole else None

    def _try_open(self, file: File, position: Position) -> bool:
        """Open the file at the position, if its content matches."""
        log_file = None
        try:
            log_file = open_file(self._path.with_name(file.name))
            matches = first_time(log_file) == file.began
            log_file.seek(0)

            content = Content(log_file, is_compressed=file.is_compressed)
            tail = content.at(position.offset - position.tail_length, position.tail_length)
            matches = matches and (not position.offset or hash_of(tail) == position.tail)
        except READ_ERRORS:
            matches = False
        if not matches:
            if log_file is not None:
                log_file.close()
            return False
        self._position = replace(position, device=file.device, inode=file.inode) if position.offset else self._position
        self._open = _OpenFile(file, content, tail, position)
        return True

    def _raise_if_unreadable(self) -> None:
        try:
            with open_file(self._path) as log_file:
                has_lines = b"\n" in log_file.read(_FIRST_LOOK)
                log_file.seek(0)
                if not has_lines or first_time(log_file) is not None:
                    return
        except READ_ERRORS as exc:
            raise _unreadable(self._path, exc) from None
        todo = "enable the audit device with `format=json`, and name its file"
        raise LesseeError("not an audit log in JSON", where=str(self._path), todo=todo)

    def _skip_damaged(self, file: File, exc: BaseException) -> None:
        """Skip the rest of a damaged compressed file. Raises LesseeError for any other file, which is read again."""
        self.close()
        error = _unreadable(self._path.with_name(file.name), exc)
        if not file.is_compressed:
            raise error from None
        log("warning", "audit entries lost", source=self._name, reason=str(error))
        self._gaps += 1
        assert self._position is not None
        self._position = _after(replace(self._position, began=file.began or 0.0))

    # Reads the file.

    def _read_lines(self, now: "_OpenFile") -> Batch | None:
        text = now.content.at(now.offset - len(now.tail), len(now.tail) + self._size)
        if not text.startswith(now.tail):
            raise _ChangedError
        text = text[len(now.tail) :]
        end = text.rfind(b"\n") + 1
        if end:
            self._size = CHUNK
            return self._take(now, text[:end])
        if len(text) < self._size:
            return None
        if self._size < MAX_LINE:
            self._size *= 2
            return self._read_lines(now)
        self._is_skipping, self._size = True, CHUNK
        return self._take(now, text, is_whole=False)

    def _take(self, now: "_OpenFile", text: bytes, *, is_whole: bool = True) -> Batch:
        """`is_whole` False: `text` is part of a line that is too long."""
        lines = text.split(b"\n")[:-1] if is_whole else []
        too_long = 0
        if lines and self._is_skipping:
            lines, too_long, self._is_skipping = lines[1:], 1, False
        accesses, invalid = decode_lines(lines, self._name, self._requests)
        last = text[-MAX_TAIL:]
        now.tail = line_tail(last if b"\n" in last[:-1] else (now.tail + last)[-MAX_TAIL:])
        now.offset += len(text)
        assert now.file.began is not None
        assert self._position is not None
        self._position = Position(
            now.file.began,
            now.file.device,
            now.file.inode,
            now.offset,
            hash_of(now.tail),
            len(now.tail),
            accesses[-1].at if accesses else self._position.at,
            now.past,
        )
        gaps, self._gaps = self._gaps, 0
        return Batch(accesses, self._position, len(lines) + too_long, invalid + too_long, gaps)

    def _is_finished(self, now: "_OpenFile") -> bool:
        """Whether the file is complete: the next file has begun, and this one was read again since."""
        if not now.is_last_read:
            if not now.file.is_compressed and self._is_written(now.file):
                return False
            files = files_of(self._path)
            assert self._position is not None
            now.is_last_read = next_file(self._position, files, self._path.name) is not None
            if not now.is_last_read and self._is_replaced(now.file, files):
                self.close()
                return True
            return now.is_last_read
        assert self._position is not None
        if now.content.at(now.offset, 1):
            self._gaps += 1
            reason = "the last line is incomplete"
            log("warning", "audit entries lost", source=self._name, file=now.file.name, reason=reason)
        self._position = _after(replace(self._position, began=now.file.began or 0.0))
        self.close()
        return True

    def _is_replaced(self, file: File, files: Sequence[File]) -> bool:
        """Whether a copy with the same beginning has replaced the file, as editors do."""
        copies = {other.name: other.inode for other in files if other.began == file.began}
        return self._path.name in copies and file.inode not in copies.values()

    def _is_written(self, file: File) -> bool:
        try:
            status = self._path.stat()
        except OSError:
            return False
        return (status.st_dev, status.st_ino) == (file.device, file.inode)

    def _without_lines(self) -> Batch | None:
        """A batch without lines, for the first position or a gap. None if there is neither."""
        gaps, self._gaps = self._gaps, 0
        is_first, self._is_first = self._is_first, False
        return Batch((), self._position, gaps=gaps) if gaps or is_first else None


class _ChangedError(Exception):
    """The file's content has changed."""


class _OpenFile:
    """An open file. `offset` bytes are read, and end with `tail`."""

    def __init__(self, file: File, content: Content, tail: bytes, position: Position) -> None:
        self.file, self.content, self.tail, self.offset, self.past = file, content, tail, position.offset, position.past
        self.is_last_read = False


def _after(position: Position) -> Position:
    """The position after the end of a file."""
    return Position(position.began, at=position.at, past=position.past)


def _unreadable(path: Path, exc: BaseException) -> LesseeError:
    reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else "the file is damaged"
    todo = "allow lessee's uid to read it (such as `mode=0640` of the device), or set another `monitor: {audit: …}`"
    return LesseeError(f"the audit log cannot be read: {reason}", where=str(path), todo=todo)


def _spelled(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds") if moment else "the start"
