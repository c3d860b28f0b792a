"""Carries out responses, one after the other, in a thread of its own: an unavailable Vault delays no alert."""

import os
import queue
import stat
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from secrets import token_hex
from typing import Self

from lessee.audit_trail.operator_actions import recorded_action
from lessee.config.grammar.responses import AnyResponse, DisableRole, Emergency, Responses, RevokeToken, RunCommand
from lessee.config.monitor import response_name, tag_of
from lessee.core.errors import LesseeError
from lessee.core.immutable import ImmutableStruct, replace
from lessee.host.clock import boot_time, wall_time
from lessee.ops.monitor.policy.classification import printable
from lessee.ops.monitor.policy.protection import protection_of
from lessee.ops.monitor.policy.response_log import (
    Record,
    pending,
    request_text,
    sentence,
    used,
    was_caused,
    was_struck,
    with_event,
)
from lessee.ops.monitor.responses import preflight, signatures
from lessee.ops.monitor.responses.audit_logs import refuse_forgeable_logs
from lessee.ops.monitor.responses.emergency import run_emergency
from lessee.ops.monitor.responses.journal import ResponseJournal
from lessee.ops.monitor.responses.vault_actions import NotStruckError, VaultActions
from lessee.ops.monitor.wiring import ActiveConfig
from lessee.process.programs import run
from lessee.process.spawn import configure_programs
from lessee.telemetry.logs import log
from lessee.vault.service_logins import ServiceLogins

_POLL_INTERVAL = 1.0
"""Seconds between two looks for approvals."""
_RETRY_INTERVAL = 60.0
"""Seconds until an approved response is tried again whose target cannot be looked at: each try may be a login."""
_PREFLIGHT_INTERVAL = 300.0
_THREAD = "lessee-responses"
_ID_BYTES = 6


class Order(ImmutableStruct, frozen=True):
    """An alert that causes a response. `accessor`: the token that did it, as the log has it."""

    response: str
    rule: str
    subject: str
    alert_at: float
    text: str
    accessor: str = ""

    @property
    def identity(self) -> tuple[object, ...]:
        """What is the same for two orders of one response: the token or, without one, the alert."""
        return (
            (self.response, self.accessor) if self.accessor else (self.response, self.rule, self.subject, self.alert_at)
        )


class Outcome(ImmutableStruct, frozen=True):
    """What became of an order. `retry`: the same order may succeed later; `final`: it changed something, or asks to."""

    order: Order
    text: str
    retry: bool = False
    final: bool = False


