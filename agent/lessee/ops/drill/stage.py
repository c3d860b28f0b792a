"""Builds the stage of a drill: the agent with the configuration's own templates, and stand-ins for the apps."""

import os
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path

from msgspec.structs import replace

from lessee.config import Source, Vault
from lessee.core.consumers import CONSUMER_FOLDER, JOURNAL_FOLDER
from lessee.core.errors import LesseeError
from lessee.core.paths import DynamicSecret, Need, Ref
from lessee.host.project import Project
from lessee.ops.drill import secret_lookup
from lessee.ops.drill.logins import Logins
from lessee.ops.drill.policy.agent_status import error_of, trouble
from lessee.ops.drill.policy.configuration import Target, choose_targets, drill_config, rotated_keys
from lessee.ops.drill.policy.observations import Change, Felt, felt
from lessee.ops.drill.processes import DrillAgent, StandIn, run_lessee
from lessee.ops.drill.substitutes import Substitutes
from lessee.rendering.app_templates import CompiledApp
from lessee.vault.admin import AdminClient

PATIENCE = 60.0
"""Seconds until what does not happen counts as a problem."""
_FINAL = 5.0
"""Seconds for which an app's error stays the same until it counts as final: longer than the agent's first retries."""
_POLL = 0.02
_VERSIONED = 2
_OF_OTHERS = ("VAULT_", "BAO_", "LESSEE_", "AWS_")
_PROXIES = frozenset({"http_proxy", "https_proxy", "all_proxy", "no_proxy"})


