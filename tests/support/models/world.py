"""A world for the machine: a model of Vault, a disk and an app, and a clock that jumps to the next deadline."""

import heapq
import itertools
import random

from lessee.agent.machine.apps.fallback import GRACE
from lessee.agent.machine.deadlines import wake_at
from lessee.agent.machine.kv.event_source import meant
from lessee.agent.machine.protocol import commands as cmd
from lessee.agent.machine.protocol import events as ev
from lessee.agent.machine.protocol.app_spec import Consumer, Want
from lessee.agent.machine.state import KEEP_TOLD
from lessee.agent.machine.step import start, steps
from lessee.core.change_events import Change
from lessee.core.failures import Failure, Kind
from lessee.core.generation import File, Generation
from lessee.core.immutable import replace
from lessee.core.leases import Lease
from lessee.core.paths import DynamicSecret, Folder, Ref
from lessee.core.secrets import Secret, VersionMetadata
from lessee.core.tokens import Token

SPIN = 10
"""Turns without any event and any time between them, after which the machine only turns."""


CONSUMERS = "secret/metadata/p/lessee/consumers"


def want(
    *needs,
    refresh=1.0,
    notifies=True,
    recipe="r1",
    checks=False,
    proves=False,
    falls_back=False,
    keeps=False,
    says="",
):
    """`says`: the name under which it says which versions of rotated secrets it works with."""
    consumer = Consumer(f"{CONSUMERS}/{says}", "p/") if says else None
    return Want(frozenset(needs), refresh, notifies, recipe, checks, proves, falls_back, keeps, consumer)


