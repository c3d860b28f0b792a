"""Reads a log that is written meanwhile, over rotations, each of its lines once."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from lessee.core.errors import LesseeError
from lessee.core.immutable import replace
from lessee.ops.monitor.batch import Piece, decoded
from lessee.ops.monitor.log_files import UNREADABLE, Bytes, began, files_of, open_file
from lessee.ops.monitor.policy.cursor import MOST_TAIL, File, Place, following, hashed, past, same, tail_of
from lessee.telemetry.logs import log

CHUNK = 1 << 20
"""Bytes that are read at a time."""
_ENOUGH = 1 << 16
LINE_MAX = 1 << 25
"""Bytes of the longest line that is one: a list of a hundred thousand names takes a quarter of it."""


class Follower:
    """Of one thread. It waits for nothing."""

    def __init__(self, name: str, path: Path, place: Place | None, *, from_end: bool = False) -> None:
        """`place`: where to go on. None: at the start, or `from_end`, of the file that is there now."""
        self._name, self._path = name, path
        self._from_end = from_end
        self._place = place
        self._open: _Open | None = None
        self._gaps = 0
        self._is_new = False
        self._size = CHUNK
        self._is_skipping = False

    def read(self) -> Piece | None:
        """The next lines; None: there are no more for now. Raises LesseeError where the log cannot be read."""
        while True:
            found = self._open is not None or self._find()
            if self._is_new or not found:
                return self._untold()
            assert self._open is not None
            try:
                piece = self._piece(self._open)
            except _ChangedError:
                self.close()
                continue
            except UNREADABLE as exc:
                self._leave(self._open.file, exc)
                continue
            if piece is not None:
                return piece
            if not self._is_done(self._open):
                return self._untold()

    def close(self) -> None:
        """Keep nothing open; the place stays."""
        if self._open is not None:
            self._open.bytes.close()
            self._open = None
        self._size, self._is_skipping = CHUNK, False

    # Which file.

    def _find(self) -> bool:
        while True:
            files = files_of(self._path)
            if self._place is None:
                self._place, self._is_new = self._first(files), True
            if self._place.offset:
                if self._find_again(self._place, files):
                    return True
                self._give_up(self._place, files)
                continue
            file = following(self._place, files, self._path.name)
            if file is None:
                self._refuse_unreadable()
                return False
            # Another may have its name by now.
            before = past(self._place, file, files)
            if self._opened(file, replace(self._place, offset=0, tail_length=0, past=before)):
                return True

    def _first(self, files: Sequence[File]) -> Place:
        """Before the file that is there now, or at its end; what was rotated away before is no concern of ours."""
        now = next((file for file in files if file.name == self._path.name), None)
        edge = now.began if now is not None and now.began is not None else float("inf")
        before = max((file.began for file in files if file.began is not None and file.began < edge), default=0.0)
        if now is None or now.began is None or not self._from_end:
            return Place(before)
        return self._end_of(now) or Place(before)

    def _find_again(self, place: Place, files: Sequence[File]) -> bool:
        return any(self._opened(file, place) for file in same(place, files))

    def _give_up(self, place: Place, files: Sequence[File]) -> None:
        """What was not read of that file is nowhere any more; go on after it."""
        log("warning", "audit log has a gap", source=self._name, file=str(self._path), after=_spelled(place.at),
            note="it was truncated, or rotated away too soon; what was written then is lost")  # fmt: skip
        self._gaps += 1
        edited = [file for file in files if file.name == self._path.name and file.began == place.began]
        self._place = (self._end_of(edited[0]) if edited else None) or _after(place)

    def _end_of(self, file: File) -> Place | None:
        try:
            with open_file(self._path.with_name(file.name)) as there:
                start = max(0, file.size - LINE_MAX)
                there.seek(start)
                text = there.read(file.size - start)
        except UNREADABLE:
            return None
        whole = text.rfind(b"\n") + 1
        assert file.began is not None
        tail = tail_of(text[:whole])
        return Place(file.began, file.device, file.inode, start + whole, hashed(tail), len(tail)) if whole else None

    def _opened(self, file: File, place: Place) -> bool:
        """Open it there, if it is what it was taken for."""
        there = None
        try:
            there = open_file(self._path.with_name(file.name))
            is_it = began(there) == file.began
            there.seek(0)
            bytes_ = Bytes(there, is_packed=file.is_packed)
            tail = bytes_.at(place.offset - place.tail_length, place.tail_length)
            is_it = is_it and (not place.offset or hashed(tail) == place.tail)
        except UNREADABLE:
            is_it = False
        if not is_it:
            if there is not None:
                there.close()
            return False
        self._place = replace(place, device=file.device, inode=file.inode) if place.offset else self._place
        self._open = _Open(file, bytes_, tail, place)
        return True

    def _refuse_unreadable(self) -> None:
        try:
            with open_file(self._path) as there:
                has_lines = b"\n" in there.read(_ENOUGH)
                there.seek(0)
                if not has_lines or began(there) is not None:
                    return
        except UNREADABLE as exc:
            raise _unreadable(self._path, exc) from None
        todo = "let the device write `format=json`, and name its file"
        raise LesseeError("it is no audit log in JSON", where=str(self._path), todo=todo)

    def _leave(self, file: File, exc: BaseException) -> None:
        """It cannot be read on. One that is packed will not get any better. Raises LesseeError."""
        self.close()
        error = _unreadable(self._path.with_name(file.name), exc)
        if not file.is_packed:
            raise error from None
        log("warning", "audit log has a gap", source=self._name, reason=str(error))
        self._gaps += 1
        assert self._place is not None
        self._place = _after(replace(self._place, began=file.began or 0.0))

    # What is in it.

    def _piece(self, now: "_Open") -> Piece | None:
        text = now.bytes.at(now.offset - len(now.tail), len(now.tail) + self._size)
        if not text.startswith(now.tail):
            raise _ChangedError
        text = text[len(now.tail) :]
        end = text.rfind(b"\n") + 1
        if end:
            self._size = CHUNK
            return self._take(now, text[:end])
        if len(text) < self._size:
            return None
        if self._size < LINE_MAX:
            self._size *= 2
            return self._piece(now)
        self._is_skipping, self._size = True, CHUNK
        return self._take(now, text, is_whole=False)

    def _take(self, now: "_Open", text: bytes, *, is_whole: bool = True) -> Piece:
        """`is_whole` False: it is a part of a line that has no end."""
        lines = text.split(b"\n")[:-1] if is_whole else []
        rubbish = 0
        if lines and self._is_skipping:
            lines, rubbish, self._is_skipping = lines[1:], 1, False
        accesses, bad = decoded(lines, self._name)
        last = text[-MOST_TAIL:]
        now.tail = tail_of(last if b"\n" in last[:-1] else (now.tail + last)[-MOST_TAIL:])
        now.offset += len(text)
        assert now.file.began is not None
        assert self._place is not None
        self._place = Place(
            now.file.began,
            now.file.device,
            now.file.inode,
            now.offset,
            hashed(now.tail),
            len(now.tail),
            accesses[-1].at if accesses else self._place.at,
            now.past,
        )
        gaps, self._gaps = self._gaps, 0
        return Piece(accesses, self._place, len(lines) + rubbish, bad + rubbish, gaps)

    def _is_done(self, now: "_Open") -> bool:
        """Whether nothing will come any more: the next file has begun, and this one was read once more since."""
        if not now.is_last_look:
            if not now.file.is_packed and self._is_written(now.file):
                return False
            files = files_of(self._path)
            assert self._place is not None
            now.is_last_look = following(self._place, files, self._path.name) is not None
            if not now.is_last_look and self._is_replaced(now.file, files):
                self.close()
                return True
            return now.is_last_look
        assert self._place is not None
        if now.bytes.at(now.offset, 1):
            self._gaps += 1
            log(
                "warning", "audit log has a gap", source=self._name, file=now.file.name, note="its last line has no end"
            )
        self._place = _after(replace(self._place, began=now.file.began or 0.0))
        self.close()
        return True

    def _is_replaced(self, file: File, files: Sequence[File]) -> bool:
        """Whether somebody has put another in its place that begins as it did, as editors do."""
        same_beginning = {one.name: one.inode for one in files if one.began == file.began}
        return self._path.name in same_beginning and file.inode not in same_beginning.values()

    def _is_written(self, file: File) -> bool:
        try:
            status = self._path.stat()
        except OSError:
            return False
        return (status.st_dev, status.st_ino) == (file.device, file.inode)

    def _untold(self) -> Piece | None:
        """A first place, before any line, or a gap that no line followed yet."""
        gaps, self._gaps = self._gaps, 0
        is_new, self._is_new = self._is_new, False
        return Piece((), self._place, gaps=gaps) if gaps or is_new else None


class _ChangedError(Exception):
    """The file is no longer what it was."""


class _Open:
    """A file in which one reads; `offset` bytes are read, the last of them are `tail`."""

    def __init__(self, file: File, there: Bytes, tail: bytes, place: Place) -> None:
        self.file, self.bytes, self.tail, self.offset, self.past = file, there, tail, place.offset, place.past
        self.is_last_look = False


def _after(place: Place) -> Place:
    """Where one is once the file of the place is done with."""
    return Place(place.began, at=place.at, past=place.past)


def _unreadable(path: Path, exc: BaseException) -> LesseeError:
    reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else "it is damaged"
    todo = "let lessee's uid read it (the device's `mode` may be 0640), or name another with `monitor: {audit: …}`"
    return LesseeError(f"the audit log cannot be read: {reason}", where=str(path), todo=todo)


def _spelled(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds") if moment else "the start"
