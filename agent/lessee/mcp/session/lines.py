"""Cuts what comes through a pipe into lines."""

LONGEST = 64 * 1024 * 1024
"""Bytes of a line. What is longer is no message that anybody waits for, and memory is not without end."""


class Lines:
    """The lines of one pipe. Of one that is longer than `longest`, so much comes and no more."""

    def __init__(self, longest: int = LONGEST) -> None:
        self._longest = longest
        self._parts: list[bytes] = []
        self._length = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that are whole now, without their ends."""
        *ended, rest = chunk.split(b"\n")
        lines = []
        for part in ended:
            self._keep(part)
            lines.append(self.rest())
        self._keep(rest)
        return lines

    def rest(self) -> bytes:
        """What has come of a line that has not ended; it is forgotten."""
        line = b"".join(self._parts)
        self._parts, self._length = [], 0
        return line

    def _keep(self, part: bytes) -> None:
        part = part[: self._longest - self._length]
        if part:
            self._parts.append(part)
            self._length += len(part)
