"""Builds the view of a status of any service."""

from collections.abc import Mapping
from typing import Any

from lessee.core.immutable import replace
from lessee.status.pages import agent, issuer, monitor, rotator
from lessee.status.pages.components import View, shortened


def build_view(status: Mapping[str, Any], now: float) -> View:
    """The view of `whole_view`, with tables that are short enough for a terminal."""
    view = whole_view(status, now)
    return replace(view, tables=tuple(map(shortened, view.tables)))


def whole_view(status: Mapping[str, Any], now: float) -> View:
    """The view of an agent (with apps), a rotator (with targets), `lessee issue` (with roles) or a monitor.

    `now` in seconds since 1970.
    """
    if "apps" in status:
        return agent.view(status, now)
    if "roles" in status:
        return issuer.view(status, now)
    return rotator.view(status, now) if "targets" in status else monitor.view(status, now)
