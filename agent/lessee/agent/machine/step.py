"""The whole policy of the agent: step(state, event, now) gives the next state and what is to be done.

    read ──► changed? ──► render ──► check ──► publish ──► notify ──► prove ──► prune
     ▲                       │         │          │           │         │
     └── refresh, backoff    └─ refused┘          └─ retry    └─ owed   └─ back to the one before

An event is taken in first; then whatever is due at `now` is asked for. So a command is never lost: what
is wanted is derived from the state each time, and an answer that never comes has a deadline.
"""

from collections.abc import Sequence
from typing import assert_never

from lessee.agent.machine.apps.fallback import good_kept, no_fallback
from lessee.agent.machine.apps.lifecycle import (
    app_told,
    checked,
    fell_back,
    not_told,
    plan_apps,
    publish_failed,
    published,
    refused,
    rendered,
    withdrawn,
)
from lessee.agent.machine.apps.readiness import forgive, not_proved, not_rolled_back, proved, rolled_back
from lessee.agent.machine.apps.recovery import configure_apps, recovered
from lessee.agent.machine.apps.version_reports import (
    configure_reports,
    plan_reports,
    report_failed,
    reported,
    say_all_again,
    say_refused_again,
)
from lessee.agent.machine.kv.event_source import changed, listening
from lessee.agent.machine.kv.planning import configure_reading, is_named, nudge, with_new_token
from lessee.agent.machine.kv.read_failures import reading_failed
from lessee.agent.machine.kv.reading import listed, looked, mount_found, plan_reading, read
from lessee.agent.machine.leases.lifecycle import (
    configure_leases,
    issue_failed,
    issued,
    issued_late,
    kept,
    lease_failed,
    lease_renewed,
    with_another_token,
)
from lessee.agent.machine.leases.release import (
    lease_revoked,
    not_revoked,
    plan_letting_go,
    release_token,
    token_revoked,
)
from lessee.agent.machine.leases.renewal import plan_leases
from lessee.agent.machine.pending_requests import has_failed, put_off, release
from lessee.agent.machine.protocol import events as ev
from lessee.agent.machine.protocol.commands import (
    AbandonRequest,
    Command,
    DetectKvVersion,
    IssueSecret,
    ListFolder,
    Login,
    LookUpLease,
    LookUpToken,
    ReadMetadata,
    ReadSecret,
    RenewLease,
    RenewToken,
    ReportVersions,
    RevokeLease,
    RevokeToken,
    SessionCommand,
)
from lessee.agent.machine.session.login import logged_in, plan_session, rearm, renewed, session_failed, trust_token
from lessee.agent.machine.session.outage import bad_weather, fair_weather, is_of_its_path, strained
from lessee.agent.machine.state import Call, State
from lessee.agent.machine.transaction import Turn
from lessee.core.failures import Failure, Kind
from lessee.core.immutable import replace


def start(seed: int) -> State:
    """The state before anything is known. `seed` of all its chance."""
    return State(chance=seed % 2**64)


def step(state: State, event: ev.Event, now: float) -> tuple[State, tuple[Command, ...]]:
    """Take one event. `now` in seconds on the boot clock, which counts suspension as Vault's own clock does."""
    return steps(state, (event,), now)


def steps(state: State, events: Sequence[ev.Event], now: float) -> tuple[State, tuple[Command, ...]]:
    """Take events that have come together; planning once for all of them."""
    turn = Turn(state, now)
    for event in events:
        _take(turn, event)
    _give_up_late_calls(turn)
    plan_session(turn)
    plan_leases(turn)
    if not turn.stopping:
        plan_reading(turn)
        plan_apps(turn)
        plan_reports(turn)
    plan_letting_go(turn)
    return turn.done()


def _take(turn: Turn, event: ev.Event) -> None:
    match event:
        case ev.Configured():
            _configured(turn, event)
        case ev.AppRecovered():
            recovered(turn, event)
        case ev.LeasesRecovered():
            kept(turn, event)
        case ev.Stopping():
            turn.stopping = True
        case ev.Deregistering():
            turn.leaving = True
        case ev.Withdrawn():
            withdrawn(turn, event)
        case (
            ev.LoggedIn() | ev.TokenRenewed() | ev.KvVersionDetected() | ev.FolderListed() | ev.MetadataRead() | ev.SecretRead()
            | ev.SecretIssued() | ev.LeaseRenewed() | ev.Revoked() | ev.VersionsReported() | ev.RequestFailed()
        ):  # fmt: skip
            _answered(turn, event)
        case ev.Rendered():
            rendered(turn, event)
        case ev.FallbackRendered():
            fell_back(turn, event)
        case ev.FallbackFailed():
            no_fallback(turn, event)
        case ev.SnapshotSaved():
            good_kept(turn, event)
        case ev.CheckPassed():
            checked(turn, event)
        case ev.RenderFailed() | ev.CheckFailed():
            refused(turn, event)
        case ev.Published():
            published(turn, event)
        case ev.PublishFailed():
            publish_failed(turn, event)
        case ev.Notified():
            app_told(turn, event)
        case ev.NotificationFailed():
            not_told(turn, event)
        case ev.ReadinessPassed():
            proved(turn, event)
        case ev.ReadinessFailed():
            not_proved(turn, event)
        case ev.RolledBack():
            rolled_back(turn, event)
        case ev.RollbackFailed():
            not_rolled_back(turn, event)
        case ev.RefreshRequested() | ev.EventSourceChanged() | ev.SecretsChanged():
            _hinted(turn, event)
        case ev.Tick():
            pass
        case _:
            assert_never(event)


