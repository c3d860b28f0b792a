"""Executes a plan's steps, and saves the record of what setup wrote."""

import time
from collections.abc import Callable, Mapping, Sequence

from lessee.config import Config
from lessee.core.errors import DeniedError, LesseeError, VaultRequestError
from lessee.core.failures import Kind as Failed
from lessee.ops.setup.initial_values import Values
from lessee.ops.setup.named_requests import create, write
from lessee.ops.setup.policy.desired_state import Desired, record_path
from lessee.ops.setup.policy.objects import Kind, Object, body_of
from lessee.ops.setup.policy.plan import (
    Action,
    Add,
    Change,
    Conflict,
    Fill,
    Remove,
    ServerConfigRequired,
    Step,
    Unconfirmed,
    actions,
    environment_of,
    record_after,
    record_before,
)
from lessee.ops.setup.policy.server_state import ServerState, SetupRecord, to_data
from lessee.vault.admin import AdminClient

Report = Callable[[Step], None]
_PATIENCE = 10.0


class PlanExecutor:
    """Executes a plan on one server. After a failure it can run again."""

    def __init__(self, client: AdminClient, configs: Mapping[str, Config], state: ServerState, values: Values) -> None:
        self._client = client
        self._configs = configs
        self._state = state
        self._values = values

    def run(self, steps: Sequence[Step], desired: Sequence[Desired], report: Report) -> None:
        """Execute the steps, one environment after the other, and report each one.

        Raises DeniedError or VaultUnreachableError at the first step that fails.
        """
        for environment in ("", *self._configs):
            own = [step for step in steps if environment_of(step) == environment]
            own_desired = [item for item in desired if item.environment == environment]
            if own or own_desired:
                self._run_in(environment, own, own_desired, report)

    def _run_in(self, environment: str, steps: Sequence[Step], desired: Sequence[Desired], report: Report) -> None:
        recorded = self._state.recorded.get(environment)
        before = recorded or {}
        done: list[Step] = []
        # The record is a secret in the KV engine, so that engine must exist before anything else.
        first = [step for step in steps if isinstance(step, Add) and step.object.kind is Kind.KV]
        for mount in first:
            done.append(self._execute(mount))
            report(mount)
        intent = record_before(before, actions(steps))
        # Saved before the first step: after an interruption, the next run still knows what setup wrote.
        if len(steps) > len(first) and intent != recorded:
            recorded = self._save_record(environment, intent)
        for step in steps:
            if step not in first:
                done.append(
                    step if isinstance(step, Conflict | ServerConfigRequired | Unconfirmed) else self._execute(step)
                )
                report(done[-1])
        after = record_after(intent, desired, self._state, done)
        if after != recorded:
            self._save_record(environment, after)

    def _execute(self, step: Action) -> Step:
        try:
            match step:
                case Add(target) if target.kind is Kind.AUDIT:
                    return self._audit(target)
                case Add(target) | Change(target):
                    self._write(target, new=isinstance(step, Add), password=isinstance(step, Add) or step.password)
                case Remove():
                    self._client.delete(step.path)
                case Fill():
                    self._fill(step)
        except VaultRequestError as exc:
            todo = exc.todo or "run `lessee setup` again: it continues after the completed steps"
            raise exc.replace(todo=todo) from None
        return step

    def _write(self, target: Object, *, new: bool, password: bool) -> None:
        body = body_of(target, new=new)
        if password and target.password is not None:
            body["password"] = self._values[target.name, "password"]
        try:
            (create if new else write)(self._client, target, body)
        except VaultRequestError as exc:
            if target.kind is not Kind.CONNECTION or exc.kind is Failed.DENIED:
                raise
            todo = "check its url, username and password, and that it answers; the server's log has the details"
            raise exc.replace(what="Vault could not log in to the database", todo=todo) from None
        if target.kind is Kind.KV:
            self._wait_until_ready(target.name)

    def _audit(self, target: Object) -> Step:
        try:
            create(self._client, target, body_of(target, new=True))
        except VaultRequestError as exc:
            # OpenBao takes audit devices only from its own configuration, unless that allows the API.
            if exc.kind in {Failed.INVALID, Failed.UNSUPPORTED}:
                return ServerConfigRequired(target)
            raise
        return Add(target)

    def _fill(self, step: Fill) -> None:
        secret = step.secret
        path = f"{secret.mount}/data/{secret.path}"
        fields = {key: self._values[secret.name, key] for key in step.missing}
        version = step.version
        if version and not step.deleted:
            found = self._client.read(path) or {}
            version = int((found.get("metadata") or {}).get("version") or 0)
            # Values that were written meanwhile stay, like those that were there before.
            fields |= found.get("data") or {}
        self._put(path, fields, version)

    def _save_record(self, environment: str, recorded: SetupRecord) -> SetupRecord:
        config = self._configs[environment] if environment else next(iter(self._configs.values()))
        mount, path = config.secrets.mount, record_path(config, environment)
        found = self._client.read(f"{mount}/metadata/{path}") or {}
        self._put(f"{mount}/data/{path}", to_data(recorded), int(found.get("current_version") or 0))
        return recorded

    def _put(self, path: str, fields: Mapping[str, object], version: int) -> None:
        try:
            self._client.write(path, {"data": fields, "options": {"cas": version}})
        except DeniedError as exc:
            todo = exc.todo or "another client may have written it at the same time; run `lessee setup` again"
            raise DeniedError(exc.what, where=path, todo=todo) from None

    def _wait_until_ready(self, mount: str) -> None:
        """A new KV engine answers with errors until it has initialized itself."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                self._client.read(f"{mount}/config")
            except LesseeError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
            else:
                return
