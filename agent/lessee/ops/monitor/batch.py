"""Batches of log lines, as sources pass them to the loop."""

from collections.abc import Sequence

from lessee.core.immutable import ImmutableStruct
from lessee.ops.monitor.policy.access import Access
from lessee.ops.monitor.policy.cursor import Position
from lessee.ops.monitor.policy.decoder import InvalidLineError, decode
from lessee.ops.monitor.policy.request_times import RequestTimes


class Batch(ImmutableStruct, frozen=True):
    """Some whole lines of a log."""

    accesses: Sequence[Access]
    position: Position | None
    """The position after these lines. None for a source that cannot be read again."""
    lines: int = 0
    invalid_lines: int = 0
    """Lines that are no audit entries."""
    gaps: int = 0
    """Places before these lines at which entries are missing for good."""


def decode_lines(lines: Sequence[bytes], source: str, requests: RequestTimes | None = None) -> tuple[list[Access], int]:
    """The accesses in some lines, and the number of invalid lines. `requests`: those of the lines before."""
    accesses, invalid = [], 0
    for line in lines:
        try:
            access = decode(line, source, requests) if line else None
        except InvalidLineError:
            invalid += 1
        else:
            if access is not None:
                accesses.append(access)
    return accesses, invalid
