"""What an agent's status says of an app: whether it has the newest files, and otherwise why not."""

from collections.abc import Mapping
from typing import Any

from lessee.core.timestamps import parse_timestamp

_OUTAGE = "vault is unavailable"
_FEW = 3
_MILLISECOND = 0.001
"""Seconds: the precision of a status."""


def trouble(name: str, app: Mapping[str, Any] | None, status: Mapping[str, Any], since: float) -> str:
    """Why the app does not have all that Vault had at `since`, in seconds since 1970; empty if it does.

    `app`: its part of the agent's status; None: the status has none.
    """
    problems = "; ".join(map(str, (status.get("problems") or ())[:_FEW]))
    if app is None:
        return problems or "the agent does not answer"
    readiness, error = app["readiness"] or {}, error_of(name, app, status)
    if app["pending"] or app["notify"]["pending"] or readiness.get("pending"):
        return str(error or problems or "new files are pending")
    if not app["fresh"] or not app["generation"]:
        return str(error or problems or "not fresh")
    checked_at = parse_timestamp(app["last_checked_at"] or "")
    if checked_at is not None and checked_at < since - _MILLISECOND:
        return "not checked yet"
    return str(app["error"] or "")


def error_of(name: str, app: Mapping[str, Any], status: Mapping[str, Any]) -> str:
    """The error of one app. An outage of Vault does not count."""
    own = []
    for problem in map(str, status.get("problems") or ()):
        names, _, text = problem.partition(": ")
        if name in names.split(", ") and _OUTAGE not in text:
            own.append(text)
    found = app["notify"]["error"] or (app["readiness"] or {}).get("error") or app["error"]
    return str(found or "; ".join(own[:_FEW]))
