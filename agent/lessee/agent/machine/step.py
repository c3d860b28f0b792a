"""The whole policy of the agent: step(state, event, now) returns the next state and the commands for the agent.

    read ──► changed? ──► render ──► check ──► publish ──► notify ──► probe ──► prune
     ▲                       │         │          │           │         │
     └── refresh_interval,   └─rejected┘          └─ retry    └─ retry  └─ rollback
         backoff

A handler first takes in the event. The planners then decide what is due at `now`. So no command is lost: it follows
from the state each time, and a response that never arrives has a deadline.
"""

from collections.abc import Mapping, Sequence
from typing import assert_never

from lessee.agent.machine.apps.fallback import on_fallback_failed, on_snapshot_saved
from lessee.agent.machine.apps.lifecycle import plan_apps, set_app_deadlines
from lessee.agent.machine.apps.notification import on_notification_failed, on_notified, on_presence, retry_notification
from lessee.agent.machine.apps.publication import on_publish_failed, on_published, on_withdrawn
from lessee.agent.machine.apps.readiness import (
    allow_retry,
    on_readiness_failed,
    on_readiness_passed,
    on_rollback_failed,
    on_rolled_back,
)
from lessee.agent.machine.apps.recovery import configure_apps, on_app_recovered
from lessee.agent.machine.apps.rendering import on_check_passed, on_fallback_rendered, on_rejected, on_rendered
from lessee.agent.machine.apps.version_reports import (
    configure_version_reports,
    deregister,
    on_report_failed,
    on_versions_reported,
    plan_version_reports,
    repeat_reports,
    retry_denied_reports,
    set_report_deadlines,
)
from lessee.agent.machine.kv.event_source import on_event_source_changed, on_secrets_changed
from lessee.agent.machine.kv.needs import configure_kv, matches
from lessee.agent.machine.kv.polling import retry_with_new_token
from lessee.agent.machine.kv.read_failures import on_read_failed
from lessee.agent.machine.kv.reading import (
    forget_listings,
    on_folder_listed,
    on_kv_version_detected,
    on_metadata_read,
    on_secret_read,
    plan_reads,
)
from lessee.agent.machine.kv.refresh import refresh_secrets
from lessee.agent.machine.leases.issuance import (
    configure_leases,
    on_issue_failed,
    on_leases_recovered,
    on_secret_issued,
    on_secret_issued_late,
    plan_issuance,
    replace_leases_of_other_tokens,
    set_issuance_deadlines,
)
from lessee.agent.machine.leases.release import (
    on_lease_revoked,
    on_revocation_failed,
    on_token_revoked,
    plan_release,
    revocation_ended,
    set_release_deadlines,
)
from lessee.agent.machine.leases.renewal import (
    on_lease_renewed,
    on_renewal_failed,
    plan_renewals,
    set_renewal_deadlines,
)
from lessee.agent.machine.pending_requests import has_failed, postpone, request_ended
from lessee.agent.machine.session.login import (
    on_logged_in,
    on_session_request_failed,
    on_token_renewed,
    plan_probe,
    plan_session,
    refresh_session,
    schedule_again,
    trust_token,
)
from lessee.agent.machine.session.outage import (
    end_outage,
    is_path_failure,
    is_unanswered,
    note_answer,
    note_outage,
    note_path_error,
)
from lessee.agent.machine.state import PendingRequest, State
from lessee.agent.machine.transaction import Transaction
from lessee.core.failures import Failure, Kind
from lessee.core.immutable import replace
from lessee.core.paths import Need
from lessee.protocol import commands as cmd
from lessee.protocol import events as ev
from lessee.protocol.app_spec import AppSpec

PLANNERS = (
    plan_session,
    plan_renewals,
    plan_issuance,
    plan_reads,
    plan_apps,
    plan_probe,
    plan_version_reports,
    plan_release,
)

NOTES = (
    forget_listings,
    set_renewal_deadlines,
    set_issuance_deadlines,
    set_release_deadlines,
    set_app_deadlines,
    set_report_deadlines,
)
"""What the planners need to know in the next step."""


def start(seed: int, source: str = "") -> State:
    """The initial state. All random numbers follow from `seed`; `source` is that of `State`."""
    return State(random_state=seed % 2**64, source=source)


def step(state: State, event: ev.Event, now: float) -> tuple[State, tuple[cmd.Command, ...]]:
    """Take one event. `now` is in seconds on the boot clock, which counts suspension as Vault's own clock does."""
    return steps(state, (event,), now)


def steps(state: State, events: Sequence[ev.Event], now: float) -> tuple[State, tuple[cmd.Command, ...]]:
    """Take events that arrived together, and plan once for all of them."""
    tx = Transaction(state, now)
    for event in events:
        _handle(tx, event)
    _abandon_late_requests(tx)
    for plan in PLANNERS:
        plan(tx)
    for note in NOTES:
        note(tx)
    return tx.commit()


