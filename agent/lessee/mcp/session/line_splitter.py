"""Splits the data from a pipe into lines."""

MAX_LINE = 64 * 1024 * 1024
"""Bytes of a line. A longer one is no valid message, and memory is bounded."""


class LineSplitter:
    """The lines of one pipe. A line that is longer than `max_line` is truncated."""

    def __init__(self, max_line: int = MAX_LINE) -> None:
        self._max_line = max_line
        self._parts: list[bytes] = []
        self._length = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that this chunk completes, without their line ends."""
        *ended, rest = chunk.split(b"\n")
        lines = []
        for part in ended:
            self._append(part)
            lines.append(self.take_rest())
        self._append(rest)
        return lines

    def take_rest(self) -> bytes:
        """Return and forget the incomplete last line."""
        line = b"".join(self._parts)
        self._parts, self._length = [], 0
        return line

    def _append(self, part: bytes) -> None:
        part = part[: self._max_line - self._length]
        if part:
            self._parts.append(part)
            self._length += len(part)