class ResponseWorker:
    """The only thread that acts. Its log is on disk before it does."""

    def __init__(
        self, active: ActiveConfig, config: Responses, environ: Mapping[str, str], logins: ServiceLogins
    ) -> None:
        self._active, self._config, self._environ = active, config, environ
        self._by_name = {response_name(response): response for response in config.actions}
        self._protection = protection_of(active.config, config.protected)
        self._known: dict[str, str] = {}
        self._orders: queue.SimpleQueue[Order | None] = queue.SimpleQueue()
        self.outcomes: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
        self.records: Sequence[Record] = ()
        """A snapshot of the log, which any thread may read."""
        self.problem: str | None = None
        """Why nothing responds, or None."""
        self.failures: Mapping[str, str] = {}
        """Why responses cannot run, by their names. Any thread may read it, because it is never changed."""
        self._closing = False
        configure_programs(active.config.programs.environment, active.config.programs.user)
        self._journal: ResponseJournal | None = None
        self.rejections: Mapping[str, str] = {}
        """Why an approval does not count, by the response's id. It is never changed."""
        self._rejected: set[str] = set()
        self._logins = logins
        self._preflight_at = 0.0
        self._retry_at: dict[str, float] = {}
        """When an approved response is tried again, by its id."""
        try:
            self._journal = ResponseJournal(Path(active.monitor.state_dir))
            if not any(thread.name == _THREAD for thread in threading.enumerate()):
                # The worker of the configuration before may still act, and then writes to the file that it has opened.
                self._journal.shorten(wall_time())
        except LesseeError as exc:
            self._report(str(exc))
        self._publish()
        self._thread = threading.Thread(target=self._run, name=_THREAD, daemon=True)
        self._thread.start()

    def submit(self, order: Order) -> None:
        """Queue an order. Does not wait."""
        self._orders.put(order)

    def close(self, timeout: float) -> None:
        """Accept no more orders, and wait for the one that runs."""
        self._closing = True
        self._orders.put(None)
        self._thread.join(timeout)

    def _run(self) -> None:
        while not self._closing:
            orders: list[Order] = []
            try:
                order = self._orders.get(timeout=_POLL_INTERVAL)
                while order is not None:
                    orders.append(order)
                    order = self._orders.get_nowait()
            except queue.Empty:
                pass
            self._guarded(orders)
        if self._journal is not None:
            self._journal.close()

    def _guarded(self, orders: Sequence[Order]) -> None:
        """Without this thread nothing would respond any more."""
        answered = 0
        try:
            if self._journal is not None:
                self._journal.refresh()
                is_preflight_due = boot_time() >= self._preflight_at
                if orders or is_preflight_due:
                    self._refuse_forgeable_logs()
                with _Session(self, self._environ) as session:
                    if is_preflight_due:
                        self._check_all(session)
                    for order in orders:
                        if self._closing:
                            return  # The next start orders it again.
                        self._answer(order, session)
                        answered += 1
                    self._look_for_approvals(session)
                self._publish()
        except LesseeError as exc:
            self._report(str(exc))
        except Exception as exc:  # noqa: BLE001  # As the docstring says.
            self._report(f"internal error: {type(exc).__name__}; please report it")
        for order in orders[answered:]:
            self.outcomes.put(Outcome(order, f"no response: {self.problem}", retry=True))

    def _refuse_forgeable_logs(self) -> None:
        try:
            refuse_forgeable_logs(self._active)
        except LesseeError:
            self._preflight_at = 0.0  # It is looked at until it is mended.
            raise

    def _answer(self, order: Order, session: "_Session") -> None:
        assert self._journal is not None
        response = self._by_name[order.response]
        try:
            outcome = self._respond(order, response, session)
        except NotStruckError as exc:
            outcome = Outcome(order, str(exc))
        except LesseeError as exc:
            self._set_failure(order.response, str(exc))
            outcome = Outcome(order, f"{order.response} failed: {exc}", retry=True)
        self.problem = None
        self.outcomes.put(outcome)

    def _check_all(self, session: "_Session") -> None:
        """Find out before any alert which response cannot run: otherwise only the first alert would tell."""
        for name, response in self._by_name.items():
            try:
                preflight.check(response, self._config, lambda: session.vault)
            except LesseeError as exc:
                self._set_failure(name, str(exc))
            else:
                self._set_failure(name, None)
        self.problem = None
        self._preflight_at = boot_time() + _PREFLIGHT_INTERVAL

    def _set_failure(self, name: str, reason: str | None) -> None:
        """Note why a response cannot run, or that it can."""
        if reason == self.failures.get(name):
            return
        others = {other: text for other, text in self.failures.items() if other != name}
        if reason is None:
            log("info", "alert response can run again", response=name)
        else:
            log("error", "alert response cannot run", response=name, reason=reason)
        self.failures = others if reason is None else {**others, name: reason}

    def _respond(self, order: Order, response: AnyResponse, session: "_Session") -> Outcome:
        journal = self._journal
        assert journal is not None
        now = wall_time()
        if not order.accessor and was_caused(
            journal.records, order.response, order.rule, order.subject, order.alert_at
        ):
            return Outcome(order, "", final=True)
        if used(journal.records, order.response, now) >= response.max_per_hour:
            return Outcome(order, _over_budget(order.response, response), retry=True)
        record = Record(
            now, f"r{token_hex(_ID_BYTES)}", "counted", order.response, tag_of(response), order.rule, order.subject,
            order.alert_at, dry_run=response.dry_run,
        )  # fmt: skip
        record = self._aim(record, response, session, order.accessor)
        if record.accessor and was_struck(journal.records, order.response, record.accessor):
            return Outcome(order, "", final=True)
        if response.approval == "required":
            waiting = [one for one in pending(journal.records, now) if one.response == order.response]
            if len(waiting) >= response.max_per_hour:
                return Outcome(order, f"{order.response}: {len(waiting)} wait for approval already", retry=True)
            record = replace(record, event="asked", expires_at=float(round(now + self._config.approval_timeout)))
            journal.add(record)
            log("warning", "alert response waits for approval", id=record.id, response=record.response)
            return Outcome(order, sentence(record, now), final=True)
        return self._strike(order, response, record, session)

    def _aim(self, record: Record, response: AnyResponse, session: "_Session", accessor: str) -> Record:
        """The record with its target. Raises NotStruckError."""
        match response:
            case RevokeToken():
                token = session.vault.find(accessor)
                return replace(record, target=printable(f"token {token}"), accessor=token.accessor)
            case DisableRole():
                token = session.vault.find(accessor)
                role = session.vault.role_of(token)
                networks = session.vault.networks_of(role)
                return replace(
                    record, target=role, accessor=token.accessor, role=role, previous=networks, undoable=True
                )
            case Emergency(path=path):
                return replace(record, target=f"of {self._active.config.environment}: {path}")
            case RunCommand(command=command, undo=undo):
                return replace(record, target=printable(" ".join(command)), undoable=undo is not None)

    def _aim_again(self, record: Record, response: AnyResponse, session: "_Session") -> Record:
        """What an approved response would strike now. The token may have ended, and its role is known from before."""
        if isinstance(response, DisableRole) and record.role:
            return replace(record, previous=session.vault.networks_of(record.role))
        return self._aim(record, response, session, record.accessor)

    def _strike(
        self, order: Order, response: AnyResponse, record: Record, session: "_Session", approver: str = ""
    ) -> Outcome:
        """Count, act, and record what happened."""
        journal, config = self._journal, self._active.config
        assert journal is not None
        if not journal.count(record, response.max_per_hour):
            return Outcome(order, _over_budget(order.response, response), retry=True)
        about = {
            "id": record.id,
            "response": record.response,
            "target": record.target,
            "rule": record.rule,
            "subject": record.subject,
            "dry_run": int(record.dry_run),
            "approved_by": approver or None,
        }
        details = [f"approved by {approver}"] if approver else []
        acted = False
        try:
            with recorded_action(
                config.audit_trail, self._environ, "alert response", config.environment, "monitor", **about
            ):
                if not response.dry_run:
                    details += self._act(response, record, order.text, session)
                acted = True
        except LesseeError as exc:
            details.append(str(exc))
        self._set_failure(record.response, None if acted else details[-1])
        record = with_event(record, "done" if acted else "failed", wall_time(), "; ".join(details))
        level = "warning" if acted else "error"
        event = f"alert response {record.event}"
        log(level, event, id=record.id, response=record.response, target=record.target, dry_run=record.dry_run)
        text = sentence(record, wall_time())
        try:
            journal.add(record)
        except LesseeError as exc:
            text = f"{text}; {exc}"
        return Outcome(order, text, retry=not acted, final=acted)

    def _act(self, response: AnyResponse, record: Record, text: str, session: "_Session") -> list[str]:
        """Act, and return what else to say about it. Raises LesseeError."""
        match response:
            case RevokeToken():
                session.vault.revoke(record.accessor)
                return []
            case DisableRole():
                session.vault.disable(record.role)
                return ["tokens that it has are still valid"]
            case Emergency(path=path):
                return [run_emergency(self._active, self._protection.patterns, path, record.id, self._environ)]
            case RunCommand(command=command, timeout=timeout):
                extra = {
                    "LESSEE_ALERT_RULE": record.rule,
                    "LESSEE_ALERT_SUBJECT": record.subject.replace("\0", "?"),
                    "LESSEE_ALERT_TEXT": text.replace("\0", "?"),
                    "LESSEE_RESPONSE_ID": record.id,
                }
                result = run(command, timeout=timeout, extra=extra)
                result.keep_output(record.response, "command")
                if not result.succeeded:
                    raise LesseeError(f"{command[0]} {result.failure}")
                return []

    def _look_for_approvals(self, session: "_Session") -> None:
        journal, now = self._journal, wall_time()
        assert journal is not None
        for record in pending(journal.records, now):
            response = self._by_name.get(record.response)
            if response is None or used(journal.records, record.response, now) >= response.max_per_hour:
                continue
            # A clock that was set back must not postpone it for long.
            if now < self._retry_at.get(record.id, 0.0) <= now + _RETRY_INTERVAL:
                continue
            approver = self._approver_of(record)
            if approver is None:
                continue
            order = Order(record.response, record.rule, record.subject, record.alert_at, "", record.accessor)
            log("warning", "alert response approved", id=record.id, response=record.response, approver=approver)
            try:
                # What was true when it was asked for may have changed.
                fresh = replace(record, event="counted", at=now, expires_at=0.0, dry_run=response.dry_run)
                fresh = replace(fresh, action=tag_of(response))
                aimed = self._aim_again(fresh, response, session)
                _refuse_change(record, aimed)
                outcome = self._strike(order, response, aimed, session, approver)
            except NotStruckError as exc:
                journal.add(with_event(record, "failed", now, str(exc)))
                outcome = Outcome(order, str(exc), final=True)
            except LesseeError as exc:
                self._retry_at[record.id] = now + _RETRY_INTERVAL
                self._set_failure(record.response, str(exc))
                continue
            self._retry_at.pop(record.id, None)
            self.outcomes.put(replace(outcome, retry=False, final=True))

    def _approver_of(self, record: Record) -> str | None:
        """The approver who has signed, or None."""
        if self._config.approvals_dir is None:
            return None
        try:
            content = _content(Path(self._config.approvals_dir) / f"{record.id}.sig")
            if content is None:
                self._reject(record.id, None)
                return None
            return signatures.signer(request_text(record).encode(), content, self._config.approvers)
        except signatures.InvalidSignatureError as exc:
            self._reject(record.id, str(exc))
            return None

    def _reject(self, response_id: str, reason: str | None) -> None:
        """Note why an approval does not count. The log has only the first reason: any user may write many of them."""
        if self.rejections.get(response_id) == reason:
            return
        others = {other: text for other, text in self.rejections.items() if other != response_id}
        self.rejections = others if reason is None else {**others, response_id: reason}
        if reason is not None and response_id not in self._rejected:
            self._rejected.add(response_id)
            log("warning", "approval rejected", id=response_id, reason=reason)

    def _publish(self) -> None:
        if self._journal is not None and len(self._journal.records) != len(self.records):
            self.records = tuple(self._journal.records)

    def _report(self, problem: str) -> None:
        if problem != self.problem:
            log("error", "alert responses unavailable", reason=problem)
        self.problem = problem

    def open_vault(self, stack: ExitStack) -> VaultActions:
        """Log in. Raises LoginRefusedError, DeniedError and VaultUnreachableError."""
        client = stack.enter_context(self._logins.client(self._active.config.vault, self._environ))
        return VaultActions(client, self._protection, self._config.audit_device, self._known)