class World:
    """Obeys the machine's commands after a latency; each answer is made when the command is obeyed."""

    def __init__(
        self,
        apps,
        *,
        seed=1,
        has_list=True,
        version=2,
        ttl=3600.0,
        token_max=float("inf"),
        lease_ttl=3600.0,
        lease_max=float("inf"),
        latency=0.005,
    ):
        self.random = random.Random(seed)  # noqa: S311  # A replayable world.
        self.now = 1000.0
        self.apps = self.all_apps = dict(apps)
        self.has_list, self.version, self.latency = has_list, version, latency
        self.ttl, self.token_max, self.lease_ttl, self.lease_max = ttl, token_max, lease_ttl, lease_max
        self.kv, self.gone = {}, set()  # Ref -> number of the newest version; deleted ones
        self.denied, self.blind = set(), set()  # paths without read; without metadata rights
        self.rotated, self.confirmed = set(), {}  # what a rotator writes; what it is told, by place
        self.sky = "fair"
        self.names, self.tokens, self.leases = itertools.count(1), {}, {}  # what the server knows
        self.ledger, self.kept_tokens = {}, {}  # what outlives the agent
        self.issues, self.expired, self.asked_to_end = [], [], set()
        self.disk_full, self.tellable = False, True
        self.live, self.number, self.owed, self.told = {}, {}, set(), {}
        self.numbers, self.shelf, self.records = itertools.count(1), {}, {}  # an app's generations, and its record
        self.passes = self.works = lambda _generation: True  # the check; the app
        self.renders, self.unrenderable = True, set()  # whether templates do; the apps whose own did not
        self.proof_takes = 0.5
        self.variables, self.kept, self.fell_back = None, {}, {}  # fallbacks, and which apps' files come from one
        self.fall_back_takes = 0.01
        self.asked_back = []  # when an app was made to fall back
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
        self.unrenderable.clear()
        self.replaced = {}  # swept
        events = [
            ev.Configured(self.apps),
            ev.LeasesRecovered(tuple(self.ledger.values()), tuple(self.kept_tokens.values())),
        ]
        self.take(*events, *map(self.recovered, self.apps))

    def configure(self, apps):
        new = set(apps) - set(self.apps)
        self.unrenderable = {
            name for name in self.unrenderable if name in apps and apps[name].recipe == self.apps[name].recipe
        }
        self.apps = dict(apps)
        self.take(ev.Configured(self.apps))
        for app in new:
            self.take(self.recovered(app))

    def recovered(self, app):
        number = self.number.get(app)
        record = self.records.get(app, {})
        unproved = record.get("unproved") == number and number is not None
        old = [n for n in sorted(self.shelf.get(app, {})) if number is not None and n < number]
        self.replaced[app] = dict.fromkeys(old, self.now)
        self.shelf[app] = {n: generation for n, generation in self.shelf.get(app, {}).items() if n in {*old, number}}
        return ev.AppRecovered(
            app,
            number,
            app in self.owed,
            self.now if number else None,
            tuple((n, self.now) for n in old),
            unproved=unproved,
            good=record.get("good") if unproved and record.get("good") in self.shelf[app] else None,
            bad=record.get("bad"),
            fingerprint=self.live[app].fingerprint if number else None,
            fallback=self.fell_back.get(app) if number else None,
        )

    def hear(self, *, live, poll=60.0, spread=0.0, silent=0.0):
        """Whoever tells of changes is there, or is gone."""
        self.take(ev.EventSourceChanged(live, poll, spread, silent))

    def tell(self, ref, operation="update"):
        """Somebody says that it has changed."""
        change = Change(None, ref.mount, ref.path, None, operation, "")
        if needs := meant(self.state, change):
            self.take(ev.SecretsChanged(needs))

    def revoke_tokens(self):
        """An operator's hand, or a server that lost its memory."""
        for token in list(self.tokens):
            self.end_token(token)

    def end_token(self, token):
        self.tokens.pop(token, None)
        for lease in [name for name, known in self.leases.items() if known.token == token]:
            del self.leases[lease]

    def forget_the_ended(self):
        for token in [name for name, known in self.tokens.items() if known.ends_at <= self.now]:
            self.end_token(token)
        for lease in [name for name, known in self.leases.items() if known.ends_at <= self.now]:
            del self.leases[lease]

    def held_by_readers(self, app):
        """The leases in what the app's readers see, and in what it was last told of."""
        record = self.records.get(app, {})
        good = self.shelf.get(app, {}).get(record.get("good")) if self.apps[app].proves else None
        contents = [generation for generation in (self.live.get(app), self.told.get(app), good) if generation]
        return {
            name for name in self.leases for generation in contents if f"'{name}'" in str(generation.files[0].content)
        }

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

    def act(self, action, argument):
        """What may happen next, of a random history."""
        match action:
            case "run":
                self.run(argument)
            case "write":
                self.write(argument)
            case "delete":
                self.delete(argument)
            case "deny":
                self.denied.add(argument)
            case "allow":
                self.denied.discard(argument)
            case "sky":
                self.sky = argument
            case "revoke":
                self.revoke_tokens()
            case "disk":
                self.disk_full = argument
            case "tellable":
                self.tellable = argument
            case "crash":
                self.boot()
            case "recipe":
                self.configure(self.apps | {"one": replace(self.apps["one"], recipe=argument)})
            case "apps":
                self.configure(
                    {name: want for name, want in self.all_apps.items() if name == "one" or name in argument}
                )
            case "works":
                self.works = argument
            case "passes":
                self.passes = argument
            case "renders":
                self.renders = argument
            case "nudge":
                self.take(ev.RefreshRequested())
            case "hear":
                self.hear(live=argument)
            case "tell":
                self.tell(argument)
            case "variables":
                self.variables = argument
            case "lose":
                self.lose(argument)
            case _:
                raise AssertionError(action)

    def make_fair(self):
        self.sky, self.disk_full, self.tellable, self.renders = "fair", False, True, True
        self.passes = self.works = lambda _generation: True

    def fail(self, kind, *commands, times=10**9):
        """From now on these commands fail so, so many times."""
        answer, left = self.answer, [times]

        def failing(command):
            if isinstance(command, commands) and left[0]:
                left[0] -= 1
                self.post(ev.RequestFailed(command.call, Failure(kind, "told in words")), 0.01)
            else:
                answer(command)

        self.answer = failing

    def swallow(self, kind, *, times=1):
        """From now on so many requests of a kind are never answered; they are gathered."""
        answer, swallowed = self.answer, []

        def swallowing(command):
            if isinstance(command, kind) and len(swallowed) < times:
                swallowed.append(command)
            else:
                answer(command)

        self.answer = swallowing
        return swallowed

    def run_until_it_falls_back(self):
        while not self.asked_back:
            self.run(0.0005)

    def run_until_under_way(self, kind):
        while not any(isinstance(call.command, kind) for call in self.state.calls.values()):
            self.run(0.0005)

    # How it obeys.

    def take(self, *events):
        self.forget_the_ended()
        self.state, commands = steps(self.state, events, self.now)
        for command in commands:
            self.obey(command)

    def post(self, event, delay=0.0):
        heapq.heappush(self.mail, (self.now + delay, next(self.order), event))

    def obey(self, command):
        match command:
            case cmd.Log():
                self.said.append((command.level, command.event, dict(command.fields)))
            case cmd.AbandonRequest():
                self.hanging.discard(command.call)
            case cmd.Render():
                self.post(self.rendered(command))
            case cmd.RenderFallback():
                self.fall_back(command)
            case cmd.SaveSnapshot():
                self.keep_good(command)
            case cmd.RunCheck():
                fit = self.passes(command.generation)
                answer = (
                    ev.CheckPassed(command.app, command.job)
                    if fit
                    else ev.CheckFailed(command.app, command.job, "unfit")
                )
                self.post(answer, 0.2)
            case cmd.Publish():
                self.publish(command)
            case cmd.Notify():
                self.notify(command)
            case cmd.Probe():
                works = self.works(self.live[command.app])
                answer = (
                    ev.ReadinessPassed(command.app, command.job)
                    if works
                    else ev.ReadinessFailed(command.app, command.job, "500")
                )
                self.post(answer, self.proof_takes if works else 3.0)
            case cmd.CancelProbe():
                pass
            case cmd.MarkReady():
                self.records[command.app] |= {"unproved": None, "good": None}
            case cmd.AllowRetry():
                self.records[command.app]["bad"] = None
            case cmd.RollBack():
                self.roll_back(command)
            case cmd.MarkNotified():
                self.owed.discard(command.app)
            case cmd.StoreLease():
                self.ledger[command.lease.id] = command.lease
            case cmd.ForgetLease():
                del self.ledger[command.id]
            case cmd.ForgetToken():
                self.kept_tokens.pop(command.id, None)
            case cmd.HandleExpiry():
                self.expired.append((self.now, command.app, command.paths))
            case cmd.Prune():
                # A reader may hold what was live a moment ago.
                for number in command.numbers:
                    assert number != self.number[command.app], "pruned what readers see"
                    backup = self.state.apps[command.app].proof.backup
                    assert backup is None or number != backup.number, "pruned what to go back to"
                    assert self.now - self.replaced[command.app].pop(number) > KEEP_TOLD - 0.001
                    del self.shelf[command.app][number]
            case _:
                self.requests.append((self.now, command))
                self.answer(command)

    def rendered(self, command):
        if not self.renders:
            self.unrenderable.add(command.app)
            return ev.RenderFailed(command.app, command.job, "no such key")
        self.unrenderable.discard(command.app)
        return ev.Rendered(command.app, command.job, self.render(command))

    def render(self, command):
        inputs = sorted((str(ref), dict(secret.data)) for ref, secret in command.secrets.items())
        for folder, inside in command.folders.items():
            inputs += sorted((f"{folder}{name}", dict(secret.data)) for name, secret in inside.items())
        inputs += sorted((str(need), dict(secret.data)) for need, secret in command.dynamic.items())
        content = repr((command.recipe, inputs)).encode()
        return Generation(command.app, (File("a", content, 0o440), File("b", content, 0o440)))

    def fall_back(self, command):
        """From variables, else from what was kept and has not ended."""
        app, job = command.app, command.job
        assert self.live.get(app) is None or app in self.fell_back, "fell back though there are files"
        assert app not in self.unrenderable, "fell back though its template fails"
        weather = self.state.session.weather
        assert weather.tries, "fell back though Vault was not known to be away"
        assert weather.seen_at - weather.since >= GRACE, "fell back at once"
        self.asked_back.append((self.now, app))
        kept = self.kept.get(app)
        if self.variables is not None:
            content = self.variables.encode()
            generation = Generation(app, (File("a", content, 0o440), File("b", content, 0o440)))
            self.post(ev.FallbackRendered(app, job, generation, "env"), self.fall_back_takes)
        elif kept is not None and kept[0].needs == self.apps[app].needs and kept[2] > self.now:
            self.post(ev.FallbackRendered(app, job, kept[1], "last_known_good"), 0.01)
        else:
            self.post(ev.FallbackFailed(app, job, "nothing is kept"), 0.01)

    def keep_good(self, command):
        app = command.app
        assert app not in self.fell_back, "kept what came from a fallback"
        want = self.apps[app]
        made = self.render(cmd.Render(app, 0, want.recipe, command.secrets, command.folders, command.dynamic))
        assert made == self.live[app], "kept what is not shown"
        if self.disk_full:
            self.post(ev.SnapshotSaved(app, "no room"))
        else:
            self.kept[app] = want, made, min(command.ends.values(), default=float("inf"))
            self.post(ev.SnapshotSaved(app))

    def lose(self, app):
        """The machine boots: nothing is left in memory."""
        for things in (self.live, self.number, self.shelf, self.records, self.replaced, self.told, self.fell_back):
            things.pop(app, None)
        self.owed.discard(app)
        self.ledger.clear()
        self.kept_tokens.clear()
        self.boot()

    def publish(self, command):
        app, generation = command.app, command.generation
        if self.disk_full:
            self.post(ev.PublishFailed(app, command.job, "no room"))
            return
        changed = self.live.get(app) != generation
        if changed:
            if command.owe:
                self.owed.add(app)
            record = self.records.setdefault(app, {"unproved": None, "good": None, "bad": None})
            live = self.number.get(app)
            if live is not None:
                self.replaced.setdefault(app, {})[live] = self.now
            self.number[app] = next(self.numbers)
            never = record["unproved"] == live and record["bad"] is None
            good = record["good"] if never else live
            good = None if app in self.fell_back else good
            proof = {"unproved": self.number[app], "good": good} if command.prove else {"unproved": None, "good": None}
            record |= proof | {"bad": None}
            self.show(app, self.number[app], generation)
            self.published.append((self.now, app, self.apps[app].recipe, generation))
        self.fell_back.pop(app, None)
        if command.fallback is not None:
            self.fell_back[app] = command.fallback
        self.post(ev.Published(app, command.job, self.number[app], changed, command.fallback))

    def show(self, app, number, generation):
        self.number[app], self.live[app] = number, generation
        self.shelf.setdefault(app, {})[number] = generation

    def roll_back(self, command):
        app = command.app
        generation = self.shelf[app][command.to]  # it is still there
        assert self.live[app].fingerprint == command.bad, "went back from another than was bad"
        assert app not in self.fell_back, "went back from a fallback"
        self.replaced.setdefault(app, {})[self.number[app]] = self.now
        self.replaced[app].pop(command.to, None)
        if command.owe:
            self.owed.add(app)
        self.records[app] = {"unproved": command.to, "good": None, "bad": command.bad}
        self.show(app, command.to, generation)
        self.published.append((self.now, app, self.apps[app].recipe, generation))
        self.post(ev.RolledBack(app))

    def notify(self, command):
        if self.tellable:
            self.told[command.app] = self.live[command.app]
            self.post(ev.Notified(command.app, command.job, "told"))
        else:
            self.post(ev.NotificationFailed(command.app, command.job, "nobody there"))

    def answer(self, command):
        self.refuse_what_is_not_proved(command)
        delay = self.latency * self.random.uniform(0.5, 3)
        if isinstance(command, cmd.RevokeLease):
            self.asked_to_end.add(command.lease_id)
        if self.sky == "hangs":
            self.hanging.add(command.call)
            return
        if self.sky == "refuses":
            self.post(ev.RequestFailed(command.call, Failure(Kind.UNAVAILABLE, "connection refused")), delay)
            return
        try:
            self.post(self.serve(command), delay)
        except _FailedError as exc:
            self.post(ev.RequestFailed(command.call, Failure(exc.kind, exc.kind.value), exc.metadata), delay)

    def serve(self, command):
        call = command.call
        self.forget_the_ended()
        match command:
            case cmd.Login():
                return self.log_in(command)
            case cmd.RevokeToken():
                return self.revoke_token(command)
            case cmd.IssueSecret() if command.token not in self.tokens:
                raise _FailedError(Kind.DENIED)
        current = self.state.session.token or self.token_in_use
        self.token_in_use = current
        if current.id not in self.tokens:
            raise _FailedError(Kind.DENIED)
        match command:
            case cmd.RenewToken():
                self.tokens[current.id] = self.token(current.id, self.tokens[current.id].born_at)
                return ev.TokenRenewed(call, self.tokens[current.id].token)
            case cmd.LookUpToken():
                left = self.tokens[current.id].ends_at - self.now
                return ev.TokenRenewed(call, replace(self.tokens[current.id].token, sent_at=self.now, ttl=left))
            case cmd.IssueSecret():
                return self.issue(command)
            case cmd.RenewLease():
                return self.renew_lease(command)
            case cmd.LookUpLease():
                if command.lease_id not in self.leases:
                    raise _FailedError(Kind.NOT_FOUND)
                left = self.leases[command.lease_id].ends_at - self.now
                return ev.LeaseRenewed(call, self.now, left, renewable=True)
            case cmd.RevokeLease():
                self.refuse_what_readers_hold({command.lease_id})
                self.leases.pop(command.lease_id, None)
                return ev.Revoked(call)
            case cmd.DetectKvVersion():
                return ev.KvVersionDetected(call, self.version)
            case cmd.ListFolder():
                return self.list_folder(command)
            case cmd.ReadMetadata():
                if command.ref in self.blind or command.ref in self.denied:
                    raise _FailedError(Kind.DENIED)
                return ev.MetadataRead(call, self.metadata(command.ref))
            case cmd.ReadSecret():
                if command.ref in self.denied:
                    raise _FailedError(Kind.DENIED)
                metadata = self.metadata(command.ref)
                if metadata.deletion_time:
                    raise _FailedError(Kind.NOT_FOUND, metadata)
                secret = self._secret(command.ref, metadata.version)
                return ev.SecretRead(call, replace(secret, metadata=metadata if self.version > 1 else None))
            case cmd.ReportVersions():
                return self.report(command)
        raise AssertionError(command)

    def report(self, command):
        if command.where in self.denied:
            raise _FailedError(Kind.DENIED)
        assert not command.before or command.before == self.confirmed.get(command.where, command.before)
        self.confirmed[command.where] = dict(command.versions)
        if not command.versions:
            del self.confirmed[command.where]
        return ev.VersionsReported(command.call)

    def refuse_what_is_not_proved(self, command):
        if not isinstance(command, cmd.ReportVersions) or not command.versions:
            return
        app = command.app
        assert app not in self.owed, "said what the app was not told of"
        assert self.records[app]["unproved"] is None, "said what is not proved"
        content = str(self.live[app].files[0].content)
        for path, version in command.versions.items():
            assert f"{{'v': {version}, 'rotation_count'" in content, f"said of {path} what readers do not see"

    def log_in(self, command):
        kept = list(self.kept_tokens)[-1:] if not command.fresh else []
        if kept and kept[0] in self.tokens:
            left = self.tokens[kept[0]].ends_at - self.now
            token = replace(self.tokens[kept[0]].token, sent_at=self.now, ttl=left)
            return ev.LoggedIn(command.call, token, kept=True)
        name = f"t{next(self.names)}"
        self.tokens[name] = self.token(name, self.now)
        self.kept_tokens[name] = self.tokens[name].token
        return ev.LoggedIn(command.call, self.tokens[name].token)

    def token(self, name, born_at):
        ttl = min(self.ttl, born_at + self.token_max - self.now)
        return _Known(Token(name, self.now, ttl, renewable=True, id=name), self.now + ttl, born_at)

    def revoke_token(self, command):
        self.refuse_what_readers_hold({name for name, known in self.leases.items() if known.token == command.token})
        self.end_token(command.token)
        return ev.Revoked(command.call)

    def issue(self, command):
        need = command.need
        if need in self.denied:
            raise _FailedError(Kind.DENIED)
        # It knows of no answer that was lost, nor whether what it asked to end has ended.
        for name in (self.leases.keys() & self.ledger.keys()) - self.asked_to_end:
            known = self.leases[name]
            spent = known.ends_at - self.now <= known.ttl * 0.51
            assert spent or known.need != need or known.token != command.token, "issued what is still good"
        name = f"l{len(self.issues) + 1}"
        end = self.now + min(self.lease_ttl, self.lease_max)
        self.leases[name] = _KnownLease(need, command.token, end, self.now + self.lease_max, self.now)
        self.issues.append((self.now, need))
        secret = Secret({"lease": name})
        ttl = end - self.now
        lease = Lease(name, need, secret, name, command.token, self.now, self.now, ttl, renewable=True)
        return ev.SecretIssued(command.call, lease)

    def renew_lease(self, command):
        known = self.leases.get(command.lease_id)
        if known is None:
            raise _FailedError(Kind.NOT_FOUND)
        assert known.ends_at - self.now > 1.9, "renewed in its last seconds"
        known.ends_at = min(self.now + self.lease_ttl, known.max_at)
        return ev.LeaseRenewed(command.call, self.now, known.ends_at - self.now, renewable=True)

    def refuse_what_readers_hold(self, leases):
        if not self.state.stopping:
            for app in self.apps:
                assert not leases & self.held_by_readers(app), "revoked what a reader holds"

    def list_folder(self, command):
        if command.detailed and not self.has_list:
            raise _FailedError(Kind.UNSUPPORTED)
        inside = [ref for ref in self.kv if ref.folder == command.folder]
        if not inside:
            raise _FailedError(Kind.NOT_FOUND)  # as Vault does
        secrets = {ref.path.removeprefix(command.folder.path): self.metadata(ref) for ref in inside}
        return ev.FolderListed(command.call, secrets if command.detailed else dict.fromkeys(secrets))

    def metadata(self, ref):
        if ref not in self.kv:
            raise _FailedError(Kind.NOT_FOUND)
        version = ref.version or self.kv[ref]
        return VersionMetadata(version, f"at {version}", "gone" if ref in self.gone else "")

    def current(self, app):
        """What the app's files should hold now, or None where an input is not to be had."""
        needs = self.apps[app].needs
        secrets, folders, dynamic = {}, {}, {}
        for need in needs:
            if isinstance(need, DynamicSecret):
                supply = self.state.supplies[need].lease
                held = self.state.leases.get(supply)
                if held is None or held.lease.lease_id not in self.leases:
                    return None
                dynamic[need] = held.lease.secret
            elif isinstance(need, Folder):
                if any(r.folder == need and r in self.denied for r in self.kv):
                    return None
                inside = [r for r in self.kv if r.folder == need and r not in self.gone]
                folders[need] = {r.path.removeprefix(need.path): self._secret(r) for r in inside}
            elif need not in self.kv or need in self.gone or need in self.denied:
                return None
            else:
                secrets[need] = self._secret(need)
        return self.render(cmd.Render(app, 0, self.apps[app].recipe, secrets, folders, dynamic))

    def _secret(self, ref, version=None):
        number = version or self.kv[ref]
        return Secret({"v": number} | ({"rotation_count": number} if ref in self.rotated else {}))


class _Known:
    """A token at the server."""

    def __init__(self, token, ends_at, born_at):
        self.token, self.ends_at, self.born_at = token, ends_at, born_at


class _KnownLease:
    """A lease at the server."""

    def __init__(self, need, token, ends_at, max_at, now):
        self.need, self.token, self.ends_at, self.max_at = need, token, ends_at, max_at
        self.ttl = ends_at - now


class _FailedError(Exception):
    def __init__(self, kind, metadata=None):
        super().__init__(kind)
        self.kind, self.metadata = kind, metadata


def ref(path):
    return Ref("secret", path)


def creds(name):
    return DynamicSecret(f"database/creds/{name}")


def folder(path):
    return Folder("secret", path)