def _handle(tx: Transaction, event: ev.Event) -> None:
    if isinstance(event, ev.Answer):
        _handle_answer(tx, event)
    elif isinstance(event, ev.AppEvent):
        _handle_app_event(tx, event)
    else:
        _handle_other(tx, event)


def _handle_other(tx: Transaction, event: ev.ControlEvent | ev.ChangeEvent | ev.Tick) -> None:
    match event:
        case ev.Configured():
            _configure(tx, event)
        case ev.AppRecovered():
            on_app_recovered(tx, event)
        case ev.LeasesRecovered():
            on_leases_recovered(tx, event)
        case ev.Supplied() | ev.ReadersChanged():
            _take_from_other_machine(tx, event)
        case ev.Stopping():
            tx.stopping = True
        case ev.Deregistering():
            deregister(tx)
        case ev.RefreshRequested():
            _refresh(tx, event)
        case ev.EventSourceChanged():
            on_event_source_changed(tx, event)
        case ev.SecretsChanged():
            on_secrets_changed(tx, event)
        case ev.Tick():
            pass
        case _:
            assert_never(event)


def _take_from_other_machine(tx: Transaction, event: ev.Supplied | ev.ReadersChanged) -> None:
    # Few apps read under several identities.
    from lessee.agent.machine.apps.supplies import on_readers_changed, on_supplied  # noqa: PLC0415

    match event:
        case ev.Supplied():
            on_supplied(tx, event)
        case ev.ReadersChanged():
            on_readers_changed(tx, event)
        case _:
            assert_never(event)


def _handle_app_event(tx: Transaction, event: ev.AppEvent) -> None:
    match event:
        case ev.Rendered():
            on_rendered(tx, event)
        case ev.FallbackRendered():
            on_fallback_rendered(tx, event)
        case ev.FallbackFailed():
            on_fallback_failed(tx, event)
        case ev.SnapshotSaved():
            on_snapshot_saved(tx, event)
        case ev.CheckPassed():
            on_check_passed(tx, event)
        case ev.RenderFailed() | ev.CheckFailed():
            on_rejected(tx, event)
        case ev.Published():
            on_published(tx, event)
        case ev.PublishFailed():
            on_publish_failed(tx, event)
        case ev.Withdrawn():
            on_withdrawn(tx, event)
        case ev.FilesTouched() | ev.FilesChecked():
            from lessee.agent.machine.apps.drift import on_files  # noqa: PLC0415  # As in plan_apps.

            on_files(tx, event)
        case ev.Notified():
            on_notified(tx, event)
        case ev.NotificationFailed():
            on_notification_failed(tx, event)
        case ev.AppEnded() | ev.AppReturned():
            on_presence(tx, event)
        case ev.ReadinessPassed():
            on_readiness_passed(tx, event)
        case ev.ReadinessFailed():
            on_readiness_failed(tx, event)
        case ev.RolledBack():
            on_rolled_back(tx, event)
        case ev.RollbackFailed():
            on_rollback_failed(tx, event)
        case _:
            assert_never(event)


def _configure(tx: Transaction, event: ev.Configured) -> None:
    tx.moved_apps, tx.apps_by_need = event.moved_apps, _apps_by_need(event.apps)
    configure_kv(tx, event.apps)
    configure_leases(tx, event.apps)
    configure_apps(tx, event.apps)
    configure_version_reports(tx, event.apps)


def _apps_by_need(specs: Mapping[str, AppSpec]) -> Mapping[Need, tuple[str, ...]]:
    apps: dict[Need, tuple[str, ...]] = {}
    for name, spec in specs.items():
        alone = (name,)
        for need in spec.needs:
            apps[need] = apps[need] + alone if need in apps else alone
    return apps


def _refresh(tx: Transaction, event: ev.RefreshRequested) -> None:
    refresh_session(tx)
    refresh_secrets(tx, event.paths)
    retry_denied_reports(tx)
    for name, app in tx.apps.items():
        if app.spec.supplies is not None:
            continue
        retry_notification(tx, name)
        if not event.paths or any(matches(need, path) for need in app.spec.needs for path in event.paths):
            allow_retry(tx, name)
            if tx.apps[name].spec.keeps_files:
                from lessee.agent.machine.apps.drift import look_again  # noqa: PLC0415  # As in plan_apps.

                look_again(tx, name)


