"""What those who serve the status ask of the service whose it is."""

from collections.abc import Callable, Mapping
from typing import Any

from lessee.core.immutable import Record


class Answers(Record, frozen=True):
    """Each may be called from any thread."""

    status: Callable[[], Mapping[str, Any]]
    alive: Callable[[], bool]
    metrics: Callable[[], bytes]
    refresh: Callable[[tuple[str, ...]], list[str]]
