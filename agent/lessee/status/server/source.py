"""The interface between the status server and the service whose status it serves."""

from collections.abc import Mapping
from typing import Any, Protocol


class StatusSource(Protocol):
    """A service with a status. Any thread may call each method."""

    def status(self) -> Mapping[str, Any]:
        """The content of status.json."""

    def is_alive(self) -> bool:
        """Whether the service's loop is running."""

    def metrics(self) -> bytes:
        """The metrics in Prometheus' text format."""

    def refresh(self, paths: tuple[str, ...]) -> list[str]:
        """Check these paths in Vault now, or all of them if there are none. Returns the paths that are unknown."""
