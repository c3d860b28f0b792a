"""Some lines of a log at a time, as they are handed on."""

from collections.abc import Sequence

from lessee.core.immutable import Record
from lessee.ops.monitor.policy.access import Access
from lessee.ops.monitor.policy.cursor import Place
from lessee.ops.monitor.policy.decoder import NotALineError, decode


class Piece(Record, frozen=True):
    """Some whole lines of a log."""

    accesses: Sequence[Access]
    place: Place | None
    """How far the log was read with them; None where nobody can go back in it."""
    lines: int = 0
    rubbish: int = 0
    """Lines that are none of an audit log."""
    gaps: int = 0
    """Places before them where something is missing that cannot be found any more."""


def decoded(lines: Sequence[bytes], source: str) -> tuple[list[Access], int]:
    """The accesses in some lines, and how many are no lines of an audit log."""
    accesses, rubbish = [], 0
    for line in lines:
        try:
            access = decode(line, source) if line else None
        except NotALineError:
            rubbish += 1
        else:
            if access is not None:
                accesses.append(access)
    return accesses, rubbish
