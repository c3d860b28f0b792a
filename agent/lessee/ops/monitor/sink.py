"""The interface of sinks, which process each access and have their own state in the checkpoint."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from lessee.ops.monitor.policy.access import LogEntry


class Sink(Protocol):
    """The loop's thread calls every method. None may wait: a sink that does I/O uses its own thread."""

    name: str
    """The key of the sink's state in the checkpoint."""

    def take(self, entries: Sequence[LogEntry]) -> None:
        """Process log entries, in this order."""
        ...

    def tick(self, now: float) -> None:
        """Called each second. `now` is in seconds since 1970."""
        ...

    def state(self) -> Any:
        """The state after exactly the entries that were taken, as JSON.

        The checkpoint stores it together with the position in the log, so that after a kill neither is ahead.
        """
        ...

    def restore(self, state: Any) -> None:
        """Called once before all else, if the checkpoint has a state. Raises ValueError if it is not valid."""
        ...

    def status(self) -> Mapping[str, Any]:
        """The sink's keys of status.json. `problems` and mappings are merged with those of other sinks.

        Any thread may call it, but never while another method runs.
        """
        ...

    def close(self) -> None:
        """Called after the last entry. `state` is called once more afterwards."""
        ...
