"""Of a status, by whose it is: an agent has apps, a rotator targets and a monitor sources."""

from collections.abc import Mapping
from typing import Any

from lessee.status.pages import agent, monitor, rotator
from lessee.status.pages.components import View


def view_of(status: Mapping[str, Any], now: float) -> View:
    """`now` in seconds since 1970, as of the clock that the status was told by."""
    if "apps" in status:
        return agent.view(status, now)
    return rotator.view(status, now) if "targets" in status else monitor.view(status, now)
