"""One identity: a way to log in to one Vault, the machine that decides in its name, and the effects that obey."""

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, assert_never

import msgspec

from lessee.agent.effects import Effects
from lessee.agent.machine.protocol import commands as cmd
from lessee.agent.machine.protocol import events as ev
from lessee.agent.machine.protocol.app_spec import AppSpec
from lessee.agent.machine.status.view import IdentityStatus
from lessee.agent.machine.step import start, steps
from lessee.config import App, Vault
from lessee.config.grammar.app import OnExpiry
from lessee.config.grammar.vault import TokenAuth
from lessee.core.errors import LesseeError
from lessee.core.paths import Need
from lessee.core.tokens import Token
from lessee.host.clock import boot_time
from lessee.rendering.app_templates import CompiledApp
from lessee.rendering.render import Inputs, Rendering, render
from lessee.telemetry.logs import log
from lessee.vault.client_factory import create_client

if TYPE_CHECKING:
    from lessee.agent.app_tasks import Telling
    from lessee.agent.fallback import Falling
    from lessee.vault.subscription import Subscription

Post = Callable[[ev.Event], None]


class Identity:
    """Takes events, steps its machine, and obeys; all in the thread of the loop, but for requests to Vault."""

    def __init__(self, vault: Vault, effects: Effects, *, seed: int, post: Post) -> None:
        """`post` takes the events of other threads, for `take` to get them."""
        self.vault = vault
        self.key = key_of(vault)
        self.apps: Mapping[str, App] = {}
        self._specs: Mapping[str, AppSpec] = {}
        self._begun = False
        self._noted = False
        self._renderings: dict[str, Rendering] = {}
        self._effects = effects
        self._publication_store = effects.publication_store
        self._keeper = effects.keeper
        self._redactor = effects.redactor
        self._post = post
        self._client = create_client(vault, effects.environ, post, boot_time)
        self._tracer = effects.tracing.tracer(self.key[:8]) if effects.tracing is not None else None
        self.state = start(seed ^ int(self.key[:16], 16))

    @property
    def account(self) -> IdentityStatus:
        """For status.json."""
        return IdentityStatus(self.key[:8], self._client.address, self.state)

    @property
    def token(self) -> str:
        """The value of the one in use, or nothing."""
        return self._client.token

    def subscribe(self, types: str) -> "Subscription":
        """To Vault's own event stream, as `Client.subscribe`; any thread may."""
        return self._client.subscribe(types)

    def kept(self, needs: frozenset[Need] | None) -> Sequence[ev.LeasesRecovered]:
        """At the first call, what the ledger holds of an earlier life; of leases those of these needs, or all."""
        if self._begun:
            return ()
        self._begun = True
        tokens = self._keeper.tokens(self.key)
        leases = [lease for lease in self._keeper.leases(self.key) if needs is None or lease.need in needs]
        self._redactor.learn(self._learned("token"), [value for _, value in tokens])
        for lease in leases:
            self._redactor.learn(self._learned(str(lease.need)), lease.secret.data.values())
        self._client.restore_tokens(tokens)
        return (ev.LeasesRecovered(tuple(leases), tuple(token for token, _ in tokens)),)

    def configure(
        self, apps: Mapping[str, App], specs: Mapping[str, AppSpec], others: Collection[str], events: Sequence[ev.Event]
    ) -> None:
        """Serve these apps. `others` are served in another name; `events` tell what was there before."""
        self.apps, self._specs = apps, specs
        self._renderings = {name: made for name, made in self._renderings.items() if name in apps}
        leases = [held.lease for held in self.state.leases.values()]
        leases += [lease for event in events if isinstance(event, ev.LeasesRecovered) for lease in event.leases]
        moved_apps = frozenset(name for lease in leases for name in lease.apps if name in others)
        self.take([ev.Configured(specs, moved_apps), *events])

    def release(self, settled: Collection[str]) -> None:
        """The readers of these apps hold nothing any more that was issued in this name."""
        self.take([ev.Configured(self._specs, self.state.moved_apps.difference(settled))])

    def goes_back(self) -> bool:
        """The child has failed: whether it is given what was before, because it does not work with the newest."""
        if not any(app.previous is not None for app in self.state.apps.values()):
            return False
        self._telling.cut_short()
        return True

    def end(self) -> None:
        """Nothing is left to do in this name."""
        log("info", "identity has ended", vault=self.vault.address)
        self._client.close()
        with _telling("ledger not tidied"):
            for id_ in self.state.leases:
                self._keeper.forget_lease(self.key, id_)
            for id_ in self.state.session.replaced_tokens:
                self._keeper.forget_token(self.key, id_)
            self._keeper.forget_identity(self.key)

    def take(self, events: Sequence[ev.Event]) -> None:
        """Step, and obey; what was done at once is taken in at once, so that no reload comes in between."""
        for event in events:
            self._before(event)
            if self._tracer is not None:
                self._tracer.end(event)
        while True:
            self.state, commands = steps(self.state, events or [ev.Tick()], boot_time())
            events = [done for command in commands if (done := self._obey(command)) is not None]
            if not events:
                break
        if self._tracer is not None:
            self._tracer.end_updates()

    def _before(self, event: ev.Event) -> None:
        """Values are known to the redactor before anything is done with them."""
        request = self.state.requests.get(event.request_id) if isinstance(event, ev.Answer) else None
        match event, request.command if request is not None else None:
            case ev.SecretRead(), cmd.ReadSecret() as asked:
                self._redactor.learn(self._learned(str(asked.ref)), event.secret.data.values())
            case ev.SecretIssued(), _:
                self._redactor.learn(self._learned(str(event.lease.need)), event.lease.secret.data.values())
            case ev.LoggedIn(), cmd.Login():
                value = self._client.use_login(event.request_id)
                self._redactor.learn(self._learned("token"), [value])
                self._keep_token(event.token, value)
            case ev.TokenRenewed(), cmd.RenewToken():
                self._keep_token(event.token, self._client.token)
            case ev.CheckFailed(), _ if (app := self.state.apps.get(event.app)) and app.awaits(event.job):
                with _telling("not tidied", app=event.app):
                    self._publication_store.discard(event.app)
            case _:
                pass

    def _keep_token(self, token: Token, value: str) -> None:
        if isinstance(self.vault.auth, TokenAuth):
            return  # it is kept where it came from, and may be changed there
        with _telling("token not kept"):
            self._note()
            self._keeper.store_token(self.key, token, value)

    def _note(self) -> None:
        """How to reach this Vault is noted before what lives there."""
        if not self._noted:
            self._keeper.store_identity(self.key, msgspec.json.encode(self.vault))
            self._noted = True

    def _learned(self, source: str) -> str:
        return f"{self.key[:8]} {source}"

    def _obey(self, command: cmd.Command) -> ev.Event | None:
        if self._tracer is None:
            return self._do(command)
        self._tracer.start(command)
        if (done := self._do(command)) is not None:
            self._tracer.end(done)
        return done

    def _do(self, command: cmd.Command) -> ev.Event | None:
        match command:
            case cmd.Log():
                log(command.level, command.event, **command.fields)
            case cmd.AbandonRequest():
                self._client.abandon(command.request_id)
            case cmd.Render():
                return self._render(command)
            case cmd.RenderFallback():
                return self._falling.fall_back(self.apps[command.app], command)
            case cmd.SaveSnapshot():
                return self._falling.keep_good(self.apps[command.app], command)
            case cmd.RunCheck():
                return self._telling.check(self.apps[command.app], command)
            case cmd.Publish():
                return self._publish(command)
            case cmd.Notify():
                return self._telling.notify(self.apps[command.app], command)
            case cmd.Probe():
                return self._telling.prove(self.apps[command.app], command)
            case cmd.CancelProbe():
                self._telling.give_up(command.job)
            case cmd.RollBack():
                return self._roll_back(command)
            case cmd.HandleExpiry():
                return self._expire(command)
            case cmd.MarkReady() | cmd.AllowRetry() | cmd.MarkNotified() | cmd.Prune():
                self._tidy(command)
            case cmd.StoreLease() | cmd.ForgetLease() | cmd.ForgetToken():
                self._keep(command)
            case _:
                self._client.obey(command)
        return None

    @cached_property
    def _telling(self) -> "Telling":
        # Imported when the first app is to be told: its files are there by then.
        from lessee.agent.app_tasks import Telling  # noqa: PLC0415

        return Telling(self._effects, self._post)

    @cached_property
    def _falling(self) -> "Falling":
        # Wanted by few, and seldom.
        from lessee.agent.fallback import Falling  # noqa: PLC0415

        return Falling(self._effects, self._learned)

    def _render(self, command: cmd.Render) -> ev.Event:
        assert isinstance(command.compiled_app, CompiledApp)
        inputs = Inputs(command.secrets, command.folders, command.dynamic, self._effects.environ)
        try:
            rendering = render(command.compiled_app, inputs, self._renderings.get(command.app))
        except LesseeError as exc:
            return ev.RenderFailed(command.app, command.job, str(exc))
        self._renderings[command.app] = rendering
        return ev.Rendered(command.app, command.job, rendering.generation)

    def _publish(self, command: cmd.Publish) -> ev.Event:
        generation = command.generation
        try:
            number, changed = self._publication_store.publish(
                generation, notify=command.notify, probe=command.probe, fallback=command.fallback
            )
        except LesseeError as exc:
            return ev.PublishFailed(command.app, command.job, str(exc))
        self._give_environ(generation.environ)
        return ev.Published(command.app, command.job, number, changed, command.fallback)

    def _roll_back(self, command: cmd.RollBack) -> ev.Event:
        try:
            self._publication_store.roll_back(command.app, command.to, failed_fingerprint=command.failed_fingerprint, notify=command.notify)
        except LesseeError as exc:
            return ev.RollbackFailed(command.app, str(exc))
        self._give_environ(command.environ)
        return ev.RolledBack(command.app)

    def _give_environ(self, environ: tuple[tuple[str, str], ...] | None) -> None:
        if self._effects.supervisor is not None and environ is not None:
            self._effects.supervisor.environ = dict(environ)

    def _expire(self, command: cmd.HandleExpiry) -> ev.Event | None:
        wish = self.apps[command.app].on_expiry
        does = "its command is run" if isinstance(wish, OnExpiry) else "they stay" if wish == "keep" else "they go"
        log("warning", "files hold what has ended", app=command.app, paths=", ".join(command.paths), note=does)
        if isinstance(wish, OnExpiry):
            # Imported when it is wanted, which is seldom.
            from lessee.process.expiry_commands import run_command  # noqa: PLC0415

            run_command(wish.command, command.app, command.paths)
        elif wish == "remove":
            with _telling("files not removed", app=command.app):
                self._publication_store.withdraw(command.app)
                return ev.Withdrawn(command.app)
        return None

    def _tidy(self, command: cmd.MarkReady | cmd.AllowRetry | cmd.MarkNotified | cmd.Prune) -> None:
        with _telling("not tidied", app=command.app):
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

    def _keep(self, command: cmd.StateStoreCommand) -> None:
        with _telling("ledger not written"):
            match command:
                case cmd.StoreLease():
                    self._note()
                    self._keeper.store_lease(self.key, command.lease)
                case cmd.ForgetLease():
                    self._keeper.forget_lease(self.key, command.id)
                case cmd.ForgetToken():
                    self._client.forget_token(command.id)
                    self._keeper.forget_token(self.key, command.id)
                case _:
                    assert_never(command)


def key_of(vault: Vault) -> str:
    """Another address or another way to log in is another identity: no token of the one is shown to the other."""
    return hashlib.sha256(msgspec.json.encode(vault)).hexdigest()


class _telling:  # noqa: N801  # It is used as a function.
    """What goes wrong inside is told, and does not stop the loop."""

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