def without_credentials(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of the drill's processes: templates may read variables, and no login is in them."""
    return {
        name: value
        for name, value in environ.items()
        if not name.startswith(_OF_OTHERS) and name.lower() not in _PROXIES
    }


class Stage:
    """What all scenes share."""

    def __init__(self, project: Project, environ: Mapping[str, str], folder: Path, vault: Vault) -> None:
        """`environ`: of `without_credentials`. `vault`: how the agents reach the server."""
        self.project, self.config, self.folder, self.environ = project, project.config, folder, environ
        self.not_played: dict[str, str] = {}
        self.notes: tuple[str, ...] = ()
        self.targets: tuple[Target, ...] = ()
        self.stand_ins: dict[str, StandIn] = {}
        self._readers: dict[str, set[str]] = {}
        self._logins = Logins(project.config.vault, vault, folder / "logins")
        self.deadline = float("inf")
        """When the scene has to end, on the monotonic clock."""
        self._is_private = True
        for part in ("apps", "pids", "ready", "logins"):
            (folder / part).mkdir(mode=0o700)

    @property
    def apps(self) -> Mapping[str, CompiledApp]:
        """The apps that have an agent in the drill."""
        found = self.project.compiled_apps
        return {name: compiled_app for name, compiled_app in found.items() if name not in self.not_played}

    def furnish(self, client: AdminClient, *, is_private: bool) -> None:
        """Have a restored server answer what the apps read, and log their agents in. Raises LesseeError.

        Apps that read what the server does not have are not played.
        """
        self._is_private = is_private
        missing = self.substitute(client).missing if is_private else {}
        for name, compiled_app in self.apps.items():
            lacks = [
                missing[need] for need in compiled_app.references if isinstance(need, DynamicSecret) and need in missing
            ]
            lacks += secret_lookup.missing(client, compiled_app)
            if not is_private and self._is_elsewhere(compiled_app):
                lacks.append("it reads from another server too")
            if lacks:
                self.not_played[name] = "; ".join(sorted(lacks))
        if not self.apps:
            reasons = [f"{name}: {why}" for name, why in self.not_played.items()]
            raise LesseeError("no app can be played", where=self.project.path.name, todo="; ".join(reasons))
        self._choose_targets(client)
        self.create_logins(client)

    def substitute(self, client: AdminClient) -> Substitutes:
        """Have a restored server answer for the engines of which an archive has no keys.

        It also forgets the real agents and rotators: rotations would wait for agents that are not in the drill.
        """
        self._forget_agents(client)
        substitutes = Substitutes(client)
        references = frozenset[Need]().union(*(compiled_app.references for compiled_app in self.apps.values()))
        substitutes.provide(need for need in references if isinstance(need, DynamicSecret))
        self.notes = tuple(dict.fromkeys((*self.notes, *substitutes.notes)))
        return substitutes

    def start(self, client: AdminClient) -> None:
        """Start the apps and their agent. Raises LesseeError where no app gets its files.

        An app that does not get its files is not played: from then on, no rotation and no scene waits for it.
        """
        self._write_config()
        for name, compiled_app in self.apps.items():
            files = [file.name for file in compiled_app.app.files]
            files += ["environment"] if compiled_app.app.env_template is not None else []
            polls = compiled_app.app.notify is None
            self.stand_ins[name] = StandIn(self.folder, name, files, polls=polls)
        # Without its pid file, an app would look like one that cannot be notified.
        self.wait(lambda: all((self.folder / "pids" / name).exists() for name in self.stand_ins))
        self.agent = DrillAgent(self.folder, self.environ)
        if left_out := self._await_first_files():
            self._leave_out(client, left_out)

    def _write_config(self) -> None:
        text = drill_config(
            self.config,
            tuple(self.apps),
            self._logins.by_real_login(self.apps),
            self.targets,
            folder=str(self.folder),
            template_dir=str(self.project.path.parent / (self.config.template_dir or "")),
        )
        (self.folder / "lessee.yaml").write_text(text, encoding="utf-8")

    def _await_first_files(self) -> dict[str, str]:
        """Wait until each app has its files, or an error that stays. Returns why apps have no files."""
        slowest = max(compiled_app.app.refresh_interval for compiled_app in self.apps.values())
        end = time.monotonic() + PATIENCE + slowest
        errors: dict[str, str] = {}
        since: dict[str, float] = {}
        while found := self._unsettled(0.0):
            now, current = time.monotonic(), self._errors()
            since = {name: since[name] if errors.get(name) == why else now for name, why in current.items()}
            errors = current
            if now > end or all(now - since.get(name, now) > _FINAL for name in found):
                return found
            time.sleep(_POLL)
        return {}

    def _leave_out(self, client: AdminClient, left_out: Mapping[str, str]) -> None:
        """Go on without these apps."""
        self.agent.kill()
        self.not_played |= left_out
        for name in left_out:
            self.stand_ins.pop(name).close()
        if not self.stand_ins:
            reasons = "; ".join(f"{name}: {why}" for name, why in self.not_played.items())
            raise LesseeError("no app got its files", where=self.project.path.name, todo=reasons)
        played = self.stand_ins.keys()
        self._readers = {secret: readers & played for secret, readers in self._readers.items()}
        self.targets = tuple(
            replace(target, consumers=tuple(sorted(self._readers[target.secret])))
            for target in self.targets
            if self._readers[target.secret]
        )
        if self._is_private:
            self._forget_agents(client)
        self._write_config()
        self.agent.start()
        self.settle(time.time())

    def close(self) -> None:
        """End all processes of the stage."""
        for one in self.stand_ins.values():
            one.close()
        if hasattr(self, "agent"):
            self.agent.kill()

    def revive(self) -> None:
        """Start the agent if it has ended."""
        if not self.agent.runs:
            self.agent.start()

    def create_logins(self, client: AdminClient) -> None:
        """Make the agents' roles and secret_ids on a server."""
        secrets = self.config.secrets
        rotated = frozenset(Ref(secrets.mount, f"{secrets.prefix}{target.secret}") for target in self.targets)
        notes = self._logins.create(client, self.apps, rotated, is_restored=self._is_private)
        self.notes = tuple(dict.fromkeys((*self.notes, *notes)))

    def deliver_logins(self, client: AdminClient) -> None:
        """New secret_ids for all agents."""
        self._logins.deliver(client, self.apps)

    def new_secret_id(self, client: AdminClient) -> tuple[str, str]:
        """A role_id and a secret_id of the first agent: what leaks."""
        return self._logins.new_secret_id(client, self.apps)

    def refresh(self) -> None:
        """Have the agent look at everything now, as `lessee refresh` does."""
        run_lessee(self.folder, self.environ, "refresh", deadline=self.deadline)

    def path_of(self, secret: str) -> str:
        """The whole path of a secret, with its mount."""
        return f"{self.config.secrets.mount}/{self.config.secrets.prefix}{secret}"

    def wait(self, true: Callable[[], bool], patience: float = PATIENCE) -> bool:
        """Wait until it is true; returns whether that happened in time."""
        end = min(time.monotonic() + patience, self.deadline)
        while not true():
            if time.monotonic() > end:
                return False
            time.sleep(_POLL)
        return True

    def settle(self, since: float) -> tuple[str, ...]:
        """Wait until each app has the newest files of checks after this time, in seconds since 1970.

        Returns what is wrong with the apps that have not.
        """
        slowest = max(compiled_app.app.refresh_interval for compiled_app in self.apps.values())
        end = min(time.monotonic() + PATIENCE + slowest, self.deadline)
        while (found := self._unsettled(since)) and time.monotonic() < end:
            time.sleep(_POLL)
        return tuple(f"{name}: {why}" for name, why in found.items())

    def felt(self, changes: list[Change], begin: float, end: float) -> tuple[Felt, ...]:
        """What each app noticed between two moments."""
        return tuple(felt(name, list(one.reports), changes, begin, end) for name, one in self.stand_ins.items())

    def changes(
        self, client: AdminClient, *, revoked_at: float | None = None, immediately: bool = False
    ) -> list[Change]:
        """The newest versions of all targets. `immediately`: their old values ended when these were written."""
        found = []
        for target in self.targets:
            at = self.published_at(client, target.secret)
            ended = at if immediately else revoked_at
            found.append(Change(target.secret, frozenset(self._readers[target.secret]), at, ended))
        return found

    def loaded_at(self, app: str, since: float) -> float | None:
        """When the app first loaded different files since a moment."""
        reports = list(self.stand_ins[app].reports)
        return next((one.at for one in reports if one.at >= since and one.event == "loaded" and one.changed), None)

    def readers(self, secret: str) -> frozenset[str]:
        """The apps that read this secret."""
        return frozenset(self._readers[secret])

    def published_at(self, client: AdminClient, secret: str) -> float:
        """When its newest version was written, on the monotonic clock."""
        metadata = client.read(f"{self.config.secrets.mount}/metadata/{self.config.secrets.prefix}{secret}") or {}
        newest = metadata["versions"][str(metadata["current_version"])]["created_time"]
        return datetime.fromisoformat(newest).timestamp() - time.time() + time.monotonic()

    def write_secret(self, client: AdminClient, target: Target) -> float:
        """Write a new version of a secret, and return when. Only its rotated values change."""
        path = f"{self.config.secrets.mount}/data/{self.config.secrets.prefix}{target.secret}"
        found = client.read(path) or {}
        data = {**found["data"], **{key: os.urandom(length).hex()[:length] for key, length in target.keys.items()}}
        # The secret, or its mount, may have `cas_required`.
        client.write(path, {"data": data, "options": {"cas": found["metadata"]["version"]}})
        return self.published_at(client, target.secret)

    def _forget_agents(self, client: AdminClient) -> None:
        secrets = self.config.secrets
        for folder in (CONSUMER_FOLDER, JOURNAL_FOLDER):
            secret_lookup.delete_below(client, f"{secrets.mount}/metadata/{secrets.prefix}{folder}")

    def _is_elsewhere(self, compiled_app: CompiledApp) -> bool:
        """Whether the app reads from another server too."""
        top = self.config.vault
        own = (top.address, top.addresses, top.namespace)
        logins = [compiled_app.app.login_of(need.identity) for need in compiled_app.references]
        return any(
            isinstance(login, Source) or (login.address, login.addresses, login.namespace) != own for login in logins
        )

    def _choose_targets(self, client: AdminClient) -> None:
        secrets, mount = self.config.secrets, self.config.secrets.mount
        if client.kv_version(mount) != _VERSIONED:
            return  # Rotation needs check-and-set.
        for name, compiled_app in self.apps.items():
            for path in secret_lookup.own_secrets(client, compiled_app, mount, secrets.prefix):
                self._readers.setdefault(path, set()).add(name)
        found = []
        # In a test environment, `lessee rotate` rotates the real targets.
        configured = None if self._is_private else self.config.rotation
        for name, path in choose_targets(self.config, self._readers).items():
            if configured is not None and name not in configured:
                continue
            keys = rotated_keys(secret_lookup.fields(client, mount, f"{secrets.prefix}{path}"))
            if keys:
                found.append(Target(name, path, keys, tuple(sorted(self._readers[path]))))
        self.targets = tuple(found)

    def _unsettled(self, since: float) -> dict[str, str]:
        status = self.agent.status()
        found = status.get("apps") or {}
        troubles = {name: trouble(name, found.get(name), status, since) for name in self.stand_ins}
        # An app without its first files has a reason of the agent's, too.
        behind = {name: "the app has not loaded the newest files" for name in self.stand_ins if self._is_behind(name)}
        return behind | {name: why for name, why in troubles.items() if why}

    def _errors(self) -> dict[str, str]:
        """The errors of the apps themselves, which a later attempt of the agent may not have."""
        status = self.agent.status()
        found = status.get("apps") or {}
        return {name: why for name in self.stand_ins if name in found and (why := error_of(name, found[name], status))}

    def _is_behind(self, name: str) -> bool:
        """Whether the stand-in has not loaded what is published."""
        try:
            published = (self.folder / "apps" / name / "..data").readlink()
        except OSError:
            return True
        return self.stand_ins[name].generation != str(published)
