"""Keeps values out of the log of a job: its runner is told each of them before anything else is said."""

import os
import stat
import sys
from collections.abc import Iterable, Mapping

from lessee.core.errors import UsageError
from lessee.core.redaction import Redactor

_STDERR = 2


def redactor_for(mask: str | None, environ: Mapping[str, str]) -> Redactor:
    """One that tells GitHub's runner too, where `mask` is github.

    Raises UsageError where no runner listens: it would show what it is to hide.
    """
    if mask is None:
        return Redactor()
    if environ.get("GITHUB_ACTIONS") != "true":
        todo = "leave it out; no other runner hides at run time what it is told"
        raise UsageError("--mask github: this is no job of GitHub's, $GITHUB_ACTIONS is not true", todo=todo)
    status = os.fstat(_STDERR)
    if stat.S_ISREG(status.st_mode) or stat.S_ISCHR(status.st_mode):
        todo = "leave stderr to the step; redirect stdout alone"
        raise UsageError("--mask github: stderr is a file or a terminal, where the values would stand", todo=todo)
    return _Masking()


class _Masking(Redactor):
    """Tells the runner what it learns. The runner reads both streams of a step; stdout is the child's or the result."""

    def __init__(self) -> None:
        super().__init__()
        self._told: set[str] = set()
        self._short: set[str] = set()

    def learn(self, source: str, values: Iterable[object]) -> None:
        # Wanted in CI alone.
        from lessee.core.workflow import command, masks  # noqa: PLC0415
        from lessee.host.logs import log  # noqa: PLC0415

        values = list(values)
        super().learn(source, values)
        found, short = masks(values)
        new = [mask for mask in found if mask not in self._told and mask not in self._public]
        self._told.update(new)
        sys.stderr.flush()
        lines = "".join(f"{command('add-mask', mask)}\n" for mask in new)
        sys.stderr.buffer.write(lines.encode("utf-8", "replace"))
        sys.stderr.flush()
        if short and source not in self._short:
            self._short.add(source)
            note = "the log would lose too much; keep them out of it"
            log("warning", "too short to be masked", secret=source.partition(" ")[2], values=short, note=note)
