"""One identity: a login to one Vault, the state machine that decides for it, and the effects that obey."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, assert_never, cast

import msgspec

from lessee.agent.effects import Effects
from lessee.agent.machine.deadlines import wake_at
from lessee.agent.machine.status.view import IdentityStatus
from lessee.agent.machine.step import start, steps
from lessee.config import App, Login, Source, Vault
from lessee.config.grammar.app import OnExpiry
from lessee.config.grammar.vault import TokenAuth
from lessee.core.errors import LesseeError
from lessee.core.leases import Lease
from lessee.core.paths import Need
from lessee.core.tokens import Token
from lessee.host.clock import boot_time
from lessee.protocol import commands as cmd
from lessee.protocol import events as ev
from lessee.protocol.app_spec import AppSpec, app_of
from lessee.publishing.state_records import key_of
from lessee.rendering.app_templates import CompiledApp
from lessee.rendering.render import Inputs, Rendering, render
from lessee.rendering.sandbox.bounds import SlowRenderingError
from lessee.telemetry.logs import log
from lessee.vault.client_factory import allow_login, create_client, create_revoker

if TYPE_CHECKING:
    from lessee.agent.app_tasks import AppTasks
    from lessee.agent.fallback import FallbackRenderer
    from lessee.agent.slow_renderer import SlowRenderer
    from lessee.agent.source_client import SourceClient
    from lessee.vault.client import Client
    from lessee.vault.subscription import Subscription

Post = Callable[[ev.Event], None]


_OF_A_SERVER = frozenset(
    {"vault unavailable", "vault available", "source unavailable", "source available", "source opened", "login failed"}
)
"""The events whose server the log names."""


class Identity:
    """Takes events, steps its machine, and obeys. Everything but the requests to Vault runs in the loop's thread."""

    def __init__(
        self,
        vault: Login,
        effects: Effects,
        *,
        seed: int,
        post: Post,
        handle_expiry_of: Callable[[cmd.HandleExpiry], None],
        configured: Collection[Vault] | None = None,
    ) -> None:
        """`post` takes events from other threads, which the loop then passes to `take`.

        `handle_expiry_of`: takes the expiry of what this identity supplies to an app of another one.

        `configured`: only a record in `state_dir` names this Vault, and the configuration names these. Such an identity
        revokes what it has, and never logs in.
        """
        self.vault = vault
        self.key = key_of(vault)
        self.apps: Mapping[str, App] = {}
        self._specs: Mapping[str, AppSpec] = {}
        self._is_restored = False
        self._is_stored = False
        self._renderings: dict[str, Rendering] = {}
        self.has_lost_directory = False
        """Whether an app's directory was replaced, and this process may not write to the new one."""
        self._slow_apps: set[str] = set()
        """The apps whose files a separate thread renders, because they take long."""
        self._effects = effects
        self._publication_store = effects.publication_store
        self._state_store = effects.state_store
        self._redactor = effects.redactor
        self._post = post
        self._handle_expiry_of = handle_expiry_of
        self._may_log_in = configured is None
        self._client: Client | SourceClient
        if isinstance(vault, Source):
            # Few configurations have one.
            from lessee.agent import source_client  # noqa: PLC0415

            self._client = source_client.SourceClient(vault, effects.environ, post, boot_time, self._learn)
        elif configured is None:
            self._client = create_client(vault, effects.environ, post, boot_time, self._learn)
        else:
            self._client = create_revoker(vault, configured, effects.environ, post, boot_time, self._learn)
        self._tracer = effects.tracing.tracer(self.key[:8]) if effects.tracing is not None else None
        source = vault.name if isinstance(vault, Source) else ""
        self.state = start(seed ^ int(self.key[:16], 16), source)
        self.wake_at = wake_at(self.state)
        """When it has something to do although no event arrives."""

    @property
    def status(self) -> IdentityStatus:
        """For the status document."""
        return IdentityStatus(self.key[:8], self._client.address, self.state)

    @property
    def token(self) -> str:
        """The value of the current token, or an empty string."""
        return self._client.token

    def subscribe(self, types: str) -> "Subscription":
        """Subscribe to Vault's own event stream, as `Client.subscribe`; any thread may call it."""
        assert not isinstance(self.vault, Source), "only Vault has an event stream"
        return cast("Client", self._client).subscribe(types)

    def restore(self, needs: frozenset[Need] | None) -> Sequence[ev.LeasesRecovered]:
        """At the first call, what a previous run stored: its tokens, and its leases of these needs, or all leases."""
        if self._is_restored:
            return ()
        self._is_restored = True
        tokens = self._state_store.tokens(self.key)
        stored = [lease for lease in self._state_store.leases(self.key) if _is_of_its_path(lease)]
        leases = [lease for lease in stored if needs is None or lease.need in needs]
        self._redactor.learn(self._redaction_name("token"), [value for _, value in tokens])
        for lease in leases:
            self._redactor.learn(self._redaction_name(str(lease.need)), lease.secret.data.values())
        self._client.restore_tokens(tokens)
        return (ev.LeasesRecovered(tuple(leases), tuple(token for token, _ in tokens)),)

    def configure(
        self,
        apps: Mapping[str, App],
        specs: Mapping[str, AppSpec],
        all_apps: Collection[str],
        events: Sequence[ev.Event],
    ) -> None:
        """Serve these apps, and what `specs` supplies to others. `all_apps`: those of all identities, and refused ones.

        The events tell what was recovered.
        """
        self.apps, self._specs = apps, specs
        self._renderings = {name: rendering for name, rendering in self._renderings.items() if name in apps}
        self._slow_apps.clear()
        leases = [held.lease for held in self.state.leases.values()]
        leases += [lease for event in events if isinstance(event, ev.LeasesRecovered) for lease in event.leases]
        names = frozenset(name for lease in leases for name in lease.apps)
        moved_apps = frozenset(name for name in names - specs.keys() if app_of(name) in all_apps)
        self.take([ev.Configured(specs, moved_apps), *events])

    @property
    def is_needed(self) -> bool:
        """Whether it serves an app, or supplies something to one."""
        return bool(self._specs)

    def allow_login(self) -> None:
        """The configuration names this Vault again."""
        if not self._may_log_in:
            self._may_log_in = True
            # Only a record in `state_dir` makes such an identity, and it names a Vault.
            allow_login(cast("Client", self._client), cast("Vault", self.vault), self._effects.environ)

    def release(self, settled: Collection[str]) -> None:
        """The readers of these apps use no lease of this identity any more."""
        self.take([ev.Configured(self._specs, self.state.moved_apps.difference(settled))])

    def start_rollback(self) -> bool:
        """End the probe of the child that has failed. Whether a rollback to a previous generation follows."""
        if not any(app.previous is not None for app in self.state.apps.values()):
            return False
        self._app_tasks.end_probes()
        return True

    def close(self) -> None:
        """Remove the identity, which has nothing left to do."""
        log("info", "identity removed", vault=self._client.address)
        self._client.close()
        with _logging_errors("state store not updated"):
            for id_ in self.state.leases:
                self._state_store.forget_lease(self.key, id_)
            for id_ in self.state.session.replaced_tokens:
                self._state_store.forget_token(self.key, id_)
            self._state_store.forget_identity(self.key)

    def take(self, events: Sequence[ev.Event]) -> None:
        """Step, and obey. The results of immediate commands are taken in the same call, before any reload."""
        for event in events:
            self._prepare(event)
            if self._tracer is not None:
                self._tracer.end(event)
        while True:
            self.state, commands = steps(self.state, events or [ev.Tick()], boot_time())
            events = [result for command in commands if (result := self._obey(command)) is not None]
            if not events:
                break
        self.wake_at = wake_at(self.state)
        if self._tracer is not None:
            self._tracer.end_updates()

    def _prepare(self, event: ev.Event) -> None:
        """The redactor learns tokens before anything else happens with them; the client's threads pass on the rest."""
        request = self.state.requests.get(event.request_id) if isinstance(event, ev.Answer) else None
        match event, request.command if request is not None else None:
            case ev.LoggedIn(), cmd.Login():
                value = self._client.use_login(event.request_id)
                if value:
                    self._redactor.learn(self._redaction_name("token"), [value])
                self._store_token(event.token, value)
            case ev.TokenRenewed(), cmd.RenewToken():
                self._store_token(event.token, self._client.token)
            case ev.Rendered(), _:
                rendering = self._slow_renderer.take(event)
                if event.app in self.apps:
                    self._renderings[event.app] = rendering
            case ev.CheckFailed(), _ if (app := self.state.apps.get(event.app)) and app.awaits(event.job):
                with _logging_errors("staged files not removed", app=event.app):
                    self._publication_store.discard(event.app)
            case _:
                pass

    def _store_token(self, token: Token, value: str) -> None:
        if isinstance(self.vault, Source) or isinstance(self.vault.auth, TokenAuth):
            return  # Its file is the place where it is stored, and where it may change. A source has none.
        with _logging_errors("token not saved"):
            self._store_identity()
            self._state_store.store_token(self.key, token, value)

    def _store_identity(self) -> None:
        """Store how to reach this Vault, before anything that exists there."""
        if not self._is_stored:
            self._state_store.store_identity(self.key, msgspec.json.encode(self.vault))
            self._is_stored = True

    def _learn(self, source: str, values: Iterable[object]) -> None:
        """Hide these values from now on. Any thread may call it."""
        self._redactor.learn(self._redaction_name(source), values)

    def _redaction_name(self, source: str) -> str:
        return f"{self.key[:8]} {source}"

    def _obey(self, command: cmd.Command) -> ev.Event | None:
        if self._tracer is None:
            return self._execute(command)
        self._tracer.start(command)
        if (result := self._execute(command)) is not None:
            self._tracer.end(result)
        return result

    def _execute(self, command: cmd.Command) -> ev.Event | None:
        match command:
            case cmd.Log():
                # The machine knows no addresses.
                where = {"address": self._client.address} if command.event in _OF_A_SERVER else {}
                log(command.level, command.event, **where, **command.fields)
            case cmd.AbandonRequest():
                self._client.abandon(command.request_id)
            case cmd.Render():
                return self._render(command)
            case cmd.RenderFallback():
                return self._render_fallback(command)
            case cmd.SaveSnapshot():
                return self._fallback_renderer.save_snapshot(self.apps[command.app], command)
            case cmd.RunCheck():
                return self._reopen(command) or self._app_tasks.check(self.apps[command.app], command)
            case cmd.Publish():
                return self._reopen(command) or self._publish(command)
            case cmd.Notify():
                return self._app_tasks.notify(self.apps[command.app], command)
            case cmd.Probe():
                return self._app_tasks.probe(self.apps[command.app], command)
            case cmd.CancelProbe():
                self._app_tasks.cancel_probe(command.job)
            case cmd.RollBack():
                return self._roll_back(command)
            case cmd.HandleExpiry():
                return self._handle_expiry(command)
            case cmd.CheckFiles():
                return self._check_files(command)
            case cmd.MarkReady() | cmd.AllowRetry() | cmd.MarkNotified() | cmd.Prune():
                self._update_publication(command)
            case cmd.StoreLease() | cmd.ForgetLease() | cmd.ForgetToken():
                self._update_state_store(command)
            case _:
                self._client.obey(command)
        return None

    @cached_property
    def _app_tasks(self) -> "AppTasks":
        # Imported for the first notification: by then, the app's files are published.
        from lessee.agent.app_tasks import AppTasks  # noqa: PLC0415

        return AppTasks(self._effects, self._post)

    @cached_property
    def _fallback_renderer(self) -> "FallbackRenderer":
        # Few apps have a fallback, and few starts need it.
        from lessee.agent.fallback import FallbackRenderer  # noqa: PLC0415

        return FallbackRenderer(self._effects, self._redaction_name)

    @cached_property
    def _slow_renderer(self) -> "SlowRenderer":
        # Few apps have so much to render.
        from lessee.agent.slow_renderer import SlowRenderer  # noqa: PLC0415

        return SlowRenderer(self._post)

    def _render(self, command: cmd.Render) -> ev.Event | None:
        compiled_app, before = command.compiled_app, self._renderings.get(command.app)
        assert isinstance(compiled_app, CompiledApp)
        inputs = Inputs(command.secrets, command.folders, command.dynamic, self._effects.environ)
        try:
            if command.app not in self._slow_apps:
                rendering = render(compiled_app, inputs, before, quick=True)
                self._renderings[command.app] = rendering
                return ev.Rendered(command.app, command.job, rendering.generation)
        except SlowRenderingError:
            self._slow_apps.add(command.app)
        except LesseeError as exc:
            return ev.RenderFailed(command.app, command.job, str(exc))
        try:
            _prepare_templates(compiled_app)
        except LesseeError as exc:
            return ev.RenderFailed(command.app, command.job, str(exc))
        self._slow_renderer.render(command, compiled_app, inputs, before)
        return None

    def _render_fallback(self, command: cmd.RenderFallback) -> ev.Event | None:
        app, renderer = self.apps[command.app], self._fallback_renderer

        def failed(reason: str) -> ev.Event:
            return ev.FallbackFailed(command.app, command.job, reason)

        assert isinstance(command.compiled_app, CompiledApp)
        try:
            _prepare_templates(command.compiled_app)
        except LesseeError as exc:
            return failed(str(exc))
        self._slow_renderer.start(lambda: renderer.render(app, command), failed)
        return None

    def _reopen(self, command: cmd.RunCheck | cmd.Publish) -> ev.Event | None:
        """If the app's directory was refused: what is in it, once it can be used."""
        try:
            return self._publication_store.reopen(command.app)
        except LesseeError as exc:
            return ev.PublishFailed(command.app, command.job, str(exc))

    def _publish(self, command: cmd.Publish) -> ev.Event:
        generation = command.generation
        try:
            number, changed = self._publication_store.publish(
                generation, notify=command.notify, probe=command.probe, fallback=command.fallback
            )
        except LesseeError as exc:
            return ev.PublishFailed(command.app, command.job, str(exc))
        self._set_child_environment(generation.environ)
        return ev.Published(command.app, command.job, number, changed, command.fallback)

    def _roll_back(self, command: cmd.RollBack) -> ev.Event:
        try:
            self._publication_store.roll_back(
                command.app, command.to, failed_fingerprint=command.failed_fingerprint, notify=command.notify
            )
        except LesseeError as exc:
            return ev.RollbackFailed(command.app, str(exc))
        self._set_child_environment(command.environ)
        return ev.RolledBack(command.app)

    def _set_child_environment(self, environ: tuple[tuple[str, str], ...] | None) -> None:
        if self._effects.supervisor is not None and environ is not None:
            self._effects.supervisor.environ = dict(environ)

    def _check_files(self, command: cmd.CheckFiles) -> ev.Event:
        result = self._publication_store.check_files(
            command.app, notify=command.notify, touched=lambda: self._post(ev.FilesTouched(command.app))
        )
        self.has_lost_directory |= result.is_lost
        return result

    def _handle_expiry(self, command: cmd.HandleExpiry) -> ev.Event | None:
        if command.app not in self.apps:
            self._handle_expiry_of(command)
            return None
        on_expiry = self.apps[command.app].on_expiry
        action = "command" if isinstance(on_expiry, OnExpiry) else on_expiry
        paths = ", ".join(command.paths)
        log("warning", "files contain expired secrets", app=command.app, paths=paths, on_expiry=action)
        if isinstance(on_expiry, OnExpiry):
            # Rarely needed.
            from lessee.process.expiry_commands import run_command  # noqa: PLC0415

            run_command(on_expiry.command, command.app, command.paths)
        elif on_expiry == "remove":
            with _logging_errors("files not removed", app=command.app):
                self._publication_store.withdraw(command.app)
                return ev.Withdrawn(command.app)
        return None

    def handle_expiry(self, command: cmd.HandleExpiry) -> None:
        """Apply the app's `on_expiry` for secrets that another identity supplies."""
        if command.app in self.apps and (event := self._handle_expiry(command)) is not None:
            self.take([event])

    def _update_publication(self, command: cmd.MarkReady | cmd.AllowRetry | cmd.MarkNotified | cmd.Prune) -> None:
        with _logging_errors("publication not updated", app=command.app):
            match command:
                case cmd.MarkReady():
                    self._publication_store.mark_ready(command.app)
                case cmd.AllowRetry():
                    self._publication_store.allow_retry(command.app)
                case cmd.MarkNotified():
                    self._publication_store.mark_notified(command.app)
                case cmd.Prune():
                    self._publication_store.prune(command.app, command.numbers)
                case _:
                    assert_never(command)

    def _update_state_store(self, command: cmd.StateStoreCommand) -> None:
        with _logging_errors("state store not updated"):
            match command:
                case cmd.StoreLease():
                    self._store_identity()
                    self._state_store.store_lease(self.key, command.lease)
                case cmd.ForgetLease():
                    self._state_store.forget_lease(self.key, command.id)
                case cmd.ForgetToken():
                    self._client.forget_token(command.id)
                    self._state_store.forget_token(self.key, command.id)
                case _:
                    assert_never(command)


def _prepare_templates(compiled_app: CompiledApp) -> None:
    """Generate the code of all templates in this thread, as the loop does it between events. Raises TemplateError."""
    for template in compiled_app.templates:
        template.prepare()


def _is_of_its_path(lease: Lease) -> bool:
    """Whether Vault can have issued the lease for its path. Otherwise a record would have another lease revoked.

    Vault names a lease after the path of its request, without a namespace in that path (vault/expiration.go).
    """
    path = lease.lease_id.rpartition("/")[0]
    if not lease.lease_id or f"/{lease.need.path}".endswith(f"/{path}"):
        return True
    log(
        "warning",
        "state record refused",
        lease=lease.lease_id,
        reason="it is no lease of its path",
        path=str(lease.need),
    )
    return False


class _logging_errors:  # noqa: N801  # It is used as a function.
    """Logs an error of the enclosed statements, which must not stop the loop."""

    def __init__(self, event: str, **fields: object) -> None:
        self._event = event
        self._fields = fields

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: object) -> bool:
        if not isinstance(exc, LesseeError):
            return False
        log("warning", self._event, **self._fields, reason=str(exc))
        return True