class _Session:
    """Logs in to Vault when something first needs it, and once for all orders that came together."""

    def __init__(self, worker: ResponseWorker, environ: Mapping[str, str]) -> None:
        self._worker, self._environ, self._stack = worker, environ, ExitStack()
        self._vault: VaultActions | None = None
        self._error: LesseeError | None = None

    @property
    def vault(self) -> VaultActions:
        """Raises the errors of `open_vault`; those of the first attempt for all orders, because each may wait long."""
        if self._error is not None:
            raise self._error from None
        if self._vault is None:
            try:
                self._vault = self._worker.open_vault(self._stack)
            except LesseeError as exc:
                self._error = exc
                raise
        return self._vault

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def _over_budget(name: str, response: AnyResponse) -> str:
    return f"{name} did not run: its budget of {response.max_per_hour} an hour is used up"


def _refuse_change(asked: Record, aimed: Record) -> None:
    """Raise NotStruckError if this is not what an approver agreed to."""
    before, after = (
        (one.action, one.target, one.accessor, one.role, one.previous, one.dry_run) for one in (asked, aimed)
    )
    if before != after:
        raise NotStruckError(f"{asked.response}: it has changed since it was asked for")


def _content(path: Path) -> bytes | None:
    """The content of an approval, which any user may have written; None without one. Raises InvalidSignatureError."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise signatures.InvalidSignatureError(f"the monitor's user cannot read it: {exc.strerror}") from None
    try:
        if stat.S_ISREG(os.fstat(fd).st_mode):
            return os.read(fd, signatures.MAX_BYTES)
    except OSError as exc:
        raise signatures.InvalidSignatureError(f"it cannot be read: {exc.strerror}") from None
    finally:
        os.close(fd)
    raise signatures.InvalidSignatureError("it is no regular file")
