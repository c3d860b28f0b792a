"""Which identities there are: one a way to log in, and those that still have something to revoke."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial

import msgspec

from lessee.agent.effects import Effects
from lessee.agent.identity import Identity, key_of
from lessee.agent.machine.apps.recovery import hand_over
from lessee.agent.machine.apps.state import App
from lessee.agent.machine.leases.consumers import is_settled
from lessee.agent.machine.leases.release import is_everything_revoked
from lessee.agent.machine.protocol import events as ev
from lessee.agent.machine.protocol.app_spec import AppSpec, ReportTarget
from lessee.config import Config, LastKnownGoodFallback, Vault
from lessee.core.consumers import instance_name, metadata_path
from lessee.core.immutable import replace
from lessee.core.paths import Need
from lessee.host.clock import boot_time
from lessee.host.project import Project
from lessee.rendering.app_templates import CompiledApp
from lessee.telemetry.logs import log
from lessee.vault.client_factory import credential_variables


class Identities:
    """Apps that log in alike share an identity, with one machine, one token and one lease of a kind.

    An app with a `vault` block of its own has another.
    """

    def __init__(
        self,
        effects: Effects,
        *,
        seed: int,
        notifies: bool,
        whole: bool,
        stays: bool,
        post: Callable[[str, ev.Event], None],
    ) -> None:
        """`post` takes an event for the identity with a key. The others are as of Agent."""
        self._effects = effects
        self._seed = seed
        self._notifies = notifies
        self._whole = whole
        self._stays = stays
        self._post = post
        self._all: dict[str, Identity] = {}
        self._hearing = ev.EventSourceChanged(live=False)
        self._servers: frozenset[str] = frozenset()
        self._subscriber: str | None = None

    def __iter__(self) -> Iterator[Identity]:
        # Other threads ask for the status.
        return iter(list(self._all.values()))

    def configure(self, project: Project) -> None:
        """Serve the apps of this project from now on. Raises WriteError, and then nothing has changed."""
        config = project.config
        self._servers = _servers(config.vault)
        is_vaults = config.events is not None and config.events.vault
        self._subscriber = key_of(config.vault) if is_vaults else None
        if config.events is not None and not self._hearing.poll_interval:
            self._hearing = replace(self._hearing, poll_interval=config.events.poll_interval, jitter=config.events.jitter)
        opened = self._effects.publication_store.open(config.apps.values())
        self._effects.redactor.allow(project.text)
        self._hide_fallbacks(config)
        before = {name: app for identity in self for name, app in identity.state.apps.items()}
        # status.json tells of the first: the top-level block, where an app uses it.
        vaults = sorted((app.vault for app in config.apps.values()), key=lambda vault: vault != config.vault)
        for vault in [*vaults, *self._vaults_of_before()]:
            self._begin(vault)
        # First those that serve an app, so that an app that moves is never nobody's.
        for identity in sorted(self, key=lambda one: one.vault not in vaults):
            self._configure(identity, project, opened, before)
            self.see_to(identity)

    def listen(self, hearing: ev.EventSourceChanged) -> None:
        """Whether somebody tells of changes, from now on."""
        self._hearing = replace(self._hearing, live=hearing.live, silent_for=hearing.silent_for)
        for identity in self:
            identity.take([self._hearing_of(identity)])

    def listening(self) -> Iterator[Identity]:
        """Those of the Vault whose changes are told: that of the top-level block."""
        return (identity for identity in self if self._is_told(identity))

    def subscriber(self) -> Identity | None:
        """Whose token Vault's own event stream is asked for with: that of the top-level block."""
        return self._all.get(self._subscriber or "")

    def _is_told(self, identity: Identity) -> bool:
        if self._subscriber is not None:
            # Vault tells a token of what its policies allow; of another identity's secrets it says nothing.
            return identity.key == self._subscriber
        return not self._servers.isdisjoint(_servers(identity.vault))

    def _hearing_of(self, identity: Identity) -> ev.EventSourceChanged:
        return self._hearing if self._is_told(identity) else ev.EventSourceChanged(live=False)

    def see_to(self, identity: Identity) -> None:
        """Whom another identity serves now holds nothing of this one once told; who serves nobody at all goes."""
        if identity.state.moved_apps:
            apps = [(name, app) for other in self for name, app in other.state.apps.items()]
            settled = {name for name, app in apps if is_settled(app, boot_time())}
            if settled & identity.state.moved_apps:
                identity.release(settled)
        state = identity.state
        if identity.apps or state.moved_apps:
            return
        if not state.stopping:
            identity.take([ev.Stopping()])
        elif is_everything_revoked(state) and len(self._all) > 1:
            del self._all[identity.key]
            identity.end()

    def _hide_fallbacks(self, config: Config) -> None:
        """Values that an app may fall back to are secrets, of which no other program knows."""
        for app in config.apps.values():
            if app.fallback is not None and (names := app.fallback.variables):
                # Wanted by few.
                from lessee.process.spawn import hide_variables  # noqa: PLC0415

                known = {name: value for name in names if (value := self._effects.environ.get(name))}
                self._effects.redactor.learn(f"fallback {app.name}", known.values())
                hide_variables(names)
                if self._stays and (missing := [name for name in names if name not in known]):
                    log("warning", "fallback could not serve", app=app.name, not_set=", ".join(missing))

    def _vaults_of_before(self) -> Iterable[Vault]:
        """Of identities that are in the ledger alone: what they left is still to be revoked."""
        for block in self._effects.keeper.identities().values() if self._whole else ():
            with suppress(msgspec.MsgspecError):  # of another version of lessee: its leases end by themselves
                yield msgspec.json.decode(block, type=Vault)

    def _begin(self, vault: Vault) -> None:
        key = key_of(vault)
        if key not in self._all:
            if names := credential_variables(vault.auth):
                # Wanted in CI alone.
                from lessee.process.spawn import hide_variables  # noqa: PLC0415

                hide_variables(names)
            self._all[key] = Identity(vault, self._effects, seed=self._seed, post=partial(self._post, key))

    def _configure(
        self, identity: Identity, project: Project, opened: Mapping[str, ev.AppRecovered], before: Mapping[str, App]
    ) -> None:
        """Tell an identity its apps, and of those that are new to it what their readers see."""
        everyone = project.config.apps
        apps = {name: app for name, app in everyone.items() if key_of(app.vault) == identity.key}
        specs = {name: self._spec(project.compiled_apps[name]) for name in apps}
        needs = frozenset[Need]().union(*(spec.needs for spec in specs.values()))
        events: list[ev.Event] = list(identity.kept(None if self._whole else needs))
        for name, app in apps.items():
            if name in opened:
                events.append(_without_child(opened[name]) if app.env_template is not None else opened[name])
            elif name not in identity.apps and name in before:
                events.append(hand_over(name, before[name]))
        identity.configure(apps, specs, everyone.keys() - apps.keys(), [*events, self._hearing_of(identity)])

    def _spec(self, compiled_app: CompiledApp) -> AppSpec:
        app = compiled_app.app
        return AppSpec(
            compiled_app.references,
            app.refresh_interval,
            notifies=self._notifies and app.notify is not None,
            compiled_app=compiled_app,
            checks=app.check is not None,
            probes=self._notifies and app.ready is not None,
            falls_back=self._stays and app.fallback is not None,
            saves_snapshots=self._stays and isinstance(app.fallback, LastKnownGoodFallback),
            report_target=_report_target(compiled_app) if self._stays else None,
            sets_environment=app.env_template is not None,
        )


def _servers(vault: Vault) -> frozenset[str]:
    return frozenset({vault.address, *vault.addresses})


def _report_target(compiled_app: CompiledApp) -> ReportTarget:
    app, scope = compiled_app.app, compiled_app.scope
    instance = instance_name(os.uname().nodename, str(app.directory))
    return ReportTarget(metadata_path(scope.mount, scope.prefix, app.name, instance), scope.prefix)


def _without_child(found: ev.AppRecovered) -> ev.AppRecovered:
    """Of an app whose child had an environment that nobody knows any more: there is nothing to go back to."""
    return replace(found, readiness_pending=False, rollback_to=None, failed_fingerprint=None)
