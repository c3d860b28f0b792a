"""The four scenes of a drill, played on one stage against one server."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Self

from lessee.config.grammar.backup import Drill
from lessee.core.errors import DeniedError, LesseeError, VaultUnreachableError
from lessee.ops.drill.gateway import Gateway
from lessee.ops.drill.logins import MOUNT
from lessee.ops.drill.policy.configuration import environment_of
from lessee.ops.drill.policy.observations import Change
from lessee.ops.drill.policy.results import Measure, Scene, SceneResult, Step, measure
from lessee.ops.drill.processes import CommandResult
from lessee.ops.drill.site import PrivateSite, TestEnvironment
from lessee.ops.drill.stage import Stage
from lessee.vault.admin import AdminClient

_THEFT_INTERVAL = 0.02
_READERS = 2
_LIMIT = 600.0
"""Seconds that a scene may take, besides the outage and the time in which agents notice new versions."""
_AT_ONE_MOMENT = 0.3
"""Seconds of an outage after which another client writes a secret."""


class Director:
    """Plays scenes, and measures their steps. `say` gets each step when it ends."""

    def __init__(
        self,
        stage: Stage,
        site: PrivateSite | TestEnvironment,
        gateway: Gateway,
        settings: Drill,
        say: Callable[[str, Step], None],
        began: float,
    ) -> None:
        self._stage, self._site, self._gateway, self._settings = stage, site, gateway, settings
        self._say, self._began = say, began
        self._steps: list[Step] = []
        self._problems: list[str] = []
        self._scene = Scene.OUTAGE
        self._rotated = False
        self._limit = _LIMIT

    def play(self, scene: Scene) -> SceneResult:
        """Play one scene. Where it cannot go on, or takes longer than its bound, that is a problem of its result."""
        self._steps, self._problems, self._scene = [], [], scene
        scenes = {
            Scene.OUTAGE: self._outage,
            Scene.LEAK: self._leak,
            Scene.ROTATION: self._rotation,
            Scene.RESTORE: self._restore,
        }
        begin = time.monotonic()
        slowest = max(one.app.refresh_interval for one in self._stage.apps.values())
        self._limit = _LIMIT + self._settings.outage + 2 * slowest
        self._stage.deadline = self._site.deadline = begin + self._limit
        changes: list[Change] = []
        measured: dict[str, float] = {}
        try:
            self._stage.revive()
            changes, measured = scenes[scene]()
        except LesseeError as exc:
            self._problems.append(f"it did not end: {exc}")
            self._gateway.connect(self._site.upstream)
        end = time.monotonic()
        found = self._stage.felt([change for change in changes if change.published_at >= begin], begin, end)
        measures = [self._measure(name, seconds) for name, seconds in measured.items()]
        if scene in {Scene.OUTAGE, Scene.ROTATION}:
            measures.append(self._measure("without_credential", max(one.without_credential for one in found)))
        self._problems += [f"the files of {one.app} could not be read" for one in found if one.missing]
        return SceneResult(scene, end - begin, tuple(self._steps), found, tuple(measures), tuple(self._problems))

    def _measure(self, name: str, seconds: float) -> Measure:
        return measure(self._settings.objectives, name, seconds)

    @contextmanager
    def _step(self, what: str, command: str = "") -> Iterator[None]:
        """A step, with the command that an operator runs for it."""
        begin = time.monotonic()
        if begin > self._stage.deadline:
            raise LesseeError(f"it took more than {self._limit:.0f} s", where=what)
        yield
        now = time.monotonic()
        step = Step(begin - self._began, now - begin, what, command)
        self._steps.append(step)
        self._say(self._scene, step)

    def _check(self, command: str, result: CommandResult) -> None:
        """A command that failed is a problem, and so is a rotation that waited in vain."""
        if result.code:
            self._problems.append(f"`lessee {command}` ended with {result.code}: {result.last_lines}")
        self._problems += [line for line in result.output.splitlines() if "NOT confirmed by" in line]

    def _settle(self, since: float | None = None) -> None:
        """`since`: seconds since 1970; None: now."""
        self._problems += self._stage.settle(time.time() if since is None else since)

    def _outage(self) -> tuple[list[Change], dict[str, float]]:
        stage, length = self._stage, self._settings.outage
        begin, changes = time.monotonic(), []
        with self._step("Vault is cut off from all agents"):
            self._gateway.cut()
        with self._step("the machine's agent is killed and starts again without Vault; the files stay"):
            stage.agent.kill()
            stage.agent.start()
            stage.wait(lambda: bool(stage.agent.status()))
        # In a test environment, another system has the password too.
        for target in stage.targets[:1] if self._site.is_private else ():
            with self._step(f"another client writes a new version of {target.secret}", f"lessee set {target.secret} …"):
                at = stage.write_secret(self._site.client, target)
                changes.append(Change(target.secret, stage.readers(target.secret), at))
        with self._step("the outage continues; the apps use the files that they have"):
            stage.wait(lambda: time.monotonic() >= begin + length, length + 1)
        ended = time.monotonic()
        since = time.time()
        with self._step("Vault is back; the agents recover by themselves", "lessee status"):
            self._gateway.connect(self._site.upstream)
            self._settle(since)
        return changes, {"outage_recovery": time.monotonic() - ended}

    def _leak(self) -> tuple[list[Change], dict[str, float]]:
        stage, client, environment = self._stage, self._site.client, environment_of(self._stage.config)
        with self._step("a secret_id leaks; a thief logs in with it, and reads again and again"):
            thief = Thief(client, *stage.new_secret_id(client))
        try:
            began = time.monotonic()
            command = ("emergency", "--environment", environment, "--yes")
            with self._step("an operator ends all access to the environment", f"lessee {' '.join(command)}"):
                result = self._site.lessee(*command, "--quiet", "--record", self._site.record)
            self._check("emergency", result)
            with self._step("the thief is refused"):
                stage.wait(lambda: thief.is_refused)
        finally:
            thief.stop()
        if not thief.is_refused:
            self._problems.append("the leaked secret_id or token is still accepted")
        revoked = thief.refused_at or time.monotonic()
        changes = stage.changes(client, immediately=True)
        setup = f"lessee setup --only environment={environment} --output NEW-DIR; lessee refresh"
        with self._step("the agents get new secret_ids, and the apps new credentials", setup):
            since = time.time()
            stage.deliver_logins(client)
            self._refresh()
            self._settle(since)
        return changes, {"time_to_revoke": revoked - began}

    def _rotation(self) -> tuple[list[Change], dict[str, float]]:
        stage, client = self._stage, self._site.client
        if not stage.targets:
            stage.not_played["the rotation"] = "no app reads a secret of KV version 2 that could be rotated"
            return [], {}
        with Load(client, stage) as load, self._step("all targets are rotated while apps and others read", _ROTATE):
            began = time.monotonic()
            result = self._site.rotate()
            ended = time.monotonic()
        self._check("rotate", result)
        if load.failures:
            self._problems.append(f"{load.failures} of {load.requests} reads of other clients failed")
        changes = stage.changes(client, revoked_at=ended)
        with self._step(f"all apps have the new credentials; other clients made {load.requests} reads meanwhile"):
            self._settle()
        self._rotated = True
        return changes, {"rotation": ended - began}

    def _restore(self) -> tuple[list[Change], dict[str, float]]:
        stage, site = self._stage, self._site
        if not isinstance(site, PrivateSite):
            return self._restore_secret(site)
        age, lost = site.archive_age(), time.monotonic()
        with self._step("the server is lost with all its data"):
            self._gateway.cut()
            site.lose()
        with self._step("an empty server starts", "lessee setup --init KEYS"):
            site.start()
        with self._step("the newest archive is restored", "lessee backup restore latest --yes"):
            site.restore()
            stage.substitute(site.client)
        setup = f"lessee setup --only environment={environment_of(stage.config)} --output NEW-DIR"
        with self._step("the agents get logins of the new server, and recover", setup):
            since = time.time()
            stage.create_logins(site.client)
            self._gateway.connect(site.upstream)
            self._refresh()
            self._settle(since)
        changes = []
        if self._rotated:
            outdated = {name: stage.loaded_at(name, lost) for name in stage.stand_ins}
            what = "what was rotated after the archive was saved is rotated again, since the archive has the old values"
            with self._step(what, _ROTATE):
                result = site.rotate()
                self._settle()
            self._check("rotate", result)
            for change in stage.changes(site.client):
                changes += [
                    Change(change.secret, frozenset({app}), change.published_at, outdated[app])
                    for app in sorted(change.apps & outdated.keys())
                ]
        return changes, {"rto": time.monotonic() - lost, "rpo": age}

    def _restore_secret(self, site: TestEnvironment) -> tuple[list[Change], dict[str, float]]:
        """In a test environment only one secret is lost: the rest of the server belongs to others too."""
        stage = self._stage
        if not stage.targets:
            stage.not_played["the restore"] = "no app reads a secret of a rotation target, which could be lost"
            return [], {}
        path, age = stage.path_of(stage.targets[0].secret), site.archive_age()
        lost = time.monotonic()
        with site.lost_secret(path) as missing:
            with self._step(f"{path} is lost with all its versions"):
                missing.lose()
            command = ("backup", "restore", site.archive, "--path", path, "--yes", "--force")
            with self._step("the secret is restored from the newest archive", f"lessee {' '.join(command)}"):
                result = site.lessee(*command, "--quiet")
            self._check("backup restore", result)
        with self._step("the agents have the restored secret, or what was written after the archive was saved"):
            self._refresh()
            self._settle()
        return [], {"rto": time.monotonic() - lost, "rpo": age}

    def _refresh(self) -> None:
        self._stage.refresh()


_ROTATE = "lessee rotate --all --force"


class Thief:
    """Uses a leaked secret_id, and a token that it got for it, until both are refused."""

    def __init__(self, client: AdminClient, role_id: str, secret_id: str) -> None:
        self._client = client.unauthenticated
        self._body = {"role_id": role_id, "secret_id": secret_id}
        self._token = self._log_in()
        self._refused: dict[str, float] = {}
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._steal, name="lessee-thief", daemon=True)
        self._thread.start()

    @property
    def is_refused(self) -> bool:
        return len(self._refused) == 2  # noqa: PLR2004  # The secret_id, and the token.

    @property
    def refused_at(self) -> float | None:
        """When the last of the two was refused first, on the monotonic clock."""
        return max(self._refused.values()) if self.is_refused else None

    def stop(self) -> None:
        """End it."""
        self._ends.set()
        self._thread.join()

    def _steal(self) -> None:
        """Try each until it is refused: a server locks a role after a few refusals, and its agent could not log in."""
        uses = {"token": self._look_up, "secret_id": self._log_in}
        while not self._ends.wait(_THEFT_INTERVAL):
            for what in uses.keys() - self._refused.keys():
                with suppress(VaultUnreachableError):  # That is no refusal.
                    try:
                        uses[what]()
                    except DeniedError:
                        self._refused[what] = time.monotonic()

    def _look_up(self) -> object:
        return self._client.with_token(self._token).request("GET", "auth/token/lookup-self")

    def _log_in(self) -> str:
        answer = self._client.request("POST", f"auth/{MOUNT}/login", body=self._body)
        return str(answer.auth["client_token"])


class Load:
    """Other clients of the server, which read a secret as fast as they can."""

    def __init__(self, client: AdminClient, stage: Stage) -> None:
        secrets = stage.config.secrets
        self._client, self._path = client, f"{secrets.mount}/data/{secrets.prefix}{stage.targets[0].secret}"
        self.requests = self.failures = 0
        self._lock, self._ends = threading.Lock(), threading.Event()
        self._threads = [threading.Thread(target=self._read, name="lessee-load", daemon=True) for _ in range(_READERS)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        for thread in self._threads:
            thread.join()

    def _read(self) -> None:
        while not self._ends.is_set():
            failed = True
            with suppress(LesseeError):
                failed = self._client.read(self._path) is None
            with self._lock:
                self.requests += 1
                self.failures += failed
