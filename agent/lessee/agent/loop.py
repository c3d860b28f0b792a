"""The loop: take what has come, let each identity's machine take its events, and see to the configuration."""

import queue
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from enum import Enum
from functools import partial
from typing import Any, TypeVar

import msgspec

from lessee.agent.effects import Keeper, Shelf, Watcher
from lessee.agent.identity import Identity, key_of
from lessee.core.config import Config, Vault
from lessee.core.errors import LesseeError
from lessee.core.machine import events as ev
from lessee.core.machine.deadlines import wake_at
from lessee.core.machine.inputs import unknown
from lessee.core.machine.letting_go import nothing_to_revoke
from lessee.core.machine.readers import is_settled
from lessee.core.machine.state import App, State
from lessee.core.machine.view import status as status_of
from lessee.core.paths import Need
from lessee.core.redaction import Redactor
from lessee.core.rendering.recipes import Recipe
from lessee.host.clock import boot_time, wall_time
from lessee.host.logs import log
from lessee.host.project import Project, load, stamp

LONGEST_SLEEP = 5.0
"""Seconds. A sleep counts no suspension, so it is kept short; and who asks /healthz sees the loop turn."""
STANDS_STILL = 30.0
"""Seconds without a turn of the loop after which /healthz is red."""

_T = TypeVar("_T")


class _Note(Enum):
    """What the loop itself is told."""

    STOP = "stop"
    RELOAD = "reload"


_Mail = tuple[str | None, ev.Event] | _Note
"""An event for the identity with this key, or for all."""


