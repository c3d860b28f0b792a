"""What the rotator is told of an app: the versions of rotated secrets that it is known to work with.

published ──► told ──► proved ──► said, where it is not said yet: only then may the rotator retire what was before
"""

from collections.abc import Mapping

from lessee.agent.machine.apps.inputs import Inputs
from lessee.agent.machine.apps.version_report import Statement
from lessee.agent.machine.protocol.app_spec import Consumer, Want
from lessee.agent.machine.protocol.commands import ReportVersions
from lessee.agent.machine.state import NEVER, App, State
from lessee.agent.machine.transaction import Turn
from lessee.core.failures import Failure, Kind
from lessee.core.immutable import replace
from lessee.core.paths import Ref

COUNT = "rotation_count"
"""The key by which a secret tells that a rotator writes it."""
_AT_ONCE = 2
_NONE = Statement()


def rotated(found: Inputs, consumer: Consumer | None) -> Mapping[str, int] | None:
    """The versions of the rotated secrets among what files are made from, by path as the rotator calls them.

    None where nobody is told. Of a secret that is there twice, pinned and not, the older one counts.
    """
    if consumer is None:
        return None
    inside = {folder.ref(name): secret for folder, names in found.folders.items() for name, secret in names.items()}
    versions: dict[str, int] = {}
    for ref, secret in (*inside.items(), *found.secrets.items()):
        if secret.metadata is not None and COUNT in secret.data:
            path = _path_of(ref, consumer)
            versions[path] = min(versions.get(path, secret.metadata.version), secret.metadata.version)
    return versions


def _path_of(ref: Ref, consumer: Consumer) -> str:
    return ref.path.removeprefix(consumer.prefix)


def configure_reports(turn: Turn, wants: Mapping[str, Want]) -> None:
    """Nothing more is said of an app that left: the rotator gives up waiting for it by itself."""
    for name in set(turn.reports) - set(wants):
        del turn.edit_reports()[name]


def plan_reports(turn: Turn) -> None:
    """Say what is known and not said yet."""
    if turn.session.token is None or turn.session.weather is not None:
        return
    for name, app in turn.apps.items():
        if has_room_to_report(turn) and turn.now >= reports_at(turn, app, name):
            statement, consumer = turn.reports.get(name, _NONE), app.want.consumer
            call = turn.next_id()
            said = _said(statement, consumer)
            where = consumer.where if consumer is not None else statement.where
            turn.edit_reports()[name] = replace(statement, call=call)
            turn.ask(ReportVersions(call, name, where, _wish(turn, app) or {}, app.number or 0, said))


def reports_at(known: State | Turn, app: App, name: str) -> float:
    """When what is known of an app is to be said; NEVER where there is nothing to say."""
    statement = known.reports.get(name, _NONE)
    wish = _wish(known, app)
    if statement.call is not None or wish is None or wish == statement.refused:
        return NEVER
    if wish == _said(statement, app.want.consumer) and not (statement.doubtful and wish):
        return NEVER
    return statement.next_at


def has_room_to_report(known: State | Turn) -> bool:
    """Whether one more may be under way: nothing else waits for these."""
    return sum(isinstance(call.command, ReportVersions) for call in known.calls.values()) < _AT_ONCE


def _wish(known: State | Turn, app: App) -> Mapping[str, int] | None:
    """What should be said; None where nothing new is known."""
    if known.leaving:
        return {}
    if app.want.consumer is None or app.number is None or app.owed or app.proof.open:
        return None
    return app.shows_rotated


def _said(statement: Statement, consumer: Consumer | None) -> Mapping[str, int]:
    """What is said at the place where it is said now."""
    return statement.said if consumer is None or consumer.where == statement.where else {}


def reported(turn: Turn, command: ReportVersions) -> None:
    """It is said."""
    if command.app in turn.reports:
        turn.edit_reports()[command.app] = Statement(where=command.where, said=command.versions)
        if command.versions:
            turn.tell("info", "versions confirmed", app=command.app, versions=_listed(command.versions))


def report_failed(turn: Turn, command: ReportVersions, failure: Failure) -> None:
    """Of what is refused is told once, and not asked again before there is something else to say."""
    statement = turn.reports.get(command.app)
    if statement is None:
        return
    if statement.failure is None or statement.failure.kind is not failure.kind:
        turn.tell("warning", "versions not confirmed", app=command.app, reason=failure.text, todo=remedy(command.where))
    if failure.kind not in {Kind.RATE_LIMITED, Kind.PATH_ERROR}:
        turn.edit_reports()[command.app] = replace(
            statement, where=command.where, refused=command.versions, failure=failure, tries=0, next_at=0.0
        )
        return
    again, since = turn.retry_at(statement, failure), turn.began(statement)
    turn.edit_reports()[command.app] = replace(
        statement, failure=failure, tries=statement.tries + 1, since=since, next_at=again
    )


def say_refused_again(turn: Turn) -> None:
    """An operator who asks may have mended the policy."""
    for name, statement in turn.reports.items():
        if statement.failure is not None:
            turn.edit_reports()[name] = replace(statement, refused=None, next_at=turn.now)


def say_all_again(turn: Turn) -> None:
    """Another token may have other rights, and a server that forgot the one before may have forgotten more."""
    for name, statement in turn.reports.items():
        turn.edit_reports()[name] = replace(statement, refused=None, doubtful=True, next_at=turn.now)


def remedy(where: str) -> str:
    """What to do where it is refused."""
    return f"grant `create`, `update` and `delete` on {where.rpartition('/')[0]}/*"


def has_said(state: State) -> bool:
    """Whether the rotator waits for any app of this agent's."""
    return any(statement.said for statement in state.reports.values())


def has_taken_leave(state: State) -> bool:
    """Whether all that could be taken back is: nobody waits for this agent any more."""
    if state.session.token is None or state.session.weather is not None:
        return True
    under_way = any(isinstance(call.command, ReportVersions) for call in state.calls.values())
    return not under_way and all(not one.said or one.refused == {} for one in state.reports.values())


def _listed(versions: Mapping[str, int]) -> str:
    return ", ".join(f"{path}={version}" for path, version in sorted(versions.items()))
