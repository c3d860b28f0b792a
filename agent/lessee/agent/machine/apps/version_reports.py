"""The agent reports to the rotator which versions of rotated secrets an app works with.

published ──► notified ──► ready ──► reported: only then may the rotator revoke the previous version
"""

from collections.abc import Mapping
from itertools import islice

from lessee.agent.machine.affected import affected_reports
from lessee.agent.machine.apps.inputs import Inputs
from lessee.agent.machine.apps.state import App, VersionReport
from lessee.agent.machine.session.outage import may_request
from lessee.agent.machine.session.state import NEVER
from lessee.agent.machine.state import State
from lessee.agent.machine.transaction import StateView, Transaction
from lessee.core.failures import Failure, Kind
from lessee.core.immutable import replace
from lessee.core.paths import Ref
from lessee.protocol.app_spec import AppSpec, ReportTarget
from lessee.protocol.commands import ReportVersions

ROTATION_COUNT = "rotation_count"
"""The key that shows that a rotator writes a secret."""
MAX_PENDING_REPORTS = 2
_NO_REPORT = VersionReport()


def rotated_versions(found: Inputs, target: ReportTarget | None) -> Mapping[str, int] | None:
    """The versions of the rotated secrets among the inputs, by the path that the rotator uses.

    None if they are not reported. If a secret is read both pinned and unpinned, the older version counts.
    """
    if target is None:
        return None
    in_folders = {folder.ref(name): secret for folder, names in found.folders.items() for name, secret in names.items()}
    versions: dict[str, int] = {}
    for ref, secret in (*in_folders.items(), *found.secrets.items()):
        # The rotator of another identity reads the reports there.
        if secret.metadata is not None and ROTATION_COUNT in secret.data and not ref.identity:
            path = _path_of(ref, target)
            versions[path] = min(versions.get(path, secret.metadata.version), secret.metadata.version)
    return versions


def _path_of(ref: Ref, target: ReportTarget) -> str:
    return ref.path.removeprefix(target.prefix)


def configure_version_reports(tx: Transaction, specs: Mapping[str, AppSpec]) -> None:
    """Report nothing more about removed apps: the rotator stops waiting for them by itself."""
    for name in set(tx.version_reports) - set(specs):
        del tx.version_reports[name]


def plan_version_reports(tx: Transaction) -> None:
    """Send the reports that are due."""
    if not may_report(tx):
        return
    due = islice(tx.report_deadlines.due(tx.now), MAX_PENDING_REPORTS)
    for name in tx.apps.in_order({*affected_reports(tx), *due}):
        app = tx.apps[name]
        if tx.now >= report_due_at(tx, app, name) and may_report(tx):
            report = _at(tx.version_reports.get(name, _NO_REPORT), app.spec.report_target)
            number = app.publication.number if app.publication is not None else 0
            request, versions = tx.new_id(), _reportable(tx, app) or {}
            previous, unanswered = {**report.versions, **report.unanswered}, {**report.unanswered, **versions}
            tx.version_reports[name] = replace(report, request=request, unanswered=unanswered)
            tx.send(ReportVersions(request, name, report.path, versions, number, previous))


def next_report_at(state: State) -> float:
    """When `plan_version_reports` has something to do."""
    return state.deadlines.version_reports.first_due_at if may_report(state) else NEVER


def set_report_deadlines(tx: Transaction) -> None:
    """Note when the reports are due that this step concerns."""
    for name in affected_reports(tx):
        tx.report_deadlines[name] = report_due_at(tx, tx.apps[name], name)
    for name in tx.apps.changes:
        if name not in tx.apps:
            tx.report_deadlines.pop(name, None)


def may_report(state: StateView) -> bool:
    """Whether one more report may be sent now."""
    return state.session.outage is None and may_request(state) and _pending_reports(state) < MAX_PENDING_REPORTS


def _pending_reports(state: StateView) -> int:
    return sum(isinstance(request.command, ReportVersions) for request in state.requests.values())


