"""A world for the machine: a model of Vault, a disk and an app, and a clock that jumps to the next deadline."""

import heapq
import itertools
import random

from lessee.core.generation import File, Generation
from lessee.core.machine import commands as cmd
from lessee.core.machine import events as ev
from lessee.core.machine.apps import KEEP_TOLD
from lessee.core.machine.deadlines import wake_at
from lessee.core.machine.failures import Failure, Kind
from lessee.core.machine.step import start, steps
from lessee.core.paths import Folder, Ref
from lessee.core.secrets import Marker, Secret

SPIN = 10
"""Turns without any event and any time between them, after which the machine only turns."""


def want(*needs, refresh=1.0, notifies=True, recipe="r1"):
    return ev.Want(frozenset(needs), refresh, notifies, recipe)


class World:
    """Obeys the machine's commands after a latency; each answer is made when the command is obeyed."""

    def __init__(self, apps, *, seed=1, has_list=True, version=2, ttl=3600.0, latency=0.005):
        self.random = random.Random(seed)  # noqa: S311  # A replayable world.
        self.now = 1000.0
        self.apps = dict(apps)
        self.identity = "one"
        self.has_list, self.version, self.ttl, self.latency = has_list, version, ttl, latency
        self.kv, self.gone = {}, set()  # Ref -> number of the newest version; deleted ones
        self.denied, self.blind = set(), set()  # paths without read; without metadata rights
        self.sky, self.valid_token, self.tokens = "fair", None, itertools.count(1)
        self.disk_full, self.tellable = False, True
        self.live, self.number, self.owed, self.told = {}, {}, set(), {}
        self.requests, self.published, self.said = [], [], []
        self.hanging = set()
        self.state = start(seed)
        self.mail, self.order = [], itertools.count()
        self.boot()

    # What the tests do to it.

    def write(self, ref):
        self.kv[ref] = self.kv.get(ref, 0) + 1
        self.gone.discard(ref)

    def delete(self, ref):
        if ref in self.kv:
            self.gone.add(ref)

    def boot(self):
        """The agent starts, with what its earlier life left on the disk."""
        self.state = start(self.random.getrandbits(64))
        self.mail.clear()
        self.replaced = {}  # swept
        self.take(ev.Configured(self.apps, self.identity))
        for app in self.apps:
            number = self.number.get(app)
            self.take(ev.Recovered(app, number, app in self.owed, self.now if number else None))

    def configure(self, apps):
        new = set(apps) - set(self.apps)
        self.apps = dict(apps)
        self.take(ev.Configured(self.apps, self.identity))
        for app in new:
            self.take(ev.Recovered(app, self.number.get(app), app in self.owed, self.now))

    def run(self, seconds):
        """Jump from deadline to deadline."""
        until = self.now + seconds
        still = 0
        while True:
            due = min(self.mail[0][0] if self.mail else until, max(self.now, wake_at(self.state)))
            if due >= until:
                self.now = until
                return
            still = 0 if due > self.now or self.mail else still + 1
            assert still < SPIN, "the machine spins"
            self.now = due
            events = []
            while self.mail and self.mail[0][0] <= self.now:
                events.append(heapq.heappop(self.mail)[2])
            before = self.state
            self.take(*(events or [ev.Tick()]))
            if not events and self.state == before:
                raise AssertionError(f"woken at {self.now} for nothing")

    # How it obeys.

    def take(self, *events):
        self.state, commands = steps(self.state, events, self.now)
        for command in commands:
            self.obey(command)

    def post(self, event, delay=0.0):
        heapq.heappush(self.mail, (self.now + delay, next(self.order), event))

    def obey(self, command):
        match command:
            case cmd.Tell():
                self.said.append((command.level, command.event, dict(command.fields)))
            case cmd.Abandon():
                self.hanging.discard(command.call)
            case cmd.Render():
                self.post(ev.Rendered(command.app, command.job, self.render(command)))
            case cmd.Publish():
                self.publish(command)
            case cmd.Notify():
                self.notify(command)
            case cmd.Settle():
                self.owed.discard(command.app)
            case cmd.Prune():
                # A reader may hold what was live a moment ago.
                for number in [n for n in self.replaced.get(command.app, {}) if n <= command.up_to]:
                    assert self.now - self.replaced[command.app].pop(number) > KEEP_TOLD - 0.001
            case _:
                self.requests.append((self.now, command))
                self.answer(command)

    def render(self, command):
        inputs = sorted((str(ref), dict(secret.data)) for ref, secret in command.secrets.items())
        for folder, inside in command.folders.items():
            inputs += sorted((f"{folder}{name}", dict(secret.data)) for name, secret in inside.items())
        content = repr((command.recipe, inputs)).encode()
        return Generation(command.app, (File("a", content, 0o440), File("b", content, 0o440)))

    def publish(self, command):
        app, generation = command.app, command.generation
        if self.disk_full:
            self.post(ev.PublishFailed(app, command.job, "no room"))
            return
        changed = self.live.get(app) != generation
        if changed:
            if command.owe:
                self.owed.add(app)
            if app in self.number:
                self.replaced.setdefault(app, {})[self.number[app]] = self.now
            self.number[app] = self.number.get(app, 0) + 1
            self.live[app] = generation
            self.published.append((self.now, app, self.apps[app].recipe, generation))
        self.post(ev.Published(app, command.job, self.number[app], changed))

    def notify(self, command):
        if self.tellable:
            self.told[command.app] = self.live[command.app]
            self.post(ev.Told(command.app, command.job, "told"))
        else:
            self.post(ev.NotTold(command.app, command.job, "nobody there"))

    def answer(self, command):
        delay = self.latency * self.random.uniform(0.5, 3)
        if self.sky == "hangs":
            self.hanging.add(command.call)
            return
        if self.sky == "refuses":
            self.post(ev.Failed(command.call, Failure(Kind.WEATHER, "connection refused")), delay)
            return
        try:
            self.post(self.serve(command), delay)
        except _FailedError as exc:
            self.post(ev.Failed(command.call, Failure(exc.kind, exc.kind.value), exc.marker), delay)

    def serve(self, command):
        call = command.call
        if isinstance(command, cmd.Login):
            self.valid_token = f"t{next(self.tokens)}"
            return ev.LoggedIn(call, self.token())
        if self.valid_token != self.state.session.token.accessor:
            raise _FailedError(Kind.DENIED)
        match command:
            case cmd.RenewToken() | cmd.CheckToken():
                return ev.Renewed(call, self.token())
            case cmd.FindMount():
                return ev.MountFound(call, self.version)
            case cmd.ListFolder():
                return self.list_folder(command)
            case cmd.LookAt():
                if command.ref in self.blind or command.ref in self.denied:
                    raise _FailedError(Kind.DENIED)
                return ev.Looked(call, self.marker(command.ref))
            case cmd.ReadSecret():
                if command.ref in self.denied:
                    raise _FailedError(Kind.DENIED)
                marker = self.marker(command.ref)
                if marker.gone:
                    raise _FailedError(Kind.MISSING, marker)
                data = {"v": marker.version}
                return ev.Read(call, Secret(data, marker if self.version > 1 else None))
        raise AssertionError(command)

    def list_folder(self, command):
        if command.detailed and not self.has_list:
            raise _FailedError(Kind.UNSUPPORTED)
        inside = [ref for ref in self.kv if ref.folder == command.folder]
        if not inside:
            raise _FailedError(Kind.MISSING)  # as Vault does
        markers = {ref.path.removeprefix(command.folder.path): self.marker(ref) for ref in inside}
        return ev.Listed(command.call, markers if command.detailed else dict.fromkeys(markers))

    def marker(self, ref):
        if ref not in self.kv:
            raise _FailedError(Kind.MISSING)
        version = ref.version or self.kv[ref]
        return Marker(version, f"at {version}", "gone" if ref in self.gone else "")

    def token(self):
        return ev.Token(self.valid_token, self.now, self.ttl, renewable=True)

    def current(self, app):
        """What the app's files should hold now, or None where an input is not to be had."""
        needs = self.apps[app].needs
        secrets, folders = {}, {}
        for need in needs:
            if isinstance(need, Folder):
                if any(r.folder == need and r in self.denied for r in self.kv):
                    return None
                inside = [r for r in self.kv if r.folder == need and r not in self.gone]
                folders[need] = {r.path.removeprefix(need.path): self._secret(r) for r in inside}
            elif need not in self.kv or need in self.gone or need in self.denied:
                return None
            else:
                secrets[need] = self._secret(need)
        return self.render(cmd.Render(app, 0, self.apps[app].recipe, secrets, folders))

    def _secret(self, ref):
        return Secret({"v": self.kv[ref]})


class _FailedError(Exception):
    def __init__(self, kind, marker=None):
        super().__init__(kind)
        self.kind, self.marker = kind, marker


def ref(path):
    return Ref("secret", path)


def folder(path):
    return Folder("secret", path)
