"""The identities of the agent: one for each way to log in, and those of before that still have leases to revoke."""

import os
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial

from lessee.agent.effects import Effects
from lessee.agent.identity import Identity
from lessee.agent.machine.apps.recovery import hand_over
from lessee.agent.machine.apps.state import App
from lessee.agent.machine.leases.consumers import is_settled
from lessee.agent.machine.leases.release import is_everything_revoked
from lessee.agent.stored_vaults import stored_vaults
from lessee.config import App as AppConfig
from lessee.config import Config, LastKnownGoodFallback, Login, Source, Vault
from lessee.config.grammar.vault import credential_variables
from lessee.core.consumers import instance_name, metadata_path
from lessee.core.errors import LesseeError
from lessee.core.immutable import replace
from lessee.core.paths import Need
from lessee.host.clock import boot_time
from lessee.host.project import Project
from lessee.protocol import commands as cmd
from lessee.protocol import events as ev
from lessee.protocol.app_spec import AppSpec, ReportTarget, app_of, supply_name
from lessee.publishing.state_records import key_of
from lessee.rendering.app_templates import AppNeeds, CompiledApp, needs_of
from lessee.telemetry.logs import log


class Identities:
    """Apps with the same login share an identity: one state machine, one token, and one lease of each secret.

    An app with its own `vault` block has its own identity.
    """

    def __init__(
        self,
        effects: Effects,
        *,
        seed: int,
        notifies: bool,
        all_apps: bool,
        stays: bool,
        strict: bool,
        post: Callable[[str, ev.Event], None],
    ) -> None:
        """`post` takes an event for the identity with this key. For the others see `Agent`."""
        self._effects = effects
        self._seed = seed
        self._notifies = notifies
        self._all_apps = all_apps
        self._stays = stays
        self._strict = strict
        self._refused: Mapping[str, LesseeError] = {}
        self._post = post
        self._identities: dict[str, Identity] = {}
        self._event_source = ev.EventSourceChanged(live=False)
        self._servers: frozenset[str] = frozenset()
        self._subscriber_key: str | None = None
        self._suppliers: Mapping[str, tuple[str, str]] = {}
        """The keys of the identity that supplies something, and of the one that serves the app, by `supply_name`."""
        self._expired: list[cmd.HandleExpiry] = []
        """What identities supply, and has expired."""

    def __iter__(self) -> Iterator[Identity]:
        # Other threads iterate as well, for the status.
        return iter(list(self._identities.values()))

    def configure(self, project: Project) -> None:
        """Serve the apps of this project. Raises WriteError, and then nothing has changed."""
        config, events = project.config, project.config.events
        self._servers = _servers(config.vault)
        self._subscriber_key = key_of(config.vault) if events is not None and events.vault else None
        if events is not None and not self._event_source.poll_interval:
            self._event_source = replace(self._event_source, poll_interval=events.poll_interval, jitter=events.jitter)
        recovered = self._effects.publication_store.open(config.apps.values(), strict=self._strict)
        self._refused = project.refused
        self._effects.redactor.allow(project.text)
        self._hide_fallback_variables(config)
        before = dict(self._served())
        needs = {name: needs_of(compiled_app) for name, compiled_app in project.compiled_apps.items()}
        supplies = {
            supply_name(name, identity): (compiled_app.app.login_of(identity), needs[name].vault)
            for name, compiled_app in project.compiled_apps.items()
            for identity in needs[name].supplied
        }
        self._suppliers = {name: (key_of(own), key_of(home)) for name, (own, home) in supplies.items()}
        # The status describes the first one at its top level: that of the top-level block, if an app uses it.
        vaults = sorted((own.vault for own in needs.values()), key=lambda vault: vault != config.vault)
        vaults += [own for own, _ in supplies.values()]
        # The leases of a refused app are retained, and renewed.
        vaults += [app.vault for app in project.refused_apps.values()]
        for vault in vaults:
            self._add(vault)
        with self._effects.state_store.listed():
            self._add_stored([vault for vault in vaults if isinstance(vault, Vault)])
            self._configure_all(project, needs, recovered, before)
        self.relay()

    def _configure_all(
        self,
        project: Project,
        needs: Mapping[str, AppNeeds],
        recovered: Mapping[str, ev.AppRecovered],
        before: Mapping[str, App],
    ) -> None:
        # First those that serve an app, so that there is no moment at which no identity serves a moved app.
        keys = {name: key_of(own.vault) for name, own in needs.items()}
        specs: dict[str, dict[str, AppSpec]] = {}
        for name, own in needs.items():
            for each, spec in self._specs(project.compiled_apps[name], own).items():
                key = keys[name] if each == name else self._suppliers[each][0]
                specs.setdefault(key, {})[each] = spec
        serving = set(keys.values())
        for identity in sorted(self, key=lambda one: one.key not in serving):
            self._configure(identity, project, specs.get(identity.key, {}), recovered, before)
            self.update(identity)

    @property
    def refused(self) -> Mapping[str, LesseeError]:
        """Why some apps are not served as they are configured, or not at all."""
        return {**self._refused, **self._effects.publication_store.refused}

    def _served(self) -> Iterator[tuple[str, App]]:
        """All apps, each as the identity that serves it knows it."""
        return (item for one in self for item in one.state.apps.items() if item[1].spec.supplies is None)

    def relay(self) -> None:
        """Pass on what identities supply to apps of others, and which leases the readers of these apps use."""
        for name, supplier, identity in self._supplied_apps():
            supply, app = supplier.state.apps[name].supply, identity.state.apps[app_of(name)]
            if supply is not None and app.supplies.get(name) is not supply:
                identity.take([ev.Supplied(app_of(name), name, supply)])
        expired, self._expired = self._expired, []
        for command in expired:
            if command.app in self._suppliers:
                _, key = self._suppliers[command.app]
                self._identities[key].handle_expiry(replace(command, app=app_of(command.app)))
        for name, supplier, identity in self._supplied_apps():
            app = identity.state.apps[app_of(name)]
            if not _has_same_readers(supplier.state.apps[name], app):
                supplier.take([ev.ReadersChanged(name, app)])

    def _note_expiry(self, command: cmd.HandleExpiry) -> None:
        # The app must know first that the secret is not supplied any more: it would be rendered with it again.
        self._expired.append(command)

    def _supplied_apps(self) -> Iterator[tuple[str, Identity, Identity]]:
        """What is supplied, with the identity that supplies it, and the one that serves the app."""
        for name, (supplier_key, key) in self._suppliers.items():
            yield name, self._identities[supplier_key], self._identities[key]

    def set_event_source(self, event: ev.EventSourceChanged) -> None:
        """The event source is available from now on, or is not."""
        self._event_source = replace(self._event_source, live=event.live, silent_for=event.silent_for)
        for identity in self:
            identity.take([self._event_source_of(identity)])

    def with_event_source(self) -> Iterator[Identity]:
        """The identities whose secrets the event source reports: those of the top-level block's Vault."""
        return (identity for identity in self if self._has_event_source(identity))

    def subscriber(self) -> Identity | None:
        """The identity that subscribes to Vault's own event stream: that of the top-level block."""
        return self._identities.get(self._subscriber_key or "")

    def _has_event_source(self, identity: Identity) -> bool:
        if self._subscriber_key is not None:
            # Vault reports only what the subscriber's policies allow, and nothing about other identities' secrets.
            return identity.key == self._subscriber_key
        return isinstance(identity.vault, Vault) and not self._servers.isdisjoint(_servers(identity.vault))

    def _event_source_of(self, identity: Identity) -> ev.EventSourceChanged:
        return self._event_source if self._has_event_source(identity) else ev.EventSourceChanged(live=False)

    def update(self, identity: Identity) -> None:
        """Release the leases of moved apps once they are settled elsewhere, and remove an identity without apps."""
        if identity.state.moved_apps:
            settled_apps = {name for name, app in self._served() if is_settled(app, boot_time())}
            settled = {name for name in identity.state.moved_apps if app_of(name) in settled_apps}
            if settled:
                identity.release(settled)
        state = identity.state
        if identity.is_needed or state.moved_apps:
            return
        if not state.stopping:
            identity.take([ev.Stopping()])
        elif is_everything_revoked(state) and len(self._identities) > 1:
            del self._identities[identity.key]
            identity.close()

    def _hide_fallback_variables(self, config: Config) -> None:
        """The variables of a fallback are secrets: other programs do not inherit them."""
        for app in config.apps.values():
            if app.fallback is not None and (names := app.fallback.variables):
                # Few apps have a fallback.
                from lessee.process.spawn import hide_variables  # noqa: PLC0415

                known = {name: value for name in names if (value := self._effects.environ.get(name))}
                self._effects.redactor.learn(f"fallback {app.name}", known.values())
                hide_variables(names)
                if self._stays and (missing := [name for name in names if name not in known]):
                    log("warning", "fallback variables not set", app=app.name, names=", ".join(missing))

    def _add(self, vault: Login) -> None:
        key = key_of(vault)
        if key in self._identities:
            self._identities[key].allow_login()
        else:
            if names := _credential_variables(vault):
                # Only CI jobs log in with variables.
                from lessee.process.spawn import hide_variables  # noqa: PLC0415

                hide_variables(names)
            self._identities[key] = Identity(
                vault,
                self._effects,
                seed=self._seed,
                post=partial(self._post, key),
                handle_expiry_of=self._note_expiry,
            )

    def _add_stored(self, configured: Collection[Vault]) -> None:
        """Add the identities that a previous run stored, and whose leases may still have to be revoked."""
        for key, vault in stored_vaults(self._effects.state_store).items() if self._all_apps else ():
            if key not in self._identities:
                log(
                    "info",
                    "earlier identity found",
                    vault=vault.address,
                    note="it revokes its leases, and does not log in",
                )
                post = partial(self._post, key)
                self._identities[key] = Identity(
                    vault,
                    self._effects,
                    seed=self._seed,
                    post=post,
                    handle_expiry_of=self._note_expiry,
                    configured=configured,
                )

    def _configure(
        self,
        identity: Identity,
        project: Project,
        specs: Mapping[str, AppSpec],
        recovered: Mapping[str, ev.AppRecovered],
        before: Mapping[str, App],
    ) -> None:
        """Configure the apps of one identity, and pass on what is known of those that it did not serve before."""
        apps = {name: app for name, app in project.config.apps.items() if name in specs}
        needs = frozenset[Need]().union(*(spec.needs for spec in specs.values()))
        events: list[ev.Event] = list(identity.restore(None if self._all_apps else needs))
        for name, app in apps.items():
            if name in recovered:
                has_environment = app.env_template is not None
                events.append(_without_rollback(recovered[name]) if has_environment else recovered[name])
            elif name not in identity.apps and name in before:
                events.append(hand_over(name, before[name]))
        all_apps = project.config.apps.keys() | project.refused.keys()
        identity.configure(apps, specs, all_apps, [*events, self._event_source_of(identity)])

    def _specs(self, compiled_app: CompiledApp, needs: AppNeeds) -> dict[str, AppSpec]:
        """The spec of an app, and those of what is supplied to it."""
        app = compiled_app.app
        own = self._spec(compiled_app, needs)
        supplied = {
            supply_name(app.name, identity): AppSpec(
                frozenset(map(_of_login, some)),
                _refresh_interval(app, identity),
                notifies=own.notifies,
                compiled_app=None,
                optional=frozenset(_of_login(need) for need in some & needs.optional),
                supplies=identity,
            )
            for identity, some in needs.supplied.items()
        }
        return {app.name: replace(own, sources=frozenset(supplied)) if supplied else own, **supplied}

    def _spec(self, compiled_app: CompiledApp, needs: AppNeeds) -> AppSpec:
        app = compiled_app.app
        return AppSpec(
            needs.own,
            app.refresh_interval,
            notifies=self._notifies and app.notify is not None,
            compiled_app=compiled_app,
            checks=app.check is not None,
            probes=self._notifies and app.ready is not None,
            falls_back=self._stays and app.fallback is not None,
            saves_snapshots=self._stays and isinstance(app.fallback, LastKnownGoodFallback),
            report_target=_report_target(compiled_app) if self._stays and isinstance(needs.vault, Vault) else None,
            sets_environment=app.env_template is not None,
            optional=needs.optional,
            keeps_files=self._stays,
        )


