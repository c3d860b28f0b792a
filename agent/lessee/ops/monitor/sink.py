"""What hears of each access, and keeps its own account of it."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from lessee.ops.monitor.policy.access import Line


class Sink(Protocol):
    """All of it is called in the loop's thread, and must not wait: a sink that asks others does so in a thread of
    its own.
    """

    name: str
    """Under which its state is kept."""

    def take(self, lines: Sequence[Line]) -> None:
        """These were read, in this order."""
        ...

    def tick(self, now: float) -> None:
        """Each second. `now` is in seconds since 1970."""
        ...

    def state(self) -> Any:
        """What is to be kept, as JSON has it: of exactly the lines that were taken. It is saved together with the
        place in the log, so that after a kill neither is ahead of the other.
        """
        ...

    def restore(self, state: Any) -> None:
        """Once, before all else, where something was kept. Raises ValueError where it is not as `state` gives it."""
        ...

    def status(self) -> Mapping[str, Any]:
        """Its keys of status.json; `problems` and mappings are put together with those of others.

        Any thread may call it, but never while another of these is called.
        """
        ...

    def close(self) -> None:
        """Nothing more comes. Its state is asked for once more afterwards."""
        ...