class Agent:
    """Owns the state: all of it is changed in the thread that runs the loop.

    Apps that log in alike share an identity, with one machine, one token and one lease of a kind; an app with a
    `vault` block of its own has another.
    """

    def __init__(
        self,
        project: Project,
        shelf: Shelf,
        *,
        keeper: Keeper,
        redactor: Redactor,
        environ: Mapping[str, str],
        seed: int,
        notifies: bool = True,
        whole: bool = True,
    ) -> None:
        """`notifies` False: nobody is told. `seed` is where the jitter comes from. Raises CannotWrite.

        `whole` False: the project holds some of the apps, and what others may have left is not touched.
        """
        self._project = project
        self._shelf = shelf
        self._keeper = keeper
        self._redactor = redactor
        self._environ = environ
        self._seed = seed
        self._notifies = notifies
        self._whole = whole
        self._mail: queue.SimpleQueue[_Mail] = queue.SimpleQueue()
        self._identities: dict[str, Identity] = {}
        self._turned_at = boot_time()
        self._trouble: str | None = None
        self._watcher: Watcher | None = None
        self._ahead = (compiled for recipe in project.recipes.values() for _, compiled in recipe.files)
        self._take_up(project)

    # What other threads may call.

    def stop(self) -> None:
        """End the loop; the files stay."""
        self._mail.put(_Note.STOP)

    def refresh(self, paths: tuple[str, ...]) -> list[str]:
        """Look now, at these paths or everywhere. Gives those that no template reads: then nothing is looked at."""
        strangers = set(paths).intersection(*(unknown(state, paths) for state in self.states))
        if not strangers:
            self._mail.put((None, ev.Nudged(paths)))
        return [path for path in paths if path in strangers]

    def reload(self) -> None:
        """Read the configuration and the templates again."""
        self._mail.put(_Note.RELOAD)

    def alive(self) -> bool:
        """Whether the loop turns, whatever Vault does."""
        return boot_time() - self._turned_at < STANDS_STILL

    def status(self) -> Mapping[str, Any]:
        """status.json."""
        accounts = [identity.account for identity in list(self._identities.values())]
        environment = self._project.config.environment
        return status_of(accounts, boot_time(), wall_time(), environment=environment, trouble=self._trouble)

    @property
    def revokes_on_stop(self) -> bool:
        """Whether the configuration wants nothing to be left in Vault."""
        return self._project.config.revoke_on_stop

    @property
    def states(self) -> list[State]:
        """Of each identity."""
        return [identity.state for identity in list(self._identities.values())]

    # The loop.

    def watch_with(self, watcher: Watcher) -> None:
        """Have the configuration's files watched."""
        self._watcher = watcher
        watcher.watch(self._project.stamps)

    def run(self, ended: Callable[[Sequence[State]], _T | None], timeout: float | None = None) -> _T | None:
        """Turn until `ended` says something; None when stopped, or when `timeout` seconds have passed.

        Raises TemplateError where a template that was not prepared cannot be.
        """
        deadline = boot_time() + timeout if timeout is not None else float("inf")
        while (answer := ended(self.states)) is None:
            now = boot_time()
            if now >= deadline:
                return None
            wait = min(*map(wake_at, self.states), deadline, now + LONGEST_SLEEP) - now
            mail = self._collect(max(0.0, wait))
            if _Note.STOP in mail:
                return None
            self._turn([letter for letter in mail if not isinstance(letter, _Note)])
            if _Note.RELOAD in mail:
                self._reload()
        return answer

    def revoke(self, timeout: float) -> None:
        """End all leases and all tokens of ours, as far as Vault does it within `timeout` seconds."""
        self._turn([(None, ev.Stopping())])
        self.run(lambda states: all(map(nothing_to_revoke, states)) or None, timeout)
        left = [held.lease for state in self.states for held in state.leases.values() if held.lease.lease_id]
        if left:
            paths = ", ".join(sorted({str(lease.need) for lease in left}))
            log("warning", "not all is revoked", paths=paths, note="it ends by itself, or at the next start")

    def _collect(self, wait: float) -> list[_Mail]:
        # While Vault works on the first answers there is time to make the templates' code.
        while self._mail.empty() and (compiled := next(self._ahead, None)) is not None:
            compiled.prepare()
        mail: list[_Mail] = []
        try:
            mail.append(self._mail.get(timeout=wait) if wait else self._mail.get_nowait())
            while True:
                mail.append(self._mail.get_nowait())
        except queue.Empty:
            return mail

    def _turn(self, letters: Sequence[tuple[str | None, ev.Event]]) -> None:
        for key, identity in list(self._identities.items()):
            self._turned_at = boot_time()
            identity.take([event for to, event in letters if to in {None, key}])
            self._see_to(identity)

    def _post(self, key: str, event: ev.Event) -> None:
        self._mail.put((key, event))

    # Configurations.

    def _reload(self) -> None:
        # What is broken may be mended by a file that was not there before.
        stamps = {path: stamp(path) for path in self._project.stamps}
        try:
            project = load(self._project.path, self._environ)
            self._take_up(project)
        except LesseeError as exc:
            if str(exc) != self._trouble:
                log("error", "configuration not taken up", reason=str(exc), note="the old one stays in force")
            self._trouble = str(exc)
        else:
            self._trouble = None
            stamps = dict(project.stamps)
            log("info", "configuration taken up", apps=", ".join(project.config.apps))
        if self._watcher is not None:
            self._watcher.watch(stamps, all_beside=self._trouble is not None)

    def _take_up(self, project: Project) -> None:
        config = project.config
        opened = self._shelf.open(config.apps.values())
        _tell_what_needs_a_start(self._project, project)
        self._project = project
        self._redactor.publish(project.text)
        before = {name: app for state in self.states for name, app in state.apps.items()}
        # status.json tells of the first: the top-level block, where an app uses it.
        vaults = sorted((app.vault for app in config.apps.values()), key=lambda vault: vault != config.vault)
        for vault in [*vaults, *self._vaults_of_before()]:
            self._begin(vault)
        # First those that serve an app, so that an app that moves is never nobody's.
        for identity in sorted(self._identities.values(), key=lambda one: one.vault not in vaults):
            self._configure(identity, opened, before)
            self._see_to(identity)

    def _vaults_of_before(self) -> Iterable[Vault]:
        """Of identities that are in the ledger alone: what they left is still to be revoked."""
        for block in self._keeper.identities().values() if self._whole else ():
            with suppress(msgspec.MsgspecError):  # of another version of lessee: its leases end by themselves
                yield msgspec.json.decode(block, type=Vault)

    def _begin(self, vault: Vault) -> None:
        key = key_of(vault)
        if key not in self._identities:
            self._identities[key] = Identity(
                vault,
                self._shelf,
                keeper=self._keeper,
                redactor=self._redactor,
                environ=self._environ,
                seed=self._seed,
                post=partial(self._post, key),
            )

    def _configure(
        self, identity: Identity, opened: Mapping[str, tuple[int | None, bool]], before: Mapping[str, App]
    ) -> None:
        """Tell an identity its apps, and of those that are new to it what their readers see."""
        apps = {name: app for name, app in self._project.config.apps.items() if key_of(app.vault) == identity.key}
        wants = {name: self._want(self._project.recipes[name]) for name in apps}
        needs = frozenset[Need]().union(*(want.needs for want in wants.values()))
        events: list[ev.Event] = list(identity.kept(None if self._whole else needs))
        for name in apps:
            if name in opened:
                number, owed = opened[name]
                # When it was shown is not known any more: who is owed is told, whenever it started.
                events.append(ev.Recovered(name, number, owed, boot_time() if number is not None else None))
            elif name not in identity.apps and name in before:
                app = before[name]
                events.append(ev.Recovered(name, app.number, app.owed, app.published_at, app.old))
        identity.configure(apps, wants, self._project.config.apps.keys() - apps.keys(), events)

    def _see_to(self, identity: Identity) -> None:
        """Whom another identity serves now holds nothing of this one once told; who serves nobody at all goes."""
        if identity.state.elsewhere:
            apps = [(name, app) for other in self.states for name, app in other.apps.items()]
            settled = {name for name, app in apps if is_settled(app, boot_time())}
            if settled & identity.state.elsewhere:
                identity.release(settled)
        state = identity.state
        if identity.apps or state.elsewhere:
            return
        if not state.stopping:
            identity.take([ev.Stopping()])
        elif nothing_to_revoke(state) and len(self._identities) > 1:
            del self._identities[identity.key]
            identity.end()

    def _want(self, recipe: Recipe) -> ev.Want:
        notifies = self._notifies and recipe.app.notify is not None
        return ev.Want(recipe.needs, recipe.app.refresh, notifies, recipe)


def _tell_what_needs_a_start(old: Project, new: Project) -> None:
    def settings(config: Config) -> Mapping[str, object]:
        return {"state": config.state, "status": config.status, "allow_disk": config.allow_disk}

    before, after = settings(old.config), settings(new.config)
    for key in before:
        if before[key] != after[key]:
            log("warning", "takes effect at the next start", key=key)
