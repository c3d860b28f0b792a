"""Takes a plan's steps, and keeps the record of what was written."""

import time
from collections.abc import Callable, Mapping, Sequence

from lessee.config import Config
from lessee.core.errors import LesseeError, DeniedError, VaultUnreachableError
from lessee.core.failures import Kind as Failed
from lessee.ops.setup.initial_values import Values
from lessee.ops.setup.policy.desired_state import Desired, record_path
from lessee.ops.setup.policy.objects import Kind, Object, body_of
from lessee.ops.setup.policy.plan import (
    Add,
    Change,
    Action,
    Fill,
    ServerConfigRequired,
    Conflict,
    Remove,
    Step,
    actions,
    environment_of,
    record_before,
    record_after,
)
from lessee.ops.setup.policy.server_state import SetupRecord, ServerState, to_data
from lessee.vault.admin import AdminClient, request_error
from lessee.vault.transport import RequestFailedError

Tell = Callable[[Step], None]
_PATIENCE = 10.0


class PlanExecutor:
    """Acts on one server. What fails is told with the step that it was, and all can be run again."""

    def __init__(self, client: AdminClient, configs: Mapping[str, Config], state: ServerState, values: Values) -> None:
        self._client = client
        self._configs = configs
        self._state = state
        self._values = values

    def act(self, steps: Sequence[Step], wanted: Sequence[Desired], tell: Tell) -> None:
        """Take the steps, environment by environment. Raises DeniedError or VaultUnreachableError at the first that fails."""
        for environment in ("", *self._configs):
            own = [step for step in steps if environment_of(step) == environment]
            its = [one for one in wanted if one.environment == environment]
            if own or its:
                self._act_in(environment, own, its, tell)

    def _act_in(self, environment: str, steps: Sequence[Step], wanted: Sequence[Desired], tell: Tell) -> None:
        recorded = self._state.recorded.get(environment)
        before = recorded or {}
        done: list[Step] = []
        # The record lies in the KV engine, so this comes before all else.
        first = [step for step in steps if isinstance(step, Add) and step.object.kind is Kind.KV]
        for mount in first:
            done.append(self._take(mount))
            tell(mount)
        intent = record_before(before, actions(steps))
        # Before the first step: whenever it ends, the next run knows what is setup's own.
        if len(steps) > len(first) and intent != recorded:
            recorded = self._keep(environment, intent)
        for step in steps:
            if step not in first:
                done.append(step if isinstance(step, Conflict | ServerConfigRequired) else self._take(step))
                tell(done[-1])
        after = record_after(intent, wanted, self._state, done)
        if after != recorded:
            self._keep(environment, after)

    def _take(self, step: Action) -> Step:
        try:
            match step:
                case Add(made) if made.kind is Kind.AUDIT:
                    return self._audit(made)
                case Add(made) | Change(made):
                    self._write(made, new=isinstance(step, Add), password=isinstance(step, Add) or step.password)
                case Remove():
                    self._client.delete(step.path)
                case Fill():
                    self._fill(step)
        except (DeniedError, VaultUnreachableError) as exc:
            raise type(exc)(exc.what, where=exc.where, todo=exc.todo or "what is done is done; run it again") from None
        return step

    def _write(self, made: Object, *, new: bool, password: bool) -> None:
        body = body_of(made, new=new)
        if password and made.password is not None:
            body["password"] = self._values[made.name, "password"]
        path = made.path if new or made.kind is not Kind.ENGINE else f"{made.path}/tune"
        try:
            self._client.write(path, body)
        except LesseeError as exc:
            if made.kind is not Kind.CONNECTION or "(403)" in exc.what:
                raise
            todo = "are its url, username and password right, and does it answer? the server's log tells more"
            raise type(exc)("the server could not log in to the database", where=path, todo=todo) from None
        if made.kind is Kind.KV:
            self._wait_for(made.name)

    def _audit(self, made: Object) -> Step:
        try:
            self._client.transport.ask("PUT", made.path, token=self._client.token, body=body_of(made, new=True))
        except RequestFailedError as exc:
            # OpenBao has audit devices in its configuration alone, unless that says otherwise.
            if exc.failure.kind in {Failed.INVALID, Failed.UNSUPPORTED}:
                return ServerConfigRequired(made)
            raise request_error(exc.failure, made.path) from None
        return Add(made)

    def _fill(self, step: Fill) -> None:
        secret = step.secret
        path = f"{secret.mount}/data/{secret.path}"
        fields = {key: self._values[secret.name, key] for key in step.missing}
        version = step.version
        if version and not step.deleted:
            found = self._client.read(path) or {}
            version = int((found.get("metadata") or {}).get("version") or 0)
            # What came meanwhile is kept, as what was there before.
            fields |= found.get("data") or {}
        self._put(path, fields, version)

    def _keep(self, environment: str, recorded: SetupRecord) -> SetupRecord:
        config = self._configs[environment] if environment else next(iter(self._configs.values()))
        mount, path = config.secrets.mount, record_path(config, environment)
        found = self._client.read(f"{mount}/metadata/{path}") or {}
        self._put(f"{mount}/data/{path}", to_data(recorded), int(found.get("current_version") or 0))
        return recorded

    def _put(self, path: str, fields: Mapping[str, object], version: int) -> None:
        try:
            self._client.write(path, {"data": fields, "options": {"cas": version}})
        except DeniedError as exc:
            todo = exc.todo or "did somebody write it at this moment? run it again"
            raise DeniedError(exc.what, where=path, todo=todo) from None

    def _wait_for(self, mount: str) -> None:
        """A new KV engine is not there at once: it answers with an error while it makes itself ready."""
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
