"""Builds the view of a status of any service."""

from collections.abc import Mapping
from typing import Any

from lessee.status.pages import agent, monitor, rotator
from lessee.status.pages.components import View


def build_view(status: Mapping[str, Any], now: float) -> View:
    """The view of an agent (with apps), a rotator (with targets) or a monitor. `now` in seconds since 1970."""
    if "apps" in status:
        return agent.view(status, now)
    return rotator.view(status, now) if "targets" in status else monitor.view(status, now)
