"""Checks the status of a running agent."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from lessee.core.sensitive.names import SecretField
from lessee.core.severity import Level
from lessee.ops.validate.policy.attribution import app_subject
from lessee.ops.validate.policy.results import Finding, Reporter, Result

NAMES = ("agent-ready", "agent-fresh", "agent-not-degraded", "leases-renewed")
APP_NAMES = ("newest-published",)
_OVERDUE = 60.0
"""Seconds after its time when a renewal counts as late."""
_TODO = "see `lessee status` for the problem"
_App = Mapping[str, Any]


def check_status(reporter: Reporter, status: Mapping[str, Any], now: float) -> Iterator[Result]:
    """A result for each of NAMES. `status`: of status.json; `now`: seconds since 1970."""
    ready, fresh, degraded, leases = NAMES
    apps: Mapping[str, _App] = status["apps"]
    if status["ready"]:
        yield reporter.passed(ready, "the agent is ready: each app has its files")
    else:
        waiting = {name: app for name, app in apps.items() if not app["generation"]}
        findings = list(_findings(waiting)) or [Finding("an app that it refused")]
        yield reporter.found(ready, Level.CRITICAL, "the agent is not ready: no files yet for ", findings, _TODO)
    if status["fresh"]:
        yield reporter.passed(fresh, "the agent's files are fresh")
    else:
        findings = list(_findings({name: app for name, app in apps.items() if not app["fresh"]}))
        findings = findings or [Finding("its configuration is not in effect")]
        yield reporter.found(fresh, Level.WARNING, "the agent's files may be outdated: ", findings, _TODO)
    findings = list(_findings({name: app for name, app in apps.items() if app["degraded"]}))
    if findings:
        yield reporter.found(degraded, Level.WARNING, "degraded apps: ", findings, _TODO)
    else:
        yield reporter.passed(degraded, "no app is degraded")
    yield _check_leases(reporter, leases, status["leases"], now)


def check_app(reporter: Reporter, name: str, status: Mapping[str, Any]) -> Iterator[Result]:
    """A result for each of APP_NAMES: whether the app has the newest files that its agent can publish."""
    (check,) = APP_NAMES
    app: _App | None = status["apps"].get(name)
    if app is None:
        todo = "reload its configuration: see `lessee status` for the reason why it is not in effect"
        yield reporter.critical(check, "the agent does not serve the app", todo, explains=[app_subject(name)])
        return
    finding = Finding(_problem(app), _secrets_of(app))
    if not finding.text:
        yield reporter.passed(check, "the agent has published the app's newest files")
        return
    level = Level.CRITICAL if app["error"] or not app["generation"] or _is_rolled_back(app) else Level.WARNING
    yield reporter.found(check, level, "", [finding], _TODO, explains=[app_subject(name)])


def _problem(app: _App) -> str:
    """What keeps the newest files from the app; empty if it has them."""
    if app["error"]:
        return f"the app's newest files are not published: {app['error']}"
    if not app["generation"]:
        return "the app has no files yet"
    if _is_rolled_back(app):
        # The reason is not known after a restart of the agent.
        reason = app["readiness"] and app["readiness"]["error"]
        return f"the app has older files, because it was not ready with the newest{f': {reason}' if reason else ''}"
    if app["degraded"]:
        return f"the app is degraded: {app['degraded']}"
    return "" if app["fresh"] else "the app's files may be outdated"


def _is_rolled_back(app: _App) -> bool:
    return bool(app["state"] == "rolled_back")


def _findings(apps: Mapping[str, _App]) -> Iterator[Finding]:
    for name, app in apps.items():
        yield Finding(name, _secrets_of(app) | {app_subject(name)})


def _secrets_of(app: _App) -> frozenset[SecretField]:
    """The secrets that may be the cause: those that cannot be read; if files are rejected, all that the app reads."""
    is_rejected = app["state"] == "rejected"
    paths = [secret["path"] for secret in app["secrets"] if secret["error"] or is_rejected]
    return frozenset(SecretField(path, "") for path in paths)


def _check_leases(reporter: Reporter, check: str, leases: Iterable[Mapping[str, Any]], now: float) -> Result:
    current = [lease for lease in leases if lease["state"] != "retiring"]
    todo = f"{_TODO}: check that the agent can reach Vault, and may renew leases"
    expired = [lease["path"] for lease in current if lease["state"] == "expired" or _is_past(lease["expires_at"], now)]
    if expired:
        return reporter.critical(check, f"apps use expired leases: {', '.join(expired)}", todo)
    late = [lease["path"] for lease in current if _is_past(lease["renew_at"], now - _OVERDUE)]
    if late:
        return reporter.warning(check, f"leases are not renewed in time: {', '.join(late)}", todo)
    return reporter.passed(check, f"all leases are renewed in time ({len(current)})" if current else "no leases")


def _is_past(at: str | None, now: float) -> bool:
    return at is not None and datetime.fromisoformat(at).timestamp() <= now