def _credential_variables(login: Login) -> tuple[str, ...]:
    return login.credential_variables if isinstance(login, Source) else credential_variables(login.auth)


def _refresh_interval(app: AppConfig, identity: str) -> float:
    login = app.login_of(identity)
    own = login.refresh_interval if isinstance(login, Source) else None
    return app.refresh_interval if own is None else own


def _of_login(need: Need) -> Need:
    """The need as the machine of its identity knows it, which may read it for other apps as well."""
    return replace(need, identity="")


def _has_same_readers(supplied: App, app: App) -> bool:
    is_same = supplied.publication is app.publication and supplied.job is app.job
    return is_same and supplied.notified_at == app.notified_at


def _servers(vault: Vault) -> frozenset[str]:
    return frozenset({vault.address, *vault.addresses})


def _report_target(compiled_app: CompiledApp) -> ReportTarget:
    app, scope = compiled_app.app, compiled_app.scope
    instance = instance_name(os.uname().nodename, str(app.directory))
    return ReportTarget(metadata_path(scope.mount, scope.prefix, app.name, instance), scope.prefix)


def _without_rollback(recovered: ev.AppRecovered) -> ev.AppRecovered:
    """An app whose child had an environment that is not stored: a rollback cannot restore it."""
    return replace(recovered, readiness_pending=False, rollback_to=None, failed_fingerprint=None)