def report_due_at(state: StateView, app: App, name: str) -> float:
    """When to report the versions of an app; NEVER if the last report says the same."""
    report = state.version_reports.get(name, _NO_REPORT)
    versions = _reportable(state, app)
    if report.request is not None or versions is None or versions == report.denied:
        return NEVER
    current = _at(report, app.spec.report_target)
    is_reported = versions == current.versions and not current.unanswered
    if is_reported and not (report.uncertain and versions):
        return NEVER
    return report.next_at


def _reportable(state: StateView, app: App) -> Mapping[str, int] | None:
    """The versions to report; None while it is not known whether the app works with the published ones."""
    if state.deregistering:
        return {}
    if app.spec.report_target is None or app.publication is None:
        return None
    if app.notification is not None or app.unverified is not None:
        return None
    return app.publication.contents.versions


def _at(report: VersionReport, target: ReportTarget | None) -> VersionReport:
    """The report at the current path: at a new one nothing was reported."""
    if target is None or target.path == report.path:
        return report
    return replace(report, path=target.path, versions={}, unanswered={})


def on_versions_reported(tx: Transaction, command: ReportVersions) -> None:
    """A report was written."""
    if command.app in tx.version_reports:
        tx.version_reports[command.app] = VersionReport(path=command.path, versions=command.versions)
        if command.versions:
            tx.log("info", "versions reported", app=command.app, versions=_formatted(command.versions))


def on_report_failed(tx: Transaction, command: ReportVersions, failure: Failure) -> None:
    """Log a denied report once, and do not repeat it before there are other versions to report."""
    report = tx.version_reports.get(command.app)
    if report is None:
        return
    if report.failure is None or report.failure.kind is not failure.kind:
        todo = report_remedy(command.path)
        tx.log("warning", "versions not reported", app=command.app, reason=failure.text, todo=todo)
    if failure.kind in {Kind.RATE_LIMITED, Kind.PATH_ERROR}:
        report = replace(
            report,
            attempts=report.attempts + 1,
            since=tx.failing_since(report),
            next_at=tx.retry_at(report, failure),
        )
    else:
        report = replace(report, unanswered={}, denied=command.versions, attempts=0, next_at=0.0)
    tx.version_reports[command.app] = replace(report, failure=failure)


def retry_denied_reports(tx: Transaction) -> None:
    """A user who requests a check may have corrected the policy."""
    for name, report in tx.version_reports.items():
        if report.failure is not None:
            tx.version_reports[name] = replace(report, denied=None, next_at=tx.now)


def repeat_reports(tx: Transaction) -> None:
    """A new token may have other policies, and a server that lost the token may also have lost reports."""
    for name, report in tx.version_reports.items():
        tx.version_reports[name] = replace(report, denied=None, uncertain=True, next_at=tx.now)


def report_remedy(path: str) -> str:
    """What to do if a report is denied."""
    return f"grant `create`, `update` and `delete` on {path.rpartition('/')[0]}/*"


def deregister(tx: Transaction) -> None:
    """Delete all reports, now."""
    tx.deregistering = True
    for name, report in tx.version_reports.items():
        tx.version_reports[name] = replace(report, next_at=tx.now)


def is_registered(state: State) -> bool:
    """Whether the rotator waits for an app of this agent, or may do so: it may have read a report without an answer."""
    return any(report.versions or report.unanswered for report in state.version_reports.values())


def is_deregistered(state: State) -> bool:
    """Whether all reports are deleted, or cannot be."""
    if state.session.token is None or state.session.outage is not None:
        return True
    reports = state.version_reports.values()
    return not _pending_reports(state) and all(
        report.denied == {} or not (report.versions or report.unanswered) for report in reports
    )


def _formatted(versions: Mapping[str, int]) -> str:
    return ", ".join(f"{path}={version}" for path, version in sorted(versions.items()))