def _configured(turn: Turn, event: ev.Configured) -> None:
    turn.elsewhere = event.elsewhere
    configure_reading(turn, event.apps)
    configure_leases(turn, event.apps)
    configure_apps(turn, event.apps)
    configure_reports(turn, event.apps)


def _hinted(turn: Turn, event: ev.RefreshRequested | ev.EventSourceChanged | ev.SecretsChanged) -> None:
    match event:
        case ev.RefreshRequested():
            _nudged(turn, event)
        case ev.EventSourceChanged():
            listening(turn, event)
        case ev.SecretsChanged():
            changed(turn, event)
        case _:
            assert_never(event)


def _nudged(turn: Turn, event: ev.RefreshRequested) -> None:
    session = turn.session
    if session.weather is not None:
        turn.session = replace(session, weather=replace(session.weather, next_at=turn.now))
    if session.token is None and not any(isinstance(call.command, Login) for call in turn.calls.values()):
        turn.session = replace(turn.session, login_at=turn.now, ask_at=turn.now)
    nudge(turn, event.paths)
    say_refused_again(turn)
    for name, app in list(turn.apps.items()):
        if app.owed:
            turn.edit_apps()[name] = replace(app, notify_at=turn.now)
        if not event.paths or any(is_named(need, path) for need in app.want.needs for path in event.paths):
            forgive(turn, name)


def _answered(turn: Turn, event: ev.Answer) -> None:
    call = turn.calls.get(event.call)
    if call is None:  # it was given up
        if isinstance(event, ev.SecretIssued):
            issued_late(turn, event.lease)
        return
    del turn.edit_calls()[event.call]
    command = call.command
    match command:
        case RevokeToken():
            release_token(turn, command)
        case Login() | RenewToken() | LookUpToken():
            pass  # they keep their own times
        case _:
            release(turn, command)
    if isinstance(event, ev.RequestFailed):
        _failed(turn, call, event)
        return
    fair_weather(turn)
    match command, event:
        case Login(), ev.LoggedIn():
            logged_in(turn, event)
            with_new_token(turn)
            with_another_token(turn)
            say_all_again(turn)
        case RenewToken() | LookUpToken(), ev.TokenRenewed():
            renewed(turn, event, by_renewal=isinstance(command, RenewToken))
        case DetectKvVersion(), ev.KvVersionDetected():
            mount_found(turn, command.mount, event.version)
        case ListFolder(), ev.FolderListed():
            listed(turn, command, event)
        case ReadMetadata(), ev.MetadataRead():
            looked(turn, command.ref, event)
        case ReadSecret(), ev.SecretRead():
            read(turn, command.ref, event)
        case IssueSecret(), ev.SecretIssued():
            issued(turn, event.lease)
        case RenewLease() | LookUpLease(), ev.LeaseRenewed():
            lease_renewed(turn, command, event)
        case RevokeLease(), ev.Revoked():
            lease_revoked(turn, command.id)
        case RevokeToken(), ev.Revoked():
            token_revoked(turn, command.token)
        case ReportVersions(), ev.VersionsReported():
            reported(turn, command)
        case _:
            raise AssertionError(f"{type(event).__name__} is no answer to {type(command).__name__}")
    trust_token(turn)


def _failed(turn: Turn, call: Call, event: ev.RequestFailed) -> None:
    command, failure = call.command, event.failure
    turn.totals = replace(turn.totals, failures=turn.totals.failures + 1)
    again = not isinstance(command, SessionCommand) and has_failed(turn, command)
    # What the rotator is told holds nothing up, and so it tells nothing of the weather.
    is_aside = isinstance(command, ReportVersions)
    if not is_of_its_path(turn, call, failure, again=again):
        # The weather has spoilt it; but what is no probe of it may be broken by itself, and waits a little.
        if isinstance(command, Login | RenewToken | LookUpToken):
            rearm(turn, command, turn.now)
        elif not isinstance(command, RevokeToken):
            put_off(turn, command)
        if not is_aside:
            bad_weather(turn, command, call, failure)
        return
    if failure.kind is Kind.UNAVAILABLE:
        failure = replace(failure, kind=Kind.PATH_ERROR)
    if failure.kind not in {Kind.PATH_ERROR, Kind.RATE_LIMITED}:
        fair_weather(turn)
    match command:
        case Login() | RenewToken() | LookUpToken():
            session_failed(turn, command, failure)
        case RevokeToken() | RevokeLease():
            not_revoked(turn, command, failure)
        case DetectKvVersion() | ListFolder() | ReadMetadata() | ReadSecret():
            reading_failed(turn, command, failure, event.metadata)
        case IssueSecret():
            issue_failed(turn, command, failure)
        case RenewLease() | LookUpLease():
            lease_failed(turn, command, failure)
        case ReportVersions():
            report_failed(turn, command, failure)
        case _:
            assert_never(command)
    if failure.kind in {Kind.PATH_ERROR, Kind.RATE_LIMITED} and not is_aside:
        strained(turn, call, failure)


def _give_up_late_calls(turn: Turn) -> None:
    for number, call in list(turn.calls.items()):
        if turn.now >= call.guard:
            turn.commands.append(AbandonRequest(number))
            _answered(turn, ev.RequestFailed(number, Failure(Kind.UNAVAILABLE, "no answer in time")))