def _handle_answer(tx: Transaction, event: ev.Answer) -> None:
    request = tx.end_request(event.request_id)
    if request is None:  # It was abandoned.
        if isinstance(event, ev.SecretIssued):
            on_secret_issued_late(tx, event.lease)
        return
    command = request.command
    match command:
        case cmd.RevokeToken():
            revocation_ended(tx, command)
        case cmd.Login() | cmd.RenewToken() | cmd.LookUpToken():
            pass  # The session has no item that waits for its request.
        case _:
            request_ended(tx, command)
    if isinstance(event, ev.RequestFailed):
        _handle_failure(tx, request, event)
        return
    end_outage(tx)
    note_answer(tx, command)
    _handle_success(tx, command, event)
    trust_token(tx)


def _handle_success(tx: Transaction, command: cmd.VaultCommand, event: ev.Answer) -> None:
    match command, event:
        case cmd.Login(), ev.LoggedIn():
            on_logged_in(tx, event)
            retry_with_new_token(tx)
            replace_leases_of_other_tokens(tx)
            repeat_reports(tx)
        case cmd.RenewToken() | cmd.LookUpToken(), ev.TokenRenewed():
            on_token_renewed(tx, event, by_renewal=isinstance(command, cmd.RenewToken))
        case cmd.DetectKvVersion(), ev.KvVersionDetected():
            on_kv_version_detected(tx, command.mount, event.version)
        case cmd.ListFolder(), ev.FolderListed():
            on_folder_listed(tx, command, event)
        case cmd.ReadMetadata(), ev.MetadataRead():
            on_metadata_read(tx, command.ref, event)
        case cmd.ReadSecret(), ev.SecretRead():
            on_secret_read(tx, command.ref, event)
        case cmd.IssueSecret(), ev.SecretIssued():
            on_secret_issued(tx, event.lease)
        case cmd.RenewLease() | cmd.LookUpLease(), ev.LeaseRenewed():
            on_lease_renewed(tx, command, event)
        case cmd.RevokeLease(), ev.Revoked():
            on_lease_revoked(tx, command.id)
        case cmd.RevokeToken(), ev.Revoked():
            on_token_revoked(tx, command.token)
        case cmd.ReportVersions(), ev.VersionsReported():
            on_versions_reported(tx, command)
        case _:
            raise AssertionError(f"{type(event).__name__} does not answer {type(command).__name__}")


def _handle_failure(tx: Transaction, request: PendingRequest, event: ev.RequestFailed) -> None:
    command, failure = request.command, event.failure
    tx.counters = replace(tx.counters, request_failures=tx.counters.request_failures + 1)
    repeated = is_unanswered(tx, command) if isinstance(command, cmd.SessionCommand) else has_failed(tx, command)
    # Nothing waits for a report, so its failure does not show an outage.
    is_report = isinstance(command, cmd.ReportVersions)
    if not is_path_failure(tx, request, failure, repeated=repeated):
        _retry_after_outage(tx, command)
        if not is_report:
            note_outage(tx, command, request, failure)
        return
    if failure.kind is Kind.UNAVAILABLE:
        failure = replace(failure, kind=Kind.PATH_ERROR)
    is_definite = failure.kind not in {Kind.PATH_ERROR, Kind.RATE_LIMITED}
    if is_definite:
        end_outage(tx)
        note_answer(tx, command)
    match command:
        case cmd.Login() | cmd.RenewToken() | cmd.LookUpToken():
            on_session_request_failed(tx, command, failure)
        case cmd.RevokeToken() | cmd.RevokeLease():
            on_revocation_failed(tx, command, failure)
        case cmd.DetectKvVersion() | cmd.ListFolder() | cmd.ReadMetadata() | cmd.ReadSecret():
            on_read_failed(tx, command, failure, event.metadata)
        case cmd.IssueSecret():
            on_issue_failed(tx, command, failure)
        case cmd.RenewLease() | cmd.LookUpLease():
            on_renewal_failed(tx, command, failure)
        case cmd.ReportVersions():
            on_report_failed(tx, command, failure)
        case _:
            assert_never(command)
    if not is_definite and not is_report:
        note_path_error(tx, request, failure)


def _retry_after_outage(tx: Transaction, command: cmd.VaultCommand) -> None:
    """The outage is the cause. A path waits a little all the same, because it may be broken by itself."""
    match command:
        case cmd.Login() | cmd.RenewToken() | cmd.LookUpToken():
            schedule_again(tx, command, tx.now)
        case cmd.RevokeToken():
            pass
        case _:
            postpone(tx, command)


def _abandon_late_requests(tx: Transaction) -> None:
    for number, request in list(tx.requests.items()):
        if tx.now >= request.times_out_at:
            tx.commands.append(cmd.AbandonRequest(number))
            _handle_answer(tx, ev.RequestFailed(number, Failure(Kind.UNAVAILABLE, "no answer in time")))
